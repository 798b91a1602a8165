//! A sandbox that keeps its books, killed: adapters/sandbox has what is kept, this the real program.

use std::time::Duration;

use serde_json::json;

use crate::shop::{Program, scanback};

/// Killed in the middle of load, the sandbox knows each order that it said it had.
#[tokio::test]
async fn a_sandbox_that_keeps_its_books_knows_after_a_kill_what_it_answered_for() {
    let dir = std::env::temp_dir().join(format!("scanback-test-books-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let sandbox = || {
        let mut command = scanback();
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--keep-books", "--dir"]).arg(&dir);
        command
    };
    let order =
        |number: usize| json!({ "wallet": "wechat", "out_trade_no": format!("KEPT-{number:04}"), "amount_fen": 100 });
    let (mut program, url) = Program::start("sandbox", sandbox(), &dir, "sandbox on ").await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut answered = Vec::new();
    let load = async {
        for number in 0.. {
            let Ok(answer) = http.post(format!("{url}/_sandbox/orders")).json(&order(number)).send().await else {
                break;
            };
            if answer.status() == 201 {
                answered.push(number);
            }
        }
    };
    let kill = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        program.kill();
    };
    tokio::join!(load, kill);
    assert!(answered.len() > 10, "{}", answered.len());
    let (_program, url) = Program::start("sandbox", sandbox(), &dir, "sandbox on ").await;
    for number in answered {
        let answer = http.get(format!("{url}/_sandbox/orders/KEPT-{number:04}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "order {number}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

//! Books that are kept survive a restart, and one that comes in the middle of a line.

use std::{fs, io::Write as _, path::Path};

use scanback_sandbox::{Sandbox, SandboxError};
use serde_json::json;

use crate::{
    listener::Listener,
    shop::{Shop, filled_dir, options},
};

async fn keeping(dir: &Path) -> Shop {
    let mut options = options(dir);
    options.keep_books = true;
    Shop::of(Sandbox::start(options).await.unwrap(), dir.to_owned())
}

#[tokio::test]
async fn orders_refunds_violations_and_what_is_under_way_are_there_again() {
    let dir = filled_dir().await;
    let shop = keeping(&dir).await;
    let made = shop.order("wechat", "T-100001", 1_000, json!({})).await;
    shop.order("alipay", "T-100002", 1_000, json!({})).await;
    shop.fault("wechat", "refund", "stay_processing").await;
    shop.wechat_refund("R-1", "T-100001", 400, 1_000).await;
    shop.wechat_refund("R-1", "T-100001", 500, 1_000).await; // the number with another amount
    let before = shop.ledger().await;
    assert_eq!(before["violations"].as_array().unwrap().len(), 1);
    shop.sandbox.stop().await;

    let shop = keeping(&dir).await;
    assert_eq!(shop.ledger().await, before);
    assert_eq!(shop.books("wechat", "T-100001").await["transaction_id"], made["transaction_id"]);
    assert_eq!(shop.wechat_status("R-1").await, "PROCESSING");
    assert_eq!(shop.wechat_refund("R-1", "T-100001", 400, 1_000).await.status, 200, "the same refund");
    let again = shop.order("wechat", "T-100003", 1_000, json!({})).await;
    assert_ne!(again["transaction_id"], made["transaction_id"], "numbers are not given out twice");
    let settled =
        shop.control(reqwest::Method::POST, "/refunds/R-1/settle", Some(json!({ "status": "SUCCESS" }))).await;
    assert_eq!(settled.0, 200, "{settled:?}");
    shop.sandbox.stop().await;

    let shop = keeping(&dir).await;
    assert_eq!(shop.books("wechat", "T-100001").await["refunds"][0]["times_paid"], 1);
    shop.close().await;
}

#[tokio::test]
async fn a_refund_that_time_ends_ends_after_the_restart() {
    let dir = filled_dir().await;
    let shop = keeping(&dir).await;
    shop.order("wechat", "T-100001", 1_000, json!({})).await;
    shop.wechat_refund("R-1", "T-100001", 400, 1_000).await;
    shop.sandbox.stop().await;
    let shop = keeping(&dir).await;
    // the wallet's minute is a second here
    let mut status = String::new();
    for _ in 0..100 {
        status = shop.wechat_status("R-1").await;
        if status == "SUCCESS" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(status, "SUCCESS");
    shop.close().await;
}

#[tokio::test]
async fn news_that_did_not_arrive_is_sent_again_after_the_restart_and_news_that_did_is_not() {
    let dir = filled_dir().await;
    let (well, refused) = (Listener::open("").await, Listener::refusing(usize::MAX, "").await);
    let shop = keeping(&dir).await;
    for (order, refund, listener) in [("T-100001", "R-1", &well), ("T-100002", "R-2", &refused)] {
        shop.order("wechat", order, 1_000, json!({})).await;
        let mut body = shop.refund_body(refund, order, 400, 1_000);
        body["notify_url"] = json!(listener.url);
        shop.wechat(reqwest::Method::POST, "/v3/refund/domestic/refunds", Some(body)).await;
        listener.until(1).await;
    }
    shop.sandbox.stop().await;
    let sent = refused.all().await.len();

    refused.refuse(0).await;
    let shop = keeping(&dir).await;
    let again = refused.until(sent + 1).await;
    let again = again.last().unwrap();
    assert!(shop.is_genuine(&again.headers, &again.body));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await; // the sandbox hears that it arrived
    shop.sandbox.stop().await;
    // nothing is left to tell: of the first one no second time, and of the other no third
    let (first, second) = (well.all().await.len(), refused.all().await.len());
    let shop = keeping(&dir).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!((well.all().await.len(), refused.all().await.len()), (first, second));
    assert_eq!(first, 1);
    shop.close().await;
}

#[tokio::test]
async fn a_line_that_a_crash_cut_off_is_left_out_and_a_broken_one_is_named() {
    let dir = filled_dir().await;
    let shop = keeping(&dir).await;
    shop.order("wechat", "T-100001", 1_000, json!({})).await;
    shop.sandbox.stop().await;
    let file = dir.join("books.jsonl");
    let mut books = fs::OpenOptions::new().append(true).open(&file).unwrap();
    books.write_all(b"{\"order\":{\"wallet\":\"wechat\",\"out_tr").unwrap();
    let shop = keeping(&dir).await;
    assert_eq!(shop.ledger().await["orders"], 1);
    shop.sandbox.stop().await;

    fs::write(&file, "{\"order\":7}\n").unwrap();
    let mut options = options(&dir);
    options.keep_books = true;
    match Sandbox::start(options).await {
        Err(SandboxError::BadFile { path, why }) => {
            assert!(path == file && why.starts_with("line 1:"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"order\":7}\n", "it is left as it was");
    fs::remove_dir_all(&dir).unwrap();
}

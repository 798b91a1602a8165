//! The commands beside `serve` (contract §2), as people run them.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde_json::Value;

use crate::shop::{ALIPAY, Program, Shop, run, scanback};

const FRAMES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/frames");

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `decode --json` says what the fixtures' own list says, a line a file.
#[test]
fn decode_reads_every_fixture_as_its_list_says() {
    let mut truth: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in fs::read_to_string(format!("{FRAMES}/truth.csv")).unwrap().lines().skip(1) {
        let fields: Vec<_> = line.split(',').collect();
        let codes = truth.entry(format!("{FRAMES}/{}", fields[0])).or_default();
        if !fields[2].is_empty() {
            codes.push((fields[1].to_owned(), fields[2].to_owned()));
        }
    }
    let output = run(scanback().args(["decode", "--json"]).args(truth.keys()), "");
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), truth.len());
    for (line, (file, expected)) in lines.iter().zip(&truth) {
        assert_eq!(line["file"], **file);
        assert!(line["elapsed_us"].as_u64().unwrap() > 0 && line["subject"]["kind"].is_string(), "{line}");
        let symbols = line["symbols"].as_array().unwrap();
        let mut read: Vec<_> = symbols
            .iter()
            .map(|symbol| {
                assert_eq!(symbol["corners"].as_array().unwrap().len(), 4, "{line}");
                let word = |name: &str| symbol[name].as_str().unwrap().to_owned();
                (word("symbology"), word("text"))
            })
            .collect();
        let mut expected = expected.clone();
        read.sort();
        expected.sort();
        assert_eq!(read, expected, "{file}");
    }
}

/// One bad file doesn't stop the others, and the exit code tells of it; names can come from standard input.
#[test]
fn decode_goes_on_after_a_file_that_is_no_picture() {
    let (good, bad) = (format!("{FRAMES}/qr-order-720.jpg"), concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    let names = format!("{bad}\n/no/such/file.jpg\n{good}\n");
    let output = run(scanback().args(["decode", "--json", "-"]), &names);
    assert_eq!(output.status.code(), Some(2));
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for line in &lines[..2] {
        assert!(line["error"].is_string() && line.get("symbols").is_none(), "{line}");
    }
    assert_eq!(lines[2]["symbols"][0]["symbology"], "qr_code");
    let nothing = run(scanback().args(["decode", &format!("{FRAMES}/no-code-480.jpg")]), "");
    assert_eq!(nothing.status.code(), Some(0), "nothing was found, and nothing went wrong");
    // without JSON, for people, with each stage explained and the corners drawn
    let drawn = std::env::temp_dir().join(format!("scanback-test-annotated-{}.png", std::process::id()));
    let output = run(scanback().args(["decode", "--explain", "--annotate"]).arg(&drawn).arg(&good), "");
    assert!(output.status.success() && text(&output.stdout).contains("qr_code"), "{}", text(&output.stdout));
    assert!(fs::read(&drawn).unwrap().starts_with(b"\x89PNG"));
    fs::remove_file(drawn).unwrap();
}

#[tokio::test]
async fn tokens_are_made_listed_and_ended() {
    let shop = Shop::new().open().await;
    let token = shop.make_token("auditor", "demo", "books");
    let list = || text(&shop.run(&["token", "list"], "").stdout);
    let listed = list();
    let line = listed.lines().find(|line| line.contains(" books ")).unwrap();
    let fields: Vec<_> = line.split(' ').collect();
    assert_eq!(fields[1..4], ["auditor", "demo", "books"]);
    assert!(fields[4].parse::<jiff::Timestamp>().is_ok(), "{line}");
    assert!(!listed.contains(&token), "a token is printed once");
    shop.with_token(&token).get("/v1/orders").await.assert_status(200);
    assert!(shop.run(&["token", "revoke", fields[0]], "").status.success());
    assert!(!list().contains(" books "));
    let again = shop.run(&["token", "revoke", fields[0]], "");
    assert!(!again.status.success() && text(&again.stderr).contains(fields[0]));

    for (arguments, named) in [
        (&["--role", "merchant", "--merchant", "nobody", "--name", "x"], "nobody"),
        (&["--role", "owner", "--merchant", "demo", "--name", "x"], "owner"),
    ] {
        let refused = shop.run(&[&["token", "create"], &arguments[..]].concat(), "");
        assert!(!refused.status.success() && refused.stdout.is_empty());
        assert!(text(&refused.stderr).contains(named), "{}", text(&refused.stderr));
    }
    shop.close().await;
}

#[tokio::test]
async fn operators_are_added_with_a_pin_from_standard_input() {
    let shop = Shop::new().open().await;
    let add = |id: &str, role: &str, pin: &str| {
        shop.plant(pin);
        shop.run(&["operator", "add", "--merchant", "demo", "--id", id, "--role", role], pin)
    };
    assert!(add("li", "cashier", "246810\n").status.success());
    assert!(add("wang", "finance", "123456789012").status.success());
    for (id, role, pin, named) in [
        ("li", "manager", "864209", "li"),
        ("zhao", "cashier", "12345", "6 to 12 digits"),
        ("zhao", "cashier", "1234567890123", "6 to 12 digits"),
        ("zhao", "cashier", "12345a", "6 to 12 digits"),
        ("zhao", "cashier", "", "6 to 12 digits"),
        ("zhao", "boss", "246810", "boss"),
    ] {
        let refused = add(id, role, pin);
        assert!(!refused.status.success(), "{id} {role}");
        let said = text(&refused.stderr);
        assert!(said.contains(named), "{said}");
        assert!(pin.is_empty() || !said.contains(pin), "it says the PIN: {said}");
    }
    shop.close().await;
}

#[tokio::test]
async fn the_description_of_the_api_is_the_same_from_both_sides() {
    let shop = Shop::new().open().await;
    let output = run(scanback().arg("openapi"), "");
    assert!(output.status.success());
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, shop.stranger().get("/openapi.json").await.body);
    assert!(printed["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(printed["info"]["title"] == "Scanback" && printed["info"]["version"] == env!("CARGO_PKG_VERSION"));
    // every reference leads somewhere
    let all = printed.to_string();
    for reference in all.split("\"$ref\":\"").skip(1) {
        let pointer = reference.split('"').next().unwrap().trim_start_matches('#');
        assert!(printed.pointer(pointer).is_some(), "{pointer} is nowhere");
    }
    shop.close().await;
}

#[tokio::test]
async fn migrate_may_be_run_as_often_as_one_likes() {
    let mut shop = Shop::new().order(ALIPAY, "MIGRATE-01", 1_000).prepare().await;
    for _ in 0..2 {
        let output = shop.run(&["migrate"], "");
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    shop.start().await;
    shop.merchant().refund("MIGRATE-01", 100).await.assert(201, "succeeded");
    assert!(shop.run(&["migrate"], "").status.success(), "also while the service runs");
    shop.merchant().refund("MIGRATE-01", 100).await;
    shop.close().await;
}

/// The demo shows the whole thing in a table, and says by its exit code whether it went well.
#[test]
fn the_demo_ends_well_and_prints_its_table() {
    let output = run(scanback().args(["demo", "--once"]), "");
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    let steps: Vec<_> = printed.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).collect();
    assert_eq!(steps.len(), 7, "{printed}");
    assert!(steps.iter().all(|step| step.ends_with("ok")), "{printed}");
    for shown in ["409 amount_exceeds_refundable", "422 wallet_mismatch", "202 submitting", "replayed", "0 violations"]
    {
        assert!(printed.contains(shown), "{shown} is not in {printed}");
    }
}

/// Without `--once` it keeps serving, until it is asked to stop; then its files are gone.
#[tokio::test]
async fn the_demo_keeps_serving_and_stops_in_time() {
    let dir = std::env::temp_dir().join(format!("scanback-test-demo-{}", uuid::Uuid::now_v7().simple()));
    fs::create_dir(&dir).unwrap();
    let mut command = scanback();
    command.args(["demo", "--listen", "127.0.0.1:0"]).env("TMPDIR", &dir);
    let (mut demo, service) = Program::start("demo", command, &dir, "  service ").await;
    let service = service.split_whitespace().next().unwrap().to_owned();
    assert_eq!(reqwest::get(format!("{service}/readyz")).await.unwrap().status(), 200);
    let files = |dir: &Path| fs::read_dir(dir).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(files(&dir), 1, "its files are in one folder");
    assert!(demo.stop(Duration::from_secs(10)).await.success());
    assert_eq!(files(&dir), 0, "its folder is gone with it");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_command_that_does_not_exist_is_refused() {
    let output = run(scanback().arg("refund-everything"), "");
    assert_eq!(output.status.code(), Some(2));
    let help = run(scanback().arg("--help"), "");
    for command in ["demo", "serve", "sandbox", "decode", "token", "operator", "migrate", "openapi"] {
        assert!(text(&help.stdout).contains(&format!("\n  {command}")), "{command} is not in the help");
    }
}

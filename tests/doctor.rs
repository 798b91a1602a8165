//! `scanback doctor` says what is wrong before the shop opens, line by line, and ends badly only where something fails.

use std::process::Output;

use crate::shop::{ALIPAY, Shop};

/// The lines, and whether it ended well.
fn lines(output: &Output) -> (Vec<String>, bool) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{errors}");
    (text.lines().map(str::to_owned).collect(), output.status.success())
}

fn has(lines: &[String], verdict: &str, words: &[&str]) -> bool {
    lines.iter().any(|line| line.starts_with(verdict) && words.iter().all(|word| line.contains(word)))
}

#[tokio::test]
async fn a_shop_in_good_order_is_found_so_and_nothing_changes() {
    let shop = Shop::new().open().await;
    let url = "http://no-such-host.invalid/hook";
    let endpoint = serde_json::json!({ "url": url });
    shop.merchant().post("/v1/webhook-endpoints").json(&endpoint).send().await.assert_status(201);
    let (lines, well) = lines(&shop.run(&["doctor"], ""));
    assert!(well, "{lines:#?}");
    for (verdict, words) in [
        ("ok", &["settings", "keys match"][..]),
        ("ok", &["decoder"]),
        ("ok", &["database", "takes writes"]),
        ("ok", &["redis"]),
        ("ok", &["wallet wechat of demo", "genuine"]),
        ("ok", &["wallet alipay of demo", "genuine"]),
        ("ok", &["clock against wechat"]),
        ("ok", &["certificates of demo, wechat", "valid until"]),
        ("warn", &["webhook", "no-such-host.invalid does not resolve"]),
        ("warn", &["http.public_url"]),
    ] {
        assert!(has(&lines, verdict, words), "{verdict} {words:?} in {lines:#?}");
    }
    shop.close().await;
}

#[tokio::test]
async fn what_would_stop_a_refund_fails_by_name() {
    let mut shop = Shop::new().open().await;
    let config = std::fs::read_to_string(shop.config_file()).unwrap();
    let with = |from: &str, to: &str| {
        assert!(config.contains(from), "{from}");
        std::fs::write(shop.config_file(), config.replacen(from, to, 1)).unwrap();
        lines(&shop.run(&["doctor"], ""))
    };
    let (lines, well) = with("merchant_key.pem", "platform_cert.pem");
    assert!(!well && has(&lines, "fail", &["settings", "wechat", "merchant_key"]), "{lines:#?}");
    let (lines, well) = with("app_private_key.pem", "../wechat/merchant_key.pem");
    assert!(!well && has(&lines, "fail", &["wallet alipay of demo", "isv.invalid-signature"]), "{lines:#?}");
    assert!(has(&lines, "ok", &["wallet wechat of demo"]), "the other wallet is well: {lines:#?}");
    std::fs::write(shop.config_file(), &config).unwrap();
    shop.sandbox_mut().stop().await;
    let (lines, well) = lines_of(&shop);
    assert!(!well && has(&lines, "fail", &["wallet wechat of demo", "base_url"]), "{lines:#?}");
    shop.close_without_wallets().await;
}

fn lines_of(shop: &Shop) -> (Vec<String>, bool) {
    lines(&shop.run(&["doctor"], ""))
}

/// Keys are read again on SIGHUP; what can't be used changes nothing.
#[tokio::test]
async fn keys_are_exchanged_without_a_restart() {
    let opening = Shop::new().order(ALIPAY, "HUP-0001", 5_000).order(ALIPAY, "HUP-0002", 5_000);
    let mut shop = opening.prepare().await;
    let right = std::fs::read_to_string(shop.config_file()).unwrap();
    let wrong = right.replacen("app_private_key.pem", "../wechat/merchant_key.pem", 1);
    assert_ne!(right, wrong);
    std::fs::write(shop.config_file(), &wrong).unwrap();
    shop.start().await;
    let merchant = shop.merchant();
    // signed with the wrong key, the wallet answers no question
    merchant.refund("HUP-0001", 1_000).await.assert(503, "wallet_unavailable");

    std::fs::write(shop.config_file(), "[http]\nlisten = 7\n").unwrap();
    shop.reload();
    shop.until_logged(1, "the keys stay as they were").await;

    // a command prints the key this time
    let key = shop.sandbox().dir.join("alipay").join("app_private_key.pem");
    let line = format!("app_private_key_file = \"command:cat {}\"", key.display());
    let lines: Vec<&str> =
        right.lines().map(|old| if old.starts_with("app_private_key_file") { line.as_str() } else { old }).collect();
    std::fs::write(shop.config_file(), lines.join("\n")).unwrap();
    shop.reload();
    shop.until_logged(1, "keys were read again").await;
    merchant.refund("HUP-0002", 1_000).await.assert(201, "succeeded");
    shop.close().await;
}

//! What the sandbox tells a merchant, checked as a merchant checks it.

use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    listener::{Listener, Received},
    shop::{Shop, public_key, verifies},
};

/// A WeChat refund of 400 of 1000 fen whose news go to this listener.
async fn wechat_refund(shop: &Shop, listener: &Listener) {
    shop.order("wechat", "W-100001", 1_000, json!({})).await;
    let mut body = shop.refund_body("R1", "W-100001", 400, 1_000);
    body["notify_url"] = json!(listener.url);
    let answer = shop.wechat(Method::POST, "/v3/refund/domestic/refunds", Some(body)).await;
    assert_eq!(answer.status, 200);
}

fn event(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

fn decrypt(shop: &Shop, resource: &Value) -> Value {
    let text = |name: &str| resource[name].as_str().unwrap();
    let key = UnboundKey::new(&AES_256_GCM, shop.wechat["apiv3_key"].as_str().unwrap().as_bytes()).unwrap();
    let nonce = Nonce::try_assume_unique_for_key(text("nonce").as_bytes()).unwrap();
    let mut bytes = BASE64.decode(text("ciphertext")).unwrap();
    let plain = LessSafeKey::new(key).open_in_place(nonce, Aad::from(text("associated_data")), &mut bytes).unwrap();
    serde_json::from_slice(plain).unwrap()
}

#[tokio::test]
async fn a_wechat_refund_is_told_signed_and_encrypted_after_its_minute() {
    let shop = Shop::open().await;
    let listener = Listener::open("").await;
    let begin = Instant::now();
    wechat_refund(&shop, &listener).await;
    let received = listener.until(1).await.remove(0);
    assert!(begin.elapsed() >= Duration::from_secs(1), "nothing to tell while it is processing");
    assert!(shop.is_genuine(&received.headers, &received.body));
    assert_eq!(received.headers["wechatpay-serial"], shop.wechat["platform_serial"].as_str().unwrap());
    let event = event(&received);
    assert_eq!(event["event_type"], "REFUND.SUCCESS");
    assert_eq!(event["resource"]["original_type"], "refund");
    let plain = decrypt(&shop, &event["resource"]);
    assert_eq!(plain["mchid"], shop.wechat["mchid"]);
    assert_eq!((&plain["out_refund_no"], &plain["refund_status"]), (&json!("R1"), &json!("SUCCESS")));
    assert_eq!((&plain["amount"]["refund"], &plain["amount"]["total"]), (&json!(400), &json!(1_000)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(listener.all().await.len(), 1, "an answer of 200 ends the ladder");
    shop.close().await;
}

#[tokio::test]
async fn a_refused_wechat_notification_comes_again_signed_anew_with_the_same_id() {
    let shop = Shop::open().await;
    let listener = Listener::refusing(2, "").await;
    wechat_refund(&shop, &listener).await;
    let all = listener.until(3).await;
    assert_eq!(listener.refusals_left().await, 0);
    assert!(all.iter().all(|one| shop.is_genuine(&one.headers, &one.body)));
    assert!(all.iter().all(|one| event(one)["id"] == event(&all[0])["id"]));
    assert_ne!(all[0].headers["wechatpay-nonce"], all[1].headers["wechatpay-nonce"]);
    shop.close().await;
}

#[tokio::test]
async fn an_alipay_refund_is_told_to_the_payments_address_with_the_sum() {
    let shop = Shop::open().await;
    let listener = Listener::open("success").await;
    shop.order("alipay", "A-100001", 1_000, json!({ "notify_url": listener.url })).await;
    shop.alipay_refund("R1", "A-100001", "4.00").await;
    let first = listener.until(1).await.remove(0).form();
    assert!(is_genuine(&shop, &first));
    assert_eq!((first["trade_status"].as_str(), first["refund_fee"].as_str()), ("TRADE_SUCCESS", "4.00"));
    assert_eq!((&first["out_biz_no"], &first["total_amount"]), (&"R1".to_owned(), &"10.00".to_owned()));
    assert_eq!(
        (&json!(first["app_id"]), &json!(first["seller_id"])),
        (&shop.alipay["app_id"], &shop.alipay["seller_id"])
    );
    assert!(!first.contains_key("gmt_close"));
    tokio::time::sleep(Duration::from_millis(60)).await;
    shop.alipay_refund("R2", "A-100001", "6.00").await;
    let second = listener.until(2).await.remove(1).form();
    assert_eq!((second["trade_status"].as_str(), second["refund_fee"].as_str()), ("TRADE_CLOSED", "10.00"));
    assert!(second.contains_key("gmt_close") && is_genuine(&shop, &second));
    shop.close().await;
}

fn is_genuine(shop: &Shop, form: &std::collections::HashMap<String, String>) -> bool {
    let mut pairs: Vec<String> = form
        .iter()
        .filter(|(name, value)| !["sign", "sign_type"].contains(&name.as_str()) && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.sort();
    let key = public_key(&shop.dir.join("alipay/alipay_public_key.pem"));
    form["sign_type"] == "RSA2" && verifies(&key, pairs.join("&").as_bytes(), &form["sign"])
}

#[tokio::test]
async fn alipay_sends_again_until_the_answer_is_success_to_the_letter() {
    let shop = Shop::with(|options| options.time_scale = 4_000).await; // four minutes are 60 ms
    let listener = Listener::open("Success").await;
    shop.order("alipay", "A-100001", 1_000, json!({ "notify_url": listener.url })).await;
    shop.alipay_refund("R1", "A-100001", "4.00").await;
    let all = listener.until(3).await;
    assert!(all.iter().all(|one| one.form()["notify_id"] == all[0].form()["notify_id"]));
    assert!(all.iter().all(|one| is_genuine(&shop, &one.form())));
    shop.close().await;
}

#[tokio::test]
async fn a_dropped_notification_never_comes() {
    let shop = Shop::with(|options| options.time_scale = 600).await;
    let listener = Listener::open("").await;
    shop.fault("wechat", "notification", "drop_notification").await;
    wechat_refund(&shop, &listener).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(listener.all().await.is_empty());
    assert_eq!(shop.wechat_status("R1").await, "SUCCESS", "the refund itself is done");
    shop.close().await;
}

#[tokio::test]
async fn a_duplicate_is_the_same_event_signed_anew() {
    let shop = Shop::with(|options| options.time_scale = 600).await;
    let wechat = Listener::open("").await;
    shop.fault("wechat", "notification", "duplicate_notification").await;
    wechat_refund(&shop, &wechat).await;
    let all = wechat.until(2).await;
    assert_eq!(event(&all[0])["id"], event(&all[1])["id"]);
    assert!(all.iter().all(|one| shop.is_genuine(&one.headers, &one.body)));

    let alipay = Listener::open("success").await;
    shop.fault("alipay", "notification", "duplicate_notification").await;
    shop.order("alipay", "A-100001", 1_000, json!({ "notify_url": alipay.url })).await;
    shop.alipay_refund("R1", "A-100001", "4.00").await;
    let all = alipay.until(2).await;
    assert_eq!(all[0].form()["notify_id"], all[1].form()["notify_id"]);
    shop.close().await;
}

#[tokio::test]
async fn a_late_notification_misses_its_first_send_and_waits_what_was_asked() {
    let shop = Shop::with(|options| options.time_scale = 600).await; // 15 s are 25 ms, the minute 100 ms
    let listener = Listener::open("").await;
    let late = json!({
        "wallet": "wechat", "operation": "notification", "kind": "late_notification", "times": 1, "delay_ms": 600,
    });
    shop.fault_with(late).await;
    let begin = Instant::now();
    wechat_refund(&shop, &listener).await;
    let received = listener.until(1).await.remove(0);
    assert!(begin.elapsed() >= Duration::from_millis(725), "the refund, what was asked, one step of the ladder");
    assert!(shop.is_genuine(&received.headers, &received.body), "late, but of now");
    shop.close().await;
}

#[tokio::test]
async fn a_tampered_or_badly_signed_notification_does_not_verify_and_the_true_one_follows() {
    let shop = Shop::with(|options| options.time_scale = 600).await;
    for (kind, number) in [("tampered_notification", "1"), ("bad_signature", "2")] {
        let wechat = Listener::refusing(1, "").await;
        shop.fault("wechat", "notification", kind).await;
        let order = format!("W-{number}");
        shop.order("wechat", &order, 1_000, json!({})).await;
        let mut body = shop.refund_body(&format!("R{number}"), &order, 400, 1_000);
        body["notify_url"] = json!(wechat.url);
        shop.wechat(Method::POST, "/v3/refund/domestic/refunds", Some(body)).await;
        let all = wechat.until(2).await;
        let genuine: Vec<bool> = all.iter().map(|one| shop.is_genuine(&one.headers, &one.body)).collect();
        assert_eq!(genuine, [false, true], "{kind}");
        let signature = all[0].headers["wechatpay-signature"].to_str().unwrap();
        assert_eq!(signature.starts_with("WECHATPAY/SIGNTEST/"), kind == "bad_signature");
    }
    for (kind, number) in [("tampered_notification", "1"), ("bad_signature", "2")] {
        let alipay = Listener::refusing(1, "success").await;
        shop.fault("alipay", "notification", kind).await;
        let order = format!("A-{number}");
        shop.order("alipay", &order, 1_000, json!({ "notify_url": alipay.url })).await;
        shop.alipay_refund("R1", &order, "4.00").await;
        let all = alipay.until(2).await;
        let genuine: Vec<bool> = all.iter().map(|one| is_genuine(&shop, &one.form())).collect();
        assert_eq!(genuine, [false, true], "{kind}");
    }
    shop.close().await;
}

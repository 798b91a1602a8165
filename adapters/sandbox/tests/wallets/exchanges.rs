//! The log of exchanges, and what it says of a signature that is wrong.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{Shop, nonce};

async fn newest(shop: &Shop) -> Value {
    shop.control(Method::GET, "/exchanges", None).await.1["items"][0].clone()
}

async fn why(shop: &Shop) -> String {
    newest(shop).await["refused"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_call_is_kept_with_its_end_and_its_fault() {
    let shop = Shop::open().await;
    shop.order("wechat", "T-100001", 1_000, json!({})).await;
    shop.fault("wechat", "refund", "system_error").await;
    shop.wechat_refund("R1", "T-100001", 100, 1_000).await;
    let kept = newest(&shop).await;
    assert_eq!(
        (&kept["operation"], &kept["fault"], &kept["status"]),
        (&json!("refund"), &json!("system_error"), &json!(500))
    );
    assert_eq!((&kept["path"], &kept["refused"]), (&json!("/v3/refund/domestic/refunds"), &Value::Null));
    let same = shop.control(Method::GET, &format!("/exchanges/{}", kept["id"]), None).await;
    assert_eq!(same, (200, kept));
    assert_eq!(shop.control(Method::GET, "/exchanges/999", None).await.0, 404);
    shop.close().await;
}

#[tokio::test]
async fn a_call_that_a_fault_holds_is_seen_while_it_is_held() {
    let shop = Shop::open().await;
    shop.order("wechat", "T-100001", 1_000, json!({})).await;
    shop.fault("wechat", "refund", "effect_then_timeout").await;
    let impatient =
        tokio::time::timeout(std::time::Duration::from_millis(500), shop.wechat_refund("R1", "T-100001", 100, 1_000));
    assert!(impatient.await.is_err());
    let mut kept = newest(&shop).await;
    for _ in 0..100 {
        if kept["operation"] == "refund" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        kept = newest(&shop).await;
    }
    assert_eq!((&kept["fault"], &kept["status"]), (&json!("effect_then_timeout"), &Value::Null), "{kept}");
    shop.close().await;
}

#[tokio::test]
async fn a_wrong_wechat_signature_is_explained() {
    let shop = Shop::open().await;
    let path = "/v3/refund/domestic/refunds";
    let sent = "{\"b\": 1, \"a\": 2}";
    let host = shop.url("");
    let cases = [
        (path.to_owned(), "{\"a\":2,\"b\":1}", "other bytes"),
        (path.to_owned(), "", "empty body"),
        (format!("{host}{path}"), sent, "whole address"),
        ("/v3/other".to_owned(), sent, "does not fit"),
    ];
    for (url, body, expected) in cases {
        let authorization = shop.authorization("POST", &url, body);
        let answer = shop.send_wechat(Method::POST, path, sent.to_owned(), &authorization, None).await.unwrap();
        assert_eq!(answer.status, 401);
        let why = why(&shop).await;
        assert!(why.contains(expected), "{expected}: {why}");
    }
    shop.close().await;
}

#[tokio::test]
async fn a_wrong_alipay_signature_is_explained_and_a_payment_code_in_it_is_masked() {
    let shop = Shop::open().await;
    let code = "281234567890123456";
    let content = json!({ "dynamic_id": code, "note": "a b" });
    let params = shop.params("alipay.trade.query", &content, &[]);
    let find = |name: &str| params.iter().find(|(key, _)| key == name).unwrap().1.clone();
    // signed over the values as a form would carry them
    let mut encoded = params.clone();
    for (_, value) in &mut encoded {
        *value = percent_encoding(value);
    }
    shop.sign_params(&mut encoded);
    let mut wrong = params.clone();
    wrong.retain(|(name, _)| name != "sign");
    wrong.push(("sign".to_owned(), encoded.iter().find(|(name, _)| name == "sign").unwrap().1.clone()));
    shop.post_alipay(&wrong).await.unwrap();
    let text = why(&shop).await;
    assert!(text.contains("URL编码"), "{text}");
    assert!(text.contains("28…") && !text.contains(code), "{text}");

    let mut altered = params.clone();
    altered.retain(|(name, _)| name != "biz_content");
    altered.push(("biz_content".to_owned(), format!("{}{}", find("biz_content"), nonce())));
    shop.post_alipay(&altered).await.unwrap();
    assert!(why(&shop).await.contains("请检查应用私钥"));
    shop.close().await;
}

fn percent_encoding(value: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b' ' => out.push('+'),
            byte if keep(byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

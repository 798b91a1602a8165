//! The status page, as a browser meets it.

use reqwest::StatusCode;
use serde_json::json;

use crate::shop::{Shop, nonce};

async fn page(shop: &Shop, lang: &str) -> String {
    let answer = shop.http.get(shop.url("/_sandbox/")).header("Accept-Language", lang).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script"), "{policy}");
    answer.text().await.unwrap()
}

async fn post(shop: &Shop, path: &str, origin: Option<&str>, form: &[(&str, &str)]) -> (u16, String) {
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut request = http.post(shop.url(path)).form(form);
    if let Some(origin) = origin {
        request = request.header("Origin", origin);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn it_shows_orders_refunds_faults_and_why_a_signature_failed_in_both_languages() {
    let shop = Shop::open().await;
    shop.order("wechat", "T-100001", 8_805, json!({})).await;
    shop.wechat_refund("R-77", "T-100001", 105, 8_805).await;
    shop.fault("alipay", "refund", "system_error").await;
    let wrong = shop.authorization("POST", "/v3/other", "");
    shop.send_wechat(reqwest::Method::POST, "/v3/refund/domestic/refunds", "{}".to_owned(), &wrong, None)
        .await
        .unwrap();
    let (en, zh) = (page(&shop, "en").await, page(&shop, "zh-CN,zh;q=0.9").await);
    for shown in ["T-100001", "¥88.05", "R-77", "¥1.05", "PROCESSING", "system_error", "does not fit this method"] {
        assert!(en.contains(shown) && zh.contains(shown), "{shown}");
    }
    assert!(en.contains("Faults that wait") && zh.contains("等待触发的故障"));
    assert!(!en.contains("--no-verify"));
    assert_eq!(shop.http.get(shop.url("/_sandbox/page.css")).send().await.unwrap().status(), StatusCode::OK);
    shop.close().await;
}

#[tokio::test]
async fn what_a_client_sends_is_text_and_never_markup() {
    let shop = Shop::open().await;
    let path = "/v3/%3Cscript%3Ealert(1)%3C/script%3E";
    let authorization = format!(
        "WECHATPAY2-SHA256-RSA2048 mchid=\"<img src=x>\",nonce_str=\"{}\",signature=\"s\",timestamp=\"1\",serial_no=\"1\"",
        nonce()
    );
    shop.send_wechat(reqwest::Method::GET, path, String::new(), &authorization, None).await.unwrap();
    let shown = page(&shop, "en").await;
    assert!(shown.contains("&lt;img src=x&gt;"), "{shown}");
    assert!(!shown.contains("<img") && !shown.contains("<script"), "{shown}");
    shop.close().await;
}

#[tokio::test]
async fn its_forms_make_orders_and_faults_and_say_what_is_wrong() {
    let shop = Shop::open().await;
    let origin = shop.url("");
    let order = [("wallet", "alipay"), ("out_trade_no", "T-100002"), ("amount_fen", "8800"), ("state", "paid")];
    assert_eq!(post(&shop, "/_sandbox/page/orders", Some(&origin), &order).await.0, 303);
    assert_eq!(shop.books("alipay", "T-100002").await["amount_fen"], 8_800);
    let (status, said) = post(&shop, "/_sandbox/page/orders", Some(&origin), &order).await;
    assert!(status == 422 && said.contains("out_trade_no: this wallet has such an order already"), "{status} {said}");
    let fault = [("wallet", "wechat"), ("operation", "refund"), ("kind", "slow"), ("times", "2")];
    assert_eq!(post(&shop, "/_sandbox/page/faults", Some(&origin), &fault).await.0, 303);
    assert!(page(&shop, "en").await.contains("<td>slow</td><td>2</td>"));
    let (status, said) = post(&shop, "/_sandbox/page/faults", Some(&origin), &[("wallet", "wechat")]).await;
    assert!(status == 422 && said.contains("operation"), "{said}");
    assert_eq!(post(&shop, "/_sandbox/page/faults/clear", Some(&origin), &[]).await.0, 303);
    assert!(!page(&shop, "en").await.contains("<td>slow</td>"));
    shop.close().await;
}

/// A sandbox runs where its developer also browses.
#[tokio::test]
async fn a_form_of_another_site_does_nothing() {
    let shop = Shop::open().await;
    let order = [("wallet", "alipay"), ("out_trade_no", "T-100003"), ("amount_fen", "1"), ("state", "paid")];
    for origin in [None, Some("https://evil.example"), Some("null")] {
        assert_eq!(post(&shop, "/_sandbox/page/orders", origin, &order).await.0, 403, "{origin:?}");
    }
    assert_eq!(shop.ledger().await["orders"], 0);
    shop.close().await;
}

#[tokio::test]
async fn without_verification_any_signature_will_do_and_everybody_is_told() {
    let shop = Shop::with(|options| options.no_verify = true).await;
    shop.order("wechat", "T-100004", 500, json!({})).await;
    let path = "/v3/pay/transactions/out-trade-no/T-100004";
    let target = format!("{path}?mchid={}", shop.wechat["mchid"].as_str().unwrap());
    let wrong = shop.authorization("GET", "/v3/other", "");
    let answer = shop.send_wechat(reqwest::Method::GET, &target, String::new(), &wrong, None).await.unwrap();
    assert_eq!((answer.status, answer.header("sandbox-signatures").as_str()), (200, "not-verified"));
    assert!(answer.is_genuine, "its own answers are signed all the same");
    assert!(page(&shop, "en").await.contains("--no-verify"));
    shop.close().await;

    let strict = Shop::open().await;
    let answer = strict.send_wechat(reqwest::Method::GET, &target, String::new(), &wrong, None).await.unwrap();
    assert_eq!((answer.status, answer.header("sandbox-signatures").as_str()), (401, ""));
    strict.close().await;
}

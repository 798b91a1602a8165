//! Every fault that the contract names, as a client sees it, and what the books say afterwards.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::shop::Shop;

/// A shop with one order on each side.
async fn shop() -> Shop {
    let shop = Shop::open().await;
    shop.order("wechat", "W-100001", 1_000, json!({})).await;
    shop.order("alipay", "A-100001", 1_000, json!({})).await;
    shop
}

async fn refunded(shop: &Shop, wallet: &str) -> Value {
    let number = if wallet == "wechat" { "W-100001" } else { "A-100001" };
    shop.books(wallet, number).await["refunded_fen"].clone()
}

async fn try_wechat_refund(shop: &Shop) -> reqwest::Result<crate::shop::Answer> {
    let body = shop.refund_body("R1", "W-100001", 400, 1_000);
    shop.try_wechat(Method::POST, "/v3/refund/domestic/refunds", Some(body)).await
}

async fn try_alipay_refund(shop: &Shop) -> reqwest::Result<crate::shop::GatewayAnswer> {
    let content = json!({ "out_trade_no": "A-100001", "out_request_no": "R1", "refund_amount": "4.00" });
    shop.try_alipay("alipay.trade.refund", content).await
}

#[tokio::test]
async fn a_timeout_holds_the_call_and_ends_it_without_an_answer_with_or_without_effect() {
    let shop = shop().await;
    for (kind, effect) in [("no_effect_timeout", 0), ("effect_then_timeout", 400)] {
        for wallet in ["wechat", "alipay"] {
            let fault = json!({ "wallet": wallet, "operation": "refund", "kind": kind, "times": 1, "delay_ms": 150 });
            shop.fault_with(fault).await;
            let begin = Instant::now();
            let failed = match wallet {
                "wechat" => try_wechat_refund(&shop).await.err(),
                _ => try_alipay_refund(&shop).await.err(),
            };
            assert!(failed.is_some_and(|error| !error.is_timeout()), "{kind} {wallet}: the line breaks");
            assert!(begin.elapsed() >= Duration::from_millis(150), "{kind} {wallet}");
            assert_eq!(refunded(&shop, wallet).await, effect, "{kind} {wallet}");
        }
    }
    // the same number afterwards: one refund, paid once
    assert_eq!(try_wechat_refund(&shop).await.unwrap().status, 200);
    assert_eq!(try_alipay_refund(&shop).await.unwrap().field("fund_change"), "N");
    assert_eq!((refunded(&shop, "wechat").await, refunded(&shop, "alipay").await), (json!(400), json!(400)));
    assert_eq!(shop.violations().await, [""; 0]);
    shop.close().await;
}

#[tokio::test]
async fn a_reset_after_effect_is_a_tcp_reset_and_a_timeout_an_orderly_close_and_neither_sends_a_byte() {
    let shop = shop().await;
    for (kind, expected) in [
        ("effect_then_reset", Err(ErrorKind::ConnectionReset)),
        ("effect_then_timeout", Ok(0)),
        ("no_effect_timeout", Ok(0)),
    ] {
        let fault = json!({ "wallet": "wechat", "operation": "refund", "kind": kind, "times": 1, "delay_ms": 0 });
        shop.fault_with(fault).await;
        let path = "/v3/refund/domestic/refunds";
        let body = shop.refund_body("R1", "W-100001", 400, 1_000).to_string();
        let authorization = shop.authorization("POST", path, &body);
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: sandbox\r\nAuthorization: {authorization}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(shop.sandbox.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).await.map_err(|error| error.kind());
        assert_eq!(end, expected, "{kind}");
        assert!(answer.is_empty(), "{kind}");
    }
    assert_eq!(refunded(&shop, "wechat").await, 400);
    shop.close().await;
}

#[tokio::test]
async fn a_held_call_holds_no_other_call() {
    let shop = shop().await;
    for wallet in ["wechat", "alipay"] {
        shop.fault_with(json!({ "wallet": wallet, "operation": "refund", "kind": "slow", "delay_ms": 2_000 })).await;
    }
    let begin = Instant::now();
    let held = async {
        let answers = tokio::join!(try_wechat_refund(&shop), try_alipay_refund(&shop));
        (answers, begin.elapsed())
    };
    let others = async {
        for _ in 0..10 {
            assert_eq!(shop.wechat_status("R9").await, "none");
        }
        begin.elapsed()
    };
    let (((wechat, alipay), held), others) = tokio::join!(held, others);
    assert!(others < held, "ten calls took {others:?}, the held one {held:?}");
    assert!(held >= Duration::from_secs(2));
    assert_eq!((wechat.unwrap().status, alipay.unwrap().field("fund_change")), (200, "Y".to_owned()));
    shop.close().await;
}

#[tokio::test]
async fn errors_without_effect_leave_the_books_alone() {
    let shop = shop().await;
    for (kind, status, code, is_genuine) in [
        ("http_500", 500, "", false),
        ("system_error", 500, "SYSTEM_ERROR", true),
        ("rate_limited", 429, "FREQUENCY_LIMITED", true),
        ("unsigned_error", 403, "NO_AUTH", false),
        ("not_enough_balance", 403, "NOT_ENOUGH", true),
    ] {
        shop.fault("wechat", "refund", kind).await;
        let answer = try_wechat_refund(&shop).await.unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let seen = (answer.status, body["code"].as_str().unwrap_or_default(), answer.is_genuine);
        assert_eq!(seen, (status, code, is_genuine), "{kind}");
    }
    for (kind, status, sub_code, is_genuine) in [
        ("http_500", 500, "", false),
        ("system_error", 200, "ACQ.SYSTEM_ERROR", true),
        ("rate_limited", 200, "isv.app-call-limited", true),
        ("unsigned_error", 200, "isv.insufficient-isv-permissions", false),
        ("not_enough_balance", 200, "ACQ.SELLER_BALANCE_NOT_ENOUGH", true),
    ] {
        shop.fault("alipay", "refund", kind).await;
        let answer = try_alipay_refund(&shop).await.unwrap();
        assert_eq!((answer.status, answer.is_genuine), (status, is_genuine), "{kind}");
        assert!(answer.text.contains(sub_code), "{kind}: {}", answer.text);
    }
    assert_eq!((refunded(&shop, "wechat").await, refunded(&shop, "alipay").await), (json!(0), json!(0)));
    assert_eq!(shop.violations().await, [""; 0]);
    shop.close().await;
}

#[tokio::test]
async fn a_bad_signature_and_a_garbage_body_come_after_the_effect() {
    let shop = shop().await;
    shop.fault("wechat", "refund", "bad_signature").await;
    let answer = try_wechat_refund(&shop).await.unwrap();
    assert_eq!((answer.status, answer.is_genuine), (200, false));
    assert_eq!(answer.json()["status"], "PROCESSING", "the body is the true one");
    shop.fault("alipay", "refund", "bad_signature").await;
    let answer = try_alipay_refund(&shop).await.unwrap();
    assert_eq!((answer.field("fund_change"), answer.is_genuine), ("Y".to_owned(), false));
    assert_eq!((refunded(&shop, "wechat").await, refunded(&shop, "alipay").await), (json!(400), json!(400)));

    shop.fault("wechat", "query_refund", "garbage_body").await;
    let answer = shop.wechat(Method::GET, "/v3/refund/domestic/refunds/R1", None).await;
    assert_eq!((answer.status, answer.is_genuine), (200, true), "signed, and yet unreadable");
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err());
    shop.fault("alipay", "query_refund", "garbage_body").await;
    let answer = shop.alipay_refund_query("R1", "A-100001").await;
    assert_eq!(answer.status, 200);
    assert!(serde_json::from_str::<Value>(&answer.text).is_err());
    shop.close().await;
}

#[tokio::test]
async fn a_refund_that_stays_processing_ends_by_a_control_call() {
    let shop = shop().await;
    shop.fault("wechat", "refund", "stay_processing").await;
    assert_eq!(try_wechat_refund(&shop).await.unwrap().status, 200);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(shop.wechat_status("R1").await, "PROCESSING");
    let settle =
        async |status: &str| shop.control(Method::POST, "/refunds/R1/settle", Some(json!({ "status": status }))).await;
    assert_eq!(settle("PROCESSING").await.0, 422);
    let (status, answer) = settle("SUCCESS").await;
    assert_eq!((status, &answer["times_paid"]), (200, &json!(1)));
    assert_eq!(settle("CLOSED").await.0, 409);
    assert_eq!(shop.wechat_status("R1").await, "SUCCESS");
    assert_eq!(shop.control(Method::POST, "/refunds/R9/settle", Some(json!({ "status": "SUCCESS" }))).await.0, 404);
    shop.close().await;
}

#[tokio::test]
async fn refunds_end_abnormal_or_closed_when_asked_and_a_closed_one_gives_its_amount_up() {
    let shop = shop().await;
    shop.order("wechat", "W-100002", 1_000, json!({})).await;
    shop.fault("wechat", "refund", "abnormal").await;
    assert_eq!(shop.wechat_refund("R1", "W-100001", 400, 1_000).await.json()["status"], "PROCESSING");
    shop.fault("wechat", "refund", "closed").await;
    assert_eq!(shop.wechat_refund("R2", "W-100002", 400, 1_000).await.json()["status"], "PROCESSING");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(
        (shop.wechat_status("R1").await.as_str(), shop.wechat_status("R2").await.as_str()),
        ("ABNORMAL", "CLOSED")
    );
    assert_eq!(shop.books("wechat", "W-100001").await["refunded_fen"], 400);
    assert_eq!(shop.books("wechat", "W-100002").await["refunded_fen"], 0);
    assert_eq!(shop.books("wechat", "W-100002").await["refunds"][0]["times_paid"], 0);
    shop.close().await;
}

#[tokio::test]
async fn a_fault_for_every_operation_meets_each_of_them_until_it_is_deleted() {
    let shop = shop().await;
    shop.fault_with(json!({ "wallet": "wechat", "operation": "*", "kind": "system_error" })).await;
    let mchid = shop.wechat["mchid"].as_str().unwrap().to_owned();
    let close = "/v3/pay/transactions/out-trade-no/W-100001/close";
    let reverse = "/v3/pay/transactions/out-trade-no/W-100001/reverse";
    for (method, path) in [
        (Method::GET, format!("/v3/pay/transactions/out-trade-no/W-100001?mchid={mchid}")),
        (Method::POST, "/v3/refund/domestic/refunds".to_owned()),
        (Method::GET, "/v3/refund/domestic/refunds/R1".to_owned()),
        (Method::POST, close.to_owned()),
        (Method::POST, reverse.to_owned()),
        (Method::GET, "/v3/certificates".to_owned()),
    ] {
        let answer = shop.wechat(method, &path, None).await;
        assert_eq!(answer.refusal(), (500, "SYSTEM_ERROR".to_owned()), "{path}");
    }
    shop.fault_with(json!({ "wallet": "alipay", "operation": "*", "kind": "system_error" })).await;
    for method in [
        "alipay.trade.query",
        "alipay.trade.refund",
        "alipay.trade.fastpay.refund.query",
        "alipay.trade.cancel",
        "alipay.trade.close",
    ] {
        assert_eq!(shop.alipay(method, json!({})).await.field("sub_code"), "ACQ.SYSTEM_ERROR", "{method}");
    }
    assert_eq!(shop.control(Method::DELETE, "/faults", None).await.0, 204);
    assert_eq!(try_wechat_refund(&shop).await.unwrap().status, 200);
    shop.close().await;
}

#[tokio::test]
async fn a_stop_lets_held_calls_go() {
    let shop = shop().await;
    shop.fault("wechat", "refund", "effect_then_timeout").await; // thirty seconds
    let path = "/v3/refund/domestic/refunds";
    let body = shop.refund_body("R1", "W-100001", 400, 1_000);
    let held =
        shop.http.post(shop.url(path)).header("Authorization", shop.authorization("POST", path, &body.to_string()));
    let held = tokio::spawn(held.body(body.to_string()).send());
    while refunded(&shop, "wechat").await != 400 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begin = Instant::now();
    shop.close().await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(held.await.unwrap().is_err());
}

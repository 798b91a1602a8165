//! WeChat Pay over HTTP.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;

use crate::shop::{Shop, nonce};

fn order_path(shop: &Shop, number: &str) -> String {
    format!("/v3/pay/transactions/out-trade-no/{number}?mchid={}", shop.wechat["mchid"].as_str().unwrap())
}

#[tokio::test]
async fn a_paid_order_is_refunded_once_and_every_answer_is_signed() {
    let shop = Shop::open().await;
    let made = shop.order("wechat", "T-100001", 5_000, json!({})).await;
    let transaction = made["transaction_id"].as_str().unwrap();
    assert_eq!((transaction.len(), &transaction[..4]), (28, "4200"));

    let answer = shop.wechat(Method::GET, &order_path(&shop, "T-100001"), None).await;
    assert_eq!((answer.status, answer.is_genuine), (200, true));
    assert_eq!(answer.json()["trade_state"], "SUCCESS");
    assert_eq!(answer.json()["amount"]["total"], 5_000);
    assert_eq!(answer.json()["payer"]["openid"], made["payer"]);
    assert!(!answer.header("request-id").is_empty());

    let taken = shop.wechat_refund("R1", "T-100001", 2_000, 5_000).await;
    assert_eq!((taken.status, taken.is_genuine), (200, true));
    let refund = taken.json();
    assert_eq!((&refund["status"], &refund["amount"]["refund"]), (&json!("PROCESSING"), &json!(2_000)));
    let repeat = shop.wechat_refund("R1", "T-100001", 2_000, 5_000).await.json();
    assert_eq!(repeat["refund_id"], refund["refund_id"]);

    let path = format!("/v3/pay/transactions/id/{transaction}?mchid={}", shop.wechat["mchid"].as_str().unwrap());
    assert_eq!(shop.wechat(Method::GET, &path, None).await.json()["trade_state"], "REFUND");

    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let done = shop.wechat(Method::GET, "/v3/refund/domestic/refunds/R1", None).await;
    assert_eq!((done.json()["status"].as_str(), done.is_genuine), (Some("SUCCESS"), true));
    assert!(done.json()["success_time"].as_str().unwrap().ends_with("+08:00"));

    let books = shop.books("wechat", "T-100001").await;
    assert_eq!(books["refunded_fen"], 2_000);
    assert_eq!((&books["refunds"][0]["times_paid"], &books["refunds"][0]["status"]), (&json!(1), &json!("SUCCESS")));
    assert_eq!(shop.violations().await, [""; 0]);
    shop.close().await;
}

#[tokio::test]
async fn refusals_come_in_the_contracts_order_and_change_nothing() {
    let shop = Shop::with(|options| options.time_scale = 20).await; // three seconds between refunds
    shop.order("wechat", "T-100001", 1_000, json!({})).await;
    shop.order("wechat", "T-UNPAID", 1_000, json!({ "state": "unpaid" })).await;
    shop.order("wechat", "T-OLD", 1_000, json!({ "paid_at": "2020-01-01T00:00:00+08:00" })).await;
    let refusal = async |number: &str, order: &str, refund: i64, total: i64| {
        let answer = shop.wechat_refund(number, order, refund, total).await;
        assert!(answer.is_genuine, "errors are signed too");
        answer.refusal()
    };
    let invalid = (400, "INVALID_REQUEST".to_owned());
    assert_eq!(refusal("R1", "T-NONE", 1, 1).await, (404, "RESOURCE_NOT_EXISTS".to_owned()));
    assert_eq!(refusal("R1", "T-UNPAID", 1, 1_000).await, (404, "RESOURCE_NOT_EXISTS".to_owned()));
    assert_eq!(refusal("R1", "T-OLD", 1, 1_000).await, invalid);
    assert_eq!(refusal("R1", "T-100001", 1, 999).await, invalid, "the total differs");
    assert_eq!(shop.ledger().await["refunds"], 0);
    assert_eq!(shop.violations().await, [""; 0]);

    assert_eq!(refusal("R1", "T-100001", 1_001, 1_000).await, invalid);
    assert_eq!(shop.violations().await, ["stopped_by_the_rest"]);
    assert_eq!(shop.wechat_refund("R1", "T-100001", 600, 1_000).await.status, 200);
    assert_eq!(refusal("R1", "T-100001", 601, 1_000).await, invalid);
    assert_eq!(shop.violations().await, ["stopped_by_the_rest", "number_reused"]);
    assert_eq!(refusal("R2", "T-100001", 400, 1_000).await, invalid, "a minute between two refunds");
    tokio::time::sleep(Duration::from_millis(3_050)).await;
    assert_eq!(shop.wechat_refund("R2", "T-100001", 400, 1_000).await.status, 200);
    assert_eq!(shop.books("wechat", "T-100001").await["refunded_fen"], 1_000);
    shop.close().await;
}

#[tokio::test]
async fn sixty_four_refunds_at_once_never_pass_the_amount() {
    let shop = Shop::with(|options| options.time_scale = 60_000).await; // a millisecond between refunds
    shop.order("wechat", "T-100001", 1_000, json!({})).await;
    let calls = (0..64).map(|n| format!("R{n}")).collect::<Vec<_>>();
    let mut taken = 0;
    for chunk in calls.chunks(16) {
        let sends = chunk.iter().map(|number| shop.wechat_refund(number, "T-100001", 90, 1_000));
        taken += join_all(sends).await.iter().filter(|answer| answer.status == 200).count();
    }
    let books = shop.books("wechat", "T-100001").await;
    assert_eq!(books["refunded_fen"], 90 * i64::try_from(taken).unwrap());
    assert!((1..=11).contains(&taken), "{taken}");
    assert!(shop.violations().await.iter().all(|kind| kind == "stopped_by_the_rest"));
    shop.close().await;
}

async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in futures.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_bad_parameter_is_named() {
    let shop = Shop::open().await;
    shop.order("wechat", "T-100001", 1_000, json!({})).await;
    let good = shop.refund_body("R1", "T-100001", 100, 1_000);
    let cases = [
        ("/amount/refund", json!({ "amount": { "refund": 1.5, "total": 1_000, "currency": "CNY" } })),
        ("/amount/refund", json!({ "amount": { "refund": 0, "total": 1_000, "currency": "CNY" } })),
        ("/amount/total", json!({ "amount": { "refund": 1, "currency": "CNY" } })),
        ("/amount/currency", json!({ "amount": { "refund": 1, "total": 1_000, "currency": "USD" } })),
        ("/amount", json!({ "amount": null })),
        ("/out_refund_no", json!({ "out_refund_no": "R 1" })),
        ("/out_refund_no", json!({ "out_refund_no": "R".repeat(65) })),
        ("/transaction_id", json!({ "transaction_id": "4200" })),
        ("/transaction_id", json!({ "out_trade_no": null })),
        ("/reason", json!({ "reason": "长".repeat(81) })),
        ("/notify_url", json!({ "notify_url": "http://shop.example/n" })),
        ("/notify_url", json!({ "notify_url": "https://shop.example/n?x=1" })),
        ("/sub_mchid", json!({ "sub_mchid": "1" })),
        (
            "/amount/from",
            json!({ "amount": { "refund": 5, "total": 1_000, "currency": "CNY", "from": [{ "account": "AVAILABLE", "amount": 4 }] } }),
        ),
    ];
    for (field, change) in cases {
        let mut body = good.clone();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = shop.wechat(Method::POST, "/v3/refund/domestic/refunds", Some(body)).await;
        assert_eq!(answer.refusal(), (400, "PARAM_ERROR".to_owned()), "{change}");
        assert_eq!(answer.json()["detail"]["field"], field, "{change}");
    }
    let path = "/v3/refund/domestic/refunds";
    let authorization = shop.authorization("POST", path, "{nonsense");
    let answer = shop.send_wechat(Method::POST, path, "{nonsense".into(), &authorization, None).await.unwrap();
    assert_eq!(answer.refusal(), (400, "PARAM_ERROR".to_owned()));
    assert_eq!(shop.ledger().await["refunds"], 0);
    shop.close().await;
}

#[tokio::test]
async fn a_forged_request_is_refused_and_the_answer_says_which_part_is_wrong() {
    let shop = Shop::open().await;
    shop.order("wechat", "T-100001", 1_000, json!({})).await;
    let path = "/v3/refund/domestic/refunds";
    let body = shop.refund_body("R1", "T-100001", 100, 1_000).to_string();
    let now = Timestamp::now().as_second();
    let good = shop.authorization("POST", path, &body);
    let other = shop.refund_body("R1", "T-100001", 999, 1_000).to_string();
    let mut cases = vec![
        (String::new(), "Authorization"),
        ("Bearer abc".to_owned(), "Authorization"),
        (good.replace("mchid=\"", "mchid=\"9"), "mchid"),
        (good.replace("serial_no=\"", "serial_no=\"9"), "serial_no"),
        (shop.authorization("POST", path, &other), "signature"),
        (shop.authorization("POST", path, ""), "signature"),
        (shop.authorization("GET", path, &body), "signature"),
        (shop.authorization("POST", "/v3/other", &body), "signature"),
        (shop.authorization_at("POST", path, &body, now - 11, &nonce()), "timestamp"),
        (shop.authorization_at("POST", path, &body, now + 15, &nonce()), "timestamp"),
    ];
    cases.push((good.replace("signature=\"", "signature=\"AAAA"), "signature"));
    for (authorization, field) in cases {
        let answer = shop.send_wechat(Method::POST, path, body.clone(), &authorization, None).await.unwrap();
        assert_eq!(answer.refusal(), (401, "SIGN_ERROR".to_owned()), "{authorization}");
        assert_eq!(answer.json()["detail"]["field"], field, "{authorization}");
        assert!(answer.is_genuine, "signed by the platform certificate");
    }
    assert_eq!(shop.ledger().await["refunds"], 0);

    let unsigned_body = shop.authorization("POST", path, "");
    let answer = shop.send_wechat(Method::POST, path, body.clone(), &unsigned_body, None).await.unwrap();
    assert!(answer.json()["message"].as_str().unwrap().contains("fits an empty body"));

    assert_eq!(shop.send_wechat(Method::POST, path, body.clone(), &good, None).await.unwrap().status, 200);
    let again = shop.send_wechat(Method::POST, path, body, &good, None).await.unwrap();
    assert_eq!(again.json()["detail"]["field"], "nonce_str", "a nonce is good once");
    shop.close().await;
}

#[tokio::test]
async fn the_answers_key_follows_wechatpay_serial_and_a_lower_case_serial_no_is_taken() {
    let shop = Shop::open().await;
    shop.order("wechat", "T-100001", 1_000, json!({})).await;
    let path = order_path(&shop, "T-100001");
    let certificate = shop.wechat["platform_serial"].as_str().unwrap().to_owned();
    let public_key = shop.wechat["platform_public_key_id"].as_str().unwrap().to_owned();
    let merchant_serial = shop.wechat["merchant_serial"].as_str().unwrap();
    for (sent, expected) in [
        (None, &certificate),
        (Some(public_key.as_str()), &public_key),
        (Some(certificate.as_str()), &certificate),
        (Some("UNKNOWN"), &certificate),
    ] {
        let authorization = shop.authorization("GET", &path, "");
        let authorization = authorization.replace(merchant_serial, &merchant_serial.to_lowercase());
        let answer = shop.send_wechat(Method::GET, &path, String::new(), &authorization, sent).await.unwrap();
        assert_eq!((answer.status, answer.is_genuine), (200, true), "{sent:?}");
        assert_eq!(&answer.header("wechatpay-serial"), expected);
    }
    shop.close().await;
}

#[tokio::test]
async fn closing_answers_204_signed_over_nothing_and_only_unpaid_orders_close() {
    let shop = Shop::open().await;
    shop.order("wechat", "T-PAID", 1_000, json!({})).await;
    shop.order("wechat", "T-UNPAID", 1_000, json!({ "state": "unpaid" })).await;
    let close = async |number: &str| {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}/close");
        shop.wechat(Method::POST, &path, Some(json!({ "mchid": shop.wechat["mchid"] }))).await
    };
    assert_eq!(close("T-PAID").await.refusal(), (400, "INVALID_REQUEST".to_owned()));
    let closed = close("T-UNPAID").await;
    assert_eq!((closed.status, closed.is_genuine, closed.body.len()), (204, true, 0));
    let answer = shop.wechat(Method::GET, &order_path(&shop, "T-UNPAID"), None).await;
    assert_eq!(answer.json()["trade_state"], "CLOSED");
    assert_eq!(shop.books("wechat", "T-UNPAID").await["state"], "closed");
    shop.close().await;
}

#[tokio::test]
async fn a_code_payment_is_reversed_and_other_payments_are_not() {
    let shop = Shop::open().await;
    let before = (Timestamp::now() - Duration::from_secs(60)).to_string();
    shop.order("wechat", "T-CODE", 1_000, json!({ "trade_type": "MICROPAY", "paid_at": before })).await;
    shop.order("wechat", "T-JSAPI", 1_000, json!({ "trade_type": "JSAPI", "paid_at": before })).await;
    let reverse = async |number: &str| {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}/reverse");
        let body = json!({ "mchid": shop.wechat["mchid"], "appid": shop.wechat["appid"] });
        shop.wechat(Method::POST, &path, Some(body)).await
    };
    assert_eq!(reverse("T-JSAPI").await.refusal(), (400, "INVALID_REQUEST".to_owned()));
    for _ in 0..2 {
        assert_eq!(reverse("T-CODE").await.json()["out_trade_no"], "T-CODE");
    }
    let answer = shop.wechat(Method::GET, &order_path(&shop, "T-CODE"), None).await;
    assert_eq!(answer.json()["trade_state"], "REVOKED");
    assert_eq!(shop.books("wechat", "T-CODE").await["refunded_fen"], 1_000);
    assert_eq!(shop.books("wechat", "T-CODE").await["void"]["times_paid"], 1);
    shop.close().await;
}

#[tokio::test]
async fn unknown_paths_and_unknown_orders_are_the_wallets_own_404() {
    let shop = Shop::open().await;
    let answer = shop.wechat(Method::GET, "/v3/nothing/here", None).await;
    assert_eq!((answer.refusal(), answer.is_genuine), ((404, "NOT_FOUND".to_owned()), true));
    let answer = shop.wechat(Method::GET, &order_path(&shop, "T-NONE"), None).await;
    assert_eq!((answer.refusal(), answer.is_genuine), ((404, "ORDER_NOT_EXIST".to_owned()), true));
    let answer = shop.wechat(Method::GET, "/v3/refund/domestic/refunds/R1", None).await;
    assert_eq!(answer.refusal(), (404, "RESOURCE_NOT_EXISTS".to_owned()));
    let answer = shop.wechat(Method::GET, "/v3/pay/transactions/out-trade-no/T-NONE", None).await;
    assert_eq!(answer.refusal(), (400, "PARAM_ERROR".to_owned()), "mchid is required");
    shop.close().await;
}

#[tokio::test]
async fn a_payment_code_is_no_order_number() {
    let shop = Shop::open().await;
    let made = shop.order("wechat", "T-100001", 1_000, json!({})).await;
    let code = made["payment_code"].as_str().unwrap();
    assert_eq!(code.len(), 18);
    let answer = shop.wechat(Method::GET, &order_path(&shop, code), None).await;
    assert_eq!(answer.status, 404);
    assert_eq!(shop.wechat_refund("R1", code, 1, 1_000).await.status, 404);
    shop.close().await;
}

#[tokio::test]
async fn an_absolute_form_request_line_is_understood() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let shop = Shop::open().await;
    shop.order("wechat", "T-100001", 1_000, json!({})).await;
    let path = order_path(&shop, "T-100001");
    let authorization = shop.authorization("GET", &path, "");
    let mut stream = tokio::net::TcpStream::connect(shop.sandbox.address()).await.unwrap();
    let request = format!(
        "GET http://api.mch.weixin.qq.com{path} HTTP/1.1\r\nHost: api.mch.weixin.qq.com\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    shop.close().await;
}

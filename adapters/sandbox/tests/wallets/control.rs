//! The control calls: what they give, and what they say to bad input.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{Shop, certificate_key};

#[tokio::test]
async fn bad_input_is_refused_and_the_field_is_named() {
    let shop = Shop::open().await;
    let order = json!({ "wallet": "wechat", "out_trade_no": "T-1", "amount_fen": 100 });
    let fault = json!({ "wallet": "wechat", "operation": "refund", "kind": "slow" });
    let cases = [
        ("/orders", &order, "wallet", json!("paypal")),
        ("/orders", &order, "wallet", Value::Null),
        ("/orders", &order, "out_trade_no", json!("")),
        ("/orders", &order, "out_trade_no", json!("T 1")),
        ("/orders", &order, "out_trade_no", json!("T".repeat(33))),
        ("/orders", &order, "amount_fen", json!(0)),
        ("/orders", &order, "amount_fen", json!(1.5)),
        ("/orders", &order, "amount_fen", json!("100")),
        ("/orders", &order, "state", json!("lost")),
        ("/orders", &order, "paid_at", json!("yesterday")),
        ("/orders", &order, "paid_at", json!("2999-01-01T00:00:00Z")),
        ("/orders", &order, "trade_type", json!("CASH")),
        ("/orders", &order, "notify_url", json!("http://shop.example/")),
        ("/orders", &order, "payer", json!("a b")),
        ("/orders", &order, "colour", json!("red")),
        ("/faults", &fault, "operation", json!("everything")),
        ("/faults", &fault, "kind", json!("flood")),
        ("/faults", &fault, "kind", json!("drop_notification")),
        ("/faults", &fault, "times", json!(0)),
        ("/faults", &fault, "probability", json!(1.1)),
        ("/faults", &fault, "probability", json!(0)),
        ("/faults", &fault, "delay_ms", json!(-1)),
        ("/faults", &fault, "delay", json!(1)),
    ];
    for (path, good, field, value) in cases {
        let mut body = good.clone();
        body[field] = value.clone();
        let (status, answer) = shop.control(Method::POST, path, Some(body)).await;
        assert_eq!((status, &answer["code"]), (422, &json!("validation_failed")), "{path} {field} {value}");
        assert_eq!(answer["errors"][0]["field"], field, "{path} {field} {value}");
    }
    let ledger = shop.ledger().await;
    assert_eq!((&ledger["orders"], &ledger["refunds"], &ledger["refunded_fen"]), (&json!(0), &json!(0), &json!(0)));
    let answer = shop.http.post(shop.url("/_sandbox/orders")).body("{").send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(shop.control(Method::GET, "/nothing", None).await.0, 404);
    assert_eq!(shop.control(Method::PUT, "/ledger", None).await.0, 405);
    assert_eq!(shop.http.get(shop.url("/nothing")).send().await.unwrap().status(), 404);
    shop.close().await;
}

#[tokio::test]
async fn an_order_is_made_once_and_found_by_its_number_where_only_one_wallet_has_it() {
    let shop = Shop::open().await;
    let made = shop.order("wechat", "T-1", 100, json!({ "payer": "oPayer_1" })).await;
    assert_eq!(made["payer"], "oPayer_1");
    let again = json!({ "wallet": "wechat", "out_trade_no": "T-1", "amount_fen": 100 });
    assert_eq!(shop.control(Method::POST, "/orders", Some(again)).await.0, 409);
    let (status, books) = shop.control(Method::GET, "/orders/T-1", None).await;
    assert_eq!((status, &books["wallet"]), (200, &json!("wechat")));
    shop.order("alipay", "T-1", 200, json!({})).await;
    let (status, answer) = shop.control(Method::GET, "/orders/T-1", None).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("wallet")));
    assert_eq!(shop.books("alipay", "T-1").await["amount_fen"], 200);
    assert_eq!(shop.control(Method::GET, "/orders/T-2", None).await.0, 404);
    shop.order("wechat", "A|B*C", 100, json!({})).await;
    assert_eq!(shop.control(Method::GET, "/orders/A%7CB%2AC", None).await.1["out_trade_no"], "A|B*C");
    shop.close().await;
}

#[tokio::test]
async fn orders_can_be_made_in_every_state_of_the_contract() {
    let shop = Shop::open().await;
    for (state, refunded, trade_state, trade_status) in [
        ("unpaid", 0, "NOTPAY", "WAIT_BUYER_PAY"),
        ("paid", 0, "SUCCESS", "TRADE_SUCCESS"),
        ("partially_refunded", 500, "REFUND", "TRADE_SUCCESS"),
        ("refunded", 1_000, "REFUND", "TRADE_CLOSED"),
        ("voided", 1_000, "REVOKED", "TRADE_CLOSED"),
        ("closed", 0, "CLOSED", "TRADE_CLOSED"),
    ] {
        for wallet in ["wechat", "alipay"] {
            shop.order(wallet, state, 1_000, json!({ "state": state })).await;
            let books = shop.books(wallet, state).await;
            assert_eq!((&books["state"], &books["refunded_fen"]), (&json!(state), &json!(refunded)), "{wallet}");
        }
        let mchid = shop.wechat["mchid"].as_str().unwrap();
        let path = format!("/v3/pay/transactions/out-trade-no/{state}?mchid={mchid}");
        assert_eq!(shop.wechat(Method::GET, &path, None).await.json()["trade_state"], trade_state);
        let answer = shop.alipay("alipay.trade.query", json!({ "out_trade_no": state })).await;
        assert_eq!(answer.field("trade_status"), trade_status);
    }
    assert_eq!(shop.violations().await, [""; 0]);
    shop.close().await;
}

#[tokio::test]
async fn frames_are_pictures_of_the_kind_that_was_asked_for() {
    let shop = Shop::open().await;
    shop.order("wechat", "T-100001", 100, json!({})).await;
    let frame = async |query: &str| shop.http.get(shop.url(&format!("/_sandbox/frame?{query}"))).send().await.unwrap();
    let begin_of = |format: &str| if format == "png" { &b"\x89PNG"[..] } else { &b"\xff\xd8\xff"[..] };
    for show in ["payment_code", "bill_code"] {
        for symbology in ["qr_code", "code_128"] {
            for format in ["jpeg", "png"] {
                let query =
                    format!("wallet=wechat&out_trade_no=T-100001&show={show}&symbology={symbology}&format={format}");
                let answer = frame(&query).await;
                assert_eq!(
                    (answer.status().as_u16(), &answer.headers()["content-type"]),
                    (200, &format!("image/{format}").parse().unwrap())
                );
                let picture = answer.bytes().await.unwrap();
                assert!(picture.starts_with(begin_of(format)), "{query}");
                let picture = image::load_from_memory(&picture).unwrap();
                assert_eq!((picture.width(), picture.height()), (1_280, 720));
            }
        }
    }
    for (query, field) in [
        ("out_trade_no=T-100001", "show"),
        ("show=bill_code", "out_trade_no"),
        ("out_trade_no=T-100001&show=face", "show"),
        ("out_trade_no=T-100001&show=bill_code&symbology=ean", "symbology"),
        ("out_trade_no=T-100001&show=bill_code&format=gif", "format"),
        ("out_trade_no=T-100001&show=bill_code&size=9", "size"),
    ] {
        let answer = frame(query).await;
        assert_eq!(answer.status(), 422, "{query}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["errors"][0]["field"], field, "{query}");
    }
    assert_eq!(frame("out_trade_no=T-2&show=bill_code").await.status(), 404);
    assert_eq!(frame("wallet=wechat&out_trade_no=T-2&show=bill_code").await.status(), 404);
    shop.close().await;
}

#[tokio::test]
async fn after_a_rotation_both_certificates_are_listed_and_the_new_one_signs() {
    let shop = Shop::open().await;
    let (status, rotated) = shop.control(Method::POST, "/rotate", None).await;
    let fresh = rotated["platform_serial"].as_str().unwrap();
    assert_eq!((status, rotated["valid"].as_array().unwrap().len()), (201, 2));
    assert_ne!(fresh, shop.wechat["platform_serial"]);

    let path = "/v3/certificates";
    let authorization = shop.authorization("GET", path, "");
    let answer = shop.send_wechat(Method::GET, path, String::new(), &authorization, None).await.unwrap();
    assert_eq!(answer.header("wechatpay-serial"), fresh);
    let list = answer.json();
    let list = list["data"].as_array().unwrap();
    let keys: Vec<_> = list.iter().map(|one| certificate_key(&open(&shop, &one["encrypt_certificate"]))).collect();
    let serials: Vec<&str> = keys.iter().map(|(serial, _)| serial.as_str()).collect();
    assert_eq!(serials, [shop.wechat["platform_serial"].as_str().unwrap(), fresh]);
    let message = [
        format!("{}\n{}\n", answer.header("wechatpay-timestamp"), answer.header("wechatpay-nonce")).as_bytes(),
        &answer.body,
        b"\n",
    ]
    .concat();
    assert!(crate::shop::verifies(&keys[1].1, &message, &answer.header("wechatpay-signature")));

    // the former one still signs for who names it
    let old = shop.wechat["platform_serial"].as_str().unwrap();
    let authorization = shop.authorization("GET", path, "");
    let answer = shop.send_wechat(Method::GET, path, String::new(), &authorization, Some(old)).await.unwrap();
    assert_eq!((answer.header("wechatpay-serial").as_str(), answer.is_genuine), (old, true));
    shop.close().await;
}

fn open(shop: &Shop, sealed: &Value) -> String {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    let text = |name: &str| sealed[name].as_str().unwrap();
    let key = UnboundKey::new(&AES_256_GCM, shop.wechat["apiv3_key"].as_str().unwrap().as_bytes()).unwrap();
    let nonce = Nonce::try_assume_unique_for_key(text("nonce").as_bytes()).unwrap();
    let mut bytes = BASE64.decode(text("ciphertext")).unwrap();
    let plain = LessSafeKey::new(key).open_in_place(nonce, Aad::from(text("associated_data")), &mut bytes).unwrap();
    String::from_utf8(plain.to_vec()).unwrap()
}

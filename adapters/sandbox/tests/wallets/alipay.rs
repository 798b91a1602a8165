//! Alipay over HTTP.

use std::time::Duration;

use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};
use serde_json::{Value, json};

use crate::shop::Shop;

#[tokio::test]
async fn a_paid_trade_is_refunded_in_parts_and_the_fee_is_the_sum() {
    let shop = Shop::open().await;
    let made = shop.order("alipay", "A-100001", 5_000, json!({})).await;
    let answer = shop.alipay("alipay.trade.query", json!({ "out_trade_no": "A-100001" })).await;
    assert_eq!((answer.node_name.as_str(), answer.is_genuine), ("alipay_trade_query_response", true));
    assert_eq!((answer.field("code"), answer.field("trade_status")), ("10000".into(), "TRADE_SUCCESS".into()));
    assert_eq!(
        (answer.field("total_amount"), answer.field("trade_no")),
        ("50.00".into(), made["transaction_id"].as_str().unwrap().into())
    );
    assert_eq!(answer.field("buyer_user_id"), made["payer"]);
    assert!(answer.text.contains("},\"sign\":\""), "nothing stands between node and sign");

    let first = shop.alipay_refund("R1", "A-100001", "12.50").await;
    assert_eq!((first.field("fund_change"), first.field("refund_fee")), ("Y".into(), "12.50".into()));
    assert!(first.is_genuine);
    let repeat = shop.alipay_refund("R1", "A-100001", "12.50").await;
    assert_eq!((repeat.field("fund_change"), repeat.field("refund_fee")), ("N".into(), "12.50".into()));

    let record = shop.alipay_refund_query("R1", "A-100001").await;
    assert_eq!(
        (record.field("refund_status"), record.field("refund_amount")),
        ("REFUND_SUCCESS".into(), "12.50".into())
    );
    assert_eq!(record.field("total_amount"), "50.00");
    let unknown = shop.alipay_refund_query("R2", "A-100001").await;
    assert_eq!(unknown.raw, r#"{"code":"10000","msg":"Success"}"#);

    tokio::time::sleep(Duration::from_millis(60)).await;
    let rest = shop.alipay_refund("R2", "A-100001", "37.5").await;
    assert_eq!((rest.field("fund_change"), rest.field("refund_fee")), ("Y".into(), "50.00".into()));
    let answer = shop.alipay("alipay.trade.query", json!({ "trade_no": made["transaction_id"] })).await;
    assert_eq!(answer.field("trade_status"), "TRADE_CLOSED");
    let books = shop.books("alipay", "A-100001").await;
    assert_eq!((&books["refunded_fen"], &books["refunds"][1]["times_paid"]), (&json!(5_000), &json!(1)));
    assert_eq!(shop.violations().await, [""; 0]);
    shop.close().await;
}

#[tokio::test]
async fn refusals_carry_the_wallets_codes_and_change_nothing() {
    let shop = Shop::open().await;
    shop.order("alipay", "A-100001", 1_000, json!({})).await;
    shop.order("alipay", "A-UNPAID", 1_000, json!({ "state": "unpaid" })).await;
    shop.order("alipay", "A-CLOSED", 1_000, json!({ "state": "closed" })).await;
    shop.order("alipay", "A-OLD", 1_000, json!({ "paid_at": "2020-01-01T00:00:00+08:00" })).await;
    let refused = async |content: Value| {
        let answer = shop.alipay("alipay.trade.refund", content).await;
        assert_eq!((answer.field("code"), answer.field("refund_fee")), ("40004".into(), "0.00".into()));
        assert!(answer.is_genuine, "errors are signed too");
        answer.field("sub_code")
    };
    let of = |order: &str, number: &str, amount: &str| json!({ "out_trade_no": order, "out_request_no": number, "refund_amount": amount });
    assert_eq!(refused(of("A-NONE", "R1", "1.00")).await, "ACQ.TRADE_NOT_EXIST");
    assert_eq!(refused(of("A-UNPAID", "R1", "1.00")).await, "ACQ.TRADE_STATUS_ERROR");
    assert_eq!(refused(of("A-CLOSED", "R1", "1.00")).await, "ACQ.TRADE_HAS_CLOSE");
    assert_eq!(refused(of("A-OLD", "R1", "1.00")).await, "ACQ.TRADE_HAS_FINISHED");
    for amount in ["0.00", "-1", "1.234", "abc", ""] {
        assert_eq!(refused(of("A-100001", "R1", amount)).await, "ACQ.INVALID_PARAMETER", "{amount}");
    }
    assert_eq!(refused(json!({ "refund_amount": "1.00" })).await, "ACQ.INVALID_PARAMETER");
    let whole_only = json!({ "out_trade_no": "A-100001", "refund_amount": "1.00" });
    assert_eq!(refused(whole_only).await, "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL");
    assert_eq!(shop.violations().await, [""; 0]);

    assert_eq!(refused(of("A-100001", "R1", "10.01")).await, "ACQ.REASON_TRADE_REFUND_FEE_ERR");
    assert_eq!(shop.violations().await, ["stopped_by_the_rest"]);
    assert_eq!(shop.alipay_refund("R1", "A-100001", "4.00").await.field("fund_change"), "Y");
    assert_eq!(refused(of("A-100001", "R1", "4.01")).await, "ACQ.DISCORDANT_REPEAT_REQUEST");
    assert_eq!(shop.violations().await, ["stopped_by_the_rest", "number_reused"]);
    assert_eq!(shop.books("alipay", "A-100001").await["refunded_fen"], 400);
    shop.close().await;
}

#[tokio::test]
async fn less_than_three_seconds_after_another_refund_is_a_system_error_without_effect() {
    let shop = Shop::with(|options| options.time_scale = 1).await;
    shop.order("alipay", "A-100001", 1_000, json!({})).await;
    shop.alipay_refund("R1", "A-100001", "1.00").await;
    let refused = shop.alipay_refund("R2", "A-100001", "1.00").await;
    assert_eq!((refused.field("code"), refused.field("sub_code")), ("40004".into(), "ACQ.SYSTEM_ERROR".into()));
    assert_eq!(shop.books("alipay", "A-100001").await["refunded_fen"], 100);
    assert_eq!(shop.violations().await, [""; 0]);
    shop.close().await;
}

#[tokio::test]
async fn parameters_may_come_in_the_query_the_form_or_both() {
    let shop = Shop::open().await;
    shop.order("alipay", "A-100001", 1_000, json!({})).await;
    let content = json!({ "out_trade_no": "A-100001" });
    let params = || shop.params("alipay.trade.query", &content, &[]);
    let url = shop.url("/gateway.do");
    let get = shop.http.get(&url).query(&params()).send().await.unwrap();
    let form = shop.http.post(&url).form(&params()).send().await.unwrap();
    let (common, business): (Vec<_>, Vec<_>) = params().into_iter().partition(|(name, _)| name != "biz_content");
    let split = shop.http.post(&url).query(&common).form(&business).send().await.unwrap();
    for answer in [get, form, split] {
        let answer = shop.read_alipay(answer).await.unwrap();
        assert_eq!((answer.field("code"), answer.is_genuine), ("10000".into(), true));
    }
    shop.close().await;
}

#[tokio::test]
async fn the_gateway_refuses_what_is_missing_forged_or_late() {
    let shop = Shop::open().await;
    shop.order("alipay", "A-100001", 1_000, json!({})).await;
    let content = json!({ "out_trade_no": "A-100001", "out_request_no": "R1", "refund_amount": "1.00" });
    let sub_code = async |params: &[(String, String)]| {
        let answer = shop.post_alipay(params).await.unwrap();
        assert_eq!((answer.status, answer.node_name.as_str(), answer.is_genuine), (200, "error_response", true));
        answer.field("sub_code")
    };
    let late = Timestamp::now().to_zoned(TimeZone::fixed(Offset::constant(8))) - Duration::from_secs(12);
    let late = late.strftime("%Y-%m-%d %H:%M:%S").to_string();
    for (name, value, expected) in [
        ("app_id", "2021000000000000", "isv.invalid-app-id"),
        ("method", "alipay.trade.nothing", "isv.invalid-method"),
        ("sign_type", "RSA", "isv.invalid-signature-type"),
        ("charset", "gbk", "isv.invalid-charset"),
        ("format", "xml", "isv.invalid-format"),
        ("version", "2.0", "isv.invalid-parameter"),
        ("timestamp", late.as_str(), "isv.invalid-timestamp"),
        ("timestamp", "yesterday", "isv.invalid-timestamp"),
        ("app_cert_sn", "0123", "isv.invalid-parameter"),
        ("encrypt_type", "DES", "isv.invalid-encrypt-type"),
        ("app_id", "", "isv.missing-app-id"),
        ("method", "", "isv.missing-method"),
        ("timestamp", "", "isv.missing-timestamp"),
        ("version", "", "isv.missing-version"),
        ("sign_type", "", "isv.missing-signature-type"),
    ] {
        let params = shop.params("alipay.trade.refund", &content, &[(name, value)]);
        assert_eq!(sub_code(&params).await, expected, "{name}={value}");
    }
    let mut unsigned = shop.params("alipay.trade.refund", &content, &[]);
    unsigned.retain(|(name, _)| name != "sign");
    assert_eq!(sub_code(&unsigned).await, "isv.missing-signature");
    let mut forged = shop.params("alipay.trade.refund", &content, &[]);
    for (name, value) in &mut forged {
        if name == "biz_content" {
            *value = value.replace("1.00", "9.00");
        }
    }
    assert_eq!(sub_code(&forged).await, "isv.invalid-signature");
    let mut without_type = shop.params("alipay.trade.refund", &content, &[]);
    without_type.retain(|(name, _)| name != "sign_type");
    shop.sign_params(&mut without_type);
    without_type.push(("sign_type".into(), "RSA2".into()));
    let answer = shop.post_alipay(&without_type).await.unwrap();
    assert!(answer.field("sub_msg").contains("sign_type"), "{}", answer.raw);
    assert_eq!(shop.ledger().await["refunds"], 0);
    shop.close().await;
}

#[tokio::test]
async fn certificate_mode_is_answered_with_the_certificates_number() {
    let shop = Shop::open().await;
    shop.order("alipay", "A-100001", 1_000, json!({})).await;
    let app = sn(&shop, "app_cert.pem");
    let root = sn(&shop, "alipay_root_cert.pem");
    assert_eq!(root.len(), 65, "two roots");
    let more = [("app_cert_sn", app.as_str()), ("alipay_root_cert_sn", root.as_str())];
    let params = shop.params("alipay.trade.query", &json!({ "out_trade_no": "A-100001" }), &more);
    let answer = shop.post_alipay(&params).await.unwrap();
    assert_eq!((answer.field("code"), answer.is_genuine), ("10000".into(), true));
    assert_eq!(answer.cert_sn, Some(sn(&shop, "alipay_cert.pem")));
    shop.close().await;
}

/// The number of each certificate of a file, as integrators compute it; root files are split at empty lines.
fn sn(shop: &Shop, name: &str) -> String {
    use md5::{Digest as _, Md5};
    let text = std::fs::read_to_string(shop.dir.join("alipay").join(name)).unwrap();
    let numbers = text.split("\n\n").map(|block| {
        let (_, pem) = x509_parser::pem::parse_x509_pem(block.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let mut parts = Vec::new();
        for attribute in certificate.issuer().iter_attributes() {
            let short = ["C", "O", "OU", "CN"][parts.len()];
            parts.push(format!("{short}={}", attribute.as_str().unwrap()));
        }
        assert_eq!(parts.len(), 4, "C, O, OU, CN in this order");
        parts.reverse();
        hex::encode(Md5::digest(format!("{}{}", parts.join(","), certificate.tbs_certificate.serial)))
    });
    numbers.collect::<Vec<_>>().join("_")
}

#[tokio::test]
async fn encrypted_content_is_understood_and_answered_encrypted() {
    use aws_lc_rs::{cipher, iv::FixedLength};
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    let shop = Shop::open().await;
    shop.order("alipay", "A-100001", 1_000, json!({})).await;
    let key = BASE64.decode(shop.alipay["aes_key"].as_str().unwrap()).unwrap();
    let unbound = || cipher::UnboundCipherKey::new(&cipher::AES_128, &key).unwrap();
    let mut sealed = br#"{"out_trade_no":"A-100001"}"#.to_vec();
    let iv = || FixedLength::from([0; 16]);
    let encrypting = cipher::PaddedBlockEncryptingKey::cbc_pkcs7(unbound()).unwrap();
    encrypting.less_safe_encrypt(&mut sealed, cipher::EncryptionContext::Iv128(iv())).unwrap();
    let more = [("encrypt_type", "AES"), ("biz_content", &BASE64.encode(sealed))];
    let params = shop.params("alipay.trade.query", &Value::Null, &more);
    let answer = shop.post_alipay(&params).await.unwrap();
    assert!(answer.is_genuine, "signed with its quotes");
    let mut bytes = BASE64.decode(answer.raw.trim_matches('"')).unwrap();
    let decrypting = cipher::PaddedBlockDecryptingKey::cbc_pkcs7(unbound()).unwrap();
    let plain = decrypting.decrypt(&mut bytes, cipher::DecryptionContext::Iv128(iv())).unwrap();
    let node: Value = serde_json::from_slice(plain).unwrap();
    assert_eq!(node["trade_status"], "TRADE_SUCCESS");
    shop.close().await;
}

#[tokio::test]
async fn cancel_pays_a_paid_trade_back_closes_an_unpaid_one_and_leaves_a_refunded_one() {
    let shop = Shop::open().await;
    shop.order("alipay", "A-PAID", 1_000, json!({})).await;
    shop.order("alipay", "A-UNPAID", 1_000, json!({ "state": "unpaid" })).await;
    shop.order("alipay", "A-PART", 1_000, json!({ "state": "partially_refunded" })).await;
    let cancel = async |content: Value| shop.alipay("alipay.trade.cancel", content).await;
    for _ in 0..2 {
        let answer = cancel(json!({ "out_trade_no": "A-PAID" })).await;
        assert_eq!((answer.field("action"), answer.field("retry_flag")), ("refund".into(), "N".into()));
    }
    assert_eq!(shop.books("alipay", "A-PAID").await["refunded_fen"], 1_000);
    assert_eq!(cancel(json!({ "out_trade_no": "A-UNPAID" })).await.field("action"), "close");
    let refused = cancel(json!({ "out_trade_no": "A-PART" })).await;
    assert_eq!(refused.field("sub_code"), "ACQ.REASON_TRADE_REFUND_FEE_ERR");
    let unknown = cancel(json!({ "out_trade_no": "A-NONE" })).await;
    assert_eq!((unknown.field("code"), unknown.node()["action"].is_null()), ("10000".into(), true));
    assert_eq!(cancel(json!({ "trade_no": "1" })).await.field("sub_code"), "ACQ.TRADE_NOT_EXIST");
    shop.close().await;
}

#[tokio::test]
async fn close_takes_unpaid_trades_only() {
    let shop = Shop::open().await;
    shop.order("alipay", "A-PAID", 1_000, json!({})).await;
    shop.order("alipay", "A-UNPAID", 1_000, json!({ "state": "unpaid" })).await;
    let close = async |number: &str| shop.alipay("alipay.trade.close", json!({ "out_trade_no": number })).await;
    assert_eq!(close("A-PAID").await.field("sub_code"), "ACQ.REASON_TRADE_STATUS_INVALID");
    assert_eq!(close("A-UNPAID").await.field("code"), "10000");
    let answer = shop.alipay("alipay.trade.query", json!({ "out_trade_no": "A-UNPAID" })).await;
    assert_eq!(answer.field("trade_status"), "TRADE_CLOSED");
    shop.close().await;
}

/// Alipay's own Python client (alipay §20): the whole address in the request line, a host without a port, the public
/// parameters in the query and the content in the form, and the signature cut out right behind the node.
#[tokio::test]
async fn an_absolute_form_request_without_a_port_is_understood() {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let shop = Shop::open().await;
    shop.order("alipay", "T-100001", 1_000, json!({})).await;
    let params = shop.params("alipay.trade.query", &json!({ "out_trade_no": "T-100001" }), &[]);
    let encoded = |in_form: bool| {
        let chosen = params.iter().filter(|(name, _)| (name == "biz_content") == in_form);
        let pairs = chosen.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        pairs.collect::<Vec<_>>().join("&")
    };
    let (query, form) = (encoded(false), encoded(true));
    let request = format!(
        "POST http://openapi.alipay.com/gateway.do?{query} HTTP/1.1\r\nHost: openapi.alipay.com\r\n\
         Content-Type: application/x-www-form-urlencoded;charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{form}",
        form.len()
    );
    let mut stream = tokio::net::TcpStream::connect(shop.sandbox.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""trade_status":"TRADE_SUCCESS""#), "{answer}");
    assert!(answer.contains(r#"},"sign":""#) && !answer.contains("alipay_cert_sn"), "{answer}");
    shop.close().await;
}

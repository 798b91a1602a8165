//! The `openssl` program judges what we sign, and signs what we judge: a third party to both directions.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use scanback_wallet::{
    DoubtKind, Money, Outcome, RecordStatus, RefundCall, Wallet as _, WalletRequestNo,
    conformance::{TestFile, openssl},
};
use serde_json::Value;

use crate::operations::{Gateway, Reply, bytes, order, text, vectors};

/// Whether `openssl` takes `signature` (base64) for one over `message` by a fixture's public key.
fn openssl_verifies(key: &str, message: &str, signature: &str) -> bool {
    let Ok(signature) = BASE64.decode(signature) else { return false };
    let (key, signature) = (TestFile::new(&bytes(key)), TestFile::new(&signature));
    let arguments = ["dgst", "-sha256", "-verify", key.path(), "-signature", signature.path()];
    openssl(&arguments, message.as_bytes()).is_some()
}

/// `message` signed by `openssl` with a fixture's key, in base64.
fn openssl_signs(key: &str, message: &str) -> String {
    let key = TestFile::new(&BASE64.decode(text(key).trim()).unwrap());
    let arguments = ["dgst", "-sha256", "-keyform", "DER", "-sign", key.path()];
    BASE64.encode(openssl(&arguments, message.as_bytes()).unwrap())
}

fn refund() -> RefundCall {
    RefundCall {
        order: order(),
        request_no: WalletRequestNo::parse("R20250101000001_1").unwrap(),
        amount: Money::fen(2000).unwrap(),
        total: Money::fen(5000).unwrap(),
        reason: "少一件 + a/b & c=d ☕".to_owned(),
        notify_url: None,
        goods: Vec::new(),
    }
}

const NODE: &str = r#"{"code":"10000","fund_change":"Y","out_trade_no":"T20250101000001","refund_fee":"20.00"}"#;

#[tokio::test]
async fn openssl_verifies_what_we_sign_as_the_gateway_reads_it() {
    let gateway = Gateway::start(|_, _| Reply::Node(NODE.to_owned())).await;
    let wallet = gateway.wallet(None, None);
    assert!(matches!(wallet.refund(&refund()).await, Outcome::Done(_)));
    wallet.close(&order()).await.unwrap();
    let seen = gateway.seen();
    assert_eq!(seen.len(), 2);
    for request in seen {
        // The gateway's own rule: all that came decoded, but the signature and what is empty, in order of names.
        let pairs: Vec<_> = request
            .params
            .iter()
            .filter(|(name, value)| *name != "sign" && !value.is_empty())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let message = pairs.join("&");
        assert!(openssl_verifies("app_public_key.pem", &message, &request.params["sign"]), "{message}");
        assert!(!openssl_verifies("app_public_key.pem", &format!("{message} "), &request.params["sign"]), "{message}");
    }
}

#[tokio::test]
async fn what_openssl_signed_is_believed_and_nothing_else() {
    let answer = |node: &str, signed: &str| {
        let sign = openssl_signs("alipay_private_key.b64", signed);
        format!(r#"{{"alipay_trade_refund_response":{node},"sign":"{sign}"}}"#).into_bytes()
    };
    let good = answer(NODE, NODE);
    let gateway = Gateway::start(move |_, _| Reply::File(good.clone())).await;
    let Outcome::Done(record) = gateway.wallet(None, None).refund(&refund()).await else { panic!("not done") };
    assert_eq!(record.status, RecordStatus::Paid);

    let altered = answer(NODE, &NODE.replace("20.00", "20.01"));
    let gateway = Gateway::start(move |_, _| Reply::File(altered.clone())).await;
    let Outcome::Unknown(doubt) = gateway.wallet(None, None).refund(&refund()).await else { panic!("believed") };
    assert_eq!(doubt.kind, DoubtKind::BadSignature);
}

#[test]
fn openssl_agrees_with_every_signature_of_the_vectors() {
    let mut judged = 0;
    for (list, signed, key, half) in [
        ("requests", "string_to_sign", "app_private_key.b64", "app_public_key.pem"),
        ("responses", "signed_substring", "alipay_private_key.b64", "alipay_public_key.pem"),
        ("notifications", "string_to_verify", "alipay_private_key.b64", "alipay_public_key.pem"),
    ] {
        for case in vectors()[list].as_array().unwrap() {
            // One answer and one notification were altered after they were signed, and have no string.
            let (Some(message), Some(sign)) = (case[signed].as_str(), case["sign"].as_str()) else {
                assert_eq!(case["valid"], Value::Bool(false), "{}", case["name"]);
                continue;
            };
            let valid = case.get("valid").is_none_or(|valid| *valid == Value::Bool(true));
            assert_eq!(openssl_verifies(half, message, sign), valid, "{}", case["name"]);
            if valid {
                assert_eq!(openssl_signs(key, message), sign, "{}", case["name"]);
            }
            judged += 1;
        }
    }
    // Four requests, eight of nine answers, three of four notifications.
    assert_eq!(judged, 15);
}

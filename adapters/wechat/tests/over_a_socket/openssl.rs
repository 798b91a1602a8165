//! The `openssl` program judges what we sign, and signs what we judge: a third party to both directions.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use scanback_wallet::{
    DoubtKind, OrderNo, OrderNumber, Outcome, RecordStatus, Wallet as _,
    conformance::{TestFile, openssl},
};
use serde_json::Value;

use crate::{
    call, doubt,
    fake::{Fake, NOW, Reply, Seen, bytes, order_answer, refund_answer, text, vectors},
};

/// Whether `openssl` takes `signature` (base64) for one over `message`. `half` is a fixture: a certificate or a public key.
fn openssl_verifies(half: &str, message: &[u8], signature: &str) -> bool {
    let Ok(signature) = BASE64.decode(signature) else { return false };
    let pem = bytes(half);
    let is_certificate = pem.starts_with(b"-----BEGIN CERTIFICATE");
    let pem = if is_certificate { openssl(&["x509", "-noout", "-pubkey"], &pem).unwrap() } else { pem };
    let (key, signature) = (TestFile::new(&pem), TestFile::new(&signature));
    openssl(&["dgst", "-sha256", "-verify", key.path(), "-signature", signature.path()], message).is_some()
}

/// `message` signed by `openssl` with a fixture's key, in base64.
fn openssl_signs(key: &str, message: &[u8]) -> String {
    let der = BASE64.decode(String::from_utf8(bytes(key)).unwrap().trim()).unwrap();
    let key = TestFile::new(&der);
    BASE64.encode(openssl(&["dgst", "-sha256", "-keyform", "DER", "-sign", key.path()], message).unwrap())
}

fn field<'a>(seen: &'a Seen, name: &str) -> &'a str {
    let header = seen.header("authorization").unwrap();
    header.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap()
}

#[tokio::test]
async fn openssl_verifies_each_kind_of_request_that_we_sign() {
    let fake = Fake::start(|seen, _| match seen.method.as_str() {
        "POST" => Reply::signed(200, &refund_answer("PROCESSING")),
        _ => Reply::signed(200, &order_answer("A1-b_2|3*4")),
    })
    .await;
    let wallet = fake.wallet();
    let odd = OrderNumber::OrderNo(OrderNo::parse("A1-b_2|3*4").unwrap());
    wallet.query_order(&odd).await.unwrap(); // no body; a path with escapes
    assert!(matches!(wallet.refund(&call()).await, Outcome::Pending(_))); // a body in Chinese
    for seen in fake.requests() {
        let message = format!(
            "{}\n{}\n{}\n{}\n{}\n",
            seen.method,
            seen.target,
            field(&seen, "timestamp"),
            field(&seen, "nonce_str"),
            seen.body()
        );
        let signature = field(&seen, "signature");
        assert!(openssl_verifies("merchant_cert.pem", message.as_bytes(), signature), "{message}");
        assert!(!openssl_verifies("merchant_cert.pem", format!("{message} ").as_bytes(), signature), "{message}");
    }
}

/// An answer that `openssl` signed with the key of the serial in `params`.
fn signed_by_openssl(key: &str, serial: &str, signed: &str, sent: &str) -> Reply {
    let signature = openssl_signs(key, format!("{NOW}\nN0NCE\n{signed}\n").as_bytes());
    let serial = text(&vectors()["params"][serial]);
    Reply::Raw(format!(
        "HTTP/1.1 200 x\r\nWechatpay-Serial: {serial}\r\nWechatpay-Timestamp: {NOW}\r\nWechatpay-Nonce: N0NCE\r\n\
         Wechatpay-Signature: {signature}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{sent}",
        sent.len()
    ))
}

#[tokio::test]
async fn what_openssl_signed_is_believed_in_both_key_modes_and_nothing_else() {
    for (key, serial) in
        [("platform_key.b64", "platform_serial"), ("wechatpay_public_key_signing_half.b64", "platform_public_key_id")]
    {
        let (body, other) = (refund_answer("SUCCESS"), refund_answer("CLOSED"));
        let good = signed_by_openssl(key, serial, &body, &body);
        let fake = Fake::start(move |_, _| good.clone()).await;
        let Outcome::Done(record) = fake.wallet().refund(&call()).await else { panic!("{serial}") };
        assert_eq!(record.status, RecordStatus::Paid, "{serial}");

        let altered = signed_by_openssl(key, serial, &body, &other);
        let fake = Fake::start(move |_, _| altered.clone()).await;
        assert_eq!(doubt(fake.wallet().refund(&call()).await), DoubtKind::BadSignature, "{serial}");
    }
}

#[test]
fn openssl_agrees_with_every_signature_of_the_vectors() {
    let mut judged = 0;
    for case in vectors()["request_signing"].as_array().unwrap() {
        let message = text(&case["canonical_string"]).as_bytes();
        assert!(openssl_verifies("merchant_cert.pem", message, text(&case["signature"])), "{}", case["name"]);
        assert_eq!(openssl_signs("merchant_key.b64", message), text(&case["signature"]), "{}", case["name"]);
        judged += 1;
    }
    let certificates = &vectors()["certificates_response"];
    let answers = vectors()["response_verification"].as_array().unwrap().iter();
    let told = vectors()["notifications"].as_array().unwrap().iter();
    for case in answers.chain(told).chain([certificates]) {
        // Those without a string or too old by the clock aren't a question of the signature alone.
        let (Some(message), None) = (case["signed_string"].as_str(), case.get("verify_at_unix")) else { continue };
        let (key, half) = key_of(text(&case["headers"]["Wechatpay-Serial"]));
        let signature = text(&case["headers"]["Wechatpay-Signature"]);
        let valid = case["valid"] == Value::Bool(true);
        assert_eq!(openssl_verifies(half, message.as_bytes(), signature), valid, "{}", case["name"]);
        if valid {
            assert_eq!(openssl_signs(key, message.as_bytes()), signature, "{}", case["name"]);
        }
        judged += 1;
    }
    // Four requests, five answers (one is of the clock, one has no string), four notifications, the list of certificates.
    assert_eq!(judged, 14);
}

/// Signing half and verifying half of a serial of the vectors.
fn key_of(serial: &str) -> (&'static str, &'static str) {
    let params = &vectors()["params"];
    if serial == text(&params["platform_serial_next"]) {
        ("platform_key_next.b64", "platform_cert_next.pem")
    } else if serial.starts_with("PUB_KEY_ID_") {
        ("wechatpay_public_key_signing_half.b64", "wechatpay_public_key.pem")
    } else {
        ("platform_key.b64", "platform_cert.pem")
    }
}

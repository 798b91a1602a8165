//! The files of `fixtures/wire/alipay`, for tests and fuzz targets.

use std::path::Path;

use scanback_wallet::{Money, OrderNo, OrderRef, RefundCall, WalletRequestNo};
use secrecy::SecretString;
use serde_json::Value;

use crate::{AppKey, ContentKey, Settings, SettingsText, VerifyingText};

pub(crate) fn text(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire/alipay").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn bytes(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire/alipay").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Public key mode with content encryption, under the key of the vectors.
pub(crate) fn encrypting_settings() -> Settings {
    let mut settings = settings();
    settings.content_key = ContentKey::read(vectors()["params"]["aes_key"].as_str().unwrap());
    settings
}

pub(crate) fn vectors() -> Value {
    serde_json::from_str(&text("vectors.json")).unwrap()
}

pub(crate) fn published() -> Value {
    serde_json::from_str(&text("published.json")).unwrap()
}

/// The entry of this name in one of the lists of `vectors.json`.
pub(crate) fn vector(list: &str, name: &str) -> Value {
    let vectors = vectors();
    vectors[list].as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap().clone()
}

pub(crate) fn app_key() -> AppKey {
    AppKey::read(&text("app_private_key.b64")).unwrap()
}

/// Alipay's half, to sign as Alipay does.
pub(crate) fn alipay_signing_key() -> AppKey {
    AppKey::read(&text("alipay_private_key.b64")).unwrap()
}

pub(crate) fn settings() -> Settings {
    read("https://openapi.alipay.com/gateway.do", VerifyingText::PublicKey(&text("alipay_public_key.pem")))
}

pub(crate) fn settings_at(gateway_url: &str) -> Settings {
    read(gateway_url, VerifyingText::PublicKey(&text("alipay_public_key.pem")))
}

pub(crate) fn certificate_settings() -> Settings {
    let [app, alipay, root] = ["app_cert.pem", "alipay_cert.pem", "alipay_root_cert.pem"].map(text);
    read(
        "https://openapi.alipay.com/gateway.do",
        VerifyingText::Certificates { app: &app, alipay: &alipay, root: &root },
    )
}

fn read(gateway_url: &str, verifying: VerifyingText<'_>) -> Settings {
    Settings::read(&SettingsText {
        gateway_url,
        app_id: "2021000000000001",
        seller_id: Some("2088000000000001"),
        app_private_key: &SecretString::from(text("app_private_key.b64")),
        verifying,
        aes_key: None,
        payer_lookup: None,
        refund_window_days: None,
    })
    .unwrap()
}

/// The refund of the vectors: 20 of 50 yuan.
pub(crate) fn refund_call() -> RefundCall {
    RefundCall {
        order: OrderRef { order_no: OrderNo::parse("T20250101000001").unwrap(), transaction_id: None },
        request_no: WalletRequestNo::parse("R20250101000001_1").unwrap(),
        amount: Money::fen(2000).unwrap(),
        total: Money::fen(5000).unwrap(),
        reason: "商品已售完".to_owned(),
        notify_url: None,
        goods: Vec::new(),
    }
}

/// An answer around `node`, signed as Alipay does.
pub(crate) fn answer(name: &str, node: &str) -> String {
    let sign = alipay_signing_key().sign(node.as_bytes()).unwrap();
    format!(r#"{{"{name}":{node},"sign":"{sign}"}}"#)
}

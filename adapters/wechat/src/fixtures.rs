//! For tests and fuzz targets: the files of `fixtures/wire/wechat`.

use std::{fs, path::Path};

use rsa::{RsaPublicKey, pkcs8::DecodePublicKey as _};
use scanback_wallet::{Money, OrderNo, OrderRef, RefundCall, TransactionId, WalletRequestNo};
use serde_json::Value;

use crate::{
    account::{Account, SubMerchant},
    keys::{Certificate, MerchantKey},
    verify::Verifiers,
};

pub(crate) fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire/wechat").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire/wechat").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The account of the vectors.
pub(crate) fn account() -> Account {
    let params = &vectors()["params"];
    let own = |name: &str| text(&params[name]).to_owned();
    Account { mchid: own("mchid"), appid: Some(own("appid")), sub: None, funds_account: None }
}

/// The same as a partner, for one of its merchants.
pub(crate) fn partner() -> Account {
    let sub = SubMerchant { mchid: "1900000200".to_owned(), appid: Some("wx2222222222222222".to_owned()) };
    Account { sub: Some(sub), ..account() }
}

/// The refund that the vectors speak of.
pub(crate) fn refund_call() -> RefundCall {
    RefundCall {
        order: OrderRef {
            order_no: OrderNo::parse("T20250101000001").unwrap(),
            transaction_id: Some(TransactionId::parse("4200000000202501010000000001").unwrap()),
        },
        request_no: WalletRequestNo::parse("R20250101000001-1").unwrap(),
        amount: Money::fen(2000).unwrap(),
        total: Money::fen(5000).unwrap(),
        reason: "商品已售完".to_owned(),
        notify_url: Some("https://merchant.example/notify/wechat/demo".to_owned()),
        goods: Vec::new(),
    }
}

/// Both platform certificates and no public key.
pub(crate) fn certificates_only() -> Verifiers {
    let mut verifiers = Verifiers::default();
    for name in ["platform_cert.pem", "platform_cert_next.pem"] {
        verifiers.add_certificate(&Certificate::from_pem(&file(name)).unwrap()).unwrap();
    }
    verifiers
}

pub(crate) fn vectors() -> Value {
    serde_json::from_str(&file("vectors.json")).unwrap()
}

pub(crate) fn published(name: &str) -> Value {
    let all: Value = serde_json::from_str(&file("published.json")).unwrap();
    all["vectors"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap().clone()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// The headers of a case as the service hands them over: lower-case names.
pub(crate) fn headers(case: &Value) -> Vec<(String, String)> {
    let headers = case["headers"].as_object().unwrap();
    headers.iter().map(|(name, value)| (name.to_lowercase(), text(value).to_owned())).collect()
}

pub(crate) fn merchant_key() -> MerchantKey {
    MerchantKey::from_text(&file("merchant_key.b64")).unwrap()
}

/// The first platform certificate and the public key: both modes at once.
pub(crate) fn verifiers() -> Verifiers {
    let mut verifiers = Verifiers::default();
    verifiers.add_certificate(&Certificate::from_pem(&file("platform_cert.pem")).unwrap()).unwrap();
    let id = vectors()["params"]["platform_public_key_id"].as_str().unwrap().to_owned();
    verifiers.add_public_key(&id, &file("wechatpay_public_key.pem")).unwrap();
    verifiers
}

/// The public key of a certificate, as the `rsa` crate has it.
pub(crate) fn public_key_of(certificate: &str) -> RsaPublicKey {
    let text = file(certificate);
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
    RsaPublicKey::from_public_key_der(pem.parse_x509().unwrap().public_key().raw).unwrap()
}

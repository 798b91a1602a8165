//! For tests: the files of `fixtures/wire/wechat`.

use std::{fs, path::Path};

use rsa::{RsaPublicKey, pkcs8::DecodePublicKey as _};
use serde_json::Value;

use crate::{
    keys::{Certificate, MerchantKey},
    verify::Verifiers,
};

pub(crate) fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire/wechat").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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

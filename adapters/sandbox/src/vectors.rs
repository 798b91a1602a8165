//! For tests: the known answers of `fixtures/wire`, from the wallets' side. The adapters walk the same ones from the merchant's.

use std::{fs, path::Path};

use serde_json::Value;

use crate::keys::SigningKey;

pub(crate) fn bytes(wallet: &str, name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire").join(wallet).join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn file(wallet: &str, name: &str) -> String {
    String::from_utf8(bytes(wallet, name)).unwrap()
}

pub(crate) fn of(wallet: &str) -> Value {
    serde_json::from_str(&file(wallet, "vectors.json")).unwrap()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// A private key that lies there as bare base64 of PKCS#8.
pub(crate) fn key(wallet: &str, name: &str) -> SigningKey {
    let base64: Vec<char> = file(wallet, name).trim().chars().collect();
    let lines: Vec<String> = base64.chunks(64).map(|line| line.iter().collect()).collect();
    SigningKey::from_pem(&format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")))
        .unwrap()
}

/// The members of a list, and that there are some.
pub(crate) fn cases<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    let cases = vectors[name].as_array().unwrap();
    assert!(!cases.is_empty(), "{name}");
    cases
}

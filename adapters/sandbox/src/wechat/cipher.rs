//! AES-256-GCM under the APIv3 key, and the list of platform certificates that is sent in it (wechat-pay §4).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use rand::{Rng as _, distributions::Alphanumeric};
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::Reply;
use crate::{beijing, keys::KeyError, server::Broken, world::World};

const IV_LENGTH: usize = 12;

/// Something encrypted, in the wallet's form.
#[derive(Serialize)]
pub(super) struct Sealed {
    algorithm: &'static str,
    nonce: String,
    associated_data: &'static str,
    ciphertext: String,
}

/// Encrypts under the APIv3 key.
pub(super) fn seal(key: &str, associated_data: &'static str, text: &[u8]) -> Result<Sealed, KeyError> {
    let nonce: String = rand::thread_rng().sample_iter(Alphanumeric).take(IV_LENGTH).map(char::from).collect();
    let ciphertext = ciphertext(key, &nonce, associated_data, text)?;
    Ok(Sealed { algorithm: "AEAD_AES_256_GCM", nonce, associated_data, ciphertext })
}

fn ciphertext(key: &str, nonce: &str, associated_data: &str, text: &[u8]) -> Result<String, KeyError> {
    let failed = |_| KeyError::Library("AES-256-GCM".to_owned());
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).map_err(failed)?);
    let mut sealed = text.to_vec();
    let iv = Nonce::try_assume_unique_for_key(nonce.as_bytes()).map_err(failed)?;
    key.seal_in_place_append_tag(iv, Aad::from(associated_data), &mut sealed).map_err(failed)?;
    Ok(BASE64.encode(sealed))
}

/// `GET /v3/certificates`.
pub(super) fn certificates(world: &World, query: &str) -> Result<Reply, Broken> {
    let algorithm = super::orders::query_value(query, "algorithm_type");
    match algorithm.as_deref() {
        None | Some("RSA" | "ALL") => {}
        Some("SM2") => return Ok(Reply::ok(&json!({ "data": [] }))),
        Some(_) => return Ok(Reply::error(400, "PARAM_ERROR", "algorithm_type: RSA, SM2, ALL")),
    }
    let moment = |seconds| beijing::rfc3339(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH));
    let mut data: Vec<Value> = Vec::new();
    for platform in world.platform_certificates() {
        let certificate = &platform.certificate;
        let sealed = seal(&world.identity.wechat.params.apiv3_key, "certificate", certificate.pem.as_bytes())?;
        data.push(json!({
            "serial_no": certificate.serial,
            "effective_time": moment(certificate.valid_from),
            "expire_time": moment(certificate.valid_until),
            "encrypt_certificate": sealed,
        }));
    }
    Ok(Reply::ok(&json!({ "data": data })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, cases, text};

    #[test]
    fn what_is_sealed_is_the_known_answer_to_the_byte() {
        let known = vectors::of("wechat");
        let key = text(&known["params"]["apiv3_key"]);
        let sealed = |nonce: &Value, data: &Value, plain: &str| {
            ciphertext(key, text(nonce), data.as_str().unwrap_or_default(), plain.as_bytes()).unwrap()
        };
        for case in cases(&known, "aead") {
            let made = sealed(&case["nonce"], &case["associated_data"], text(&case["plaintext"]));
            assert_eq!(made, text(&case["ciphertext"]), "{}", case["name"]);
        }
        for case in cases(&known, "notifications") {
            let body: Value = serde_json::from_str(text(&case["body"])).unwrap();
            let resource = &body["resource"];
            let made = sealed(&resource["nonce"], &resource["associated_data"], text(&case["plaintext"]));
            assert_eq!(made, text(&resource["ciphertext"]), "{}", case["name"]);
        }
        let listed: Value = serde_json::from_str(text(&known["certificates_response"]["body"])).unwrap();
        for entry in listed["data"].as_array().unwrap() {
            let (sealed_pem, serial) = (&entry["encrypt_certificate"], text(&entry["serial_no"]));
            let pem = vectors::file("wechat", text(&known["certificates_response"]["contains"][serial]));
            let made = sealed(&sealed_pem["nonce"], &sealed_pem["associated_data"], &pem);
            assert_eq!(made, text(&sealed_pem["ciphertext"]), "{serial}");
        }
    }

    #[test]
    fn what_the_merchant_sealed_is_opened() {
        let oaep = &vectors::of("wechat")["oaep_sha1"];
        let key = vectors::key("wechat", text(&oaep["decrypt_with"]));
        let sealed = BASE64.decode(text(&oaep["ciphertext"])).unwrap();
        assert_eq!(key.open(&sealed).unwrap(), text(&oaep["plaintext"]).as_bytes());
        assert_eq!(key.open(&sealed[1..]), None);
    }
}

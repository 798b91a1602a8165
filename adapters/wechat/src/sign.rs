//! Signing requests, and the string that answers and notifications are signed over. Pure: time and nonce come in.
//!
//! Source: wechat-pay §2, §3.

use aws_lc_rs::{error::Unspecified, rand};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::keys::MerchantKey;

/// The one scheme that we sign with and verify.
pub(crate) const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";

/// The five lines that a request's signature covers, each ended by a line feed. `target` is path and query exactly as
/// sent.
pub(crate) fn request_string(method: &str, target: &str, timestamp: i64, nonce: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{method}\n{target}\n{timestamp}\n{nonce}\n");
    lines(head, body)
}

/// The three lines that the signature of an answer or a notification covers. `timestamp` is the header's own text.
pub(crate) fn answer_string(timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    lines(format!("{timestamp}\n{nonce}\n"), body)
}

fn lines(head: String, body: &[u8]) -> Vec<u8> {
    let mut text = head.into_bytes();
    text.reserve_exact(body.len() + 1);
    text.extend_from_slice(body);
    text.push(b'\n');
    text
}

/// Who signs: the account and the certificate whose key it is.
#[derive(Clone, Copy)]
pub(crate) struct Signer<'a> {
    pub(crate) mchid: &'a str,
    pub(crate) serial: &'a str,
    pub(crate) key: &'a MerchantKey,
}

impl Signer<'_> {
    /// The value of `Authorization` for a request.
    pub(crate) fn authorization(
        self,
        method: &str,
        target: &str,
        timestamp: i64,
        nonce: &str,
        body: &[u8],
    ) -> Result<String, Unspecified> {
        let signature = BASE64.encode(self.key.sign(&request_string(method, target, timestamp, nonce, body))?);
        let Self { mchid, serial, .. } = self;
        Ok(format!(
            r#"{SCHEME} mchid="{mchid}",nonce_str="{nonce}",signature="{signature}",timestamp="{timestamp}",serial_no="{serial}""#
        ))
    }
}

/// 32 upper-case hex digits, new for each request.
pub(crate) fn nonce() -> Result<String, Unspecified> {
    let bytes: [u8; 16] = rand::generate(&rand::SystemRandom::new())?.expose();
    Ok(hex::encode_upper(bytes))
}

#[cfg(test)]
mod tests {
    use rsa::{Pkcs1v15Sign, traits::PublicKeyParts};
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::fixtures::{self, text};

    #[test]
    fn requests_are_signed_byte_for_byte_as_the_vectors_say() {
        let vectors = fixtures::vectors();
        let key = fixtures::merchant_key();
        let signer = Signer {
            mchid: text(&vectors["params"]["mchid"]),
            serial: text(&vectors["params"]["merchant_serial"]),
            key: &key,
        };
        let cases = vectors["request_signing"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let (method, target, nonce) =
                (text(&case["method"]), text(&case["path_and_query"]), text(&case["nonce_str"]));
            let timestamp: i64 = text(&case["timestamp"]).parse().unwrap();
            let body = text(&case["body"]).as_bytes();
            let string = request_string(method, target, timestamp, nonce, body);
            assert_eq!(string, text(&case["canonical_string"]).as_bytes(), "{}", case["name"]);
            let header = signer.authorization(method, target, timestamp, nonce, body).unwrap();
            assert_eq!(header, text(&case["authorization"]), "{}", case["name"]);
        }
    }

    #[test]
    fn the_published_signature_of_the_wallets_own_sdk_is_reproduced() {
        let case = fixtures::published("wechatpay-go sign");
        let key = MerchantKey::from_text(&fixtures::file("wechatpay_go_testing_key.b64")).unwrap();
        let signature = key.sign(text(&case["message"]).as_bytes()).unwrap();
        assert_eq!(BASE64.encode(signature), text(&case["signature_base64"]));
    }

    #[test]
    fn another_library_accepts_our_signature() {
        let key = fixtures::merchant_key();
        let public = fixtures::public_key_of("merchant_cert.pem");
        let signature = key.sign(b"some request").unwrap();
        assert_eq!(signature.len(), public.size());
        let scheme = || Pkcs1v15Sign::new::<Sha256>();
        public.verify(scheme(), &Sha256::digest(b"some request"), &signature).unwrap();
        assert!(public.verify(scheme(), &Sha256::digest(b"some other request"), &signature).is_err());
    }

    #[test]
    fn an_empty_body_still_ends_its_line() {
        assert_eq!(request_string("GET", "/v3/x?a=1", 7, "N", b""), b"GET\n/v3/x?a=1\n7\nN\n\n");
        assert_eq!(answer_string("7", "N", b""), b"7\nN\n\n");
    }

    #[test]
    fn nonces_are_32_hex_digits_and_never_the_same() {
        let (first, second) = (nonce().unwrap(), nonce().unwrap());
        assert_eq!(first.len(), 32);
        assert!(first.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)));
        assert_ne!(first, second);
    }
}

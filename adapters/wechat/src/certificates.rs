//! Platform certificates (平台证书): fetched, decrypted, and believed by the signature of the very answer that brings them.
//!
//! Source: wechat-pay §4.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{Doubt, DoubtKind, WalletError};
use serde::Deserialize;

use crate::{
    client::{Answer, Client, Received, Request},
    errors::{self, Call},
    keys::{self, ApiV3Key, Certificate, Sealed},
    query::look_up_failed,
    verify::Verifiers,
};

/// How often to fetch the certificates when nothing else asks for them: a new one is listed at least 24 hours before it is
/// used. Source: wechat-pay §4.
pub const POLL_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// Least time between two refreshes that unknown serials cause: anyone can send a notification with one.
const LEAST_PAUSE: SignedDuration = SignedDuration::from_mins(1);

#[derive(Deserialize)]
struct List {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    serial_no: String,
    encrypt_certificate: Sealed,
}

fn request() -> Request {
    Request::get("certificates", "/v3/certificates".to_owned())
}

/// The unexpired certificates of a list, decrypted. Not to be used before the answer that they came in is verified with
/// them.
fn read(body: &[u8], key: &ApiV3Key, now: Timestamp) -> Result<Verifiers, Doubt> {
    let unreadable = |what: String| Doubt::new(DoubtKind::Unreadable, what);
    let List { data } =
        serde_json::from_slice(body).map_err(|_| unreadable("HTTP 200 without a list of certificates".to_owned()))?;
    let mut listed = Verifiers::default();
    for Listed { serial_no, encrypt_certificate } in data {
        let pem = key.open(&encrypt_certificate).map_err(|why| unreadable(format!("a certificate: {why}")))?;
        let certificate = std::str::from_utf8(&pem)
            .ok()
            .and_then(|pem| Certificate::from_pem(pem).ok())
            .filter(|certificate| keys::serial(certificate.serial()) == keys::serial(&serial_no))
            .ok_or_else(|| unreadable("a listed certificate is not the one of its serial".to_owned()))?;
        if certificate.valid_until() > now {
            listed.add_certificate(&certificate).map_err(|why| unreadable(format!("a certificate {why}")))?;
        }
    }
    if listed.serials().is_empty() {
        return Err(unreadable("no valid certificate is listed".to_owned()));
    }
    Ok(listed)
}

impl Client {
    /// Fetches now; returns the serials known afterwards.
    pub(crate) async fn refresh_certificates(&self) -> Result<Vec<String>, WalletError> {
        let mut last = self.last_refresh.lock().await;
        *last = Some(self.now());
        self.fetch().await
    }

    /// Fetches because a message came with a serial that nobody knows. Callers who come meanwhile wait for the same
    /// answer; within [`LEAST_PAUSE`] of the last try nothing is asked.
    pub(crate) async fn learn_serial(&self, serial: &str) {
        let mut last = self.last_refresh.lock().await;
        let now = self.now();
        let asked_lately = last.is_some_and(|at| now.duration_since(at).abs() < LEAST_PAUSE);
        if asked_lately || self.verifiers().knows(serial, now) {
            return;
        }
        *last = Some(now);
        match self.fetch().await {
            Ok(serials) => tracing::info!(wallet.kind = "wechat", ?serials, "platform certificates fetched"),
            Err(error) => tracing::warn!(wallet.kind = "wechat", %error, "platform certificates could not be fetched"),
        }
    }

    async fn fetch(&self) -> Result<Vec<String>, WalletError> {
        let Received { status, headers, body } = self.exchange(request()).await?;
        let now = self.now();
        if status != 200 {
            let trust = headers.and_then(|headers| headers.verify(&body, &self.verifiers(), now));
            return Err(look_up_failed(errors::read(Call::LookUp, &Answer { status, trust, body })));
        }
        let verifiers = self.verifiers().with_certificates_of(&read(&body, self.apiv3_key(), now)?);
        headers
            .and_then(|headers| headers.verify(&body, &verifiers, now))
            .map_err(|distrust| Doubt::new(DoubtKind::BadSignature, distrust.to_string()))?;
        let serials = verifiers.serials().into_iter().map(str::to_owned).collect();
        self.set_verifiers(verifiers);
        Ok(serials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{self, text};

    fn list(key: &str, now: &str) -> Result<Verifiers, Doubt> {
        let vectors = fixtures::vectors();
        let body = text(&vectors["certificates_response"]["body"]).as_bytes();
        read(body, &ApiV3Key::from_text(key).unwrap(), now.parse().unwrap())
    }

    fn key() -> String {
        text(&fixtures::vectors()["params"]["apiv3_key"]).to_owned()
    }

    #[test]
    fn both_certificates_of_a_rotation_are_kept_while_both_are_valid() {
        let serials = ["6A11CE00000000000000000000000000000000B1", "6A11CE00000000000000000000000000000000B2"];
        assert_eq!(list(&key(), "2025-01-01T10:53:23+08:00").unwrap().serials(), serials);
        assert_eq!(list(&key(), "2035-06-01T00:00:00Z").unwrap().serials(), serials[1..]);
    }

    #[test]
    fn a_list_that_brings_nothing_valid_is_refused() {
        for (key, now, word) in [
            (key(), "2036-01-01T00:00:00Z", "no valid certificate"),
            ("0".repeat(32), "2025-01-01T00:00:00Z", "does not decrypt"),
        ] {
            let doubt = list(&key, now).unwrap_err();
            assert!(doubt.kind == DoubtKind::Unreadable && doubt.detail.contains(word), "{doubt}");
        }
    }

    #[test]
    fn a_certificate_under_the_serial_of_another_is_refused() {
        let vectors = fixtures::vectors();
        let body = text(&vectors["certificates_response"]["body"]).replacen("0000B1", "0000C1", 1);
        let doubt = read(body.as_bytes(), &ApiV3Key::from_text(&key()).unwrap(), Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(doubt.detail.contains("not the one of its serial"), "{doubt}");
    }

    #[test]
    fn the_list_proves_itself_with_the_certificates_that_it_brings() {
        use crate::verify::{Distrust, SignatureHeaders};
        let vectors = fixtures::vectors();
        let case = &vectors["certificates_response"];
        let now = "2025-01-01T10:53:23+08:00";
        let headers = fixtures::headers(case);
        let headers =
            SignatureHeaders::read(|name| headers.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str()));
        let (headers, now, body) = (headers.unwrap(), now.parse().unwrap(), text(&case["body"]).as_bytes());
        let listed = list(&key(), "2025-01-01T10:53:23+08:00").unwrap();
        assert_eq!(headers.verify(body, &listed, now), Ok(()));
        assert!(matches!(headers.verify(body, &Verifiers::default(), now), Err(Distrust::UnknownSerial(_))));
    }

    #[test]
    fn a_new_list_replaces_the_certificates_and_keeps_the_public_key() {
        let known = fixtures::verifiers();
        let mut listed = Verifiers::default();
        listed.add_certificate(&Certificate::from_pem(&fixtures::file("platform_cert_next.pem")).unwrap()).unwrap();
        let merged = known.with_certificates_of(&listed);
        assert_eq!(
            merged.serials(),
            ["6A11CE00000000000000000000000000000000B2", "PUB_KEY_ID_0114232134912410000000000000"]
        );
        assert_eq!(merged.public_key_id(), known.public_key_id());
    }
}

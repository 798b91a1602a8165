//! Standard Webhooks signatures: HMAC-SHA256 over `id.timestamp.body`. Sources: contract §5; Standard Webhooks 1.0,
//! "Verifying webhook authenticity".

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use zeroize::Zeroizing;

/// The secret that a merchant checks our webhooks with: 32 random bytes, written `whsec_` and their base64. Shown to the
/// merchant once; shows nothing in `Debug` and is wiped when dropped.
#[derive(Clone)]
pub struct WebhookSecret(Zeroizing<[u8; 32]>);

/// Why there is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The text isn't `whsec_` and the base64 of 32 bytes.
    #[error("a webhook secret is whsec_ and the base64 of 32 bytes")]
    Malformed,
    /// The machine gave no random bytes.
    #[error("no random bytes for a webhook secret")]
    NoRandomness,
}

impl WebhookSecret {
    const PREFIX: &str = "whsec_";

    /// A new secret.
    /// # Errors
    /// [`SecretError::NoRandomness`].
    pub fn generate() -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| SecretError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// Reads what [`WebhookSecret::expose`] wrote.
    /// # Errors
    /// [`SecretError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(Self::PREFIX).ok_or(SecretError::Malformed)?;
        let decoded = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError::Malformed)?);
        let bytes = decoded.as_slice().try_into().map_err(|_| SecretError::Malformed)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// `whsec_…`, for the merchant and for the ledger.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(Self::PREFIX.to_owned());
        text.reserve_exact(44); // at once, so that growing leaves no copy behind
        STANDARD.encode_string(*self.0, &mut text);
        text
    }

    /// The signature of one message, `v1,<base64>`. `id` is the message's, the same over its retries; `timestamp` is that
    /// of this try, and only its whole seconds count.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: Timestamp, body: &[u8]) -> String {
        let mut tag = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice()));
        tag.update(format!("{id}.{}.", timestamp.as_second()).as_bytes());
        tag.update(body);
        format!("v1,{}", STANDARD.encode(tag.sign()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(hidden)")
    }
}

/// The value of `webhook-signature`: one signature a secret, so that the old secret stays good while it is rotated out.
#[must_use]
pub fn signature_header(secrets: &[WebhookSecret], id: &str, timestamp: Timestamp, body: &[u8]) -> String {
    let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use standardwebhooks::Webhook;

    use super::*;

    const BODY: &[u8] = "{\"type\":\"refund.succeeded\",\"note\":\"退款\"}".as_bytes();

    fn headers(id: &str, timestamp: Timestamp, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", timestamp.as_second().into());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn the_reference_verifier_takes_our_signature_and_no_altered_message() {
        let (secret, now) = (WebhookSecret::generate().unwrap(), Timestamp::now());
        let verifier = Webhook::new(&secret.expose()).unwrap();
        let signature = secret.sign("msg-1", now, BODY);
        verifier.verify(BODY, &headers("msg-1", now, &signature)).unwrap();
        assert!(verifier.verify(b"{}", &headers("msg-1", now, &signature)).is_err());
        assert!(verifier.verify(BODY, &headers("msg-2", now, &signature)).is_err());
        let earlier = now - jiff::SignedDuration::from_secs(1);
        assert!(verifier.verify(BODY, &headers("msg-1", earlier, &signature)).is_err());
    }

    #[test]
    fn while_a_secret_is_rotated_the_old_and_the_new_one_verify() {
        let (old, new, now) =
            (WebhookSecret::generate().unwrap(), WebhookSecret::generate().unwrap(), Timestamp::now());
        let signatures = signature_header(&[new.clone(), old.clone()], "msg-1", now, BODY);
        for secret in [old, new] {
            let verifier = Webhook::new(&secret.expose()).unwrap();
            verifier.verify(BODY, &headers("msg-1", now, &signatures)).unwrap();
        }
        let stranger = Webhook::new(&WebhookSecret::generate().unwrap().expose()).unwrap();
        assert!(stranger.verify(BODY, &headers("msg-1", now, &signatures)).is_err());
    }

    #[test]
    fn the_signature_is_the_one_that_others_compute() {
        // computed with Python's hmac module
        let secret = WebhookSecret::parse("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let timestamp = Timestamp::from_millisecond(1_700_000_000_999).unwrap();
        assert_eq!(secret.sign("msg-1", timestamp, b"{}"), "v1,zMpxuVkpu2iACBHDKid0S22IolTUiidrM2MkNDSCFi8=");
    }

    #[test]
    fn a_secret_is_written_and_read_and_never_shown() {
        let secret = WebhookSecret::generate().unwrap();
        let text = secret.expose();
        assert_eq!((&text[..6], text.len()), ("whsec_", 50));
        assert_eq!(*WebhookSecret::parse(&text).unwrap().expose(), *text);
        assert_ne!(*WebhookSecret::generate().unwrap().expose(), *text);
        assert_eq!(format!("{secret:?}"), "WebhookSecret(hidden)");
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for text in ["", "whsec_", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "whsec_AAEC", "whsec_!!"] {
            assert_eq!(WebhookSecret::parse(text).unwrap_err(), SecretError::Malformed, "{text}");
        }
    }
}

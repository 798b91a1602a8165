//! Is it WeChat Pay's? The same check for answers and notifications, over the bytes as received, before any JSON.
//!
//! Source: wechat-pay §3, §5.

use std::{collections::HashMap, fmt, sync::Arc};

use aws_lc_rs::signature::ParsedPublicKey;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;

use crate::{
    keys::{self, Certificate, KeyError, PUBLIC_KEY_ID, SealingKey},
    sign::{SCHEME, answer_string},
};

/// A message whose timestamp is this many seconds or more away from our clock is refused. Source: wechat-pay §3.
pub(crate) const CLOCK_LIMIT_S: u64 = 300;

/// Deliberately wrong signatures (探测流量) begin so. They fail like any other; the log tells them apart.
const PROBE: &str = "WECHATPAY/SIGNTEST/";

/// Everything that we verify with: platform certificates by serial and the WeChat Pay public key by its id, side by
/// side. A merchant that changes over gets messages signed by either (wechat-pay §5).
#[derive(Clone, Default)]
pub struct Verifiers {
    keys: HashMap<String, Verifier>,
    public_key_id: Option<String>,
}

#[derive(Clone)]
struct Verifier {
    key: Arc<ParsedPublicKey>,
    /// The same key, to encrypt with.
    sealing: Arc<SealingKey>,
    /// The end of a certificate's validity. A public key has none (wechat-pay §5).
    valid_until: Option<Timestamp>,
}

impl Verifiers {
    /// Adds a platform certificate (平台证书) under its own serial.
    /// # Errors
    /// [`KeyError`] where its key is too short or can't be used.
    pub fn add_certificate(&mut self, certificate: &Certificate) -> Result<(), KeyError> {
        let key = Arc::new(certificate.verifying_key()?);
        let sealing = Arc::new(certificate.sealing_key()?);
        let verifier = Verifier { key, sealing, valid_until: Some(certificate.valid_until()) };
        self.keys.insert(keys::serial(certificate.serial()), verifier);
        Ok(())
    }

    /// Adds the WeChat Pay public key (微信支付公钥) under its id, `PUB_KEY_ID_…`. From then on every request names it.
    /// # Errors
    /// [`KeyError`] where the text is no usable public key.
    pub fn add_public_key(&mut self, id: &str, text: &str) -> Result<(), KeyError> {
        let (key, sealing) = keys::public_key(text)?;
        let (key, sealing) = (Arc::new(key), Arc::new(sealing));
        self.keys.insert(id.to_owned(), Verifier { key, sealing, valid_until: None });
        self.public_key_id = Some(id.to_owned());
        Ok(())
    }

    /// What to send as `Wechatpay-Serial`: the public key's id, where there is one.
    pub(crate) fn public_key_id(&self) -> Option<&str> {
        self.public_key_id.as_deref()
    }

    /// What to encrypt with, and its serial: the public key where there is one, else the newest certificate, which is the
    /// one that ends last (wechat-pay §4, §6).
    pub(crate) fn encrypting(&self) -> Option<(&str, &SealingKey)> {
        let by_id = self.public_key_id.as_deref().and_then(|id| self.keys.get_key_value(id));
        let newest = || self.keys.iter().max_by_key(|(_, verifier)| verifier.valid_until);
        by_id.or_else(newest).map(|(serial, verifier)| (serial.as_str(), &*verifier.sealing))
    }

    /// When the first certificate ends; `None` where there is none.
    pub(crate) fn first_end(&self) -> Option<Timestamp> {
        self.keys.values().filter_map(|verifier| verifier.valid_until).min()
    }

    /// Whether nothing can be verified yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The public key of these, and the certificates of `listed`: what the wallet's own list leaves valid.
    pub(crate) fn with_certificates_of(&self, listed: &Self) -> Self {
        let mut all = listed.clone();
        all.public_key_id.clone_from(&self.public_key_id);
        for (id, verifier) in self.keys.iter().filter(|(_, verifier)| verifier.valid_until.is_none()) {
            all.keys.insert(id.clone(), verifier.clone());
        }
        all
    }

    /// The serials and the id, for people: sorted.
    #[must_use]
    pub fn serials(&self) -> Vec<&str> {
        let mut serials: Vec<&str> = self.keys.keys().map(String::as_str).collect();
        serials.sort_unstable();
        serials
    }

    /// Whether a message with this serial can be verified now.
    pub(crate) fn knows(&self, serial: &str, now: Timestamp) -> bool {
        self.find(serial, now).is_some()
    }

    fn find(&self, serial: &str, now: Timestamp) -> Option<&ParsedPublicKey> {
        let verifier = self.keys.get(&keys::serial(serial))?;
        verifier.valid_until.is_none_or(|end| now < end).then_some(&*verifier.key)
    }
}

impl fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifiers").field(&self.serials()).finish()
    }
}

/// Why a message is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// None of the headers is there.
    Unsigned,
    /// Some of the headers are missing.
    Incomplete,
    /// No key of this serial is known. A certificate may be fetched; a public key can't.
    UnknownSerial(String),
    /// The signature is of another scheme, or doesn't fit.
    Wrong,
    /// The same, on purpose.
    Probe,
    /// The signature fits, and was made so many seconds before our clock's time; after it, where negative.
    Stale(i64),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale(skew_s) => write!(
                f,
                "{}: it differs by {skew_s} s from this machine's clock; if it does so each time, set the clock (NTP)",
                self.as_str()
            ),
            _ => f.write_str(self.as_str()),
        }
    }
}

impl Distrust {
    /// Whether there is no signature at all, which is another thing than a bad one.
    pub(crate) const fn is_unsigned(&self) -> bool {
        matches!(self, Self::Unsigned)
    }

    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Unsigned => "not signed",
            Self::Incomplete => "a signature header is missing",
            Self::UnknownSerial(_) => "signed by a key that is not known",
            Self::Wrong => "the signature does not fit",
            Self::Probe => "a probe: signed wrongly on purpose",
            Self::Stale(_) => "the signature is too old or from the future",
        }
    }

    /// The serial of a platform certificate that a refresh may bring.
    pub(crate) fn fetchable_serial(&self) -> Option<&str> {
        match self {
            Self::UnknownSerial(serial) if !serial.starts_with(PUBLIC_KEY_ID) => Some(serial),
            _ => None,
        }
    }
}

/// The headers that a signature stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignatureHeaders {
    serial: String,
    timestamp: String,
    nonce: String,
    signature: String,
}

impl SignatureHeaders {
    /// Takes them from `header`, which answers for a lower-case name.
    pub(crate) fn read<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, Distrust> {
        let found = ["wechatpay-serial", "wechatpay-timestamp", "wechatpay-nonce", "wechatpay-signature"].map(&header);
        let [Some(serial), Some(timestamp), Some(nonce), Some(signature)] = found else {
            let none = found.iter().all(Option::is_none);
            return Err(if none { Distrust::Unsigned } else { Distrust::Incomplete });
        };
        // The scheme may be left out; SM2 and whatever comes later is not ours.
        if header("wechatpay-signature-type").is_some_and(|scheme| scheme != SCHEME) {
            return Err(Distrust::Wrong);
        }
        let [serial, timestamp, nonce, signature] = [serial, timestamp, nonce, signature].map(str::to_owned);
        Ok(Self { serial, timestamp, nonce, signature })
    }

    /// When it was signed, in Unix seconds.
    pub(crate) fn signed_at(&self) -> Option<i64> {
        self.timestamp.parse().ok()
    }

    /// Whether these headers prove `body`: first the signature, then the clock.
    pub(crate) fn verify(&self, body: &[u8], verifiers: &Verifiers, now: Timestamp) -> Result<(), Distrust> {
        let key = verifiers.find(&self.serial, now).ok_or_else(|| Distrust::UnknownSerial(self.serial.clone()))?;
        let wrong = || if self.signature.starts_with(PROBE) { Distrust::Probe } else { Distrust::Wrong };
        let signature = BASE64.decode(&self.signature).map_err(|_| wrong())?;
        key.verify_sig(&answer_string(&self.timestamp, &self.nonce, body), &signature).map_err(|_| wrong())?;
        let signed_at: i64 = self.timestamp.parse().map_err(|_| Distrust::Wrong)?;
        if now.as_second().abs_diff(signed_at) >= CLOCK_LIMIT_S {
            return Err(Distrust::Stale(now.as_second().saturating_sub(signed_at)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::fixtures::{self, text};

    fn headers_of(case: &Value) -> Result<SignatureHeaders, Distrust> {
        let headers = fixtures::headers(case);
        SignatureHeaders::read(|name| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()))
    }

    fn verify(case: &Value, now: i64) -> Result<(), Distrust> {
        let now = Timestamp::from_second(now).unwrap();
        headers_of(case)?.verify(text(&case["body"]).as_bytes(), &fixtures::verifiers(), now)
    }

    fn signed_at(case: &Value) -> i64 {
        text(&case["headers"]["Wechatpay-Timestamp"]).parse().unwrap()
    }

    #[test]
    fn what_is_encrypted_is_encrypted_for_the_public_key_else_for_the_newest_certificate() {
        assert!(Verifiers::default().encrypting().is_none() && Verifiers::default().is_empty());
        let named = |verifiers: &Verifiers| verifiers.encrypting().unwrap().0.to_owned();
        assert_eq!(named(&fixtures::verifiers()), "PUB_KEY_ID_0114232134912410000000000000");
        assert_eq!(named(&fixtures::certificates_only()), "6A11CE00000000000000000000000000000000B2");
    }

    #[test]
    fn every_vector_is_judged_as_it_says() {
        let vectors = fixtures::vectors();
        let cases = vectors["response_verification"].as_array().unwrap();
        assert_eq!(cases.len(), 7);
        for case in cases {
            let now = case["verify_at_unix"].as_i64().unwrap_or_else(|| signed_at(case));
            let expected = match text(&case["name"]) {
                "tampered_body" | "serial_of_another_key" => Err(Distrust::Wrong),
                "probe_traffic" => Err(Distrust::Probe),
                "clock_skew" => Err(Distrust::Stale(301)),
                _ => Ok(()),
            };
            assert_eq!(case["valid"].as_bool().unwrap(), expected.is_ok(), "{}", case["name"]);
            assert_eq!(verify(case, now), expected, "{}", case["name"]);
        }
    }

    #[test]
    fn the_clock_limit_is_300_seconds_either_way_and_300_is_too_much() {
        let vectors = fixtures::vectors();
        let case = &vectors["response_verification"][0];
        let at = signed_at(case);
        for (now, expected) in [
            (at, Ok(())),
            (at + 299, Ok(())),
            (at - 299, Ok(())),
            (at + 300, Err(Distrust::Stale(300))),
            (at - 300, Err(Distrust::Stale(-300))),
        ] {
            assert_eq!(verify(case, now), expected, "{}", now - at);
        }
    }

    #[test]
    fn each_missing_header_is_noticed() {
        let vectors = fixtures::vectors();
        let case = &vectors["response_verification"][0];
        for name in ["Wechatpay-Serial", "Wechatpay-Timestamp", "Wechatpay-Nonce", "Wechatpay-Signature"] {
            let mut case = case.clone();
            case["headers"].as_object_mut().unwrap().remove(name);
            assert_eq!(headers_of(&case), Err(Distrust::Incomplete), "{name}");
        }
        assert_eq!(SignatureHeaders::read(|_| None), Err(Distrust::Unsigned));
    }

    #[test]
    fn another_scheme_is_refused_and_a_missing_one_is_ours() {
        let vectors = fixtures::vectors();
        let mut case = vectors["response_verification"][0].clone();
        case["headers"]["Wechatpay-Signature-Type"] = "WECHATPAY2-SM2-WITH-SM3".into();
        assert_eq!(headers_of(&case), Err(Distrust::Wrong));
        case["headers"].as_object_mut().unwrap().remove("Wechatpay-Signature-Type");
        assert_eq!(verify(&case, signed_at(&case)), Ok(()));
    }

    #[test]
    fn an_unknown_serial_is_named_and_only_certificates_are_fetched() {
        let vectors = fixtures::vectors();
        let mut case = vectors["response_verification"][0].clone();
        for (serial, fetchable) in [("6A11CE00000000000000000000000000000000FF", true), ("PUB_KEY_ID_99", false)] {
            case["headers"]["Wechatpay-Serial"] = serial.into();
            let distrust = verify(&case, signed_at(&case)).unwrap_err();
            assert_eq!(distrust, Distrust::UnknownSerial(serial.to_owned()));
            assert_eq!(distrust.fetchable_serial().is_some(), fetchable);
        }
    }

    #[test]
    fn a_serial_fits_whatever_its_case_and_leading_zeros() {
        let vectors = fixtures::vectors();
        let mut case = vectors["response_verification"][0].clone();
        let serial = text(&case["headers"]["Wechatpay-Serial"]).to_lowercase();
        case["headers"]["Wechatpay-Serial"] = format!("00{serial}").into();
        assert_eq!(verify(&case, signed_at(&case)), Ok(()));
    }

    #[test]
    fn an_expired_certificate_verifies_nothing() {
        let vectors = fixtures::vectors();
        let case = &vectors["response_verification"][0];
        let after_2034 = 2_060_000_000;
        assert!(matches!(verify(case, after_2034), Err(Distrust::UnknownSerial(_))));
        let public_key_case = &vectors["response_verification"][1];
        assert!(matches!(verify(public_key_case, after_2034), Err(Distrust::Stale(_))), "a public key has no end");
    }

    #[test]
    fn the_published_signature_of_the_java_sdk_fits_its_certificate() {
        let case = fixtures::published("wechatpay-java sign");
        let certificate = Certificate::from_pem(&fixtures::file("wechatpay_java_merchant_cert.pem")).unwrap();
        assert_eq!(certificate.serial(), text(&case["serial"]));
        let key = certificate.verifying_key().unwrap();
        let signature = BASE64.decode(text(&case["signature_base64"])).unwrap();
        key.verify_sig(text(&case["message"]).as_bytes(), &signature).unwrap();
        assert!(key.verify_sig(b"another message", &signature).is_err());
    }

    #[test]
    fn the_published_notification_of_the_go_sdk_is_verified() {
        let case = fixtures::published("wechatpay-go notification");
        let mut verifiers = Verifiers::default();
        let certificate = Certificate::from_pem(&fixtures::file("wechatpay_go_testing_cert.pem")).unwrap();
        verifiers.add_certificate(&certificate).unwrap();
        let now = Timestamp::from_second(signed_at(&case)).unwrap();
        let headers = headers_of(&case).unwrap();
        assert_eq!(headers.verify(text(&case["body"]).as_bytes(), &verifiers, now), Ok(()));
        assert_eq!(headers.verify(b"{}", &verifiers, now), Err(Distrust::Wrong));
    }

    #[test]
    fn debug_shows_serials_only() {
        let shown = format!("{:?}", fixtures::verifiers());
        assert!(shown.contains("PUB_KEY_ID_0114232134912410000000000000"), "{shown}");
        assert!(shown.len() < 200, "{shown}");
    }
}

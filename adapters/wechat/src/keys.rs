//! Keys as people have them (PEM, or bare base64 as key tools hand it out) become keys that sign, verify and decrypt.
//!
//! `rsa` reads the formats; `aws-lc-rs` does all the work with them.

use std::fmt;

use aws_lc_rs::{
    aead,
    error::Unspecified,
    rand::SystemRandom,
    rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey},
    signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1::{DecodeRsaPrivateKey as _, DecodeRsaPublicKey as _},
    pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _},
    traits::PublicKeyParts as _,
};
use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

/// Least size of an RSA key, in bits. Source: wechat-pay §2 (2048 bit).
const MIN_BITS: usize = 2048;

/// Why a text is not the key that it should be. Says what is wrong and the way out; never shows the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing in it.
    #[error("is empty")]
    Empty,
    /// A PEM of another kind.
    #[error("holds a {found}, {wanted} is needed")]
    OtherKind {
        /// The PEM label, in lower case.
        found: String,
        /// What should be there.
        wanted: &'static str,
    },
    /// A private key under a password.
    #[error("is encrypted: write it out in the clear, for example with `openssl pkcs8 -in KEY -out PLAIN`")]
    Encrypted,
    /// Not readable at all.
    #[error("can't be read: {0} is needed")]
    Unreadable(&'static str),
    /// An RSA key too small to be one of WeChat Pay.
    #[error("has {0} bits, at least {MIN_BITS} are needed")]
    TooShort(usize),
    /// An APIv3 key of another length.
    #[error("has {0} bytes, 32 are needed: the APIv3 key as set in the merchant console")]
    NotThirtyTwo(usize),
}

const PRIVATE_KEY: &str = "an RSA private key (PEM, or base64 of its DER)";
const PUBLIC_KEY: &str = "an RSA public key (PEM, or base64 of its DER)";
const CERTIFICATE: &str = "a certificate (PEM)";

/// The merchant's API private key: it signs each request. Shows nothing in `Debug`.
pub struct MerchantKey {
    pair: RsaKeyPair,
    public: RsaPublicKey,
}

impl MerchantKey {
    /// Reads PEM (PKCS#8 or PKCS#1) or the bare base64 of either.
    /// # Errors
    /// [`KeyError`] for a certificate, a public key, an encrypted or a short key, or anything unreadable.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let block = Block::first(text, PRIVATE_KEY)?;
        let key = match block.label.as_deref() {
            None => RsaPrivateKey::from_pkcs8_der(&block.der)
                .or_else(|_| RsaPrivateKey::from_pkcs1_der(&block.der).map_err(rsa::pkcs8::Error::from)),
            Some("PRIVATE KEY") => RsaPrivateKey::from_pkcs8_der(&block.der),
            Some("RSA PRIVATE KEY") => RsaPrivateKey::from_pkcs1_der(&block.der).map_err(rsa::pkcs8::Error::from),
            Some("ENCRYPTED PRIVATE KEY") => return Err(KeyError::Encrypted),
            Some(_) => return Err(block.other_kind(PRIVATE_KEY)),
        }
        .map_err(|_| KeyError::Unreadable(PRIVATE_KEY))?;
        long_enough(key.n().bits())?;
        let der = key.to_pkcs8_der().map_err(|_| KeyError::Unreadable(PRIVATE_KEY))?;
        let pair = RsaKeyPair::from_pkcs8(der.as_bytes()).map_err(|_| KeyError::Unreadable(PRIVATE_KEY))?;
        Ok(Self { pair, public: key.to_public_key() })
    }

    /// Whether `certificate` was issued for this key.
    #[must_use]
    pub fn fits(&self, certificate: &Certificate) -> bool {
        self.public == certificate.public
    }

    /// SHA256 with RSA, PKCS#1 v1.5, over `message`. The one private operation of a call.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
        Ok(signature)
    }
}

impl fmt::Debug for MerchantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MerchantKey(hidden)")
    }
}

/// A certificate, read: the merchant's own (for its serial) or a platform certificate (to verify with).
///
/// Only read, not chained to an authority: the merchant puts it into the settings, or it comes encrypted under the
/// APIv3 key and inside a signed answer (wechat-pay §4).
#[derive(Clone, Debug)]
pub struct Certificate {
    serial: String,
    valid_until: Timestamp,
    public: RsaPublicKey,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    /// # Errors
    /// [`KeyError`] for anything but a certificate of an RSA key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = Block::first(text, CERTIFICATE)?;
        Self::of(&block)
    }

    /// Reads every certificate of a PEM text, at least one.
    /// # Errors
    /// [`KeyError`] where one of them can't be read or is something else.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, KeyError> {
        Block::all(text, CERTIFICATE)?.iter().map(Self::of).collect()
    }

    fn of(block: &Block) -> Result<Self, KeyError> {
        match block.label.as_deref() {
            Some("CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE") => {}
            Some(_) => return Err(block.other_kind(CERTIFICATE)),
            None => return Err(KeyError::Unreadable(CERTIFICATE)),
        }
        let unreadable = || KeyError::Unreadable(CERTIFICATE);
        let (_, certificate) = x509_parser::parse_x509_certificate(&block.der).map_err(|_| unreadable())?;
        let public = RsaPublicKey::from_public_key_der(certificate.public_key().raw).map_err(|_| unreadable())?;
        let end = certificate.validity().not_after.timestamp();
        Ok(Self {
            serial: hex::encode_upper(strip_sign(certificate.raw_serial())),
            valid_until: Timestamp::from_second(end).map_err(|_| unreadable())?,
            public,
        })
    }

    /// Its serial number in upper-case hex, two digits a byte: the form of the merchant console and of `openssl`.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The end of its validity.
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    pub(crate) fn verifying_key(&self) -> Result<ParsedPublicKey, KeyError> {
        verifying_key(&self.public)
    }

    pub(crate) fn sealing_key(&self) -> Result<SealingKey, KeyError> {
        SealingKey::of(&self.public)
    }
}

/// Encrypts what only WeChat Pay may read: RSA-OAEP with SHA-1 and MGF1-SHA-1. Source: wechat-pay §6.
pub(crate) struct SealingKey(OaepPublicEncryptingKey);

impl SealingKey {
    fn of(key: &RsaPublicKey) -> Result<Self, KeyError> {
        let unreadable = KeyError::Unreadable(PUBLIC_KEY);
        let der = key.to_public_key_der().map_err(|_| unreadable.clone())?;
        let key = PublicEncryptingKey::from_der(der.as_bytes()).map_err(|_| unreadable.clone())?;
        OaepPublicEncryptingKey::new(key).map(Self).map_err(|_| unreadable)
    }

    /// The ciphertext; `None` for nothing at all, and for more than one block holds.
    pub(crate) fn seal(&self, text: &[u8]) -> Option<Vec<u8>> {
        let algorithm = &OAEP_SHA1_MGF1SHA1;
        if text.is_empty() || text.len() > self.0.max_plaintext_size(algorithm) {
            return None;
        }
        let mut sealed = vec![0; self.0.ciphertext_size()];
        let length = self.0.encrypt(algorithm, text, &mut sealed, None).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

/// Reads the WeChat Pay public key (微信支付公钥): PEM, or bare base64 of its SPKI. Source: wechat-pay §5.
pub(crate) fn public_key(text: &str) -> Result<(ParsedPublicKey, SealingKey), KeyError> {
    let block = Block::first(text, PUBLIC_KEY)?;
    let key = match block.label.as_deref() {
        None | Some("PUBLIC KEY") => RsaPublicKey::from_public_key_der(&block.der).ok(),
        Some("RSA PUBLIC KEY") => RsaPublicKey::from_pkcs1_der(&block.der).ok(),
        Some(_) => return Err(block.other_kind(PUBLIC_KEY)),
    };
    let key = key.ok_or(KeyError::Unreadable(PUBLIC_KEY))?;
    Ok((verifying_key(&key)?, SealingKey::of(&key)?))
}

fn verifying_key(key: &RsaPublicKey) -> Result<ParsedPublicKey, KeyError> {
    long_enough(key.n().bits())?;
    let der = key.to_public_key_der().map_err(|_| KeyError::Unreadable(PUBLIC_KEY))?;
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der.as_bytes()).map_err(|_| KeyError::Unreadable(PUBLIC_KEY))
}

const fn long_enough(bits: usize) -> Result<(), KeyError> {
    if bits < MIN_BITS { Err(KeyError::TooShort(bits)) } else { Ok(()) }
}

/// DER puts a zero byte before a number whose first bit is set.
fn strip_sign(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    }
}

/// A serial in the one form that we compare: upper-case hex without leading zeros; a public key's id as it is.
///
/// SDKs and tools differ in case and in leading zeros (wechat-pay §2).
pub(crate) fn serial(text: &str) -> String {
    if text.starts_with(PUBLIC_KEY_ID) { text.to_owned() } else { text.trim_start_matches('0').to_ascii_uppercase() }
}

/// How the id of a WeChat Pay public key begins. Source: wechat-pay §5.
pub(crate) const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_";

/// The APIv3 key: decrypts notifications and platform certificates. Shows nothing in `Debug`.
pub struct ApiV3Key(aead::LessSafeKey);

/// Something that WeChat Pay encrypted under the APIv3 key. Source: wechat-pay §4, §15.
#[derive(Deserialize)]
pub(crate) struct Sealed {
    pub(crate) algorithm: String,
    pub(crate) nonce: String,
    #[serde(default)]
    pub(crate) associated_data: Option<String>,
    pub(crate) ciphertext: String,
}

impl ApiV3Key {
    /// Takes the key as set in the merchant console: 32 bytes of text.
    /// # Errors
    /// [`KeyError::Empty`], or [`KeyError::NotThirtyTwo`] for another length.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let bytes = text.trim().as_bytes();
        if bytes.is_empty() {
            return Err(KeyError::Empty);
        }
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, bytes).map_err(|_| KeyError::NotThirtyTwo(bytes.len()))?;
        Ok(Self(aead::LessSafeKey::new(key)))
    }

    /// The plaintext, or in a few words why there is none.
    pub(crate) fn open(&self, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        if sealed.algorithm != "AEAD_AES_256_GCM" {
            return Err("encrypted by another algorithm than AEAD_AES_256_GCM");
        }
        let nonce =
            aead::Nonce::try_assume_unique_for_key(sealed.nonce.as_bytes()).map_err(|_| "its nonce is not 12 bytes")?;
        let aad = aead::Aad::from(sealed.associated_data.as_deref().unwrap_or_default().as_bytes());
        let ciphertext = BASE64.decode(sealed.ciphertext.as_bytes()).map_err(|_| "its ciphertext is not base64")?;
        let mut text = Zeroizing::new(ciphertext);
        let length =
            self.0.open_in_place(nonce, aad, &mut text).map_err(|_| "the APIv3 key does not decrypt it")?.len();
        text.truncate(length);
        Ok(text)
    }
}

impl fmt::Debug for ApiV3Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiV3Key(hidden)")
    }
}

/// One block of a PEM text, or bare base64 (no label).
struct Block {
    label: Option<String>,
    der: Zeroizing<Vec<u8>>,
}

impl Block {
    fn first(text: &str, wanted: &'static str) -> Result<Self, KeyError> {
        Self::all(text, wanted)?.into_iter().next().ok_or(KeyError::Unreadable(wanted))
    }

    /// Every block of `text`. Takes what the wallets' tools write: text around the blocks, lines of any length, CRLF.
    fn all(text: &str, wanted: &'static str) -> Result<Vec<Self>, KeyError> {
        let unreadable = KeyError::Unreadable(wanted);
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if !text.contains("-----BEGIN ") {
            return Ok(vec![Self { label: None, der: unbase64(text).ok_or(unreadable)? }]);
        }
        let mut blocks = Vec::new();
        for part in text.split("-----BEGIN ").skip(1) {
            let (label, rest) = part.split_once("-----").ok_or_else(|| unreadable.clone())?;
            let (body, _) = rest.split_once("-----END ").ok_or_else(|| unreadable.clone())?;
            if body.contains("Proc-Type: 4,ENCRYPTED") {
                return Err(KeyError::Encrypted);
            }
            let der = unbase64(body).ok_or_else(|| unreadable.clone())?;
            blocks.push(Self { label: Some(label.to_owned()), der });
        }
        Ok(blocks)
    }

    /// A label is shown only where it looks like one: in a broken PEM text the key itself may stand in its place.
    fn other_kind(&self, wanted: &'static str) -> KeyError {
        let is_label = |text: &&str| text.len() <= 32 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b' ');
        let found = self.label.as_deref().filter(is_label).unwrap_or("text that is no PEM").to_lowercase();
        KeyError::OtherKind { found, wanted }
    }
}

fn unbase64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let der = BASE64.decode(&digits).ok();
    digits.zeroize();
    der.map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{self, file, text};

    fn sealed(case: &serde_json::Value) -> Sealed {
        Sealed {
            algorithm: "AEAD_AES_256_GCM".to_owned(),
            nonce: text(&case["nonce"]).to_owned(),
            associated_data: Some(text(&case["associated_data"]).to_owned()),
            ciphertext: text(&case["ciphertext"]).to_owned(),
        }
    }

    #[test]
    fn what_the_vectors_sealed_is_opened() {
        let vectors = fixtures::vectors();
        let case = &vectors["aead"][0];
        let key = ApiV3Key::from_text(text(&vectors["params"]["apiv3_key"])).unwrap();
        assert_eq!(*key.open(&sealed(case)).unwrap(), text(&case["plaintext"]).as_bytes());
        let unnamed = Sealed { associated_data: None, ..sealed(case) };
        assert_eq!(
            *key.open(&unnamed).unwrap(),
            text(&case["plaintext"]).as_bytes(),
            "no associated data is empty data"
        );
    }

    #[test]
    fn what_the_java_sdk_sealed_is_opened_and_nothing_altered() {
        let case = fixtures::published("wechatpay-java AEAD");
        let key = ApiV3Key::from_text(text(&case["key"])).unwrap();
        assert_eq!(*key.open(&sealed(&case)).unwrap(), text(&case["plaintext"]).as_bytes());
        let changes: [fn(&mut Sealed); 6] = [
            |sealed| sealed.associated_data = Some("other".to_owned()),
            |sealed| sealed.nonce = "uluk4a9R25RX".to_owned(),
            |sealed| sealed.nonce = "short".to_owned(),
            |sealed| sealed.ciphertext.replace_range(0..1, "v"),
            |sealed| sealed.ciphertext = "***".to_owned(),
            |sealed| sealed.algorithm = "AEAD_SM4_GCM".to_owned(),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut altered = sealed(&case);
            change(&mut altered);
            assert!(key.open(&altered).is_err(), "change {index}");
        }
        let other = ApiV3Key::from_text("00000000000000000000000000000000").unwrap();
        assert!(other.open(&sealed(&case)).is_err());
    }

    #[test]
    fn a_key_of_16_bytes_is_refused_as_the_go_sdk_uses_in_its_tests() {
        let case = fixtures::published("wechatpay-go AEAD");
        assert_eq!(ApiV3Key::from_text(text(&case["key"])).unwrap_err(), KeyError::NotThirtyTwo(16));
    }

    #[test]
    fn serials_are_written_as_openssl_writes_them() {
        for (name, serial) in [
            ("merchant_cert.pem", "5C0FFEE0000000000000000000000000000000A1"),
            ("wechatpay_go_testing_cert.pem", "D7CE59D1F522D701"), // its first bit is set: DER has a zero byte before it
        ] {
            assert_eq!(Certificate::from_pem(&file(name)).unwrap().serial(), serial);
        }
    }

    #[test]
    fn a_public_key_is_taken_as_pem_and_as_base64() {
        let pem = file("wechatpay_public_key.pem");
        let bare: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(public_key(&pem).unwrap().0.as_ref(), public_key(&bare).unwrap().0.as_ref());
    }

    #[test]
    fn a_cut_pem_is_unreadable_not_a_crash() {
        let pem = file("merchant_cert.pem");
        for end in [12, 30, 200, pem.len() - 20] {
            assert_eq!(Certificate::from_pem(&pem[..end]).unwrap_err(), KeyError::Unreadable(CERTIFICATE), "{end}");
        }
    }
}

//! Our private key, which signs requests, and Alipay's public one, which its answers are verified with (alipay §2–§4).

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, PublicKey},
    signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaParameters},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{armour::blocks, certificates::Certificates, settings::SettingsError};

/// The application's private key (应用私钥): RSA, 2048 bit or more. Shows nothing in `Debug`.
pub struct AppKey(KeyPair);

impl AppKey {
    /// Reads PKCS#8 or PKCS#1, as PEM or as bare base64 (alipay §2).
    /// # Errors
    /// [`SettingsError::AppKey`] where the text is no such key.
    pub fn read(text: &str) -> Result<Self, SettingsError> {
        let refused = |detail| SettingsError::AppKey { detail };
        let blocks = blocks(text);
        let [block] = blocks.as_slice() else {
            return Err(refused("the file holds more than one PEM block"));
        };
        match block.label {
            Some(label) if label.contains("ENCRYPTED") => {
                return Err(refused("the key is protected by a password: store it without one"));
            }
            Some(label) if !label.contains("PRIVATE KEY") => return Err(refused("the file holds no private key")),
            _ => {}
        }
        let der = block.der.as_ref().ok_or_else(|| refused("the text is not base64"))?;
        let pair = KeyPair::from_pkcs8(der).or_else(|_| KeyPair::from_der(der));
        pair.map(Self).map_err(|_| refused("the text is no RSA private key of 2048 bits or more"))
    }

    /// SHA256 with RSA, PKCS#1 v1.5, in base64: the `sign` parameter. `None` only if the crypto library fails.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> Option<String> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).ok()?;
        Some(STANDARD.encode(signature))
    }

    /// Whether `public` is the other half of this key.
    pub(crate) fn fits(&self, public: &PublicKey) -> bool {
        self.0.public_key().as_ref() == public.as_ref()
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKey(hidden)")
    }
}

/// Alipay's public key (支付宝公钥), parsed once.
#[derive(Debug)]
pub struct AlipayKey(ParsedPublicKey);

impl AlipayKey {
    /// Reads a public key as PEM or bare base64. `ours` tells a common mix-up: the console shows both public keys.
    /// # Errors
    /// [`SettingsError::AlipayKey`] where the text is no such key, [`SettingsError::AlipayKeyIsOurs`] where it belongs to
    /// `ours`.
    pub fn read(text: &str, ours: &AppKey) -> Result<Self, SettingsError> {
        let key = read_public(text)?;
        if ours.fits(&key) {
            return Err(SettingsError::AlipayKeyIsOurs);
        }
        Self::new(&key).ok_or(SettingsError::AlipayKey { detail: "RSA2 needs a key of 2048 bits or more" })
    }

    pub(crate) fn new(key: &PublicKey) -> Option<Self> {
        // Verification refuses a short key each time anew; here it is refused once, at the start.
        let algorithm = &RSA_PKCS1_2048_8192_SHA256;
        let bits = RsaParameters::public_modulus_len(key.as_ref()).ok()?;
        (bits >= algorithm.min_modulus_len()).then_some(Self(ParsedPublicKey::new(algorithm, key.as_ref()).ok()?))
    }

    /// Whether `signature`, in base64, is Alipay's over exactly these bytes.
    #[must_use]
    pub fn verifies(&self, bytes: &[u8], signature: &str) -> bool {
        STANDARD.decode(signature).is_ok_and(|signature| self.0.verify_sig(bytes, &signature).is_ok())
    }
}

fn read_public(text: &str) -> Result<PublicKey, SettingsError> {
    let refused = |detail| SettingsError::AlipayKey { detail };
    let blocks = blocks(text);
    let [block] = blocks.as_slice() else {
        return Err(refused("the file holds more than one PEM block"));
    };
    let der = block.der.as_ref().ok_or_else(|| refused("the text is not base64"))?;
    PublicKey::from_der(der).map_err(|_| {
        refused(if X509Certificate::from_der(der).is_ok() {
            "this is a certificate: give the three certificates instead of a public key"
        } else if KeyPair::from_pkcs8(der).or_else(|_| KeyPair::from_der(der)).is_ok() {
            "this is a private key"
        } else {
            "the text is no RSA public key"
        })
    })
}

/// How Alipay's answers and notifications are verified.
#[derive(Debug)]
pub enum Verifying {
    /// Public key mode (公钥模式).
    PublicKey(Arc<AlipayKey>),
    /// Certificate mode (公钥证书模式).
    Certificates(Box<Certificates>),
}

impl Verifying {
    /// The key for a message that names this `alipay_cert_sn`, or names none; `None` where it was signed with a
    /// certificate that we don't hold.
    ///
    /// This is the only place that chooses a key. A certificate that Alipay renewed is looked up here once it is
    /// downloaded and found to chain to our root ([`Certificates::admit`]).
    pub(crate) fn key_for(&self, alipay_cert_sn: Option<&str>) -> Option<Arc<AlipayKey>> {
        match (self, alipay_cert_sn) {
            (Self::PublicKey(key), _) => Some(Arc::clone(key)),
            (Self::Certificates(held), sn) => held.key_for(sn),
        }
    }
}

#[cfg(test)]
mod tests {
    use rsa::{
        RsaPublicKey,
        pkcs1v15::{Signature, VerifyingKey},
        pkcs8::DecodePublicKey as _,
        signature::Verifier as _,
    };
    use sha2::Sha256;

    use super::*;
    use crate::fixtures;

    #[test]
    fn a_private_key_is_read_in_each_form_that_consoles_hand_out() {
        let pkcs8 = fixtures::text("app_private_key.b64");
        let pkcs1 = fixtures::text("app_private_key_pkcs1.b64");
        let armoured = [("PRIVATE KEY", &pkcs8), ("RSA PRIVATE KEY", &pkcs1), ("PRIVATE KEY", &pkcs1)]
            .map(|(label, text)| format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"));
        let signatures: Vec<_> = armoured
            .iter()
            .chain([&pkcs8, &pkcs1])
            .map(|text| AppKey::read(text).unwrap().sign(b"message").unwrap())
            .collect();
        assert!(signatures.iter().all(|signature| *signature == signatures[0]));
    }

    #[test]
    fn another_library_verifies_what_we_sign() {
        let public = RsaPublicKey::from_public_key_pem(&fixtures::text("app_public_key.pem")).unwrap();
        let signature = STANDARD.decode(fixtures::app_key().sign("金额 20.00".as_bytes()).unwrap()).unwrap();
        let signature = Signature::try_from(signature.as_slice()).unwrap();
        let verifier = VerifyingKey::<Sha256>::new(public);
        assert!(verifier.verify("金额 20.00".as_bytes(), &signature).is_ok());
        assert!(verifier.verify("金额 21.00".as_bytes(), &signature).is_err());
    }

    #[test]
    fn what_is_no_private_key_is_refused_by_name() {
        let key = fixtures::text("app_private_key.b64");
        for (text, expected) in [
            (String::new(), "not base64"),
            ("hello".to_owned(), "not base64"),
            ("AAECAwQ=".to_owned(), "no RSA private key"),
            (fixtures::text("app_public_key.pem"), "holds no private key"),
            (format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{key}\n-----END"), "password"),
            (fixtures::text("alipay_root_cert.pem"), "more than one"),
        ] {
            let error = AppKey::read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_public_key_of_alipay_is_refused_by_name() {
        let ours = fixtures::app_key();
        for (file, expected) in [
            ("app_public_key.pem", "belongs to the application"),
            ("app_cert.pem", "this is a certificate"),
            ("alipay_private_key.b64", "this is a private key"),
        ] {
            let error = AlipayKey::read(&fixtures::text(file), &ours).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(AlipayKey::read(&fixtures::text("alipay_public_key.pem"), &ours).is_ok());
        let bare: String =
            fixtures::text("alipay_public_key.pem").lines().filter(|line| !line.starts_with('-')).collect();
        assert!(AlipayKey::read(&bare, &ours).is_ok());
    }

    #[test]
    fn keys_are_hidden() {
        assert_eq!(format!("{:?}", fixtures::app_key()), "AppKey(hidden)");
    }
}

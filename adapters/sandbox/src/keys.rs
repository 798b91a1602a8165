//! RSA keys and certificates: made with `rsa` and `rcgen`, used with `aws-lc-rs`.
//!
//! Signatures are PKCS#1 v1.5, so the same key and text give the same bytes: with a seed whole directories repeat.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey},
    signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest as _, Md5};
use rand_chacha::ChaCha20Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, PKCS_RSA_SHA256, SerialNumber,
};
use rsa::{
    RsaPrivateKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding},
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Bits of every key here: the wallets' own.
const KEY_BITS: usize = 2048;
/// 2025-01-01 and 2040-01-01, UTC: fixed, so that a seeded certificate repeats.
const VALID_FROM: i64 = 1_735_689_600;
const VALID_UNTIL: i64 = 2_208_988_800;

/// Why a key or certificate can't be used. The text never holds key material.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("it is not an RSA private key in PKCS#8 PEM form")]
    NotAPrivateKey,
    #[error("it is not an X.509 certificate in PEM form")]
    NotACertificate,
    #[error("the cryptographic library refused: {0}")]
    Library(String),
}

/// A private key that signs.
pub(crate) struct SigningKey {
    pair: KeyPair,
    pkcs8_pem: String,
    pkcs8_der: Vec<u8>,
    public_pem: String,
    public_der: Vec<u8>,
}

impl SigningKey {
    /// A new key from this stream of random numbers.
    pub(crate) fn generate(rng: &mut ChaCha20Rng) -> Result<Self, KeyError> {
        let key = RsaPrivateKey::new(rng, KEY_BITS).map_err(|error| KeyError::Library(error.to_string()))?;
        Self::from_rsa(&key)
    }

    /// Reads PKCS#8 PEM.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::from_rsa(&RsaPrivateKey::from_pkcs8_pem(pem).map_err(|_| KeyError::NotAPrivateKey)?)
    }

    fn from_rsa(key: &RsaPrivateKey) -> Result<Self, KeyError> {
        let library = |error: String| KeyError::Library(error);
        let der = key.to_pkcs8_der().map_err(|error| library(error.to_string()))?;
        let public = key.to_public_key();
        Ok(Self {
            pair: KeyPair::from_pkcs8(der.as_bytes()).map_err(|error| library(error.to_string()))?,
            pkcs8_pem: key.to_pkcs8_pem(LineEnding::LF).map_err(|error| library(error.to_string()))?.to_string(),
            pkcs8_der: der.as_bytes().to_vec(),
            public_pem: public.to_public_key_pem(LineEnding::LF).map_err(|error| library(error.to_string()))?,
            public_der: public.to_public_key_der().map_err(|error| library(error.to_string()))?.into_vec(),
        })
    }

    /// SHA256 with RSA (PKCS#1 v1.5), as base64.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<String, KeyError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|error| KeyError::Library(error.to_string()))?;
        Ok(BASE64.encode(signature))
    }

    /// The key that checks this one's signatures.
    pub(crate) fn verifying(&self) -> Result<VerifyingKey, KeyError> {
        let parsed = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_der);
        parsed.map(VerifyingKey).map_err(|error| KeyError::Library(error.to_string()))
    }

    /// Opens what was encrypted under the public half: RSA-OAEP with SHA-1 (wechat-pay §6).
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let key = PrivateDecryptingKey::from_pkcs8(&self.pkcs8_der).ok()?;
        let key = OaepPrivateDecryptingKey::new(key).ok()?;
        let mut plain = vec![0; key.min_output_size()];
        let length = key.decrypt(&OAEP_SHA1_MGF1SHA1, sealed, &mut plain, None).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    /// PKCS#8 PEM. A secret.
    pub(crate) fn private_pem(&self) -> &str {
        &self.pkcs8_pem
    }

    /// PKCS#8 DER. A secret.
    pub(crate) fn private_der(&self) -> &[u8] {
        &self.pkcs8_der
    }

    /// SPKI PEM.
    pub(crate) fn public_pem(&self) -> &str {
        &self.public_pem
    }

    fn for_certificates(&self) -> Result<rcgen::KeyPair, KeyError> {
        let der = PrivatePkcs8KeyDer::from(self.pkcs8_der.as_slice());
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256)
            .map_err(|error| KeyError::Library(error.to_string()))
    }
}

/// A public key that checks signatures.
pub(crate) struct VerifyingKey(ParsedPublicKey);

impl VerifyingKey {
    /// Whether `signature` (base64) is this key's over `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        BASE64.decode(signature).is_ok_and(|signature| self.0.verify_sig(message, &signature).is_ok())
    }
}

/// A name in a certificate: exactly country, organisation, unit and common name, in this order (alipay §20).
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub(crate) organisation: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) common: &'static str,
}

impl Name {
    fn distinguished(self, common: Option<&str>) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, "CN");
        name.push(DnType::OrganizationName, self.organisation);
        name.push(DnType::OrganizationalUnitName, self.unit);
        name.push(DnType::CommonName, common.unwrap_or(self.common));
        name
    }
}

/// What a new certificate is to say.
pub(crate) struct Request<'a> {
    pub(crate) subject: Name,
    /// Takes the place of the subject's common name where it is known only at run time (a merchant's number).
    pub(crate) common: Option<&'a str>,
    pub(crate) serial: [u8; 20],
    pub(crate) hosts: Vec<String>,
    pub(crate) is_ca: bool,
}

/// An authority of the sandbox: a name and the key that stands behind it.
pub(crate) struct Authority<'a> {
    pub(crate) name: Name,
    pub(crate) key: &'a SigningKey,
}

impl Authority<'_> {
    /// Signs a certificate for `key`.
    pub(crate) fn issue(&self, request: Request<'_>, key: &SigningKey) -> Result<Certificate, KeyError> {
        let mut of_issuer = CertificateParams::default();
        of_issuer.distinguished_name = self.name.distinguished(None);
        let issuer = Issuer::new(of_issuer, self.key.for_certificates()?);
        let certificate = params(request)?.signed_by(&key.for_certificates()?, &issuer);
        Certificate::from_pem(&certificate.map_err(|error| KeyError::Library(error.to_string()))?.pem())
    }

    /// Its own certificate.
    pub(crate) fn self_signed(&self, serial: [u8; 20]) -> Result<Certificate, KeyError> {
        let request = Request { subject: self.name, common: None, serial, hosts: Vec::new(), is_ca: true };
        self.issue(request, self.key)
    }
}

fn params(request: Request<'_>) -> Result<CertificateParams, KeyError> {
    let mut params = CertificateParams::new(request.hosts).map_err(|error| KeyError::Library(error.to_string()))?;
    let moment = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = moment(VALID_FROM);
    params.not_after = moment(VALID_UNTIL);
    params.serial_number = Some(SerialNumber::from_slice(&request.serial));
    params.distinguished_name = request.subject.distinguished(request.common);
    if request.is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    }
    Ok(params)
}

/// A certificate and what the wallets need to know of it.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) der: Vec<u8>,
    /// Upper-case hex.
    pub(crate) serial: String,
    pub(crate) valid_from: i64,
    pub(crate) valid_until: i64,
    /// Alipay's own number of a certificate (alipay §4).
    pub(crate) alipay_sn: String,
    public_der: Vec<u8>,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    pub(crate) fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).map_err(|_| KeyError::NotACertificate)?;
        let (_, parsed) = X509Certificate::from_der(&pem.contents).map_err(|_| KeyError::NotACertificate)?;
        let serial = parsed.raw_serial();
        let serial = serial.strip_prefix(&[0]).unwrap_or(serial);
        Ok(Self {
            pem: text.to_owned(),
            serial: hex::encode_upper(serial),
            valid_from: parsed.validity().not_before.timestamp(),
            valid_until: parsed.validity().not_after.timestamp(),
            alipay_sn: alipay_sn(&parsed)?,
            public_der: parsed.public_key().raw.to_vec(),
            der: pem.contents.clone(),
        })
    }

    /// Whether it was made for this key.
    pub(crate) fn fits(&self, key: &SigningKey) -> bool {
        self.public_der == key.public_der
    }
}

/// Lower hex MD5 of the issuer, its parts in reverse of the DER order, and the serial number in decimal (alipay §4).
fn alipay_sn(certificate: &X509Certificate<'_>) -> Result<String, KeyError> {
    let mut parts = Vec::new();
    for attribute in certificate.issuer().iter_attributes() {
        let name = match attribute.attr_type().to_id_string().as_str() {
            "2.5.4.3" => "CN",
            "2.5.4.6" => "C",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            _ => continue,
        };
        parts.push(format!("{name}={}", attribute.as_str().map_err(|_| KeyError::NotACertificate)?));
    }
    parts.reverse();
    let text = format!("{}{}", parts.join(","), certificate.tbs_certificate.serial);
    Ok(hex::encode(Md5::digest(text)))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::vectors::{self, text};

    #[test]
    fn alipays_numbers_of_the_known_certificates_come_out() {
        let known = &vectors::of("alipay")["certificate_sn"];
        for (file, name) in [("app_cert.pem", "app_cert"), ("alipay_cert.pem", "alipay_cert_first_in_file")] {
            let certificate = Certificate::from_pem(&vectors::file("alipay", file)).unwrap();
            assert_eq!(certificate.alipay_sn, text(&known[name]["sn"]), "{file}");
        }
    }

    #[test]
    fn a_seeded_key_and_its_certificate_repeat_and_belong_together() {
        let make = || {
            let mut rng = ChaCha20Rng::seed_from_u64(3);
            let key = SigningKey::generate(&mut rng).unwrap();
            let name = Name { organisation: "Org", unit: "Unit", common: "Root" };
            let root = Authority { name, key: &key }.self_signed([0x41; 20]).unwrap();
            (key, root)
        };
        let (key, root) = make();
        let (again, same) = make();
        assert_eq!(key.private_pem(), again.private_pem());
        assert_eq!(root.pem, same.pem);
        assert_eq!(root.serial, "41".repeat(20));
        assert!(root.fits(&again));
        let signature = key.sign(b"text").unwrap();
        assert!(again.verifying().unwrap().verifies(b"text", &signature));
        assert!(!again.verifying().unwrap().verifies(b"other", &signature));
        let issuer_and_serial = format!("CN=Root,OU=Unit,O=Org,C=CN{}", decimal(&[0x41; 20]));
        assert_eq!(root.alipay_sn, hex::encode(Md5::digest(issuer_and_serial)));
    }

    /// Long division by ten, to have the decimal serial from somewhere else than the code under test.
    fn decimal(bytes: &[u8]) -> String {
        let mut number = bytes.to_vec();
        let mut digits = Vec::new();
        while number.iter().any(|byte| *byte != 0) {
            let mut rest = 0_u16;
            for byte in &mut number {
                let part = rest * 256 + u16::from(*byte);
                *byte = (part / 10) as u8;
                rest = part % 10;
            }
            digits.push(char::from(b'0' + rest as u8));
        }
        digits.iter().rev().collect()
    }
}

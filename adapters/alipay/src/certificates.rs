//! Certificate mode (公钥证书模式): three files that must fit each other (alipay §4).

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::rsa::PublicKey;
use jiff::Timestamp;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    armour::{Block, blocks},
    cert_sn,
    keys::{AlipayKey, AppKey},
    settings::{CertificateFile, SettingsError},
};

/// What certificate mode sends and verifies with.
pub struct Certificates {
    app_cert_sn: String,
    alipay_cert_sn: String,
    root_cert_sn: String,
    alipay_key: Arc<AlipayKey>,
    chain: Chain,
    first_expiry: Timestamp,
    /// The root bundle and what stands between it and Alipay's certificate, as DER: what a renewed one must chain to.
    roots: Vec<Vec<u8>>,
    between: Vec<Vec<u8>>,
    /// Certificates that Alipay renewed while we run, by number.
    renewed: RwLock<Vec<(String, Arc<AlipayKey>)>>,
}

/// Whether Alipay's certificate was traced to the root bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Each signature up to a member of the bundle holds.
    Traced,
    /// The file lacks the certificate between Alipay's own and the root. Such files are handed out; the key is then
    /// trusted because the operator gave it, as in public key mode.
    IntermediateMissing,
}

impl Certificates {
    /// Reads the three files, PEM or bare base64, and checks that they fit each other and `app_key`.
    ///
    /// `app`: `appCertPublicKey_<appid>.crt`. `alipay`: `alipayCertPublicKey_RSA2.crt`, Alipay's own certificate first.
    /// `root`: `alipayRootCert.crt`, of which members that can't be read (SM2, the odd EC one) are left out.
    /// # Errors
    /// [`SettingsError::Certificate`], [`SettingsError::KeyDoesNotFitCertificate`], [`SettingsError::NoRsaRoot`],
    /// [`SettingsError::AlipayKeyIsOurs`] or [`SettingsError::AlipayCertificateNotTrusted`].
    pub fn read(app: &str, alipay: &str, root: &str, app_key: &AppKey) -> Result<Self, SettingsError> {
        let (app_blocks, alipay_blocks, root_blocks) = (blocks(app), blocks(alipay), blocks(root));
        let app = first(&app_blocks, CertificateFile::App)?;
        if !app_key.fits(&public_key(&app, CertificateFile::App)?) {
            return Err(SettingsError::KeyDoesNotFitCertificate);
        }
        let alipay = first(&alipay_blocks, CertificateFile::Alipay)?;
        let alipay_public = public_key(&alipay, CertificateFile::Alipay)?;
        if app_key.fits(&alipay_public) {
            return Err(SettingsError::AlipayKeyIsOurs);
        }
        let alipay_key = AlipayKey::new(&alipay_public)
            .ok_or_else(|| unusable(CertificateFile::Alipay, "RSA2 needs a key of 2048 bits or more"))?;
        let roots = readable(&root_blocks);
        Ok(Self {
            app_cert_sn: sn(&app, CertificateFile::App)?,
            alipay_cert_sn: sn(&alipay, CertificateFile::Alipay)?,
            root_cert_sn: cert_sn::root_sn(&roots).ok_or(SettingsError::NoRsaRoot)?,
            alipay_key: Arc::new(alipay_key),
            roots: ders(&root_blocks),
            between: ders(alipay_blocks.get(1..).unwrap_or_default()),
            renewed: RwLock::default(),
            chain: trace(&alipay, &readable(alipay_blocks.get(1..).unwrap_or_default()), &roots)?,
            first_expiry: expiry(&app, CertificateFile::App)?.min(expiry(&alipay, CertificateFile::Alipay)?),
        })
    }

    /// The number of our certificate, sent as `app_cert_sn`.
    #[must_use]
    pub fn app_cert_sn(&self) -> &str {
        &self.app_cert_sn
    }

    /// The number of Alipay's certificate, which its answers name as `alipay_cert_sn`.
    #[must_use]
    pub fn alipay_cert_sn(&self) -> &str {
        &self.alipay_cert_sn
    }

    /// The number of the root bundle, sent as `alipay_root_cert_sn`.
    #[must_use]
    pub fn root_cert_sn(&self) -> &str {
        &self.root_cert_sn
    }

    /// How far Alipay's certificate could be traced.
    #[must_use]
    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// When the first of our and Alipay's certificate ends.
    #[must_use]
    pub const fn first_expiry(&self) -> Timestamp {
        self.first_expiry
    }

    /// The key of the certificate with this number; without one, that of the configured certificate.
    pub(crate) fn key_for(&self, sn: Option<&str>) -> Option<Arc<AlipayKey>> {
        if sn.is_none_or(|sn| sn == self.alipay_cert_sn) {
            return Some(Arc::clone(&self.alipay_key));
        }
        let renewed = self.renewed.read().unwrap_or_else(PoisonError::into_inner);
        renewed.iter().find(|(held, _)| Some(held.as_str()) == sn).map(|(_, key)| Arc::clone(key))
    }

    /// Takes a certificate that Alipay renewed, if it has this number, is valid now, and each signature up to our root
    /// bundle holds. Nothing else speaks for it: it came from whoever answered.
    pub(crate) fn admit(&self, text: &str, sn: &str, now: Timestamp) -> Result<(), &'static str> {
        let blocks = blocks(text);
        let certificate = first(&blocks, CertificateFile::Alipay).map_err(|_| "it is no certificate")?;
        if cert_sn::sn(&certificate).as_deref() != Some(sn) {
            return Err("it has another number than the one asked for");
        }
        let validity = certificate.validity();
        if !(validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now.as_second()) {
            return Err("it is not valid now");
        }
        let parsed = |der| Some(X509Certificate::from_der(der).ok()?.1);
        let roots: Vec<_> = self.roots.iter().filter_map(|der: &Vec<u8>| parsed(der.as_slice())).collect();
        let mut between = readable(blocks.get(1..).unwrap_or_default());
        between.extend(self.between.iter().filter_map(|der: &Vec<u8>| parsed(der.as_slice())));
        match trace(&certificate, &between, &roots) {
            Ok(Chain::Traced) => {}
            Ok(Chain::IntermediateMissing) | Err(_) => return Err("it does not come from our root bundle"),
        }
        let key = public_key(&certificate, CertificateFile::Alipay).ok().and_then(|key| AlipayKey::new(&key));
        let key = Arc::new(key.ok_or("its key is no RSA key of 2048 bits or more")?);
        let mut renewed = self.renewed.write().unwrap_or_else(PoisonError::into_inner);
        renewed.retain(|(held, _)| held != sn);
        renewed.push((sn.to_owned(), key));
        Ok(())
    }
}

fn ders(blocks: &[Block<'_>]) -> Vec<Vec<u8>> {
    blocks.iter().filter_map(|block| block.der.as_ref().map(|der| der.to_vec())).collect()
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("app_cert_sn", &self.app_cert_sn)
            .field("alipay_cert_sn", &self.alipay_cert_sn)
            .field("root_cert_sn", &self.root_cert_sn)
            .field("chain", &self.chain)
            .field("first_expiry", &self.first_expiry)
            .finish_non_exhaustive()
    }
}

const fn unusable(file: CertificateFile, detail: &'static str) -> SettingsError {
    SettingsError::Certificate { file, detail }
}

fn first<'a>(blocks: &'a [Block<'_>], file: CertificateFile) -> Result<X509Certificate<'a>, SettingsError> {
    let der = blocks.first().and_then(|block| block.der.as_ref());
    let der = der.ok_or_else(|| unusable(file, "the text is not base64"))?;
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(_) => Err(unusable(file, "the text is no certificate")),
    }
}

fn readable<'a>(blocks: &'a [Block<'_>]) -> Vec<X509Certificate<'a>> {
    blocks.iter().filter_map(|block| Some(X509Certificate::from_der(block.der.as_ref()?).ok()?.1)).collect()
}

fn public_key(certificate: &X509Certificate<'_>, file: CertificateFile) -> Result<PublicKey, SettingsError> {
    PublicKey::from_der(certificate.public_key().raw).map_err(|_| unusable(file, "its key is no RSA key"))
}

fn sn(certificate: &X509Certificate<'_>, file: CertificateFile) -> Result<String, SettingsError> {
    cert_sn::sn(certificate)
        .ok_or_else(|| unusable(file, "its issuer's name has a part that Alipay has no spelling for"))
}

fn expiry(certificate: &X509Certificate<'_>, file: CertificateFile) -> Result<Timestamp, SettingsError> {
    Timestamp::from_second(certificate.validity().not_after.timestamp())
        .map_err(|_| unusable(file, "its end of validity is no date"))
}

/// Follows the issuers from Alipay's certificate to the bundle. Dates are left to the one who reads the warning: an
/// old certificate is still Alipay's, and to refuse it would stop every refund.
fn trace(
    alipay: &X509Certificate<'_>,
    between: &[X509Certificate<'_>],
    roots: &[X509Certificate<'_>],
) -> Result<Chain, SettingsError> {
    let signed_by = |child: &X509Certificate<'_>, parent: &X509Certificate<'_>| {
        child.verify_signature(Some(parent.public_key())).map_err(|_| SettingsError::AlipayCertificateNotTrusted)
    };
    let mut current = alipay;
    for _ in 0..=between.len() {
        let issuer = current.issuer().as_raw();
        if let Some(root) = roots.iter().find(|root| root.subject().as_raw() == issuer) {
            signed_by(current, root)?;
            return Ok(Chain::Traced);
        }
        if issuer == current.subject().as_raw() {
            return Err(SettingsError::AlipayCertificateNotTrusted); // it vouches for itself
        }
        let Some(parent) = between.iter().find(|one| one.subject().as_raw() == issuer) else {
            return Ok(Chain::IntermediateMissing);
        };
        if !parent.is_ca() {
            return Err(SettingsError::AlipayCertificateNotTrusted);
        }
        signed_by(current, parent)?;
        current = parent;
    }
    Err(SettingsError::AlipayCertificateNotTrusted) // the issuers go round in a circle
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn read(app: &str, alipay: &str, root: &str) -> Result<Certificates, SettingsError> {
        Certificates::read(app, alipay, root, &fixtures::app_key())
    }

    fn files() -> [String; 3] {
        ["app_cert.pem", "alipay_cert.pem", "alipay_root_cert.pem"].map(fixtures::text)
    }

    #[test]
    fn the_three_files_fit_and_alipays_certificate_is_traced() {
        let [app, alipay, root] = files();
        let read = read(&app, &alipay, &root).unwrap();
        assert_eq!(read.chain(), Chain::Traced);
        assert_eq!(read.app_cert_sn(), "7a65869b980066cf52d1bfbd2daf2b9d");
        assert_eq!(read.alipay_cert_sn(), "faf7b16f785ed0a495670d8a8e805de3");
        assert_eq!(read.first_expiry().to_string(), "2034-12-30T00:00:00Z");
    }

    #[test]
    fn a_file_without_the_intermediate_is_taken_and_said_so() {
        let [app, alipay, root] = files();
        let own = alipay.split_inclusive("-----END CERTIFICATE-----").next().unwrap();
        assert_eq!(read(&app, own, &root).unwrap().chain(), Chain::IntermediateMissing);
    }

    #[test]
    fn a_member_of_the_bundle_that_cannot_be_read_is_left_out() {
        let [app, alipay, root] = files();
        let odd = format!("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n{root}");
        assert_eq!(
            read(&app, &alipay, &odd).unwrap().root_cert_sn(),
            read(&app, &alipay, &root).unwrap().root_cert_sn()
        );
    }

    #[test]
    fn a_certificate_that_another_root_signed_is_refused() {
        let [app, alipay, root] = files();
        let second = root.split_inclusive("-----END CERTIFICATE-----").nth(2).unwrap();
        // R2 alone: the intermediate names R1, which is then not there
        assert_eq!(read(&app, &alipay, second).unwrap().chain(), Chain::IntermediateMissing);
        // the intermediate's own signature, altered in its last bytes
        let at = alipay.rfind("RuPHHLN").unwrap();
        let altered = format!("{}RuPHHLM{}", &alipay[..at], &alipay[at + 7..]);
        assert!(matches!(read(&app, &altered, &root), Err(SettingsError::AlipayCertificateNotTrusted)));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let [app, alipay, root] = files();
        for (files, expected) in [
            ([&alipay, &alipay, &root], "is not the one of the application's private key"),
            ([&app, &app, &root], "belongs to the application"),
            ([&"x".to_owned(), &alipay, &root], "the application's certificate"),
            ([&app, &fixtures::text("alipay_public_key.pem"), &root], "Alipay's certificate"),
            ([&app, &alipay, &"AAAA".to_owned()], "no RSA certificate"),
        ] {
            let error = read(files[0], files[1], files[2]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

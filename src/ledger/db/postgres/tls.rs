//! TLS to the server, by rustls, as strict as `sslmode` asks.

use std::{fs, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Address, Trust};
use crate::ledger::error::LedgerError;

fn wrong(what: String) -> LedgerError {
    LedgerError::Unavailable(format!("database.url: {what}").into())
}

/// What connects, for every line to this address.
pub(super) fn connector(address: &Address) -> Result<MakeRustlsConnect, LedgerError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = |error: Error| wrong(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(tls)?;
    let chain = match address.trust {
        Trust::Anybody => None,
        Trust::Signed | Trust::Named => {
            let roots = Arc::new(roots(address)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            Some(verifier.map_err(|error| wrong(format!("sslrootcert: {error}")))?)
        }
    };
    let verifier = Verifier { chain, named: address.trust == Trust::Named, provider };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let config = match &address.client_cert {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let certs: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
            let certs = certs.map_err(|error| wrong(format!("sslcert {}: {error}", cert.display())))?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| wrong(format!("sslkey {}: {error}", key.display())))?;
            builder.with_client_auth_cert(certs, key).map_err(tls)?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

/// The roots that are named, else this machine's.
fn roots(address: &Address) -> Result<RootCertStore, LedgerError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &address.root_cert else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let said = |error: &dyn std::fmt::Display| wrong(format!("sslrootcert {}: {error}", path.display()));
    let pem = fs::read(path).map_err(|error| said(&error))?;
    for cert in CertificateDer::pem_slice_iter(&pem) {
        roots.add(cert.map_err(|error| said(&error))?).map_err(|error| said(&error))?;
    }
    if roots.is_empty() { Err(said(&"no certificate in it")) } else { Ok(roots) }
}

/// Looks at the server's certificate as far as it was asked to. The handshake's signature is looked at always.
#[derive(Debug)]
struct Verifier {
    /// `None` where anybody is welcome.
    chain: Option<Arc<WebPkiServerVerifier>>,
    named: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(cert, between, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.named => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

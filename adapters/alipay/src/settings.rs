//! Settings: texts in, checked values out, refused by name.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    certificates::Certificates,
    crypt::ContentKey,
    keys::{AlipayKey, AppKey, Verifying},
    payer::PayerLookup,
};

/// Days from payment in which a refund is tried where the contract with Alipay states nothing else: its FAQ says three
/// months; the real limit is the merchant's own contract (alipay §9).
pub const DEFAULT_REFUND_WINDOW_DAYS: u32 = 90;

/// The settings as they are written down.
#[derive(Clone, Debug)]
pub struct SettingsText<'a> {
    /// `https://openapi.alipay.com/gateway.do`, or a sandbox's; http only on the machine itself.
    pub gateway_url: &'a str,
    /// The application's number (APPID).
    pub app_id: &'a str,
    /// The merchant's account (`2088…`). Notifications that name another one are refused.
    pub seller_id: Option<&'a str>,
    /// The application's private key: PKCS#8 or PKCS#1, as PEM or bare base64.
    pub app_private_key: &'a SecretString,
    /// Alipay's public key, or the three certificates.
    pub verifying: VerifyingText<'a>,
    /// The key of the content encryption (接口内容加密方式, AES), where the application has one: base64 of 16 bytes.
    pub aes_key: Option<&'a SecretString>,
    /// The API that tells whose payment code it is, where one is granted.
    pub payer_lookup: Option<PayerLookup>,
    /// Days from payment in which refunds are tried; [`DEFAULT_REFUND_WINDOW_DAYS`] if left out.
    pub refund_window_days: Option<u32>,
}

/// What Alipay's messages are verified with, as it is written down. PEM or bare base64.
#[derive(Clone, Copy, Debug)]
pub enum VerifyingText<'a> {
    /// Public key mode.
    PublicKey(&'a str),
    /// Certificate mode.
    Certificates {
        /// `appCertPublicKey_<appid>.crt`
        app: &'a str,
        /// `alipayCertPublicKey_RSA2.crt`
        alipay: &'a str,
        /// `alipayRootCert.crt`
        root: &'a str,
    },
}

/// Checked settings of one application at Alipay. Made by [`Settings::read`] alone; `Debug` shows no secret.
#[derive(Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The gateway.
    pub gateway_url: Url,
    /// The application's number.
    pub app_id: String,
    /// The merchant's account, where it is to be compared.
    pub seller_id: Option<String>,
    /// The key that signs requests.
    pub app_key: AppKey,
    /// What verifies answers and notifications.
    pub verifying: Verifying,
    /// Encrypts what calls say, and opens what answers do.
    pub content_key: Option<ContentKey>,
    /// The API that tells whose payment code it is.
    pub payer_lookup: Option<PayerLookup>,
    /// Days from payment in which refunds are tried.
    pub refund_window_days: u32,
}

impl Settings {
    /// When the first of the certificates ends; `None` in public key mode.
    #[must_use]
    pub const fn first_expiry(&self) -> Option<Timestamp> {
        match &self.verifying {
            Verifying::PublicKey(_) => None,
            Verifying::Certificates(held) => Some(held.first_expiry()),
        }
    }

    /// Reads and checks everything that can be checked without the network.
    /// # Errors
    /// [`SettingsError`] for the first thing that is wrong.
    pub fn read(text: &SettingsText<'_>) -> Result<Self, SettingsError> {
        let number = |text: &str| (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        let app_key = AppKey::read(text.app_private_key.expose_secret())?;
        let verifying = match text.verifying {
            VerifyingText::PublicKey(key) => Verifying::PublicKey(Arc::new(AlipayKey::read(key, &app_key)?)),
            VerifyingText::Certificates { app, alipay, root } => {
                Verifying::Certificates(Box::new(Certificates::read(app, alipay, root, &app_key)?))
            }
        };
        if !number(text.app_id) {
            return Err(SettingsError::AppId);
        }
        if text.seller_id.is_some_and(|id| !number(id)) {
            return Err(SettingsError::SellerId);
        }
        let refund_window_days = text.refund_window_days.unwrap_or(DEFAULT_REFUND_WINDOW_DAYS);
        if refund_window_days == 0 {
            return Err(SettingsError::RefundWindow);
        }
        let read_key = |key: &SecretString| ContentKey::read(key.expose_secret()).ok_or(SettingsError::AesKey);
        Ok(Self {
            content_key: text.aes_key.map(read_key).transpose()?,
            payer_lookup: text.payer_lookup,
            gateway_url: gateway_url(text.gateway_url)?,
            app_id: text.app_id.to_owned(),
            seller_id: text.seller_id.map(str::to_owned),
            app_key,
            verifying,
            refund_window_days,
        })
    }
}

fn gateway_url(text: &str) -> Result<Url, SettingsError> {
    let refused = |detail| SettingsError::GatewayUrl { detail };
    let url = Url::parse(text).map_err(|_| refused("it is no absolute URL"))?;
    let loopback = match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return Err(refused("only https is taken; http only for this machine, as for the sandbox")),
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(refused("give it without '?', '#' and user name: the parameters are added to each call"));
    }
    Ok(url)
}

/// What is wrong with the settings, and the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The gateway's address.
    #[error("Alipay gateway URL: {detail}")]
    GatewayUrl {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The application's number.
    #[error("Alipay app id: 1 to 32 letters and digits, as the open platform's console shows it (APPID)")]
    AppId,
    /// The merchant's account.
    #[error(
        "Alipay seller id: 1 to 32 letters and digits, usually 16 digits from 2088; leave it out to compare nothing"
    )]
    SellerId,
    /// The key of the content encryption.
    #[error("Alipay AES key: base64 of 16 bytes, as the open platform's console shows it (接口内容加密方式)")]
    AesKey,
    /// No days at all.
    #[error("Alipay refund window: at least one day")]
    RefundWindow,
    /// The application's private key can't be read.
    #[error("the application's private key: {detail}; needed is PKCS#8 or PKCS#1, as PEM or bare base64")]
    AppKey {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Alipay's public key can't be read.
    #[error("Alipay's public key: {detail}; copy it from the console (支付宝公钥), as PEM or bare base64")]
    AlipayKey {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The application's own public key in the place of Alipay's.
    #[error(
        "the key given as Alipay's belongs to the application: the console shows both, and needed is 支付宝公钥, \
         not 应用公钥"
    )]
    AlipayKeyIsOurs,
    /// A certificate can't be used.
    #[error("{file}: {detail}")]
    Certificate {
        /// Which file.
        file: CertificateFile,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The application's certificate is for another key.
    #[error(
        "the key in the application's certificate is not the one of the application's private key: download the \
         certificate anew, or take the key that it was requested with"
    )]
    KeyDoesNotFitCertificate,
    /// The root bundle has no RSA member.
    #[error("Alipay's root bundle (alipayRootCert.crt) holds no RSA certificate: download it anew from the console")]
    NoRsaRoot,
    /// Alipay's certificate isn't signed by the bundle.
    #[error(
        "Alipay's certificate (alipayCertPublicKey_RSA2.crt) does not come from the root bundle (alipayRootCert.crt): \
         download both anew from the same console"
    )]
    AlipayCertificateNotTrusted,
}

/// The files of certificate mode that are read one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFile {
    /// `appCertPublicKey_<appid>.crt`
    App,
    /// `alipayCertPublicKey_RSA2.crt`
    Alipay,
}

impl fmt::Display for CertificateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::App => "the application's certificate (appCertPublicKey_<appid>.crt)",
            Self::Alipay => "Alipay's certificate (alipayCertPublicKey_RSA2.crt)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn only_a_safe_gateway_address_is_taken() {
        for (url, ok) in [
            ("https://openapi.alipay.com/gateway.do", true),
            ("https://openapi-sandbox.dl.alipaydev.com/gateway.do", true),
            ("http://127.0.0.1:8090/gateway.do", true),
            ("http://[::1]:8090/gateway.do", true),
            ("http://localhost:8090/gateway.do", true),
            ("http://openapi.alipay.com/gateway.do", false),
            ("http://127.0.0.1.example.com/gateway.do", false),
            ("ftp://openapi.alipay.com/gateway.do", false),
            ("https://openapi.alipay.com/gateway.do?charset=utf-8", false),
            ("https://user:secret@openapi.alipay.com/gateway.do", false),
            ("openapi.alipay.com", false),
            ("", false),
        ] {
            assert_eq!(gateway_url(url).is_ok(), ok, "{url}");
        }
    }

    #[test]
    fn both_modes_are_read_and_show_no_secret() {
        for settings in [fixtures::settings(), fixtures::certificate_settings()] {
            let shown = format!("{settings:?}");
            assert!(shown.contains("AppKey(hidden)"), "{shown}");
            assert_eq!(settings.refund_window_days, 90);
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let key = SecretString::from(fixtures::text("app_private_key.b64"));
        let alipay = fixtures::text("alipay_public_key.pem");
        let good = SettingsText {
            gateway_url: "https://openapi.alipay.com/gateway.do",
            app_id: "2021000000000001",
            seller_id: Some("2088000000000001"),
            app_private_key: &key,
            verifying: VerifyingText::PublicKey(&alipay),
            aes_key: None,
            payer_lookup: None,
            refund_window_days: Some(365),
        };
        assert_eq!(Settings::read(&good).unwrap().refund_window_days, 365);
        let short = SecretString::from("AAAA");
        for (text, error) in [
            (SettingsText { app_id: "", ..good.clone() }, SettingsError::AppId),
            (SettingsText { app_id: "2021 1", ..good.clone() }, SettingsError::AppId),
            (SettingsText { seller_id: Some(""), ..good.clone() }, SettingsError::SellerId),
            (SettingsText { aes_key: Some(&short), ..good.clone() }, SettingsError::AesKey),
            (SettingsText { refund_window_days: Some(0), ..good.clone() }, SettingsError::RefundWindow),
        ] {
            assert_eq!(Settings::read(&text).unwrap_err(), error);
        }
    }
}

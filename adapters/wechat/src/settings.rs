//! From texts to checked settings: everything that can be wrong is found here, by name, before the first call.

use std::fmt;

use jiff::Timestamp;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    keys::{self, ApiV3Key, Certificate, KeyError, MerchantKey, PUBLIC_KEY_ID},
    payer::{ApiV2Key, SignType},
    verify::Verifiers,
};

/// WeChat Pay's main host. Source: wechat-pay §1.
pub const MAIN_HOST: &str = "https://api.mch.weixin.qq.com";

/// The settings as configured: the contents of files, not their names.
#[derive(Clone, Debug)]
pub struct SettingsText {
    /// [`MAIN_HOST`], another host of the wallet, or a sandbox. `https`, or `http` on this machine; no path.
    pub base_url: String,
    /// The merchant's number at WeChat Pay (商户号): digits.
    pub mchid: String,
    /// The app that the merchant takes payments with, where one is needed.
    pub appid: Option<String>,
    /// The API private key: PEM, or bare base64.
    pub merchant_key: SecretString,
    /// The merchant API certificate (商户API证书), PEM. Gives the serial and proves that the key is the right one.
    pub merchant_cert: Option<String>,
    /// The certificate's serial, where the certificate itself isn't at hand. With both, they must agree.
    pub merchant_serial: Option<String>,
    /// In partner mode (服务商): the merchant that is served. `mchid`, key and serial are then the partner's.
    pub sub_mchid: Option<String>,
    /// The app of the merchant that is served, where payers are known by it.
    pub sub_appid: Option<String>,
    /// Where refunds are paid from (`AVAILABLE`, `UNSETTLED`), for the few merchants that must say so. Changing it while
    /// refunds are under way makes their repeats differ.
    pub funds_account: Option<String>,
    /// The APIv3 key: 32 bytes.
    pub apiv3_key: SecretString,
    /// The APIv2 key: 32 characters. With it, and `appid`, the payer behind a payment code is looked up; WeChat grants that
    /// merchant by merchant.
    pub apiv2_key: Option<SecretString>,
    /// How messages of the old API are signed.
    pub v2_sign_type: SignType,
    /// Platform certificates (平台证书), PEM, any number in each text. May be empty: they are then fetched when the first
    /// answer needs one (wechat-pay §4).
    pub platform_certs: Vec<String>,
    /// The WeChat Pay public key (微信支付公钥), for merchants that have it.
    pub public_key: Option<PublicKeyText>,
}

/// A WeChat Pay public key as downloaded from the merchant console.
#[derive(Clone, Debug)]
pub struct PublicKeyText {
    /// `PUB_KEY_ID_…`.
    pub id: String,
    /// PEM, or bare base64.
    pub pem: String,
}

/// Checked settings of one account. `Debug` shows no secret.
pub struct Settings {
    /// Scheme and host, and nothing else.
    pub base_url: Url,
    /// The merchant's number at WeChat Pay.
    pub mchid: String,
    /// The app, where one is set.
    pub appid: Option<String>,
    /// Signs requests.
    pub merchant_key: MerchantKey,
    /// Serial of the certificate that belongs to `merchant_key`: upper-case hex.
    pub merchant_serial: String,
    /// In partner mode, the merchant that is served.
    pub sub_mchid: Option<String>,
    /// The app of that merchant.
    pub sub_appid: Option<String>,
    /// Where refunds are paid from, where that is to be said.
    pub funds_account: Option<String>,
    /// Decrypts notifications and platform certificates.
    pub apiv3_key: ApiV3Key,
    /// Signs the look-up of a payer.
    pub apiv2_key: Option<ApiV2Key>,
    /// Verify answers and notifications.
    pub verifiers: Verifiers,
    /// The end of the merchant's own certificate, where it is at hand.
    pub merchant_cert_until: Option<Timestamp>,
}

impl Settings {
    /// When the first of the configured certificates ends. A platform certificate that ends is replaced by itself.
    #[must_use]
    pub fn first_expiry(&self) -> Option<Timestamp> {
        self.merchant_cert_until
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("base_url", &self.base_url.as_str())
            .field("mchid", &self.mchid)
            .field("merchant_serial", &self.merchant_serial)
            .field("verifiers", &self.verifiers)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the settings, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A key or certificate can't be used.
    #[error("{field} {problem}")]
    Key {
        /// Which setting.
        field: &'static str,
        /// What is wrong with it.
        problem: KeyError,
    },
    /// Key and certificate are of two pairs.
    #[error(
        "merchant_key does not match merchant_cert: the certificate {serial} was issued for another key; \
         take both from the same download of the merchant console"
    )]
    KeyOfAnotherCertificate {
        /// The certificate's serial.
        serial: String,
    },
    /// Two serials.
    #[error("merchant_serial is {configured}, but merchant_cert has {certificate}: leave merchant_serial out")]
    SerialOfAnotherCertificate {
        /// As configured.
        configured: String,
        /// As in the certificate.
        certificate: String,
    },
    /// No serial.
    #[error("merchant_cert or merchant_serial is needed: requests name the certificate that they are signed with")]
    NoSerial,
    /// Anything else.
    #[error("{field} {problem}")]
    Value {
        /// Which setting.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl SettingsText {
    /// Reads and checks everything.
    /// # Errors
    /// [`SettingsError`] for the first thing that is wrong.
    pub fn check(&self) -> Result<Settings, SettingsError> {
        let key = |field| move |problem| SettingsError::Key { field, problem };
        let base_url = check_base_url(&self.base_url)?;
        let number = |text: &str| (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !number(&self.mchid) {
            return Err(SettingsError::Value { field: "mchid", problem: "has 1 to 32 digits" });
        }
        if self.sub_mchid.as_deref().is_some_and(|text| !number(text)) {
            return Err(SettingsError::Value { field: "sub_mchid", problem: "has 1 to 32 digits" });
        }
        if self.sub_appid.is_some() && self.sub_mchid.is_none() {
            return Err(SettingsError::Value { field: "sub_appid", problem: "goes with sub_mchid (partner mode)" });
        }
        if self.funds_account.as_deref().is_some_and(|word| !matches!(word, "AVAILABLE" | "UNSETTLED")) {
            return Err(SettingsError::Value {
                field: "funds_account",
                problem: "is AVAILABLE or UNSETTLED, or left out",
            });
        }
        let merchant_key = MerchantKey::from_text(self.merchant_key.expose_secret()).map_err(key("merchant_key"))?;
        let certificate =
            self.merchant_cert.as_deref().map(Certificate::from_pem).transpose().map_err(key("merchant_cert"))?;
        if let Some(certificate) = certificate.as_ref().filter(|certificate| !merchant_key.fits(certificate)) {
            return Err(SettingsError::KeyOfAnotherCertificate { serial: certificate.serial().to_owned() });
        }
        let merchant_serial = self.serial(certificate.as_ref())?;
        let apiv3_key = ApiV3Key::from_text(self.apiv3_key.expose_secret()).map_err(key("apiv3_key"))?;

        let mut verifiers = Verifiers::default();
        for text in &self.platform_certs {
            for certificate in Certificate::all_from_pem(text).map_err(key("platform_cert"))? {
                verifiers.add_certificate(&certificate).map_err(key("platform_cert"))?;
            }
        }
        if let Some(PublicKeyText { id, pem }) = &self.public_key {
            if !id.starts_with(PUBLIC_KEY_ID) || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                let problem = "begins with PUB_KEY_ID_: copy it from the merchant console";
                return Err(SettingsError::Value { field: "public_key_id", problem });
            }
            verifiers.add_public_key(id, pem).map_err(key("public_key"))?;
        }
        Ok(Settings {
            base_url,
            mchid: self.mchid.clone(),
            appid: app("appid", self.appid.as_deref())?,
            sub_mchid: self.sub_mchid.clone(),
            sub_appid: app("sub_appid", self.sub_appid.as_deref())?,
            funds_account: self.funds_account.clone(),
            merchant_key,
            merchant_serial,
            apiv3_key,
            apiv2_key: self.apiv2()?,
            verifiers,
            merchant_cert_until: certificate.as_ref().map(Certificate::valid_until),
        })
    }

    fn apiv2(&self) -> Result<Option<ApiV2Key>, SettingsError> {
        let Some(text) = &self.apiv2_key else { return Ok(None) };
        if self.appid.is_none() {
            let problem = "goes with appid: payers are known by the app";
            return Err(SettingsError::Value { field: "apiv2_key", problem });
        }
        let problem = "has 32 visible characters: the APIv2 key as set in the merchant console";
        ApiV2Key::from_text(text.expose_secret(), self.v2_sign_type)
            .map(Some)
            .ok_or(SettingsError::Value { field: "apiv2_key", problem })
    }

    fn serial(&self, certificate: Option<&Certificate>) -> Result<String, SettingsError> {
        let configured = self.merchant_serial.as_deref().map(|text| text.trim().to_ascii_uppercase());
        match (configured, certificate) {
            (None, None) => Err(SettingsError::NoSerial),
            (Some(text), None) => {
                if text.is_empty() || text.len() > 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    let problem = "is hex, usually 40 digits: copy it from the merchant console";
                    return Err(SettingsError::Value { field: "merchant_serial", problem });
                }
                Ok(text)
            }
            (Some(text), Some(certificate)) if keys::serial(&text) != keys::serial(certificate.serial()) => {
                let certificate = certificate.serial().to_owned();
                Err(SettingsError::SerialOfAnotherCertificate { configured: text, certificate })
            }
            (_, Some(certificate)) => Ok(certificate.serial().to_owned()),
        }
    }
}

fn app(field: &'static str, text: Option<&str>) -> Result<Option<String>, SettingsError> {
    let Some(text) = text else { return Ok(None) };
    if !(1..=32).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(SettingsError::Value {
            field,
            problem: "has 1 to 32 letters and digits, such as wx0123456789abcdef",
        });
    }
    Ok(Some(text.to_owned()))
}

/// An unsigned refusal counts only over verified TLS (contract §4 rule 5), so plain http is for a sandbox on this machine.
fn check_base_url(text: &str) -> Result<Url, SettingsError> {
    let wrong = |problem| SettingsError::Value { field: "base_url", problem };
    let url = Url::parse(text.trim()).map_err(|_| wrong("is a URL such as https://api.mch.weixin.qq.com"))?;
    let host = url.host_str().ok_or(wrong("names no host"))?;
    let here = host == "localhost"
        || host.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if url.scheme() != "https" && !(url.scheme() == "http" && here) {
        return Err(wrong("needs https; http is for a sandbox on this machine (127.0.0.1, localhost)"));
    }
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has scheme, host and port only: paths are part of what is signed"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{file, text, vectors};

    fn good() -> SettingsText {
        let params = &vectors()["params"];
        SettingsText {
            base_url: MAIN_HOST.to_owned(),
            mchid: text(&params["mchid"]).to_owned(),
            appid: Some(text(&params["appid"]).to_owned()),
            merchant_key: file("merchant_key.b64").into(),
            merchant_cert: Some(file("merchant_cert.pem")),
            merchant_serial: None,
            sub_mchid: None,
            sub_appid: None,
            funds_account: None,
            apiv3_key: text(&params["apiv3_key"]).into(),
            apiv2_key: None,
            v2_sign_type: SignType::Md5,
            platform_certs: vec![file("platform_cert.pem") + &file("platform_cert_next.pem")],
            public_key: Some(PublicKeyText {
                id: text(&params["platform_public_key_id"]).to_owned(),
                pem: file("wechatpay_public_key.pem"),
            }),
        }
    }

    fn armoured(label: &str, base64: &str) -> String {
        format!("-----BEGIN {label}-----\r\n{}\r\n-----END {label}-----\r\n", base64.trim())
    }

    #[test]
    fn good_settings_carry_both_modes_and_the_certificates_serial() {
        let settings = good().check().unwrap();
        assert_eq!(settings.merchant_serial, text(&vectors()["params"]["merchant_serial"]));
        assert_eq!(
            settings.verifiers.serials(),
            [
                "6A11CE00000000000000000000000000000000B1",
                "6A11CE00000000000000000000000000000000B2",
                "PUB_KEY_ID_0114232134912410000000000000"
            ]
        );
    }

    #[test]
    fn a_private_key_is_taken_as_base64_and_as_pem_of_both_kinds() {
        use rsa::{pkcs1::EncodeRsaPrivateKey as _, pkcs8::DecodePrivateKey as _};
        let pem = armoured("PRIVATE KEY", &file("merchant_key.b64"));
        let pkcs1 =
            rsa::RsaPrivateKey::from_pkcs8_pem(&wrapped(&pem)).unwrap().to_pkcs1_pem(rsa::pkcs8::LineEnding::LF);
        for form in [pem.clone(), format!("\u{feff}Bag Attributes\n{pem}"), pkcs1.unwrap().to_string()] {
            let settings = SettingsText { merchant_key: form.into(), ..good() }.check();
            assert!(settings.is_ok(), "{settings:?}");
        }
    }

    /// Lines of 64 characters, as `rsa`'s own reader wants them.
    fn wrapped(pem: &str) -> String {
        let (head, rest) = pem.split_once("\r\n").unwrap();
        let (body, tail) = rest.split_once("\r\n").unwrap();
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("{head}\n{}\n{tail}", lines.join("\n"))
    }

    #[test]
    fn each_wrong_setting_is_named_with_the_way_out() {
        let encrypted = armoured("ENCRYPTED PRIVATE KEY", "AAAA");
        let public_key = |id: &str, pem: String| Some(PublicKeyText { id: id.to_owned(), pem });
        for (settings, message) in [
            (
                SettingsText { merchant_key: file("platform_key.b64").into(), ..good() },
                "merchant_key does not match merchant_cert",
            ),
            (
                SettingsText { merchant_key: file("merchant_cert.pem").into(), ..good() },
                "merchant_key holds a certificate",
            ),
            (SettingsText { merchant_key: encrypted.into(), ..good() }, "merchant_key is encrypted: write it out"),
            (SettingsText { merchant_key: "  ".into(), ..good() }, "merchant_key is empty"),
            (
                SettingsText { merchant_key: "not a key".into(), ..good() },
                "merchant_key can't be read: an RSA private key",
            ),
            (SettingsText { merchant_cert: Some(file("merchant_key.b64")), ..good() }, "merchant_cert can't be read"),
            (SettingsText { merchant_cert: None, ..good() }, "merchant_cert or merchant_serial is needed"),
            (
                SettingsText { merchant_serial: Some("A1".into()), ..good() },
                "merchant_serial is A1, but merchant_cert has 5C0F",
            ),
            (
                SettingsText { merchant_cert: None, merchant_serial: Some("A1\r\nX: 1".into()), ..good() },
                "merchant_serial is hex",
            ),
            (
                SettingsText { apiv3_key: "0123456789012345678901234567890".into(), ..good() },
                "apiv3_key has 31 bytes, 32 are needed",
            ),
            (SettingsText { apiv3_key: "".into(), ..good() }, "apiv3_key is empty"),
            (
                SettingsText { platform_certs: vec![file("wechatpay_public_key.pem")], ..good() },
                "platform_cert holds a public key",
            ),
            (
                SettingsText { public_key: public_key("ID_1", file("wechatpay_public_key.pem")), ..good() },
                "public_key_id begins with",
            ),
            (
                SettingsText { public_key: public_key("PUB_KEY_ID_1", file("platform_cert.pem")), ..good() },
                "public_key holds a certificate",
            ),
            (SettingsText { mchid: "19\"00".into(), ..good() }, "mchid has 1 to 32 digits"),
            (SettingsText { sub_mchid: Some("x&y".into()), ..good() }, "sub_mchid has 1 to 32 digits"),
            (SettingsText { sub_appid: Some("wx1".into()), ..good() }, "sub_appid goes with sub_mchid"),
            (SettingsText { appid: Some("wx 1".into()), ..good() }, "appid has 1 to 32"),
            (SettingsText { funds_account: Some("MINE".into()), ..good() }, "funds_account is AVAILABLE"),
            (SettingsText { apiv2_key: Some("short".into()), ..good() }, "apiv2_key has 32 visible"),
            (
                SettingsText { apiv2_key: Some("0".repeat(32).into()), appid: None, ..good() },
                "apiv2_key goes with appid",
            ),
            (SettingsText { base_url: "http://api.mch.weixin.qq.com".into(), ..good() }, "base_url needs https"),
            (
                SettingsText { base_url: "https://api.mch.weixin.qq.com/v3".into(), ..good() },
                "base_url has scheme, host and port only",
            ),
            (SettingsText { base_url: "api.mch".into(), ..good() }, "base_url is a URL"),
        ] {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_short_key_is_refused_by_its_size() {
        use rsa::pkcs8::EncodePrivateKey as _;
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap();
        let pem = key.to_pkcs8_pem(rsa::pkcs8::LineEnding::LF).unwrap();
        assert_eq!(MerchantKey::from_text(&pem).unwrap_err(), KeyError::TooShort(1024));
    }

    #[test]
    fn a_sandbox_on_this_machine_may_speak_http() {
        for base_url in ["http://127.0.0.1:8090", "http://localhost:8090/", "http://[::1]:1", MAIN_HOST] {
            assert!(SettingsText { base_url: base_url.into(), ..good() }.check().is_ok(), "{base_url}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", good(), good().check().unwrap());
        let key = file("merchant_key.b64");
        assert!(!shown.contains(&key[40..60]) && !shown.contains("TESTONLY0123"), "{shown}");
    }
}

//! Who is served: the accounts of each merchant at the wallets, their keys read and checked.

use std::path::Path;

use scanback_wallet::MerchantId;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    ConfigError,
    raw::{Alipay, Merchant, Wechat},
    source, wrong,
};

/// A merchant and the accounts that refunds are made from.
#[derive(Debug)]
pub struct MerchantAccounts {
    /// The id in tokens and paths.
    pub id: MerchantId,
    /// For people.
    pub name: String,
    /// The account at WeChat Pay.
    pub wechat: Option<scanback_wechat::Settings>,
    /// The application at Alipay.
    pub alipay: Option<scanback_alipay::Settings>,
    /// Where Alipay's notifications are passed on to.
    pub forward_to: Option<reqwest::Url>,
}

/// Hosts where money is real: no compressed time there (contract §7).
const REAL_HOSTS: [&str; 3] = ["weixin.qq.com", "alipay.com", "alipaydev.com"];

pub(super) fn check(merchant: Merchant, folder: &Path, time_scale: u32) -> Result<MerchantAccounts, ConfigError> {
    let id = MerchantId::parse(&merchant.id).map_err(|error| wrong("merchant.id", error))?;
    let wechat = merchant.wechat.map(|account| wechat(&id, account, folder)).transpose()?;
    let forward_to = merchant.alipay.as_ref().and_then(|account| account.forward_to.as_deref());
    let forward_to = forward_to.map(|text| forward(&id, text)).transpose()?;
    let alipay = merchant.alipay.map(|account| alipay(&id, &account, folder)).transpose()?;
    let hosts = [
        wechat.as_ref().and_then(|account| account.base_url.host_str()),
        alipay.as_ref().and_then(|account| account.gateway_url.host_str()),
    ];
    let real = |host: &str| REAL_HOSTS.iter().any(|real| host == *real || host.ends_with(&format!(".{real}")));
    if time_scale != 1 && hosts.into_iter().flatten().any(real) {
        return Err(wrong("wallet.time_scale", format!("is 1 for real wallets, and merchant {id} has one")));
    }
    let name = merchant.name.unwrap_or_else(|| merchant.id.clone());
    Ok(MerchantAccounts { id, name, wechat, alipay, forward_to })
}

/// Where Alipay's notifications are passed on to. Whoever writes the settings may name any address, private ones too.
fn forward(id: &MerchantId, text: &str) -> Result<reqwest::Url, ConfigError> {
    let problem = "is an http(s) URL: where the merchant's own system takes Alipay's notifications";
    let url = reqwest::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| wrong(format!("merchant {id}, alipay.forward_to"), problem))
}

fn wechat(id: &MerchantId, account: Wechat, folder: &Path) -> Result<scanback_wechat::Settings, ConfigError> {
    let name = |key: &str| format!("merchant {id}, wechat.{key}");
    let read = |key: &str, place: &str| source::read(&name(key), place, folder);
    let optional = |key: &str, place: Option<String>| -> Result<Option<String>, ConfigError> {
        Ok(place.map(|place| read(key, &place)).transpose()?.map(|text| text.to_string()))
    };
    let secret = |key: &str, value: &SecretString| -> Result<SecretString, ConfigError> {
        Ok(SecretString::from(source::secret(&name(key), value.expose_secret(), folder)?.as_str()))
    };
    let public_key = match (account.platform_public_key_file, account.platform_public_key_id) {
        (Some(place), Some(key_id)) => {
            let pem = read("platform_public_key_file", &place)?.to_string();
            Some(scanback_wechat::PublicKeyText { id: key_id, pem })
        }
        (None, None) => None,
        _ => return Err(wrong(name("platform_public_key_id"), "and platform_public_key_file go together")),
    };
    let v2_sign_type = match account.apiv2_sign_type.as_deref() {
        None | Some("MD5") => scanback_wechat::SignType::Md5,
        Some("HMAC-SHA256") => scanback_wechat::SignType::HmacSha256,
        Some(other) => return Err(wrong(name("apiv2_sign_type"), format!("{other:?} is not MD5 or HMAC-SHA256"))),
    };
    let text = scanback_wechat::SettingsText {
        base_url: account.base_url,
        mchid: account.mchid,
        appid: account.appid,
        merchant_key: SecretString::from(read("merchant_key_file", &account.merchant_key_file)?.as_str()),
        merchant_cert: optional("merchant_cert_file", account.merchant_cert_file)?,
        merchant_serial: account.merchant_serial,
        sub_mchid: account.sub_mchid,
        sub_appid: account.sub_appid,
        funds_account: account.funds_account,
        apiv3_key: secret("apiv3_key", &account.apiv3_key)?,
        apiv2_key: account.apiv2_key.map(|key| secret("apiv2_key", &key)).transpose()?,
        v2_sign_type,
        platform_certs: optional("platform_cert_file", account.platform_cert_file)?.into_iter().collect(),
        public_key,
    };
    text.check().map_err(|error| wrong(format!("merchant {id}, wechat"), error))
}

fn alipay(id: &MerchantId, account: &Alipay, folder: &Path) -> Result<scanback_alipay::Settings, ConfigError> {
    let name = |key: &str| format!("merchant {id}, alipay.{key}");
    let needed = |key: &str, file: Option<&String>| match file {
        Some(file) => source::read(&name(key), file, folder).map(|text| text.to_string()),
        None => Err(wrong(
            name(key),
            "is missing: give alipay_public_key_file, or app_cert_file, alipay_cert_file and alipay_root_cert_file",
        )),
    };
    let key = source::read(&name("app_private_key_file"), &account.app_private_key_file, folder)?;
    let key = SecretString::from(key.as_str());
    let aes_key = match &account.aes_key {
        Some(value) => Some(source::secret(&name("aes_key"), value.expose_secret(), folder)?),
        None => None,
    };
    let aes_key = aes_key.map(|text| SecretString::from(text.as_str()));
    let payer_lookup = match account.payer_lookup.as_deref() {
        None | Some("none") => None,
        Some("twostage") => Some(scanback_alipay::PayerLookup::Twostage),
        Some("decode") => Some(scanback_alipay::PayerLookup::Decode),
        Some("shake") => Some(scanback_alipay::PayerLookup::Shake),
        Some(other) => {
            return Err(wrong(name("payer_lookup"), format!("{other:?} is not none, twostage, decode or shake")));
        }
    };
    let certificates = account.app_cert_file.is_some()
        || account.alipay_cert_file.is_some()
        || account.alipay_root_cert_file.is_some();
    let texts = if certificates {
        [
            needed("app_cert_file", account.app_cert_file.as_ref())?,
            needed("alipay_cert_file", account.alipay_cert_file.as_ref())?,
            needed("alipay_root_cert_file", account.alipay_root_cert_file.as_ref())?,
        ]
    } else {
        let public = needed("alipay_public_key_file", account.alipay_public_key_file.as_ref())?;
        [public, String::new(), String::new()]
    };
    let [first, second, third] = &texts;
    let verifying = if certificates {
        scanback_alipay::VerifyingText::Certificates { app: first, alipay: second, root: third }
    } else {
        scanback_alipay::VerifyingText::PublicKey(first)
    };
    let text = scanback_alipay::SettingsText {
        gateway_url: &account.gateway_url,
        app_id: &account.app_id,
        seller_id: account.seller_id.as_deref(),
        app_private_key: &key,
        verifying,
        aes_key: aes_key.as_ref(),
        payer_lookup,
        refund_window_days: account.refund_window_days,
    };
    scanback_alipay::Settings::read(&text).map_err(|error| wrong(format!("merchant {id}, alipay"), error))
}

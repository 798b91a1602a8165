//! Who is served: the accounts of each merchant at the wallets, their keys read and checked.

use std::path::{Path, PathBuf};

use scanback_wallet::MerchantId;
use secrecy::SecretString;

use super::{
    ConfigError,
    raw::{Alipay, Merchant, Wechat},
    wrong,
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
}

/// Hosts where money is real: no compressed time there (contract §7).
const REAL_HOSTS: [&str; 3] = ["weixin.qq.com", "alipay.com", "alipaydev.com"];

pub(super) fn check(merchant: Merchant, folder: &Path, time_scale: u32) -> Result<MerchantAccounts, ConfigError> {
    let id = MerchantId::parse(&merchant.id).map_err(|error| wrong("merchant.id", error))?;
    let wechat = merchant.wechat.map(|account| wechat(&id, account, folder)).transpose()?;
    let alipay = merchant.alipay.map(|account| alipay(&id, account, folder)).transpose()?;
    let hosts = [
        wechat.as_ref().and_then(|account| account.base_url.host_str()),
        alipay.as_ref().and_then(|account| account.gateway_url.host_str()),
    ];
    let real = |host: &str| REAL_HOSTS.iter().any(|real| host == *real || host.ends_with(&format!(".{real}")));
    if time_scale != 1 && hosts.into_iter().flatten().any(real) {
        return Err(wrong("wallet.time_scale", format!("is 1 for real wallets, and merchant {id} has one")));
    }
    Ok(MerchantAccounts { name: merchant.name.unwrap_or_else(|| merchant.id.clone()), id, wechat, alipay })
}

/// Reads a key or certificate file named in a setting.
fn read(setting: &str, file: &str, folder: &Path) -> Result<String, ConfigError> {
    let path: PathBuf = folder.join(file);
    std::fs::read_to_string(&path).map_err(|error| wrong(setting, format!("{} can't be read: {error}", path.display())))
}

fn wechat(id: &MerchantId, account: Wechat, folder: &Path) -> Result<scanback_wechat::Settings, ConfigError> {
    let name = |key: &str| format!("merchant {id}, wechat.{key}");
    let optional = |key: &str, file: Option<String>| file.map(|file| read(&name(key), &file, folder)).transpose();
    let public_key = match (account.platform_public_key_file, account.platform_public_key_id) {
        (Some(file), Some(key_id)) => Some(scanback_wechat::PublicKeyText {
            id: key_id,
            pem: read(&name("platform_public_key_file"), &file, folder)?,
        }),
        (None, None) => None,
        _ => return Err(wrong(name("platform_public_key_id"), "and platform_public_key_file go together")),
    };
    let text = scanback_wechat::SettingsText {
        base_url: account.base_url,
        mchid: account.mchid,
        appid: account.appid,
        merchant_key: SecretString::from(read(&name("merchant_key_file"), &account.merchant_key_file, folder)?),
        merchant_cert: optional("merchant_cert_file", account.merchant_cert_file)?,
        merchant_serial: account.merchant_serial,
        apiv3_key: account.apiv3_key,
        platform_certs: optional("platform_cert_file", account.platform_cert_file)?.into_iter().collect(),
        public_key,
    };
    text.check().map_err(|error| wrong(format!("merchant {id}, wechat"), error))
}

fn alipay(id: &MerchantId, account: Alipay, folder: &Path) -> Result<scanback_alipay::Settings, ConfigError> {
    let name = |key: &str| format!("merchant {id}, alipay.{key}");
    let needed = |key: &str, file: Option<&String>| match file {
        Some(file) => read(&name(key), file, folder),
        None => Err(wrong(
            name(key),
            "is missing: give alipay_public_key_file, or app_cert_file, alipay_cert_file and alipay_root_cert_file",
        )),
    };
    let key = SecretString::from(read(&name("app_private_key_file"), &account.app_private_key_file, folder)?);
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
        refund_window_days: account.refund_window_days,
    };
    scanback_alipay::Settings::read(&text).map_err(|error| wrong(format!("merchant {id}, alipay"), error))
}

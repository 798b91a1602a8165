//! The sandbox's directory: keys and certificates, made once and used again; `params.json` and `scanback.toml`, written
//! anew at each start (contract §7).

mod files;
mod settings;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    SandboxError,
    keys::{Authority, Certificate, KeyError, Name, Request, SigningKey, VerifyingKey},
};

const TENPAY: Name =
    Name { organisation: "Scanback Sandbox", unit: "WeChat Pay mock", common: "Sandbox Tenpay Root CA" };
const MERCHANT: Name = Name { organisation: "Scanback Sandbox", unit: "Merchant", common: "merchant" };
const PLATFORM: Name =
    Name { organisation: "Scanback Sandbox", unit: "WeChat Pay mock", common: "Sandbox Tenpay Platform" };
const ALIPAY_ROOT: Name =
    Name { organisation: "Scanback Sandbox", unit: "Alipay mock", common: "Sandbox Alipay Root CA R1" };
const ALIPAY_ROOT_2: Name =
    Name { organisation: "Scanback Sandbox", unit: "Alipay mock", common: "Sandbox Alipay Root CA R2" };
const ALIPAY: Name = Name { organisation: "Scanback Sandbox", unit: "Alipay mock", common: "Sandbox Alipay" };
const TLS_ROOT: Name = Name { organisation: "Scanback Sandbox", unit: "TLS", common: "Scanback Sandbox CA" };
const TLS_SERVER: Name = Name { organisation: "Scanback Sandbox", unit: "TLS", common: "Scanback Sandbox" };

/// The hosts that SDKs have built in, and ours (wechat-pay §1, alipay §1).
const TLS_HOSTS: [&str; 8] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "api.mch.weixin.qq.com",
    "api2.mch.weixin.qq.com",
    "openapi.alipay.com",
    "openapi-sandbox.dl.alipaydev.com",
    "openapi.alipaydev.com",
];

/// WeChat's side: the mock's own keys and the merchant's public half.
pub(crate) struct WechatIdentity {
    pub(crate) params: WechatParams,
    /// The public half of the merchant's key: it checks requests.
    pub(crate) merchant: VerifyingKey,
    pub(crate) platform: Arc<PlatformCertificate>,
    pub(crate) public_key_mode: SigningKey,
}

/// A platform certificate (平台证书) and its key.
pub(crate) struct PlatformCertificate {
    pub(crate) certificate: Certificate,
    pub(crate) key: SigningKey,
}

/// Alipay's side.
pub(crate) struct AlipayIdentity {
    pub(crate) params: AlipayParams,
    /// The public half of the application's key: it checks requests.
    pub(crate) app: VerifyingKey,
    pub(crate) alipay: SigningKey,
    pub(crate) app_cert_sn: String,
    pub(crate) alipay_cert_sn: String,
    pub(crate) root_cert_sn: String,
}

/// Who everybody is.
pub(crate) struct Identity {
    pub(crate) wechat: WechatIdentity,
    pub(crate) alipay: AlipayIdentity,
    /// Signs certificates, those of a rotation too.
    authority: SigningKey,
    seed: Option<u64>,
    pepper: String,
    dir: PathBuf,
}

/// `wechat/params.json` (contract §7).
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct WechatParams {
    pub(crate) mchid: String,
    pub(crate) appid: String,
    /// In partner mode the two above are the partner's (服务商), and this is the merchant that it serves.
    #[serde(flatten)]
    pub(crate) sub: Option<SubMerchant>,
    pub(crate) merchant_serial: String,
    pub(crate) apiv3_key: String,
    pub(crate) apiv2_key: String,
    pub(crate) platform_serial: String,
    pub(crate) platform_public_key_id: String,
    pub(crate) base_url: String,
}

/// The merchant of a partner (特约商户).
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SubMerchant {
    pub(crate) sub_mchid: String,
    pub(crate) sub_appid: String,
}

/// `alipay/params.json` (contract §7).
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AlipayParams {
    pub(crate) app_id: String,
    pub(crate) seller_id: String,
    pub(crate) aes_key: String,
    pub(crate) gateway_url: String,
}

/// A stream of random numbers of its own for each thing, so that a directory that is filled in two steps is the same as
/// one filled at once.
fn rng(seed: Option<u64>, what: &str) -> ChaCha20Rng {
    let Some(seed) = seed else { return ChaCha20Rng::from_entropy() };
    let digest = Sha256::new().chain_update("scanback sandbox ").chain_update(seed.to_be_bytes()).chain_update(what);
    ChaCha20Rng::from_seed(digest.finalize().into())
}

fn digits(rng: &mut ChaCha20Rng, count: usize) -> String {
    (0..count).map(|_| char::from(b'0' + rng.gen_range(0..10_u8))).collect()
}

fn letters(rng: &mut ChaCha20Rng, count: usize) -> String {
    (0..count).map(|_| char::from(rng.sample(rand::distributions::Alphanumeric))).collect()
}

/// Forty hex digits, the first not a zero: the form that WeChat's serial numbers have.
fn serial(rng: &mut ChaCha20Rng) -> [u8; 20] {
    let mut serial = [0; 20];
    rng.fill_bytes(&mut serial);
    serial[0] = (serial[0] & 0x3f) | 0x40; // positive in DER without a byte more
    serial
}

impl Identity {
    /// Fills the directory where it isn't, and reads it. Slow where keys are missing: call it off the async threads.
    pub(crate) fn open(dir: &Path, seed: Option<u64>, is_partner: bool) -> Result<Self, SandboxError> {
        let dir = files::prepare(dir)?;
        let key_files = [
            "sandbox_ca_key.pem",
            "wechat/merchant_key.pem",
            "wechat/platform_cert_key.pem",
            "wechat/platform_public_key_private.pem",
            "alipay/app_private_key.pem",
            "alipay/alipay_private_key.pem",
        ];
        // a 2048 bit key takes a tenth of a second and more: side by side
        let keys = std::thread::scope(|scope| {
            let at = |name: &'static str| dir.join(name);
            let threads = key_files.map(|name| {
                let path = at(name);
                scope.spawn(move || files::key(&path, &mut rng(seed, name)))
            });
            threads.map(|thread| {
                thread.join().unwrap_or_else(|_| {
                    Err(SandboxError::from(KeyError::Library("a thread that makes keys died".to_owned())))
                })
            })
        });
        let [authority, merchant, platform, public_key_mode, app, alipay] = keys;
        let (authority, merchant, platform) = (authority?, merchant?, platform?);
        let (public_key_mode, app, alipay) = (public_key_mode?, app?, alipay?);

        let mut wechat = wechat_side(&dir, seed, &authority, merchant, platform, public_key_mode)?;
        let kept = wechat.params.sub.take();
        wechat.params.sub = is_partner.then(|| kept.unwrap_or_else(|| sub_merchant(seed)));
        let alipay = alipay_side(&dir, seed, &authority, app, alipay)?;
        let pepper = files::text_or_else(&dir.join("pepper"), || {
            let mut bytes = [0; 32];
            rng(seed, "pepper").fill_bytes(&mut bytes);
            hex::encode(bytes)
        })?;
        Ok(Self { wechat, alipay, authority, seed, pepper: pepper.trim().to_owned(), dir })
    }

    /// Writes what depends on the address: both `params.json` and `scanback.toml`.
    pub(crate) fn announce(&mut self, base_url: &str, time_scale: u32) -> Result<(), SandboxError> {
        self.wechat.params.base_url = base_url.to_owned();
        self.alipay.params.gateway_url = format!("{base_url}/gateway.do");
        files::write_json(&self.dir.join("wechat/params.json"), &self.wechat.params)?;
        files::write_json(&self.dir.join("alipay/params.json"), &self.alipay.params)?;
        let toml = settings::scanback_toml(self, time_scale)?;
        files::write_private(&self.dir.join("scanback.toml"), &toml)
    }

    /// One more platform certificate, for a rotation: the `number`th of this run.
    pub(crate) fn new_platform_certificate(&self, number: usize) -> Result<PlatformCertificate, KeyError> {
        let mut rng = rng(self.seed, &format!("rotation {number}"));
        let key = SigningKey::generate(&mut rng)?;
        let request =
            Request { subject: PLATFORM, common: None, serial: serial(&mut rng), hosts: Vec::new(), is_ca: false };
        let certificate = Authority { name: TENPAY, key: &self.authority }.issue(request, &key)?;
        Ok(PlatformCertificate { certificate, key })
    }

    /// The certificate chain and key of the TLS listener; the authority's certificate is left in the directory.
    pub(crate) fn tls(&self) -> Result<(Vec<Certificate>, SigningKey), SandboxError> {
        let root = Authority { name: TLS_ROOT, key: &self.authority };
        let ca = files::certificate(&self.dir.join("sandbox_ca.pem"), &self.authority, || {
            root.self_signed(serial(&mut rng(self.seed, "sandbox_ca.pem")))
        })?;
        let key = files::key(&self.dir.join("sandbox_tls_key.pem"), &mut rng(self.seed, "sandbox_tls_key.pem"))?;
        let request = Request {
            subject: TLS_SERVER,
            common: None,
            serial: serial(&mut rng(self.seed, "sandbox_tls.pem")),
            hosts: TLS_HOSTS.map(str::to_owned).to_vec(),
            is_ca: false,
        };
        let server = root.issue(request, &key).map_err(SandboxError::from)?;
        Ok((vec![server, ca], key))
    }
}

fn sub_merchant(seed: Option<u64>) -> SubMerchant {
    let rng = &mut rng(seed, "wechat/sub_merchant");
    SubMerchant {
        sub_mchid: format!("17{}", digits(rng, 8)),
        sub_appid: format!("wx{}", hex::encode(rng.r#gen::<[u8; 8]>())),
    }
}

fn wechat_side(
    dir: &Path,
    seed: Option<u64>,
    authority: &SigningKey,
    merchant: SigningKey,
    platform: SigningKey,
    public_key_mode: SigningKey,
) -> Result<WechatIdentity, SandboxError> {
    let dir = dir.join("wechat");
    let kept: Option<WechatParams> = files::read_json(&dir.join("params.json"))?;
    let mut params = kept.unwrap_or_else(|| {
        let rng = &mut rng(seed, "wechat/params.json");
        let mchid = format!("16{}", digits(rng, 8));
        WechatParams {
            appid: format!("wx{}", hex::encode(rng.r#gen::<[u8; 8]>())),
            merchant_serial: String::new(),
            apiv3_key: letters(rng, 32),
            apiv2_key: letters(rng, 32),
            platform_serial: String::new(),
            // the form of the documented example: 28 digits that begin with 01 and the merchant's number
            platform_public_key_id: format!("PUB_KEY_ID_01{mchid}2025010100{}", digits(rng, 6)),
            base_url: String::new(),
            sub: None,
            mchid,
        }
    });
    let tenpay = Authority { name: TENPAY, key: authority };
    let issue = |subject, common: Option<&str>, key: &SigningKey, name: &str| {
        let serial = serial(&mut rng(seed, name));
        tenpay.issue(Request { subject, common, serial, hosts: Vec::new(), is_ca: false }, key)
    };
    let merchant_cert = files::certificate(&dir.join("merchant_cert.pem"), &merchant, || {
        issue(MERCHANT, Some(&params.mchid), &merchant, "wechat/merchant_cert.pem")
    })?;
    let certificate = files::certificate(&dir.join("platform_cert.pem"), &platform, || {
        issue(PLATFORM, None, &platform, "wechat/platform_cert.pem")
    })?;
    files::write(&dir.join("platform_public_key.pem"), public_key_mode.public_pem())?;
    params.merchant_serial.clone_from(&merchant_cert.serial);
    params.platform_serial.clone_from(&certificate.serial);
    let platform = Arc::new(PlatformCertificate { certificate, key: platform });
    Ok(WechatIdentity { params, merchant: merchant.verifying()?, platform, public_key_mode })
}

fn alipay_side(
    dir: &Path,
    seed: Option<u64>,
    authority: &SigningKey,
    app: SigningKey,
    alipay: SigningKey,
) -> Result<AlipayIdentity, SandboxError> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let dir = dir.join("alipay");
    let kept: Option<AlipayParams> = files::read_json(&dir.join("params.json"))?;
    let params = kept.unwrap_or_else(|| {
        let rng = &mut rng(seed, "alipay/params.json");
        AlipayParams {
            app_id: format!("2021{}", digits(rng, 12)),
            seller_id: format!("2088{}", digits(rng, 12)),
            aes_key: STANDARD.encode(rng.r#gen::<[u8; 16]>()),
            gateway_url: String::new(),
        }
    });
    let root = Authority { name: ALIPAY_ROOT, key: authority };
    let issue = |subject, common: Option<&str>, key: &SigningKey, name: &str| {
        let serial = serial(&mut rng(seed, name));
        root.issue(Request { subject, common, serial, hosts: Vec::new(), is_ca: false }, key)
    };
    let app_cert = files::certificate(&dir.join("app_cert.pem"), &app, || {
        issue(MERCHANT, Some(&params.app_id), &app, "alipay/app_cert.pem")
    })?;
    let alipay_cert = files::certificate(&dir.join("alipay_cert.pem"), &alipay, || {
        issue(ALIPAY, None, &alipay, "alipay/alipay_cert.pem")
    })?;
    let bundle = files::text_or_try(&dir.join("alipay_root_cert.pem"), || {
        let first = root.self_signed(serial(&mut rng(seed, "alipay root 1")))?;
        let second = Authority { name: ALIPAY_ROOT_2, key: authority };
        let second = second.self_signed(serial(&mut rng(seed, "alipay root 2")))?;
        // an SDK splits the bundle at empty lines (alipay §20)
        Ok(format!("{}\n{}", first.pem, second.pem))
    })?;
    let mut root_sns = Vec::new();
    for block in bundle.split("\n\n") {
        let path = dir.join("alipay_root_cert.pem");
        root_sns.push(Certificate::from_pem(block).map_err(|source| files::bad(&path, source))?.alipay_sn);
    }
    files::write(&dir.join("alipay_public_key.pem"), alipay.public_pem())?;
    Ok(AlipayIdentity {
        params,
        app: app.verifying()?,
        alipay,
        app_cert_sn: app_cert.alipay_sn,
        alipay_cert_sn: alipay_cert.alipay_sn,
        root_cert_sn: root_sns.join("_"),
    })
}

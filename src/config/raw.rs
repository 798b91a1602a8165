//! The settings as they are written down. What isn't named here is refused.

use std::fmt;

use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct Raw {
    pub(super) http: Http,
    pub(super) database: Database,
    pub(super) redis: Redis,
    pub(super) secrets: Secrets,
    pub(super) wallet: Wallet,
    pub(super) webhook: Webhook,
    pub(super) policy: Policy,
    pub(super) limits: Limits,
    pub(super) merchant: Vec<Merchant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    pub(super) listen: String,
    pub(super) metrics_listen: Option<String>,
    pub(super) public_url: Option<String>,
    #[serde(deserialize_with = "whole_if_any")]
    pub(super) workers: Option<usize>,
    #[serde(deserialize_with = "whole")]
    pub(super) answer_within_ms: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) drain_ms: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            metrics_listen: None,
            public_url: None,
            workers: None,
            answer_within_ms: 8000,
            drain_ms: 0,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Database {
    pub(super) url: SecretString,
    #[serde(deserialize_with = "whole")]
    pub(super) max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: SecretString::from("sqlite:scanback.sqlite"), max_connections: 16 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Redis {
    pub(super) url: Option<SecretString>,
    #[serde(deserialize_with = "whole")]
    pub(super) key_lease_ms: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) key_ttl_s: u64,
}

impl Default for Redis {
    fn default() -> Self {
        Self { url: None, key_lease_ms: 30_000, key_ttl_s: 172_800 }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Secrets {
    pub(super) pepper: Option<SecretString>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wallet {
    #[serde(deserialize_with = "whole")]
    pub(super) time_scale: u32,
    #[serde(deserialize_with = "whole")]
    pub(super) connect_timeout_ms: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) timeout_ms: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) calls_at_once: usize,
    #[serde(deserialize_with = "whole")]
    pub(super) calls_waiting: usize,
    #[serde(deserialize_with = "whole")]
    pub(super) wechat_refunds_per_second: u32,
    #[serde(deserialize_with = "whole")]
    pub(super) wechat_refunds_per_second_while_refused: u32,
    #[serde(deserialize_with = "whole")]
    pub(super) alipay_refunds_per_second: u32,
    #[serde(deserialize_with = "whole")]
    pub(super) alipay_refunds_per_second_while_refused: u32,
    #[serde(deserialize_with = "whole")]
    pub(super) look_ups_per_second: u32,
}

impl Default for Wallet {
    fn default() -> Self {
        Self {
            time_scale: 1,
            connect_timeout_ms: 3_000,
            timeout_ms: 10_000,
            calls_at_once: 64,
            calls_waiting: 256,
            wechat_refunds_per_second: 150,
            wechat_refunds_per_second_while_refused: 6,
            alipay_refunds_per_second: 300,
            alipay_refunds_per_second_while_refused: 30,
            look_ups_per_second: 300,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Webhook {
    pub(super) allow_private: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Policy {
    pub(super) operator: String,
    pub(super) require_note: bool,
    #[serde(deserialize_with = "whole")]
    pub(super) scan_max_age_s: u32,
    #[serde(deserialize_with = "whole")]
    pub(super) refund_window_days: u32,
    pub(super) partial_refunds: bool,
    pub(super) payer_check: String,
}

impl Default for Policy {
    fn default() -> Self {
        let policy = crate::domain::policy::Policy::default();
        Self {
            operator: "terminal".into(),
            require_note: policy.require_note,
            scan_max_age_s: policy.scan_max_age_s,
            refund_window_days: policy.refund_window_days,
            partial_refunds: policy.partial_refunds,
            payer_check: "off".into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    #[serde(deserialize_with = "whole")]
    pub(super) requests_per_second: u32,
    #[serde(deserialize_with = "whole")]
    pub(super) refunds_at_once: usize,
    #[serde(deserialize_with = "whole_if_any")]
    pub(super) max_frame_bytes: Option<usize>,
    #[serde(deserialize_with = "whole_if_any")]
    pub(super) max_frame_pixels: Option<u64>,
    #[serde(deserialize_with = "whole_if_any")]
    pub(super) scan_budget_ms: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: 50,
            refunds_at_once: 512,
            max_frame_bytes: None,
            max_frame_pixels: None,
            scan_budget_ms: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Merchant {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) wechat: Option<Wechat>,
    #[serde(default)]
    pub(super) alipay: Option<Alipay>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wechat {
    #[serde(default = "wechat_host")]
    pub(super) base_url: String,
    pub(super) mchid: String,
    #[serde(default)]
    pub(super) appid: Option<String>,
    pub(super) merchant_key_file: String,
    #[serde(default)]
    pub(super) merchant_cert_file: Option<String>,
    #[serde(default)]
    pub(super) merchant_serial: Option<String>,
    #[serde(default)]
    pub(super) platform_cert_file: Option<String>,
    #[serde(default)]
    pub(super) platform_public_key_file: Option<String>,
    #[serde(default)]
    pub(super) platform_public_key_id: Option<String>,
    pub(super) apiv3_key: SecretString,
    #[serde(default)]
    pub(super) sub_mchid: Option<String>,
    #[serde(default)]
    pub(super) sub_appid: Option<String>,
    #[serde(default)]
    pub(super) funds_account: Option<String>,
    #[serde(default)]
    pub(super) apiv2_key: Option<SecretString>,
    #[serde(default)]
    pub(super) apiv2_sign_type: Option<String>,
}

fn wechat_host() -> String {
    scanback_wechat::MAIN_HOST.to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alipay {
    #[serde(default = "alipay_gateway")]
    pub(super) gateway_url: String,
    pub(super) app_id: String,
    #[serde(default)]
    pub(super) seller_id: Option<String>,
    pub(super) app_private_key_file: String,
    #[serde(default)]
    pub(super) alipay_public_key_file: Option<String>,
    #[serde(default)]
    pub(super) app_cert_file: Option<String>,
    #[serde(default)]
    pub(super) alipay_cert_file: Option<String>,
    #[serde(default)]
    pub(super) alipay_root_cert_file: Option<String>,
    #[serde(default, deserialize_with = "whole_if_any")]
    pub(super) refund_window_days: Option<u32>,
    #[serde(default)]
    pub(super) aes_key: Option<SecretString>,
    #[serde(default)]
    pub(super) payer_lookup: Option<String>,
    #[serde(default)]
    pub(super) forward_to: Option<String>,
}

fn alipay_gateway() -> String {
    "https://openapi.alipay.com/gateway.do".to_owned()
}

/// A whole number, from the file or, as digits, from the environment. The reader beneath would round a fraction without a
/// word, and `time_scale = 1.5` would start as 2.
fn whole<'de, D: Deserializer<'de>, T: TryFrom<i64>>(from: D) -> Result<T, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = i64;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<i64, E> {
            Ok(number)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
            i64::try_from(number).map_err(|_| E::custom("a whole number that is too large"))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
            text.parse().map_err(|_| E::custom("not a whole number"))
        }
    }
    let number = from.deserialize_any(Whole)?;
    T::try_from(number).map_err(|_| de::Error::custom("a whole number that is out of range"))
}

fn whole_if_any<'de, D: Deserializer<'de>, T: TryFrom<i64>>(from: D) -> Result<Option<T>, D::Error> {
    whole(from).map(Some)
}

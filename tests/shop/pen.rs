//! The wallets' own hand: notifications written with the sandbox's private keys, to be changed before they are delivered.

use std::path::Path;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::{Timestamp, tz::TimeZone};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ALIPAY, Answer, Sandbox, Shop, WECHAT};

/// A notification on its way to the desk.
#[derive(Clone)]
pub(crate) struct Notification {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Notification {
    /// Delivers it, as often as one likes.
    pub(crate) async fn deliver(&self, shop: &Shop) -> Answer {
        let media_type =
            if self.path.contains(WECHAT) { "application/json" } else { "application/x-www-form-urlencoded" };
        let mut call = shop.stranger().post(&self.path).body(media_type, self.body.clone());
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        call.send().await
    }

    /// The same with another value of a header.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

fn sign(key_file: &Path, message: &[u8]) -> String {
    let pem = std::fs::read_to_string(key_file).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = RsaKeyPair::from_pkcs8(&BASE64.decode(der).unwrap()).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
    BASE64.encode(signature)
}

/// WeChat Pay's news of a refund (wechat-pay §15), signed at `at`. `refund` has the fields of our refund.
pub(crate) fn wechat_news(sandbox: &Sandbox, refund: &Value, status: &str, at: Timestamp) -> Notification {
    wechat_news_with(sandbox, refund, status, at, |_| ())
}

/// The same; `change` may change what is sealed in it.
pub(crate) fn wechat_news_with(
    sandbox: &Sandbox,
    refund: &Value,
    status: &str,
    at: Timestamp,
    change: impl FnOnce(&mut Value),
) -> Notification {
    let params = sandbox.params(WECHAT);
    let amount = &refund["amount"]["value"];
    let mut plain = json!({
        "mchid": params["mchid"],
        "out_trade_no": refund["order_no"],
        "transaction_id": "4200000000202611220000000001",
        "out_refund_no": refund["wallet_request_no"],
        "refund_id": "50300000000000000000000000001",
        "refund_status": status,
        "success_time": "2026-11-22T10:00:00+08:00",
        "user_received_account": "支付用户零钱",
        "amount": { "total": amount, "refund": amount, "payer_total": amount, "payer_refund": amount },
    });
    change(&mut plain);
    let key = UnboundKey::new(&AES_256_GCM, params["apiv3_key"].as_str().unwrap().as_bytes()).unwrap();
    let nonce = "0123456789ab";
    let mut sealed = plain.to_string().into_bytes();
    let iv = Nonce::try_assume_unique_for_key(nonce.as_bytes()).unwrap();
    LessSafeKey::new(key).seal_in_place_append_tag(iv, Aad::from("refund"), &mut sealed).unwrap();
    let body = json!({
        "id": Uuid::now_v7(),
        "create_time": "2026-11-22T10:00:00+08:00",
        "resource_type": "encrypt-resource",
        "event_type": format!("REFUND.{status}"),
        "summary": "退款",
        "resource": {
            "algorithm": "AEAD_AES_256_GCM", "original_type": "refund", "associated_data": "refund", "nonce": nonce,
            "ciphertext": BASE64.encode(sealed),
        },
    })
    .to_string();
    let (timestamp, nonce) = (at.as_second().to_string(), Uuid::now_v7().simple().to_string());
    let message = format!("{timestamp}\n{nonce}\n{body}\n");
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Notification {
        path: "/notify/wechat/demo".to_owned(),
        headers: vec![
            header("wechatpay-timestamp", &timestamp),
            header("wechatpay-nonce", &nonce),
            header("wechatpay-signature", &sign(&sandbox.dir.join("wechat/platform_cert_key.pem"), message.as_bytes())),
            header("wechatpay-serial", params["platform_serial"].as_str().unwrap()),
            header("wechatpay-signature-type", "WECHATPAY2-SHA256-RSA2048"),
        ],
        body,
    }
}

/// Alipay's news of a trade (alipay §14): a signed form. `change` may change the fields before they are signed.
pub(crate) fn alipay_news(
    sandbox: &Sandbox,
    refund: &Value,
    change: impl FnOnce(&mut Vec<(&str, String)>),
) -> Notification {
    let params = sandbox.params(ALIPAY);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let fen = refund["amount"]["value"].as_i64().unwrap();
    let now = Timestamp::now().to_zoned(TimeZone::fixed(jiff::tz::offset(8))).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut fields = vec![
        ("app_id", text(&params["app_id"])),
        ("charset", "utf-8".to_owned()),
        ("gmt_refund", format!("{now}.123")),
        ("notify_id", Uuid::now_v7().simple().to_string()),
        ("notify_time", now),
        ("notify_type", "trade_status_sync".to_owned()),
        ("out_biz_no", text(&refund["wallet_request_no"])),
        ("out_trade_no", text(&refund["order_no"])),
        ("refund_fee", format!("{}.{:02}", fen / 100, fen % 100)),
        ("seller_id", text(&params["seller_id"])),
        ("trade_no", "2026112222001400000000000001".to_owned()),
        ("trade_status", "TRADE_SUCCESS".to_owned()),
        ("version", "1.0".to_owned()),
    ];
    change(&mut fields);
    signed_form(sandbox, fields)
}

/// Alipay's message that a bank sent a refund back (alipay §15): a signed form to the application gateway.
pub(crate) fn alipay_bounce(sandbox: &Sandbox, refund: &Value) -> Notification {
    let params = sandbox.params(ALIPAY);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let biz = json!({
        "trade_no": "2026112222001400000000000001", "out_trade_no": refund["order_no"],
        "out_request_no": refund["wallet_request_no"], "dback_status": "F", "dback_amount": "7.00",
    });
    signed_form(
        sandbox,
        vec![
            ("app_id", text(&params["app_id"])),
            ("biz_content", biz.to_string()),
            ("charset", "utf-8".to_owned()),
            ("msg_method", "alipay.trade.refund.depositback.completed".to_owned()),
            ("notify_id", Uuid::now_v7().simple().to_string()),
            ("utc_timestamp", Timestamp::now().as_millisecond().to_string()),
            ("version", "1.1".to_owned()),
        ],
    )
}

/// The fields as Alipay signs and sends them.
fn signed_form(sandbox: &Sandbox, mut fields: Vec<(&str, String)>) -> Notification {
    fields.sort_unstable();
    let signed: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let signature = sign(&sandbox.dir.join("alipay/alipay_private_key.pem"), signed.join("&").as_bytes());
    fields.extend([("sign_type", "RSA2".to_owned()), ("sign", signature)]);
    let form = fields.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    let body = form.collect::<Vec<_>>().join("&");
    Notification { path: "/notify/alipay/demo".to_owned(), headers: Vec::new(), body }
}

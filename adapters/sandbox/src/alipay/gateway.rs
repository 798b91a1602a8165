//! The gateway: parameters from query and form, the request's signature, and what is refused before any business
//! (alipay §1, §2, §4, §6).

use std::collections::{BTreeMap, btree_map::Entry};

use actix_web::web::Query;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{cipher, node::Node};
use crate::{beijing, world::World};

/// Every parameter of a call, decoded; by name.
pub(super) struct Params {
    by_name: BTreeMap<String, String>,
    /// The names in the order in which they came: only to explain a wrong signature.
    as_sent: Vec<String>,
}

impl Params {
    /// All in the query, all in the form body, or split: merged (alipay §1). The query's value stands where both have one.
    pub(super) fn merge(query: &str, body: &[u8]) -> Self {
        let pairs =
            |text: &str| Query::<Vec<(String, String)>>::from_query(text).map(Query::into_inner).unwrap_or_default();
        let mut merged = BTreeMap::new();
        let mut as_sent = Vec::new();
        let body = String::from_utf8_lossy(body);
        for (name, value) in pairs(query).into_iter().chain(pairs(&body)) {
            if let Entry::Vacant(place) = merged.entry(name) {
                as_sent.push(place.key().clone());
                place.insert(value);
            }
        }
        Self { by_name: merged, as_sent }
    }

    /// A parameter that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// What the signature is over: all but `sign` (`sign_type` stays), without empty values, sorted, not encoded.
    fn signed_text(&self) -> String {
        Self::joined(self.filled(), str::to_owned)
    }

    /// What has a value, by name.
    fn filled(&self) -> impl Iterator<Item = (&String, &String)> {
        self.by_name.iter().filter(|(_, value)| !value.is_empty())
    }

    /// What has a value, in the order in which it came.
    fn sent(&self) -> impl Iterator<Item = (&String, &String)> {
        self.as_sent.iter().filter_map(|name| self.by_name.get_key_value(name)).filter(|(_, value)| !value.is_empty())
    }

    /// `name=value&…` of everything but `sign`.
    fn joined<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>, write: impl Fn(&str) -> String) -> String {
        let pairs = pairs.filter(|(name, _)| *name != "sign");
        pairs.map(|(name, value)| format!("{name}={}", write(value))).collect::<Vec<_>>().join("&")
    }
}

/// The two ways in which clients encode by mistake before they sign: as a URI component, and as a form.
const URL_ENCODINGS: [fn(&str) -> String; 2] = [as_component, as_form];
/// What `encodeURIComponent` leaves alone.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');
/// What a form leaves alone; a space becomes `+`.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*');

fn as_component(value: &str) -> String {
    utf8_percent_encode(value, COMPONENT).to_string()
}

fn as_form(value: &str) -> String {
    utf8_percent_encode(value, FORM).to_string().replace("%20", "+")
}

/// A call that the gateway let in.
pub(super) struct Gate<'a> {
    pub(super) method: &'a str,
    pub(super) with_certificate: bool,
    pub(super) is_encrypted: bool,
}

fn missing(what: &str, name: &str) -> Node {
    let sub_code = format!("isv.missing-{what}");
    Node::refused("40001", "Missing Required Arguments", &sub_code, &format!("缺少参数 {name}"))
}

fn invalid(what: &str, sub_msg: &str) -> Node {
    Node::refused("40002", "Invalid Arguments", &format!("isv.invalid-{what}"), sub_msg)
}

/// Whether our application sent this, now.
pub(super) fn check<'a>(world: &World, params: &'a Params) -> Result<Gate<'a>, Node> {
    let required = |name: &str, what: &str| params.get(name).ok_or_else(|| missing(what, name));
    let identity = &world.identity.alipay;
    let app_id = required("app_id", "app-id")?;
    let method = required("method", "method")?;
    let sign_type = required("sign_type", "signature-type")?;
    let signature = required("sign", "signature")?;
    let timestamp = required("timestamp", "timestamp")?;
    let version = required("version", "version")?;
    if app_id != identity.params.app_id {
        return Err(invalid("app-id", "无效的AppID参数"));
    }
    if sign_type != "RSA2" {
        return Err(invalid("signature-type", "签名类型应为RSA2"));
    }
    let charset = params.get("charset").unwrap_or("utf-8");
    if !charset.eq_ignore_ascii_case("utf-8") && !charset.eq_ignore_ascii_case("utf8") {
        return Err(invalid("charset", "沙箱只支持charset=utf-8"));
    }
    if params.get("format").is_some_and(|format| !format.eq_ignore_ascii_case("json")) {
        return Err(invalid("format", "无效的数据格式，应为JSON"));
    }
    if version != "1.0" {
        return Err(invalid("parameter", "version应为1.0"));
    }
    let with_certificate = check_certificates(world, params)?;
    if world.verifies && !identity.app.verifies(params.signed_text().as_bytes(), signature) {
        return Err(invalid("signature", &explain(world, params, signature)));
    }
    let at = beijing::parse_seconds(timestamp)
        .ok_or_else(|| invalid("timestamp", "timestamp格式应为yyyy-MM-dd HH:mm:ss"))?;
    let age = Timestamp::now().as_second() - at.as_second();
    if age.unsigned_abs() > world.scale.request_age().as_secs() {
        let text =
            format!("timestamp与服务器相差{age}秒，应为北京时间，最多相差{}秒", world.scale.request_age().as_secs());
        return Err(invalid("timestamp", &text));
    }
    let is_encrypted = match params.get("encrypt_type") {
        None => false,
        Some("AES") => true,
        Some(_) => return Err(invalid("encrypt-type", "encrypt_type应为AES")),
    };
    Ok(Gate { method, with_certificate, is_encrypted })
}

/// Certificate mode is chosen by `app_cert_sn`; both numbers must be those of this sandbox's files.
fn check_certificates(world: &World, params: &Params) -> Result<bool, Node> {
    let identity = &world.identity.alipay;
    let Some(app) = params.get("app_cert_sn") else { return Ok(false) };
    if app != identity.app_cert_sn {
        return Err(invalid("parameter", &format!("app_cert_sn不匹配: 应为{}", identity.app_cert_sn)));
    }
    if params.get("alipay_root_cert_sn") != Some(identity.root_cert_sn.as_str()) {
        return Err(invalid("parameter", &format!("alipay_root_cert_sn不匹配: 应为{}", identity.root_cert_sn)));
    }
    Ok(true)
}

/// The usual mistakes, tried one by one; else the text that should have been signed.
fn explain(world: &World, params: &Params, signature: &str) -> String {
    let text = params.signed_text();
    let without = |name: &str| -> String {
        let pairs =
            params.by_name.iter().filter(|(key, value)| !["sign", name].contains(&key.as_str()) && !value.is_empty());
        pairs.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
    };
    let key = &world.identity.alipay.app;
    let fits = |tried: &str| tried != text && key.verifies(tried.as_bytes(), signature);
    let fault = if fits(&without("sign_type")) {
        "签名时去掉了sign_type，请求签名须保留sign_type"
    } else if fits(&without("biz_content")) {
        "签名时漏掉了biz_content"
    } else if fits(&Params::joined(params.sent(), str::to_owned)) {
        "参数未按名称排序：须按名称的字节顺序排序后再签名"
    } else if URL_ENCODINGS.iter().any(|encode| fits(&Params::joined(params.filled(), encode))) {
        "签名前对参数值做了URL编码：须先签名，再编码"
    } else if fits(&Params::joined(params.by_name.iter(), |value| value.to_owned())) {
        "待签名字符串含空值参数：空值须去掉"
    } else if world.identity.wechat.merchant.verifies(text.as_bytes(), signature) {
        "待签名字符串正确，私钥不对：使用了微信支付商户私钥"
    } else {
        "请检查应用私钥、字符集和待签名字符串"
    };
    // braces would disturb SDKs that count them (alipay §20)
    let shown: String = text.chars().take(300).map(|letter| if "{}".contains(letter) { '_' } else { letter }).collect();
    format!("验签出错，{fault}。待签名字符串: {shown}")
}

/// The business content: a JSON object, decrypted where it came encrypted.
pub(super) fn content(world: &World, params: &Params, gate: &Gate<'_>) -> Result<Value, Node> {
    // the oldest look-up has its parameters beside the others (alipay §17)
    if gate.method == "alipay.mobile.shake.user.query" {
        return Ok(serde_json::json!({ "dynamic_id": params.get("dynamic_id") }));
    }
    let text = params.get("biz_content").ok_or_else(|| Node::failed("ACQ.INVALID_PARAMETER", "缺少biz_content"))?;
    let plain = if gate.is_encrypted {
        let plain = cipher::decrypt(&world.identity.alipay.params.aes_key, text);
        plain.ok_or_else(|| {
            Node::refused("40002", "Invalid Arguments", "isv.decryption-error-unknown", "解密出错，未知异常")
        })?
    } else {
        text.to_owned()
    };
    match serde_json::from_str(&plain) {
        Ok(content @ Value::Object(_)) => Ok(content),
        _ => Err(Node::failed("ACQ.INVALID_PARAMETER", "biz_content不是JSON对象")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, cases, text};

    #[test]
    fn the_known_requests_are_read_and_their_signatures_are_taken() {
        let known = vectors::of("alipay");
        let key = vectors::key("alipay", "app_private_key.b64").verifying().unwrap();
        for case in cases(&known, "requests") {
            let params = match &case["form_encoded"] {
                Value::String(form) => Params::merge("", form.as_bytes()),
                _ => {
                    let pairs = case["params"].as_object().unwrap().iter();
                    let pairs = pairs.map(|(name, value)| (name.clone(), text(value).to_owned()));
                    let sign = ("sign".to_owned(), text(&case["sign"]).to_owned());
                    Params { by_name: pairs.chain([sign]).collect(), as_sent: Vec::new() }
                }
            };
            assert_eq!(params.signed_text(), text(&case["string_to_sign"]), "{}", case["name"]);
            let sign = params.get("sign").unwrap();
            assert!(key.verifies(params.signed_text().as_bytes(), sign), "{}", case["name"]);
            assert!(!key.verifies(params.signed_text().replace("2025", "2026").as_bytes(), sign), "{}", case["name"]);
        }
    }

    #[test]
    fn answers_and_notifications_get_the_known_signatures() {
        let known = vectors::of("alipay");
        let key = vectors::key("alipay", "alipay_private_key.b64");
        let mut compared = 0;
        for (list, signed) in [("responses", "signed_substring"), ("notifications", "string_to_verify")] {
            for case in cases(&known, list).iter().filter(|case| case["valid"] == true) {
                assert_eq!(key.sign(text(&case[signed]).as_bytes()).unwrap(), text(&case["sign"]), "{}", case["name"]);
                compared += 1;
            }
        }
        assert!(compared >= 11, "{compared}");
    }

    #[test]
    fn query_and_form_are_merged_decoded_and_sorted_and_sign_type_stays() {
        let params = Params::merge("b=2&a=%7B1%7D&sign=x&empty=", b"sign_type=RSA2&c=a+b%2B");
        assert_eq!(params.signed_text(), "a={1}&b=2&c=a b+&sign_type=RSA2");
        assert_eq!(params.get("empty"), None);
    }
}

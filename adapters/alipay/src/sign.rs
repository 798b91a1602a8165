//! From a call to the signed request, without a socket (alipay §1, §2).

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde::Serialize;

use crate::{beijing, keys::Verifying, settings::Settings};

/// What one API is asked: its name, and its parameters as JSON text. The text is signed and sent as it stands.
pub(crate) struct Call {
    pub(crate) method: &'static str,
    /// `None` for the few old APIs that take their parameters at the top.
    biz_content: Option<String>,
    pub(crate) params: Vec<(&'static str, String)>,
}

impl Call {
    /// A call of `method`. `biz` is one of our own structs of texts, which always make JSON.
    pub(crate) fn new(method: &'static str, biz: &impl Serialize) -> Self {
        Self { method, biz_content: Some(serde_json::to_string(biz).unwrap_or_default()), params: Vec::new() }
    }

    /// A call whose parameters stand at the top (alipay §1).
    pub(crate) const fn with_params(method: &'static str, params: Vec<(&'static str, String)>) -> Self {
        Self { method, biz_content: None, params }
    }

    /// The parameters as JSON.
    #[cfg(test)]
    pub(crate) fn biz_content(&self) -> &str {
        self.biz_content.as_deref().unwrap_or_default()
    }
}

/// A signed request: `POST` of a form.
///
/// The common parameters stand in the query and `biz_content` in the body, as Alipay's own SDKs send them: so the
/// gateway knows the charset before it reads the body, and what the business says stays out of every access log.
pub(crate) struct Request {
    pub(crate) url: Url,
    pub(crate) form: String,
}

/// Signs `call` at the time `now`. `None` only if the crypto library fails.
pub(crate) fn request(settings: &Settings, call: &Call, now: Timestamp) -> Option<Request> {
    let timestamp = beijing::text(now);
    let mut common = vec![
        ("app_id", settings.app_id.as_str()),
        ("charset", "utf-8"),
        ("format", "JSON"),
        ("method", call.method),
        ("sign_type", "RSA2"),
        ("timestamp", &timestamp),
        ("version", "1.0"),
    ];
    if let Verifying::Certificates(held) = &settings.verifying {
        common.push(("app_cert_sn", held.app_cert_sn()));
        common.push(("alipay_root_cert_sn", held.root_cert_sn()));
    }
    // encrypted first, then signed (alipay §5)
    let biz_content = match (&call.biz_content, &settings.content_key) {
        (Some(text), Some(key)) => {
            common.push(("encrypt_type", "AES"));
            Some(key.seal(text)?)
        }
        (biz_content, _) => biz_content.clone(),
    };
    let in_form: Vec<(&str, &str)> = biz_content
        .as_deref()
        .map(|text| ("biz_content", text))
        .into_iter()
        .chain(call.params.iter().map(|(name, value)| (*name, value.as_str())))
        .collect();
    let mut signed = common.clone();
    signed.extend(&in_form);
    let sign = settings.app_key.sign(string_to_sign(signed).as_bytes())?;

    let mut url = settings.gateway_url.clone();
    url.query_pairs_mut().extend_pairs(common).append_pair("sign", &sign);
    // Every byte outside A-Z a-z 0-9 as %XX: nothing that a form parser could take for its own.
    let fields: Vec<String> = in_form
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    Some(Request { url, form: fields.join("&") })
}

/// `name=value` joined by `&`, in byte order of the names, without empty values. `sign_type` is signed, too.
fn string_to_sign(mut params: Vec<(&str, &str)>) -> String {
    params.retain(|(_, value)| !value.is_empty());
    params.sort_unstable();
    let mut text = String::with_capacity(params.iter().map(|(name, value)| name.len() + value.len() + 2).sum());
    for (name, value) in params {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fixtures;

    /// What the gateway makes of a request: query and body merged, each value decoded once.
    fn received(request: &Request) -> BTreeMap<String, String> {
        let mut body = Url::parse("http://localhost/").unwrap();
        body.set_query(Some(&request.form));
        request.url.query_pairs().chain(body.query_pairs()).map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
    }

    #[test]
    fn the_string_to_sign_and_its_signature_are_those_of_the_vectors() {
        let vectors = fixtures::vectors();
        let mut checked = 0;
        for entry in vectors["requests"].as_array().unwrap() {
            let params = entry["params"].as_object().unwrap();
            let params = params.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
            let text = string_to_sign(params);
            assert_eq!(text, entry["string_to_sign"], "{}", entry["name"]);
            assert_eq!(fixtures::app_key().sign(text.as_bytes()).unwrap(), entry["sign"], "{}", entry["name"]);
            checked += 1;
        }
        assert_eq!(checked, 4);
    }

    #[test]
    fn a_request_arrives_as_the_vectors_state_in_both_modes() {
        let now = "2025-01-01T02:53:20Z".parse().unwrap();
        for (settings, name) in [
            (fixtures::settings(), "refund_public_key_mode"),
            (fixtures::certificate_settings(), "refund_certificate_mode"),
        ] {
            let entry = fixtures::vector("requests", name);
            let biz_content = entry["params"]["biz_content"].as_str().unwrap().to_owned();
            let call = Call { method: "alipay.trade.refund", biz_content: Some(biz_content), params: Vec::new() };
            let request = request(&settings, &call, now).unwrap();
            let mut expected: BTreeMap<String, String> = serde_json::from_value(entry["params"].clone()).unwrap();
            expected.insert("sign".to_owned(), entry["sign"].as_str().unwrap().to_owned());
            assert_eq!(received(&request), expected, "{name}");
            assert!(!request.url.as_str().contains("biz_content"));
        }
    }

    #[test]
    fn with_a_content_key_what_is_said_leaves_encrypted_as_the_vectors_have_it() {
        let entry = fixtures::vectors()["requests"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["params"]["encrypt_type"] == "AES")
            .unwrap()
            .clone();
        let plain = fixtures::vectors()["aes"]["plaintext"].as_str().unwrap().to_owned();
        let call = Call { method: "alipay.trade.refund", biz_content: Some(plain), params: Vec::new() };
        let now = "2025-01-01T02:53:20Z".parse().unwrap();
        let request = request(&fixtures::encrypting_settings(), &call, now).unwrap();
        let mut expected: BTreeMap<String, String> = serde_json::from_value(entry["params"].clone()).unwrap();
        expected.insert("sign".to_owned(), entry["sign"].as_str().unwrap().to_owned());
        assert_eq!(received(&request), expected);
        assert!(!request.url.as_str().contains("20.00") && !request.form.contains("20.00"));
    }

    #[test]
    fn parameters_at_the_top_are_signed_and_sent_in_the_form() {
        let call = Call::with_params("alipay.mobile.shake.user.query", vec![("dynamic_id", "28&1".to_owned())]);
        let request = request(&fixtures::settings(), &call, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(request.form, "dynamic_id=28%261");
        let mut received = received(&request);
        let sign = received.remove("sign").unwrap();
        let text = string_to_sign(received.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect());
        assert_eq!(fixtures::app_key().sign(text.as_bytes()).unwrap(), sign);
    }

    #[test]
    fn what_the_reason_says_survives_the_way() {
        let mut call = fixtures::refund_call();
        for reason in ["1+1 = 2 & 100%", "a/b\\c \"d\"", "杯子碎了 ☕️👨‍👩‍👧", "line\nbreak\ttab", "%2B;#?"]
        {
            call.reason = reason.to_owned();
            let built = crate::refund::request(&call);
            let request = request(&fixtures::settings(), &built, Timestamp::UNIX_EPOCH).unwrap();
            let received = received(&request);
            assert_eq!(received["biz_content"], built.biz_content());
            let biz: serde_json::Value = serde_json::from_str(&received["biz_content"]).unwrap();
            assert_eq!(biz["refund_reason"], reason);
        }
    }
}

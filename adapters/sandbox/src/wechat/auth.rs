//! Checking who calls: the signature of a request (wechat-pay §2). A refusal says which part is wrong, because the reader
//! is a developer with a client to repair.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use actix_web::{HttpRequest, http::header};
use jiff::Timestamp;
use serde_json::json;

use super::answer::Reply;
use crate::{
    beijing, server,
    world::{World, lock},
};

const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// How much of what was signed an error repeats: enough to compare, not a whole body.
const SHOWN: usize = 400;
/// A timestamp is whole seconds, our clock is not.
const ONE_SECOND: Duration = Duration::from_secs(1);

/// The nonces of the last requests: one is good once (contract §7).
#[derive(Default)]
pub(crate) struct Nonces {
    known: HashSet<String>,
    in_order: VecDeque<(Timestamp, String)>,
}

impl Nonces {
    /// Takes a nonce; `false` where it was used before. `until` is when its request is too old anyhow: then it is
    /// forgotten.
    fn take(&mut self, nonce: &str, now: Timestamp, until: Timestamp) -> bool {
        while let Some((end, old)) = self.in_order.front()
            && *end < now
        {
            self.known.remove(old);
            self.in_order.pop_front();
        }
        if !self.known.insert(nonce.to_owned()) {
            return false;
        }
        self.in_order.push_back((until, nonce.to_owned()));
        true
    }
}

/// Why a request is not believed.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) message: String,
    pub(super) field: &'static str,
    signed: Option<(String, String, String)>,
}

impl Refused {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), field, signed: None }
    }

    /// 401 `SIGN_ERROR`, with what the signature should be over.
    pub(super) fn into_reply(self) -> Reply {
        let mut detail = json!({
            "location": "authorization", "field": self.field, "issue": self.message,
        });
        if let Some((method, url, message)) = self.signed {
            let shown: String = message.chars().take(SHOWN).collect();
            detail["sign_information"] = json!({
                "method": method,
                "url": url,
                "truncated_sign_message": shown,
                "sign_message_length": message.len(),
            });
        }
        Reply::error_with(401, "SIGN_ERROR", &format!("签名错误: {}", self.message), detail)
    }
}

/// The five pairs of an `Authorization` header.
struct Authorization<'a> {
    mchid: &'a str,
    nonce: &'a str,
    signature: &'a str,
    timestamp: &'a str,
    serial: &'a str,
}

impl<'a> Authorization<'a> {
    /// The order of the pairs is free, spaces after commas are borne (wechat-pay §2).
    fn parse(text: &'a str) -> Result<Self, Refused> {
        let pairs = text
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or_else(|| Refused::new("Authorization", format!("it must begin with \"{SCHEME} \"")))?;
        let mut found = HashMap::new();
        for pair in pairs.split(',') {
            let (name, value) = pair.trim().split_once('=').unwrap_or((pair, ""));
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = value.ok_or_else(|| Refused::new("Authorization", format!("{name} is not name=\"value\"")))?;
            found.insert(name, value);
        }
        let get = |name: &'static str| {
            found
                .get(name)
                .copied()
                .filter(|value| !value.is_empty())
                .ok_or_else(|| Refused::new(name, "it is missing"))
        };
        Ok(Self {
            mchid: get("mchid")?,
            nonce: get("nonce_str")?,
            signature: get("signature")?,
            timestamp: get("timestamp")?,
            serial: get("serial_no")?,
        })
    }
}

/// Whether our merchant sent exactly this, now, and for the first time.
pub(super) fn check(world: &World, request: &HttpRequest, body: &[u8]) -> Result<(), Refused> {
    let header = request.headers().get(header::AUTHORIZATION);
    let header = header.ok_or_else(|| Refused::new("Authorization", "the header is missing"))?;
    let header = header.to_str().map_err(|_| Refused::new("Authorization", "it holds unreadable characters"))?;
    let sent = Authorization::parse(header)?;
    let params = &world.identity.wechat.params;
    if sent.mchid != params.mchid {
        return Err(Refused::new("mchid", format!("{} is not the merchant of this sandbox", sent.mchid)));
    }
    if !sent.serial.eq_ignore_ascii_case(&params.merchant_serial) {
        let text = format!("no merchant certificate has the serial {}; it is {}", sent.serial, params.merchant_serial);
        return Err(Refused::new("serial_no", text));
    }
    let now = Timestamp::now();
    let limit = world.scale.request_age();
    let seconds: i64 =
        sent.timestamp.parse().map_err(|_| Refused::new("timestamp", "it must be Unix seconds in decimal"))?;
    let age = now.as_second().saturating_sub(seconds);
    if age.unsigned_abs() > limit.as_secs() {
        let text = format!("it is {age} s old; at most {} s are allowed, either way", limit.as_secs());
        return Err(Refused::new("timestamp", text));
    }
    let url = server::path_and_query(request);
    let parts = Signed { method: request.method().as_str(), url, timestamp: sent.timestamp, nonce: sent.nonce, body };
    let key = &world.identity.wechat.merchant;
    if world.verifies && !key.verifies(&parts.message(), sent.signature) {
        let mut refused =
            Refused::new("signature", parts.explain(world, request.connection_info().host(), sent.signature));
        let message = String::from_utf8_lossy(&parts.message()).into_owned();
        refused.signed = Some((parts.method.to_owned(), parts.url.to_owned(), message));
        return Err(refused);
    }
    // after the signature: a stranger can't use a merchant's nonces up
    let until = Timestamp::from_second(seconds).map_or(now, |sent_at| beijing::after(sent_at, limit + ONE_SECOND));
    if !lock(&world.nonces).take(sent.nonce, now, until) {
        return Err(Refused::new("nonce_str", "it was used before: each request needs a new one"));
    }
    Ok(())
}

/// What a request's signature is over.
#[derive(Clone, Copy)]
struct Signed<'a> {
    method: &'a str,
    url: &'a str,
    timestamp: &'a str,
    nonce: &'a str,
    body: &'a [u8],
}

impl Signed<'_> {
    fn message(&self) -> Vec<u8> {
        let head = format!("{}\n{}\n{}\n{}\n", self.method, self.url, self.timestamp, self.nonce);
        [head.as_bytes(), self.body, b"\n"].concat()
    }

    /// The usual mistakes, tried one by one.
    fn explain(&self, world: &World, host: &str, signature: &str) -> String {
        let key = &world.identity.wechat.merchant;
        let path = self.url.split('?').next().unwrap_or_default();
        let lower = self.method.to_ascii_lowercase();
        let decoded = percent_encoding::percent_decode_str(self.url).decode_utf8_lossy();
        let message = self.message();
        let again = serde_json::from_slice::<serde_json::Value>(self.body).map(|body| body.to_string());
        let again = again.unwrap_or_default();
        let whole: Vec<String> = ["http", "https"].map(|scheme| format!("{scheme}://{host}{}", self.url)).into();
        let tries = [
            (Signed { body: b"", ..*self }.message(), "it fits an empty body: sign the body as it is sent"),
            (Signed { url: path, ..*self }.message(), "it fits the path without the query: sign both"),
            (
                Signed { url: &decoded, ..*self }.message(),
                "it fits the decoded path: sign it as it is sent, percent-encoded",
            ),
            (Signed { method: &lower, ..*self }.message(), "it fits the method in lower case: sign it in upper case"),
            (
                Signed { body: again.as_bytes(), ..*self }.message(),
                "it fits the same JSON in other bytes: sign the very text that is sent, and don't serialise it twice",
            ),
            (Signed { url: &whole[0], ..*self }.message(), "it fits the whole address: leave scheme and host out"),
            (Signed { url: &whole[1], ..*self }.message(), "it fits the whole address: leave scheme and host out"),
            (message[..message.len() - 1].to_vec(), "the last line feed is missing from the signed text"),
        ];
        let found = tries.iter().find(|(tried, _)| *tried != message && key.verifies(tried, signature));
        if found.is_none() && world.identity.alipay.app.verifies(&message, signature) {
            return "the text is right, the key is not: it was made with the Alipay application's key".to_owned();
        }
        let unknown = "it does not fit this method, path, timestamp, nonce and body under the merchant's key";
        found.map_or(unknown, |(_, why)| why).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, cases, text};

    #[test]
    fn the_known_requests_are_read_and_their_signatures_are_taken() {
        let known = vectors::of("wechat");
        let key = vectors::key("wechat", "merchant_key.b64").verifying().unwrap();
        for case in cases(&known, "request_signing") {
            let sent =
                Authorization::parse(text(&case["authorization"])).unwrap_or_else(|_| panic!("{}", case["name"]));
            let (method, url) = (text(&case["method"]), text(&case["path_and_query"]));
            let body = text(&case["body"]).as_bytes();
            let signed = Signed { method, url, timestamp: sent.timestamp, nonce: sent.nonce, body };
            assert_eq!(signed.message(), text(&case["canonical_string"]).as_bytes(), "{}", case["name"]);
            assert!(key.verifies(&signed.message(), sent.signature), "{}", case["name"]);
            assert!(!key.verifies(&Signed { body: b"{}", ..signed }.message(), sent.signature), "{}", case["name"]);
            assert_eq!(
                (sent.mchid, sent.serial),
                (text(&known["params"]["mchid"]), text(&known["params"]["merchant_serial"]))
            );
        }
    }

    #[test]
    fn the_pairs_may_come_in_any_order_and_with_spaces() {
        let text =
            format!("{SCHEME} serial_no=\"AB\", mchid=\"1\",timestamp=\"2\", signature=\"a+/=\",nonce_str=\"n\"");
        let parsed = Authorization::parse(&text).unwrap();
        assert_eq!((parsed.mchid, parsed.serial, parsed.signature), ("1", "AB", "a+/="));
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        let field = |text: &str| Authorization::parse(text).err().unwrap().field;
        assert_eq!(field("Bearer x"), "Authorization");
        assert_eq!(field(&format!("{SCHEME} mchid=1")), "Authorization");
        assert_eq!(
            field(&format!("{SCHEME} mchid=\"1\",nonce_str=\"n\",signature=\"s\",timestamp=\"2\"")),
            "serial_no"
        );
    }

    #[test]
    fn a_nonce_is_good_once_until_its_request_would_be_too_old() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut nonces = Nonces::default();
        assert!(nonces.take("a", at(0), at(20)));
        assert!(!nonces.take("a", at(20), at(40)));
        assert!(nonces.take("a", at(21), at(41)));
    }
}

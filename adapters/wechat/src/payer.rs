//! Whose payment code is it? The one call of the old API (APIv2) that we need: `authcodetoopenid`. All pure.
//!
//! It identifies and does not authorise; WeChat grants it merchant by merchant. Source: wechat-pay §17.

use std::collections::BTreeMap;

use aws_lc_rs::{constant_time, hmac};
use md5::{Digest as _, Md5};
use scanback_wallet::{Doubt, DoubtKind, PayerId, PayerOf, PaymentCode, WalletError};
use zeroize::Zeroizing;

use crate::{
    account::Account,
    errors::{self, V2Means},
    xml,
};

/// Where it is asked.
pub(crate) const PATH: &str = "/tools/authcodetoopenid";

/// The old API's key (APIv2 密钥): 32 characters. Shows nothing in `Debug`.
pub struct ApiV2Key {
    text: Zeroizing<String>,
    sign_type: SignType,
}

impl std::fmt::Debug for ApiV2Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiV2Key(hidden)")
    }
}

/// How messages of the old API are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignType {
    /// What the wallet's page of this call asks for.
    #[default]
    Md5,
    /// What other calls of the old API take too. No source says that this call does: behind a setting.
    HmacSha256,
}

impl ApiV2Key {
    /// Takes the key as set in the merchant console; `None` where it hasn't 32 characters.
    #[must_use]
    pub fn from_text(text: &str, sign_type: SignType) -> Option<Self> {
        let text = text.trim();
        let usable = text.len() == 32 && text.bytes().all(|b| b.is_ascii_graphic());
        usable.then(|| Self { text: Zeroizing::new(text.to_owned()), sign_type })
    }

    /// The signature of these fields: those that aren't empty, by name, with the key at the end.
    fn sign(&self, fields: &BTreeMap<String, String>) -> String {
        let mut text = Zeroizing::new(String::new());
        for (name, value) in fields.iter().filter(|(name, value)| *name != "sign" && !value.is_empty()) {
            text.push_str(name);
            text.push('=');
            text.push_str(value);
            text.push('&');
        }
        text.push_str("key=");
        text.push_str(&self.text);
        match self.sign_type {
            SignType::Md5 => hex::encode_upper(Md5::digest(text.as_bytes())),
            SignType::HmacSha256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.text.as_bytes());
                hex::encode_upper(hmac::sign(&key, text.as_bytes()))
            }
        }
    }

    fn verifies(&self, fields: &BTreeMap<String, String>) -> bool {
        let Some(sign) = fields.get("sign") else { return false };
        constant_time::verify_slices_are_equal(self.sign(fields).as_bytes(), sign.as_bytes()).is_ok()
    }
}

/// The question, as XML.
pub(crate) fn request(
    account: &Account,
    key: &ApiV2Key,
    code: &PaymentCode,
    nonce: &str,
) -> Result<Zeroizing<String>, WalletError> {
    let appid = account.appid.as_deref().ok_or(NO_APP)?;
    let mut fields = BTreeMap::new();
    let mut put = |name: &str, value: &str| fields.insert(name.to_owned(), value.to_owned());
    put("appid", appid);
    put("mch_id", &account.mchid);
    if let Some(sub) = &account.sub {
        put("sub_mch_id", &sub.mchid);
        if let Some(appid) = &sub.appid {
            put("sub_appid", appid);
        }
    }
    put("auth_code", code.expose());
    put("nonce_str", nonce);
    if key.sign_type == SignType::HmacSha256 {
        put("sign_type", "HMAC-SHA256");
    }
    let sign = key.sign(&fields);
    fields.insert("sign".to_owned(), sign);
    let text = Zeroizing::new(xml::write(&fields));
    for value in fields.values_mut() {
        zeroize::Zeroize::zeroize(value); // the payment code is among them
    }
    Ok(text)
}

const NO_APP: WalletError = WalletError::NotSupported("wechat.appid is needed to look up who shows a payment code");

/// Who it is, by a signed answer about this account.
pub(crate) fn read(account: &Account, key: &ApiV2Key, status: u16, body: &[u8]) -> Result<PayerOf, WalletError> {
    let doubt = |kind, what: String| WalletError::Doubt(Doubt::new(kind, what));
    match status {
        200 => {}
        429 => return Err(doubt(DoubtKind::RateLimited, "HTTP 429".to_owned())),
        500.. => return Err(doubt(DoubtKind::WalletError, format!("HTTP {status}"))),
        _ => return Err(doubt(DoubtKind::Unreadable, format!("HTTP {status}"))),
    }
    let fields = xml::read(body).map_err(|error| doubt(DoubtKind::Unreadable, error.to_string()))?;
    let field = |name: &str| fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
    if field("return_code") != Some("SUCCESS") {
        // transport failed: such an answer is not signed. Its words tell people of a wrong key or a missing permission.
        let detail = errors::cut(field("return_msg").unwrap_or_default(), 128).to_owned();
        return Err(WalletError::Refused { code: "FAIL".to_owned(), detail });
    }
    if !key.verifies(&fields) {
        return Err(doubt(DoubtKind::BadSignature, "the answer's sign does not fit".to_owned()));
    }
    if field("mch_id") != Some(&account.mchid) {
        return Err(doubt(DoubtKind::Unreadable, "it speaks of another account".to_owned()));
    }
    if field("result_code") == Some("SUCCESS") {
        let sub = account.sub.as_ref().and_then(|sub| sub.appid.as_deref()).zip(field("sub_openid"));
        let named = sub.or_else(|| account.appid.as_deref().zip(field("openid")));
        return named
            .and_then(|(appid, openid)| PayerId::within(appid, openid))
            .map(PayerOf::Payer)
            .ok_or_else(|| doubt(DoubtKind::Unreadable, "it names nobody".to_owned()));
    }
    let code = errors::cut(field("err_code").unwrap_or_default(), 32);
    match errors::v2(code) {
        V2Means::NoCode => Ok(PayerOf::NoCode),
        V2Means::Again => Err(doubt(DoubtKind::WalletError, code.to_owned())),
        V2Means::Refused => {
            let detail = errors::cut(field("err_code_des").unwrap_or_default(), 128).to_owned();
            Err(WalletError::Refused { code: code.to_owned(), detail })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::fixtures::{self, text};

    const KEY: &str = "TESTONLYv2key0123456789abcdefABC";

    fn key(sign_type: SignType) -> ApiV2Key {
        ApiV2Key::from_text(KEY, sign_type).unwrap()
    }

    fn fields(case: &Value) -> BTreeMap<String, String> {
        serde_json::from_value(case["params"].clone()).unwrap()
    }

    #[test]
    fn each_vector_is_signed_as_it_says() {
        let vectors = fixtures::vectors();
        let mut checked = 0;
        for case in vectors["v2_sign"].as_array().unwrap() {
            let sign_type = if case["kind"] == "MD5" { SignType::Md5 } else { SignType::HmacSha256 };
            assert_eq!(key(sign_type).sign(&fields(case)), text(&case["sign"]), "{}", case["name"]);
            checked += 1;
        }
        assert_eq!(checked, 3);
    }

    #[test]
    fn the_question_is_that_of_the_vectors() {
        let vectors = fixtures::vectors();
        for (case, sign_type) in [(0, SignType::Md5), (2, SignType::HmacSha256)] {
            let case = &vectors["v2_sign"][case];
            let code = PaymentCode::parse(text(&case["params"]["auth_code"])).unwrap();
            let nonce = text(&case["params"]["nonce_str"]);
            let sent = request(&fixtures::account(), &key(sign_type), &code, nonce).unwrap();
            let mut expected = fields(case);
            expected.insert("sign".to_owned(), text(&case["sign"]).to_owned());
            assert_eq!(xml::read(sent.as_bytes()).unwrap(), expected);
        }
    }

    /// The recorded answer with some of it changed, signed anew.
    fn answer(changes: &[(&str, &str)]) -> Vec<u8> {
        let mut all = fields(&fixtures::vectors()["v2_sign"][1]);
        for (name, value) in changes {
            all.insert((*name).to_owned(), (*value).to_owned());
        }
        let sign = key(SignType::Md5).sign(&all);
        all.entry("sign".to_owned()).or_insert(sign);
        xml::write(&all).into_bytes()
    }

    fn read_as(account: &Account, body: &[u8]) -> Result<PayerOf, WalletError> {
        read(account, &key(SignType::Md5), 200, body)
    }

    #[test]
    fn a_signed_answer_names_the_payer_within_the_app() {
        let payer = PayerId::within("wx8888888888888888", "oUpF8uN95-Ptaags6E_roPHg7AG0").unwrap();
        assert_eq!(read_as(&fixtures::account(), &answer(&[])), Ok(PayerOf::Payer(payer)));
        let sub = PayerId::within("wx2222222222222222", "oSub").unwrap();
        assert_eq!(read_as(&fixtures::partner(), &answer(&[("sub_openid", "oSub")])), Ok(PayerOf::Payer(sub)));
    }

    #[test]
    fn each_error_has_its_meaning() {
        let failed = |code: &str| answer(&[("result_code", "FAIL"), ("err_code", code), ("openid", "")]);
        for code in ["AUTHCODEEXPIRE", "AUTH_CODE_ERROR", "AUTH_CODE_INVALID"] {
            assert_eq!(read_as(&fixtures::account(), &failed(code)), Ok(PayerOf::NoCode), "{code}");
        }
        let Err(WalletError::Doubt(doubt)) = read_as(&fixtures::account(), &failed("SYSTEMERROR")) else { panic!() };
        assert_eq!(doubt.kind, DoubtKind::WalletError);
        assert!(matches!(
            read_as(&fixtures::account(), &failed("NOAUTH")),
            Err(WalletError::Refused { code, .. }) if code == "NOAUTH"
        ));
    }

    #[test]
    fn what_is_not_signed_or_not_ours_names_nobody() {
        for body in [
            answer(&[("sign", "00")]),
            answer(&[("mch_id", "1900000110")]),
            answer(&[("openid", "")]),
            b"<xml><return_code>SUCCESS</return_code><openid>o1</openid></xml>".to_vec(),
            b"<html>".to_vec(),
        ] {
            assert!(matches!(read_as(&fixtures::account(), &body), Err(WalletError::Doubt(_))));
        }
        let refused = b"<xml><return_code>FAIL</return_code><return_msg>sign error</return_msg></xml>";
        assert!(matches!(read_as(&fixtures::account(), refused), Err(WalletError::Refused { .. })));
        assert!(matches!(read(&fixtures::account(), &key(SignType::Md5), 502, b""), Err(WalletError::Doubt(_))));
    }

    #[test]
    fn an_app_is_needed_and_a_key_has_32_characters() {
        let code = PaymentCode::parse("134567890123456789").unwrap();
        let appless = Account { appid: None, ..fixtures::account() };
        assert!(matches!(request(&appless, &key(SignType::Md5), &code, "n"), Err(WalletError::NotSupported(_))));
        assert!(ApiV2Key::from_text("short", SignType::Md5).is_none());
        assert_eq!(format!("{:?}", key(SignType::Md5)), "ApiV2Key(hidden)");
    }
}

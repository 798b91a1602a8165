//! From the bytes of an answer to the text of its node, and only if Alipay signed exactly that text (alipay §3).

use std::fmt;

use scanback_wallet::{Doubt, DoubtKind};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::keys::Verifying;

/// The node of the answer to `method`, as received, once its signature holds.
///
/// `{"<method>_response":{…},"alipay_cert_sn":"…","sign":"…"}` in any order; `error_response` in the place of the
/// method's node. What is verified is what the caller then reads: the same slice, so nothing can be put between.
/// # Errors
/// [`DoubtKind::BadSignature`] without a good signature, or with that of a certificate that we don't hold;
/// [`DoubtKind::Unreadable`] where the text is no such answer.
pub(crate) fn open<'a>(verifying: &Verifying, method: &str, body: &'a [u8]) -> Result<&'a str, Doubt> {
    let answer = Answer::read(method, body)?;
    let Some(sign) = answer.sign else {
        // Some refusals of the gateway are said to come unsigned. They prove nothing; people should still see them.
        return Err(bad_signature(format!("the answer is not signed; it says {}", unproven_codes(answer.node))));
    };
    let Some(key) = verifying.key_for(answer.alipay_cert_sn.as_deref()) else {
        return Err(bad_signature(
            "the answer is signed with another certificate than the one configured: download Alipay's certificate anew"
                .to_owned(),
        ));
    };
    if !key.verifies(answer.node.as_bytes(), &sign) {
        return Err(bad_signature("the signature does not fit the answer".to_owned()));
    }
    Ok(answer.node)
}

/// The number of the certificate that an answer names, where it is none that we hold: one that Alipay renewed.
pub(crate) fn other_certificate(verifying: &Verifying, method: &str, body: &[u8]) -> Option<String> {
    let named = Answer::read(method, body).ok()?.alipay_cert_sn?;
    verifying.key_for(Some(&named)).is_none().then_some(named)
}

/// The node of an answer that nothing has proven yet: for a certificate, which proves itself by who signed it.
pub(crate) fn unproven<'a>(method: &str, body: &'a [u8]) -> Result<&'a str, Doubt> {
    Ok(Answer::read(method, body)?.node)
}

fn bad_signature(detail: String) -> Doubt {
    Doubt::new(DoubtKind::BadSignature, detail)
}

/// The code of an unsigned answer, if it is harmless to show.
fn unproven_codes(node: &str) -> String {
    #[derive(Deserialize)]
    struct Codes {
        code: String,
        sub_code: Option<String>,
    }
    let harmless =
        |code: &str| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    match serde_json::from_str::<Codes>(node) {
        Ok(codes) => {
            let code = codes.sub_code.filter(|code| !code.is_empty()).unwrap_or(codes.code);
            if harmless(&code) { code } else { "something odd".to_owned() }
        }
        Err(_) => "nothing readable".to_owned(),
    }
}

/// The members that matter, none of them proven.
struct Answer<'a> {
    /// The node's value, byte for byte: from its `{` to the matching `}`, or with both quotes where it is encrypted.
    node: &'a str,
    sign: Option<String>,
    alipay_cert_sn: Option<String>,
}

impl<'a> Answer<'a> {
    fn read(method: &str, body: &'a [u8]) -> Result<Self, Doubt> {
        let unreadable = |detail: &str| Doubt::new(DoubtKind::Unreadable, detail);
        let Members(members) =
            serde_json::from_slice(body).map_err(|_| unreadable("the answer is not a JSON object"))?;
        let own = format!("{}_response", method.replace('.', "_"));
        let (mut node, mut sign, mut alipay_cert_sn) = (None, None, None);
        for (name, value) in members {
            let repeated = if name == own || name == "error_response" {
                node.replace(value.get()).is_some()
            } else {
                let place = match name.as_str() {
                    "sign" => &mut sign,
                    "alipay_cert_sn" => &mut alipay_cert_sn,
                    _ => continue,
                };
                let text = serde_json::from_str::<String>(value.get());
                place.replace(text.map_err(|_| unreadable("the answer's signature is no text"))?).is_some()
            };
            if repeated {
                return Err(unreadable("the answer says the same thing twice"));
            }
        }
        let node = node.ok_or_else(|| unreadable("the answer is to another call"))?;
        Ok(Self { node, sign, alipay_cert_sn })
    }
}

/// The members of a JSON object in their order, repeated ones too, each value as the raw text that stands there.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    const REFUND: &str = "alipay.trade.refund";

    fn kind(result: Result<&str, Doubt>) -> DoubtKind {
        result.unwrap_err().kind
    }

    #[test]
    fn each_answer_of_the_vectors_is_opened_to_the_signed_bytes_or_refused() {
        let verifying = fixtures::settings().verifying;
        let vectors = fixtures::vectors();
        let (mut opened, mut refused) = (0, 0);
        for entry in vectors["responses"].as_array().unwrap() {
            let body = entry["body"].as_str().unwrap();
            let method = entry["node"].as_str().unwrap().trim_end_matches("_response").replace('_', ".");
            let method = if method == "error" { REFUND.to_owned() } else { method };
            let result = open(&verifying, &method, body.as_bytes());
            if entry["valid"] == true {
                assert_eq!(result.unwrap(), entry["signed_substring"], "{}", entry["name"]);
                opened += 1;
            } else {
                assert_eq!(kind(result), DoubtKind::BadSignature, "{}", entry["name"]);
                refused += 1;
            }
        }
        assert_eq!((opened, refused), (8, 1));
    }

    #[test]
    fn the_signature_may_stand_anywhere_around_the_node() {
        let verifying = fixtures::settings().verifying;
        let node = r#"{"code":"10000" , "x":"}\"{"}"#;
        let sign = fixtures::alipay_signing_key().sign(node.as_bytes()).unwrap();
        for body in [
            format!(r#"{{"sign":"{sign}","alipay_trade_refund_response":{node}}}"#),
            format!("\n{{ \"x\" : [1], \"alipay_trade_refund_response\" : {node} ,\n \"sign\" : \"{sign}\" }}\r\n"),
            format!(r#"{{"alipay_trade_refund_response":{node},"sign":"{}"}}"#, sign.replace('/', r"\/")),
            format!(r#"{{"error_response":{node},"alipay_cert_sn":"any","sign":"{sign}"}}"#),
        ] {
            assert_eq!(open(&verifying, REFUND, body.as_bytes()), Ok(node), "{body}");
        }
    }

    #[test]
    fn what_is_not_one_signed_answer_proves_nothing() {
        let verifying = fixtures::settings().verifying;
        let node = r#"{"code":"40002","sub_code":"isv.invalid-app-id"}"#;
        let good = fixtures::answer("error_response", node);
        let sign = fixtures::alipay_signing_key().sign(node.as_bytes()).unwrap();
        let cases = [
            (format!(r#"{{"error_response":{node}}}"#), DoubtKind::BadSignature),
            (format!(r#"{{"error_response":{node},"sign":""}}"#), DoubtKind::BadSignature),
            (format!(r#"{{"error_response":{node},"sign":"%%%"}}"#), DoubtKind::BadSignature),
            (good.replace("40002", "40003"), DoubtKind::BadSignature),
            (good.replace("error_response", "alipay_trade_query_response"), DoubtKind::Unreadable),
            (
                format!(r#"{{"error_response":{node},"alipay_trade_refund_response":{node},"sign":"{sign}"}}"#),
                DoubtKind::Unreadable,
            ),
            (format!(r#"{{"error_response":{node},"error_response":{node},"sign":"{sign}"}}"#), DoubtKind::Unreadable),
            (format!(r#"{{"error_response":{node},"sign":"{sign}","sign":"{sign}"}}"#), DoubtKind::Unreadable),
            (format!(r#"{{"error_response":{node},"sign":7}}"#), DoubtKind::Unreadable),
            (format!("{good}x"), DoubtKind::Unreadable),
            ("<html>busy</html>".to_owned(), DoubtKind::Unreadable),
            (String::new(), DoubtKind::Unreadable),
            ("[]".to_owned(), DoubtKind::Unreadable),
        ];
        for (body, expected) in cases {
            assert_eq!(kind(open(&verifying, REFUND, body.as_bytes())), expected, "{body}");
        }
        assert_eq!(kind(open(&verifying, REFUND, b"{\"error_response\":\"\xff\"}")), DoubtKind::Unreadable);
        let unsigned = open(&verifying, REFUND, format!(r#"{{"error_response":{node}}}"#).as_bytes()).unwrap_err();
        assert!(unsigned.detail.contains("isv.invalid-app-id"), "{}", unsigned.detail);
    }

    #[test]
    fn in_certificate_mode_another_certificate_proves_nothing() {
        let verifying = fixtures::certificate_settings().verifying;
        let entry = fixtures::vector("responses", "certificate_mode_cert_sn_before_sign");
        let body = entry["body"].as_str().unwrap();
        assert!(open(&verifying, REFUND, body.as_bytes()).is_ok());
        let renewed = body.replace("faf7b16f785ed0a495670d8a8e805de3", "00000000000000000000000000000000");
        assert_ne!(renewed, body);
        let doubt = open(&verifying, REFUND, renewed.as_bytes()).unwrap_err();
        assert_eq!(doubt.kind, DoubtKind::BadSignature);
        assert!(doubt.detail.contains("another certificate"), "{}", doubt.detail);
    }

    proptest! {
        /// Whatever a string inside says, escaped or not, the node is found to the byte.
        #[test]
        fn the_node_is_found_whatever_stands_in_its_strings(
            text in any::<String>(), other in "[\\\\\"{}\\[\\],:/ a]{0,24}", depth in 0_usize..6, before in any::<bool>(),
        ) {
            let quoted = |text: &str| serde_json::to_string(text).unwrap();
            let inner = format!("{}{}{}", "[{\"k\":".repeat(depth), quoted(&other), "}]".repeat(depth));
            let node = format!("{{{}:{inner} , \"code\":{}}}", quoted(&text), quoted(&other).replace('/', "\\/"));
            let rest = format!("\"note\":{},\"sign\":{}", quoted(&other), quoted(&text));
            let body = if before {
                format!("{{{rest},\"alipay_trade_refund_response\":{node}}}")
            } else {
                format!("{{\"alipay_trade_refund_response\":{node},{rest}}}")
            };
            let answer = Answer::read(REFUND, body.as_bytes()).unwrap();
            prop_assert_eq!(answer.node, node);
            prop_assert_eq!(answer.sign, Some(text));
        }

        /// No bytes make it panic.
        #[test]
        fn any_bytes_are_read_or_refused(body in prop_oneof![
            any::<Vec<u8>>(),
            "[{}\\[\\]\":,\\\\a]{0,40}".prop_map(String::into_bytes),
            "\\{\"error_response\":[{}\\[\\]\":,\\\\a]{0,40}\\}".prop_map(String::into_bytes),
        ]) {
            if let Ok(answer) = Answer::read(REFUND, &body) {
                prop_assert!(std::str::from_utf8(&body).unwrap().contains(answer.node));
            }
        }
    }
}

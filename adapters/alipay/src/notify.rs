//! Asynchronous notifications (异步通知) and the deposit-back message: signed forms (alipay §14, §15).

use percent_encoding::percent_decode;
use scanback_wallet::{EventId, Money, NotGenuine, Notification, OrderNo, WalletRequestNo};
use serde::Deserialize;

use crate::settings::Settings;

/// The message that a bank sent a refund back, or took it after all.
const DEPOSIT_BACK: &str = "alipay.trade.refund.depositback.completed";

/// Verifies and reads a notification.
///
/// A refund's notification carries the trade's total, never the refund's own amount, so it is a hint to ask.
/// # Errors
/// [`NotGenuine`]: the signature is looked at first, then whose account it is for, then the rest.
pub(crate) fn open(settings: &Settings, body: &[u8]) -> Result<Notification, NotGenuine> {
    let form = Form::read(body)?;
    form.verify(settings)?;
    if form.text("app_id") != Some(&settings.app_id) {
        return Err(NotGenuine::OtherAccount);
    }
    if let (Some(ours), Some(named)) = (&settings.seller_id, form.text("seller_id"))
        && ours != named
    {
        return Err(NotGenuine::OtherAccount);
    }
    let event_id = form.text("notify_id").and_then(|id| EventId::parse(id).ok());
    let event_id = event_id.ok_or_else(|| unreadable("no notify_id"))?;
    if form.text("msg_method") == Some(DEPOSIT_BACK) {
        let biz = form.biz_content(settings).and_then(|json| serde_json::from_str(&json).ok());
        let DepositBack { out_trade_no, out_request_no, dback_status } =
            biz.ok_or_else(|| unreadable("no biz_content"))?;
        let number = out_request_no.as_deref().and_then(|text| WalletRequestNo::parse(text).ok());
        return match (number, dback_status.as_deref()) {
            // the bank sent it back: it lies in the payer's Alipay balance now, and nothing is paid again for it
            (Some(request_no), Some("F")) => {
                let order_no = OrderNo::parse(&out_trade_no).map_err(|_| unreadable("no out_trade_no"))?;
                Ok(Notification::Bounced { event_id, order_no, request_no })
            }
            _ => hint(event_id, Some(&out_trade_no), out_request_no.as_deref(), (None, None)),
        };
    }
    if form.text("refund_fee").is_some() || form.text("gmt_refund").is_some() {
        let yuan = |name| form.text(name).and_then(|yuan| Money::parse_yuan(yuan).ok());
        let sums = (yuan("total_amount"), yuan("refund_fee"));
        return hint(event_id, form.text("out_trade_no"), form.text("out_biz_no"), sums);
    }
    Ok(Notification::Other { event_id })
}

#[derive(Deserialize)]
struct DepositBack {
    out_trade_no: String,
    out_request_no: Option<String>,
    /// `S`: at the bank. `F`: sent back.
    dback_status: Option<String>,
}

/// The number of the certificate that a form names, where it is none that we hold.
pub(crate) fn other_certificate(settings: &Settings, body: &[u8]) -> Option<String> {
    let form = Form::read(body).ok()?;
    let named = form.text("alipay_cert_sn")?;
    settings.verifying.key_for(Some(named)).is_none().then(|| named.to_owned())
}

/// A number of the refund that has no form that ours could have is left out: the order is asked anyway. `sums` are what was
/// paid and what the trade has refunded so far.
fn hint(
    event_id: EventId,
    order_no: Option<&str>,
    request_no: Option<&str>,
    sums: (Option<Money>, Option<Money>),
) -> Result<Notification, NotGenuine> {
    let order_no = order_no.and_then(|text| OrderNo::parse(text).ok()).ok_or_else(|| unreadable("no out_trade_no"))?;
    Ok(Notification::Hint {
        event_id,
        order_no,
        request_no: request_no.and_then(|text| WalletRequestNo::parse(text).ok()),
        total: sums.0,
        refunded: sums.1,
    })
}

fn unreadable(detail: &str) -> NotGenuine {
    NotGenuine::Unreadable(detail.to_owned())
}

/// The fields of a form, sorted by name, percent-decoded once, as bytes of whatever charset they were written in.
///
/// The signature is over those bytes, and every field that is read here is ASCII: so `charset`, utf-8 or gbk, makes no
/// difference, and no text is converted.
struct Form(Vec<(Vec<u8>, Vec<u8>)>);

impl Form {
    /// A name that comes twice is refused: two readers could take two values for it.
    fn read(body: &[u8]) -> Result<Self, NotGenuine> {
        let decode = |text: &[u8]| -> Vec<u8> {
            let spaced: Vec<u8> = text.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
            percent_decode(&spaced).collect()
        };
        let mut fields: Vec<_> = body
            .split(|&b| b == b'&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let equals = pair.iter().position(|&b| b == b'=').unwrap_or(pair.len());
                (decode(&pair[..equals]), decode(pair.get(equals + 1..).unwrap_or_default()))
            })
            .collect();
        fields.sort_unstable();
        if fields.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(unreadable("a field comes twice"));
        }
        Ok(Self(fields))
    }

    /// A field's value where it is there, not empty, and ASCII.
    fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(field, _)| field.as_slice().cmp(name.as_bytes())).ok()?;
        std::str::from_utf8(&self.0[at].1).ok().filter(|text| !text.is_empty())
    }

    /// What a message says, opened where it came encrypted (alipay §5, §15).
    fn biz_content(&self, settings: &Settings) -> Option<String> {
        let text = self.text("biz_content")?;
        match self.text("encrypt_type") {
            Some("AES") => settings.content_key.as_ref()?.open(text),
            Some(_) => None,
            None => Some(text.to_owned()),
        }
    }

    /// Families of messages differ in what they sign: most leave `sign_type` out, some keep it, and `alipay_cert_sn` is
    /// left out like `sign`. Each other field is signed in every form, so trying them in turn gives nothing away.
    fn verify(&self, settings: &Settings) -> Result<(), NotGenuine> {
        let sign = self.text("sign").ok_or(NotGenuine::Unsigned)?;
        let cert_sn = self.text("alipay_cert_sn");
        let key = settings.verifying.key_for(cert_sn).ok_or(NotGenuine::BadSignature)?;
        let forms: [&[&str]; 2] = [&["sign", "sign_type", "alipay_cert_sn"], &["sign", "alipay_cert_sn"]];
        let genuine = forms.iter().any(|left_out| key.verifies(&self.signed(left_out), sign));
        if genuine { Ok(()) } else { Err(NotGenuine::BadSignature) }
    }

    /// `name=value` joined by `&`, without empty values and without the fields `left_out`.
    fn signed(&self, left_out: &[&str]) -> Vec<u8> {
        let mut text = Vec::with_capacity(1024);
        for (name, value) in &self.0 {
            if value.is_empty() || left_out.iter().any(|out| out.as_bytes() == name) {
                continue;
            }
            if !text.is_empty() {
                text.push(b'&');
            }
            text.extend_from_slice(name);
            text.push(b'=');
            text.extend_from_slice(value);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
    use serde_json::Value;

    use super::*;
    use crate::{
        fixtures,
        keys::{AlipayKey, Verifying},
    };

    fn form_body(name: &str) -> Vec<u8> {
        fixtures::vector("notifications", name)["form_body"].as_str().unwrap().as_bytes().to_vec()
    }

    /// A form of these fields, as a sender writes it, signed as Alipay does over all of them but `sign_type`.
    fn signed(fields: &[(&str, &[u8])]) -> Vec<u8> {
        let mut sorted: Vec<_> = fields.iter().filter(|(name, _)| *name != "sign_type").collect();
        sorted.sort_unstable();
        let text = sorted.iter().map(|(name, value)| [name.as_bytes(), b"=", value].concat()).collect::<Vec<_>>();
        let sign = fixtures::alipay_signing_key().sign(&text.join(&b'&')).unwrap();
        let field = |name: &str, value: &[u8]| format!("{name}={}", percent_encode(value, NON_ALPHANUMERIC));
        let mut body: Vec<_> = fields.iter().map(|(name, value)| field(name, value)).collect();
        body.push(field("sign", sign.as_bytes()));
        body.join("&").into_bytes()
    }

    fn hint_of(event_id: &str, request_no: &str, sums: Option<(&str, &str)>) -> Notification {
        let yuan = |yuan: &str| Money::parse_yuan(yuan).unwrap();
        Notification::Hint {
            event_id: EventId::parse(event_id).unwrap(),
            order_no: OrderNo::parse("T20250101000001").unwrap(),
            request_no: Some(WalletRequestNo::parse(request_no).unwrap()),
            total: sums.map(|sums| yuan(sums.0)),
            refunded: sums.map(|sums| yuan(sums.1)),
        }
    }

    fn bounced(event_id: &str, request_no: &str) -> Notification {
        Notification::Bounced {
            event_id: EventId::parse(event_id).unwrap(),
            order_no: OrderNo::parse("T20250101000001").unwrap(),
            request_no: WalletRequestNo::parse(request_no).unwrap(),
        }
    }

    #[test]
    fn a_bank_that_sends_money_back_is_told_apart_from_one_that_took_it_in_the_clear_and_sealed() {
        let message = |status: &str| {
            format!(r#"{{"out_trade_no":"T20250101000001","out_request_no":"R-1","dback_status":"{status}"}}"#)
        };
        let settings = fixtures::encrypting_settings();
        let key = settings.content_key.as_ref().unwrap();
        for (status, expected) in [("F", bounced("n-1", "R-1")), ("S", hint_of("n-1", "R-1", None))] {
            let fields = |extra: &[(&'static str, Vec<u8>)]| {
                let mut all: Vec<(&str, Vec<u8>)> = NEWS.iter().map(|(name, value)| (*name, value.to_vec())).collect();
                all.push(("msg_method", DEPOSIT_BACK.as_bytes().to_vec()));
                all.extend_from_slice(extra);
                let all: Vec<(&str, &[u8])> = all.iter().map(|(name, value)| (*name, value.as_slice())).collect();
                signed(&all)
            };
            let plain = fields(&[("biz_content", message(status).into_bytes())]);
            assert_eq!(open(&settings, &plain), Ok(expected.clone()));
            let sealed = key.seal(&message(status)).unwrap().into_bytes();
            let sealed = fields(&[("biz_content", sealed), ("encrypt_type", b"AES".to_vec())]);
            assert_eq!(open(&settings, &sealed), Ok(expected));
            assert_eq!(open(&fixtures::settings(), &sealed), Err(unreadable("no biz_content")));
        }
    }

    #[test]
    fn the_notifications_of_the_vectors_become_hints_and_the_altered_one_is_refused() {
        for settings in [fixtures::settings(), fixtures::certificate_settings()] {
            for (name, expected) in [
                (
                    "partial_refund",
                    Ok(hint_of("2025010100222105321000000000000001", "R20250101000001_1", Some(("50.00", "20.00")))),
                ),
                (
                    "full_refund_closes_trade",
                    Ok(hint_of("2025010100222110001000000000000002", "R20250101000001_2", Some(("50.00", "50.00")))),
                ),
                ("deposit_back_failed_message", Ok(bounced("2025010100262105321000000000000003", "R20250101000001_1"))),
                ("tampered_amount", Err(NotGenuine::BadSignature)),
            ] {
                assert_eq!(open(&settings, &form_body(name)), expected, "{name}");
            }
        }
    }

    #[test]
    fn two_real_notifications_of_2019_are_genuine() {
        let published = fixtures::published();
        for (at, file, app_id) in [
            (1, "alipay_nodejs_notify_public_key_v1.pem", "2019073166072302"),
            (2, "alipay_nodejs_notify_public_key_v2.pem", "2017122801303261"),
        ] {
            let params = published["vectors"][at]["params"].as_object().unwrap();
            let field = |(name, value): (&String, &Value)| {
                format!("{name}={}", utf8_percent_encode(value.as_str().unwrap(), NON_ALPHANUMERIC))
            };
            let body = params.iter().map(field).collect::<Vec<_>>().join("&");
            let mut settings = fixtures::settings();
            settings.verifying =
                Verifying::PublicKey(AlipayKey::read(&fixtures::text(file), &fixtures::app_key()).unwrap().into());
            settings.seller_id = None;
            assert_eq!(open(&settings, body.as_bytes()), Err(NotGenuine::OtherAccount));
            settings.app_id = app_id.to_owned();
            let event_id = EventId::parse(params["notify_id"].as_str().unwrap()).unwrap();
            assert_eq!(open(&settings, body.as_bytes()), Ok(Notification::Other { event_id }));
            assert_eq!(
                open(&settings, body.replace("version=1", "version=2").as_bytes()),
                Err(NotGenuine::BadSignature)
            );
        }
    }

    const NEWS: [(&str, &[u8]); 6] = [
        ("app_id", b"2021000000000001"),
        ("notify_id", b"n-1"),
        ("seller_id", b"2088000000000001"),
        ("sign_type", b"RSA2"),
        ("out_trade_no", b"T20250101000001"),
        ("trade_status", b"TRADE_SUCCESS"),
    ];

    fn with(changes: &[(&'static str, &'static [u8])]) -> Vec<u8> {
        let mut fields = NEWS.to_vec();
        for change in changes {
            match fields.iter_mut().find(|field| field.0 == change.0) {
                Some(field) => *field = *change,
                None => fields.push(*change),
            }
        }
        signed(&fields)
    }

    #[test]
    fn genuine_news_is_sorted_by_what_it_speaks_of() {
        let settings = fixtures::settings();
        let event_id = EventId::parse("n-1").unwrap();
        let order_no = OrderNo::parse("T20250101000001").unwrap();
        let hint = |request_no: Option<&str>, refunded: Option<&str>| {
            let request_no = request_no.map(|text| WalletRequestNo::parse(text).unwrap());
            let refunded = refunded.map(|yuan| Money::parse_yuan(yuan).unwrap());
            let (event_id, order_no) = (event_id.clone(), order_no.clone());
            Ok(Notification::Hint { event_id, order_no, request_no, total: None, refunded })
        };
        for (changes, expected) in [
            (&[][..], Ok(Notification::Other { event_id: event_id.clone() })),
            (&[("refund_fee", &b"1.00"[..]), ("out_biz_no", b"R-1")], hint(Some("R-1"), Some("1.00"))),
            (&[("gmt_refund", b"2025-01-01 10:53:21.123")], hint(None, None)),
            (&[("refund_fee", b"1.00"), ("out_biz_no", "外".as_bytes())], hint(None, Some("1.00"))),
            (&[("app_id", b"2021000000000002")], Err(NotGenuine::OtherAccount)),
            (&[("seller_id", b"2088000000000002")], Err(NotGenuine::OtherAccount)),
            (&[("refund_fee", b"1.00"), ("out_trade_no", b"has space")], Err(unreadable("no out_trade_no"))),
            (&[("notify_id", b"has space")], Err(unreadable("no notify_id"))),
            (&[("msg_method", DEPOSIT_BACK.as_bytes())], Err(unreadable("no biz_content"))),
        ] {
            assert_eq!(open(&settings, &with(changes)), expected, "{changes:?}");
        }
    }

    #[test]
    fn a_notification_in_gbk_is_verified_over_its_own_bytes() {
        // 咖啡 in GBK; 0x5C inside a character is no backslash, and 0x26 none of ours
        let gbk: &[u8] = &[0xBF, 0xA7, 0xB7, 0xC8, 0x81, 0x5C];
        let body = with(&[("charset", b"gbk"), ("subject", gbk), ("refund_fee", b"1.00")]);
        assert!(matches!(open(&fixtures::settings(), &body), Ok(Notification::Hint { .. })));
    }

    #[test]
    fn a_second_value_for_a_field_is_refused() {
        let settings = fixtures::settings();
        let body = String::from_utf8(with(&[("refund_fee", b"1.00")])).unwrap();
        for extra in ["out_trade_no=T2", "out%5Ftrade%5Fno=T2", "sign=x", "sign_type=RSA2", "trade_status="] {
            for body in [format!("{extra}&{body}"), format!("{body}&{extra}")] {
                let result = open(&settings, body.as_bytes());
                assert_eq!(result, Err(unreadable("a field comes twice")), "{extra}");
            }
        }
    }

    #[test]
    fn what_is_not_signed_by_alipay_is_refused() {
        let settings = fixtures::settings();
        let good = String::from_utf8(with(&[])).unwrap();
        assert!(open(&settings, good.as_bytes()).is_ok());
        for (body, expected) in [
            (String::new(), NotGenuine::Unsigned),
            ("app_id=2021000000000001".to_owned(), NotGenuine::Unsigned),
            (good.replace("sign=", "sing="), NotGenuine::Unsigned),
            (good.replace("TRADE%5FSUCCESS", "TRADE%5FCLOSED"), NotGenuine::BadSignature),
            (format!("{good}&refund_fee=1.00"), NotGenuine::BadSignature),
            ("sign=AAAA&app_id=2021000000000001".to_owned(), NotGenuine::BadSignature),
            ("sign=%FF%&%%%&=&==".to_owned(), NotGenuine::Unreadable("a field comes twice".to_owned())),
            ("sign=%25&%%%&==".to_owned(), NotGenuine::BadSignature),
        ] {
            assert_eq!(open(&settings, body.as_bytes()), Err(expected), "{body}");
        }
    }

    #[test]
    fn a_certificate_that_we_do_not_hold_verifies_nothing() {
        let settings = fixtures::certificate_settings();
        let body = String::from_utf8(with(&[])).unwrap();
        let held = format!("{body}&alipay_cert_sn=faf7b16f785ed0a495670d8a8e805de3");
        assert!(open(&settings, held.as_bytes()).is_ok());
        let other = format!("{body}&alipay_cert_sn=00000000000000000000000000000000");
        assert_eq!(open(&settings, other.as_bytes()), Err(NotGenuine::BadSignature));
    }
}

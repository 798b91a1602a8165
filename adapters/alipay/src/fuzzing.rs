//! What must hold for any bytes from outside, a function a parser. `fuzz/` calls them with what libFuzzer makes up; the tests
//! below with the seeds and every finding there was (`fuzz/seeds`), so that they hold in the ordinary build, too.
//!
//! Each panics where its promise is broken. Numbers and keys are those of `fixtures/wire/alipay`.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write as _},
    sync::LazyLock,
};

use encoding_rs::GBK;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use scanback_wallet::{
    Asked, Bill, Money, NotGenuine, Notification, OrderNumber, Outcome, PaymentResult, RefundCall, VoidCall,
};
use serde_json::{Value, value::RawValue};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    AlipayKey, AppKey, Certificates, ContentKey, Settings, answer, bill, fixtures, notify, payer, query, refund, void,
};

const REFUND: &str = "alipay.trade.refund";
/// More of an archive is not unpacked here, so that a run stays small.
const MAX_UNPACKED: u64 = 1 << 20;

/// One application, its refund, and Alipay's half of the key.
struct Wire {
    settings: Settings,
    call: RefundCall,
    alipays: AppKey,
}

static WIRE: LazyLock<Wire> = LazyLock::new(|| Wire {
    settings: fixtures::settings(),
    call: fixtures::refund_call(),
    alipays: fixtures::alipay_signing_key(),
});

/// The fields of a notification, `name=value` a line, signed as Alipay signs: genuine whatever stands in them, read as they
/// say, and no longer genuine once one of them is another.
pub fn notification(bytes: &[u8]) {
    let _ = notify::open(&WIRE.settings, bytes); // a form as it comes, its signature with it
    let mut fields: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    for line in bytes.split(|b| *b == b'\n') {
        let (name, value) = line.split_at(line.iter().position(|b| *b == b'=').unwrap_or(line.len()));
        let value = value.get(1..).unwrap_or_default();
        if !value.is_empty() && ![&b"sign"[..], b"sign_type", b"alipay_cert_sn"].contains(&name) {
            fields.insert(name, value);
        }
    }
    let signed: Vec<Vec<u8>> = fields.iter().map(|(name, value)| [*name, b"=", value].concat()).collect();
    let Some(sign) = WIRE.alipays.sign(&signed.join(&b'&')) else { return };
    let opened = notify::open(&WIRE.settings, &form(&fields, &sign));
    assert!(
        !matches!(opened, Err(NotGenuine::BadSignature | NotGenuine::Unsigned)),
        "genuine, and refused: {opened:?}"
    );
    let text = |name: &str| std::str::from_utf8(fields.get(name.as_bytes()).copied().unwrap_or_default()).unwrap_or("");
    if let Ok(Notification::Hint { order_no, total, refunded, .. }) = &opened
        && text("msg_method").is_empty()
    {
        let yuan = |name: &str| Money::parse_yuan(text(name)).ok();
        assert_eq!(
            (order_no.as_str(), *total, *refunded),
            (text("out_trade_no"), yuan("total_amount"), yuan("refund_fee"))
        );
    }
    if let Some(mut last) = fields.last_entry() {
        let altered = [*last.get(), b"0"].concat();
        last.insert(&altered);
        assert_eq!(notify::open(&WIRE.settings, &form(&fields, &sign)), Err(NotGenuine::BadSignature));
    }
}

/// An answer, as it comes and as the node of one that Alipay signed: what is opened is the signed text to the byte, no other
/// is, and it proves nothing but what was asked.
pub fn answer(bytes: &[u8]) {
    let verifying = &WIRE.settings.verifying;
    if let Ok(node) = answer::open(verifying, REFUND, bytes) {
        assert!(bytes.as_ptr_range().contains(&node.as_ptr()), "the node is a copy");
        reads(node);
    }
    let _ = answer::other_certificate(verifying, REFUND, bytes);
    let _ = answer::unproven(REFUND, bytes);
    let Ok(node) = serde_json::from_slice::<&RawValue>(bytes).map(RawValue::get) else { return };
    let Some(sign) = WIRE.alipays.sign(node.as_bytes()) else { return };
    let around = |node: &str| format!(r#"{{"sign":"{sign}", "alipay_trade_refund_response" : {node} }}"#);
    assert_eq!(answer::open(verifying, REFUND, around(node).as_bytes()), Ok(node));
    assert!(answer::open(verifying, REFUND, around(&format!("[{node}]")).as_bytes()).is_err(), "another node is taken");
    reads(node);
}

/// What a proven node may say.
fn reads(node: &str) {
    let call = &WIRE.call;
    let said: Value = serde_json::from_str(node).unwrap_or_default();
    match refund::read(call, node) {
        Outcome::Done(record) => {
            assert!(said["code"] == "10000" && said["fund_change"] == "Y", "done without Y: {node}");
            assert_eq!(said["out_trade_no"], call.order.order_no.as_str());
            assert!(record.request_no == call.request_no && record.amount == call.amount, "{record:?}");
        }
        Outcome::Rejected(rejection) => assert_ne!(said["code"], "10000", "{rejection:?}"),
        Outcome::Pending(_) | Outcome::Held(_) | Outcome::Unknown(_) => {}
    }
    if let Asked::Found(record) = query::read_refund(call, node) {
        assert!(record.request_no == call.request_no && record.amount == call.amount, "{record:?}");
        assert_eq!(said["out_request_no"], call.request_no.as_str());
    }
    let number = OrderNumber::OrderNo(call.order.order_no.clone());
    if let Ok(Some(order)) = query::read_order(&number, node) {
        assert_eq!(order.order_no, call.order.order_no);
    }
    let taken_back = VoidCall {
        order: call.order.clone(),
        request_no: call.request_no.clone(),
        total: call.total,
        reason: String::new(),
        payment: PaymentResult::Unknown,
    };
    if let Outcome::Done(_) = void::read_cancel(&taken_back, node) {
        assert_eq!(said["out_trade_no"], call.order.order_no.as_str());
    }
    assert!(void::read_close(&call.order, node).is_err() || said["out_trade_no"] == call.order.order_no.as_str());
    let _ = (payer::read(node), bill::read_place(node));
}

/// An archive as it comes, and the bytes as the detail file of a good one: each row is read or named.
pub fn bills(bytes: &[u8]) {
    let Ok(day) = "2025-01-01".parse() else { return };
    let _ = bill::read_at_most(day, bytes, MAX_UNPACKED);
    let Ok(Bill::Trades(bill)) = bill::read_at_most(day, &archive(bytes), MAX_UNPACKED) else { return };
    let (text, _) = GBK.decode_without_bom_handling(bytes);
    let below = text.lines().skip_while(|line| !line.starts_with("支付宝交易号")).skip(1);
    let rows = below.map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(bill.lines.len() + bill.unread.len(), rows.count(), "a row is lost without a word");
}

/// A text where a key or a certificate should be. Errors hold fixed words only, so none can show it.
pub fn key_texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    static OURS: LazyLock<(AppKey, [String; 3])> = LazyLock::new(|| {
        (fixtures::app_key(), ["app_cert.pem", "alipay_cert.pem", "alipay_root_cert.pem"].map(fixtures::text))
    });
    let (key, [app, alipay, root]) = &*OURS;
    if let Ok(read) = AppKey::read(text) {
        assert_eq!(format!("{read:?}"), "AppKey(hidden)");
    }
    let _ = (AlipayKey::read(text, key), ContentKey::read(text));
    let _ = (Certificates::read(text, alipay, root, key), Certificates::read(app, alipay, text, key));
    let _ = Certificates::read(app, text, root, key);
}

fn form(fields: &BTreeMap<&[u8], &[u8]>, sign: &str) -> Vec<u8> {
    let field = |name: &[u8], value: &[u8]| {
        format!("{}={}", percent_encode(name, NON_ALPHANUMERIC), percent_encode(value, NON_ALPHANUMERIC))
    };
    let mut pairs: Vec<String> = fields.iter().map(|(name, value)| field(name, value)).collect();
    pairs.push(field(b"sign", sign.as_bytes()));
    pairs.join("&").into_bytes()
}

fn archive(file: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("detail.csv", SimpleFileOptions::default().compression_method(CompressionMethod::Stored)).unwrap();
    zip.write_all(file).unwrap();
    zip.finish().unwrap().into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_hold_holds_for_the_seeds_and_for_all_that_was_found() {
        scanback_wallet::conformance::replay(&[
            ("alipay_notification", notification),
            ("alipay_answer", answer),
            ("alipay_bills", bills),
            ("alipay_keys", key_texts),
        ]);
    }
}

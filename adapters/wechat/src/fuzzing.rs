//! What must hold for any bytes from outside, a function a parser. `fuzz/` calls them with what libFuzzer makes up; the tests
//! below with the seeds and every finding there was (`fuzz/seeds`), so that they hold in the ordinary build, too.
//!
//! Each panics where its promise is broken. Numbers and keys are those of `fixtures/wire/wechat`.

use std::sync::LazyLock;

use aws_lc_rs::{aead, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use scanback_wallet::{
    Asked, Bill, BillKind, NotGenuine, Notification, OrderNumber, Outcome, PayerOf, PaymentResult, RefundCall,
    VoidCall, WalletError,
};
use serde_json::{Value, json};

use crate::{
    ApiV2Key, ApiV3Key, Certificate, KeyError, MerchantKey, SignType, Verifiers,
    account::Account,
    bill,
    client::Answer,
    fixtures, keys, notify, payer, query, refund,
    verify::{Distrust, SignatureHeaders},
    void, xml,
};

/// One merchant, its keys and the wallet's, its refund.
struct Wire {
    account: Account,
    secret: String,
    key: ApiV3Key,
    verifiers: Verifiers,
    call: RefundCall,
}

static WIRE: LazyLock<Wire> = LazyLock::new(|| {
    let secret = fixtures::text(&fixtures::vectors()["params"]["apiv3_key"]).to_owned();
    let key = ApiV3Key::from_text(&secret).unwrap();
    let (account, verifiers, call) = (fixtures::account(), fixtures::verifiers(), fixtures::refund_call());
    Wire { account, secret, key, verifiers, call }
});

const NONCE: &str = "fdasflkja484";
/// More of a bill is not unpacked here, so that a run stays small.
const MAX_UNPACKED: u64 = 1 << 20;

/// The headers of a message, a line each (serial, timestamp, nonce, signature), and its body below them: nobody but the
/// wallet can make a signature that is taken, whatever else fits.
pub fn signature(bytes: &[u8]) {
    let mut lines = bytes.splitn(5, |b| *b == b'\n').map(|line| std::str::from_utf8(line).unwrap_or("?"));
    let mut next = || lines.next().unwrap_or_default();
    let (serial, timestamp, nonce, signature, body) = (next(), next(), next(), next(), next());
    let header = |name: &str| match name {
        "wechatpay-serial" => Some(serial),
        "wechatpay-timestamp" => Some(timestamp),
        "wechatpay-nonce" => Some(nonce),
        "wechatpay-signature" => Some(signature),
        _ => None,
    };
    let headers = SignatureHeaders::read(header).unwrap();
    // by the clock of the message itself, so that only the signature stands in the way
    let now = headers.signed_at().and_then(|at| Timestamp::from_second(at).ok()).unwrap_or_default();
    assert!(headers.verify(body.as_bytes(), &WIRE.verifiers, now).is_err(), "a forged signature is taken");
}

/// What stands sealed in a notification: it is read as it says, and not at all once a bit of the seal has changed.
pub fn notification(bytes: &[u8]) {
    let Wire { account, key, .. } = &*WIRE;
    let _ = notify::read(account, key, bytes); // the envelope itself, as if it were signed
    // of what is skipped unread (bytes that are no text, a hundred brackets) a second reader knows nothing to compare with
    let said: Value = serde_json::from_str(&String::from_utf8_lossy(bytes)).unwrap_or_default();
    let status = said["refund_status"].as_str().unwrap_or("SUCCESS");
    let body = envelope(&format!("REFUND.{status}"), &seal(bytes));
    if let Ok(Notification::Refund { order_no, total, record, .. }) = notify::read(account, key, body.as_bytes())
        && !said.is_null()
    {
        assert_eq!(said["out_trade_no"], order_no.as_str());
        assert_eq!(said["out_refund_no"], record.request_no.as_str());
        assert_eq!(said["amount"]["refund"], record.amount.value());
        assert_eq!(total.map(|total| total.value()), said["amount"]["total"].as_i64());
        assert!([&said["mchid"], &said["sp_mchid"]].iter().any(|named| **named == *account.mchid), "another's news");
    }
    let mut altered = seal(bytes);
    altered[bytes.len() / 2] ^= 1;
    let read = notify::read(account, key, envelope("REFUND.SUCCESS", &altered).as_bytes());
    assert!(matches!(read, Err(NotGenuine::Unreadable(_))), "what was altered is read: {read:?}");
}

/// An answer: the first byte chooses its status. Without a signature it proves nothing that moves money; with one only what
/// was asked for.
pub fn answer(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    let status = [200, 204, 202, 400, 401, 403, 404, 409, 429, 500][usize::from(*first) % 10];
    for trust in [Ok(()), Err(Distrust::Unsigned), Err(Distrust::Wrong)] {
        let proven = trust.is_ok() && status < 300;
        let answer = Answer { status, trust, body: body.to_vec() };
        let Wire { account, call, .. } = &*WIRE;
        if let Outcome::Done(record) | Outcome::Pending(record) = refund::read(call, &answer) {
            assert!(proven && record.request_no == call.request_no && record.amount == call.amount, "{record:?}");
        }
        match query::read_refund(call, &answer) {
            Asked::Found(record) => {
                assert!(proven && record.request_no == call.request_no && record.amount == call.amount, "{record:?}");
            }
            Asked::NotKnown => assert!(status == 404 && answer.trust != Err(Distrust::Wrong), "absent by {status}"),
            Asked::Unknown(_) => {}
        }
        let number = OrderNumber::OrderNo(call.order.order_no.clone());
        if let Ok(Some(order)) = query::read_order(account, &number, &answer) {
            assert!(proven && order.order_no == call.order.order_no, "{order:?}");
        }
        let taken_back = VoidCall {
            order: call.order.clone(),
            request_no: call.request_no.clone(),
            total: call.total,
            reason: String::new(),
            payment: PaymentResult::Paid,
        };
        let reversed = void::read_reverse(account, &taken_back, &answer);
        assert!(!matches!(reversed, Outcome::Done(_)), "only the order itself says that it is void");
        assert!(proven || !matches!(reversed, Outcome::Pending(_)), "{reversed:?}");
        assert!(proven || void::read_close(&answer).is_err(), "closed by {status}");
        assert!(proven || bill::read_place(&answer).is_err(), "a bill's address by {status}");
    }
}

/// A document of the old API: what is read can be written and is read as the same; and nobody is named by one that the key
/// didn't sign.
pub fn xml(bytes: &[u8]) {
    if let Ok(fields) = xml::read(bytes) {
        assert_eq!(xml::read(xml::write(&fields).as_bytes()), Ok(fields));
    }
    for sign_type in [SignType::Md5, SignType::HmacSha256] {
        let key = ApiV2Key::from_text("TESTONLYv2key0123456789abcdefABC", sign_type).unwrap();
        let read = payer::read(&WIRE.account, &key, 200, bytes);
        assert!(!matches!(read, Ok(PayerOf::Payer(_) | PayerOf::NoCode)), "an unsigned answer is believed: {read:?}");
    }
}

/// A bill, packed or not: as many rows as it states, each read or named; and not read at all once a row is missing.
pub fn bills(bytes: &[u8]) {
    let Ok(file) = bill::unpack(bytes, MAX_UNPACKED) else { return };
    assert!(file.len() as u64 <= MAX_UNPACKED);
    let _ = read_bill(BillKind::Funds, &file);
    let Ok(Bill::Trades(bill)) = read_bill(BillKind::Trades, &file) else { return };
    let text = std::str::from_utf8(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let rows = lines.iter().skip(1).filter(|line| !line.trim_end().is_empty()).take_while(|line| line.starts_with('`'));
    assert_eq!(bill.lines.len() + bill.unread.len(), rows.count(), "a row is lost without a word");
    if let Some(first) = lines.iter().skip(1).position(|line| line.starts_with('`')).filter(|_| !bill.lines.is_empty())
    {
        let short: Vec<&str> =
            lines.iter().enumerate().filter(|(at, _)| *at != first + 1).map(|(_, line)| *line).collect();
        assert!(read_bill(BillKind::Trades, short.join("\n").as_bytes()).is_err(), "a missing row is not noticed");
    }
}

/// A text where a key or a certificate should be: why it is none never shows what was in it.
pub fn key_texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = ApiV2Key::from_text(text, SignType::Md5);
    let all = Certificate::all_from_pem(text);
    assert!(all.is_err() || Certificate::from_pem(text).is_ok(), "the first of the certificates is none");
    let errors: [Option<KeyError>; 5] = [
        MerchantKey::from_text(text).err(),
        Certificate::from_pem(text).err(),
        all.err(),
        keys::public_key(text).err(),
        ApiV3Key::from_text(text).err(),
    ];
    for error in errors.into_iter().flatten() {
        let shown = error.to_string();
        assert!(shown.len() <= 120, "an error shows what it was given: {shown}");
    }
}

/// As the wallet seals: the ciphertext and its tag.
fn seal(text: &[u8]) -> Vec<u8> {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, WIRE.secret.as_bytes()).unwrap();
    let key = aead::LessSafeKey::new(key);
    let nonce = aead::Nonce::try_assume_unique_for_key(NONCE.as_bytes()).unwrap();
    let mut sealed = text.to_vec();
    key.seal_in_place_append_tag(nonce, aead::Aad::from("refund"), &mut sealed).unwrap();
    sealed
}

fn envelope(event_type: &str, sealed: &[u8]) -> String {
    let resource = json!({
        "algorithm": "AEAD_AES_256_GCM",
        "nonce": NONCE,
        "associated_data": "refund",
        "ciphertext": BASE64.encode(sealed),
    });
    json!({ "id": "EV-1", "event_type": event_type, "resource": resource }).to_string()
}

/// Reads a file under the hash that it has.
fn read_bill(kind: BillKind, file: &[u8]) -> Result<Bill, WalletError> {
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, file);
    let place =
        json!({ "hash_type": "SHA1", "hash_value": hex::encode(sha1), "download_url": "https://bills.example" });
    let place = Answer { status: 200, trust: Ok(()), body: place.to_string().into_bytes() };
    bill::read(kind, "2025-01-01".parse().unwrap(), &bill::read_place(&place)?, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_hold_holds_for_the_seeds_and_for_all_that_was_found() {
        scanback_wallet::conformance::replay(&[
            ("wechat_signature", signature),
            ("wechat_notification", notification),
            ("wechat_answer", answer),
            ("wechat_xml", xml),
            ("wechat_bills", bills),
            ("wechat_keys", key_texts),
        ]);
    }
}

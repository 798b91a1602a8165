//! A refund: the request, and what the answer to it proves. Both pure. Source: wechat-pay §10; contract §4 rules 4–7.

use jiff::Timestamp;
use reqwest::Method;
use scanback_wallet::{
    Currency, Doubt, DoubtKind, Hold, HoldReason, Money, OrderNo, Outcome, Proof, RecordStatus, RefundCall,
    RefundRecord, Rejection, WalletRefundId, WalletRequestNo,
};
use serde::{Deserialize, Serialize};

use crate::{
    account::Account,
    client::{Answer, Request},
    errors::{self, Call, NotOk, Refusal, cut},
};

/// Longest reason that the payer may be shown, in characters. Source: wechat-pay §10.
const MAX_REASON: usize = 80;
/// The same for the name of goods.
const MAX_GOODS_NAME: usize = 256;

#[derive(Serialize)]
struct RefundBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_mchid: Option<&'a str>,
    out_trade_no: &'a str,
    out_refund_no: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    funds_account: Option<&'a str>,
    amount: AmountBody,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    goods_detail: Vec<GoodsBody<'a>>,
}

/// Source: wechat-pay §10. Amounts are fen.
#[derive(Serialize)]
struct GoodsBody<'a> {
    merchant_goods_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    goods_name: Option<&'a str>,
    unit_price: i64,
    refund_amount: i64,
    refund_quantity: u32,
}

#[derive(Serialize)]
struct AmountBody {
    refund: i64,
    total: i64,
    currency: Currency,
}

/// A call that WeChat Pay can only refuse, so that it is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotSent(pub(crate) &'static str);

impl NotSent {
    pub(crate) const ORDER_NO: Self = Self("the order number has not the form of one of WeChat Pay");
    pub(crate) const UNWRITABLE: Self = Self("the request can't be written");
}

/// Nothing left this process, which is as good as a refusal. It is still believed only for the only send of the number, and
/// with the wallet's word that it doesn't know the number: another release of this program may have judged otherwise.
impl From<NotSent> for Outcome {
    fn from(NotSent(detail): NotSent) -> Self {
        let (code, detail) = ("NOT_SENT".to_owned(), detail.to_owned());
        Self::Rejected(Rejection { code, detail, proof: Proof::AnswerAndAbsence })
    }
}

/// The request for `call`: the same bytes each time.
///
/// Names the order by its out_trade_no alone: the wallet's own number may be learnt between two sends, and a repeat must
/// not differ.
pub(crate) fn request(account: &Account, call: &RefundCall) -> Result<Request, NotSent> {
    if call.amount.currency() != Currency::CNY || call.total.currency() != Currency::CNY {
        return Err(NotSent("WeChat Pay refunds CNY only"));
    }
    if call.amount.is_zero() || call.amount.value() > call.total.value() {
        return Err(NotSent("the amount is zero or above what was paid"));
    }
    if !is_order_no(&call.order.order_no) {
        return Err(NotSent::ORDER_NO);
    }
    if !is_refund_no(&call.request_no) {
        return Err(NotSent("the refund number has not the form that WeChat Pay takes"));
    }
    let goods = call.goods.iter().map(|goods| {
        if !(1..=32).contains(&goods.goods_id.len()) || goods.refund_amount.currency() != Currency::CNY {
            return Err(NotSent("a part of the goods has a number that WeChat Pay doesn't take, or another currency"));
        }
        Ok(GoodsBody {
            merchant_goods_id: &goods.goods_id,
            goods_name: goods.name.as_deref().map(|name| cut(name, MAX_GOODS_NAME)),
            unit_price: goods.unit_price.value(),
            refund_amount: goods.refund_amount.value(),
            refund_quantity: goods.quantity,
        })
    });
    let body = RefundBody {
        sub_mchid: account.sub_mchid(),
        out_trade_no: call.order.order_no.as_str(),
        out_refund_no: call.request_no.as_str(),
        reason: cut(&call.reason, MAX_REASON),
        notify_url: call.notify_url.as_deref(),
        funds_account: account.funds_account.as_deref(),
        amount: AmountBody { refund: call.amount.value(), total: call.total.value(), currency: Currency::CNY },
        goods_detail: goods.collect::<Result<_, _>>()?,
    };
    let body = serde_json::to_vec(&body).map_err(|_| NotSent::UNWRITABLE)?;
    Ok(Request { body, ..Request::of("refund", Method::POST, "/v3/refund/domestic/refunds".to_owned()) })
}

/// 6–32 of digits, letters, `_ - | *`. Source: wechat-pay §8.
pub(crate) fn is_order_no(number: &OrderNo) -> bool {
    let text = number.as_str();
    (6..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'|' | b'*'))
}

/// 1–64 of digits, letters, `_ - | * @`. Source: wechat-pay §10.
pub(crate) fn is_refund_no(number: &WalletRequestNo) -> bool {
    number.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'|' | b'*' | b'@'))
}

/// What the answer to a refund proves.
pub(crate) fn read(call: &RefundCall, answer: &Answer) -> Outcome {
    if answer.status == 200 {
        return match record(call, answer) {
            Ok(record) => match record.status {
                RecordStatus::Paid | RecordStatus::Closed => Outcome::Done(record),
                RecordStatus::Taken | RecordStatus::Stuck => Outcome::Pending(record),
            },
            Err(doubt) => Outcome::Unknown(doubt),
        };
    }
    let rejected = |Refusal { code, detail, .. }, proof| Outcome::Rejected(Rejection { code, detail, proof });
    match errors::read(Call::Refund, answer) {
        NotOk::Refused(refusal) if refusal.signed => rejected(refusal, Proof::Answer),
        NotOk::Refused(refusal) => rejected(refusal, Proof::AnswerAndAbsence),
        NotOk::RefusedOrTooSoon(refusal) => rejected(refusal, Proof::AnswerAbsenceAndPace),
        NotOk::BalanceLow(refusal) => {
            Outcome::Held(Hold { reason: HoldReason::MerchantBalanceLow, detail: refusal.code })
        }
        // The table knows no absence for a refund: a missing order is a refusal.
        NotOk::Absent(refusal) | NotOk::NotYet(refusal) => {
            Outcome::Unknown(Doubt::new(DoubtKind::Inconclusive, refusal.code))
        }
        NotOk::Doubt(doubt) => Outcome::Unknown(doubt),
    }
}

/// The refund object, as far as we need it. Amounts are fen.
#[derive(Deserialize)]
struct RefundObject {
    refund_id: WalletRefundId,
    out_refund_no: String,
    out_trade_no: String,
    #[serde(default)]
    transaction_id: Option<String>,
    status: String,
    #[serde(default)]
    success_time: Option<String>,
    amount: AmountObject,
}

#[derive(Deserialize)]
struct AmountObject {
    refund: i64,
    total: i64,
    currency: String,
}

/// The wallet's record of `call` in a 200: verified, and about what we asked and nothing else.
pub(crate) fn record(call: &RefundCall, answer: &Answer) -> Result<RefundRecord, Doubt> {
    answer.proven()?;
    let unreadable = |what: &str| Doubt::new(DoubtKind::Unreadable, what);
    let object: RefundObject =
        serde_json::from_slice(&answer.body).map_err(|_| unreadable("HTTP 200 without a refund object"))?;
    let amount = &object.amount;
    let asked_transaction = call.order.transaction_id.as_ref();
    for (same, field) in [
        (object.out_refund_no == call.request_no.as_str(), "out_refund_no"),
        (object.out_trade_no == call.order.order_no.as_str(), "out_trade_no"),
        (asked_transaction.is_none_or(|id| object.transaction_id.as_deref() == Some(id.as_str())), "transaction_id"),
        (amount.refund == call.amount.value(), "amount.refund"),
        (amount.total == call.total.value(), "amount.total"),
        (amount.currency == call.amount.currency().to_string(), "amount.currency"),
    ] {
        if !same {
            return Err(unreadable(&format!("it speaks of another refund: {field} differs")));
        }
    }
    let status = status(&object.status).ok_or_else(|| unreadable("a status that is not known"))?;
    Ok(RefundRecord {
        request_no: call.request_no.clone(),
        wallet_refund_id: Some(object.refund_id),
        amount: call.amount,
        status,
        settled_at: settled_at(object.success_time.as_deref()),
        order_refunded: None, // WeChat never says it
    })
}

/// Source: wechat-pay §10, §15.
pub(crate) fn status(word: &str) -> Option<RecordStatus> {
    match word {
        "SUCCESS" => Some(RecordStatus::Paid),
        "PROCESSING" => Some(RecordStatus::Taken),
        "ABNORMAL" => Some(RecordStatus::Stuck),
        "CLOSED" => Some(RecordStatus::Closed),
        _ => None,
    }
}

/// When it was paid. A text that is no time is none: it decides nothing, and the refund is as true without it.
pub(crate) fn settled_at(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

/// Fen, as the wallet writes them.
pub(crate) fn fen(value: i64) -> Option<Money> {
    Money::fen(value).ok()
}

#[cfg(test)]
mod tests {
    use scanback_wallet::{OrderRef, RefundedGoods};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        fixtures::{self, text},
        verify::Distrust,
    };

    fn call() -> RefundCall {
        fixtures::refund_call()
    }

    fn request(call: &RefundCall) -> Result<Request, NotSent> {
        super::request(&fixtures::account(), call)
    }

    /// The recorded answer, with some of it replaced.
    fn answer(change: impl FnOnce(&mut Value)) -> Answer {
        let vectors = fixtures::vectors();
        let mut body: Value = serde_json::from_str(text(&vectors["response_verification"][0]["body"])).unwrap();
        change(&mut body);
        Answer { status: 200, trust: Ok(()), body: body.to_string().into_bytes() }
    }

    fn refusal(status: u16, code: &str, trust: Result<(), Distrust>) -> Answer {
        Answer { status, trust, body: json!({"code": code, "message": "原因"}).to_string().into_bytes() }
    }

    #[test]
    fn the_request_is_the_recorded_one_byte_for_byte() {
        let vectors = fixtures::vectors();
        let case = &vectors["request_signing"][2];
        let request = request(&call()).unwrap();
        assert_eq!(request.method, Method::POST);
        assert_eq!(request.target, text(&case["path_and_query"]));
        assert_eq!(String::from_utf8(request.body).unwrap(), text(&case["body"]));
    }

    #[test]
    fn a_repeat_is_the_same_though_the_wallets_number_was_learnt_between() {
        let mut without = call();
        without.order.transaction_id = None;
        assert_eq!(request(&without), request(&call()));
    }

    #[test]
    fn a_long_reason_is_cut_to_80_characters_and_an_empty_one_left_out() {
        let mut long = call();
        long.reason = "退".repeat(81);
        let body: Value = serde_json::from_slice(&request(&long).unwrap().body).unwrap();
        assert_eq!(text(&body["reason"]).chars().count(), 80);
        let bare = RefundCall { reason: String::new(), notify_url: None, ..call() };
        let body: Value = serde_json::from_slice(&request(&bare).unwrap().body).unwrap();
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["amount", "out_refund_no", "out_trade_no"]);
    }

    #[test]
    fn goods_account_and_served_merchant_are_named_where_they_are_known() {
        let goods = |id: &str| RefundedGoods {
            goods_id: id.to_owned(),
            name: Some("杯".repeat(300)),
            unit_price: Money::fen(1000).unwrap(),
            refund_amount: Money::fen(2000).unwrap(),
            quantity: 2,
        };
        let account = Account { funds_account: Some("AVAILABLE".to_owned()), ..fixtures::partner() };
        let sent = super::request(&account, &RefundCall { goods: vec![goods("SKU-1")], ..call() }).unwrap();
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!((text(&body["sub_mchid"]), text(&body["funds_account"])), ("1900000200", "AVAILABLE"));
        let expected = json!([{"merchant_goods_id": "SKU-1", "goods_name": "杯".repeat(256), "unit_price": 1000,
            "refund_amount": 2000, "refund_quantity": 2}]);
        assert_eq!(body["goods_detail"], expected);
        assert!(request(&RefundCall { goods: vec![goods("")], ..call() }).is_err());
    }

    #[test]
    fn what_the_wallet_can_only_refuse_is_not_sent() {
        let order = |text: &str| OrderRef { order_no: OrderNo::parse(text).unwrap(), transaction_id: None };
        let usd = |value| Money::new(value, Currency::parse("USD").unwrap()).unwrap();
        for (call, words) in [
            (RefundCall { amount: usd(2000), total: usd(5000), ..call() }, "CNY only"),
            (RefundCall { amount: Money::fen(0).unwrap(), ..call() }, "zero"),
            (RefundCall { amount: Money::fen(5001).unwrap(), ..call() }, "above"),
            (RefundCall { order: order("12345"), ..call() }, "order number"),
            (RefundCall { order: order(&"1".repeat(33)), ..call() }, "order number"),
            (RefundCall { order: order("../../certificates"), ..call() }, "order number"),
            (RefundCall { request_no: WalletRequestNo::parse("R/1").unwrap(), ..call() }, "refund number"),
        ] {
            let not_sent = request(&call).unwrap_err();
            assert!(not_sent.0.contains(words), "{not_sent:?}");
            let Outcome::Rejected(rejection) = Outcome::from(not_sent) else { panic!("{not_sent:?}") };
            assert_eq!((rejection.code.as_str(), rejection.proof), ("NOT_SENT", Proof::AnswerAndAbsence));
        }
    }

    #[test]
    fn each_status_of_a_verified_200_has_its_outcome() {
        let paid_at: Timestamp = "2025-01-01T10:55:30+08:00".parse().unwrap();
        for (word, status, done) in [
            ("SUCCESS", RecordStatus::Paid, true),
            ("CLOSED", RecordStatus::Closed, true),
            ("PROCESSING", RecordStatus::Taken, false),
            ("ABNORMAL", RecordStatus::Stuck, false),
        ] {
            let answer = answer(|body| {
                body["status"] = word.into();
                body["success_time"] = "2025-01-01T10:55:30+08:00".into();
            });
            let expected = RefundRecord {
                request_no: call().request_no,
                wallet_refund_id: Some(WalletRefundId::parse("50300000012025010100000000001").unwrap()),
                amount: Money::fen(2000).unwrap(),
                status,
                settled_at: Some(paid_at),
                order_refunded: None,
            };
            let expected = if done { Outcome::Done(expected) } else { Outcome::Pending(expected) };
            assert_eq!(read(&call(), &answer), expected, "{word}");
        }
    }

    #[test]
    fn a_200_about_anything_else_is_unknown() {
        type Change = fn(&mut Value);
        let changes: [(&str, Change); 10] = [
            ("out_refund_no", |body| body["out_refund_no"] = "R20250101000001-2".into()),
            ("out_trade_no", |body| body["out_trade_no"] = "T20250101000002".into()),
            ("transaction_id", |body| body["transaction_id"] = "4200000000202501010000000002".into()),
            ("transaction_id", |body| drop(body.as_object_mut().unwrap().remove("transaction_id"))),
            ("amount.refund", |body| body["amount"]["refund"] = 1999.into()),
            ("amount.total", |body| body["amount"]["total"] = 5001.into()),
            ("amount.currency", |body| body["amount"]["currency"] = "USD".into()),
            ("status", |body| body["status"] = "REFUNDED".into()),
            ("refund object", |body| body["amount"]["refund"] = json!(2000.0)),
            ("refund object", |body| drop(body.as_object_mut().unwrap().remove("amount"))),
        ];
        for (word, change) in changes {
            let Outcome::Unknown(doubt) = read(&call(), &answer(change)) else { panic!("{word}") };
            assert_eq!(doubt.kind, DoubtKind::Unreadable, "{word}");
            assert!(doubt.detail.contains(word), "{doubt}");
        }
    }

    #[test]
    fn a_200_that_is_not_provably_the_wallets_is_unknown() {
        for distrust in [
            Distrust::Unsigned,
            Distrust::Incomplete,
            Distrust::Wrong,
            Distrust::Probe,
            Distrust::Stale(-301),
            Distrust::UnknownSerial("6A".to_owned()),
        ] {
            let answer = Answer { trust: Err(distrust.clone()), ..answer(|body| body["status"] = "SUCCESS".into()) };
            let Outcome::Unknown(doubt) = read(&call(), &answer) else { panic!("{distrust:?}") };
            assert_eq!(doubt.kind, DoubtKind::BadSignature, "{distrust:?}");
        }
    }

    #[test]
    fn each_refusal_says_what_it_takes_to_believe_it() {
        let unsigned = || Err(Distrust::Unsigned);
        for (status, code, trust, proof) in [
            (400, "PARAM_ERROR", Ok(()), Proof::Answer),
            (400, "PARAM_ERROR", unsigned(), Proof::AnswerAndAbsence),
            (401, "SIGN_ERROR", Ok(()), Proof::Answer),
            (401, "SIGN_ERROR", unsigned(), Proof::AnswerAndAbsence),
            (403, "USER_ACCOUNT_ABNORMAL", Ok(()), Proof::Answer),
            (403, "NO_AUTH", unsigned(), Proof::AnswerAndAbsence),
            (404, "RESOURCE_NOT_EXISTS", Ok(()), Proof::Answer),
            (404, "MCH_NOT_EXISTS", unsigned(), Proof::AnswerAndAbsence),
            (404, "ORDER_NOT_EXIST", Ok(()), Proof::Answer),
            (400, "INVALID_REQUEST", Ok(()), Proof::AnswerAbsenceAndPace),
            (400, "INVALID_REQUEST", unsigned(), Proof::AnswerAbsenceAndPace),
        ] {
            let expected = Rejection { code: code.to_owned(), detail: "原因".to_owned(), proof };
            assert_eq!(read(&call(), &refusal(status, code, trust)), Outcome::Rejected(expected), "{status} {code}");
        }
    }

    #[test]
    fn too_low_a_balance_holds_only_where_it_is_signed() {
        let held = Outcome::Held(Hold { reason: HoldReason::MerchantBalanceLow, detail: "NOT_ENOUGH".to_owned() });
        assert_eq!(read(&call(), &refusal(403, "NOT_ENOUGH", Ok(()))), held);
        let Outcome::Unknown(doubt) = read(&call(), &refusal(403, "NOT_ENOUGH", Err(Distrust::Unsigned))) else {
            panic!("held without a signature")
        };
        assert_eq!(doubt.kind, DoubtKind::Inconclusive);
    }

    #[test]
    fn everything_else_is_unknown() {
        for (status, code, trust, kind) in [
            (202, "", Ok(()), DoubtKind::Inconclusive),
            (204, "", Ok(()), DoubtKind::Inconclusive),
            (307, "", Err(Distrust::Unsigned), DoubtKind::BadSignature),
            (400, "INVALID_REQUEST", Err(Distrust::Wrong), DoubtKind::BadSignature),
            (403, "RULE_LIMIT", Ok(()), DoubtKind::Inconclusive),
            (429, "FREQUENCY_LIMITED", Ok(()), DoubtKind::RateLimited),
            (500, "SYSTEM_ERROR", Ok(()), DoubtKind::WalletError),
            (502, "", Err(Distrust::Unsigned), DoubtKind::WalletError),
        ] {
            let Outcome::Unknown(doubt) = read(&call(), &refusal(status, code, trust)) else {
                panic!("{status} {code}")
            };
            assert_eq!(doubt.kind, kind, "{status} {code}");
        }
    }
}

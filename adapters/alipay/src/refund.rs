//! `alipay.trade.refund` (alipay §9).

use scanback_wallet::{
    Currency, Doubt, DoubtKind, Hold, HoldReason, Money, OrderRef, Outcome, Proof, RecordStatus, RefundCall,
    RefundRecord, Rejection,
};
use serde::{Deserialize, Serialize};

use crate::{
    beijing,
    errors::{Api, Class, Head},
    sign::Call,
};

/// The API's name.
const METHOD: &str = "alipay.trade.refund";

/// Characters that a reason may have; more are cut off.
const REASON_CHARACTERS: usize = 256;

#[derive(Serialize)]
struct Biz<'a> {
    out_trade_no: &'a str,
    refund_amount: String,
    out_request_no: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    refund_reason: &'a str,
    query_options: [&'static str; 1],
}

/// The call. The order is always named by its out_trade_no, never by both numbers: Alipay would follow the other one
/// without a word, and a repeat must not change because that one became known meanwhile.
///
/// `deposit_back_info` switches on the message that tells when a bank sends the money back (alipay §15).
pub(crate) fn request(call: &RefundCall) -> Call {
    let reason =
        call.reason.char_indices().nth(REASON_CHARACTERS).map_or(call.reason.as_str(), |(at, _)| &call.reason[..at]);
    let biz = Biz {
        out_trade_no: call.order.order_no.as_str(),
        refund_amount: call.amount.to_yuan(),
        out_request_no: call.request_no.as_str(),
        refund_reason: reason,
        query_options: ["deposit_back_info"],
    };
    Call::new(METHOD, &biz)
}

#[derive(Deserialize)]
struct Answer {
    out_trade_no: Option<String>,
    trade_no: Option<String>,
    fund_change: Option<String>,
    refund_fee: Option<String>,
    refund_currency: Option<String>,
    gmt_refund_pay: Option<String>,
}

/// What the signed node proves (contract §4 rules 4 and 5, alipay §7 and §9).
pub(crate) fn read(call: &RefundCall, node: &str) -> Outcome {
    let head = match Head::read(node) {
        Ok(head) => head,
        Err(doubt) => return Outcome::Unknown(doubt),
    };
    match head.class(Api::Trade) {
        Class::Understood => done(call, node).map_or_else(Outcome::Unknown, Outcome::Done),
        Class::BalanceLow => Outcome::Held(Hold { reason: HoldReason::MerchantBalanceLow, detail: head.code() }),
        Class::Final | Class::NoSuchTrade => {
            Outcome::Rejected(Rejection { code: head.code(), detail: head.words(), proof: Proof::Answer })
        }
        class @ (Class::Discordant
        | Class::TooMany
        | Class::Trouble
        | Class::NoBill { .. }
        | Class::NoCode
        | Class::Unlisted) => Outcome::Unknown(head.doubt(class)),
    }
}

/// The number is not echoed, and `refund_fee` is what the whole trade has refunded so far: so the order is compared, and
/// that sum can't be less than what this refund gave.
fn done(call: &RefundCall, node: &str) -> Result<RefundRecord, Doubt> {
    let answer: Answer = serde_json::from_str(node).map_err(|_| unreadable("no answer to a refund"))?;
    same_order(&call.order, answer.out_trade_no.as_deref(), answer.trade_no.as_deref())?;
    if answer.fund_change.as_deref() != Some("Y") {
        return Err(Doubt::new(DoubtKind::Inconclusive, "10000 without fund_change Y"));
    }
    if answer.refund_currency.is_some_and(|currency| currency != Currency::CNY.to_string()) {
        return Err(unreadable("the answer speaks of another currency"));
    }
    let refunded_so_far = answer.refund_fee.as_deref().and_then(|yuan| Money::parse_yuan(yuan).ok());
    match refunded_so_far {
        Some(sum) if sum.minus(call.amount).is_ok() => Ok(RefundRecord {
            request_no: call.request_no.clone(),
            wallet_refund_id: None,
            amount: call.amount,
            status: RecordStatus::Paid,
            settled_at: answer.gmt_refund_pay.as_deref().and_then(beijing::parse),
            order_refunded: Some(sum),
        }),
        Some(_) => Err(unreadable("the trade's refunds together are less than this one")),
        None => Err(unreadable("the answer names no sum")),
    }
}

/// Whether an answer speaks of this order: the out_trade_no is ours, and the other number is none but the known one.
/// # Errors
/// [`DoubtKind::Unreadable`] where it doesn't.
pub(crate) fn same_order(order: &OrderRef, out_trade_no: Option<&str>, trade_no: Option<&str>) -> Result<(), Doubt> {
    let known = order.transaction_id.as_ref().map(|id| id.as_str());
    let other_trade = matches!((known, trade_no), (Some(known), Some(named)) if known != named);
    if out_trade_no != Some(order.order_no.as_str()) || other_trade {
        return Err(unreadable("the answer speaks of another order"));
    }
    Ok(())
}

fn unreadable(detail: &str) -> Doubt {
    Doubt::new(DoubtKind::Unreadable, detail)
}

#[cfg(test)]
mod tests {
    use scanback_wallet::TransactionId;

    use super::*;
    use crate::{answer, fixtures};

    const DONE: &str = r#"{"code":"10000","msg":"Success","fund_change":"Y","out_trade_no":"T20250101000001","trade_no":"2025010122001400000000000001","refund_fee":"20.00","gmt_refund_pay":"2025-01-01 10:53:21"}"#;

    /// `Done`, or the kind of doubt.
    fn doubt(outcome: &Outcome) -> Option<DoubtKind> {
        match outcome {
            Outcome::Unknown(doubt) => Some(doubt.kind),
            _ => None,
        }
    }

    #[test]
    fn the_call_names_order_number_amount_and_reason() {
        let mut call = fixtures::refund_call();
        call.order.transaction_id = Some(TransactionId::parse("2025010122001400000000000001").unwrap());
        let built = request(&call);
        assert_eq!(built.method, "alipay.trade.refund");
        assert_eq!(
            built.biz_content(),
            r#"{"out_trade_no":"T20250101000001","refund_amount":"20.00","out_request_no":"R20250101000001_1","refund_reason":"商品已售完","query_options":["deposit_back_info"]}"#
        );
    }

    #[test]
    fn a_long_reason_is_cut_to_256_characters_and_an_empty_one_left_out() {
        let mut call = fixtures::refund_call();
        for (reason, kept) in [("杯☕".repeat(200), "杯☕".repeat(128)), ("杯".repeat(256), "杯".repeat(256))] {
            call.reason = reason;
            let biz: serde_json::Value = serde_json::from_str(request(&call).biz_content()).unwrap();
            assert_eq!(biz["refund_reason"], kept);
        }
        call.reason.clear();
        assert!(!request(&call).biz_content().contains("refund_reason"));
    }

    #[test]
    fn the_answers_of_the_vectors_prove_what_they_should() {
        let call = fixtures::refund_call();
        let verifying = fixtures::settings().verifying;
        let outcome = |name: &str| {
            let entry = fixtures::vector("responses", name);
            match answer::open(&verifying, METHOD, entry["body"].as_str().unwrap().as_bytes()) {
                Ok(node) => read(&call, node),
                Err(doubt) => Outcome::Unknown(doubt),
            }
        };
        let paid = RefundRecord {
            request_no: call.request_no.clone(),
            wallet_refund_id: None,
            amount: call.amount,
            status: RecordStatus::Paid,
            settled_at: Some("2025-01-01T02:53:21Z".parse().unwrap()),
            order_refunded: Some(call.amount),
        };
        assert_eq!(outcome("refund_done"), Outcome::Done(paid.clone()));
        assert_eq!(outcome("certificate_mode_cert_sn_before_sign"), Outcome::Done(paid));
        assert_eq!(doubt(&outcome("refund_repeated_same_request_no")), Some(DoubtKind::Inconclusive));
        assert_eq!(
            outcome("refund_business_failure"),
            Outcome::Held(Hold {
                reason: HoldReason::MerchantBalanceLow,
                detail: "ACQ.SELLER_BALANCE_NOT_ENOUGH".to_owned()
            })
        );
        assert_eq!(
            outcome("error_response"),
            Outcome::Rejected(Rejection {
                code: "isv.invalid-signature".to_owned(),
                detail: "无效签名".to_owned(),
                proof: Proof::Answer
            })
        );
        assert_eq!(doubt(&outcome("system_busy_unknown")), Some(DoubtKind::WalletError));
        assert_eq!(doubt(&outcome("aes_encrypted_response_quotes_are_signed")), Some(DoubtKind::Unreadable));
        assert_eq!(doubt(&outcome("tampered")), Some(DoubtKind::BadSignature));
    }

    #[test]
    fn a_success_counts_only_for_this_order_and_at_least_this_amount() {
        let mut call = fixtures::refund_call();
        call.order.transaction_id = Some(TransactionId::parse("2025010122001400000000000001").unwrap());
        assert!(matches!(read(&call, DONE), Outcome::Done(_)));
        for (from, to, expected) in [
            (r#""refund_fee":"20.00""#, r#""refund_fee":"50.00""#, None),
            (r#""gmt_refund_pay":"2025-01-01 10:53:21""#, r#""gmt_refund_pay":"soon""#, None),
            (r#""gmt_refund_pay""#, r#""refund_currency":"CNY","gmt_refund_pay""#, None),
            (r#""refund_fee":"20.00""#, r#""refund_fee":"19.99""#, Some(DoubtKind::Unreadable)),
            (r#""refund_fee":"20.00""#, r#""refund_fee":20.00"#, Some(DoubtKind::Unreadable)),
            (r#""refund_fee":"20.00""#, r#""refund_fee":"-20.00""#, Some(DoubtKind::Unreadable)),
            (r#""refund_fee":"20.00","#, "", Some(DoubtKind::Unreadable)),
            ("T20250101000001", "T20250101000002", Some(DoubtKind::Unreadable)),
            (r#""out_trade_no":"T20250101000001","#, "", Some(DoubtKind::Unreadable)),
            ("2025010122001400000000000001", "2025010122001400000000000002", Some(DoubtKind::Unreadable)),
            (r#""gmt_refund_pay""#, r#""refund_currency":"USD","gmt_refund_pay""#, Some(DoubtKind::Unreadable)),
            (r#""fund_change":"Y""#, r#""fund_change":"N""#, Some(DoubtKind::Inconclusive)),
            (r#""fund_change":"Y""#, r#""fund_change":"y""#, Some(DoubtKind::Inconclusive)),
            (r#""fund_change":"Y","#, "", Some(DoubtKind::Inconclusive)),
            (r#""fund_change":"Y""#, r#""fund_change":"N","fund_change":"Y""#, Some(DoubtKind::Unreadable)),
            (r#""code":"10000""#, r#""code":10000"#, Some(DoubtKind::Unreadable)),
            (r#""code":"10000""#, r#""code":"10003""#, Some(DoubtKind::Inconclusive)),
        ] {
            assert!(DONE.contains(from), "{from}");
            let outcome = read(&call, &DONE.replacen(from, to, 1));
            assert_eq!(doubt(&outcome), expected, "{to}: {outcome:?}");
            assert_eq!(expected.is_none(), matches!(outcome, Outcome::Done(_)), "{to}");
        }
    }

    #[test]
    fn each_refusal_has_its_one_outcome() {
        let call = fixtures::refund_call();
        for (code, sub_code, expected) in [
            ("40004", "ACQ.TRADE_NOT_EXIST", "rejected"),
            ("40004", "ACQ.TRADE_NOT_ALLOW_REFUND", "rejected"),
            ("40004", "ACQ.REASON_TRADE_REFUND_FEE_ERR", "rejected"),
            ("40004", "ACQ.TRADE_HAS_CLOSE", "rejected"),
            ("40006", "isv.insufficient-isv-permissions", "rejected"),
            ("20001", "aop.app-auth-token-time-out", "rejected"),
            ("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", "held"),
            ("40004", "ACQ.DISCORDANT_REPEAT_REQUEST", "inconclusive"),
            ("40004", "ACQ.SYSTEM_ERROR", "wallet_error"),
            ("20000", "ACQ.SYSTEM_ERROR", "wallet_error"),
            ("20000", "isp.unknow-error", "wallet_error"),
            ("40004", "aop.ACQ.SYSTEM_ERROR", "wallet_error"),
            ("40004", "ACQ.NEVER_HEARD_OF", "inconclusive"),
            ("40002", "isv.app-call-limited", "rate_limited"),
        ] {
            let node =
                format!(r#"{{"code":"{code}","msg":"m","sub_code":"{sub_code}","sub_msg":"s","fund_change":"Y"}}"#);
            let word = match read(&call, &node) {
                Outcome::Rejected(rejection) => {
                    assert_eq!((rejection.code.as_str(), rejection.proof), (sub_code, Proof::Answer));
                    "rejected"
                }
                Outcome::Held(_) => "held",
                Outcome::Unknown(doubt) => doubt.kind.as_str(),
                other => panic!("{other:?}"),
            };
            assert_eq!(word, expected, "{code} {sub_code}");
        }
    }
}

//! Taking a whole payment back, and closing an order that nobody paid (alipay §11, §12; contract §4 rule 12).
//!
//! A paid order is taken back by a full refund, and its record is that refund's. `alipay.trade.cancel` is for a payment
//! whose own result nobody knows.

use scanback_wallet::{
    Asked, Doubt, DoubtKind, Hold, HoldReason, OrderRef, Outcome, Proof, RecordStatus, RefundRecord, Rejection,
    VoidCall, WalletError, WalletOrder, WalletOrderState,
};
use serde::{Deserialize, Serialize};

use crate::{
    errors::{Api, Class, Head},
    refund::same_order,
    sign::Call,
};

#[derive(Serialize)]
struct Biz<'a> {
    out_trade_no: &'a str,
}

/// The cancel of a payment of unknown result. The order's number is all that it has; a repeat is the same.
pub(crate) fn cancel_request(order: &OrderRef) -> Call {
    Call::new("alipay.trade.cancel", &Biz { out_trade_no: order.order_no.as_str() })
}

/// Closes an unpaid order.
pub(crate) fn close_request(order: &OrderRef) -> Call {
    Call::new("alipay.trade.close", &Biz { out_trade_no: order.order_no.as_str() })
}

#[derive(Deserialize)]
struct Answer {
    out_trade_no: Option<String>,
    trade_no: Option<String>,
    retry_flag: Option<String>,
    action: Option<String>,
}

/// What the signed node proves about a cancel.
pub(crate) fn read_cancel(call: &VoidCall, node: &str) -> Outcome {
    let head = match Head::read(node) {
        Ok(head) => head,
        Err(doubt) => return Outcome::Unknown(doubt),
    };
    match head.class(Api::Cancel) {
        Class::Understood => cancelled(call, node).map_or_else(Outcome::Unknown, Outcome::Done),
        Class::BalanceLow => Outcome::Held(Hold { reason: HoldReason::MerchantBalanceLow, detail: head.code() }),
        Class::Final | Class::NoSuchTrade => {
            Outcome::Rejected(Rejection { code: head.code(), detail: head.words(), proof: Proof::Answer })
        }
        class => Outcome::Unknown(head.doubt(class)),
    }
}

/// `action` alone says what happened: without it nothing was found or nothing was done, and `retry_flag` `Y` asks for the
/// same call again.
fn cancelled(call: &VoidCall, node: &str) -> Result<RefundRecord, Doubt> {
    let unreadable = |what: &str| Doubt::new(DoubtKind::Unreadable, what);
    let inconclusive = |what: &str| Doubt::new(DoubtKind::Inconclusive, what);
    let answer: Answer = serde_json::from_str(node).map_err(|_| unreadable("no answer to a cancel"))?;
    same_order(&call.order, answer.out_trade_no.as_deref(), answer.trade_no.as_deref())?;
    if answer.retry_flag.as_deref() == Some("Y") {
        return Err(inconclusive("retry_flag Y: the same call is to be made again"));
    }
    let status = match answer.action.as_deref() {
        Some("refund") => RecordStatus::Paid,
        Some("close") => RecordStatus::Closed,
        _ => return Err(inconclusive("10000 without an action: no such trade was found, or nothing was done")),
    };
    Ok(record(call, status))
}

/// What the order says about a cancel whose answer nobody has.
pub(crate) fn judge(call: &VoidCall, order: Result<Option<WalletOrder>, WalletError>) -> Asked {
    let doubt = |kind, what: &str| Asked::Unknown(Doubt::new(kind, what));
    let order = match order {
        Ok(Some(order)) => order,
        Ok(None) => return Asked::NotKnown,
        Err(WalletError::Doubt(doubt)) => return Asked::Unknown(doubt),
        Err(error) => return doubt(DoubtKind::Inconclusive, &error.to_string()),
    };
    if order.amount.is_some_and(|amount| amount != call.total) {
        return doubt(DoubtKind::Unreadable, "the order has another amount");
    }
    match order.state {
        // closed is one of two things: never paid, or paid and paid back in full (alipay §8)
        WalletOrderState::Closed if order.paid_at.is_some() => Asked::Found(record(call, RecordStatus::Paid)),
        WalletOrderState::Closed => Asked::Found(record(call, RecordStatus::Closed)),
        WalletOrderState::Voided => Asked::Found(record(call, RecordStatus::Paid)),
        WalletOrderState::Paid | WalletOrderState::Unpaid | WalletOrderState::RefundExists => Asked::NotKnown,
        WalletOrderState::Finished => doubt(DoubtKind::Inconclusive, "the order is finished"),
    }
}

fn record(call: &VoidCall, status: RecordStatus) -> RefundRecord {
    RefundRecord {
        request_no: call.request_no.clone(),
        wallet_refund_id: None,
        amount: call.total,
        status,
        settled_at: None,
        order_refunded: None,
    }
}

/// Whether the signed node says that the order is closed.
pub(crate) fn read_close(order: &OrderRef, node: &str) -> Result<(), WalletError> {
    let head = Head::read(node)?;
    match head.class(Api::Close) {
        Class::Understood => {
            let answer: Answer =
                serde_json::from_str(node).map_err(|_| Doubt::new(DoubtKind::Unreadable, "no answer to a close"))?;
            Ok(same_order(order, answer.out_trade_no.as_deref(), answer.trade_no.as_deref())?)
        }
        Class::Final | Class::NoSuchTrade => Err(WalletError::Refused { code: head.code(), detail: head.words() }),
        class => Err(head.doubt(class).into()),
    }
}

#[cfg(test)]
mod tests {
    use scanback_wallet::{Money, PaymentResult};

    use super::*;
    use crate::fixtures;

    fn call() -> VoidCall {
        let refund = fixtures::refund_call();
        VoidCall {
            order: refund.order,
            request_no: refund.request_no,
            total: refund.total,
            reason: refund.reason,
            payment: PaymentResult::Unknown,
        }
    }

    #[test]
    fn cancel_and_close_name_the_order_alone() {
        assert_eq!(cancel_request(&call().order).biz_content(), r#"{"out_trade_no":"T20250101000001"}"#);
        assert_eq!(close_request(&call().order).method, "alipay.trade.close");
    }

    #[test]
    fn only_an_action_says_what_a_cancel_did() {
        let node = |rest: &str| format!(r#"{{"code":"10000","msg":"Success","out_trade_no":"T20250101000001"{rest}}}"#);
        let done = |rest: &str| match read_cancel(&call(), &node(rest)) {
            Outcome::Done(record) => Some(record.status),
            Outcome::Unknown(_) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(done(r#","retry_flag":"N","action":"refund""#), Some(RecordStatus::Paid));
        assert_eq!(done(r#","retry_flag":"N","action":"close""#), Some(RecordStatus::Closed));
        for rest in ["", r#","retry_flag":"N""#, r#","retry_flag":"Y","action":"refund""#, r#","action":"other""#] {
            assert_eq!(done(rest), None, "{rest}");
        }
        let other = node(r#","action":"refund""#).replace("000001", "000002");
        assert!(matches!(read_cancel(&call(), &other), Outcome::Unknown(_)));
    }

    #[test]
    fn each_refusal_of_a_cancel_has_its_outcome() {
        for (sub_code, expected) in [
            ("ACQ.TRADE_CANCEL_TIME_OUT", "rejected"),
            ("ACQ.CANCEL_NOT_ALLOWED", "rejected"),
            ("ACQ.REASON_TRADE_REFUND_FEE_ERR", "rejected"),
            ("ACQ.TRADE_HAS_FINISHED", "rejected"),
            ("ACQ.SELLER_BALANCE_NOT_ENOUGH", "held"),
            ("AQC.SYSTEM_ERROR", "unknown"),
            ("ACQ.NEVER_HEARD_OF", "unknown"),
        ] {
            let node = format!(r#"{{"code":"40004","sub_code":"{sub_code}"}}"#);
            let word = match read_cancel(&call(), &node) {
                Outcome::Rejected(_) => "rejected",
                Outcome::Held(_) => "held",
                Outcome::Unknown(_) => "unknown",
                other => panic!("{other:?}"),
            };
            assert_eq!(word, expected, "{sub_code}");
        }
    }

    #[test]
    fn the_order_tells_what_became_of_a_cancel() {
        let order = |state, paid: bool| WalletOrder {
            order_no: call().order.order_no,
            transaction_id: None,
            state,
            amount: Some(call().total),
            paid_at: paid.then(|| "2025-01-01T02:00:00Z".parse().unwrap()),
            payer: None,
            trade_type: None,
        };
        let judged = |state, paid| match judge(&call(), Ok(Some(order(state, paid)))) {
            Asked::Found(record) => Some(record.status),
            Asked::NotKnown => None,
            Asked::Unknown(doubt) => panic!("{doubt}"),
        };
        assert_eq!(judged(WalletOrderState::Closed, true), Some(RecordStatus::Paid));
        assert_eq!(judged(WalletOrderState::Closed, false), Some(RecordStatus::Closed));
        assert_eq!(judged(WalletOrderState::Paid, true), None);
        assert_eq!(judge(&call(), Ok(None)), Asked::NotKnown);
        let dearer = WalletOrder { amount: Some(Money::fen(1).unwrap()), ..order(WalletOrderState::Closed, true) };
        assert!(matches!(judge(&call(), Ok(Some(dearer))), Asked::Unknown(_)));
    }

    #[test]
    fn a_close_is_done_for_this_order_only() {
        let good = r#"{"code":"10000","out_trade_no":"T20250101000001","trade_no":"2025010122001400000000000001"}"#;
        assert_eq!(read_close(&call().order, good), Ok(()));
        assert!(read_close(&call().order, &good.replace("T2025", "T2026")).is_err());
        let paid = r#"{"code":"40004","sub_code":"ACQ.REASON_ILLEGAL_STATUS","sub_msg":"交易状态不合法"}"#;
        assert!(matches!(read_close(&call().order, paid), Err(WalletError::Refused { .. })));
    }
}

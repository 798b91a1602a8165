//! Taking a whole payment back (撤销), and closing an order that nobody paid. All pure. Sources: wechat-pay §9, §14;
//! contract §4 rule 12.

use reqwest::Method;
use scanback_wallet::{
    Asked, Doubt, DoubtKind, Hold, HoldReason, OrderNo, OrderRef, Outcome, Proof, RecordStatus, RefundRecord,
    Rejection, VoidCall, WalletError, WalletOrder, WalletOrderState,
};
use serde::Deserialize;

use crate::{
    account::{Account, Named},
    client::{Answer, Request},
    errors::{self, Call, NotOk, Refusal},
    query::{encoded, look_up_failed},
    refund::{self, NotSent},
};

/// The request for a void: the same bytes each time. The order's number is the only one that it has.
pub(crate) fn reverse_request(account: &Account, call: &VoidCall) -> Result<Request, NotSent> {
    post("void", account, &call.order.order_no, "reverse", true)
}

/// The request that closes an order.
pub(crate) fn close_request(account: &Account, order: &OrderRef) -> Result<Request, NotSent> {
    post("close", account, &order.order_no, "close", false)
}

fn post(
    operation: &'static str,
    account: &Account,
    number: &OrderNo,
    verb: &str,
    with_apps: bool,
) -> Result<Request, NotSent> {
    if !refund::is_order_no(number) {
        return Err(NotSent::ORDER_NO);
    }
    let target = format!("{}/out-trade-no/{}/{verb}", account.transactions(), encoded(number.as_str()));
    let body = serde_json::to_vec(&account.order_body(with_apps)).map_err(|_| NotSent::UNWRITABLE)?;
    Ok(Request { body, ..Request::of(operation, Method::POST, target) })
}

#[derive(Deserialize)]
struct Reversed {
    #[serde(default)]
    mchid: Option<String>,
    #[serde(default)]
    sp_mchid: Option<String>,
    #[serde(default)]
    sub_mchid: Option<String>,
    out_trade_no: String,
}

/// What the answer to a void proves. A verified 200 says that it is taken; that it is done stands in the order alone
/// (`REVOKED`), so it is asked for.
pub(crate) fn read_reverse(account: &Account, call: &VoidCall, answer: &Answer) -> Outcome {
    if answer.status == 200 {
        return match reversed(account, call, answer) {
            Ok(()) => Outcome::Pending(record(call, RecordStatus::Taken)),
            Err(doubt) => Outcome::Unknown(doubt),
        };
    }
    let rejected = |Refusal { code, detail, .. }, proof| Outcome::Rejected(Rejection { code, detail, proof });
    match errors::read(Call::Void, answer) {
        NotOk::Refused(refusal) if refusal.signed => rejected(refusal, Proof::Answer),
        NotOk::Refused(refusal) => rejected(refusal, Proof::AnswerAndAbsence),
        NotOk::RefusedOrTooSoon(refusal) => rejected(refusal, Proof::AnswerAbsenceAndPace),
        NotOk::BalanceLow(refusal) => {
            Outcome::Held(Hold { reason: HoldReason::MerchantBalanceLow, detail: refusal.code })
        }
        NotOk::Absent(refusal) | NotOk::NotYet(refusal) => {
            Outcome::Unknown(Doubt::new(DoubtKind::Inconclusive, refusal.code))
        }
        NotOk::Doubt(doubt) => Outcome::Unknown(doubt),
    }
}

fn reversed(account: &Account, call: &VoidCall, answer: &Answer) -> Result<(), Doubt> {
    answer.proven()?;
    let unreadable = |what: &str| Doubt::new(DoubtKind::Unreadable, what);
    let body: Reversed = serde_json::from_slice(&answer.body).map_err(|_| unreadable("HTTP 200 without an order"))?;
    let named = Named {
        mchid: body.mchid.as_deref(),
        sp_mchid: body.sp_mchid.as_deref(),
        sub_mchid: body.sub_mchid.as_deref(),
    };
    if !account.is_named(named) || body.out_trade_no != call.order.order_no.as_str() {
        return Err(unreadable("it speaks of another order"));
    }
    Ok(())
}

/// What the order says about its void. Source: contract §4 rule 12.
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
        WalletOrderState::Voided => Asked::Found(record(call, RecordStatus::Paid)),
        // unpaid and closed: reverse did what it does to such an order, and no money moved
        WalletOrderState::Closed => Asked::Found(record(call, RecordStatus::Closed)),
        WalletOrderState::Paid | WalletOrderState::Unpaid | WalletOrderState::Finished => Asked::NotKnown,
        // never voided from here: a refund exists that a void must not follow
        WalletOrderState::RefundExists => doubt(DoubtKind::Inconclusive, "the order has a refund (REFUND)"),
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

/// Whether the order is closed: a verified 204, whose signature is over no bytes at all.
pub(crate) fn read_close(answer: &Answer) -> Result<(), WalletError> {
    if answer.status == 204 {
        return Ok(answer.proven()?);
    }
    Err(look_up_failed(errors::read(Call::Close, answer)))
}

#[cfg(test)]
mod tests {
    use scanback_wallet::{Money, PaymentResult, WalletRequestNo};
    use serde_json::json;

    use super::*;
    use crate::{fixtures, verify::Distrust};

    fn call() -> VoidCall {
        VoidCall {
            order: OrderRef { order_no: OrderNo::parse("T20250101|001").unwrap(), transaction_id: None },
            request_no: WalletRequestNo::parse("V1").unwrap(),
            total: Money::fen(5000).unwrap(),
            reason: "取消".to_owned(),
            payment: PaymentResult::Paid,
        }
    }

    fn answer(status: u16, trust: Result<(), Distrust>, body: &str) -> Answer {
        Answer { status, trust, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn reverse_and_close_name_the_order_in_the_path_and_the_account_in_the_body() {
        let account = fixtures::account();
        let request = reverse_request(&account, &call()).unwrap();
        assert_eq!(request.target, "/v3/pay/transactions/out-trade-no/T20250101%7C001/reverse");
        assert_eq!(String::from_utf8(request.body).unwrap(), r#"{"appid":"wx8888888888888888","mchid":"1900000109"}"#);
        let request = close_request(&account, &call().order).unwrap();
        assert_eq!(request.target, "/v3/pay/transactions/out-trade-no/T20250101%7C001/close");
        assert_eq!(String::from_utf8(request.body).unwrap(), r#"{"mchid":"1900000109"}"#);
        assert_eq!(request.method, Method::POST);
        let odd = OrderRef { order_no: OrderNo::parse("../x/y").unwrap(), transaction_id: None };
        assert!(close_request(&account, &odd).is_err());
    }

    #[test]
    fn a_verified_200_is_taken_and_the_order_decides() {
        let account = fixtures::account();
        let good = json!({"appid": "wx1", "mchid": "1900000109", "out_trade_no": "T20250101|001"}).to_string();
        let outcome = read_reverse(&account, &call(), &answer(200, Ok(()), &good));
        let Outcome::Pending(record) = outcome else { panic!("{outcome:?}") };
        assert_eq!((record.status, record.amount), (RecordStatus::Taken, call().total));
        for (trust, body, kind) in [
            (Err(Distrust::Wrong), good.clone(), DoubtKind::BadSignature),
            (Err(Distrust::Unsigned), good.clone(), DoubtKind::BadSignature),
            (Ok(()), good.replace("001\"", "002\""), DoubtKind::Unreadable),
            (Ok(()), good.replace("1900000109", "1900000110"), DoubtKind::Unreadable),
            (Ok(()), "{}".to_owned(), DoubtKind::Unreadable),
        ] {
            let outcome = read_reverse(&account, &call(), &answer(200, trust, &body));
            let Outcome::Unknown(doubt) = outcome else { panic!("{outcome:?}") };
            assert_eq!(doubt.kind, kind, "{body}");
        }
    }

    #[test]
    fn each_state_of_the_order_says_what_became_of_its_void() {
        let order = |state| WalletOrder {
            order_no: call().order.order_no,
            transaction_id: None,
            state,
            amount: Some(call().total),
            paid_at: None,
            payer: None,
            trade_type: None,
        };
        let judged = |state| judge(&call(), Ok(Some(order(state))));
        let status = |asked| match asked {
            Asked::Found(record) => Some(record.status),
            _ => None,
        };
        assert_eq!(status(judged(WalletOrderState::Voided)), Some(RecordStatus::Paid));
        assert_eq!(status(judged(WalletOrderState::Closed)), Some(RecordStatus::Closed));
        assert_eq!(judged(WalletOrderState::Paid), Asked::NotKnown);
        assert_eq!(judge(&call(), Ok(None)), Asked::NotKnown);
        assert!(matches!(judged(WalletOrderState::RefundExists), Asked::Unknown(_)));
        let dearer = WalletOrder { amount: Some(Money::fen(5001).unwrap()), ..order(WalletOrderState::Voided) };
        assert!(matches!(judge(&call(), Ok(Some(dearer))), Asked::Unknown(_)));
    }

    #[test]
    fn only_a_verified_204_closes() {
        assert_eq!(read_close(&answer(204, Ok(()), "")), Ok(()));
        let unsigned = read_close(&answer(204, Err(Distrust::Unsigned), ""));
        assert!(matches!(unsigned, Err(WalletError::Doubt(Doubt { kind: DoubtKind::BadSignature, .. }))));
        let paid = answer(400, Ok(()), r#"{"code":"INVALID_REQUEST","message":"订单已支付"}"#);
        assert!(matches!(read_close(&paid), Err(WalletError::Refused { .. })));
    }
}

//! `alipay.trade.query` and `alipay.trade.fastpay.refund.query` (alipay §8, §10).

use scanback_wallet::{
    Asked, Doubt, DoubtKind, Money, OrderNo, OrderNumber, RecordStatus, RefundCall, RefundRecord, TransactionId,
    WalletError, WalletOrder, WalletOrderState,
};
use serde::{Deserialize, Serialize};

use crate::{
    beijing,
    errors::{Api, Class, Head},
    payer,
    refund::same_order,
    sign::Call,
};

#[derive(Serialize)]
struct OrderBiz<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    out_trade_no: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trade_no: Option<&'a str>,
}

/// Asks for an order by one of its numbers.
pub(crate) fn order_request(number: &OrderNumber) -> Call {
    let biz = match number {
        OrderNumber::OrderNo(number) => OrderBiz { out_trade_no: Some(number.as_str()), trade_no: None },
        OrderNumber::TransactionId(number) => OrderBiz { out_trade_no: None, trade_no: Some(number.as_str()) },
    };
    Call::new("alipay.trade.query", &biz)
}

#[derive(Deserialize)]
struct OrderAnswer {
    out_trade_no: Option<String>,
    trade_no: Option<String>,
    trade_status: Option<String>,
    total_amount: Option<String>,
    trans_currency: Option<String>,
    send_pay_date: Option<String>,
    buyer_user_id: Option<String>,
    buyer_open_id: Option<String>,
}

/// The order in the signed node; `None` where Alipay says that there is no such trade.
/// # Errors
/// [`WalletError::Refused`] for a refusal, [`WalletError::Doubt`] for everything that proves nothing.
pub(crate) fn read_order(number: &OrderNumber, node: &str) -> Result<Option<WalletOrder>, WalletError> {
    let head = Head::read(node)?;
    match head.class(Api::Trade) {
        Class::Understood => Ok(Some(order(number, node)?)),
        Class::NoSuchTrade => Ok(None),
        Class::Final => Err(WalletError::Refused { code: head.code(), detail: head.words() }),
        class @ (Class::BalanceLow
        | Class::Discordant
        | Class::TooMany
        | Class::Trouble
        | Class::NoBill { .. }
        | Class::NoCode
        | Class::Unlisted) => Err(head.doubt(class).into()),
    }
}

fn order(number: &OrderNumber, node: &str) -> Result<WalletOrder, Doubt> {
    let answer: OrderAnswer = serde_json::from_str(node).map_err(|_| unreadable("no answer to an order query"))?;
    let order_no = answer.out_trade_no.as_deref().and_then(|text| OrderNo::parse(text).ok());
    let order_no = order_no.ok_or_else(|| unreadable("the answer names no order"))?;
    let transaction_id = match answer.trade_no.as_deref() {
        None | Some("") => None,
        Some(text) => Some(TransactionId::parse(text).map_err(|_| unreadable("the trade number has an odd form"))?),
    };
    let same = match number {
        OrderNumber::OrderNo(asked) => *asked == order_no,
        OrderNumber::TransactionId(asked) => Some(asked) == transaction_id.as_ref(),
    };
    if !same {
        return Err(unreadable("the answer speaks of another order"));
    }
    let state = match answer.trade_status.as_deref() {
        Some("WAIT_BUYER_PAY") => WalletOrderState::Unpaid,
        Some("TRADE_SUCCESS") => WalletOrderState::Paid,
        Some("TRADE_CLOSED") => WalletOrderState::Closed,
        Some("TRADE_FINISHED") => WalletOrderState::Finished,
        _ => return Err(Doubt::new(DoubtKind::Inconclusive, "the answer has no trade_status that is known")),
    };
    // An order priced in another currency has a total that must not be read as yuan.
    if answer.trans_currency.as_deref().is_some_and(|currency| !currency.is_empty() && currency != "CNY") {
        return Err(unreadable("the order is priced in another currency"));
    }
    let amount = answer.total_amount.as_deref().and_then(|yuan| Money::parse_yuan(yuan).ok());
    let payer = payer::payer(answer.buyer_user_id.as_deref(), answer.buyer_open_id.as_deref());
    Ok(WalletOrder {
        order_no,
        transaction_id,
        state,
        amount: Some(amount.ok_or_else(|| unreadable("the answer names no amount"))?),
        paid_at: answer.send_pay_date.as_deref().and_then(beijing::parse),
        payer,
        trade_type: None, // Alipay has no such word
    })
}

#[derive(Serialize)]
struct RefundBiz<'a> {
    out_trade_no: &'a str,
    out_request_no: &'a str,
    query_options: [&'static str; 1],
}

/// Asks for a refund by order and number, and for the time it was paid, which comes only if asked for.
pub(crate) fn refund_request(call: &RefundCall) -> Call {
    let biz = RefundBiz {
        out_trade_no: call.order.order_no.as_str(),
        out_request_no: call.request_no.as_str(),
        query_options: ["gmt_refund_pay"],
    };
    Call::new("alipay.trade.fastpay.refund.query", &biz)
}

#[derive(Deserialize)]
struct RefundAnswer {
    out_trade_no: Option<String>,
    trade_no: Option<String>,
    out_request_no: Option<String>,
    refund_amount: Option<String>,
    refund_status: Option<String>,
    gmt_refund_pay: Option<String>,
}

/// What the signed node says about the refund (contract §4 rule 5).
pub(crate) fn read_refund(call: &RefundCall, node: &str) -> Asked {
    let head = match Head::read(node) {
        Ok(head) => head,
        Err(doubt) => return Asked::Unknown(doubt),
    };
    match head.class(Api::Trade) {
        Class::Understood => found(call, node).unwrap_or_else(Asked::Unknown),
        Class::NoSuchTrade => Asked::NotKnown,
        class @ (Class::Final
        | Class::BalanceLow
        | Class::Discordant
        | Class::TooMany
        | Class::Trouble
        | Class::NoBill { .. }
        | Class::NoCode
        | Class::Unlisted) => Asked::Unknown(head.doubt(class)),
    }
}

/// Only `REFUND_SUCCESS` with our number and amount is a record.
///
/// Answers of years ago had no `refund_status`, and a `refund_amount` meant success. One that looks so proves nothing
/// here, neither way: the contract takes no other word than `REFUND_SUCCESS`, and to call it "not known" would be wrong
/// if it is such an answer. The refund stays followed, and a person can see why.
fn found(call: &RefundCall, node: &str) -> Result<Asked, Doubt> {
    let answer: RefundAnswer = serde_json::from_str(node).map_err(|_| unreadable("no answer to a refund query"))?;
    match (answer.refund_status.as_deref(), answer.refund_amount.as_deref()) {
        (None | Some(""), None | Some("")) => {
            // Often nothing else is said. What is said must not speak of something else.
            let other = |named: Option<&str>, ours: &str| named.is_some_and(|named| named != ours);
            if other(answer.out_trade_no.as_deref(), call.order.order_no.as_str())
                || other(answer.out_request_no.as_deref(), call.request_no.as_str())
            {
                return Err(unreadable("the answer speaks of another refund"));
            }
            return Ok(Asked::NotKnown);
        }
        (Some("REFUND_SUCCESS"), _) => {}
        (None | Some(""), Some(_)) => {
            return Err(Doubt::new(DoubtKind::Inconclusive, "the answer has an amount and no refund_status"));
        }
        (Some(_), _) => {
            return Err(Doubt::new(DoubtKind::Inconclusive, "the answer's refund_status is not REFUND_SUCCESS"));
        }
    }
    same_order(&call.order, answer.out_trade_no.as_deref(), answer.trade_no.as_deref())?;
    if answer.out_request_no.as_deref() != Some(call.request_no.as_str()) {
        return Err(unreadable("the answer speaks of another refund"));
    }
    if answer.refund_amount.as_deref().and_then(|yuan| Money::parse_yuan(yuan).ok()) != Some(call.amount) {
        return Err(unreadable("the refund has another amount than the one asked for"));
    }
    Ok(Asked::Found(RefundRecord {
        request_no: call.request_no.clone(),
        wallet_refund_id: None,
        amount: call.amount,
        status: RecordStatus::Paid,
        settled_at: answer.gmt_refund_pay.as_deref().and_then(beijing::parse),
        order_refunded: None, // `total_amount` is what was paid
    }))
}

fn unreadable(detail: &str) -> Doubt {
    Doubt::new(DoubtKind::Unreadable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    const ORDER: &str = r#"{"code":"10000","msg":"Success","out_trade_no":"T20250101000001","trade_no":"2025010122001400000000000001","trade_status":"TRADE_SUCCESS","total_amount":"50.00","send_pay_date":"2025-01-01 10:00:00","buyer_user_id":"2088101117955611"}"#;
    const REFUND: &str = r#"{"code":"10000","msg":"Success","out_trade_no":"T20250101000001","trade_no":"2025010122001400000000000001","out_request_no":"R20250101000001_1","total_amount":"50.00","refund_amount":"20.00","refund_status":"REFUND_SUCCESS","gmt_refund_pay":"2025-01-01 10:53:21"}"#;

    fn by_order_no() -> OrderNumber {
        OrderNumber::OrderNo(OrderNo::parse("T20250101000001").unwrap())
    }

    fn by_trade_no() -> OrderNumber {
        OrderNumber::TransactionId(TransactionId::parse("2025010122001400000000000001").unwrap())
    }

    #[test]
    fn an_order_is_asked_for_by_either_number() {
        let call = order_request(&by_order_no());
        assert_eq!((call.method, call.biz_content()), ("alipay.trade.query", r#"{"out_trade_no":"T20250101000001"}"#));
        assert_eq!(order_request(&by_trade_no()).biz_content(), r#"{"trade_no":"2025010122001400000000000001"}"#);
    }

    #[test]
    fn an_order_is_read_with_amount_payer_and_time() {
        for number in [by_order_no(), by_trade_no()] {
            let order = read_order(&number, ORDER).unwrap().unwrap();
            assert_eq!(order.order_no.as_str(), "T20250101000001");
            assert_eq!(order.transaction_id.unwrap().as_str(), "2025010122001400000000000001");
            assert_eq!(order.amount, Some(Money::fen(5000).unwrap()));
            assert_eq!(order.paid_at, Some("2025-01-01T02:00:00Z".parse().unwrap()));
            assert_eq!(order.payer.unwrap().expose(), "2088101117955611");
            assert_eq!(order.state, WalletOrderState::Paid);
        }
        let open_id =
            ORDER.replace(r#""buyer_user_id":"2088101117955611""#, r#""buyer_user_id":"","buyer_open_id":"o-1""#);
        assert_eq!(read_order(&by_order_no(), &open_id).unwrap().unwrap().payer.unwrap().expose(), "o-1");
    }

    #[test]
    fn each_trade_status_has_its_state() {
        for (status, expected) in [
            ("WAIT_BUYER_PAY", Some(WalletOrderState::Unpaid)),
            ("TRADE_SUCCESS", Some(WalletOrderState::Paid)),
            ("TRADE_CLOSED", Some(WalletOrderState::Closed)),
            ("TRADE_FINISHED", Some(WalletOrderState::Finished)),
            ("TRADE_SOMETHING", None),
            ("", None),
        ] {
            let read = read_order(&by_order_no(), &ORDER.replace("TRADE_SUCCESS", status));
            assert_eq!(read.ok().flatten().map(|order| order.state), expected, "{status}");
        }
    }

    #[test]
    fn an_answer_that_is_no_such_order_proves_nothing() {
        for (from, to, expected) in [
            ("T20250101000001", "T20250101000002", DoubtKind::Unreadable),
            (r#""out_trade_no":"T20250101000001","#, "", DoubtKind::Unreadable),
            (r#""total_amount":"50.00""#, r#""total_amount":50.0"#, DoubtKind::Unreadable),
            (r#""total_amount":"50.00","#, "", DoubtKind::Unreadable),
            (r#""code""#, r#""trans_currency":"USD","code""#, DoubtKind::Unreadable),
            (r#""trade_status":"TRADE_SUCCESS","#, "", DoubtKind::Inconclusive),
            (r#""code":"10000""#, r#""code":"20000""#, DoubtKind::WalletError),
        ] {
            assert!(ORDER.contains(from), "{from}");
            match read_order(&by_order_no(), &ORDER.replacen(from, to, 1)) {
                Err(WalletError::Doubt(doubt)) => assert_eq!(doubt.kind, expected, "{to}"),
                other => panic!("{to}: {other:?}"),
            }
        }
        let other = ORDER.replace("2025010122001400000000000001", "2025010122001400000000000002");
        assert!(read_order(&by_trade_no(), &other).is_err());
    }

    #[test]
    fn an_order_that_is_not_known_and_a_refusal_are_told_apart() {
        let node =
            |code: &str, sub_code: &str| format!(r#"{{"code":"{code}","sub_code":"{sub_code}","sub_msg":"words"}}"#);
        assert_eq!(read_order(&by_order_no(), &node("40004", "ACQ.TRADE_NOT_EXIST")), Ok(None));
        for (code, sub_code) in [("40002", "isv.invalid-app-id"), ("40004", "ACQ.INVALID_PARAMETER")] {
            let refused = WalletError::Refused { code: sub_code.to_owned(), detail: "words".to_owned() };
            assert_eq!(read_order(&by_order_no(), &node(code, sub_code)), Err(refused));
        }
        for (code, sub_code, kind) in [
            ("40004", "ACQ.SYSTEM_ERROR", DoubtKind::WalletError),
            ("20000", "ACQ.TRADE_NOT_EXIST", DoubtKind::WalletError),
            ("40004", "ACQ.NEW", DoubtKind::Inconclusive),
            ("40004", "isv.method-call-limited", DoubtKind::RateLimited),
        ] {
            match read_order(&by_order_no(), &node(code, sub_code)) {
                Err(WalletError::Doubt(doubt)) => assert_eq!(doubt.kind, kind, "{sub_code}"),
                other => panic!("{sub_code}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_refund_is_asked_for_by_order_and_number() {
        let call = refund_request(&fixtures::refund_call());
        assert_eq!(call.method, "alipay.trade.fastpay.refund.query");
        assert_eq!(
            call.biz_content(),
            r#"{"out_trade_no":"T20250101000001","out_request_no":"R20250101000001_1","query_options":["gmt_refund_pay"]}"#
        );
    }

    #[test]
    fn a_refund_is_found_only_as_success_with_our_number_and_amount() {
        let call = fixtures::refund_call();
        match read_refund(&call, REFUND) {
            Asked::Found(record) => {
                assert_eq!((record.amount, record.status), (call.amount, RecordStatus::Paid));
                assert_eq!(record.settled_at, Some("2025-01-01T02:53:21Z".parse().unwrap()));
            }
            other => panic!("{other:?}"),
        }
        for (from, to, expected) in [
            (r#""refund_amount":"20.00""#, r#""refund_amount":"20""#, "found"),
            (r#""refund_amount":"20.00""#, r#""refund_amount":"20.01""#, "unreadable"),
            (r#""refund_amount":"20.00","#, "", "unreadable"),
            ("R20250101000001_1", "R20250101000001_2", "unreadable"),
            (r#""out_request_no":"R20250101000001_1","#, "", "unreadable"),
            ("T20250101000001", "T20250101000002", "unreadable"),
            (r#""refund_status":"REFUND_SUCCESS","#, "", "inconclusive"),
            ("REFUND_SUCCESS", "REFUND_PROCESSING", "inconclusive"),
            (r#""refund_amount":"20.00","refund_status":"REFUND_SUCCESS","#, "", "not known"),
            (r#""code":"10000""#, r#""code":"20000""#, "wallet_error"),
            (r#""code":"10000""#, r#""code":"40004""#, "inconclusive"),
            (r#""code":"10000""#, r#""code":"40004","sub_code":"ACQ.TRADE_NOT_EXIST""#, "not known"),
            (r#""code":"10000""#, r#""code":"40004","sub_code":"TRADE_NOT_EXIST""#, "not known"),
            (r#""code":"10000""#, r#""code":"40004","sub_code":"ACQ.INVALID_PARAMETER""#, "inconclusive"),
            (r#""code":"10000""#, r#""code":"40006","sub_code":"isv.insufficient-isv-permissions""#, "inconclusive"),
        ] {
            assert!(REFUND.contains(from), "{from}");
            let word = match read_refund(&call, &REFUND.replacen(from, to, 1)) {
                Asked::Found(_) => "found",
                Asked::NotKnown => "not known",
                Asked::Unknown(doubt) => doubt.kind.as_str(),
            };
            assert_eq!(word, expected, "{to}");
        }
        assert_eq!(read_refund(&call, r#"{"code":"10000","msg":"Success"}"#), Asked::NotKnown);
        for other in [r#""out_trade_no":"T2""#, r#""out_request_no":"R2""#] {
            let asked = read_refund(&call, &format!(r#"{{"code":"10000",{other}}}"#));
            assert!(matches!(asked, Asked::Unknown(_)), "{other}: {asked:?}");
        }
    }
}

//! Questions: what became of a refund, and what is known of an order. Source: wechat-pay §8, §11.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use scanback_wallet::{
    Asked, Currency, Doubt, DoubtKind, Money, OrderNo, OrderNumber, PayerId, RefundCall, TransactionId, WalletError,
    WalletOrder, WalletOrderState,
};
use serde::Deserialize;

use crate::{
    account::{Account, Named},
    client::{Answer, Request},
    errors::{self, Call, NotOk, Refusal},
    refund,
};

/// All but the unreserved characters of RFC 3986: numbers may hold `|`, `*` and `@`.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

pub(crate) fn encoded(number: &str) -> impl std::fmt::Display {
    utf8_percent_encode(number, IN_PATH)
}

/// The question for the refund of `call`; `None` for a number that WeChat Pay can't have.
pub(crate) fn refund_request(account: &Account, call: &RefundCall) -> Option<Request> {
    let number = Some(&call.request_no).filter(|number| refund::is_refund_no(number))?;
    let mut target = format!("/v3/refund/domestic/refunds/{}", encoded(number.as_str()));
    if let Some(sub) = account.sub_mchid() {
        target.push_str("?sub_mchid=");
        target.push_str(sub);
    }
    Some(Request::get("query_refund", target))
}

/// What the books say.
///
/// A 404 is taken without a signature too, not with a wrong one: WeChat's errors may lack it, and "not known" moves no
/// money. It allows the same number again, which changes nothing if the 404 was false; and it confirms a refusal of the
/// only send, for which contract §4 rule 5 asks for two answers over verified TLS that say the same.
pub(crate) fn read_refund(call: &RefundCall, answer: &Answer) -> Asked {
    if answer.status == 200 {
        return match refund::record(call, answer) {
            Ok(record) => Asked::Found(record),
            Err(doubt) => Asked::Unknown(doubt),
        };
    }
    match errors::read(Call::QueryRefund, answer) {
        NotOk::Absent(_) => Asked::NotKnown,
        NotOk::Doubt(doubt) => Asked::Unknown(doubt),
        NotOk::Refused(refusal)
        | NotOk::RefusedOrTooSoon(refusal)
        | NotOk::BalanceLow(refusal)
        | NotOk::NotYet(refusal) => Asked::Unknown(Doubt::new(DoubtKind::Inconclusive, refusal.code)),
    }
}

/// The question for an order; `None` for a number that can't be one of WeChat Pay, so that nothing is asked.
pub(crate) fn order_request(account: &Account, number: &OrderNumber) -> Option<Request> {
    let path = match number {
        OrderNumber::OrderNo(number) if refund::is_order_no(number) => {
            format!("out-trade-no/{}", encoded(number.as_str()))
        }
        OrderNumber::TransactionId(number) if is_transaction_id(number) => format!("id/{}", encoded(number.as_str())),
        OrderNumber::OrderNo(_) | OrderNumber::TransactionId(_) => return None,
    };
    Some(Request::get("query_order", format!("{}/{path}?{}", account.transactions(), account.order_query())))
}

/// At most 32 digits and letters. Source: wechat-pay §8, §18.
fn is_transaction_id(number: &TransactionId) -> bool {
    number.as_str().len() <= 32 && number.as_str().bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The order object, as far as we need it.
#[derive(Deserialize)]
struct OrderObject {
    #[serde(default)]
    appid: Option<String>,
    #[serde(default)]
    sp_appid: Option<String>,
    #[serde(default)]
    sub_appid: Option<String>,
    #[serde(default)]
    mchid: Option<String>,
    #[serde(default)]
    sp_mchid: Option<String>,
    #[serde(default)]
    sub_mchid: Option<String>,
    out_trade_no: OrderNo,
    #[serde(default)]
    transaction_id: Option<String>,
    #[serde(default)]
    trade_type: Option<String>,
    trade_state: String,
    #[serde(default)]
    success_time: Option<String>,
    #[serde(default)]
    payer: Option<PayerObject>,
    #[serde(default)]
    amount: Option<AmountObject>,
}

#[derive(Deserialize)]
struct PayerObject {
    #[serde(default)]
    openid: Option<String>,
    #[serde(default)]
    sp_openid: Option<String>,
    #[serde(default)]
    sub_openid: Option<String>,
}

#[derive(Deserialize)]
struct AmountObject {
    #[serde(default)]
    total: Option<i64>,
    #[serde(default)]
    currency: Option<Currency>,
}

/// The order in the answer, `None` where the wallet doesn't know it.
pub(crate) fn read_order(
    account: &Account,
    number: &OrderNumber,
    answer: &Answer,
) -> Result<Option<WalletOrder>, WalletError> {
    if answer.status == 200 {
        return Ok(Some(order(account, number, answer)?));
    }
    match errors::read(Call::LookUp, answer) {
        NotOk::Absent(_) => Ok(None),
        other => Err(look_up_failed(other)),
    }
}

/// Why a look-up brought nothing.
pub(crate) fn look_up_failed(answer: NotOk) -> WalletError {
    match answer {
        NotOk::Doubt(doubt) => doubt.into(),
        NotOk::Refused(refusal)
        | NotOk::RefusedOrTooSoon(refusal)
        | NotOk::BalanceLow(refusal)
        | NotOk::NotYet(refusal)
        | NotOk::Absent(refusal) => {
            let Refusal { code, detail, signed: _ } = refusal;
            WalletError::Refused { code, detail }
        }
    }
}

fn order(account: &Account, asked: &OrderNumber, answer: &Answer) -> Result<WalletOrder, Doubt> {
    answer.proven()?;
    let unreadable = |what: &str| Doubt::new(DoubtKind::Unreadable, what);
    let object: OrderObject =
        serde_json::from_slice(&answer.body).map_err(|_| unreadable("HTTP 200 without an order object"))?;
    // Texts that aren't known are left out, and now and then are there and empty.
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let transaction_id = given(object.transaction_id.clone())
        .map(|text| TransactionId::parse(&text).map_err(|_| unreadable("transaction_id is no number")))
        .transpose()?;
    let named = Named {
        mchid: object.mchid.as_deref(),
        sp_mchid: object.sp_mchid.as_deref(),
        sub_mchid: object.sub_mchid.as_deref(),
    };
    let about_it = account.is_named(named)
        && match asked {
            OrderNumber::OrderNo(number) => *number == object.out_trade_no,
            OrderNumber::TransactionId(number) => Some(number) == transaction_id.as_ref(),
        };
    if !about_it {
        return Err(unreadable("it speaks of another order"));
    }
    let state = state(&object.trade_state).ok_or_else(|| unreadable("a trade_state that is not known"))?;
    let amount = object
        .amount
        .as_ref()
        .and_then(|amount| amount.total.map(|total| Money::new(total, amount.currency.unwrap_or(Currency::CNY))))
        .transpose()
        .map_err(|_| unreadable("amount.total is no amount"))?;
    let paid_at = given(object.success_time.clone())
        .map(|text| text.parse().map_err(|_| unreadable("success_time is no time")))
        .transpose()?;
    let payer = payer(account, &object);
    Ok(WalletOrder {
        order_no: object.out_trade_no,
        transaction_id,
        state,
        amount,
        paid_at,
        payer,
        trade_type: given(object.trade_type),
    })
}

/// Who paid, by the name that a payment code's owner gets, too: within the served merchant's app where one is set, else
/// within the app that the order names (wechat-pay §17, §19).
fn payer(account: &Account, object: &OrderObject) -> Option<PayerId> {
    let payer = object.payer.as_ref()?;
    let within = |app: Option<&str>, openid: Option<&str>| PayerId::within(app?, openid?);
    let Some(sub) = &account.sub else {
        return within(object.appid.as_deref().or(account.appid.as_deref()), payer.openid.as_deref());
    };
    match &sub.appid {
        Some(app) => within(object.sub_appid.as_deref().or(Some(app)), payer.sub_openid.as_deref()),
        None => within(object.sp_appid.as_deref().or(account.appid.as_deref()), payer.sp_openid.as_deref()),
    }
}

/// Source: wechat-pay §8.
fn state(word: &str) -> Option<WalletOrderState> {
    match word {
        "SUCCESS" => Some(WalletOrderState::Paid),
        "REFUND" => Some(WalletOrderState::RefundExists),
        "NOTPAY" | "USERPAYING" | "PAYERROR" | "ACCEPT" => Some(WalletOrderState::Unpaid),
        "CLOSED" => Some(WalletOrderState::Closed),
        "REVOKED" => Some(WalletOrderState::Voided),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use scanback_wallet::{OrderRef, RecordStatus, WalletRequestNo};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        fixtures::{self, text},
        verify::Distrust,
    };

    const MCHID: &str = "1900000109";

    fn order_no(text: &str) -> OrderNumber {
        OrderNumber::OrderNo(OrderNo::parse(text).unwrap())
    }

    fn transaction_id(text: &str) -> OrderNumber {
        OrderNumber::TransactionId(TransactionId::parse(text).unwrap())
    }

    fn call(request_no: &str) -> RefundCall {
        let request_no = WalletRequestNo::parse(request_no).unwrap();
        let order = OrderRef { order_no: OrderNo::parse("T20250101000001").unwrap(), transaction_id: None };
        RefundCall { order, request_no, ..fixtures::refund_call() }
    }

    fn order_request(mchid: &str, number: &OrderNumber) -> Option<Request> {
        super::order_request(&Account { mchid: mchid.to_owned(), ..fixtures::account() }, number)
    }

    fn refund_request(call: &RefundCall) -> Option<Request> {
        super::refund_request(&fixtures::account(), call)
    }

    fn read_order(mchid: &str, number: &OrderNumber, answer: &Answer) -> Result<Option<WalletOrder>, WalletError> {
        super::read_order(&Account { mchid: mchid.to_owned(), ..fixtures::account() }, number, answer)
    }

    #[test]
    fn a_partner_asks_for_its_merchant_and_takes_no_others_order() {
        let account = fixtures::partner();
        let number = order_no("T20250101000001");
        assert_eq!(
            super::order_request(&account, &number).unwrap().target,
            "/v3/pay/partner/transactions/out-trade-no/T20250101000001?sp_mchid=1900000109&sub_mchid=1900000200"
        );
        assert_eq!(
            super::refund_request(&account, &call("R-1")).unwrap().target,
            "/v3/refund/domestic/refunds/R-1?sub_mchid=1900000200"
        );
        let mut body = paid();
        body.as_object_mut().unwrap().remove("mchid");
        body["sp_mchid"] = MCHID.into();
        body["sub_mchid"] = "1900000200".into();
        body["payer"] = json!({"sp_openid": "oSp", "sub_openid": "oSub"});
        let order = super::read_order(&account, &number, &answer(200, Ok(()), &body)).unwrap().unwrap();
        assert_eq!(order.payer, PayerId::within("wx2222222222222222", "oSub"));
        body["sub_mchid"] = "1900000201".into();
        assert!(super::read_order(&account, &number, &answer(200, Ok(()), &body)).is_err());
    }

    fn answer(status: u16, trust: Result<(), Distrust>, body: &Value) -> Answer {
        Answer { status, trust, body: body.to_string().into_bytes() }
    }

    fn refusal(status: u16, code: &str, trust: Result<(), Distrust>) -> Answer {
        answer(status, trust, &json!({"code": code, "message": "原因"}))
    }

    fn paid() -> Value {
        json!({
            "appid": "wx8888888888888888", "mchid": MCHID, "out_trade_no": "T20250101000001",
            "transaction_id": "4200000000202501010000000001", "trade_type": "MICROPAY", "trade_state": "SUCCESS",
            "success_time": "2025-01-01T10:00:00+08:00", "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
            "amount": {"total": 5000, "payer_total": 5000, "currency": "CNY", "payer_currency": "CNY"}
        })
    }

    fn read(body: &Value) -> Result<Option<WalletOrder>, WalletError> {
        read_order(MCHID, &order_no("T20250101000001"), &answer(200, Ok(()), body))
    }

    #[test]
    fn the_questions_are_the_recorded_ones() {
        let vectors = fixtures::vectors();
        let cases = &vectors["request_signing"];
        assert_eq!(refund_request(&call("R20250101000001-1")).unwrap().target, text(&cases[0]["path_and_query"]));
        let order = order_request(MCHID, &order_no("T20250101000001")).unwrap();
        assert_eq!(order.target, text(&cases[1]["path_and_query"]));
        assert!(order.body.is_empty());
        let by_id = order_request(MCHID, &transaction_id("4200000000202501010000000001")).unwrap();
        assert_eq!(by_id.target, "/v3/pay/transactions/id/4200000000202501010000000001?mchid=1900000109");
    }

    #[test]
    fn characters_that_a_path_can_not_hold_are_encoded() {
        let order = order_request(MCHID, &order_no("A1-b_2|3*4")).unwrap();
        assert_eq!(order.target, "/v3/pay/transactions/out-trade-no/A1-b_2%7C3%2A4?mchid=1900000109");
        assert_eq!(refund_request(&call("R@1|2")).unwrap().target, "/v3/refund/domestic/refunds/R%401%7C2");
    }

    #[test]
    fn a_number_that_can_not_be_the_wallets_is_not_asked_for() {
        for text in ["12345", "../../../v3/certificates", "T2025?mchid=1", "a.b.c.d", &"1".repeat(33)] {
            assert_eq!(order_request(MCHID, &order_no(text)), None, "{text}");
        }
        for text in ["..", "42/00", &"4".repeat(33)] {
            assert_eq!(order_request(MCHID, &transaction_id(text)), None, "{text}");
        }
        assert_eq!(refund_request(&call("R/../x")), None);
    }

    #[test]
    fn a_paid_order_is_read_whole() {
        let order = read(&paid()).unwrap().unwrap();
        let expected = WalletOrder {
            order_no: OrderNo::parse("T20250101000001").unwrap(),
            transaction_id: Some(TransactionId::parse("4200000000202501010000000001").unwrap()),
            state: WalletOrderState::Paid,
            amount: Some(Money::fen(5000).unwrap()),
            paid_at: Some("2025-01-01T02:00:00Z".parse().unwrap()),
            payer: PayerId::within("wx8888888888888888", "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"),
            trade_type: Some("MICROPAY".to_owned()),
        };
        assert_eq!(order, expected);
    }

    #[test]
    fn each_trade_state_has_its_meaning() {
        for (word, state) in [
            ("SUCCESS", WalletOrderState::Paid),
            ("REFUND", WalletOrderState::RefundExists),
            ("NOTPAY", WalletOrderState::Unpaid),
            ("USERPAYING", WalletOrderState::Unpaid),
            ("PAYERROR", WalletOrderState::Unpaid),
            ("ACCEPT", WalletOrderState::Unpaid),
            ("CLOSED", WalletOrderState::Closed),
            ("REVOKED", WalletOrderState::Voided),
        ] {
            let mut body = paid();
            body["trade_state"] = word.into();
            assert_eq!(read(&body).unwrap().unwrap().state, state, "{word}");
        }
    }

    #[test]
    fn an_order_that_is_being_paid_has_only_numbers_and_state() {
        let body = json!({"mchid": MCHID, "out_trade_no": "T20250101000001", "trade_state": "USERPAYING",
            "transaction_id": "", "success_time": "", "payer": {"openid": ""}, "amount": {}});
        let order = read(&body).unwrap().unwrap();
        assert_eq!(
            (order.transaction_id, order.amount, order.paid_at, order.payer, order.trade_type),
            (None, None, None, None, None)
        );
    }

    #[test]
    fn an_answer_about_another_order_is_no_answer() {
        let changes: [fn(&mut Value); 6] = [
            |body| body["mchid"] = "1900000110".into(),
            |body| body["out_trade_no"] = "T20250101000002".into(),
            |body| body["trade_state"] = "NEW".into(),
            |body| body["amount"]["total"] = (-1).into(),
            |body| body["amount"]["currency"] = "yuan".into(),
            |body| body["success_time"] = "yesterday".into(),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut body = paid();
            change(&mut body);
            let Err(WalletError::Doubt(doubt)) = read(&body) else { panic!("change {index}") };
            assert_eq!(doubt.kind, DoubtKind::Unreadable, "change {index}");
        }
        let asked = transaction_id("4200000000202501010000000002");
        assert!(read_order(MCHID, &asked, &answer(200, Ok(()), &paid())).is_err());
    }

    #[test]
    fn an_order_is_unknown_to_the_wallet_only_by_a_404_that_says_so() {
        let number = order_no("T20250101000001");
        for (code, trust) in
            [("ORDER_NOT_EXIST", Ok(())), ("RESOURCE_NOT_EXISTS", Ok(())), ("ORDER_NOT_EXIST", Err(Distrust::Unsigned))]
        {
            assert_eq!(read_order(MCHID, &number, &refusal(404, code, trust)), Ok(None), "{code}");
        }
        let refused = |code: &str| WalletError::Refused { code: code.to_owned(), detail: "原因".to_owned() };
        for (status, code) in [(401, "SIGN_ERROR"), (403, "NO_AUTH"), (404, "MCH_NOT_EXISTS"), (400, "PARAM_ERROR")] {
            assert_eq!(read_order(MCHID, &number, &refusal(status, code, Ok(()))), Err(refused(code)));
        }
        for (status, code, trust, kind) in [
            (404, "ORDER_NOT_EXIST", Err(Distrust::Wrong), DoubtKind::BadSignature),
            (403, "TRADE_ERROR", Ok(()), DoubtKind::Inconclusive),
            (429, "FREQUENCY_LIMITED", Ok(()), DoubtKind::RateLimited),
            (500, "SYSTEM_ERROR", Ok(()), DoubtKind::WalletError),
        ] {
            let Err(WalletError::Doubt(doubt)) = read_order(MCHID, &number, &refusal(status, code, trust)) else {
                panic!("{status} {code}")
            };
            assert_eq!(doubt.kind, kind, "{status} {code}");
        }
        let unsigned = read_order(MCHID, &number, &answer(200, Err(Distrust::Unsigned), &paid()));
        assert!(matches!(unsigned, Err(WalletError::Doubt(Doubt { kind: DoubtKind::BadSignature, .. }))));
    }

    #[test]
    fn a_refund_is_found_not_known_or_unknown() {
        let call = call("R20250101000001-1");
        let vectors = fixtures::vectors();
        let body: Value = serde_json::from_str(text(&vectors["response_verification"][0]["body"])).unwrap();
        let Asked::Found(record) = read_refund(&call, &answer(200, Ok(()), &body)) else { panic!("not found") };
        assert_eq!((record.status, record.amount), (RecordStatus::Taken, call.amount));

        for trust in [Ok(()), Err(Distrust::Unsigned)] {
            assert_eq!(read_refund(&call, &refusal(404, "RESOURCE_NOT_EXISTS", trust)), Asked::NotKnown);
        }
        for (answer, kind) in [
            (answer(200, Err(Distrust::Wrong), &body), DoubtKind::BadSignature),
            (answer(200, Ok(()), &json!({})), DoubtKind::Unreadable),
            (refusal(404, "RESOURCE_NOT_EXISTS", Err(Distrust::Wrong)), DoubtKind::BadSignature),
            (refusal(404, "MCH_NOT_EXISTS", Ok(())), DoubtKind::Inconclusive),
            (refusal(404, "NOT_FOUND", Ok(())), DoubtKind::Inconclusive),
            (refusal(401, "SIGN_ERROR", Ok(())), DoubtKind::Inconclusive),
            (refusal(400, "INVALID_REQUEST", Ok(())), DoubtKind::Inconclusive),
            (refusal(429, "FREQUENCY_LIMITED", Ok(())), DoubtKind::RateLimited),
            (refusal(500, "SYSTEM_ERROR", Ok(())), DoubtKind::WalletError),
        ] {
            let Asked::Unknown(doubt) = read_refund(&call, &answer) else { panic!("{answer:?}") };
            assert_eq!(doubt.kind, kind, "{answer:?}");
        }
    }
}

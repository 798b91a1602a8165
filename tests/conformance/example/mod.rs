//! The example of docs/adding-a-wallet.md: an adapter for a small wallet that doesn't exist, "Penny", and the wallet itself.
//!
//! Penny is what a wallet at least is: it refunds under a number that makes a repeat harmless, is asked for refunds and
//! orders, and notifies. It takes no whole payments back, pays out to no accounts, names no payers and has no bills. Its
//! messages are JSON, signed by HMAC-SHA256 under a secret that both hold: `x-penny-sign` is over the lines METHOD, path,
//! body of a request, over STATUS, body of an answer, and over Unix seconds (`x-penny-time`), body of a notification.

pub(super) mod server;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use scanback_wallet::{
    AbnormalCall, Acknowledgement, Asked, Bill, BillDay, BillKind, Capabilities, Clock, Doubt, DoubtKind, EventId,
    Hold, HoldReason, Money, NotGenuine, Notification, OrderNo, OrderNumber, OrderRef, Outcome, PayerId, PayerOf,
    PaymentCode, Proof, RecordStatus, RefundCall, RefundRecord, Rejection, TransactionId, VoidCall, Wallet,
    WalletError, WalletKind, WalletOrder, WalletOrderState, WalletRequestNo,
};
use serde::Deserialize;
use serde_json::json;

/// A notification that was signed so long ago, or so far ahead, is refused.
const FRESH: SignedDuration = SignedDuration::from_mins(5);

/// One merchant's account at Penny.
pub(super) struct Penny {
    base_url: String,
    secret: hmac::Key,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
}

/// Step 1: a request is made by a pure function, and is the same each time.
struct Request {
    method: Method,
    path: String,
    body: String,
}

/// Step 2: an answer is what came, and whether it is provably Penny's.
struct Answer {
    status: u16,
    genuine: bool,
    body: Vec<u8>,
}

pub(super) fn sign(secret: &hmac::Key, lines: &[&[u8]]) -> String {
    hex::encode(hmac::sign(secret, &lines.join(&b'\n')))
}

fn genuine(secret: &hmac::Key, lines: &[&[u8]], sign: &str) -> bool {
    hex::decode(sign).is_ok_and(|tag| hmac::verify(secret, &lines.join(&b'\n'), &tag).is_ok())
}

fn refund_request(call: &RefundCall) -> Request {
    let body = json!({ "number": call.request_no.as_str(), "order": call.order.order_no.as_str(),
        "amount": call.amount.value(), "total": call.total.value(), "notify": call.notify_url });
    Request { method: Method::POST, path: "/refunds".to_owned(), body: body.to_string() }
}

fn get(path: String) -> Request {
    Request { method: Method::GET, path, body: String::new() }
}

#[derive(Deserialize)]
struct RefundObject {
    number: WalletRequestNo,
    order: OrderNo,
    amount: i64,
    state: String,
}

#[derive(Deserialize)]
struct OrderObject {
    order: OrderNo,
    id: Option<TransactionId>,
    amount: i64,
    state: String,
    paid_at: Option<Timestamp>,
    payer: Option<String>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: String,
}

fn doubt(kind: DoubtKind, what: &str) -> Doubt {
    Doubt::new(kind, what)
}

/// Step 3: what is no 200 is looked up in one table; what isn't in it is a doubt, and so is whatever isn't signed.
fn refused(answer: &Answer) -> Result<(u16, String), Doubt> {
    match answer.status {
        429 => return Err(doubt(DoubtKind::RateLimited, "429")),
        500.. => return Err(doubt(DoubtKind::WalletError, "5xx")),
        _ if !answer.genuine => return Err(doubt(DoubtKind::BadSignature, "an answer that is not signed by Penny")),
        _ => {}
    }
    let ErrorObject { code } =
        serde_json::from_slice(&answer.body).map_err(|_| doubt(DoubtKind::Unreadable, "an answer without a code"))?;
    Ok((answer.status, code))
}

/// A record: about what was asked, and about nothing else.
fn record(call: &RefundCall, answer: &Answer) -> Result<RefundRecord, Doubt> {
    if !answer.genuine {
        return Err(doubt(DoubtKind::BadSignature, "200 that is not signed by Penny"));
    }
    let unreadable = doubt(DoubtKind::Unreadable, "200 without this refund");
    let object: RefundObject = serde_json::from_slice(&answer.body).map_err(|_| unreadable.clone())?;
    if object.number != call.request_no || object.order != call.order.order_no || object.amount != call.amount.value() {
        return Err(unreadable);
    }
    let status = match object.state.as_str() {
        "paid" => RecordStatus::Paid,
        "taken" => RecordStatus::Taken,
        "closed" => RecordStatus::Closed,
        _ => return Err(unreadable),
    };
    let request_no = object.number;
    Ok(RefundRecord {
        request_no,
        wallet_refund_id: None,
        amount: call.amount,
        status,
        settled_at: None,
        order_refunded: None,
    })
}

fn read_refund(call: &RefundCall, answer: &Answer) -> Outcome {
    if answer.status == 200 {
        return match record(call, answer) {
            Ok(record) if record.status == RecordStatus::Taken => Outcome::Pending(record),
            Ok(record) => Outcome::Done(record),
            Err(doubt) => Outcome::Unknown(doubt),
        };
    }
    match refused(answer) {
        Ok((402, code)) => Outcome::Held(Hold { reason: HoldReason::MerchantBalanceLow, detail: code }),
        Ok((_, code)) if matches!(code.as_str(), "NO_ORDER" | "TOO_MUCH" | "NUMBER_USED") => {
            Outcome::Rejected(Rejection { code, detail: String::new(), proof: Proof::Answer })
        }
        Ok((_, code)) => Outcome::Unknown(doubt(DoubtKind::Inconclusive, &code)),
        Err(doubt) => Outcome::Unknown(doubt),
    }
}

fn read_query(call: &RefundCall, answer: &Answer) -> Asked {
    if answer.status == 200 {
        return record(call, answer).map_or_else(Asked::Unknown, Asked::Found);
    }
    match refused(answer) {
        Ok((404, code)) if code == "NOT_KNOWN" => Asked::NotKnown,
        Ok((_, code)) => Asked::Unknown(doubt(DoubtKind::Inconclusive, &code)),
        Err(doubt) => Asked::Unknown(doubt),
    }
}

fn read_order(answer: &Answer) -> Result<Option<WalletOrder>, WalletError> {
    if answer.status != 200 {
        return match refused(answer)? {
            (404, code) if code == "NO_ORDER" => Ok(None),
            (_, code) => Err(WalletError::Refused { code, detail: String::new() }),
        };
    }
    if !answer.genuine {
        return Err(doubt(DoubtKind::BadSignature, "200 that is not signed by Penny").into());
    }
    let unreadable = || doubt(DoubtKind::Unreadable, "200 without an order");
    let object: OrderObject = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
    let state = match object.state.as_str() {
        "open" => WalletOrderState::Unpaid,
        "paid" => WalletOrderState::Paid,
        "closed" => WalletOrderState::Closed,
        _ => return Err(unreadable().into()),
    };
    Ok(Some(WalletOrder {
        order_no: object.order,
        transaction_id: object.id,
        state,
        amount: Some(Money::fen(object.amount).map_err(|_| unreadable())?),
        paid_at: object.paid_at,
        payer: object.payer.and_then(|payer| PayerId::within("penny", &payer)),
        trade_type: None,
    }))
}

impl Penny {
    pub(super) fn new(base_url: String, secret: &[u8], http: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        Self { base_url, secret: hmac::Key::new(hmac::HMAC_SHA256, secret), http, clock }
    }

    /// Step 4: the one place with a socket. It sends once.
    async fn call(&self, request: Request) -> Result<Answer, Doubt> {
        let Request { method, path, body } = request;
        let sign_of = sign(&self.secret, &[method.as_str().as_bytes(), path.as_bytes(), body.as_bytes()]);
        let broken = |error: reqwest::Error| {
            let kind = if error.is_timeout() { DoubtKind::TimedOut } else { DoubtKind::Broken };
            Doubt::new(kind, error.without_url().to_string())
        };
        let request = self.http.request(method, format!("{}{path}", self.base_url)).header("x-penny-sign", sign_of);
        let answer = request.body(body).send().await.map_err(broken)?;
        let status = answer.status().as_u16();
        let sign_of = answer.headers().get("x-penny-sign").and_then(|sign| sign.to_str().ok()).unwrap_or("").to_owned();
        let body = answer.bytes().await.map_err(broken)?.to_vec();
        let genuine = genuine(&self.secret, &[status.to_string().as_bytes(), &body], &sign_of);
        Ok(Answer { status, genuine, body })
    }
}

const NONE: WalletError = WalletError::NotSupported("Penny has no such call");

fn not_possible() -> Outcome {
    let (code, detail) = ("NOT_SUPPORTED".to_owned(), "not sent: Penny has no such call".to_owned());
    Outcome::Rejected(Rejection { code, detail, proof: Proof::Answer })
}

/// Step 5: the trait, in which nothing is left out and nothing pretends.
#[async_trait]
impl Wallet for Penny {
    fn kind(&self) -> WalletKind {
        WalletKind::Alipay // borrowed: a real wallet adds a variant of its own
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_refunds_per_order: Some(10),
            pace: Duration::ZERO,
            waits_while_unknown: false,
            ask_after: Duration::from_secs(1),
            settles_within: Duration::from_secs(1),
            refund_window_days: 30,
            void: None,
            pays_to_account: false,
            names_payer: false,
            trade_bill: false,
            fund_bill: false,
        }
    }

    async fn refund(&self, call: &RefundCall) -> Outcome {
        match self.call(refund_request(call)).await {
            Ok(answer) => read_refund(call, &answer),
            Err(doubt) => Outcome::Unknown(doubt),
        }
    }

    async fn query_refund(&self, call: &RefundCall) -> Asked {
        match self.call(get(format!("/refunds/{}", call.request_no))).await {
            Ok(answer) => read_query(call, &answer),
            Err(doubt) => Asked::Unknown(doubt),
        }
    }

    async fn void(&self, _call: &VoidCall) -> Outcome {
        not_possible()
    }

    async fn query_void(&self, _call: &VoidCall) -> Asked {
        Asked::NotKnown
    }

    async fn pay_to_account(&self, _call: &AbnormalCall) -> Outcome {
        not_possible()
    }

    async fn close(&self, order: &OrderRef) -> Result<(), WalletError> {
        let path = format!("/orders/{}/close", order.order_no);
        let answer = self.call(Request { method: Method::POST, path, body: String::new() }).await?;
        match answer.status {
            200 => read_order(&answer).map(|_| ()),
            _ => refused(&answer)
                .map_err(WalletError::from)
                .and_then(|(_, code)| Err(WalletError::Refused { code, detail: String::new() })),
        }
    }

    async fn payer_of(&self, _code: &PaymentCode) -> Result<PayerOf, WalletError> {
        Err(NONE)
    }

    async fn bill(&self, _kind: BillKind, _day: BillDay) -> Result<Bill, WalletError> {
        Err(NONE)
    }

    fn clock_skew(&self) -> Option<SignedDuration> {
        None
    }

    async fn query_order(&self, number: &OrderNumber) -> Result<Option<WalletOrder>, WalletError> {
        let path = match number {
            OrderNumber::OrderNo(number) => format!("/orders/{number}"),
            OrderNumber::TransactionId(id) => format!("/orders/id/{id}"),
        };
        read_order(&self.call(get(path)).await?)
    }

    async fn open_notification(&self, headers: &[(String, String)], body: &[u8]) -> Result<Notification, NotGenuine> {
        let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let (time, sign_of) = header("x-penny-time").zip(header("x-penny-sign")).ok_or(NotGenuine::Unsigned)?;
        if !genuine(&self.secret, &[time.as_bytes(), body], sign_of) {
            return Err(NotGenuine::BadSignature);
        }
        let at = time.parse().ok().and_then(|second| Timestamp::from_second(second).ok());
        if at.is_none_or(|at| self.clock.now().duration_since(at).abs() >= FRESH) {
            return Err(NotGenuine::Stale);
        }
        let unreadable = || NotGenuine::Unreadable("it is no refund".to_owned());
        let news: RefundObject = serde_json::from_slice(body).map_err(|_| unreadable())?;
        let event_id = EventId::parse(&format!("{}-{}", news.number, news.state)).map_err(|_| unreadable())?;
        Ok(Notification::Hint {
            event_id,
            order_no: news.order,
            request_no: Some(news.number),
            refunded: None,
            total: None,
        })
    }

    fn acknowledge(&self, received: bool) -> Acknowledgement {
        Acknowledgement { status: if received { 200 } else { 503 }, content_type: "text/plain", body: "" }
    }
}

//! Orders by control call: made as a payment would make them, and looked into.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Data, Path, Query},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    WALLETS,
    problem::{Problem, document},
};
use crate::{
    books::{NewOrder, Order, OrderNumber, OrderState, Wallet},
    fields::{BadField, Fields},
    urls,
    world::World,
};

/// Longest number of an order: Alipay's (alipay §8); WeChat's is half as long (wechat-pay §8).
pub(super) const NUMBER_LENGTH: usize = 64;
const WECHAT_NUMBER_LENGTH: usize = 32;
const PAYER_LENGTH: usize = 128;
const URL_LENGTH: usize = 256;

/// The trade types of WeChat (wechat-pay §8). Only the first can be reversed, so it is the one that is taken if none is
/// given: a shop's terminal takes payments by code.
const TRADE_TYPES: [(&str, &str); 6] = [
    ("MICROPAY", "MICROPAY"),
    ("JSAPI", "JSAPI"),
    ("NATIVE", "NATIVE"),
    ("APP", "APP"),
    ("MWEB", "MWEB"),
    ("FACEPAY", "FACEPAY"),
];

/// `POST /_sandbox/orders`.
pub(super) async fn add(world: Data<World>, body: Bytes) -> Result<HttpResponse, Problem> {
    let document = document(&body)?;
    let new = read(&Fields::of(&document)?)?;
    let number = new.out_trade_no.clone();
    match world.books(|books, now| books.add_order(new, now)) {
        Some((order, code)) => Ok(HttpResponse::Created().json(json!({
            "transaction_id": order.transaction_id,
            "payer": order.payer,
            "payment_code": code,
        }))),
        None => Err(Problem::new(409, "order_conflict", &format!("this wallet has an order {number} already"))),
    }
}

/// An order as it is asked for, here or on the status page.
pub(crate) fn read(fields: &Fields<'_>) -> Result<NewOrder, BadField> {
    fields.only(&["wallet", "out_trade_no", "amount_fen", "payer", "paid_at", "state", "trade_type", "notify_url"])?;
    let wallet = fields.required_word("wallet", &WALLETS)?;
    let most = if wallet == Wallet::Wechat { WECHAT_NUMBER_LENGTH } else { NUMBER_LENGTH };
    let out_trade_no = fields.required_text("out_trade_no", most)?;
    if !out_trade_no.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-|*".contains(&byte)) {
        return Err(fields.bad("out_trade_no", "has characters other than digits, letters and _-|*"));
    }
    let amount = fields.amount("amount_fen")?;
    let payer = fields.text("payer", PAYER_LENGTH)?;
    if payer.is_some_and(|payer| !payer.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))) {
        return Err(fields.bad("payer", "has characters other than digits, letters and _-"));
    }
    let state = fields.word("state", &OrderState::WORDS)?.unwrap_or(OrderState::Paid);
    if state == OrderState::PartiallyRefunded && amount < 2 {
        return Err(fields.bad("amount_fen", "must be at least 2 fen to be partly refunded"));
    }
    let notify_url = fields.text("notify_url", URL_LENGTH)?;
    if let Some(url) = notify_url {
        urls::check(url).map_err(|issue| fields.bad("notify_url", issue))?;
    }
    Ok(NewOrder {
        wallet,
        out_trade_no: out_trade_no.to_owned(),
        amount,
        payer: payer.map(str::to_owned),
        paid_at: paid_at(fields, state)?,
        state,
        trade_type: fields.word("trade_type", &TRADE_TYPES)?.unwrap_or("MICROPAY").to_owned(),
        notify_url: notify_url.map(str::to_owned),
    })
}

fn paid_at(fields: &Fields<'_>, state: OrderState) -> Result<Option<Timestamp>, BadField> {
    let Some(text) = fields.text("paid_at", 64)? else { return Ok(None) };
    if !state.was_paid() {
        return Err(fields.bad("paid_at", "an order that is unpaid or closed has none"));
    }
    let paid_at: Timestamp = text.parse().map_err(|_| fields.bad("paid_at", "must be RFC 3339 with an offset"))?;
    if paid_at > Timestamp::now() {
        return Err(fields.bad("paid_at", "is still to come"));
    }
    Ok(Some(paid_at))
}

/// `GET /_sandbox/orders/{out_trade_no}?wallet=`.
pub(super) async fn show(
    world: Data<World>,
    number: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let pairs = Query::<Vec<(String, String)>>::from_query(request.query_string()).map(Query::into_inner);
    let document =
        Value::Object(pairs.unwrap_or_default().into_iter().map(|(name, value)| (name, Value::from(value))).collect());
    let fields = Fields::of(&document)?;
    fields.only(&["wallet"])?;
    let wallet = wallet_of(&world, fields.word("wallet", &WALLETS)?, &number)?;
    let asked = OrderNumber::Merchant(number.clone());
    let order = world.books(|books, now| books.order(wallet, &asked, now)).map_err(|_| no_such_order(&number))?;
    Ok(HttpResponse::Ok().json(shown(&order)))
}

fn shown(order: &Order) -> Value {
    let refunds: Vec<Value> = order
        .refunds
        .iter()
        .map(|refund| {
            json!({
                "out_refund_no": refund.number,
                "amount_fen": refund.amount,
                "status": refund.status,
                "times_paid": refund.times_paid,
                "reason": refund.reason,
            })
        })
        .collect();
    let void = order.voided.as_ref().map(|void| json!({ "amount_fen": void.amount, "times_paid": void.times_paid }));
    json!({
        "wallet": order.wallet,
        "out_trade_no": order.out_trade_no,
        "transaction_id": order.transaction_id,
        "state": order.state(),
        "amount_fen": order.amount,
        "refunded_fen": order.refunded(),
        "refunds": refunds,
        "void": void,
    })
}

pub(super) fn no_such_order(number: &str) -> Problem {
    Problem::new(404, "order_not_found", &format!("no order {number}"))
}

/// The wallet that was named, or the only one that has this number.
pub(super) fn wallet_of(world: &World, named: Option<Wallet>, number: &str) -> Result<Wallet, Problem> {
    if let Some(wallet) = named {
        return Ok(wallet);
    }
    match world.books(|books, _| books.wallets_of(number)).as_slice() {
        [] => Err(no_such_order(number)),
        [wallet] => Ok(*wallet),
        _ => {
            let issue = "is required: both wallets have an order of this number".to_owned();
            Err(BadField { field: "/wallet".to_owned(), value: String::new(), issue }.into())
        }
    }
}

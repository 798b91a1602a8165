//! Orders: asked for, closed, reversed (wechat-pay §8, §9, §14).

use actix_web::web::Query;
use serde_json::{Value, json};

use super::{answer::Reply, document, param_error, party};
use crate::{
    beijing,
    books::{CloseRefusal, Order, OrderNumber, OrderState, VoidRefusal, Wallet},
    fields::Fields,
    world::World,
};

/// Longest numbers (wechat-pay §8).
pub(super) const NUMBER_LENGTH: usize = 32;

/// The first value of a name in a query.
pub(super) fn query_value(query: &str, name: &str) -> Option<String> {
    let pairs = Query::<Vec<(String, String)>>::from_query(query).ok()?.into_inner();
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// `GET …/id/{transaction_id}`: paid orders only.
pub(super) fn query_by_transaction(world: &World, id: &str, query: &str) -> Reply {
    let number = OrderNumber::Wallet(id.to_owned());
    query_order(world, &number, query, |order| order.paid_at.is_some())
}

/// `GET …/out-trade-no/{out_trade_no}`.
pub(super) fn query_by_number(world: &World, number: &str, query: &str) -> Reply {
    query_order(world, &OrderNumber::Merchant(number.to_owned()), query, |_| true)
}

fn query_order(world: &World, number: &OrderNumber, query: &str, shows: impl Fn(&Order) -> bool) -> Reply {
    if let Err(refused) = party::check_order_query(&world.identity.wechat.params, query) {
        return refused;
    }
    match world.books(|books, now| books.order(Wallet::Wechat, number, now)) {
        Ok(order) if shows(&order) => Reply::ok(&order_object(world, &order)),
        _ => Reply::error(404, "ORDER_NOT_EXIST", "订单不存在"),
    }
}

/// `trade_state` and its text. `REFUND` from the first accepted refund on, partly refunded orders too (wechat-pay §20).
fn trade_state(order: &Order) -> (&'static str, &'static str) {
    match order.state() {
        OrderState::Voided => ("REVOKED", "已撤销"),
        OrderState::Closed => ("CLOSED", "已关闭"),
        OrderState::Unpaid => ("NOTPAY", "未支付"),
        _ if !order.refunds.is_empty() => ("REFUND", "转入退款"),
        _ => ("SUCCESS", "支付成功"),
    }
}

fn order_object(world: &World, order: &Order) -> Value {
    let params = &world.identity.wechat.params;
    let (state, text) = trade_state(order);
    let mut object = json!({
        "out_trade_no": order.out_trade_no,
        "trade_state": state,
        "trade_state_desc": text,
    });
    for (name, value) in party::names(params) {
        object[name] = value;
    }
    if let Some(paid_at) = order.paid_at {
        object["transaction_id"] = json!(order.transaction_id);
        object["trade_type"] = json!(order.trade_type);
        object["bank_type"] = json!("OTHERS");
        object["attach"] = json!("");
        object["success_time"] = json!(beijing::rfc3339(paid_at));
        object["payer"] = party::payer(params, &order.payer);
        object["amount"] = json!({
            "total": order.amount, "payer_total": order.amount, "currency": "CNY", "payer_currency": "CNY",
        });
    }
    object
}

/// `POST …/close`: unpaid orders only; 204.
pub(super) fn close(world: &World, number: &str, body: &[u8]) -> Reply {
    if let Err(refused) = named_in(world, body, false) {
        return refused;
    }
    match world.books(|books, now| books.close(Wallet::Wechat, &OrderNumber::Merchant(number.to_owned()), now)) {
        Ok(_) => Reply::done(),
        // the page of this call lists no ORDER_NOT_EXIST (wechat-pay §9)
        Err(CloseRefusal::NotFound) => Reply::error(400, "INVALID_REQUEST", "订单不存在"),
        Err(CloseRefusal::Paid) => Reply::error(400, "INVALID_REQUEST", "该订单已支付"),
        Err(CloseRefusal::AlreadyClosed) => Reply::error(400, "INVALID_REQUEST", "该订单已关闭"),
    }
}

/// `POST …/reverse`: code payments only, 15 s to 7 days after paying.
pub(super) fn reverse(world: &World, number: &str, body: &[u8]) -> Reply {
    if let Err(refused) = named_in(world, body, true) {
        return refused;
    }
    let invalid = |text| Reply::error(400, "INVALID_REQUEST", text);
    match world.books(|books, now| books.void(Wallet::Wechat, &OrderNumber::Merchant(number.to_owned()), now)) {
        Ok(voided) => {
            let mut answer = party::names(&world.identity.wechat.params);
            answer.insert("out_trade_no".to_owned(), json!(voided.order.out_trade_no));
            Reply::ok(&Value::Object(answer))
        }
        Err(VoidRefusal::NotFound) => Reply::error(404, "ORDER_NOT_EXIST", "订单不存在"),
        Err(VoidRefusal::NotACodePayment) => invalid("仅付款码支付的订单可以撤销"),
        Err(VoidRefusal::TooEarly) => invalid("支付后15秒内不能撤销，请稍后重试"),
        Err(VoidRefusal::TooLate) => invalid("支付已超过7天，不能撤销"),
        Err(VoidRefusal::HasRefunds) => invalid("订单已有退款，不能撤销"),
    }
}

/// The body names everybody whom it must.
fn named_in(world: &World, body: &[u8], with_apps: bool) -> Result<(), Reply> {
    let document = document(body)?;
    let fields = Fields::of(&document).map_err(|bad| param_error(&bad))?;
    party::check_order_body(&world.identity.wechat.params, &fields, with_apps).map_err(|bad| param_error(&bad))
}

//! Refunds: asked for and looked up (wechat-pay §10, §11).

use serde_json::{Value, json};

use super::{answer::Reply, document, orders::NUMBER_LENGTH, param_error, party};
use crate::{
    beijing,
    books::{Ending, Order, OrderNumber, Refund, RefundAsk, RefundRefusal, RefundStatus, Wallet},
    directory::WechatParams,
    faults::Kind,
    fields::{BadField, Fields},
    urls,
    world::World,
};

/// Longest texts (wechat-pay §10).
pub(super) const REFUND_NUMBER_LENGTH: usize = 64;
const REASON_LENGTH: usize = 80;
const URL_LENGTH: usize = 256;

/// `POST /v3/refund/domestic/refunds`.
pub(super) fn refund(world: &World, body: &[u8], fault: Option<Kind>) -> Reply {
    if !world.books(|books, now| books.admit_refund_call(now)) {
        return Reply::error(429, "FREQUENCY_LIMITED", "频率限制，请降低请求频率");
    }
    let document = match document(body) {
        Ok(document) => document,
        Err(reply) => return reply,
    };
    let ask = match read(&world.identity.wechat.params, &document, fault.map_or(Ending::Success, Kind::ending)) {
        Ok(ask) => ask,
        Err(refused) => return refused,
    };
    let result = world.books(|books, now| {
        let result = books.refund(ask, now);
        books.note_refund_call(result.as_ref().err().copied(), now);
        result
    });
    match result {
        Ok(done) => Reply::ok(&refund_object(&done.order, &done.refund)),
        Err(refusal) => refused(refusal),
    }
}

/// `GET /v3/refund/domestic/refunds/{out_refund_no}`.
pub(super) fn query(world: &World, number: &str, query: &str) -> Reply {
    if let Err(refused) = party::check_refund_query(&world.identity.wechat.params, query) {
        return refused;
    }
    match world.books(|books, now| books.wechat_refund(number, now)) {
        Some((order, refund)) => Reply::ok(&refund_object(&order, &refund)),
        None => Reply::error(404, "RESOURCE_NOT_EXISTS", "退款单不存在"),
    }
}

/// The request, first for whom it is.
fn read(params: &WechatParams, document: &Value, ending: Ending) -> Result<RefundAsk, Reply> {
    let fields = Fields::of(document).map_err(|bad| param_error(&bad))?;
    party::check_refund_body(params, &fields)?;
    ask_in(&fields, ending).map_err(|bad| param_error(&bad))
}

/// The parameters, each checked as the wallet checks it.
fn ask_in(fields: &Fields<'_>, ending: Ending) -> Result<RefundAsk, BadField> {
    let transaction = fields.text("transaction_id", NUMBER_LENGTH)?;
    let order = match (transaction, fields.text("out_trade_no", NUMBER_LENGTH)?) {
        (Some(id), None) => OrderNumber::Wallet(id.to_owned()),
        (None, Some(number)) => OrderNumber::Merchant(number.to_owned()),
        (None, None) => return Err(fields.bad("transaction_id", "it or out_trade_no is required")),
        (Some(_), Some(_)) => return Err(fields.bad("transaction_id", "send it or out_trade_no, not both")),
    };
    let number = fields.required_text("out_refund_no", REFUND_NUMBER_LENGTH)?;
    if !number.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-|*@".contains(&byte)) {
        return Err(fields.bad("out_refund_no", "has characters other than digits, letters and _-|*@"));
    }
    let notify_url = fields.text("notify_url", URL_LENGTH)?;
    if let Some(url) = notify_url {
        urls::check(url).map_err(|issue| fields.bad("notify_url", issue))?;
    }
    let accounts = [("AVAILABLE", "AVAILABLE"), ("UNSETTLED", "UNSETTLED")];
    let funds_account = fields.word("funds_account", &accounts)?.map(str::to_owned);
    let amount = fields.object("amount")?.ok_or_else(|| fields.bad("amount", "is required"))?;
    let refund = amount.amount("refund")?;
    let total = amount.amount("total")?;
    if amount.required_text("currency", 16)? != "CNY" {
        return Err(amount.bad("currency", "must be CNY"));
    }
    check_parts(&amount, refund)?;
    for goods in fields.objects("goods_detail")? {
        goods.required_text("merchant_goods_id", 32)?;
        for name in ["unit_price", "refund_amount", "refund_quantity"] {
            goods.amount(name)?;
        }
    }
    Ok(RefundAsk {
        wallet: Wallet::Wechat,
        order,
        number: number.to_owned(),
        amount: refund,
        total: Some(total),
        reason: fields.text("reason", REASON_LENGTH)?.map(str::to_owned),
        notify_url: notify_url.map(str::to_owned),
        funds_account,
        ending,
    })
}

/// `amount.from`: the parts add up to the refund, no account twice.
fn check_parts(amount: &Fields<'_>, refund: i64) -> Result<(), BadField> {
    let parts = amount.objects("from")?;
    let mut seen = Vec::new();
    let mut sum = 0;
    for part in &parts {
        let account = part.required_word("account", &[("AVAILABLE", "AVAILABLE"), ("UNAVAILABLE", "UNAVAILABLE")])?;
        if seen.contains(&account) {
            return Err(part.bad("account", "comes twice"));
        }
        seen.push(account);
        sum += part.amount("amount")?;
    }
    if !parts.is_empty() && sum != refund {
        return Err(amount.bad("from", "does not add up to amount.refund"));
    }
    Ok(())
}

/// The wallet's words for a refusal. Which code a reused number gets is unconfirmed (wechat-pay §22): `INVALID_REQUEST`.
fn refused(refusal: RefundRefusal) -> Reply {
    use RefundRefusal as R;
    let invalid = |text| Reply::error(400, "INVALID_REQUEST", text);
    match refusal {
        R::OrderNotFound => Reply::error(404, "RESOURCE_NOT_EXISTS", "订单不存在"),
        R::NotPaid => Reply::error(404, "RESOURCE_NOT_EXISTS", "订单未支付"),
        R::Closed => invalid("订单已关闭"),
        R::Voided => invalid("订单已撤销"),
        R::WindowOver => invalid("订单已超过可退款的最大期限(支付后1年)"),
        R::TotalDiffers => invalid("订单金额与原订单不一致"),
        R::OverTheRest | R::FullyRefunded => invalid("申请退款金额超过订单可退金额"),
        R::TooMany => invalid("一笔订单最多支持50次退款"),
        R::TooSoon => invalid("同一订单的多次退款需间隔1分钟，请稍后重试"),
        R::NumberReused => invalid("订单金额或退款金额与之前请求不一致，请核实后再试"),
    }
}

/// The refund object, with whole numbers for amounts.
pub(super) fn refund_object(order: &Order, refund: &Refund) -> Value {
    let mut object = json!({
        "refund_id": refund.wallet_refund_id,
        "out_refund_no": refund.number,
        "transaction_id": order.transaction_id,
        "out_trade_no": order.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": beijing::rfc3339(refund.accepted_at),
        "status": refund.status.word(),
        "funds_account": refund.funds_account.as_deref().unwrap_or("AVAILABLE"),
        "amount": {
            "total": order.amount,
            "refund": refund.amount,
            "payer_total": order.amount,
            "payer_refund": refund.amount,
            "settlement_total": order.amount,
            "settlement_refund": refund.amount,
            "discount_refund": 0,
            "currency": "CNY",
        },
    });
    if let (RefundStatus::Success, Some(at)) = (refund.status, refund.settled_at) {
        object["success_time"] = json!(beijing::rfc3339(at));
    }
    object
}

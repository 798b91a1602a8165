//! The trade methods: query, refund, refund query, close, cancel (alipay §8 to §12). `Err` is an answer too: the node of
//! a refusal.

use serde_json::{Value, json};

use super::{node::Node, yuan};
use crate::{
    beijing,
    books::{
        CloseRefusal, Ending, Order, OrderNumber, OrderState, RefundAsk, RefundRefusal, RefundStatus, VoidRefusal,
        Wallet,
    },
    faults::Kind,
    world::World,
};

/// Longest texts (alipay §8, §9).
const NUMBER_LENGTH: usize = 64;
const REASON_LENGTH: usize = 256;
/// A trade that can't be refunded any more is finished: the window is by contract, a year here (alipay §9).
const FINISHED_AFTER_S: u64 = 365 * 24 * 3600;

type Done = Result<Node, Node>;

fn bad_parameter(text: &str) -> Node {
    Node::failed("ACQ.INVALID_PARAMETER", &format!("参数无效: {text}"))
}

fn not_found() -> Node {
    Node::failed("ACQ.TRADE_NOT_EXIST", "交易不存在")
}

fn text<'a>(content: &'a Value, name: &str, max: usize) -> Result<Option<&'a str>, Node> {
    match &content[name] {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if text.chars().count() <= max => Ok(Some(text)),
        _ => Err(bad_parameter(name)),
    }
}

/// `trade_no` wins over `out_trade_no` (alipay §8).
fn number(content: &Value) -> Result<OrderNumber, Node> {
    let merchants = text(content, "out_trade_no", NUMBER_LENGTH)?;
    if let Some(number) = text(content, "trade_no", NUMBER_LENGTH)? {
        return Ok(OrderNumber::Wallet(number.to_owned()));
    }
    let number = merchants.ok_or_else(|| bad_parameter("out_trade_no和trade_no不能同时为空"))?;
    Ok(OrderNumber::Merchant(number.to_owned()))
}

/// Where the payer's number goes: new merchants see an open id instead of a 2088 number (alipay §17).
fn with_payer(node: Node, order: &Order) -> Node {
    let is_user_id = order.payer.len() == 16 && order.payer.starts_with("2088");
    let node = node.with("buyer_logon_id", "159****5620");
    if is_user_id {
        node.with("buyer_user_id", order.payer.as_str())
    } else {
        node.with("buyer_open_id", order.payer.as_str())
    }
}

fn with_numbers(node: Node, order: &Order) -> Node {
    node.with("trade_no", order.transaction_id.as_str()).with("out_trade_no", order.out_trade_no.as_str())
}

fn trade_status(order: &Order, now: jiff::Timestamp) -> &'static str {
    match order.state() {
        OrderState::Unpaid => "WAIT_BUYER_PAY",
        OrderState::Closed | OrderState::Voided | OrderState::Refunded => "TRADE_CLOSED",
        OrderState::Paid | OrderState::PartiallyRefunded => {
            let age = order.paid_at.map_or(0, |paid_at| beijing::since(now, paid_at).as_secs());
            if age > FINISHED_AFTER_S { "TRADE_FINISHED" } else { "TRADE_SUCCESS" }
        }
    }
}

/// `alipay.trade.query`.
pub(super) fn query(world: &World, content: &Value) -> Done {
    let number = number(content)?;
    let (order, now) = world.books(|books, now| (books.order(Wallet::Alipay, &number, now), now));
    let order = order.map_err(|_| not_found())?;
    let node = with_payer(with_numbers(Node::success(), &order), &order)
        .with("trade_status", trade_status(&order, now))
        .with("total_amount", yuan::write(order.amount));
    let Some(paid_at) = order.paid_at else {
        return Ok(node.with("buyer_pay_amount", "0.00").with("receipt_amount", "0.00"));
    };
    let amount = yuan::write(order.amount);
    Ok(node
        .with("buyer_pay_amount", amount.as_str())
        .with("receipt_amount", amount.as_str())
        .with("invoice_amount", amount.as_str())
        .with("point_amount", "0.00")
        .with("send_pay_date", beijing::seconds(paid_at))
        .with("fund_bill_list", json!([{ "fund_channel": "ALIPAYACCOUNT", "amount": amount }])))
}

/// `alipay.trade.refund`.
pub(super) fn refund(world: &World, content: &Value, fault: Option<Kind>) -> Done {
    // a refusal still carries both sums (alipay §9)
    refund_node(world, content, fault).map_err(|node| node.with("refund_fee", "0.00").with("send_back_fee", "0.00"))
}

fn refund_node(world: &World, content: &Value, fault: Option<Kind>) -> Done {
    let order = number(content)?;
    let amount = match &content["refund_amount"] {
        Value::String(text) => yuan::read(text),
        Value::Number(number) => yuan::read(&number.to_string()), // some SDKs send a JSON number
        _ => None,
    };
    let amount = amount.ok_or_else(|| bad_parameter("refund_amount"))?;
    let reason = text(content, "refund_reason", REASON_LENGTH)?.map(str::to_owned);
    if text(content, "refund_currency", 16)?.is_some_and(|currency| currency != "CNY") {
        return Err(Node::failed("ACQ.CURRENCY_NOT_SUPPORT", "退款币种不支持"));
    }
    let given = text(content, "out_request_no", NUMBER_LENGTH)?.map(str::to_owned);
    let result = world.books(|books, now| {
        let known = books.order(Wallet::Alipay, &order, now).map_err(|_| RefundRefusal::OrderNotFound)?;
        // without a number it is the whole trade or nothing, under the trade's own number (alipay §9)
        if given.is_none() && amount != known.amount {
            return Ok(None);
        }
        let ask = RefundAsk {
            wallet: Wallet::Alipay,
            order,
            number: given.unwrap_or(known.out_trade_no),
            amount,
            total: None,
            reason,
            notify_url: None,
            funds_account: None,
            ending: fault.map_or(Ending::Success, Kind::ending),
        };
        books.refund(ask, now).map(Some)
    });
    let not_whole = || Node::failed("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "部分退款须传入out_request_no");
    let done = result.map_err(refused)?.ok_or_else(not_whole)?;
    let sum = yuan::write(done.order.refunded());
    let node = with_payer(with_numbers(Node::success(), &done.order), &done.order)
        .with("fund_change", if done.first { "Y" } else { "N" })
        .with("refund_fee", sum.as_str())
        .with("send_back_fee", if done.first { yuan::write(done.refund.amount) } else { "0.00".to_owned() });
    Ok(node.with_some("gmt_refund_pay", done.refund.settled_at.map(beijing::seconds)))
}

fn refused(refusal: RefundRefusal) -> Node {
    use RefundRefusal as R;
    match refusal {
        R::OrderNotFound => not_found(),
        R::NotPaid => Node::failed("ACQ.TRADE_STATUS_ERROR", "交易状态不合法"),
        R::Closed | R::Voided | R::FullyRefunded => Node::failed("ACQ.TRADE_HAS_CLOSE", "交易已经关闭"),
        R::WindowOver => Node::failed("ACQ.TRADE_HAS_FINISHED", "交易已完结"),
        R::OverTheRest | R::TotalDiffers => Node::failed("ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额无效"),
        R::NumberReused => Node::failed("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求"),
        // three seconds between refunds; that this is how it is said has no source (contract §7)
        R::TooSoon | R::TooMany => Node::failed("ACQ.SYSTEM_ERROR", "系统错误"),
    }
}

/// `alipay.trade.fastpay.refund.query`. A number that is not known is `10000` with nothing else (alipay §10).
pub(super) fn refund_query(world: &World, content: &Value) -> Done {
    let number = number(content)?;
    let request = text(content, "out_request_no", NUMBER_LENGTH)?.ok_or_else(|| bad_parameter("out_request_no"))?;
    let order = world.books(|books, now| books.order(Wallet::Alipay, &number, now)).map_err(|_| not_found())?;
    let Some(refund) = order.refund(request).filter(|refund| refund.status == RefundStatus::Success) else {
        return Ok(Node::success());
    };
    let asks_for = |option: &str| {
        content["query_options"].as_array().is_some_and(|options| options.iter().any(|one| one == option))
    };
    let paid_at = refund.settled_at.filter(|_| asks_for("gmt_refund_pay")).map(beijing::seconds);
    let node = with_numbers(Node::success(), &order)
        .with("out_request_no", refund.number.as_str())
        .with("total_amount", yuan::write(order.amount))
        .with("refund_amount", yuan::write(refund.amount))
        .with_some("refund_reason", refund.reason.clone())
        .with("refund_status", "REFUND_SUCCESS")
        .with("send_back_fee", yuan::write(refund.amount))
        .with_some("gmt_refund_pay", paid_at);
    let items = json!([{ "fund_channel": "ALIPAYACCOUNT", "amount": yuan::write(refund.amount) }]);
    Ok(node.with_some("refund_detail_item_list", asks_for("refund_detail_item_list").then_some(items)))
}

/// `alipay.trade.close`: unpaid trades only.
pub(super) fn close(world: &World, content: &Value) -> Done {
    let number = number(content)?;
    match world.books(|books, now| books.close(Wallet::Alipay, &number, now)) {
        Ok(closed) => Ok(with_numbers(Node::success(), &closed.0)),
        Err(CloseRefusal::NotFound) => Err(not_found()),
        Err(CloseRefusal::Paid) => Err(Node::failed("ACQ.REASON_TRADE_STATUS_INVALID", "交易状态异常")),
        Err(CloseRefusal::AlreadyClosed) => Err(Node::failed("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")),
    }
}

/// `alipay.trade.cancel`: an unpaid trade is closed, a paid one without refunds goes back whole (contract §7).
pub(super) fn cancel(world: &World, content: &Value) -> Done {
    let number = number(content)?;
    let voided = match world.books(|books, now| books.void(Wallet::Alipay, &number, now)) {
        Ok(voided) => voided,
        Err(VoidRefusal::NotFound) => {
            // an unknown number of the merchant's is no error: there is nothing to take back (alipay §11)
            let OrderNumber::Merchant(number) = number else { return Err(not_found()) };
            return Ok(Node::success().with("out_trade_no", number).with("retry_flag", "N"));
        }
        Err(VoidRefusal::HasRefunds) => {
            return Err(Node::failed("ACQ.REASON_TRADE_REFUND_FEE_ERR", "交易已有退款，请退还剩余金额"));
        }
        Err(VoidRefusal::TooLate) => return Err(Node::failed("ACQ.TRADE_CANCEL_TIME_OUT", "超过撤销时间范围")),
        Err(VoidRefusal::TooEarly | VoidRefusal::NotACodePayment) => {
            return Err(Node::failed("ACQ.CANCEL_NOT_ALLOWED", "不允许撤销"));
        }
    };
    let node = with_numbers(Node::success(), &voided.order)
        .with("retry_flag", "N")
        .with("action", if voided.paid_back { "refund" } else { "close" });
    let at = voided.order.voided.filter(|_| voided.paid_back).map(|void| beijing::seconds(void.at));
    Ok(node.with_some("gmt_refund_pay", at))
}

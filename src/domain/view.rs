//! The shapes of contract §3 in which others see an order or a refund: in answers and in webhooks alike.

use jiff::Timestamp;
use scanback_wallet::{Money, WalletKind};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{
    order::{Order, OrderKind, OrderState},
    refund::{Failure, Refund, RefundKind, RefundOrigin, RefundState, TimelineEntry},
};

/// An amount of money: a whole number of minor units of one currency; 1250 CNY is 12.50 yuan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(title = "Money")]
pub struct MoneyView {
    /// Minor units, 0 to 10^15.
    #[schema(example = 1250)]
    value: i64,
    /// Three upper-case letters (ISO 4217).
    #[schema(value_type = String, example = "CNY")]
    currency: scanback_wallet::Currency,
}

impl From<Money> for MoneyView {
    fn from(money: Money) -> Self {
        Self { value: money.value(), currency: money.currency() }
    }
}

/// An order. Always `refundable = amount − refunded − reserved − fees ≥ 0`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(title = "Order")]
pub struct OrderView {
    /// The wallet's out_trade_no.
    pub order_no: String,
    /// Other numbers that people know it by.
    pub aliases: Vec<String>,
    /// Who was paid.
    pub merchant_id: String,
    /// `wechat` or `alipay`.
    #[schema(value_type = String)]
    pub wallet: WalletKind,
    /// The wallet's own number.
    pub transaction_id: Option<String>,
    /// What was paid.
    pub amount: MoneyView,
    /// What went back.
    pub refunded: MoneyView,
    /// What open refunds hold.
    pub reserved: MoneyView,
    /// What the merchant kept of parts that are closed.
    pub fees: MoneyView,
    /// What is left to refund.
    pub refundable: MoneyView,
    /// How far it is.
    pub state: OrderState,
    /// What kind of sale.
    pub kind: OrderKind,
    /// When it was paid.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paid_at: Option<Timestamp>,
    /// Until when it can be voided; null where it can't.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub void_until: Option<Timestamp>,
    /// Until when it can be refunded.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub refund_until: Option<Timestamp>,
    /// Whether a person must look before any refund.
    pub frozen: bool,
    /// What the wallet proved to have paid back beyond what fits into the order; only where it is not 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overpaid: Option<MoneyView>,
    /// `unknown` where the wallet has refunds that were made elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunded_elsewhere: Option<&'static str>,
    /// When what was booked begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Timestamp>,
    /// Where it was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_id: Option<String>,
    /// At which device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal_id: Option<String>,
}

impl OrderView {
    /// The order as it stands; `refund_until` comes from the policy.
    #[must_use]
    pub fn of(order: &Order, refund_until: Option<Timestamp>) -> Self {
        Self {
            order_no: order.order_no.to_string(),
            aliases: order.aliases.iter().map(ToString::to_string).collect(),
            merchant_id: order.merchant_id.to_string(),
            wallet: order.wallet,
            transaction_id: order.transaction_id.as_ref().map(ToString::to_string),
            amount: order.amount.into(),
            refunded: order.refunded.into(),
            reserved: order.reserved.into(),
            fees: order.fees.into(),
            refundable: order.refundable().into(),
            state: order.state(),
            kind: order.kind,
            paid_at: order.paid_at,
            void_until: None, // voids are refused as void_not_supported until they come
            refund_until,
            frozen: order.frozen,
            overpaid: (!order.overpaid.is_zero()).then(|| order.overpaid.into()),
            refunded_elsewhere: order.refunded_elsewhere.then_some("unknown"),
            starts_at: order.starts_at,
            store_id: order.store_id.as_ref().map(ToString::to_string),
            terminal_id: order.terminal_id.as_ref().map(ToString::to_string),
        }
    }
}

/// Why a person must look at a refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(title = "Attention")]
pub struct AttentionView {
    /// Why.
    pub reason: &'static str,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// What can be done.
    pub remedies: Vec<&'static str>,
}

/// A refund with its timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(title = "Refund")]
pub struct RefundView {
    /// Ours, a UUIDv7.
    pub refund_id: String,
    /// A refund or a void.
    pub kind: RefundKind,
    /// Asked for here or elsewhere.
    pub origin: RefundOrigin,
    /// The order's number.
    pub order_no: String,
    /// `wechat` or `alipay`.
    #[schema(value_type = String)]
    pub wallet: WalletKind,
    /// What the wallet got as out_refund_no / out_request_no: the hex digits of `refund_id`.
    pub wallet_request_no: String,
    /// WeChat's own number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wallet_refund_id: Option<String>,
    /// What goes back.
    pub amount: MoneyView,
    /// What the merchant keeps.
    pub fee: MoneyView,
    /// How far it is.
    pub state: RefundState,
    /// The policy's code.
    pub reason: String,
    /// Internal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The person who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_id: Option<String>,
    /// The person who approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// The scan that it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan_id: Option<Uuid>,
    /// The refund that it stands in for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// Not sent before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Option<Timestamp>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was first sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub submitted_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub settled_at: Option<Timestamp>,
    /// Why it ended without money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why a person must look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<AttentionView>,
    /// The merchant's own data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Value>,
    /// What happened, oldest first.
    pub timeline: Vec<TimelineEntry>,
}

impl From<&Refund> for RefundView {
    fn from(refund: &Refund) -> Self {
        Self {
            refund_id: refund.refund_id.to_string(),
            kind: refund.kind,
            origin: refund.origin,
            order_no: refund.order_no.to_string(),
            wallet: refund.wallet,
            wallet_request_no: refund.wallet_request_no.to_string(),
            wallet_refund_id: refund.wallet_refund_id.as_ref().map(ToString::to_string),
            amount: refund.amount.into(),
            fee: refund.fee.into(),
            state: refund.state,
            reason: refund.reason.clone(),
            note: refund.note.clone(),
            operator_id: refund.operator_id.as_ref().map(ToString::to_string),
            approved_by: refund.approved_by.as_ref().map(ToString::to_string),
            scan_id: refund.scan_id,
            replaces: refund.replaces.map(|id| id.to_string()),
            not_before: refund.not_before,
            created_at: refund.created_at,
            submitted_at: refund.submitted_at,
            settled_at: refund.settled_at,
            failure: refund.failure.clone(),
            // remedies are calls of a later version; until they answer, none is offered
            attention: refund.attention.map(|(reason, since)| AttentionView {
                reason: reason.as_str(),
                since,
                remedies: Vec::new(),
            }),
            metadata: refund.metadata.clone(),
            timeline: refund.timeline.clone(),
        }
    }
}

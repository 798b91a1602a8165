//! The port to a wallet: few methods, no default bodies.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    Asked, Doubt, EventId, Money, OrderNo, Outcome, PayerId, RefundRecord, TransactionId, WalletKind, WalletRequestNo,
};

/// A wallet as the service sees it. One value serves one merchant's account at one wallet.
#[async_trait]
pub trait Wallet: Send + Sync {
    /// Which wallet this is.
    fn kind(&self) -> WalletKind;

    /// Its limits and paces, at the wallet's own time (not scaled).
    fn capabilities(&self) -> Capabilities;

    /// Sends a refund, or sends the same one again: the number makes it the same. Never retries by itself.
    async fn refund(&self, call: &RefundCall) -> Outcome;

    /// What the wallet's books say about the number of `call`.
    async fn query_refund(&self, call: &RefundCall) -> Asked;

    /// The order behind a number, `None` where the wallet doesn't know it.
    /// # Errors
    /// [`WalletError`] where the wallet gave no usable answer, or refuses us.
    async fn query_order(&self, number: &OrderNumber) -> Result<Option<WalletOrder>, WalletError>;

    /// Verifies and reads a notification. `headers` are (lower-case name, value) pairs as received, `body` the raw bytes.
    /// # Errors
    /// [`NotGenuine`] where it is not provably the wallet's, is meant for another account, or is too old.
    async fn open_notification(&self, headers: &[(String, String)], body: &[u8]) -> Result<Notification, NotGenuine>;

    /// The HTTP answer that this wallet takes as "received" (`true`) or as "not taken, send again" (`false`).
    fn acknowledge(&self, received: bool) -> Acknowledgement;
}

/// What a wallet can do and how fast. All durations are the wallet's own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Refunds that one order may have; `None` where the wallet states no number.
    pub max_refunds_per_order: Option<u32>,
    /// Least time between two different refunds of one order.
    pub pace: Duration,
    /// Whether the next refund of an order waits while the one before is unknown (contract §4 rule 8).
    pub waits_while_unknown: bool,
    /// Least time from a refund call to the first query for it.
    pub ask_after: Duration,
    /// How long an accepted refund usually needs: the first look at one that no notification settled comes after it.
    pub settles_within: Duration,
    /// Days from payment in which the wallet takes refunds.
    pub refund_window_days: u32,
}

/// One of the two numbers that a wallet finds an order by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OrderNumber {
    /// The out_trade_no.
    OrderNo(OrderNo),
    /// The wallet's own number.
    TransactionId(TransactionId),
}

/// An order as a refund names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRef {
    /// The out_trade_no.
    pub order_no: OrderNo,
    /// The wallet's own number, where it is known.
    pub transaction_id: Option<TransactionId>,
}

/// Everything that a refund call says. Built from the ledger alone, so that a repeat is the same byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundCall {
    /// Which order.
    pub order: OrderRef,
    /// Our number, the wallet's idempotency key.
    pub request_no: WalletRequestNo,
    /// What goes back.
    pub amount: Money,
    /// What was paid.
    pub total: Money,
    /// The public text of the reason, shown to the payer.
    pub reason: String,
    /// Where the wallet shall notify, if anywhere.
    pub notify_url: Option<String>,
}

/// An order in the wallet's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletOrder {
    /// The out_trade_no.
    pub order_no: OrderNo,
    /// The wallet's own number; absent while unpaid.
    pub transaction_id: Option<TransactionId>,
    /// How far it is.
    pub state: WalletOrderState,
    /// What was to be paid; absent where the wallet doesn't say, as WeChat for an order that is being paid.
    pub amount: Option<Money>,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// Who paid.
    pub payer: Option<PayerId>,
    /// The wallet's word for the kind of payment, for example `MICROPAY`.
    pub trade_type: Option<String>,
}

/// How far an order is in the wallet's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalletOrderState {
    /// Not paid, or not yet.
    Unpaid,
    /// Paid. Alipay says the same of an order that was refunded in part.
    Paid,
    /// Paid, and at least one refund exists; how much is not said. WeChat `REFUND`.
    RefundExists,
    /// Closed: never paid, or (Alipay) refunded in full.
    Closed,
    /// Reversed as a whole. WeChat `REVOKED`.
    Voided,
    /// Ended and past refunding. Alipay `TRADE_FINISHED`.
    Finished,
}

/// A notification that is provably the wallet's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// The wallet's record of one refund.
    Refund {
        /// The wallet's number of this notification.
        event_id: EventId,
        /// Whose order it is.
        order_no: OrderNo,
        /// The wallet's own number of the order, where it says one: to be compared with ours.
        transaction_id: Option<TransactionId>,
        /// What was paid, where it says so: to be compared with ours.
        total: Option<Money>,
        /// What the wallet has in its books.
        record: RefundRecord,
    },
    /// Something happened to this order; what, must be asked.
    Hint {
        /// The wallet's number of this notification.
        event_id: EventId,
        /// Which order.
        order_no: OrderNo,
        /// The refund's number, where it is named.
        request_no: Option<WalletRequestNo>,
    },
    /// Genuine, and nothing to do with refunds.
    Other {
        /// The wallet's number of this notification.
        event_id: EventId,
    },
}

/// Why a notification is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGenuine {
    /// A header or field that the signature needs is missing.
    #[error("no signature")]
    Unsigned,
    /// The signature doesn't fit, or no key of that serial is known.
    #[error("the signature does not fit")]
    BadSignature,
    /// Signed too long ago, or in the future.
    #[error("the signature is too old or from the future")]
    Stale,
    /// Signed, but it can't be read or decrypted.
    #[error("the content can't be read: {0}")]
    Unreadable(String),
    /// Genuine, but for another account.
    #[error("it is for another account")]
    OtherAccount,
}

/// What to answer a wallet's notification with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Body.
    pub body: &'static str,
}

/// Why a wallet gave no usable answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletError {
    /// No proof either way; ask again.
    #[error("the wallet gave no usable answer ({0})")]
    Doubt(#[from] Doubt),
    /// The wallet refuses us: keys, permissions, account. A person must look at the configuration.
    #[error("the wallet refuses the call: {code} {detail}")]
    Refused {
        /// The wallet's code.
        code: String,
        /// The wallet's words.
        detail: String,
    },
}

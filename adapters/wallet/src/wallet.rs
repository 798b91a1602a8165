//! The port to a wallet: few methods, no default bodies.

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::{
    AbnormalCall, Asked, Bill, BillDay, BillKind, Doubt, EventId, Money, OrderNo, Outcome, PayerId, PayerOf,
    PaymentCode, RefundRecord, RefundedGoods, TransactionId, VoidCall, WalletKind, WalletRequestNo,
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

    /// Takes a whole payment back, or asks for the same again. Never retries by itself.
    ///
    /// [`Outcome::Done`] with [`RecordStatus::Closed`](crate::RecordStatus::Closed) means that the order was never paid and
    /// is closed now. Where the wallet can't do it at all, [`Outcome::Rejected`].
    async fn void(&self, call: &VoidCall) -> Outcome;

    /// What the wallet's books say about a void. [`Asked::NotKnown`]: the payment stands, and the void may be sent again.
    async fn query_void(&self, call: &VoidCall) -> Asked;

    /// Sends a refund that the wallet could not pay out to an account. Where the wallet has no such call,
    /// [`Outcome::Rejected`]. What becomes of it is the refund's own record.
    async fn pay_to_account(&self, call: &AbnormalCall) -> Outcome;

    /// Closes an order that nobody paid.
    /// # Errors
    /// [`WalletError`]: refused (it may have been paid), or no usable answer.
    async fn close(&self, order: &OrderRef) -> Result<(), WalletError>;

    /// Whose payment code this is.
    /// # Errors
    /// [`WalletError::NotSupported`] where this account has no such look-up; else no usable answer, or a refusal.
    async fn payer_of(&self, code: &PaymentCode) -> Result<PayerOf, WalletError>;

    /// The bill of a day, fetched and read.
    /// # Errors
    /// [`WalletError::NoBill`] where there is none; [`WalletError::NotSupported`]; else no usable answer, or a refusal.
    async fn bill(&self, kind: BillKind, day: BillDay) -> Result<Bill, WalletError>;

    /// How far this machine's clock is ahead of the wallet's, by the last answer that told; negative where it is behind.
    fn clock_skew(&self) -> Option<SignedDuration>;

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
    /// How whole payments are taken back; `None` where the wallet can't.
    pub void: Option<VoidRules>,
    /// Whether a refund that can't be paid out can be sent to an account.
    pub pays_to_account: bool,
    /// Whether this account may ask whose payment code it is.
    pub names_payer: bool,
    /// Whether there is a bill of payments and refunds.
    pub trade_bill: bool,
    /// Whether there is a bill of the merchant's account.
    pub fund_bill: bool,
}

/// How a wallet takes whole payments back. All durations are the wallet's own time. Source: contract §4 rule 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoidRules {
    /// The one kind of payment that it takes back, by the word in [`WalletOrder::trade_type`]; `None`: any.
    pub trade_type: Option<&'static str>,
    /// Least time after the payment.
    pub not_before: Duration,
    /// Longest time after the payment.
    pub window: Duration,
    /// Whether the record of a void is the order itself, so that it can't be told from another one's.
    pub by_order: bool,
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
    /// What the refund is for, where that is to be told. Together not more than `amount`.
    pub goods: Vec<RefundedGoods>,
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
        /// What was paid, where it says so: to be compared with ours.
        total: Option<Money>,
        /// What all refunds of the order come to together, where it says so.
        refunded: Option<Money>,
    },
    /// A bank sent a refund back that was paid before: the payer has it otherwise, and nothing is paid again for it.
    Bounced {
        /// The wallet's number of this notification.
        event_id: EventId,
        /// Which order.
        order_no: OrderNo,
        /// Which refund.
        request_no: WalletRequestNo,
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
    /// This wallet, or this account, has no such call. Nothing was sent.
    #[error("not possible here: {0}")]
    NotSupported(&'static str),
    /// There is no bill of that day.
    #[error("there is no bill of that day ({code})")]
    NoBill {
        /// The wallet's code.
        code: String,
        /// Whether it may come: the wallet is still making it, or doesn't say which of the two.
        may_come: bool,
    },
}

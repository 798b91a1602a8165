//! What an answer proves. Five outcomes, because the caller must do five things.

use jiff::Timestamp;

use crate::{Money, WalletRefundId, WalletRequestNo};

/// What the answer to a call that moves money proves. Not a `Result`: `?` can't lose an [`Outcome::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a dropped Unknown is money that nobody follows"]
pub enum Outcome {
    /// Finished, one way or the other: [`RecordStatus::Paid`] or [`RecordStatus::Closed`]. Signature verified; number,
    /// amount and currency compared with what was asked.
    Done(RefundRecord),
    /// Accepted; the end is to come: [`RecordStatus::Taken`] or [`RecordStatus::Stuck`].
    Pending(RefundRecord),
    /// Proof that nothing moved, and the same number may be sent later.
    Held(Hold),
    /// A refusal. Evidence only as the answer to the first and only send of the number (contract §4 rule 5).
    Rejected(Rejection),
    /// No proof either way: time-out, reset, 429, 5xx, an unreadable or badly signed answer (contract §4 rule 4).
    Unknown(Doubt),
}

/// What the wallet's books say about a number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an answer that nobody reads leaves a refund open"]
pub enum Asked {
    /// The wallet's own record of this refund.
    Found(RefundRecord),
    /// The wallet doesn't know the number. Never fails a refund that may have been sent: it allows sending again under
    /// the same number (contract §4 rule 5).
    NotKnown,
    /// No proof either way.
    Unknown(Doubt),
}

/// One refund in the wallet's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRecord {
    /// The number it was asked under.
    pub request_no: WalletRequestNo,
    /// The wallet's own number, where it has one.
    pub wallet_refund_id: Option<WalletRefundId>,
    /// What goes back.
    pub amount: Money,
    /// How far it is.
    pub status: RecordStatus,
    /// When it was paid, where the wallet says so.
    pub settled_at: Option<Timestamp>,
    /// What all refunds of the order come to together, where the wallet says so: more than ours were made elsewhere
    /// (contract §4 rule 9).
    pub order_refunded: Option<Money>,
}

/// How far a refund is in the wallet's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordStatus {
    /// The money is back. WeChat `SUCCESS`; Alipay `REFUND_SUCCESS`, or `fund_change` `Y` to a send.
    Paid,
    /// The wallet took it and works on it. WeChat `PROCESSING`.
    Taken,
    /// The wallet took it and can't pay it out; a person must act. WeChat `ABNORMAL`.
    Stuck,
    /// Closed without paying: this number is spent. WeChat `CLOSED`.
    Closed,
}

/// Nothing moved; the same number may be sent later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// The wallet's code, for people.
    pub detail: String,
}

/// Why a refund must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// The merchant's balance is too low; somebody must top it up.
    MerchantBalanceLow,
    /// Too soon after another refund of the order.
    TooSoon,
}

/// A wallet's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The wallet's code, for example `USER_ACCOUNT_ABNORMAL` or `ACQ.TRADE_NOT_ALLOW_REFUND`.
    pub code: String,
    /// The wallet's words, for people.
    pub detail: String,
    /// What it takes to believe it.
    pub proof: Proof,
}

/// What it takes to believe a refusal of the only send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The answer alone: signed, with a final code.
    Answer,
    /// The answer, and a query for the number that says it doesn't exist. WeChat: an unsigned 4xx.
    AnswerAndAbsence,
    /// The same, and the pace between refunds was provably kept; else it is held. WeChat: `INVALID_REQUEST`, whose one
    /// code also says "too soon".
    AnswerAbsenceAndPace,
}

/// Why an answer proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct Doubt {
    /// The kind, for metrics and for the decision whether the wallet can be reached at all.
    pub kind: DoubtKind,
    /// What happened, for the log. Holds no secret and no number of a payment code.
    pub detail: String,
}

impl Doubt {
    /// A doubt of this kind.
    pub fn new(kind: DoubtKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// The kinds of [`Doubt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DoubtKind {
    /// No connection could be made.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The connection broke before the answer was whole.
    Broken,
    /// The wallet asks for a slower pace.
    RateLimited,
    /// A 5xx, `SYSTEM_ERROR`, Alipay `20000`.
    WalletError,
    /// The answer's signature is missing or wrong.
    BadSignature,
    /// The answer can't be read, or speaks of another refund.
    Unreadable,
    /// A genuine answer that proves nothing, such as `fund_change` `N`.
    Inconclusive,
}

impl DoubtKind {
    /// A word for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Broken => "broken",
            Self::RateLimited => "rate_limited",
            Self::WalletError => "wallet_error",
            Self::BadSignature => "bad_signature",
            Self::Unreadable => "unreadable",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl std::fmt::Display for DoubtKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

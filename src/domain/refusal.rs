//! Every refusal as a type: one variant a code of contract §3, with the facts that its answer carries.

use jiff::Timestamp;
use scanback_wallet::{Currency, Money, WalletKind};

use crate::domain::{foreign::ForeignCode, order::OrderState, refund::RefundState, view::OrderView};

/// One field that is wrong, and why. `field` is a path such as `amount.value`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Where, for example `amount.value`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl FieldError {
    /// A field and what is wrong with it.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// Why nothing could be read in a frame, from measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not an image that we take, or a damaged one.
    NotAnImage,
    /// Too dark.
    Dark,
    /// Glare.
    Glare,
    /// Blurred.
    Blurred,
    /// Too far away.
    Far,
    /// Cut off at the border.
    CutOff,
    /// A code is in sight and can't be read, though light, distance and sharpness are good.
    Damaged,
    /// No code in sight.
    NoCode,
}

/// What was asked for is refused; orders, refunds and reservations are as they were (contract §4 rule 11).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an image, or no code in it.
    #[error("nothing could be read in the frame ({why:?}): {detail}")]
    FrameUnreadable {
        /// The measured reason.
        why: Unreadable,
        /// In words.
        detail: String,
    },
    /// Bytes or pixels over the limit.
    #[error("{0}")]
    FrameTooLarge(String),
    /// No symbol has a known form, or none that names an order.
    #[error("the code is none that can be used here")]
    CodeNotRecognised {
        /// What it is instead, where that is known.
        seen: Option<ForeignCode>,
    },
    /// Two different recognised codes.
    #[error("there are two different codes in the frame")]
    CodeAmbiguous,
    /// The code is another wallet's.
    #[error("the code is of {code}, the order of {order}")]
    WalletMismatch {
        /// The code's wallet.
        code: WalletKind,
        /// The order's.
        order: WalletKind,
    },
    /// The code is another person's.
    #[error("the payment code is not the payer's")]
    PayerMismatch,
    /// The code is another order's.
    #[error("the code names another order")]
    ScanOrderMismatch,
    /// A terminal's refund needs a scan of its own.
    #[error("a terminal's refund needs a fresh scan of its own")]
    ScanRequired,
    /// The scan is too old.
    #[error("the scan is older than {max_age_s} s")]
    ScanExpired {
        /// The limit.
        max_age_s: u32,
    },
    /// The scan was used for a refund.
    #[error("the scan was used already")]
    ScanUsed,
    /// Only a payment code was given: which order?
    #[error("a payment code names no order")]
    OrderRequired {
        /// The payer's recent orders, where the payer is known.
        orders: Vec<OrderView>,
    },
    /// Nobody knows the order.
    #[error("no such order")]
    OrderNotFound,
    /// The order can't be refunded in its state.
    #[error("the order is {}", state.as_str())]
    OrderNotRefundable {
        /// Its state.
        state: OrderState,
    },
    /// Several orders have the number.
    #[error("several orders have this number")]
    OrderAmbiguous {
        /// The wallets that have one.
        wallets: Vec<WalletKind>,
    },
    /// Registered with other content.
    #[error("the order is registered with another {field}")]
    OrderConflict {
        /// What differs.
        field: &'static str,
    },
    /// The wallet's record says something else.
    #[error("the wallet's record has another {field}")]
    OrderMismatch {
        /// What differs.
        field: &'static str,
    },
    /// A person must look first.
    #[error("the order is frozen")]
    OrderFrozen,
    /// More than is left.
    #[error("more than is left to refund")]
    AmountExceedsRefundable {
        /// What is left.
        refundable: Money,
    },
    /// The caller's view is out of date.
    #[error("what is left has changed")]
    RefundableChanged {
        /// What is left now.
        refundable: Money,
    },
    /// Too late.
    #[error("the refund window ended at {until}")]
    RefundWindowPassed {
        /// When it ended.
        until: Timestamp,
    },
    /// Only in full.
    #[error("this order can be refunded only in full")]
    PartialRefundNotAllowed,
    /// The wallet takes no more refunds of this order.
    #[error("the wallet takes {max} refunds for an order")]
    TooManyRefunds {
        /// How many it takes.
        max: u32,
    },
    /// The policy says no.
    #[error("the policy refuses: {0}")]
    PolicyRefused(&'static str),
    /// No such person at this merchant.
    #[error("no such operator")]
    OperatorUnknown,
    /// The PIN is wrong.
    #[error("the PIN is wrong")]
    PinWrong,
    /// Too many wrong PINs.
    #[error("the operator is locked until {until}")]
    OperatorLocked {
        /// Until when.
        until: Timestamp,
    },
    /// Nobody knows the refund.
    #[error("no such refund")]
    RefundNotFound,
    /// Not possible in this state.
    #[error("the refund is {0}")]
    RefundStateConflict(RefundState),
    /// No `Idempotency-Key`, or not a usable one.
    #[error("{0}")]
    IdempotencyKeyMissing(String),
    /// The key was used for another request.
    #[error("the Idempotency-Key was used for another request")]
    IdempotencyKeyReused,
    /// The first request with this key is still running.
    #[error("a request with this Idempotency-Key is running")]
    RequestInProgress,
    /// No token, or one that is not ours.
    #[error("no valid token")]
    Unauthenticated,
    /// The token's role doesn't allow this.
    #[error("the token's role does not allow this")]
    Forbidden,
    /// Too many requests.
    #[error("too many requests")]
    RateLimited {
        /// When to come back.
        retry_after_s: u32,
    },
    /// The wallet can't be reached, and nothing was sent or reserved.
    #[error("the wallet {wallet} can't be reached")]
    WalletUnavailable {
        /// Which.
        wallet: WalletKind,
    },
    /// Too much work is waiting.
    #[error("too much work is waiting")]
    Overloaded,
    /// Fields that are wrong.
    #[error("{} field(s) are wrong", .0.len())]
    ValidationFailed(Vec<FieldError>),
    /// Another currency than the order's.
    #[error("the order is in {order}")]
    CurrencyMismatch {
        /// The order's currency.
        order: Currency,
    },
    /// A body or request that can't be read.
    #[error("{0}")]
    MalformedRequest(String),
    /// Nothing is there.
    #[error("nothing is there")]
    NotFound,
    /// Another method is meant.
    #[error("this address has other methods")]
    MethodNotAllowed,
    /// The body is too large.
    #[error("the body is larger than {max_bytes} bytes")]
    BodyTooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// The body has another type than is read here.
    #[error("the body must be {0}")]
    UnsupportedMediaType(&'static str),
}

impl Refusal {
    /// Whether it is a decision about the order itself, as a preview gives it, and no fault of the call or of the moment.
    #[must_use]
    pub const fn is_decision(&self) -> bool {
        matches!(
            self,
            Self::OrderNotRefundable { .. }
                | Self::OrderMismatch { .. }
                | Self::OrderFrozen
                | Self::AmountExceedsRefundable { .. }
                | Self::RefundableChanged { .. }
                | Self::RefundWindowPassed { .. }
                | Self::PartialRefundNotAllowed
                | Self::TooManyRefunds { .. }
                | Self::PolicyRefused(_)
        )
    }

    /// One wrong field.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::ValidationFailed(vec![FieldError::new(field, problem)])
    }
}

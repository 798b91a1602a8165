//! The suite that every adapter passes: each fault of a wallet has its one right outcome, whatever the wallet.
//!
//! An adapter's tests build a [`Stage`]: a wallet to be called, and something behind it (a sandbox, a server of the test's
//! own) that makes orders, breaks calls on request and says what its books hold. [`run`] walks the table against it and
//! says what was wrong. What a wallet lacks, by its [`Capabilities`](crate::Capabilities), is expected to be refused
//! without a word to the wallet.
//!
//! The suite looks at the two things that matter: what the adapter says (an [`Outcome`] or an [`Asked`]), and what the books
//! say afterwards. Money that was paid twice, or a wrong certainty, fails it.

mod faults;
#[allow(clippy::unwrap_used, clippy::panic, reason = "for tests: what can't be done fails them")]
mod openssl;
mod plain;
#[allow(clippy::unwrap_used, clippy::panic, reason = "for tests: what can't be done fails them")]
mod seeds;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub use openssl::{TestFile, openssl};
pub use seeds::{Target, replay};

use crate::{
    Asked, Money, OrderRef, Outcome, PaymentCode, PaymentResult, Proof, RefundCall, RefundId, VoidCall, Wallet,
    WalletRequestNo,
};

/// A wallet under test, and what stands behind it.
#[async_trait]
pub trait Stage: Send + Sync {
    /// The wallet, as an adapter.
    fn wallet(&self) -> Arc<dyn Wallet>;

    /// Somebody pays: a new order of this amount, of a kind that the wallet can void where it can void any.
    async fn pay(&self, amount: Money) -> Paid;

    /// An order that nobody paid.
    async fn leave_unpaid(&self, amount: Money) -> OrderRef;

    /// Whether what stands behind plays this call at all; one that it doesn't is skipped, and the report says so.
    fn plays(&self, operation: Operation) -> bool;

    /// Makes the next call of `operation` go wrong. False where what stands behind can't do that.
    async fn break_next(&self, operation: Operation, fault: Fault) -> bool;

    /// What was paid back of an order or is on its way, in all.
    async fn paid_back(&self, order: &OrderRef) -> Money;

    /// How often a refund was paid out.
    async fn times_paid(&self, order: &OrderRef, number: &WalletRequestNo) -> u32;

    /// Waits until the wallet takes the next different refund of an order.
    async fn pass_pace(&self);

    /// Waits until the wallet takes a void of an order that was paid just now.
    async fn pass_void_delay(&self);

    /// The longest that the wallet takes to settle what it took, with room to spare.
    fn patience(&self) -> Duration;

    /// A moment between two looks.
    async fn pause(&self);

    /// Where the wallet shall notify of refunds, if the stage listens.
    fn notify_url(&self) -> Option<String>;

    /// The notifications that were heard so far: headers (lower-case names) and body.
    async fn heard(&self) -> Vec<(Vec<(String, String)>, Vec<u8>)>;
}

/// An order that was paid.
pub struct Paid {
    /// Its numbers.
    pub order: OrderRef,
    /// What was paid.
    pub amount: Money,
    /// A fresh payment code of the one who paid, where the stage has one.
    pub code: Option<PaymentCode>,
}

/// A call that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A refund.
    Refund,
    /// A query for a refund.
    QueryRefund,
    /// A query for an order.
    QueryOrder,
    /// Sending a refund that can't be paid out to an account.
    AbnormalRefund,
    /// A void.
    Void,
    /// Closing an order.
    Close,
    /// A look-up of a payer.
    Payer,
    /// A bill.
    Bill,
}

impl Operation {
    /// The word of contract §7.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refund => "refund",
            Self::QueryRefund => "query_refund",
            Self::QueryOrder => "query_order",
            Self::AbnormalRefund => "abnormal_refund",
            Self::Void => "void",
            Self::Close => "close",
            Self::Payer => "payer",
            Self::Bill => "bill",
        }
    }
}

/// What can go wrong with one call. Source: contract §7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No answer, and nothing happened.
    NoEffectTimeout,
    /// It happened, and no answer comes.
    EffectThenTimeout,
    /// It happened, and the connection is reset.
    EffectThenReset,
    /// A gateway's error page; nothing happened.
    Http500,
    /// The wallet's own word for trouble; nothing happened.
    SystemError,
    /// Too many calls; nothing happened.
    RateLimited,
    /// It happened; the answer's signature is wrong.
    BadSignature,
    /// A refusal without any signature; nothing happened.
    UnsignedError,
    /// It happened; the answer can't be read.
    GarbageBody,
    /// It happened; the answer comes late.
    Slow,
    /// The merchant's balance is too low; nothing happened.
    NotEnoughBalance,
    /// It is taken, and ends without being paid.
    Closed,
    /// It is taken, and can't be paid out.
    Abnormal,
}

impl Fault {
    /// Those that any call can meet.
    pub const OF_ANY_CALL: [Self; 10] = [
        Self::NoEffectTimeout,
        Self::EffectThenTimeout,
        Self::EffectThenReset,
        Self::Http500,
        Self::SystemError,
        Self::RateLimited,
        Self::BadSignature,
        Self::UnsignedError,
        Self::GarbageBody,
        Self::Slow,
    ];

    /// The word of contract §7.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoEffectTimeout => "no_effect_timeout",
            Self::EffectThenTimeout => "effect_then_timeout",
            Self::EffectThenReset => "effect_then_reset",
            Self::Http500 => "http_500",
            Self::SystemError => "system_error",
            Self::RateLimited => "rate_limited",
            Self::BadSignature => "bad_signature",
            Self::UnsignedError => "unsigned_error",
            Self::GarbageBody => "garbage_body",
            Self::Slow => "slow",
            Self::NotEnoughBalance => "not_enough_balance",
            Self::Closed => "closed",
            Self::Abnormal => "abnormal",
        }
    }

    /// Whether the call took effect though its answer says nothing.
    const fn takes_effect(self) -> bool {
        matches!(
            self,
            Self::EffectThenTimeout | Self::EffectThenReset | Self::BadSignature | Self::GarbageBody | Self::Slow
        )
    }
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Report {
    /// What held, case by case.
    pub held: Vec<String>,
    /// What the wallet can't do by its capabilities, or the stage can't produce.
    pub skipped: Vec<String>,
    /// What was wrong.
    pub wrong: Vec<String>,
}

impl Report {
    fn note(&mut self, case: impl Into<String>, result: Result<(), String>) {
        let case = case.into();
        match result {
            Ok(()) => self.held.push(case),
            Err(why) => self.wrong.push(format!("{case}: {why}")),
        }
    }

    fn skip(&mut self, case: impl Into<String>) {
        self.skipped.push(case.into());
    }
}

/// Walks the whole table.
pub async fn run(stage: &dyn Stage) -> Report {
    let mut report = Report::default();
    plain::refunds(stage, &mut report).await;
    plain::voids(stage, &mut report).await;
    plain::look_ups(stage, &mut report).await;
    plain::notifications(stage, &mut report).await;
    faults::refunds(stage, &mut report).await;
    faults::payouts(stage, &mut report).await;
    faults::queries(stage, &mut report).await;
    faults::voids(stage, &mut report).await;
    faults::look_ups(stage, &mut report).await;
    report
}

/// The amount of the suite's orders: enough for several refunds.
fn total() -> Money {
    yuan(50)
}

/// Whole yuan; the amounts here are small.
fn yuan(whole: i64) -> Money {
    Money::fen(whole * 100).unwrap_or(Money::zero(crate::Currency::CNY))
}

fn refund_of(stage: &dyn Stage, paid: &Paid, amount: Money) -> RefundCall {
    RefundCall {
        order: paid.order.clone(),
        request_no: RefundId::new().wallet_request_no(),
        amount,
        total: paid.amount,
        reason: "conformance".to_owned(),
        notify_url: stage.notify_url(),
        goods: Vec::new(),
    }
}

fn void_of(paid: &Paid) -> VoidCall {
    VoidCall {
        order: paid.order.clone(),
        request_no: RefundId::new().wallet_request_no(),
        total: paid.amount,
        reason: "conformance".to_owned(),
        payment: PaymentResult::Paid,
    }
}

/// A word for an outcome, and whether it is one of certainty.
fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(record) => format!("done ({:?})", record.status),
        Outcome::Pending(record) => format!("pending ({:?})", record.status),
        Outcome::Held(hold) => format!("held ({:?})", hold.reason),
        Outcome::Rejected(rejection) => format!("rejected ({}, {:?})", rejection.code, rejection.proof),
        Outcome::Unknown(doubt) => format!("unknown ({doubt})"),
    }
}

fn asked_word(asked: &Asked) -> String {
    match asked {
        Asked::Found(record) => format!("found ({:?})", record.status),
        Asked::NotKnown => "not known".to_owned(),
        Asked::Unknown(doubt) => format!("unknown ({doubt})"),
    }
}

/// Whether a refusal is worth nothing by itself: it needs the wallet's word that it doesn't know the number.
fn needs_more(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected(rejection) if rejection.proof != Proof::Answer)
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

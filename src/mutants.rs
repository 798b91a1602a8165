//! Deliberate bugs, to show that the simulator bites (tests/sim/README.md). Without the feature `mutants` there is none of
//! them: [`on`] is a constant.

#[cfg(feature = "mutants")]
use std::sync::atomic::{AtomicUsize, Ordering};

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident = $word:literal),+ $(,)?) => {
        /// A deliberate bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[$doc])* $name),+ }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }
        }
    };
}

mutants! {
    /// The ceiling of an order is neither asked for when money is reserved nor checked by the database.
    NoReserve = "no_conditional_reserve",
    /// A time-out is a failure.
    TimeoutFails = "timeout_means_failed",
    /// A refund is sent again under a new number.
    NewNumber = "new_number_on_retry",
    /// An outcome is recorded under an old claim.
    NoFence = "lease_without_fence",
    /// Money that may have been sent is released while nothing is known.
    EarlyRelease = "released_early",
    /// A notification is believed whoever signed it. In the simulator's adapter.
    NotificationUnverified = "notification_unverified",
    /// A refusal is believed although the number was sent before.
    RefusalAfterUnknown = "refusal_after_unknown",
    /// That the wallet doesn't know a number fails the refund.
    NotKnownFails = "not_known_means_failed",
    /// Alipay's `fund_change` `N` is taken as paid. In the simulator's adapter.
    FundChangeNDone = "fund_change_n_is_done",
    /// Alipay's `fund_change` `N` is taken as refused. In the simulator's adapter.
    FundChangeNFailed = "fund_change_n_is_failed",
    /// The follow-up job is put in after the intent's transaction.
    JobLater = "job_after_commit",
    /// A key is not kept.
    NoKeyIndex = "no_key_index",
    /// The pace between refunds of one order is not waited for.
    NoPace = "pace_ignored",
    /// News that repeats itself moves money again.
    NewsTwice = "news_counted_twice",
    /// A process that slept over its claim sends all the same.
    LateSend = "send_past_claim",
    /// Sends after the first are not counted.
    SendUncounted = "send_not_counted",
    /// What was decided by a reading is written although that no longer holds.
    StaleKept = "stale_reading_kept",
}

/// Whether this bug is in.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn on(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
static CHOSEN: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Whether this bug is in.
#[cfg(feature = "mutants")]
#[must_use]
pub fn on(mutant: Mutant) -> bool {
    CHOSEN.load(Ordering::Relaxed) == mutant as usize
}

/// Puts one bug in, or none.
#[cfg(feature = "mutants")]
pub fn choose(mutant: Option<Mutant>) {
    CHOSEN.store(mutant.map_or(usize::MAX, |mutant| mutant as usize), Ordering::Relaxed);
}

/// A proof that proves nothing: of a refusal that nobody gave.
#[cfg(feature = "mutants")]
#[must_use]
pub fn forged_refusal() -> crate::domain::refund::SoleRefusal {
    use crate::domain::refund::{Evidence, Judgement, SoleRefusal};
    let (code, detail) = (String::new(), String::new());
    let refusal = scanback_wallet::Rejection { code, detail, proof: scanback_wallet::Proof::Answer };
    match SoleRefusal::judge(&refusal, Evidence { sends: 1, absent: None, pace_kept: true }) {
        Judgement::Believed(proof) => proof,
        _ => unreachable!("the refusal of a sole send is believed"),
    }
}

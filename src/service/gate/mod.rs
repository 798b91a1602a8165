//! The gate before each merchant's account at a wallet: how many calls at once, how many a second, and none at all while the
//! wallet is down (contract §4 rule 8). One gate an account: a wallet that is slow or down holds up nobody else's calls.
//!
//! A pass is taken before money is reserved and before a send is counted, so that whoever is turned away leaves nothing
//! behind. Refunds and look-ups have lanes of their own.

mod breaker;
mod quota;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use scanback_wallet::{Asked, DoubtKind, MerchantId, Outcome, WalletError, WalletKind};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use self::{breaker::Breaker, quota::Quota};
use crate::{domain::gate::GateLimits, keys::Keys};

/// Of the places, those that the follower may take: it must not crowd out requests, nor one wallet another's follow-ups.
const FOLLOWERS_SHARE: usize = 4;

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// It moves money.
    Refunds,
    /// It asks.
    LookUps,
}

/// Why there is no pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    /// The wallet is down, as far as the last calls say.
    Down {
        /// When somebody may try again.
        retry_in: Duration,
    },
    /// Too much is waiting.
    Full {
        /// When there may be room.
        retry_in: Duration,
    },
}

impl Shut {
    pub(super) const fn retry_in(self) -> Duration {
        match self {
            Self::Down { retry_in } | Self::Full { retry_in } => retry_in,
        }
    }
}

/// What came of a call, for the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The wallet answered.
    Answer {
        /// And refused, by its own rules.
        refused: bool,
    },
    /// It answered that it is asked too often.
    Slower,
    /// No answer that can be used.
    Silence,
    /// No connection could be made.
    NoConnection,
}

impl Heard {
    fn of_doubt(kind: DoubtKind) -> Self {
        match kind {
            DoubtKind::Unreachable => Self::NoConnection,
            DoubtKind::RateLimited => Self::Slower,
            // genuine, and it proves nothing: the wallet is there
            DoubtKind::Inconclusive => Self::Answer { refused: false },
            DoubtKind::TimedOut
            | DoubtKind::Broken
            | DoubtKind::WalletError
            | DoubtKind::BadSignature
            | DoubtKind::Unreadable => Self::Silence,
        }
    }

    pub(super) fn of_send(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done(_) | Outcome::Pending(_) => Self::Answer { refused: false },
            Outcome::Held(_) | Outcome::Rejected(_) => Self::Answer { refused: true },
            Outcome::Unknown(doubt) => Self::of_doubt(doubt.kind),
        }
    }

    pub(super) fn of_question(asked: &Asked) -> Self {
        match asked {
            Asked::Found(_) | Asked::NotKnown => Self::Answer { refused: false },
            Asked::Unknown(doubt) => Self::of_doubt(doubt.kind),
        }
    }

    pub(super) fn of_look_up<T>(answer: &Result<T, WalletError>) -> Self {
        match answer {
            Err(WalletError::Doubt(doubt)) => Self::of_doubt(doubt.kind),
            // a refusal or "not there" is an answer
            Ok(_) | Err(_) => Self::Answer { refused: false },
        }
    }
}

/// The gate of one account.
pub(super) struct Gate {
    followers: Arc<Semaphore>,
    most_waiting: usize,
    refunds: LaneState,
    look_ups: LaneState,
    wallet: WalletKind,
    keys: Keys,
}

/// A lane has places of its own: the search for an order, which asks every wallet, must not wait behind slow refunds.
struct LaneState {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    breaker: Mutex<Breaker>,
    quota: Quota,
}

/// The right to make one call, while it is kept.
pub(super) struct Pass {
    gate: Arc<Gate>,
    lane: Lane,
    told: bool,
    _place: OwnedSemaphorePermit,
    _share: Option<OwnedSemaphorePermit>,
}

impl Gate {
    pub(super) fn new(
        merchant: &MerchantId,
        wallet: WalletKind,
        limits: GateLimits,
        time_scale: u32,
        keys: Keys,
    ) -> Arc<Self> {
        let lane = |name: &str, rate: u32, refused: u32| LaneState {
            places: Arc::new(Semaphore::new(limits.calls_at_once)),
            waiting: AtomicUsize::new(0),
            breaker: Mutex::new(Breaker::default()),
            quota: Quota::new(
                format!("{{{merchant}}}:{wallet}:{name}"),
                rate.saturating_mul(time_scale),
                refused.saturating_mul(time_scale),
            ),
        };
        Arc::new(Self {
            followers: Arc::new(Semaphore::new((limits.calls_at_once / FOLLOWERS_SHARE).max(1))),
            most_waiting: limits.waiting,
            refunds: lane("refunds", limits.refunds_per_second, limits.refunds_per_second_while_refused),
            look_ups: lane("look-ups", limits.look_ups_per_second, limits.look_ups_per_second),
            wallet,
            keys,
        })
    }

    const fn lane(&self, lane: Lane) -> &LaneState {
        match lane {
            Lane::Refunds => &self.refunds,
            Lane::LookUps => &self.look_ups,
        }
    }

    /// A pass for a request, which waits for at most `patience`.
    pub(super) async fn enter(self: &Arc<Self>, lane: Lane, patience: Duration) -> Result<Pass, Shut> {
        let began = Instant::now();
        self.breaker(lane).try_pass(began).map_err(|retry_in| self.turned_away(lane, Shut::Down { retry_in }))?;
        // from here on a pass exists, or the breaker hears that none was used
        let unused = Unused { gate: self, lane, armed: true };
        let full = || self.turned_away(lane, Shut::Full { retry_in: Duration::from_secs(1) });
        let LaneState { places, waiting, quota, .. } = self.lane(lane);
        let place = match Arc::clone(places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let _queued = Queued::join(waiting, self.most_waiting).ok_or_else(full)?;
                let place = timeout(patience, Arc::clone(places).acquire_owned()).await;
                place.ok().and_then(Result::ok).ok_or_else(full)?
            }
        };
        let left = patience.saturating_sub(began.elapsed());
        let turn = quota.take(&self.keys, left).await;
        let wait = turn.map_err(|retry_in| self.turned_away(lane, Shut::Full { retry_in }))?;
        if !wait.is_zero() {
            let _queued = Queued::join(waiting, self.most_waiting).ok_or_else(full)?;
            sleep(wait).await;
        }
        unused.used();
        Ok(Pass { gate: Arc::clone(self), lane, told: false, _place: place, _share: None })
    }

    /// A pass for the follower, which has time: it takes its share of the places, and comes back where that is taken.
    pub(super) async fn enter_to_follow(self: &Arc<Self>, lane: Lane) -> Result<Pass, Shut> {
        const LATER: Duration = Duration::from_secs(1);
        let share = Arc::clone(&self.followers).try_acquire_owned();
        let share = share.map_err(|_| Shut::Full { retry_in: LATER })?;
        let mut pass = self.enter(lane, LATER).await?;
        pass._share = Some(share);
        Ok(pass)
    }

    fn breaker(&self, lane: Lane) -> std::sync::MutexGuard<'_, Breaker> {
        self.lane(lane).breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turned_away(&self, lane: Lane, shut: Shut) -> Shut {
        let lane = if lane == Lane::Refunds { "refunds" } else { "look_ups" };
        let why = if matches!(shut, Shut::Down { .. }) { "down" } else { "full" };
        metrics::counter!("scanback_wallet_turned_away_total", "wallet" => self.wallet.as_str(), "lane" => lane, "why" => why)
            .increment(1);
        shut
    }

    /// Whether calls are let through now, or on trial: refunds, and the questions without which no new order is refunded.
    pub(super) fn is_open(&self) -> bool {
        let now = Instant::now();
        [Lane::Refunds, Lane::LookUps].into_iter().all(|lane| !self.breaker(lane).is_open(now))
    }
}

impl Pass {
    /// The gate that it is for.
    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// Tells the gate what came of the call. `about` tells calls for different refunds apart: one that can't be reached
    /// again and again says no more than once.
    pub(super) fn heard(mut self, heard: Heard, about: &str) {
        self.told = true;
        let (gate, lane) = (&self.gate, self.lane);
        let opened = gate.breaker(lane).heard(heard, about, Instant::now());
        if opened {
            tracing::warn!(wallet = %gate.wallet, ?lane, "a wallet does not answer; calls are held back until it does");
        }
        match heard {
            Heard::Answer { refused } => gate.lane(lane).quota.note(refused),
            Heard::Slower => gate.lane(lane).quota.note(true),
            Heard::Silence | Heard::NoConnection => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.told {
            self.gate.breaker(self.lane).unused();
        }
    }
}

/// A trial that ends before its call was made must not keep the next one out.
struct Unused<'a> {
    gate: &'a Gate,
    lane: Lane,
    armed: bool,
}

impl Unused<'_> {
    fn used(mut self) {
        self.armed = false;
    }
}

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.gate.breaker(self.lane).unused();
        }
    }
}

/// A place in the bounded queue.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn join(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let queued = Self(waiting); // leaves again when dropped
        (before < most).then_some(queued)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

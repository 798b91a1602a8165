//! What all parts of one simulated run share: chance, the faults in force, the wallets' books, what callers were told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use scanback::service::Desk;
use scanback_wallet::Clock;
use tokio::time::Instant;

use crate::{books::Books, dice::Dice};

/// The simulated run.
#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

struct Shared {
    began: Instant,
    state: Mutex<State>,
}

/// Everything that changes.
pub(crate) struct State {
    pub(crate) dice: Dice,
    /// Per mille of each fault in this run; all 0 once it is calm.
    pub(crate) faults: Faults,
    pub(crate) books: Books,
    /// Of each replica: whether this life of it is over, and until when it is paused.
    pub(crate) lives: BTreeMap<u64, Life>,
    /// The desks of living replicas.
    pub(crate) desks: BTreeMap<u64, Arc<Desk>>,
    /// What callers were told: key → (refund id, fen).
    pub(crate) told: BTreeMap<String, (String, i64)>,
    pub(crate) violations: Vec<String>,
    /// Whether what happens is printed.
    pub(crate) traced: bool,
    /// A number over everything that happened, to see that a seed replays.
    pub(crate) digest: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) dead: bool,
    pub(crate) paused_until: Instant,
}

/// How often what goes wrong, per mille. Each run has a mixture of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) crash: u64,
    pub(crate) pause: u64,
    pub(crate) lost_before: u64,
    pub(crate) lost_after: u64,
    pub(crate) late: u64,
    pub(crate) spoilt: u64,
    pub(crate) limited: u64,
    pub(crate) refused: u64,
    pub(crate) held: u64,
    pub(crate) nothing_moved: u64,
    pub(crate) closed: u64,
    pub(crate) abnormal: u64,
    pub(crate) news_lost: u64,
    pub(crate) news_twice: u64,
    pub(crate) news_forged: u64,
    /// In runs with Redis.
    pub(crate) redis: u64,
}

impl Faults {
    /// A mixture: each fault is absent, rare or frequent.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let mut of = |often: u64| match dice.between(0, 2) {
            0 => 0,
            1 => often / 4,
            _ => often,
        };
        Self {
            crash: of(40),
            pause: of(60),
            lost_before: of(200),
            lost_after: of(250),
            late: of(200),
            spoilt: of(200),
            limited: of(100),
            refused: of(300),
            held: of(100),
            nothing_moved: of(250),
            closed: of(150),
            abnormal: of(100),
            news_lost: of(400),
            news_twice: of(400),
            news_forged: of(300),
            redis: 0, // drawn apart: see `run`
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let faults = Faults::draw(&mut dice);
        Self(Arc::new(Shared {
            began: Instant::now(),
            state: Mutex::new(State {
                dice,
                faults,
                books: Books::default(),
                lives: BTreeMap::new(),
                desks: BTreeMap::new(),
                told: BTreeMap::new(),
                violations: Vec::new(),
                traced,
                digest: seed,
            }),
        }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Simulated time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// Writes a line of what happened.
    pub(crate) fn note(&self, line: &str) {
        let at = self.elapsed();
        let mut state = self.state();
        for byte in line.bytes().chain(at.as_micros().to_le_bytes()) {
            state.digest = (state.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if state.traced {
            println!("{:>12.6} {line}", at.as_secs_f64());
        }
    }

    /// Something that must never be.
    pub(crate) fn violated(&self, what: String) {
        self.note(&format!("VIOLATION {what}"));
        let mut state = self.state();
        if !state.violations.contains(&what) {
            state.violations.push(what);
        }
    }

    pub(crate) fn is_violated(&self) -> bool {
        !self.state().violations.is_empty()
    }

    /// A place where a process may die, sleep on, or just take its time.
    pub(crate) async fn point(&self, life: u64, place: &str) {
        let (dead, pause, takes) = {
            let mut state = self.state();
            let Faults { crash, pause, .. } = state.faults;
            let dead = state.lives.get(&life).is_none_or(|life| life.dead);
            if !dead && state.dice.chance(crash) {
                if let Some(life) = state.lives.get_mut(&life) {
                    life.dead = true;
                }
                state.desks.remove(&life);
                drop(state);
                self.note(&format!("life {life} dies {place}"));
                (true, None, 0)
            } else {
                let begins = (!dead && state.dice.chance(pause)).then(|| state.dice.between(1, 120));
                let takes = state.dice.between(0, 3_000);
                (dead, begins, takes)
            }
        };
        if dead {
            std::future::pending::<()>().await;
        }
        if let Some(seconds) = pause {
            self.note(&format!("life {life} is paused {place} for {seconds} s"));
            if let Some(life) = self.state().lives.get_mut(&life) {
                life.paused_until = Instant::now() + Duration::from_secs(seconds);
            }
        }
        tokio::time::sleep(Duration::from_micros(takes)).await;
        loop {
            let life = self.state().lives.get(&life).copied();
            match life {
                Some(Life { dead: false, paused_until }) if paused_until > Instant::now() => {
                    tokio::time::sleep_until(paused_until).await;
                }
                Some(Life { dead: false, .. }) => return,
                _ => std::future::pending::<()>().await,
            }
        }
    }

    /// What a process does, as long as it lives; `None` where it died meanwhile.
    pub(crate) async fn while_alive<T>(&self, life: u64, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(Duration::from_millis(500), &mut work).await {
                Ok(done) => return Some(done),
                Err(_) if self.is_dead(life) => return None,
                Err(_) => {}
            }
        }
    }

    pub(crate) fn is_dead(&self, life: u64) -> bool {
        self.state().lives.get(&life).is_none_or(|life| life.dead)
    }
}

/// 2025-10-09, when every simulated run begins.
const EPOCH_S: i64 = 1_760_000_000;

impl Clock for World {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.elapsed()).unwrap_or_default();
        Timestamp::from_second(EPOCH_S)
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .saturating_add(elapsed)
            .unwrap_or(Timestamp::MAX)
    }
}

//! Redis as the replicas of a run share it: what our scripts do, by the same clock; and what goes wrong with it, all by the seed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use scanback::keys::{Runs, Said, Says, SimulatedRedis};
use tokio::time::Instant;

use crate::{dice::Dice, world::World};

/// A call that hangs does so longer than any patience with Redis.
const HANGS: Duration = Duration::from_secs(1);

/// The server.
#[derive(Clone)]
pub(crate) struct Redis {
    world: World,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Chance of its own: runs without Redis throw as they did before there was one.
    dice: Dice,
    claims: BTreeMap<String, Claim>,
    fence: u64,
    /// Until when it is gone.
    gone_until: Instant,
}

struct Claim {
    fingerprint: String,
    owner: Option<String>,
    answer: Option<[String; 3]>,
    ends: Instant,
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    None,
    /// The line breaks before it arrives.
    LostBefore,
    /// It is done, and the answer is lost.
    LostAfter,
    /// It is done and answered, and then lost in a fail-over.
    Forgotten,
    /// Everything was flushed before it arrived.
    Flushed,
}

/// Redis as one life of a replica reaches it.
struct Reached {
    redis: Redis,
    life: u64,
}

impl Redis {
    pub(crate) fn new(seed: u64, world: &World) -> Self {
        let state = State {
            dice: Dice::new(seed ^ 0x0bad_5eed),
            claims: BTreeMap::new(),
            fence: 0,
            gone_until: Instant::now(),
        };
        Self { world: world.clone(), state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn of_life(&self, life: u64) -> Arc<dyn SimulatedRedis> {
        Arc::new(Reached { redis: self.clone(), life })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What meets this call: as rare as the run's lost answers are, and nothing once it is calm.
    fn mishap(&self, script: Runs) -> Option<Mishap> {
        let often = self.world.state().faults.redis;
        let mut state = self.state();
        if state.gone_until > Instant::now() {
            return None;
        }
        if script != Runs::Probe && state.dice.chance(often / 4) {
            let seconds = state.dice.between(1, 60);
            state.gone_until = Instant::now() + Duration::from_secs(seconds);
            let emptied = state.dice.chance(500);
            if emptied {
                state.claims.clear();
            }
            drop(state);
            self.world
                .note(&format!("Redis is gone for {seconds} s{}", if emptied { ", and comes back empty" } else { "" }));
            return None;
        }
        if !state.dice.chance(often) {
            return Some(Mishap::None);
        }
        Some(match state.dice.between(0, 3) {
            0 => Mishap::LostBefore,
            1 => Mishap::LostAfter,
            2 => Mishap::Forgotten,
            _ => Mishap::Flushed,
        })
    }
}

impl State {
    fn run(&mut self, script: Runs, keys: &[String], arguments: &[String]) -> Option<Says> {
        let now = Instant::now();
        self.claims.retain(|_, claim| claim.ends > now);
        let name = keys.first()?;
        let of_owner = |claim: &&mut Claim| claim.owner.as_ref() == arguments.first();
        Some(match script {
            Runs::Claim => self.claim(name, arguments)?,
            Runs::Store => {
                let [_, answer @ .., ttl] = arguments else { return None };
                let Some(claim) = self.claims.get_mut(name).filter(of_owner) else { return Some(Says::Number(0)) };
                claim.answer = Some(answer.to_vec().try_into().ok()?);
                claim.owner = None;
                claim.ends = now + millis(ttl)?;
                Says::Number(1)
            }
            Runs::Free => {
                let is_owner = self.claims.get_mut(name).filter(of_owner).is_some();
                if is_owner {
                    self.claims.remove(name);
                }
                Says::Number(i64::from(is_owner))
            }
            Runs::Renew => {
                let Some(claim) = self.claims.get_mut(name).filter(of_owner) else { return Some(Says::Number(0)) };
                claim.ends = now + millis(arguments.get(1)?)?;
                Says::Number(1)
            }
            Runs::Probe => Says::Number(1),
            // no run comes near a quota
            Runs::TakeQuota => Says::Numbers(vec![1, 0]),
        })
    }

    fn claim(&mut self, name: &str, arguments: &[String]) -> Option<Says> {
        let [fingerprint, owner, lease] = arguments else { return None };
        let words = match self.claims.get(name) {
            Some(held) if held.fingerprint != *fingerprint => vec!["reused".to_owned()],
            Some(Claim { answer: Some(answer), .. }) => {
                std::iter::once("replay".to_owned()).chain(answer.clone()).collect()
            }
            Some(_) => vec!["running".to_owned()],
            None => {
                self.fence += 1;
                let ends = Instant::now() + millis(lease)?;
                let claim = Claim { fingerprint: fingerprint.clone(), owner: Some(owner.clone()), answer: None, ends };
                self.claims.insert(name.to_owned(), claim);
                vec!["granted".to_owned(), self.fence.to_string()]
            }
        };
        Some(Says::Texts(words))
    }
}

fn millis(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_millis)
}

impl SimulatedRedis for Reached {
    fn run(&self, script: Runs, keys: Vec<String>, arguments: Vec<String>) -> Said<'_> {
        Box::pin(async move {
            let Redis { world, .. } = &self.redis;
            if script != Runs::Probe {
                world.point(self.life, "before a call to Redis").await;
            } else if world.is_dead(self.life) {
                std::future::pending::<()>().await; // nobody is there to hear it
            }
            let Some(mishap) = self.redis.mishap(script) else {
                let hangs = self.redis.state().dice.chance(300);
                if hangs {
                    tokio::time::sleep(HANGS).await;
                }
                return None;
            };
            if mishap != Mishap::None {
                world.note(&format!("life {} and Redis, {script:?}: {mishap:?}", self.life));
            }
            let said = {
                let mut state = self.redis.state();
                match mishap {
                    Mishap::LostBefore => return None,
                    Mishap::Flushed => state.claims.clear(),
                    Mishap::None | Mishap::LostAfter | Mishap::Forgotten => {}
                }
                let said = state.run(script, &keys, &arguments);
                if mishap == Mishap::Forgotten {
                    keys.first().map(|name| state.claims.remove(name));
                }
                said
            };
            if mishap == Mishap::LostAfter {
                tokio::time::sleep(HANGS).await;
                return None;
            }
            if script != Runs::Probe {
                world.point(self.life, "after a call to Redis").await;
            }
            said
        })
    }
}

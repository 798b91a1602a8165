//! Idempotency keys in Redis: who works on a key now, and the first answer given under it.
//!
//! Redis makes replays fast and holds back a second request while the first one runs; it is never the only copy of
//! anything. The unique index in the database has the last word: a Redis that is absent, dead, emptied, or that lost a
//! claim in a fail-over leads to two owners at most, and the index lets one of them commit. Source: contract §4 rule 2.
//!
//! A claim is one hash under `scanback:idem:{merchant}:<SHA-256 of the key>` with the request's fingerprint and a random
//! owner; its time to live is the lease, and later that of the stored answer. The braces put all keys of a merchant into
//! one slot of a cluster. The request itself is never stored.

mod address;
mod link;
mod quota;
#[cfg(feature = "simulated")]
mod simulated;

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use aws_lc_rs::digest;
use redis::{Script, ScriptInvocation};
use scanback_wallet::MerchantId;
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

pub use self::quota::{QuotaTurn, Rate};
#[cfg(feature = "simulated")]
pub use self::simulated::{Runs, Said, Says, SimulatedRedis};
use self::{
    address::Server,
    link::{Link, Missed},
};
pub use crate::domain::idempotency::{Fingerprint, IdempotencyKey, StoredAnswer, StoredStatus};

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("claim.lua")));
static STORE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("store.lua")));
static FREE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("free.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("renew.lua")));

/// The keys of all merchants. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    redis: Option<Arc<Redis>>,
}

struct Redis {
    link: Link,
    lease: Duration,
    ttl: Duration,
}

/// What became of a claim.
#[derive(Debug)]
#[must_use = "a claim that nobody looks at blocks its key for a lease"]
pub enum Claim {
    /// The key is ours while the guard lives.
    Granted(ClaimGuard),
    /// The same request is running elsewhere: 409 `request_in_progress`.
    Running,
    /// The key belongs to another request: 422 `idempotency_key_reused`.
    Reused,
    /// The request was answered before: the first answer, again.
    Replay(StoredAnswer),
    /// Redis is absent, down, too slow, or answered with an error: the database decides.
    NoRedis,
}

/// How Redis is, for `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysHealth {
    /// None is configured.
    Absent,
    /// The last call or probe, at most a second ago, was answered.
    Up,
    /// It can't be used; the service is degraded.
    Down,
}

/// Why keys can't be set up. A Redis that is down is no such reason.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The URL begins with something else.
    #[error("a Redis URL begins with redis://, rediss://, redis+cluster:// or redis+sentinel://")]
    Scheme,
    /// The URL has a `#` in it.
    #[error("a Redis URL has no fragment (write a # in a password as %23)")]
    Fragment,
    /// A sentinel URL doesn't name the master.
    #[error("a redis+sentinel URL ends with /name-of-the-master")]
    NoMaster,
    /// Host, port, login or database can't be read.
    #[error("the Redis URL can't be read")]
    Malformed(#[source] redis::RedisError),
    /// The lease is 0 or longer than [`Keys::MAX_LEASE`].
    #[error("the lease of an idempotency key is between 1 ms and 30 s")]
    Lease,
    /// The time to live is shorter than [`Keys::MIN_TTL`].
    #[error("idempotency keys are kept for at least 24 h")]
    Ttl,
}

impl Keys {
    /// The longest lease: how long a dead owner may block its key (contract §4 rule 2).
    pub const MAX_LEASE: Duration = Duration::from_secs(30);
    /// The shortest time for which answers are kept (contract §4 rule 2).
    pub const MIN_TTL: Duration = Duration::from_secs(24 * 60 * 60);
    /// How long a start waits for Redis before it goes on without.
    const START_WAIT: Duration = Duration::from_secs(1);

    /// No Redis: every claim is [`Claim::NoRedis`].
    #[must_use]
    pub const fn disabled() -> Self {
        Self { redis: None }
    }

    /// Keys in the Redis at `url`. Waits a second at most; if Redis isn't there by then, it is used as soon as it is.
    ///
    /// `url`: `redis://` or `rediss://` `[user:password@]host[:port][/database]`,
    /// `redis+cluster://[user:password@]host[:port],…`, or `redis+sentinel://[user:password@]host[:port],…/master[/database]`.
    /// # Errors
    /// [`KeysError`] for a setting that can't be right; never because Redis is down.
    pub async fn connect(url: &str, lease: Duration, ttl: Duration) -> Result<Self, KeysError> {
        if lease < Duration::from_millis(1) || lease > Self::MAX_LEASE {
            return Err(KeysError::Lease);
        }
        if ttl < Self::MIN_TTL {
            return Err(KeysError::Ttl);
        }
        let redis = Redis { link: Link::start(Server::parse(url)?), lease, ttl };
        let _ = timeout(Self::START_WAIT, redis.link.opened()).await;
        Ok(Self { redis: Some(Arc::new(redis)) })
    }

    /// Keys in a Redis that a simulation plays.
    #[cfg(feature = "simulated")]
    #[must_use]
    pub fn simulated(redis: Arc<dyn SimulatedRedis>, lease: Duration) -> Self {
        let link = Link::start(Server::Simulated(simulated::Line(redis)));
        Self { redis: Some(Arc::new(Redis { link, lease, ttl: Self::MIN_TTL })) }
    }

    /// Claims `key` of `merchant` for a request with this fingerprint. Takes 150 ms at most.
    ///
    /// A [`Claim::Granted`] is no proof that no refund exists under the key: ask the database.
    pub async fn claim(&self, merchant: &MerchantId, key: &IdempotencyKey, fingerprint: &Fingerprint) -> Claim {
        let Some(redis) = &self.redis else { return Claim::NoRedis };
        let Some(owner) = random_owner() else { return Claim::NoRedis };
        let holding = Holding { redis: Arc::clone(redis), name: claim_name(merchant, key), owner };
        match holding.claim(merchant, fingerprint).await {
            Ok(Some(answer)) => answer.into_claim(holding),
            Ok(None) => {
                tracing::error!("a claim in Redis can't be read: the database decides");
                Claim::NoRedis
            }
            Err(Missed::NotSent) => Claim::NoRedis,
            Err(Missed::Unheard) => {
                holding.disown();
                Claim::NoRedis
            }
        }
    }

    /// How Redis is now.
    #[must_use]
    pub fn health(&self) -> KeysHealth {
        match &self.redis {
            None => KeysHealth::Absent,
            Some(redis) if redis.link.is_up() => KeysHealth::Up,
            Some(_) => KeysHealth::Down,
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:?})", self.health())
    }
}

/// What `claim.lua` answers.
enum Answer {
    Granted { fence: u64 },
    Running,
    Reused,
    Replay(StoredAnswer),
}

impl Answer {
    fn read(words: &[String]) -> Option<Self> {
        Some(match words {
            [word, fence] if word == "granted" => Self::Granted { fence: fence.parse().ok()? },
            [word] if word == "running" => Self::Running,
            [word] if word == "reused" => Self::Reused,
            [word, status, body, location] if word == "replay" => Self::Replay(StoredAnswer {
                status: StoredStatus::from_code(status.parse().ok()?)?,
                body: body.clone(),
                location: (!location.is_empty()).then(|| location.clone()),
            }),
            _ => return None,
        })
    }

    fn into_claim(self, holding: Holding) -> Claim {
        match self {
            Self::Granted { fence } => Claim::Granted(ClaimGuard::new(holding, fence)),
            Self::Running => Claim::Running,
            Self::Reused => Claim::Reused,
            Self::Replay(answer) => Claim::Replay(answer),
        }
    }
}

/// A claim as its owner names it.
#[derive(Clone)]
struct Holding {
    redis: Arc<Redis>,
    name: String,
    owner: String,
}

impl Holding {
    async fn claim(&self, merchant: &MerchantId, fingerprint: &Fingerprint) -> Result<Option<Answer>, Missed> {
        let mut script = CLAIM.key(&self.name);
        script.key(format!("scanback:fence:{{{merchant}}}"));
        script.arg(fingerprint.to_string()).arg(&self.owner).arg(millis(self.redis.lease));
        let words: Vec<String> = self.redis.link.run(&script).await?;
        Ok(Answer::read(&words))
    }

    /// Runs a script that does nothing unless the claim is still ours; says whether it was.
    async fn as_owner(&self, script: &mut ScriptInvocation<'_>) -> Result<bool, Missed> {
        self.redis.link.run(script).await
    }

    async fn free(&self) -> Result<bool, Missed> {
        self.as_owner(FREE.key(&self.name).arg(&self.owner)).await
    }

    async fn renew(&self) -> Result<bool, Missed> {
        self.as_owner(RENEW.key(&self.name).arg(&self.owner).arg(millis(self.redis.lease))).await
    }

    async fn store(&self, answer: &StoredAnswer) -> Result<bool, Missed> {
        let mut script = STORE.key(&self.name);
        script.arg(&self.owner).arg(answer.status.code()).arg(&answer.body);
        script.arg(answer.location.as_deref().unwrap_or_default()).arg(millis(self.redis.ttl));
        self.as_owner(&mut script).await
    }

    /// Gives up, in the background, a claim that was perhaps made although no answer came. Without this the key would
    /// answer "running" for a lease after the request that never knew it as its own is over.
    fn disown(self) {
        tokio::spawn(async move {
            let lease = self.redis.lease; // after it nothing is left to give up
            timeout(lease, async {
                self.redis.link.opened().await;
                self.free().await
            })
            .await
        });
    }
}

/// A claim that is ours. Its lease is renewed while the guard lives. Dropping it without [`ClaimGuard::store`] or
/// [`ClaimGuard::free`], as a crash does, leaves the claim to the end of its lease.
#[must_use = "dropping it blocks the key for a lease"]
pub struct ClaimGuard {
    holding: Holding,
    fence: u64,
    renewal: AbortHandle,
}

impl ClaimGuard {
    fn new(holding: Holding, fence: u64) -> Self {
        let renewed = holding.clone();
        let renewal = tokio::spawn(async move {
            loop {
                sleep(renewed.redis.lease / 3).await;
                if let Ok(false) = renewed.renew().await {
                    break; // another may own it by now
                }
            }
        });
        Self { holding, fence, renewal: renewal.abort_handle() }
    }

    /// Grows with every claim of a merchant: of two owners of a key the later one has the higher number.
    #[must_use]
    pub const fn fence(&self) -> u64 {
        self.fence
    }

    /// Keeps the first answer for the time to live, if the claim is still ours. Otherwise nothing happens: whoever owns
    /// the key finds the refund in the database.
    pub async fn store(self, answer: &StoredAnswer) {
        if let Ok(false) = self.holding.store(answer).await {
            tracing::info!(claim.fence = self.fence, "the claim had ended before its answer: not kept in Redis");
        }
    }

    /// Gives the key back for another try, if the claim is still ours. Only for a request that committed no refund.
    pub async fn free(self) {
        // where it doesn't arrive, the lease ends the claim
        let _ = self.holding.free().await;
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl fmt::Debug for ClaimGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimGuard").field("fence", &self.fence).finish_non_exhaustive()
    }
}

/// The name of a claim in Redis. The key's hash stands for the key: any text of 255 characters makes a short, plain name.
fn claim_name(merchant: &MerchantId, key: &IdempotencyKey) -> String {
    let hash = digest::digest(&digest::SHA256, key.as_str().as_bytes());
    format!("scanback:idem:{{{merchant}}}:{}", hex::encode(hash))
}

/// 128 random bits as hex; `None` if the machine has none.
fn random_owner() -> Option<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(hex::encode(bytes))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! One `serve` process: the real desk, ledger and follower. It dies at a step, and another life begins on the same store.

use std::{collections::BTreeMap, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use scanback::{
    domain::{
        gate::GateLimits,
        policy::{OperatorRule, Policy},
    },
    keys::Keys,
    ledger::{Ledger, Step, Steps},
    scan::{Limits, ScanPool},
    service::{Desk, DeskParts, DeskSettings, Forwards, Pepper},
    webhook::client::WebhookClient,
};
use scanback_wallet::{Clock, MerchantId, Wallet, WalletKind};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    adapter::{SimWallet, TIMEOUT},
    audit::Auditor,
    redis::Redis,
    world::{Life, World},
};

/// The one merchant.
pub(crate) const MERCHANT: &str = "demo";
/// The follower looks at least this often; the service's own second would only cost time.
const LOOKS_EVERY: Duration = Duration::from_secs(20);

/// The parts that are the same for every life and take a while to make.
#[derive(Clone)]
pub(crate) struct Kit {
    pub(crate) forwards: Forwards,
    pub(crate) webhooks: WebhookClient,
}

/// Lease of a claim in Redis.
const KEY_LEASE: Duration = Duration::from_secs(15);

struct Hold {
    world: World,
    life: u64,
    auditor: Arc<Auditor>,
}

impl Steps for Hold {
    fn step(&self, step: Step) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            match step {
                Step::BeforeCommit => self.world.point(self.life, "before a commit").await,
                Step::AfterCommit => {
                    self.auditor.look(&self.world);
                    self.world.point(self.life, "after a commit").await;
                }
            }
        })
    }
}

/// Any desk that is alive, by chance.
pub(crate) fn any(world: &World) -> Option<(u64, Arc<Desk>)> {
    let mut state = world.state();
    let count = state.desks.len() as u64;
    if count == 0 {
        return None;
    }
    let index = usize::try_from(state.dice.between(0, count - 1)).unwrap_or(0);
    state.desks.iter().nth(index).map(|(life, desk)| (*life, Arc::clone(desk)))
}

/// What all lives of all replicas of a run share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: PathBuf,
    pub(crate) auditor: Arc<Auditor>,
    pub(crate) redis: Option<Redis>,
    pub(crate) kit: Kit,
}

fn begin(world: &World, life: u64, shared: &Shared) -> anyhow::Result<Arc<Desk>> {
    let Shared { store, auditor, redis, kit } = shared;
    let hold = Hold { world: world.clone(), life, auditor: Arc::clone(auditor) };
    let ledger = Ledger::open_in_steps(store, Arc::new(hold)).context("the store can't be opened")?;
    let merchant = MerchantId::parse(MERCHANT)?;
    let wallet = |kind| -> Arc<dyn Wallet> { Arc::new(SimWallet { kind, life, world: world.clone() }) };
    let wallets: BTreeMap<_, _> =
        WalletKind::ALL.into_iter().map(|kind| ((merchant.clone(), kind), wallet(kind))).collect();
    let gate = GateLimits {
        calls_at_once: 16,
        waiting: 64,
        refunds_per_second: 150,
        refunds_per_second_while_refused: 6,
        look_ups_per_second: 300,
    };
    let parts = DeskParts {
        ledger,
        keys: redis.as_ref().map_or_else(Keys::disabled, |redis| Keys::simulated(redis.of_life(life), KEY_LEASE)),
        scans: ScanPool::new(Limits::default(), 1, 1),
        wallets,
        forwards: kit.forwards.clone(),
        webhooks: kit.webhooks.clone(),
        clock: Arc::new(world.clone()) as Arc<dyn Clock>,
        pepper: Pepper::new(b"the pepper of all simulated runs"),
    };
    let settings = DeskSettings {
        policy: Policy { operator: OperatorRule::Never, ..Policy::default() },
        time_scale: 1,
        wallet_timeout: TIMEOUT,
        answer_within: Duration::from_secs(8),
        key_lease: KEY_LEASE,
        public_url: "https://sim.invalid".into(),
        private_webhooks: false,
        max_frame_bytes: 1 << 20,
        wechat_gate: gate,
        alipay_gate: gate,
        refunds_at_once: 64,
    };
    Ok(Desk::new(parts, settings))
}

/// Lives one life after another on the store, until the run ends.
pub(crate) async fn live(world: World, slot: u64, alone: bool, shared: Shared) {
    for number in 0.. {
        let life = slot * 1000 + number;
        world.state().lives.insert(life, Life { dead: false, paused_until: Instant::now() });
        let desk = match begin(&world, life, &shared) {
            Ok(desk) => desk,
            Err(error) => {
                world.violated(format!("a desk could not begin: {error:#}"));
                return;
            }
        };
        if alone {
            // the only process on its file, as at the start of the service. Nothing of the one before runs any more.
            let taking = desk.ledger().take_over_leases(world.now());
            if world.while_alive(life, taking).await.is_none() {
                continue; // it died there
            }
        }
        world.note(&format!("life {life} begins"));
        if !world.is_dead(life) {
            world.state().desks.insert(life, Arc::clone(&desk));
        }
        follow(&world, life, &desk).await;
        world.state().desks.remove(&life);
        let wait = world.state().dice.between(100, 20_000);
        sleep(Duration::from_millis(wait)).await;
    }
}

/// The follower's loop, until this life ends.
async fn follow(world: &World, life: u64, desk: &Arc<Desk>) {
    while !world.is_dead(life) {
        let now: Timestamp = desk.now();
        let leased = desk.ledger().lease_follow_ups(32, now, desk.leased_until(now));
        match world.while_alive(life, leased).await {
            Some(Ok(jobs)) => {
                for job in jobs {
                    let (world, desk) = (world.clone(), Arc::clone(desk));
                    tokio::spawn(async move {
                        if let Err(error) = desk.follow_refund(&job).await {
                            world.note(&format!("life {life}: {} could not be followed: {error}", job.key));
                        }
                    });
                }
            }
            Some(Err(error)) => world.note(&format!("life {life}: no jobs: {error}")),
            None => return,
        }
        let due = desk.ledger().next_follow_up().await.ok().flatten();
        let wait = due.and_then(|due| Duration::try_from(due.duration_since(desk.now())).ok());
        let wait = wait.unwrap_or(LOOKS_EVERY).clamp(Duration::from_millis(50), LOOKS_EVERY);
        let _ = timeout(wait, desk.follow_bell().notified()).await;
    }
}

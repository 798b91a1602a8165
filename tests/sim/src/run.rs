//! One seed: a few orders, callers who ask and ask again, replicas that die; then calm, and everything must settle.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use scanback::{
    domain::{
        actor::{Caller, Role},
        idempotency::IdempotencyKey,
        order::{OrderKind, Payment},
        refusal::Refusal,
    },
    ledger::{Ledger, NewOrder},
    service::{RefundAnswer, RefundRequest, ScanGiven, ServiceError},
};
use scanback_wallet::{MerchantId, Money, OrderNo, WalletKind};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::{
    audit::Auditor,
    dice::Dice,
    redis::Redis,
    replica::{self, Kit, MERCHANT, Shared},
    world::{Faults, World},
};

/// How long a caller waits for its answer.
const PATIENCE: Duration = Duration::from_secs(12);
/// When it is over: by then everything must have settled. The ladders' longest rungs are below it.
const LAST_CALL: Duration = Duration::from_secs(4 * 24 * 3600);

/// A caller that has no answer by now gets none: calm came long before.
const NO_ANSWER: Duration = Duration::from_secs(6 * 3600);

/// What came of a seed.
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) digest: u64,
    /// Simulated seconds.
    pub(crate) lasted: u64,
    pub(crate) lives: usize,
    pub(crate) refunds: usize,
}

/// Makes the store that every run begins with: the real migrations, once.
pub(crate) async fn template(path: &Path) -> anyhow::Result<()> {
    let first = path.with_extension("first");
    let ledger = Ledger::open(&format!("sqlite:{}", first.display()), 1).await?;
    ledger.migrate().await?;
    let plain = rusqlite::Connection::open(&first)?;
    plain.execute("VACUUM INTO ?1", [path.to_string_lossy()])?;
    let copy = rusqlite::Connection::open(path)?;
    copy.pragma_update(None, "journal_mode", "WAL")?;
    Ok(())
}

fn caller() -> anyhow::Result<Caller> {
    Ok(Caller {
        token_id: Uuid::nil(),
        role: Role::Merchant,
        merchant_id: MerchantId::parse(MERCHANT)?,
        terminal_id: None,
        store_id: None,
    })
}

/// Runs one seed on a store that is a fresh copy of the template.
pub(crate) async fn run(seed: u64, store: &Path, kit: &Kit, traced: bool) -> anyhow::Result<Outcome> {
    scanback_wallet::simulated_uuids(seed);
    let world = World::new(seed, traced);
    let auditor = Arc::new(Auditor::open(store)?);
    let mut dice = Dice::new(seed ^ 0x5ca1_ab1e);
    let (slots, orders) = (dice.between(1, 3), dice.between(1, 2));
    for order in 0..orders {
        let kind = if dice.chance(500) { WalletKind::Wechat } else { WalletKind::Alipay };
        let amount = i64::try_from(dice.between(2, 20)).unwrap_or(2) * 100;
        world.state().books.open(&format!("o{order}"), kind, amount);
    }
    let redis = redis_of(seed, &world);
    let shared = Shared { store: store.to_owned(), auditor: Arc::clone(&auditor), redis, kit: kit.clone() };
    for slot in 0..slots {
        tokio::spawn(replica::live(world.clone(), slot + 1, slots == 1, shared.clone()));
    }
    sleep(Duration::from_millis(50)).await;
    let mut asking = Vec::new();
    for order in 0..orders {
        for number in 0..dice.between(1, 3) {
            let wish = Wish {
                key: format!("k{order}-{number}"),
                order_no: format!("o{order}"),
                fen: i64::try_from(dice.between(1, 12)).unwrap_or(1) * 100,
                after: Duration::from_millis(dice.between(0, 20_000)),
            };
            // now and then two at once under one key: a terminal that was impatient
            for _ in 0..=u32::from(dice.chance(250)) {
                asking.push(tokio::spawn(ask(world.clone(), wish.clone())));
            }
        }
    }
    let stormy = dice.between(60, 600);
    sleep(Duration::from_secs(stormy)).await;
    calm(&world);
    for asked in asking {
        asked.await.context("a caller broke off")??;
    }
    // calls that are still on their way arrive within the wallets' own limit
    sleep(Duration::from_secs(400)).await;
    while world.elapsed() < LAST_CALL && !auditor.is_settled() && !world.is_violated() {
        sleep(Duration::from_secs(120)).await;
    }
    sleep(Duration::from_secs(400)).await;
    auditor.look_at_the_end(&world);
    // desks hold the world and the world holds desks: let go, or the store stays open
    let desks = std::mem::take(&mut world.state().desks);
    drop(desks);
    let mut state = world.state();
    Ok(Outcome {
        violations: std::mem::take(&mut state.violations),
        digest: state.digest,
        lasted: world.elapsed().as_secs(),
        lives: state.lives.len(),
        refunds: state.books.trades.values().map(|trade| trade.refunds.len()).sum(),
    })
}

/// Every second run has a Redis, with mishaps that are absent, rare or frequent. By chance of its own.
fn redis_of(seed: u64, world: &World) -> Option<Redis> {
    let mut dice = Dice::new(seed ^ 0x4ed1_5000);
    if dice.chance(500) {
        return None;
    }
    let often = [0, 30, 150];
    world.state().faults.redis = often[usize::try_from(dice.between(0, 2)).unwrap_or(0)];
    Some(Redis::new(seed, world))
}

fn calm(world: &World) {
    world.note("it is calm");
    world.state().faults = Faults::default();
}

#[derive(Clone)]
struct Wish {
    key: String,
    order_no: String,
    fen: i64,
    after: Duration,
}

/// A caller asks until it has an answer: the same key, whichever replica.
async fn ask(world: World, wish: Wish) -> anyhow::Result<()> {
    sleep(wish.after).await;
    let caller = caller()?;
    let key = IdempotencyKey::from_header(wish.key.as_bytes()).context("a key")?;
    loop {
        if let Some((life, desk)) = replica::any(&world) {
            world.note(&format!("{} asks life {life} for {} of {}", wish.key, wish.fen, wish.order_no));
            let request = request(&wish)?;
            let fen = wish.fen.to_string();
            let fields: [(&str, &[u8]); 2] = [("order_no", wish.order_no.as_bytes()), ("amount", fen.as_bytes())];
            let fingerprint = desk.pepper().fingerprints().fingerprint("POST", "/v1/refunds", &fields);
            let order = order(&world, &wish)?;
            let asking = async {
                desk.register_order(&caller, order).await?;
                desk.request_refund(&caller, &key, fingerprint, request).await
            };
            match timeout(PATIENCE, asking).await {
                Ok(Ok(answer)) => {
                    told(&world, &wish, &answer);
                    return Ok(());
                }
                Ok(Err(ServiceError::Refused(refusal))) => {
                    world.note(&format!("{} is refused: {refusal:?}", wish.key));
                    let later = matches!(
                        refusal,
                        Refusal::RequestInProgress | Refusal::WalletUnavailable { .. } | Refusal::Overloaded
                    );
                    if !later {
                        return Ok(());
                    }
                }
                Ok(Err(error)) => world.note(&format!("{} hears of a fault: {error:?}", wish.key)),
                Err(_) => world.note(&format!("{} hears nothing", wish.key)),
            }
        }
        if world.is_violated() {
            return Ok(()); // what comes after a broken rule says nothing
        }
        if world.elapsed() > NO_ANSWER {
            world.violated(format!("{} never got an answer", wish.key));
        }
        let wait = world.state().dice.between(500, 8_000);
        sleep(Duration::from_millis(wait)).await;
    }
}

fn told(world: &World, wish: &Wish, answer: &RefundAnswer) {
    let id = answer.location.rsplit('/').next().unwrap_or_default().to_owned();
    world.note(&format!("{} is answered {} with {id}", wish.key, answer.status));
    let before = world.state().told.insert(wish.key.clone(), (id.clone(), wish.fen));
    if before.as_ref().is_some_and(|(other, _)| *other != id) {
        world.violated(format!("{} has two refunds", wish.key));
    }
}

fn request(wish: &Wish) -> anyhow::Result<RefundRequest> {
    Ok(RefundRequest {
        order_no: Some(OrderNo::parse(&wish.order_no)?),
        wallet: None,
        scan: ScanGiven::None,
        amount: Some(Money::fen(wish.fen)?),
        expected_refundable: None,
        reason: ("other".into(), "other".into()),
        note: None,
        operator: None,
        approver: None,
        metadata: None,
    })
}

fn order(world: &World, wish: &Wish) -> anyhow::Result<NewOrder> {
    let (kind, amount) = {
        let state = world.state();
        let trade = state.books.trades.get(&wish.order_no).context("an order of this run")?;
        (trade.wallet, trade.amount)
    };
    Ok(NewOrder {
        merchant_id: MerchantId::parse(MERCHANT)?,
        wallet: kind,
        order_no: OrderNo::parse(&wish.order_no)?,
        transaction_id: None,
        aliases: Vec::new(),
        amount: Money::fen(amount)?,
        payment: Payment::Paid,
        kind: OrderKind::Sale,
        paid_at: None,
        starts_at: None,
        store_id: None,
        terminal_id: None,
        payer_hash: None,
        trade_type: None,
        refunded_elsewhere: false,
        checked: false,
        registration: Some("{}".into()),
    })
}

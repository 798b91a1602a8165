//! The use cases: a file each, named by what the person wants. Here is the desk itself and nothing else.

mod check_operator;
mod check_payer;
mod error;
mod find_order;
mod follow_refund;
mod forward_notification;
mod gate;
mod preview_refund;
mod register_order;
mod request_refund;
mod scan_frame;
mod send_refund;
mod take_notification;
mod tokens;
mod webhook_endpoints;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{Capabilities, Clock, MerchantId, PayerId, Wallet, WalletKind};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use check_operator::{Pin, PinError, hash_pin};
pub use error::ServiceError;
pub use forward_notification::Forwards;
pub use preview_refund::Preview;
pub use register_order::Registered;
pub use request_refund::{RefundAnswer, RefundRequest, ScanGiven};
pub use scan_frame::{FrameSymbol, ScanView, Scanned};
pub use tokens::{hash_token, new_token};
pub use webhook_endpoints::{EndpointView, NewEndpointView};

use self::gate::{Gate, Lane, Pass, Shut};
use crate::{
    domain::{
        gate::GateLimits, idempotency::Fingerprinter, order::Order, policy::Policy, refusal::Refusal, view::OrderView,
    },
    keys::Keys,
    ledger::{Ledger, Pace},
    scan::ScanPool,
    webhook::client::WebhookClient,
};

/// Listeners to events at once; each looks at the ledger four times a second.
const LISTENERS: usize = 100;
/// PIN checks that run at once: argon2 is dear by design, and must not starve refunds.
const PIN_CHECKS_AT_ONCE: usize = 2;
/// The follower looks at least this often without being woken.
pub const FOLLOWER_LOOKS_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// Beside two wallet calls (the send, and the query that confirms a refusal): waiting for the database, before and after.
const SEND_LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(4);

/// What the desk is set up with beside its parts.
#[derive(Clone, Debug)]
pub struct DeskSettings {
    /// The refund policy.
    pub policy: Policy,
    /// Divides the wallets' own time; 1 for real wallets (contract §7).
    pub time_scale: u32,
    /// How long one wallet call may take in all; not scaled.
    pub wallet_timeout: Duration,
    /// How long a refund request waits for the wallet before it answers 202.
    pub answer_within: Duration,
    /// How long the owner of an Idempotency-Key is awaited; at most 30 s (contract §4 rule 2).
    pub key_lease: Duration,
    /// Where wallets are told to notify, for example `https://pay.example.com`.
    pub public_url: String,
    /// Whether webhooks may go to private addresses.
    pub private_webhooks: bool,
    /// Bytes that a frame may have.
    pub max_frame_bytes: usize,
    /// How much WeChat Pay is asked at once and a second, of each merchant.
    pub wechat_gate: GateLimits,
    /// The same for Alipay and others.
    pub alipay_gate: GateLimits,
    /// Refund requests that are worked on at once; more are refused before anything is looked at.
    pub refunds_at_once: usize,
}

/// The parts that the desk works with. Only `startup` makes them.
pub struct DeskParts {
    /// The truth.
    pub ledger: Ledger,
    /// Idempotency keys in Redis.
    pub keys: Keys,
    /// Reads frames.
    pub scans: ScanPool,
    /// The wallets of each merchant.
    pub wallets: BTreeMap<(MerchantId, WalletKind), Arc<dyn Wallet>>,
    /// Passes Alipay's notifications on.
    pub forwards: Forwards,
    /// Sends webhooks.
    pub webhooks: WebhookClient,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Keyed hashes and sealing.
    pub pepper: Pepper,
}

/// The pepper: what keyed hashes and sealed secrets hang on. Shows nothing.
#[derive(Clone)]
pub struct Pepper {
    payer: hmac::Key,
    fingerprints: Fingerprinter,
    seal: [u8; 32],
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pepper(hidden)")
    }
}

impl Pepper {
    /// Keys for each purpose, all from the one secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut seal = [0; 32];
        seal.copy_from_slice(hmac::sign(&root, b"scanback webhook secret seal 1").as_ref());
        let payer = hmac::sign(&root, b"scanback payer id 1");
        Self {
            payer: hmac::Key::new(hmac::HMAC_SHA256, payer.as_ref()),
            fingerprints: Fingerprinter::new(secret),
            seal,
        }
    }

    /// A payer's id as the ledger keeps it (contract §4 rule 11): `scope:` and lower-case hex, or the hex alone for a name of no
    /// known scope.
    #[must_use]
    pub fn hash_payer(&self, payer: &PayerId) -> String {
        let hash = hex::encode(hmac::sign(&self.payer, payer.expose().as_bytes()));
        match payer.scope() {
            "" => hash,
            scope => format!("{scope}:{hash}"),
        }
    }

    /// Makes fingerprints of requests.
    #[must_use]
    pub const fn fingerprints(&self) -> &Fingerprinter {
        &self.fingerprints
    }
}

/// The desk: what people and systems ask of Scanback.
pub struct Desk {
    ledger: Ledger,
    keys: Keys,
    scans: ScanPool,
    wallets: BTreeMap<(MerchantId, WalletKind), Arc<dyn Wallet>>,
    forwards: Forwards,
    webhooks: WebhookClient,
    clock: Arc<dyn Clock>,
    pepper: Pepper,
    settings: DeskSettings,
    pin_checks: Semaphore,
    /// Refund requests that are worked on at once.
    admissions: Semaphore,
    /// Listeners to events.
    listeners: Arc<Semaphore>,
    /// Told when the service stops: what never ends by itself ends then.
    closing: CancellationToken,
    /// Before each account.
    gates: BTreeMap<(MerchantId, WalletKind), Arc<Gate>>,
    /// Sends that are under way: a graceful stop waits for them.
    sending: TaskTracker,
    /// Wakes the follower: a job was put in that may be due soon.
    follow: Notify,
    /// Wakes the deliverer: the outbox has news.
    deliver: Notify,
    /// Whether this machine's clock is off by more than the wallets bear.
    clock_off: AtomicBool,
    /// Whether anybody has an endpoint: without one the outbox stays empty, and nobody is woken for it.
    has_endpoints: AtomicBool,
}

impl Desk {
    /// Puts the desk together.
    #[must_use]
    pub fn new(parts: DeskParts, settings: DeskSettings) -> Arc<Self> {
        let gate = |merchant: &MerchantId, kind: WalletKind| {
            let limits = if kind == WalletKind::Wechat { settings.wechat_gate } else { settings.alipay_gate };
            Gate::new(merchant, kind, limits, settings.time_scale, parts.keys.clone())
        };
        let gates = parts.wallets.keys().map(|place| (place.clone(), gate(&place.0, place.1))).collect();
        Arc::new(Self {
            gates,
            admissions: Semaphore::new(settings.refunds_at_once),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
            closing: CancellationToken::new(),
            ledger: parts.ledger,
            keys: parts.keys,
            scans: parts.scans,
            wallets: parts.wallets,
            forwards: parts.forwards,
            webhooks: parts.webhooks,
            clock: parts.clock,
            pepper: parts.pepper,
            settings,
            pin_checks: Semaphore::new(PIN_CHECKS_AT_ONCE),
            sending: TaskTracker::new(),
            follow: Notify::new(),
            deliver: Notify::new(),
            clock_off: AtomicBool::new(false),
            has_endpoints: AtomicBool::new(true),
        })
    }

    /// The ledger, for plain reads.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The keys, for their health.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The present moment in whole microseconds, as the ledger keeps it: a text and its row agree.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.settings.policy
    }

    /// What the desk is set up with.
    #[must_use]
    pub const fn settings(&self) -> &DeskSettings {
        &self.settings
    }

    /// Keyed hashes.
    #[must_use]
    pub const fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    /// How far this machine's clock is ahead of each wallet's, where one has told.
    pub fn wallet_skews(&self) -> impl Iterator<Item = (&'static str, SignedDuration)> {
        self.wallets.values().filter_map(|wallet| Some((wallet.kind().as_str(), wallet.clock_skew()?)))
    }

    /// Says whether this machine's clock is off.
    pub fn clock_is_off(&self, off: bool) {
        self.clock_off.store(off, Ordering::Relaxed);
    }

    /// Whether this machine's clock is right, as far as anybody told.
    #[must_use]
    pub fn clock_is_right(&self) -> bool {
        !self.clock_off.load(Ordering::Relaxed)
    }

    /// Told when a job was put in.
    #[must_use]
    pub const fn follow_bell(&self) -> &Notify {
        &self.follow
    }

    /// Told when the outbox has news.
    #[must_use]
    pub const fn delivery_bell(&self) -> &Notify {
        &self.deliver
    }

    /// The wallet of a merchant.
    #[must_use]
    pub fn wallet(&self, merchant: &MerchantId, kind: WalletKind) -> Option<&Arc<dyn Wallet>> {
        self.wallets.get(&(merchant.clone(), kind))
    }

    /// The gate before a merchant's account; there is one for each wallet that [`Desk::wallet`] finds.
    fn gate(&self, merchant: &MerchantId, kind: WalletKind) -> Option<&Arc<Gate>> {
        self.gates.get(&(merchant.clone(), kind))
    }

    /// Admits a refund request, or refuses it before it costs anything: those that are worked on keep their pace.
    /// # Errors
    /// [`Refusal::Overloaded`].
    pub fn admit(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.admissions.try_acquire().map_err(|_| Refusal::Overloaded)
    }

    /// A place for one listener to events.
    /// # Errors
    /// [`Refusal::Overloaded`].
    pub fn listen(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.listeners).try_acquire_owned().map_err(|_| Refusal::Overloaded)
    }

    /// Ends what never ends by itself.
    pub fn close_streams(&self) {
        self.closing.cancel();
    }

    /// Comes when the service stops.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// The right to one refund call for an order, before anything is reserved.
    async fn pass_for(&self, order: &Order) -> Result<Pass, ServiceError> {
        let unavailable = Refusal::WalletUnavailable { wallet: order.wallet };
        let gate = self.gate(&order.merchant_id, order.wallet).ok_or(unavailable.clone())?;
        let pass = gate.enter(Lane::Refunds, self.settings.answer_within / 4).await;
        pass.map_err(|shut| match shut {
            Shut::Down { .. } => unavailable.into(),
            Shut::Full { .. } => Refusal::Overloaded.into(),
        })
    }

    /// The wallets, and whether calls to all merchants' accounts there are let through.
    pub fn wallets_answer(&self) -> BTreeMap<&'static str, bool> {
        let mut answer = BTreeMap::new();
        for ((_, kind), gate) in &self.gates {
            *answer.entry(kind.as_str()).or_insert(true) &= gate.is_open();
        }
        answer
    }

    /// The wallets of a merchant, all or the one named.
    fn wallets_of(&self, merchant: &MerchantId, kind: Option<WalletKind>) -> Vec<Arc<dyn Wallet>> {
        let named = |of: WalletKind| kind.is_none_or(|kind| kind == of);
        let mine = self.wallets.iter().filter(|((owner, of), _)| owner == merchant && named(*of));
        mine.map(|(_, wallet)| Arc::clone(wallet)).collect()
    }

    /// An order as others see it.
    #[must_use]
    pub fn order_view(&self, order: &Order) -> OrderView {
        let wallet = self.wallet(&order.merchant_id, order.wallet);
        let until = wallet.and_then(|wallet| self.policy().refund_until(order, &wallet.capabilities()));
        OrderView::of(order, until)
    }

    /// The wallet's own time, divided by the scale.
    fn scaled(&self, wallets_time: Duration) -> SignedDuration {
        SignedDuration::try_from(wallets_time / self.settings.time_scale.max(1)).unwrap_or(SignedDuration::MAX)
    }

    /// The pace of a wallet, a tenth added (contract §4 rule 8).
    fn pace(&self, wallet: &Capabilities) -> Pace {
        let timeout = SignedDuration::try_from(self.settings.wallet_timeout).unwrap_or(SignedDuration::MAX);
        Pace {
            between: self.scaled(wallet.pace + wallet.pace / 10),
            waits_while_unknown: wallet.waits_while_unknown,
            send_lease: timeout * 2 + SEND_LEASE_MARGIN,
            send_within: timeout + SEND_LEASE_MARGIN,
        }
    }

    /// Until when a piece of work that is taken now is its taker's: longer than the three wallet calls (query, send, query)
    /// that it may take.
    #[must_use]
    pub fn leased_until(&self, now: Timestamp) -> Timestamp {
        let timeout = SignedDuration::try_from(self.settings.wallet_timeout).unwrap_or(SignedDuration::MAX);
        now.checked_add(timeout * 3 + SEND_LEASE_MARGIN * 2).unwrap_or(Timestamp::MAX)
    }

    /// Where a wallet shall notify about refunds of a merchant.
    fn notify_url(&self, merchant: &MerchantId, wallet: WalletKind) -> Option<String> {
        match wallet {
            WalletKind::Wechat => Some(format!("{}/notify/wechat/{merchant}", self.settings.public_url)),
            // Alipay notifies the payment's own address, which is not ours to name (alipay §9)
            _ => None,
        }
    }

    /// Wakes the deliverer where there may be news for somebody.
    fn ring_deliverer(&self) {
        if self.has_endpoints.load(Ordering::Relaxed) {
            self.deliver.notify_one();
        }
    }

    /// Looks whether anybody has an endpoint, here or by another replica.
    /// # Errors
    /// [`ServiceError::Ledger`] where the database doesn't answer.
    pub async fn look_for_endpoints(&self) -> Result<(), ServiceError> {
        self.has_endpoints.store(self.ledger.has_endpoints().await?, Ordering::Relaxed);
        Ok(())
    }

    /// Wakes the follower for what is due before it looks by itself.
    fn ring_follower(&self, due_at: Timestamp) {
        if due_at.duration_since(self.now()) < FOLLOWER_LOOKS_EVERY {
            self.follow.notify_one();
        }
    }

    /// Waits until no send is under way any more.
    pub async fn finish_sending(&self) {
        self.sending.close();
        self.sending.wait().await;
    }
}

//! Puts the parts together: the only place, beside `cli`, with concrete wallets, stores and servers.

mod accounts;

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use actix_web::dev::ServerHandle;
use metrics_exporter_prometheus::PrometheusHandle;
use scanback_wallet::{Clock, MerchantId, SystemClock, Wallet, WalletKind};
use secrecy::ExposeSecret as _;
use tokio::task::JoinHandle;

use accounts::Accounts;
pub use accounts::Reloaded;

use crate::{
    config::{MerchantAccounts, Settings},
    http::{self, HttpParts, Leaving},
    keys::{Keys, KeysError},
    ledger::{Ledger, LedgerClock, LedgerError},
    scan::ScanPool,
    service::{Desk, DeskParts, DeskSettings, Forwards, Pepper},
    webhook::client::{Timeouts, WebhookClient},
    worker::Workers,
};

/// Idle connections kept to a wallet: calls follow each other closely, and a handshake costs more than a refund.
const IDLE_PER_HOST: usize = 32;
/// How long a stop takes at most, of the 10 s that the contract gives it (§2).
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// Why the service can't start. Names the cause and the way out.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another process has the ledger's file.
    #[error("database.url: {} is in use by another scanback; one process has a SQLite file to itself, several need PostgreSQL", path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// The file that says so can't be used.
    #[error("database.url: {} can't be locked: {cause}", path.display())]
    Lock {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The settings of Redis.
    #[error("redis: {0}")]
    Redis(#[from] KeysError),
    /// The address.
    #[error("{name} = {address} can't be used: {cause}; is another process listening there?")]
    Listen {
        /// Which setting.
        name: &'static str,
        /// Which address.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// TLS or the client.
    #[error("no HTTP client could be made: {0}")]
    Client(#[from] reqwest::Error),
    /// The server.
    #[error("the server could not start: {0}")]
    Server(std::io::Error),
}

/// A running service.
pub struct Service {
    address: SocketAddr,
    accounts: Accounts,
    desk: Arc<Desk>,
    server: ServerHandle,
    running: JoinHandle<std::io::Result<()>>,
    metrics_server: Option<ServerHandle>,
    workers: Workers,
    leaving: Leaving,
    drain: Duration,
    /// Held while it runs.
    _ledger_lock: Option<File>,
}

/// Opens the ledger and brings its schema up to date.
/// # Errors
/// [`StartError::Ledger`].
pub async fn open_ledger(settings: &Settings) -> Result<Ledger, StartError> {
    let ledger = Ledger::open(settings.database_url.expose_secret(), settings.connections_a_thread()).await?;
    ledger.migrate().await?;
    Ok(ledger)
}

/// Locks a SQLite ledger for this process, for as long as the file is kept open: two services on one file would each take the
/// other's leases for those of a dead one. The system gives the lock up when the process ends, however it ends.
fn have_to_itself(url: &str) -> Result<Option<File>, StartError> {
    let Some(place) = url.strip_prefix("sqlite:") else { return Ok(None) };
    let place = place.strip_prefix("//").unwrap_or(place);
    let place = place.split('?').next().unwrap_or(place);
    if place.is_empty() || place == ":memory:" {
        return Ok(None);
    }
    let path = PathBuf::from(format!("{place}.lock"));
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|cause| StartError::Lock { path: path.clone(), cause })?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse { path: PathBuf::from(place) }),
        Err(TryLockError::Error(cause)) => Err(StartError::Lock { path, cause }),
    }
}

/// Says by name what is set so that an acknowledged refund could be lost.
async fn warn_of_database(ledger: &Ledger) -> Result<(), LedgerError> {
    for name in ledger.settings_that_lose_commits().await? {
        tracing::warn!(
            setting = name,
            "PostgreSQL is set to lose commits in a crash: set {name} = on, or refunds that were acknowledged can be forgotten"
        );
    }
    Ok(())
}

fn bind(name: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|cause| StartError::Listen { name, address, cause })
}

/// The client for wallet calls: bounded in time, one request a send, no redirects.
fn wallet_client(settings: &Settings) -> Result<reqwest::Client, StartError> {
    let client = reqwest::Client::builder()
        .connect_timeout(settings.wallet_connect_timeout)
        .timeout(settings.wallet_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never()) // a repeat is the follower's to decide, and counted in the ledger first
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .referer(false)
        .build()?;
    Ok(client)
}

/// Where Alipay's notifications are passed on to.
fn forwards(settings: &Settings) -> Result<Forwards, StartError> {
    let of = |merchant: &MerchantAccounts| Some((merchant.id.clone(), merchant.forward_to.clone()?));
    Ok(Forwards::new(settings.merchants.iter().filter_map(of).collect())?)
}

/// Wallets by merchant and kind.
pub type Wallets = BTreeMap<(MerchantId, WalletKind), Arc<dyn Wallet>>;

/// The wallets of all merchants, without anything else of the service: for a look at them.
/// # Errors
/// [`StartError::Client`].
pub fn accounts_of(mut settings: Settings) -> Result<Wallets, StartError> {
    let merchants = std::mem::take(&mut settings.merchants);
    Ok(Accounts::new(merchants, wallet_client(&settings)?, Arc::new(SystemClock)).wallets())
}

impl Service {
    /// Starts the service: ledger, keys, wallets, server, loops.
    /// # Errors
    /// [`StartError`].
    pub async fn start(mut settings: Settings, metrics: PrometheusHandle) -> Result<Self, StartError> {
        let listener = bind("http.listen", settings.listen)?;
        let address = listener.local_addr().map_err(StartError::Server)?;
        let metrics_listener =
            settings.metrics_listen.map(|address| bind("http.metrics_listen", address)).transpose()?;
        let ledger_lock = have_to_itself(settings.database_url.expose_secret())?;
        let ledger = open_ledger(&settings).await?;
        warn_of_database(&ledger).await?;
        let keys = match &settings.redis_url {
            Some(url) => Keys::connect(url.expose_secret(), settings.key_lease, settings.key_ttl).await?,
            None => Keys::disabled(),
        };
        // what is signed goes by this machine's clock, paces and leases by the one that all processes share
        let (machine, clock): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), Arc::new(LedgerClock::default()));
        clock.set_by(&ledger).await?;
        let forwards = forwards(&settings)?;
        let merchants = std::mem::take(&mut settings.merchants);
        let accounts = Accounts::new(merchants, wallet_client(&settings)?, machine);
        if !ledger.is_shared() {
            // the only process on this ledger: whoever held a lease is dead
            ledger.take_over_leases(clock.now()).await?;
        }
        let max_frame_bytes = settings.frames.max_bytes;
        let parts = DeskParts {
            ledger,
            keys,
            scans: ScanPool::of_this_machine(settings.frames),
            wallets: accounts.wallets(),
            forwards,
            webhooks: WebhookClient::new(settings.private_webhooks, Timeouts::default())?,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            pepper: Pepper::new(settings.pepper.expose_secret().as_bytes()),
        };
        let desk = Desk::new(
            parts,
            DeskSettings {
                policy: settings.policy,
                time_scale: settings.time_scale,
                wallet_timeout: settings.wallet_timeout,
                answer_within: settings.answer_within,
                key_lease: settings.key_lease,
                public_url: settings.public_url.unwrap_or_else(|| format!("http://{address}")),
                private_webhooks: settings.private_webhooks,
                max_frame_bytes,
                wechat_gate: settings.wechat_gate,
                alipay_gate: settings.alipay_gate,
                refunds_at_once: settings.refunds_at_once,
            },
        );
        let leaving = Leaving::default();
        let parts = HttpParts {
            desk: Arc::clone(&desk),
            metrics,
            requests_per_second: settings.requests_per_second,
            leaving: leaving.clone(),
        };
        let metrics_server = match metrics_listener {
            Some(listener) => {
                let server = http::metrics_server(&parts, listener).map_err(StartError::Server)?;
                let handle = server.handle();
                tokio::spawn(server);
                Some(handle)
            }
            None => None,
        };
        let server = http::server(parts, listener, settings.workers).map_err(StartError::Server)?;
        Ok(Self {
            address,
            accounts,
            workers: Workers::start(&desk, clock),
            desk,
            server: server.handle(),
            running: tokio::spawn(server),
            metrics_server,
            leaving,
            drain: settings.drain,
            _ledger_lock: ledger_lock,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The desk behind it.
    #[must_use]
    pub const fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Takes the keys of the wallets' accounts from settings that were read again; nothing else of them.
    pub fn reload_keys(&self, settings: Settings) -> Reloaded {
        self.accounts.reload(settings.merchants)
    }

    /// Stops within 10 s (contract §2): first it says so and serves on while the proxy looks, then there is no new work; what
    /// is in flight ends, or is left durable for recovery.
    pub async fn stop(self) {
        if !self.drain.is_zero() {
            tracing::info!(drain = ?self.drain, "about to stop: not ready any more, and still serving");
            self.leaving.announce();
            tokio::time::sleep(self.drain).await;
        }
        tracing::info!("stopping: no new work is taken");
        let within = STOP_WITHIN.saturating_sub(self.drain);
        self.desk.close_streams();
        if let Some(metrics) = self.metrics_server {
            metrics.stop(false).await;
        }
        let stop = async {
            tokio::join!(self.server.stop(true), self.workers.stop(within));
            // after the server: its last requests may just have begun to send
            self.desk.finish_sending().await;
        };
        if tokio::time::timeout(within, stop).await.is_err() {
            tracing::warn!("calls under way were cut off; they are asked after at the next start");
        }
        self.running.abort();
        self.desk.ledger().close();
        tracing::info!("stopped");
    }
}

//! Mock WeChat Pay and Alipay: real signatures both ways, and books of their own (contract §7).
//!
//! The sandbox shares no code with the adapters or the service: it is the independent truth that they are checked
//! against. In reading order: `server` has the paths, `wechat` and `alipay` speak the wire, `books` decides,
//! `notify` tells, `exchanges` remembers, `keeper` writes down, `faults` and `cut` break things on request, `control`, `page` and `frame` serve whoever tests, `directory`
//! and `keys` hold who everybody is.

mod alipay;
mod beijing;
mod books;
mod control;
mod cut;
mod directory;
mod exchanges;
mod faults;
mod fields;
mod files;
mod frame;
mod keeper;
mod keys;
mod notify;
mod page;
mod scale;
mod server;
mod urls;
#[cfg(test)]
mod vectors;
mod wechat;
mod world;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use actix_web::{
    dev::{Server, ServerHandle},
    web::Data,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use directory::Identity;
use keys::KeyError;
use scale::Scale;
use world::World;

/// What a sandbox is to be.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it listens with TLS too, under a certificate of the `sandbox_ca.pem` in `dir`: for SDKs with fixed hosts.
    pub tls_listen: Option<SocketAddr>,
    /// Filled with keys, certificates, `params.json` and `scanback.toml`; what is there is used again.
    pub dir: PathBuf,
    /// Makes keys, numbers and draws repeatable; random where absent.
    pub seed: Option<u64>,
    /// Lets control calls in that don't come from loopback, as `Authorization: Bearer …`.
    pub control_token: Option<String>,
    /// How much faster the wallets' time runs; 1 is real time (contract §7, "Time scale").
    pub time_scale: u32,
    /// Whether orders and refunds survive a restart, in `books.jsonl` of `dir`, and news that did not arrive begins its ladder
    /// again; payment codes and faults don't.
    pub keep_books: bool,
    /// Whether the WeChat account is a partner (服务商) that acts for one merchant, whose orders these are (wechat-pay §19).
    pub partner: bool,
    /// For load tests only: believes every request without looking at its signature, and says so in each answer.
    pub no_verify: bool,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("tls_listen", &self.tls_listen)
            .field("dir", &self.dir)
            .field("seed", &self.seed)
            .field("control_token", &self.control_token.as_ref().map(|_| "hidden"))
            .field("time_scale", &self.time_scale)
            .field("keep_books", &self.keep_books)
            .field("partner", &self.partner)
            .field("no_verify", &self.no_verify)
            .finish()
    }
}

/// Why a sandbox does not start: the cause, and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The address can't be listened on.
    #[error("can't listen on {address}: free that port or choose another (port 0 takes any free one)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The directory can't be made or entered.
    #[error("can't use {} as the sandbox's directory: choose one that can be written", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the directory can't be read or written.
    #[error("can't read or write {}: check who owns it, or choose another directory", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the directory is not what it should be.
    #[error("{} can't be used: {why}; remove it to have a new one made, or take an empty directory", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The time scale is 0.
    #[error("the time scale must be 1 or more")]
    TimeScale,
    /// Keys could not be made or used.
    #[error("keys or certificates could not be made: {why}")]
    Keys {
        /// What the cryptographic library said; no key material.
        why: String,
    },
    /// The client for notifications could not be made.
    #[error("the client for notifications could not be made")]
    Client(#[source] reqwest::Error),
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
    /// The server or a part of it ended on its own.
    #[error("the sandbox's server ended")]
    Server(#[source] io::Error),
}

impl From<KeyError> for SandboxError {
    fn from(error: KeyError) -> Self {
        Self::Keys { why: error.to_string() }
    }
}

/// A running sandbox. Dropping it leaves the server running until the runtime ends; [`Sandbox::stop`] ends it.
pub struct Sandbox {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    dir: PathBuf,
    base_url: String,
    handle: ServerHandle,
    server: JoinHandle<io::Result<()>>,
    notifier: JoinHandle<()>,
    stopping: watch::Sender<bool>,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("address", &self.address).field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Binds, fills the directory and serves in the background. To be called inside a Tokio (or actix) runtime. The
    /// first start in a directory makes six RSA keys: about a second.
    /// # Errors
    /// [`SandboxError`] for an address, a directory or a file that can't be used, and a time scale of 0.
    pub async fn start(options: Options) -> Result<Self, SandboxError> {
        let scale = Scale::new(options.time_scale).ok_or(SandboxError::TimeScale)?;
        let (listener, address) = bind(options.listen)?;
        let tls_listener = options.tls_listen.map(bind).transpose()?;
        let tls_address = tls_listener.as_ref().map(|(_, address)| *address);
        let base_url = format!("http://{}", reachable(address));

        let (asked, url) = (options.clone(), base_url.clone());
        let filled = tokio::task::spawn_blocking(move || open(&asked, &url, scale));
        let (identity, tls_config) = filled.await.map_err(|error| SandboxError::Server(io::Error::other(error)))??;

        let books = if options.keep_books {
            let (books, keeper) = keeper::Keeper::open(&options.dir, scale, options.seed)?;
            (books, Some(keeper))
        } else {
            (books::Books::new(scale, options.seed), None)
        };
        if options.no_verify {
            tracing::warn!(
                "signatures of requests are NOT verified: this sandbox is good for load tests and nothing else"
            );
        }

        let client = notify::client().map_err(SandboxError::Client)?;
        let (news, incoming) = mpsc::unbounded_channel();
        let (stopping, stop) = watch::channel(false);
        let world = Arc::new(World::new(identity, scale, &options, books, news, stop));
        let tls = tls_listener.map(|(listener, _)| listener).zip(tls_config);
        let server = server::build(Data::from(Arc::clone(&world)), listener, tls).map_err(SandboxError::Server)?;
        let handle = server.handle();
        tracing::info!(%address, dir = %options.dir.display(), time_scale = scale.times(), "the sandbox serves");
        Ok(Self {
            address,
            tls_address,
            dir: options.dir,
            base_url,
            handle,
            server: tokio::spawn(serve(server)),
            notifier: tokio::spawn(notify::run(world, incoming, client)),
            stopping,
        })
    }

    /// Where it listens: the actual port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens with TLS.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `http://` and an address at which this machine reaches it; no slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.base_url.clone()
    }

    /// Stops: no new work, held calls are let go, notifications that wait for their next try are dropped.
    pub async fn stop(self) {
        let _ = self.stopping.send(true);
        self.notifier.abort();
        self.handle.stop(false).await;
        if let Ok(Err(error)) = self.server.await {
            tracing::warn!(%error, "the sandbox's server ended with an error");
        }
    }

    /// Serves until `stop` comes (a command's signal), then stops as [`Sandbox::stop`] does.
    /// # Errors
    /// [`SandboxError::Server`] where the server ended before that, on its own.
    pub async fn run_until_stopped(mut self, stop: impl Future<Output = ()>) -> Result<(), SandboxError> {
        let ended = tokio::select! {
            () = stop => None,
            ended = &mut self.server => Some(ended),
        };
        let Some(ended) = ended else {
            self.stop().await;
            return Ok(());
        };
        self.notifier.abort();
        ended.map_err(|error| SandboxError::Server(io::Error::other(error)))?.map_err(SandboxError::Server)
    }
}

async fn serve(server: Server) -> io::Result<()> {
    server.await
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SandboxError> {
    let failed = |source| SandboxError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let actual = listener.local_addr().map_err(failed)?;
    Ok((listener, actual))
}

/// An address that can be connected to: "any" can only be listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn open(
    options: &Options,
    base_url: &str,
    scale: Scale,
) -> Result<(Identity, Option<rustls::ServerConfig>), SandboxError> {
    let mut identity = Identity::open(&options.dir, options.seed, options.partner)?;
    identity.announce(base_url, scale.times())?;
    let tls = if options.tls_listen.is_some() { Some(tls_config(&identity)?) } else { None };
    Ok((identity, tls))
}

fn tls_config(identity: &Identity) -> Result<rustls::ServerConfig, SandboxError> {
    let (chain, key) = identity.tls()?;
    let chain = chain.into_iter().map(|certificate| CertificateDer::from(certificate.der)).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.private_der().to_vec()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(SandboxError::Tls)?;
    builder.with_no_client_auth().with_single_cert(chain, key).map_err(SandboxError::Tls)
}

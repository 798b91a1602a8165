//! The line to Redis. One background task opens it, watches it and opens it anew; a request uses it when it is open and
//! goes on without Redis when it is not. So a dead Redis costs a request the reading of one flag, whatever the way in
//! which it is dead: refused, silent, read-only, out of memory, or a line that broke without a word.
//!
//! While the line is open each thread has a socket of its own to the same server: one that another thread drives costs two
//! wake-ups of threads a call. The line is one all the same: a failure on any of its sockets closes all.

use std::{
    future::Future,
    sync::{Arc, LazyLock, OnceLock},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisFuture, RedisResult, Script, ScriptInvocation, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster_async::ClusterConnection,
};
use thread_local::ThreadLocal;
use tokio::{
    sync::{Mutex, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::address::Server;

/// The longest that a request waits for Redis.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(150);
/// The longest that one attempt to connect takes. Nobody waits for it; it leaves time to find the living sentinel.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a line on which nothing happens is tried.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// The same in a simulation, in which nothing happens for days.
#[cfg(feature = "simulated")]
const PROBE_SIMULATED_EVERY: Duration = Duration::from_secs(60);
/// How long a lost line stays closed: a Redis that answers with errors costs one failed call in this time.
const REOPEN_AFTER: Duration = Duration::from_millis(250);
/// Written by the probe; gone after a second.
const PROBE_KEY: &str = "scanback:probe";

pub(super) static PROBE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("probe.lua")));

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum Missed {
    /// The line was closed: Redis never heard of it.
    NotSent,
    /// An error, an unreadable answer, or none in time: Redis may have done it.
    Unheard,
}

/// An open line. Clones share one socket (a node).
#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
    #[cfg(feature = "simulated")]
    Simulated(super::simulated::Line),
}

impl Connection {
    const fn probe_every(&self) -> Duration {
        match self {
            Self::One(_) | Self::Cluster(_) => PROBE_EVERY,
            #[cfg(feature = "simulated")]
            Self::Simulated(_) => PROBE_SIMULATED_EVERY,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
            #[cfg(feature = "simulated")]
            Self::Simulated(line) => line.command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
            #[cfg(feature = "simulated")]
            Self::Simulated(_) => Box::pin(async { Err((redis::ErrorKind::Client, "one command at a time").into()) }),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
            #[cfg(feature = "simulated")]
            Self::Simulated(_) => 0,
        }
    }
}

#[derive(Clone)]
struct Open {
    /// The keeper's, and every thread's that has no other yet.
    first: Connection,
    of_threads: Arc<ThreadLocal<OnceLock<Connection>>>,
    server: Arc<Mutex<Server>>,
    /// Tells this line from the next one: a late failure on an old line must not close a new one.
    generation: u64,
}

impl Open {
    /// To be made on the thread that drives `first`.
    fn with(first: Connection, server: Arc<Mutex<Server>>, generation: u64) -> Self {
        let of_threads = Arc::new(ThreadLocal::new());
        of_threads.get_or(|| OnceLock::from(first.clone()));
        Self { first, of_threads, server, generation }
    }

    /// This thread's connection. Where it has none, one is opened beside the call, for the next.
    fn connection(&self) -> Connection {
        let slot = self.of_threads.get_or(|| {
            tokio::spawn(self.clone().open_another());
            OnceLock::new()
        });
        slot.get().unwrap_or(&self.first).clone()
    }

    /// Where it fails the first one is used on: it has its own watch.
    async fn open_another(self) {
        let attempt = timeout(CONNECT_TIMEOUT, async { connect(&mut *self.server.lock().await).await }).await;
        if let Ok(Ok(connection)) = attempt {
            let _ = self.of_threads.get_or_default().set(connection);
        }
    }
}

/// See the module. Dropping it closes the line.
pub(super) struct Link {
    open: watch::Sender<Option<Open>>,
    keeper: AbortHandle,
}

impl Link {
    /// Starts the task that opens the line and keeps it open.
    pub(super) fn start(server: Server) -> Self {
        let open = watch::Sender::new(None);
        let keeper = tokio::spawn(keep(server, open.clone())).abort_handle();
        Self { open, keeper }
    }

    pub(super) fn is_up(&self) -> bool {
        self.open.borrow().is_some()
    }

    /// Waits until the line is open.
    pub(super) async fn opened(&self) {
        // the only error is that the sender is gone, and it is ours
        let _ = self.open.subscribe().wait_for(Option::is_some).await;
    }

    /// Runs a script, within [`CALL_TIMEOUT`]. A failure closes the line until the keeper has proved the next one.
    pub(super) async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Missed> {
        let Some(open) = self.open.borrow().clone() else { return Err(Missed::NotSent) };
        in_time(script.invoke_async(&mut open.connection())).await.map_err(|error| {
            close(&self.open, open.generation, &error);
            Missed::Unheard
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Opens the line, watches over it, and begins again when it is lost. Never ends by itself.
async fn keep(server: Server, open: watch::Sender<Option<Open>>) {
    let server = Arc::new(Mutex::new(server));
    let mut told = false;
    for generation in 0.. {
        let attempt = timeout(CONNECT_TIMEOUT, async { connect(&mut *server.lock().await).await }).await;
        match attempt.unwrap_or_else(|_| Err(no_answer())) {
            Ok(connection) => {
                told = false;
                tracing::info!("Redis is there");
                open.send_replace(Some(Open::with(connection.clone(), Arc::clone(&server), generation)));
                watch_over(connection, &open, generation).await;
            }
            Err(error) if !told => {
                told = true; // once, not four times a second
                tracing::warn!(redis.error = %error, "Redis can't be reached: the database alone decides");
            }
            Err(_) => {}
        }
        sleep(REOPEN_AFTER).await;
    }
}

/// Returns when the line is lost, found by a call or by the probe.
async fn watch_over(mut connection: Connection, open: &watch::Sender<Option<Open>>, generation: u64) {
    let mut state = open.subscribe();
    while timeout(connection.probe_every(), state.wait_for(Option::is_none)).await.is_err() {
        if let Err(error) = in_time(probe(&mut connection)).await {
            close(open, generation, &error);
        }
    }
}

fn close(open: &watch::Sender<Option<Open>>, generation: u64, error: &redis::RedisError) {
    let closed = open.send_if_modified(|open| open.take_if(|open| open.generation == generation).is_some());
    if closed {
        tracing::warn!(redis.error = %error, "Redis is lost: the database alone decides");
    }
}

/// A new line that has proved itself.
async fn connect(server: &mut Server) -> RedisResult<Connection> {
    let config = AsyncConnectionConfig::new();
    let mut connection = match server {
        Server::One(client) => Connection::One(client.get_multiplexed_async_connection_with_config(&config).await?),
        Server::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        Server::Sentinel(client) => Connection::One(client.get_async_connection_with_config(&config).await?),
        #[cfg(feature = "simulated")]
        Server::Simulated(line) => Connection::Simulated(line.clone()),
    };
    probe(&mut connection).await?;
    Ok(connection)
}

async fn probe(connection: &mut Connection) -> RedisResult<()> {
    PROBE.key(PROBE_KEY).invoke_async(connection).await
}

async fn in_time<T>(call: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| Err(no_answer()))
}

fn no_answer() -> redis::RedisError {
    (redis::ErrorKind::Io, "no answer in time").into()
}

//! One way to speak SQL to both engines: the same text, the same parameters, the same rows.
//!
//! On SQLite one writer takes all transactions that wait and commits them together, each behind a savepoint of its own,
//! so that durable writes a second are not one per fsync. On PostgreSQL each is a transaction of its own.

use std::{future::Future, pin::Pin, str::FromStr, time::Duration};

use futures_util::FutureExt as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Postgres, Row as _, Sqlite, SqliteConnection,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};
use tokio::sync::{mpsc, oneshot};

use super::error::LedgerError;

/// Writes that may wait for the one SQLite writer; past it callers wait for room.
const WRITE_QUEUE: usize = 1024;
/// Writes that share one commit at most, so that none waits long for the others.
const MAX_BATCH: usize = 128;
/// How long a connection may be busy with another process before a write gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Readers on SQLite: reading never waits for the writer (WAL).
const SQLITE_READERS: u32 = 4;
/// How long the first connection of a start may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// PostgreSQL's own bounds: on a statement, on the wait for a row, on a transaction that nobody goes on with.
const STATEMENT_TIMEOUT: &str = "10s";
const LOCK_TIMEOUT: &str = "5s";
const IDLE_TIMEOUT: &str = "15s";

/// A future that borrows the connection.
pub(super) type Step<'c, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'c>>;

/// The database of the ledger.
#[derive(Clone, Debug)]
pub(super) enum Db {
    /// Embedded: one writer, a few readers.
    Sqlite { readers: SqlitePool, writer: mpsc::Sender<Queued> },
    /// A server, shared by replicas.
    Postgres(PgPool),
}

/// A connection of either engine.
pub(super) enum Conn {
    Sqlite(PoolConnection<Sqlite>),
    SqliteWriter(Box<SqliteConnection>),
    Postgres(PoolConnection<Postgres>),
    /// Rolls back when dropped: a caller that goes away leaves nothing open.
    PostgresTransaction(sqlx::Transaction<'static, Postgres>),
}

/// A parameter.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
}

macro_rules! value_from {
    ($($from:ty => |$x:ident| $value:expr),+ $(,)?) => {
        $(impl From<$from> for Value { fn from($x: $from) -> Self { $value } })+
    };
}
value_from! {
    i64 => |x| Self::Int(Some(x)),
    Option<i64> => |x| Self::Int(x),
    u32 => |x| Self::Int(Some(i64::from(x))),
    bool => |x| Self::Int(Some(i64::from(x))),
    &str => |x| Self::Text(Some(x.to_owned())),
    String => |x| Self::Text(Some(x)),
    Option<String> => |x| Self::Text(x),
    Option<&str> => |x| Self::Text(x.map(str::to_owned)),
    uuid::Uuid => |x| Self::Text(Some(x.to_string())),
    Option<uuid::Uuid> => |x| Self::Text(x.map(|id| id.to_string())),
    jiff::Timestamp => |x| Self::Int(Some(x.as_microsecond())),
    Option<jiff::Timestamp> => |x| Self::Int(x.map(jiff::Timestamp::as_microsecond)),
    scanback_wallet::RefundId => |x| Self::Text(Some(x.to_string())),
    Option<scanback_wallet::RefundId> => |x| Self::Text(x.map(|id| id.to_string())),
    scanback_wallet::WalletKind => |x| Self::Text(Some(x.as_str().to_owned())),
    Option<scanback_wallet::WalletKind> => |x| Self::Text(x.map(|kind| kind.as_str().to_owned())),
}
macro_rules! value_from_id {
    ($($id:ident),+) => {
        $(impl From<&scanback_wallet::$id> for Value {
            fn from(id: &scanback_wallet::$id) -> Self { Self::Text(Some(id.as_str().to_owned())) }
        }
        impl From<Option<&scanback_wallet::$id>> for Value {
            fn from(id: Option<&scanback_wallet::$id>) -> Self { Self::Text(id.map(|id| id.as_str().to_owned())) }
        })+
    };
}
value_from_id!(MerchantId, OperatorId, OrderNo, StoreId, TerminalId, TransactionId, WalletRefundId, WalletRequestNo);

/// The parameters of a statement, in the order of `$1, $2, …`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$($crate::ledger::db::Value::from($value)),*] };
}
pub(super) use params;

/// Statements whose rows nobody reads, run in one go: on SQLite one trip to the connection's thread for all of them, which
/// is most of what a statement costs there.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<(&'static str, Vec<Value>)>);

impl Batch {
    pub(super) fn add(&mut self, sql: &'static str, values: Vec<Value>) {
        self.0.push((sql, values));
    }

    /// One text and one list of parameters: `$1` of the second statement becomes `$n + 1`. Few different texts ever arise,
    /// so the engine's cache of prepared statements holds them.
    fn joined(self) -> (String, Vec<Value>) {
        let (mut text, mut all) = (String::new(), Vec::new());
        for (sql, values) in self.0 {
            let mut pieces = sql.split('$');
            text.push_str(pieces.next().unwrap_or(""));
            for piece in pieces {
                let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
                let (number, rest) = piece.split_at(digits);
                let number = number.parse().unwrap_or(0) + all.len();
                text.push_str(&format!("${number}{rest}"));
            }
            text.push(';');
            all.extend(values);
        }
        (text, all)
    }
}

/// A write that changes nothing.
pub(super) fn touch() -> Batch {
    let mut batch = Batch::default();
    batch.add("UPDATE jobs SET attempts = attempts WHERE kind = ''", vec![]);
    batch
}

/// A row of either engine, read by column name.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn int(&self, column: &str) -> Result<i64, LedgerError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(super) fn opt_int(&self, column: &str) -> Result<Option<i64>, LedgerError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(super) fn text(&self, column: &str) -> Result<String, LedgerError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(super) fn opt_text(&self, column: &str) -> Result<Option<String>, LedgerError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(super) fn flag(&self, column: &str) -> Result<bool, LedgerError> {
        Ok(self.int(column)? != 0)
    }

    pub(super) fn time(&self, column: &str) -> Result<jiff::Timestamp, LedgerError> {
        timestamp(self.int(column)?, column)
    }

    pub(super) fn opt_time(&self, column: &str) -> Result<Option<jiff::Timestamp>, LedgerError> {
        self.opt_int(column)?.map(|micros| timestamp(micros, column)).transpose()
    }

    /// A text column that holds one of our types.
    pub(super) fn parse<T: FromStr>(&self, column: &str) -> Result<T, LedgerError> {
        self.text(column)?.parse().map_err(|_| unreadable(column))
    }

    /// The same where the column may be empty.
    pub(super) fn opt_parse<T: FromStr>(&self, column: &str) -> Result<Option<T>, LedgerError> {
        self.opt_text(column)?.map(|text| text.parse().map_err(|_| unreadable(column))).transpose()
    }
}

/// The ledger holds something in this column that can't be read.
pub(super) fn unreadable(column: &str) -> LedgerError {
    LedgerError::Broken(format!("column {column}"))
}

fn timestamp(micros: i64, column: &str) -> Result<jiff::Timestamp, LedgerError> {
    jiff::Timestamp::from_microsecond(micros).map_err(|_| unreadable(column))
}

macro_rules! bound {
    ($engine:ty, $sql:expr, $values:expr) => {{
        let mut query = sqlx::query::<$engine>($sql);
        for value in $values {
            query = match value {
                Value::Int(int) => query.bind(int),
                Value::Text(text) => query.bind(text),
            };
        }
        query
    }};
}

impl Conn {
    /// Whether rows can be locked by `FOR UPDATE`; SQLite has one writer and needs no row locks.
    pub(super) const fn locks_rows(&self) -> bool {
        matches!(self, Self::Postgres(_) | Self::PostgresTransaction(_))
    }

    /// Runs a statement; how many rows it changed.
    pub(super) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, LedgerError> {
        Ok(match self {
            Self::Sqlite(conn) => bound!(Sqlite, sql, values).execute(&mut **conn).await?.rows_affected(),
            Self::SqliteWriter(conn) => bound!(Sqlite, sql, values).execute(&mut **conn).await?.rows_affected(),
            Self::Postgres(conn) => bound!(Postgres, sql, values).execute(&mut **conn).await?.rows_affected(),
            Self::PostgresTransaction(tx) => bound!(Postgres, sql, values).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Runs all statements of a batch, in order; stops at the first that fails.
    pub(super) async fn run(&mut self, batch: Batch) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(conn) => {
                let (text, values) = batch.joined();
                bound!(Sqlite, AssertSqlSafe(text), values).execute(&mut **conn).await?;
            }
            Self::SqliteWriter(conn) => {
                let (text, values) = batch.joined();
                bound!(Sqlite, AssertSqlSafe(text), values).execute(&mut **conn).await?;
            }
            Self::Postgres(_) | Self::PostgresTransaction(_) => {
                for (sql, values) in batch.0 {
                    self.execute(sql, values).await?;
                }
            }
        }
        Ok(())
    }

    /// All rows of a statement.
    pub(super) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, LedgerError> {
        let wrap = |rows: Vec<SqliteRow>| rows.into_iter().map(Row::Sqlite).collect();
        let wrap_pg = |rows: Vec<PgRow>| rows.into_iter().map(Row::Postgres).collect();
        Ok(match self {
            Self::Sqlite(conn) => wrap(bound!(Sqlite, sql, values).fetch_all(&mut **conn).await?),
            Self::SqliteWriter(conn) => wrap(bound!(Sqlite, sql, values).fetch_all(&mut **conn).await?),
            Self::Postgres(conn) => wrap_pg(bound!(Postgres, sql, values).fetch_all(&mut **conn).await?),
            Self::PostgresTransaction(tx) => wrap_pg(bound!(Postgres, sql, values).fetch_all(&mut **tx).await?),
        })
    }

    /// The first row of a statement.
    pub(super) async fn row(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<Row>, LedgerError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }
}

/// A write that waits for the SQLite writer. It runs, says whether its changes shall stay, and hears of the commit.
pub(super) struct Queued(Box<dyn for<'c> FnOnce(&'c mut Conn) -> Running<'c> + Send>);

type Running<'c> = Pin<Box<dyn Future<Output = Ran> + Send + 'c>>;
type Tell = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;

struct Ran {
    keep: bool,
    tell: Tell,
}

impl Db {
    /// Opens `sqlite:PATH` (made if absent) or `postgres://…`. Connects to a server when it is first needed.
    pub(super) async fn open(url: &str, max_connections: u32) -> Result<Self, LedgerError> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            // a server that goes silent must not hold requests and loops for as long as the kernel's patience
            let options = PgConnectOptions::from_str(url)?.options([
                ("statement_timeout", STATEMENT_TIMEOUT),
                ("lock_timeout", LOCK_TIMEOUT),
                ("idle_in_transaction_session_timeout", IDLE_TIMEOUT),
            ]);
            let pool = PgPoolOptions::new()
                .max_connections(max_connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_lazy_with(options);
            return Ok(Self::Postgres(pool));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        // the writer first: it makes the file, which readers may not
        let connection = options.connect().await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false) // a file does not hang up, and the question costs as much as a read
            .connect_lazy_with(options.clone());
        let (writer, queue) = mpsc::channel(WRITE_QUEUE);
        std::thread::Builder::new()
            .name("ledger-writer".into())
            .spawn(move || writer_thread(options, connection, queue))
            .map_err(sqlx::Error::Io)?;
        Ok(Self::Sqlite { readers, writer })
    }

    /// Brings the schema up to this program's.
    pub(super) async fn migrate(&self) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite { readers, .. } => sqlx::migrate!("src/ledger/migrations/sqlite").run(readers).await?,
            Self::Postgres(pool) => {
                // once without the pool, which would only say that it waited: the cause is what helps
                let options = pool.connect_options();
                let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
                connected.map_err(|_| LedgerError::Unavailable(sqlx::Error::PoolTimedOut))??.close().await?;
                sqlx::migrate!("src/ledger/migrations/postgres").run(pool).await?;
            }
        }
        Ok(())
    }

    /// A connection to read with.
    pub(super) async fn reader(&self) -> Result<Conn, LedgerError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Conn::Sqlite(readers.acquire().await?),
            Self::Postgres(pool) => Conn::Postgres(pool.acquire().await?),
        })
    }

    /// Runs `work` in one transaction: all of it is durable when this returns `Ok`, none of it after `Err`.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> Step<'c, T> + Send + 'static,
    {
        match self {
            Self::Sqlite { writer, .. } => {
                let (answer, heard) = oneshot::channel();
                let queued = Queued(Box::new(move |conn| {
                    Box::pin(async move {
                        let result = work(conn).await;
                        let keep = result.is_ok();
                        let tell: Tell = Box::new(move |committed| {
                            // the caller may have gone; what was committed stays all the same
                            let _ = answer.send(committed.and(result));
                        });
                        Ran { keep, tell }
                    })
                }));
                let gone = || LedgerError::Unavailable(sqlx::Error::WorkerCrashed);
                writer.send(queued).await.map_err(|_| gone())?;
                heard.await.map_err(|_| gone())?
            }
            Self::Postgres(pool) => {
                let mut conn = Conn::PostgresTransaction(pool.begin().await?);
                let result = work(&mut conn).await;
                if let Conn::PostgresTransaction(tx) = conn {
                    if result.is_ok() {
                        tx.commit().await.map_err(|error| LedgerError::CommitUnknown(error.to_string()))?;
                    } else {
                        tx.rollback().await?;
                    }
                }
                result
            }
        }
    }

    /// Closes the pools; what waits for the writer is done first.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { readers, .. } => readers.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A thread of its own, without the network's event loop: waking it costs half of what waking a server thread does, and a
/// transaction is a dozen of wake-ups.
fn writer_thread(options: SqliteConnectOptions, connection: SqliteConnection, queue: mpsc::Receiver<Queued>) {
    match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime.block_on(write_together(options, connection, queue)),
        Err(error) => tracing::error!(%error, "the ledger's writer could not start"),
    }
}

/// The one SQLite writer: takes what waits, runs each piece behind a savepoint, commits once, then tells everybody.
async fn write_together(
    options: SqliteConnectOptions,
    connection: SqliteConnection,
    mut queue: mpsc::Receiver<Queued>,
) {
    let mut conn = Some(Conn::SqliteWriter(Box::new(connection)));
    while let Some(first) = queue.recv().await {
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        if conn.is_none() {
            match options.connect().await {
                Ok(fresh) => conn = Some(Conn::SqliteWriter(Box::new(fresh))),
                // dropping the batch tells each caller that the database does not answer
                Err(error) => tracing::error!(%error, "the ledger's file can't be opened"),
            }
        }
        let Some(open) = conn.as_mut() else { continue };
        if let Err(error) = commit_together(open, batch).await {
            tracing::error!(%error, "a commit to the ledger failed");
            // start afresh: whatever was open on this connection is rolled back with it
            if let Some(Conn::SqliteWriter(broken)) = conn.take() {
                let _ = broken.close().await;
            }
        }
    }
}

async fn commit_together(conn: &mut Conn, batch: Vec<Queued>) -> Result<(), LedgerError> {
    conn.execute("BEGIN IMMEDIATE; SAVEPOINT piece", vec![]).await?;
    let (mut tells, count) = (Vec::with_capacity(batch.len()), batch.len());
    for (index, Queued(run)) in batch.into_iter().enumerate() {
        // a fault in one piece must not take the writer with it: its caller hears that the database gave no answer
        let ran = std::panic::AssertUnwindSafe(run(conn)).catch_unwind().await.ok();
        if !ran.as_ref().is_some_and(|ran| ran.keep) {
            conn.execute("ROLLBACK TO piece", vec![]).await?;
        }
        if index + 1 < count {
            conn.execute("RELEASE piece; SAVEPOINT piece", vec![]).await?;
        }
        tells.extend(ran.map(|ran| ran.tell));
    }
    let committed = conn.execute("RELEASE piece; COMMIT", vec![]).await;
    for tell in tells {
        tell(match &committed {
            Ok(_) => Ok(()),
            Err(error) => Err(LedgerError::CommitUnknown(error.to_string())),
        });
    }
    committed.map(|_| ())
}

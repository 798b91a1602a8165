//! One way to speak SQL to both engines: the same text, the same parameters, the same rows.
//!
//! On SQLite one writer takes all transactions that wait and commits them together, each behind a savepoint of its own,
//! so that durable writes a second are not one per fsync. On PostgreSQL each is a transaction of its own. What was decided before
//! goes as a [`Batch`] by itself; where it depends on what was read, statements that must change a row say so.

mod postgres;
mod sqlite;

use std::{future::Future, pin::Pin, str::FromStr, sync::Arc};

use sqlx::{
    ConnectOptions, Connection as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::oneshot;

use self::{
    postgres::{Line, Server, Transaction},
    sqlite::{Reader, Readers, Session, SqliteRow, Writer},
};
use super::error::LedgerError;
use crate::mutants::{Mutant, on};

/// A future that borrows the connection.
pub(super) type Step<'c, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'c>>;

/// The database of the ledger.
#[derive(Clone, Debug)]
pub(super) enum Db {
    /// Embedded: one writer, a few readers.
    Sqlite { options: Box<SqliteConnectOptions>, readers: Arc<Readers>, writer: Writer },
    /// A server, shared by replicas.
    Postgres(Server),
}

/// A connection of either engine.
pub(super) enum Conn {
    Sqlite(Reader),
    SqliteWriter(Session),
    Postgres(Line),
    PostgresTransaction(Transaction),
}

/// A parameter, or a cell of a row.
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

/// Statements whose rows nobody reads. SQLite runs them in order. PostgreSQL may get all of them as one statement, which runs those that
/// must change a row first, in their order, and the rest in any: no two may change the same row, and rows whose order matters are one
/// statement's. In a transaction on PostgreSQL they may wait for the next statement or the commit, and what is wrong with them is told
/// of there.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<Statement>);

#[derive(Debug)]
struct Statement {
    sql: &'static str,
    values: Vec<Value>,
    /// Whether nothing of the batch holds where this changes no row.
    must: bool,
}

impl Batch {
    pub(super) fn add(&mut self, sql: &'static str, values: Vec<Value>) {
        self.0.push(Statement { sql, values, must: false });
    }

    /// A statement without which nothing of this holds: where it changes no row all is undone, and [`LedgerError::Stale`] says so.
    pub(super) fn must(&mut self, sql: &'static str, values: Vec<Value>) {
        self.0.push(Statement { sql, values, must: true });
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
    Postgres(tokio_postgres::Row),
}

impl Row {
    pub(super) fn int(&self, column: &str) -> Result<i64, LedgerError> {
        self.opt_int(column)?.ok_or_else(|| unreadable(column))
    }

    pub(super) fn opt_int(&self, column: &str) -> Result<Option<i64>, LedgerError> {
        match self {
            Self::Sqlite(row) => row.int(column),
            Self::Postgres(row) => row.try_get(column).map_err(|_| unreadable(column)),
        }
    }

    pub(super) fn text(&self, column: &str) -> Result<String, LedgerError> {
        self.opt_text(column)?.ok_or_else(|| unreadable(column))
    }

    pub(super) fn opt_text(&self, column: &str) -> Result<Option<String>, LedgerError> {
        match self {
            Self::Sqlite(row) => Ok(row.text(column)?.map(str::to_owned)),
            Self::Postgres(row) => row.try_get(column).map_err(|_| unreadable(column)),
        }
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

impl Conn {
    /// Whether rows can be locked by `FOR UPDATE`; SQLite has one writer and needs no row locks.
    pub(super) const fn locks_rows(&self) -> bool {
        matches!(self, Self::Postgres(_) | Self::PostgresTransaction(_))
    }

    /// Runs a statement; how many rows it changed.
    pub(super) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, LedgerError> {
        Ok(match self {
            Self::Sqlite(reader) => reader.session()?.execute(sql, &values)?,
            Self::SqliteWriter(session) => session.execute(sql, &values)?,
            Self::Postgres(line) => line.execute(sql, &values).await?,
            Self::PostgresTransaction(transaction) => transaction.execute(sql, values).await?,
        })
    }

    /// Runs all statements of a batch, in order; stops at the first that fails.
    pub(super) async fn run(&mut self, batch: Batch) -> Result<(), LedgerError> {
        if let Self::PostgresTransaction(transaction) = self {
            return transaction.run(batch).await;
        }
        for Statement { sql, values, must } in batch.0 {
            if self.execute(sql, values).await? == 0 && must && !on(Mutant::StaleKept) {
                return Err(LedgerError::Stale);
            }
        }
        Ok(())
    }

    /// All rows of a statement.
    pub(super) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, LedgerError> {
        let wrap = |rows: Vec<SqliteRow>| rows.into_iter().map(Row::Sqlite).collect();
        let wrap_pg = |rows: Vec<tokio_postgres::Row>| rows.into_iter().map(Row::Postgres).collect();
        Ok(match self {
            Self::Sqlite(reader) => wrap(reader.session()?.rows(sql, &values)?),
            Self::SqliteWriter(session) => wrap(session.rows(sql, &values)?),
            Self::Postgres(line) => wrap_pg(line.rows(sql, &values).await?),
            Self::PostgresTransaction(transaction) => wrap_pg(transaction.rows(sql, values).await?),
        })
    }

    /// All rows of two statements that write nothing, one after the other: one trip where there is a server.
    pub(super) async fn rows_of_both(
        &mut self,
        [(one, of_one), (other, of_other)]: [(&'static str, Vec<Value>); 2],
    ) -> Result<[Vec<Row>; 2], LedgerError> {
        let both = match self {
            Self::PostgresTransaction(transaction) => {
                transaction.rows_of_both([(one, of_one), (other, of_other)]).await?
            }
            Self::Postgres(line) => line.rows_of_both([(one, &of_one), (other, &of_other)]).await?,
            Self::Sqlite(reader) => {
                let both = reader.session()?.rows_of_both([(one, &of_one), (other, &of_other)])?;
                return Ok(both.map(|rows| rows.into_iter().map(Row::Sqlite).collect()));
            }
            Self::SqliteWriter(_) => return Ok([self.rows(one, of_one).await?, self.rows(other, of_other).await?]),
        };
        Ok(both.map(|rows| rows.into_iter().map(Row::Postgres).collect()))
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
            return Ok(Self::Postgres(Server::at(url, max_connections)?));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        // makes the file and its journal mode, which stays with it
        options.connect().await?.close().await?;
        let (readers, writer) = sqlite::start(options.get_filename())?;
        Ok(Self::Sqlite { options: Box::new(options), readers, writer })
    }

    /// Opens a file that is there already, its writer on the caller's thread.
    #[cfg(feature = "simulated")]
    pub(super) fn open_in_steps(
        path: &std::path::Path,
        steps: Arc<dyn crate::ledger::Steps>,
    ) -> Result<Self, LedgerError> {
        let (readers, writer) = sqlite::open_here(path, steps)?;
        Ok(Self::Sqlite { options: Box::new(SqliteConnectOptions::new().filename(path)), readers, writer })
    }

    /// Brings the schema up to this program's.
    pub(super) async fn migrate(&self) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite { options, .. } => {
                let mut connection = options.connect().await?;
                sqlx::migrate!("src/ledger/migrations/sqlite").run(&mut connection).await?;
                connection.close().await?;
            }
            Self::Postgres(server) => server.migrate().await?,
        }
        Ok(())
    }

    /// A connection to read with.
    pub(super) async fn reader(&self) -> Result<Conn, LedgerError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Conn::Sqlite(readers.take()?),
            Self::Postgres(server) => Conn::Postgres(server.line().await?),
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
                let gone = || LedgerError::Unavailable("the ledger's writer gave no answer".into());
                writer.send(queued).await?;
                heard.await.map_err(|_| gone())?
            }
            Self::Postgres(server) => {
                let mut conn = Conn::PostgresTransaction(server.begin().await?);
                let result = work(&mut conn).await;
                if let Conn::PostgresTransaction(transaction) = conn {
                    match result {
                        Ok(_) => transaction.commit().await?,
                        Err(_) => transaction.roll_back().await,
                    }
                }
                result
            }
        }
    }

    /// Runs a batch as a transaction by itself: all of it is durable when this returns `Ok`, none of it after `Err`. One trip where
    /// there is a server.
    pub(super) async fn run(&self, batch: Batch) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite { .. } => self.write(move |conn| Box::pin(conn.run(batch))).await,
            Self::Postgres(server) => server.run(batch).await,
        }
    }

    /// Closes the line to a server. A file needs no farewell: what was acknowledged is on the disk.
    pub(super) fn close(&self) {
        match self {
            Self::Sqlite { .. } => {}
            Self::Postgres(server) => server.close(),
        }
    }
}

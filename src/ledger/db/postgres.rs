//! PostgreSQL: a pool of lines, and transactions whose statements travel together.
//!
//! Statements whose rows nobody reads wait until one is asked for, or until the commit, and go out with it: what a refund
//! writes is one trip to the server, not ten. The server runs them one after another all the same. Nothing that writes goes out
//! before the server has said that the transaction began: outside of one, each statement would stay by itself. A batch that is a
//! transaction by itself goes as one statement, which needs no beginning and no commit.
//!
//! Each thread has a pool of its own. A line is driven by the runtime of the thread that opened it; on another one's line each trip
//! would be two wake-ups of threads, which cost more than the trip.

mod address;
mod tls;
mod together;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use futures_util::future::{join, join_all};
use thread_local::ThreadLocal;
use tokio_postgres::{
    Client, Row, Statement,
    types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::address::Address;
use super::{Batch, Value};
use crate::ledger::error::LedgerError;

/// How long a new connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a statement may go without an answer. Longer than the server's own bounds, which tell more; where not even those
/// come, the line is dead whatever TCP says.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);
/// So many statements wait for company at most.
const MOST_TOGETHER: usize = 24;

/// The server of a ledger.
#[derive(Clone)]
pub(in crate::ledger) struct Server {
    address: Box<Address>,
    tls: MakeRustlsConnect,
    lines_a_thread: usize,
    pools: Arc<ThreadLocal<Pool>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({:?})", self.address.config.get_hosts())
    }
}

impl Server {
    /// Reads the address; connects when a line is first needed.
    pub(super) fn at(url: &str, lines_a_thread: u32) -> Result<Self, LedgerError> {
        let address = Address::parse(url)?;
        let tls = tls::connector(&address)?;
        let lines_a_thread = usize::try_from(lines_a_thread).unwrap_or(usize::MAX);
        Ok(Self { address: Box::new(address), tls, lines_a_thread, pools: Arc::default() })
    }

    /// The pool of this thread.
    fn pool(&self) -> Result<&Pool, LedgerError> {
        self.pools.get_or_try(|| {
            let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
            let manager = Manager::from_config(self.address.config.clone(), self.tls.clone(), recycling);
            Pool::builder(manager)
                .max_size(self.lines_a_thread)
                .timeouts(Timeouts { wait: Some(ACQUIRE_TIMEOUT), create: Some(CONNECT_TIMEOUT), recycle: None })
                .runtime(Runtime::Tokio1)
                .build()
                .map_err(|error| LedgerError::Unavailable(error.into()))
        })
    }

    /// A line of this thread's pool.
    pub(super) async fn line(&self) -> Result<Line, LedgerError> {
        Ok(Line { object: Some(self.pool()?.get().await?), is_silent: AtomicBool::new(false) })
    }

    /// Begins a transaction; nothing is sent yet.
    pub(super) async fn begin(&self) -> Result<Transaction, LedgerError> {
        Ok(Transaction { line: Some(self.line().await?), begun: false, waiting: Vec::new() })
    }

    /// Runs a batch as one statement, which is a transaction by itself: all of it is durable after `Ok`.
    pub(super) async fn run(&self, batch: Batch) -> Result<(), LedgerError> {
        let line = self.line().await?;
        let (sql, values) = together::one_statement(batch);
        let statement = line.prepare(sql, &values).await?;
        let mut told = false;
        let done = line.answer(async |object| {
            let done = object.execute_raw(&statement, &values).await;
            told = done.as_ref().is_err_and(|error| error.as_db_error().is_some());
            done
        });
        match done.await {
            Ok(_) => Ok(()),
            // an error of the server's undoes the statement; where the line broke it may have been carried out
            Err(LedgerError::Unavailable(error)) if !told => Err(LedgerError::CommitUnknown(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// A connection beside the pool, open until it is dropped.
    pub(in crate::ledger) async fn connect(&self) -> Result<Client, LedgerError> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.address.config.connect(self.tls.clone())).await;
        let (client, connection) =
            connected.map_err(|_| LedgerError::Unavailable("the server gave no answer in time".into()))??;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "a line to PostgreSQL broke");
            }
        });
        Ok(client)
    }

    /// Brings the schema up to this program's, at the one host of the address that takes writes.
    pub(super) async fn migrate(&self) -> Result<(), LedgerError> {
        self.connect().await?; // whoever is asked in vain says why, and in our words
        let mut connection = self.address.connect_to_the_writable().await?;
        sqlx::migrate!("src/ledger/migrations/postgres").run(&mut connection).await?;
        sqlx::Connection::close(connection).await?;
        Ok(())
    }

    pub(super) fn close(&self) {
        self.pools.iter().for_each(Pool::close);
    }
}

/// A connection that is ours until it is dropped. One that gave no answer in time isn't used again.
pub(in crate::ledger) struct Line {
    /// There until the drop.
    object: Option<Object>,
    is_silent: AtomicBool,
}

impl Line {
    fn object(&self) -> Result<&Object, LedgerError> {
        self.object.as_ref().ok_or_else(|| LedgerError::Broken("a connection was used after its end".into()))
    }

    /// What the server says, if it says it in time.
    async fn answer<T>(
        &self,
        asked: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, LedgerError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, asked(self.object()?)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                self.is_silent.store(true, Ordering::Relaxed);
                Err(LedgerError::Unavailable("the server gave no answer in time".into()))
            }
        }
    }

    async fn prepare(&self, sql: &str, values: &[Value]) -> Result<Statement, LedgerError> {
        let types: Vec<_> = values.iter().map(Value::sql_type).collect();
        self.answer(async |object| object.prepare_typed_cached(sql, &types).await).await
    }

    pub(super) async fn rows(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, LedgerError> {
        let statement = self.prepare(sql, values).await?;
        self.answer(async |object| object.query(&statement, &borrowed(values)).await).await
    }

    pub(super) async fn rows_of_both(
        &self,
        [(one, of_one), (other, of_other)]: [(&str, &[Value]); 2],
    ) -> Result<[Vec<Row>; 2], LedgerError> {
        let (first, second) = (self.prepare(one, of_one).await?, self.prepare(other, of_other).await?);
        let (of_one, of_other) = (borrowed(of_one), borrowed(of_other));
        self.answer(async |object| both(object, (&first, &of_one), (&second, &of_other)).await).await
    }

    pub(super) async fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, LedgerError> {
        let statement = self.prepare(sql, values).await?;
        self.answer(async |object| object.execute(&statement, &borrowed(values)).await).await
    }

    /// Takes it out of the pool: the server rolls back what was open on it.
    fn hang_up(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_silent.load(Ordering::Relaxed) {
            self.hang_up();
        }
    }
}

/// A transaction. Dropped without its end it takes its connection with it, and the server rolls back: a caller that goes away
/// leaves nothing open.
pub(in crate::ledger) struct Transaction {
    /// `None` once it ended.
    line: Option<Line>,
    begun: bool,
    waiting: Vec<(&'static str, Vec<Value>)>,
}

impl Transaction {
    /// Takes statements whose rows nobody reads. One that fails is told of by the statement that goes out with it, or by the
    /// commit; none after it has an effect.
    pub(super) async fn run(&mut self, batch: Batch) -> Result<(), LedgerError> {
        if batch.0.iter().any(|statement| statement.must) {
            self.waiting.push(together::one_statement(batch));
            return Ok(());
        }
        for statement in batch.0 {
            if self.waiting.len() == MOST_TOGETHER {
                self.send(async |_| Ok(())).await?;
            }
            self.waiting.push((statement.sql, statement.values));
        }
        Ok(())
    }

    pub(super) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, LedgerError> {
        let statement = self.line()?.prepare(sql, &values).await?;
        self.send(async |client| client.query(&statement, &borrowed(&values)).await).await
    }

    /// The rows of two statements that write nothing, in one trip, with the beginning where it is due.
    pub(super) async fn rows_of_both(
        &mut self,
        [(one, of_one), (other, of_other)]: [(&'static str, Vec<Value>); 2],
    ) -> Result<[Vec<Row>; 2], LedgerError> {
        let (first, second) =
            (self.line()?.prepare(one, &of_one).await?, self.line()?.prepare(other, &of_other).await?);
        let (of_one, of_other) = (borrowed(&of_one), borrowed(&of_other));
        let both = async |client: &Client| both(client, (&first, &of_one), (&second, &of_other)).await;
        if self.begun || !self.waiting.is_empty() {
            return self.send(both).await;
        }
        self.begun = true;
        let begin = async |object: &Object| {
            let (begun, both) = join(object.batch_execute("BEGIN"), both(object)).await;
            begun?;
            both
        };
        self.line()?.answer(begin).await
    }

    pub(super) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, LedgerError> {
        let statement = self.line()?.prepare(sql, &values).await?;
        self.send(async |client| client.execute(&statement, &borrowed(&values)).await).await
    }

    /// Ends it: all of it is durable after `Ok`.
    pub(super) async fn commit(mut self) -> Result<(), LedgerError> {
        if self.begun || !self.waiting.is_empty() {
            let committed = self.send(async |client| client.batch_execute("COMMIT").await).await;
            committed.map_err(|error| match error {
                // the line broke, and the commit may have been on it
                LedgerError::Unavailable(error) => LedgerError::CommitUnknown(error.to_string()),
                error => error,
            })?;
        }
        self.line = None;
        Ok(())
    }

    /// Undoes it.
    pub(super) async fn roll_back(mut self) {
        let clean = match &self.line {
            Some(line) if self.begun => {
                line.answer(async |object| object.batch_execute("ROLLBACK").await).await.is_ok()
            }
            _ => true,
        };
        self.begun = !clean; // dropped as it is where the server didn't hear
    }

    fn line(&self) -> Result<&Line, LedgerError> {
        self.line.as_ref().ok_or_else(|| LedgerError::Broken("a transaction was used after its end".into()))
    }

    /// Begins where that is due; then sends what waits, and one thing more, all at once. The first that fails is told of.
    async fn send<T>(
        &mut self,
        last: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, LedgerError> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut statements = Vec::with_capacity(waiting.len());
        for (sql, values) in &waiting {
            statements.push(self.line()?.prepare(sql, values).await?);
        }
        if !self.begun {
            self.begun = true; // before it is sent: whoever goes away meanwhile takes the connection with it
            self.line()?.answer(async |object| object.batch_execute("BEGIN").await).await?;
        }
        let together = async |client: &Object| {
            // each goes out when it is first polled, which is in this order
            let before = join_all(
                statements.iter().zip(&waiting).map(|(statement, (_, values))| client.execute_raw(statement, values)),
            );
            let (before, last) = join(before, last(client)).await;
            before.into_iter().collect::<Result<Vec<_>, _>>()?;
            last
        };
        self.line()?.answer(together).await
    }
}

/// The rows of two statements in one trip.
async fn both(
    client: &Client,
    (one, of_one): (&Statement, &[&(dyn ToSql + Sync)]),
    (other, of_other): (&Statement, &[&(dyn ToSql + Sync)]),
) -> Result<[Vec<Row>; 2], tokio_postgres::Error> {
    let (one, other) = join(client.query(one, of_one), client.query(other, of_other)).await;
    Ok([one?, other?])
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.begun
            && let Some(mut line) = self.line.take()
        {
            line.hang_up();
        }
    }
}

impl Value {
    const fn sql_type(&self) -> Type {
        match self {
            Self::Int(_) => Type::INT8,
            Self::Text(_) => Type::TEXT,
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Int(int) => int.to_sql(of, out),
            Self::Text(text) => text.to_sql(of, out),
        }
    }

    fn accepts(of: &Type) -> bool {
        matches!(*of, Type::INT8 | Type::TEXT)
    }

    to_sql_checked!();
}

fn borrowed(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

//! SQLite, spoken to on the thread that asks.
//!
//! A statement on a local file takes microseconds, handing it to another thread and back a multiple of that, which is why
//! this engine has a driver of its own (docs/adr/0007). Readers never wait for the writer (WAL).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use rusqlite::{
    Connection, ErrorCode, ToSql,
    types::{ToSqlOutput, ValueRef},
};
use tokio::sync::mpsc;

use super::{Conn, Queued, Value};
use crate::ledger::LedgerError;

/// Writes that may wait for the one writer; past it callers wait for room.
const WRITE_QUEUE: usize = 1024;
/// Writes that share one commit at most, so that none waits long for the others.
const MAX_BATCH: usize = 128;
/// While several write at once, a commit waits this long for more to share it: each costs an fsync and writes some twenty pages,
/// for one piece or for ten. Who writes alone never waits.
const COMPANY_WITHIN: Duration = Duration::from_millis(2);
/// How long a connection may be busy with another process before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle readers that are kept open; one more than the threads that usually read costs nothing.
const IDLE_READERS: usize = 8;
/// Memory for pages, as SQLite takes it: negative is KiB. It is used as the file grows, up to this.
const WRITER_CACHE: &str = "-8192";
const READER_CACHE: &str = "-2048";
/// Pages in the log before they are carried over to the file: a page that each refund changes is then carried over once for
/// many of them. 16 MB.
const CHECKPOINT_PAGES: &str = "4096";
/// Compiled statements that a connection keeps: more than there are texts.
const STATEMENTS: usize = 256;

/// Why a file can't be used.
fn unavailable(error: rusqlite::Error) -> LedgerError {
    LedgerError::Unavailable(error.into())
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi;
        match &error {
            rusqlite::Error::SqliteFailure(cause, text) => match cause.extended_code {
                ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => Self::Duplicate,
                ffi::SQLITE_CONSTRAINT_CHECK => Self::Check(text.clone().unwrap_or_default()),
                _ => match cause.code {
                    ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::ParameterOutOfRange => {
                        Self::Broken(error.to_string())
                    }
                    _ => unavailable(error),
                },
            },
            // everything else is a statement or a value that does not fit
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(Some(int)) => ValueRef::Integer(*int),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Int(None) | Self::Text(None) => ValueRef::Null,
        }))
    }
}

/// What is known of a statement's text: which `$n` each of its parameters is, and the names of its columns.
#[derive(Debug)]
struct Shape {
    parameters: Box<[usize]>,
    columns: Arc<[Box<str>]>,
}

/// A row, read whole.
#[derive(Debug)]
pub(in crate::ledger) struct SqliteRow {
    columns: Arc<[Box<str>]>,
    cells: Vec<Value>,
}

impl SqliteRow {
    fn cell(&self, column: &str) -> Result<&Value, LedgerError> {
        let index = self.columns.iter().position(|name| **name == *column);
        index.and_then(|index| self.cells.get(index)).ok_or_else(|| super::unreadable(column))
    }

    pub(super) fn int(&self, column: &str) -> Result<Option<i64>, LedgerError> {
        match self.cell(column)? {
            Value::Int(int) => Ok(*int),
            Value::Text(None) => Ok(None),
            Value::Text(Some(_)) => Err(super::unreadable(column)),
        }
    }

    pub(super) fn text(&self, column: &str) -> Result<Option<&str>, LedgerError> {
        match self.cell(column)? {
            Value::Text(text) => Ok(text.as_deref()),
            Value::Int(None) => Ok(None),
            Value::Int(Some(_)) => Err(super::unreadable(column)),
        }
    }
}

/// One connection to the file.
#[derive(Debug)]
pub(in crate::ledger) struct Session {
    connection: Connection,
    shapes: HashMap<&'static str, Shape>,
}

impl Session {
    /// Opens the file, which must be there: [`super::Db::open`] makes it.
    fn open(path: &Path, read_only: bool) -> Result<Self, LedgerError> {
        let connection = Connection::open(path).map_err(unavailable)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(unavailable)?;
        let settings = [
            ("synchronous", "FULL"),
            ("foreign_keys", "ON"),
            // savepoints keep what they may undo in memory, not in a file that is made and removed each time
            ("temp_store", "MEMORY"),
            ("cache_size", if read_only { READER_CACHE } else { WRITER_CACHE }),
            ("wal_autocheckpoint", CHECKPOINT_PAGES),
            ("query_only", if read_only { "ON" } else { "OFF" }),
        ];
        for (pragma, value) in settings {
            connection.pragma_update(None, pragma, value).map_err(unavailable)?;
        }
        if crate::mutants::on(crate::mutants::Mutant::NoReserve) {
            connection.pragma_update(None, "ignore_check_constraints", "ON").map_err(unavailable)?;
        }
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self { connection, shapes: HashMap::new() })
    }

    /// Runs a statement; how many rows it changed.
    pub(super) fn execute(&mut self, sql: &'static str, values: &[Value]) -> Result<u64, LedgerError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let shape = shape(&mut self.shapes, sql, &statement);
        bind(&mut statement, shape, values)?;
        Ok(statement.raw_execute().map(|changed| changed as u64)?)
    }

    /// All rows of a statement.
    pub(super) fn rows(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<SqliteRow>, LedgerError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let shape = shape(&mut self.shapes, sql, &statement);
        bind(&mut statement, shape, values)?;
        let (mut rows, mut all) = (statement.raw_query(), Vec::new());
        while let Some(row) = rows.next()? {
            let cells = (0..shape.columns.len()).map(|index| {
                Ok(match row.get_ref(index)? {
                    ValueRef::Null => Value::Int(None),
                    ValueRef::Integer(int) => Value::Int(Some(int)),
                    ValueRef::Text(text) => Value::Text(Some(String::from_utf8_lossy(text).into_owned())),
                    ValueRef::Real(_) | ValueRef::Blob(_) => return Err(super::unreadable(&shape.columns[index])),
                })
            });
            all.push(SqliteRow {
                cells: cells.collect::<Result<_, LedgerError>>()?,
                columns: Arc::clone(&shape.columns),
            });
        }
        Ok(all)
    }

    /// All rows of two statements, of one moment.
    pub(super) fn rows_of_both(
        &mut self,
        [(one, of_one), (other, of_other)]: [(&'static str, &[Value]); 2],
    ) -> Result<[Vec<SqliteRow>; 2], LedgerError> {
        self.execute("BEGIN", &[])?;
        let both = self.rows(one, of_one).and_then(|rows| Ok([rows, self.rows(other, of_other)?]));
        self.execute("COMMIT", &[])?;
        both
    }
}

fn shape<'s>(
    shapes: &'s mut HashMap<&'static str, Shape>,
    sql: &'static str,
    statement: &rusqlite::Statement<'_>,
) -> &'s Shape {
    shapes.entry(sql).or_insert_with(|| {
        // SQLite numbers `$n` by where it first stands, not by its n
        let number = |name: &str| name.trim_start_matches('$').parse().unwrap_or(0);
        let parameters = (1..=statement.parameter_count()).map(|at| statement.parameter_name(at).map_or(0, number));
        let columns = statement.column_names().into_iter().map(Box::from);
        Shape { parameters: parameters.collect(), columns: columns.collect() }
    })
}

fn bind(statement: &mut rusqlite::Statement<'_>, shape: &Shape, values: &[Value]) -> Result<(), LedgerError> {
    for (index, number) in shape.parameters.iter().enumerate() {
        let value = number.checked_sub(1).and_then(|index| values.get(index));
        let value = value.ok_or_else(|| LedgerError::Broken(format!("a statement has no value for ${number}")))?;
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}

/// The readers: an idle one is taken, or one more is opened.
#[derive(Debug)]
pub(in crate::ledger) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Session>>,
}

impl Readers {
    /// A connection to read with, given back when dropped.
    pub(super) fn take(self: &Arc<Self>) -> Result<Reader, LedgerError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = idle.map_or_else(|| Session::open(&self.path, true), Ok)?;
        Ok(Reader { session: Some(session), pool: Arc::clone(self) })
    }
}

/// A reader that is in use.
#[derive(Debug)]
pub(in crate::ledger) struct Reader {
    session: Option<Session>,
    pool: Arc<Readers>,
}

impl Reader {
    pub(super) fn session(&mut self) -> Result<&mut Session, LedgerError> {
        self.session.as_mut().ok_or_else(|| LedgerError::Broken("a reader was given back".into()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.extend(self.session.take());
        }
    }
}

/// The way to the one writer.
#[derive(Clone)]
pub(in crate::ledger) enum Writer {
    /// A thread of its own, which commits together what waits.
    Thread(mpsc::Sender<Queued>),
    /// The caller's thread, one piece a commit: a simulation decides what happens around each.
    #[cfg(feature = "simulated")]
    Here(Arc<Here>),
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// Hands a piece over; it says itself what became of it.
    pub(super) async fn send(&self, queued: Queued) -> Result<(), LedgerError> {
        match self {
            Self::Thread(queue) => {
                let gone = |_| LedgerError::Unavailable("the ledger's writer gave no answer".into());
                queue.send(queued).await.map_err(gone)
            }
            #[cfg(feature = "simulated")]
            Self::Here(here) => here.write(queued).await,
        }
    }
}

/// The writer of a simulation: the same connection, statements, savepoints and commits, without a thread.
#[cfg(feature = "simulated")]
pub(in crate::ledger) struct Here {
    conn: Mutex<Conn>,
    steps: Arc<dyn crate::ledger::Steps>,
}

#[cfg(feature = "simulated")]
impl Here {
    async fn write(&self, queued: Queued) -> Result<(), LedgerError> {
        use crate::ledger::Step;
        self.steps.step(Step::BeforeCommit).await;
        commit_together(&mut self.conn.lock().unwrap_or_else(PoisonError::into_inner), vec![queued])?;
        self.steps.step(Step::AfterCommit).await;
        Ok(())
    }
}

/// Opens a file that is there already for a simulation.
#[cfg(feature = "simulated")]
pub(super) fn open_here(
    path: &Path,
    steps: Arc<dyn crate::ledger::Steps>,
) -> Result<(Arc<Readers>, Writer), LedgerError> {
    let conn = Mutex::new(Conn::SqliteWriter(Session::open(path, false)?));
    let readers = Arc::new(Readers { path: path.to_owned(), idle: Mutex::default() });
    Ok((readers, Writer::Here(Arc::new(Here { conn, steps }))))
}

/// Starts the writer's thread; the readers, and the queue that feeds it.
pub(super) fn start(path: &Path) -> Result<(Arc<Readers>, Writer), LedgerError> {
    let session = Session::open(path, false)?;
    let (writer, queue) = mpsc::channel(WRITE_QUEUE);
    let file = path.to_owned();
    std::thread::Builder::new()
        .name("ledger-writer".into())
        .spawn(move || write_together(&file, session, queue))
        .map_err(|error| LedgerError::Unavailable(error.into()))?;
    Ok((Arc::new(Readers { path: path.to_owned(), idle: Mutex::default() }), Writer::Thread(writer)))
}

/// The one writer: takes what waits, runs each piece behind a savepoint, commits once, then tells everybody.
fn write_together(path: &Path, session: Session, mut queue: mpsc::Receiver<Queued>) {
    let mut conn = Some(Conn::SqliteWriter(session));
    let mut in_company = false;
    while let Some(first) = queue.blocking_recv() {
        if in_company {
            std::thread::sleep(COMPANY_WITHIN);
        }
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        in_company = batch.len() > 1;
        if conn.is_none() {
            match Session::open(path, false) {
                Ok(fresh) => conn = Some(Conn::SqliteWriter(fresh)),
                // dropping the batch tells each caller that the database does not answer
                Err(error) => tracing::error!(%error, "the ledger's file can't be opened"),
            }
        }
        let Some(open) = conn.as_mut() else { continue };
        if let Err(error) = commit_together(open, batch) {
            tracing::error!(%error, "a commit to the ledger failed");
            conn = None; // start afresh: whatever was open on this connection is rolled back with it
        }
    }
}

fn commit_together(conn: &mut Conn, batch: Vec<Queued>) -> Result<(), LedgerError> {
    steer(conn, "BEGIN IMMEDIATE")?;
    let mut tells = Vec::with_capacity(batch.len());
    for Queued(work) in batch {
        steer(conn, "SAVEPOINT piece")?;
        // Nothing in a piece waits, so one poll ends it. A fault in one must not take the writer with it: its caller
        // hears that the database gave no answer.
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(conn).now_or_never())).ok().flatten();
        if !ran.as_ref().is_some_and(|ran| ran.keep) {
            steer(conn, "ROLLBACK TO piece")?;
        }
        steer(conn, "RELEASE piece")?;
        tells.extend(ran.map(|ran| ran.tell));
    }
    let committed = steer(conn, "COMMIT");
    for tell in tells {
        tell(match &committed {
            Ok(()) => Ok(()),
            Err(error) => Err(LedgerError::CommitUnknown(error.to_string())),
        });
    }
    committed
}

/// A statement without parameters, on the writer.
fn steer(conn: &mut Conn, sql: &'static str) -> Result<(), LedgerError> {
    let done = conn.execute(sql, vec![]).now_or_never();
    done.ok_or_else(|| LedgerError::Broken("the writer waited".into()))?.map(|_| ())
}

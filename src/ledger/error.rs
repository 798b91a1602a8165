//! What can go wrong between us and the database.

use tokio_postgres::error::SqlState;

/// A ledger call that gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database can't be reached, or refuses to write: down, disk full, read-only, out of connections.
    #[error("the database does not answer: {0}")]
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke while a commit was under way: it may have happened. Whoever wrote must look.
    #[error("a commit got no answer: {0}")]
    CommitUnknown(String),
    /// A commit got no answer, and it was found out that nothing was written.
    #[error("the database did not commit")]
    NotCommitted,
    /// A unique index said no. Callers that race for a row expect it.
    #[error("the row exists")]
    Duplicate,
    /// What was decided on is no longer as it was read: nothing was written. Never leaves the ledger.
    #[error("it changed meanwhile")]
    Stale,
    /// A CHECK said no: the last wall before an order would be refunded past its amount.
    #[error("a rule of the database was hit: {0}")]
    Check(String),
    /// The ledger holds something that can't be read, or a statement is wrong: a fault of ours.
    #[error("the ledger holds something unexpected: {0}")]
    Broken(String),
    /// The schema is newer or older than this program.
    #[error("the schema does not fit this program: {0}; run `scanback migrate --config FILE` with the newest program")]
    Schema(sqlx::migrate::MigrateError),
}

impl From<sqlx::migrate::MigrateError> for LedgerError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            other => Self::Schema(other),
        }
    }
}

impl From<tokio_postgres::Error> for LedgerError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(told) = error.as_db_error() else { return Self::Unavailable(chain(&error).into()) };
        match told.code() {
            &SqlState::UNIQUE_VIOLATION => Self::Duplicate,
            // no value of ours is read as a number: only a batch says this (db/postgres/together.rs)
            &SqlState::INVALID_TEXT_REPRESENTATION => Self::Stale,
            &SqlState::CHECK_VIOLATION => Self::Check(told.message().to_owned()),
            // a value or statement that the database can't take; it does answer
            code if code.code().starts_with("22") || code.code().starts_with("42") => Self::Broken(told.to_string()),
            _ => Self::Unavailable(told.to_string().into()),
        }
    }
}

/// An error with what caused it: the driver's own words are "error connecting to server" alone.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

impl From<deadpool_postgres::PoolError> for LedgerError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => error.into(),
            other => Self::Unavailable(other.into()),
        }
    }
}

/// Of the migrations and of making a file, which are sqlx's.
impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

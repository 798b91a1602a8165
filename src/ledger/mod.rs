//! The truth: all SQL is in this folder, behind one code path on SQLite and PostgreSQL.
//!
//! Every change of state, its timeline entry, its audit row, its follow-up job and its webhooks are one transaction, and
//! no transaction is open while we talk to the outside (contract §4 rule 3).

mod audit;
mod db;
mod error;
mod idempotency;
mod jobs;
mod operators;
mod orders;
mod records;
mod refunds;
mod scans;
mod tokens;
mod webhooks;

use jiff::Timestamp;

pub use error::LedgerError;
pub use idempotency::KeptAnswer;
pub use jobs::Job;
pub use operators::Operator;
pub use orders::{Kept, NewOrder, OrderFilter, WalletFacts};
pub use records::{News, RecordRequest, Recorded};
pub use refunds::{ClaimedSend, CommittedIntent, KeyOfRequest, NewRefund, Opened, Pace, RefundFilter, SendTurn};
pub use scans::{Scan, ScanSubject};
pub use tokens::{NewToken, TokenRow};
pub use webhooks::{Delivery, DeliveryEnd, Endpoint};

/// A page of a list: the items and where the next page begins.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Opaque; `None` at the end.
    pub next_cursor: Option<String>,
}

/// The ledger. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    db: db::Db,
}

impl Ledger {
    /// Opens `sqlite:PATH` (the file is made if absent) or `postgres://…`.
    /// # Errors
    /// [`LedgerError::Unavailable`] where the file can't be opened or the address can't be read.
    pub async fn open(url: &str, max_connections: u32) -> Result<Self, LedgerError> {
        Ok(Self { db: db::Db::open(url, max_connections).await? })
    }

    /// Brings the schema up to this program's. Harmless to repeat.
    /// # Errors
    /// [`LedgerError::Schema`] where a migration fails or the schema is of a newer program.
    pub async fn migrate(&self) -> Result<(), LedgerError> {
        self.db.migrate().await
    }

    /// Whether the database answers.
    /// # Errors
    /// [`LedgerError::Unavailable`] where it doesn't.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        self.db.reader().await?.rows("SELECT 1 AS one FROM jobs WHERE kind = ''", vec![]).await.map(|_| ())
    }

    /// Whether several processes share this ledger.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.db, db::Db::Postgres(_))
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

/// A cursor over (time, id), newest first: what the next page begins after.
fn cursor(at: Timestamp, id: &str) -> String {
    format!("{}_{id}", at.as_microsecond())
}

fn read_cursor(cursor: Option<&str>) -> (i64, String) {
    let start = (i64::MAX, String::new());
    let Some((at, id)) = cursor.and_then(|cursor| cursor.split_once('_')) else { return start };
    at.parse().map_or(start, |at| (at, id.to_owned()))
}

//! The truth: all SQL is in this folder, behind one code path on SQLite and PostgreSQL.
//!
//! Every change of state, its timeline entry, its audit row, its follow-up job and its webhooks are one transaction, and
//! no transaction is open while we talk to the outside (contract §4 rule 3).

mod audit;
mod clock;
mod db;
mod error;
mod events;
mod external;
mod idempotency;
mod jobs;
mod operators;
mod orders;
mod presence;
mod recent;
mod record_rows;
mod records;
mod refund_queries;
mod refund_rows;
mod refunds;
mod scans;
mod sends;
#[cfg(feature = "simulated")]
mod steps;
mod tokens;
mod webhooks;

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use uuid::Uuid;

pub use clock::{CLOCK_LIMIT, LedgerClock};
pub use error::LedgerError;
pub use events::LedgerEvent;
pub use idempotency::KeptAnswer;
pub use jobs::Job;
pub use operators::Operator;
pub use orders::{Kept, NewOrder, OrderFilter, WalletFacts};
pub use presence::Presence;
pub use records::{News, Patience, RecordRequest, Recorded};
pub use refund_queries::{Attention, RefundFilter};
pub use refund_rows::{Known, OrderFacts};
pub use refunds::{CommittedIntent, KeyOfRequest, NewRefund, Opened, first_answer};
pub use scans::{Scan, ScanSubject};
pub use sends::{ClaimedSend, Pace, SendTurn};
#[cfg(feature = "simulated")]
pub use steps::{Step, Steps};
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
    /// This process among those that share the ledger; never 0.
    process: i64,
    recent: recent::Recent,
}

impl Ledger {
    /// Opens `sqlite:PATH` (the file is made if absent) or `postgres://…`.
    /// # Errors
    /// [`LedgerError::Unavailable`] where the file can't be opened or the address can't be read.
    pub async fn open(url: &str, max_connections: u32) -> Result<Self, LedgerError> {
        let random = scanback_wallet::new_uuid().as_u64_pair().1 >> 2; // behind the two bits that say the variant
        let process = i64::try_from(random).unwrap_or(1).max(1);
        Ok(Self { db: db::Db::open(url, max_connections).await?, process, recent: recent::Recent::default() })
    }

    /// Brings the schema up to this program's. Harmless to repeat.
    /// # Errors
    /// [`LedgerError::Schema`] where a migration fails or the schema is of a newer program.
    pub async fn migrate(&self) -> Result<(), LedgerError> {
        self.db.migrate().await
    }

    /// Whether the database answers, and takes writes.
    /// # Errors
    /// [`LedgerError::Unavailable`] where it doesn't.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        self.db.reader().await?.rows("SELECT 1 AS one FROM jobs WHERE kind = ''", vec![]).await?;
        // and whether it can be written: a full disk reads as well as ever
        self.db.run(db::touch()).await
    }

    /// Whether several processes share this ledger.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.db, db::Db::Postgres(_))
    }

    /// Closes the connections.
    pub fn close(&self) {
        self.db.close();
    }
}

/// A place in a list over (time, id), newest first: what the next page begins after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    at: i64,
    id: Uuid,
}

impl Cursor {
    fn new(at: Timestamp, id: Uuid) -> Self {
        Self { at: at.as_microsecond(), id }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.at, self.id)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at, id) = text.split_once('_').ok_or("is the next_cursor of the page before")?;
        match (at.parse(), Uuid::try_parse(id)) {
            (Ok(at), Ok(id)) => Ok(Self { at, id }),
            _ => Err("is the next_cursor of the page before"),
        }
    }
}

/// Where a page begins: after its cursor, or at the newest.
fn after(cursor: Option<&Cursor>) -> (i64, String) {
    cursor.map_or((i64::MAX, String::new()), |cursor| (cursor.at, cursor.id.to_string()))
}

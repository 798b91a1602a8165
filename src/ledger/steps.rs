//! Where a simulation takes hold of the ledger: before and after each commit. Not part of a release (feature `simulated`).

use std::{future::Future, path::Path, pin::Pin, sync::Arc};

use super::{Ledger, LedgerError, db::Db};

/// Where in a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing of it has happened.
    BeforeCommit,
    /// It is durable, and its caller hasn't heard of it.
    AfterCommit,
}

/// What happens around each commit. A future that never ends is a process that died there.
pub trait Steps: Send + Sync {
    /// Called at each step; the write goes on when the future ends.
    fn step(&self, step: Step) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl Ledger {
    /// Opens a migrated SQLite file whose writer runs on the caller's thread, in steps.
    /// # Errors
    /// [`LedgerError::Unavailable`] where the file can't be opened.
    pub fn open_in_steps(path: &Path, steps: Arc<dyn Steps>) -> Result<Self, LedgerError> {
        let random = scanback_wallet::new_uuid().as_u64_pair().1 >> 2;
        let process = i64::try_from(random).unwrap_or(1).max(1);
        Ok(Self { db: Db::open_in_steps(path, steps)?, process, recent: super::recent::Recent::default() })
    }
}

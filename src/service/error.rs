//! What a use case can answer instead of what was asked for.

use crate::{domain::refusal::Refusal, ledger::LedgerError};

/// A use case that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Refused; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ledger gave no answer.
    #[error("the ledger gave no answer")]
    Ledger(#[from] LedgerError),
    /// A fault of ours; the text goes to the log, never to the caller.
    #[error("{0}")]
    Internal(String),
}

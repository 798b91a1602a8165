//! The clock that paces and leases go by: the database's where several processes share it, so that a machine whose clock is
//! off neither breaks a wallet's pace nor takes a living process for a dead one.

use std::{
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{Clock, SystemClock};

use super::{Ledger, LedgerError};

/// An answer that took longer than this says too little about the moment that it speaks of.
const SHARP_ENOUGH: Duration = Duration::from_millis(250);
/// A machine's clock that is off by more is told of by name: the wallets refuse what is signed by it.
pub const CLOCK_LIMIT: SignedDuration = SignedDuration::from_mins(5);

/// The ledger's clock. Between two questions it goes by the machine's steady clock, which nobody sets.
#[derive(Debug, Default)]
pub struct LedgerClock(RwLock<Option<(Instant, Timestamp)>>);

impl LedgerClock {
    /// Asks the database what time it is. How far the machine's clock is ahead of it; `None` on SQLite, and where the answer
    /// took too long to say anything.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer: the clock goes on as it went.
    pub async fn set_by(&self, ledger: &Ledger) -> Result<Option<SignedDuration>, LedgerError> {
        let asked = Instant::now();
        let Some(there) = ledger.database_time().await? else { return Ok(None) };
        let took = asked.elapsed();
        if took > SHARP_ENOUGH {
            return Ok(None);
        }
        // the answer was made somewhere between the question and now: half-way is at most half of `took` wrong
        let moment = asked + took / 2;
        let machine = SystemClock.now().duration_since(there) - SignedDuration::try_from(took / 2).unwrap_or_default();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some((moment, there));
        Ok(Some(machine))
    }
}

impl Clock for LedgerClock {
    fn now(&self) -> Timestamp {
        match *self.0.read().unwrap_or_else(PoisonError::into_inner) {
            None => SystemClock.now(),
            Some((moment, there)) => {
                there.saturating_add(SignedDuration::try_from(moment.elapsed()).unwrap_or_default()).unwrap_or(there)
            }
        }
    }
}

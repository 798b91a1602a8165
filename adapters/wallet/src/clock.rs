//! Time as an argument: adapters sign with it and judge the age of messages by it, and tests hold it still.

use jiff::Timestamp;

/// Tells the time. The service hands one clock to all its parts.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

//! Opens when a wallet answers nobody, and lets one call through now and then to see whether it does again.

use std::time::Duration;

use tokio::time::Instant;

use super::Heard;

/// What opens it: ten calls in a row, for different refunds, without an answer; five where no connection could be made.
const OPENS_AT: u32 = 10;
/// What a call without an answer counts.
const SILENCE: u32 = 1;
/// What one without a connection counts: the wallet can't have heard of it.
const NO_CONNECTION: u32 = 2;
/// How long it stays shut before one call is tried, at first and at most; each trial in vain doubles it.
const SHUT_FOR: Duration = Duration::from_secs(1);
const SHUT_FOR_AT_MOST: Duration = Duration::from_secs(8);

#[derive(Debug, Default)]
pub(super) struct Breaker {
    silent: u32,
    last: String,
    shut: Option<Shut>,
}

#[derive(Debug)]
struct Shut {
    until: Instant,
    for_long: Duration,
    trying: bool,
}

impl Breaker {
    /// Whether calls are held back.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.shut.as_ref().is_some_and(|shut| shut.trying || now < shut.until)
    }

    /// Lets a call through, or says when one may be tried.
    pub(super) fn try_pass(&mut self, now: Instant) -> Result<(), Duration> {
        match &mut self.shut {
            None => Ok(()),
            Some(shut) if now >= shut.until && !shut.trying => {
                shut.trying = true;
                Ok(())
            }
            Some(shut) => Err(shut.until.saturating_duration_since(now).max(SHUT_FOR)),
        }
    }

    /// A call that was let through was not made.
    pub(super) fn unused(&mut self) {
        if let Some(shut) = &mut self.shut {
            shut.trying = false;
        }
    }

    /// What came of a call; true where it has just opened.
    pub(super) fn heard(&mut self, heard: Heard, about: &str, now: Instant) -> bool {
        let counts = match heard {
            Heard::Answer { .. } | Heard::Slower => {
                *self = Self::default();
                return false;
            }
            Heard::Silence => SILENCE,
            Heard::NoConnection => NO_CONNECTION,
        };
        if let Some(shut) = &mut self.shut {
            if shut.trying {
                let for_long = (shut.for_long * 2).min(SHUT_FOR_AT_MOST);
                *shut = Shut { until: now + for_long, for_long, trying: false };
            }
            return false;
        }
        if self.last != about {
            about.clone_into(&mut self.last);
            self.silent += counts;
        }
        if self.silent < OPENS_AT {
            return false;
        }
        self.shut = Some(Shut { until: now + SHUT_FOR, for_long: SHUT_FOR, trying: false });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_silence_about_different_refunds_and_closes_by_one_answer() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..50 {
            assert!(!breaker.heard(Heard::Silence, "the same", now), "one refund says it once");
        }
        for n in 0..8 {
            assert!(!breaker.heard(Heard::Silence, &format!("r{n}"), now));
        }
        assert!(breaker.try_pass(now).is_ok());
        assert!(breaker.heard(Heard::Silence, "r9", now));
        assert_eq!(breaker.try_pass(now), Err(SHUT_FOR));
        // one trial at a time, and in vain it waits twice as long
        let later = now + SHUT_FOR;
        assert!(breaker.try_pass(later).is_ok());
        assert!(breaker.try_pass(later).is_err());
        assert!(!breaker.heard(Heard::Silence, "r10", later));
        assert!(breaker.try_pass(later + SHUT_FOR).is_err());
        let much_later = later + SHUT_FOR * 2;
        assert!(breaker.try_pass(much_later).is_ok());
        breaker.unused();
        assert!(breaker.try_pass(much_later).is_ok(), "a trial that was not made is no trial");
        breaker.heard(Heard::Answer { refused: true }, "r11", much_later);
        assert!(!breaker.is_open(much_later) && breaker.try_pass(much_later).is_ok());
    }

    #[test]
    fn a_wallet_that_cannot_be_reached_needs_half_as_many() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let opened = (0..5).filter(|n| breaker.heard(Heard::NoConnection, &n.to_string(), now)).count();
        assert!(opened == 1 && breaker.is_open(now));
    }

    #[test]
    fn a_wallet_that_asks_for_a_slower_pace_is_there() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for n in 0..50 {
            assert!(!breaker.heard(Heard::Slower, &n.to_string(), now));
        }
    }
}

//! How many calls a second: one even stream for all replicas where there is Redis, else for this process. Fewer while more
//! than half of the last 20 were refused (contract §4 rule 8).

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::keys::{Keys, QuotaTurn, Rate};

/// How many calls are looked back on.
const LOOK_BACK: usize = 20;

pub(super) struct Quota {
    name: String,
    rate: Rate,
    while_refused: Rate,
    here: Mutex<Here>,
}

/// What this process knows; all there is without Redis.
#[derive(Default)]
struct Here {
    /// When the next call would be due in an even stream.
    due: Option<Instant>,
    recent: VecDeque<bool>,
    /// What Redis has not been told yet.
    untold: Vec<bool>,
}

/// A rate that no window of a second passes: nine tenths as an even stream, and a twelfth at once.
fn rate(a_second: u32) -> Rate {
    let a_second = u64::from(a_second.max(1));
    let interval_us = (10_000_000 / (9 * a_second)).max(1);
    Rate { interval_us, tolerance_us: interval_us * (a_second / 12) }
}

impl Quota {
    pub(super) fn new(name: String, a_second: u32, while_refused: u32) -> Self {
        Self { name, rate: rate(a_second), while_refused: rate(while_refused), here: Mutex::default() }
    }

    /// Takes a turn: how long to wait for it, at most `patience`; else when there may be one.
    pub(super) async fn take(&self, keys: &Keys, patience: Duration) -> Result<Duration, Duration> {
        if keys.is_up() {
            let untold = std::mem::take(&mut self.here().untold);
            let turn = keys.take_quota(&self.name, self.rate, self.while_refused, &untold, patience).await;
            if let Some(turn) = turn {
                return match turn {
                    QuotaTurn::Granted { wait } => Ok(wait),
                    QuotaTurn::Refused { retry_in } => Err(retry_in),
                };
            }
        }
        self.here().take(Instant::now(), self.rate, self.while_refused, patience)
    }

    /// Whether a call was refused.
    pub(super) fn note(&self, refused: bool) {
        self.here().note(refused);
    }

    fn here(&self) -> std::sync::MutexGuard<'_, Here> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Here {
    fn note(&mut self, refused: bool) {
        if self.recent.len() >= LOOK_BACK {
            self.recent.pop_front();
        }
        self.recent.push_back(refused);
        if self.untold.len() < LOOK_BACK {
            self.untold.push(refused);
        }
    }

    fn take(
        &mut self,
        now: Instant,
        rate: Rate,
        while_refused: Rate,
        patience: Duration,
    ) -> Result<Duration, Duration> {
        let refused = self.recent.iter().filter(|refused| **refused).count();
        let rate = if refused > LOOK_BACK / 2 { while_refused } else { rate };
        let due = self.due.map_or(now, |due| due.max(now));
        let wait = due.saturating_duration_since(now).saturating_sub(Duration::from_micros(rate.tolerance_us));
        if wait > patience {
            return Err(wait);
        }
        self.due = Some(due + Duration::from_micros(rate.interval_us));
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many calls an eager caller makes in each second of a minute, at most.
    fn most_in_a_second(here: &mut Here, usual: u32, while_refused: u32) -> usize {
        let (began, mut calls) = (Instant::now(), Vec::new());
        for ms in 0..20_000 {
            let now = began + Duration::from_millis(ms);
            while here.take(now, rate(usual), rate(while_refused), Duration::ZERO).is_ok() {
                calls.push(ms);
            }
        }
        calls
            .iter()
            .map(|from| calls.iter().filter(|at| (*from..*from + 1_000).contains(at)).count())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn no_second_has_more_calls_than_the_quota_and_few_have_much_less() {
        let most = most_in_a_second(&mut Here::default(), 150, 6);
        assert!((130..=150).contains(&most), "{most}");
    }

    #[test]
    fn fewer_are_made_while_more_than_half_are_refused() {
        let mut here = Here::default();
        (0..20).for_each(|n| here.note(n % 2 == 0));
        assert!(most_in_a_second(&mut here, 150, 6) > 100, "half is not more than half");
        let mut here = Here::default();
        (0..20).for_each(|n| here.note(n % 2 == 0 || n == 1));
        let most = most_in_a_second(&mut here, 150, 6);
        assert!((4..=6).contains(&most), "{most}");
        (0..20).for_each(|_| here.note(false));
        assert_eq!(here.recent.len(), LOOK_BACK);
        here.due = None; // the minute that was played through is over
        assert!(most_in_a_second(&mut here, 150, 6) > 100);
    }
}

//! How long the decoders may look.

use std::time::{Duration, Instant};

/// By which clock a budget is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The clock on the wall: what a cashier waits for. The service takes this one.
    Wall,
    /// What this thread has had of a core: for scores on a machine that does other work too. Where the system doesn't say
    /// (it is Linux that does), the wall's.
    Core,
}

impl Clock {
    /// Time since something that stays the same for one thread.
    #[must_use]
    pub fn now(self, began: Instant) -> Duration {
        let on_core = match self {
            Self::Wall => None,
            Self::Core => std::fs::read_to_string("/proc/thread-self/schedstat").ok(),
        };
        let nanoseconds = on_core.and_then(|line| line.split(' ').next()?.parse().ok());
        nanoseconds.map_or_else(|| began.elapsed(), Duration::from_nanos)
    }
}

/// When to stop. It is asked between stages and, inside them, between rows, codes and candidates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    clock: Clock,
    began: Instant,
    start: Duration,
    budget: Duration,
}

impl Deadline {
    pub(super) fn after(budget: Duration, clock: Clock) -> Self {
        let began = Instant::now();
        Self { clock, began, start: clock.now(began), budget }
    }

    /// Time used so far.
    pub(super) fn used(self) -> Duration {
        self.clock.now(self.began).saturating_sub(self.start)
    }

    pub(super) fn is_over(self) -> bool {
        self.used() >= self.budget
    }

    /// The same, but over this much earlier.
    pub(super) fn less(self, kept: Duration) -> Self {
        Self { budget: self.budget.saturating_sub(kept), ..self }
    }

    /// The same, but over after `share` of the budget from now: for a search that may go on only once it has found a trace.
    pub(super) fn within(self, share: f32) -> Self {
        Self { budget: self.budget.min(self.used() + self.budget.mul_f32(share)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_works_uses_its_time_up_and_one_that_sleeps_does_not() {
        let deadline = Deadline::after(Duration::from_millis(20), Clock::Core);
        std::thread::sleep(Duration::from_millis(30));
        assert!(!deadline.is_over() || !cfg!(target_os = "linux"));
        let wall = Deadline::after(Duration::from_millis(20), Clock::Wall);
        while !wall.is_over() {
            std::hint::black_box(0);
        }
        assert!(wall.used() >= Duration::from_millis(20));
        let hour = Deadline::after(Duration::from_secs(3600), Clock::Wall);
        assert!(hour.within(0.0).is_over() && !hour.within(0.5).is_over());
    }
}

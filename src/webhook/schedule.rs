//! When a webhook that wasn't taken is tried again: backoff with jitter over 3 days, then it is parked. Source: contract §5.

use std::time::Duration;

/// The wait after the first failed try, after the second, and so on, in seconds. Short first, for a restart of the
/// merchant's server; a day at last, for a weekend.
const WAITS_S: [u32; 11] =
    [5, 30, 2 * 60, 10 * 60, 30 * 60, 60 * 60, 3 * 60 * 60, 6 * 60 * 60, 12 * 60 * 60, 24 * 60 * 60, 24 * 60 * 60];

/// How far jitter moves a wait, as a part of it, either way: endpoints that failed together don't return together.
const JITTER: f64 = 0.1;

/// What follows a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another try, this much later.
    After(Duration),
    /// No further try by itself: the delivery is shown, and sent again by hand.
    Parked,
}

/// What follows the `failed`th failed try (1 is the first).
///
/// `jitter` is a random number from 0 to 1. `time_scale` divides the wait (contract §7); below 1 it counts as 1.
#[must_use]
pub fn after_failure(failed: u32, jitter: f64, time_scale: f64) -> Next {
    let wait = failed.checked_sub(1).and_then(|index| WAITS_S.get(usize::try_from(index).ok()?));
    let Some(&wait) = wait else { return Next::Parked };
    let jitter = if jitter.is_nan() { 0.5 } else { jitter.clamp(0.0, 1.0) };
    let seconds = f64::from(wait) * (1.0 - JITTER + 2.0 * JITTER * jitter) / time_scale.max(1.0); // NaN counts as 1
    Next::After(Duration::from_secs_f64(seconds)) // 0 to 95040 s: it can't panic
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_S: f64 = 24.0 * 60.0 * 60.0;

    /// The waits from the first failure until the message is parked.
    fn waits(jitter: f64, time_scale: f64) -> Vec<f64> {
        (1..)
            .map_while(|failed| match after_failure(failed, jitter, time_scale) {
                Next::After(wait) => Some(wait.as_secs_f64()),
                Next::Parked => None,
            })
            .collect()
    }

    #[test]
    fn the_ladder_without_jitter_is_the_documented_one() {
        let total: f64 = waits(0.5, 1.0).iter().sum();
        assert!((2.9 * DAY_S..=3.0 * DAY_S).contains(&total), "{total}");
        assert_eq!(after_failure(1, 0.5, 1.0), Next::After(Duration::from_secs(5)));
        assert_eq!(after_failure(11, 0.5, 1.0), Next::After(Duration::from_secs(24 * 60 * 60)));
        assert_eq!(after_failure(12, 0.5, 1.0), Next::Parked);
        assert_eq!(after_failure(1, 0.5, 60.0), Next::After(Duration::from_secs(5) / 60));
    }

    proptest! {
        #[test]
        fn tries_spread_over_three_days_whatever_the_jitter(jitters in proptest::array::uniform11(0.0..=1.0)) {
            let mut total = 0.0;
            for (failed, jitter) in (1..).zip(jitters) {
                let Next::After(wait) = after_failure(failed, jitter, 1.0) else { panic!("parked after {failed}") };
                total += wait.as_secs_f64();
            }
            prop_assert!((2.6 * DAY_S..=3.3 * DAY_S).contains(&total), "{}", total);
        }

        #[test]
        fn each_wait_is_longer_than_the_one_before_but_for_the_last(jitter in 0.0..=1.0) {
            let waits = waits(jitter, 1.0);
            prop_assert!(waits[..10].is_sorted_by(|a, b| a * 1.5 < *b));
        }

        #[test]
        fn the_time_scale_divides_every_wait(jitter in 0.0..=1.0, scale in 1.0..1e6) {
            for (scaled, wait) in waits(jitter, scale).iter().zip(waits(jitter, 1.0)) {
                prop_assert!((scaled * scale - wait).abs() <= scale * 1e-8);
            }
        }

        #[test]
        fn no_number_makes_it_panic(failed: u32, jitter: f64, scale: f64) {
            if let Next::After(wait) = after_failure(failed, jitter, scale) {
                prop_assert!(wait <= Duration::from_secs(2 * 24 * 60 * 60));
                prop_assert!((1..=11).contains(&failed));
            }
        }
    }
}

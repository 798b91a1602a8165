//! The time scale: how much faster the wallets' own time runs (contract §7, "Time scale").

use std::time::Duration;

/// The wallets' time, divided by X. Socket time-outs, the holding of a call and the 60 s of a payment code are real time
/// and never come here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale(u32);

/// How old a request may be at X = 1.
const REQUEST_AGE: Duration = Duration::from_secs(300);
/// And at any X: less would refuse a client for being slow.
const REQUEST_AGE_AT_LEAST: Duration = Duration::from_secs(10);

impl Scale {
    /// `None` for 0: nothing lasts forever here.
    pub(crate) fn new(times: u32) -> Option<Self> {
        (times > 0).then_some(Self(times))
    }

    /// A time of the wallet's, as it lasts here.
    pub(crate) fn of(self, wallet_time: Duration) -> Duration {
        wallet_time / self.0
    }

    /// A quota a second, as it counts here.
    pub(crate) fn quota(self, a_second: u32) -> usize {
        usize::try_from(u64::from(a_second) * u64::from(self.0)).unwrap_or(usize::MAX)
    }

    /// How far a request's time may be from ours: max(10 s, 300 s / X).
    pub(crate) fn request_age(self) -> Duration {
        self.of(REQUEST_AGE).max(REQUEST_AGE_AT_LEAST)
    }

    /// X itself, for the configuration of the service.
    pub(crate) fn times(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_divides_waits_multiplies_quotas_and_leaves_a_request_ten_seconds() {
        let scale = Scale::new(60).unwrap();
        assert_eq!(scale.of(Duration::from_secs(60)), Duration::from_secs(1));
        assert_eq!(scale.quota(150), 9_000);
        assert_eq!(scale.request_age(), Duration::from_secs(10));
        assert_eq!(Scale::new(1).unwrap().request_age(), Duration::from_secs(300));
        assert!(Scale::new(0).is_none());
    }
}

//! The wallets' quotas a second, shared by all replicas (contract §4 rule 8). Where Redis doesn't answer, each process keeps
//! to the quota by itself.

use std::{sync::LazyLock, time::Duration};

use redis::Script;

use super::Keys;

pub(super) static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("quota.lua")));

/// An even stream of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Between two calls, in microseconds.
    pub interval_us: u64,
    /// How much sooner than its turn a call may go, in microseconds.
    pub tolerance_us: u64,
}

/// What became of a wish for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaTurn {
    /// The turn is taken; it comes after this wait.
    Granted {
        /// How long to wait for it.
        wait: Duration,
    },
    /// It would come too late; nothing was taken.
    Refused {
        /// When there may be one.
        retry_in: Duration,
    },
}

impl Keys {
    /// Whether Redis is there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.redis.as_ref().is_some_and(|redis| redis.link.is_up())
    }

    /// Takes a turn in the stream `name`, which holds its merchant's slot tag. `outcomes`: whether calls were refused that
    /// Redis wasn't told of yet. `None` where Redis gives no answer.
    pub async fn take_quota(
        &self,
        name: &str,
        rate: Rate,
        while_refused: Rate,
        outcomes: &[bool],
        patience: Duration,
    ) -> Option<QuotaTurn> {
        let redis = self.redis.as_ref()?;
        let mut script = TAKE.key(format!("scanback:quota:{name}:due"));
        script.key(format!("scanback:quota:{name}:recent"));
        script.arg(rate.interval_us).arg(rate.tolerance_us);
        script.arg(while_refused.interval_us).arg(while_refused.tolerance_us);
        script.arg(u64::try_from(patience.as_micros()).unwrap_or(u64::MAX));
        for refused in outcomes {
            script.arg(u8::from(*refused));
        }
        let (granted, wait_us): (u8, u64) = redis.link.run(&script).await.ok()?;
        let wait = Duration::from_micros(wait_us);
        Some(if granted == 1 { QuotaTurn::Granted { wait } } else { QuotaTurn::Refused { retry_in: wait } })
    }
}

//! The work that goes on by itself: claim, act, record. Each loop wakes when its bell rings or when the next piece is due,
//! and stops between two pieces.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{ledger::LedgerError, service::Desk};

/// Pieces that one loop works on at once.
const AT_ONCE: u32 = 32;
/// A loop looks at least this often: another replica may have put work in.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How long a loop rests after the ledger did not answer.
const AFTER_FAULT: Duration = Duration::from_secs(1);
/// How long a piece is ours: longer than the two wallet calls that it may take.
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// The running loops.
pub struct Workers {
    stop: CancellationToken,
    loops: TaskTracker,
}

impl Workers {
    /// Starts the follower and the deliverer.
    #[must_use]
    pub fn start(desk: &Arc<Desk>) -> Self {
        let (stop, loops) = (CancellationToken::new(), TaskTracker::new());
        let following = Arc::clone(desk);
        loops.spawn(until_stopped(stop.clone(), Arc::clone(desk), Desk::follow_bell, move || {
            follow(Arc::clone(&following))
        }));
        let delivering = Arc::clone(desk);
        loops.spawn(until_stopped(stop.clone(), Arc::clone(desk), Desk::delivery_bell, move || {
            deliver(Arc::clone(&delivering))
        }));
        loops.close();
        Self { stop, loops }
    }

    /// No new piece is begun; those under way end, or are cut off after `within` and stay durable.
    pub async fn stop(self, within: Duration) {
        self.stop.cancel();
        if timeout(within, self.loops.wait()).await.is_err() {
            tracing::warn!("work under way was left to the next start");
        }
    }
}

/// What a round did: whether there may be more at once, and when the next piece is due.
struct Round {
    more: bool,
    next_due: Option<Timestamp>,
}

async fn until_stopped<F>(
    stop: CancellationToken,
    desk: Arc<Desk>,
    bell: fn(&Desk) -> &Notify,
    round: impl Fn() -> F + Send,
) where
    F: Future<Output = Result<Round, LedgerError>> + Send,
{
    while !stop.is_cancelled() {
        // enabled before the look: what is put in meanwhile is not slept over
        let rung = bell(&desk).notified();
        let sleep = match round().await {
            Ok(Round { more: true, .. }) => continue,
            Ok(Round { next_due, .. }) => next_due.map_or(LONGEST_SLEEP, |due| {
                Duration::try_from(due.duration_since(desk.now())).unwrap_or(Duration::ZERO).min(LONGEST_SLEEP)
            }),
            Err(error) => {
                tracing::error!(%error, "the ledger does not answer; work waits");
                AFTER_FAULT
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = rung => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

fn leased_until(now: Timestamp) -> Timestamp {
    now.checked_add(LEASE).unwrap_or(Timestamp::MAX)
}

async fn follow(desk: Arc<Desk>) -> Result<Round, LedgerError> {
    let now = desk.now();
    let jobs = desk.ledger().lease_follow_ups(AT_ONCE, now, leased_until(now)).await?;
    let count = jobs.len();
    join_all(jobs.iter().map(|job| async {
        if let Err(error) = desk.follow_refund(job).await {
            tracing::error!(refund.id = job.key, %error, "a refund could not be followed; its lease ends and it is tried again");
        }
    }))
    .await;
    let more = count == AT_ONCE as usize;
    Ok(Round { more, next_due: if more { None } else { desk.ledger().next_follow_up().await? } })
}

async fn deliver(desk: Arc<Desk>) -> Result<Round, LedgerError> {
    let now = desk.now();
    let deliveries = desk.ledger().lease_deliveries(AT_ONCE, now, leased_until(now)).await?;
    let count = deliveries.len();
    join_all(deliveries.iter().map(|delivery| async {
        if let Err(error) = desk.deliver(delivery).await {
            tracing::error!(webhook.id = delivery.id, %error, "a webhook could not be delivered; it is tried again");
        }
    }))
    .await;
    Ok(Round { more: count > 0, next_due: None })
}

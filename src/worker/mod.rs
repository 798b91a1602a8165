//! The work that goes on by itself: claim, act, record. Each loop wakes when its bell rings, when a place becomes free or
//! when the next piece is due.

mod keeping;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::keeping::Keeping;
use crate::{
    ledger::{LedgerClock, LedgerError},
    service::Desk,
};

/// Pieces that one loop works on at once.
const AT_ONCE: u32 = 32;
/// A loop looks at least this often: another replica may have put work in.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How long a loop rests after the ledger did not answer.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// The running loops.
pub struct Workers {
    stop: CancellationToken,
    loops: TaskTracker,
}

impl Workers {
    /// Starts the follower, the deliverer, and what keeps this process in step with others on the ledger.
    #[must_use]
    pub fn start(desk: &Arc<Desk>, clock: Arc<LedgerClock>) -> Self {
        let (stop, loops) = (CancellationToken::new(), TaskTracker::new());
        loops.spawn(Following(Arc::clone(desk)).run(stop.clone()));
        loops.spawn(Delivering(Arc::clone(desk)).run(stop.clone()));
        loops.spawn(Keeping::new(Arc::clone(desk), clock).run(stop.clone()));
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

/// A kind of work: what is due is leased, each piece runs as a task of its own, and a place that becomes free is filled
/// again. A slow piece holds one place, and one that breaks takes nothing with it: its lease ends, and it is tried again.
trait Work: Send + Sync + 'static {
    /// Leases at most this many pieces that are due.
    fn lease(&self, places: u32) -> impl Future<Output = Result<Vec<Piece>, LedgerError>> + Send;
    /// When the next piece is due, if that is known.
    fn next_due(&self) -> impl Future<Output = Result<Option<Timestamp>, LedgerError>> + Send;
    /// Rings when work was put in.
    fn bell(&self) -> &Notify;
    /// The present moment.
    fn now(&self) -> Timestamp;

    fn run(self, stop: CancellationToken) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        async move {
            let mut running = JoinSet::new();
            while !stop.is_cancelled() {
                let places = AT_ONCE - u32::try_from(running.len()).unwrap_or(AT_ONCE);
                let sleep = match self.fill(&mut running, places).await {
                    Ok(sleep) => sleep,
                    Err(error) => {
                        tracing::error!(%error, "the ledger does not answer; work waits");
                        AFTER_FAULT
                    }
                };
                tokio::select! {
                    () = stop.cancelled() => {}
                    // `notify_one` keeps its ring for whoever comes next: what is put in meanwhile is not slept over
                    () = self.bell().notified() => {}
                    Some(ended) = running.join_next() => report(ended),
                    () = tokio::time::sleep(sleep) => {}
                }
            }
            while let Some(ended) = running.join_next().await {
                report(ended);
            }
        }
    }

    /// Fills the free places; how long there is nothing more to do.
    fn fill(
        &self,
        running: &mut JoinSet<()>,
        places: u32,
    ) -> impl Future<Output = Result<Duration, LedgerError>> + Send {
        async move {
            let pieces = if places > 0 { self.lease(places).await? } else { Vec::new() };
            let all_taken = pieces.len() == places as usize;
            for piece in pieces {
                running.spawn(piece);
            }
            if all_taken {
                return Ok(LONGEST_SLEEP); // a place that becomes free wakes us
            }
            let due = self.next_due().await?;
            Ok(due.map_or(LONGEST_SLEEP, |due| {
                Duration::try_from(due.duration_since(self.now())).unwrap_or(Duration::ZERO).min(LONGEST_SLEEP)
            }))
        }
    }
}

/// One piece of work under way.
type Piece = Pin<Box<dyn Future<Output = ()> + Send>>;

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a piece of work broke off; its lease ends and it is tried again");
    }
}

/// Follows refunds to their end.
struct Following(Arc<Desk>);

impl Work for Following {
    async fn lease(&self, places: u32) -> Result<Vec<Piece>, LedgerError> {
        let now = self.0.now();
        let jobs = self.0.ledger().lease_follow_ups(places, now, self.0.leased_until(now)).await?;
        let pieces = jobs.into_iter().map(|job| -> Piece {
            let desk = Arc::clone(&self.0);
            Box::pin(async move {
                if let Err(error) = desk.follow_refund(&job).await {
                    tracing::error!(refund.id = job.key, %error, "a refund could not be followed; it is tried again");
                }
            })
        });
        Ok(pieces.collect())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.0.ledger().next_follow_up().await
    }

    fn bell(&self) -> &Notify {
        self.0.follow_bell()
    }

    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// Delivers webhooks.
struct Delivering(Arc<Desk>);

impl Work for Delivering {
    async fn lease(&self, places: u32) -> Result<Vec<Piece>, LedgerError> {
        let now = self.0.now();
        let deliveries = self.0.ledger().lease_deliveries(places, now, self.0.leased_until(now)).await?;
        let pieces = deliveries.into_iter().map(|delivery| -> Piece {
            let desk = Arc::clone(&self.0);
            Box::pin(async move {
                if let Err(error) = desk.deliver(&delivery).await {
                    tracing::error!(webhook.id = delivery.id, %error, "a webhook could not be delivered; it is tried again");
                }
            })
        });
        Ok(pieces.collect())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, LedgerError> {
        // once a round, so at least once a second: another replica may have been told of an endpoint
        if let Err(error) = self.0.look_for_endpoints().await {
            tracing::warn!(%error, "endpoints could not be looked for");
        }
        Ok(None)
    }

    fn bell(&self) -> &Notify {
        self.0.delivery_bell()
    }

    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

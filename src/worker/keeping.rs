//! Keeps this process in step with the others on its ledger: shows that it is alive, takes over from those that are not, and
//! goes by the database's time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    ledger::{CLOCK_LIMIT, LedgerClock, LedgerError, Presence},
    service::Desk,
};

/// How often the others are looked at.
const ROUND: Duration = Duration::from_millis(500);
/// So many rounds in a row a process must be missing before it counts as dead: after the database itself was away, all of
/// them need a moment to show themselves again.
const ROUNDS_MISSING: u32 = 3;
/// How many rounds lie between two looks at the database's clock.
const CLOCK_EVERY: u32 = 10;

pub(super) struct Keeping {
    desk: Arc<Desk>,
    clock: Arc<LedgerClock>,
    presence: Option<Presence>,
    /// Rounds that each process has been missing for.
    missing: BTreeMap<i64, u32>,
    told_of_clock: bool,
}

impl Keeping {
    pub(super) fn new(desk: Arc<Desk>, clock: Arc<LedgerClock>) -> Self {
        Self { desk, clock, presence: None, missing: BTreeMap::new(), told_of_clock: false }
    }

    /// Runs until it is told to stop. On SQLite only the wallets' clocks are looked at: there is no other process.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        for round in 0_u32.. {
            if let Err(error) = self.round(round).await {
                tracing::warn!(%error, "the other processes could not be looked at");
                self.missing.clear(); // what can't be seen is not dead
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    async fn round(&mut self, round: u32) -> Result<(), LedgerError> {
        if round.is_multiple_of(CLOCK_EVERY) {
            self.look_at_clocks().await?;
        }
        let ledger = self.desk.ledger();
        if !ledger.is_shared() {
            return Ok(());
        }
        let seen = match &mut self.presence {
            Some(presence) => presence.is_seen().await,
            None => false,
        };
        if !seen {
            self.missing.clear();
            self.presence = ledger.show_presence().await?;
        }
        let dead = ledger.dead_processes().await?;
        self.missing.retain(|process, _| dead.contains(process));
        for process in dead {
            let rounds = self.missing.entry(process).or_default();
            *rounds += 1;
            if *rounds >= ROUNDS_MISSING {
                tracing::warn!(process, "a process died; its work is taken over");
                ledger.take_over_from(process, self.desk.now()).await?;
                self.missing.remove(&process);
                self.desk.follow_bell().notify_one();
            }
        }
        Ok(())
    }

    /// A clock that is off is told of once, by name, and again after it was right.
    async fn look_at_clocks(&mut self) -> Result<(), LedgerError> {
        let database = self.clock.set_by(self.desk.ledger()).await?.map(|ahead| ("the database", ahead));
        let off = database.into_iter().chain(self.desk.wallet_skews()).find(|(_, ahead)| ahead.abs() > CLOCK_LIMIT);
        self.desk.clock_is_off(off.is_some());
        match off {
            Some((whom, ahead)) if !self.told_of_clock => {
                let ahead_s = ahead.as_secs();
                tracing::error!(
                    compared_with = whom,
                    ahead_s,
                    "this machine's clock is off by more than five minutes; set it (NTP): the wallets refuse what it signs"
                );
                self.told_of_clock = true;
            }
            Some(_) => {}
            None => self.told_of_clock = false,
        }
        Ok(())
    }
}

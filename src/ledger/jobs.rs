//! Work that must be done although the process dies. A job is leased while somebody does it; a lease that ends lets
//! another take it. Source: contract §4 rule 3.

use jiff::{SignedDuration, Timestamp};
use scanback_wallet::RefundId;

use super::{
    Ledger, LedgerError,
    db::{Batch, params},
};
use crate::domain::refund::Refund;

/// A leased piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it is about: for `follow` the refund's id.
    pub key: String,
    /// How often it was taken before.
    pub attempts: u32,
}

/// Follows a refund to its end.
pub(super) const FOLLOW: &str = "follow";

/// Puts a refund's job in, or moves the one that is there and gives it back. One that there was news of while somebody had
/// it in hand stays due as it is: the news may have come too late for the question that was under way.
pub(super) fn put(batch: &mut Batch, key: &str, due_at: Timestamp) {
    batch.add(
        "INSERT INTO jobs (kind, key, due_at) VALUES ($1, $2, $3) ON CONFLICT (kind, key) DO UPDATE SET lease_until = 0, \
         owner = 0, due_at = CASE WHEN jobs.news = 1 AND jobs.due_at < $3 THEN jobs.due_at ELSE $3 END",
        params![FOLLOW, key, due_at],
    );
}

/// The same for a send that begins in this process: what came before says nothing about how long its answer will take.
pub(super) fn begin(batch: &mut Batch, key: &str, due_at: Timestamp, process: i64) {
    batch.add(
        "INSERT INTO jobs (kind, key, due_at, owner) VALUES ($1, $2, $3, $4) ON CONFLICT (kind, key) DO UPDATE SET \
         due_at = $3, lease_until = 0, attempts = 0, owner = $4",
        params![FOLLOW, key, due_at, process],
    );
}

/// The oldest other refund of an order that waits for its turn may go at this moment.
pub(super) fn wake_next(batch: &mut Batch, refund: &Refund, at: Timestamp) {
    batch.add(
        "UPDATE jobs SET due_at = $3 WHERE kind = $1 AND lease_until = 0 AND due_at > $3 AND key = \
         (SELECT refund_id FROM refunds WHERE order_id = $2 AND state = 'submitting' AND sends = 0 \
          AND refund_id <> $4 ORDER BY created_at LIMIT 1)",
        params![FOLLOW, refund.order_id, at, refund.refund_id],
    );
}

/// Ends a refund's job.
pub(super) fn done(batch: &mut Batch, key: &str) {
    batch.add("DELETE FROM jobs WHERE kind = $1 AND key = $2", params![FOLLOW, key]);
}

impl Ledger {
    /// Leases up to `limit` follow-up jobs that are due, the longest waiting first.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn lease_follow_ups(
        &self,
        limit: u32,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Job>, LedgerError> {
        const SQLITE: &str = "UPDATE jobs SET lease_until = $3, attempts = attempts + 1, owner = $5, news = 0, looked_at = $2 WHERE kind = $1 AND key IN \
             (SELECT key FROM jobs WHERE kind = $1 AND due_at <= $2 AND lease_until <= $2 ORDER BY due_at LIMIT $4) \
             RETURNING key, attempts";
        const POSTGRES: &str = "WITH due AS MATERIALIZED (SELECT key FROM jobs WHERE kind = $1 AND due_at <= $2 \
             AND lease_until <= $2 ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED) \
             UPDATE jobs SET lease_until = $3, attempts = attempts + 1, owner = $5, news = 0, looked_at = $2 WHERE kind = $1 AND key IN (SELECT key FROM due) \
             RETURNING key, attempts";
        // most looks find nothing: they must not cost a write
        let waiting = "SELECT key FROM jobs WHERE kind = $1 AND due_at <= $2 AND lease_until <= $2 LIMIT 1";
        if self.db.reader().await?.row(waiting, params![FOLLOW, now]).await?.is_none() {
            return Ok(Vec::new());
        }
        let process = self.process;
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let sql = if conn.locks_rows() { POSTGRES } else { SQLITE };
                    let rows = conn.rows(sql, params![FOLLOW, now, lease_until, limit, process]).await?;
                    rows.iter()
                        .map(|row| {
                            let attempts = u32::try_from(row.int("attempts")?).unwrap_or(u32::MAX);
                            Ok(Job { key: row.text("key")?, attempts: attempts.saturating_sub(1) })
                        })
                        .collect()
                })
            })
            .await
    }

    /// When the next follow-up job is due. One that somebody holds is left out: should its lease end, the next regular look
    /// finds it.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn next_follow_up(&self) -> Result<Option<Timestamp>, LedgerError> {
        let sql = "SELECT due_at FROM jobs WHERE kind = $1 AND lease_until = 0 ORDER BY due_at LIMIT 1";
        let row = self.db.reader().await?.row(sql, params![FOLLOW]).await?;
        row.map_or(Ok(None), |row| row.opt_time("due_at"))
    }

    /// Gives a leased job back, to be taken again at `due_at`. It was not done: this look doesn't count.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn postpone_follow_up(&self, key: &str, due_at: Timestamp) -> Result<(), LedgerError> {
        let key = key.to_owned();
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let sql = "UPDATE jobs SET due_at = $3, lease_until = 0, owner = 0, \
                               attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END \
                               WHERE kind = $1 AND key = $2";
                    conn.execute(sql, params![FOLLOW, key, due_at]).await.map(|_| ())
                })
            })
            .await
    }

    /// A job whose refund needs nothing more.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn end_follow_up(&self, key: &str) -> Result<(), LedgerError> {
        let mut batch = Batch::default();
        done(&mut batch, key);
        self.db.run(batch).await
    }

    /// Makes a refund's job due now, unless it is due sooner: there is news to look at. Somebody who has it in hand looks
    /// once more.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn hasten_follow_up(&self, key: &str, now: Timestamp) -> Result<(), LedgerError> {
        let key = key.to_owned();
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let sql = "UPDATE jobs SET news = 1, due_at = CASE WHEN due_at > $3 THEN $3 ELSE due_at END \
                               WHERE kind = $1 AND key = $2";
                    conn.execute(sql, params![FOLLOW, key, now]).await.map(|_| ())
                })
            })
            .await
    }

    /// Makes a refund's job due now because a person looks at it, unless somebody looked in the last `gap` or has it in hand.
    /// A look of this kind is no rung of the ladder. True where it is due now.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn hasten_for_person(
        &self,
        id: RefundId,
        gap: SignedDuration,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let earlier = now.checked_sub(gap).unwrap_or(Timestamp::MIN);
        let might = "SELECT key FROM jobs WHERE kind = $1 AND key = $2 AND due_at > $3 AND lease_until <= $3 AND owner = 0 \
                     AND looked_at <= $4";
        // most reads come too soon after the last: they must not cost a write
        if self.db.reader().await?.row(might, params![FOLLOW, id, now, earlier]).await?.is_none() {
            return Ok(false);
        }
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let sql = "UPDATE jobs SET due_at = $3, looked_at = $3, \
                               attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END WHERE kind = $1 AND key = $2 \
                               AND due_at > $3 AND lease_until <= $3 AND owner = 0 AND looked_at <= $4";
                    Ok(conn.execute(sql, params![FOLLOW, id, now, earlier]).await? > 0)
                })
            })
            .await
    }

    /// At the start of the only process on this ledger: whoever held a lease is dead, and so is its call.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn take_over_leases(&self, now: Timestamp) -> Result<u64, LedgerError> {
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    conn.execute("UPDATE refunds SET lease_until = 0 WHERE lease_until > 0", params![]).await?;
                    conn.execute("UPDATE idempotency_keys SET lease_until = 0 WHERE status IS NULL", params![]).await?;
                    conn.execute("UPDATE webhook_deliveries SET lease_until = 0 WHERE lease_until > 0", params![])
                        .await?;
                    let sql = "UPDATE jobs SET lease_until = 0, owner = 0, due_at = CASE WHEN key IN (SELECT refund_id FROM refunds \
                               WHERE state = 'submitting' AND not_before IS NULL) THEN $1 ELSE due_at END";
                    conn.execute(sql, params![now]).await
                })
            })
            .await
    }

    /// How many follow-up jobs there are, and how many of them are overdue.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn follow_up_counts(&self, now: Timestamp) -> Result<(i64, i64), LedgerError> {
        let sql = "SELECT COUNT(*) AS jobs, COALESCE(SUM(CASE WHEN due_at <= $2 AND lease_until <= $2 THEN 1 ELSE 0 END), 0) \
                   AS due FROM jobs WHERE kind = $1";
        let row = self.db.reader().await?.row(sql, params![FOLLOW, now]).await?;
        row.map_or(Ok((0, 0)), |row| Ok((row.int("jobs")?, row.int("due")?)))
    }
}

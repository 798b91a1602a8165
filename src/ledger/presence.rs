//! Several processes on one ledger: the time that all of them go by, and who of them is alive.
//!
//! A process holds an advisory lock of PostgreSQL on a connection of its own for as long as it lives. The server lets go of
//! the lock the moment that connection ends: so a process that was killed is known to be dead at once, and its work is taken
//! over then, not when its lease ends. One that is merely paused keeps its lock, and only its leases end. Both are fenced.

use jiff::Timestamp;
use tokio_postgres::Client;

use super::{
    Ledger, LedgerError,
    db::{Batch, Db, params},
};

/// The sign of life of this process, as long as it is kept. On SQLite there is nobody to show it to.
#[derive(Debug)]
pub struct Presence(Client);

impl Presence {
    /// Whether it is still seen.
    pub async fn is_seen(&self) -> bool {
        self.0.check_connection().await.is_ok()
    }
}

impl Ledger {
    /// Shows that this process is alive. `None` where no other process can share the ledger.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn show_presence(&self) -> Result<Option<Presence>, LedgerError> {
        let Db::Postgres(server) = &self.db else { return Ok(None) };
        let client = server.connect().await?;
        client.execute("SELECT pg_advisory_lock($1)", &[&self.process]).await?;
        Ok(Some(Presence(client)))
    }

    /// Processes that have work in hand and are not alive. Empty on SQLite.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn dead_processes(&self) -> Result<Vec<i64>, LedgerError> {
        if !self.is_shared() {
            return Ok(Vec::new());
        }
        let sql = "SELECT DISTINCT owner FROM jobs WHERE owner > 0 AND owner <> $1 AND NOT EXISTS (SELECT 1 FROM pg_locks \
                   WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                   AND ((classid::BIGINT << 32) | objid::BIGINT) = jobs.owner)";
        let rows = self.db.reader().await?.rows(sql, params![self.process]).await?;
        rows.iter().map(|row| row.int("owner")).collect()
    }

    /// Takes over what a dead process had in hand: it is due now. What that process may still say is fenced.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn take_over_from(&self, process: i64, now: Timestamp) -> Result<(), LedgerError> {
        let mut batch = Batch::default();
        batch.add(
            "UPDATE refunds SET lease_until = 0 WHERE lease_until > 0 AND refund_id IN \
             (SELECT key FROM jobs WHERE owner = $1)",
            params![process],
        );
        batch.add(
            "UPDATE idempotency_keys SET lease_until = 0 WHERE status IS NULL AND refund_id IN \
             (SELECT key FROM jobs WHERE owner = $1)",
            params![process],
        );
        batch.add("UPDATE jobs SET owner = 0, lease_until = 0, due_at = $2 WHERE owner = $1", params![process, now]);
        self.db.write(move |conn| Box::pin(conn.run(batch))).await
    }

    /// The schema's version there and the one of this program, where they differ.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer, or has no schema yet.
    pub async fn schema_gap(&self) -> Result<Option<(i64, i64)>, LedgerError> {
        let here = sqlx::migrate!("src/ledger/migrations/postgres").iter().map(|step| step.version).max().unwrap_or(0);
        let row =
            self.db.reader().await?.row("SELECT MAX(version) AS version FROM _sqlx_migrations", params![]).await?;
        let there = row.map_or(Ok(None), |row| row.opt_int("version"))?.unwrap_or(0);
        Ok((there != here).then_some((there, here)))
    }

    /// Settings of PostgreSQL under which a commit that was acknowledged can be lost in a crash.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn settings_that_lose_commits(&self) -> Result<Vec<String>, LedgerError> {
        if !self.is_shared() {
            return Ok(Vec::new()); // on SQLite we set them ourselves
        }
        let sql = "SELECT name FROM pg_settings WHERE name IN ('synchronous_commit', 'fsync', 'full_page_writes') \
                   AND setting = 'off' ORDER BY name";
        let rows = self.db.reader().await?.rows(sql, params![]).await?;
        rows.iter().map(|row| row.text("name")).collect()
    }

    /// The time at the database, which all processes on it go by. `None` on SQLite: this machine's clock is the one.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn database_time(&self) -> Result<Option<Timestamp>, LedgerError> {
        if !self.is_shared() {
            return Ok(None);
        }
        let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS now";
        let row = self.db.reader().await?.row(sql, params![]).await?;
        row.map(|row| row.time("now")).transpose()
    }
}

//! What happened to refunds, in one order for all: the timeline rows of every refund, by their number.

use jiff::Timestamp;
use scanback_wallet::{MerchantId, RefundId};

use super::{Ledger, LedgerError, db::params};

/// Rows that one look takes at most.
const PAGE: u32 = 500;

/// A line of some refund's timeline.
#[derive(Clone, Debug)]
pub struct LedgerEvent {
    /// Grows with each; numbers can be missing for a while, because a later one may be committed first.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What, for example `succeeded`.
    pub event: String,
    /// Of which refund.
    pub refund_id: RefundId,
    /// Whose.
    pub merchant_id: MerchantId,
}

impl Ledger {
    /// The events after a number, of all merchants, in order; a page of them.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn events_after(&self, seq: i64) -> Result<Vec<LedgerEvent>, LedgerError> {
        let sql = "SELECT seq, at, event, e.refund_id AS refund, merchant_id FROM refund_events e \
                   JOIN refunds r ON r.refund_id = e.refund_id WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows = self.db.reader().await?.rows(sql, params![seq, PAGE]).await?;
        rows.iter()
            .map(|row| {
                Ok(LedgerEvent {
                    seq: row.int("seq")?,
                    at: row.time("at")?,
                    event: row.text("event")?,
                    refund_id: RefundId::parse(&row.text("refund")?)
                        .map_err(|_| LedgerError::Broken("column refund_id".into()))?,
                    merchant_id: row.parse("merchant_id")?,
                })
            })
            .collect()
    }

    /// The number of the newest event, 0 where there is none.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn newest_event(&self) -> Result<i64, LedgerError> {
        let sql = "SELECT COALESCE(MAX(seq), 0) AS seq FROM refund_events";
        let row = self.db.reader().await?.row(sql, params![]).await?;
        row.map_or(Ok(0), |row| row.int("seq"))
    }
}

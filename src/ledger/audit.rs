//! Who did what: a row in the transaction of each change. Rows never change; a correction is a new row.

use jiff::Timestamp;
use scanback_wallet::MerchantId;

use super::{
    LedgerError,
    db::{Batch, Conn, params},
};
use crate::domain::actor::Actor;

const ADD: &str = "INSERT INTO audit (at, merchant_id, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)";

/// The row, into a batch.
pub(super) fn put(
    batch: &mut Batch,
    merchant: &MerchantId,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: Option<&str>,
    now: Timestamp,
) {
    batch.add(ADD, params![now, merchant, actor.to_string(), action, subject, detail]);
}

/// The row, at once.
pub(super) async fn add(
    conn: &mut Conn,
    merchant: &MerchantId,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: Option<&str>,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let mut batch = Batch::default();
    put(&mut batch, merchant, actor, action, subject, detail, now);
    conn.run(batch).await
}

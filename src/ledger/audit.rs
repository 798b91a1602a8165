//! Who did what: a row in the transaction of each change. Rows never change; a correction is a new row.

use jiff::Timestamp;
use scanback_wallet::MerchantId;

use super::{
    LedgerError,
    db::{Conn, params},
};
use crate::domain::actor::Actor;

pub(super) async fn add(
    conn: &mut Conn,
    merchant: &MerchantId,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: Option<&str>,
    now: Timestamp,
) -> Result<(), LedgerError> {
    conn.execute(
        "INSERT INTO audit (at, merchant_id, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)",
        params![now, merchant, actor.to_string(), action, subject, detail],
    )
    .await
    .map(|_| ())
}

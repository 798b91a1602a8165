//! Idempotency keys: the unique index is the last word, with Redis or without (contract §4 rule 2).

use jiff::Timestamp;
use scanback_wallet::{MerchantId, RefundId};

use super::{
    Ledger, LedgerError,
    db::{Batch, params, unreadable},
    refund_rows::{Known, Locked, lock_with_timeline},
    refunds::{self, KeyOfRequest},
};
use crate::domain::{
    idempotency::{Fingerprint, IdempotencyKey},
    refund::Refund,
};

/// What the ledger holds under a key.
#[derive(Clone, Debug)]
pub struct KeptAnswer {
    /// Of which request.
    pub fingerprint: Fingerprint,
    /// The refund that was made under it.
    pub refund_id: RefundId,
    /// Until when the request that made it is awaited.
    pub lease_until: Timestamp,
    /// Its first answer, status and body, once it was given.
    pub answer: Option<(u16, String)>,
}

pub(super) fn insert(batch: &mut Batch, refund: &Refund, key: &KeyOfRequest, now: Timestamp) {
    if crate::mutants::on(crate::mutants::Mutant::NoKeyIndex) {
        return;
    }
    batch.add(
        "INSERT INTO idempotency_keys (merchant_id, key, fingerprint, refund_id, lease_until, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            &refund.merchant_id,
            key.key.as_str(),
            key.fingerprint.to_string(),
            refund.refund_id,
            key.lease_until,
            now
        ],
    );
}

/// Keeps the refund as the first answer, which is given back; a later one changes nothing.
pub(super) fn store_answer(
    batch: &mut Batch,
    refund: &Refund,
    key: &IdempotencyKey,
) -> Result<(u16, String), LedgerError> {
    let (status, body) = refunds::first_answer(refund)?;
    batch.add(
        "UPDATE idempotency_keys SET status = $3, body = $4 WHERE merchant_id = $1 AND key = $2 AND status IS NULL",
        params![&refund.merchant_id, key.as_str(), i64::from(status), body.as_str()],
    );
    Ok((status, body))
}

fn fingerprint(text: &str) -> Result<Fingerprint, LedgerError> {
    let bytes = hex::decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(Fingerprint::from_bytes).ok_or_else(|| unreadable("fingerprint"))
}

impl Ledger {
    /// What is held under a key, if a refund was made under it.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn kept_answer(
        &self,
        merchant: &MerchantId,
        key: &IdempotencyKey,
    ) -> Result<Option<KeptAnswer>, LedgerError> {
        let sql = "SELECT fingerprint, refund_id, lease_until, status, body FROM idempotency_keys \
                   WHERE merchant_id = $1 AND key = $2";
        let row = self.db.reader().await?.row(sql, params![merchant, key.as_str()]).await?;
        let Some(row) = row else { return Ok(None) };
        let answer = match (row.opt_int("status")?, row.opt_text("body")?) {
            (Some(status), Some(body)) => Some((u16::try_from(status).map_err(|_| unreadable("status"))?, body)),
            _ => None,
        };
        Ok(Some(KeptAnswer {
            fingerprint: fingerprint(&row.text("fingerprint")?)?,
            refund_id: RefundId::parse(&row.text("refund_id")?).map_err(|_| unreadable("refund_id"))?,
            lease_until: row.time("lease_until")?,
            answer,
        }))
    }

    /// Keeps the refund as it now stands as the first answer under the key, unless one is kept already; what is kept.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn keep_answer(
        &self,
        id: RefundId,
        merchant: &MerchantId,
        key: &IdempotencyKey,
    ) -> Result<(u16, String), LedgerError> {
        let (owner, used) = (merchant.clone(), key.clone());
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let Some(Locked { known: Known { refund, .. }, .. }) = lock_with_timeline(conn, id).await? else {
                        return Err(LedgerError::Broken(format!("refund {id} is gone")));
                    };
                    debug_assert_eq!(refund.merchant_id, owner);
                    let mut batch = Batch::default();
                    store_answer(&mut batch, &refund, &used)?;
                    conn.run(batch).await
                })
            })
            .await?;
        let kept = self.kept_answer(merchant, key).await?;
        kept.and_then(|kept| kept.answer).ok_or_else(|| LedgerError::Broken("an answer just kept is gone".into()))
    }
}

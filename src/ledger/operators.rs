//! People with a PIN. The PIN is kept as an argon2 hash alone.

use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{MerchantId, OperatorId};

use super::{Ledger, LedgerError, audit, db::params, sends::later};
use crate::domain::actor::{Actor, OperatorRole};

/// Wrong PINs after which an operator is locked, and for how long. Source: contract §3, `operator_locked`.
const WRONG_PINS: i64 = 5;
const LOCKED_FOR: SignedDuration = SignedDuration::from_mins(15);

/// A person as the ledger holds them.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Which person.
    pub operator_id: OperatorId,
    /// What they may do.
    pub role: OperatorRole,
    /// The argon2 hash of the PIN, in PHC form.
    pub pin_hash: String,
    /// Until when they are locked.
    pub locked_until: Option<Timestamp>,
}

impl Ledger {
    /// Adds a person; `false` where the id is taken.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn add_operator(
        &self,
        merchant: MerchantId,
        operator: Operator,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let added = self
            .db
            .write(move |conn| {
                Box::pin(async move {
                    conn.execute(
                        "INSERT INTO operators (merchant_id, operator_id, role, pin_hash, created_at) \
                         VALUES ($1, $2, $3, $4, $5)",
                        params![&merchant, &operator.operator_id, operator.role.as_str(), operator.pin_hash, now],
                    )
                    .await?;
                    let subject = format!("operator:{}", operator.operator_id);
                    audit::add(conn, &merchant, &Actor::System, "operator.added", &subject, None, now).await
                })
            })
            .await;
        match added {
            Ok(()) => Ok(true),
            Err(LedgerError::Duplicate) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A person of this merchant.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn operator(&self, merchant: &MerchantId, id: &OperatorId) -> Result<Option<Operator>, LedgerError> {
        let sql = "SELECT operator_id, role, pin_hash, locked_until FROM operators \
                   WHERE merchant_id = $1 AND operator_id = $2";
        let row = self.db.reader().await?.row(sql, params![merchant, id]).await?;
        row.map(|row| {
            Ok(Operator {
                operator_id: row.parse("operator_id")?,
                role: row.parse("role")?,
                pin_hash: row.text("pin_hash")?,
                locked_until: row.opt_time("locked_until")?,
            })
        })
        .transpose()
    }

    /// Counts a wrong PIN; until when the person is locked, if this was one too many.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn count_wrong_pin(
        &self,
        merchant: &MerchantId,
        id: &OperatorId,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let (merchant, id) = (merchant.clone(), id.clone());
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let sql = "UPDATE operators SET \
                        locked_until = CASE WHEN wrong_pins + 1 >= $3 THEN $4 ELSE locked_until END, \
                        wrong_pins = CASE WHEN wrong_pins + 1 >= $3 THEN 0 ELSE wrong_pins + 1 END \
                        WHERE merchant_id = $1 AND operator_id = $2 RETURNING locked_until";
                    let until = later(now, LOCKED_FOR);
                    let row = conn.row(sql, params![&merchant, &id, WRONG_PINS, until]).await?;
                    let subject = format!("operator:{id}");
                    audit::add(conn, &merchant, &Actor::System, "operator.pin_wrong", &subject, None, now).await?;
                    Ok(row.map(|row| row.opt_time("locked_until")).transpose()?.flatten().filter(|until| *until > now))
                })
            })
            .await
    }

    /// A right PIN ends the count of wrong ones.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn forget_wrong_pins(&self, merchant: &MerchantId, id: &OperatorId) -> Result<(), LedgerError> {
        let some = "SELECT 1 AS one FROM operators WHERE merchant_id = $1 AND operator_id = $2 AND wrong_pins > 0";
        if self.db.reader().await?.row(some, params![merchant, id]).await?.is_none() {
            return Ok(()); // the usual case costs no write
        }
        let (merchant, id) = (merchant.clone(), id.clone());
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let sql = "UPDATE operators SET wrong_pins = 0 WHERE merchant_id = $1 AND operator_id = $2";
                    conn.execute(sql, params![&merchant, &id]).await.map(|_| ())
                })
            })
            .await
    }
}

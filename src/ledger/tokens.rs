//! Bearer tokens: only the SHA-256 of a token is kept, and looked up by.

use jiff::Timestamp;
use scanback_wallet::{MerchantId, StoreId, TerminalId};
use uuid::Uuid;

use super::{
    Ledger, LedgerError, audit,
    db::{Row, params},
};
use crate::domain::actor::{Actor, Caller, Role};

/// A token to make.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// SHA-256 of the token's text, lower-case hex.
    pub hash: String,
    /// What it allows.
    pub role: Role,
    /// Whose things it sees.
    pub merchant_id: MerchantId,
    /// The device.
    pub terminal_id: Option<TerminalId>,
    /// The shop.
    pub store_id: Option<StoreId>,
    /// For people.
    pub name: String,
}

/// A token as `token list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its id.
    pub id: Uuid,
    /// What it allows.
    pub role: Role,
    /// Whose things it sees.
    pub merchant_id: MerchantId,
    /// For people.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

fn caller(row: &Row) -> Result<Caller, LedgerError> {
    Ok(Caller {
        token_id: row.parse("id")?,
        role: row.parse("role")?,
        merchant_id: row.parse("merchant_id")?,
        terminal_id: row.opt_parse("terminal_id")?,
        store_id: row.opt_parse("store_id")?,
    })
}

impl Ledger {
    /// The caller behind a token's hash, if the token is valid.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn caller_by_token_hash(&self, hash: &str) -> Result<Option<Caller>, LedgerError> {
        let sql = "SELECT id, role, merchant_id, terminal_id, store_id FROM tokens \
                   WHERE hash = $1 AND revoked_at IS NULL";
        self.db.reader().await?.row(sql, params![hash]).await?.as_ref().map(caller).transpose()
    }

    /// Makes a token; its id.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn add_token(&self, new: NewToken, now: Timestamp) -> Result<Uuid, LedgerError> {
        let id = Uuid::now_v7();
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    conn.execute(
                        "INSERT INTO tokens (id, hash, role, merchant_id, terminal_id, store_id, name, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                        params![
                            id,
                            new.hash,
                            new.role.as_str(),
                            &new.merchant_id,
                            new.terminal_id.as_ref(),
                            new.store_id.as_ref(),
                            new.name,
                            now
                        ],
                    )
                    .await?;
                    let subject = format!("token:{id}");
                    audit::add(conn, &new.merchant_id, &Actor::System, "token.created", &subject, None, now).await
                })
            })
            .await?;
        Ok(id)
    }

    /// The tokens that are valid, oldest first.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, LedgerError> {
        let sql = "SELECT id, role, merchant_id, name, created_at FROM tokens WHERE revoked_at IS NULL \
                   ORDER BY created_at, id";
        let rows = self.db.reader().await?.rows(sql, vec![]).await?;
        rows.iter()
            .map(|row| {
                Ok(TokenRow {
                    id: row.parse("id")?,
                    role: row.parse("role")?,
                    merchant_id: row.parse("merchant_id")?,
                    name: row.text("name")?,
                    created_at: row.time("created_at")?,
                })
            })
            .collect()
    }

    /// Ends a token; whether there was one.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn revoke_token(&self, id: Uuid, now: Timestamp) -> Result<bool, LedgerError> {
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let sql =
                        "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING merchant_id";
                    let Some(row) = conn.row(sql, params![id, now]).await? else { return Ok(false) };
                    let (merchant, subject) = (row.parse("merchant_id")?, format!("token:{id}"));
                    audit::add(conn, &merchant, &Actor::System, "token.revoked", &subject, None, now).await?;
                    Ok(true)
                })
            })
            .await
    }
}

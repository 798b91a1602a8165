//! Webhook endpoints, and the outbox: a delivery is written in the transaction of the change that it tells of.

use jiff::Timestamp;
use scanback_wallet::MerchantId;
use serde::Serialize;
use uuid::Uuid;

use super::{
    Ledger, LedgerError, audit,
    db::{Batch, Row, params, unreadable},
};
use crate::domain::{actor::Actor, refund::Refund, view::RefundView};

/// Where a merchant wants to hear of events.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Ours.
    pub id: Uuid,
    /// Whose.
    pub merchant_id: MerchantId,
    /// Where.
    pub url: String,
    /// Which types; `None` means all.
    pub types: Option<Vec<String>>,
    /// The signing secret, sealed under the pepper.
    pub sealed_secret: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// A leased delivery.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The webhook's id, the same over retries.
    pub id: String,
    /// Where it goes.
    pub endpoint: Endpoint,
    /// The signed body.
    pub body: String,
    /// How often it was tried before.
    pub attempts: u32,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub enum DeliveryEnd {
    /// The endpoint took it.
    Delivered,
    /// Again at this moment.
    Again {
        /// When.
        at: Timestamp,
        /// Why not this time.
        why: String,
    },
    /// Given up; shown to people, redelivered by hand.
    Parked {
        /// Why.
        why: String,
    },
}

fn read(row: &Row) -> Result<Endpoint, LedgerError> {
    let types = row.opt_text("types")?.map(|text| serde_json::from_str(&text).map_err(|_| unreadable("types")));
    Ok(Endpoint {
        id: row.parse("id")?,
        merchant_id: row.parse("merchant_id")?,
        url: row.text("url")?,
        types: types.transpose()?,
        sealed_secret: row.text("sealed_secret")?,
        created_at: row.time("created_at")?,
    })
}

/// What an endpoint gets (contract §5).
#[derive(Serialize)]
struct Body<'r> {
    #[serde(rename = "type")]
    event_type: &'static str,
    timestamp: Timestamp,
    data: &'r RefundView,
}

/// Puts events of a refund into the outbox in their order, one delivery for each endpoint that wants the type. The webhook's id is made
/// of the event's and the endpoint's. One statement for up to two events, since a batch promises no order.
pub(super) fn announce(
    batch: &mut Batch,
    refund: &Refund,
    types: &[&'static str],
    now: Timestamp,
) -> Result<(), LedgerError> {
    macro_rules! event {
        ($id:literal, $type:literal, $body:literal, $named:literal) => {
            concat!(
                " SELECT ",
                $id,
                " || replace(e.id, '-', ''), e.id, e.merchant_id, $2, ",
                $type,
                ", ",
                $body,
                ", $3, $3 FROM webhook_endpoints e WHERE e.merchant_id = $1 AND e.deleted_at IS NULL \
                 AND (e.types IS NULL OR replace(e.types, ",
                $named,
                ", '') <> e.types)"
            )
        };
    }
    macro_rules! sql {
        ($($event:expr),+) => {
            concat!(
                "INSERT INTO webhook_deliveries (id, endpoint_id, merchant_id, subject, event_type, body, due_at, created_at)",
                $($event),+
            )
        };
    }
    if types.is_empty() {
        return Ok(());
    }
    debug_assert!(types.len() <= 2, "no change is told of by more");
    let data = RefundView::from(refund);
    for types in types.chunks(2) {
        let mut values = params![&refund.merchant_id, refund.refund_id, now];
        for event_type in types {
            let body = serde_json::to_string(&Body { event_type, timestamp: now, data: &data });
            let body = body.map_err(|error| LedgerError::Broken(error.to_string()))?;
            let (id, named) = (format!("msg_{}_", Uuid::now_v7().simple()), format!("\"{event_type}\""));
            values.extend(params![id, *event_type, body, named]);
        }
        batch.add(
            if types.len() == 1 {
                sql!(event!("$4", "$5", "$6", "$7"))
            } else {
                sql!(event!("$4", "$5", "$6", "$7"), " UNION ALL", event!("$8", "$9", "$10", "$11"))
            },
            values,
        );
    }
    Ok(())
}

impl Ledger {
    /// Registers an endpoint.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn add_endpoint(&self, endpoint: Endpoint, by: Actor) -> Result<(), LedgerError> {
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let types = endpoint.types.as_ref().map(|types| serde_json::json!(types).to_string());
                    conn.execute(
                        "INSERT INTO webhook_endpoints (id, merchant_id, url, types, sealed_secret, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6)",
                        params![
                            endpoint.id,
                            &endpoint.merchant_id,
                            endpoint.url,
                            types,
                            endpoint.sealed_secret,
                            endpoint.created_at
                        ],
                    )
                    .await?;
                    let (subject, at) = (format!("webhook_endpoint:{}", endpoint.id), endpoint.created_at);
                    audit::add(conn, &endpoint.merchant_id, &by, "webhook_endpoint.added", &subject, None, at).await
                })
            })
            .await
    }

    /// Whether anybody wants to hear of anything.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn has_endpoints(&self) -> Result<bool, LedgerError> {
        let sql = "SELECT id FROM webhook_endpoints WHERE deleted_at IS NULL LIMIT 1";
        Ok(self.db.reader().await?.row(sql, vec![]).await?.is_some())
    }

    /// The endpoints of a merchant, oldest first.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn endpoints(&self, merchant: &MerchantId) -> Result<Vec<Endpoint>, LedgerError> {
        let sql = "SELECT id, merchant_id, url, types, sealed_secret, created_at FROM webhook_endpoints \
                   WHERE merchant_id = $1 AND deleted_at IS NULL ORDER BY created_at, id";
        self.db.reader().await?.rows(sql, params![merchant]).await?.iter().map(read).collect()
    }

    /// Ends an endpoint and what still waits for it; whether there was one.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn delete_endpoint(
        &self,
        merchant: MerchantId,
        id: Uuid,
        by: Actor,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let sql = "UPDATE webhook_endpoints SET deleted_at = $3 \
                               WHERE id = $1 AND merchant_id = $2 AND deleted_at IS NULL";
                    if conn.execute(sql, params![id, &merchant, now]).await? == 0 {
                        return Ok(false);
                    }
                    let sql = "UPDATE webhook_deliveries SET state = 'parked', last_error = 'endpoint deleted' \
                               WHERE endpoint_id = $1 AND state = 'pending'";
                    conn.execute(sql, params![id]).await?;
                    let subject = format!("webhook_endpoint:{id}");
                    audit::add(conn, &merchant, &by, "webhook_endpoint.deleted", &subject, None, now).await?;
                    Ok(true)
                })
            })
            .await
    }

    /// Leases up to `limit` deliveries that are due: of each refund and endpoint only the oldest that waits, so that
    /// events arrive in order.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn lease_deliveries(
        &self,
        limit: u32,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Delivery>, LedgerError> {
        const SQLITE: &str = "UPDATE webhook_deliveries SET lease_until = $2, attempts = attempts + 1 WHERE seq IN \
            (SELECT d.seq FROM webhook_deliveries d WHERE d.state = 'pending' AND d.due_at <= $1 AND d.lease_until <= $1 \
             AND NOT EXISTS (SELECT 1 FROM webhook_deliveries e WHERE e.endpoint_id = d.endpoint_id \
               AND e.subject = d.subject AND e.seq < d.seq AND e.state = 'pending') ORDER BY d.due_at LIMIT $3) \
            RETURNING id, endpoint_id, body, attempts";
        const POSTGRES: &str = "WITH due AS MATERIALIZED (SELECT d.seq FROM webhook_deliveries d WHERE d.state = 'pending' AND d.due_at <= $1 AND d.lease_until <= $1 \
             AND NOT EXISTS (SELECT 1 FROM webhook_deliveries e WHERE e.endpoint_id = d.endpoint_id \
               AND e.subject = d.subject AND e.seq < d.seq AND e.state = 'pending') ORDER BY d.due_at LIMIT $3 \
             FOR UPDATE SKIP LOCKED) \
            UPDATE webhook_deliveries SET lease_until = $2, attempts = attempts + 1 WHERE seq IN (SELECT seq FROM due) \
            RETURNING id, endpoint_id, body, attempts";
        let waiting = "SELECT seq FROM webhook_deliveries WHERE state = 'pending' AND due_at <= $1 AND lease_until <= $1 \
                       LIMIT 1";
        if self.db.reader().await?.row(waiting, params![now]).await?.is_none() {
            return Ok(Vec::new());
        }
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let sql = if conn.locks_rows() { POSTGRES } else { SQLITE };
                    let mut leased = Vec::new();
                    for row in conn.rows(sql, params![now, lease_until, limit]).await? {
                        let sql = "SELECT id, merchant_id, url, types, sealed_secret, created_at \
                                   FROM webhook_endpoints WHERE id = $1";
                        let endpoint = conn.row(sql, params![row.text("endpoint_id")?]).await?;
                        let endpoint = endpoint.ok_or_else(|| unreadable("endpoint_id"))?;
                        leased.push(Delivery {
                            id: row.text("id")?,
                            endpoint: read(&endpoint)?,
                            body: row.text("body")?,
                            attempts: u32::try_from(row.int("attempts")? - 1).unwrap_or(u32::MAX),
                        });
                    }
                    Ok(leased)
                })
            })
            .await
    }

    /// Writes down what became of an attempt.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer: the lease ends and it is tried again.
    pub async fn end_delivery(&self, id: &str, end: DeliveryEnd, now: Timestamp) -> Result<(), LedgerError> {
        let id = id.to_owned();
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let sql = "UPDATE webhook_deliveries SET state = $2, due_at = COALESCE($3, due_at), last_error = $4, \
                               delivered_at = $5, lease_until = 0 WHERE id = $1 AND state = 'pending'";
                    let values = match end {
                        DeliveryEnd::Delivered => params![id, "delivered", None::<i64>, None::<String>, now],
                        DeliveryEnd::Again { at, why } => params![id, "pending", at, why, None::<i64>],
                        DeliveryEnd::Parked { why } => params![id, "parked", None::<i64>, why, None::<i64>],
                    };
                    conn.execute(sql, values).await.map(|_| ())
                })
            })
            .await
    }

    /// How many deliveries wait.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn deliveries_waiting(&self) -> Result<i64, LedgerError> {
        let sql = "SELECT COUNT(*) AS waiting FROM webhook_deliveries WHERE state = 'pending'";
        self.db.reader().await?.row(sql, vec![]).await?.map_or(Ok(0), |row| row.int("waiting"))
    }
}

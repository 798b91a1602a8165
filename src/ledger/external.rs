//! Refunds that were made elsewhere: found in what the wallet proves, counted, and never argued with (contract §4 rules 1
//! and 9).

use jiff::Timestamp;
use scanback_wallet::{MerchantId, Money, OrderNo, RecordStatus, RefundId, RefundRecord, WalletKind, WalletRequestNo};
use uuid::Uuid;

use super::{
    Ledger, LedgerError, audit,
    db::{Batch, Conn, params},
    jobs, orders,
    refunds::{EventLine, add_events},
    sends::{Pace, later},
    webhooks,
};
use crate::domain::{
    actor::Actor,
    order::{Fit, Order},
    refund::{AttentionReason, Refund, RefundKind, RefundOrigin, RefundState, TimelineEntry},
};

/// The reason that a refund from elsewhere is kept under: nobody told us one.
const REASON: &str = "other";

impl Ledger {
    /// The order with exactly this number.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn order_by_no(
        &self,
        merchant: &MerchantId,
        wallet: WalletKind,
        order_no: &OrderNo,
    ) -> Result<Option<Order>, LedgerError> {
        let orders = self.orders_by_number(Some(merchant), Some(wallet), order_no.as_str()).await?;
        Ok(orders.into_iter().find(|order| order.order_no == *order_no))
    }

    /// Keeps the wallet's proof of a refund that is not ours; `None` where nothing had to be kept: it is known, it was closed
    /// without paying, or what is open doesn't fit beside what the order holds (the order then needs an approval).
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer: the wallet's news comes again.
    pub async fn keep_external(
        &self,
        order: Uuid,
        record: RefundRecord,
        pace: Pace,
        look_again_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Refund>, LedgerError> {
        let kept = self
            .db
            .write(move |conn| {
                Box::pin(async move {
                    let Some(order) = lock(conn, order).await? else { return Ok(None) };
                    let found = Found {
                        request_no: Some(record.request_no.clone()),
                        amount: record.amount,
                        status: record.status,
                        record: Some(record),
                    };
                    keep(conn, order, found, pace, look_again_at, now).await
                })
            })
            .await;
        match kept {
            Err(LedgerError::Duplicate) => Ok(None), // the same news twice at once
            other => other,
        }
    }

    /// Takes note of what the wallet says to have refunded of an order in all, and keeps what nobody here explains as a
    /// refund made elsewhere. While a refund of ours is open nothing is concluded: the note is taken up when it ends.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn note_total(
        &self,
        order: Uuid,
        total: Money,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Option<Refund>, LedgerError> {
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    note(conn, order, total.value()).await?;
                    conclude(conn, order, pace, now).await
                })
            })
            .await
    }
}

/// Remembers the highest total that the wallet named.
pub(super) async fn note(conn: &mut Conn, order: Uuid, total: i64) -> Result<(), LedgerError> {
    let sql = "UPDATE orders SET wallet_refunded = $2 WHERE id = $1 AND wallet_refunded < $2";
    conn.execute(sql, params![order, total]).await.map(|_| ())
}

/// What a refund from elsewhere is made of.
struct Found {
    /// Its number at the wallet; Alipay's total names none.
    request_no: Option<WalletRequestNo>,
    amount: Money,
    status: RecordStatus,
    record: Option<RefundRecord>,
}

/// An order and its money, locked until the transaction ends.
struct LockedOrder {
    order: Order,
    paid_back: i64,
    wallet_refunded: i64,
}

async fn lock(conn: &mut Conn, id: Uuid) -> Result<Option<LockedOrder>, LedgerError> {
    const SQLITE: &str = "SELECT paid_back, wallet_refunded FROM orders WHERE id = $1";
    const POSTGRES: &str = "SELECT paid_back, wallet_refunded FROM orders WHERE id = $1 FOR UPDATE";
    let sql = if conn.locks_rows() { POSTGRES } else { SQLITE };
    let Some(row) = conn.row(sql, params![id]).await? else { return Ok(None) };
    let (paid_back, wallet_refunded) = (row.int("paid_back")?, row.int("wallet_refunded")?);
    let order = orders::by_id(conn, id).await?;
    Ok(order.map(|order| LockedOrder { order, paid_back, wallet_refunded }))
}

/// Draws the conclusion from the wallet's total: only while no refund of ours is unsettled, and only for what exceeds all
/// of ours that may have been sent (contract §4 rule 9).
pub(super) async fn conclude(
    conn: &mut Conn,
    id: Uuid,
    pace: Pace,
    now: Timestamp,
) -> Result<Option<Refund>, LedgerError> {
    let Some(locked) = lock(conn, id).await? else { return Ok(None) };
    let row = conn
        .row(
            "SELECT CAST(COALESCE(SUM(CASE WHEN origin = 'external' OR sends > 0 THEN amount ELSE 0 END), 0) AS BIGINT) \
             AS explained, CAST(COALESCE(SUM(CASE WHEN state IN ('submitting', 'processing', 'abnormal') THEN 1 ELSE 0 END), \
             0) AS BIGINT) AS unsettled FROM refunds WHERE order_id = $1",
            params![id],
        )
        .await?;
    let (explained, unsettled) = match row {
        Some(row) => (row.int("explained")?, row.int("unsettled")?),
        None => (0, 0),
    };
    let rest = locked.wallet_refunded - explained;
    if unsettled > 0 || rest <= 0 {
        return Ok(None);
    }
    let amount = Money::new(rest, locked.order.amount.currency())
        .map_err(|_| LedgerError::Broken("the wallet's total is no amount".into()))?;
    let found = Found { request_no: None, amount, status: RecordStatus::Paid, record: None };
    keep(conn, locked, found, pace, now, now).await
}

async fn keep(
    conn: &mut Conn,
    locked: LockedOrder,
    found: Found,
    pace: Pace,
    look_again_at: Timestamp,
    now: Timestamp,
) -> Result<Option<Refund>, LedgerError> {
    let LockedOrder { order, mut paid_back, .. } = locked;
    let (amount, mut reserved) = (order.amount.value(), order.reserved.value());
    let state = match found.status {
        RecordStatus::Paid => RefundState::Succeeded,
        RecordStatus::Taken => RefundState::Processing,
        RecordStatus::Stuck => RefundState::Abnormal,
        RecordStatus::Closed => return Ok(None), // nothing moved, and its number is spent
    };
    if state == RefundState::Succeeded {
        paid_back += found.amount.value();
    } else if found.amount.value() > order.refundable().value() {
        // it can't be held beside what is held; until it ends nobody knows what is left
        conn.execute("UPDATE orders SET refunded_elsewhere = 1 WHERE id = $1", params![order.id]).await?;
        return Ok(None);
    } else {
        reserved += found.amount.value();
    }
    let fit = Fit::of(amount, reserved, order.fees.value(), paid_back);
    let refund = external(&order, &found, state, (paid_back > amount).then_some(AttentionReason::Overpaid), now);
    let (id, subject) = (refund.refund_id, format!("refund:{}", refund.refund_id));
    let mut batch = Batch::default();
    batch.add(
        "UPDATE orders SET reserved = $2, refunded = $3, fees = $4, paid_back = $5, refund_count = refund_count + 1, \
         frozen = CASE WHEN $5 > $3 THEN 1 ELSE frozen END, updated_at = $6, \
         pace_open_at = CASE WHEN pace_open_at < $7 THEN $7 ELSE pace_open_at END WHERE id = $1",
        params![order.id, reserved, fit.refunded, fit.fees, paid_back, now, later(now, pace.between)],
    );
    insert(&mut batch, &refund);
    let lines = refund.timeline.iter();
    let lines = lines.map(|line| EventLine { event: &line.event, by: &Actor::Wallet, note: line.note.as_deref() });
    add_events(&mut batch, id, &lines.collect::<Vec<_>>(), now);
    let detail = format!("{} of order {}", refund.amount, order.id);
    audit::put(&mut batch, &refund.merchant_id, &Actor::Wallet, "refund.found", &subject, Some(&detail), now);
    if !state.is_final() {
        jobs::put(&mut batch, &id.to_string(), look_again_at);
    }
    let mut types = vec![match state {
        RefundState::Processing => "refund.processing",
        RefundState::Abnormal => "refund.abnormal",
        _ => "refund.succeeded",
    }];
    types.extend(refund.attention.is_some().then_some("refund.attention"));
    webhooks::announce(&mut batch, &refund, &types, now)?;
    conn.run(batch).await?;
    Ok(Some(refund))
}

fn external(
    order: &Order,
    found: &Found,
    state: RefundState,
    overpaid: Option<AttentionReason>,
    now: Timestamp,
) -> Refund {
    let refund_id = RefundId::new();
    let attention = if state == RefundState::Abnormal { Some(AttentionReason::Abnormal) } else { overpaid };
    let line = |event: &str, note: Option<&str>| TimelineEntry {
        at: now,
        event: event.to_owned(),
        by: Actor::Wallet.to_string(),
        note: note.map(str::to_owned),
    };
    let mut timeline = vec![line("found", None), line(state.as_str(), None)];
    timeline.extend(attention.map(|reason| line("attention", Some(reason.as_str()))));
    let record = found.record.as_ref();
    Refund {
        refund_id,
        order_id: order.id,
        merchant_id: order.merchant_id.clone(),
        wallet: order.wallet,
        order_no: order.order_no.clone(),
        kind: RefundKind::Refund,
        origin: RefundOrigin::External,
        // Alipay's total names no number: ours stands in, which was never sent
        wallet_request_no: found.request_no.clone().unwrap_or_else(|| refund_id.wallet_request_no()),
        wallet_refund_id: record.and_then(|record| record.wallet_refund_id.clone()),
        amount: found.amount,
        fee: Money::zero(found.amount.currency()),
        state,
        reason: REASON.to_owned(),
        reason_text: String::new(),
        note: None,
        operator_id: None,
        approved_by: None,
        scan_id: None,
        replaces: None,
        not_before: None,
        sends: 0,
        fence: 0,
        last_sent_at: None,
        created_at: now,
        submitted_at: None,
        settled_at: state.is_final().then(|| record.and_then(|record| record.settled_at).unwrap_or(now)),
        failure: None,
        attention: attention.map(|reason| (reason, now)),
        metadata: None,
        notify_url: None,
        unconfirmed: None,
        timeline,
    }
}

fn insert(batch: &mut Batch, refund: &Refund) {
    batch.add(
        "INSERT INTO refunds (refund_id, order_id, merchant_id, wallet, order_no, kind, origin, wallet_request_no, \
         wallet_refund_id, amount, fee, currency, state, reason, reason_text, asked_by, created_at, settled_at, attention, \
         attention_since) \
         VALUES ($1,$2,$3,$4,$5,'refund','external',$6,$7,$8,0,$9,$10,$11,'','wallet',$12,$13,$14,$15)",
        params![
            refund.refund_id,
            refund.order_id,
            &refund.merchant_id,
            refund.wallet,
            &refund.order_no,
            &refund.wallet_request_no,
            refund.wallet_refund_id.as_ref(),
            refund.amount.value(),
            refund.amount.currency().to_string(),
            refund.state.as_str(),
            refund.reason.as_str(),
            refund.created_at,
            refund.settled_at,
            refund.attention.map(|(reason, _)| reason.as_str()),
            refund.attention.map(|(_, since)| since)
        ],
    );
}

/// Whether a total that the wallet named needs a look: it says more than was proved to be paid back.
pub(super) const fn unexplained(wallet_refunded: i64, paid_back: i64) -> bool {
    wallet_refunded > paid_back
}

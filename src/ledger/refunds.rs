//! Refunds: the intent that is durable before anything is sent, and the claim that counts each send.

use jiff::Timestamp;
use scanback_wallet::{Money, RefundId};
use uuid::Uuid;

use super::{
    Ledger, LedgerError, audit,
    db::{Batch, Conn, params},
    idempotency, jobs,
    sends::{ClaimedSend, Pace, claimed, later, turn_after},
    webhooks,
};
use crate::domain::{
    actor::Actor,
    idempotency::{Fingerprint, IdempotencyKey},
    order::Order,
    refund::{Refund, RefundKind, RefundOrigin, RefundState, TimelineEntry},
    view::RefundView,
};
use crate::mutants::{Mutant, on};

/// A refund to open: everything is decided, nothing is durable yet.
#[derive(Clone, Debug)]
pub struct NewRefund {
    /// The order as it was when the policy said yes.
    pub order: Order,
    /// What goes back.
    pub amount: Money,
    /// What the merchant keeps.
    pub fee: Money,
    /// Whether exactly what the order showed must be left: the caller named no amount, or named what it expects.
    pub exact: bool,
    /// The policy's code and the public text.
    pub reason: (String, String),
    /// Internal.
    pub note: Option<String>,
    /// The person who asks.
    pub operator_id: Option<scanback_wallet::OperatorId>,
    /// The scan that it uses up.
    pub scan_id: Option<Uuid>,
    /// The merchant's own data.
    pub metadata: Option<serde_json::Value>,
    /// Who asks.
    pub by: Actor,
    /// The request's key.
    pub key: KeyOfRequest,
    /// Refunds that the wallet takes of one order.
    pub max_refunds: Option<u32>,
    /// The wallet's pace.
    pub pace: Pace,
    /// Where the wallet shall notify.
    pub notify_url: Option<String>,
}

/// The Idempotency-Key that a refund is made under.
#[derive(Clone, Debug)]
pub struct KeyOfRequest {
    /// The key.
    pub key: IdempotencyKey,
    /// Of which request.
    pub fingerprint: Fingerprint,
    /// Until when its first answer is awaited.
    pub lease_until: Timestamp,
}

/// What became of a refund that was to be opened.
#[derive(Debug)]
pub enum Opened {
    /// The intent is durable.
    Committed(Box<CommittedIntent>),
    /// The order is no longer as it was: look and decide again.
    OrderChanged,
    /// Another request holds the key.
    KeyTaken,
    /// Another refund used the scan.
    ScanTaken,
}

/// A refund whose intent is durable. [`Ledger::open_refund`] is its only maker: code that calls a wallet first and
/// writes later does not compile.
#[derive(Debug)]
pub struct CommittedIntent {
    refund: Refund,
    send: Option<ClaimedSend>,
}

impl CommittedIntent {
    /// The refund.
    #[must_use]
    pub const fn refund(&self) -> &Refund {
        &self.refund
    }

    /// The right to send it now; `None` where it waits for its turn.
    #[must_use]
    pub fn into_parts(self) -> (Refund, Option<ClaimedSend>) {
        (self.refund, self.send)
    }
}

pub(super) fn add_event(batch: &mut Batch, id: RefundId, event: &str, by: &Actor, note: Option<&str>, now: Timestamp) {
    batch.add(
        "INSERT INTO refund_events (refund_id, at, event, by_whom, note) VALUES ($1, $2, $3, $4, $5)",
        params![id, now, event, by.to_string(), note],
    );
}

fn entry(at: Timestamp, event: &str, by: &Actor) -> TimelineEntry {
    TimelineEntry { at, event: event.to_owned(), by: by.to_string(), note: None }
}

/// The ceiling of contract §4 rule 1, and the order's turn, in one conditional write.
fn reserve_sql() -> &'static str {
    macro_rules! sql {
        ($turn:literal, $if:literal) => {
            concat!(
                "UPDATE orders SET reserved = reserved + $2, refund_count = refund_count + 1, updated_at = $5, \
                 pace_refund_id = CASE WHEN ",
                $turn,
                " THEN $6 ELSE pace_refund_id END, pace_open_at = CASE WHEN ",
                $turn,
                " THEN $7 ELSE pace_open_at END WHERE id = $1 AND payment = 'paid'",
                $if,
                " AND refund_count < $4 RETURNING pace_refund_id, pace_open_at"
            )
        };
    }
    if on(Mutant::NoReserve) {
        sql!("pace_open_at <= $5", "")
    } else if on(Mutant::NoPace) {
        sql!(
            "1 = 1",
            " AND frozen = 0 AND refunded + reserved + fees + $2 <= amount \
             AND ($3 < 0 OR amount - refunded - reserved - fees = $3)"
        )
    } else {
        sql!(
            "pace_open_at <= $5",
            " AND frozen = 0 AND refunded + reserved + fees + $2 <= amount \
             AND ($3 < 0 OR amount - refunded - reserved - fees = $3)"
        )
    }
}

async fn open(conn: &mut Conn, new: NewRefund, process: i64, now: Timestamp) -> Result<Opened, LedgerError> {
    let refund_id = RefundId::new();
    let order = &new.order;
    let held = new.amount.value() + new.fee.value();
    let expected = if new.exact { order.refundable().value() } else { -1 };
    // The ceiling of contract §4 rule 1, and the order's turn, in one conditional write. The first writer locks the row.
    let turn = conn
        .row(
            reserve_sql(),
            params![
                order.id,
                held,
                expected,
                new.max_refunds.map_or(i64::MAX, i64::from),
                now,
                refund_id,
                new.pace.closed_until(now)
            ],
        )
        .await?;
    let Some(turn) = turn else { return Ok(Opened::OrderChanged) };
    let goes_now = turn.opt_text("pace_refund_id")?.as_deref() == Some(refund_id.to_string().as_str());
    let not_before = if goes_now { None } else { Some(turn_after(turn.int("pace_open_at")?, new.pace, now)) };
    let lease_until = later(now, new.pace.send_lease);

    let refund = Refund {
        refund_id,
        order_id: order.id,
        merchant_id: order.merchant_id.clone(),
        wallet: order.wallet,
        order_no: order.order_no.clone(),
        kind: RefundKind::Refund,
        origin: RefundOrigin::Desk,
        wallet_request_no: refund_id.wallet_request_no(),
        wallet_refund_id: None,
        amount: new.amount,
        fee: new.fee,
        state: RefundState::Submitting,
        reason: new.reason.0,
        reason_text: new.reason.1,
        note: new.note,
        operator_id: new.operator_id,
        approved_by: None,
        scan_id: new.scan_id,
        replaces: None,
        not_before,
        sends: u32::from(goes_now),
        fence: i64::from(goes_now),
        last_sent_at: goes_now.then_some(now),
        created_at: now,
        submitted_at: goes_now.then_some(now),
        settled_at: None,
        failure: None,
        attention: None,
        metadata: new.metadata,
        notify_url: new.notify_url,
        unconfirmed: None,
        timeline: if goes_now {
            vec![entry(now, "created", &new.by), entry(now, "sent", &Actor::System)]
        } else {
            vec![entry(now, "created", &new.by)]
        },
    };
    let mut batch = Batch::default();
    insert(&mut batch, &refund, &new.by, if goes_now { lease_until.as_microsecond() } else { 0 });
    idempotency::insert(&mut batch, &refund, &new.key, now); // a key that is taken rolls everything back
    for line in &refund.timeline {
        let by = if line.event == "created" { &new.by } else { &Actor::System };
        add_event(&mut batch, refund_id, &line.event, by, None, now);
    }
    let subject = format!("refund:{refund_id}");
    let detail = format!("{} of order {}", refund.amount, order.id);
    audit::put(&mut batch, &refund.merchant_id, &new.by, "refund.created", &subject, Some(&detail), now);
    // whoever has the lease looks after it; should that process die, the job is due when the lease ends
    match not_before {
        _ if on(Mutant::JobLater) => {}
        Some(at) => jobs::put(&mut batch, &refund_id.to_string(), at),
        None => jobs::begin(&mut batch, &refund_id.to_string(), lease_until, process),
    }
    webhooks::announce(&mut batch, &refund, &["refund.created"], now)?;
    conn.run(batch).await?;
    if let Some(scan) = new.scan_id {
        let sql = "UPDATE scans SET used_by = $2 WHERE scan_id = $1 AND used_by IS NULL";
        if conn.execute(sql, params![scan, refund_id]).await? == 0 {
            return Err(LedgerError::Check(SCAN_TAKEN.into()));
        }
    }
    let send = goes_now.then(|| claimed(&refund, order, new.pace, now));
    Ok(Opened::Committed(Box::new(CommittedIntent { refund, send })))
}

/// Marks the rollback of a refund whose scan was used by another one meanwhile.
const SCAN_TAKEN: &str = "scan taken";

fn insert(batch: &mut Batch, refund: &Refund, by: &Actor, lease_until: i64) {
    batch.add(
        "INSERT INTO refunds (refund_id, order_id, merchant_id, wallet, order_no, kind, origin, wallet_request_no, amount, \
         fee, currency, state, reason, reason_text, note, operator_id, asked_by, scan_id, metadata, not_before, sends, \
         fence, lease_until, created_at, submitted_at, last_sent_at, notify_url) \
         VALUES ($1,$2,$3,$4,$5,'refund','desk',$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$23,$24)",
        params![
            refund.refund_id,
            refund.order_id,
            &refund.merchant_id,
            refund.wallet,
            &refund.order_no,
            &refund.wallet_request_no,
            refund.amount.value(),
            refund.fee.value(),
            refund.amount.currency().to_string(),
            refund.state.as_str(),
            refund.reason.as_str(),
            refund.reason_text.as_str(),
            refund.note.as_deref(),
            refund.operator_id.as_ref(),
            by.to_string(),
            refund.scan_id,
            refund.metadata.as_ref().map(ToString::to_string),
            refund.not_before,
            refund.sends,
            refund.fence,
            lease_until,
            refund.created_at,
            refund.submitted_at,
            refund.notify_url.as_deref()
        ],
    );
}

impl Ledger {
    /// Makes a refund durable: reservation, intent, timeline, audit row, key, scan, follow-up job and webhooks in one
    /// transaction. Where it is the order's turn the first send is counted in it too.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer; nothing is reserved then.
    pub async fn open_refund(&self, new: NewRefund, now: Timestamp) -> Result<Opened, LedgerError> {
        let process = self.process;
        let opened = self.db.write(move |conn| Box::pin(open(conn, new, process, now))).await;
        if on(Mutant::JobLater)
            && let Ok(Opened::Committed(intent)) = &opened
        {
            let mut batch = Batch::default();
            jobs::put(&mut batch, &intent.refund.refund_id.to_string(), now);
            self.db.write(move |conn| Box::pin(conn.run(batch))).await?;
        }
        match opened {
            Err(LedgerError::Duplicate) => Ok(Opened::KeyTaken),
            Err(LedgerError::Check(rule)) if rule == SCAN_TAKEN => Ok(Opened::ScanTaken),
            other => other,
        }
    }
}

/// The answer to a refund request, as it is given and kept: 201 when final, else 202, and the refund as JSON.
/// # Errors
/// [`LedgerError::Broken`] where it can't be written as JSON.
pub fn first_answer(refund: &Refund) -> Result<(u16, String), LedgerError> {
    let status = if refund.state.is_final() { 201 } else { 202 };
    let body =
        serde_json::to_string(&RefundView::from(refund)).map_err(|error| LedgerError::Broken(error.to_string()))?;
    Ok((status, body))
}

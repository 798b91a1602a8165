//! Refunds: the intent that is durable before anything is sent, and the claim that counts each send.

use jiff::Timestamp;
use scanback_wallet::{Money, RefundId};
use uuid::Uuid;

use super::{
    Ledger, LedgerError, audit,
    db::{Batch, Conn, Value, params},
    idempotency, jobs,
    refund_rows::{Known, OrderFacts, OrderMoney},
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

/// A line of a refund's story.
pub(super) struct EventLine<'l> {
    pub(super) event: &'l str,
    pub(super) by: &'l Actor,
    pub(super) note: Option<&'l str>,
}

/// Adds lines to a refund's story, in their order: one statement for up to three, since a batch promises no order.
pub(super) fn add_events(batch: &mut Batch, id: RefundId, lines: &[EventLine<'_>], now: Timestamp) {
    macro_rules! sql {
        ($more:literal) => {
            concat!(
                "INSERT INTO refund_events (refund_id, at, event, by_whom, note) VALUES ($1, $2, $3, $4, $5)",
                $more
            )
        };
    }
    debug_assert!(lines.len() <= 3, "no change writes more");
    for lines in lines.chunks(3) {
        let mut values = params![id, now];
        for line in lines {
            values.extend(params![line.event, line.by.to_string(), line.note]);
        }
        batch.add(
            match lines.len() {
                1 => sql!(""),
                2 => sql!(", ($1, $2, $6, $7, $8)"),
                _ => sql!(", ($1, $2, $6, $7, $8), ($1, $2, $9, $10, $11)"),
            },
            values,
        );
    }
}

fn entry(at: Timestamp, event: &str, by: &Actor) -> TimelineEntry {
    TimelineEntry { at, event: event.to_owned(), by: by.to_string(), note: None }
}

/// How the order's turn is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Only if it is open.
    Now,
    /// Now or later: the row says which.
    InTime,
}

/// The ceiling of contract §4 rule 1, and the order's turn, in one conditional write.
fn reserve_sql(turn: Turn) -> &'static str {
    macro_rules! sql {
        ($turn:literal, $if:literal) => {
            match turn {
                Turn::Now => sql!($turn, $if, " AND ", $turn),
                Turn::InTime => sql!($turn, $if, " RETURNING pace_refund_id, pace_open_at", ""),
            }
        };
        ($turn:literal, $if:literal, $end:literal, $more:literal) => {
            concat!(
                "UPDATE orders SET reserved = reserved + $2, refund_count = refund_count + 1, updated_at = $5, \
                 pace_refund_id = CASE WHEN ",
                $turn,
                " THEN $6 ELSE pace_refund_id END, pace_open_at = CASE WHEN ",
                $turn,
                " THEN $7 ELSE pace_open_at END WHERE id = $1 AND payment = 'paid'",
                $if,
                " AND refund_count < $4",
                $end,
                $more
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

/// What [`reserve_sql`] wants to know.
fn reservation(new: &NewRefund, id: RefundId, now: Timestamp) -> Vec<Value> {
    params![
        new.order.id,
        new.amount.value() + new.fee.value(),
        if new.exact { new.order.refundable().value() } else { -1 },
        new.max_refunds.map_or(i64::MAX, i64::from),
        now,
        id,
        new.pace.closed_until(now)
    ]
}

async fn open(conn: &mut Conn, new: NewRefund, process: i64, now: Timestamp) -> Result<Opened, LedgerError> {
    let refund_id = RefundId::new();
    // The ceiling of contract §4 rule 1, and the order's turn, in one conditional write. The first writer locks the row.
    let turn = conn.row(reserve_sql(Turn::InTime), reservation(&new, refund_id, now)).await?;
    let Some(turn) = turn else { return Ok(Opened::OrderChanged) };
    let goes_now = turn.opt_text("pace_refund_id")?.as_deref() == Some(refund_id.to_string().as_str());
    let not_before = if goes_now { None } else { Some(turn_after(turn.int("pace_open_at")?, new.pace, now)) };
    let mut batch = Batch::default();
    let intent = intend(&mut batch, &new, refund_id, not_before, process, now)?;
    conn.run(batch).await?;
    Ok(Opened::Committed(Box::new(intent)))
}

/// The intent, the key, the story, the audit row, the job and the webhooks of a refund whose money is reserved.
fn intend(
    batch: &mut Batch,
    new: &NewRefund,
    refund_id: RefundId,
    not_before: Option<Timestamp>,
    process: i64,
    now: Timestamp,
) -> Result<CommittedIntent, LedgerError> {
    let (order, goes_now) = (&new.order, not_before.is_none());
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
        reason: new.reason.0.clone(),
        reason_text: new.reason.1.clone(),
        note: new.note.clone(),
        operator_id: new.operator_id.clone(),
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
        metadata: new.metadata.clone(),
        notify_url: new.notify_url.clone(),
        unconfirmed: None,
        timeline: if goes_now {
            vec![entry(now, "created", &new.by), entry(now, "sent", &Actor::System)]
        } else {
            vec![entry(now, "created", &new.by)]
        },
    };
    insert(batch, &refund, &new.by, if goes_now { lease_until.as_microsecond() } else { 0 });
    if let Some(scan) = new.scan_id {
        batch.must("UPDATE scans SET used_by = $2 WHERE scan_id = $1 AND used_by IS NULL", params![scan, refund_id]);
    }
    idempotency::insert(batch, &refund, &new.key, now); // a key that is taken rolls everything back
    let created = EventLine { event: "created", by: &new.by, note: None };
    let sent = EventLine { event: "sent", by: &Actor::System, note: None };
    add_events(batch, refund_id, &[created, sent][..refund.timeline.len()], now);
    let subject = format!("refund:{refund_id}");
    let detail = format!("{} of order {}", refund.amount, order.id);
    audit::put(batch, &refund.merchant_id, &new.by, "refund.created", &subject, Some(&detail), now);
    // whoever has the lease looks after it; should that process die, the job is due when the lease ends
    match not_before {
        _ if on(Mutant::JobLater) => {}
        Some(at) => jobs::put(batch, &refund_id.to_string(), at),
        None => jobs::begin(batch, &refund_id.to_string(), lease_until, process),
    }
    webhooks::announce(batch, &refund, &["refund.created"], now)?;
    let send = goes_now.then(|| {
        let held = new.amount.value() + new.fee.value();
        let order_now = OrderMoney {
            amount: order.amount.value(),
            reserved: order.reserved.value() + held,
            fees: order.fees.value(),
            paid_back: order.refunded.value() + order.overpaid.value(),
        };
        let facts = OrderFacts { transaction_id: order.transaction_id.clone(), total: order.amount };
        let known = Known { refund: refund.clone(), revision: 0, order: order_now, facts };
        claimed(&refund, order, new.pace, now).with(known)
    });
    Ok(CommittedIntent { refund, send })
}

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
        let opened = self.open_now_or_later(new, now).await;
        if on(Mutant::JobLater)
            && let Ok(Opened::Committed(intent)) = &opened
        {
            let mut batch = Batch::default();
            jobs::put(&mut batch, &intent.refund.refund_id.to_string(), now);
            self.db.run(batch).await?;
        }
        match opened {
            Err(LedgerError::Duplicate) => Ok(Opened::KeyTaken),
            // the longer way reads everything else
            Err(LedgerError::Stale) => Ok(Opened::ScanTaken),
            other => other,
        }
    }

    async fn open_now_or_later(&self, new: NewRefund, now: Timestamp) -> Result<Opened, LedgerError> {
        let process = self.process;
        // With nothing open the order's turn should be, and all can be written at once. Where it isn't so, or anything else is in
        // the way, the longer way says what.
        if new.order.reserved.is_zero() {
            let (refund_id, mut batch) = (RefundId::new(), Batch::default());
            batch.must(reserve_sql(Turn::Now), reservation(&new, refund_id, now));
            let intent = intend(&mut batch, &new, refund_id, None, process, now)?;
            match self.db.run(batch).await {
                Ok(()) => return Ok(Opened::Committed(Box::new(intent))),
                Err(LedgerError::Stale) => {}
                Err(error) => return Err(error),
            }
        }
        self.db.write(move |conn| Box::pin(open(conn, new, process, now))).await
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

//! The right to send: whose turn it is in the wallet's pace, and the claim that counts each send before it is made.

use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{RefundCall, RefundId};

use super::{
    Ledger, LedgerError,
    db::{Batch, Conn, params},
    jobs, orders,
    refund_rows::{Known, Locked, lock},
    refunds::{EventLine, add_events},
};
use crate::domain::{
    actor::Actor,
    order::Order,
    refund::{Refund, RefundState},
};
use crate::mutants::{Mutant, on};

/// How fast different refunds of one order may follow each other, at the scaled time (contract §4 rule 8).
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From the answer to one to the sending of the next, a tenth included.
    pub between: SignedDuration,
    /// Whether the next waits while the one before is unknown.
    pub waits_while_unknown: bool,
    /// How long a send may be under way before another process may look after it.
    pub send_lease: SignedDuration,
    /// How late after its claim a send may begin: it must be over within the lease, since the turn passes on after that.
    pub send_within: SignedDuration,
}

impl Pace {
    /// When the next different refund may go if a send begins now and nobody hears of it.
    pub(super) fn closed_until(self, now: Timestamp) -> i64 {
        if self.waits_while_unknown {
            return i64::MAX;
        }
        later(now, self.send_lease + self.between).as_microsecond()
    }
}

/// `now` and a while; saturates at the end of time.
pub(super) fn later(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// The right to send a refund once. The send is counted in the ledger already; what comes of it can be recorded only
/// while no newer claim exists.
#[derive(Debug)]
pub struct ClaimedSend {
    refund_id: RefundId,
    fence: i64,
    sends: u32,
    pace_kept: bool,
    send_by: Timestamp,
    call: RefundCall,
    known: Option<Known>,
}

impl ClaimedSend {
    /// Which refund.
    #[must_use]
    pub const fn refund_id(&self) -> RefundId {
        self.refund_id
    }

    /// Number of this claim.
    #[must_use]
    pub const fn fence(&self) -> i64 {
        self.fence
    }

    /// How often the number was sent, this time included.
    #[must_use]
    pub const fn sends(&self) -> u32 {
        self.sends
    }

    /// Whether the ledger proves that the wallet's pace was kept: it does unless refunds were made elsewhere.
    #[must_use]
    pub const fn pace_kept(&self) -> bool {
        self.pace_kept
    }

    /// After this moment the claim no longer allows the send: the turn of another refund of the order may have begun. A process
    /// that slept over its commit finds out here.
    #[must_use]
    pub const fn send_by(&self) -> Timestamp {
        self.send_by
    }

    /// What to send.
    #[must_use]
    pub const fn call(&self) -> &RefundCall {
        &self.call
    }

    /// The refund as it was when the send was counted, if its claim made it.
    pub fn take_known(&mut self) -> Option<Known> {
        self.known.take()
    }

    pub(super) fn with(self, known: Known) -> Self {
        Self { known: Some(known), ..self }
    }
}

/// What became of a wish to send a refund.
#[derive(Debug)]
pub enum SendTurn {
    /// Go.
    Granted(Box<ClaimedSend>),
    /// Not before this moment.
    NotBefore(Timestamp),
    /// Nothing to send: it is past that, or somebody else sends it.
    NotNow,
}

pub(super) fn claimed(refund: &Refund, order: &Order, pace: Pace, now: Timestamp) -> ClaimedSend {
    ClaimedSend {
        refund_id: refund.refund_id,
        fence: refund.fence,
        sends: refund.sends,
        pace_kept: !order.refunded_elsewhere,
        send_by: later(now, pace.send_within),
        call: called(refund, order),
        known: None,
    }
}

fn called(refund: &Refund, order: &Order) -> RefundCall {
    let call = call(refund, order);
    if on(Mutant::NewNumber) && refund.sends > 1 {
        return RefundCall { request_no: scanback_wallet::RefundId::new().wallet_request_no(), ..call };
    }
    call
}

/// The call of a refund, from the ledger alone: a repeat is the same byte for byte.
pub(super) fn call(refund: &Refund, order: &Order) -> RefundCall {
    RefundCall {
        order: order.reference(),
        request_no: refund.wallet_request_no.clone(),
        amount: refund.amount,
        total: order.amount,
        reason: refund.reason_text.clone(),
        notify_url: refund.notify_url.clone(),
        goods: Vec::new(), // refunds don't name goods yet
    }
}

/// When to look again for the turn of a refund that waits: when the turn opens, but after one pace at the latest, since the
/// answer to the one before may open it sooner, and nobody can say when an unknown one ends.
pub(super) fn turn_after(open_at: i64, pace: Pace, now: Timestamp) -> Timestamp {
    let soon = later(now, pace.between);
    Timestamp::from_microsecond(open_at).map_or(soon, |open_at| if open_at > now { open_at.min(soon) } else { soon })
}

async fn claim(
    conn: &mut Conn,
    id: RefundId,
    pace: Pace,
    process: i64,
    now: Timestamp,
) -> Result<SendTurn, LedgerError> {
    let Some(Locked { known, lease_until, .. }) = lock(conn, id).await? else { return Ok(SendTurn::NotNow) };
    let mut refund = known.refund;
    if refund.state != RefundState::Submitting || lease_until > now.as_microsecond() {
        return Ok(SendTurn::NotNow);
    }
    // The same number again is exempt from the pace while it is the last that was sent. What was never sent waits where a
    // person must look at the order first.
    let took_turn = conn
        .execute(
            "UPDATE orders SET pace_refund_id = $2, pace_open_at = $4 WHERE id = $1 AND (frozen = 0 OR $5 > 0) \
             AND (pace_refund_id = $2 OR pace_open_at <= $3)",
            params![refund.order_id, id, now, pace.closed_until(now), refund.sends],
        )
        .await?;
    let Some(order) = orders::by_id(conn, refund.order_id).await? else { return Ok(SendTurn::NotNow) };
    if took_turn == 0 && !on(Mutant::NoPace) {
        let sql = "SELECT pace_open_at FROM orders WHERE id = $1";
        let open_at = conn.row(sql, params![refund.order_id]).await?.map_or(Ok(0), |row| row.int("pace_open_at"))?;
        let not_before = turn_after(open_at, pace, now);
        let sql = "UPDATE refunds SET not_before = $2, revision = revision + 1 WHERE refund_id = $1";
        conn.execute(sql, params![id, not_before]).await?;
        return Ok(SendTurn::NotBefore(not_before));
    }
    refund.sends += u32::from(refund.sends == 0 || !on(Mutant::SendUncounted));
    refund.fence += 1;
    let lease_until = later(now, pace.send_lease);
    let mut batch = Batch::default();
    batch.add(
        "UPDATE refunds SET sends = $2, fence = $3, lease_until = $4, submitted_at = COALESCE(submitted_at, $5), \
         last_sent_at = $5, not_before = NULL, refused_code = NULL, refused_detail = NULL, refused_proof = NULL, \
         revision = revision + 1 WHERE refund_id = $1",
        params![id, refund.sends, refund.fence, lease_until, now],
    );
    let event = if refund.sends == 1 { "sent" } else { "sent_again" };
    add_events(&mut batch, id, &[EventLine { event, by: &Actor::System, note: None }], now);
    jobs::begin(&mut batch, &id.to_string(), lease_until, process);
    conn.run(batch).await?;
    Ok(SendTurn::Granted(Box::new(claimed(&refund, &order, pace, now))))
}

impl Ledger {
    /// Asks for the right to send a refund, for the first time or again under the same number.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn claim_send(&self, id: RefundId, pace: Pace, now: Timestamp) -> Result<SendTurn, LedgerError> {
        let process = self.process;
        self.db.write(move |conn| Box::pin(claim(conn, id, pace, process, now))).await
    }
}

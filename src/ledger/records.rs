//! What was learnt of a refund, written down: state, money, timeline, audit, job, webhooks and first answer in one
//! transaction. All news takes this one way: answers to sends, queries and notifications.
//!
//! Who has the refund as it was read a moment ago has it decided by that, and written where nobody changed it since; else it is read
//! again with its rows locked.

use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{Doubt, Hold, HoldReason, RecordStatus, RefundId, RefundRecord, Rejection};

use super::{
    Ledger, LedgerError, audit,
    db::{Batch, Conn, params},
    external, idempotency, jobs,
    record_rows::{AsItWas, write_job, write_money, write_refund},
    refund_rows::{Known, Locked, OrderMoney, lock_with_timeline},
    refunds::{self, EventLine},
    sends::{Pace, later},
    webhooks,
};
use crate::domain::{
    actor::Actor,
    idempotency::IdempotencyKey,
    order::Fit,
    refund::{AttentionReason, Failure, Refund, RefundEvent, RefundState, SoleRefusal, TimelineEntry},
};
use crate::mutants::{Mutant, on};

/// What was learnt.
#[derive(Clone, Debug)]
pub enum News {
    /// The wallet's own record of this number.
    Record(RefundRecord),
    /// The refusal of the first and only send.
    Refused(SoleRefusal, Failure),
    /// Nothing moved; the same number later.
    Held(Hold),
    /// A refusal of the only send that a query must still confirm, and could not be confirmed yet.
    Unconfirmed(Rejection, Doubt),
    /// No proof either way, or the wallet doesn't know the number.
    Nothing(Option<Doubt>),
    /// A bank sent the money of a paid refund back to the payer's balance.
    Bounced,
}

/// What to write down, and about what.
#[derive(Clone, Debug)]
pub struct RecordRequest {
    /// Which refund.
    pub refund_id: RefundId,
    /// What was learnt.
    pub news: News,
    /// From whom.
    pub by: Actor,
    /// The claim under which it was learnt; `None` for what is true whoever says it: a verified notification, a query.
    pub fence: Option<i64>,
    /// When to look again, if it isn't final.
    pub look_again_at: Timestamp,
    /// The wallet's pace.
    pub pace: Pace,
    /// When a person is told.
    pub patience: Patience,
    /// The key whose first answer this is, if it is one.
    pub answers: Option<IdempotencyKey>,
}

/// How long a refund may stay unknown before a person is told.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From its first send.
    pub unknown_for: SignedDuration,
    /// The end of the time in which the wallet takes refunds of the order, where that is known.
    pub window_ends: Option<Timestamp>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// Written, or nothing to write.
    Now {
        /// Whether other refunds of its order are open: the turn of one of them may have come.
        others_wait: bool,
        /// What was kept as the first answer to its request, where it was asked to be.
        first_answer: Option<(u16, String)>,
    },
    /// A newer claim exists: nothing was written.
    Superseded,
}

impl Recorded {
    /// What was kept as the first answer, if this was it.
    #[must_use]
    pub fn into_first_answer(self) -> Option<(u16, String)> {
        match self {
            Self::Now { first_answer, .. } => first_answer,
            Self::Superseded => None,
        }
    }

    /// Whether the turn of another refund of the order may have come.
    #[must_use]
    pub const fn others_wait(&self) -> bool {
        matches!(self, Self::Now { others_wait: true, .. })
    }
}

impl Ledger {
    /// Writes news of a refund down. `known`: the refund as it was read, by whoever has it.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer: the job stays and asks again.
    pub async fn record(
        &self,
        request: &RecordRequest,
        known: Option<Known>,
        now: Timestamp,
    ) -> Result<Recorded, LedgerError> {
        if let Some(known) = known
            && !superseded(&known.refund, request)
        {
            let mut decided = decide(known, request, Basis::Read, now)?;
            if decided.stands_alone(request) {
                match self.db.run(std::mem::take(&mut decided.batch)).await {
                    Ok(()) => {
                        let Decided { after, others_wait, first_answer, .. } = decided;
                        if after.refund.state == RefundState::Processing {
                            self.recent.keep(after); // its end is told of by a notification, if all goes well
                        }
                        return Ok(Recorded::Now { others_wait, first_answer });
                    }
                    Err(LedgerError::Stale) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let request = request.clone();
        self.db.write(move |conn| Box::pin(record(conn, request, now))).await
    }
}

async fn record(conn: &mut Conn, request: RecordRequest, now: Timestamp) -> Result<Recorded, LedgerError> {
    let id = request.refund_id;
    let Some(Locked { known, wallet_refunded, .. }) = lock_with_timeline(conn, id).await? else {
        return Err(LedgerError::Broken(format!("refund {id} is gone")));
    };
    if superseded(&known.refund, &request) {
        return Ok(Recorded::Superseded);
    }
    let paid_back = known.order.paid_back;
    let Decided { batch, after, moved, others_wait, first_answer } = decide(known, &request, Basis::Locked, now)?;
    conn.run(batch).await?;
    look_for_others(conn, &request, &after.refund, wallet_refunded, moved.unwrap_or(paid_back), now).await?;
    Ok(Recorded::Now { others_wait, first_answer })
}

/// Whether a newer claim exists than the one under which this was learnt.
fn superseded(refund: &Refund, request: &RecordRequest) -> bool {
    request.fence.is_some_and(|fence| fence != refund.fence) && !on(Mutant::NoFence)
}

/// What a decision stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// The rows are locked.
    Locked,
    /// They were read before: what is written says that nobody changed them since.
    Read,
}

/// What news makes of a refund, not yet written.
struct Decided {
    batch: Batch,
    /// As it then stands, but for how long one that is held waits.
    after: Known,
    /// What the wallet paid back of the order by now, where that moved.
    moved: Option<i64>,
    others_wait: bool,
    first_answer: Option<(u16, String)>,
}

impl Decided {
    /// Whether the wallet's total of the order needs no look once the refund is final: what is written asks that of what the ledger
    /// holds, this of what the news names.
    fn stands_alone(&self, request: &RecordRequest) -> bool {
        !self.after.refund.state.is_final()
            || self.moved.is_some_and(|paid_back| !external::unexplained(total_named(&request.news), paid_back))
    }
}

fn decide(known: Known, request: &RecordRequest, basis: Basis, now: Timestamp) -> Result<Decided, LedgerError> {
    let Known { mut refund, revision, order, facts } = known;
    let nothing;
    // once a query or a notification has shown it, a refusal of the send proves nothing (contract §4 rule 5)
    let request = match request.news {
        News::Refused(..) | News::Unconfirmed(..) if refund.state != RefundState::Submitting => {
            nothing = RecordRequest { news: News::Nothing(None), ..request.clone() };
            &nothing
        }
        _ => request,
    };
    let event = match &request.news {
        News::Record(record) => RefundEvent::Recorded(record.status),
        News::Refused(proof, _) => RefundEvent::Refused(*proof),
        News::Held(_) | News::Unconfirmed(..) | News::Nothing(_) | News::Bounced => RefundEvent::NothingLearnt,
    };
    let before = refund.state;
    let held = if before.holds_reservation() { refund.amount.value() + refund.fee.value() } else { 0 };
    let after = before.on(event).map_err(|error| LedgerError::Broken(error.to_string()))?;

    let learnt = !matches!(request.news, News::Nothing(_) | News::Unconfirmed(..) | News::Bounced);
    let attention_before = refund.attention;
    let as_it_was = AsItWas { revision, fence: refund.fence, state: before };
    apply(&mut refund, request, after, now);
    let moved = moved(&refund, order, before, &request.news);
    if after == RefundState::Succeeded && moved.is_some_and(|moved| moved.paid_back > order.amount) {
        refund.attention = Some((AttentionReason::Overpaid, now));
    }
    let mut batch = Batch::default();
    write_refund(&mut batch, &refund, request, as_it_was);
    // the answer to this refund is there: the next different one of the order may go after the pace
    let turn = (before == RefundState::Submitting && (learnt || !request.pace.waits_while_unknown))
        .then(|| later(now, request.pace.between));
    match moved {
        Some(moved) => {
            // where the rows are locked the wallet's total is looked at afterwards
            let most_named = if basis == Basis::Read && after.is_final() { moved.paid_back } else { i64::MAX };
            write_money(&mut batch, &refund, (order, moved), turn, most_named, now);
        }
        None => {
            if let Some(at) = turn {
                let sql = "UPDATE orders SET pace_open_at = $3 WHERE id = $1 AND pace_refund_id = $2";
                batch.add(sql, params![refund.order_id, refund.refund_id, at]);
            }
        }
    }
    if let Some(at) = turn {
        jobs::wake_next(&mut batch, &refund, at);
    }
    if on(Mutant::EarlyRelease) && before == RefundState::Submitting && matches!(request.news, News::Nothing(Some(_))) {
        let release = "UPDATE orders SET reserved = reserved - $2 WHERE id = $1 AND reserved >= $2";
        batch.add(release, params![refund.order_id, refund.amount.value()]);
    }
    write_job(&mut batch, &refund, request, now);
    let attention = refund.attention.filter(|attention| attention_before != Some(*attention));
    tell(&mut batch, &mut refund, before, attention.map(|(reason, _)| reason), request, now)?;
    let keys = request.answers.as_ref();
    let first_answer = keys.map(|key| idempotency::store_answer(&mut batch, &refund, key)).transpose()?;
    let others_wait = order.reserved > held;
    let order = moved.map_or(order, |Moved { reserved, fit, paid_back, .. }| OrderMoney {
        reserved,
        fees: fit.fees,
        paid_back,
        ..order
    });
    let after = Known { refund, revision: revision + 1, order, facts };
    Ok(Decided { batch, after, moved: moved.map(|moved| moved.paid_back), others_wait, first_answer })
}

/// What the wallet says to have refunded of the order in all, where the news names it.
fn total_named(news: &News) -> i64 {
    match news {
        News::Record(record) => record.order_refunded.map_or(0, |total| total.value()),
        _ => 0,
    }
}

/// The wallet's total of the order may say more than is known here: then a refund was made elsewhere (contract §4 rule 9).
async fn look_for_others(
    conn: &mut Conn,
    request: &RecordRequest,
    refund: &Refund,
    wallet_refunded: i64,
    paid_back: i64,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let total = wallet_refunded.max(total_named(&request.news));
    if !refund.state.is_final() || !external::unexplained(total, paid_back) {
        return Ok(());
    }
    external::note(conn, refund.order_id, total).await?;
    external::conclude(conn, refund.order_id, request.pace, now).await.map(|_| ())
}

/// The refund's own fields.
fn apply(refund: &mut Refund, request: &RecordRequest, after: RefundState, now: Timestamp) {
    let (before, news) = (refund.state, &request.news);
    refund.state = after;
    if before == after && before.is_final() {
        // stale or repeated news changes nothing; that the money came back does, for people
        if before == RefundState::Succeeded && matches!(news, News::Bounced) {
            let since = refund.attention.filter(|(reason, _)| *reason == AttentionReason::Bounced);
            refund.attention = since.or(Some((AttentionReason::Bounced, now)));
        }
        return;
    }
    match news {
        News::Record(record) => {
            refund.wallet_refund_id = record.wallet_refund_id.clone().or_else(|| refund.wallet_refund_id.take());
            match record.status {
                RecordStatus::Paid => {
                    // the wallets say it in whole seconds: never before we asked
                    refund.settled_at = Some(record.settled_at.unwrap_or(now)).max(refund.submitted_at);
                    refund.failure = None;
                    refund.attention = None;
                }
                RecordStatus::Closed => {
                    refund.settled_at = Some(now);
                    refund.failure = Some(Failure {
                        code: "closed_by_wallet".into(),
                        detail: "the wallet closed the refund without paying it; its number is spent".into(),
                    });
                    refund.attention = Some((AttentionReason::ClosedByWallet, now));
                }
                RecordStatus::Stuck => {
                    let since = refund.attention.filter(|(reason, _)| *reason == AttentionReason::Abnormal);
                    refund.attention = since.or(Some((AttentionReason::Abnormal, now)));
                }
                RecordStatus::Taken => refund.attention = None,
            }
        }
        News::Refused(_, failure) => {
            refund.settled_at = Some(now);
            refund.failure = Some(failure.clone());
            refund.attention = None;
        }
        News::Held(hold) => {
            if hold.reason == HoldReason::MerchantBalanceLow && refund.attention.is_none() {
                refund.attention = Some((AttentionReason::MerchantBalanceLow, now));
            }
        }
        News::Nothing(_) | News::Unconfirmed(..) => {
            let Patience { unknown_for, window_ends } = request.patience;
            let waited = now.duration_since(refund.submitted_at.unwrap_or(now));
            let reason = refund.attention.map(|(reason, _)| reason);
            if before != RefundState::Submitting {
                // the wallet has it; that it can't be asked for a while is no news of the refund
            } else if window_ends.is_some_and(|ends| now > ends) && reason != Some(AttentionReason::WindowOver) {
                refund.attention = Some((AttentionReason::WindowOver, now));
            } else if reason.is_none() && waited > unknown_for {
                refund.attention = Some((AttentionReason::UnknownTooLong, now));
            }
        }
        News::Bounced => {}
    }
    if let News::Unconfirmed(rejection, _) = news {
        refund.unconfirmed = Some(rejection.clone());
    }
    if after.is_final() {
        refund.not_before = None;
    }
}

/// The order's money after news of a refund.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub(super) reserved: i64,
    pub(super) fit: Fit,
    /// What the wallet paid back of the order in all.
    pub(super) paid_back: i64,
    /// 1 where the refund doesn't count against the wallet's number of refunds any more.
    pub(super) not_taken: i64,
}

/// Ends the reservation where the state does: `refunded = min(paid_back, amount − reserved − fees)`, fees give way first
/// (contract §4 rule 1).
fn moved(refund: &Refund, order: OrderMoney, before: RefundState, news: &News) -> Option<Moved> {
    let after = refund.state;
    let again = on(Mutant::NewsTwice) && after == RefundState::Succeeded && matches!(news, News::Record(_));
    if (before == after && !again) || (before.holds_reservation() && after.holds_reservation()) {
        return None;
    }
    let OrderMoney { amount, mut reserved, mut fees, mut paid_back } = order;
    if before.holds_reservation() {
        reserved -= refund.amount.value() + refund.fee.value();
    }
    if after == RefundState::Succeeded {
        paid_back += refund.amount.value();
        fees += refund.fee.value();
    }
    let fit = Fit::of(amount, reserved, fees, paid_back);
    // a refusal was never one of the wallet's refunds of this order
    let not_taken = i64::from(matches!(news, News::Refused(..)));
    Some(Moved { reserved, fit, paid_back, not_taken })
}

/// Timeline, audit and webhooks. What says nothing new leaves no line: a refund asked after for days stays readable.
fn tell(
    batch: &mut Batch,
    refund: &mut Refund,
    before: RefundState,
    attention: Option<AttentionReason>,
    request: &RecordRequest,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let (id, changed) = (refund.refund_id, before != refund.state);
    let subject = format!("refund:{id}");
    let mut lines = Vec::new();
    match &request.news {
        _ if changed => {
            let code = refund.failure.as_ref().map(|failure| failure.code.clone());
            audit::put(
                batch,
                &refund.merchant_id,
                &request.by,
                &format!("refund.{}", refund.state),
                &subject,
                code.as_deref(),
                now,
            );
            lines.push((refund.state.as_str(), &request.by, code));
        }
        // what comes late to a final state is kept for whoever looks into it, and is no line of the refund's story
        News::Record(_) | News::Held(_) | News::Unconfirmed(..) | News::Nothing(Some(_)) if before.is_final() => {
            audit::put(batch, &refund.merchant_id, &request.by, "refund.news_repeated", &subject, None, now);
        }
        News::Bounced => {
            lines.push(("bounced", &request.by, None));
            audit::put(batch, &refund.merchant_id, &request.by, "refund.bounced", &subject, None, now);
        }
        News::Held(hold) => lines.push(("held", &request.by, Some(hold.detail.clone()))),
        News::Unconfirmed(rejection, doubt) => {
            let note = format!("{}, not confirmed: {}", rejection.code, doubt.kind);
            lines.push(("unknown", &request.by, Some(note)));
        }
        News::Nothing(Some(doubt)) if request.fence.is_some() => {
            lines.push(("unknown", &request.by, Some(doubt.kind.to_string())));
        }
        News::Record(_) | News::Refused(..) | News::Nothing(_) => {}
    }
    if let Some(reason) = attention {
        lines.push(("attention", &Actor::System, Some(reason.as_str().to_owned())));
    }
    let written: Vec<_> =
        lines.iter().map(|(event, by, note)| EventLine { event, by, note: note.as_deref() }).collect();
    refunds::add_events(batch, id, &written, now);
    for (event, by, note) in lines {
        refund.timeline.push(TimelineEntry { at: now, event: event.to_owned(), by: by.to_string(), note });
    }
    let mut types = Vec::new();
    match refund.state {
        RefundState::Processing if changed => types.push("refund.processing"),
        RefundState::Succeeded if changed => types.push("refund.succeeded"),
        RefundState::Failed if changed => types.push("refund.failed"),
        RefundState::Abnormal if changed => types.push("refund.abnormal"),
        RefundState::Declined if changed => types.push("refund.declined"),
        RefundState::Cancelled if changed => types.push("refund.cancelled"),
        _ => {}
    }
    if attention.is_some() {
        types.push("refund.attention");
    }
    webhooks::announce(batch, refund, &types, now)
}

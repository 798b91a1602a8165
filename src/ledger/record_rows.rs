//! What a record of news changes: the refund's row, its order's money and its job. Rows that were read are written where they are as they
//! were read.

use jiff::Timestamp;
use scanback_wallet::Proof;

use super::{
    db::{Batch, params},
    jobs,
    records::{Moved, News, RecordRequest},
    refund_rows::OrderMoney,
};
use crate::domain::refund::{Refund, RefundState};

/// Writes the order's money where it is as it was read, and the wallet named no more than `most_named`.
pub(super) fn write_money(
    batch: &mut Batch,
    refund: &Refund,
    (was, moved): (OrderMoney, Moved),
    turn: Option<Timestamp>,
    most_named: i64,
    now: Timestamp,
) {
    batch.must(
        "UPDATE orders SET reserved = $2, refunded = $3, fees = $4, paid_back = $5, refund_count = refund_count - $6, \
         frozen = CASE WHEN $5 > $3 THEN 1 WHEN paid_back > refunded THEN 0 ELSE frozen END, updated_at = $7, \
         pace_open_at = CASE WHEN pace_refund_id = $8 AND $9 >= 0 THEN $9 ELSE pace_open_at END \
         WHERE id = $1 AND reserved = $10 AND fees = $11 AND paid_back = $12 AND wallet_refunded <= $13",
        params![
            refund.order_id,
            moved.reserved,
            moved.fit.refunded,
            moved.fit.fees,
            moved.paid_back,
            moved.not_taken,
            now,
            refund.refund_id,
            turn.map_or(-1, Timestamp::as_microsecond),
            was.reserved,
            was.fees,
            was.paid_back,
            most_named
        ],
    );
}

/// By what a refund's row is known to be the one that was read.
pub(super) struct AsItWas {
    pub(super) revision: i64,
    // a process of the version before, beside this one in a rolling upgrade, doesn't count revisions
    pub(super) fence: i64,
    pub(super) state: RefundState,
}

pub(super) fn write_refund(batch: &mut Batch, refund: &Refund, request: &RecordRequest, was: AsItWas) {
    let held = matches!(request.news, News::Held(_)) && !refund.state.is_final();
    let not_before = if held { Some(request.look_again_at) } else { refund.not_before };
    batch.must(
        "UPDATE refunds SET state = $2, wallet_refund_id = $3, settled_at = $4, failure_code = $5, failure_detail = $6, \
         attention = $7, attention_since = $8, not_before = $9, \
         lease_until = CASE WHEN $10 = 1 THEN 0 ELSE lease_until END, \
         refused_code = $11, refused_detail = $12, refused_proof = $13, revision = revision + 1 \
         WHERE refund_id = $1 AND revision = $14 AND fence = $15 AND state = $16",
        params![
            refund.refund_id,
            refund.state.as_str(),
            refund.wallet_refund_id.as_ref(),
            refund.settled_at,
            refund.failure.as_ref().map(|failure| failure.code.as_str()),
            refund.failure.as_ref().map(|failure| failure.detail.as_str()),
            refund.attention.map(|(reason, _)| reason.as_str()),
            refund.attention.map(|(_, since)| since),
            not_before,
            // what a query did not learn says nothing about a send that is under way
            request.fence.is_some() || refund.state != RefundState::Submitting,
            refund.unconfirmed.as_ref().map(|rejection| rejection.code.as_str()),
            refund.unconfirmed.as_ref().map(|rejection| rejection.detail.as_str()),
            refund.unconfirmed.as_ref().and_then(|rejection| match rejection.proof {
                Proof::Answer => None,
                Proof::AnswerAndAbsence => Some("absence"),
                Proof::AnswerAbsenceAndPace => Some("absence_and_pace"),
            }),
            was.revision,
            was.fence,
            was.state.as_str()
        ],
    );
}

pub(super) fn write_job(batch: &mut Batch, refund: &Refund, request: &RecordRequest, now: Timestamp) {
    let key = refund.refund_id.to_string();
    if refund.state.is_final() {
        jobs::done(batch, &key);
    } else {
        jobs::put(batch, &key, request.look_again_at.max(now));
    }
}

//! Refunds as rows: how they are read, and locked with the money of their order.

use scanback_wallet::{Currency, Money, Proof, RefundId, Rejection, TransactionId};

use super::{
    LedgerError,
    db::{Conn, Row, params, unreadable},
};
use crate::domain::refund::{AttentionReason, Failure, Refund, RefundKind, RefundOrigin, TimelineEntry};

/// The columns of a refund, as [`read`] wants them.
macro_rules! columns {
    () => {
        "refund_id, order_id, merchant_id, wallet, order_no, kind, origin, wallet_request_no, wallet_refund_id, amount, \
         fee, currency, state, reason, reason_text, note, operator_id, approved_by, scan_id, replaces, metadata, \
         not_before, sends, fence, lease_until, last_sent_at, created_at, submitted_at, settled_at, failure_code, \
         failure_detail, attention, attention_since, notify_url, refused_code, refused_detail, refused_proof"
    };
}
pub(super) use columns;

/// The refusal that waits for its confirmation, if there is one.
fn unconfirmed(row: &Row) -> Result<Option<Rejection>, LedgerError> {
    let proof = match row.opt_text("refused_proof")?.as_deref() {
        None => return Ok(None),
        Some("absence") => Proof::AnswerAndAbsence,
        Some("absence_and_pace") => Proof::AnswerAbsenceAndPace,
        Some(_) => return Err(unreadable("refused_proof")),
    };
    let text = |column| Ok::<_, LedgerError>(row.opt_text(column)?.unwrap_or_default());
    Ok(Some(Rejection { code: text("refused_code")?, detail: text("refused_detail")?, proof }))
}

pub(super) fn read(row: &Row) -> Result<Refund, LedgerError> {
    let currency: Currency = Currency::parse(&row.text("currency")?).map_err(|_| unreadable("currency"))?;
    let money = |column| Money::new(row.int(column)?, currency).map_err(|_| unreadable(column));
    let refund_id = |text: String| RefundId::parse(&text).map_err(|_| unreadable("refund_id"));
    let attention = match (row.opt_text("attention")?, row.opt_time("attention_since")?) {
        (Some(reason), Some(since)) => {
            Some((AttentionReason::parse(&reason).ok_or_else(|| unreadable("attention"))?, since))
        }
        _ => None,
    };
    Ok(Refund {
        refund_id: refund_id(row.text("refund_id")?)?,
        order_id: row.parse("order_id")?,
        merchant_id: row.parse("merchant_id")?,
        wallet: row.parse("wallet")?,
        order_no: row.parse("order_no")?,
        kind: if row.text("kind")? == "void" { RefundKind::Void } else { RefundKind::Refund },
        origin: if row.text("origin")? == "external" { RefundOrigin::External } else { RefundOrigin::Desk },
        wallet_request_no: row.parse("wallet_request_no")?,
        wallet_refund_id: row.opt_parse("wallet_refund_id")?,
        amount: money("amount")?,
        fee: money("fee")?,
        state: row.parse("state")?,
        reason: row.text("reason")?,
        reason_text: row.text("reason_text")?,
        note: row.opt_text("note")?,
        operator_id: row.opt_parse("operator_id")?,
        approved_by: row.opt_parse("approved_by")?,
        scan_id: row.opt_parse("scan_id")?,
        replaces: row.opt_text("replaces")?.map(refund_id).transpose()?,
        not_before: row.opt_time("not_before")?,
        sends: u32::try_from(row.int("sends")?).map_err(|_| unreadable("sends"))?,
        fence: row.int("fence")?,
        last_sent_at: row.opt_time("last_sent_at")?,
        created_at: row.time("created_at")?,
        submitted_at: row.opt_time("submitted_at")?,
        settled_at: row.opt_time("settled_at")?,
        failure: row
            .opt_text("failure_code")?
            .map(|code| {
                Ok::<_, LedgerError>(Failure { code, detail: row.opt_text("failure_detail")?.unwrap_or_default() })
            })
            .transpose()?,
        attention,
        metadata: row.opt_text("metadata")?.and_then(|text| serde_json::from_str(&text).ok()),
        notify_url: row.opt_text("notify_url")?,
        unconfirmed: unconfirmed(row)?,
        timeline: Vec::new(),
    })
}

/// A refund with its timeline and the money of its order, as they were read: what news of it is judged by. What is decided so holds
/// only where neither changed meanwhile.
#[derive(Clone, Debug)]
pub struct Known {
    pub(super) refund: Refund,
    /// How often the row was changed.
    pub(super) revision: i64,
    pub(super) order: OrderMoney,
    pub(super) facts: OrderFacts,
}

/// What a wallet's news of a refund is compared with beside the refund itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderFacts {
    /// The wallet's own number of the order.
    pub transaction_id: Option<TransactionId>,
    /// What was paid.
    pub total: Money,
}

impl Known {
    /// The refund.
    #[must_use]
    pub const fn refund(&self) -> &Refund {
        &self.refund
    }

    /// What is known of its order.
    #[must_use]
    pub const fn order(&self) -> &OrderFacts {
        &self.facts
    }
}

/// The same with both rows locked until the transaction ends.
pub(super) struct Locked {
    pub(super) known: Known,
    /// Until when the newest claim to send is under way, in microseconds.
    pub(super) lease_until: i64,
    /// The most that the wallet said to have refunded of the order.
    pub(super) wallet_refunded: i64,
}

/// What moves when a reservation ends, in minor units.
#[derive(Clone, Copy, Debug)]
pub(super) struct OrderMoney {
    pub(super) amount: i64,
    pub(super) reserved: i64,
    pub(super) fees: i64,
    pub(super) paid_back: i64,
}

/// Refunds beside what [`known`] and [`locked`] read of their orders.
macro_rules! with_order {
    ($end:literal) => {
        concat!(
            "SELECT ",
            $crate::ledger::refund_rows::columns!(),
            ", revision, order_amount, reserved, fees, paid_back, wallet_refunded, transaction_id FROM refunds JOIN (SELECT id AS \
             its_order, amount AS order_amount, reserved, fees, paid_back, wallet_refunded, transaction_id FROM orders) o \
             ON its_order = order_id WHERE ",
            $end
        )
    };
}
pub(super) use with_order;

/// Reads a refund and its order's money, and on PostgreSQL locks both rows.
const fn lock_sql(conn: &Conn) -> &'static str {
    if conn.locks_rows() { with_order!("refund_id = $1 FOR UPDATE") } else { with_order!("refund_id = $1") }
}

/// Without the timeline.
pub(super) fn known(row: &Row) -> Result<Known, LedgerError> {
    let order = OrderMoney {
        amount: row.int("order_amount")?,
        reserved: row.int("reserved")?,
        fees: row.int("fees")?,
        paid_back: row.int("paid_back")?,
    };
    let refund = read(row)?;
    let total = Money::new(order.amount, refund.amount.currency()).map_err(|_| unreadable("order_amount"))?;
    let facts = OrderFacts { transaction_id: row.opt_parse("transaction_id")?, total };
    Ok(Known { refund, revision: row.int("revision")?, order, facts })
}

fn locked(row: &Row) -> Result<Locked, LedgerError> {
    Ok(Locked {
        known: known(row)?,
        lease_until: row.int("lease_until")?,
        wallet_refunded: row.int("wallet_refunded")?,
    })
}

pub(super) async fn lock(conn: &mut Conn, id: RefundId) -> Result<Option<Locked>, LedgerError> {
    let sql = lock_sql(conn);
    conn.row(sql, params![id]).await?.as_ref().map(locked).transpose()
}

/// The same with its timeline.
pub(super) async fn lock_with_timeline(conn: &mut Conn, id: RefundId) -> Result<Option<Locked>, LedgerError> {
    let both = [(lock_sql(conn), params![id]), (TIMELINE, params![id])];
    let [refunds, lines] = conn.rows_of_both(both).await?;
    let Some(mut locked) = refunds.first().map(locked).transpose()? else { return Ok(None) };
    locked.known.refund.timeline = entries(&lines)?;
    Ok(Some(locked))
}

/// The lines of a refund's story, as [`entries`] wants them.
macro_rules! timeline_of {
    ($refund_id:literal) => {
        concat!("SELECT at, event, by_whom, note FROM refund_events WHERE refund_id = ", $refund_id, " ORDER BY seq")
    };
}
pub(super) use timeline_of;

const TIMELINE: &str = timeline_of!("$1");

pub(super) async fn timeline(conn: &mut Conn, id: RefundId) -> Result<Vec<TimelineEntry>, LedgerError> {
    entries(&conn.rows(TIMELINE, params![id]).await?)
}

pub(super) fn entries(rows: &[Row]) -> Result<Vec<TimelineEntry>, LedgerError> {
    rows.iter()
        .map(|row| {
            Ok(TimelineEntry {
                at: row.time("at")?,
                event: row.text("event")?,
                by: row.text("by_whom")?,
                note: row.opt_text("note")?,
            })
        })
        .collect()
}

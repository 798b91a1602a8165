//! Refunds, read: one by either number, and lists.

use jiff::Timestamp;
use scanback_wallet::{MerchantId, OrderNo, RefundCall, RefundId, WalletKind};

use super::{
    Cursor, Ledger, LedgerError, Page, after,
    db::params,
    orders,
    refund_rows::{Known, columns, entries, known, read, timeline, timeline_of, with_order},
    sends::call,
};
use crate::domain::refund::{AttentionReason, Refund, RefundState};

/// For what a person must look at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Whatever it is.
    Any,
    /// For this.
    Reason(AttentionReason),
}

/// Which refunds to list.
#[derive(Clone, Debug, Default)]
pub struct RefundFilter {
    /// Of this order number.
    pub order_no: Option<OrderNo>,
    /// In this state.
    pub state: Option<RefundState>,
    /// Only those that a person must look at.
    pub attention: Option<Attention>,
    /// Asked for at or after.
    pub from: Option<Timestamp>,
    /// Asked for before.
    pub to: Option<Timestamp>,
    /// After this place.
    pub cursor: Option<Cursor>,
    /// 1 to 200.
    pub limit: u32,
}

impl Ledger {
    /// The refund, the call that asks for it, and when its order was paid: what a look at it needs.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn refund_with_call(
        &self,
        id: RefundId,
    ) -> Result<Option<(Refund, RefundCall, Option<Timestamp>)>, LedgerError> {
        let mut conn = self.db.reader().await?;
        let sql = concat!("SELECT ", columns!(), " FROM refunds WHERE refund_id = $1");
        let Some(row) = conn.row(sql, params![id]).await? else { return Ok(None) };
        let refund = read(&row)?;
        let order = orders::by_id(&mut conn, refund.order_id).await?;
        let order = order.ok_or_else(|| LedgerError::Broken(format!("the order of refund {id} is gone")))?;
        let call = call(&refund, &order);
        Ok(Some((refund, call, order.paid_at)))
    }

    /// A refund with its timeline, if this merchant (any, where `None`) has it.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn refund(&self, merchant: Option<&MerchantId>, id: RefundId) -> Result<Option<Refund>, LedgerError> {
        let sql =
            concat!("SELECT ", columns!(), " FROM refunds WHERE refund_id = $1 AND ($2 = '' OR merchant_id = $2)");
        let mut conn = self.db.reader().await?;
        let Some(row) = conn.row(sql, params![id, merchant.map_or("", MerchantId::as_str)]).await? else {
            return Ok(None);
        };
        let mut refund = read(&row)?;
        refund.timeline = timeline(&mut conn, id).await?;
        Ok(Some(refund))
    }

    /// The refund of ours that a wallet knows by this number, with its timeline: as this process wrote it last, where it just did.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn refund_by_request_no(
        &self,
        merchant: &MerchantId,
        wallet: WalletKind,
        request_no: &scanback_wallet::WalletRequestNo,
    ) -> Result<Option<Known>, LedgerError> {
        if let Some(known) = self.recent.take(merchant, wallet, request_no) {
            return Ok(Some(known));
        }
        let sql = with_order!("merchant_id = $1 AND wallet = $2 AND wallet_request_no = $3");
        let its_timeline = timeline_of!(
            "(SELECT refund_id FROM refunds WHERE merchant_id = $1 AND wallet = $2 AND wallet_request_no = $3)"
        );
        let values = params![merchant, wallet, request_no];
        let both = [(sql, values.clone()), (its_timeline, values)];
        let [refunds, lines] = self.db.reader().await?.rows_of_both(both).await?;
        let Some(row) = refunds.first() else { return Ok(None) };
        let mut known = known(row)?;
        known.refund.timeline = entries(&lines)?;
        Ok(Some(known))
    }

    /// A page of refunds with their timelines, newest first.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn refunds(
        &self,
        merchant: Option<&MerchantId>,
        filter: &RefundFilter,
    ) -> Result<Page<Refund>, LedgerError> {
        let (before, before_id) = after(filter.cursor.as_ref());
        macro_rules! sql {
            ($whose:literal) => {
                concat!(
                    "SELECT ",
                    columns!(),
                    " FROM refunds WHERE ",
                    $whose,
                    " AND ($2 = '' OR order_no = $2) AND ($3 = '' OR state = $3) \
                     AND ($4 = '' OR attention = $4 OR ($4 = '*' AND attention IS NOT NULL)) AND created_at >= $5 AND created_at < $6 \
                     AND created_at <= $7 AND (created_at < $7 OR refund_id < $8) \
                     ORDER BY created_at DESC, refund_id DESC LIMIT $9",
                )
            };
        }
        // two texts, so that a merchant's page comes from the index
        let sql = if merchant.is_some() { sql!("merchant_id = $1") } else { sql!("$1 = ''") };
        let values = params![
            merchant.map_or("", MerchantId::as_str),
            filter.order_no.as_ref().map_or("", OrderNo::as_str),
            filter.state.map_or("", RefundState::as_str),
            filter.attention.map_or("", |attention| match attention {
                Attention::Any => "*",
                Attention::Reason(reason) => reason.as_str(),
            }),
            filter.from.map_or(i64::MIN, Timestamp::as_microsecond),
            filter.to.map_or(i64::MAX, Timestamp::as_microsecond),
            before,
            before_id,
            filter.limit + 1
        ];
        let mut conn = self.db.reader().await?;
        let rows = conn.rows(sql, values).await?;
        let mut items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let more = items.len() > filter.limit as usize;
        items.truncate(filter.limit as usize);
        for refund in &mut items {
            refund.timeline = timeline(&mut conn, refund.refund_id).await?;
        }
        let next_cursor =
            items.last().filter(|_| more).map(|last| Cursor::new(last.created_at, last.refund_id.uuid()).to_string());
        Ok(Page { items, next_cursor })
    }
}

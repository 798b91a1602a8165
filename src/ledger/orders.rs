//! Orders: registered by the merchant or fetched from the wallet, with the numbers that people know them by.

use jiff::Timestamp;
use scanback_wallet::{Currency, MerchantId, Money, OrderNo, StoreId, TerminalId, TransactionId, WalletKind};
use uuid::Uuid;

use super::{
    Cursor, Ledger, LedgerError, Page, after, audit,
    db::{Conn, Row, params, unreadable},
};
use crate::domain::{
    actor::Actor,
    order::{Order, OrderKind, OrderState, Payment},
};

macro_rules! columns {
    () => {
        "id, merchant_id, wallet, order_no, transaction_id, aliases, amount, currency, refunded, reserved, fees, paid_back, \
         payment, kind, paid_at, starts_at, store_id, terminal_id, frozen, refunded_elsewhere, checked_at, refund_count"
    };
}

/// An order to keep.
#[derive(Clone, Debug)]
pub struct NewOrder {
    /// Whose.
    pub merchant_id: MerchantId,
    /// Through which wallet.
    pub wallet: WalletKind,
    /// The wallet's out_trade_no.
    pub order_no: OrderNo,
    /// The wallet's own number.
    pub transaction_id: Option<TransactionId>,
    /// Other numbers.
    pub aliases: Vec<OrderNo>,
    /// What was paid.
    pub amount: Money,
    /// How the payment stands.
    pub payment: Payment,
    /// What kind of sale.
    pub kind: OrderKind,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// When what was booked begins.
    pub starts_at: Option<Timestamp>,
    /// Where.
    pub store_id: Option<StoreId>,
    /// At which device.
    pub terminal_id: Option<TerminalId>,
    /// HMAC of the payer's id under the pepper.
    pub payer_hash: Option<String>,
    /// The wallet's word for the kind of payment.
    pub trade_type: Option<String>,
    /// Whether the wallet has refunds of it that were made elsewhere.
    pub refunded_elsewhere: bool,
    /// Whether this comes from the wallet itself.
    pub checked: bool,
    /// The registration as the merchant sent it, canonical JSON: the same content again is no conflict.
    pub registration: Option<String>,
}

/// What became of an order that was to be kept.
#[derive(Clone, Debug)]
pub enum Kept {
    /// It is new.
    Created(Order),
    /// It was there, with the same content.
    Same(Order),
    /// It was there with other content; which field.
    Conflict(&'static str),
}

/// What the wallet says of an order, to be written over what the caller said.
#[derive(Clone, Debug)]
pub struct WalletFacts {
    /// How the payment stands.
    pub payment: Payment,
    /// The wallet's own number.
    pub transaction_id: Option<TransactionId>,
    /// What was paid.
    pub amount: Money,
    /// When.
    pub paid_at: Option<Timestamp>,
    /// HMAC of the payer's id.
    pub payer_hash: Option<String>,
    /// The wallet's word for the kind of payment.
    pub trade_type: Option<String>,
    /// Whether it has refunds that were made elsewhere, if none of ours exist.
    pub refund_exists: bool,
}

/// Which orders to list.
#[derive(Clone, Debug, Default)]
pub struct OrderFilter {
    /// In this state.
    pub state: Option<OrderState>,
    /// Of this wallet.
    pub wallet: Option<WalletKind>,
    /// Kept at or after.
    pub from: Option<Timestamp>,
    /// Kept before.
    pub to: Option<Timestamp>,
    /// After this place.
    pub cursor: Option<Cursor>,
    /// 1 to 200.
    pub limit: u32,
}

pub(super) fn read(row: &Row) -> Result<Order, LedgerError> {
    let currency: Currency = Currency::parse(&row.text("currency")?).map_err(|_| unreadable("currency"))?;
    let money = |column| Money::new(row.int(column)?, currency).map_err(|_| unreadable(column));
    Ok(Order {
        id: row.parse("id")?,
        merchant_id: row.parse("merchant_id")?,
        wallet: row.parse("wallet")?,
        order_no: row.parse("order_no")?,
        transaction_id: row.opt_parse("transaction_id")?,
        aliases: serde_json::from_str(&row.text("aliases")?).map_err(|_| unreadable("aliases"))?,
        amount: money("amount")?,
        refunded: money("refunded")?,
        reserved: money("reserved")?,
        fees: money("fees")?,
        overpaid: Money::new(row.int("paid_back")? - row.int("refunded")?, currency)
            .map_err(|_| unreadable("paid_back"))?,
        payment: Payment::parse(&row.text("payment")?).ok_or_else(|| unreadable("payment"))?,
        kind: OrderKind::parse(&row.text("kind")?).ok_or_else(|| unreadable("kind"))?,
        paid_at: row.opt_time("paid_at")?,
        starts_at: row.opt_time("starts_at")?,
        store_id: row.opt_parse("store_id")?,
        terminal_id: row.opt_parse("terminal_id")?,
        frozen: row.flag("frozen")?,
        refunded_elsewhere: row.flag("refunded_elsewhere")?,
        checked: row.opt_int("checked_at")?.is_some(),
        refund_count: u32::try_from(row.int("refund_count")?).map_err(|_| unreadable("refund_count"))?,
    })
}

pub(super) async fn by_id(conn: &mut Conn, id: Uuid) -> Result<Option<Order>, LedgerError> {
    let sql = concat!("SELECT ", columns!(), " FROM orders WHERE id = $1");
    conn.row(sql, params![id]).await?.as_ref().map(read).transpose()
}

/// The orders that a number names. An exact order number goes before a transaction number, that before an alias; only
/// orders of the same rank can be ambiguous.
async fn by_number(
    conn: &mut Conn,
    merchant: Option<&MerchantId>,
    wallet: Option<WalletKind>,
    number: &str,
) -> Result<Vec<Order>, LedgerError> {
    macro_rules! sql {
        ($whose:literal) => {
            concat!(
                "SELECT ",
                columns!(),
                " FROM orders WHERE ($2 = '' OR wallet = $2) AND id IN (SELECT id FROM orders WHERE ",
                $whose,
                " AND order_no = $3 UNION SELECT id FROM orders WHERE ",
                $whose,
                " AND transaction_id = $3 UNION SELECT order_id FROM order_aliases WHERE ",
                $whose,
                " AND alias = $3)",
            )
        };
    }
    let sql = if merchant.is_some() { sql!("merchant_id = $1") } else { sql!("$1 = ''") };
    let merchant = merchant.map_or("", MerchantId::as_str);
    let wallet = wallet.map_or("", WalletKind::as_str);
    let rows = conn.rows(sql, params![merchant, wallet, number]).await?;
    let orders = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let rank = |order: &Order| match order {
        order if order.order_no.as_str() == number => 0,
        order if order.transaction_id.as_ref().is_some_and(|id| id.as_str() == number) => 1,
        _ => 2,
    };
    let best = orders.iter().map(rank).min();
    Ok(orders.into_iter().filter(|order| Some(rank(order)) == best).collect())
}

impl Ledger {
    /// The orders of a merchant (of all, where `None`) that this number names: none, one, or several that are ambiguous.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn orders_by_number(
        &self,
        merchant: Option<&MerchantId>,
        wallet: Option<WalletKind>,
        number: &str,
    ) -> Result<Vec<Order>, LedgerError> {
        by_number(&mut self.db.reader().await?, merchant, wallet, number).await
    }

    /// The order with the ledger's own number.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer or the order is gone.
    pub async fn order(&self, id: Uuid) -> Result<Order, LedgerError> {
        let order = by_id(&mut self.db.reader().await?, id).await?;
        order.ok_or_else(|| LedgerError::Broken(format!("order {id} is gone")))
    }

    /// Who paid an order, as an HMAC, where that is known.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn payer_of_order(&self, id: Uuid) -> Result<Option<String>, LedgerError> {
        let row = self.db.reader().await?.row("SELECT payer_hash FROM orders WHERE id = $1", params![id]).await?;
        row.map_or(Ok(None), |row| row.opt_text("payer_hash"))
    }

    /// The newest orders of a payer, by the HMAC of the payer's name.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn orders_of_payer(
        &self,
        merchant: &MerchantId,
        payer_hash: &str,
        limit: u32,
    ) -> Result<Vec<Order>, LedgerError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM orders WHERE merchant_id = $1 AND payer_hash = $2 ORDER BY created_at DESC LIMIT $3"
        );
        let rows = self.db.reader().await?.rows(sql, params![merchant, payer_hash, i64::from(limit)]).await?;
        rows.iter().map(read).collect()
    }

    /// Keeps an order if it is new; one that is there is compared, never changed.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn keep_order(&self, new: NewOrder, by: Actor, now: Timestamp) -> Result<Kept, LedgerError> {
        let (attempt, who) = (new.clone(), by.clone());
        let inserted = self.db.write(move |conn| Box::pin(insert(conn, attempt, who, now))).await;
        match inserted {
            Ok(order) => return Ok(Kept::Created(order)),
            Err(LedgerError::Duplicate) => {}
            Err(error) => return Err(error),
        }
        let sql = concat!(
            "SELECT ",
            columns!(),
            ", registration FROM orders WHERE merchant_id = $1 AND wallet = $2 AND order_no = $3"
        );
        let mut conn = self.db.reader().await?;
        let row = conn
            .row(sql, params![&new.merchant_id, new.wallet, &new.order_no])
            .await?
            .ok_or_else(|| LedgerError::Broken("an order that exists was not found".into()))?;
        let order = read(&row)?;
        let registered = row.opt_text("registration")?;
        drop(conn);
        match conflict(&order, registered.as_deref(), &new) {
            Some(field) => Ok(Kept::Conflict(field)),
            // scanned first and registered now: what only the merchant knows is added
            None if registered.is_none() && new.registration.is_some() => {
                self.db.write(move |conn| Box::pin(add_registration(conn, order.id, new, by, now))).await
            }
            None => Ok(Kept::Same(order)),
        }
    }

    /// Writes what the wallet says over an order that the wallet hasn't confirmed yet. An order in which refunds of ours
    /// exist keeps its money as it is.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn confirm_order(&self, id: Uuid, facts: WalletFacts, now: Timestamp) -> Result<Order, LedgerError> {
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    // `refunded_elsewhere` only where the ledger holds no refund of the order (contract §4 rule 9)
                    conn.execute(
                        "UPDATE orders SET payment = $2, transaction_id = COALESCE($3, transaction_id), \
                         paid_at = COALESCE($4, paid_at), payer_hash = COALESCE($5, payer_hash), trade_type = $6, \
                         refunded_elsewhere = CASE WHEN $7 = 1 AND NOT EXISTS \
                           (SELECT 1 FROM refunds WHERE order_id = $1) THEN 1 ELSE refunded_elsewhere END, \
                         checked_at = CASE WHEN $2 = 'unpaid' THEN NULL ELSE $8 END, updated_at = $8, \
                         amount = CASE WHEN checked_at IS NULL AND registration IS NULL THEN $9 ELSE amount END \
                         WHERE id = $1",
                        params![
                            id,
                            facts.payment.as_str(),
                            facts.transaction_id.as_ref(),
                            facts.paid_at,
                            facts.payer_hash,
                            facts.trade_type,
                            facts.refund_exists,
                            now,
                            facts.amount.value()
                        ],
                    )
                    .await?;
                    let order = by_id(conn, id).await?;
                    order.ok_or_else(|| LedgerError::Broken(format!("order {id} is gone")))
                })
            })
            .await
    }

    /// A page of orders, newest first.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn orders(
        &self,
        merchant: Option<&MerchantId>,
        filter: &OrderFilter,
    ) -> Result<Page<Order>, LedgerError> {
        let (before, before_id) = after(filter.cursor.as_ref());
        macro_rules! sql {
            ($whose:literal) => {
                concat!(
                    "SELECT ",
                    columns!(),
                    ", created_at FROM orders WHERE ",
                    $whose,
                    " AND ($2 = '' OR wallet = $2) AND created_at >= $3 AND created_at < $4 AND created_at <= $5 \
                     AND (created_at < $5 OR id < $6) AND \
                     ($7 = '' OR $7 = CASE WHEN payment <> 'paid' THEN payment WHEN refunded = 0 THEN 'paid' \
                      WHEN refunded + fees = amount THEN 'refunded' ELSE 'partially_refunded' END) \
                     ORDER BY created_at DESC, id DESC LIMIT $8",
                )
            };
        }
        // two texts, so that a merchant's page comes from the index
        let sql = if merchant.is_some() { sql!("merchant_id = $1") } else { sql!("$1 = ''") };
        let values = params![
            merchant.map_or("", MerchantId::as_str),
            filter.wallet.map_or("", WalletKind::as_str),
            filter.from.map_or(i64::MIN, Timestamp::as_microsecond),
            filter.to.map_or(i64::MAX, Timestamp::as_microsecond),
            before,
            before_id,
            filter.state.map_or("", OrderState::as_str),
            filter.limit + 1
        ];
        let rows = self.db.reader().await?.rows(sql, values).await?;
        let mut items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let more = items.len() > filter.limit as usize;
        items.truncate(filter.limit as usize);
        let last = items.len().checked_sub(1).filter(|_| more);
        let next_cursor = match last {
            Some(last) => Some(Cursor::new(rows[last].time("created_at")?, items[last].id).to_string()),
            None => None,
        };
        Ok(Page { items, next_cursor })
    }
}

/// The first field in which a registration differs from what is kept.
fn conflict(kept: &Order, registered: Option<&str>, new: &NewOrder) -> Option<&'static str> {
    new.registration.as_ref()?; // without one it is the wallet's own word, fetched twice at once
    if kept.amount != new.amount {
        return Some("amount");
    }
    let same = |ours: Option<&TransactionId>, theirs: Option<&TransactionId>| {
        theirs.is_none_or(|theirs| ours.is_none_or(|ours| ours == theirs))
    };
    if !same(kept.transaction_id.as_ref(), new.transaction_id.as_ref()) {
        return Some("transaction_id");
    }
    // what was fetched from the wallet has no registration yet: the same money is the same order
    (registered.is_some() && registered != new.registration.as_deref()).then_some("content")
}

/// Adds a registration to an order that was fetched from the wallet; the wallet's own word stays.
async fn add_registration(
    conn: &mut Conn,
    id: Uuid,
    new: NewOrder,
    by: Actor,
    now: Timestamp,
) -> Result<Kept, LedgerError> {
    let aliases = serde_json::to_string(&new.aliases).map_err(|error| LedgerError::Broken(error.to_string()))?;
    let changed = conn
        .execute(
            "UPDATE orders SET registration = $2, aliases = $3, kind = $4, starts_at = $5, \
             store_id = COALESCE($6, store_id), terminal_id = COALESCE($7, terminal_id), updated_at = $8 \
             WHERE id = $1 AND registration IS NULL",
            params![
                id,
                new.registration,
                aliases,
                new.kind.as_str(),
                new.starts_at,
                new.store_id.as_ref(),
                new.terminal_id.as_ref(),
                now
            ],
        )
        .await?;
    if changed > 0 {
        add_aliases(conn, id, &new.merchant_id, &new.aliases).await?;
        let subject = format!("order:{id}");
        audit::add(conn, &new.merchant_id, &by, "order.registered", &subject, None, now).await?;
    }
    let order = by_id(conn, id).await?.ok_or_else(|| LedgerError::Broken("an order just kept is gone".into()))?;
    Ok(if changed > 0 { Kept::Created(order) } else { Kept::Same(order) })
}

async fn add_aliases(conn: &mut Conn, id: Uuid, merchant: &MerchantId, aliases: &[OrderNo]) -> Result<(), LedgerError> {
    for alias in aliases {
        conn.execute(
            "INSERT INTO order_aliases (order_id, merchant_id, alias) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            params![id, merchant, alias],
        )
        .await?;
    }
    Ok(())
}

async fn insert(conn: &mut Conn, new: NewOrder, by: Actor, now: Timestamp) -> Result<Order, LedgerError> {
    let id = scanback_wallet::new_uuid();
    let aliases = serde_json::to_string(&new.aliases).map_err(|error| LedgerError::Broken(error.to_string()))?;
    conn.execute(
        "INSERT INTO orders (id, merchant_id, wallet, order_no, transaction_id, aliases, amount, currency, payment, kind, \
         paid_at, starts_at, store_id, terminal_id, payer_hash, trade_type, refunded_elsewhere, checked_at, registration, \
         created_at, updated_at) \
         VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$20)",
        params![
            id,
            &new.merchant_id,
            new.wallet,
            &new.order_no,
            new.transaction_id.as_ref(),
            aliases,
            new.amount.value(),
            new.amount.currency().to_string(),
            new.payment.as_str(),
            new.kind.as_str(),
            new.paid_at,
            new.starts_at,
            new.store_id.as_ref(),
            new.terminal_id.as_ref(),
            new.payer_hash,
            new.trade_type,
            new.refunded_elsewhere,
            (new.checked && new.payment != Payment::Unpaid).then_some(now),
            new.registration,
            now
        ],
    )
    .await?;
    add_aliases(conn, id, &new.merchant_id, &new.aliases).await?;
    let subject = format!("order:{id}");
    audit::add(conn, &new.merchant_id, &by, "order.kept", &subject, None, now).await?;
    by_id(conn, id).await?.ok_or_else(|| LedgerError::Broken("an order just kept is gone".into()))
}

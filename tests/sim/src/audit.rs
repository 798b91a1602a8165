//! The auditor: reads our books by plain SQL and the wallets' by their own, and compares. It shares no code with the service.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, PoisonError},
};

use rusqlite::Connection;

use crate::{books::Status, world::World};

/// Reads the store with a connection of its own.
pub(crate) struct Auditor(Mutex<Connection>);

struct OurRefund {
    order_no: String,
    number: String,
    amount: i64,
    state: String,
    origin: String,
}

struct OurOrder {
    amount: i64,
    refunded: i64,
    reserved: i64,
    fees: i64,
    paid_back: i64,
}

/// Our books at one moment.
struct Ours {
    orders: BTreeMap<String, OurOrder>,
    refunds: BTreeMap<String, OurRefund>,
    without_job: Vec<String>,
}

const OPEN: [&str; 4] = ["awaiting_approval", "submitting", "processing", "abnormal"];

impl Auditor {
    pub(crate) fn open(store: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(store)?;
        connection.pragma_update(None, "query_only", "ON")?;
        connection.set_prepared_statement_cache_capacity(8);
        Ok(Self(Mutex::new(connection)))
    }

    fn read(&self) -> rusqlite::Result<Ours> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut orders = BTreeMap::new();
        let mut statement =
            connection.prepare_cached("SELECT order_no, amount, refunded, reserved, fees, paid_back FROM orders")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let order = OurOrder {
                amount: row.get(1)?,
                refunded: row.get(2)?,
                reserved: row.get(3)?,
                fees: row.get(4)?,
                paid_back: row.get(5)?,
            };
            orders.insert(row.get(0)?, order);
        }
        let mut refunds = BTreeMap::new();
        let mut without_job = Vec::new();
        let sql = "SELECT refund_id, order_no, wallet_request_no, amount, state, origin, \
                   EXISTS (SELECT 1 FROM jobs WHERE kind = 'follow' AND key = refund_id) FROM refunds";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let refund = OurRefund {
                order_no: row.get(1)?,
                number: row.get(2)?,
                amount: row.get(3)?,
                state: row.get(4)?,
                origin: row.get(5)?,
            };
            if OPEN.contains(&refund.state.as_str()) && !row.get::<_, bool>(6)? {
                without_job.push(id.clone());
            }
            refunds.insert(id, refund);
        }
        Ok(Ours { orders, refunds, without_job })
    }

    /// What must hold at every moment.
    pub(crate) fn look(&self, world: &World) {
        match self.read() {
            Ok(ours) => compare(world, &ours),
            Err(error) => world.violated(format!("the books can't be read: {error}")),
        }
    }

    /// What must hold when nothing is under way any more.
    pub(crate) fn look_at_the_end(&self, world: &World) {
        let ours = match self.read() {
            Ok(ours) => ours,
            Err(error) => return world.violated(format!("the books can't be read: {error}")),
        };
        compare(world, &ours);
        for (id, refund) in &ours.refunds {
            if OPEN.contains(&refund.state.as_str()) {
                world.violated(format!("{id} never settled: {}", refund.state));
            }
        }
        let mut wrong = Vec::new();
        {
            let state = world.state();
            for (order_no, trade) in &state.books.trades {
                let theirs = state.books.refunded(order_no);
                match ours.orders.get(order_no) {
                    Some(order) if order.refunded == theirs && order.reserved == 0 => {}
                    Some(order) => wrong.push(format!(
                        "{order_no}: we say {} back and {} held, {} says {theirs}",
                        order.refunded, order.reserved, trade.wallet
                    )),
                    None if theirs == 0 => {}
                    None => wrong.push(format!("{order_no}: {theirs} went back of an order that we don't have")),
                }
            }
        }
        wrong.into_iter().for_each(|what| world.violated(what));
    }

    /// Whether anything is still open.
    pub(crate) fn is_settled(&self) -> bool {
        self.read().is_ok_and(|ours| ours.refunds.values().all(|refund| !OPEN.contains(&refund.state.as_str())))
    }
}

fn compare(world: &World, ours: &Ours) {
    let mut wrong = Vec::new();
    for (order_no, order) in &ours.orders {
        let of_order = || ours.refunds.values().filter(|refund| refund.order_no == *order_no);
        let sum = |states: &[&str]| -> i64 {
            of_order().filter(|refund| states.contains(&refund.state.as_str())).map(|refund| refund.amount).sum()
        };
        if order.refunded + order.reserved + order.fees > order.amount {
            wrong.push(format!("{order_no}: {} + {} held of {}", order.refunded, order.reserved, order.amount));
        }
        if order.reserved != sum(&OPEN) {
            wrong.push(format!("{order_no}: {} are held, open refunds come to {}", order.reserved, sum(&OPEN)));
        }
        if order.paid_back != sum(&["succeeded"]) {
            wrong.push(format!(
                "{order_no}: {} are paid back, refunds come to {}",
                order.paid_back,
                sum(&["succeeded"])
            ));
        }
    }
    for id in &ours.without_job {
        // every change of state and its follow-up work are one transaction
        wrong.push(format!("nobody follows {id}"));
    }
    {
        let state = world.state();
        wrong.extend(state.books.violations.iter().cloned());
        let by_number: BTreeMap<&str, &OurRefund> =
            ours.refunds.values().map(|refund| (refund.number.as_str(), refund)).collect();
        for (order_no, trade) in &state.books.trades {
            let paid: i64 = trade.refunds.values().map(|entry| entry.amount * i64::from(entry.times_paid)).sum();
            if paid > trade.amount {
                wrong.push(format!("{order_no}: {paid} were paid back of {}", trade.amount));
            }
            for (number, entry) in &trade.refunds {
                if entry.times_paid > 1 {
                    wrong.push(format!("{number} was paid {} times", entry.times_paid));
                }
                match by_number.get(number.as_str()) {
                    Some(refund) if refund.amount == entry.amount && refund.order_no == *order_no => {
                        let ended = matches!(entry.status, Status::Closed);
                        if refund.state == "failed" && !ended {
                            wrong.push(format!("{number} failed here, and is {:?} there", entry.status));
                        }
                    }
                    _ => wrong.push(format!("the wallet was asked for {number}, which isn't in our books")),
                }
            }
        }
        for refund in ours.refunds.values() {
            if refund.origin != "desk" {
                wrong.push(format!("{} is said to have been made elsewhere", refund.number));
            }
            let theirs = state.books.find(&refund.order_no, &refund.number);
            if refund.state == "succeeded" && theirs.is_none_or(|entry| entry.times_paid != 1) {
                wrong.push(format!("{} succeeded here, and was not paid there", refund.number));
            }
        }
        for (key, (id, amount)) in &state.told {
            match ours.refunds.get(id) {
                Some(refund) if refund.amount == *amount => {}
                _ => wrong.push(format!("{key} was answered with {id} of {amount}, which isn't in our books")),
            }
        }
    }
    wrong.into_iter().for_each(|what| world.violated(what));
}

//! Books that survive a restart: what changed is told as lines, and books are made of lines again. The last line of an order
//! holds.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};

use super::{Books, Key, Order, Violation, Wallet};
use crate::scale::Scale;

/// One thing that the books hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// An order and its refunds, as they stand.
    Order(Box<Order>),
    /// Something that must not have happened.
    Violation(Violation),
}

/// What is still to be written down.
#[derive(Debug, Default)]
pub(super) struct Changes {
    orders: BTreeSet<Key>,
    violations: Vec<Violation>,
}

impl Books {
    /// Books of what was written down before, which tell what changes from now on.
    pub(crate) fn of_lines(lines: Vec<Line>, scale: Scale, seed: Option<u64>) -> Self {
        let mut books = Self::new(scale, seed);
        if let Some(seed) = seed.filter(|_| !lines.is_empty()) {
            // the same numbers again would be those that were given out already
            books.rng = ChaCha20Rng::seed_from_u64(seed.wrapping_add(u64::try_from(lines.len()).unwrap_or(0)));
        }
        for line in lines {
            match line {
                Line::Order(order) => {
                    books.orders.insert((order.wallet, order.out_trade_no.clone()), *order);
                }
                Line::Violation(violation) => books.violations.push(violation),
            }
        }
        let orders: Vec<Order> = books.orders.values().cloned().collect();
        for order in orders {
            let key = (order.wallet, order.out_trade_no.clone());
            books.by_wallet_number.insert((order.wallet, order.transaction_id.clone()), key.clone());
            for refund in order.refunds.iter().filter(|refund| refund.untold) {
                books.tell(order.clone(), refund.clone());
            }
            for refund in order.refunds.iter().filter(|_| order.wallet == Wallet::Wechat) {
                books.wechat_refunds.insert(refund.number.clone(), key.clone());
                books.schedule(refund);
            }
        }
        books.changes = Some(Changes::default());
        books
    }

    /// All that the books hold.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let orders = self.orders.values().map(|order| Line::Order(Box::new(order.clone())));
        orders.chain(self.violations.iter().cloned().map(Line::Violation)).collect()
    }

    /// What changed since this was asked last; nothing where nobody writes it down.
    pub(crate) fn take_changes(&mut self) -> Vec<Line> {
        let Some(changes) = &mut self.changes else { return Vec::new() };
        let Changes { orders, violations } = std::mem::take(changes);
        let orders = orders.iter().filter_map(|key| self.orders.get(key));
        let orders = orders.map(|order| Line::Order(Box::new(order.clone())));
        orders.chain(violations.into_iter().map(Line::Violation)).collect()
    }

    pub(super) fn note_change(&mut self, key: &Key) {
        if let Some(changes) = &mut self.changes {
            changes.orders.insert(key.clone());
        }
    }

    pub(super) fn note_violation(&mut self, violation: &Violation) {
        if let Some(changes) = &mut self.changes {
            changes.violations.push(violation.clone());
        }
    }
}

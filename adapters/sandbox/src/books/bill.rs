//! A wallet's bill of some days: each payment and each refund, in the order in which they happened.

use jiff::{Timestamp, civil::Date};

use super::{Books, Order, Refund, Wallet, orders::Void};
use crate::beijing;

/// One line of a bill.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// Money came in.
    Payment(Order, Timestamp),
    /// A refund was accepted: it stands in the bill of that day, with the status of the time that the bill is made at
    /// (wechat-pay §16).
    Refund(Order, Refund),
    /// The whole payment was taken back.
    Void(Order, Void),
}

impl Entry {
    /// When it happened.
    pub(crate) fn at(&self) -> Timestamp {
        match self {
            Self::Payment(_, at) => *at,
            Self::Refund(_, refund) => refund.accepted_at,
            Self::Void(_, void) => void.at,
        }
    }

    /// Of which order.
    pub(crate) fn order(&self) -> &Order {
        match self {
            Self::Payment(order, _) | Self::Refund(order, _) | Self::Void(order, _) => order,
        }
    }

    /// What came in, in fen; less than nothing for what goes back.
    pub(crate) fn moved(&self) -> i64 {
        match self {
            Self::Payment(order, _) => order.amount,
            Self::Refund(_, refund) => -refund.amount,
            Self::Void(_, void) => -void.amount,
        }
    }

    /// The Beijing day that it belongs to.
    pub(crate) fn day(&self) -> Date {
        beijing::day(self.at())
    }
}

impl Books {
    /// Everything that a wallet has booked, oldest first.
    pub(crate) fn entries(&mut self, wallet: Wallet, now: Timestamp) -> Vec<Entry> {
        self.catch_up(now);
        let mut entries = Vec::new();
        for order in self.orders.values().filter(|order| order.wallet == wallet) {
            entries.extend(order.paid_at.map(|at| Entry::Payment(order.clone(), at)));
            entries.extend(order.refunds.iter().map(|refund| Entry::Refund(order.clone(), refund.clone())));
            // of an order that nobody had paid nothing went back
            let void = order.voided.clone().filter(|void| void.amount > 0);
            entries.extend(void.map(|void| Entry::Void(order.clone(), void)));
        }
        entries.sort_by(|one, other| {
            let key = |entry: &Entry| (entry.at(), entry.order().transaction_id.clone(), -entry.moved());
            key(one).cmp(&key(other))
        });
        entries
    }
}

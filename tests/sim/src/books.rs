//! The wallets' own books: what was paid, and what was asked for, by number. The independent truth of a run.

use std::{collections::BTreeMap, time::Duration};

use scanback_wallet::WalletKind;

/// A payment at a wallet.
#[derive(Clone, Debug)]
pub(crate) struct Trade {
    pub(crate) wallet: WalletKind,
    pub(crate) amount: i64,
    pub(crate) refunds: BTreeMap<String, Entry>,
    /// Numbers by when they last arrived in time.
    arrivals: BTreeMap<String, Duration>,
}

/// One refund.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) amount: i64,
    pub(crate) total: i64,
    pub(crate) reason: String,
    pub(crate) status: Status,
    pub(crate) times_paid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Processing,
    Paid,
    Closed,
    Abnormal,
}

/// What the wallet's own rules say to a refund call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new, and taken.
    Taken,
    /// It was there.
    Known,
    /// Refused: it may not.
    Refused(&'static str),
    /// Too soon after another refund of the order.
    TooSoon,
    /// The books don't have the order.
    NoOrder,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pub(crate) trades: BTreeMap<String, Trade>,
    pub(crate) violations: Vec<String>,
}

impl Books {
    pub(crate) fn open(&mut self, order_no: &str, wallet: WalletKind, amount: i64) {
        let trade = Trade { wallet, amount, refunds: BTreeMap::new(), arrivals: BTreeMap::new() };
        self.trades.insert(order_no.to_owned(), trade);
    }

    /// A refund call arrives. `late`: it was on its way for longer than a caller waits.
    pub(crate) fn judge(
        &mut self,
        order_no: &str,
        number: &str,
        call: (i64, i64, &str),
        now: Duration,
        late: bool,
    ) -> Verdict {
        let (amount, total, reason) = call;
        let Some(trade) = self.trades.get_mut(order_no) else { return Verdict::NoOrder };
        let arrived = trade.arrivals.iter().filter(|(other, _)| *other != number).map(|(_, at)| *at).max();
        if !late {
            trade.arrivals.insert(number.to_owned(), now);
        }
        if let Some(entry) = trade.refunds.get(number) {
            if (entry.amount, entry.total, entry.reason.as_str()) != call {
                self.violations.push(format!("{number} was sent again with other parameters"));
                return Verdict::Refused("PARAM_ERROR");
            }
            return Verdict::Known;
        }
        if total != trade.amount {
            self.violations.push(format!("{number} names a total of {total}, paid were {}", trade.amount));
        }
        let pace = Duration::from_secs(if trade.wallet == WalletKind::Wechat { 60 } else { 3 });
        if let Some(before) = arrived
            && now < before + pace
            && !late
        {
            self.violations.push(format!("{number} came {:?} after another refund of {order_no}", now - before));
            return Verdict::TooSoon;
        }
        let gone: i64 = trade.refunds.values().filter(|entry| entry.status != Status::Closed).map(|e| e.amount).sum();
        if gone + amount > trade.amount {
            self.violations.push(format!("only the wallet's own rest stopped {number} on {order_no}"));
            return Verdict::Refused("NOT_ENOUGH");
        }
        let _ = reason;
        Verdict::Taken
    }

    /// Writes a new refund down.
    pub(crate) fn enter(&mut self, order_no: &str, number: &str, call: (i64, i64, &str), status: Status) {
        let Some(trade) = self.trades.get_mut(order_no) else { return };
        let (amount, total, reason) = call;
        let entry = Entry { amount, total, reason: reason.to_owned(), status, times_paid: 0 };
        trade.refunds.insert(number.to_owned(), entry);
        if status == Status::Paid {
            self.pay(order_no, number);
        }
    }

    /// Money moves.
    fn pay(&mut self, order_no: &str, number: &str) {
        let Some(trade) = self.trades.get_mut(order_no) else { return };
        if let Some(entry) = trade.refunds.get_mut(number) {
            entry.status = Status::Paid;
            entry.times_paid += 1;
        }
    }

    /// A refund that was under way ends.
    pub(crate) fn settle(&mut self, order_no: &str, number: &str, status: Status) {
        let entry = self.trades.get_mut(order_no).and_then(|trade| trade.refunds.get_mut(number));
        match entry {
            Some(entry) if matches!(entry.status, Status::Processing | Status::Abnormal) => {
                if status == Status::Paid {
                    self.pay(order_no, number);
                } else {
                    entry.status = status;
                }
            }
            _ => {}
        }
    }

    pub(crate) fn find(&self, order_no: &str, number: &str) -> Option<Entry> {
        self.trades.get(order_no)?.refunds.get(number).cloned()
    }

    /// What all refunds of an order come to.
    pub(crate) fn refunded(&self, order_no: &str) -> i64 {
        let refunds = self.trades.get(order_no).into_iter().flat_map(|trade| trade.refunds.values());
        refunds.filter(|entry| entry.status == Status::Paid).map(|entry| entry.amount).sum()
    }
}

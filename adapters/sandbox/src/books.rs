//! The sandbox's own books: the independent truth about orders, refunds and money paid out (contract §7).
//!
//! Pure: no clock, no socket, no wire format. Every call takes the time; what time itself has done since the last call
//! (a refund that has been `PROCESSING` long enough) is caught up first. The wallets' own rules for refunds are in
//! [`refunds`], those for orders in [`orders`].

mod bill;
mod kept;
mod orders;
mod payers;
mod refunds;

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};

pub(crate) use bill::Entry;
pub(crate) use kept::Line;
pub(crate) use orders::{CloseRefusal, NewOrder, Order, OrderRefusal, OrderState, VoidRefusal};
pub(crate) use refunds::{Ending, PayoutRefusal, Refund, RefundAsk, RefundRefusal, RefundStatus, SettleRefusal};

use crate::scale::Scale;

/// Whose books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wallet {
    Wechat,
    Alipay,
}

impl Wallet {
    pub(crate) const ALL: [Self; 2] = [Self::Wechat, Self::Alipay];

    /// The contract's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Wechat => "wechat",
            Self::Alipay => "alipay",
        }
    }
}

/// An order by one of its two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrderNumber {
    /// The merchant's (or the acquirer's): `out_trade_no`.
    Merchant(String),
    /// The wallet's: `transaction_id`, `trade_no`.
    Wallet(String),
}

impl OrderNumber {
    /// The number itself, for people.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Merchant(number) | Self::Wallet(number) => number,
        }
    }
}

type Key = (Wallet, String);

/// Something that must not have happened, or that only the wallet's own limit stopped (contract §7, the ledger's row).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Violation {
    pub(crate) at: Timestamp,
    pub(crate) wallet: Wallet,
    pub(crate) kind: ViolationKind,
    pub(crate) out_trade_no: String,
    pub(crate) out_refund_no: String,
    pub(crate) detail: String,
}

/// Why it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ViolationKind {
    /// Money of one refund left twice.
    PaidTwice,
    /// More money left than was paid in.
    PaidPastTheOrder,
    /// A refund under a new number that nothing but the rest of the order stopped.
    StoppedByTheRest,
    /// A known number, with other parameters.
    NumberReused,
}

/// A change of a refund that the wallet tells the merchant about. It carries what it needs: the books may have moved on
/// when it is sent.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) order: Order,
    pub(crate) refund: Refund,
    /// What had gone back of the order when this happened, this refund included.
    pub(crate) refunded: i64,
    pub(crate) url: String,
}

/// The sums of the books (contract §7, `GET /_sandbox/ledger`).
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ledger {
    pub(crate) orders: usize,
    pub(crate) refunds: usize,
    pub(crate) refunded_fen: i64,
    pub(crate) violations: Vec<Violation>,
}

/// The books of both wallets.
pub(crate) struct Books {
    scale: Scale,
    rng: ChaCha20Rng,
    orders: HashMap<Key, Order>,
    by_wallet_number: HashMap<Key, Key>,
    /// WeChat's refund numbers are unique per merchant, not per order (wechat-pay §10).
    wechat_refunds: HashMap<String, Key>,
    /// Which refund's `PROCESSING` ends when.
    due: BTreeSet<(Timestamp, String)>,
    codes: payers::Codes,
    pace: refunds::Recent,
    violations: Vec<Violation>,
    news: Vec<News>,
    /// What changed since it was last written down; `None` where nobody writes.
    changes: Option<kept::Changes>,
}

impl Books {
    /// Empty books. `seed` makes the numbers that they give out repeatable.
    pub(crate) fn new(scale: Scale, seed: Option<u64>) -> Self {
        Self {
            scale,
            rng: seed.map_or_else(ChaCha20Rng::from_entropy, ChaCha20Rng::seed_from_u64),
            orders: HashMap::new(),
            by_wallet_number: HashMap::new(),
            wechat_refunds: HashMap::new(),
            due: BTreeSet::new(),
            codes: payers::Codes::default(),
            pace: refunds::Recent::default(),
            violations: Vec::new(),
            news: Vec::new(),
            changes: None,
        }
    }

    /// What is to be told since the last time this was asked.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// When time next changes something by itself.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The sums, and everything that should not have happened.
    pub(crate) fn ledger(&mut self, now: Timestamp) -> Ledger {
        self.catch_up(now);
        Ledger {
            orders: self.orders.len(),
            refunds: self.orders.values().map(|order| order.refunds.len()).sum(),
            refunded_fen: self.orders.values().map(Order::refunded).sum(),
            violations: self.violations.clone(),
        }
    }

    /// A seed for a picture, from the same stream as every other number.
    pub(crate) fn draw_seed(&mut self) -> u64 {
        self.rng.next_u64()
    }

    fn violation(&mut self, at: Timestamp, kind: ViolationKind, order: &Key, number: &str, detail: String) {
        tracing::warn!(wallet = order.0.word(), ?kind, detail, "a violation");
        let violation = Violation {
            at,
            wallet: order.0,
            kind,
            out_trade_no: order.1.clone(),
            out_refund_no: number.to_owned(),
            detail,
        };
        self.note_violation(&violation);
        self.violations.push(violation);
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + u8::try_from(self.rng.next_u32() % 10).unwrap_or(0))).collect()
    }
}

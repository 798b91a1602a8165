//! Bills: what a wallet says of one day, read from whatever file it hands out.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp,
    civil::Date,
    tz::{Offset, TimeZone},
};

use crate::{Money, OrderNo, TransactionId, WalletRefundId, WalletRequestNo};

/// Which bill of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BillKind {
    /// Payments and refunds, a line each (交易账单).
    Trades,
    /// What moved on the merchant's account (资金账单).
    Funds,
}

impl BillKind {
    /// A word for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trades => "trades",
            Self::Funds => "funds",
        }
    }
}

/// A day as wallets count them: midnight to midnight in Beijing (UTC+8 the year round). `2026-11-26`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BillDay(Date);

const BEIJING: Offset = jiff::tz::offset(8);

/// Why a text is no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a day is written YYYY-MM-DD")]
pub struct NotADay;

impl BillDay {
    /// The day of this moment.
    #[must_use]
    pub fn of(moment: Timestamp) -> Self {
        Self(BEIJING.to_datetime(moment).date())
    }

    /// The day before; `None` at the beginning of the calendar.
    #[must_use]
    pub fn yesterday(self) -> Option<Self> {
        self.0.yesterday().ok().map(Self)
    }

    /// Its first moment; `None` at the ends of the calendar.
    #[must_use]
    pub fn start(self) -> Option<Timestamp> {
        self.0.to_zoned(TimeZone::fixed(BEIJING)).ok().map(|zoned| zoned.timestamp())
    }
}

impl FromStr for BillDay {
    type Err = NotADay;
    /// Reads `YYYY-MM-DD`.
    fn from_str(text: &str) -> Result<Self, NotADay> {
        let shape = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let date = shape.then(|| text.parse().ok()).flatten();
        date.map(Self).ok_or(NotADay)
    }
}

impl fmt::Display for BillDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A bill, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bill {
    /// Of payments and refunds.
    Trades(TradeBill),
    /// Of the merchant's account.
    Funds(FundBill),
}

/// Payments and refunds of a day, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradeBill {
    /// Whose.
    pub day: BillDay,
    /// What could be read.
    pub lines: Vec<TradeLine>,
    /// What could not, for people: each says which line and why. A bill is never thrown away for one odd line, and no
    /// line is lost without a word.
    pub unread: Vec<UnreadLine>,
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadLine {
    /// Counted from 1, as an editor shows it.
    pub line: usize,
    /// What is odd about it.
    pub why: String,
}

/// One payment or refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradeLine {
    /// The out_trade_no.
    pub order_no: OrderNo,
    /// The wallet's own number of the payment.
    pub transaction_id: TransactionId,
    /// When, as the bill says it.
    pub at: Option<Timestamp>,
    /// The merchant's own mark of a shop, where there is one.
    pub store: Option<String>,
    /// What it is.
    pub entry: TradeEntry,
}

/// What a line of a trade bill tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TradeEntry {
    /// Somebody paid.
    Payment {
        /// What was to be paid.
        amount: Money,
    },
    /// Money goes back.
    Refund {
        /// Under which number.
        request_no: WalletRequestNo,
        /// The wallet's own number, where it has one.
        wallet_refund_id: Option<WalletRefundId>,
        /// How much, as a positive amount whatever the file's sign.
        amount: Money,
        /// How far it was when the bill was made; never rewritten afterwards.
        standing: Standing,
    },
    /// The whole payment was taken back (撤销), under no number of a refund.
    Void {
        /// What was paid.
        amount: Money,
    },
}

/// How far a refund was when its bill was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The money is back.
    Paid,
    /// Under way, or in a word that is not known: contradicts nothing.
    UnderWay,
    /// It ended without paying.
    Failed,
}

/// What moved on the account in a day, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FundBill {
    /// Whose.
    pub day: BillDay,
    /// What could be read.
    pub lines: Vec<FundLine>,
    /// What could not.
    pub unread: Vec<UnreadLine>,
}

/// One movement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FundLine {
    /// When it was booked.
    pub at: Option<Timestamp>,
    /// The wallet's number of what caused it: of a payment or of a refund.
    pub cause: String,
    /// The number of the movement itself.
    pub flow_no: String,
    /// The wallet's word for the kind: 交易, 退款, 扣除交易手续费, …
    pub kind: String,
    /// Into the account, or out of it.
    pub incoming: bool,
    /// How much.
    pub amount: Money,
    /// What the account held afterwards; `None` where that is not said or below zero.
    pub balance: Option<Money>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_beijings_and_nothing_else_is_a_day() {
        let day: BillDay = "2026-11-26".parse().unwrap();
        assert_eq!(day.to_string(), "2026-11-26");
        assert_eq!(BillDay::of("2026-11-25T16:00:00Z".parse().unwrap()), day);
        assert_eq!(BillDay::of("2026-11-25T15:59:59Z".parse().unwrap()), day.yesterday().unwrap());
        assert_eq!(day.start().unwrap().to_string(), "2026-11-25T16:00:00Z");
        for text in ["", "2026-11-31", "20261126", "2026-11-26T00:00", "+002026-11", "2026/11/26"] {
            assert_eq!(text.parse::<BillDay>(), Err(NotADay), "{text}");
        }
    }
}

//! An order: one payment taken elsewhere that may be refunded here.

use std::str::FromStr;

use jiff::Timestamp;
use scanback_wallet::{MerchantId, Money, OrderNo, OrderRef, StoreId, TerminalId, TransactionId, WalletKind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whether and how the payment stands, leaving refunds aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payment {
    /// Not paid, or not yet.
    Unpaid,
    /// Paid.
    Paid,
    /// Closed: never paid, or ended and past refunding at the wallet.
    Closed,
    /// Reversed as a whole.
    Voided,
}

impl Payment {
    /// The word in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unpaid => "unpaid",
            Self::Paid => "paid",
            Self::Closed => "closed",
            Self::Voided => "voided",
        }
    }

    /// Reads the ledger's word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Unpaid, Self::Paid, Self::Closed, Self::Voided].into_iter().find(|p| p.as_str() == text)
    }
}

/// The order as others see it: the payment and what went back. Source: contract §3, `Order.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Not paid, or not yet.
    Unpaid,
    /// Paid, and nothing went back.
    Paid,
    /// A part went back.
    PartiallyRefunded,
    /// All of it went back, less the fees kept.
    Refunded,
    /// Reversed as a whole.
    Voided,
    /// Closed.
    Closed,
}

impl OrderState {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unpaid => "unpaid",
            Self::Paid => "paid",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Voided => "voided",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for OrderState {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Unpaid, Self::Paid, Self::PartiallyRefunded, Self::Refunded, Self::Voided, Self::Closed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

/// How what the wallet proved to have paid back fits into an order, in minor units (contract §4 rule 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// What counts as refunded.
    pub refunded: i64,
    /// What is left of the fees: they give way first.
    pub fees: i64,
    /// What doesn't fit.
    pub overpaid: i64,
}

impl Fit {
    /// The truth is never refused: `refunded = min(paid_back, amount − reserved − fees)`, the rest is `overpaid`. All
    /// arguments are minor units, with `reserved + fees ≤ amount`.
    #[must_use]
    pub fn of(amount: i64, reserved: i64, fees: i64, paid_back: i64) -> Self {
        let fees = fees.min((amount - reserved - paid_back).max(0));
        let refunded = paid_back.min(amount - reserved - fees);
        Self { refunded, fees, overpaid: paid_back - refunded }
    }
}

/// What kind of sale it was; a preorder's window may run from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// Bought and taken.
    Sale,
    /// Booked for later: `starts_at` says when.
    Preorder,
}

impl OrderKind {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Preorder => "preorder",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Sale, Self::Preorder].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An order as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The ledger's own number.
    pub id: Uuid,
    /// Who was paid.
    pub merchant_id: MerchantId,
    /// Through which wallet.
    pub wallet: WalletKind,
    /// The wallet's out_trade_no.
    pub order_no: OrderNo,
    /// The wallet's own number.
    pub transaction_id: Option<TransactionId>,
    /// Other numbers that people know it by, such as the acquirer's.
    pub aliases: Vec<OrderNo>,
    /// What was paid.
    pub amount: Money,
    /// What went back.
    pub refunded: Money,
    /// What open refunds hold.
    pub reserved: Money,
    /// What the merchant kept of parts that are closed.
    pub fees: Money,
    /// What the wallet proved to have paid back beyond what fits; while it is not 0 the order is frozen (contract §4 rule 1).
    pub overpaid: Money,
    /// How the payment stands.
    pub payment: Payment,
    /// What kind of sale.
    pub kind: OrderKind,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// When what was booked begins.
    pub starts_at: Option<Timestamp>,
    /// Where it was paid.
    pub store_id: Option<StoreId>,
    /// At which device.
    pub terminal_id: Option<TerminalId>,
    /// Whether no refund may begin until a person has looked.
    pub frozen: bool,
    /// Whether refunds exist that were made elsewhere, of an amount that the wallet doesn't tell.
    pub refunded_elsewhere: bool,
    /// Whether the wallet's record was compared with ours.
    pub checked: bool,
    /// Refunds that count against the wallet's number of refunds for one order.
    pub refund_count: u32,
}

impl Order {
    /// What is left to refund: `amount − refunded − reserved − fees`, never less than nothing (contract §4 rule 1).
    #[must_use]
    pub fn refundable(&self) -> Money {
        self.amount
            .minus(self.refunded)
            .and_then(|left| left.minus(self.reserved))
            .and_then(|left| left.minus(self.fees))
            .unwrap_or(Money::zero(self.amount.currency()))
    }

    /// The order as others see it.
    #[must_use]
    pub fn state(&self) -> OrderState {
        match self.payment {
            Payment::Unpaid => OrderState::Unpaid,
            Payment::Closed => OrderState::Closed,
            Payment::Voided => OrderState::Voided,
            Payment::Paid if self.refunded.is_zero() => OrderState::Paid,
            Payment::Paid if self.refunded.plus(self.fees) == Ok(self.amount) => OrderState::Refunded,
            Payment::Paid => OrderState::PartiallyRefunded,
        }
    }

    /// The order as a wallet call names it.
    #[must_use]
    pub fn reference(&self) -> OrderRef {
        OrderRef { order_no: self.order_no.clone(), transaction_id: self.transaction_id.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Contract §4 rule 1, whatever was paid back.
        #[test]
        fn what_was_paid_back_never_breaks_the_ceiling(
            reserved in 0..2_000i64, fees in 0..2_000i64, left in 0..2_000i64, paid_back in 0..9_000i64,
        ) {
            let amount = reserved + fees + left;
            let fit = Fit::of(amount, reserved, fees, paid_back);
            prop_assert!(fit.refunded >= 0 && fit.fees >= 0 && fit.overpaid >= 0);
            prop_assert!(fit.refunded + reserved + fit.fees <= amount);
            prop_assert_eq!(fit.refunded + fit.overpaid, paid_back);
            prop_assert!(fit.fees <= fees);
            if fit.overpaid > 0 {
                prop_assert_eq!((fit.fees, fit.refunded), (0, amount - reserved), "fees give way first");
            }
        }
    }
}

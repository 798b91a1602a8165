//! What a wallet is asked for beside refunds: to take a whole payment back, to pay to an account, to close an order.

use std::fmt;

use zeroize::Zeroizing;

use crate::{Money, OrderRef, PayerId, RefundCall, WalletRefundId, WalletRequestNo};

/// Asks for a whole payment to be taken back (撤销).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoidCall {
    /// Which order.
    pub order: OrderRef,
    /// Our number. A wallet that voids by the order alone doesn't see it.
    pub request_no: WalletRequestNo,
    /// What was paid, and goes back.
    pub total: Money,
    /// The public text of the reason.
    pub reason: String,
    /// What is known of the payment itself: some wallets have one call for each (contract §4 rule 12).
    pub payment: PaymentResult,
}

impl VoidCall {
    /// The same as a refund of all that was paid: for wallets that take a paid order back so.
    #[must_use]
    pub fn as_refund(&self) -> RefundCall {
        RefundCall {
            order: self.order.clone(),
            request_no: self.request_no.clone(),
            amount: self.total,
            total: self.total,
            reason: self.reason.clone(),
            notify_url: None,
            goods: Vec::new(),
        }
    }
}

/// What is known of a payment that is to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentResult {
    /// The wallet says that it is paid.
    Paid,
    /// The payment call timed out or broke, and nobody knows.
    Unknown,
}

/// Asks for a refund that the wallet could not pay out to be paid to an account (异常退款). Never stored in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbnormalCall {
    /// The refund as it was sent.
    pub refund: RefundCall,
    /// The wallet's own number of it.
    pub wallet_refund_id: WalletRefundId,
    /// Where the money shall go.
    pub to: Payout,
}

/// An account that money can be paid out to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payout {
    /// The merchant's own bank card at the wallet; the merchant then pays the customer.
    Merchant,
    /// The customer's bank card.
    Customer {
        /// The wallet's word for the bank, for example `CMB_DEBIT`.
        bank_type: String,
        /// The card's number.
        bank_account: Private,
        /// The holder's name.
        real_name: Private,
    },
}

/// Personal data on its way through: shows nothing in `Debug`, has no `Display`, and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Private(Zeroizing<String>);

impl Private {
    /// Takes a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Private(hidden)")
    }
}

/// Whose payment code it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayerOf {
    /// This person's.
    Payer(PayerId),
    /// Nobody's any more, or never anybody's: it ran out, or is no payment code. A fresh one is needed.
    NoCode,
}

/// A part of the goods that a refund is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundedGoods {
    /// The merchant's number of the goods.
    pub goods_id: String,
    /// What it is called.
    pub name: Option<String>,
    /// The price of one.
    pub unit_price: Money,
    /// What goes back for these.
    pub refund_amount: Money,
    /// How many of them.
    pub quantity: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_data_is_hidden() {
        let card = Payout::Customer {
            bank_type: "CMB_DEBIT".to_owned(),
            bank_account: Private::new("6225880137000000".to_owned()),
            real_name: Private::new("张三".to_owned()),
        };
        let shown = format!("{card:?}");
        assert!(!shown.contains("6225") && !shown.contains("张三"), "{shown}");
    }
}

//! The refund policy: one pure function from what is known to a decision or the first refusal that applies.

use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{Capabilities, Money};

use crate::domain::{
    actor::Role,
    order::{Order, OrderState},
    payer::PayerCheck,
    reason::{Reason, default_reasons},
    refusal::Refusal,
};

/// When a person with a PIN must stand behind a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorRule {
    /// Never.
    Never,
    /// Where a terminal asks.
    Terminal,
    /// Always.
    Always,
}

/// The policy of the desk. The defaults are those of a careful shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The reasons that may be given.
    pub reasons: Vec<Reason>,
    /// How old a scan may be when it is used, in seconds.
    pub scan_max_age_s: u32,
    /// Days from payment in which a sale is refunded here; the wallet's own window may end sooner.
    pub refund_window_days: u32,
    /// Who needs a person with a PIN.
    pub operator: OperatorRule,
    /// Whether a note must be given.
    pub require_note: bool,
    /// Whether less than all that is left may go back.
    pub partial_refunds: bool,
    /// Whether who shows a payment code must be the payer.
    pub payer_check: PayerCheck,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            reasons: default_reasons(),
            scan_max_age_s: 120,
            refund_window_days: 365,
            operator: OperatorRule::Terminal,
            require_note: false,
            partial_refunds: true,
            payer_check: PayerCheck::Off,
        }
    }
}

/// What a refund asks of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// How much; `None` means all that is left.
    pub amount: Option<Money>,
    /// What the caller believes to be left.
    pub expected_refundable: Option<Money>,
}

impl Wish {
    /// Whether it speaks of the order as it is: its currency, and what is left.
    /// # Errors
    /// [`Refusal::CurrencyMismatch`], [`Refusal::RefundableChanged`], in this order.
    pub fn fits(&self, order: &Order) -> Result<(), Refusal> {
        let currency = order.amount.currency();
        if [self.amount, self.expected_refundable].into_iter().flatten().any(|money| money.currency() != currency) {
            return Err(Refusal::CurrencyMismatch { order: currency });
        }
        let refundable = order.refundable();
        if self.expected_refundable.is_some_and(|expected| expected != refundable) {
            return Err(Refusal::RefundableChanged { refundable });
        }
        Ok(())
    }
}

/// The policy's yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What goes back.
    pub amount: Money,
    /// What the merchant keeps; 0 until fees come.
    pub fee: Money,
    /// What will be left then.
    pub refundable_after: Money,
}

impl Policy {
    /// The reason with this code.
    #[must_use]
    pub fn reason(&self, code: &str) -> Option<&Reason> {
        self.reasons.iter().find(|reason| reason.code == code)
    }

    /// Whether a caller of this role must name a person with a PIN.
    #[must_use]
    pub const fn needs_operator(&self, role: Role) -> bool {
        match self.operator {
            OperatorRule::Never => false,
            OperatorRule::Terminal => matches!(role, Role::Terminal),
            OperatorRule::Always => true,
        }
    }

    /// The last moment in which the order can be refunded: the sooner of the policy's and the wallet's window.
    #[must_use]
    pub fn refund_until(&self, order: &Order, wallet: &Capabilities) -> Option<Timestamp> {
        let days = self.refund_window_days.min(wallet.refund_window_days);
        order.paid_at.and_then(|paid_at| paid_at.checked_add(SignedDuration::from_hours(24 * i64::from(days))).ok())
    }

    /// Decides. The order of the checks is that of contract §3: currency, 412, the 409 rules, the amount last.
    /// # Errors
    /// The first [`Refusal`] that applies.
    pub fn decide(
        &self,
        order: &Order,
        wish: &Wish,
        wallet: &Capabilities,
        now: Timestamp,
    ) -> Result<Decision, Refusal> {
        wish.fits(order)?;
        let refundable = order.refundable();
        if order.frozen {
            return Err(Refusal::OrderFrozen);
        }
        match order.state() {
            // nothing is left of a refunded order: the amount says so below, with what is left
            OrderState::Paid | OrderState::PartiallyRefunded | OrderState::Refunded => {}
            state @ (OrderState::Unpaid | OrderState::Voided | OrderState::Closed) => {
                return Err(Refusal::OrderNotRefundable { state });
            }
        }
        if let Some(until) = self.refund_until(order, wallet).filter(|until| now > *until) {
            return Err(Refusal::RefundWindowPassed { until });
        }
        let amount = wish.amount.unwrap_or(refundable);
        if !self.partial_refunds && amount.value() < refundable.value() {
            return Err(Refusal::PartialRefundNotAllowed);
        }
        if let Some(max) = wallet.max_refunds_per_order.filter(|max| order.refund_count >= *max) {
            return Err(Refusal::TooManyRefunds { max });
        }
        if order.refunded_elsewhere {
            // needs a second person (contract §4 rule 9); until there are approvals it is refused, and nothing is held
            return Err(Refusal::PolicyRefused(
                "the wallet has refunds of this order that were made elsewhere; it needs an approval",
            ));
        }
        match refundable.minus(amount) {
            Ok(refundable_after) if !amount.is_zero() => {
                Ok(Decision { amount, fee: Money::zero(amount.currency()), refundable_after })
            }
            _ => Err(Refusal::AmountExceedsRefundable { refundable }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use scanback_wallet::{Currency, MerchantId, OrderNo, WalletKind};
    use uuid::Uuid;

    use super::*;
    use crate::domain::order::{OrderKind, Payment};

    const WALLET: Capabilities = Capabilities {
        max_refunds_per_order: Some(50),
        pace: Duration::from_secs(60),
        waits_while_unknown: true,
        ask_after: Duration::from_secs(1),
        settles_within: Duration::from_secs(60),
        refund_window_days: 365,
        void: None,
        pays_to_account: false,
        names_payer: false,
        trade_bill: false,
        fund_bill: false,
    };

    fn fen(value: i64) -> Money {
        Money::fen(value).unwrap()
    }

    fn order(amount: i64, refunded: i64, reserved: i64) -> Order {
        Order {
            id: Uuid::nil(),
            merchant_id: MerchantId::parse("m").unwrap(),
            wallet: WalletKind::Wechat,
            order_no: OrderNo::parse("T-1").unwrap(),
            transaction_id: None,
            aliases: vec![],
            amount: fen(amount),
            refunded: fen(refunded),
            reserved: fen(reserved),
            fees: fen(0),
            overpaid: fen(0),
            payment: Payment::Paid,
            kind: OrderKind::Sale,
            paid_at: Some(now()),
            starts_at: None,
            store_id: None,
            terminal_id: None,
            frozen: false,
            refunded_elsewhere: false,
            checked: true,
            refund_count: 0,
        }
    }

    fn now() -> Timestamp {
        "2026-11-22T08:00:00Z".parse().unwrap()
    }

    fn wish(amount: Option<i64>) -> Wish {
        Wish { amount: amount.map(fen), expected_refundable: None }
    }

    proptest! {
        /// Whatever is asked, a yes never passes what is left, and never gives nothing.
        #[test]
        fn a_yes_fits_what_is_left(
            left in 0..5_000i64, refunded in 0..5_000i64, reserved in 0..5_000i64, asked in proptest::option::of(0..6_000i64),
        ) {
            let order = order(left + refunded + reserved, refunded, reserved);
            match Policy::default().decide(&order, &wish(asked), &WALLET, now()) {
                Ok(yes) => {
                    prop_assert!(yes.amount.value() > 0 && yes.amount.value() <= left);
                    prop_assert_eq!(yes.refundable_after.value(), left - yes.amount.value());
                }
                Err(refusal) => {
                    prop_assert!(asked.unwrap_or(left) == 0 || asked.unwrap_or(left) > left);
                    prop_assert_eq!(refusal, Refusal::AmountExceedsRefundable { refundable: fen(left) });
                }
            }
        }
    }

    #[test]
    fn the_first_rule_that_applies_refuses() {
        let year = |days: i64| now() - SignedDuration::from_hours(24 * days);
        let late = Order { paid_at: Some(year(366)), ..order(100, 0, 0) };
        let cases: Vec<(Order, Wish, Refusal)> = vec![
            (
                Order { frozen: true, ..late.clone() },
                Wish { amount: Some(Money::new(1, Currency::parse("USD").unwrap()).unwrap()), ..wish(None) },
                Refusal::CurrencyMismatch { order: Currency::CNY },
            ),
            (
                Order { frozen: true, ..late.clone() },
                Wish { expected_refundable: Some(fen(7)), ..wish(None) },
                Refusal::RefundableChanged { refundable: fen(100) },
            ),
            (Order { frozen: true, ..late.clone() }, wish(None), Refusal::OrderFrozen),
            (
                Order { payment: Payment::Unpaid, ..late.clone() },
                wish(None),
                Refusal::OrderNotRefundable { state: OrderState::Unpaid },
            ),
            (late.clone(), wish(Some(500)), Refusal::RefundWindowPassed { until: year(1) }),
            (
                Order { refund_count: 50, refunded_elsewhere: true, ..order(100, 50, 0) },
                wish(Some(500)),
                Refusal::TooManyRefunds { max: 50 },
            ),
            (order(100, 100, 0), wish(None), Refusal::AmountExceedsRefundable { refundable: fen(0) }),
        ];
        for (order, wish, expected) in cases {
            assert_eq!(Policy::default().decide(&order, &wish, &WALLET, now()), Err(expected));
        }
        let whole_only = Policy { partial_refunds: false, ..Policy::default() };
        let answer = |asked| whole_only.decide(&order(100, 0, 0), &wish(asked), &WALLET, now());
        assert_eq!(answer(Some(99)), Err(Refusal::PartialRefundNotAllowed));
        assert!(answer(Some(100)).is_ok() && answer(None).is_ok());
    }

    #[test]
    fn the_window_is_the_sooner_of_ours_and_the_wallets() {
        let short = Capabilities { refund_window_days: 90, ..WALLET };
        let until = Policy::default().refund_until(&order(1, 0, 0), &short).unwrap();
        assert_eq!(until.duration_since(now()), SignedDuration::from_hours(24 * 90));
    }
}

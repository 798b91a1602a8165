//! Orders: made by control calls, asked for, closed, and taken back whole (void).

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Books, Ending, Key, OrderNumber, Refund, RefundStatus, ViolationKind, Wallet};
use crate::beijing;

/// WeChat's reverse: not earlier than this after paying (wechat-pay §14), divided by the time scale.
const REVERSE_NOT_BEFORE: Duration = Duration::from_secs(15);
/// And not later than this. Days are days at any scale.
const REVERSE_UNTIL: Duration = Duration::from_secs(7 * 24 * 3600);
/// Alipay's cancel: its window is unconfirmed (alipay §11); 24 hours is what people say.
const CANCEL_UNTIL: Duration = Duration::from_secs(24 * 3600);
/// The age that an order gets which is made with a refund already in it, so that the refund's pace is over.
const REFUNDED_ORDER_AGE: Duration = Duration::from_secs(600);

/// The state of an order, in the words of contract §3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrderState {
    Unpaid,
    Paid,
    PartiallyRefunded,
    Refunded,
    Voided,
    Closed,
}

impl OrderState {
    /// Every state and its word.
    pub(crate) const WORDS: [(&'static str, Self); 6] = [
        ("unpaid", Self::Unpaid),
        ("paid", Self::Paid),
        ("partially_refunded", Self::PartiallyRefunded),
        ("refunded", Self::Refunded),
        ("voided", Self::Voided),
        ("closed", Self::Closed),
    ];

    /// Whether money came in at some time.
    pub(crate) fn was_paid(self) -> bool {
        !matches!(self, Self::Unpaid | Self::Closed)
    }
}

/// One payment taken by the wallet. Amounts are fen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) wallet: Wallet,
    pub(crate) out_trade_no: String,
    pub(crate) transaction_id: String,
    pub(crate) amount: i64,
    pub(crate) payer: String,
    pub(crate) trade_type: String,
    pub(crate) notify_url: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) paid_at: Option<Timestamp>,
    /// Closed before anyone paid.
    pub(crate) closed_at: Option<Timestamp>,
    /// Taken back whole: WeChat's reverse, Alipay's cancel. Of an unpaid order too, then without money.
    pub(crate) voided: Option<Void>,
    pub(crate) refunds: Vec<Refund>,
}

/// A payment taken back whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Void {
    pub(crate) at: Timestamp,
    pub(crate) amount: i64,
    pub(crate) times_paid: u32,
}

impl Order {
    /// What goes back, from acceptance on: a refund that was closed gives it up again (contract §7).
    pub(crate) fn refunded(&self) -> i64 {
        let refunds = self.refunds.iter().filter(|refund| refund.status != RefundStatus::Closed);
        refunds.map(|refund| refund.amount).sum::<i64>() + self.voided.as_ref().map_or(0, |void| void.amount)
    }

    /// What the wallet would still let go.
    pub(crate) fn rest(&self) -> i64 {
        self.amount - self.refunded()
    }

    /// What left the wallet, counted each time that it did.
    pub(super) fn paid_out(&self) -> i64 {
        let refunds = self.refunds.iter().map(|refund| refund.amount * i64::from(refund.times_paid));
        refunds.sum::<i64>() + self.voided.as_ref().map_or(0, |void| void.amount * i64::from(void.times_paid))
    }

    /// The state in the contract's words.
    pub(crate) fn state(&self) -> OrderState {
        if self.voided.is_some() {
            OrderState::Voided
        } else if self.closed_at.is_some() {
            OrderState::Closed
        } else if self.paid_at.is_none() {
            OrderState::Unpaid
        } else if self.refunded() == 0 {
            OrderState::Paid
        } else if self.rest() > 0 {
            OrderState::PartiallyRefunded
        } else {
            OrderState::Refunded
        }
    }

    /// A refund of this order, by its number.
    pub(crate) fn refund(&self, number: &str) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.number == number)
    }
}

/// What a control call asks for. `amount` is fen, above nothing; the texts have been checked.
#[derive(Clone, Debug)]
pub(crate) struct NewOrder {
    pub(crate) wallet: Wallet,
    pub(crate) out_trade_no: String,
    pub(crate) amount: i64,
    pub(crate) payer: Option<String>,
    pub(crate) paid_at: Option<Timestamp>,
    pub(crate) state: OrderState,
    pub(crate) trade_type: String,
    pub(crate) notify_url: Option<String>,
}

/// Why an order can't be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderRefusal {
    NotFound,
}

/// The order is closed now.
#[derive(Clone, Debug)]
pub(crate) struct Closed(pub(crate) Order);

/// Why it was not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseRefusal {
    NotFound,
    Paid,
    AlreadyClosed,
}

/// A void that happened.
#[derive(Clone, Debug)]
pub(crate) struct Voided {
    pub(crate) order: Order,
    /// Money went back; else the order was unpaid and is closed.
    pub(crate) paid_back: bool,
}

/// Why a void did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoidRefusal {
    NotFound,
    /// Only code payments can be taken back (WeChat).
    NotACodePayment,
    TooEarly,
    TooLate,
    /// A refund came first: the rest can only be refunded.
    HasRefunds,
}

impl Books {
    /// Takes an order in. A number that is there already is `None`.
    pub(crate) fn add_order(&mut self, new: NewOrder, now: Timestamp) -> Option<(Order, String)> {
        self.catch_up(now);
        let key: Key = (new.wallet, new.out_trade_no.clone());
        if self.orders.contains_key(&key) {
            return None;
        }
        let has_refund = matches!(new.state, OrderState::PartiallyRefunded | OrderState::Refunded);
        let unless_given = if has_refund { now.checked_sub(REFUNDED_ORDER_AGE).unwrap_or(now) } else { now };
        let paid_at = new.state.was_paid().then(|| new.paid_at.unwrap_or(unless_given));
        let moment = paid_at.unwrap_or(now);
        let transaction_id = match new.wallet {
            // observed form, wechat-pay §18
            Wallet::Wechat => {
                format!("4200{}{}{}", self.digits(6), beijing::day_digits(moment), self.digits(10))
            }
            Wallet::Alipay => format!("{}{}", beijing::day_digits(moment), self.digits(20)),
        };
        let payer = new.payer.unwrap_or_else(|| self.new_payer(new.wallet));
        let mut order = Order {
            wallet: new.wallet,
            out_trade_no: new.out_trade_no,
            transaction_id,
            amount: new.amount,
            payer,
            trade_type: new.trade_type,
            notify_url: new.notify_url,
            created_at: moment.min(now),
            paid_at,
            closed_at: (new.state == OrderState::Closed).then_some(now),
            voided: (new.state == OrderState::Voided).then_some(Void { at: moment, amount: new.amount, times_paid: 1 }),
            refunds: Vec::new(),
        };
        if has_refund {
            // paid back elsewhere, in the wallet's own merchant console
            let whole = new.state == OrderState::Refunded;
            let refund = Refund {
                number: format!("console{}", self.digits(20)),
                wallet_refund_id: self.wallet_refund_id(moment),
                amount: if whole { new.amount } else { (new.amount / 2).max(1) },
                reason: None,
                notify_url: None,
                funds_account: None,
                accepted_at: moment,
                open_since: moment,
                status: RefundStatus::Success,
                settled_at: Some(moment),
                times_paid: 1,
                ending: Ending::Success,
                untold: false,
            };
            if new.wallet == Wallet::Wechat {
                self.wechat_refunds.insert(refund.number.clone(), key.clone());
            }
            order.refunds.push(refund);
        }
        let code = self.new_code(order.wallet, &order.payer.clone(), now);
        self.by_wallet_number.insert((order.wallet, order.transaction_id.clone()), key.clone());
        self.orders.insert(key.clone(), order.clone());
        self.note_change(&key);
        Some((order, code))
    }

    /// The order of a number.
    pub(crate) fn order(
        &mut self,
        wallet: Wallet,
        number: &OrderNumber,
        now: Timestamp,
    ) -> Result<Order, OrderRefusal> {
        self.catch_up(now);
        let key = self.key_of(wallet, number, now).ok_or(OrderRefusal::NotFound)?;
        self.orders.get(&key).cloned().ok_or(OrderRefusal::NotFound)
    }

    /// The orders that were paid last, newest first.
    pub(crate) fn newest_orders(&mut self, most: usize, now: Timestamp) -> Vec<Order> {
        self.catch_up(now);
        let mut orders: Vec<&Order> = self.orders.values().collect();
        orders.sort_by_key(|order| (std::cmp::Reverse(order.created_at), &order.out_trade_no));
        orders.into_iter().take(most).cloned().collect()
    }

    /// The wallets that know a merchant's number.
    pub(crate) fn wallets_of(&self, out_trade_no: &str) -> Vec<Wallet> {
        let knows = |wallet: &Wallet| self.orders.contains_key(&(*wallet, out_trade_no.to_owned()));
        Wallet::ALL.into_iter().filter(knows).collect()
    }

    pub(super) fn key_of(&mut self, wallet: Wallet, number: &OrderNumber, now: Timestamp) -> Option<Key> {
        match number {
            OrderNumber::Merchant(number) => {
                let key = (wallet, number.clone());
                if self.orders.contains_key(&key) {
                    return Some(key);
                }
                if self.is_live_code(wallet, number, now) {
                    tracing::warn!(wallet = wallet.word(), "a customer's payment code was sent as an order number");
                }
                None
            }
            OrderNumber::Wallet(number) => self.by_wallet_number.get(&(wallet, number.clone())).cloned(),
        }
    }

    /// Closes an unpaid order (wechat-pay §9, alipay §12).
    pub(crate) fn close(
        &mut self,
        wallet: Wallet,
        number: &OrderNumber,
        now: Timestamp,
    ) -> Result<Closed, CloseRefusal> {
        self.catch_up(now);
        let key = self.key_of(wallet, number, now).ok_or(CloseRefusal::NotFound)?;
        let order = self.orders.get_mut(&key).ok_or(CloseRefusal::NotFound)?;
        match order.state() {
            OrderState::Unpaid => {
                order.closed_at = Some(now);
                let order = order.clone();
                self.note_change(&key);
                Ok(Closed(order))
            }
            OrderState::Closed => Err(CloseRefusal::AlreadyClosed),
            _ if order.paid_at.is_none() => Err(CloseRefusal::AlreadyClosed),
            _ => Err(CloseRefusal::Paid),
        }
    }

    /// Takes a payment back whole: WeChat's reverse (wechat-pay §14), Alipay's cancel (alipay §11). Asking again is the
    /// same void: the order's number makes it so.
    pub(crate) fn void(&mut self, wallet: Wallet, number: &OrderNumber, now: Timestamp) -> Result<Voided, VoidRefusal> {
        self.catch_up(now);
        let key = self.key_of(wallet, number, now).ok_or(VoidRefusal::NotFound)?;
        let not_before = self.scale.of(REVERSE_NOT_BEFORE);
        let order = self.orders.get_mut(&key).ok_or(VoidRefusal::NotFound)?;
        if wallet == Wallet::Wechat && order.trade_type != "MICROPAY" {
            return Err(VoidRefusal::NotACodePayment);
        }
        if let Some(void) = &order.voided {
            let paid_back = void.amount > 0;
            return Ok(Voided { order: order.clone(), paid_back });
        }
        if order.refunds.iter().any(|refund| refund.status != RefundStatus::Closed) {
            return Err(VoidRefusal::HasRefunds);
        }
        let age = beijing::since(now, order.paid_at.unwrap_or(order.created_at));
        let (earliest, latest) = match wallet {
            Wallet::Wechat => (not_before, REVERSE_UNTIL),
            Wallet::Alipay => (Duration::ZERO, CANCEL_UNTIL),
        };
        if age < earliest {
            return Err(VoidRefusal::TooEarly);
        }
        if age > latest {
            return Err(VoidRefusal::TooLate);
        }
        let paid_back = order.paid_at.is_some();
        let amount = if paid_back { order.amount } else { 0 };
        order.voided = Some(Void { at: now, amount, times_paid: u32::from(paid_back) });
        if !paid_back {
            order.closed_at.get_or_insert(now);
        }
        let order = order.clone();
        self.note_change(&key);
        if order.paid_out() > order.amount {
            let detail = format!("{} fen left of {} fen", order.paid_out(), order.amount);
            self.violation(now, ViolationKind::PaidPastTheOrder, &key, "", detail);
        }
        Ok(Voided { order, paid_back })
    }
}

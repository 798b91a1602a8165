//! Which order is meant: our own ledger first, else the merchant's wallets; and is it as the wallet says.

use std::sync::Arc;

use futures_util::future::join_all;
use scanback_wallet::{
    Doubt, DoubtKind, MerchantId, Money, OrderNo, OrderNumber, PaymentCode, TransactionId, Wallet, WalletError,
    WalletKind, WalletOrder, WalletOrderState,
};

use super::{
    Desk, ServiceError,
    gate::{Heard, Lane},
};
use crate::{
    domain::{
        actor::Actor,
        order::{Order, OrderKind, OrderState, Payment},
        refusal::Refusal,
    },
    ledger::{Kept, NewOrder, WalletFacts},
};

/// Digits that the wallets' own numbers have, by all recorded ones (wechat-pay §18, alipay §18). Shorter numbers are asked
/// for as order numbers only.
const TRANSACTION_DIGITS: usize = 28;

impl Desk {
    /// The one order that a number names: exact matches in our ledger, else what the wallets know, which is kept.
    /// # Errors
    /// [`Refusal::OrderNotFound`], [`Refusal::OrderAmbiguous`], [`Refusal::WalletUnavailable`].
    pub async fn find_order(
        &self,
        merchant: &MerchantId,
        wallet: Option<WalletKind>,
        number: &str,
    ) -> Result<Order, ServiceError> {
        let known = self.ledger.orders_by_number(Some(merchant), wallet, number).await?;
        if !known.is_empty() {
            return one(known);
        }
        // text of payment-code form is never sent to a wallet as a number (contract §4 rule 10)
        if PaymentCode::parse(number).is_some() {
            return Err(Refusal::OrderNotFound.into());
        }
        one(self.ask_wallets(merchant, wallet, number).await?)
    }

    /// Asks the merchant's wallets for an order that the ledger doesn't have, and keeps what they know.
    async fn ask_wallets(
        &self,
        merchant: &MerchantId,
        wallet: Option<WalletKind>,
        number: &str,
    ) -> Result<Vec<Order>, ServiceError> {
        let wallets = self.wallets_of(merchant, wallet);
        let asked = join_all(wallets.iter().map(|wallet| self.in_time(self.ask(merchant, wallet, number)))).await;
        let (mut found, mut silent) = (Vec::new(), None);
        for (wallet, answer) in wallets.iter().zip(asked) {
            match answer {
                Ok(Some(order)) => found.push((wallet.kind(), order)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(wallet = %wallet.kind(), %error, "a wallet could not be asked for an order");
                    silent = Some(wallet.kind());
                }
            }
        }
        match silent {
            Some(wallet) if found.is_empty() => return Err(Refusal::WalletUnavailable { wallet }.into()),
            _ => {}
        }
        let (mut orders, mut unpaid) = (Vec::new(), None);
        for (kind, order) in found {
            let closed = payment(order.state) == Payment::Closed;
            match self.keep_fetched(merchant, kind, order).await? {
                Some(order) => orders.push(order),
                None => unpaid = Some(if closed { OrderState::Closed } else { OrderState::Unpaid }),
            }
        }
        match unpaid {
            Some(state) if orders.is_empty() => Err(Refusal::OrderNotRefundable { state }.into()),
            _ => Ok(orders),
        }
    }

    /// A look-up that leaves time to answer the caller (contract §3: within `http.answer_within_ms`).
    pub(super) async fn in_time<T>(
        &self,
        look_up: impl Future<Output = Result<T, WalletError>>,
    ) -> Result<T, WalletError> {
        let within = self.settings.answer_within / 2;
        let late = || Doubt::new(DoubtKind::TimedOut, "no answer in the time that a look-up has").into();
        tokio::time::timeout(within, look_up).await.unwrap_or_else(|_| Err(late()))
    }

    /// One look-up, through the gate.
    async fn query_order(
        &self,
        merchant: &MerchantId,
        wallet: &Arc<dyn Wallet>,
        number: &OrderNumber,
    ) -> Result<Option<WalletOrder>, WalletError> {
        let held_back = || Doubt::new(DoubtKind::RateLimited, "held back: the wallet is down, or asked too much");
        let gate = self.gate(merchant, wallet.kind()).ok_or_else(held_back)?;
        let pass = gate.enter(Lane::LookUps, self.settings.answer_within / 4).await.map_err(|_| held_back())?;
        let answer = self.in_time(wallet.query_order(number)).await;
        let about = match number {
            OrderNumber::OrderNo(number) => number.as_str(),
            OrderNumber::TransactionId(number) => number.as_str(),
        };
        pass.heard(Heard::of_look_up(&answer), about);
        answer
    }

    /// The order behind a number: as an order number, then, where it has that form, as the wallet's own number.
    async fn ask(
        &self,
        merchant: &MerchantId,
        wallet: &Arc<dyn Wallet>,
        number: &str,
    ) -> Result<Option<WalletOrder>, WalletError> {
        if let Ok(order_no) = OrderNo::parse(number)
            && let Some(order) = self.query_order(merchant, wallet, &OrderNumber::OrderNo(order_no)).await?
        {
            return Ok(Some(order));
        }
        let own = number.len() == TRANSACTION_DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
        match TransactionId::parse(number) {
            Ok(id) if own => self.query_order(merchant, wallet, &OrderNumber::TransactionId(id)).await,
            _ => Ok(None),
        }
    }

    async fn keep_fetched(
        &self,
        merchant: &MerchantId,
        wallet: WalletKind,
        order: WalletOrder,
    ) -> Result<Option<Order>, ServiceError> {
        // WeChat says no amount of what isn't paid: nothing to refund, and nothing to keep yet
        let Some(amount) = order.amount else { return Ok(None) };
        let new = NewOrder {
            merchant_id: merchant.clone(),
            wallet,
            order_no: order.order_no,
            transaction_id: order.transaction_id,
            aliases: Vec::new(),
            amount,
            payment: payment(order.state),
            kind: OrderKind::Sale,
            paid_at: order.paid_at,
            starts_at: None,
            store_id: None,
            terminal_id: None,
            payer_hash: order.payer.map(|payer| self.pepper.hash_payer(&payer)),
            trade_type: order.trade_type,
            refunded_elsewhere: order.state == WalletOrderState::RefundExists,
            checked: true,
            registration: None,
        };
        Ok(match self.ledger.keep_order(new, Actor::Wallet, self.now()).await? {
            Kept::Created(order) | Kept::Same(order) => Some(order),
            Kept::Conflict(field) => return Err(Refusal::OrderConflict { field }.into()),
        })
    }

    /// Compares an order that the wallet hasn't confirmed yet with the wallet's record, and takes over what it says.
    /// # Errors
    /// [`Refusal::OrderMismatch`] where a registered order differs, [`Refusal::WalletUnavailable`].
    pub(super) async fn check_order(&self, order: Order) -> Result<Order, ServiceError> {
        if order.checked {
            return Ok(order);
        }
        let kind = order.wallet;
        let unavailable = Refusal::WalletUnavailable { wallet: kind };
        let wallet = self.wallet(&order.merchant_id, kind).ok_or(unavailable.clone())?;
        let number = OrderNumber::OrderNo(order.order_no.clone());
        let answer = self.query_order(&order.merchant_id, wallet, &number).await;
        let theirs = answer.map_err(|error| {
            tracing::warn!(wallet = %kind, %error, "a wallet could not be asked for an order");
            unavailable
        })?;
        let theirs = theirs.ok_or(Refusal::OrderMismatch { field: "order_no" })?;
        let payment = payment(theirs.state);
        let amount = theirs.amount.unwrap_or(order.amount);
        if let Some(field) = mismatch(&order, &theirs, payment, amount) {
            return Err(Refusal::OrderMismatch { field }.into());
        }
        let facts = WalletFacts {
            payment,
            transaction_id: theirs.transaction_id,
            amount,
            paid_at: theirs.paid_at,
            payer_hash: theirs.payer.map(|payer| self.pepper.hash_payer(&payer)),
            trade_type: theirs.trade_type,
            refund_exists: theirs.state == WalletOrderState::RefundExists,
        };
        Ok(self.ledger.confirm_order(order.id, facts, self.now()).await?)
    }
}

/// What a registration and the wallet's record differ in. An order that we fetched while it was unpaid may change.
fn mismatch(order: &Order, theirs: &WalletOrder, payment: Payment, amount: Money) -> Option<&'static str> {
    if order.payment == Payment::Unpaid {
        return None;
    }
    let same_number = match (&order.transaction_id, &theirs.transaction_id) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => true,
    };
    if amount != order.amount {
        Some("amount")
    } else if !same_number {
        Some("transaction_id")
    } else {
        (payment != Payment::Paid).then_some("state")
    }
}

const fn payment(state: WalletOrderState) -> Payment {
    match state {
        WalletOrderState::Unpaid => Payment::Unpaid,
        WalletOrderState::Paid | WalletOrderState::RefundExists => Payment::Paid,
        WalletOrderState::Closed | WalletOrderState::Finished => Payment::Closed,
        WalletOrderState::Voided => Payment::Voided,
    }
}

fn one(mut orders: Vec<Order>) -> Result<Order, ServiceError> {
    match orders.len() {
        0 => Err(Refusal::OrderNotFound.into()),
        1 => Ok(orders.swap_remove(0)),
        _ => Err(Refusal::OrderAmbiguous { wallets: orders.iter().map(|order| order.wallet).collect() }.into()),
    }
}

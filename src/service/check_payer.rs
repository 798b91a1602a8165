//! The payer-present check: a payment code shows that its owner stands at the till; where the wallet names the owner, is it
//! the one who paid? A switch of the policy (`policy.payer_check`); where it is off, nobody is asked.
//!
//! The wallet is asked at the scan, while the code is fresh and in memory: it is never stored (contract §4 rule 11). What is
//! kept of the answer is an HMAC.

use std::sync::Arc;

use scanback_wallet::{Doubt, DoubtKind, MerchantId, PayerOf, PaymentCode, Wallet, WalletError};

use super::{
    Desk, ServiceError,
    gate::{Heard, Lane},
};
use crate::{
    domain::{
        order::Order,
        payer::{Compared, PayerCheck, compare},
        refusal::Refusal,
    },
    ledger::{Scan, ScanSubject},
};

/// How many orders are shown of a payer who showed a payment code and named none.
const ORDERS_SHOWN: u32 = 5;

/// Seconds that a payment code lives.
const CODE_LIVES_S: u32 = 60;

impl Desk {
    /// The owner of a payment code, hashed, where the policy wants to know and the wallet says it.
    pub(super) async fn payer_of_code(
        &self,
        merchant: &MerchantId,
        code: &PaymentCode,
    ) -> Result<Option<String>, ServiceError> {
        let check = self.policy().payer_check;
        let Some(wallet) = self.wallet(merchant, code.wallet()).filter(|_| check != PayerCheck::Off) else {
            return Ok(None);
        };
        if !wallet.capabilities().names_payer {
            return Ok(None);
        }
        match self.ask_payer(merchant, wallet, code).await {
            Ok(PayerOf::Payer(payer)) => Ok(Some(self.pepper.hash_payer(&payer))),
            // it proves nobody's presence: it ran out, or was never a code of this wallet
            Ok(PayerOf::NoCode) => Err(Refusal::ScanExpired { max_age_s: CODE_LIVES_S }.into()),
            Err(error) => {
                tracing::warn!(wallet = %code.wallet(), %error, "a wallet did not say whose payment code it is");
                match (check, error) {
                    (PayerCheck::Required, WalletError::Doubt(_)) => {
                        Err(Refusal::WalletUnavailable { wallet: code.wallet() }.into())
                    }
                    // not granted, or not answered: the refund goes by the policy
                    _ => Ok(None),
                }
            }
        }
    }

    /// One look-up, through the gate.
    async fn ask_payer(
        &self,
        merchant: &MerchantId,
        wallet: &Arc<dyn Wallet>,
        code: &PaymentCode,
    ) -> Result<PayerOf, WalletError> {
        let held_back = || Doubt::new(DoubtKind::RateLimited, "held back: the wallet is down, or asked too much");
        let gate = self.gate(merchant, wallet.kind()).ok_or_else(held_back)?;
        let pass = gate.enter(Lane::LookUps, self.settings.answer_within / 4).await.map_err(|_| held_back())?;
        let answer = self.in_time(wallet.payer_of(code)).await;
        pass.heard(Heard::of_look_up(&answer), "a payer");
        answer
    }

    /// The order, once the payer behind the scan's payment code is known to be its payer, as far as the policy asks.
    /// # Errors
    /// [`Refusal::PayerMismatch`], and where the policy requires a comparison that can't be made
    /// [`Refusal::PolicyRefused`].
    pub(super) async fn check_payer(&self, order: Order, scan: Option<&Scan>) -> Result<Order, ServiceError> {
        let check = self.policy().payer_check;
        let code = scan.filter(|scan| matches!(scan.subject, ScanSubject::PaymentCode(_)));
        let Some(scan) = code.filter(|_| check != PayerCheck::Off) else { return Ok(order) };
        // the wallet's own word for the payer replaces a caller's when the order is checked
        let order = self.check_order(order).await?;
        let of_order = self.ledger.payer_of_order(order.id).await?;
        let compared = compare(scan.payer_hash.as_deref(), of_order.as_deref());
        let result = match compared {
            Compared::Same => "same",
            Compared::Other => "other",
            Compared::NotComparable => "not_comparable",
        };
        let wallet = order.wallet.as_str();
        metrics::counter!("scanback_payer_checks_total", "wallet" => wallet, "result" => result).increment(1);
        match (compared, check) {
            (Compared::Same, _) | (Compared::NotComparable, PayerCheck::WherePossible | PayerCheck::Off) => Ok(order),
            (Compared::Other, _) => Err(Refusal::PayerMismatch.into()),
            (Compared::NotComparable, PayerCheck::Required) => Err(Refusal::PolicyRefused(
                "the payer must be compared, and the wallet does not say who shows the payment code or who paid",
            )
            .into()),
        }
    }

    /// Which of the payer's orders is meant? Asked where only a payment code was shown (contract §3, `order_required`).
    pub(super) async fn order_required(&self, merchant: &MerchantId, scan: Option<&Scan>) -> ServiceError {
        let Some(hash) = scan.and_then(|scan| scan.payer_hash.as_deref()) else {
            return Refusal::OrderRequired { orders: Vec::new() }.into();
        };
        match self.ledger.orders_of_payer(merchant, hash, ORDERS_SHOWN).await {
            Ok(orders) => {
                let orders = orders.iter().map(|order| self.order_view(order)).collect();
                Refusal::OrderRequired { orders }.into()
            }
            Err(error) => error.into(),
        }
    }
}

//! Refunds as this process wrote them last, for the notification that usually follows: it is judged by that and reads nothing first.
//! Nothing here has to be right: what is decided by it is written only where the rows are as they are here (docs/adr/0011).

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use scanback_wallet::{MerchantId, WalletKind, WalletRequestNo};

use super::refund_rows::Known;

/// So many are kept: those of some seconds under load, a megabyte or two.
const KEPT: usize = 512;

#[derive(Clone, Default)]
pub(super) struct Recent(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    refunds: HashMap<WalletRequestNo, Known>,
    oldest_first: VecDeque<WalletRequestNo>,
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recent")
    }
}

impl Recent {
    pub(super) fn keep(&self, known: Known) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = known.refund.wallet_request_no.clone();
        if kept.refunds.insert(number.clone(), known).is_none() {
            kept.oldest_first.push_back(number);
        }
        if kept.oldest_first.len() > KEPT
            && let Some(oldest) = kept.oldest_first.pop_front()
        {
            kept.refunds.remove(&oldest);
        }
    }

    /// What was kept of this refund; the next one to ask reads it.
    pub(super) fn take(
        &self,
        merchant: &MerchantId,
        wallet: WalletKind,
        request_no: &WalletRequestNo,
    ) -> Option<Known> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).refunds.remove(request_no);
        known.filter(|known| known.refund.merchant_id == *merchant && known.refund.wallet == wallet)
    }
}

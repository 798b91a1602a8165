//! A wallet tells news of a refund. Believed only when it is provably the wallet's; what it proves goes the one way that
//! all news goes, and a hint makes the follower ask sooner.

use std::sync::Arc;

use scanback_wallet::{Acknowledgement, MerchantId, NotGenuine, Notification, RecordStatus, Wallet, WalletKind};

use super::{Desk, ServiceError};
use crate::{
    domain::{actor::Actor, refund::Refund, refusal::Refusal},
    ledger::{News, RecordRequest},
};

impl Desk {
    /// Takes a notification and says what to answer: as received, or refused. A ledger that doesn't answer makes the
    /// wallet send it again.
    /// # Errors
    /// [`Refusal::NotFound`] where the merchant has no account at this wallet.
    pub async fn take_notification(
        &self,
        merchant: &MerchantId,
        kind: WalletKind,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Acknowledgement, ServiceError> {
        let wallet = self.wallet(merchant, kind).cloned().ok_or(Refusal::NotFound)?;
        let counted = |result: &'static str| {
            metrics::counter!("scanback_notifications_total", "wallet" => kind.as_str(), "result" => result)
                .increment(1);
        };
        let notification = match wallet.open_notification(headers, body).await {
            Ok(notification) => notification,
            Err(error) => {
                counted(match error {
                    NotGenuine::Unsigned | NotGenuine::BadSignature => "bad_signature",
                    NotGenuine::Stale => "stale",
                    NotGenuine::Unreadable(_) => "unreadable",
                    NotGenuine::OtherAccount => "other_account",
                });
                tracing::warn!(wallet = %kind, merchant.id = %merchant, %error, "a notification was refused");
                return Ok(wallet.acknowledge(false));
            }
        };
        if let Err(error) = self.apply_notification(merchant, &wallet, notification).await {
            counted("not_recorded");
            tracing::error!(wallet = %kind, %error, "a notification could not be recorded; the wallet sends it again");
            return Ok(wallet.acknowledge(false));
        }
        if kind == WalletKind::Alipay && !self.forwards.pass_on(merchant, headers, body).await {
            counted("not_forwarded");
            tracing::warn!(merchant.id = %merchant, "alipay.forward_to did not take a notification; Alipay sends it again");
            return Ok(wallet.acknowledge(false));
        }
        counted("taken");
        Ok(wallet.acknowledge(true))
    }

    async fn apply_notification(
        &self,
        merchant: &MerchantId,
        wallet: &Arc<dyn Wallet>,
        notification: Notification,
    ) -> Result<(), ServiceError> {
        match notification {
            Notification::Refund { order_no, transaction_id, total, record, .. } => {
                let ours = self.ledger.refund_by_request_no(merchant, wallet.kind(), &record.request_no).await?;
                // made elsewhere: it changes nothing of ours
                let Some((refund, order)) = ours else {
                    tracing::info!(wallet = %wallet.kind(), "a genuine notification of a refund that is not ours");
                    return Ok(());
                };
                // numbers and amounts are compared with what we asked (wechat-pay §15); where they differ it proves
                // nothing, and the wallet is asked
                let agrees = refund.order_no == order_no
                    && refund.amount == record.amount
                    && total.is_none_or(|total| total == order.total)
                    && same(transaction_id.as_ref(), order.transaction_id.as_ref())
                    && same(record.wallet_refund_id.as_ref(), refund.wallet_refund_id.as_ref());
                if !agrees {
                    tracing::warn!(refund.id = %refund.refund_id, "a genuine notification contradicts the ledger; the wallet is asked");
                    return self.look_soon(&refund).await;
                }
                let first_look = record.status == RecordStatus::Taken;
                let news = News::Record(record);
                let request = RecordRequest {
                    refund_id: refund.refund_id,
                    look_again_at: self.look_again(wallet, &news, u32::from(!first_look)),
                    news,
                    by: Actor::Wallet,
                    fence: None,
                    pace: self.pace(&wallet.capabilities()),
                    answers: None,
                };
                self.ledger.record(request, self.now()).await?;
                self.ring_deliverer();
                self.follow.notify_one(); // the order's turn may have come
                Ok(())
            }
            Notification::Hint { request_no, .. } => {
                let Some(request_no) = request_no else { return Ok(()) };
                match self.ledger.refund_by_request_no(merchant, wallet.kind(), &request_no).await? {
                    Some((refund, _)) => self.look_soon(&refund).await,
                    None => Ok(()),
                }
            }
            Notification::Bounced { request_no, .. } => {
                // the payer has the money in the wallet's balance; nothing is sent for it (contract §4 rule 6)
                match self.ledger.refund_by_request_no(merchant, wallet.kind(), &request_no).await? {
                    Some((refund, _)) => {
                        tracing::warn!(refund.id = %refund.refund_id, "a bank sent a paid refund back");
                        self.look_soon(&refund).await
                    }
                    None => Ok(()),
                }
            }
            Notification::Other { .. } => Ok(()),
        }
    }

    /// Makes the follower ask about a refund now.
    async fn look_soon(&self, refund: &Refund) -> Result<(), ServiceError> {
        if !refund.state.is_final() {
            self.ledger.hasten_follow_up(&refund.refund_id.to_string(), self.now()).await?;
            self.follow.notify_one();
        }
        Ok(())
    }
}

/// Two numbers don't contradict each other.
fn same<T: PartialEq>(theirs: Option<&T>, ours: Option<&T>) -> bool {
    theirs.is_none() || ours.is_none() || theirs == ours
}

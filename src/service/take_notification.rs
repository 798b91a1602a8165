//! A wallet tells news of a refund. Believed only when it is provably the wallet's; what it proves goes the one way that
//! all news goes, and a hint makes the follower ask sooner.

use std::sync::Arc;

use jiff::Timestamp;
use scanback_wallet::{
    Acknowledgement, MerchantId, Money, NotGenuine, Notification, OrderNo, RecordStatus, RefundId, RefundRecord,
    TransactionId, Wallet, WalletKind,
};

use super::{Desk, ServiceError};
use crate::{
    domain::{actor::Actor, order::Order, refund::Refund, refusal::Refusal},
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
                let Some(known) = ours else {
                    let facts = Facts { order_no, transaction_id, total };
                    return self.take_external(merchant, wallet, facts, record).await;
                };
                let (refund, order) = (known.refund(), known.order());
                // numbers and amounts are compared with what we asked (wechat-pay §15); where they differ it proves
                // nothing, and the wallet is asked
                let agrees = refund.order_no == order_no
                    && refund.amount == record.amount
                    && total.is_none_or(|total| total == order.total)
                    && same(transaction_id.as_ref(), order.transaction_id.as_ref())
                    && same(record.wallet_refund_id.as_ref(), refund.wallet_refund_id.as_ref());
                if !agrees {
                    tracing::warn!(refund.id = %refund.refund_id, "a genuine notification contradicts the ledger; the wallet is asked");
                    return self.look_soon(refund).await;
                }
                let first_look = record.status == RecordStatus::Taken;
                let news = News::Record(record);
                let look_again_at = self.look_again(wallet, &news, u32::from(!first_look));
                let request = self.news_of(wallet, refund.refund_id, news, look_again_at);
                let recorded = self.ledger.record(&request, Some(known), self.now()).await?;
                self.ring_deliverer();
                if recorded.others_wait() {
                    self.follow.notify_one();
                }
                Ok(())
            }
            Notification::Hint { order_no, request_no, total, refunded, .. } => {
                if let Some(refunded) = refunded {
                    let facts = Facts { order_no, transaction_id: None, total };
                    self.note_total(merchant, wallet, facts, refunded).await?;
                }
                let Some(request_no) = request_no else { return Ok(()) };
                match self.ledger.refund_by_request_no(merchant, wallet.kind(), &request_no).await? {
                    Some(known) => self.look_soon(known.refund()).await,
                    None => Ok(()),
                }
            }
            // the payer has the money in the wallet's balance; nothing is sent for it (contract §4 rule 6)
            Notification::Bounced { order_no, request_no, .. } => {
                match self.ledger.refund_by_request_no(merchant, wallet.kind(), &request_no).await? {
                    Some(known) if known.refund().order_no == order_no => {
                        let (id, look_again_at) = (known.refund().refund_id, self.now());
                        let request = self.news_of(wallet, id, News::Bounced, look_again_at);
                        self.ledger.record(&request, Some(known), self.now()).await?;
                        self.ring_deliverer();
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
            Notification::Other { .. } => Ok(()),
        }
    }

    /// What a wallet said by itself, to be written down: true whoever says it, so under no claim.
    fn news_of(
        &self,
        wallet: &Arc<dyn Wallet>,
        refund_id: RefundId,
        news: News,
        look_again_at: Timestamp,
    ) -> RecordRequest {
        RecordRequest {
            refund_id,
            look_again_at,
            news,
            by: Actor::Wallet,
            fence: None,
            pace: self.pace(&wallet.capabilities()),
            patience: self.patience(wallet, None),
            answers: None,
        }
    }

    /// Proof of a refund that nobody asked for here: kept as made elsewhere where the order is ours (contract §4 rule 9).
    async fn take_external(
        &self,
        merchant: &MerchantId,
        wallet: &Arc<dyn Wallet>,
        facts: Facts,
        record: RefundRecord,
    ) -> Result<(), ServiceError> {
        let Some(order) = self.named_order(merchant, wallet, &facts).await? else { return Ok(()) };
        let look_again_at = self.look_again(wallet, &News::Record(record.clone()), 0);
        let pace = self.pace(&wallet.capabilities());
        let kept = self.ledger.keep_external(order.id, record, pace, look_again_at, self.now()).await?;
        self.told_of(wallet, kept);
        Ok(())
    }

    /// The wallet names what all refunds of an order come to: what is above ours was made elsewhere.
    async fn note_total(
        &self,
        merchant: &MerchantId,
        wallet: &Arc<dyn Wallet>,
        facts: Facts,
        refunded: Money,
    ) -> Result<(), ServiceError> {
        let Some(order) = self.named_order(merchant, wallet, &facts).await? else { return Ok(()) };
        let pace = self.pace(&wallet.capabilities());
        let kept = self.ledger.note_total(order.id, refunded, pace, self.now()).await?;
        self.told_of(wallet, kept);
        Ok(())
    }

    fn told_of(&self, wallet: &Arc<dyn Wallet>, kept: Option<Refund>) {
        if let Some(refund) = kept {
            metrics::counter!("scanback_external_refunds_total", "wallet" => wallet.kind().as_str()).increment(1);
            tracing::warn!(wallet = %wallet.kind(), refund.id = %refund.refund_id, "a refund was made elsewhere; it lowers what is left of its order");
            self.ring_deliverer();
        }
    }

    /// The order that news is about, where it is ours and the news doesn't contradict it.
    async fn named_order(
        &self,
        merchant: &MerchantId,
        wallet: &Arc<dyn Wallet>,
        facts: &Facts,
    ) -> Result<Option<Order>, ServiceError> {
        let Some(order) = self.ledger.order_by_no(merchant, wallet.kind(), &facts.order_no).await? else {
            tracing::info!(wallet = %wallet.kind(), "genuine news of a trade that is not ours");
            return Ok(None);
        };
        let agrees = facts.total.is_none_or(|total| total == order.amount)
            && same(facts.transaction_id.as_ref(), order.transaction_id.as_ref());
        if !agrees {
            tracing::warn!(wallet = %wallet.kind(), "genuine news contradicts what the ledger holds of its order; nothing is made of it");
        }
        Ok(agrees.then_some(order))
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

/// What news says of its order.
struct Facts {
    order_no: OrderNo,
    transaction_id: Option<TransactionId>,
    total: Option<Money>,
}

/// Two numbers don't contradict each other.
fn same<T: PartialEq>(theirs: Option<&T>, ours: Option<&T>) -> bool {
    theirs.is_none() || ours.is_none() || theirs == ours
}

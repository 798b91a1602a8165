//! Follows a refund to its end: recovery after a crash, unknown outcomes and pending ones are one and the same work.

use std::sync::Arc;

use jiff::Timestamp;
use scanback_wallet::{Asked, RefundId, Wallet};

use super::{Desk, ServiceError};
use crate::{
    domain::{
        actor::Actor,
        refund::{Refund, RefundState},
    },
    ledger::{Job, News, RecordRequest, SendTurn},
};

impl Desk {
    /// Does what is due for one refund: asks the wallet, and sends (again) where that is right. The job is gone when
    /// the refund is final, else due later.
    /// # Errors
    /// [`ServiceError`] where the ledger doesn't answer: the lease ends and another takes the job.
    pub async fn follow_refund(&self, job: &Job) -> Result<(), ServiceError> {
        let Ok(id) = RefundId::parse(&job.key) else {
            return Ok(self.ledger.end_follow_up(&job.key).await?);
        };
        let Some((refund, call)) = self.ledger.refund_with_call(id).await? else {
            return Ok(self.ledger.end_follow_up(&job.key).await?);
        };
        let Some(wallet) = self.wallet(&refund.merchant_id, refund.wallet).cloned() else {
            // a merchant that was taken out of the configuration: nothing is lost, somebody must put it back
            tracing::error!(refund.id = %id, wallet = %refund.wallet, "no account is configured for a refund that is open");
            return self.postpone(job, &News::Nothing(None), None).await;
        };
        match refund.state {
            RefundState::Submitting if refund.sends == 0 || refund.not_before.is_some() => {
                self.send_in_turn(job, id, &wallet).await
            }
            RefundState::Submitting => {
                if let Some(sooner) = too_soon_to_ask(self, &refund, &wallet) {
                    return Ok(self.ledger.postpone_follow_up(&job.key, sooner, None).await?);
                }
                match wallet.query_refund(&call).await {
                    Asked::Found(record) => self.learn(job, &refund, &wallet, News::Record(record)).await,
                    // it never fails what may have been sent: it allows sending again, same number (contract §4 rule 5)
                    Asked::NotKnown => self.send_in_turn(job, id, &wallet).await,
                    Asked::Unknown(doubt) => self.learn(job, &refund, &wallet, News::Nothing(Some(doubt))).await,
                }
            }
            RefundState::Processing | RefundState::Abnormal => match wallet.query_refund(&call).await {
                Asked::Found(record) => self.learn(job, &refund, &wallet, News::Record(record)).await,
                Asked::NotKnown => self.learn(job, &refund, &wallet, News::Nothing(None)).await,
                Asked::Unknown(doubt) => self.learn(job, &refund, &wallet, News::Nothing(Some(doubt))).await,
            },
            RefundState::AwaitingApproval
            | RefundState::Succeeded
            | RefundState::Failed
            | RefundState::Declined
            | RefundState::Cancelled => Ok(self.ledger.end_follow_up(&job.key).await?),
        }
    }

    async fn send_in_turn(&self, job: &Job, id: RefundId, wallet: &Arc<dyn Wallet>) -> Result<(), ServiceError> {
        let refund = self.ledger.refund_with_call(id).await?;
        let merchant = refund.map(|(refund, _)| refund.merchant_id);
        let notify_url = merchant.and_then(|merchant| self.notify_url(&merchant, wallet.kind()));
        let pace = self.pace(&wallet.capabilities());
        match self.ledger.claim_send(id, pace, notify_url, self.now()).await? {
            SendTurn::Granted(send) => {
                self.send_and_record(wallet, *send, job.attempts, None).await?;
                Ok(())
            }
            SendTurn::NotBefore(at) => Ok(self.ledger.postpone_follow_up(&job.key, at, None).await?),
            SendTurn::NotNow => self.postpone(job, &News::Nothing(None), Some(wallet)).await,
        }
    }

    /// Writes down what a query said.
    async fn learn(
        &self,
        job: &Job,
        refund: &Refund,
        wallet: &Arc<dyn Wallet>,
        news: News,
    ) -> Result<(), ServiceError> {
        let request = RecordRequest {
            refund_id: refund.refund_id,
            look_again_at: self.look_again(wallet, &news, job.attempts),
            news,
            by: Actor::Wallet,
            fence: None,
            pace: self.pace(&wallet.capabilities()),
            answers: None,
        };
        self.ledger.record(request, self.now()).await?;
        self.deliver.notify_one();
        Ok(())
    }

    async fn postpone(&self, job: &Job, news: &News, wallet: Option<&Arc<dyn Wallet>>) -> Result<(), ServiceError> {
        let minute = jiff::SignedDuration::from_mins(1);
        let later = self.now().checked_add(minute).unwrap_or(Timestamp::MAX);
        let at = wallet.map_or(later, |wallet| self.look_again(wallet, news, job.attempts));
        Ok(self.ledger.postpone_follow_up(&job.key, at, None).await?)
    }
}

/// The wallet wants a while between a refund call and the first query for it (alipay §10).
fn too_soon_to_ask(desk: &Desk, refund: &Refund, wallet: &Arc<dyn Wallet>) -> Option<Timestamp> {
    let earliest = refund.last_sent_at?.checked_add(desk.scaled(wallet.capabilities().ask_after)).ok()?;
    (earliest > desk.now()).then_some(earliest)
}

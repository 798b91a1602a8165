//! Follows a refund to its end: recovery after a crash, unknown outcomes and pending ones are one and the same work.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{Asked, RefundId, Rejection, Wallet};

use super::{
    Desk, ServiceError,
    gate::{Gate, Lane, Shut},
    send_refund::{judged, question},
};
#[cfg(feature = "mutants")]
use crate::{
    domain::refund::Failure,
    mutants::{Mutant, on},
};
use crate::{
    domain::{
        actor::Actor,
        refund::{Evidence, Refund, RefundState, SoleRefusal},
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
        let Some((refund, call, paid_at)) = self.ledger.refund_with_call(id).await? else {
            return Ok(self.ledger.end_follow_up(&job.key).await?);
        };
        let Some(wallet) = self.wallet(&refund.merchant_id, refund.wallet).cloned() else {
            // a merchant that was taken out of the configuration: nothing is lost, somebody must put it back
            tracing::error!(refund.id = %id, wallet = %refund.wallet, "no account is configured for a refund that is open");
            return Ok(self.ledger.postpone_follow_up(&job.key, self.soon()).await?);
        };
        let Some(gate) = self.gate(&refund.merchant_id, refund.wallet).cloned() else {
            return Ok(self.ledger.postpone_follow_up(&job.key, self.soon()).await?);
        };
        match refund.state {
            RefundState::Submitting if refund.sends == 0 || refund.not_before.is_some() => {
                self.send_in_turn(job, id, &wallet, &gate).await
            }
            RefundState::Submitting => {
                if let Some(sooner) = too_soon_to_ask(self, &refund, &wallet) {
                    return Ok(self.ledger.postpone_follow_up(&job.key, sooner).await?);
                }
                let pass = gate.enter_to_follow(Lane::LookUps).await;
                if let Err(shut) = pass {
                    return self.come_back(job, shut).await;
                }
                match question(&wallet, pass, &call).await {
                    Asked::Found(record) => self.learn(job, &refund, paid_at, &wallet, News::Record(record)).await,
                    #[cfg(feature = "mutants")]
                    Asked::NotKnown if on(Mutant::NotKnownFails) => {
                        let failure = Failure { code: "not_known".into(), detail: String::new() };
                        let news = News::Refused(crate::mutants::forged_refusal(), failure);
                        self.learn(job, &refund, paid_at, &wallet, news).await
                    }
                    Asked::NotKnown => match refund.unconfirmed.clone() {
                        // the refusal of the only send was waiting for this
                        Some(rejection) if refund.sends == 1 => {
                            self.confirm(job, &refund, paid_at, &wallet, rejection).await
                        }
                        // it never fails what may have been sent: it allows sending again, same number (contract §4 rule 5)
                        _ => self.send_in_turn(job, id, &wallet, &gate).await,
                    },
                    Asked::Unknown(doubt) => {
                        self.learn(job, &refund, paid_at, &wallet, News::Nothing(Some(doubt))).await
                    }
                }
            }
            RefundState::Processing | RefundState::Abnormal => {
                let pass = gate.enter_to_follow(Lane::LookUps).await;
                if let Err(shut) = pass {
                    return self.come_back(job, shut).await;
                }
                let news = match question(&wallet, pass, &call).await {
                    Asked::Found(record) => News::Record(record),
                    Asked::NotKnown => News::Nothing(None),
                    Asked::Unknown(doubt) => News::Nothing(Some(doubt)),
                };
                self.learn(job, &refund, paid_at, &wallet, news).await
            }
            RefundState::AwaitingApproval
            | RefundState::Succeeded
            | RefundState::Failed
            | RefundState::Declined
            | RefundState::Cancelled => Ok(self.ledger.end_follow_up(&job.key).await?),
        }
    }

    /// A person looks at a refund that is open: the follower looks at it too, now, unless it was sent or looked at a moment ago.
    /// What waits for a pace or for balance waits on.
    pub async fn look_early(&self, refund: &Refund) {
        let (now, gap) = (self.now(), self.scaled(EARLY_LOOK_GAP).max(SHORTEST_LOOK_GAP));
        let waits = refund.not_before.is_some_and(|at| at > now) || refund.state == RefundState::AwaitingApproval;
        let just_sent = refund.last_sent_at.is_some_and(|sent| now.duration_since(sent) < gap);
        if refund.state.is_final() || waits || just_sent {
            return;
        }
        match self.ledger.hasten_for_person(refund.refund_id, gap, now).await {
            Ok(true) => self.follow.notify_one(),
            Ok(false) => {}
            // the read itself went well, and the ladder goes on
            Err(error) => tracing::warn!(%error, "a refund could not be looked at early"),
        }
    }

    /// Judges a kept refusal now that the wallet says it doesn't know the number. Under the send's own fence: should
    /// another process send again meanwhile, this is not written.
    async fn confirm(
        &self,
        job: &Job,
        refund: &Refund,
        paid_at: Option<Timestamp>,
        wallet: &Arc<dyn Wallet>,
        rejection: Rejection,
    ) -> Result<(), ServiceError> {
        // whether the pace was kept is judged as it was for the send; an order with refunds from elsewhere proves nothing
        let order = self.ledger.order(refund.order_id).await?;
        let evidence = Evidence { sends: refund.sends, absent: Some(true), pace_kept: !order.refunded_elsewhere };
        let news = judged(SoleRefusal::judge(&rejection, evidence), rejection);
        self.write_down(job, refund, paid_at, wallet, news, Some(refund.fence)).await
    }

    /// The gate is shut: no look was made, and none counts.
    async fn come_back(&self, job: &Job, shut: Shut) -> Result<(), ServiceError> {
        let wait = SignedDuration::try_from(shut.retry_in()).unwrap_or(LOOK_SOON);
        let at = self.now().checked_add(wait).unwrap_or(Timestamp::MAX);
        Ok(self.ledger.postpone_follow_up(&job.key, at).await?)
    }

    async fn send_in_turn(
        &self,
        job: &Job,
        id: RefundId,
        wallet: &Arc<dyn Wallet>,
        gate: &Arc<Gate>,
    ) -> Result<(), ServiceError> {
        // before the send is counted: one that is turned away was not made
        let pass = match gate.enter_to_follow(Lane::Refunds).await {
            Ok(pass) => pass,
            Err(shut) => return self.come_back(job, shut).await,
        };
        let pace = self.pace(&wallet.capabilities());
        match self.ledger.claim_send(id, pace, self.now()).await? {
            SendTurn::Granted(send) => {
                self.send_and_record(wallet, *send, job.attempts, None, pass).await?;
                Ok(())
            }
            SendTurn::NotBefore(at) => Ok(self.ledger.postpone_follow_up(&job.key, at).await?),
            // it is past that, or another sends it: look again soon
            SendTurn::NotNow => Ok(self.ledger.postpone_follow_up(&job.key, self.soon()).await?),
        }
    }

    /// Writes down what a query said.
    async fn learn(
        &self,
        job: &Job,
        refund: &Refund,
        paid_at: Option<Timestamp>,
        wallet: &Arc<dyn Wallet>,
        news: News,
    ) -> Result<(), ServiceError> {
        self.write_down(job, refund, paid_at, wallet, news, None).await
    }

    async fn write_down(
        &self,
        job: &Job,
        refund: &Refund,
        paid_at: Option<Timestamp>,
        wallet: &Arc<dyn Wallet>,
        news: News,
        fence: Option<i64>,
    ) -> Result<(), ServiceError> {
        let request = RecordRequest {
            refund_id: refund.refund_id,
            look_again_at: self.look_again(wallet, &news, job.attempts),
            news,
            by: Actor::Wallet,
            fence,
            pace: self.pace(&wallet.capabilities()),
            patience: self.patience(wallet, paid_at),
            answers: None,
        };
        self.ledger.record(&request, None, self.now()).await?;
        self.ring_deliverer();
        Ok(())
    }

    fn soon(&self) -> Timestamp {
        self.now().checked_add(LOOK_SOON).unwrap_or(Timestamp::MAX)
    }
}

/// Between two looks that people ask for at one refund, the wallet's own time.
const EARLY_LOOK_GAP: std::time::Duration = std::time::Duration::from_secs(10);
/// And never more often than this.
const SHORTEST_LOOK_GAP: SignedDuration = SignedDuration::from_secs(1);

/// When to look again at a refund that nothing can be done for at this moment.
const LOOK_SOON: SignedDuration = SignedDuration::from_secs(2);

/// The wallet wants a while between a refund call and the first query for it (alipay §10).
fn too_soon_to_ask(desk: &Desk, refund: &Refund, wallet: &Arc<dyn Wallet>) -> Option<Timestamp> {
    let earliest = refund.last_sent_at?.checked_add(desk.scaled(wallet.capabilities().ask_after)).ok()?;
    (earliest > desk.now()).then_some(earliest)
}

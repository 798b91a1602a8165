//! A refund is asked for: the way of contract §3, from the key to the first answer.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{Money, OperatorId, OrderNo, RefundId, WalletKind};
use uuid::Uuid;

use super::{Desk, Pin, ServiceError, gate::Pass};
use crate::{
    domain::{
        actor::{Actor, Caller, Role},
        idempotency::{Fingerprint, IdempotencyKey, StoredAnswer, StoredStatus},
        order::Order,
        policy::{Decision, Wish},
        refund::Refund,
        refusal::Refusal,
        typed,
    },
    keys::{Claim, ClaimGuard},
    ledger::{CommittedIntent, KeyOfRequest, LedgerError, NewRefund, Opened, Scan, ScanSubject, first_answer},
};

/// How often a refund is decided anew because its order changed meanwhile. Each round another refund won: past this the
/// order is under fire, and the caller does better to come back.
const ROUNDS: usize = 20;

/// What a caller shows beside the request.
#[derive(Clone, Debug)]
pub enum ScanGiven {
    /// Nothing.
    None,
    /// A scan that was posted before.
    Id(Uuid),
    /// The frames themselves: the terminal's one call.
    Frames(Vec<Arc<[u8]>>),
}

/// A refund as it is asked for; every field was parsed at the edge.
#[derive(Clone, Debug)]
pub struct RefundRequest {
    /// Which order; may be left out where the scan names one.
    pub order_no: Option<OrderNo>,
    /// Of which wallet.
    pub wallet: Option<WalletKind>,
    /// What was shown.
    pub scan: ScanGiven,
    /// How much; `None` means all that is left.
    pub amount: Option<Money>,
    /// What the caller believes to be left.
    pub expected_refundable: Option<Money>,
    /// The policy's code and the public text.
    pub reason: (String, String),
    /// Internal.
    pub note: Option<String>,
    /// The person who asks.
    pub operator: Option<(OperatorId, Pin)>,
    /// The second person; no refund asks for one yet.
    pub approver: Option<OperatorId>,
    /// The merchant's own data.
    pub metadata: Option<serde_json::Value>,
}

/// The answer to a refund request: its first answer, or the repeat of it.
#[derive(Clone, Debug)]
pub struct RefundAnswer {
    /// 201 when final, else 202.
    pub status: u16,
    /// The refund as JSON.
    pub body: String,
    /// Where it is read.
    pub location: String,
    /// Whether this repeats an answer given before.
    pub replayed: bool,
}

/// The order and the scan of a request, found and compared.
pub(super) struct Found {
    pub(super) order: Order,
    pub(super) scan: Option<Scan>,
}

impl Desk {
    /// Asks for a refund. The same key and request always get the same answer.
    /// # Errors
    /// A [`Refusal`] of contract §3, in its order; nothing is reserved and the key is free again then.
    pub async fn request_refund(
        self: &Arc<Self>,
        caller: &Caller,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
        request: RefundRequest,
    ) -> Result<RefundAnswer, ServiceError> {
        let merchant = &caller.merchant_id;
        let claim = match self.keys.claim(merchant, key, &fingerprint).await {
            Claim::Granted(guard) => Some(guard),
            Claim::NoRedis => None,
            Claim::Running => return Err(Refusal::RequestInProgress.into()),
            Claim::Reused => return Err(Refusal::IdempotencyKeyReused.into()),
            Claim::Replay(first) => return Ok(replay(first)),
        };
        // The database is the last word, before any rule: after the first success every rule would say no. Where Redis
        // granted the key it is asked last: a Redis that forgot is found out by the unique index, or by the look that follows
        // every refusal.
        if claim.is_none()
            && let Some(first) = self.replay_kept(caller, key, fingerprint).await?
        {
            return Ok(first);
        }
        let answered = match Box::pin(self.open_and_send(caller, key, fingerprint, request)).await {
            Ok(answer) => Ok(answer),
            Err(error) => self.after_error(caller, key, fingerprint, error).await,
        };
        self.settle_claim(caller, key, claim, &answered).await;
        answered
    }

    /// A twin of this request may have been faster, and a commit whose acknowledgement was lost may have happened: once a
    /// refund exists under the key, that is the answer, whatever rule said no meanwhile (contract §4 rule 2).
    async fn after_error(
        &self,
        caller: &Caller,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
        error: ServiceError,
    ) -> Result<RefundAnswer, ServiceError> {
        match self.replay_kept(caller, key, fingerprint).await {
            Ok(Some(first)) => {
                self.follow.notify_one();
                Ok(first)
            }
            Ok(None) => Err(match error {
                // asked, and it did not happen
                ServiceError::Ledger(LedgerError::CommitUnknown(_)) => ServiceError::Ledger(LedgerError::NotCommitted),
                error => error,
            }),
            Err(ServiceError::Refused(refusal)) => Err(refusal.into()),
            Err(_) => Err(error),
        }
    }

    /// Keeps the first answer in Redis, or frees the key where provably no refund was made under it.
    async fn settle_claim(
        &self,
        caller: &Caller,
        key: &IdempotencyKey,
        claim: Option<ClaimGuard>,
        answered: &Result<RefundAnswer, ServiceError>,
    ) {
        let Some(claim) = claim else { return };
        match answered {
            Ok(answer) => keep_in_redis(Some(claim), answer).await,
            // the key is another's, who must not find a claim of ours in the way
            Err(ServiceError::Refused(Refusal::IdempotencyKeyReused | Refusal::RequestInProgress)) => {
                claim.free().await
            }
            Err(_) => {
                // asked anew: an error may hide a commit whose acknowledgement was lost
                if let Ok(None) = self.ledger.kept_answer(&caller.merchant_id, key).await {
                    claim.free().await;
                }
            }
        }
    }

    /// The first answer under this key, if a refund was made under it.
    async fn replay_kept(
        &self,
        caller: &Caller,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
    ) -> Result<Option<RefundAnswer>, ServiceError> {
        let merchant = &caller.merchant_id;
        let Some(kept) = self.ledger.kept_answer(merchant, key).await? else { return Ok(None) };
        if kept.fingerprint != fingerprint {
            return Err(Refusal::IdempotencyKeyReused.into());
        }
        let (status, body) = match kept.answer {
            Some(first) => first,
            None if kept.lease_until > self.now() => return Err(Refusal::RequestInProgress.into()),
            // its owner died before it answered: the refund as it now stands is the first answer
            None => self.ledger.keep_answer(kept.refund_id, merchant, key).await?,
        };
        Ok(Some(RefundAnswer { status, body, location: location(kept.refund_id), replayed: true }))
    }

    async fn open_and_send(
        self: &Arc<Self>,
        caller: &Caller,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
        request: RefundRequest,
    ) -> Result<RefundAnswer, ServiceError> {
        let began = self.now();
        self.check_person(caller, &request).await?;
        let scan = self.take_scan(caller, &request.scan).await?;
        let Found { mut order, scan } = self.match_order(caller, &request, scan).await?;
        let wish = Wish { amount: request.amount, expected_refundable: request.expected_refundable };
        // never shorter than the wait for the first answer: who comes meanwhile must not give one in our place
        let lease = self.settings.key_lease.max(self.settings.answer_within + Duration::from_secs(2));
        let lease = SignedDuration::try_from(lease).unwrap_or(SignedDuration::ZERO);
        let mut pass = None;
        for _ in 0..ROUNDS {
            let (checked, decision) = self.decide(order, &wish).await?;
            if pass.is_none() {
                pass = Some(self.pass_for(&checked).await?);
            }
            let wallet = self.wallet_of(&checked)?;
            let capabilities = wallet.capabilities();
            let new = NewRefund {
                amount: decision.amount,
                fee: decision.fee,
                exact: wish.amount.is_none() || wish.expected_refundable.is_some(),
                reason: request.reason.clone(),
                note: request.note.as_deref().map(|note| typed::masked(note).unwrap_or_else(|| note.to_owned())),
                operator_id: request.operator.as_ref().map(|(id, _)| id.clone()),
                scan_id: scan.as_ref().map(|scan| scan.scan_id),
                metadata: request.metadata.clone(),
                by: Actor::of(caller, request.operator.as_ref().map(|(id, _)| id)),
                key: KeyOfRequest {
                    key: key.clone(),
                    fingerprint,
                    lease_until: began.checked_add(lease).unwrap_or(Timestamp::MAX),
                },
                max_refunds: capabilities.max_refunds_per_order,
                pace: self.pace(&capabilities),
                notify_url: self.notify_url(&checked.merchant_id, checked.wallet),
                order: checked,
            };
            let order_id = new.order.id;
            match self.ledger.open_refund(new, self.now()).await? {
                Opened::Committed(intent) => return self.send_intent(caller, key, *intent, pass, began).await,
                Opened::ScanTaken => return Err(Refusal::ScanUsed.into()),
                Opened::KeyTaken => {
                    // the same key ran beside us and was faster
                    let first = self.replay_kept(caller, key, fingerprint).await?;
                    return first.ok_or_else(|| ServiceError::Internal("a key that is taken was not found".into()));
                }
                Opened::OrderChanged => order = self.ledger.order(order_id).await?,
            }
        }
        Err(Refusal::Overloaded.into())
    }

    /// From here on the caller gets no error, only the refund: 202 says the rest.
    async fn send_intent(
        self: &Arc<Self>,
        caller: &Caller,
        key: &IdempotencyKey,
        intent: CommittedIntent,
        pass: Option<Pass>,
        began: Timestamp,
    ) -> Result<RefundAnswer, ServiceError> {
        metrics::counter!("scanback_refunds_created_total", "wallet" => intent.refund().wallet.as_str()).increment(1);
        self.ring_deliverer();
        let (refund, send) = intent.into_parts();
        let wallet = self.wallet(&refund.merchant_id, refund.wallet).cloned();
        if let (Some(send), Some(wallet), Some(pass)) = (send, wallet, pass) {
            // a task of its own: a caller that hangs up must not stop it half-way
            let desk = Arc::clone(self);
            let answers = key.clone();
            let sending =
                self.sending.spawn(async move { desk.send_and_record(&wallet, send, 0, Some(answers), pass).await });
            let waited = self.now().duration_since(began);
            let left = self.settings.answer_within.saturating_sub(waited.try_into().unwrap_or_default());
            match tokio::time::timeout(left, sending).await {
                Ok(Ok(Ok(recorded))) => {
                    if let Some((status, body)) = recorded.into_first_answer() {
                        let location = location(refund.refund_id);
                        return Ok(RefundAnswer { status, body, location, replayed: false });
                    }
                }
                Ok(Ok(Err(error))) => {
                    tracing::error!(refund.id = %refund.refund_id, %error, "an outcome could not be written; the refund is asked after");
                }
                Ok(Err(error)) => {
                    tracing::error!(refund.id = %refund.refund_id, %error, "a send broke off; the refund is asked after");
                }
                Err(_) => {}
            }
        } else {
            self.follow.notify_one();
        }
        match self.ledger.keep_answer(refund.refund_id, &caller.merchant_id, key).await {
            Ok((status, body)) => {
                Ok(RefundAnswer { status, body, location: location(refund.refund_id), replayed: false })
            }
            Err(error) => {
                tracing::error!(refund.id = %refund.refund_id, %error, "a first answer could not be kept");
                answer(&refund)
            }
        }
    }

    /// The order as the wallet confirms it, and the policy's yes.
    pub(super) async fn decide(&self, order: Order, wish: &Wish) -> Result<(Order, Decision), ServiceError> {
        let capabilities = self.wallet_of(&order)?.capabilities();
        let order = if order.checked {
            order
        } else {
            // what needs no wallet to be refused is refused without asking one
            wish.fits(&order)?;
            self.check_order(order).await?
        };
        let decision = self.policy().decide(&order, wish, &capabilities, self.now())?;
        Ok((order, decision))
    }

    fn wallet_of(&self, order: &Order) -> Result<&Arc<dyn scanback_wallet::Wallet>, ServiceError> {
        let unavailable = Refusal::WalletUnavailable { wallet: order.wallet };
        self.wallet(&order.merchant_id, order.wallet).ok_or_else(|| unavailable.into())
    }

    async fn check_person(&self, caller: &Caller, request: &RefundRequest) -> Result<(), ServiceError> {
        match &request.operator {
            Some((id, pin)) => self.check_operator(&caller.merchant_id, id, pin).await,
            None if self.policy().needs_operator(caller.role) => {
                Err(Refusal::field("operator_id", "the policy asks for an operator and a PIN").into())
            }
            None => Ok(()),
        }
    }

    /// The scan of a request: fresh, unused and the caller's own. A terminal must show one (contract §3).
    pub(super) async fn take_scan(&self, caller: &Caller, given: &ScanGiven) -> Result<Option<Scan>, ServiceError> {
        let scan = match given {
            ScanGiven::Frames(frames) => Some(self.scan_frames(caller, frames.clone()).await?.scan),
            ScanGiven::Id(id) => {
                let scan = self.ledger.scan(&caller.merchant_id, *id).await?;
                // another device's scan is none of this one's
                let here = |scan: &Scan| match &caller.terminal_id {
                    Some(terminal) => scan.terminal_id.as_ref() == Some(terminal),
                    None => scan.token_id == caller.token_id,
                };
                let mine = scan.filter(|scan| caller.role != Role::Terminal || here(scan));
                Some(mine.ok_or(Refusal::ScanRequired)?)
            }
            ScanGiven::None => None,
        };
        let Some(scan) = scan else {
            return if caller.role == Role::Terminal { Err(Refusal::ScanRequired.into()) } else { Ok(None) };
        };
        let max_age_s = self.policy().scan_max_age_s;
        if self.now().duration_since(scan.created_at) > SignedDuration::from_secs(i64::from(max_age_s)) {
            return Err(Refusal::ScanExpired { max_age_s }.into());
        }
        if scan.used {
            return Err(Refusal::ScanUsed.into());
        }
        match scan.subject {
            ScanSubject::Unknown => Err(Refusal::CodeNotRecognised { seen: None }.into()),
            ScanSubject::Voucher if caller.role == Role::Terminal => Err(Refusal::ScanRequired.into()),
            ScanSubject::PaymentCode(_)
            | ScanSubject::Order(_)
            | ScanSubject::Transaction(_)
            | ScanSubject::Voucher => Ok(Some(scan)),
        }
    }

    /// The order that is meant, and whether what was shown fits it.
    pub(super) async fn match_order(
        &self,
        caller: &Caller,
        request: &RefundRequest,
        scan: Option<Scan>,
    ) -> Result<Found, ServiceError> {
        let shown = scan.as_ref().map(|scan| scan.subject);
        let by_scan = match shown {
            Some(ScanSubject::Order(id) | ScanSubject::Transaction(id)) => Some(id),
            _ => None,
        };
        let code = match shown {
            Some(ScanSubject::PaymentCode(wallet)) => Some(wallet),
            _ => None,
        };
        let order = match (&request.order_no, by_scan) {
            (Some(number), _) => self.find_meant(caller, request.wallet, code, number).await?,
            (None, Some(id)) => self.ledger.order(id).await?,
            (None, None) if code.is_some() => {
                return Err(self.order_required(&caller.merchant_id, scan.as_ref()).await);
            }
            (None, None) => {
                return Err(Refusal::field("order_no", "name the order, or scan its bill code").into());
            }
        };
        if by_scan.is_some_and(|id| id != order.id) {
            return Err(Refusal::ScanOrderMismatch.into());
        }
        let meant = code.or(request.wallet);
        match meant {
            Some(code) if code != order.wallet => Err(Refusal::WalletMismatch { code, order: order.wallet }.into()),
            _ => Ok(Found { order: self.check_payer(order, scan.as_ref()).await?, scan }),
        }
    }

    /// The order with a number; where two wallets have it, the payment code says which.
    async fn find_meant(
        &self,
        caller: &Caller,
        wallet: Option<WalletKind>,
        code: Option<WalletKind>,
        number: &OrderNo,
    ) -> Result<Order, ServiceError> {
        match self.find_order(&caller.merchant_id, wallet, number.as_str()).await {
            Err(ServiceError::Refused(Refusal::OrderAmbiguous { .. })) if code.is_some() => {
                self.find_order(&caller.merchant_id, code, number.as_str()).await
            }
            other => other,
        }
    }
}

/// Keeps a first answer for quick replays; only 201 and 202 are kept.
async fn keep_in_redis(claim: Option<ClaimGuard>, answer: &RefundAnswer) {
    if let (Some(claim), Some(status)) = (claim, StoredStatus::from_code(answer.status)) {
        let (body, location) = (answer.body.clone(), Some(answer.location.clone()));
        claim.store(&StoredAnswer { status, body, location }).await;
    }
}

fn location(id: RefundId) -> String {
    format!("/v1/refunds/{id}")
}

fn answer(refund: &Refund) -> Result<RefundAnswer, ServiceError> {
    let (status, body) = first_answer(refund)?;
    Ok(RefundAnswer { status, body, location: location(refund.refund_id), replayed: false })
}

fn replay(first: StoredAnswer) -> RefundAnswer {
    RefundAnswer {
        status: first.status.code(),
        body: first.body,
        location: first.location.unwrap_or_default(),
        replayed: true,
    }
}

//! One signed call, and what its answer is worth. Nothing here fails: what can't be learnt or written now, the
//! follow-up job asks after.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{
    Asked, Doubt, DoubtKind, Hold, HoldReason, Outcome, RecordStatus, RefundCall, Rejection, Wallet,
};

use super::{
    Desk,
    gate::{Gate, Heard, Lane, Pass, Shut},
};
use crate::mutants::{Mutant, on};
use crate::{
    domain::{
        actor::Actor,
        idempotency::IdempotencyKey,
        refund::{Evidence, Failure, Judgement, SoleRefusal},
    },
    ledger::{ClaimedSend, Known, LedgerError, News, Patience, RecordRequest, Recorded},
};

/// Waits between looks at a refund of unknown outcome, after the first; the last one repeats. The wallet's own time.
/// Seconds, then minutes, hours, and a day.
const UNKNOWN_LADDER_S: [u64; 12] = [2, 5, 10, 30, 60, 300, 1800, 3600, 7200, 14_400, 43_200, 86_400];
/// Waits between looks at a refund that the wallet works on: the wallet's advice (wechat-pay §10), then hours, because a card
/// takes days; the last one repeats.
const PENDING_LADDER_S: [u64; 14] = [60, 60, 60, 60, 60, 300, 600, 1200, 1800, 3600, 3600, 7200, 14_400, 21_600];
/// Waits before a refund is sent again that the merchant's balance could not pay; the last one repeats.
const BALANCE_LADDER_S: [u64; 4] = [60, 300, 600, 1800];
/// Waits between tries to write an outcome down, in milliseconds: a database that fails over is back in seconds.
const RECORD_WAITS_MS: [u64; 6] = [50, 200, 500, 1000, 2000, 3000];
/// After this long without an answer a person is told. The wallet's own time.
const UNKNOWN_TOO_LONG: std::time::Duration = std::time::Duration::from_secs(3600);
/// Never sooner than this after the last look, whatever the time scale.
const SHORTEST_WAIT: SignedDuration = SignedDuration::from_millis(200);

impl Desk {
    /// Sends a refund once and writes down what came of it. `answers` is the key whose first answer this is.
    /// # Errors
    /// [`LedgerError`] where it couldn't be written: the job is due when the lease ends, and asks.
    pub(super) async fn send_and_record(
        &self,
        wallet: &Arc<dyn Wallet>,
        mut send: ClaimedSend,
        attempts: u32,
        answers: Option<IdempotencyKey>,
        pass: Pass,
    ) -> Result<Recorded, LedgerError> {
        let news = if self.now() > send.send_by() && !on(Mutant::LateSend) {
            tracing::warn!(refund.id = %send.refund_id(), "a send came too late for its claim and was not made; it is asked after");
            News::Nothing(None)
        } else {
            let gate = pass.gate();
            let outcome = wallet.refund(send.call()).await;
            pass.heard(Heard::of_send(&outcome), send.call().request_no.as_str());
            self.weigh(wallet, &gate, &send, outcome).await
        };
        let request = RecordRequest {
            refund_id: send.refund_id(),
            look_again_at: self.look_again(wallet, &news, attempts),
            news,
            by: Actor::Wallet,
            fence: Some(send.fence()),
            pace: self.pace(&wallet.capabilities()),
            patience: self.patience(wallet, None),
            answers,
        };
        let turn_opens_at = self.now().checked_add(request.pace.between).unwrap_or(Timestamp::MAX);
        let look_again_at = request.look_again_at.min(turn_opens_at);
        let recorded = self.record_patiently(request, send.take_known()).await?;
        self.ring_follower(look_again_at);
        self.ring_deliverer();
        Ok(recorded)
    }

    /// Writes down what the answer to a send said, and tries again for a while: it can't be asked for twice, the fence makes a
    /// late write harmless, and one that was written already is news that repeats itself.
    async fn record_patiently(
        &self,
        request: RecordRequest,
        mut known: Option<Known>,
    ) -> Result<Recorded, LedgerError> {
        for wait_ms in RECORD_WAITS_MS {
            match self.ledger.record(&request, known.take(), self.now()).await {
                Err(error @ (LedgerError::Unavailable(_) | LedgerError::CommitUnknown(_))) => {
                    tracing::warn!(%error, refund.id = %request.refund_id, "an outcome could not be written; trying again");
                    tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
                }
                other => return other,
            }
        }
        self.ledger.record(&request, None, self.now()).await
    }

    /// What an answer is worth (contract §4 rules 4 and 5).
    async fn weigh(&self, wallet: &Arc<dyn Wallet>, gate: &Arc<Gate>, send: &ClaimedSend, outcome: Outcome) -> News {
        count(wallet, &outcome);
        let rejection = match outcome {
            Outcome::Done(record) | Outcome::Pending(record) => return News::Record(record),
            Outcome::Held(hold) => return News::Held(hold),
            #[cfg(feature = "mutants")]
            Outcome::Unknown(doubt) if on(Mutant::TimeoutFails) => {
                return News::Refused(
                    crate::mutants::forged_refusal(),
                    Failure { code: "timeout".into(), detail: doubt.detail },
                );
            }
            Outcome::Unknown(doubt) => return News::Nothing(Some(doubt)),
            Outcome::Rejected(rejection) => rejection,
        };
        let evidence = Evidence { sends: send.sends(), absent: None, pace_kept: send.pace_kept() };
        match SoleRefusal::judge(&rejection, evidence) {
            Judgement::AskFirst => {
                match question(wallet, gate.enter(Lane::LookUps, QUESTION_WAITS).await, send.call()).await {
                    Asked::Found(record) => News::Record(record),
                    Asked::Unknown(doubt) => News::Unconfirmed(rejection, doubt),
                    Asked::NotKnown => {
                        let evidence = Evidence { absent: Some(true), ..evidence };
                        judged(SoleRefusal::judge(&rejection, evidence), rejection)
                    }
                }
            }
            judgement => judged(judgement, rejection),
        }
    }

    /// When a person is told of a refund that stays unknown.
    pub(super) fn patience(&self, wallet: &Arc<dyn Wallet>, paid_at: Option<Timestamp>) -> Patience {
        let window = SignedDuration::from_hours(24 * i64::from(wallet.capabilities().refund_window_days));
        Patience {
            unknown_for: self.scaled(UNKNOWN_TOO_LONG),
            window_ends: paid_at.and_then(|paid_at| paid_at.checked_add(window).ok()),
        }
    }

    /// When to look after a refund again, by what was learnt and how often it was looked after.
    pub(super) fn look_again(&self, wallet: &Arc<dyn Wallet>, news: &News, attempts: u32) -> Timestamp {
        let capabilities = wallet.capabilities();
        let rung = |ladder: &[u64]| {
            let index = usize::try_from(attempts).unwrap_or(usize::MAX).min(ladder.len() - 1);
            self.scaled(std::time::Duration::from_secs(ladder[index]))
        };
        let wait = match news {
            // half a second more than the wallet takes: its notification should come first
            News::Record(record) if record.status == RecordStatus::Taken && attempts == 0 => {
                self.scaled(capabilities.settles_within) + SignedDuration::from_millis(500)
            }
            News::Record(_) => rung(&PENDING_LADDER_S),
            News::Held(Hold { reason: HoldReason::TooSoon, .. }) => self.pace(&capabilities).between,
            News::Held(Hold { reason: HoldReason::MerchantBalanceLow, .. }) => rung(&BALANCE_LADDER_S),
            News::Nothing(_) | News::Unconfirmed(..) => {
                rung(&UNKNOWN_LADDER_S).max(self.scaled(capabilities.ask_after))
            }
            News::Refused(..) | News::Bounced => SignedDuration::ZERO,
        };
        self.now().checked_add(wait.max(SHORTEST_WAIT)).unwrap_or(Timestamp::MAX)
    }
}

/// How long the question that confirms a refusal waits for its turn.
const QUESTION_WAITS: std::time::Duration = std::time::Duration::from_secs(1);

/// Asks for a refund through the gate; turned away there, nothing is learnt.
pub(super) async fn question(wallet: &Arc<dyn Wallet>, pass: Result<Pass, Shut>, call: &RefundCall) -> Asked {
    let Ok(pass) = pass else {
        return Asked::Unknown(Doubt::new(DoubtKind::RateLimited, "held back: the wallet is down, or asked too much"));
    };
    let asked = wallet.query_refund(call).await;
    pass.heard(Heard::of_question(&asked), call.request_no.as_str());
    asked
}

pub(super) fn judged(judgement: Judgement, rejection: Rejection) -> News {
    match judgement {
        Judgement::Believed(proof) => News::Refused(proof, Failure { code: rejection.code, detail: rejection.detail }),
        Judgement::HeldForPace => News::Held(Hold { reason: HoldReason::TooSoon, detail: rejection.code }),
        Judgement::AskFirst | Judgement::Worthless => News::Nothing(Some(Doubt::new(
            DoubtKind::Inconclusive,
            format!("refused with {}, which proves nothing about what was sent before", rejection.code),
        ))),
    }
}

fn count(wallet: &Arc<dyn Wallet>, outcome: &Outcome) {
    let word = match outcome {
        Outcome::Done(_) => "done",
        Outcome::Pending(_) => "pending",
        Outcome::Held(_) => "held",
        Outcome::Rejected(_) => "rejected",
        Outcome::Unknown(doubt) => doubt.kind.as_str(),
    };
    metrics::counter!("scanback_refund_calls_total", "wallet" => wallet.kind().as_str(), "outcome" => word)
        .increment(1);
    if let Outcome::Unknown(doubt) = outcome {
        tracing::warn!(wallet = %wallet.kind(), %doubt, "the outcome of a refund call is unknown; it is asked after");
    }
}

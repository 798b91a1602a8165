//! A refund and its states: one total table says what may follow what.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use scanback_wallet::{
    MerchantId, Money, OperatorId, OrderNo, Proof, RecordStatus, RefundId, Rejection, WalletKind, WalletRefundId,
    WalletRequestNo,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How far a refund is. Source: contract §3, table of refund states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// The policy wants a second person.
    AwaitingApproval,
    /// The intent is durable; the call is under way, its outcome isn't known yet, or it waits.
    Submitting,
    /// The wallet took it; the end is to come.
    Processing,
    /// Money is back.
    Succeeded,
    /// The wallet refused for good, or closed it.
    Failed,
    /// The wallet took it and can't pay it out; a person must act.
    Abnormal,
    /// A second person said no; never sent.
    Declined,
    /// Taken back before it was sent.
    Cancelled,
}

/// What happened to a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundEvent {
    /// A second person said yes.
    Approved,
    /// A second person said no.
    Declined,
    /// Somebody took it back before it was sent.
    Cancelled,
    /// Nobody decided in time.
    Expired,
    /// What the wallet's own books say about this number: from a send, a query or a notification.
    Recorded(RecordStatus),
    /// The wallet refused the first and only send.
    Refused(SoleRefusal),
    /// Unknown, held, not known to a query: ask, or send again under the same number.
    NothingLearnt,
}

impl RefundState {
    /// Every state, in the order of the contract.
    pub const ALL: [Self; 8] = [
        Self::AwaitingApproval,
        Self::Submitting,
        Self::Processing,
        Self::Succeeded,
        Self::Failed,
        Self::Abnormal,
        Self::Declined,
        Self::Cancelled,
    ];

    /// What follows. The one table of contract §3 and §4 rules 4 to 6.
    /// # Errors
    /// [`IllegalTransition`] where the event can't happen in this state: a fault of ours, never of a wallet.
    pub fn on(self, event: RefundEvent) -> Result<Self, IllegalTransition> {
        use {RecordStatus as R, RefundEvent as E, RefundState as S};
        match (self, event) {
            (S::AwaitingApproval, E::Approved) => Ok(S::Submitting),
            (S::AwaitingApproval, E::Declined) => Ok(S::Declined),
            (S::AwaitingApproval, E::Cancelled | E::Expired) => Ok(S::Cancelled),
            // only while its send count is 0, which the ledger decides in one conditional write with the first send
            (S::Submitting, E::Cancelled) => Ok(S::Cancelled),
            (S::Submitting | S::Processing | S::Abnormal, E::Recorded(record)) => Ok(match record {
                R::Paid => S::Succeeded,
                R::Taken => S::Processing,
                R::Stuck => S::Abnormal,
                R::Closed => S::Failed,
            }),
            (S::Failed, E::Recorded(R::Paid)) => Ok(S::Succeeded), // late truth wins; the ledger records any excess
            (S::Submitting, E::Refused(_)) => Ok(S::Failed),
            (from, E::NothingLearnt) => Ok(from),
            (from, E::Recorded(_)) if from.is_final() => Ok(from), // stale or repeated news
            (from, event) => Err(IllegalTransition { from, event: event.name() }),
        }
    }

    /// Whether the order's money is held for it.
    #[must_use]
    pub const fn holds_reservation(self) -> bool {
        match self {
            Self::AwaitingApproval | Self::Submitting | Self::Processing | Self::Abnormal => true,
            Self::Succeeded | Self::Failed | Self::Declined | Self::Cancelled => false,
        }
    }

    /// Whether nothing more is expected.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Declined | Self::Cancelled => true,
            Self::AwaitingApproval | Self::Submitting | Self::Processing | Self::Abnormal => false,
        }
    }

    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "awaiting_approval",
            Self::Submitting => "submitting",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Abnormal => "abnormal",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for RefundState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RefundState {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

impl RefundEvent {
    const fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Recorded(RecordStatus::Paid) => "recorded paid",
            Self::Recorded(RecordStatus::Taken) => "recorded taken",
            Self::Recorded(RecordStatus::Stuck) => "recorded stuck",
            Self::Recorded(RecordStatus::Closed) => "recorded closed",
            Self::Refused(_) => "refused",
            Self::NothingLearnt => "nothing learnt",
        }
    }
}

/// An event that can't happen in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a refund that is {from} can't be {event}")]
pub struct IllegalTransition {
    /// The state it is in.
    pub from: RefundState,
    /// What was tried.
    pub event: &'static str,
}

/// Proof that a refusal may be believed: it answered the first and only send of the number (contract §4 rule 5).
/// [`SoleRefusal::judge`] is its only maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoleRefusal(());

/// What is known beside the refusal itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// How often the number was sent, this time included; from the ledger.
    pub sends: u32,
    /// Whether a query after the refusal said that the wallet doesn't know the number. `None`: not asked.
    pub absent: Option<bool>,
    /// Whether the ledger proves that the pace between different refunds of the order was kept.
    pub pace_kept: bool,
}

/// What a refusal is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is final.
    Believed(SoleRefusal),
    /// Ask for the number first, then judge again.
    AskFirst,
    /// Nothing moved, but it may have been only too soon: the same number later.
    HeldForPace,
    /// It proves nothing.
    Worthless,
}

impl SoleRefusal {
    /// What no code may make: for mutants.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub const fn forged() -> Self {
        Self(())
    }

    /// Judges a refusal by contract §4 rule 5.
    #[must_use]
    pub fn judge(rejection: &Rejection, evidence: Evidence) -> Judgement {
        if evidence.sends != 1 && !crate::mutants::on(crate::mutants::Mutant::RefusalAfterUnknown) {
            return Judgement::Worthless;
        }
        match (rejection.proof, evidence.absent) {
            (Proof::Answer, _) => Judgement::Believed(Self(())),
            (Proof::AnswerAndAbsence | Proof::AnswerAbsenceAndPace, None) => Judgement::AskFirst,
            (Proof::AnswerAndAbsence | Proof::AnswerAbsenceAndPace, Some(false)) => Judgement::Worthless,
            (Proof::AnswerAndAbsence, Some(true)) => Judgement::Believed(Self(())),
            (Proof::AnswerAbsenceAndPace, Some(true)) if evidence.pace_kept => Judgement::Believed(Self(())),
            (Proof::AnswerAbsenceAndPace, Some(true)) => Judgement::HeldForPace,
        }
    }
}

/// A refund of a part, or of the whole payment within the void window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundKind {
    /// Money back for a part or all.
    Refund,
    /// The whole payment reversed.
    Void,
}

/// Where a refund was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundOrigin {
    /// Here.
    Desk,
    /// Elsewhere, and found in the wallet's books.
    External,
}

/// Why a refund ended without money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// The wallet's code, or ours.
    pub code: String,
    /// In words.
    pub detail: String,
}

/// Why a person must look. Source: contract §3, "Attention".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionReason {
    /// The wallet can't pay it out.
    Abnormal,
    /// The wallet closed it; its number is spent.
    ClosedByWallet,
    /// The merchant's balance at the wallet is too low.
    MerchantBalanceLow,
    /// Nobody could learn its end for long.
    UnknownTooLong,
    /// The wallet paid more than the order.
    Overpaid,
    /// The time in which the wallet takes refunds ended before its end was known.
    WindowOver,
    /// A bank sent the money back that was paid.
    Bounced,
}

impl AttentionReason {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Abnormal => "abnormal",
            Self::ClosedByWallet => "closed_by_wallet",
            Self::MerchantBalanceLow => "merchant_balance_low",
            Self::UnknownTooLong => "unknown_too_long",
            Self::Overpaid => "overpaid",
            Self::WindowOver => "window_over",
            Self::Bounced => "bounced",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Abnormal,
            Self::ClosedByWallet,
            Self::MerchantBalanceLow,
            Self::UnknownTooLong,
            Self::Overpaid,
            Self::WindowOver,
            Self::Bounced,
        ];
        all.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A refund as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// Ours.
    pub refund_id: RefundId,
    /// Which order, by the ledger's own number.
    pub order_id: Uuid,
    /// Whose.
    pub merchant_id: MerchantId,
    /// Through which wallet.
    pub wallet: WalletKind,
    /// The order's number.
    pub order_no: OrderNo,
    /// A refund or a void.
    pub kind: RefundKind,
    /// Asked for here or elsewhere.
    pub origin: RefundOrigin,
    /// What the wallet gets; fixed for the life of the refund.
    pub wallet_request_no: WalletRequestNo,
    /// WeChat's own number.
    pub wallet_refund_id: Option<WalletRefundId>,
    /// What goes back and what the wallet is asked for.
    pub amount: Money,
    /// What the merchant keeps.
    pub fee: Money,
    /// How far it is.
    pub state: RefundState,
    /// The policy's code.
    pub reason: String,
    /// What the payer reads.
    pub reason_text: String,
    /// Internal.
    pub note: Option<String>,
    /// The person who asked.
    pub operator_id: Option<OperatorId>,
    /// The person who approved.
    pub approved_by: Option<OperatorId>,
    /// The scan that it used.
    pub scan_id: Option<Uuid>,
    /// The refund that it stands in for.
    pub replaces: Option<RefundId>,
    /// Not sent before this moment.
    pub not_before: Option<Timestamp>,
    /// How often the number was sent; counted before each send.
    pub sends: u32,
    /// Number of the newest claim on it; an older claim can't record.
    pub fence: i64,
    /// When it was last sent.
    pub last_sent_at: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was first sent.
    pub submitted_at: Option<Timestamp>,
    /// When it ended.
    pub settled_at: Option<Timestamp>,
    /// Why it ended without money.
    pub failure: Option<Failure>,
    /// Why a person must look, and since when.
    pub attention: Option<(AttentionReason, Timestamp)>,
    /// The merchant's own data.
    pub metadata: Option<serde_json::Value>,
    /// Where the wallet was told to notify.
    pub notify_url: Option<String>,
    /// A refusal of the only send that a query must still confirm.
    pub unconfirmed: Option<Rejection>,
    /// What happened, oldest first.
    pub timeline: Vec<TimelineEntry>,
}

/// One line of a refund's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TimelineEntry {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What, for example `created`, `sent`, `unknown`, `succeeded`.
    pub event: String,
    /// Who, for example `operator:li`, `terminal:t1`, `wallet`, `scanback`.
    pub by: String,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: [RecordStatus; 4] =
        [RecordStatus::Paid, RecordStatus::Taken, RecordStatus::Stuck, RecordStatus::Closed];

    fn events() -> Vec<RefundEvent> {
        let mut events = vec![
            RefundEvent::Approved,
            RefundEvent::Declined,
            RefundEvent::Cancelled,
            RefundEvent::Expired,
            RefundEvent::Refused(SoleRefusal(())),
            RefundEvent::NothingLearnt,
        ];
        events.extend(RECORDS.map(RefundEvent::Recorded));
        events
    }

    /// The table as `docs/states.md` shows it.
    fn drawn() -> String {
        let mut out = String::from("| state | ");
        out.push_str(&events().iter().map(|event| event.name()).collect::<Vec<_>>().join(" | "));
        out.push_str(" |\n|");
        out.push_str(&"---|".repeat(events().len() + 1));
        for state in RefundState::ALL {
            out.push_str(&format!("\n| `{state}` |"));
            for event in events() {
                out.push_str(&match state.on(event) {
                    Ok(next) if next == state => " · |".to_owned(),
                    Ok(next) => format!(" `{next}` |"),
                    Err(_) => " – |".to_owned(),
                });
            }
        }
        out
    }

    /// Every (state, event) pair is written out in docs/states.md, and the page is the table.
    #[test]
    fn the_drawn_table_is_the_real_one() {
        let page = include_str!("../../docs/states.md");
        assert!(page.contains(&drawn()), "docs/states.md should hold:\n{}", drawn());
    }

    #[test]
    fn nothing_leaves_a_final_state_but_late_truth() {
        for state in RefundState::ALL.into_iter().filter(|state| state.is_final()) {
            for event in events() {
                match state.on(event) {
                    Ok(next) if next == state => {}
                    Ok(next) => assert_eq!((state, next), (RefundState::Failed, RefundState::Succeeded)),
                    Err(_) => assert!(!matches!(event, RefundEvent::Recorded(_) | RefundEvent::NothingLearnt)),
                }
            }
        }
    }

    #[test]
    fn only_a_record_or_the_sole_refusal_ends_what_was_sent() {
        for state in [RefundState::Submitting, RefundState::Processing, RefundState::Abnormal] {
            for event in events() {
                let next = state.on(event);
                if next.is_ok_and(RefundState::is_final) {
                    let proven = matches!(
                        event,
                        RefundEvent::Recorded(RecordStatus::Paid | RecordStatus::Closed) | RefundEvent::Refused(_)
                    );
                    let never_sent = state == RefundState::Submitting && event == RefundEvent::Cancelled;
                    assert!(proven || never_sent, "{state} {event:?}");
                }
            }
        }
    }

    #[test]
    fn a_refusal_is_judged_by_what_else_is_known() {
        use Judgement as J;
        let rejection = |proof| Rejection { code: "X".into(), detail: String::new(), proof };
        let judge = |proof, sends, absent, pace_kept| {
            SoleRefusal::judge(&rejection(proof), Evidence { sends, absent, pace_kept })
        };
        let believed = J::Believed(SoleRefusal(()));
        for (proof, sends, absent, pace_kept, expected) in [
            (Proof::Answer, 1, None, false, believed),
            (Proof::Answer, 2, Some(true), true, J::Worthless),
            (Proof::Answer, 0, Some(true), true, J::Worthless),
            (Proof::AnswerAndAbsence, 1, None, true, J::AskFirst),
            (Proof::AnswerAndAbsence, 1, Some(true), false, believed),
            (Proof::AnswerAndAbsence, 1, Some(false), true, J::Worthless),
            (Proof::AnswerAbsenceAndPace, 1, None, true, J::AskFirst),
            (Proof::AnswerAbsenceAndPace, 1, Some(true), true, believed),
            (Proof::AnswerAbsenceAndPace, 1, Some(true), false, J::HeldForPace),
            (Proof::AnswerAbsenceAndPace, 1, Some(false), true, J::Worthless),
            (Proof::AnswerAbsenceAndPace, 2, Some(true), true, J::Worthless),
        ] {
            assert_eq!(judge(proof, sends, absent, pace_kept), expected, "{proof:?} {sends} {absent:?} {pace_kept}");
        }
    }
}

//! The suite finds an adapter that guesses: one for each guess that would cost money or a person's trust.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::SignedDuration;
use scanback_wallet::{
    AbnormalCall, Acknowledgement, Asked, Bill, BillDay, BillKind, Capabilities, EventId, Money, NotGenuine,
    Notification, OrderNumber, OrderRef, Outcome, PayerOf, PaymentCode, Proof, RecordStatus, RefundCall, RefundRecord,
    Rejection, VoidCall, Wallet, WalletError, WalletKind, WalletOrder, WalletRequestNo,
    conformance::{self, Fault, Operation, Paid, Stage},
};

use super::example::server::PennyStage;

/// What an adapter may get wrong.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// No answer means that it failed.
    DoubtIsRefusal,
    /// No answer means that it went through.
    DoubtIsSuccess,
    /// Each try has a number of its own.
    AnotherNumberEachTime,
    /// No answer to a query means that there is no such refund.
    DoubtIsAbsence,
    /// No answer to an order query means that there is no such order.
    NoAnswerIsNoOrder,
    /// A refusal for lack of balance is for good.
    HoldIsRefusal,
    /// Whatever calls itself news is believed.
    BelievesAnyNews,
}

struct Liar {
    inner: Arc<dyn Wallet>,
    lie: Lie,
}

struct LiarStage {
    penny: PennyStage,
    lie: Lie,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_guesses_is_found_by_each_of_its_guesses() {
    for (lie, case) in [
        (Lie::DoubtIsRefusal, "refund × effect_then_timeout"),
        (Lie::DoubtIsSuccess, "refund × no_effect_timeout"),
        (Lie::AnotherNumberEachTime, "the same number again is the same refund"),
        (Lie::DoubtIsAbsence, "query_refund × bad_signature"),
        (Lie::NoAnswerIsNoOrder, "query_order × http_500"),
        (Lie::HoldIsRefusal, "refund × not_enough_balance"),
        (Lie::BelievesAnyNews, "genuine news is opened, altered news refused"),
    ] {
        let report = conformance::run(&LiarStage { penny: PennyStage::start().await, lie }).await;
        assert!(report.wrong.iter().any(|line| line.starts_with(case)), "{lie:?} is not found: {:?}", report.wrong);
    }
}

fn paid(call: &RefundCall) -> Outcome {
    Outcome::Done(RefundRecord {
        request_no: call.request_no.clone(),
        wallet_refund_id: None,
        amount: call.amount,
        status: RecordStatus::Paid,
        settled_at: None,
        order_refunded: None,
    })
}

#[async_trait]
impl Wallet for Liar {
    async fn refund(&self, call: &RefundCall) -> Outcome {
        let mut call = call.clone();
        if matches!(self.lie, Lie::AnotherNumberEachTime) {
            call.request_no = WalletRequestNo::parse(&uuid::Uuid::now_v7().simple().to_string()).unwrap();
        }
        let refused = |code: &str| {
            Outcome::Rejected(Rejection { code: code.to_owned(), detail: String::new(), proof: Proof::Answer })
        };
        match (self.inner.refund(&call).await, self.lie) {
            (Outcome::Unknown(_), Lie::DoubtIsRefusal) => refused("TIMEOUT"),
            (Outcome::Unknown(_), Lie::DoubtIsSuccess) => paid(&call),
            (Outcome::Held(hold), Lie::HoldIsRefusal) => refused(&hold.detail),
            (outcome, _) => outcome,
        }
    }

    async fn query_refund(&self, call: &RefundCall) -> Asked {
        match (self.inner.query_refund(call).await, self.lie) {
            (Asked::Unknown(_), Lie::DoubtIsAbsence) => Asked::NotKnown,
            (asked, _) => asked,
        }
    }

    async fn query_order(&self, number: &OrderNumber) -> Result<Option<WalletOrder>, WalletError> {
        match (self.inner.query_order(number).await, self.lie) {
            (Err(_), Lie::NoAnswerIsNoOrder) => Ok(None),
            (order, _) => order,
        }
    }

    async fn open_notification(&self, headers: &[(String, String)], body: &[u8]) -> Result<Notification, NotGenuine> {
        match (self.inner.open_notification(headers, body).await, self.lie) {
            (Err(_), Lie::BelievesAnyNews) => Ok(Notification::Other { event_id: EventId::parse("any").unwrap() }),
            (opened, _) => opened,
        }
    }

    fn kind(&self) -> WalletKind {
        self.inner.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn void(&self, call: &VoidCall) -> Outcome {
        self.inner.void(call).await
    }

    async fn query_void(&self, call: &VoidCall) -> Asked {
        self.inner.query_void(call).await
    }

    async fn pay_to_account(&self, call: &AbnormalCall) -> Outcome {
        self.inner.pay_to_account(call).await
    }

    async fn close(&self, order: &OrderRef) -> Result<(), WalletError> {
        self.inner.close(order).await
    }

    async fn payer_of(&self, code: &PaymentCode) -> Result<PayerOf, WalletError> {
        self.inner.payer_of(code).await
    }

    async fn bill(&self, kind: BillKind, day: BillDay) -> Result<Bill, WalletError> {
        self.inner.bill(kind, day).await
    }

    fn clock_skew(&self) -> Option<SignedDuration> {
        self.inner.clock_skew()
    }

    fn acknowledge(&self, received: bool) -> Acknowledgement {
        self.inner.acknowledge(received)
    }
}

#[async_trait]
impl Stage for LiarStage {
    fn wallet(&self) -> Arc<dyn Wallet> {
        Arc::new(Liar { inner: self.penny.wallet(), lie: self.lie })
    }

    async fn pay(&self, amount: Money) -> Paid {
        self.penny.pay(amount).await
    }

    async fn leave_unpaid(&self, amount: Money) -> OrderRef {
        self.penny.leave_unpaid(amount).await
    }

    fn plays(&self, operation: Operation) -> bool {
        self.penny.plays(operation)
    }

    async fn break_next(&self, operation: Operation, fault: Fault) -> bool {
        self.penny.break_next(operation, fault).await
    }

    async fn paid_back(&self, order: &OrderRef) -> Money {
        self.penny.paid_back(order).await
    }

    async fn times_paid(&self, order: &OrderRef, number: &WalletRequestNo) -> u32 {
        self.penny.times_paid(order, number).await
    }

    async fn pass_pace(&self) {}

    async fn pass_void_delay(&self) {}

    /// A liar's refunds may never settle.
    fn patience(&self) -> Duration {
        Duration::from_millis(200)
    }

    async fn pause(&self) {
        self.penny.pause().await;
    }

    fn notify_url(&self) -> Option<String> {
        self.penny.notify_url()
    }

    async fn heard(&self) -> Vec<(Vec<(String, String)>, Vec<u8>)> {
        self.penny.heard().await
    }
}

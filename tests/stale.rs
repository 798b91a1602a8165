//! What was decided by a reading is written only where that still holds; else it is decided anew. By the library, since the program
//! can't be held between its reading and its writing; on the store of the run.

use jiff::{SignedDuration, Timestamp};
use scanback::{
    domain::{
        actor::Actor,
        idempotency::{Fingerprint, IdempotencyKey},
        order::{Order, OrderKind, Payment},
        refund::RefundState,
    },
    ledger::{
        CommittedIntent, KeyOfRequest, Known, Ledger, NewOrder, NewRefund, News, Opened, Pace, Patience, RecordRequest,
        Recorded,
    },
};
use scanback_wallet::{Currency, MerchantId, Money, OrderNo, RecordStatus, RefundRecord, WalletKind};

use crate::shop::Store;

struct Desk {
    ledger: Ledger,
    store: Store,
    folder: std::path::PathBuf,
    pace: Pace,
}

fn yuan(fen: i64) -> Money {
    Money::new(fen, Currency::CNY).unwrap()
}

impl Desk {
    async fn open(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("scanback-stale-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let store = Store::make(&folder).await;
        let ledger = Ledger::open(&store.url(), 4).await.unwrap();
        ledger.migrate().await.unwrap();
        let second = SignedDuration::from_secs(1);
        let pace =
            Pace { between: second * 60, waits_while_unknown: true, send_lease: second * 20, send_within: second * 10 };
        Self { ledger, store, folder, pace }
    }

    async fn close(self) {
        self.ledger.close();
        drop(self.ledger);
        self.store.remove().await;
        std::fs::remove_dir_all(&self.folder).unwrap();
    }

    async fn order(&self) -> Order {
        let new = NewOrder {
            merchant_id: MerchantId::parse("demo").unwrap(),
            wallet: WalletKind::Wechat,
            order_no: OrderNo::parse("STALE-0001").unwrap(),
            transaction_id: None,
            aliases: Vec::new(),
            amount: yuan(1_000),
            payment: Payment::Paid,
            kind: OrderKind::Sale,
            paid_at: None,
            starts_at: None,
            store_id: None,
            terminal_id: None,
            payer_hash: None,
            trade_type: None,
            refunded_elsewhere: false,
            checked: true,
            registration: None,
        };
        self.ledger.keep_order(new, Actor::System, Timestamp::now()).await.unwrap();
        let mut orders = self.ledger.orders_by_number(None, None, "STALE-0001").await.unwrap();
        orders.remove(0)
    }

    async fn ask(&self, order: &Order, fen: i64, key: &str) -> Opened {
        let new = NewRefund {
            order: order.clone(),
            amount: yuan(fen),
            fee: yuan(0),
            exact: false,
            reason: ("quality".into(), "quality".into()),
            note: None,
            operator_id: None,
            scan_id: None,
            metadata: None,
            by: Actor::System,
            key: KeyOfRequest {
                key: IdempotencyKey::from_header(key.as_bytes()).unwrap(),
                fingerprint: Fingerprint::from_bytes([7; 32]),
                lease_until: Timestamp::now(),
            },
            max_refunds: Some(50),
            pace: self.pace,
            notify_url: None,
        };
        self.ledger.open_refund(new, Timestamp::now()).await.unwrap()
    }

    async fn learn(&self, known: &Known, status: RecordStatus) -> Recorded {
        self.learn_by(&self.ledger, known, status).await
    }

    async fn learn_by(&self, ledger: &Ledger, known: &Known, status: RecordStatus) -> Recorded {
        let refund = known.refund();
        let record = RefundRecord {
            request_no: refund.wallet_request_no.clone(),
            wallet_refund_id: None,
            amount: refund.amount,
            status,
            settled_at: None,
            order_refunded: None,
        };
        let request = RecordRequest {
            refund_id: refund.refund_id,
            news: News::Record(record),
            by: Actor::Wallet,
            fence: None,
            look_again_at: Timestamp::now(),
            pace: self.pace,
            patience: Patience { unknown_for: SignedDuration::from_hours(1), window_ends: None },
            answers: None,
        };
        ledger.record(&request, Some(known.clone()), Timestamp::now()).await.unwrap()
    }

    /// What a ledger has at hand when the wallet tells of a refund.
    async fn told_of(&self, ledger: &Ledger, known: &Known) -> Known {
        let refund = known.refund();
        let found = ledger.refund_by_request_no(&refund.merchant_id, refund.wallet, &refund.wallet_request_no).await;
        found.unwrap().unwrap()
    }

    /// Refunded and reserved, in fen.
    async fn money(&self, order: &Order) -> (i64, i64) {
        let now = self.ledger.order(order.id).await.unwrap();
        (now.refunded.value(), now.reserved.value())
    }
}

fn committed(opened: Opened) -> CommittedIntent {
    match opened {
        Opened::Committed(intent) => *intent,
        other => panic!("not committed but {other:?}"),
    }
}

#[tokio::test]
async fn news_that_was_judged_by_an_old_reading_is_judged_anew() {
    let desk = Desk::open("news").await;
    let order = desk.order().await;
    let (refund, send) = committed(desk.ask(&order, 700, "news").await).into_parts();
    let as_opened = send.unwrap().take_known().unwrap();
    assert_eq!(desk.money(&order).await, (0, 700));
    // each is judged by the refund as it was opened, and only the first time that is how it stands
    for (status, money) in [
        (RecordStatus::Taken, (0, 700)),
        (RecordStatus::Paid, (700, 0)),
        (RecordStatus::Paid, (700, 0)),
        (RecordStatus::Taken, (700, 0)),
    ] {
        assert!(matches!(desk.learn(&as_opened, status).await, Recorded::Now { .. }));
        assert_eq!(desk.money(&order).await, money, "after {status:?}");
    }
    let kept = desk.ledger.refund(None, refund.refund_id).await.unwrap().unwrap();
    let story: Vec<_> = kept.timeline.iter().map(|line| line.event.as_str()).collect();
    assert_eq!(story, ["created", "sent", "processing", "succeeded"]);
    desk.close().await;
}

#[tokio::test]
async fn a_refund_that_was_allowed_by_an_old_reading_is_allowed_anew_or_not_at_all() {
    let desk = Desk::open("open").await;
    let as_paid = desk.order().await;
    let first = committed(desk.ask(&as_paid, 700, "first").await).into_parts().1.unwrap().take_known().unwrap();
    // by the same reading again: too much is left to none, its key neither, and what fits waits for its turn
    assert!(matches!(desk.ask(&as_paid, 400, "second").await, Opened::OrderChanged));
    assert!(matches!(desk.ask(&as_paid, 300, "first").await, Opened::KeyTaken));
    assert_eq!(desk.money(&as_paid).await, (0, 700));
    let (waiting, send) = committed(desk.ask(&as_paid, 300, "third").await).into_parts();
    assert!(send.is_none() && waiting.not_before.is_some(), "the first one has its turn");
    assert_eq!(desk.money(&as_paid).await, (0, 1_000));
    // and the first one's news finds the order's money changed
    desk.learn(&first, RecordStatus::Paid).await;
    assert_eq!(desk.money(&as_paid).await, (700, 300));
    desk.close().await;
}

/// A process has what it wrote last at hand; where another process went on meanwhile it reads.
#[tokio::test]
async fn what_a_process_wrote_last_is_no_truth_where_another_went_on() {
    let desk = Desk::open("recent").await;
    let order = desk.order().await;
    let opened = committed(desk.ask(&order, 700, "recent").await).into_parts().1.unwrap().take_known().unwrap();
    desk.learn(&opened, RecordStatus::Taken).await;
    let other = Ledger::open(&desk.store.url(), 4).await.unwrap();
    let read = desk.told_of(&other, &opened).await;
    desk.learn_by(&other, &read, RecordStatus::Paid).await;
    assert_eq!(desk.money(&order).await, (700, 0));
    let at_hand = desk.told_of(&desk.ledger, &opened).await;
    assert_eq!(at_hand.refund().state, RefundState::Processing, "it was not read");
    desk.learn(&at_hand, RecordStatus::Paid).await;
    assert_eq!(desk.money(&order).await, (700, 0));
    assert_eq!(desk.told_of(&desk.ledger, &opened).await.refund().state, RefundState::Succeeded, "it was read");
    other.close();
    drop(other);
    desk.close().await;
}

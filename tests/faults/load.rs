//! Tills that never give up: each asks for one refund after the other, under one key until it is answered, as a good client
//! does. What was answered is looked for afterwards.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::shop::{Caller, PATIENCE, POLL, Shop, WALLETS, fen, fresh_key};

/// Orders that a test pays for before it breaks something: more than are refunded meanwhile.
pub(crate) const ORDERS: usize = 600;
/// Tills at work at once.
const TILLS: usize = 6;
/// A till rests after each refund, so that a quick machine doesn't use the orders up.
const REST: Duration = Duration::from_millis(80);
/// A till waits so long for an answer, and asks again under the same key.
const GIVES_UP: Duration = Duration::from_secs(12);

/// An order that was paid.
type Order = (&'static str, String);

/// A refund that somebody was told of.
pub(crate) struct Told {
    wallet: &'static str,
    number: String,
    refund_id: String,
}

#[derive(Default)]
struct State {
    is_over: AtomicBool,
    /// Refunds that were answered.
    answered: AtomicUsize,
    /// Tries that got no answer, or one that says that it doesn't work now.
    in_vain: AtomicUsize,
    /// Answers 500: whether the refund was made, the desk doesn't know itself (its database broke at the commit).
    unclear: AtomicUsize,
    orders: Mutex<VecDeque<Order>>,
}

/// Tills at work.
pub(crate) struct Load {
    state: Arc<State>,
    tills: Vec<JoinHandle<Vec<Told>>>,
}

/// Orders of both wallets, paid, and refunded by nobody yet.
pub(crate) async fn paid_orders(shop: &Shop, name: &str, count: usize) -> VecDeque<Order> {
    let mut orders = VecDeque::new();
    for index in 0..count {
        let (wallet, number) = (WALLETS[index % 2], format!("{name}-{index:05}"));
        shop.sandbox().pay(wallet, &number, 1_000).await;
        orders.push_back((wallet, number));
    }
    orders
}

impl Load {
    /// Tills that call these services in turn.
    pub(crate) fn start(callers: &[Caller], orders: VecDeque<Order>) -> Self {
        Self::at_pace(callers, orders, REST)
    }

    /// The same, with another rest.
    pub(crate) fn at_pace(callers: &[Caller], orders: VecDeque<Order>, rest: Duration) -> Self {
        let state = Arc::new(State { orders: Mutex::new(orders), ..State::default() });
        let till = |index: usize| {
            let (caller, state) = (callers[index % callers.len()].clone(), Arc::clone(&state));
            tokio::spawn(async move { at_work(&caller, &state, rest).await })
        };
        Self { tills: (0..TILLS).map(till).collect(), state }
    }

    /// Waits until so many more refunds were answered.
    pub(crate) async fn until_more(&self, refunds: usize) {
        let (before, began) = (self.answered(), Instant::now());
        while self.answered() < before + refunds {
            assert!(began.elapsed() < PATIENCE, "{} of {refunds} refunds were answered", self.answered() - before);
            let is_dead = self.tills.iter().any(JoinHandle::is_finished);
            assert!(!is_dead || self.state.orders.lock().unwrap().is_empty(), "a till has stopped");
            assert!(!is_dead, "the tills ran out of orders");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Requests that may be under way at once.
    pub(crate) fn tills(&self) -> usize {
        self.tills.len()
    }

    /// Refunds that were answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.state.answered.load(Ordering::Relaxed)
    }

    /// Tries so far that brought nothing, and were made again.
    pub(crate) fn in_vain(&self) -> usize {
        self.state.in_vain.load(Ordering::Relaxed)
    }

    /// The tills end what they have in hand: every refund that was answered. Nothing was unclear.
    pub(crate) async fn end(self) -> Vec<Told> {
        let state = Arc::clone(&self.state);
        let told = self.end_where_commits_get_lost().await;
        assert_eq!(state.unclear.load(Ordering::Relaxed), 0, "the desk didn't know what it did");
        told
    }

    /// The same where the database broke at a commit: who asked is told that it is unclear, and asks again under its key.
    pub(crate) async fn end_where_commits_get_lost(self) -> Vec<Told> {
        self.state.is_over.store(true, Ordering::Relaxed);
        let mut told = Vec::new();
        for till in self.tills {
            told.extend(till.await.unwrap());
        }
        assert!(!told.is_empty(), "no refund was answered at all");
        told
    }
}

async fn at_work(caller: &Caller, state: &State, rest: Duration) -> Vec<Told> {
    let mut told = Vec::new();
    while !state.is_over.load(Ordering::Relaxed) {
        let Some((wallet, number)) = state.orders.lock().unwrap().pop_front() else { break };
        let refund = json!({ "order_no": number, "wallet": wallet, "amount": fen(700), "reason": "quality" });
        let refund_id = until_answered(caller, state, &refund).await;
        state.answered.fetch_add(1, Ordering::Relaxed);
        told.push(Told { wallet, number, refund_id });
        tokio::time::sleep(rest).await;
    }
    told
}

/// 503 and "still running" are for now, as is no answer; anything else but a refund is a failed promise.
async fn until_answered(caller: &Caller, state: &State, refund: &serde_json::Value) -> String {
    let (key, began) = (fresh_key(), Instant::now());
    loop {
        let try_it = caller.refund_call(&key, refund).try_send();
        match tokio::time::timeout(GIVES_UP, try_it).await {
            Ok(Ok(answer)) if matches!(answer.status, 201 | 202) => return answer.refund_id().to_owned(),
            Ok(Ok(answer)) if answer.status == 500 => {
                assert_eq!(answer.str("code"), "internal", "{}", answer.text);
                state.unclear.fetch_add(1, Ordering::Relaxed);
                state.in_vain.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Ok(answer)) => {
                let is_for_now = answer.status == 503 || answer.str("code") == "request_in_progress";
                assert!(is_for_now && answer.body["retryable"] == true, "{} {}", answer.status, answer.text);
                // "still running" is no failure: another try of ours is at it
                state.in_vain.fetch_add(usize::from(answer.status == 503), Ordering::Relaxed);
            }
            Ok(Err(_)) | Err(_) => {
                state.in_vain.fetch_add(1, Ordering::Relaxed);
            }
        }
        assert!(began.elapsed() < PATIENCE, "{refund} is never answered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Nobody was told of a refund that isn't there, and each was paid once.
pub(crate) async fn check(shop: &Shop, told: &[Told]) {
    for Told { wallet, number, refund_id } in told {
        shop.until(refund_id, "succeeded").await;
        assert_eq!(shop.sandbox().paid_back(wallet, number).await, (700, vec![1]), "{wallet} {number}");
    }
}

//! The process dies at every step between intent and record, and every refund is paid once all the same (contract §4 rule 3).
//! The wallet holds a call at a known place; the service is killed there and started again on the same store.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::shop::{ALIPAY, Answer, Chance, Opening, PATIENCE, POLL, Shop, WALLETS, WECHAT, fen, fresh_key};

/// How long the wallet holds a call: the kill comes long before.
const HELD_MS: u64 = 4_000;

fn shop() -> Opening {
    Shop::new().impatient().setting("limits.requests_per_second", 1_000)
}

fn coffee(number: &str) -> Value {
    json!({ "order_no": number, "amount": fen(700), "reason": "quality" })
}

fn held(wallet: &str, operation: &str, kind: &str) -> Value {
    json!({ "wallet": wallet, "operation": operation, "kind": kind, "times": 1, "delay_ms": HELD_MS })
}

/// After the restart: the refund ends paid once, and its key still gives one answer.
async fn ends_paid_once(shop: Shop, wallet: &str, number: &str, key: &str) {
    let refunds = shop.merchant().all("/v1/refunds").await;
    assert_eq!(refunds.len(), 1, "{refunds:#?}");
    let id = refunds[0]["refund_id"].as_str().unwrap();
    let replay = answered(&shop, key, &coffee(number)).await;
    assert_eq!(replay.refund_id(), id, "the same key, the same refund");
    assert!(replay.is_replay());
    shop.until(id, "succeeded").await;
    assert_eq!(answered(&shop, key, &coffee(number)).await.text, replay.text, "the first answer, once given, stands");
    assert_eq!(shop.sandbox().paid_back(wallet, number).await, (700, vec![1]));
    shop.close().await;
}

/// Asks until there is an answer: a dead owner's claim ends with its lease.
async fn answered(shop: &Shop, key: &str, refund: &Value) -> Answer {
    let began = std::time::Instant::now();
    loop {
        let answer = shop.merchant().refund_call(key, refund).send().await;
        if matches!(answer.status, 201 | 202) {
            return answer;
        }
        answer.assert(409, "request_in_progress");
        assert!(began.elapsed() < PATIENCE, "the claim of a dead owner doesn't end");
        tokio::time::sleep(POLL).await;
    }
}

/// Asks for a refund and doesn't wait for the answer, which will not come.
fn ask(shop: &Shop, key: &str, number: &str) {
    tokio::spawn(shop.merchant().refund_call(key, &coffee(number)).try_send());
}

#[tokio::test]
async fn killed_before_the_call_takes_effect() {
    for wallet in WALLETS {
        let (mut shop, key) = (shop().order(wallet, "CRASH-0001", 1_000).open().await, fresh_key());
        shop.sandbox().fault_with(held(wallet, "refund", "no_effect_timeout")).await;
        ask(&shop, &key, "CRASH-0001");
        shop.sandbox().until_fired(1).await;
        shop.crash().await;
        ends_paid_once(shop, wallet, "CRASH-0001", &key).await;
    }
}

#[tokio::test]
async fn killed_after_the_call_took_effect() {
    for wallet in WALLETS {
        let (mut shop, key) = (shop().order(wallet, "CRASH-0002", 1_000).open().await, fresh_key());
        if wallet == WECHAT {
            shop.sandbox().fault(WECHAT, "notification", "drop_notification").await;
        }
        shop.sandbox().fault_with(held(wallet, "refund", "slow")).await;
        ask(&shop, &key, "CRASH-0002");
        shop.sandbox().until_taken(wallet, "CRASH-0002").await;
        shop.crash().await;
        ends_paid_once(shop, wallet, "CRASH-0002", &key).await;
    }
}

/// An unsigned refusal is being checked by a query when the process dies: nothing was believed yet, so it is sent again.
#[tokio::test]
async fn killed_while_a_refusal_is_checked() {
    let (mut shop, key) = (shop().order(WECHAT, "CRASH-0003", 1_000).open().await, fresh_key());
    shop.sandbox().fault(WECHAT, "refund", "unsigned_error").await;
    shop.sandbox().fault_with(held(WECHAT, "query_refund", "slow")).await;
    ask(&shop, &key, "CRASH-0003");
    shop.sandbox().until_fired(2).await;
    shop.crash().await;
    ends_paid_once(shop, WECHAT, "CRASH-0003", &key).await;
}

/// The outcome was unknown and is being asked after.
#[tokio::test]
async fn killed_while_an_unknown_outcome_is_asked_after() {
    for wallet in WALLETS {
        let (mut shop, key) = (shop().order(wallet, "CRASH-0004", 1_000).open().await, fresh_key());
        if wallet == WECHAT {
            shop.sandbox().fault(WECHAT, "notification", "drop_notification").await;
        }
        shop.sandbox().fault(wallet, "refund", "effect_then_reset").await;
        shop.sandbox().fault_with(held(wallet, "query_refund", "slow")).await;
        ask(&shop, &key, "CRASH-0004");
        shop.sandbox().until_fired(2 + usize::from(wallet == WECHAT)).await;
        shop.crash().await;
        ends_paid_once(shop, wallet, "CRASH-0004", &key).await;
    }
}

/// The wallet's notification finds nobody, and then a restarted service that has heard already.
#[tokio::test]
async fn killed_when_the_notification_is_due() {
    let (mut shop, key) = (shop().order(WECHAT, "CRASH-0005", 1_000).open().await, fresh_key());
    shop.sandbox().fault(WECHAT, "refund", "stay_processing").await;
    let answer = shop.merchant().refund_call(&key, &coffee("CRASH-0005")).send().await;
    answer.assert(202, "processing");
    shop.kill();
    shop.sandbox().settle(&answer.body, "SUCCESS").await;
    shop.start().await;
    ends_paid_once(shop, WECHAT, "CRASH-0005", &key).await;
}

/// A refund that waits for its turn waits again after the restart, and goes then.
#[tokio::test]
async fn killed_while_a_refund_waits_for_its_turn() {
    let mut shop = shop().time_scale(60).order(WECHAT, "CRASH-0006", 3_000).open().await;
    for _ in 0..2 {
        assert_eq!(shop.merchant().refund("CRASH-0006", 700).await.status, 202);
    }
    shop.crash().await;
    for refund in shop.merchant().all("/v1/refunds").await {
        shop.until(refund["refund_id"].as_str().unwrap(), "succeeded").await;
    }
    assert_eq!(shop.sandbox().paid_back(WECHAT, "CRASH-0006").await, (1_400, vec![1, 1]));
    shop.close().await;
}

/// Killed at moments that nobody chose, under load: whoever asks again with the same key gets one refund.
#[tokio::test]
async fn killed_at_random_moments_under_load() {
    const ROUNDS: usize = 5;
    const AT_ONCE: usize = 12;
    let mut chance = Chance::new();
    let mut shop = shop().open().await;
    for round in 0..ROUNDS {
        let mut asked = Vec::new();
        for index in 0..AT_ONCE {
            let (wallet, number) = (WALLETS[index % 2], format!("LOAD-{round}-{index:02}"));
            shop.sandbox().pay(wallet, &number, 1_000).await;
            shop.merchant().register(wallet, &number, 1_000).await.assert(201, "paid");
            asked.push((wallet, number, fresh_key()));
        }
        for (_, number, key) in &asked {
            ask(&shop, key, number);
        }
        tokio::time::sleep(Duration::from_millis(chance.below(150))).await; // when it dies is left to chance
        shop.crash().await;
        let answers = join_all(asked.iter().map(|(_, number, key)| {
            let refund = coffee(number);
            let shop = &shop;
            async move { answered(shop, key, &refund).await }
        }))
        .await;
        for ((wallet, number, _), answer) in asked.iter().zip(&answers) {
            shop.until(answer.refund_id(), "succeeded").await;
            assert_eq!(shop.sandbox().paid_back(wallet, number).await, (700, vec![1]), "{wallet} {number}");
        }
    }
    shop.close().await;
}

/// A process stalls past its lease and wakes up when another has done its work: what it learnt late changes nothing, and
/// what it sent carried the same number (contract §4 rules 2 and 7).
#[tokio::test]
async fn a_process_that_was_paused_past_its_lease_changes_nothing() {
    if !crate::shop::on_postgres() {
        return; // SQLite has one process
    }
    for (wallet, kind) in
        [(ALIPAY, "no_effect_timeout"), (WECHAT, "no_effect_timeout"), (ALIPAY, "slow"), (WECHAT, "slow")]
    {
        let shop = shop().order(wallet, "PAUSED-001", 1_000).open().await;
        let stalls = shop.start_replica().await;
        let key = fresh_key();
        shop.sandbox().fault_with(held(wallet, "refund", kind)).await;
        tokio::spawn(stalls.caller(&shop).refund_call(&key, &coffee("PAUSED-001")).try_send());
        shop.sandbox().until_fired(1).await;
        stalls.service.pause();
        let answer = answered(&shop, &key, &coffee("PAUSED-001")).await;
        let mut done = shop.until(answer.refund_id(), "succeeded").await;
        stalls.service.go_on();
        stalls.until_ended().await; // with what it had in hand
        let mut after = shop.refund(answer.refund_id()).await;
        // what it says late may be recorded (contract §4 rule 6)
        let lines = after["timeline"].take();
        let ends = lines.as_array().unwrap().iter().filter(|line| line["event"] == "succeeded");
        assert_eq!(ends.count(), 1, "{wallet} {kind}: {lines:#}");
        done["timeline"].take();
        assert_eq!(after, done, "{wallet} {kind}");
        assert_eq!(shop.sandbox().paid_back(wallet, "PAUSED-001").await, (700, vec![1]), "{wallet} {kind}");
        shop.close().await;
    }
}

/// SIGTERM with a call under way: the caller gets an answer, and the process is gone in time.
#[tokio::test]
async fn asked_to_stop_it_ends_what_is_in_flight() {
    let (mut shop, key) = (Shop::new().order(ALIPAY, "STOPPED-01", 1_000).open().await, fresh_key());
    let slow = json!({ "wallet": ALIPAY, "operation": "refund", "kind": "slow", "times": 1, "delay_ms": 1500 });
    shop.sandbox().fault_with(slow).await;
    let asked = tokio::spawn(shop.merchant().refund_call(&key, &coffee("STOPPED-01")).send());
    shop.sandbox().until_taken(ALIPAY, "STOPPED-01").await;
    assert!(shop.stop().await.success());
    asked.await.unwrap().assert(201, "succeeded");
    assert!(shop.merchant().refund_call(&key, &coffee("STOPPED-01")).try_send().await.is_err(), "no new work is taken");
    shop.start().await;
    shop.close().await;
}

/// SIGTERM while the wallet says nothing for longer than a stop may take: it is left durable, and followed at the next start.
#[tokio::test]
async fn asked_to_stop_it_leaves_what_hangs_to_the_next_start() {
    let mut shop =
        Shop::new().impatient().setting("wallet.timeout_ms", 25_000).order(ALIPAY, "STOPPED-02", 1_000).open().await;
    let key = fresh_key();
    let hangs = json!({ "wallet": ALIPAY, "operation": "refund", "kind": "effect_then_timeout", "times": 1, "delay_ms": 30_000 });
    shop.sandbox().fault_with(hangs).await;
    ask(&shop, &key, "STOPPED-02");
    shop.sandbox().until_taken(ALIPAY, "STOPPED-02").await;
    assert!(shop.stop().await.success(), "it stops within 10 s, and well");
    shop.set("wallet.timeout_ms", 1500);
    shop.start().await;
    ends_paid_once(shop, ALIPAY, "STOPPED-02", &key).await;
}

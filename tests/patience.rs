//! Unknown outcomes to their end: asked soon after a crash, sooner when somebody looks, told of when it takes too long, and
//! never changed by what comes late (contract §4 rules 4 to 6).

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::shop::{ALIPAY, PATIENCE, POLL, Shop, WECHAT, fen, on_postgres, pen::alipay_bounce};

/// The one refund of the shop as the list shows it: a list makes nobody look sooner.
async fn listed(shop: &Shop) -> Value {
    let mut refunds = shop.merchant().all("/v1/refunds").await;
    assert_eq!(refunds.len(), 1);
    refunds.remove(0)
}

/// Waits until the list shows a state; how long that took.
async fn until_listed(shop: &Shop, states: &[&str]) -> Duration {
    let began = Instant::now();
    while !states.contains(&listed(shop).await["state"].as_str().unwrap()) {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {states:?}: {:#}", listed(shop).await);
        tokio::time::sleep(POLL).await;
    }
    began.elapsed()
}

fn events(refund: &Value) -> Vec<&str> {
    refund["timeline"].as_array().unwrap().iter().map(|line| line["event"].as_str().unwrap()).collect()
}

fn ask(shop: &Shop, number: &str) {
    let (merchant, number) = (shop.merchant(), number.to_owned());
    tokio::spawn(async move {
        let refund = json!({ "order_no": number, "amount": crate::shop::fen(700), "reason": "quality" });
        let _ = merchant.refund_call(&crate::shop::fresh_key(), &refund).try_send().await;
    });
}

/// The wallets' real time: WeChat is asked within 5 s of the restart, Alipay within 15 s of the last possible call.
#[tokio::test]
async fn an_interrupted_refund_is_recovered_in_seconds_at_the_wallets_real_time() {
    for (wallet, states, within) in [(WECHAT, &["processing", "succeeded"][..], 5), (ALIPAY, &["succeeded"][..], 15)] {
        let mut shop = Shop::new().time_scale(1).order(wallet, "SOON-00001", 1_000).open().await;
        let held = json!({ "wallet": wallet, "operation": "refund", "kind": "slow", "times": 1, "delay_ms": 5_000 });
        shop.sandbox().fault_with(held).await;
        ask(&shop, "SOON-00001");
        shop.sandbox().until_taken(wallet, "SOON-00001").await;
        let sent = Instant::now();
        shop.crash().await;
        let restarted = Instant::now();
        until_listed(&shop, states).await;
        let took = if wallet == WECHAT { restarted.elapsed() } else { sent.elapsed() };
        assert!(took < Duration::from_secs(within), "{wallet} took {took:?}");
        if wallet == WECHAT {
            shop.sandbox().settle(&listed(&shop).await, "SUCCESS").await;
        }
        shop.until(listed(&shop).await["refund_id"].as_str().unwrap(), "succeeded").await;
        shop.close().await;
    }
}

/// Another process sees that one was killed: its work is not left to the end of its lease.
#[tokio::test]
async fn a_killed_replicas_refund_is_taken_over_in_seconds() {
    if !on_postgres() {
        return; // one process has a SQLite file to itself
    }
    let shop = Shop::new().time_scale(1).order(WECHAT, "SOON-00002", 1_000).open().await;
    let mut replica = shop.start_replica().await;
    let held = json!({ "wallet": WECHAT, "operation": "refund", "kind": "slow", "times": 1, "delay_ms": 5_000 });
    shop.sandbox().fault_with(held).await;
    let there = replica.caller(&shop);
    tokio::spawn(async move {
        there.refund_call("soon-2", &json!({ "order_no": "SOON-00002", "reason": "quality" })).try_send().await
    });
    shop.sandbox().until_taken(WECHAT, "SOON-00002").await;
    replica.service.kill();
    let took = until_listed(&shop, &["processing", "succeeded"]).await;
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    // the wallet tells the dead one; a person who looks makes the living one ask
    shop.sandbox().settle(&listed(&shop).await, "SUCCESS").await;
    shop.until(listed(&shop).await["refund_id"].as_str().unwrap(), "succeeded").await;
    shop.close().await;
}

/// The next look is six seconds away; a person who reads the refund need not wait for it.
#[tokio::test]
async fn a_person_who_reads_an_open_refund_makes_the_desk_look_soon_and_not_too_often() {
    let shop = Shop::new().time_scale(10).order(WECHAT, "SOON-00003", 1_000).open().await;
    shop.sandbox().fault(WECHAT, "refund", "stay_processing").await;
    let silent = json!({ "wallet": WECHAT, "operation": "notification", "kind": "drop_notification" });
    shop.sandbox().fault_with(silent).await;
    let refund = shop.merchant().refund("SOON-00003", 700).await;
    refund.assert(202, "processing");
    // read by the dozen: a look in a second, ten of the wallet's own, and not one for each read
    let counted = json!({ "wallet": WECHAT, "operation": "query_refund", "kind": "slow", "delay_ms": 1 });
    shop.sandbox().fault_with(counted).await;
    let (before, began) = (shop.sandbox().fired(), Instant::now());
    while began.elapsed() < Duration::from_millis(2_500) {
        shop.refund(refund.refund_id()).await;
        tokio::time::sleep(POLL).await;
    }
    let looks = shop.sandbox().fired() - before;
    assert!((1..=3).contains(&looks), "{looks} looks");
    shop.sandbox().settle(&refund.body, "SUCCESS").await;
    let began = Instant::now();
    shop.until(refund.refund_id(), "succeeded").await;
    assert!(began.elapsed() < Duration::from_secs(4), "it waited for its own turn");
    shop.close().await;
}

/// News that meets a question under way is not lost on it.
#[tokio::test]
async fn news_from_alipay_while_the_desk_is_asking_makes_it_ask_once_more() {
    let shop = Shop::new().impatient().time_scale(60).order(ALIPAY, "SOON-00004", 1_000).open().await;
    shop.sandbox().fault(ALIPAY, "refund", "effect_then_reset").await;
    let failing = |times: u32, delay_ms: u32| json!({ "wallet": ALIPAY, "operation": "query_refund", "kind": "http_500", "times": times, "delay_ms": delay_ms });
    shop.sandbox().fault_with(failing(6, 0)).await;
    let refund = shop.merchant().refund("SOON-00004", 700).await;
    refund.assert(202, "submitting");
    shop.sandbox().until_fired(1 + 6).await;
    // the seventh question is held and fails; after it the next one would come after half a minute
    shop.sandbox().fault_with(failing(1, 1_000)).await;
    shop.sandbox().until_fired(1 + 7).await;
    let news = crate::shop::pen::alipay_news(shop.sandbox(), &refund.body, |_| ());
    assert_eq!(news.deliver(&shop).await.text, "success");
    let took = until_listed(&shop, &["succeeded"]).await;
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    shop.close().await;
}

/// A refund is settled by its notification while its own call still hangs: the time-out that comes then is no news.
#[tokio::test]
async fn a_time_out_that_comes_after_the_end_leaves_no_trace_in_the_story() {
    let shop = Shop::new().impatient().order(WECHAT, "SOON-00005", 1_000).open().await;
    shop.sandbox().fault(WECHAT, "refund", "effect_then_timeout").await;
    ask(&shop, "SOON-00005");
    shop.sandbox().until_taken(WECHAT, "SOON-00005").await;
    until_listed(&shop, &["succeeded"]).await;
    let before = listed(&shop).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let after = listed(&shop).await;
    assert_eq!(events(&after).last(), Some(&"succeeded"), "{after:#}");
    assert_eq!(after, before);
    shop.close().await;
}

/// An hour of the wallet's time without an answer: a person is told, and told no more once it is known.
#[tokio::test]
async fn a_refund_that_stays_unknown_for_too_long_asks_for_a_person() {
    let shop = Shop::new().time_scale(1200).order(WECHAT, "SOON-00006", 1_000).open().await;
    for operation in ["refund", "query_refund"] {
        shop.sandbox().fault_with(json!({ "wallet": WECHAT, "operation": operation, "kind": "http_500" })).await;
    }
    let refund = shop.merchant().refund("SOON-00006", 700).await;
    refund.assert(202, "submitting");
    let told = shop.until_refund(refund.refund_id(), "attention", |refund| !refund["attention"].is_null()).await;
    assert_eq!((&told["attention"]["reason"], &told["state"]), (&json!("unknown_too_long"), &json!("submitting")));
    assert!(told["attention"]["since"].is_string());
    let asked = shop.merchant().get("/v1/refunds?attention=true").await;
    assert_eq!(asked.body["items"][0]["refund_id"], refund.body["refund_id"]);
    shop.sandbox().no_more_faults().await;
    let known = shop.until(refund.refund_id(), "succeeded").await;
    assert_eq!(known["attention"], Value::Null);
    assert_eq!(events(&known).iter().filter(|event| **event == "attention").count(), 1);
    shop.close().await;
}

/// A bank sends the money of a paid refund back: it stays paid, nothing is sent for it, and a person is told once.
#[tokio::test]
async fn a_refund_that_a_bank_sent_back_stays_paid_and_asks_for_a_person() {
    let shop = Shop::new().order(ALIPAY, "SOON-00007", 1_000).open().await;
    let refund = shop.merchant().refund("SOON-00007", 700).await;
    refund.assert(201, "succeeded");
    for _ in 0..2 {
        assert_eq!(alipay_bounce(shop.sandbox(), &refund.body).deliver(&shop).await.text, "success");
    }
    let told = listed(&shop).await;
    assert_eq!((&told["state"], &told["attention"]["reason"]), (&json!("succeeded"), &json!("bounced")));
    assert_eq!(events(&told).iter().filter(|event| **event == "attention").count(), 1);
    let order = shop.merchant().order(ALIPAY, "SOON-00007").await;
    assert_eq!(order["refunded"], crate::shop::fen(700));
    shop.close().await;
}

/// The order's window ends while nobody knows the outcome: a person is told, and nothing is given up.
#[tokio::test]
async fn a_window_that_ends_over_an_unknown_refund_raises_attention_and_fails_nothing() {
    let shop = Shop::new().impatient().open().await;
    let ends = Timestamp::now() + SignedDuration::from_secs(8);
    let paid_at = ends - SignedDuration::from_hours(365 * 24);
    let order =
        json!({ "wallet": WECHAT, "out_trade_no": "SOON-00006", "amount_fen": 1_000, "paid_at": paid_at.to_string() });
    shop.sandbox().order(order).await;
    shop.sandbox().fault(WECHAT, "refund", "effect_then_reset").await;
    for (operation, kind) in [("query_refund", "http_500"), ("notification", "drop_notification")] {
        shop.sandbox().fault_with(json!({ "wallet": WECHAT, "operation": operation, "kind": kind })).await;
    }
    let refund = shop.merchant().refund("SOON-00006", 700).await;
    refund.assert(202, "submitting");
    let is_told = |refund: &Value| refund["attention"]["reason"] == "window_over";
    let told = shop.until_refund(refund.refund_id(), "the end of the window to be told", is_told).await;
    assert_eq!(told["state"], "submitting");
    assert_eq!(shop.merchant().order(WECHAT, "SOON-00006").await["reserved"], fen(700));
    shop.sandbox().no_more_faults().await;
    shop.until(refund.refund_id(), "succeeded").await;
    assert_eq!(shop.sandbox().paid_back(WECHAT, "SOON-00006").await, (700, vec![1]));
    shop.close().await;
}

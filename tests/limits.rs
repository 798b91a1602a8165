//! A wallet's quotas are kept, and a wallet that is slow or down, or too many requests at once, cost nobody more than they
//! must: refused early, with nothing reserved (contract §4 rule 8).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use scanback::keys::{Keys, QuotaTurn, Rate};
use serde_json::json;

use crate::shop::{ALIPAY, Answer, Opening, PATIENCE, RedisServer, Shop, WECHAT, fen, fresh_key, on_postgres};

/// Numbers of orders that `open_with` makes: `LIMIT-0000`, …
fn number(n: usize) -> String {
    format!("LIMIT-{n:04}")
}

async fn open_with(opening: Opening, wallet: &str, orders: usize) -> Shop {
    let shop = opening.setting("limits.requests_per_second", 1_000).open().await;
    for n in 0..orders {
        shop.sandbox().pay(wallet, &number(n), 1_000).await;
    }
    // known beforehand: what is looked at here is the refunds
    for n in 0..orders {
        shop.merchant().order(wallet, &number(n)).await;
    }
    shop
}

fn refused(answer: &Answer, code: &str) {
    answer.assert(503, code);
    assert_eq!(answer.body["retryable"], true);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
}

#[tokio::test]
async fn a_wallet_that_answers_nobody_is_left_alone_before_anything_is_reserved_and_tried_again_by_itself() {
    let shop = open_with(Shop::new(), WECHAT, 14).await;
    shop.sandbox().pay(ALIPAY, "LIMIT-OTHER", 1_000).await;
    let down = json!({ "wallet": WECHAT, "operation": "refund", "kind": "http_500" });
    shop.sandbox().fault_with(down).await;
    let mut taken = 0;
    let turned_away = loop {
        let answer = shop.merchant().refund(&number(taken), 700).await;
        if answer.status == 503 {
            break answer;
        }
        answer.assert(202, "submitting");
        taken += 1;
        assert!(taken < 13, "nobody is turned away");
    };
    refused(&turned_away, "wallet_unavailable");
    assert!(taken >= 5, "turned away after {taken}");
    // the next is turned away too, with a key that is free afterwards, and nothing is held
    let (key, last) = (fresh_key(), number(13));
    let refund = json!({ "order_no": last, "amount": fen(700), "reason": "quality" });
    refused(&shop.merchant().refund_call(&key, &refund).send().await, "wallet_unavailable");
    assert_eq!(shop.merchant().order(WECHAT, &last).await["reserved"], fen(0));
    assert_eq!(shop.ready().await.body["checks"]["wallets"], json!({ "wechat": "down", "alipay": "up" }));
    shop.merchant().refund("LIMIT-OTHER", 700).await.assert(201, "succeeded");
    // it half-opens by itself
    shop.sandbox().no_more_faults().await;
    let began = Instant::now();
    loop {
        let answer = shop.merchant().refund_call(&key, &refund).send().await;
        if answer.status == 202 {
            break;
        }
        refused(&answer, "wallet_unavailable");
        assert!(began.elapsed() < PATIENCE, "it stays shut");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    shop.until_settled(0).await;
    assert_eq!(shop.sandbox().paid_back(WECHAT, &last).await, (700, vec![1]));
    shop.close().await;
}

#[tokio::test]
async fn too_many_at_once_are_refused_early_and_those_taken_keep_their_pace() {
    const WALLET: Duration = Duration::from_secs(4);
    let shop = open_with(Shop::new().setting("limits.refunds_at_once", 3), ALIPAY, 12).await;
    shop.sandbox()
        .fault_with(json!({ "wallet": ALIPAY, "operation": "refund", "kind": "slow", "delay_ms": WALLET.as_millis() }))
        .await;
    let merchant = shop.merchant();
    let answers = join_all((0..12).map(|n| {
        let (merchant, number) = (merchant.clone(), number(n));
        async move {
            let answer = merchant.refund(&number, 700).await;
            (answer, Instant::now())
        }
    }));
    let began = Instant::now();
    let answers = answers.await;
    let (taken, others): (Vec<_>, Vec<_>) = answers.iter().partition(|(answer, _)| answer.status == 201);
    assert_eq!((taken.len(), others.len()), (3, 9));
    // who is refused doesn't wait for the wallet, and who is taken waits for it once and for nobody else
    let first_taken = taken.iter().map(|(_, at)| *at).min().unwrap();
    for (answer, at) in others {
        refused(answer, "overloaded");
        assert!(*at < first_taken, "refused after {:?}", at.duration_since(began));
    }
    for (_, at) in taken {
        let took = at.duration_since(began);
        assert!(took < 2 * WALLET, "taken, and answered after {took:?}");
    }
    shop.close().await;
}

#[tokio::test]
async fn a_slow_wallet_holds_up_its_own_refunds_alone() {
    let shop = open_with(Shop::new().setting("wallet.calls_at_once", 4), WECHAT, 12).await;
    for n in 0..3 {
        shop.sandbox().pay(ALIPAY, &format!("QUICK-{n}"), 1_000).await;
    }
    shop.sandbox()
        .fault_with(json!({ "wallet": WECHAT, "operation": "refund", "kind": "slow", "delay_ms": 6_000 }))
        .await;
    let (merchant, slow) = (shop.merchant(), shop.merchant());
    let slow_answers = Arc::new(AtomicUsize::new(0));
    let counter = slow_answers.clone();
    let slow = tokio::spawn(async move {
        join_all((0..12).map(|n| {
            let (slow, number, counter) = (slow.clone(), number(n), counter.clone());
            async move {
                let answer = slow.refund(&number, 700).await;
                if matches!(answer.status, 201 | 202) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                answer
            }
        }))
        .await
    });
    shop.sandbox().until_fired(4).await;
    for n in 0..3 {
        merchant.refund(&format!("QUICK-{n}"), 700).await.assert(201, "succeeded");
    }
    assert_eq!(slow_answers.load(Ordering::Relaxed), 0, "the quick ones waited for the slow ones");
    let answers = slow.await.unwrap();
    let (taken, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| matches!(answer.status, 201 | 202));
    for answer in others {
        refused(answer, "overloaded"); // no place became free in time
    }
    assert!(taken.len() >= 4);
    shop.close().await;
}

/// Moments at which refunds were sent, in milliseconds.
async fn sent_at(shop: &Shop) -> Vec<i64> {
    let mut moments = Vec::new();
    for refund in shop.merchant().all("/v1/refunds").await {
        for line in refund["timeline"].as_array().unwrap() {
            if line["event"] == "sent" {
                moments.push(line["at"].as_str().unwrap().parse::<Timestamp>().unwrap().as_millisecond());
            }
        }
    }
    moments.sort_unstable();
    moments
}

/// The quota holds for all processes together where they share Redis.
#[tokio::test]
async fn no_second_has_more_refund_calls_than_the_wallets_quota() {
    const QUOTA: usize = 6;
    let opening = Shop::new().time_scale(1).setting("wallet.alipay_refunds_per_second", QUOTA);
    let shop = open_with(opening, ALIPAY, 24).await;
    let replica = if on_postgres() { Some(shop.start_replica().await) } else { None };
    let callers = [Some(shop.merchant()), replica.as_ref().map(|replica| replica.caller(&shop))];
    let callers: Vec<_> = callers.into_iter().flatten().collect();
    let answers = join_all((0..24).map(|n| {
        let (caller, number) = (callers[n % callers.len()].clone(), number(n));
        async move { caller.refund(&number, 700).await }
    }))
    .await;
    let taken = answers.iter().filter(|answer| answer.status == 201).count();
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        refused(answer, "overloaded");
    }
    let sent = sent_at(&shop).await;
    assert_eq!(sent.len(), taken);
    // what waits for two seconds at most: a dozen or so, and a tenth of a second for the way from the gate to the ledger
    assert!((QUOTA..=3 * QUOTA).contains(&taken), "{taken}");
    for from in &sent {
        let within = sent.iter().filter(|at| (*from..*from + 900).contains(*at)).count();
        assert!(within <= QUOTA, "{within} within a second: {sent:?}");
    }
    if let Some(replica) = replica {
        replica.until_ended().await;
    }
    shop.close().await;
}

/// One even stream for whoever shares Redis, and a slower one while more than half of the last 20 calls were refused.
#[tokio::test]
async fn replicas_share_one_quota_and_all_go_slower_while_most_are_refused() {
    const DAY: Duration = Duration::from_secs(86_400);
    let Some(redis) = RedisServer::start(&[]) else { return };
    let one = Keys::connect(&redis.url(), Duration::from_secs(30), DAY).await.unwrap();
    let other = Keys::connect(&redis.url(), Duration::from_secs(30), DAY).await.unwrap();
    let usual = Rate { interval_us: 200_000, tolerance_us: 0 };
    let slow = Rate { interval_us: 2_000_000, tolerance_us: 0 };
    let take = async |keys: &Keys, outcomes: &[bool], patience_s: u64| {
        let patience = Duration::from_secs(patience_s);
        keys.take_quota("{demo}:wechat:refunds", usual, slow, outcomes, patience).await.unwrap()
    };
    assert_eq!(take(&one, &[], 0).await, QuotaTurn::Granted { wait: Duration::ZERO });
    let QuotaTurn::Refused { retry_in } = take(&other, &[], 0).await else { panic!("two at once") };
    assert!(retry_in <= Duration::from_millis(200));
    let QuotaTurn::Granted { wait } = take(&other, &[], 1).await else { panic!("no turn within a second") };
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(200), "{wait:?}");
    // ten of twenty are not more than half; one more is
    take(&one, &[true, false].repeat(10), 1).await;
    let QuotaTurn::Granted { .. } = take(&other, &[], 1).await else { panic!("slower too soon") };
    take(&one, &[true, true], 5).await;
    let QuotaTurn::Refused { retry_in } = take(&other, &[], 1).await else { panic!("as fast as ever") };
    assert!(retry_in > Duration::from_secs(1), "{retry_in:?}");
    // and as fast as before when they are taken again
    take(&other, &[false; 20], 10).await;
    tokio::time::sleep(Duration::from_millis(4_600)).await;
    take(&one, &[], 1).await;
    let QuotaTurn::Granted { wait } = take(&one, &[], 1).await else { panic!("slow for ever") };
    assert!(wait <= Duration::from_millis(200), "{wait:?}");
}

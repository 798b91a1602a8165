//! One key, one effect (contract §4 rule 2): at once, again, after a restart, and with Redis gone or emptied.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::shop::{ALIPAY, Answer, Caller, RedisServer, Shop, WALLETS, WECHAT, fen, fresh_key};

fn coffee(order_no: &str) -> Value {
    json!({ "order_no": order_no, "amount": fen(700), "reason": "quality" })
}

/// Asks until the first answer is there: while it is worked on, 409 `request_in_progress` is right, and nothing else is.
async fn answered(caller: &Caller, key: &str, refund: &Value) -> Answer {
    let began = std::time::Instant::now();
    loop {
        let answer = caller.refund_call(key, refund).send().await;
        if answer.status != 409 {
            assert!(matches!(answer.status, 201 | 202), "{} {}", answer.status, answer.text);
            return answer;
        }
        answer.assert(409, "request_in_progress");
        assert!(began.elapsed() < crate::shop::PATIENCE, "the request stays in progress");
        tokio::time::sleep(crate::shop::POLL).await;
    }
}

/// Every answer is the one first answer, or says that it is still being worked on.
fn all_are_one_answer(answers: &[Answer]) {
    let mut first: Option<&Answer> = None;
    for answer in answers {
        if answer.status == 409 {
            answer.assert(409, "request_in_progress");
            assert!(!answer.header("retry-after").is_empty());
            continue;
        }
        assert!(matches!(answer.status, 201 | 202), "{} {}", answer.status, answer.text);
        let first = *first.get_or_insert(answer);
        assert_eq!((answer.status, &answer.text), (first.status, &first.text));
        assert_eq!(answer.header("location"), first.header("location"));
    }
    assert!(first.is_some(), "nobody was answered");
    assert!(answers.iter().filter(|answer| answer.status != 409 && !answer.is_replay()).count() <= 1);
}

#[tokio::test]
async fn the_same_request_thirty_two_times_at_once_pays_once() {
    for wallet in WALLETS {
        let shop = Shop::new().order(wallet, "SAME-00001", 5_000).open().await;
        let (merchant, key) = (shop.merchant(), fresh_key());
        let refund = coffee("SAME-00001");
        let answers = join_all((0..32).map(|_| merchant.refund_call(&key, &refund).send())).await;
        all_are_one_answer(&answers);
        let again = answered(&merchant, &key, &refund).await;
        assert!(again.is_replay());
        all_are_one_answer(&[answers, vec![again]].concat());
        shop.until_settled(0).await;
        assert_eq!(shop.sandbox().paid_back(wallet, "SAME-00001").await, (700, vec![1]));
        assert_eq!(merchant.all("/v1/refunds").await.len(), 1);
        shop.close().await;
    }
}

/// A slow wallet: while the first is worked on, the second hears so at once, and later gets the first one's answer.
#[tokio::test]
async fn a_repeat_while_the_first_runs_is_told_so() {
    let shop = Shop::new().order(ALIPAY, "RUNNING-01", 5_000).open().await;
    let slow = json!({ "wallet": ALIPAY, "operation": "refund", "kind": "slow", "times": 1, "delay_ms": 1000 });
    shop.sandbox().fault_with(slow).await;
    let (merchant, key, refund) = (shop.merchant(), fresh_key(), coffee("RUNNING-01"));
    let first = tokio::spawn(merchant.refund_call(&key, &refund).send());
    shop.sandbox().until_taken(ALIPAY, "RUNNING-01").await;
    let second = merchant.refund_call(&key, &refund).send().await;
    second.assert(409, "request_in_progress");
    assert_eq!(second.body["retryable"], true);
    let other = merchant.refund_call(&key, &json!({ "order_no": "RUNNING-01", "reason": "other" })).send().await;
    other.assert(422, "idempotency_key_reused");
    let first = first.await.unwrap();
    first.assert(201, "succeeded");
    let replay = merchant.refund_call(&key, &refund).send().await;
    assert!(replay.is_replay() && !first.is_replay());
    assert_eq!((replay.status, replay.text), (first.status, first.text));
    shop.close().await;
}

#[tokio::test]
async fn another_request_under_a_used_key_is_refused_and_changes_nothing() {
    let shop = Shop::new().order(ALIPAY, "REUSED-001", 5_000).order(ALIPAY, "REUSED-002", 5_000).open().await;
    let (merchant, key) = (shop.merchant(), fresh_key());
    let first = merchant.refund_call(&key, &coffee("REUSED-001")).send().await;
    first.assert(201, "succeeded");
    for other in [
        coffee("REUSED-002"),
        json!({ "order_no": "REUSED-001", "amount": fen(701), "reason": "quality" }),
        json!({ "order_no": "REUSED-001", "amount": fen(700), "reason": "other" }),
        json!({ "order_no": "REUSED-001", "reason": "quality" }),
        json!({ "order_no": "REUSED-001", "amount": fen(700), "reason": "quality", "note": "x" }),
        json!({ "order_no": "REUSED-001", "amount": fen(700), "reason": "quality", "metadata": { "a": 1 } }),
    ] {
        merchant.refund_call(&key, &other).send().await.assert(422, "idempotency_key_reused");
    }
    // the same request in other clothes is the same request
    let same = r#"{"reason":"quality", "amount":{"currency":"CNY","value":700}, "order_no":"REUSED-001"}"#.to_owned();
    let same = merchant.post("/v1/refunds").key(&key).body("application/json; charset=utf-8", same).send().await;
    assert!(same.is_replay());
    assert_eq!(same.text, first.text);
    assert_eq!(merchant.order(ALIPAY, "REUSED-002").await["refundable"], fen(5_000));
    shop.close().await;
}

#[tokio::test]
async fn a_key_is_the_same_bare_and_quoted() {
    let shop = Shop::new().order(ALIPAY, "QUOTED-001", 5_000).open().await;
    let (merchant, key) = (shop.merchant(), fresh_key());
    let first = merchant.refund_call(&key, &coffee("QUOTED-001")).send().await;
    let quoted = merchant.refund_call(&format!("\"{key}\""), &coffee("QUOTED-001")).send().await;
    assert!(quoted.is_replay());
    assert_eq!(quoted.text, first.text);
    shop.close().await;
}

/// A refusal keeps nothing: once the cause is gone, the same key goes through.
#[tokio::test]
async fn a_refusal_frees_its_key() {
    let shop = Shop::new().open().await;
    let (merchant, key) = (shop.merchant(), fresh_key());
    merchant.refund_call(&key, &coffee("LATER-0001")).send().await.assert(404, "order_not_found");
    shop.sandbox().pay(ALIPAY, "LATER-0001", 5_000).await;
    let answer = merchant.refund_call(&key, &coffee("LATER-0001")).send().await;
    answer.assert(201, "succeeded");
    assert!(!answer.is_replay());
    // and also for another request
    let key = fresh_key();
    merchant.refund_call(&key, &coffee("LATER-0002")).send().await.assert(404, "order_not_found");
    merchant.refund_call(&key, &coffee("LATER-0001")).send().await.assert(201, "succeeded");
    shop.close().await;
}

/// A replay repeats the first answer, also when the refund has moved on; its present state is read at `Location`.
#[tokio::test]
async fn a_replay_is_the_first_answer_also_after_a_restart() {
    let mut shop = Shop::new().order(WECHAT, "REPLAY-001", 5_000).open().await;
    let (merchant, key) = (shop.merchant(), fresh_key());
    let first = merchant.refund_call(&key, &coffee("REPLAY-001")).send().await;
    first.assert(202, "processing");
    shop.until(first.refund_id(), "succeeded").await;
    for restart in [false, true] {
        if restart {
            shop.crash().await;
        }
        let replay = shop.merchant().refund_call(&key, &coffee("REPLAY-001")).send().await;
        assert!(replay.is_replay());
        assert_eq!((replay.status, &replay.text), (202, &first.text));
        assert_eq!(replay.header("location"), first.header("location"));
        let present = shop.merchant().get(replay.header("location")).await;
        assert_eq!(present.str("state"), "succeeded");
    }
    shop.close().await;
}

/// A key belongs to a merchant: another one's request under the same key has nothing to do with it.
#[tokio::test]
async fn two_merchants_may_use_the_same_key() {
    let shop = Shop::new().with_second_merchant().order(ALIPAY, "MERCHANT-1", 5_000).open().await;
    shop.other_sandbox().pay(ALIPAY, "MERCHANT-1", 5_000).await;
    let key = fresh_key();
    for merchant in ["demo", "other"] {
        let answer = shop.caller("merchant", merchant).refund_call(&key, &coffee("MERCHANT-1")).send().await;
        answer.assert(201, "succeeded");
        assert!(!answer.is_replay());
    }
    shop.close().await;
}

/// Redis dies while 32 repeats of one request are under way: the database decides, and the desk says that it is degraded.
#[tokio::test]
async fn with_redis_killed_in_the_middle_a_key_still_pays_once() {
    let Some(mut redis) = RedisServer::start(&[]) else { return };
    let shop =
        Shop::new().setting("redis.url", redis.url()).impatient().order(WECHAT, "REDIS-0001", 5_000).open().await;
    assert_eq!(shop.ready().await.str("status"), "ready");
    let slow = json!({ "wallet": WECHAT, "operation": "refund", "kind": "slow", "times": 1, "delay_ms": 400 });
    shop.sandbox().fault_with(slow).await;
    let (merchant, key, refund) = (shop.merchant(), fresh_key(), coffee("REDIS-0001"));
    let repeat = |times| join_all((0..times).map(|_| tokio::spawn(merchant.refund_call(&key, &refund).send())));
    let before = tokio::spawn(repeat(16));
    shop.sandbox().until_taken(WECHAT, "REDIS-0001").await; // the first holds its claim in Redis now
    redis.kill();
    let after = repeat(16).await;
    let answers: Vec<Answer> = before.await.unwrap().into_iter().chain(after).map(Result::unwrap).collect();
    all_are_one_answer(&answers);
    shop.until_ready("degraded", |ready| ready.status == 200 && ready.str("status") == "degraded").await;
    all_are_one_answer(&[answers, vec![answered(&merchant, &key, &refund).await]].concat());
    // without Redis, new refunds and replays go on
    let (next, second) = (fresh_key(), coffee("REDIS-0001"));
    let fresh = merchant.refund_call(&next, &second).send().await;
    assert_eq!(fresh.status, 202, "{}", fresh.text);
    assert_eq!(merchant.refund_call(&next, &second).send().await.text, fresh.text);
    redis.launch();
    shop.until_ready("ready", |ready| ready.str("status") == "ready").await;
    assert_eq!(answered(&merchant, &next, &second).await.text, fresh.text);
    shop.until_settled(0).await;
    assert_eq!(shop.sandbox().paid_back(WECHAT, "REDIS-0001").await, (1_400, vec![1, 1]));
    shop.close().await;
}

#[tokio::test]
async fn with_redis_emptied_a_key_is_still_known() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let shop = Shop::new().setting("redis.url", redis.url()).order(ALIPAY, "EMPTIED-01", 5_000).open().await;
    let (merchant, key, refund) = (shop.merchant(), fresh_key(), coffee("EMPTIED-01"));
    let first = merchant.refund_call(&key, &refund).send().await;
    first.assert(201, "succeeded");
    assert!(redis.ask::<i64>(&["DBSIZE"]) > 0, "the answer is kept in Redis");
    redis.ask::<()>(&["FLUSHALL"]);
    let replay = merchant.refund_call(&key, &refund).send().await;
    assert!(replay.is_replay());
    assert_eq!(replay.text, first.text);
    redis.ask::<()>(&["FLUSHALL"]);
    let other = json!({ "order_no": "EMPTIED-01", "reason": "other" });
    merchant.refund_call(&key, &other).send().await.assert(422, "idempotency_key_reused");
    // what the other one claimed in the empty Redis does not stand in the owner's way
    let replay = merchant.refund_call(&key, &refund).send().await;
    assert!(replay.is_replay());
    assert_eq!(replay.text, first.text);
    // nor does a rule that says no by now: nothing is left to refund
    let (key, rest) = (fresh_key(), json!({ "order_no": "EMPTIED-01", "amount": fen(4_300), "reason": "quality" }));
    let last = merchant.refund_call(&key, &rest).send().await;
    last.assert(201, "succeeded");
    redis.ask::<()>(&["FLUSHALL"]);
    let replay = merchant.refund_call(&key, &rest).send().await;
    assert!(replay.is_replay());
    assert_eq!(replay.text, last.text);
    shop.close().await;
}

/// An unreachable Redis is no reason not to open.
#[tokio::test]
async fn with_redis_down_at_the_start_the_desk_opens_and_says_so() {
    let Some(mut redis) = RedisServer::start(&[]) else { return };
    redis.kill();
    let shop = Shop::new().setting("redis.url", redis.url()).order(ALIPAY, "NOREDIS-01", 5_000).open().await;
    let ready = shop.until_ready("degraded", |ready| ready.str("status") == "degraded").await;
    assert_eq!((ready.status, &ready.body["checks"]["redis"]), (200, &json!("down")));
    shop.merchant().refund("NOREDIS-01", 700).await.assert(201, "succeeded");
    redis.launch();
    shop.until_ready("ready", |ready| ready.str("status") == "ready").await;
    shop.close().await;
}

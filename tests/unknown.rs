//! What the wallet's answer leaves open stays open until the wallet's own books say (contract §4 rules 4 to 7): asked after and
//! sent again under the same number, never failed by guessing, its money held meanwhile.

use std::time::Instant;

use serde_json::{Value, json};

use crate::shop::{ALIPAY, Answer, PATIENCE, Shop, WALLETS, WECHAT, fen};

/// How long a call hangs where the fault is a time-out: longer than the service waits.
const HANGS_MS: u64 = 2_500;

/// Faults that prove nothing, and whether the wallet did the refund all the same.
const DOUBTS: [(&str, bool); 8] = [
    ("no_effect_timeout", false),
    ("effect_then_timeout", true),
    ("effect_then_reset", true),
    ("http_500", false),
    ("system_error", false),
    ("rate_limited", false),
    ("bad_signature", true),
    ("garbage_body", true),
];

/// Asks for a refund whose call meets a fault: the answer is that nobody knows, and the money is held.
async fn refund_in_doubt(shop: &Shop, wallet: &str, number: &str, kind: &str) -> Answer {
    let mut fault = json!({ "wallet": wallet, "operation": "refund", "kind": kind, "times": 1 });
    if kind.ends_with("_timeout") {
        fault["delay_ms"] = json!(HANGS_MS);
    }
    shop.sandbox().fault_with(fault).await;
    let answer = shop.merchant().refund(number, 700).await;
    assert_eq!((answer.status, answer.str("state")), (202, "submitting"), "{wallet} {kind}: {}", answer.text);
    let order = shop.merchant().order(wallet, number).await;
    let (held, back) = (order["reserved"]["value"].as_i64().unwrap(), order["refunded"]["value"].as_i64().unwrap());
    assert_eq!(held + back, 700, "{wallet} {kind}: the money is held until it is back: {order:#}");
    answer
}

async fn a_doubt_ends_paid_once(kind: &str) {
    let (_, has_effect) = DOUBTS.iter().find(|(name, _)| *name == kind).unwrap();
    for wallet in WALLETS {
        let shop = Shop::new().impatient().order(wallet, "DOUBT-0001", 1_000).open().await;
        if wallet == WECHAT {
            // no result may depend on a notification, and it would come before the time-out does
            shop.sandbox().fault(WECHAT, "notification", "drop_notification").await;
        }
        let answer = refund_in_doubt(&shop, wallet, "DOUBT-0001", kind).await;
        let refund = shop.until(answer.refund_id(), "succeeded").await;
        let events: Vec<_> = refund["timeline"].as_array().unwrap().iter().map(|line| &line["event"]).collect();
        assert_eq!(events[..3], [&json!("created"), &json!("sent"), &json!("unknown")], "{wallet} {kind}");
        // what took effect is found in the wallet's books; what didn't is sent again under its number
        let sent_again = events.contains(&&json!("sent_again"));
        assert_eq!(sent_again, !has_effect, "{wallet} {kind}: {events:?}");
        assert_eq!(shop.sandbox().paid_back(wallet, "DOUBT-0001").await, (700, vec![1]), "{wallet} {kind}");
        shop.close().await;
    }
}

#[tokio::test]
async fn a_call_that_hung_without_effect_ends_paid_once() {
    a_doubt_ends_paid_once("no_effect_timeout").await;
}

#[tokio::test]
async fn a_call_that_took_effect_before_the_timeout_ends_paid_once() {
    a_doubt_ends_paid_once("effect_then_timeout").await;
}

#[tokio::test]
async fn a_call_that_took_effect_before_the_reset_ends_paid_once() {
    a_doubt_ends_paid_once("effect_then_reset").await;
}

#[tokio::test]
async fn a_call_that_a_broken_proxy_answered_ends_paid_once() {
    a_doubt_ends_paid_once("http_500").await;
}

#[tokio::test]
async fn a_system_error_of_the_wallet_ends_paid_once() {
    a_doubt_ends_paid_once("system_error").await;
}

#[tokio::test]
async fn a_call_over_the_wallets_quota_ends_paid_once() {
    a_doubt_ends_paid_once("rate_limited").await;
}

#[tokio::test]
async fn an_answer_with_a_wrong_signature_proves_nothing_and_ends_paid_once() {
    a_doubt_ends_paid_once("bad_signature").await;
}

#[tokio::test]
async fn an_answer_that_can_not_be_read_proves_nothing_and_ends_paid_once() {
    a_doubt_ends_paid_once("garbage_body").await;
}

/// Everything about the first send and about the first questions goes wrong.
#[tokio::test]
async fn a_row_of_doubts_ends_paid_once() {
    for wallet in WALLETS {
        let shop = Shop::new().impatient().order(wallet, "DOUBT-0002", 1_000).open().await;
        for (operation, kind) in [
            ("query_refund", "http_500"),
            ("query_refund", "bad_signature"),
            ("query_refund", "effect_then_reset"),
            ("query_refund", "garbage_body"),
            ("query_refund", "rate_limited"),
        ] {
            shop.sandbox().fault(wallet, operation, kind).await;
        }
        let answer = refund_in_doubt(&shop, wallet, "DOUBT-0002", "http_500").await;
        shop.until(answer.refund_id(), "succeeded").await;
        assert_eq!(shop.sandbox().paid_back(wallet, "DOUBT-0002").await, (700, vec![1]));
        shop.close().await;
    }
}

/// A wallet that fails half of everything for a while: each refund is paid once all the same.
#[tokio::test]
async fn refunds_on_a_bad_day_are_each_paid_once() {
    let shop = Shop::new().impatient().open().await;
    let sandbox = shop.sandbox();
    for wallet in WALLETS {
        for operation in ["refund", "query_refund"] {
            for (kind, probability) in [("http_500", 0.2), ("effect_then_reset", 0.2), ("bad_signature", 0.1)] {
                let fault =
                    json!({ "wallet": wallet, "operation": operation, "kind": kind, "probability": probability });
                sandbox.fault_with(fault).await;
            }
        }
    }
    let mut refunds = Vec::new();
    for index in 0..12 {
        let (wallet, number) = (WALLETS[index % 2], format!("BAD-DAY-{index:02}"));
        sandbox.pay(wallet, &number, 1_000).await;
        shop.merchant().register(wallet, &number, 1_000).await.assert(201, "paid");
        refunds.push((wallet, number.clone(), shop.merchant().refund(&number, 400).await));
    }
    for (wallet, number, answer) in &refunds {
        shop.until(answer.refund_id(), "succeeded").await;
        assert_eq!(sandbox.paid_back(wallet, number).await, (400, vec![1]), "{wallet} {number}");
    }
    shop.close().await;
}

/// WeChat's gateway may refuse without a signature: believed only because a query then says that the number doesn't exist.
/// An unsigned answer of Alipay's proves nothing.
#[tokio::test]
async fn an_unsigned_refusal_is_checked_before_it_is_believed() {
    for wallet in WALLETS {
        let shop = Shop::new().impatient().order(wallet, "UNSIGNED-1", 1_000).open().await;
        shop.sandbox().fault(wallet, "refund", "unsigned_error").await;
        let answer = shop.merchant().refund("UNSIGNED-1", 700).await;
        if wallet == WECHAT {
            answer.assert(201, "failed");
            assert_eq!(shop.sandbox().paid_back(wallet, "UNSIGNED-1").await, (0, vec![]));
        } else {
            answer.assert(202, "submitting");
            shop.until(answer.refund_id(), "succeeded").await;
            assert_eq!(shop.sandbox().paid_back(wallet, "UNSIGNED-1").await, (700, vec![1]));
        }
        shop.close().await;
    }
}

/// The refusal can't be checked at once, because the query breaks too: its money stays held until the wallet says that it
/// doesn't know the number. Nothing was sent twice, so the refusal still answers the only send.
#[tokio::test]
async fn an_unsigned_refusal_waits_for_its_confirmation() {
    let shop = Shop::new().impatient().order(WECHAT, "UNSIGNED-2", 1_000).open().await;
    shop.sandbox().fault(WECHAT, "refund", "unsigned_error").await;
    shop.sandbox().fault_with(json!({ "wallet": WECHAT, "operation": "query_refund", "kind": "http_500" })).await;
    let answer = shop.merchant().refund("UNSIGNED-2", 700).await;
    answer.assert(202, "submitting");
    shop.sandbox().until_fired(4).await;
    assert_eq!(shop.refund(answer.refund_id()).await["state"], "submitting");
    assert_eq!(shop.merchant().order(WECHAT, "UNSIGNED-2").await["reserved"], fen(700));
    shop.sandbox().no_more_faults().await;
    shop.until(answer.refund_id(), "failed").await;
    assert_eq!(shop.merchant().order(WECHAT, "UNSIGNED-2").await["refundable"], fen(1_000));
    assert_eq!(shop.sandbox().paid_back(WECHAT, "UNSIGNED-2").await, (0, vec![]));
    shop.close().await;
}

/// After a send of unknown outcome a refusal proves nothing: what it says may describe the world after the first send.
#[tokio::test]
async fn a_refusal_of_a_second_send_is_not_believed() {
    let shop = Shop::new().impatient().order(WECHAT, "SECOND-001", 1_000).open().await;
    // of several faults the first that is left fires
    shop.sandbox().fault(WECHAT, "refund", "system_error").await;
    for _ in 0..3 {
        shop.sandbox().fault(WECHAT, "refund", "unsigned_error").await;
    }
    let answer = shop.merchant().refund("SECOND-001", 700).await;
    answer.assert(202, "submitting");
    shop.sandbox().until_fired(4).await;
    shop.until(answer.refund_id(), "succeeded").await;
    assert_eq!(shop.sandbox().paid_back(WECHAT, "SECOND-001").await, (700, vec![1]));
    shop.close().await;
}

/// The merchant's balance is too low: a person is told, the money stays held, and the same number goes again later.
#[tokio::test]
async fn a_refund_that_the_merchants_balance_could_not_pay_waits_and_is_paid() {
    for wallet in WALLETS {
        let shop = Shop::new().order(wallet, "BALANCE-01", 1_000).open().await;
        let fault = json!({ "wallet": wallet, "operation": "refund", "kind": "not_enough_balance" });
        shop.sandbox().fault_with(fault).await; // until somebody tops it up
        let answer = shop.merchant().refund("BALANCE-01", 700).await;
        answer.assert(202, "submitting");
        assert_eq!(answer.body["attention"]["reason"], "merchant_balance_low", "{}", answer.text);
        shop.until_refund(answer.refund_id(), "a second try", |refund| {
            refund["timeline"].as_array().unwrap().iter().filter(|line| line["event"] == "held").count() >= 2
        })
        .await;
        assert_eq!(shop.merchant().order(wallet, "BALANCE-01").await["reserved"], fen(700));
        assert_eq!(shop.merchant().get("/v1/refunds?attention=true").await.body["items"].as_array().unwrap().len(), 1);
        shop.sandbox().no_more_faults().await;
        let refund = shop.until(answer.refund_id(), "succeeded").await;
        assert!(refund.get("attention").is_none(), "{refund:#}");
        assert_eq!(shop.sandbox().paid_back(wallet, "BALANCE-01").await, (700, vec![1]));
        shop.close().await;
    }
}

async fn in_work(shop: &Shop, number: &str, kind: &str) -> Value {
    shop.sandbox().fault(WECHAT, "refund", kind).await;
    let answer = shop.merchant().refund(number, 700).await;
    answer.assert(202, "processing");
    answer.body
}

#[tokio::test]
async fn a_refund_that_stays_in_work_is_held_until_it_is_settled() {
    for (status, state) in [("SUCCESS", "succeeded"), ("CLOSED", "failed"), ("ABNORMAL", "abnormal")] {
        let shop = Shop::new().order(WECHAT, "IN-WORK-01", 1_000).open().await;
        let refund = in_work(&shop, "IN-WORK-01", "stay_processing").await;
        let id = refund["refund_id"].as_str().unwrap();
        assert_eq!(shop.merchant().order(WECHAT, "IN-WORK-01").await["reserved"], fen(700));
        shop.sandbox().settle(&refund, status).await;
        let end = shop.until(id, state).await;
        let order = shop.merchant().order(WECHAT, "IN-WORK-01").await;
        match state {
            "succeeded" => assert_eq!(order["refunded"], fen(700)),
            "failed" => {
                assert_eq!(order["refundable"], fen(1_000), "a number that the wallet closed is spent: released");
                assert_eq!(end["attention"]["reason"], "closed_by_wallet");
            }
            _ => {
                assert_eq!(order["reserved"], fen(700));
                assert_eq!(end["attention"]["reason"], "abnormal");
            }
        }
        shop.close_with_open(i64::from(state == "abnormal")).await;
    }
}

#[tokio::test]
async fn a_refund_that_the_wallet_closes_fails_and_is_released() {
    let shop = Shop::new().order(WECHAT, "CLOSED-001", 1_000).open().await;
    let refund = in_work(&shop, "CLOSED-001", "closed").await;
    let end = shop.until(refund["refund_id"].as_str().unwrap(), "failed").await;
    assert_eq!(end["failure"]["code"], "closed_by_wallet");
    let order = shop.merchant().order(WECHAT, "CLOSED-001").await;
    assert_eq!((&order["reserved"], &order["refundable"]), (&fen(0), &fen(1_000)));
    shop.close().await;
}

/// The wallet took it and can't pay it out: held, shown to a person, and paid in the end by whoever mends it there.
#[tokio::test]
async fn a_refund_that_can_not_be_paid_out_waits_for_a_person() {
    let shop = Shop::new().order(WECHAT, "ABNORMAL-1", 1_000).open().await;
    let refund = in_work(&shop, "ABNORMAL-1", "abnormal").await;
    let id = refund["refund_id"].as_str().unwrap();
    let stuck = shop.until(id, "abnormal").await;
    assert_eq!(stuck["attention"]["reason"], "abnormal");
    assert_eq!(shop.merchant().order(WECHAT, "ABNORMAL-1").await["reserved"], fen(700));
    shop.sandbox().settle(&refund, "SUCCESS").await;
    shop.until(id, "succeeded").await;
    shop.close().await;
}

/// The service waits `http.answer_within_ms` and no longer; the call goes on behind the 202.
#[tokio::test]
async fn a_slow_wallet_does_not_keep_the_cashier_waiting() {
    let shop = Shop::new().setting("http.answer_within_ms", 1_000).order(ALIPAY, "SLOW-00001", 1_000).open().await;
    let slow = json!({ "wallet": ALIPAY, "operation": "refund", "kind": "slow", "times": 1, "delay_ms": 6000 });
    shop.sandbox().fault_with(slow).await;
    shop.merchant().order(ALIPAY, "SLOW-00001").await;
    let began = Instant::now();
    let answer = shop.merchant().refund("SLOW-00001", 700).await;
    answer.assert(202, "submitting");
    assert!(began.elapsed().as_millis() < 4_000, "answered after {:?}", began.elapsed());
    shop.until(answer.refund_id(), "succeeded").await;
    shop.close().await;
}

/// A dead wallet: refunds wait, their money held, until it is back.
#[tokio::test]
async fn while_the_wallet_is_gone_a_refund_waits() {
    let shop = Shop::new().impatient().order(WECHAT, "GONE-00001", 1_000).open().await;
    shop.merchant().register(WECHAT, "GONE-00001", 1_000).await.assert(201, "paid");
    shop.merchant().refund("GONE-00001", 100).await;
    shop.until_settled(0).await;
    for operation in ["refund", "query_refund"] {
        let fault = json!({ "wallet": WECHAT, "operation": operation, "kind": "no_effect_timeout", "delay_ms": 0 });
        shop.sandbox().fault_with(fault).await;
    }
    let answer = shop.merchant().refund("GONE-00001", 700).await;
    answer.assert(202, "submitting");
    let began = Instant::now();
    let fired = shop.sandbox().fired();
    while shop.sandbox().fired() < fired + 4 {
        assert!(began.elapsed() < PATIENCE, "the wallet is not asked any more");
        assert_eq!(shop.refund(answer.refund_id()).await["state"], "submitting");
        tokio::time::sleep(crate::shop::POLL).await;
    }
    assert_eq!(shop.merchant().order(WECHAT, "GONE-00001").await["reserved"], fen(700));
    shop.sandbox().no_more_faults().await;
    shop.until(answer.refund_id(), "succeeded").await;
    shop.close().await;
}

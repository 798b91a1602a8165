//! A random day: orders, refunds of all sizes, repeats, a wallet with moods, and a power cut now and then. Whatever happens,
//! the books agree in the evening. The seed is printed; `SCANBACK_TEST_SEED` repeats the day.

use serde_json::{Value, json};

use crate::shop::{Answer, Chance, PATIENCE, POLL, Shop, WALLETS, fen, fresh_key};

const ORDERS: u64 = 10;
const STEPS: usize = 90;
const MOODS: [(&str, f64); 5] = [
    ("http_500", 0.08),
    ("effect_then_reset", 0.08),
    ("bad_signature", 0.06),
    ("system_error", 0.06),
    ("garbage_body", 0.04),
];

/// A request that was made: it can be repeated.
struct Asked {
    key: String,
    refund: Value,
    answer: Option<Answer>,
}

/// Sends a request until it is answered: 503 and 409 in progress are for now, and nothing happened.
async fn send(shop: &Shop, asked: &Asked) -> Answer {
    let began = std::time::Instant::now();
    loop {
        let answer = shop.merchant().refund_call(&asked.key, &asked.refund).send().await;
        if answer.status != 503 && answer.str("code") != "request_in_progress" {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{} {}", answer.status, answer.text);
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn after_a_random_day_the_books_agree() {
    let mut chance = Chance::new();
    let mut shop = Shop::new().impatient().setting("limits.requests_per_second", 10_000).open().await;
    let mut orders = Vec::new();
    for index in 0..ORDERS {
        let wallet = WALLETS[usize::try_from(chance.below(2)).unwrap()];
        let (number, amount) = (format!("RANDOM-{index:04}"), i64::try_from(100 + chance.below(5_000)).unwrap());
        shop.sandbox().pay(wallet, &number, amount).await;
        orders.push((wallet, number, amount));
    }
    for wallet in WALLETS {
        for (operation, share) in [("refund", 1.0), ("query_refund", 1.0), ("query_order", 0.3)] {
            for (kind, probability) in MOODS {
                let fault = json!({
                    "wallet": wallet, "operation": operation, "kind": kind, "probability": probability * share,
                });
                shop.sandbox().fault_with(fault).await;
            }
        }
        let lost =
            json!({ "wallet": wallet, "operation": "notification", "kind": "drop_notification", "probability": 0.3 });
        shop.sandbox().fault_with(lost).await;
    }
    let mut all: Vec<Asked> = Vec::new();
    for step in 0..STEPS {
        match chance.below(20) {
            0 => shop.crash().await,
            1..=4 if !all.is_empty() => {
                // a repeat: the answer is the one that was given, if one was
                let index = usize::try_from(chance.below(all.len().try_into().unwrap())).unwrap();
                let again = send(&shop, &all[index]).await;
                if let Some(first) = all[index].answer.as_ref().filter(|first| first.status < 300) {
                    assert!(again.is_replay(), "step {step}: {}", again.text);
                    assert_eq!((again.status, &again.text), (first.status, &first.text), "step {step}");
                } else if again.status < 300 {
                    all[index].answer = Some(again);
                }
            }
            5 => {
                // nobody waits for this answer
                let (_, number, _) = &orders[usize::try_from(chance.below(ORDERS)).unwrap()];
                let asked = Asked { key: fresh_key(), refund: wish(&mut chance, number, 500), answer: None };
                tokio::spawn(shop.merchant().refund_call(&asked.key, &asked.refund).try_send());
                all.push(asked);
            }
            _ => {
                let (_, number, amount) = &orders[usize::try_from(chance.below(ORDERS)).unwrap()];
                let mut asked = Asked { key: fresh_key(), refund: wish(&mut chance, number, *amount), answer: None };
                let answer = send(&shop, &asked).await;
                let is_known = matches!(answer.status, 201 | 202 | 404 | 409);
                assert!(is_known, "step {step}: {} {}", answer.status, answer.text);
                asked.answer = Some(answer);
                all.push(asked);
            }
        }
    }
    shop.sandbox().no_more_faults().await;
    shop.until_settled(0).await;
    let refunds = shop.merchant().all("/v1/refunds").await;
    assert!(refunds.iter().all(|refund| matches!(refund["state"].as_str(), Some("succeeded" | "failed"))));
    // every refund that somebody was told of is there, and under no key are there two
    for asked in &all {
        let told = asked.answer.iter().filter(|answer| answer.status < 300);
        for answer in told {
            assert_eq!(refunds.iter().filter(|refund| refund["refund_id"] == answer.refund_id()).count(), 1);
        }
    }
    shop.close().await;
}

/// A refund of any size, more than there is now and then.
fn wish(chance: &mut Chance, number: &str, most: i64) -> Value {
    let amount = i64::try_from(1 + chance.below(u64::try_from(most).unwrap() / 2)).unwrap();
    match chance.below(6) {
        0 => json!({ "order_no": number, "reason": "other" }),
        1 => json!({ "order_no": number, "amount": fen(amount * 3), "reason": "quality" }),
        _ => json!({ "order_no": number, "amount": fen(amount), "reason": "quality" }),
    }
}

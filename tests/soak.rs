//! Load and random kills for as long as one likes: `SCANBACK_SOAK_S=1800 cargo test --test promises -- --ignored --nocapture
//! soak::`. Says each minute how far it is, and ends with the comparison of the books. Ignored in a usual run: it takes its time.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::shop::{Answer, Chance, PATIENCE, POLL, Shop, WALLETS, fen, fresh_key};

/// Refunds that are asked for at once in a round.
const AT_ONCE: usize = 24;
/// The longest that a service lives in a round.
const LIVES_MS: u64 = 1_500;
const MOODS: [(&str, f64); 4] =
    [("http_500", 0.03), ("effect_then_reset", 0.03), ("bad_signature", 0.02), ("garbage_body", 0.02)];

fn seconds() -> u64 {
    std::env::var("SCANBACK_SOAK_S").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Asks until there is an answer, over all lives of the service.
async fn answered(shop: &Shop, key: &str, number: &str) -> Answer {
    let refund = json!({ "order_no": number, "amount": fen(700), "reason": "quality" });
    let began = Instant::now();
    loop {
        let call = shop.merchant().refund_call(key, &refund);
        if let Ok(answer) = call.try_send().await
            && matches!(answer.status, 201 | 202)
        {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{number} gets no answer");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
#[ignore = "runs for SCANBACK_SOAK_S seconds"]
async fn random_kills_under_load() {
    let mut chance = Chance::new();
    let mut shop = Shop::new().impatient().setting("limits.requests_per_second", 10_000).open().await;
    for wallet in WALLETS {
        for operation in ["refund", "query_refund"] {
            for (kind, probability) in MOODS {
                let fault =
                    json!({ "wallet": wallet, "operation": operation, "kind": kind, "probability": probability });
                shop.sandbox().fault_with(fault).await;
            }
        }
    }
    let (began, mut said, mut kills, mut refunds) = (Instant::now(), 0, 0_u32, 0_usize);
    while began.elapsed() < Duration::from_secs(seconds()) {
        let mut asked = Vec::new();
        for index in 0..AT_ONCE {
            let (wallet, number) = (WALLETS[index % 2], format!("SOAK-{kills:06}-{index:02}"));
            shop.sandbox().pay(wallet, &number, 1_000).await;
            shop.merchant().register(wallet, &number, 1_000).await.assert(201, "paid");
            let (key, refund) = (fresh_key(), json!({ "order_no": number, "amount": fen(700), "reason": "quality" }));
            tokio::spawn(shop.merchant().refund_call(&key, &refund).try_send());
            asked.push((wallet, number, key));
        }
        tokio::time::sleep(Duration::from_millis(chance.below(LIVES_MS))).await;
        shop.crash().await;
        kills += 1;
        let answers = join_all(asked.iter().map(|(_, number, key)| answered(&shop, key, number))).await;
        for ((wallet, number, _), answer) in asked.iter().zip(&answers) {
            shop.until(answer.refund_id(), "succeeded").await;
            assert_eq!(shop.sandbox().paid_back(wallet, number).await, (700, vec![1]), "{wallet} {number}");
        }
        refunds += answers.len();
        if began.elapsed().as_secs() / 60 > said {
            said = began.elapsed().as_secs() / 60;
            println!("{said} min: {kills} kills, {refunds} refunds, each paid once");
        }
    }
    let ledger = shop.sandbox().ledger().await;
    println!(
        "{} s: {kills} kills, {refunds} refunds, {} at the wallets, violations {}",
        began.elapsed().as_secs(),
        ledger["refunds"],
        ledger["violations"]
    );
    shop.close().await;
}

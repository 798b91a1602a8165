//! Long runs by hand: services killed at random under load, minute after minute.
//!
//!     SCANBACK_TEST_STORE=sqlite SCANBACK_SOAK_MINUTES=30 cargo test --release --test promises -- --ignored --nocapture soak
//!
//! Each minute is a day of its own, with a seed of its own: it prints a line, and ends with the comparison of all books.
//! `SCANBACK_SOAK_FROM=17` goes on with that seed after a run that was broken off. On PostgreSQL two services share the work and
//! both are killed; the store stays up.

use std::time::{Duration, Instant};

use serde_json::json;

use super::load::{Load, check, paid_orders};
use crate::shop::{Chance, Shop, WALLETS, on_postgres};

const MINUTE: Duration = Duration::from_secs(60);
/// The longest life of a service.
const LONGEST_LIFE_MS: u64 = 2_500;
/// How long a till rests after each refund: some eighty refunds a second in all, and time for a machine to do other things.
const REST: Duration = Duration::from_millis(60);
/// More orders than are refunded in a minute.
const ORDERS: usize = 6_000;
/// What the wallets do meanwhile, and how often.
const MOODS: [(&str, &str, f64); 5] = [
    ("refund", "effect_then_reset", 0.05),
    ("refund", "http_500", 0.05),
    ("refund", "system_error", 0.03),
    ("query_refund", "bad_signature", 0.05),
    ("notification", "drop_notification", 0.2),
];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test]
#[ignore = "as long as one likes: see the top of the file"]
async fn soak_under_random_kills() {
    let (from, minutes) = (number("SCANBACK_SOAK_FROM", 1), number("SCANBACK_SOAK_MINUTES", 1));
    let (mut refunds, mut kills) = (0, 0);
    for seed in from..from + minutes {
        let began = Instant::now();
        let (told, killed, in_vain) = one_minute(seed).await;
        (refunds, kills) = (refunds + told, kills + killed);
        println!(
            "seed {seed}: {told} refunds answered, {killed} kills, {in_vain} tries in vain, books agree ({} s)",
            began.elapsed().as_secs()
        );
    }
    println!("{minutes} minutes: {refunds} refunds answered, {kills} kills, 0 violations");
}

/// Refunds that were answered, services that were killed, tries that brought nothing.
async fn one_minute(seed: u64) -> (usize, usize, usize) {
    let mut chance = Chance::of(seed);
    let mut shop = Shop::new().impatient().setting("limits.requests_per_second", 10_000).open().await;
    for wallet in WALLETS {
        for (operation, kind, probability) in MOODS {
            let mood = json!({ "wallet": wallet, "operation": operation, "kind": kind, "probability": probability });
            shop.sandbox().fault_with(mood).await;
        }
    }
    let orders = paid_orders(&shop, &format!("SOAK{seed}"), ORDERS).await;
    let mut replica = if on_postgres() { Some(shop.start_replica().await) } else { None };
    let callers: Vec<_> = [Some(shop.merchant()), replica.as_ref().map(|replica| replica.caller(&shop))].into();
    let callers: Vec<_> = callers.into_iter().flatten().collect();
    let paid = orders.len();
    let load = Load::at_pace(&callers, orders, REST);
    let (began, mut killed) = (Instant::now(), 0);
    while began.elapsed() < MINUTE {
        tokio::time::sleep(Duration::from_millis(chance.below(LONGEST_LIFE_MS))).await;
        match &mut replica {
            Some(replica) if chance.below(2) == 0 => replica.crash(&shop).await,
            _ => shop.crash().await,
        }
        killed += 1;
    }
    assert!(load.answered() < paid, "the tills ran out of orders");
    let in_vain = load.in_vain();
    let told = load.end().await;
    shop.sandbox().no_more_faults().await;
    check(&shop, &told).await;
    if let Some(replica) = replica {
        replica.until_ended().await;
    }
    shop.close().await;
    (told.len(), killed, in_vain)
}

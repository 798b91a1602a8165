//! Figures, by hand: what loss of Redis costs, and how soon an interrupted refund is taken up again.
//!
//!     tests/run --ignored --nocapture figures      # with the servers that it starts
//!
//! They assert nothing about time: machines differ. `docs/SAFETY.md` has what was measured.

use std::time::{Duration, Instant};

use serde_json::json;

use super::load::{Load, paid_orders};
use crate::shop::{ALIPAY, RedisServer, Shop, WALLETS, WECHAT, fen, fresh_key, on_postgres};

/// How long each state is measured.
const WINDOW: Duration = Duration::from_secs(8);

/// Refunds a second now.
async fn pace(load: &Load) -> f64 {
    let (before, began) = (load.answered(), Instant::now());
    tokio::time::sleep(WINDOW).await;
    f64::from(u32::try_from(load.answered() - before).unwrap()) / began.elapsed().as_secs_f64()
}

#[tokio::test]
#[ignore = "a figure"]
async fn figures_of_throughput_without_redis() {
    if !on_postgres() {
        return;
    }
    let mut redis = RedisServer::start(&[]).unwrap();
    let shop = Shop::new().setting("redis.url", redis.url()).setting("limits.requests_per_second", 10_000).open().await;
    let load = Load::at_pace(&[shop.merchant()], paid_orders(&shop, "PACE", 9_000).await, Duration::ZERO);
    let (mut with, mut without) = (0.0, 0.0);
    for _ in 0..3 {
        with += pace(&load).await / 3.0;
        redis.kill();
        shop.until_ready("degraded", |ready| ready.str("status") == "degraded").await;
        without += pace(&load).await / 3.0;
        redis.launch();
        shop.until_ready("ready", |ready| ready.str("status") == "ready").await;
    }
    println!("with Redis {with:.0} refunds a second, without {without:.0}: {:.2} of it", without / with);
    assert_eq!(load.in_vain(), 0);
    load.end().await;
    shop.close().await;
}

#[tokio::test]
#[ignore = "a figure"]
async fn figures_of_recovery_at_the_wallets_own_time() {
    for wallet in WALLETS {
        for kind in ["slow", "no_effect_timeout"] {
            let mut shop = Shop::new().time_scale(1).order(wallet, "RECOVERED", 1_000).open().await;
            if wallet == WECHAT {
                shop.sandbox().fault(WECHAT, "notification", "drop_notification").await;
            }
            let held = json!({ "wallet": wallet, "operation": "refund", "kind": kind, "times": 1, "delay_ms": 60_000 });
            shop.sandbox().fault_with(held).await;
            let refund = json!({ "order_no": "RECOVERED", "amount": fen(700), "reason": "quality" });
            let key = fresh_key();
            tokio::spawn(shop.merchant().refund_call(&key, &refund).try_send());
            shop.sandbox().until_fired(1).await;
            let called = Instant::now();
            shop.crash().await;
            let restarted = Instant::now();
            let taken_up = loop {
                let refunds = shop.merchant().all("/v1/refunds").await;
                match refunds.first().and_then(|refund| refund["state"].as_str()) {
                    // WeChat takes its own time from here on; that it was found is what we can do
                    Some("processing" | "succeeded") => break Instant::now(),
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            };
            println!(
                "{wallet}, killed {}: known {:.1} s after the restart, {:.1} s after the call",
                if kind == "slow" { "after the call took effect" } else { "before it took effect" },
                (taken_up - restarted).as_secs_f64(),
                (taken_up - called).as_secs_f64(),
            );
            if wallet == ALIPAY {
                shop.close().await;
            } else {
                shop.abandon().await; // a WeChat refund is paid after a minute here
            }
        }
    }
}

//! The machine's clock is stepped back and forth under load.

use std::{path::Path, time::Instant};

use super::{
    load::{Load, ORDERS, check, paid_orders},
    opening,
};
use crate::shop::{PATIENCE, POLL, WECHAT, another_time};

/// Refunds that go through in each state.
const MEANWHILE: usize = 12;

/// Steps the clock of the service: `+90s` from the true time.
fn step(file: &Path, by: &str) {
    std::fs::write(file, by).unwrap();
}

#[tokio::test]
async fn a_clock_that_steps_back_and_forth_loses_and_doubles_nothing() {
    let Some(library) = another_time() else { return };
    let mut shop = opening().prepare().await;
    let file = shop.config_file().with_file_name("clock");
    step(&file, "+0");
    let told = file.display().to_string();
    shop.set_variable("LD_PRELOAD", library);
    shop.set_variable("FAKETIME_TIMESTAMP_FILE", &told);
    shop.set_variable("FAKETIME_NO_CACHE", "1");
    shop.set_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    shop.start().await;
    let load = Load::start(&[shop.merchant()], paid_orders(&shop, "STEPPED", ORDERS).await);
    // within what the wallets put up with: 300 s, here 10 s
    for by in ["+0", "+4s", "-4s", "+3s", "-2s", "+0"] {
        step(&file, by);
        load.until_more(MEANWHILE).await;
    }
    let told = load.end().await;
    check(&shop, &told).await;
    // and beyond: what is signed is refused, nothing is paid, and all goes on once the clock is right
    for (by, number) in [("+3600s", "STEPPED-FAR"), ("-3600s", "STEPPED-BACK")] {
        step(&file, by);
        shop.sandbox().pay(WECHAT, number, 1_000).await;
        let answer = shop.merchant().refund(number, 700).await;
        assert!(answer.status >= 400, "{}", answer.text);
        shop.until_ready("the clock to be told of", |ready| ready.body["checks"]["clock"] == "off").await;
        assert_eq!(shop.sandbox().paid_back(WECHAT, number).await, (0, vec![]));
        step(&file, "+0");
        let began = Instant::now();
        while shop.merchant().refund(number, 700).await.status != 202 {
            assert!(began.elapsed() < PATIENCE, "it doesn't go on");
            tokio::time::sleep(POLL).await;
        }
        shop.until_ready("the clock to be right", |ready| ready.body["checks"]["clock"] == "right").await;
    }
    shop.close().await;
}

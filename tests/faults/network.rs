//! The line to the wallets is cut, or swallows what is said in one direction, under load.

use super::{
    load::{Load, ORDERS, check, paid_orders},
    opening,
};
use crate::shop::Line;

/// Refunds that go through in each state.
const MEANWHILE: usize = 12;

#[tokio::test]
async fn a_line_to_the_wallets_that_is_cut_in_either_direction_loses_and_doubles_nothing() {
    let mut shop = opening().prepare().await;
    let line = Line::to(shop.sandbox().url.trim_start_matches("http://"));
    let config = std::fs::read_to_string(shop.config_file()).unwrap();
    let over_the_line = config.replace(&shop.sandbox().url, &format!("http://{}", line.address));
    assert_ne!(config, over_the_line, "the wallets are at the sandbox's address");
    std::fs::write(shop.config_file(), over_the_line).unwrap();
    shop.start().await;
    let load = Load::start(&[shop.merchant()], paid_orders(&shop, "CUT", ORDERS).await);
    for break_it in [Line::cut, Line::swallow_questions, Line::swallow_answers] {
        load.until_more(MEANWHILE).await;
        break_it(&line);
        // the tills are told that it goes on behind their backs, until the breaker opens and takes no more
        shop.until_ready("the wallets to be told of", |ready| {
            let wallets = &ready.body["checks"]["wallets"];
            ready.status == 200 && wallets["wechat"] == "down" && wallets["alipay"] == "down"
        })
        .await;
        line.mend();
        shop.until_ready("the wallets to be back", |ready| {
            let wallets = &ready.body["checks"]["wallets"];
            wallets["wechat"] == "up" && wallets["alipay"] == "up"
        })
        .await;
    }
    load.until_more(MEANWHILE).await;
    let told = load.end().await;
    check(&shop, &told).await;
    shop.close().await;
}

//! However many ask at once, an order never gives back more than was paid (contract §4 rules 1 and 8).

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::json;

use crate::shop::{ALIPAY, Answer, Opening, Shop, WALLETS, WECHAT, fen, fresh_key};

/// How many ask at once.
const AT_ONCE: usize = 64;

/// Time runs fast enough for a wallet's worth of paces; no token is held back.
fn busy_shop() -> Opening {
    Shop::new().time_scale(1200).setting("limits.requests_per_second", 1_000)
}

/// How often each answer was given.
fn counted(answers: &[Answer]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        let word = if answer.status < 300 { "taken" } else { answer.str("code") };
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

async fn refunds_at_once(shop: &Shop, number: &str, amount: i64) -> Vec<Answer> {
    let merchant = shop.merchant();
    join_all((0..AT_ONCE).map(|_| merchant.refund(number, amount))).await
}

#[tokio::test]
async fn sixty_four_refunds_at_once_never_pass_what_was_paid() {
    for wallet in WALLETS {
        let shop = busy_shop().order(wallet, "CEILING-1", 10_000).open().await;
        let answers = refunds_at_once(&shop, "CEILING-1", 300).await;
        // 33 × 3.00 of 100.00 fit, and whoever came too late hears it
        let expected = BTreeMap::from([("taken".to_owned(), 33), ("amount_exceeds_refundable".to_owned(), 31)]);
        assert_eq!(counted(&answers), expected);
        shop.until_settled(0).await;
        assert_eq!(shop.sandbox().paid_back(wallet, "CEILING-1").await, (9_900, vec![1; 33]));
        let order = shop.merchant().order(wallet, "CEILING-1").await;
        assert_eq!((&order["refunded"], &order["refundable"]), (&fen(9_900), &fen(100)));
        shop.close().await;
    }
}

/// WeChat takes 50 refunds of one order, so the desk takes no 51st; Alipay has no such limit.
#[tokio::test]
async fn of_sixty_four_small_refunds_wechat_gets_fifty_and_alipay_all() {
    for (wallet, taken) in [(WECHAT, 50), (ALIPAY, AT_ONCE)] {
        let shop = busy_shop().order(wallet, "CEILING-2", 10_000).open().await;
        let answers = refunds_at_once(&shop, "CEILING-2", 1).await;
        let mut expected = BTreeMap::from([("taken".to_owned(), taken)]);
        if taken < AT_ONCE {
            expected.insert("too_many_refunds".to_owned(), AT_ONCE - taken);
        }
        assert_eq!(counted(&answers), expected);
        shop.until_settled(0).await;
        let paid: i64 = taken.try_into().unwrap();
        assert_eq!(shop.sandbox().paid_back(wallet, "CEILING-2").await, (paid, vec![1; taken]));
        shop.close().await;
    }
}

/// "All that is left" means what the caller saw: of many at once one gets it.
#[tokio::test]
async fn of_many_who_ask_for_all_that_is_left_one_gets_it() {
    for wallet in WALLETS {
        let shop = busy_shop().order(wallet, "CEILING-3", 10_000).open().await;
        let merchant = shop.merchant();
        let refund = json!({ "order_no": "CEILING-3", "reason": "quality" });
        let asked = (0..AT_ONCE).map(|_| merchant.refund_call(&fresh_key(), &refund).send());
        let answers = join_all(asked).await;
        let expected = BTreeMap::from([("taken".to_owned(), 1), ("amount_exceeds_refundable".to_owned(), AT_ONCE - 1)]);
        assert_eq!(counted(&answers), expected);
        shop.until_settled(0).await;
        assert_eq!(shop.sandbox().paid_back(wallet, "CEILING-3").await, (10_000, vec![1]));
        shop.close().await;
    }
}

/// Two desks on one database: what one reserves the other can't.
#[tokio::test]
async fn two_replicas_on_one_ledger_keep_the_ceiling_together() {
    if !crate::shop::on_postgres() {
        return; // SQLite is embedded: one process has it
    }
    let shop = busy_shop().order(ALIPAY, "CEILING-4", 10_000).open().await;
    let second = shop.start_replica().await;
    let merchants = [shop.merchant(), second.caller(&shop)];
    let asked = (0..AT_ONCE).map(|index| merchants[index % 2].refund("CEILING-4", 300));
    let answers = join_all(asked).await;
    let expected = BTreeMap::from([("taken".to_owned(), 33), ("amount_exceeds_refundable".to_owned(), 31)]);
    assert_eq!(counted(&answers), expected);
    shop.until_settled(0).await;
    assert_eq!(shop.sandbox().paid_back(ALIPAY, "CEILING-4").await, (9_900, vec![1; 33]));
    drop(second);
    shop.close().await;
}

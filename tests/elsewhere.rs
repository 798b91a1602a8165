//! Refunds that were made elsewhere are found, lower what is left, and never break the books (contract §4 rules 1 and 9).

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::shop::{ALIPAY, PATIENCE, POLL, Shop, WECHAT, fen, pen::wechat_news_with};

/// Waits until the desk has found a refund from elsewhere.
async fn found(shop: &Shop) -> Value {
    let began = Instant::now();
    loop {
        let refunds = shop.merchant().all("/v1/refunds").await;
        if let Some(refund) = refunds.into_iter().find(|refund| refund["origin"] == "external") {
            return refund;
        }
        assert!(began.elapsed() < PATIENCE, "nothing was found");
        tokio::time::sleep(POLL).await;
    }
}

fn events(refund: &Value) -> Vec<&str> {
    refund["timeline"].as_array().unwrap().iter().map(|line| line["event"].as_str().unwrap()).collect()
}

/// Longer than WeChat's minute, at the tests' pace.
async fn pace() {
    tokio::time::sleep(Duration::from_millis(250)).await;
}

#[tokio::test]
async fn a_refund_made_by_hand_at_wechat_is_found_by_its_notification() {
    let shop = Shop::new().order(WECHAT, "HAND-00001", 1_000).open().await;
    let ours = shop.merchant().refund("HAND-00001", 300).await;
    shop.until(ours.refund_id(), "succeeded").await;
    pace().await;
    shop.hand(WECHAT).refunds("HAND-00001", "console-1", 500, 1_000).await;
    let external = found(&shop).await;
    assert_eq!((&external["state"], &external["amount"]), (&json!("succeeded"), &fen(500)));
    assert_eq!(external["wallet_request_no"], "console-1");
    assert_eq!(events(&external), ["found", "succeeded"]);
    let order = shop.merchant().order(WECHAT, "HAND-00001").await;
    assert_eq!((&order["refunded"], &order["refundable"]), (&fen(800), &fen(200)));
    assert_eq!((&order["frozen"], &order["overpaid"]), (&json!(false), &Value::Null));
    // what is left is known, and the wallet's own limit is never asked for
    let too_much = shop.merchant().refund("HAND-00001", 300).await;
    too_much.assert(409, "amount_exceeds_refundable");
    assert_eq!(too_much.body["refundable"], fen(200));
    let rest = shop.merchant().refund("HAND-00001", 200).await;
    shop.until(rest.refund_id(), "succeeded").await;
    shop.close().await;
}

/// Alipay's news names the trade's total: what is above ours was made elsewhere.
#[tokio::test]
async fn a_refund_made_by_hand_at_alipay_is_found_by_the_total_of_its_notification() {
    let shop = Shop::new().open().await;
    let notify_url = format!("{}/notify/alipay/demo", shop.base());
    let order =
        json!({ "wallet": ALIPAY, "out_trade_no": "HAND-00002", "amount_fen": 1_000, "notify_url": notify_url });
    shop.sandbox().order(order).await;
    let ours = shop.merchant().refund("HAND-00002", 300).await;
    ours.assert(201, "succeeded");
    pace().await;
    shop.hand(ALIPAY).refunds("HAND-00002", "console-2", 400, 1_000).await;
    let external = found(&shop).await;
    assert_eq!((&external["state"], &external["amount"]), (&json!("succeeded"), &fen(400)));
    shop.merchant().refund("HAND-00002", 400).await.assert(409, "amount_exceeds_refundable");
    pace().await;
    shop.merchant().refund("HAND-00002", 300).await.assert(201, "succeeded");
    shop.close().await;
}

/// Without any notification, the answer to the next refund tells.
#[tokio::test]
async fn a_refund_made_by_hand_at_alipay_is_found_by_the_answer_to_the_next() {
    let shop = Shop::new().order(ALIPAY, "HAND-00003", 1_000).open().await;
    shop.merchant().refund("HAND-00003", 100).await.assert(201, "succeeded");
    pace().await;
    shop.hand(ALIPAY).refunds("HAND-00003", "console-3", 400, 1_000).await;
    pace().await;
    shop.merchant().refund("HAND-00003", 200).await.assert(201, "succeeded");
    assert_eq!(found(&shop).await["amount"], fen(400));
    let order = shop.merchant().order(ALIPAY, "HAND-00003").await;
    assert_eq!((&order["refunded"], &order["refundable"]), (&fen(700), &fen(300)));
    shop.close().await;
}

/// While one of ours is unsettled, nobody can say whose the difference is. When it ends, it is said.
#[tokio::test]
async fn nothing_is_concluded_from_alipays_total_while_one_of_ours_is_unsettled() {
    let shop = Shop::new().impatient().time_scale(60).open().await;
    let notify_url = format!("{}/notify/alipay/demo", shop.base());
    let order =
        json!({ "wallet": ALIPAY, "out_trade_no": "HAND-00004", "amount_fen": 1_000, "notify_url": notify_url });
    shop.sandbox().order(order).await;
    shop.sandbox().fault(ALIPAY, "refund", "effect_then_reset").await;
    shop.sandbox().fault_with(json!({ "wallet": ALIPAY, "operation": "query_refund", "kind": "http_500" })).await;
    let ours = shop.merchant().refund("HAND-00004", 300).await;
    ours.assert(202, "submitting");
    pace().await;
    shop.hand(ALIPAY).refunds("HAND-00004", "console-4", 400, 1_000).await;
    // its news comes, and so does that of ours; both say more than the ledger knows
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(shop.merchant().all("/v1/refunds").await.len(), 1, "concluded too early");
    shop.sandbox().no_more_faults().await;
    shop.until(ours.refund_id(), "succeeded").await;
    assert_eq!(found(&shop).await["amount"], fen(400));
    shop.close().await;
}

/// The truth is never refused: what doesn't fit freezes the order until there is room, and more than the order asks for a
/// person.
#[tokio::test]
async fn what_was_paid_back_beyond_the_order_freezes_it_and_asks_for_a_person() {
    for (end, overpaid) in [("CLOSED", 0), ("SUCCESS", 300)] {
        let shop = Shop::new().open().await;
        let order = json!({ "wallet": WECHAT, "out_trade_no": "HAND-00005", "amount_fen": 1_000 });
        let transaction_id = shop.sandbox().order(order).await["transaction_id"].clone();
        shop.sandbox().fault(WECHAT, "refund", "stay_processing").await;
        let ours = shop.merchant().refund("HAND-00005", 700).await;
        ours.assert(202, "processing");
        // the wallet proves 6.00 more, under a number that isn't ours
        let mut other = ours.body.clone();
        other["wallet_request_no"] = json!("console-5");
        other["amount"] = fen(600);
        let news = wechat_news_with(shop.sandbox(), &other, "SUCCESS", Timestamp::now(), |plain| {
            plain["amount"]["total"] = json!(1_000);
            plain["transaction_id"] = transaction_id.clone();
        });
        for _ in 0..2 {
            assert_eq!(news.deliver(&shop).await.status, 200);
        }
        let order = shop.merchant().order(WECHAT, "HAND-00005").await;
        assert_eq!((&order["refunded"], &order["reserved"]), (&fen(300), &fen(700)));
        assert_eq!((&order["overpaid"], &order["frozen"]), (&fen(300), &json!(true)));
        assert_eq!(shop.merchant().all("/v1/refunds").await.len(), 2, "the same news again is no other refund");
        assert_eq!(found(&shop).await["attention"], Value::Null, "6.00 of 10.00 is not too much");
        shop.merchant().refund("HAND-00005", 1).await.assert(409, "order_frozen");
        shop.sandbox().settle(&ours.body, end).await;
        let ended = shop.until(ours.refund_id(), if end == "CLOSED" { "failed" } else { "succeeded" }).await;
        let order = shop.merchant().order(WECHAT, "HAND-00005").await;
        assert_eq!(order["frozen"], json!(overpaid > 0));
        if overpaid == 0 {
            assert_eq!((&order["refunded"], &order["refundable"]), (&fen(600), &fen(400)));
        } else {
            assert_eq!((&order["refunded"], &order["overpaid"]), (&fen(1_000), &fen(overpaid)));
            assert_eq!(ended["attention"]["reason"], "overpaid");
            for (word, refunds) in [("true", 1), ("overpaid", 1), ("bounced", 0), ("false", 2)] {
                let asked = shop.merchant().get(&format!("/v1/refunds?attention={word}")).await;
                assert_eq!(asked.body["items"].as_array().unwrap().len(), refunds, "{word}");
            }
            shop.merchant().get("/v1/refunds?attention=perhaps").await.assert(422, "validation_failed");
        }
        shop.close_without_wallets().await;
    }
}

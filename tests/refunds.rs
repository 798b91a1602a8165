//! Refunds that go well, and those that the wallet or the order's state does not allow.

use serde_json::json;

use crate::shop::{ALIPAY, Shop, WALLETS, WECHAT, fen, fresh_key};

/// The customer shows the payment code, the cashier enters the number of an order that nobody registered.
#[tokio::test]
async fn a_payment_code_and_an_order_number_give_the_whole_order_back() {
    let shop = Shop::new().order(WECHAT, "COFFEE-0001", 3_800).open().await;
    let frame = shop.sandbox().payment_code(WECHAT, "COFFEE-0001").await;
    let refund = json!({ "order_no": "COFFEE-0001", "reason": "quality" });
    let answer = shop.terminal().refund_with_frames(&refund, &[&frame]).send().await;
    answer.assert(202, "processing");
    assert_eq!(answer.header("location"), format!("/v1/refunds/{}", answer.refund_id()));
    let refund = shop.until(answer.refund_id(), "succeeded").await;
    assert_eq!(refund["amount"], fen(3_800));
    assert_eq!(refund["wallet_request_no"], answer.refund_id().replace('-', ""));
    assert!(refund["wallet_refund_id"].is_string() && refund["scan_id"].is_string() && refund["settled_at"].is_string());
    assert_eq!(shop.merchant().order(WECHAT, "COFFEE-0001").await["state"], "refunded");
    assert_eq!(shop.sandbox().paid_back(WECHAT, "COFFEE-0001").await, (3_800, vec![1]));
    shop.close().await;
}

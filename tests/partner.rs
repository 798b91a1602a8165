//! The desk of a partner's merchant (服务商, wechat-pay §19): every call and every notification names both.

use serde_json::json;

use crate::shop::{Shop, WECHAT, fen};

const ORDER: &str = "PARTNER-0001";

#[tokio::test]
async fn a_partners_merchant_refunds_with_the_payers_code_and_is_told_by_notification() {
    let mut shop = Shop::new().of_a_partner().setting("policy.payer_check", "required").prepare().await;
    for (number, payer) in [(ORDER, "oAnna000000000000000000000001"), ("PARTNER-0009", "oBert000000000000000000000002")]
    {
        let order = json!({ "wallet": WECHAT, "out_trade_no": number, "amount_fen": 5_000, "payer": payer });
        shop.sandbox().order(order).await;
    }
    // asking is of no use while the wallet is silent: what settles is the notification
    shop.sandbox().fault(WECHAT, "query_refund", "http_500").await;
    shop.start().await;
    shop.add_operator("till", "cashier", "271828");
    let terminal = shop.terminal();
    let wish = json!({ "order_no": ORDER, "amount": fen(1_000), "reason": "quality",
                       "operator_id": "till", "operator_pin": "271828" });
    let others = shop.sandbox().payment_code(WECHAT, "PARTNER-0009").await;
    let refused = terminal.refund_with_frames(&wish, &[&others]).send().await;
    assert_eq!((refused.status, refused.str("code")), (422, "payer_mismatch"), "{}", refused.text);
    let own = shop.sandbox().payment_code(WECHAT, ORDER).await;
    let taken = terminal.refund_with_frames(&wish, &[&own]).send().await;
    taken.assert_status(202);
    shop.until(taken.refund_id(), "succeeded").await;
    assert_eq!(shop.sandbox().paid_back(WECHAT, ORDER).await, (1_000, vec![1]));
    shop.sandbox().no_more_faults().await;
    shop.close().await;
}

#[tokio::test]
async fn an_answer_that_was_lost_is_found_under_the_merchants_number() {
    let shop = Shop::new().of_a_partner().impatient().order(WECHAT, ORDER, 5_000).open().await;
    shop.sandbox().fault(WECHAT, "refund", "effect_then_reset").await;
    let silent = json!({ "wallet": WECHAT, "operation": "notification", "kind": "drop_notification" });
    shop.sandbox().fault_with(silent).await;
    let refund = shop.merchant().refund(ORDER, 5_000).await;
    refund.assert(202, "submitting");
    shop.until(refund.refund_id(), "succeeded").await;
    assert_eq!(shop.sandbox().paid_back(WECHAT, ORDER).await, (5_000, vec![1]));
    shop.close().await;
}

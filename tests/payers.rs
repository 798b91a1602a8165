//! Is the one at the till the one who paid? (contract §3, `payer_mismatch`; `policy.payer_check`)

use serde_json::{Value, json};

use crate::shop::{ALIPAY, Shop, WECHAT, fen, pictures};

const ORDER: &str = "PAYER-0001";
/// An order of somebody else's.
const OTHERS: &str = "PAYER-0009";

/// A shop with this policy, and an order of each of two people at either wallet.
async fn shop(check: &str) -> Shop {
    let mut shop = Shop::new().setting("policy.payer_check", check).prepare().await;
    for (wallet, anna, bert) in [
        (WECHAT, "oAnna000000000000000000000001", "oBert000000000000000000000002"),
        (ALIPAY, "2088000000000011", "2088000000000012"),
    ] {
        for (number, payer) in [(ORDER, anna), (OTHERS, bert)] {
            let number = number.replace("PAYER", if wallet == WECHAT { "PAYER" } else { "ALIPAYER" });
            let order = json!({ "wallet": wallet, "out_trade_no": number, "amount_fen": 5_000, "payer": payer });
            shop.sandbox().order(order).await;
        }
    }
    shop.start().await;
    shop.add_operator("till", "cashier", "271828");
    shop
}

fn wish() -> Value {
    json!({ "order_no": ORDER, "amount": fen(1_000), "reason": "quality", "operator_id": "till", "operator_pin": "271828" })
}

/// The same wish for the order at Alipay.
fn alipay_wish() -> Value {
    let mut wish = wish();
    wish["order_no"] = "ALIPAYER-0001".into();
    wish
}

#[tokio::test]
async fn a_payment_code_of_another_person_refunds_nothing_where_the_wallet_can_tell() {
    let shop = shop("where_possible").await;
    let terminal = shop.terminal();
    let (annas, berts) =
        (shop.sandbox().payment_code(WECHAT, ORDER).await, shop.sandbox().payment_code(WECHAT, OTHERS).await);
    let refused = terminal.refund_with_frames(&wish(), &[&berts]).send().await;
    assert_eq!((refused.status, refused.str("code")), (422, "payer_mismatch"));
    let order = shop.merchant().order(WECHAT, ORDER).await;
    assert_eq!((&order["reserved"], &order["refundable"]), (&fen(0), &fen(5_000)), "nothing is held");
    let taken = terminal.refund_with_frames(&wish(), &[&annas]).send().await;
    taken.assert_status(202);
    shop.until(taken.refund_id(), "succeeded").await;

    // two calls: a scan that is looked at first, and named in the refund
    let scan = terminal.scan(&berts).await;
    scan.assert_status(201);
    assert_eq!(scan.body["subject"]["payer_known"], true);
    let mut named = wish();
    named["scan_id"] = scan.body["scan_id"].clone();
    let preview = terminal.post("/v1/refunds/preview").json(&named).send().await;
    assert_eq!(preview.str("code"), "payer_mismatch", "{}", preview.text);

    // the same at Alipay
    let berts = shop.sandbox().payment_code(ALIPAY, "ALIPAYER-0009").await;
    let refused = terminal.refund_with_frames(&alipay_wish(), &[&berts]).send().await;
    assert_eq!((refused.status, refused.str("code")), (422, "payer_mismatch"));
    let annas = shop.sandbox().payment_code(ALIPAY, "ALIPAYER-0001").await;
    terminal.refund_with_frames(&alipay_wish(), &[&annas]).send().await.assert(201, "succeeded");
    shop.close().await;
}

#[tokio::test]
async fn a_code_that_is_nobodys_proves_nobodys_presence_and_no_answer_goes_by_the_policy() {
    let shop = shop("where_possible").await;
    let terminal = shop.terminal();
    let made_up = pictures::codes(&["134567890123456789"]);
    let refused = terminal.refund_with_frames(&wish(), &[&made_up]).send().await;
    assert_eq!((refused.status, refused.str("code")), (422, "scan_expired"));
    let frame = shop.sandbox().payment_code(WECHAT, OTHERS).await;
    shop.sandbox().fault(WECHAT, "payer", "system_error").await;
    let taken = terminal.refund_with_frames(&wish(), &[&frame]).send().await;
    taken.assert_status(202);
    shop.until(taken.refund_id(), "succeeded").await;
    shop.close().await;
}

#[tokio::test]
async fn where_it_is_required_what_can_not_be_compared_is_refused() {
    let shop = shop("required").await;
    let terminal = shop.terminal();
    let frame = shop.sandbox().payment_code(WECHAT, ORDER).await;
    shop.sandbox().fault(WECHAT, "payer", "system_error").await;
    let refused = terminal.refund_with_frames(&wish(), &[&frame]).send().await;
    assert_eq!((refused.status, refused.str("code")), (503, "wallet_unavailable"));
    // not granted: nobody can tell, and the policy says no
    for (wallet, wish, frame) in [
        (WECHAT, wish(), frame.clone()),
        (ALIPAY, alipay_wish(), shop.sandbox().payment_code(ALIPAY, "ALIPAYER-0001").await),
    ] {
        let kind = if wallet == WECHAT { "unsigned_error" } else { "system_error" };
        shop.sandbox().fault(wallet, "payer", kind).await;
        let refused = terminal.refund_with_frames(&wish, &[&frame]).send().await;
        let expected = if wallet == WECHAT { (409, "policy_refused") } else { (503, "wallet_unavailable") };
        assert_eq!((refused.status, refused.str("code")), expected, "{wallet}");
    }
    // a bill code names an order and no person: the check is about payment codes
    let bill = shop.sandbox().bill_code(WECHAT, ORDER).await;
    let taken = terminal.refund_with_frames(&wish(), &[&bill]).send().await;
    taken.assert_status(202);
    shop.until(taken.refund_id(), "succeeded").await;
    shop.close().await;
}

#[tokio::test]
async fn a_payment_code_alone_lists_the_payers_orders_and_nobody_elses() {
    let shop = shop("where_possible").await;
    let terminal = shop.terminal();
    let second = json!({ "wallet": WECHAT, "out_trade_no": "PAYER-0003", "amount_fen": 700,
        "payer": "oAnna000000000000000000000001" });
    shop.sandbox().order(second).await;
    for number in [ORDER, "PAYER-0003", OTHERS] {
        shop.merchant().order(WECHAT, number).await; // asked of the wallet, and kept
    }
    let mut wish = wish();
    wish.as_object_mut().unwrap().remove("order_no");
    let frame = shop.sandbox().payment_code(WECHAT, ORDER).await;
    let refused = terminal.refund_with_frames(&wish, &[&frame]).send().await;
    assert_eq!((refused.status, refused.str("code")), (422, "order_required"));
    let orders = refused.body["orders"].as_array().unwrap().iter();
    let numbers: Vec<&str> = orders.map(|order| order["order_no"].as_str().unwrap()).collect();
    assert_eq!(numbers, ["PAYER-0003", ORDER], "newest first, and none of the other's");
    shop.close().await;
}

#[tokio::test]
async fn switched_off_nobody_is_asked() {
    let shop = shop("off").await;
    let terminal = shop.terminal();
    shop.sandbox().fault(WECHAT, "payer", "system_error").await;
    let frame = shop.sandbox().payment_code(WECHAT, OTHERS).await;
    let taken = terminal.refund_with_frames(&wish(), &[&frame]).send().await;
    taken.assert_status(202);
    shop.until(taken.refund_id(), "succeeded").await;
    assert_eq!(shop.sandbox().fired(), 0);
    shop.close().await;
}

//! Refunds from the scan to the end, over the whole life of an order, and which order is meant.

use reqwest::Method;
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
    assert!(
        refund["wallet_refund_id"].is_string() && refund["scan_id"].is_string() && refund["settled_at"].is_string()
    );
    assert_eq!(shop.merchant().order(WECHAT, "COFFEE-0001").await["state"], "refunded");
    assert_eq!(shop.sandbox().paid_back(WECHAT, "COFFEE-0001").await, (3_800, vec![1]));
    shop.close().await;
}

/// The bill page's bar code says which order: nobody types anything.
#[tokio::test]
async fn a_bill_code_alone_is_enough() {
    let shop = Shop::new().order(ALIPAY, "100160000351000012511150504679", 8_800).open().await;
    let frame = shop.sandbox().bill_code(ALIPAY, "100160000351000012511150504679").await;
    let refund = json!({ "amount": fen(2_000), "reason": "customer_request" });
    let answer = shop.terminal().refund_with_frames(&refund, &[&frame]).send().await;
    answer.assert(201, "succeeded");
    assert_eq!(answer.body["order_no"], "100160000351000012511150504679");
    assert!(answer.body.get("wallet_refund_id").is_none(), "Alipay has no number of its own");
    assert_eq!(shop.sandbox().paid_back(ALIPAY, "100160000351000012511150504679").await, (2_000, vec![1]));
    shop.close().await;
}

/// A scan first, the refund by its `scan_id`: what a till does that shows the order before it asks.
#[tokio::test]
async fn a_scan_that_was_posted_before_counts_for_one_refund() {
    let shop = Shop::new().order(ALIPAY, "TEA-000001", 1_500).open().await;
    let terminal = shop.terminal();
    let scan = terminal.scan(&shop.sandbox().bill_code(ALIPAY, "TEA-000001").await).await;
    scan.assert_status(201);
    assert_eq!(scan.body["subject"]["kind"], "order");
    assert_eq!(scan.body["subject"]["order"]["refundable"], fen(1_500));
    assert_eq!(scan.body["symbols"][0]["symbology"], "code_128");
    let refund = json!({ "scan_id": scan.body["scan_id"], "amount": fen(500), "reason": "quality" });
    let answer = terminal.refund_call(&fresh_key(), &refund).send().await;
    answer.assert(201, "succeeded");
    assert_eq!(answer.body["scan_id"], scan.body["scan_id"]);
    terminal.refund_call(&fresh_key(), &refund).send().await.assert(422, "scan_used");
    shop.close().await;
}

#[tokio::test]
async fn a_payment_code_is_masked_to_its_first_two_digits() {
    let shop = Shop::new().order(WECHAT, "COFFEE-0002", 3_800).open().await;
    let scan = shop.terminal().scan(&shop.sandbox().payment_code(WECHAT, "COFFEE-0002").await).await;
    scan.assert_status(201);
    assert_eq!(
        (&scan.body["subject"]["kind"], &scan.body["subject"]["wallet"]),
        (&json!("payment_code"), &json!(WECHAT))
    );
    let masked = scan.body["symbols"][0]["text_masked"].as_str().unwrap();
    assert!(masked[..2].bytes().all(|byte| byte.is_ascii_digit()), "{masked}");
    assert_eq!(masked.bytes().filter(u8::is_ascii_digit).count(), 2, "{masked}");
    shop.close().await;
}

/// Part by part until nothing is left, with what is left shown at each step, and each refusal exact.
#[tokio::test]
async fn an_order_is_refunded_part_by_part_until_nothing_is_left() {
    for wallet in WALLETS {
        let shop = Shop::new().order(wallet, "BOOKS-0001", 10_000).open().await;
        let merchant = shop.merchant();
        merchant.register(wallet, "BOOKS-0001", 10_000).await.assert(201, "paid");

        let first = merchant.refund("BOOKS-0001", 2_500).await;
        shop.until(first.refund_id(), "succeeded").await;
        let order = merchant.order(wallet, "BOOKS-0001").await;
        assert_eq!((&order["refunded"], &order["refundable"]), (&fen(2_500), &fen(7_500)));
        assert_eq!(order["state"], "partially_refunded");

        let over = merchant.refund("BOOKS-0001", 7_501).await;
        over.assert(409, "amount_exceeds_refundable");
        assert_eq!(over.body["refundable"], fen(7_500));

        let stale = json!({
            "order_no": "BOOKS-0001", "expected_refundable": fen(10_000), "amount": fen(1), "reason": "quality",
        });
        let stale = merchant.refund_call(&fresh_key(), &stale).send().await;
        stale.assert(412, "refundable_changed");
        assert_eq!(stale.body["refundable"], fen(7_500));

        let expected = json!({
            "order_no": "BOOKS-0001", "expected_refundable": fen(7_500), "amount": fen(500), "reason": "quality",
        });
        let second = merchant.refund_call(&fresh_key(), &expected).send().await;
        shop.until(second.refund_id(), "succeeded").await;

        let rest = json!({ "order_no": "BOOKS-0001", "reason": "out_of_stock", "note": "the rest of it" });
        let rest = merchant.refund_call(&fresh_key(), &rest).send().await;
        let rest = shop.until(rest.refund_id(), "succeeded").await;
        assert_eq!((&rest["amount"], &rest["note"]), (&fen(7_000), &json!("the rest of it")));
        assert_eq!(merchant.order(wallet, "BOOKS-0001").await["state"], "refunded");

        for amount in [1, 10_000] {
            let none = merchant.refund("BOOKS-0001", amount).await;
            none.assert(409, "amount_exceeds_refundable");
            assert_eq!(none.body["refundable"], fen(0));
        }
        assert_eq!(shop.sandbox().paid_back(wallet, "BOOKS-0001").await, (10_000, vec![1, 1, 1]));
        shop.close().await;
    }
}

/// WeChat takes the next refund of an order a minute after the one before: the second waits for its turn, and both are paid.
#[tokio::test]
async fn a_second_refund_of_an_order_waits_for_the_wallets_pace() {
    let shop = Shop::new().time_scale(60).order(WECHAT, "BOOKS-0002", 10_000).open().await;
    let merchant = shop.merchant();
    let first = merchant.refund("BOOKS-0002", 1_000).await;
    let second = merchant.refund("BOOKS-0002", 2_000).await;
    second.assert(202, "submitting");
    assert!(second.body["not_before"].is_string() && second.body.get("submitted_at").is_none(), "{}", second.text);
    assert_eq!(merchant.order(WECHAT, "BOOKS-0002").await["reserved"], fen(3_000));
    for answer in [&first, &second] {
        shop.until(answer.refund_id(), "succeeded").await;
    }
    assert_eq!(shop.sandbox().paid_back(WECHAT, "BOOKS-0002").await, (3_000, vec![1, 1]));
    shop.close().await;
}

#[tokio::test]
async fn an_order_that_nobody_registered_is_asked_of_the_wallets_and_kept() {
    let mut shop = Shop::new().open().await;
    let mut numbers = Vec::new();
    for wallet in WALLETS {
        let made = shop.sandbox().pay(wallet, &format!("FOUND-{wallet}"), 4_200).await;
        numbers.push((wallet, format!("FOUND-{wallet}"), made["transaction_id"].as_str().unwrap().to_owned()));
    }
    let merchant = shop.merchant();
    assert_eq!(merchant.get("/v1/orders").await.body["items"], json!([]));
    // one by its number, the other by the wallet's own
    for (wallet, order_no, asked) in
        [(numbers[0].0, &numbers[0].1, &numbers[0].1), (numbers[1].0, &numbers[1].1, &numbers[1].2)]
    {
        let order = merchant.get(&format!("/v1/orders/{asked}")).await;
        order.assert(200, "paid");
        assert_eq!((&order.body["wallet"], &order.body["order_no"]), (&json!(wallet), &json!(order_no)));
        assert_eq!(order.body["amount"], fen(4_200));
    }
    // kept: the wallets are gone, and both numbers of both still find them
    shop.sandbox_mut().kill();
    for (_, order_no, transaction_id) in &numbers {
        for number in [order_no, transaction_id] {
            let order = merchant.get(&format!("/v1/orders/{number}")).await;
            order.assert(200, "paid");
            assert_eq!((order.str("order_no"), order.str("transaction_id")), (&**order_no, &**transaction_id));
        }
    }
    shop.close_without_wallets().await;
}

#[tokio::test]
async fn an_alias_names_the_order_too() {
    let shop = Shop::new().order(ALIPAY, "ALIAS-0001", 900).open().await;
    let merchant = shop.merchant();
    let order = json!({
        "order_no": "ALIAS-0001", "wallet": ALIPAY, "amount": fen(900), "paid_at": "2026-07-01T10:00:00+08:00",
        "kind": "sale", "aliases": ["receipt/17|A", "POS-4711"],
    });
    merchant.post("/v1/orders").json(&order).send().await.assert(201, "paid");
    let by_alias = merchant.get("/v1/orders/receipt%2F17%7CA").await;
    by_alias.assert(200, "paid");
    assert_eq!(by_alias.body["aliases"], json!(["receipt/17|A", "POS-4711"]));
    let refund = merchant.refund("POS-4711", 900).await;
    refund.assert(201, "succeeded");
    assert_eq!(refund.body["order_no"], "ALIAS-0001");
    shop.close().await;
}

#[tokio::test]
async fn a_registration_is_kept_once_and_another_content_is_a_conflict() {
    let shop = Shop::new().order(WECHAT, "REGISTER-1", 700).open().await;
    let merchant = shop.merchant();
    let order = |amount| {
        json!({
            "order_no": "REGISTER-1", "wallet": WECHAT, "amount": fen(amount), "paid_at": "2026-07-01T10:00:00+08:00",
            "kind": "sale", "store_id": "store-7", "payer": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            "customer": { "email": "ada@example.com", "locale": "en" }, "lines": [{ "sku": "tea", "count": 2 }],
        })
    };
    shop.plant("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o");
    let first = merchant.post("/v1/orders").json(&order(700)).send().await;
    first.assert(201, "paid");
    let again = merchant.post("/v1/orders").json(&order(700)).send().await;
    again.assert(200, "paid");
    assert_eq!(first.body, again.body);
    merchant.post("/v1/orders").json(&order(701)).send().await.assert(409, "order_conflict");
    assert_eq!(merchant.order(WECHAT, "REGISTER-1").await, first.body);
    shop.close().await;
}

/// The wallet's word goes before the caller's: amount, numbers and state must agree before the first refund.
#[tokio::test]
async fn a_registered_order_that_the_wallet_knows_otherwise_is_not_refunded() {
    let shop = Shop::new().open().await;
    let (merchant, sandbox) = (shop.merchant(), shop.sandbox());
    sandbox.pay(WECHAT, "MISMATCH-1", 1_000).await;
    merchant.register(WECHAT, "MISMATCH-1", 999).await.assert(201, "paid");
    sandbox.pay(ALIPAY, "MISMATCH-2", 1_000).await;
    let order = json!({
        "order_no": "MISMATCH-2", "wallet": ALIPAY, "amount": fen(1_000), "paid_at": "2026-07-01T10:00:00+08:00",
        "kind": "sale", "transaction_id": "2013112011001004330000121536",
    });
    merchant.post("/v1/orders").json(&order).send().await.assert(201, "paid");
    sandbox
        .order(json!({ "wallet": WECHAT, "out_trade_no": "MISMATCH-3", "amount_fen": 1_000, "state": "unpaid" }))
        .await;
    merchant.register(WECHAT, "MISMATCH-3", 1_000).await.assert(201, "paid");
    merchant.register(ALIPAY, "MISMATCH-4", 1_000).await.assert(201, "paid"); // the wallet doesn't know it at all
    for number in ["MISMATCH-1", "MISMATCH-2", "MISMATCH-3", "MISMATCH-4"] {
        merchant.refund(number, 100).await.assert(409, "order_mismatch");
    }
    assert_eq!(merchant.all("/v1/refunds").await, Vec::<serde_json::Value>::new());
    shop.close().await;
}

#[tokio::test]
async fn an_order_that_is_not_paid_is_not_refunded() {
    let shop = Shop::new().open().await;
    for (wallet, state) in [(WECHAT, "unpaid"), (WECHAT, "closed"), (WECHAT, "voided"), (ALIPAY, "closed")] {
        let number = format!("STATE-{wallet}-{state}");
        let order = json!({ "wallet": wallet, "out_trade_no": number, "amount_fen": 500, "state": state });
        shop.sandbox().order(order).await;
        let answer = shop.merchant().refund(&number, 100).await;
        answer.assert(409, "order_not_refundable");
    }
    shop.close().await;
}

/// Both wallets may have the same number: then the wallet must be said, or the payment code says it.
#[tokio::test]
async fn a_number_that_two_wallets_have_is_ambiguous_until_the_wallet_is_known() {
    let shop = Shop::new().order(WECHAT, "TWICE-0001", 1_000).order(ALIPAY, "TWICE-0001", 2_000).open().await;
    let merchant = shop.merchant();
    let ambiguous = merchant.get("/v1/orders/TWICE-0001").await;
    ambiguous.assert(409, "order_ambiguous");
    assert_eq!(ambiguous.body["wallets"].as_array().unwrap().len(), 2);
    merchant.refund("TWICE-0001", 100).await.assert(409, "order_ambiguous");
    let named = json!({ "order_no": "TWICE-0001", "wallet": WECHAT, "amount": fen(100), "reason": "quality" });
    let named = merchant.refund_call(&fresh_key(), &named).send().await;
    assert_eq!(named.body["wallet"], WECHAT);
    let frame = shop.sandbox().payment_code(ALIPAY, "TWICE-0001").await;
    let shown = json!({ "order_no": "TWICE-0001", "amount": fen(100), "reason": "quality" });
    let shown = shop.terminal().refund_with_frames(&shown, &[&frame]).send().await;
    shown.assert(201, "succeeded");
    assert_eq!(shown.body["wallet"], ALIPAY);
    shop.close().await;
}

/// What the wallet refuses for good is an answer, not an error: 201, `failed`, and nothing is held any more.
#[tokio::test]
async fn a_refund_that_the_wallet_refuses_fails_and_releases_what_it_held() {
    let shop = Shop::new()
        .order(WECHAT, "REFUSED-1", 1_000)
        .setting("policy.refund_window_days", 800)
        .alipay_setting("refund_window_days = 800")
        .open()
        .await;
    let merchant = shop.merchant();
    // WeChat: its gateway says no before the call reaches anything
    shop.sandbox().fault(WECHAT, "refund", "unsigned_error").await;
    let answer = merchant.refund("REFUSED-1", 400).await;
    answer.assert(201, "failed");
    let by_wechat = answer.body;
    // Alipay: its own window ends in a moment, whatever ours is set to
    let soon = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * 365) + jiff::SignedDuration::from_secs(3);
    let order =
        json!({ "wallet": ALIPAY, "out_trade_no": "REFUSED-2", "amount_fen": 1_000, "paid_at": soon.to_string() });
    shop.sandbox().order(order).await;
    let by_alipay = loop {
        let answer = merchant.refund("REFUSED-2", 1).await;
        let is_over = |refund: &serde_json::Value| matches!(refund["state"].as_str(), Some("succeeded" | "failed"));
        let end = shop.until_refund(answer.refund_id(), "its end", is_over).await;
        if end["state"] == "failed" {
            break end;
        }
    };
    for refund in [by_wechat, by_alipay] {
        assert!(refund["failure"]["code"].is_string() && refund["failure"]["detail"].is_string(), "{refund:#}");
        let order = merchant.order(refund["wallet"].as_str().unwrap(), refund["order_no"].as_str().unwrap()).await;
        assert_eq!(order["reserved"], fen(0));
    }
    // the next one is a new refund under a new number
    let next = merchant.refund("REFUSED-1", 1_000).await;
    shop.until(next.refund_id(), "succeeded").await;
    shop.close().await;
}

#[tokio::test]
async fn a_preview_says_what_would_happen_and_does_nothing() {
    let shop = Shop::new().order(WECHAT, "PREVIEW-1", 1_000).open().await;
    let merchant = shop.merchant();
    let preview = |amount| {
        let refund = json!({ "order_no": "PREVIEW-1", "amount": fen(amount) });
        merchant.post("/v1/refunds/preview").json(&refund).send()
    };
    let allowed = preview(300).await;
    allowed.assert_status(200);
    assert_eq!(allowed.body["decision"], "allowed");
    assert_eq!(allowed.body["reasons"], json!([]));
    assert_eq!((&allowed.body["amount"], &allowed.body["refundable_after"]), (&fen(300), &fen(700)));
    let refused = preview(1_001).await;
    refused.assert_status(200);
    assert_eq!(refused.body["decision"], "refused");
    assert_eq!(refused.body["reasons"][0]["code"], "amount_exceeds_refundable");
    assert_eq!(merchant.order(WECHAT, "PREVIEW-1").await["refundable"], fen(1_000));
    assert!(merchant.all("/v1/refunds").await.is_empty());
    shop.close().await;
}

/// Where the policy wants a person behind a terminal's refund, the PIN is checked and the person is named.
#[tokio::test]
async fn a_person_with_a_pin_stands_behind_a_terminals_refund() {
    let shop = Shop::new().setting("policy.operator", "terminal").order(ALIPAY, "PERSON-001", 600).open().await;
    shop.add_operator("li", "cashier", "246810");
    let frame = shop.sandbox().bill_code(ALIPAY, "PERSON-001").await;
    let unnamed = json!({ "amount": fen(100), "reason": "quality" });
    shop.terminal().refund_with_frames(&unnamed, &[&frame]).send().await.assert(422, "validation_failed");
    let named = json!({ "amount": fen(100), "reason": "quality", "operator_id": "li", "operator_pin": "246810" });
    let answer = shop.terminal().refund_with_frames(&named, &[&frame]).send().await;
    answer.assert(201, "succeeded");
    assert_eq!(answer.body["operator_id"], "li");
    assert_eq!(answer.body["timeline"][0]["by"], "operator:li");
    shop.merchant().refund("PERSON-001", 100).await.assert(201, "succeeded"); // the rule is for terminals
    shop.close().await;
}

#[tokio::test]
async fn lists_are_filtered_and_read_page_by_page() {
    let shop = Shop::new().order(ALIPAY, "LIST-0001", 1_000).order(ALIPAY, "LIST-0002", 1_000).open().await;
    let merchant = shop.merchant();
    let mut made = Vec::new();
    for (number, amount) in [("LIST-0001", 100), ("LIST-0001", 200), ("LIST-0001", 300), ("LIST-0002", 400)] {
        let answer = merchant.refund(number, amount).await;
        shop.until(answer.refund_id(), "succeeded").await;
        made.push(answer.refund_id().to_owned());
    }
    made.reverse(); // newest first
    let ids = |items: &[serde_json::Value]| -> Vec<String> {
        items.iter().map(|refund| refund["refund_id"].as_str().unwrap().to_owned()).collect()
    };
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = merchant.get(&format!("/v1/refunds?limit=3{cursor}")).await;
        let items = page.body["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        seen.extend(ids(items));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
    assert_eq!(merchant.get("/v1/refunds?order_no=LIST-0002").await.body["items"][0]["refund_id"], *made[0]);
    assert_eq!(ids(merchant.get("/v1/refunds?state=succeeded").await.body["items"].as_array().unwrap()), made);
    for none in ["state=failed", "attention=true", "order_no=LIST-9999", "to=2020-01-01T00:00:00Z"] {
        assert_eq!(merchant.get(&format!("/v1/refunds?{none}")).await.body["items"], json!([]), "{none}");
    }
    for (query, count) in
        [("wallet=alipay", 2), ("wallet=wechat", 0), ("state=partially_refunded", 2), ("state=paid", 0)]
    {
        let orders = merchant.get(&format!("/v1/orders?{query}")).await;
        assert_eq!(orders.body["items"].as_array().unwrap().len(), count, "{query}");
    }
    for wrong in ["limit=0", "limit=201", "limit=x", "state=gone", "from=yesterday", "nonsense=1"] {
        merchant.call(Method::GET, &format!("/v1/refunds?{wrong}")).send().await.assert(422, "validation_failed");
    }
    shop.close().await;
}

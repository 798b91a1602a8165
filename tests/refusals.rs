//! Every refusal of the code table (contract §3): its exact status and code, its words in both languages, and that orders,
//! refunds and reservations are as they were (contract §4 rule 11).

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{ALIPAY, Answer, Call, PATIENCE, POLL, Shop, WECHAT, fen, fresh_key, pictures};

/// Everything that a refusal must leave as it was.
async fn world(shop: &Shop) -> (Vec<Value>, Vec<Value>) {
    let merchant = shop.merchant();
    (merchant.all("/v1/orders").await, merchant.all("/v1/refunds").await)
}

/// RFC 9457 with what contract §3 adds to it.
fn is_a_problem(answer: &Answer, status: u16, code: &str, language: &str) {
    answer.assert(status, code);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("content-language"), language);
    let text = |name: &str| {
        let text = answer.body[name].as_str().unwrap_or_else(|| panic!("{code} has no {name}: {}", answer.text));
        assert!(!text.is_empty(), "{code}: {name} is empty");
        text
    };
    assert!(text("type").ends_with(code), "{}", answer.text);
    assert_eq!(answer.body["status"], status);
    assert_eq!(text("instance"), answer.header("x-request-id"));
    for words in ["title", "detail", "action"] {
        // Chinese speaks Chinese, though numbers and field names stay as they are
        let is_chinese = text(words).chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
        assert_eq!(is_chinese, language == "zh-CN" && !text(words).is_ascii(), "{code} {words}: {}", text(words));
    }
    assert!(language == "en" || !text("title").is_ascii(), "{code} has no Chinese title: {}", answer.text);
    let retryable = answer.body["retryable"].as_bool().unwrap();
    assert_eq!(retryable, !answer.header("retry-after").is_empty(), "{code}: retryable goes with Retry-After");
    assert!(retryable || !matches!(status, 429 | 503), "{code} can be tried again");
}

/// The call is refused so, in both languages, and nothing changes.
async fn refused(shop: &Shop, status: u16, code: &str, call: Call) -> Answer {
    let before = world(shop).await;
    let english = call.clone().language("en").send().await;
    is_a_problem(&english, status, code, "en");
    let chinese = call.language("zh-CN,zh;q=0.9,en;q=0.1").send().await;
    is_a_problem(&chinese, status, code, "zh-CN");
    assert_ne!(english.body["instance"], chinese.body["instance"], "each request has a number of its own");
    assert_eq!(world(shop).await, before, "{code} changed something");
    english
}

fn wish(order_no: &str) -> Value {
    json!({ "order_no": order_no, "amount": fen(100), "reason": "quality" })
}

fn with(mut wish: Value, name: &str, value: Value) -> Value {
    wish[name] = value;
    wish
}

#[tokio::test]
async fn orders_and_amounts_are_refused_by_name() {
    let shop = Shop::new().order(WECHAT, "ROW-000001", 1_000).open().await;
    let (merchant, sandbox) = (shop.merchant(), shop.sandbox());
    for wallet in [WECHAT, ALIPAY] {
        sandbox.pay(wallet, "ROW-TWICE1", 1_000).await;
        merchant.order(wallet, "ROW-TWICE1").await;
    }
    sandbox
        .order(json!({ "wallet": ALIPAY, "out_trade_no": "ROW-CLOSED", "amount_fen": 1_000, "state": "closed" }))
        .await;
    let old = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * 370);
    let old =
        json!({ "wallet": WECHAT, "out_trade_no": "ROW-OLD001", "amount_fen": 1_000, "paid_at": old.to_string() });
    sandbox.order(old).await;
    let elsewhere =
        json!({ "wallet": WECHAT, "out_trade_no": "ROW-ELSE01", "amount_fen": 1_000, "state": "partially_refunded" });
    sandbox.order(elsewhere).await;
    sandbox.pay(WECHAT, "ROW-MISMAT", 1_000).await;
    merchant.register(WECHAT, "ROW-MISMAT", 900).await.assert(201, "paid");
    sandbox.pay(ALIPAY, "ROW-FROZEN", 1_000).await;
    for (wallet, number) in
        [(WECHAT, "ROW-000001"), (ALIPAY, "ROW-CLOSED"), (WECHAT, "ROW-OLD001"), (WECHAT, "ROW-ELSE01")]
    {
        merchant.order(wallet, number).await;
    }
    merchant.order(ALIPAY, "ROW-FROZEN").await;
    shop.store.execute("UPDATE orders SET frozen = 1 WHERE order_no = 'ROW-FROZEN'").await;

    let refund = |wish: &Value| merchant.refund_call(&fresh_key(), wish);
    refused(&shop, 404, "order_not_found", refund(&wish("ROW-NOBODY"))).await;
    refused(&shop, 404, "order_not_found", merchant.call(Method::GET, "/v1/orders/ROW-NOBODY")).await;
    refused(
        &shop,
        404,
        "refund_not_found",
        merchant.call(Method::GET, "/v1/refunds/0192f0c1-d2e3-7a4b-8c5d-6e7f80910213"),
    )
    .await;
    refused(&shop, 404, "refund_not_found", merchant.call(Method::GET, "/v1/refunds/no-uuid")).await;
    let closed = refused(&shop, 409, "order_not_refundable", refund(&wish("ROW-CLOSED"))).await;
    assert!(closed.str("detail").contains("closed"));
    refused(&shop, 409, "order_ambiguous", refund(&wish("ROW-TWICE1"))).await;
    refused(&shop, 409, "order_mismatch", refund(&wish("ROW-MISMAT"))).await;
    refused(&shop, 409, "order_frozen", refund(&wish("ROW-FROZEN"))).await;
    refused(&shop, 409, "refund_window_passed", refund(&wish("ROW-OLD001"))).await;
    refused(&shop, 409, "policy_refused", refund(&wish("ROW-ELSE01"))).await;
    let order = json!({
        "order_no": "ROW-MISMAT", "wallet": WECHAT, "amount": fen(901), "paid_at": "2026-07-01T10:00:00+08:00",
        "kind": "sale",
    });
    refused(&shop, 409, "order_conflict", merchant.post("/v1/orders").json(&order)).await;
    let over =
        refused(&shop, 409, "amount_exceeds_refundable", refund(&with(wish("ROW-000001"), "amount", fen(1_001)))).await;
    assert_eq!(over.body["refundable"], fen(1_000));
    let stale = with(wish("ROW-000001"), "expected_refundable", fen(999));
    let stale = refused(&shop, 412, "refundable_changed", refund(&stale)).await;
    assert_eq!(stale.body["refundable"], fen(1_000));
    for field in ["amount", "expected_refundable"] {
        let dollars = with(wish("ROW-000001"), field, json!({ "value": 100, "currency": "USD" }));
        refused(&shop, 422, "currency_mismatch", refund(&dollars)).await;
    }
    shop.store.execute("UPDATE orders SET frozen = 0 WHERE order_no = 'ROW-FROZEN'").await;
    shop.close().await;
}

#[tokio::test]
async fn scans_are_refused_by_name() {
    let shop = Shop::new()
        .order(WECHAT, "SCAN-00001", 1_000)
        .order(ALIPAY, "SCAN-00002", 1_000)
        .order(WECHAT, "SCAN-00003", 1_000)
        .open()
        .await;
    let (merchant, terminal, sandbox) = (shop.merchant(), shop.terminal(), shop.sandbox());
    for (wallet, number) in [(WECHAT, "SCAN-00001"), (ALIPAY, "SCAN-00002"), (WECHAT, "SCAN-00003")] {
        merchant.order(wallet, number).await;
    }
    let scan = |frame: Vec<u8>| terminal.post("/v1/scans").body("image/png", frame);
    for (luma, measured) in [(0, "dark"), (255, "glare")] {
        let answer = refused(&shop, 422, "frame_unreadable", scan(pictures::shade(luma))).await;
        assert!(answer.str("detail").contains(measured), "{}", answer.text);
    }
    refused(&shop, 422, "frame_unreadable", scan(b"this is no image".to_vec())).await;
    refused(&shop, 413, "frame_too_large", scan(pictures::bomb(4_100, 3_000))).await;
    refused(&shop, 422, "code_not_recognised", scan(pictures::codes(&["https://example.com/a-poster"]))).await;
    // the frequent mistakes are named
    for text in ["wxp://f2f0AbCdEf", "https://qr.alipay.com/fkx12345", "6226580012345678901"] {
        refused(&shop, 422, "code_not_recognised", scan(pictures::codes(&[text]))).await;
    }
    let two = pictures::codes(&["134567890123456789", "287368233638646475"]);
    refused(&shop, 422, "code_ambiguous", scan(two)).await;

    let refund = |wish: Value, frame: &[u8]| terminal.refund_with_frames(&wish, &[frame]);
    let alipay_code = sandbox.payment_code(ALIPAY, "SCAN-00002").await;
    refused(&shop, 422, "wallet_mismatch", refund(wish("SCAN-00001"), &alipay_code)).await;
    let bill = sandbox.bill_code(WECHAT, "SCAN-00003").await;
    refused(&shop, 422, "scan_order_mismatch", refund(wish("SCAN-00001"), &bill)).await;
    let no_order = json!({ "reason": "quality" });
    let required = refused(&shop, 422, "order_required", refund(no_order, &alipay_code)).await;
    assert!(required.body["orders"].is_array(), "{}", required.text);
    refused(&shop, 422, "scan_required", terminal.refund_call(&fresh_key(), &wish("SCAN-00001"))).await;

    let scanned = terminal.scan(&sandbox.payment_code(WECHAT, "SCAN-00001").await).await;
    let used = with(wish("SCAN-00001"), "scan_id", scanned.body["scan_id"].clone());
    // one terminal's scan is none of another's
    let other = shop.with_token(&shop.make_token("terminal", "demo", "till-2"));
    refused(&shop, 422, "scan_required", other.refund_call(&fresh_key(), &used)).await;
    let first = terminal.refund_call(&fresh_key(), &used).send().await;
    shop.until(first.refund_id(), "succeeded").await;
    refused(&shop, 422, "scan_used", terminal.refund_call(&fresh_key(), &used)).await;
    shop.close().await;
}

#[tokio::test]
async fn a_scan_that_is_too_old_is_refused() {
    let shop = Shop::new().setting("policy.scan_max_age_s", 1).order(WECHAT, "SCAN-00004", 1_000).open().await;
    let terminal = shop.terminal();
    let scanned = terminal.scan(&shop.sandbox().bill_code(WECHAT, "SCAN-00004").await).await;
    let old = with(wish("SCAN-00004"), "scan_id", scanned.body["scan_id"].clone());
    let began = std::time::Instant::now();
    // a preview looks at the scan and doesn't use it up
    while terminal.post("/v1/refunds/preview").json(&old).send().await.status == 200 {
        assert!(began.elapsed() < PATIENCE, "the scan does not age");
        tokio::time::sleep(POLL).await;
    }
    refused(&shop, 422, "scan_expired", terminal.refund_call(&fresh_key(), &old)).await;
    shop.close().await;
}

#[tokio::test]
async fn the_policy_may_want_whole_orders_and_notes() {
    let shop = Shop::new()
        .setting("policy.partial_refunds", false)
        .setting("policy.require_note", true)
        .order(ALIPAY, "WHOLE-0001", 1_000)
        .open()
        .await;
    let merchant = shop.merchant();
    merchant.order(ALIPAY, "WHOLE-0001").await;
    let refund = |wish: Value| merchant.refund_call(&fresh_key(), &wish);
    refused(&shop, 422, "validation_failed", refund(wish("WHOLE-0001"))).await;
    let noted = with(wish("WHOLE-0001"), "note", json!("broken"));
    refused(&shop, 409, "partial_refund_not_allowed", refund(noted.clone())).await;
    refund(with(noted, "amount", fen(1_000))).send().await.assert(201, "succeeded");
    shop.close().await;
}

#[tokio::test]
async fn people_are_refused_by_name_and_five_wrong_pins_lock() {
    let shop = Shop::new().setting("policy.operator", "always").order(ALIPAY, "PIN-000001", 1_000).open().await;
    shop.add_operator("li", "cashier", "246810");
    shop.add_operator("wang", "manager", "135791");
    shop.plant("999999");
    let merchant = shop.merchant();
    merchant.order(ALIPAY, "PIN-000001").await;
    let refund = |id: &str, pin: &str| {
        let named = with(wish("PIN-000001"), "operator_id", json!(id));
        merchant.refund_call(&fresh_key(), &with(named, "operator_pin", json!(pin)))
    };
    refused(&shop, 422, "validation_failed", merchant.refund_call(&fresh_key(), &wish("PIN-000001"))).await;
    refused(&shop, 422, "validation_failed", refund("li", "12345")).await;
    refused(&shop, 403, "operator_unknown", refund("nobody", "246810")).await;
    refused(&shop, 403, "pin_wrong", refund("li", "999999")).await; // twice
    refund("li", "246810").send().await.assert(201, "succeeded"); // a right one forgets the wrong ones
    for _ in 0..2 {
        refused(&shop, 403, "pin_wrong", refund("li", "999999")).await;
    }
    refund("li", "999999").send().await.assert(423, "operator_locked");
    refused(&shop, 423, "operator_locked", refund("li", "246810")).await; // the right PIN is no help now
    let other = refund("wang", "135791").send().await; // and nobody else is locked
    shop.until(other.refund_id(), "succeeded").await;
    shop.close().await;
}

#[tokio::test]
async fn keys_are_refused_by_name() {
    let shop = Shop::new().order(ALIPAY, "KEY-000001", 1_000).open().await;
    let merchant = shop.merchant();
    merchant.order(ALIPAY, "KEY-000001").await;
    let bare = merchant.post("/v1/refunds").json(&wish("KEY-000001"));
    refused(&shop, 400, "idempotency_key_missing", bare.clone()).await;
    for key in ["", "\"\"", "with space", "\"unfinished", "键", &"k".repeat(256)] {
        refused(&shop, 400, "idempotency_key_missing", bare.clone().key(key)).await;
    }
    refused(&shop, 400, "idempotency_key_missing", bare.clone().key("one").key("two")).await;
    let used = fresh_key();
    let first = bare.clone().key(&used).send().await;
    first.assert(201, "succeeded");
    let other = with(wish("KEY-000001"), "amount", fen(101));
    refused(&shop, 422, "idempotency_key_reused", merchant.refund_call(&used, &other)).await;
    // the longest key is a key
    let longest = bare.key(&format!("{}{}", fresh_key(), "k".repeat(255 - 36))).send().await;
    shop.until(longest.refund_id(), "succeeded").await;
    shop.close().await;
}

#[tokio::test]
async fn a_key_that_is_being_worked_on_is_refused_for_now() {
    let shop = Shop::new().order(ALIPAY, "KEY-000002", 1_000).open().await;
    let merchant = shop.merchant();
    merchant.order(ALIPAY, "KEY-000002").await;
    let slow = json!({ "wallet": ALIPAY, "operation": "refund", "kind": "slow", "times": 1, "delay_ms": 2500 });
    shop.sandbox().fault_with(slow).await;
    let call = merchant.refund_call(&fresh_key(), &wish("KEY-000002"));
    let first = tokio::spawn(call.clone().send());
    shop.sandbox().until_taken(ALIPAY, "KEY-000002").await;
    refused(&shop, 409, "request_in_progress", call).await;
    first.await.unwrap().assert(201, "succeeded");
    shop.close().await;
}

#[tokio::test]
async fn callers_are_refused_by_name() {
    let shop = Shop::new().order(ALIPAY, "CALLER-001", 1_000).open().await;
    let auditor = shop.caller("auditor", "demo");
    let stranger = shop.stranger();
    for (name, value) in [
        ("x-nothing", "x"),
        ("authorization", "Bearer"),
        ("authorization", "Bearer "),
        ("authorization", "Bearer sb_not_a_token_of_ours"),
        ("authorization", "Basic dXNlcjpwYXNz"),
    ] {
        let call = stranger.call(Method::GET, "/v1/orders").header(name, value);
        let answer = refused(&shop, 401, "unauthenticated", call).await;
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    refused(&shop, 403, "forbidden", auditor.refund_call(&fresh_key(), &wish("CALLER-001"))).await;
    let text = "no JSON at all";
    refused(&shop, 400, "malformed_request", shop.merchant().post("/v1/orders").body("application/json", text)).await;
    refused(&shop, 404, "not_found", shop.merchant().call(Method::GET, "/v1/nothing-here")).await;
    refused(&shop, 405, "method_not_allowed", shop.merchant().call(Method::PUT, "/v1/refunds")).await;
    let long = format!("{{\"note\":\"{}\"}}", "x".repeat(70_000));
    refused(&shop, 413, "body_too_large", shop.merchant().post("/v1/refunds").body("application/json", long)).await;
    for path in ["/v1/refunds", "/v1/orders", "/v1/webhook-endpoints", "/v1/scans"] {
        let call = shop.merchant().post(path).key(&fresh_key()).body("text/csv", "a,b");
        refused(&shop, 415, "unsupported_media_type", call).await;
    }
    shop.close().await;
}

/// A token that calls too often is told when to come back, and no other token suffers for it.
#[tokio::test]
async fn a_token_that_calls_too_often_is_told_to_wait() {
    let shop = Shop::new().setting("limits.requests_per_second", 3).open().await;
    let busy = shop.caller("auditor", "demo");
    let answers = join_all((0..12).map(|_| busy.get("/v1/orders"))).await;
    let limited: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!(limited.len() >= 6 && limited.len() < 12, "{} of 12 were refused", limited.len());
    for answer in limited {
        is_a_problem(answer, 429, "rate_limited", "en");
    }
    shop.terminal().get("/v1/orders").await.assert_status(200);
    // it is let in again, in a while
    let began = std::time::Instant::now();
    while busy.get("/v1/orders").await.status != 200 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(POLL * 10).await;
    }
    shop.close().await;
}

/// More frames at once than may wait: some are read, the others are told to come back, and none is lost without a word.
#[tokio::test]
async fn more_frames_than_may_wait_are_refused_at_once() {
    let shop = Shop::new().setting("limits.requests_per_second", 1_000).open().await;
    let terminal = shop.terminal();
    let frame = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/frames/no-code-480.jpg")).unwrap();
    let answers = join_all((0..60).map(|_| terminal.scan(&frame))).await;
    let overloaded: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!overloaded.is_empty(), "all 60 frames were taken");
    for answer in overloaded {
        is_a_problem(answer, 503, "overloaded", "en");
    }
    let read = answers.iter().filter(|answer| answer.status == 422).count();
    assert!(read > 0 && answers.iter().all(|answer| matches!(answer.status, 422 | 503)));
    shop.close().await;
}

/// A wallet that can't be asked: nothing was reserved, and the same key may come again.
#[tokio::test]
async fn a_wallet_that_can_not_be_asked_is_said_to_be_unavailable() {
    let mut shop = Shop::new().order(ALIPAY, "WALLET-001", 1_000).open().await;
    let (merchant, key) = (shop.merchant(), fresh_key());
    merchant.register(ALIPAY, "WALLET-001", 1_000).await.assert(201, "paid");
    for kind in ["http_500", "bad_signature", "garbage_body", "system_error"] {
        for _ in 0..2 {
            shop.sandbox().fault(ALIPAY, "query_order", kind).await;
        }
        refused(&shop, 503, "wallet_unavailable", merchant.refund_call(&key, &wish("WALLET-001"))).await;
    }
    merchant.refund_call(&key, &wish("WALLET-001")).send().await.assert(201, "succeeded");
    shop.until_settled(0).await;
    shop.sandbox_mut().kill();
    refused(&shop, 503, "wallet_unavailable", merchant.refund_call(&fresh_key(), &wish("WALLET-002"))).await;
    refused(&shop, 503, "wallet_unavailable", merchant.call(Method::GET, "/v1/orders/WALLET-002")).await;
    shop.close_without_wallets().await;
}

/// Of several things that are wrong, the one that is checked first is said (contract §3: "checks run in this order").
#[tokio::test]
async fn checks_run_in_the_order_of_the_contract() {
    let shop = Shop::new().order(WECHAT, "CHECK-0001", 1_000).order(ALIPAY, "CHECK-0002", 1_000).open().await;
    let (merchant, terminal, sandbox) = (shop.merchant(), shop.terminal(), shop.sandbox());
    for (wallet, number) in [(WECHAT, "CHECK-0001"), (ALIPAY, "CHECK-0002")] {
        merchant.order(wallet, number).await;
    }
    sandbox
        .order(json!({ "wallet": ALIPAY, "out_trade_no": "CHECK-0003", "amount_fen": 1_000, "state": "closed" }))
        .await;
    merchant.order(ALIPAY, "CHECK-0003").await;
    let auditor = shop.caller("auditor", "demo");

    // 401, 403 before anything of the body
    refused(&shop, 401, "unauthenticated", shop.stranger().post("/v1/refunds").body("text/csv", "{")).await;
    refused(&shop, 403, "forbidden", auditor.post("/v1/refunds").body("text/csv", "{")).await;
    refused(&shop, 403, "forbidden", auditor.post("/v1/refunds").body("application/json", "{")).await;
    // 400, 413, 415 before the shape and the key
    let broken = merchant.post("/v1/refunds").body("application/json", "{\"reason\":\"nonsense\",");
    refused(&shop, 400, "malformed_request", broken).await;
    let other_type = merchant.post("/v1/refunds").body("application/xml", "{\"reason\":\"nonsense\"}");
    refused(&shop, 415, "unsupported_media_type", other_type).await;
    let large = format!("{{\"reason\":\"nonsense\",\"note\":\"{}\"}}", "x".repeat(70_000));
    refused(&shop, 413, "body_too_large", merchant.post("/v1/refunds").body("application/json", large)).await;
    // the shape before the key
    let shapeless = with(wish("CHECK-0001"), "reason", json!("nonsense"));
    refused(&shop, 422, "validation_failed", merchant.post("/v1/refunds").json(&shapeless)).await;
    // the key before the scan
    refused(&shop, 400, "idempotency_key_missing", terminal.post("/v1/refunds").json(&wish("CHECK-0001"))).await;
    let frame = sandbox.payment_code(ALIPAY, "CHECK-0002").await;
    let scanned = terminal.scan(&frame).await;
    let used = with(wish("CHECK-0002"), "scan_id", scanned.body["scan_id"].clone());
    let key = fresh_key();
    let first = terminal.refund_call(&key, &used).send().await;
    shop.until(first.refund_id(), "succeeded").await;
    refused(&shop, 422, "idempotency_key_reused", terminal.refund_call(&key, &wish("CHECK-9999"))).await;
    // the scan before the order
    refused(&shop, 422, "scan_required", terminal.refund_call(&fresh_key(), &wish("CHECK-9999"))).await;
    let used_elsewhere = with(used, "order_no", json!("CHECK-9999"));
    refused(&shop, 422, "scan_used", terminal.refund_call(&fresh_key(), &used_elsewhere)).await;
    // the order before the currency
    let dollars = json!({ "value": 100, "currency": "USD" });
    let unknown = with(wish("CHECK-9999"), "amount", dollars.clone());
    refused(&shop, 404, "order_not_found", merchant.refund_call(&fresh_key(), &unknown)).await;
    // the currency before 412
    let stale = with(wish("CHECK-0001"), "expected_refundable", fen(1));
    let stale_dollars = with(stale.clone(), "amount", dollars);
    refused(&shop, 422, "currency_mismatch", merchant.refund_call(&fresh_key(), &stale_dollars)).await;
    // 412 before the 409 rules
    let stale_and_over = with(stale, "amount", fen(5_000));
    refused(&shop, 412, "refundable_changed", merchant.refund_call(&fresh_key(), &stale_and_over)).await;
    let stale_and_closed = with(wish("CHECK-0003"), "expected_refundable", fen(1));
    refused(&shop, 412, "refundable_changed", merchant.refund_call(&fresh_key(), &stale_and_closed)).await;
    // the amount last
    let over_and_closed = with(wish("CHECK-0003"), "amount", fen(5_000));
    refused(&shop, 409, "order_not_refundable", merchant.refund_call(&fresh_key(), &over_and_closed)).await;
    shop.close().await;
}

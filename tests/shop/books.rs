//! The comparison at the end of each test: our ledger and the wallets' own books say the same, and no secret lies about.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;
use serde_json::Value;

use super::{Caller, Sandbox, Shop, Store};

/// Compares every order of every merchant.
pub(crate) async fn compare(shop: &Shop) {
    for (sandbox, merchant) in shop.sandboxes.iter().zip(["demo", "other"]) {
        one_merchant(&shop.caller("merchant", merchant), sandbox).await;
    }
}

async fn one_merchant(caller: &Caller, sandbox: &Sandbox) {
    let ledger = sandbox.ledger().await;
    assert_eq!(ledger["violations"], serde_json::json!([]), "the wallet's books hold violations");

    let mut ours: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for refund in caller.all("/v1/refunds").await {
        ours.entry((text(&refund, "wallet"), text(&refund, "order_no"))).or_default().push(refund);
    }
    let orders = caller.all("/v1/orders").await;
    for order in &orders {
        let refunds = ours.remove(&(text(order, "wallet"), text(order, "order_no"))).unwrap_or_default();
        adds_up(order, &refunds);
        let (wallet, number) = (text(order, "wallet"), text(order, "order_no"));
        if sandbox.orders().contains(&(wallet.clone(), number.clone())) {
            agrees(&refunds, &sandbox.books_of(&wallet, &number).await);
        } else {
            assert!(refunds.iter().all(|refund| refund["state"] == "failed"), "a refund of an order nobody paid");
        }
    }
    assert!(ours.is_empty(), "refunds without an order: {ours:#?}");
    // what the wallets refunded of orders that we don't know, nobody here asked for
    for (wallet, number) in sandbox.orders() {
        let known = orders.iter().any(|order| text(order, "wallet") == wallet && text(order, "order_no") == number);
        if !known {
            let (_, paid) = sandbox.paid_back(&wallet, &number).await;
            assert!(paid.is_empty(), "{wallet} {number} was refunded, and is not in our ledger");
        }
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap().to_owned()
}

fn fen_of(value: &Value, name: &str) -> i64 {
    value[name]["value"].as_i64().unwrap()
}

/// Contract §3 and §4 rule 1, from our own answers.
fn adds_up(order: &Value, refunds: &[Value]) {
    let [amount, refunded, reserved, fees, left] =
        ["amount", "refunded", "reserved", "fees", "refundable"].map(|name| fen_of(order, name));
    assert!(refunded + reserved + fees <= amount && left == amount - refunded - reserved - fees, "{order:#}");
    let sum = |states: &[&str]| -> i64 {
        let those = refunds.iter().filter(|refund| states.contains(&refund["state"].as_str().unwrap()));
        those.map(|refund| fen_of(refund, "amount")).sum()
    };
    let overpaid = order["overpaid"]["value"].as_i64().unwrap_or(0);
    assert_eq!(refunded + overpaid, sum(&["succeeded"]), "refunded is what succeeded: {order:#} {refunds:#?}");
    let held = sum(&["awaiting_approval", "submitting", "processing", "abnormal"]);
    assert_eq!(reserved, held, "reserved is what is open: {order:#} {refunds:#?}");
}

/// Each refund of ours against the wallet's record of its number, and none of theirs that isn't ours.
fn agrees(ours: &[Value], books: &Value) {
    let mut theirs: BTreeMap<String, &Value> = BTreeMap::new();
    let by_hand = |refund: &Value| text(refund, "out_refund_no").starts_with("console");
    let sum = |refunds: Vec<&Value>, amount: fn(&Value) -> i64| -> i64 { refunds.into_iter().map(amount).sum() };
    // made by hand at the wallet: where one of these was found, all were
    let found: Vec<&Value> = ours.iter().filter(|refund| refund["origin"] == "external").collect();
    if !found.is_empty() {
        let theirs = books["refunds"].as_array().unwrap().iter().filter(|refund| by_hand(refund)).collect();
        let (here, there) =
            (sum(found, |refund| fen_of(refund, "amount")), sum(theirs, |r| r["amount_fen"].as_i64().unwrap()));
        assert_eq!(here, there, "what was found elsewhere is what was made there: {ours:#?} {books:#}");
    }
    for refund in books["refunds"].as_array().unwrap() {
        if by_hand(refund) {
            continue;
        }
        assert!(refund["times_paid"].as_i64().unwrap() <= 1, "paid more than once: {refund:#}");
        theirs.insert(text(refund, "out_refund_no"), refund);
    }
    for refund in ours.iter().filter(|refund| refund["origin"] == "desk") {
        let record = theirs.remove(&text(refund, "wallet_request_no"));
        let status = record.map_or("none", |record| record["status"].as_str().unwrap());
        let state = refund["state"].as_str().unwrap();
        let fits = match state {
            "succeeded" => status == "SUCCESS",
            "failed" => matches!(status, "none" | "CLOSED"),
            "processing" => status == "PROCESSING",
            "abnormal" => status == "ABNORMAL",
            "declined" | "cancelled" | "awaiting_approval" => status == "none",
            _ => true, // submitting: nobody knows yet
        };
        assert!(fits, "we say {state}, the wallet {status}: {refund:#}");
        if let Some(record) = record {
            assert_eq!(record["amount_fen"], refund["amount"]["value"], "{refund:#}");
        }
    }
    assert!(theirs.is_empty(), "the wallet has refunds that we don't: {theirs:#?}");
}

/// Contract §4 rule 11: in no log, and in no table.
pub(crate) fn no_secret_is_anywhere(shop: &Shop) {
    let mut secrets = shop.secrets.lock().unwrap().clone();
    secrets.extend(shop.sandboxes.iter().flat_map(Sandbox::secrets));
    let log = shop.log();
    let stored = shop.store.bytes();
    assert!(matches!(shop.store, Store::Postgres { .. }) || !stored.is_empty());
    secrets.retain(|secret| !secret.is_empty());
    let any = AhoCorasick::new(&secrets).unwrap(); // a shop under load has thousands
    for (place, text) in [("the log", log.as_bytes()), ("the database", &stored)] {
        if let Some(found) = any.find(text) {
            let secret = &secrets[found.pattern().as_usize()];
            panic!("{place} holds a secret in the clear: {}…", &secret[..secret.len().min(6)]);
        }
    }
}

//! Who may what: a stranger nothing, a token what its role says, and of its own merchant alone (contract §3).

use std::{collections::BTreeSet, time::Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{ALIPAY, Answer, Call, Caller, PATIENCE, POLL, Shop, WECHAT, fen, fresh_key};

/// What is open to all; everything else needs a token. Whoever adds a path decides here.
const OPEN: [&str; 4] = ["/healthz", "/readyz", "/notify/wechat/{merchant_id}", "/notify/alipay/{merchant_id}"];
const ROLES: [&str; 4] = ["terminal", "merchant", "auditor", "admin"];

/// What each role may call: method, path as described, roles, and a body that the handler takes or refuses by its content.
fn permissions() -> Vec<(Method, &'static str, &'static [&'static str], Option<Value>)> {
    let all = ROLES.as_slice();
    let desk = ["terminal", "merchant"].as_slice();
    let merchant = ["merchant"].as_slice();
    let refund = || Some(json!({ "order_no": "NOBODYS-01", "reason": "other" }));
    vec![
        (Method::POST, "/v1/scans", desk, None),
        (Method::POST, "/v1/orders", merchant, Some(json!({}))),
        (Method::GET, "/v1/orders", all, None),
        (Method::GET, "/v1/orders/{order_no}", all, None),
        (Method::POST, "/v1/refunds", desk, refund()),
        (Method::GET, "/v1/refunds", all, None),
        (Method::POST, "/v1/refunds/preview", desk, refund()),
        (Method::GET, "/v1/refunds/{refund_id}", all, None),
        (Method::GET, "/v1/events", all, None),
        (Method::POST, "/v1/webhook-endpoints", merchant, Some(json!({}))),
        (Method::GET, "/v1/webhook-endpoints", merchant, None),
        (Method::DELETE, "/v1/webhook-endpoints/{id}", merchant, None),
        (Method::GET, "/metrics", all, None),
    ]
}

/// Every method and path of the API's description.
async fn described(shop: &Shop) -> BTreeSet<(String, String)> {
    let description = shop.stranger().get("/openapi.json").await;
    description.assert_status(200);
    let paths = description.body["paths"].as_object().unwrap();
    let calls = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys().filter(|name| *name != "parameters");
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    calls.collect()
}

/// A described path as it is called, with an id that could be one.
fn filled(path: &str) -> String {
    let Some((before, after)) = path.split_once('{') else { return path.to_owned() };
    let (_, after) = after.split_once('}').unwrap();
    format!("{before}0196d5a0-0000-7000-8000-000000000000{after}")
}

#[track_caller]
fn is_refused_unauthenticated(answer: &Answer) {
    answer.assert(401, "unauthenticated");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_eq!((&answer.body["status"], &answer.body["retryable"]), (&json!(401), &json!(false)));
    assert_eq!(answer.str("instance"), answer.header("x-request-id"));
    for text in ["type", "title", "detail", "action", "instance"] {
        assert!(!answer.str(text).is_empty(), "{text} is missing: {}", answer.text);
    }
}

/// Who calls with whatever stands in `authorization`.
fn with_authorization(shop: &Shop, authorization: &str) -> Call {
    shop.stranger().call(Method::GET, "/v1/refunds").header("authorization", authorization)
}

#[tokio::test]
async fn every_call_refuses_a_stranger() {
    let shop = Shop::new().open().await;
    let stranger = shop.stranger();
    let described = described(&shop).await;
    let mut guarded = 0;
    for (method, path) in &described {
        let method: Method = method.parse().unwrap();
        let answer = stranger.call(method.clone(), &filled(path)).send().await;
        if OPEN.contains(&path.as_str()) {
            assert_ne!(answer.str("code"), "unauthenticated", "{method} {path}");
            continue;
        }
        is_refused_unauthenticated(&answer);
        // whatever they send with it: who calls is asked first
        for body in [json!({}).to_string(), "no JSON".into(), "x".repeat(100_000)] {
            let call = stranger.call(method.clone(), &filled(path)).body("application/json", body);
            is_refused_unauthenticated(&call.send().await);
        }
        guarded += 1;
    }
    assert!(guarded >= 12, "the description was not read right: {described:?}");
    for open in OPEN {
        assert!(described.iter().any(|(_, path)| path == open), "{open} is not described");
    }
    shop.close().await;
}

#[tokio::test]
async fn what_is_open_is_open() {
    let shop = Shop::new().open().await;
    let stranger = shop.stranger();
    for (path, media_type) in [
        ("/healthz", "application/json"),
        ("/readyz", "application/json"),
        ("/openapi.json", "application/json"),
        ("/docs", "text/html"),
        ("/docs/", "text/html"),
    ] {
        let answer = stranger.get(path).await;
        answer.assert_status(200);
        assert!(answer.header("content-type").starts_with(media_type), "{path}: {}", answer.header("content-type"));
    }
    // open, and believed by its signature alone
    for wallet in [WECHAT, ALIPAY] {
        let forged = stranger.post(&format!("/notify/{wallet}/demo")).body("application/json", "{}").send().await;
        assert!(matches!(forged.status, 400 | 401), "{wallet}: {} {}", forged.status, forged.text);
        assert_ne!(forged.str("code"), "unauthenticated");
    }
    shop.close().await;
}

/// The sources say which paths there are; each is described, so the tests above see it.
#[tokio::test]
async fn every_path_is_described() {
    let shop = Shop::new().open().await;
    let described = described(&shop).await;
    let routes = include_str!("../src/http/routes.rs");
    let mut seen = 0;
    for route in routes.split("at(\"").skip(1) {
        let (path, rest) = route.split_once('"').unwrap();
        for method in rest.split("web::").skip(1).map(|rest| rest.split('(').next().unwrap()) {
            if !matches!(method, "get" | "post" | "put" | "patch" | "delete") {
                continue;
            }
            let call = (method.to_uppercase(), path.to_owned());
            assert!(
                described.contains(&call) || path == "/openapi.json" || path == "/docs",
                "{call:?} is not described"
            );
            seen += 1;
        }
    }
    assert!(seen >= 18, "the routes were not read right: {seen}");
    shop.close().await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_as_well() {
    let shop = Shop::new().open().await;
    for caller in [shop.stranger(), shop.merchant()] {
        for path in ["/", "/v1", "/v1/nothing", "/v1/refunds/", "/notify/paypal/demo"] {
            let answer = caller.get(path).await;
            answer.assert(404, "not_found");
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
        let answer = caller.call(Method::PUT, "/v1/refunds").send().await;
        answer.assert(405, "method_not_allowed");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    shop.close().await;
}

#[tokio::test]
async fn a_token_is_taken_as_it_is_and_in_no_other_way() {
    let shop = Shop::new().open().await;
    let token = shop.make_token("merchant", "demo", "back-office");
    for good in [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER  {token}")] {
        with_authorization(&shop, &good).send().await.assert_status(200);
    }
    let last = token.chars().next_back().unwrap();
    let other = if last == 'A' { 'B' } else { 'A' };
    for bad in [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        "Bearer unknown".into(),
        token.clone(),
        format!("Basic {token}"),
        format!("Token {token}"),
        format!("Bearer{token}"),
        format!("Bearer {token}x"),
        format!("Bearer {}", &token[1..]),
        format!("Bearer {}{other}", &token[..token.len() - 1]),
        format!("Bearer {}", token.to_uppercase()),
        format!("Bearer {token} {token}"),
        format!("Bearer {}", "x".repeat(8_000)),
        "Bearer ' OR 1=1 --".into(),
    ] {
        is_refused_unauthenticated(&with_authorization(&shop, &bad).send().await);
    }
    // in the query it would stand in every log
    is_refused_unauthenticated(&shop.stranger().get(&format!("/v1/refunds?access_token={token}")).await);
    shop.close().await;
}

#[tokio::test]
async fn a_revoked_token_ends_at_once() {
    let shop = Shop::new().open().await;
    let token = shop.make_token("merchant", "demo", "lost");
    let kept = shop.make_token("merchant", "demo", "kept");
    shop.with_token(&token).get("/v1/refunds").await.assert_status(200);
    let listed = shop.run(&["token", "list"], "");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let line = listed.lines().find(|line| line.contains(" lost ")).unwrap();
    assert!(shop.run(&["token", "revoke", line.split(' ').next().unwrap()], "").status.success());
    is_refused_unauthenticated(&shop.with_token(&token).get("/v1/refunds").await);
    shop.with_token(&kept).get("/v1/refunds").await.assert_status(200);
    shop.close().await;
}

/// Every guarded call by every role: what isn't allowed is 403, whatever is in the body, and changes nothing.
#[tokio::test]
async fn a_role_may_do_its_own_work_alone() {
    let shop = Shop::new().open().await;
    let described: BTreeSet<_> =
        described(&shop).await.into_iter().filter(|(_, path)| !OPEN.contains(&path.as_str())).collect();
    let permissions = permissions();
    let listed: BTreeSet<_> =
        permissions.iter().map(|(method, path, ..)| (method.to_string(), (*path).to_owned())).collect();
    assert_eq!(listed, described, "who may call what stands in this table");
    for (method, path, roles, body) in &permissions {
        for role in ROLES {
            let call = shop.caller(role, "demo").call(method.clone(), &filled(path)).key(&fresh_key());
            // no place to listen from: an allowed listener hears that, and not a stream that never ends
            let call = call.header("last-event-id", "none");
            let call = if let Some(body) = body { call.json(body) } else { call };
            let answer = call.send().await;
            if roles.contains(&role) {
                assert!(!matches!(answer.status, 401 | 403 | 500..), "{role}: {method} {path}: {}", answer.text);
            } else {
                answer.assert(403, "forbidden");
                assert_eq!(answer.header("content-type"), "application/problem+json");
            }
        }
    }
    shop.close().await;
}

/// The things of one merchant, and whoever looks for them.
struct Things {
    order_no: &'static str,
    transaction_id: String,
    refund_id: String,
    scan_id: String,
    endpoint_id: String,
}

/// An order with a refund, a scan and a webhook endpoint of merchant `demo`.
async fn things(shop: &Shop) -> Things {
    let order_no = "MINE-00001";
    let made = shop.sandbox().pay(ALIPAY, order_no, 5_000).await;
    let merchant = shop.merchant();
    let refund = merchant.refund(order_no, 1_000).await;
    refund.assert(201, "succeeded");
    let scan = merchant.scan(&shop.sandbox().bill_code(ALIPAY, order_no).await).await;
    scan.assert_status(201);
    let endpoint = json!({ "url": "https://shop.example/hook", "types": ["order.voided"] });
    let endpoint = merchant.post("/v1/webhook-endpoints").json(&endpoint).send().await;
    endpoint.assert_status(201);
    Things {
        order_no,
        transaction_id: made["transaction_id"].as_str().unwrap().to_owned(),
        refund_id: refund.refund_id().to_owned(),
        scan_id: scan.str("scan_id").to_owned(),
        endpoint_id: endpoint.str("id").to_owned(),
    }
}

/// Nothing of another merchant's is there: not by its number, not in a list, not by a scan.
async fn sees_nothing(caller: &Caller, things: &Things) {
    for number in [things.order_no, &things.transaction_id] {
        caller.get(&format!("/v1/orders/{number}")).await.assert(404, "order_not_found");
        caller.get(&format!("/v1/orders/{number}?wallet=alipay")).await.assert(404, "order_not_found");
    }
    caller.get(&format!("/v1/refunds/{}", things.refund_id)).await.assert(404, "refund_not_found");
    for list in ["/v1/orders", "/v1/refunds"] {
        assert_eq!(caller.all(list).await, Vec::<Value>::new(), "{list}");
    }
    let found = caller.get(&format!("/v1/refunds?order_no={}", things.order_no)).await;
    assert_eq!(found.body["items"], json!([]));
}

#[tokio::test]
async fn another_merchants_things_are_not_there() {
    let shop = Shop::new().with_second_merchant().open().await;
    let things = things(&shop).await;
    for role in ["merchant", "terminal", "auditor"] {
        sees_nothing(&shop.caller(role, "other"), &things).await;
    }
    let other = shop.caller("merchant", "other");
    // no refund of their order, and nothing by their scan
    for number in [things.order_no, &things.transaction_id] {
        other.refund(number, 1_000).await.assert(404, "order_not_found");
        let refund = json!({ "order_no": number, "reason": "other" });
        other.post("/v1/refunds/preview").json(&refund).send().await.assert(404, "order_not_found");
    }
    let refund = json!({ "scan_id": things.scan_id, "amount": fen(1_000), "reason": "other" });
    for role in ["merchant", "terminal"] {
        let answer = shop.caller(role, "other").refund_call(&fresh_key(), &refund).send().await;
        answer.assert(422, "scan_required");
    }
    // a scan of their bill shows a number, and no order
    let scan = other.scan(&shop.sandbox().bill_code(ALIPAY, things.order_no).await).await;
    scan.assert_status(201);
    assert_eq!((&scan.body["subject"]["kind"], scan.body["subject"].get("order")), (&json!("unknown"), None));
    // their endpoint is neither listed nor deleted
    assert_eq!(other.get("/v1/webhook-endpoints").await.body["items"], json!([]));
    let path = format!("/v1/webhook-endpoints/{}", things.endpoint_id);
    other.call(Method::DELETE, &path).send().await.assert(404, "not_found");
    let listed = shop.merchant().get("/v1/webhook-endpoints").await;
    assert_eq!(listed.body["items"][0]["id"], json!(things.endpoint_id));
    // and they have what they had
    assert_eq!(shop.merchant().order(ALIPAY, things.order_no).await["refundable"], fen(4_000));
    shop.close().await;
}

/// The same number at two merchants are two orders.
#[tokio::test]
async fn two_merchants_orders_of_one_number_are_two_orders() {
    let shop = Shop::new().with_second_merchant().order(ALIPAY, "SAME-NO-01", 5_000).open().await;
    shop.other_sandbox().pay(ALIPAY, "SAME-NO-01", 800).await;
    shop.merchant().refund("SAME-NO-01", 1_000).await.assert(201, "succeeded");
    let other = shop.caller("merchant", "other");
    assert_eq!(other.order(ALIPAY, "SAME-NO-01").await["refundable"], fen(800));
    let over = other.refund("SAME-NO-01", 1_000).await;
    over.assert(409, "amount_exceeds_refundable");
    assert_eq!(over.body["refundable"], fen(800));
    other.refund("SAME-NO-01", 800).await.assert(201, "succeeded");
    assert_eq!(shop.merchant().order(ALIPAY, "SAME-NO-01").await["refundable"], fen(4_000));
    shop.close().await;
}

#[tokio::test]
async fn an_admin_reads_every_merchants_things_and_changes_none() {
    let shop = Shop::new().with_second_merchant().open().await;
    let things = things(&shop).await;
    shop.other_sandbox().pay(WECHAT, "OTHERS-001", 900).await;
    let other = shop.caller("merchant", "other").refund("OTHERS-001", 900).await;
    shop.until_settled(0).await;
    let admin = shop.caller("admin", "demo");
    for refund_id in [&things.refund_id, other.refund_id()] {
        let refund = admin.get(&format!("/v1/refunds/{refund_id}")).await;
        refund.assert(200, "succeeded");
    }
    let numbers = |items: Vec<Value>| -> BTreeSet<String> {
        items.iter().map(|item| item["order_no"].as_str().unwrap().to_owned()).collect()
    };
    let both = BTreeSet::from([things.order_no.to_owned(), "OTHERS-001".to_owned()]);
    for list in ["/v1/orders", "/v1/refunds"] {
        assert_eq!(numbers(admin.all(list).await), both, "{list}");
    }
    for (number, merchant) in [(things.order_no, "demo"), ("OTHERS-001", "other")] {
        let order = admin.get(&format!("/v1/orders/{number}")).await;
        order.assert_status(200);
        assert_eq!(order.body["merchant_id"], merchant);
    }
    admin.refund(things.order_no, 1).await.assert(403, "forbidden");
    admin.register(ALIPAY, "ADMINS-001", 100).await.assert(403, "forbidden");
    // an auditor reads as much, of one merchant
    let auditor = shop.caller("auditor", "other");
    assert_eq!(numbers(auditor.all("/v1/orders").await), BTreeSet::from(["OTHERS-001".to_owned()]));
    shop.close().await;
}

/// One token a second too often: it is told when to come back, and nobody else feels it.
#[tokio::test]
async fn a_token_that_calls_too_often_is_told_when_to_come_back() {
    let mut shop = Shop::new().setting("limits.requests_per_second", 1).open().await;
    let (busy, calm) = (shop.make_token("merchant", "demo", "busy"), shop.make_token("merchant", "demo", "calm"));
    let busy = shop.with_token(&busy);
    let began = Instant::now();
    let refused = loop {
        let answer = busy.get("/v1/refunds").await;
        assert!(began.elapsed() < PATIENCE, "it may call as often as it likes");
        if answer.status != 200 {
            break answer;
        }
    };
    refused.assert(429, "rate_limited");
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert_eq!(refused.body["retryable"], true);
    shop.with_token(&calm).get("/v1/refunds").await.assert_status(200);
    for _ in 0..20 {
        shop.ready().await.assert_status(200);
        is_refused_unauthenticated(&shop.stranger().get("/v1/refunds").await);
    }
    // a refund that is refused so has not happened: the same key goes through later
    let (key, refund) = (fresh_key(), json!({ "order_no": "NOBODYS-01", "reason": "other" }));
    let began = Instant::now();
    while busy.refund_call(&key, &refund).send().await.status == 429 {
        assert!(began.elapsed() < PATIENCE, "it may never call again");
        tokio::time::sleep(POLL).await;
    }
    shop.set("limits.requests_per_second", 1_000); // the comparison of the books calls often
    shop.crash().await;
    shop.close().await;
}

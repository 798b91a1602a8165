//! Who may do what (contract §3, column "who"): no token, the wrong role, another merchant, an ended token.

use std::net::TcpListener;

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{ALIPAY, Caller, Shop, fen, fresh_key};

/// The methods that the description of the API can hold.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// Open to all (contract §3).
fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/openapi.json" | "/docs") || path.starts_with("/notify/")
}

/// Every (method, path) of the description, numbers filled in.
async fn routes(shop: &Shop) -> Vec<(Method, String)> {
    let document = shop.stranger().get("/openapi.json").await;
    document.assert_status(200);
    let mut routes = Vec::new();
    for (path, item) in document.body["paths"].as_object().unwrap() {
        let path = path.replace("{merchant_id}", "demo").replace("{order_no}", "STRANGE-01");
        let path = path.replace("{refund_id}", "0192f0c1-d2e3-7a4b-8c5d-6e7f80910213");
        let path = path.replace("{id}", "0192f0c1-d2e3-7a4b-8c5d-6e7f80910213");
        assert!(!path.contains('{'), "{path} has a parameter that this test doesn't know");
        for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
            routes.push((method.to_uppercase().parse().unwrap(), path.clone()));
        }
    }
    assert!(routes.len() >= 12, "{routes:?}");
    routes
}

#[tokio::test]
async fn every_route_but_the_open_ones_refuses_a_stranger() {
    let shop = Shop::new().order(ALIPAY, "STRANGE-01", 1_000).open().await;
    let ended = shop.make_token("merchant", "demo", "ended");
    revoke(&shop, "ended");
    let nobody =
        [shop.stranger(), shop.with_token("sb_merchant_0000000000000000000000000000"), shop.with_token(&ended)];
    for (method, path) in routes(&shop).await {
        for caller in &nobody {
            let call = caller.call(method.clone(), &path).key(&fresh_key()).json(&json!({}));
            let answer = call.send().await;
            if is_open(&path) {
                assert!(!path.starts_with("/v1/"), "{path} is open");
            } else {
                answer.assert(401, "unauthenticated");
            }
        }
    }
    for open in ["/healthz", "/readyz", "/openapi.json", "/docs/"] {
        shop.stranger().get(open).await.assert_status(200);
    }
    shop.close().await;
}

/// Ends the token of this name by the command line.
fn revoke(shop: &Shop, name: &str) {
    let list = shop.run(&["token", "list"], "");
    let list = String::from_utf8(list.stdout).unwrap();
    let line = list.lines().find(|line| line.split(' ').nth(3) == Some(name)).unwrap();
    let id = line.split(' ').next().unwrap();
    assert!(shop.run(&["token", "revoke", id], "").status.success());
}

/// What each role may, over every route: a role that may not is told so before anything else is looked at.
#[tokio::test]
async fn each_role_does_what_the_contract_says_and_nothing_more() {
    let shop = Shop::new().open().await;
    let everyone = &["terminal", "merchant", "auditor", "admin"][..];
    let allowed = |method: &Method, path: &str| -> &[&str] {
        match (method.as_str(), path) {
            ("GET", "/metrics") => everyone,
            ("GET", path) if path.starts_with("/v1/orders") || path.starts_with("/v1/refunds") => everyone,
            ("POST", "/v1/scans" | "/v1/refunds" | "/v1/refunds/preview") => &["terminal", "merchant"],
            ("POST", "/v1/orders") => &["merchant"],
            (_, path) if path.starts_with("/v1/webhook-endpoints") => &["merchant"],
            _ => panic!("who may {method} {path}?"),
        }
    };
    for (method, path) in routes(&shop).await.into_iter().filter(|(_, path)| !is_open(path)) {
        for role in everyone {
            let answer = shop.caller(role, "demo").call(method.clone(), &path).send().await;
            if allowed(&method, &path).contains(role) {
                assert!(!matches!(answer.status, 401 | 403 | 500), "{role} {method} {path}: {}", answer.text);
            } else {
                answer.assert(403, "forbidden");
            }
        }
    }
    shop.close().await;
}

#[tokio::test]
async fn another_merchants_things_are_not_there() {
    let shop = Shop::new().with_second_merchant().order(ALIPAY, "MINE-00001", 1_000).open().await;
    let (mine, other) = (shop.merchant(), shop.caller("merchant", "other"));
    let refund = mine.refund("MINE-00001", 100).await;
    refund.assert(201, "succeeded");
    let scan = mine.scan(&shop.sandbox().bill_code(ALIPAY, "MINE-00001").await).await;
    let endpoint = json!({ "url": "https://example.com/hooks", "types": ["refund.failed"] });
    let endpoint = mine.post("/v1/webhook-endpoints").json(&endpoint).send().await;

    other.get("/v1/orders/MINE-00001").await.assert(404, "order_not_found");
    other.get(&format!("/v1/refunds/{}", refund.refund_id())).await.assert(404, "refund_not_found");
    other.refund("MINE-00001", 100).await.assert(404, "order_not_found");
    let preview = json!({ "order_no": "MINE-00001" });
    other.post("/v1/refunds/preview").json(&preview).send().await.assert(404, "order_not_found");
    let path = format!("/v1/webhook-endpoints/{}", endpoint.str("id"));
    other.call(Method::DELETE, &path).send().await.assert(404, "not_found");
    // their scan of our order would name it
    let stolen = json!({ "scan_id": scan.body["scan_id"], "amount": fen(100), "reason": "quality" });
    other.refund_call(&fresh_key(), &stolen).send().await.assert(422, "scan_required");
    for list in ["/v1/orders", "/v1/refunds", "/v1/webhook-endpoints"] {
        assert_eq!(other.get(list).await.body["items"], json!([]), "{list}");
        assert_eq!(mine.get(list).await.body["items"].as_array().unwrap().len(), 1, "{list}");
    }
    // an order of the same number is another order
    shop.other_sandbox().pay(ALIPAY, "MINE-00001", 5_000).await;
    other.refund("MINE-00001", 5_000).await.assert(201, "succeeded");
    assert_eq!(mine.order(ALIPAY, "MINE-00001").await["refunded"], fen(100));
    // an admin sees both, an auditor its own
    let count = |caller: Caller| async move { caller.all("/v1/refunds").await.len() };
    assert_eq!(count(shop.caller("admin", "demo")).await, 2);
    assert_eq!(count(shop.caller("auditor", "demo")).await, 1);
    shop.close().await;
}

/// A token ends at once, also for a service that knows it well.
#[tokio::test]
async fn a_revoked_token_opens_nothing_any_more() {
    let shop = Shop::new().open().await;
    let lost = shop.with_token(&shop.make_token("terminal", "demo", "till-9"));
    lost.get("/v1/orders").await.assert_status(200);
    revoke(&shop, "till-9");
    lost.get("/v1/orders").await.assert(401, "unauthenticated");
    shop.merchant().get("/v1/orders").await.assert_status(200);
    shop.close().await;
}

#[tokio::test]
async fn metrics_want_a_token_unless_they_have_an_address_of_their_own() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let own = format!("127.0.0.1:{port}");
    let shop = Shop::new().setting("http.metrics_listen", &own).order(ALIPAY, "METRICS-01", 1_000).open().await;
    shop.merchant().refund("METRICS-01", 100).await.assert(201, "succeeded");
    shop.stranger().get("/metrics").await.assert(401, "unauthenticated");
    let with_token = shop.caller("auditor", "demo").get("/metrics").await;
    let open = Caller { base: format!("http://{own}"), ..shop.stranger() };
    let on_its_own = open.get("/metrics").await;
    for answer in [with_token, on_its_own] {
        answer.assert_status(200);
        assert!(answer.text.contains("scanback_refunds_created_total{wallet=\"alipay\"} 1"), "{}", answer.text);
        assert!(!answer.text.contains("METRICS-01"));
    }
    assert_eq!(open.get("/v1/orders").await.status, 404, "metrics and nothing else");
    shop.close().await;
}

/// The page that describes the API works where nothing else can be reached.
#[tokio::test]
async fn the_description_of_the_api_needs_no_other_host() {
    let shop = Shop::new().open().await;
    let page = shop.stranger().get("/docs/").await;
    page.assert_status(200);
    for attribute in ["src=\"", "href=\""] {
        for link in page.text.split(attribute).skip(1) {
            let link = link.split('"').next().unwrap();
            assert!(!link.contains("//"), "{link} is somewhere else");
            if link.ends_with(".js") || link.ends_with(".css") {
                let path = format!("/docs/{}", link.trim_start_matches("./"));
                assert_eq!(shop.stranger().get(&path).await.status, 200, "{path}");
            }
        }
    }
    let document: Value = shop.stranger().get("/openapi.json").await.body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    shop.close().await;
}

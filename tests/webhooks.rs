//! The merchant hears of every refund: signed, in order, until it was taken (contract §5).

use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::shop::{
    ALIPAY, Answer, Shop, WECHAT, fen,
    receiver::{Heard, Receiver},
};

async fn register(shop: &Shop, url: &str, types: Option<&[&str]>) -> Answer {
    let mut endpoint = json!({ "url": url });
    if let Some(types) = types {
        endpoint["types"] = json!(types);
    }
    shop.merchant().post("/v1/webhook-endpoints").json(&endpoint).send().await
}

/// Its secret, which must be found nowhere.
fn secret(shop: &Shop, endpoint: &Answer) -> String {
    endpoint.assert_status(201);
    let secret = endpoint.str("secret").to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");
    shop.plant(secret.clone());
    shop.plant(secret.trim_start_matches("whsec_"));
    secret
}

fn types(heard: &[Heard]) -> Vec<String> {
    heard.iter().map(Heard::event).collect()
}

#[tokio::test]
async fn a_refunds_events_arrive_signed_and_in_order() {
    let shop = Shop::new().order(WECHAT, "HOOK-00001", 1_000).open().await;
    let receiver = Receiver::start().await;
    let endpoint = register(&shop, &receiver.url, None).await;
    let verifier = Webhook::new(&secret(&shop, &endpoint)).unwrap();
    let answer = shop.merchant().refund("HOOK-00001", 700).await;
    shop.until(answer.refund_id(), "succeeded").await;
    let heard = receiver.until_heard(3).await;
    assert_eq!(types(&heard), ["refund.created", "refund.processing", "refund.succeeded"]);
    let mut ids = Vec::new();
    for (message, state) in heard.iter().zip(["submitting", "processing", "succeeded"]) {
        verifier.verify(message.body.as_bytes(), &message.headers).unwrap();
        assert!(verifier.verify(message.body.replace("700", "701").as_bytes(), &message.headers).is_err());
        let body = message.json();
        assert_eq!((&body["data"]["refund_id"], &body["data"]["state"]), (&json!(answer.refund_id()), &json!(state)));
        assert_eq!(body["data"]["amount"], fen(700));
        assert!(body["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert_eq!(body.as_object().unwrap().len(), 3, "type, timestamp, data: {body:#}");
        ids.push(message.headers["webhook-id"].to_str().unwrap().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "each event has a number of its own");
    shop.close().await;
}

/// Refused, the first event is tried again under its number, and the later ones wait for it.
#[tokio::test]
async fn what_was_not_taken_is_sent_again_and_nothing_overtakes_it() {
    let shop = Shop::new().order(WECHAT, "HOOK-00002", 1_000).open().await;
    let receiver = Receiver::start().await;
    receiver.answer_next(&[500, 503, 302]);
    let endpoint = register(&shop, &receiver.url, None).await;
    let verifier = Webhook::new(&secret(&shop, &endpoint)).unwrap();
    let answer = shop.merchant().refund("HOOK-00002", 700).await;
    shop.until(answer.refund_id(), "succeeded").await;
    let heard = receiver.until_heard(6).await;
    let created = "refund.created";
    assert_eq!(types(&heard), [created, created, created, created, "refund.processing", "refund.succeeded"]);
    assert_eq!(heard.iter().map(|one| one.status).collect::<Vec<_>>(), [500, 503, 302, 204, 204, 204]);
    for again in &heard[..4] {
        verifier.verify(again.body.as_bytes(), &again.headers).unwrap();
        assert_eq!(again.headers["webhook-id"], heard[0].headers["webhook-id"]);
        assert_eq!(again.body, heard[0].body);
    }
    shop.close().await;
}

/// What waits in the outbox outlives the process.
#[tokio::test]
async fn an_event_that_waits_is_delivered_after_a_crash() {
    let mut shop = Shop::new().order(ALIPAY, "HOOK-00003", 1_000).open().await;
    let receiver = Receiver::start().await;
    receiver.answer_next(&[500; 4]);
    secret(&shop, &register(&shop, &receiver.url, Some(&["refund.succeeded"])).await);
    shop.merchant().refund("HOOK-00003", 700).await.assert(201, "succeeded");
    receiver.until_heard(1).await;
    shop.crash().await;
    let heard = receiver.until_heard(5).await;
    assert!(types(&heard).iter().all(|event| event == "refund.succeeded"), "{:?}", types(&heard));
    shop.close().await;
}

#[tokio::test]
async fn an_endpoint_gets_the_types_that_it_asked_for() {
    let shop = Shop::new().order(WECHAT, "HOOK-00004", 1_000).open().await;
    let (all, ends) = (Receiver::start().await, Receiver::start().await);
    secret(&shop, &register(&shop, &all.url, None).await);
    secret(&shop, &register(&shop, &ends.url, Some(&["refund.succeeded", "refund.failed"])).await);
    // a refund that fails, and one that can't be paid out for a while
    shop.sandbox().fault(WECHAT, "refund", "closed").await;
    let failed = shop.merchant().refund("HOOK-00004", 100).await;
    shop.until(failed.refund_id(), "failed").await;
    shop.sandbox().fault(WECHAT, "refund", "abnormal").await;
    let stuck = shop.merchant().refund("HOOK-00004", 200).await;
    let stuck = shop.until(stuck.refund_id(), "abnormal").await;
    shop.sandbox().settle(&stuck, "SUCCESS").await;
    shop.until(stuck["refund_id"].as_str().unwrap(), "succeeded").await;
    shop.until_settled(0).await;
    assert_eq!(types(&ends.heard()), ["refund.failed", "refund.succeeded"]);
    let of = |id: &Value| -> Vec<String> {
        let heard = all.heard();
        let those = heard.iter().filter(|message| message.json()["data"]["refund_id"] == *id);
        those.map(Heard::event).collect()
    };
    let begin = ["refund.created", "refund.processing"];
    assert_eq!(of(&failed.body["refund_id"]), [&begin[..], &["refund.failed", "refund.attention"]].concat());
    assert_eq!(
        of(&stuck["refund_id"]),
        [&begin[..], &["refund.abnormal", "refund.attention", "refund.succeeded"]].concat()
    );
    shop.close().await;
}

#[tokio::test]
async fn a_deleted_endpoint_hears_nothing_more() {
    let shop = Shop::new().order(ALIPAY, "HOOK-00005", 1_000).open().await;
    let (gone, stays) = (Receiver::start().await, Receiver::start().await);
    let endpoint = register(&shop, &gone.url, None).await;
    secret(&shop, &endpoint);
    secret(&shop, &register(&shop, &stays.url, None).await);
    gone.answer_next(&[500; 50]); // something waits for it when it is deleted
    shop.merchant().refund("HOOK-00005", 100).await;
    gone.until_heard(1).await;
    let path = format!("/v1/webhook-endpoints/{}", endpoint.str("id"));
    shop.merchant().call(Method::DELETE, &path).send().await.assert_status(204);
    shop.merchant().call(Method::DELETE, &path).send().await.assert(404, "not_found");
    shop.until_settled(0).await;
    let before = gone.heard().len();
    let answer = shop.merchant().refund("HOOK-00005", 100).await;
    shop.until(answer.refund_id(), "succeeded").await;
    stays.until_heard(4).await;
    shop.until_settled(0).await;
    assert_eq!(gone.heard().len(), before);
    shop.close().await;
}

/// The secret is in the answer to the registration and in no other answer.
#[tokio::test]
async fn a_secret_is_shown_once() {
    let shop = Shop::new().with_second_merchant().open().await;
    let receiver = Receiver::start().await;
    let endpoint = register(&shop, &receiver.url, Some(&["refund.failed"])).await;
    let secret = secret(&shop, &endpoint);
    assert_eq!((endpoint.str("url"), &endpoint.body["types"]), (&*receiver.url, &json!(["refund.failed"])));
    let listed = shop.merchant().get("/v1/webhook-endpoints").await;
    listed.assert_status(200);
    assert_eq!(listed.body["items"][0]["id"], endpoint.body["id"]);
    assert_eq!(listed.body["next_cursor"], Value::Null);
    assert!(!listed.text.contains(secret.trim_start_matches("whsec_")));
    // another merchant has nothing to do with it
    let other = shop.caller("merchant", "other");
    assert_eq!(other.get("/v1/webhook-endpoints").await.body["items"], json!([]));
    let path = format!("/v1/webhook-endpoints/{}", endpoint.str("id"));
    other.call(Method::DELETE, &path).send().await.assert(404, "not_found");
    shop.close().await;
}

#[tokio::test]
async fn what_can_not_be_an_endpoint_is_refused() {
    let shop = Shop::new().open().await;
    for url in ["", "not a url", "ftp://example.com/", "https://user:pass@example.com/", "https://example.com/#part"] {
        register(&shop, url, None).await.assert(422, "validation_failed");
    }
    for types in [&[][..], &["refund.unheard_of"][..]] {
        register(&shop, "https://example.com/hooks", Some(types)).await.assert(422, "validation_failed");
    }
    assert_eq!(shop.merchant().get("/v1/webhook-endpoints").await.body["items"], json!([]));
    shop.close().await;
}

/// Unless the configuration says so, no webhook goes to an address that is not public: not by number, not by name.
#[tokio::test]
async fn private_addresses_are_refused_unless_they_are_allowed() {
    let shop = Shop::new().setting("webhook.allow_private", false).order(ALIPAY, "HOOK-00006", 1_000).open().await;
    for address in [
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://192.168.0.1/",
        "https://172.16.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://0.0.0.0/",
        "https://2130706433/",
        "https://0x7f.1/",
        "http://example.com/",
    ] {
        register(&shop, address, None).await.assert(422, "validation_failed");
    }
    // a name may be registered, but where it leads is judged at each delivery
    let receiver = Receiver::start().await;
    let name = receiver.url.replace("http://127.0.0.1", "https://localhost");
    let endpoint = register(&shop, &name, None).await;
    secret(&shop, &endpoint);
    shop.merchant().refund("HOOK-00006", 100).await.assert(201, "succeeded");
    shop.until_logged(1, "private addresses only").await;
    assert!(receiver.heard().is_empty());
    let path = format!("/v1/webhook-endpoints/{}", endpoint.str("id"));
    shop.merchant().call(Method::DELETE, &path).send().await.assert_status(204);
    shop.close().await;
}

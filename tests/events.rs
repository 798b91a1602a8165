//! `GET /v1/events`: what happens is heard live, by its own merchant alone, by whichever process it happened, and nothing is
//! missed by who comes back (contract §3).

use std::time::Duration;

use serde_json::Value;

use crate::shop::{ALIPAY, Caller, Shop, WECHAT, on_postgres};

/// An event as it was heard.
#[derive(Debug)]
struct Heard {
    id: i64,
    kind: String,
    data: Value,
}

/// An open stream.
struct Listener {
    answer: reqwest::Response,
    read: String,
}

impl Listener {
    async fn open(caller: &Caller, last: Option<i64>) -> Self {
        let mut request =
            caller.http.get(format!("{}/v1/events", caller.base)).bearer_auth(caller.token.as_ref().unwrap());
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let mut listener = Self { answer, read: String::new() };
        // it says something at once: from here on nothing is missed
        while !listener.read.contains("\n\n") {
            listener.more().await;
        }
        listener
    }

    async fn more(&mut self) {
        let chunk = tokio::time::timeout(Duration::from_secs(30), self.answer.chunk()).await;
        let chunk = chunk.unwrap().unwrap().unwrap(); // too late, broken, ended
        self.read.push_str(std::str::from_utf8(&chunk).unwrap());
    }

    async fn next(&mut self) -> Heard {
        loop {
            while let Some((block, rest)) = self.read.split_once("\n\n") {
                let block = block.to_owned();
                self.read = rest.to_owned();
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let (Some(id), Some(kind), Some(data)) = (field("id: "), field("event: "), field("data: ")) {
                    return Heard { id: id.parse().unwrap(), kind, data: serde_json::from_str(&data).unwrap() };
                }
            }
            self.more().await;
        }
    }

    /// Everything up to an event of this kind.
    async fn until(&mut self, kind: &str) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            let event = self.next().await;
            let last = event.kind == kind;
            heard.push(event);
            if last {
                return heard;
            }
        }
    }
}

fn kinds(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(|event| event.kind.as_str()).collect()
}

#[tokio::test]
async fn what_happens_is_heard_live_in_order_and_again_by_who_comes_back() {
    let shop = Shop::new().order(WECHAT, "EVENT-0001", 1_000).open().await;
    let mut live = Listener::open(&shop.merchant(), None).await;
    let refund = shop.merchant().refund("EVENT-0001", 700).await;
    let heard = live.until("refund.succeeded").await;
    assert_eq!(kinds(&heard), ["refund.created", "refund.sent", "refund.processing", "refund.succeeded"]);
    for (event, next) in heard.iter().zip(&heard[1..]) {
        assert!(event.id < next.id);
    }
    for event in &heard {
        assert_eq!(
            (&event.data["type"], &event.data["data"]["refund_id"]),
            (&event.kind.as_str().into(), &refund.body["refund_id"])
        );
        assert!(event.data["timestamp"].is_string());
    }
    assert_eq!(heard[3].data["data"]["state"], "succeeded");
    // who was away since the second event hears the rest, and nothing twice
    let mut back = Listener::open(&shop.merchant(), Some(heard[1].id)).await;
    let rest = back.until("refund.succeeded").await;
    assert_eq!(rest.iter().map(|event| event.id).collect::<Vec<_>>(), [heard[2].id, heard[3].id]);
    // the shop closes in time although both still listen
    shop.close().await;
}

#[tokio::test]
async fn a_token_hears_its_own_merchant_alone_and_an_admin_everybody() {
    let shop = Shop::new().with_second_merchant().order(ALIPAY, "EVENT-0002", 1_000).open().await;
    shop.other_sandbox().pay(ALIPAY, "EVENT-0003", 1_000).await;
    let other = shop.caller("merchant", "other");
    let mut here = Listener::open(&shop.caller("auditor", "demo"), None).await;
    let mut there = Listener::open(&other, None).await;
    let mut all = Listener::open(&shop.caller("admin", "demo"), None).await;
    shop.merchant().refund("EVENT-0002", 700).await.assert(201, "succeeded");
    other.refund("EVENT-0003", 700).await.assert(201, "succeeded");
    for (listener, number) in [(&mut here, "EVENT-0002"), (&mut there, "EVENT-0003")] {
        for event in listener.until("refund.succeeded").await {
            assert_eq!(event.data["data"]["order_no"], number);
        }
    }
    let mut both = all.until("refund.succeeded").await;
    both.extend(all.until("refund.succeeded").await);
    assert_eq!(both.len(), 6);
    let stranger = shop.stranger().get("/v1/events").await;
    stranger.assert(401, "unauthenticated");
    let odd = shop.merchant().call(reqwest::Method::GET, "/v1/events").header("last-event-id", "x").send().await;
    odd.assert(400, "malformed_request");
    shop.close().await;
}

/// The listener sits at one process, and it happens at another.
#[tokio::test]
async fn what_another_process_does_is_heard_too() {
    if !on_postgres() {
        return; // one process has a SQLite file to itself
    }
    let shop = Shop::new().order(ALIPAY, "EVENT-0004", 1_000).open().await;
    let replica = shop.start_replica().await;
    let mut listener = Listener::open(&replica.caller(&shop), None).await;
    shop.merchant().refund("EVENT-0004", 700).await.assert(201, "succeeded");
    assert_eq!(kinds(&listener.until("refund.succeeded").await).len(), 3);
    replica.until_ended().await;
    shop.close().await;
}

//! The merchant's system hears of every refund: signed, in order, again until it was taken (contract §5).

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use reqwest::{
    Method,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::shop::{ALIPAY, Answer, Caller, PATIENCE, POLL, Shop, WECHAT, fen};

const ENDPOINTS: &str = "/v1/webhook-endpoints";

// --- the merchant's server ---------------------------------------------------------------------------------------------

/// What the merchant's server does with a delivery.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Takes it.
    Take,
    /// Answers with this status.
    Answer(u16),
    /// Reads it and closes the connection without a word.
    HangUp,
    /// Reads it and never answers.
    Hold,
}

/// A delivery that arrived, whatever was answered.
#[derive(Clone, Debug)]
struct Delivery {
    path: String,
    headers: HeaderMap,
    text: String,
    body: Value,
}

impl Delivery {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn id(&self) -> &str {
        self.header("webhook-id")
    }

    fn event(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    fn refund_id(&self) -> &str {
        self.body["data"]["refund_id"].as_str().unwrap()
    }

    /// The reference implementation of Standard Webhooks says that it is from who holds the secret.
    fn is_signed_with(&self, secret: &str) -> bool {
        standardwebhooks::Webhook::new(secret).unwrap().verify(self.text.as_bytes(), &self.headers).is_ok()
    }
}

/// What arrived, and what comes of the next: first `manners`, one a delivery, then they are taken.
#[derive(Default)]
struct Desk {
    arrived: Vec<Delivery>,
    manners: VecDeque<Manner>,
}

/// A server of the merchant's on loopback. Gone when dropped.
struct Server {
    address: SocketAddr,
    closed: Option<TcpSocket>,
    desk: Arc<Mutex<Desk>>,
    running: JoinSet<()>,
}

impl Server {
    /// A server that is up.
    fn open() -> Self {
        let mut server = Self::down();
        server.up();
        server
    }

    /// One that has its address, and refuses every connection until it is up.
    fn down() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { address, closed: Some(socket), desk: Arc::default(), running: JoinSet::new() }
    }

    fn up(&mut self) {
        let listener = self.closed.take().unwrap().listen(128).unwrap();
        self.running.spawn(serve(listener, Arc::clone(&self.desk)));
    }

    fn url(&self) -> String {
        format!("http://{}/hook?shop=1", self.address)
    }

    /// What it does with the next deliveries, one after the other.
    fn will(&self, manners: &[Manner]) {
        self.desk.lock().unwrap().manners.extend(manners);
    }

    fn arrived(&self) -> Vec<Delivery> {
        self.desk.lock().unwrap().arrived.clone()
    }

    /// Waits until so many deliveries have arrived: all of them.
    async fn until(&self, count: usize) -> Vec<Delivery> {
        let began = Instant::now();
        loop {
            let arrived = self.arrived();
            if arrived.len() >= count {
                return arrived;
            }
            assert!(began.elapsed() < PATIENCE, "{} deliveries came, not {count}: {arrived:#?}", arrived.len());
            tokio::time::sleep(POLL).await;
        }
    }

    /// The types that arrived, in order.
    fn events(&self) -> Vec<String> {
        self.arrived().iter().map(|delivery| delivery.event().to_owned()).collect()
    }
}

async fn serve(listener: TcpListener, desk: Arc<Mutex<Desk>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(one_delivery(stream, Arc::clone(&desk)));
    }
}

/// Reads one request and answers it; the connection is for one.
async fn one_delivery(mut stream: TcpStream, desk: Arc<Mutex<Desk>>) {
    let mut request = Vec::new();
    let delivery = loop {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return; // whoever called has left
        }
        if let Some(delivery) = read(&request) {
            break delivery;
        }
    };
    let manner = {
        let mut desk = desk.lock().unwrap();
        desk.arrived.push(delivery);
        desk.manners.pop_front().unwrap_or(Manner::Take)
    };
    let status = match manner {
        Manner::Take => 204,
        Manner::Answer(status) => status,
        Manner::HangUp => return,
        Manner::Hold => return std::future::pending().await,
    };
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// The delivery, once all of it is there.
fn read(request: &[u8]) -> Option<Delivery> {
    let text = std::str::from_utf8(request).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let first = lines.next().unwrap();
    let path = first.strip_prefix("POST ").and_then(|rest| rest.strip_suffix(" HTTP/1.1")).unwrap().to_owned();
    let headers: HeaderMap = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    (body.len() == length).then(|| Delivery {
        path,
        headers,
        text: body.to_owned(),
        body: serde_json::from_str(body).unwrap(),
    })
}

// --- registering it ----------------------------------------------------------------------------------------------------

/// An endpoint as it was registered.
struct Endpoint {
    id: String,
    secret: String,
}

async fn try_to_register(merchant: &Caller, url: &str, types: Option<&[&str]>) -> Answer {
    let mut endpoint = json!({ "url": url });
    if let Some(types) = types {
        endpoint["types"] = json!(types);
    }
    merchant.post(ENDPOINTS).json(&endpoint).send().await
}

async fn register(shop: &Shop, server: &Server, types: Option<&[&str]>) -> Endpoint {
    let answer = try_to_register(&shop.merchant(), &server.url(), types).await;
    answer.assert_status(201);
    assert_eq!((&answer.body["url"], &answer.body["types"]), (&json!(server.url()), &json!(types)));
    shop.plant(answer.str("secret"));
    Endpoint { id: answer.str("id").to_owned(), secret: answer.str("secret").to_owned() }
}

async fn delete(shop: &Shop, id: &str) -> Answer {
    shop.merchant().call(Method::DELETE, &format!("{ENDPOINTS}/{id}")).send().await
}

async fn endpoints(shop: &Shop) -> Vec<Value> {
    let answer = shop.merchant().get(ENDPOINTS).await;
    answer.assert_status(200);
    answer.body["items"].as_array().unwrap().clone()
}

/// A refund of Alipay's, which is paid at once.
async fn refund(shop: &Shop, order_no: &str, amount: i64) -> String {
    let answer = shop.merchant().refund(order_no, amount).await;
    answer.assert(201, "succeeded");
    answer.refund_id().to_owned()
}

// --- the promises ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn every_step_of_a_refund_arrives_signed_and_in_order() {
    let shop = Shop::new().order(WECHAT, "HOOK-00001", 5_000).open().await;
    let server = Server::open();
    let endpoint = register(&shop, &server, None).await;
    let answer = shop.merchant().refund("HOOK-00001", 2_000).await;
    let refund = shop.until(answer.refund_id(), "succeeded").await;
    let arrived = server.until(3).await;
    for (delivery, (event, state)) in arrived.iter().zip([
        ("refund.created", "submitting"),
        ("refund.processing", "processing"),
        ("refund.succeeded", "succeeded"),
    ]) {
        assert!(delivery.is_signed_with(&endpoint.secret), "{delivery:#?}");
        assert_eq!((delivery.event(), delivery.path.as_str()), (event, "/hook?shop=1"));
        assert_eq!(delivery.header("content-type"), "application/json");
        let fields: Vec<_> = delivery.body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields.len(), 3, "type, timestamp, data and nothing else: {fields:?}");
        let at: jiff::Timestamp = delivery.body["timestamp"].as_str().unwrap().parse().unwrap();
        let created: jiff::Timestamp = refund["created_at"].as_str().unwrap().parse().unwrap();
        // the time is the database's, as a process that shares the machine with others could learn it
        let latest = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
        assert!(at >= created && at <= latest, "{at}");
        let data = &delivery.body["data"];
        assert_eq!((delivery.refund_id(), &data["state"]), (answer.refund_id(), &json!(state)));
        assert_eq!((&data["amount"], &data["order_no"]), (&fen(2_000), &json!("HOOK-00001")));
    }
    assert_eq!(arrived[2].body["data"], refund, "the data is the refund as it can be read");
    shop.until_settled(0).await;
    assert_eq!(server.arrived().len(), 3, "nothing comes twice where all was taken");
    shop.close().await;
}

/// A wrong secret, a changed body, another moment: the signature is over all of it.
#[tokio::test]
async fn a_signature_holds_for_its_own_secret_body_and_moment_alone() {
    let shop = Shop::new().order(ALIPAY, "HOOK-00002", 5_000).open().await;
    let (server, other_server) = (Server::open(), Server::open());
    let endpoint = register(&shop, &server, None).await;
    let other = register(&shop, &other_server, None).await;
    refund(&shop, "HOOK-00002", 2_000).await;
    let delivery = server.until(2).await.swap_remove(1);
    assert!(delivery.is_signed_with(&endpoint.secret) && !delivery.is_signed_with(&other.secret));
    let altered = Delivery { text: delivery.text.replace("2000", "9000"), ..delivery.clone() };
    assert!(!altered.is_signed_with(&endpoint.secret));
    for (header, value) in [("webhook-id", "msg_1"), ("webhook-timestamp", "1700000000")] {
        let mut altered = delivery.clone();
        altered.headers.insert(header, HeaderValue::from_static(value));
        assert!(!altered.is_signed_with(&endpoint.secret), "{header}");
    }
    let theirs = other_server.until(2).await;
    assert!(theirs.iter().all(|delivery| delivery.is_signed_with(&other.secret)));
    assert_ne!(theirs[1].id(), delivery.id(), "each endpoint's delivery has an id of its own");
    shop.close().await;
}

/// Refused, cut off, refused: it comes again under the same id with the moment of that try, and what happened later waits.
#[tokio::test]
async fn what_was_not_taken_comes_again_and_nothing_overtakes_it() {
    let shop = Shop::new().order(ALIPAY, "HOOK-00003", 5_000).open().await;
    let server = Server::open();
    server.will(&[Manner::Answer(500), Manner::HangUp, Manner::Answer(302), Manner::Take, Manner::Answer(503)]);
    let endpoint = register(&shop, &server, None).await;
    refund(&shop, "HOOK-00003", 2_000).await;
    let arrived = server.until(6).await;
    assert!(arrived.iter().all(|delivery| delivery.is_signed_with(&endpoint.secret)));
    let (first, second) = arrived.split_at(4);
    for (tries, event) in [(first, "refund.created"), (second, "refund.succeeded")] {
        for again in tries {
            assert_eq!((again.event(), again.id(), &again.text), (event, tries[0].id(), &tries[0].text));
        }
        let moments = tries.iter().map(|delivery| delivery.header("webhook-timestamp").parse::<i64>().unwrap());
        assert!(moments.is_sorted());
    }
    assert_ne!(first[0].id(), second[0].id());
    shop.until_settled(0).await;
    assert_eq!(server.arrived().len(), 6, "what was taken doesn't come again");
    shop.close().await;
}

/// One refund's deliveries wait for each other; another refund's don't.
#[tokio::test]
async fn a_refund_whose_news_is_not_taken_holds_no_other_back() {
    let shop = Shop::new().order(ALIPAY, "HOOK-00004", 5_000).order(ALIPAY, "HOOK-00005", 5_000).open().await;
    let server = Server::open();
    server.will(&[Manner::Hold]);
    register(&shop, &server, None).await;
    let held = refund(&shop, "HOOK-00004", 2_000).await;
    server.until(1).await;
    let other = refund(&shop, "HOOK-00005", 2_000).await;
    let arrived = server.until(3).await;
    assert_eq!((arrived[0].refund_id(), arrived[0].event()), (held.as_str(), "refund.created"));
    for (delivery, event) in arrived[1..].iter().zip(["refund.created", "refund.succeeded"]) {
        assert_eq!((delivery.refund_id(), delivery.event()), (other.as_str(), event));
    }
    // the one that hangs is given up after its time, and made again
    let arrived = server.until(5).await;
    assert_eq!((arrived[3].id(), arrived[4].event()), (arrived[0].id(), "refund.succeeded"));
    shop.close().await;
}

/// Closed by the wallet, or not to be paid out until a person acted: that is told too, and what came of it.
#[tokio::test]
async fn what_goes_wrong_is_told_as_well() {
    let shop = Shop::new().order(WECHAT, "HOOK-00006", 5_000).order(WECHAT, "HOOK-00007", 5_000).open().await;
    let server = Server::open();
    register(&shop, &server, None).await;
    shop.sandbox().fault(WECHAT, "refund", "closed").await;
    let closed = shop.merchant().refund("HOOK-00006", 2_000).await;
    shop.until(closed.refund_id(), "failed").await;
    shop.sandbox().fault(WECHAT, "refund", "abnormal").await;
    let stuck = shop.merchant().refund("HOOK-00007", 2_000).await;
    let refund = shop.until(stuck.refund_id(), "abnormal").await;
    shop.sandbox().settle(&refund, "SUCCESS").await;
    shop.until(stuck.refund_id(), "succeeded").await;
    shop.until_settled(0).await;
    let told = |refund: &Answer| -> Vec<Delivery> {
        server.arrived().into_iter().filter(|delivery| delivery.refund_id() == refund.refund_id()).collect()
    };
    let events = |told: &[Delivery]| told.iter().map(|delivery| delivery.event().to_owned()).collect::<Vec<_>>();
    let (closed, stuck) = (told(&closed), told(&stuck));
    let begin = ["refund.created", "refund.processing"];
    assert_eq!(events(&closed), [&begin[..], &["refund.failed", "refund.attention"]].concat());
    let abnormal = ["refund.abnormal", "refund.attention", "refund.succeeded"];
    assert_eq!(events(&stuck), [&begin[..], &abnormal].concat());
    for (attention, reason) in [(&closed[3], "closed_by_wallet"), (&stuck[3], "abnormal")] {
        assert_eq!(attention.body["data"]["attention"]["reason"], reason);
    }
    shop.close().await;
}

#[tokio::test]
async fn an_endpoint_hears_of_the_types_that_it_asked_for() {
    let shop = Shop::new().order(ALIPAY, "HOOK-00008", 5_000).open().await;
    let (some, others, all) = (Server::open(), Server::open(), Server::open());
    register(&shop, &some, Some(&["refund.succeeded", "refund.failed"])).await;
    register(&shop, &others, Some(&["refund.abnormal", "order.voided"])).await;
    register(&shop, &all, None).await;
    refund(&shop, "HOOK-00008", 2_000).await;
    shop.until_settled(0).await;
    assert_eq!(some.events(), ["refund.succeeded"]);
    assert_eq!(others.events(), [""; 0]);
    assert_eq!(all.events(), ["refund.created", "refund.succeeded"]);
    shop.close().await;
}

#[tokio::test]
async fn a_deleted_endpoint_hears_no_more_not_even_what_was_waiting() {
    let shop = Shop::new().order(ALIPAY, "HOOK-00009", 5_000).open().await;
    let (leaves, stays, mut down) = (Server::open(), Server::open(), Server::down());
    let leaving = register(&shop, &leaves, None).await;
    register(&shop, &stays, None).await;
    let never = register(&shop, &down, None).await;
    refund(&shop, "HOOK-00009", 1_000).await;
    leaves.until(2).await;
    for endpoint in [&leaving, &never] {
        delete(&shop, &endpoint.id).await.assert_status(204);
        delete(&shop, &endpoint.id).await.assert(404, "not_found");
    }
    assert_eq!(endpoints(&shop).await.len(), 1);
    down.up();
    refund(&shop, "HOOK-00009", 1_000).await;
    shop.until_settled(0).await;
    assert_eq!(stays.arrived().len(), 4);
    assert_eq!((leaves.arrived().len(), down.arrived().len()), (2, 0));
    for no_id in ["no-uuid", "0196d5a0-0000-7000-8000-000000000000"] {
        delete(&shop, no_id).await.assert(404, "not_found");
    }
    shop.close().await;
}

#[tokio::test]
async fn the_secret_is_shown_once_to_whoever_registers() {
    let shop = Shop::new().open().await;
    let (first, second) = (Server::open(), Server::open());
    let registered = [register(&shop, &first, None).await, register(&shop, &second, Some(&["refund.failed"])).await];
    assert!(registered.iter().all(|endpoint| endpoint.secret.starts_with("whsec_")));
    assert_ne!(registered[0].secret, registered[1].secret);
    let listed = shop.merchant().get(ENDPOINTS).await;
    assert_eq!(listed.body["next_cursor"], json!(null));
    for (item, endpoint) in listed.body["items"].as_array().unwrap().iter().zip(&registered) {
        assert_eq!(item["id"], json!(endpoint.id));
        assert!(item.get("secret").is_none() && item["url"].is_string() && item.get("types").is_some(), "{item:#}");
        let random = endpoint.secret.trim_start_matches("whsec_");
        assert!(!listed.text.contains(random), "the list shows a secret");
        shop.plant(random);
    }
    shop.close().await;
}

#[tokio::test]
async fn an_endpoint_that_can_not_be_is_refused_by_its_field() {
    let shop = Shop::new().open().await;
    let (server, merchant) = (Server::open(), shop.merchant());
    let url = server.url();
    for (endpoint, field) in [
        (json!({ "url": url, "types": ["refund.exploded"] }), "types"),
        (json!({ "url": url, "types": ["refund.created", "refund"] }), "types"),
        (json!({ "url": url, "types": [] }), "types"),
        (json!({ "url": url, "types": "refund.created" }), "types"),
        (json!({ "url": "shop.example/hook" }), "url"),
        (json!({ "url": "ftp://shop.example/hook" }), "url"),
        (json!({ "url": "https://user:word@shop.example/hook" }), "url"),
        (json!({ "url": 1 }), "url"),
        (json!({ "types": ["refund.created"] }), "url"),
        (json!({ "url": url, "secret": "whsec_mine" }), "secret"),
    ] {
        let answer = merchant.post(ENDPOINTS).json(&endpoint).send().await;
        answer.assert(422, "validation_failed");
        assert!(answer.body["errors"].to_string().contains(field), "{endpoint} -> {}", answer.text);
    }
    assert_eq!(endpoints(&shop).await, Vec::<Value>::new());
    shop.close().await;
}

#[tokio::test]
async fn a_private_address_is_refused_unless_it_is_configured() {
    let shop = Shop::new().setting("webhook.allow_private", false).open().await;
    let merchant = shop.merchant();
    for url in [
        "https://127.0.0.1/hook",
        "https://127.1:8443/hook",
        "https://2130706433/hook",
        "https://[::1]/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://10.0.0.8/hook",
        "https://172.20.0.1/hook",
        "https://192.168.1.10/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1]/hook",
        "https://[fd00::1]/hook",
        "http://shop.example/hook",
    ] {
        let answer = try_to_register(&merchant, url, None).await;
        answer.assert(422, "validation_failed");
        assert_eq!(answer.body["errors"][0]["field"], "url", "{url} -> {}", answer.text);
    }
    assert_eq!(endpoints(&shop).await, Vec::<Value>::new());
    try_to_register(&merchant, "https://shop.example/hook", None).await.assert_status(201);
    shop.close().await;
}

/// Where a name leads is known at the delivery alone: it is looked at then, and nothing is called.
#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_never_called() {
    let shop = Shop::new().setting("webhook.allow_private", false).order(ALIPAY, "HOOK-00010", 5_000).open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
    let answer = try_to_register(&shop.merchant(), &url, None).await;
    answer.assert_status(201);
    refund(&shop, "HOOK-00010", 1_000).await;
    let began = Instant::now();
    while !shop.log().contains("private addresses only") {
        assert!(began.elapsed() < PATIENCE, "no delivery was tried");
        tokio::time::sleep(POLL).await;
    }
    delete(&shop, answer.str("id")).await.assert_status(204);
    shop.until_settled(0).await;
    let called = futures_util::FutureExt::now_or_never(listener.accept());
    assert!(called.is_none(), "a private address was called");
    shop.close().await;
}

/// Nobody is there when it happens, and the service itself dies: what waits is in the ledger, and arrives.
#[tokio::test]
async fn deliveries_survive_the_death_of_the_service() {
    let mut shop = Shop::new().order(WECHAT, "HOOK-00011", 5_000).open().await;
    let mut server = Server::down();
    let endpoint = register(&shop, &server, None).await;
    let answer = shop.merchant().refund("HOOK-00011", 2_000).await;
    let refund_id = answer.refund_id().to_owned();
    shop.until(&refund_id, "succeeded").await;
    shop.crash().await;
    assert_eq!(shop.ready().await.body["webhooks"]["waiting"], 3);
    server.up();
    let arrived = server.until(3).await;
    assert_eq!(server.events(), ["refund.created", "refund.processing", "refund.succeeded"]);
    for delivery in arrived {
        assert!(delivery.is_signed_with(&endpoint.secret) && delivery.refund_id() == refund_id);
    }
    shop.close().await;
}

/// The service dies while the endpoint holds a delivery: whether it was taken is not known, so it comes again, as the same.
#[tokio::test]
async fn a_delivery_that_a_crash_cut_off_is_made_again_under_its_id() {
    let mut shop = Shop::new().order(ALIPAY, "HOOK-00012", 5_000).open().await;
    let server = Server::open();
    server.will(&[Manner::Hold]);
    register(&shop, &server, None).await;
    refund(&shop, "HOOK-00012", 2_000).await;
    server.until(1).await;
    shop.crash().await;
    let arrived = server.until(3).await;
    assert_eq!((arrived[1].id(), &arrived[1].text), (arrived[0].id(), &arrived[0].text));
    assert_eq!(server.events(), ["refund.created", "refund.created", "refund.succeeded"]);
    shop.close().await;
}

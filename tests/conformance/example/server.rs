//! Penny itself: its books, its signatures, and its bad days. It shares nothing with the adapter but the signature.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use jiff::Timestamp;
use scanback_wallet::{
    Money, OrderNo, OrderRef, SystemClock, Wallet, WalletRequestNo,
    conformance::{Fault, Operation, Paid, Stage},
};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use super::{Penny, sign};
use crate::conformance::stage::{Heard, client, hear, listen};

const SECRET: &[u8] = b"a secret of two";

struct Order {
    amount: i64,
    state: &'static str,
    /// Number → amount.
    refunds: BTreeMap<String, i64>,
}

#[derive(Default)]
struct Books {
    orders: HashMap<String, Order>,
    next_fault: Option<(Operation, Fault)>,
}

pub(in crate::conformance) struct PennyStage {
    books: Arc<Mutex<Books>>,
    wallet: Arc<Penny>,
    notify_url: String,
    heard: Heard,
    orders: AtomicU32,
}

impl PennyStage {
    pub(in crate::conformance) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let books = Arc::new(Mutex::new(Books::default()));
        tokio::spawn(serve(listener, Arc::clone(&books)));
        let wallet = Arc::new(Penny::new(base_url, SECRET, client(), Arc::new(SystemClock)));
        let (notify_url, heard) = listen(Arc::clone(&wallet) as Arc<dyn Wallet>).await;
        Self { books, wallet, notify_url, heard, orders: AtomicU32::new(0) }
    }

    fn order(&self, amount: Money, state: &'static str) -> OrderRef {
        let number = format!("PENNY{:04}", self.orders.fetch_add(1, Ordering::SeqCst));
        let order = Order { amount: amount.value(), state, refunds: BTreeMap::new() };
        self.books.lock().unwrap().orders.insert(number.clone(), order);
        OrderRef { order_no: OrderNo::parse(&number).unwrap(), transaction_id: None }
    }
}

#[async_trait]
impl Stage for PennyStage {
    fn wallet(&self) -> Arc<dyn Wallet> {
        Arc::clone(&self.wallet) as Arc<dyn Wallet>
    }

    async fn pay(&self, amount: Money) -> Paid {
        Paid { order: self.order(amount, "paid"), amount, code: None }
    }

    async fn leave_unpaid(&self, amount: Money) -> OrderRef {
        self.order(amount, "open")
    }

    fn plays(&self, operation: Operation) -> bool {
        !matches!(operation, Operation::Void | Operation::Payer | Operation::Bill | Operation::AbnormalRefund)
    }

    async fn break_next(&self, operation: Operation, fault: Fault) -> bool {
        let possible = self.plays(operation)
            && !matches!(fault, Fault::Closed | Fault::Abnormal)
            && (operation == Operation::Refund || fault != Fault::NotEnoughBalance);
        self.books.lock().unwrap().next_fault = possible.then_some((operation, fault));
        possible
    }

    async fn paid_back(&self, order: &OrderRef) -> Money {
        let books = self.books.lock().unwrap();
        Money::fen(books.orders[order.order_no.as_str()].refunds.values().sum()).unwrap()
    }

    async fn times_paid(&self, order: &OrderRef, number: &WalletRequestNo) -> u32 {
        let books = self.books.lock().unwrap();
        u32::from(books.orders[order.order_no.as_str()].refunds.contains_key(number.as_str()))
    }

    async fn pass_pace(&self) {}

    async fn pass_void_delay(&self) {}

    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    fn notify_url(&self) -> Option<String> {
        Some(self.notify_url.clone())
    }

    async fn heard(&self) -> Vec<(Vec<(String, String)>, Vec<u8>)> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, books: Arc<Mutex<Books>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, Arc::clone(&books)));
    }
}

async fn answer(mut stream: TcpStream, books: Arc<Mutex<Books>>) {
    let Some((line, headers, body)) = hear(&mut stream).await else { return };
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signed = sign(&key, &[method.as_bytes(), path.as_bytes(), &body]);
    let genuine = headers.iter().any(|(name, value)| name == "x-penny-sign" && *value == signed);
    let operation = operation(method, path);
    let fault = {
        let mut books = books.lock().unwrap();
        let mine = books.next_fault.take_if(|(meant, _)| Some(*meant) == operation);
        mine.map(|(_, fault)| fault)
    };
    let (status, mut text) = match fault {
        Some(Fault::NoEffectTimeout) => return,
        Some(Fault::Http500 | Fault::SystemError) => (500, "{}".to_owned()),
        Some(Fault::RateLimited) => (429, "{}".to_owned()),
        Some(Fault::UnsignedError) => (403, json!({"code": "NO_ORDER"}).to_string()),
        Some(Fault::NotEnoughBalance) => (402, json!({"code": "NO_BALANCE"}).to_string()),
        _ if !genuine => (401, json!({"code": "SIGN"}).to_string()),
        _ => decide(&books, method, path, &body),
    };
    match fault {
        Some(Fault::EffectThenTimeout) => return,
        Some(Fault::EffectThenReset) => {
            stream.set_zero_linger().unwrap();
            return;
        }
        Some(Fault::GarbageBody) => text = "{\"number\":".to_owned(),
        Some(Fault::Slow) => tokio::time::sleep(Duration::from_millis(50)).await,
        _ => {}
    }
    let mut sign = sign(&key, &[status.to_string().as_bytes(), text.as_bytes()]);
    match fault {
        Some(Fault::BadSignature) => sign = "00".repeat(32),
        Some(Fault::UnsignedError) => sign = String::new(),
        _ => {}
    }
    let length = text.len();
    let head =
        format!("HTTP/1.1 {status} x\r\nx-penny-sign: {sign}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all((head + &text).as_bytes()).await;
}

fn operation(method: &str, path: &str) -> Option<Operation> {
    match (method, path) {
        ("POST", "/refunds") => Some(Operation::Refund),
        ("GET", path) if path.starts_with("/refunds/") => Some(Operation::QueryRefund),
        ("POST", path) if path.ends_with("/close") => Some(Operation::Close),
        ("GET", path) if path.starts_with("/orders/") => Some(Operation::QueryOrder),
        _ => None,
    }
}

fn decide(books: &Mutex<Books>, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let mut books = books.lock().unwrap();
    let no = |status, code: &str| (status, json!({ "code": code }).to_string());
    if (method, path) == ("POST", "/refunds") {
        let wish: Value = serde_json::from_slice(body).unwrap();
        let (number, amount) = (wish["number"].as_str().unwrap().to_owned(), wish["amount"].as_i64().unwrap());
        let name = wish["order"].as_str().unwrap();
        let Some(order) = books.orders.get_mut(name) else { return no(404, "NO_ORDER") };
        match order.refunds.get(&number) {
            Some(first) if *first != amount => return no(409, "NUMBER_USED"),
            Some(_) => {}
            None if order.refunds.values().sum::<i64>() + amount > order.amount => return no(409, "TOO_MUCH"),
            None => drop(order.refunds.insert(number.clone(), amount)),
        }
        let object = json!({ "number": number, "order": name, "amount": amount, "state": "paid" }).to_string();
        if let Some(url) = wish["notify"].as_str() {
            tokio::spawn(notify(url.to_owned(), object.clone()));
        }
        return (200, object);
    }
    if let Some(number) = path.strip_prefix("/refunds/") {
        let found = books.orders.iter().find_map(|(name, order)| Some((name, order.refunds.get(number)?)));
        return match found {
            Some((name, amount)) => {
                (200, json!({ "number": number, "order": name, "amount": amount, "state": "paid" }).to_string())
            }
            None => no(404, "NOT_KNOWN"),
        };
    }
    let name = path.trim_start_matches("/orders/").trim_start_matches("id/P-").trim_end_matches("/close");
    let Some(order) = books.orders.get_mut(name) else { return no(404, "NO_ORDER") };
    if path.ends_with("/close") {
        if order.state == "paid" {
            return no(409, "PAID");
        }
        order.state = "closed";
    }
    let paid_at = (order.state == "paid").then(|| "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    let object = json!({ "order": name, "id": format!("P-{name}"), "amount": order.amount, "state": order.state,
        "paid_at": paid_at, "payer": "p-1" });
    (200, object.to_string())
}

async fn notify(url: String, body: String) {
    let time = Timestamp::now().as_second().to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let sign = sign(&key, &[time.as_bytes(), body.as_bytes()]);
    let request = client().post(url).header("x-penny-time", time).header("x-penny-sign", sign).body(body);
    let _ = request.send().await;
}

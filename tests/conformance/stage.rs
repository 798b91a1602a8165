//! The sandbox as the stage of an adapter: in this process, over sockets, with its own books.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use scanback_alipay::{Alipay, PayerLookup};
use scanback_sandbox::{Options, Sandbox};
use scanback_wallet::{
    Money, OrderNo, OrderRef, PaymentCode, SystemClock, Wallet, WalletKind, WalletRequestNo,
    conformance::{Fault, Operation, Paid, Stage},
};
use scanback_wechat::{PublicKeyText, SettingsText, SignType, WechatPay};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// The wallets' own time runs this much faster.
const SCALE: u32 = 600;
/// How long a call may hang that the sandbox lets time out: it closes the line sooner.
const CALL_WITHIN: Duration = Duration::from_secs(20);

/// What answers are verified with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyMode {
    PublicKey,
    Certificates,
}

pub(super) type Heard = Arc<Mutex<Vec<(Vec<(String, String)>, Vec<u8>)>>>;

pub(super) struct SandboxStage {
    sandbox: Sandbox,
    wallet: Arc<dyn Wallet>,
    kind: WalletKind,
    http: reqwest::Client,
    notify_url: String,
    heard: Heard,
    orders: AtomicU32,
}

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("conformance-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

async fn sandbox(name: &str, partner: bool) -> Sandbox {
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls_listen: None,
        dir: folder(name),
        seed: None,
        control_token: None,
        time_scale: SCALE,
        keep_books: false,
        partner,
        no_verify: false,
    };
    Sandbox::start(options).await.unwrap()
}

pub(super) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(CALL_WITHIN)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .unwrap()
}

impl SandboxStage {
    pub(super) async fn wechat(mode: KeyMode) -> Self {
        Self::wechat_as(&format!("wechat-{mode:?}"), mode, false).await
    }

    /// WeChat Pay in partner mode (wechat-pay §19).
    pub(super) async fn wechat_partner() -> Self {
        Self::wechat_as("wechat-partner", KeyMode::PublicKey, true).await
    }

    async fn wechat_as(name: &str, mode: KeyMode, partner: bool) -> Self {
        let sandbox = sandbox(name, partner).await;
        let text = |name: &str| std::fs::read_to_string(sandbox.dir().join("wechat").join(name)).unwrap();
        let params: Value = serde_json::from_str(&text("params.json")).unwrap();
        let param = |name: &str| params[name].as_str().unwrap().to_owned();
        let public_key = PublicKeyText { id: param("platform_public_key_id"), pem: text("platform_public_key.pem") };
        let settings = SettingsText {
            base_url: sandbox.base_url(),
            mchid: param("mchid"),
            appid: Some(param("appid")),
            merchant_key: text("merchant_key.pem").into(),
            merchant_cert: Some(text("merchant_cert.pem")),
            merchant_serial: None,
            sub_mchid: partner.then(|| param("sub_mchid")),
            sub_appid: partner.then(|| param("sub_appid")),
            funds_account: None,
            apiv3_key: param("apiv3_key").into(),
            apiv2_key: Some(param("apiv2_key").into()),
            v2_sign_type: SignType::Md5,
            platform_certs: Vec::new(), // fetched when the first answer needs one
            public_key: (mode == KeyMode::PublicKey).then_some(public_key),
        };
        let wallet = WechatPay::new(settings.check().unwrap(), client(), Arc::new(SystemClock));
        Self::of(sandbox, Arc::new(wallet)).await
    }

    pub(super) async fn alipay(mode: KeyMode) -> Self {
        let sandbox = sandbox(&format!("alipay-{mode:?}"), false).await;
        let text = |name: &str| std::fs::read_to_string(sandbox.dir().join("alipay").join(name)).unwrap();
        let params: Value = serde_json::from_str(&text("params.json")).unwrap();
        let param = |name: &str| params[name].as_str().unwrap().to_owned();
        let [app, alipay, root, public] =
            ["app_cert.pem", "alipay_cert.pem", "alipay_root_cert.pem", "alipay_public_key.pem"].map(text);
        let verifying = match mode {
            KeyMode::PublicKey => scanback_alipay::VerifyingText::PublicKey(&public),
            KeyMode::Certificates => {
                scanback_alipay::VerifyingText::Certificates { app: &app, alipay: &alipay, root: &root }
            }
        };
        let settings = scanback_alipay::Settings::read(&scanback_alipay::SettingsText {
            gateway_url: &param("gateway_url"),
            app_id: &param("app_id"),
            seller_id: Some(&param("seller_id")),
            app_private_key: &text("app_private_key.pem").into(),
            verifying,
            aes_key: None,
            payer_lookup: Some(PayerLookup::Decode),
            refund_window_days: None,
        })
        .unwrap();
        let wallet = Alipay::new(settings, client(), Arc::new(SystemClock));
        Self::of(sandbox, Arc::new(wallet)).await
    }

    async fn of(sandbox: Sandbox, wallet: Arc<dyn Wallet>) -> Self {
        let (notify_url, heard) = listen(Arc::clone(&wallet)).await;
        let kind = wallet.kind();
        Self { sandbox, wallet, kind, http: client(), notify_url, heard, orders: AtomicU32::new(0) }
    }

    fn at(&self, path: &str) -> String {
        format!("{}/_sandbox/{path}", self.sandbox.base_url())
    }

    async fn order(&self, amount: Money, state: &str) -> (OrderRef, Value) {
        let number = format!("CONFORMANCE{:06}", self.orders.fetch_add(1, Ordering::SeqCst));
        let mut order = json!({"wallet": self.kind.as_str(), "out_trade_no": number, "amount_fen": amount.value(),
            "state": state, "notify_url": self.notify_url});
        if self.kind == WalletKind::Wechat {
            order["trade_type"] = "MICROPAY".into();
        }
        let answer = self.http.post(self.at("orders")).json(&order).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        let order_no = OrderNo::parse(&number).unwrap();
        (OrderRef { order_no, transaction_id: None }, answer.json().await.unwrap())
    }

    async fn books(&self, order: &OrderRef) -> Value {
        let url = self.at(&format!("orders/{}", order.order_no));
        let answer = self.http.get(url).query(&[("wallet", self.kind.as_str())]).send().await.unwrap();
        answer.json().await.unwrap()
    }
}

#[async_trait]
impl Stage for SandboxStage {
    fn wallet(&self) -> Arc<dyn Wallet> {
        Arc::clone(&self.wallet)
    }

    async fn pay(&self, amount: Money) -> Paid {
        let (order, made) = self.order(amount, "paid").await;
        let code = made["payment_code"].as_str().and_then(PaymentCode::parse);
        Paid { order, amount, code }
    }

    async fn leave_unpaid(&self, amount: Money) -> OrderRef {
        self.order(amount, "unpaid").await.0
    }

    fn plays(&self, _operation: Operation) -> bool {
        true
    }

    async fn break_next(&self, operation: Operation, fault: Fault) -> bool {
        let delete = self.http.delete(self.at("faults")).send().await.unwrap();
        assert!(delete.status().is_success());
        let body = json!({"wallet": self.kind.as_str(), "operation": operation.as_str(), "kind": fault.as_str(),
            "times": 1, "delay_ms": 20});
        let answer = self.http.post(self.at("faults")).json(&body).send().await.unwrap();
        match answer.status().as_u16() {
            201 => true,
            422 => false, // an impossible pair
            status => panic!("{status}: {}", answer.text().await.unwrap()),
        }
    }

    async fn paid_back(&self, order: &OrderRef) -> Money {
        Money::fen(self.books(order).await["refunded_fen"].as_i64().unwrap()).unwrap()
    }

    async fn times_paid(&self, order: &OrderRef, number: &WalletRequestNo) -> u32 {
        let books = self.books(order).await;
        let refunds = books["refunds"].as_array().unwrap().iter();
        let paid = refunds.filter(|refund| refund["out_refund_no"] == number.as_str());
        paid.map(|refund| u32::try_from(refund["times_paid"].as_i64().unwrap()).unwrap()).sum()
    }

    async fn pass_pace(&self) {
        let pace = self.wallet.capabilities().pace / SCALE;
        tokio::time::sleep(pace + pace / 5 + Duration::from_millis(20)).await;
    }

    async fn pass_void_delay(&self) {
        let delay = self.wallet.capabilities().void.map_or(Duration::ZERO, |rules| rules.not_before) / SCALE;
        tokio::time::sleep(delay + delay / 5 + Duration::from_millis(20)).await;
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    fn notify_url(&self) -> Option<String> {
        Some(self.notify_url.clone())
    }

    async fn heard(&self) -> Vec<(Vec<(String, String)>, Vec<u8>)> {
        self.heard.lock().unwrap().clone()
    }
}

/// Hears notifications at the address that is given back, and acknowledges them as the wallet wants it.
pub(super) async fn listen(wallet: Arc<dyn Wallet>) -> (String, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let notify_url = format!("http://{}/notify", listener.local_addr().unwrap());
    let heard = Heard::default();
    tokio::spawn(listen_at(listener, wallet, Arc::clone(&heard)));
    (notify_url, heard)
}

async fn listen_at(listener: TcpListener, wallet: Arc<dyn Wallet>, heard: Heard) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let Some((_, headers, body)) = hear(&mut stream).await else { continue };
        heard.lock().unwrap().push((headers, body));
        let answer = wallet.acknowledge(true);
        let text = format!(
            "HTTP/1.1 {} OK\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{}",
            answer.status,
            answer.content_type,
            answer.body.len(),
            answer.body
        );
        let _ = stream.write_all(text.as_bytes()).await;
    }
}

/// A request's first line, its headers (lower-case names) and its body.
pub(crate) async fn hear(stream: &mut TcpStream) -> Option<(String, Vec<(String, String)>, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let headers: Vec<(String, String)> = head
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length.map_or(0, |(_, length)| length.parse().unwrap_or(0));
            if bytes.len() >= end + 4 + length {
                let line = head.lines().next().unwrap_or_default().to_owned();
                return Some((line, headers, bytes[end + 4..end + 4 + length].to_vec()));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

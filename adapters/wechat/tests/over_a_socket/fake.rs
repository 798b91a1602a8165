//! A server on a free port that answers as a test says and keeps what it was sent.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{rand::SystemRandom, signature};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use rsa::{Pkcs1v15Sign, RsaPublicKey, pkcs8::DecodePublicKey as _};
use scanback_wallet::Clock;
use scanback_wechat::{PublicKeyText, SettingsText, SignType, WechatPay};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// The moment at which the recorded list of certificates was signed; all fakes sign at it too.
pub(crate) const NOW: i64 = 1_735_700_003;

/// Total time-out of the clients in these tests: no loaded machine should reach it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Total time-out where it is what the test waits for.
const IMPATIENCE: Duration = Duration::from_millis(500);

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire/wechat").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn file(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap()
}

pub(crate) fn vectors() -> &'static Value {
    static VECTORS: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(&file("vectors.json")).unwrap());
    &VECTORS
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

pub(crate) struct HeldClock(AtomicI64);

impl HeldClock {
    pub(crate) fn at(second: i64) -> Self {
        Self(AtomicI64::new(second))
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for HeldClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// The recorded refund object in another status.
pub(crate) fn refund_answer(status: &str) -> String {
    let mut body: Value = serde_json::from_str(text(&vectors()["response_verification"][0]["body"])).unwrap();
    body["status"] = status.into();
    body.to_string()
}

pub(crate) fn order_answer(out_trade_no: &str) -> String {
    json!({"mchid": vectors()["params"]["mchid"], "out_trade_no": out_trade_no, "trade_state": "SUCCESS",
        "transaction_id": "4200000000202501010000000001", "success_time": "2025-01-01T10:00:00+08:00",
        "amount": {"total": 5000, "currency": "CNY"}})
    .to_string()
}

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    Raw(String),
    /// The same, of any bytes.
    Bytes(Vec<u8>),
    /// Reads the request, answers nothing, keeps the line open.
    Silence,
    /// Reads the request and hangs up.
    Close,
    /// Reads the request and resets the connection.
    Reset,
    /// Promises more than it sends, and hangs up.
    Half,
    /// Promises more than it sends, and keeps the line open.
    HalfThenSilence,
}

const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"refund_id\":";

impl Reply {
    pub(crate) fn unsigned(status: u16, body: &str) -> Self {
        Self::with(status, &[], body)
    }

    /// Signed by the platform certificate that the settings hold.
    pub(crate) fn signed(status: u16, body: &str) -> Self {
        Self::signed_with("platform_key.b64", "platform_serial", status, body)
    }

    /// Signed by the one that comes after it.
    pub(crate) fn signed_by_next(status: u16, body: &str) -> Self {
        Self::signed_with("platform_key_next.b64", "platform_serial_next", status, body)
    }

    fn signed_with(key: &str, serial: &str, status: u16, body: &str) -> Self {
        let der = BASE64.decode(file(key).trim()).unwrap();
        let pair = signature::RsaKeyPair::from_pkcs8(&der).unwrap();
        let mut signed = vec![0; pair.public_modulus_len()];
        let message = format!("{NOW}\nN0NCE\n{body}\n");
        pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signed).unwrap();
        let headers = [
            ("Wechatpay-Serial", text(&vectors()["params"][serial]).to_owned()),
            ("Wechatpay-Timestamp", NOW.to_string()),
            ("Wechatpay-Nonce", "N0NCE".to_owned()),
            ("Wechatpay-Signature", BASE64.encode(signed)),
            ("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048".to_owned()),
            ("Request-ID", "08F-1".to_owned()),
        ];
        Self::with(status, &headers, body)
    }

    /// A recorded answer of the vectors.
    pub(crate) fn recorded(case: &Value) -> Self {
        let headers: Vec<_> = case["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (&name[..], text(value).to_owned()))
            .collect();
        Self::with(200, &headers, text(&case["body"]))
    }

    /// An unsigned download.
    pub(crate) fn file(content_type: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n", body.len());
        Self::Bytes([head.as_bytes(), b"connection: close\r\n\r\n", body].concat())
    }

    fn with(status: u16, headers: &[(&str, String)], body: &str) -> Self {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        Self::Raw(format!(
            "HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Raw(raw) => raw.lines().next().unwrap_or_default().to_owned(),
            Self::Bytes(_) => "bytes".to_owned(),
            Self::Silence => "silence".to_owned(),
            Self::Close => "close".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::Half => "half".to_owned(),
            Self::HalfThenSilence => "half, then silence".to_owned(),
        }
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Seen {
    pub(crate) fn body(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Checks `Authorization` over exactly what came, with another library than the one that signed.
    pub(crate) fn assert_signed(&self) {
        let header = self.header("authorization").unwrap();
        let pairs: HashMap<&str, &str> = header
            .strip_prefix("WECHATPAY2-SHA256-RSA2048 ")
            .unwrap()
            .split(',')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect();
        let params = &vectors()["params"];
        assert_eq!((pairs["mchid"], pairs["serial_no"]), (text(&params["mchid"]), text(&params["merchant_serial"])));
        let mut message =
            format!("{}\n{}\n{}\n{}\n", self.method, self.target, pairs["timestamp"], pairs["nonce_str"]).into_bytes();
        message.extend_from_slice(&self.body);
        message.push(b'\n');
        let pem = file("merchant_cert.pem");
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let key = RsaPublicKey::from_public_key_der(pem.parse_x509().unwrap().public_key().raw).unwrap();
        let signature = BASE64.decode(header.split("signature=\"").nth(1).unwrap().split('"').next().unwrap()).unwrap();
        key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(&message), &signature).unwrap();
    }
}

pub(crate) struct Fake {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// `reply` gets the request and its number, from 0.
    pub(crate) async fn start(reply: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (reply, kept) = (Arc::new(reply), seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (reply, kept) = (reply.clone(), kept.clone());
                tokio::spawn(async move {
                    let mut stream = stream;
                    let Some(request) = read(&mut stream).await else { return };
                    let number = {
                        let mut kept = kept.lock().unwrap();
                        kept.push(request.clone());
                        kept.len() - 1
                    };
                    answer(&mut stream, &reply(&request, number)).await;
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Both key modes: the first platform certificate and the public key.
    pub(crate) fn settings(&self) -> SettingsText {
        let params = &vectors()["params"];
        SettingsText {
            base_url: format!("http://{}", self.address),
            mchid: text(&params["mchid"]).to_owned(),
            appid: Some(text(&params["appid"]).to_owned()),
            merchant_key: file("merchant_key.b64").into(),
            merchant_cert: Some(file("merchant_cert.pem")),
            merchant_serial: None,
            sub_mchid: None,
            sub_appid: None,
            funds_account: None,
            apiv3_key: text(&params["apiv3_key"]).into(),
            apiv2_key: Some(text(&params["apiv2_key"]).into()),
            v2_sign_type: SignType::Md5,
            platform_certs: vec![file("platform_cert.pem")],
            public_key: Some(PublicKeyText {
                id: text(&params["platform_public_key_id"]).to_owned(),
                pem: file("wechatpay_public_key.pem"),
            }),
        }
    }

    pub(crate) fn wallet(&self) -> WechatPay {
        self.wallet_of(&self.settings(), Arc::new(HeldClock::at(NOW)))
    }

    pub(crate) fn wallet_of(&self, settings: &SettingsText, clock: Arc<dyn Clock>) -> WechatPay {
        WechatPay::new(settings.check().unwrap(), http(PATIENCE), clock)
    }

    pub(crate) fn impatient_wallet(&self) -> WechatPay {
        WechatPay::new(self.settings().check().unwrap(), http(IMPATIENCE), Arc::new(HeldClock::at(NOW)))
    }
}

fn http(time_out: Duration) -> reqwest::Client {
    reqwest::Client::builder().timeout(time_out).redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let mut lines = head.lines();
            let mut words = lines.next()?.split(' ');
            let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
            let headers: HashMap<String, String> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some(Seen { method, target, headers, body: bytes[end + 4..].to_vec() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer(stream: &mut TcpStream, reply: &Reply) {
    let bytes = match reply {
        Reply::Raw(raw) => raw.as_bytes(),
        Reply::Bytes(bytes) => bytes,
        Reply::Silence | Reply::Close | Reply::Reset => b"",
        Reply::Half | Reply::HalfThenSilence => HALF.as_bytes(),
    };
    // The client may hang up first, as it does on an answer that is too large.
    let _ = stream.write_all(bytes).await;
    if matches!(reply, Reply::Reset) {
        stream.set_zero_linger().unwrap(); // dropping it then sends RST
    }
    if matches!(reply, Reply::Silence | Reply::HalfThenSilence) {
        tokio::time::sleep(PATIENCE).await;
    }
}

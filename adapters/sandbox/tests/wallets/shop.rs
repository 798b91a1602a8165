//! A merchant with a sandbox of its own, and the two signing clients.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};
use reqwest::{Method, header::HeaderMap};
use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1v15::{Signature, SigningKey, VerifyingKey},
    pkcs8::{DecodePrivateKey as _, DecodePublicKey as _},
    signature::{SignatureEncoding as _, Signer as _, Verifier as _},
};
use scanback_sandbox::{Options, Sandbox};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::OnceCell;

/// One directory is filled for all tests; each works in a copy.
static FILLED: OnceCell<PathBuf> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

pub(crate) fn fresh_dir() -> PathBuf {
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sandbox-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    dir
}

pub(crate) fn options(dir: &Path) -> Options {
    Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls_listen: None,
        dir: dir.to_owned(),
        seed: Some(7),
        control_token: Some("open-sesame".to_owned()),
        time_scale: 60,
        keep_books: false,
        partner: false,
        no_verify: false,
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(crate) async fn filled_dir() -> PathBuf {
    let filled = FILLED
        .get_or_init(|| async {
            let dir = fresh_dir();
            Sandbox::start(options(&dir)).await.unwrap().stop().await;
            dir
        })
        .await;
    let dir = fresh_dir();
    copy(filled, &dir);
    dir
}

pub(crate) struct Shop {
    pub(crate) sandbox: Sandbox,
    pub(crate) http: reqwest::Client,
    pub(crate) dir: PathBuf,
    pub(crate) wechat: Value,
    pub(crate) alipay: Value,
    merchant: SigningKey<Sha256>,
    app: SigningKey<Sha256>,
}

/// An answer of the WeChat side.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The key that `Wechatpay-Serial` names signed exactly this body, less than five minutes ago.
    pub(crate) is_genuine: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// Status and code of an error.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// An answer of the Alipay side.
#[derive(Debug)]
pub(crate) struct GatewayAnswer {
    pub(crate) status: u16,
    pub(crate) text: String,
    /// The node's raw text.
    pub(crate) raw: String,
    pub(crate) node_name: String,
    pub(crate) is_genuine: bool,
    pub(crate) cert_sn: Option<String>,
}

impl GatewayAnswer {
    pub(crate) fn node(&self) -> Value {
        serde_json::from_str(&self.raw).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> String {
        self.node()[name].as_str().unwrap_or_default().to_owned()
    }
}

fn private_key(path: &Path) -> SigningKey<Sha256> {
    SigningKey::new(RsaPrivateKey::from_pkcs8_pem(&fs::read_to_string(path).unwrap()).unwrap())
}

pub(crate) fn public_key(path: &Path) -> VerifyingKey<Sha256> {
    VerifyingKey::new(RsaPublicKey::from_public_key_pem(&fs::read_to_string(path).unwrap()).unwrap())
}

pub(crate) fn certificate_key(pem: &str) -> (String, VerifyingKey<Sha256>) {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let key = RsaPublicKey::from_public_key_der(certificate.public_key().raw).unwrap();
    (hex::encode_upper(certificate.raw_serial()), VerifyingKey::new(key))
}

pub(crate) fn verifies(key: &VerifyingKey<Sha256>, message: &[u8], signature: &str) -> bool {
    let Ok(bytes) = BASE64.decode(signature) else { return false };
    Signature::try_from(bytes.as_slice()).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

fn sign(key: &SigningKey<Sha256>, message: &[u8]) -> String {
    BASE64.encode(key.sign(message).to_vec())
}

pub(crate) fn nonce() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = filled_dir().await;
        let mut options = options(&dir);
        change(&mut options);
        Self::of(Sandbox::start(options).await.unwrap(), dir)
    }

    pub(crate) fn of(sandbox: Sandbox, dir: PathBuf) -> Self {
        let read = |name: &str| serde_json::from_str(&fs::read_to_string(dir.join(name)).unwrap()).unwrap();
        Self {
            sandbox,
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap(),
            wechat: read("wechat/params.json"),
            alipay: read("alipay/params.json"),
            merchant: private_key(&dir.join("wechat/merchant_key.pem")),
            app: private_key(&dir.join("alipay/app_private_key.pem")),
            dir,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.base_url())
    }

    pub(crate) async fn close(self) {
        self.sandbox.stop().await;
        fs::remove_dir_all(&self.dir).unwrap();
    }

    // control calls

    pub(crate) async fn control(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.http.request(method, self.url(&format!("/_sandbox{path}")));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    /// A paid order; `more` adds or replaces fields.
    pub(crate) async fn order(&self, wallet: &str, number: &str, amount: i64, more: Value) -> Value {
        let mut order = json!({ "wallet": wallet, "out_trade_no": number, "amount_fen": amount });
        for (name, value) in more.as_object().unwrap() {
            order[name] = value.clone();
        }
        let (status, answer) = self.control(Method::POST, "/orders", Some(order)).await;
        assert_eq!(status, 201, "{answer}");
        answer
    }

    pub(crate) async fn fault(&self, wallet: &str, operation: &str, kind: &str) {
        self.fault_with(json!({ "wallet": wallet, "operation": operation, "kind": kind, "times": 1 })).await;
    }

    pub(crate) async fn fault_with(&self, fault: Value) {
        let (status, answer) = self.control(Method::POST, "/faults", Some(fault)).await;
        assert_eq!(status, 201, "{answer}");
    }

    pub(crate) async fn books(&self, wallet: &str, number: &str) -> Value {
        let (status, answer) = self.control(Method::GET, &format!("/orders/{number}?wallet={wallet}"), None).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub(crate) async fn ledger(&self) -> Value {
        self.control(Method::GET, "/ledger", None).await.1
    }

    pub(crate) async fn violations(&self) -> Vec<String> {
        let ledger = self.ledger().await;
        let all = ledger["violations"].as_array().unwrap();
        all.iter().map(|one| one["kind"].as_str().unwrap().to_owned()).collect()
    }

    // WeChat Pay

    /// The header of a signed call, as an integrator writes it.
    pub(crate) fn authorization(&self, method: &str, url: &str, body: &str) -> String {
        self.authorization_at(method, url, body, Timestamp::now().as_second(), &nonce())
    }

    pub(crate) fn authorization_at(&self, method: &str, url: &str, body: &str, seconds: i64, nonce: &str) -> String {
        let signature = sign(&self.merchant, format!("{method}\n{url}\n{seconds}\n{nonce}\n{body}\n").as_bytes());
        let (mchid, serial) =
            (self.wechat["mchid"].as_str().unwrap(), self.wechat["merchant_serial"].as_str().unwrap());
        format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{mchid}\",nonce_str=\"{nonce}\",signature=\"{signature}\",timestamp=\"{seconds}\",serial_no=\"{serial}\""
        )
    }

    pub(crate) async fn try_wechat(&self, method: Method, path: &str, body: Option<Value>) -> reqwest::Result<Answer> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let authorization = self.authorization(method.as_str(), path, &body);
        let serial = self.wechat["platform_public_key_id"].as_str().unwrap();
        self.send_wechat(method, path, body, &authorization, Some(serial)).await
    }

    pub(crate) async fn send_wechat(
        &self,
        method: Method,
        path: &str,
        body: String,
        authorization: &str,
        serial: Option<&str>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method, self.url(path)).header("Authorization", authorization);
        if let Some(serial) = serial {
            request = request.header("Wechatpay-Serial", serial);
        }
        let answer = request.header("Accept", "application/json").body(body).send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await?.to_vec();
        Ok(Answer { is_genuine: self.is_genuine(&headers, &body), status, headers, body })
    }

    pub(crate) async fn wechat(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.try_wechat(method, path, body).await.unwrap()
    }

    /// Whether headers and body of an answer or a notification are the wallet's.
    pub(crate) fn is_genuine(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (timestamp, nonce, serial) = (get("wechatpay-timestamp"), get("wechatpay-nonce"), get("wechatpay-serial"));
        let key = if serial == self.wechat["platform_public_key_id"] {
            public_key(&self.dir.join("wechat/platform_public_key.pem"))
        } else {
            let pem = fs::read_to_string(self.dir.join("wechat/platform_cert.pem")).unwrap();
            let (of, key) = certificate_key(&pem);
            if of != serial {
                return false;
            }
            key
        };
        let message = [format!("{timestamp}\n{nonce}\n").as_bytes(), body, b"\n"].concat();
        let seconds: i64 = timestamp.parse().unwrap_or_default();
        let is_fresh = (Timestamp::now().as_second() - seconds).abs() < 300;
        is_fresh
            && get("wechatpay-signature-type") == "WECHATPAY2-SHA256-RSA2048"
            && verifies(&key, &message, get("wechatpay-signature"))
    }

    pub(crate) fn refund_body(&self, number: &str, order: &str, refund: i64, total: i64) -> Value {
        json!({
            "out_trade_no": order, "out_refund_no": number, "reason": "七天无理由",
            "amount": { "refund": refund, "total": total, "currency": "CNY" },
        })
    }

    pub(crate) async fn wechat_refund(&self, number: &str, order: &str, refund: i64, total: i64) -> Answer {
        let body = self.refund_body(number, order, refund, total);
        self.wechat(Method::POST, "/v3/refund/domestic/refunds", Some(body)).await
    }

    pub(crate) async fn wechat_status(&self, number: &str) -> String {
        let answer = self.wechat(Method::GET, &format!("/v3/refund/domestic/refunds/{number}"), None).await;
        answer.json()["status"].as_str().unwrap_or("none").to_owned()
    }

    // Alipay

    /// The parameters of a call, signed.
    pub(crate) fn params(&self, method: &str, content: &Value, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let now = Timestamp::now().to_zoned(TimeZone::fixed(Offset::constant(8)));
        let mut params: Vec<(String, String)> = [
            ("app_id", self.alipay["app_id"].as_str().unwrap()),
            ("method", method),
            ("format", "JSON"),
            ("charset", "utf-8"),
            ("sign_type", "RSA2"),
            ("timestamp", &now.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            ("version", "1.0"),
            ("biz_content", &content.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        for (name, value) in more {
            params.retain(|(known, _)| known != name);
            params.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.sign_params(&mut params);
        params
    }

    pub(crate) fn sign_params(&self, params: &mut Vec<(String, String)>) {
        params.retain(|(name, _)| name != "sign");
        params.sort();
        let text: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let signature = sign(&self.app, text.join("&").as_bytes());
        params.push(("sign".to_owned(), signature));
    }

    pub(crate) async fn try_alipay(&self, method: &str, content: Value) -> reqwest::Result<GatewayAnswer> {
        self.post_alipay(&self.params(method, &content, &[])).await
    }

    pub(crate) async fn alipay(&self, method: &str, content: Value) -> GatewayAnswer {
        self.try_alipay(method, content).await.unwrap()
    }

    pub(crate) async fn post_alipay(&self, params: &[(String, String)]) -> reqwest::Result<GatewayAnswer> {
        self.read_alipay(self.http.post(self.url("/gateway.do")).form(params).send().await?).await
    }

    pub(crate) async fn read_alipay(&self, answer: reqwest::Response) -> reqwest::Result<GatewayAnswer> {
        let status = answer.status().as_u16();
        let text = String::from_utf8_lossy(&answer.bytes().await?).into_owned();
        Ok(self.split(status, text))
    }

    /// The node as the official SDKs cut it out: from the end of its name to the next known key.
    fn split(&self, status: u16, text: String) -> GatewayAnswer {
        let node_name = text.split('"').nth(1).unwrap_or_default().to_owned();
        let rest = text.split_once(':').map(|(_, rest)| rest).unwrap_or_default();
        let end = rest.find(",\"alipay_cert_sn\"").or_else(|| rest.rfind(",\"sign\":\"")).unwrap_or(rest.len());
        let raw = rest[..end].to_owned();
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let key = public_key(&self.dir.join("alipay/alipay_public_key.pem"));
        let is_genuine = value["sign"].as_str().is_some_and(|sign| verifies(&key, raw.as_bytes(), sign));
        let cert_sn = value["alipay_cert_sn"].as_str().map(str::to_owned);
        GatewayAnswer { status, raw, node_name, is_genuine, cert_sn, text }
    }

    pub(crate) async fn alipay_refund(&self, number: &str, order: &str, yuan: &str) -> GatewayAnswer {
        let content = json!({ "out_trade_no": order, "out_request_no": number, "refund_amount": yuan });
        self.alipay("alipay.trade.refund", content).await
    }

    pub(crate) async fn alipay_refund_query(&self, number: &str, order: &str) -> GatewayAnswer {
        let content = json!({ "out_trade_no": order, "out_request_no": number });
        self.alipay("alipay.trade.fastpay.refund.query", content).await
    }
}

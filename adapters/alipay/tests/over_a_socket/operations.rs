//! Cancel, close, payer, bill and content encryption over a socket, against a gateway that answers as a test says.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::Url;
use scanback_alipay::{Alipay, PayerLookup, Settings, SettingsText, VerifyingText};
use scanback_wallet::{
    Asked, Bill, BillKind, DoubtKind, Money, OrderNo, OrderRef, Outcome, PayerOf, PaymentCode, PaymentResult,
    RecordStatus, RefundCall, SystemClock, VoidCall, Wallet as _, WalletError, WalletRequestNo,
};
use secrecy::SecretString;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire/alipay").join(name)).unwrap()
}

pub(crate) fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap()
}

pub(crate) fn vectors() -> Value {
    serde_json::from_str(&text("vectors.json")).unwrap()
}

/// A request: what the gateway makes of query and form.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) params: BTreeMap<String, String>,
}

/// What the gateway answers: the node of a method, or a file.
pub(crate) enum Reply {
    Node(String),
    File(Vec<u8>),
}

pub(crate) struct Gateway {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Gateway {
    pub(crate) async fn start(reply: impl Fn(&Seen, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let url = format!("{base}/gateway.do");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                let body = match reply(&request, &base) {
                    Reply::Node(node) => signed(&request.params["method"], &node).into_bytes(),
                    Reply::File(file) => file,
                };
                kept.lock().unwrap().push(request);
                let head = format!(
                    "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(&[head.into_bytes(), body].concat()).await.unwrap();
            }
        });
        Self { url, seen }
    }

    pub(crate) fn wallet(&self, lookup: Option<PayerLookup>, aes_key: Option<&str>) -> Alipay {
        let aes_key = aes_key.map(SecretString::from);
        let settings = Settings::read(&SettingsText {
            gateway_url: &self.url,
            app_id: "2021000000000001",
            seller_id: Some("2088000000000001"),
            app_private_key: &text("app_private_key.b64").into(),
            verifying: VerifyingText::PublicKey(&text("alipay_public_key.pem")),
            aes_key: aes_key.as_ref(),
            payer_lookup: lookup,
            refund_window_days: None,
        });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Alipay::new(settings.unwrap(), http, Arc::new(SystemClock))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn signed(method: &str, node: &str) -> String {
    let pair = RsaKeyPair::from_pkcs8(&BASE64.decode(text("alipay_private_key.b64").trim()).unwrap()).unwrap();
    let mut sign = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), node.as_bytes(), &mut sign).unwrap();
    format!(r#"{{"{}_response":{node},"sign":"{}"}}"#, method.replace('.', "_"), BASE64.encode(sign))
}

async fn read(stream: &mut TcpStream) -> Seen {
    let mut request = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        let so_far = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let target = head.split(' ').nth(1).unwrap();
        let mut url = Url::parse(&format!("http://x{target}")).unwrap();
        let mut params: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        url.set_query(Some(body));
        params.extend(url.query_pairs().into_owned());
        return Seen { path: url.path().to_owned(), params };
    }
}

pub(crate) fn order() -> OrderRef {
    OrderRef { order_no: OrderNo::parse("T20250101000001").unwrap(), transaction_id: None }
}

fn void(payment: PaymentResult) -> VoidCall {
    VoidCall {
        order: order(),
        request_no: WalletRequestNo::parse("V1").unwrap(),
        total: Money::fen(5000).unwrap(),
        reason: "取消".to_owned(),
        payment,
    }
}

#[tokio::test]
async fn a_paid_order_is_voided_by_a_full_refund_and_an_unknown_payment_by_a_cancel() {
    let gateway = Gateway::start(|seen, _| {
        Reply::Node(match seen.params["method"].as_str() {
            "alipay.trade.refund" => {
                r#"{"code":"10000","fund_change":"Y","out_trade_no":"T20250101000001","refund_fee":"50.00"}"#.to_owned()
            }
            "alipay.trade.cancel" => {
                r#"{"code":"10000","out_trade_no":"T20250101000001","retry_flag":"N","action":"close"}"#.to_owned()
            }
            _ => r#"{"code":"10000","out_trade_no":"T20250101000001","trade_status":"TRADE_CLOSED","total_amount":"50.00"}"#
                .to_owned(),
        })
    })
    .await;
    let wallet = gateway.wallet(None, None);
    let Outcome::Done(record) = wallet.void(&void(PaymentResult::Paid)).await else { panic!("not done") };
    assert_eq!((record.status, record.request_no.as_str()), (RecordStatus::Paid, "V1"));
    let Outcome::Done(record) = wallet.void(&void(PaymentResult::Unknown)).await else { panic!("not done") };
    assert_eq!(record.status, RecordStatus::Closed);
    let Asked::Found(record) = wallet.query_void(&void(PaymentResult::Unknown)).await else { panic!("not found") };
    assert_eq!(record.status, RecordStatus::Closed);
    let seen = gateway.seen();
    let refund: Value = serde_json::from_str(&seen[0].params["biz_content"]).unwrap();
    assert_eq!((&refund["refund_amount"], &refund["out_request_no"]), (&"50.00".into(), &"V1".into()));
    assert_eq!(seen[1].params["biz_content"], r#"{"out_trade_no":"T20250101000001"}"#);
}

#[tokio::test]
async fn whose_code_it_is_is_asked_only_where_an_api_is_granted() {
    let gateway =
        Gateway::start(|_, _| Reply::Node(r#"{"code":"10000","user_id":"2088101117955611"}"#.to_owned())).await;
    let code = PaymentCode::parse("281234567890123456").unwrap();
    for lookup in [PayerLookup::Twostage, PayerLookup::Decode, PayerLookup::Shake] {
        let wallet = gateway.wallet(Some(lookup), None);
        assert!(wallet.capabilities().names_payer);
        let PayerOf::Payer(payer) = wallet.payer_of(&code).await.unwrap() else { panic!("nobody") };
        assert_eq!((payer.scope(), payer.expose()), ("user_id", "2088101117955611"));
    }
    let methods: Vec<_> = gateway.seen().iter().map(|seen| seen.params["method"].clone()).collect();
    let expected =
        ["alipay.user.twostage.common.use", "alipay.marketing.facetoface.decode.use", "alipay.mobile.shake.user.query"];
    assert_eq!(methods, expected);
    assert_eq!(gateway.seen()[2].params["dynamic_id"], "281234567890123456");
    let none = gateway.wallet(None, None);
    assert!(matches!(none.payer_of(&code).await, Err(WalletError::NotSupported(_))));
    let wechats = PaymentCode::parse("134567890123456789").unwrap();
    assert_eq!(gateway.wallet(Some(PayerLookup::Decode), None).payer_of(&wechats).await, Ok(PayerOf::NoCode));
    assert_eq!(gateway.seen().len(), 3, "neither of these was sent");
}

#[tokio::test]
async fn a_bill_is_downloaded_from_the_address_in_a_signed_answer() {
    let gateway = Gateway::start(|seen, base| {
        if seen.path == "/bill.zip" {
            return Reply::File(bytes("20880000000000010156_20250101.csv.zip"));
        }
        Reply::Node(format!(r#"{{"code":"10000","bill_download_url":"{base}/bill.zip?token=1"}}"#))
    })
    .await;
    let wallet = gateway.wallet(None, None);
    let Bill::Trades(bill) = wallet.bill(BillKind::Trades, "2025-01-01".parse().unwrap()).await.unwrap() else {
        panic!()
    };
    assert_eq!((bill.lines.len(), bill.unread.len()), (2, 0));
    assert!(!gateway.seen()[1].params.contains_key("sign"), "the address is a secret of its own");
    let funds = wallet.bill(BillKind::Funds, "2025-01-01".parse().unwrap()).await;
    assert!(matches!(funds, Err(WalletError::NotSupported(_))));

    let elsewhere = Gateway::start(|_, _| {
        Reply::Node(r#"{"code":"10000","bill_download_url":"http://127.0.0.1:9/bill.zip"}"#.to_owned())
    })
    .await;
    let error = elsewhere.wallet(None, None).bill(BillKind::Trades, "2025-01-01".parse().unwrap()).await.unwrap_err();
    assert!(matches!(&error, WalletError::Doubt(doubt) if doubt.kind == DoubtKind::Unreadable), "{error}");
}

#[tokio::test]
async fn with_a_content_key_both_ways_are_encrypted_and_another_key_opens_nothing() {
    let case = vectors()["aes"].clone();
    let key = case["key_base64"].as_str().unwrap().to_owned();
    let recorded = vectors()["responses"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["name"] == "aes_encrypted_response_quotes_are_signed")
        .unwrap()["signed_substring"]
        .as_str()
        .unwrap()
        .to_owned();
    let gateway = Gateway::start(move |_, _| Reply::Node(recorded.clone())).await;
    let call = RefundCall {
        order: order(),
        request_no: WalletRequestNo::parse("R20250101000001_1").unwrap(),
        amount: Money::fen(2000).unwrap(),
        total: Money::fen(5000).unwrap(),
        reason: "商品已售完".to_owned(),
        notify_url: None,
        goods: Vec::new(),
    };
    let outcome = gateway.wallet(None, Some(&key)).refund(&call).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    let seen = gateway.seen();
    assert_eq!(seen[0].params["encrypt_type"], "AES");
    assert!(!seen[0].params["biz_content"].contains("refund_amount"));
    for wrong in [Some("AAAAAAAAAAAAAAAAAAAAAA=="), None] {
        let Outcome::Unknown(doubt) = gateway.wallet(None, wrong).refund(&call).await else { panic!("{wrong:?}") };
        assert_eq!(doubt.kind, DoubtKind::Unreadable);
    }
}

#[tokio::test]
async fn a_clock_that_differs_is_told_by_the_gateways_date() {
    let gateway = Gateway::start(|_, _| {
        Reply::Node(r#"{"code":"10000","out_trade_no":"T20250101000001","trade_no":"1"}"#.to_owned())
    })
    .await;
    let wallet = gateway.wallet(None, None);
    assert_eq!(wallet.clock_skew(), None);
    assert_eq!(wallet.close(&order()).await, Ok(()));
    let year_start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let expected = jiff::Timestamp::now().duration_since(year_start).as_secs();
    assert!((wallet.clock_skew().unwrap().as_secs() - expected).abs() < 30);
}

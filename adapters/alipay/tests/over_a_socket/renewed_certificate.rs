//! Alipay renews its certificate while we run: the answer names a number that we don't hold, the new certificate is
//! downloaded once, taken only if it comes from our root bundle, and the answer is believed (alipay §4).

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest as _, Md5};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, SerialNumber};
use scanback_alipay::{Alipay, Settings, SettingsText, VerifyingText};
use scanback_wallet::{Money, OrderNo, OrderRef, Outcome, RefundCall, SystemClock, Wallet as _, WalletRequestNo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const NODE: &str =
    r#"{"code":"10000","msg":"Success","fund_change":"Y","out_trade_no":"T20250101000001","refund_fee":"20.00"}"#;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn key(name: &str) -> Vec<u8> {
    BASE64.decode(fixture(name).trim()).unwrap()
}

/// An authority, and the certificates that it issues.
struct Authority {
    name: &'static str,
    key: Vec<u8>,
}

impl Authority {
    fn params(name: &str, serial: u64) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "CN");
        params.distinguished_name.push(DnType::OrganizationName, "Test");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params
    }

    fn key_pair(der: &[u8]) -> KeyPair {
        KeyPair::from_pkcs8_der_and_sign_algo(&der.to_vec().into(), &PKCS_RSA_SHA256).unwrap()
    }

    fn own(&self) -> CertificateParams {
        let mut params = Self::params(self.name, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn root(&self) -> String {
        self.own().self_signed(&Self::key_pair(&self.key)).unwrap().pem()
    }

    /// A certificate for the public half of `key`, and its number as Alipay counts them.
    fn issue(&self, serial: u64, key: &[u8]) -> (String, String) {
        let issuer = Issuer::new(self.own(), Self::key_pair(&self.key));
        let pem = Self::params("Alipay", serial).signed_by(&Self::key_pair(key), &issuer).unwrap().pem();
        let number = hex::encode(Md5::digest(format!("CN={},O=Test,C=CN{serial}", self.name)));
        (pem, number)
    }
}

/// A gateway that signs refunds with `signer` under `number`, and hands out `certificate`. What it was asked for.
async fn gateway(signer: Vec<u8>, number: String, certificate: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/gateway.do", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
            let method = line.split("method=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or("").to_owned();
            kept.lock().unwrap().push(method.clone());
            let node = if method == "alipay.trade.refund" {
                NODE.to_owned()
            } else {
                format!(r#"{{"code":"10000","alipay_cert_content":"{}"}}"#, BASE64.encode(&certificate))
            };
            let pair = RsaKeyPair::from_pkcs8(&signer).unwrap();
            let mut sign = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), node.as_bytes(), &mut sign).unwrap();
            let name = method.replace('.', "_");
            let sign = BASE64.encode(sign);
            let body = format!(r#"{{"{name}_response":{node},"alipay_cert_sn":"{number}","sign":"{sign}"}}"#);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            while stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {} // its body, or a reset would meet our answer
        }
    });
    (url, asked)
}

fn call() -> RefundCall {
    RefundCall {
        order: OrderRef { order_no: OrderNo::parse("T20250101000001").unwrap(), transaction_id: None },
        request_no: WalletRequestNo::parse("R20250101000001_1").unwrap(),
        amount: Money::fen(2000).unwrap(),
        total: Money::fen(5000).unwrap(),
        reason: String::new(),
        notify_url: None,
        goods: Vec::new(),
    }
}

fn wallet(url: &str, alipay: &str, root: &str) -> Alipay {
    let settings = Settings::read(&SettingsText {
        gateway_url: url,
        app_id: "2021000000000001",
        seller_id: None,
        app_private_key: &fixture("alipay/app_private_key.b64").into(),
        verifying: VerifyingText::Certificates { app: &fixture("alipay/app_cert.pem"), alipay, root },
        aes_key: None,
        payer_lookup: None,
        refund_window_days: None,
    });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    Alipay::new(settings.unwrap(), http, Arc::new(SystemClock))
}

#[tokio::test]
async fn a_renewed_certificate_of_our_root_is_fetched_once_and_believed() {
    let ours = Authority { name: "Root", key: key("wechat/merchant_key.b64") };
    let (old, _) = ours.issue(100, &key("alipay/alipay_private_key.b64"));
    let renewed = key("wechat/platform_key.b64");
    let (new, number) = ours.issue(101, &renewed);
    let (url, asked) = gateway(renewed, number, new).await;
    let wallet = wallet(&url, &old, &ours.root());
    for _ in 0..2 {
        let outcome = wallet.refund(&call()).await;
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked, ["alipay.trade.refund", "alipay.open.app.alipaycert.download", "alipay.trade.refund"]);
}

#[tokio::test]
async fn a_certificate_of_another_root_or_another_number_is_not_taken() {
    let ours = Authority { name: "Root", key: key("wechat/merchant_key.b64") };
    // the same name, another key: only its signature tells
    let forger = Authority { name: "Root", key: key("wechat/platform_key_next.b64") };
    let (old, _) = ours.issue(100, &key("alipay/alipay_private_key.b64"));
    let theirs = key("wechat/platform_key.b64");
    for (issued, number) in [
        forger.issue(101, &theirs),
        (ours.issue(101, &theirs).0, "00000000000000000000000000000000".to_owned()),
        ("no certificate".to_owned(), ours.issue(101, &theirs).1),
    ] {
        let (url, asked) = gateway(theirs.clone(), number, issued).await;
        let wallet = wallet(&url, &old, &ours.root());
        for _ in 0..2 {
            let outcome = wallet.refund(&call()).await;
            let Outcome::Unknown(doubt) = outcome else { panic!("{outcome:?}") };
            assert!(doubt.detail.contains("another certificate"), "{doubt}");
        }
        let downloads = asked.lock().unwrap().iter().filter(|method| method.contains("alipaycert")).count();
        assert_eq!(downloads, 1, "anyone can name a number: one download a minute");
    }
}

//! The one place that talks to the gateway: sign, send, verify. Never repeats a call and never logs a body.

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use reqwest::{
    StatusCode, Url,
    header::{CONTENT_TYPE, DATE},
};
use scanback_wallet::{Clock, Doubt, DoubtKind};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{
    answer, bill,
    keys::Verifying,
    settings::Settings,
    sign::{self, Call},
};

/// Bytes of an answer that are read at most; real ones have about a thousand.
const ANSWER_LIMIT: usize = 1 << 20;

/// The same for a bill, as sent.
const DOWNLOAD_LIMIT: usize = 128 << 20;
/// Stands where no answer has told the gateway's time yet.
const UNTOLD: i64 = i64::MIN;
/// Least time between two downloads of certificates.
const LEAST_PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// The gateway as one application sees it.
pub(crate) struct Gateway {
    settings: Settings,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    /// Seconds that our clock is ahead of the gateway's.
    skew_s: AtomicI64,
    /// When a certificate was last asked for; held while it is.
    last_download: Mutex<Option<Timestamp>>,
}

impl Gateway {
    pub(crate) fn new(settings: Settings, http: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        Self { settings, http, clock, skew_s: AtomicI64::new(UNTOLD), last_download: Mutex::new(None) }
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends `call` once and gives the text of the answer's node, its signature verified.
    /// # Errors
    /// A [`Doubt`] for every other end: none of them says whether the call took effect (contract §4 rule 4).
    pub(crate) async fn ask(&self, call: &Call) -> Result<String, Doubt> {
        let started = Instant::now();
        let result = self.exchange(call).await;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &result {
            Ok(_) => tracing::debug!(wallet.method = call.method, duration_ms, "Alipay answered"),
            Err(doubt) => tracing::debug!(
                wallet.method = call.method,
                wallet.doubt = doubt.kind.as_str(),
                wallet.detail = doubt.detail,
                duration_ms,
                "Alipay gave no usable answer"
            ),
        }
        result
    }

    async fn exchange(&self, call: &Call) -> Result<String, Doubt> {
        let body = self.fetch(call).await?;
        let verifying = &self.settings.verifying;
        let mut opened = answer::open(verifying, call.method, &body);
        if matches!(&opened, Err(doubt) if doubt.kind == DoubtKind::BadSignature)
            && let Some(sn) = answer::other_certificate(verifying, call.method, &body)
            && self.learn_certificate(&sn).await
        {
            opened = answer::open(verifying, call.method, &body);
        }
        let node = opened?;
        if !node.starts_with('"') {
            return Ok(node.to_owned()); // in the clear: refusals of the gateway are, with content encryption, too
        }
        let sealed: Option<String> = serde_json::from_str(node).ok();
        let text = sealed.zip(self.settings.content_key.as_ref()).and_then(|(sealed, key)| key.open(&sealed));
        text.ok_or_else(|| Doubt::new(DoubtKind::Unreadable, "the answer is encrypted, and aes_key does not open it"))
    }

    /// Signs, sends, and reads the whole body; verifies nothing.
    async fn fetch(&self, call: &Call) -> Result<Vec<u8>, Doubt> {
        let request = sign::request(&self.settings, call, self.clock.now())
            .ok_or_else(|| Doubt::new(DoubtKind::Unreachable, "the request could not be signed"))?;
        let response = self
            .http
            .post(request.url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded;charset=utf-8")
            .body(request.form)
            .send()
            .await
            .map_err(doubt)?;
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        if let Some(at) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) {
            let skew_s = self.clock.now().as_second() - at.timestamp().as_second();
            self.skew_s.store(skew_s, Ordering::Relaxed);
        }
        read(response, ANSWER_LIMIT).await
    }

    /// Downloads a bill. Nothing signs it (alipay §16).
    pub(crate) async fn download(&self, url: Url) -> Result<Vec<u8>, Doubt> {
        if !bill::is_alipays(&url, &self.settings.gateway_url) {
            return Err(Doubt::new(DoubtKind::Unreadable, "the bill is not at an address of Alipay"));
        }
        read(self.http.get(url).send().await.map_err(doubt)?, DOWNLOAD_LIMIT).await
    }

    /// How far our clock is ahead of the gateway's, by the `Date` of its last answer: a hint, for nothing signs it.
    pub(crate) fn clock_skew(&self) -> Option<SignedDuration> {
        let skew_s = self.skew_s.load(Ordering::Relaxed);
        (skew_s != UNTOLD).then(|| SignedDuration::from_secs(skew_s))
    }

    /// Downloads a certificate that Alipay renewed (alipay §4). Whether it can be verified with from now on. Who comes
    /// meanwhile waits for the same answer; within [`LEAST_PAUSE`] of the last try nothing is asked, for anyone can send a
    /// notification that names a certificate.
    pub(crate) async fn learn_certificate(&self, sn: &str) -> bool {
        let Verifying::Certificates(held) = &self.settings.verifying else { return false };
        let plain = sn.len() == 32 && sn.bytes().all(|b| b.is_ascii_hexdigit());
        let mut last = self.last_download.lock().await;
        if held.key_for(Some(sn)).is_some() {
            return true;
        }
        let now = self.clock.now();
        if !plain || last.is_some_and(|at: Timestamp| now.duration_since(at).abs() < LEAST_PAUSE) {
            return false;
        }
        *last = Some(now);
        match self
            .fetch_certificate(sn)
            .await
            .and_then(|text| held.admit(&text, sn, now).map_err(|why| Doubt::new(DoubtKind::BadSignature, why)))
        {
            Ok(()) => {
                tracing::warn!(
                    wallet.app_id = self.settings.app_id,
                    certificate.sn = sn,
                    "Alipay renewed its certificate; it was downloaded and comes from our root. Download it from the \
                     console and configure it before the next start"
                );
                true
            }
            Err(doubt) => {
                tracing::warn!(certificate.sn = sn, %doubt, "a certificate of Alipay that we don't hold was not taken");
                false
            }
        }
    }

    async fn fetch_certificate(&self, sn: &str) -> Result<String, Doubt> {
        #[derive(Serialize)]
        struct Biz<'a> {
            alipay_cert_sn: &'a str,
        }
        #[derive(Deserialize)]
        struct Answer {
            alipay_cert_content: String,
        }
        let call = Call::new("alipay.open.app.alipaycert.download", &Biz { alipay_cert_sn: sn });
        let body = self.fetch(&call).await?;
        let unreadable = || Doubt::new(DoubtKind::Unreadable, "the answer brings no certificate");
        let node = answer::unproven(call.method, &body)?;
        let Answer { alipay_cert_content } = serde_json::from_str(node).map_err(|_| unreadable())?;
        let bytes = STANDARD.decode(alipay_cert_content).map_err(|_| unreadable())?;
        String::from_utf8(bytes).map_err(|_| unreadable())
    }
}

/// The body of a 200, `limit` bytes at most. Alipay answers 200 to errors, too: anything else is not its answer (alipay §1).
async fn read(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, Doubt> {
    let status = response.status();
    if status != StatusCode::OK {
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => DoubtKind::RateLimited,
            status if status.is_server_error() => DoubtKind::WalletError,
            _ => DoubtKind::Unreadable,
        };
        return Err(Doubt::new(kind, format!("HTTP {}", status.as_u16())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(doubt)? {
        if body.len() + chunk.len() > limit {
            return Err(Doubt::new(DoubtKind::Unreadable, "the answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a failed exchange is called. The URL is left out of the text: it carries a signature.
fn doubt(error: reqwest::Error) -> Doubt {
    let kind = if error.is_connect() {
        DoubtKind::Unreachable
    } else if error.is_timeout() {
        DoubtKind::TimedOut
    } else {
        DoubtKind::Broken
    };
    let error = error.without_url();
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(|cause| cause.source()) {
        cause = Some(deeper);
    }
    Doubt::new(kind, cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::redirect::Policy;
    use scanback_wallet::{Asked, Currency, Money, OrderNumber, Outcome, SystemClock, Wallet as _};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        task::JoinHandle,
    };

    use super::*;
    use crate::{Alipay, fixtures};

    /// What the server does once it has the whole request.
    #[derive(Clone)]
    enum Then {
        Answer(String),
        Hang,
        Reset,
        Close,
    }

    fn http(status: &str, body: &str) -> Then {
        Then::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    async fn read_request(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await.unwrap();
            text.extend_from_slice(&chunk[..read]);
            let so_far = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if read == 0 || body.len() >= length.unwrap_or(0) {
                    return so_far;
                }
            }
        }
    }

    /// A gateway that treats every request so; its URL, its task, and what it received.
    async fn gateway(then: Then) -> (String, JoinHandle<()>, Arc<std::sync::Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/gateway.do", listener.local_addr().unwrap());
        let received = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&received);
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read_request(&mut stream).await;
                seen.lock().unwrap().push(request);
                match &then {
                    Then::Answer(text) => {
                        stream.write_all(text.as_bytes()).await.unwrap();
                        stream.shutdown().await.unwrap();
                    }
                    Then::Hang => tokio::time::sleep(Duration::from_secs(60)).await,
                    Then::Reset => stream.set_zero_linger().unwrap(),
                    Then::Close => {}
                }
            }
        });
        (url, server, received)
    }

    fn alipay(url: &str) -> Alipay {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(Duration::from_millis(500))
            .build()
            .unwrap();
        Alipay::new(fixtures::settings_at(url), http, Arc::new(SystemClock))
    }

    const DONE: &str = r#"{"code":"10000","fund_change":"Y","out_trade_no":"T20250101000001","refund_fee":"20.00"}"#;

    #[tokio::test]
    async fn a_refund_goes_out_once_as_a_form_and_its_signed_answer_is_believed() {
        let (url, server, received) =
            gateway(http("200 OK", &fixtures::answer("alipay_trade_refund_response", DONE))).await;
        let outcome = alipay(&url).refund(&fixtures::refund_call()).await;
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        server.abort();
        let received = received.lock().unwrap();
        let [request] = received.as_slice() else { panic!("{} requests", received.len()) };
        assert!(request.starts_with("POST /gateway.do?app_id=2021000000000001&charset=utf-8&"), "{request}");
        assert!(request.to_lowercase().contains("content-type: application/x-www-form-urlencoded;charset=utf-8"));
        assert!(
            request.split_once("\r\n\r\n").unwrap().1.starts_with("biz_content=%7B%22out%5Ftrade%5Fno"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn whatever_goes_wrong_on_the_way_leaves_the_refund_unknown_and_is_sent_once() {
        let signed = fixtures::answer("alipay_trade_refund_response", DONE);
        let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", signed.len(), &signed[..40]);
        let elsewhere = "HTTP/1.1 302 Found\r\nLocation: /gateway.do\r\nContent-Length: 0\r\n\r\n".to_owned();
        for (name, then, expected) in [
            ("no answer in time", Then::Hang, DoubtKind::TimedOut),
            ("reset", Then::Reset, DoubtKind::Broken),
            ("closed", Then::Close, DoubtKind::Broken),
            ("cut off", Then::Answer(cut), DoubtKind::Broken),
            ("500 with a good answer", http("500 Internal Server Error", &signed), DoubtKind::WalletError),
            ("502", http("502 Bad Gateway", ""), DoubtKind::WalletError),
            ("429", http("429 Too Many Requests", ""), DoubtKind::RateLimited),
            ("403", http("403 Forbidden", &signed), DoubtKind::Unreadable),
            ("redirect", Then::Answer(elsewhere), DoubtKind::Unreadable),
            ("a page", http("200 OK", "<html></html>"), DoubtKind::Unreadable),
            ("endless", http("200 OK", &" ".repeat(ANSWER_LIMIT + 1)), DoubtKind::Unreadable),
            ("forged", http("200 OK", &signed.replace("20.00", "30.00")), DoubtKind::BadSignature),
        ] {
            let (url, server, received) = gateway(then).await;
            match alipay(&url).refund(&fixtures::refund_call()).await {
                Outcome::Unknown(doubt) => {
                    assert_eq!(doubt.kind, expected, "{name}: {doubt}");
                    assert!(!doubt.detail.contains("sign="), "{name}: {doubt}");
                }
                other => panic!("{name}: {other:?}"),
            }
            server.abort();
            assert_eq!(received.lock().unwrap().len(), 1, "{name}");
        }
    }

    #[tokio::test]
    async fn a_gateway_that_nobody_listens_at_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/gateway.do", listener.local_addr().unwrap());
        drop(listener);
        match alipay(&url).refund(&fixtures::refund_call()).await {
            Outcome::Unknown(doubt) => assert_eq!(doubt.kind, DoubtKind::Unreachable, "{doubt}"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn both_queries_are_answered_over_the_wire() {
        let order = r#"{"code":"10000","out_trade_no":"T20250101000001","trade_status":"TRADE_SUCCESS","total_amount":"50.00"}"#;
        let (url, server, received) =
            gateway(http("200 OK", &fixtures::answer("alipay_trade_query_response", order))).await;
        let call = fixtures::refund_call();
        let found =
            alipay(&url).query_order(&OrderNumber::OrderNo(call.order.order_no.clone())).await.unwrap().unwrap();
        assert_eq!((found.order_no, found.amount), (call.order.order_no.clone(), Some(call.total)));
        assert!(received.lock().unwrap()[0].contains("method=alipay.trade.query&"));
        server.abort();

        let node = r#"{"code":"10000","msg":"Success"}"#;
        let answer = fixtures::answer("alipay_trade_fastpay_refund_query_response", node);
        let (url, server, received) = gateway(http("200 OK", &answer)).await;
        assert_eq!(alipay(&url).query_refund(&call).await, Asked::NotKnown);
        assert!(received.lock().unwrap()[0].contains("method=alipay.trade.fastpay.refund.query&"));
        // the same answer to another question is no answer
        assert!(
            matches!(alipay(&url).refund(&call).await, Outcome::Unknown(doubt) if doubt.kind == DoubtKind::Unreadable)
        );
        server.abort();
    }

    #[tokio::test]
    async fn an_amount_that_is_not_in_yuan_is_never_sent() {
        let (url, server, received) = gateway(Then::Close).await;
        let mut call = fixtures::refund_call();
        call.amount = Money::new(2000, Currency::parse("USD").unwrap()).unwrap();
        assert!(matches!(alipay(&url).refund(&call).await, Outcome::Rejected(_)));
        assert!(received.lock().unwrap().is_empty());
        server.abort();
    }

    #[tokio::test]
    async fn a_notification_is_acknowledged_with_the_seven_letters() {
        let alipay = alipay("https://openapi.alipay.com/gateway.do");
        let taken = alipay.acknowledge(true);
        assert_eq!((taken.status, taken.content_type, taken.body), (200, "text/plain", "success"));
        let refused = alipay.acknowledge(false);
        assert_eq!((refused.status, refused.body), (400, "fail"));
    }
}

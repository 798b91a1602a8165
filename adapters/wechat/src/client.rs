//! The one place that talks to WeChat Pay: signs a request, sends it once, and says what the answer's signature is worth.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use jiff::Timestamp;
use reqwest::{
    Method, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use scanback_wallet::{Clock, Doubt, DoubtKind, NotGenuine};
use tokio::sync::Mutex;

use crate::{
    keys::{ApiV3Key, MerchantKey},
    settings::Settings,
    sign::{self, Signer},
    verify::{Distrust, SignatureHeaders, Verifiers},
};

/// Largest answer that is read, in bytes. A refund object has some 1 KiB, a list of certificates some 10.
const MAX_ANSWER: usize = 1024 * 1024;

const AGENT: &str = concat!("scanback/", env!("CARGO_PKG_VERSION"));
const JSON: &str = "application/json";

/// A request, ready to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// What it is, for the log.
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    /// Path and query, percent-encoded.
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) const fn get(operation: &'static str, target: String) -> Self {
        Self { operation, method: Method::GET, target, body: Vec::new() }
    }
}

/// An answer as received.
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) headers: Result<SignatureHeaders, Distrust>,
    pub(crate) body: Vec<u8>,
}

/// An answer, and whether it is WeChat Pay's.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) trust: Result<(), Distrust>,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Client {
    base_url: Url,
    mchid: String,
    merchant_serial: String,
    merchant_key: MerchantKey,
    apiv3_key: ApiV3Key,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    verifiers: RwLock<Arc<Verifiers>>,
    /// When certificates were last asked for; held while they are, so that callers wait for one answer.
    pub(crate) last_refresh: Mutex<Option<Timestamp>>,
}

impl Client {
    pub(crate) fn new(settings: Settings, http: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        let Settings { base_url, mchid, appid: _, merchant_key, merchant_serial, apiv3_key, verifiers } = settings;
        let verifiers = RwLock::new(Arc::new(verifiers));
        let last_refresh = Mutex::new(None);
        Self { base_url, mchid, merchant_serial, merchant_key, apiv3_key, http, clock, verifiers, last_refresh }
    }

    pub(crate) fn mchid(&self) -> &str {
        &self.mchid
    }

    pub(crate) const fn apiv3_key(&self) -> &ApiV3Key {
        &self.apiv3_key
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn verifiers(&self) -> Arc<Verifiers> {
        self.verifiers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_verifiers(&self, verifiers: Verifiers) {
        *self.verifiers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(verifiers);
    }

    /// Sends `request` once and judges the answer.
    pub(crate) async fn call(&self, request: Request) -> Result<Answer, Doubt> {
        let operation = request.operation;
        let Received { status, headers, body } = self.exchange(request).await?;
        let trust = self.judge(headers.as_ref(), &body).await;
        match &trust {
            Err(Distrust::Unsigned) if status >= 400 => {} // as the wallet's gateways do
            Err(distrust) => warn_of(operation, distrust),
            Ok(()) => {}
        }
        if status == 401 {
            tracing::error!(
                wallet.kind = "wechat",
                wallet.operation = operation,
                "WeChat Pay refuses our signature: check mchid, merchant_key, merchant_serial and this machine's clock"
            );
        }
        Ok(Answer { status, trust, body })
    }

    /// Believes a notification or says why not. Signature first, then the clock (wechat-pay §15).
    pub(crate) async fn trust_notification(&self, headers: &[(String, String)], body: &[u8]) -> Result<(), NotGenuine> {
        let value = |name: &str| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        let headers = SignatureHeaders::read(|name| value(name).map(|(_, value)| value.as_str()));
        self.judge(headers.as_ref(), body).await.map_err(|distrust| {
            warn_of("notification", &distrust);
            match distrust {
                Distrust::Unsigned | Distrust::Incomplete => NotGenuine::Unsigned,
                Distrust::UnknownSerial(_) | Distrust::Wrong | Distrust::Probe => NotGenuine::BadSignature,
                Distrust::Stale => NotGenuine::Stale,
            }
        })
    }

    /// Verifies with what is known; for the unknown serial of a certificate, once more after a refresh, then never mind.
    async fn judge(&self, headers: Result<&SignatureHeaders, &Distrust>, body: &[u8]) -> Result<(), Distrust> {
        let headers = headers.map_err(Clone::clone)?;
        let first = headers.verify(body, &self.verifiers(), self.now());
        let Some(serial) = first.as_ref().err().and_then(Distrust::fetchable_serial) else {
            return first;
        };
        self.learn_serial(serial).await;
        headers.verify(body, &self.verifiers(), self.now())
    }

    /// Signs and sends `request`, reads the answer whole, verifies nothing.
    pub(crate) async fn exchange(&self, request: Request) -> Result<Received, Doubt> {
        let Request { operation, method, target, body } = request;
        let started = Instant::now();
        let unsent = |what: &str| Doubt::new(DoubtKind::Inconclusive, format!("not sent: {what}"));

        let url = self.base_url.join(&target).map_err(|_| unsent("no URL could be built"))?;
        let sent = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let nonce = sign::nonce().map_err(|_| unsent("no randomness"))?;
        let signer = Signer { mchid: &self.mchid, serial: &self.merchant_serial, key: &self.merchant_key };
        let authorization = signer
            .authorization(method.as_str(), &sent, self.now().as_second(), &nonce, &body)
            .map_err(|_| unsent("the key does not sign"))?;

        let mut builder = self
            .http
            .request(method, url)
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, JSON)
            .header(CONTENT_TYPE, JSON)
            .header(USER_AGENT, AGENT);
        if let Some(id) = self.verifiers().public_key_id() {
            builder = builder.header("Wechatpay-Serial", id);
        }
        let received = read(builder.body(body)).await;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match received {
            Ok((received, request_id)) => {
                tracing::debug!(
                    wallet.kind = "wechat",
                    wallet.operation = operation,
                    wallet.status = received.status,
                    wallet.request_id = request_id,
                    duration_ms,
                    "WeChat Pay answered"
                );
                Ok(received)
            }
            Err(doubt) => {
                tracing::warn!(
                    wallet.kind = "wechat",
                    wallet.operation = operation,
                    wallet.doubt = doubt.kind.as_str(),
                    detail = doubt.detail,
                    duration_ms,
                    "WeChat Pay gave no answer"
                );
                Err(doubt)
            }
        }
    }
}

/// The answer, and the number that the wallet's support asks for.
async fn read(builder: reqwest::RequestBuilder) -> Result<(Received, Option<String>), Doubt> {
    let mut response = builder.send().await.map_err(doubt_of)?;
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let headers = SignatureHeaders::read(header);
    let request_id = header("request-id").map(|id| id.chars().take(64).collect());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(doubt_of)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Doubt::new(DoubtKind::Unreadable, format!("HTTP {status} with more than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((Received { status, headers, body }, request_id))
}

/// What a failed exchange leaves open. The URL stays out of it: it holds order numbers.
fn doubt_of(error: reqwest::Error) -> Doubt {
    let (kind, what) = if error.is_connect() {
        (DoubtKind::Unreachable, "no connection")
    } else if error.is_timeout() {
        (DoubtKind::TimedOut, "no answer in time")
    } else {
        (DoubtKind::Broken, "the connection broke")
    };
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Doubt::new(kind, format!("{what}: {cause}"))
}

fn warn_of(operation: &'static str, distrust: &Distrust) {
    tracing::warn!(
        wallet.kind = "wechat",
        wallet.operation = operation,
        wallet.probe = *distrust == Distrust::Probe,
        reason = distrust.as_str(),
        "a message is not provably WeChat Pay's"
    );
}

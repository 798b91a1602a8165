//! The one place that talks to WeChat Pay: signs a request, sends it once, and says what the answer's signature is worth.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use jiff::{SignedDuration, Timestamp};
use reqwest::{
    Method, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use scanback_wallet::{Clock, Doubt, DoubtKind, NotGenuine};
use tokio::sync::Mutex;

use crate::{
    account::{Account, SubMerchant},
    keys::{ApiV3Key, MerchantKey},
    payer::ApiV2Key,
    settings::Settings,
    sign::{self, Signer},
    verify::{Distrust, SignatureHeaders, Verifiers},
};

/// Largest answer that is read, in bytes. A refund object has some 1 KiB, a list of certificates some 10.
const MAX_ANSWER: usize = 1024 * 1024;

/// Largest bill that is downloaded, in bytes as sent.
const MAX_DOWNLOAD: usize = 128 * 1024 * 1024;
/// Stands where no answer has told the wallet's time yet.
const UNTOLD: i64 = i64::MIN;

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
    /// The key that something in the body is encrypted for, to be named in `Wechatpay-Serial`. `None`: the public key's
    /// id, where there is one.
    pub(crate) serial: Option<String>,
}

impl Request {
    pub(crate) const fn of(operation: &'static str, method: Method, target: String) -> Self {
        Self { operation, method, target, body: Vec::new(), serial: None }
    }

    pub(crate) const fn get(operation: &'static str, target: String) -> Self {
        Self::of(operation, Method::GET, target)
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

impl Answer {
    /// Nothing, for an answer that is provably the wallet's.
    /// # Errors
    /// [`DoubtKind::BadSignature`] for any other.
    pub(crate) fn proven(&self) -> Result<(), Doubt> {
        let Self { status, trust, .. } = self;
        trust.as_ref().map_err(|distrust| Doubt::new(DoubtKind::BadSignature, format!("HTTP {status}: {distrust}")))?;
        Ok(())
    }
}

pub(crate) struct Client {
    base_url: Url,
    account: Account,
    merchant_serial: String,
    merchant_key: MerchantKey,
    apiv3_key: ApiV3Key,
    apiv2_key: Option<ApiV2Key>,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    /// Seconds that our clock is ahead of the wallet's, by the last answer that it signed.
    skew_s: AtomicI64,
    verifiers: RwLock<Arc<Verifiers>>,
    /// When certificates were last asked for; held while they are, so that callers wait for one answer.
    pub(crate) last_refresh: Mutex<Option<Timestamp>>,
}

impl Client {
    pub(crate) fn new(settings: Settings, http: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        let Settings {
            base_url,
            mchid,
            appid,
            sub_mchid,
            sub_appid,
            funds_account,
            merchant_key,
            merchant_serial,
            apiv3_key,
            apiv2_key,
            verifiers,
            merchant_cert_until: _,
        } = settings;
        let sub = sub_mchid.map(|mchid| SubMerchant { mchid, appid: sub_appid });
        Self {
            base_url,
            account: Account { mchid, appid, sub, funds_account },
            merchant_serial,
            merchant_key,
            apiv3_key,
            apiv2_key,
            http,
            clock,
            skew_s: AtomicI64::new(UNTOLD),
            verifiers: RwLock::new(Arc::new(verifiers)),
            last_refresh: Mutex::new(None),
        }
    }

    pub(crate) const fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) const fn apiv2_key(&self) -> Option<&ApiV2Key> {
        self.apiv2_key.as_ref()
    }

    /// How far our clock is ahead of the wallet's, by the last answer whose signature was good or too old.
    pub(crate) fn clock_skew(&self) -> Option<SignedDuration> {
        let skew_s = self.skew_s.load(Ordering::Relaxed);
        (skew_s != UNTOLD).then(|| SignedDuration::from_secs(skew_s))
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
        self.learn_skew(headers.as_ref().ok(), &trust);
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
                Distrust::Stale(_) => NotGenuine::Stale,
            }
        })
    }

    /// The time of a signature that fits is the wallet's own.
    fn learn_skew(&self, headers: Option<&SignatureHeaders>, trust: &Result<(), Distrust>) {
        let skew_s = match trust {
            Ok(()) => headers.and_then(|headers| headers.signed_at()).map(|at| self.now().as_second() - at),
            Err(Distrust::Stale(skew_s)) => Some(*skew_s),
            Err(_) => None,
        };
        if let Some(skew_s) = skew_s {
            self.skew_s.store(skew_s, Ordering::Relaxed);
        }
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
        let url = self.base_url.join(&request.target).map_err(|_| unsent("no URL could be built"))?;
        self.send(request, url, MAX_ANSWER).await
    }

    /// Downloads a bill: signed by us, not by the wallet (wechat-pay §3, §16).
    pub(crate) async fn download(&self, url: &str) -> Result<Vec<u8>, Doubt> {
        let url = Url::parse(url).ok().filter(|url| self.is_wallets(url));
        // our signature goes to nobody else, whatever an answer says
        let url =
            url.ok_or_else(|| Doubt::new(DoubtKind::Unreadable, "the bill is not at the wallet's own address"))?;
        let Received { status, body, .. } = self.send(Request::get("bill", String::new()), url, MAX_DOWNLOAD).await?;
        match status {
            200 => Ok(body),
            429 => Err(Doubt::new(DoubtKind::RateLimited, "HTTP 429")),
            500.. => Err(Doubt::new(DoubtKind::WalletError, format!("HTTP {status}"))),
            _ => Err(Doubt::new(DoubtKind::Inconclusive, format!("the download was refused: HTTP {status}"))),
        }
    }

    fn is_wallets(&self, url: &Url) -> bool {
        let mch = |url: &Url| {
            url.scheme() == "https" && url.host_str().is_some_and(|host| host.ends_with(".mch.weixin.qq.com"))
        };
        url.origin() == self.base_url.origin() || (mch(url) && mch(&self.base_url)) // the wallet has two hosts
    }

    /// Posts XML to the old API, whose signatures stand in the body.
    pub(crate) async fn post_xml(&self, path: &str, body: &str) -> Result<(u16, Vec<u8>), Doubt> {
        let url = self.base_url.join(path).map_err(|_| unsent("no URL could be built"))?;
        let request = self.http.post(url).header(CONTENT_TYPE, "text/xml; charset=utf-8").header(USER_AGENT, AGENT);
        let (Received { status, body, .. }, _) = read(request.body(body.to_owned()), MAX_ANSWER).await?;
        Ok((status, body))
    }

    async fn send(&self, request: Request, url: Url, max: usize) -> Result<Received, Doubt> {
        let Request { operation, method, target: _, body, serial } = request;
        let started = Instant::now();
        let sent = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let nonce = sign::nonce().map_err(|_| unsent("no randomness"))?;
        let signer = Signer { mchid: &self.account.mchid, serial: &self.merchant_serial, key: &self.merchant_key };
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
        if let Some(id) = serial.as_deref().or(self.verifiers().public_key_id()) {
            builder = builder.header("Wechatpay-Serial", id);
        }
        let received = read(builder.body(body), max).await;
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
async fn read(builder: reqwest::RequestBuilder, max: usize) -> Result<(Received, Option<String>), Doubt> {
    let mut response = builder.send().await.map_err(doubt_of)?;
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let headers = SignatureHeaders::read(header);
    let request_id = header("request-id").map(|id| id.chars().take(64).collect());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(doubt_of)? {
        if body.len() + chunk.len() > max {
            return Err(Doubt::new(DoubtKind::Unreadable, format!("HTTP {status} with more than {max} bytes")));
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

fn unsent(what: &str) -> Doubt {
    Doubt::new(DoubtKind::Inconclusive, format!("not sent: {what}"))
}

fn warn_of(operation: &'static str, distrust: &Distrust) {
    tracing::warn!(
        wallet.kind = "wechat",
        wallet.operation = operation,
        wallet.probe = *distrust == Distrust::Probe,
        reason = %distrust,
        "a message is not provably WeChat Pay's"
    );
}

//! WeChat Pay (微信支付) API v3 behind the [`Wallet`] trait: order query, refund, refund query, abnormal refund, reverse,
//! close, bills, refund notification; and of the old API (APIv2) the payer behind a payment code.
//!
//! The way of a refund: [`Wallet::refund`] → `refund.rs` builds the request → `client.rs` signs it (`sign.rs`), sends it
//! and verifies the answer (`verify.rs`) → `refund.rs` and `errors.rs` say what the answer proves. Everything but the
//! client is pure. Nothing here retries, and nothing follows a redirect.
//!
//! Start with [`SettingsText::check`], which turns texts and files into checked [`Settings`], then [`WechatPay::new`].

mod abnormal;
mod account;
mod bill;
mod certificates;
mod client;
mod errors;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "files for tests and fuzz targets")]
mod fixtures;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::unwrap_used, reason = "a broken promise is a panic")]
pub mod fuzzing;
mod keys;
mod notify;
mod payer;
mod query;
mod refund;
mod settings;
mod sign;
mod verify;
mod void;
mod xml;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{
    AbnormalCall, Acknowledgement, Asked, Bill, BillDay, BillKind, Capabilities, Clock, Doubt, DoubtKind, NotGenuine,
    Notification, OrderNumber, OrderRef, Outcome, PayerOf, PaymentCode, RefundCall, VoidCall, VoidRules, Wallet,
    WalletError, WalletKind, WalletOrder,
};

pub use certificates::POLL_EVERY;
pub use keys::{ApiV3Key, Certificate, KeyError, MerchantKey};
pub use payer::{ApiV2Key, SignType};
pub use settings::{MAIN_HOST, PublicKeyText, Settings, SettingsError, SettingsText};
pub use verify::Verifiers;

use client::Client;

/// One merchant's account at WeChat Pay.
pub struct WechatPay {
    client: Client,
}

impl WechatPay {
    /// Takes checked settings, the HTTP client and the clock.
    ///
    /// The client brings what is the service's to decide: a total time-out, a connect time-out, no redirects
    /// (`redirect::Policy::none()`), the TLS roots. It must have all of them; a retry policy it should not have.
    #[must_use]
    pub fn new(settings: Settings, http: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        Self { client: Client::new(settings, http, clock) }
    }

    /// How long the platform certificates may be left alone: no time at all where there is nothing yet to verify with, an
    /// hour where one is about to end, else [`POLL_EVERY`] (wechat-pay §4).
    #[must_use]
    pub fn refresh_due_in(&self) -> Duration {
        let verifiers = self.client.verifiers();
        let ends_soon = |end: Timestamp| end.duration_since(self.client.now()) < SignedDuration::from_hours(72);
        match verifiers.first_end() {
            _ if verifiers.is_empty() => Duration::ZERO,
            Some(end) if ends_soon(end) => Duration::from_secs(60 * 60),
            _ => POLL_EVERY,
        }
    }

    /// Fetches the platform certificates now, whatever the pace, and returns the serials that are known afterwards.
    /// Call it every [`POLL_EVERY`]. A merchant in pure public key mode has none: the wallet refuses, and nothing changes
    /// (wechat-pay §4).
    /// # Errors
    /// [`WalletError`] where the wallet refuses or gives no usable list.
    pub async fn refresh_certificates(&self) -> Result<Vec<String>, WalletError> {
        self.client.refresh_certificates().await
    }
}

#[async_trait]
impl Wallet for WechatPay {
    fn kind(&self) -> WalletKind {
        WalletKind::Wechat
    }

    /// Source: wechat-pay §10; contract §4 rule 8, §7.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_refunds_per_order: Some(50),
            pace: Duration::from_secs(60),
            waits_while_unknown: true,
            ask_after: Duration::from_secs(2),
            settles_within: Duration::from_secs(75),
            refund_window_days: 365,
            void: Some(VoidRules {
                trade_type: Some("MICROPAY"),
                not_before: Duration::from_secs(15),
                window: Duration::from_secs(7 * 24 * 3600),
                by_order: true,
            }),
            pays_to_account: true,
            names_payer: self.client.apiv2_key().is_some(),
            trade_bill: true,
            fund_bill: self.client.account().sub.is_none(),
        }
    }

    async fn refund(&self, call: &RefundCall) -> Outcome {
        let request = match refund::request(self.client.account(), call) {
            Ok(request) => request,
            Err(not_sent) => return not_sent.into(),
        };
        match self.client.call(request).await {
            Ok(answer) => refund::read(call, &answer),
            Err(doubt) => Outcome::Unknown(doubt),
        }
    }

    async fn query_refund(&self, call: &RefundCall) -> Asked {
        let Some(request) = query::refund_request(self.client.account(), call) else {
            return Asked::NotKnown; // a number that WeChat Pay can't have in its books
        };
        match self.client.call(request).await {
            Ok(answer) => query::read_refund(call, &answer),
            Err(doubt) => Asked::Unknown(doubt),
        }
    }

    async fn void(&self, call: &VoidCall) -> Outcome {
        let request = match void::reverse_request(self.client.account(), call) {
            Ok(request) => request,
            Err(not_sent) => return not_sent.into(),
        };
        match self.client.call(request).await {
            Ok(answer) => void::read_reverse(self.client.account(), call, &answer),
            Err(doubt) => Outcome::Unknown(doubt),
        }
    }

    async fn query_void(&self, call: &VoidCall) -> Asked {
        void::judge(call, self.query_order(&OrderNumber::OrderNo(call.order.order_no.clone())).await)
    }

    async fn pay_to_account(&self, call: &AbnormalCall) -> Outcome {
        let request = match abnormal::request(self.client.account(), &self.client.verifiers(), call) {
            Ok(request) => request,
            Err(not_sent) => return not_sent.into(),
        };
        match self.client.call(request).await {
            Ok(answer) => abnormal::read(call, &answer),
            Err(doubt) => Outcome::Unknown(doubt),
        }
    }

    async fn close(&self, order: &OrderRef) -> Result<(), WalletError> {
        let request = void::close_request(self.client.account(), order).map_err(|refund::NotSent(detail)| {
            WalletError::Refused { code: "NOT_SENT".to_owned(), detail: detail.to_owned() }
        })?;
        void::read_close(&self.client.call(request).await?)
    }

    async fn payer_of(&self, code: &PaymentCode) -> Result<PayerOf, WalletError> {
        let no_key = WalletError::NotSupported("wechat.apiv2_key is needed to look up who shows a payment code");
        let key = self.client.apiv2_key().ok_or(no_key)?;
        if code.wallet() != WalletKind::Wechat {
            return Ok(PayerOf::NoCode); // another wallet's secret is not ours to send here
        }
        let nonce = sign::nonce().map_err(|_| Doubt::new(DoubtKind::Inconclusive, "not sent: no randomness"))?;
        let body = payer::request(self.client.account(), key, code, &nonce)?;
        let (status, answer) = self.client.post_xml(payer::PATH, &body).await?;
        payer::read(self.client.account(), key, status, &answer)
    }

    async fn bill(&self, kind: BillKind, day: BillDay) -> Result<Bill, WalletError> {
        if kind == BillKind::Funds && self.client.account().sub.is_some() {
            return Err(WalletError::NotSupported("the account of a partner's merchant is not the partner's to read"));
        }
        let answer = self.client.call(bill::request(self.client.account(), kind, day)).await?;
        let place = bill::read_place(&answer)?;
        let file = self.client.download(&place.url).await?;
        bill::read(kind, day, &place, &file)
    }

    fn clock_skew(&self) -> Option<SignedDuration> {
        self.client.clock_skew()
    }

    async fn query_order(&self, number: &OrderNumber) -> Result<Option<WalletOrder>, WalletError> {
        let Some(request) = query::order_request(self.client.account(), number) else {
            return Ok(None);
        };
        let answer = self.client.call(request).await?;
        query::read_order(self.client.account(), number, &answer)
    }

    async fn open_notification(&self, headers: &[(String, String)], body: &[u8]) -> Result<Notification, NotGenuine> {
        self.client.trust_notification(headers, body).await?;
        notify::read(self.client.account(), self.client.apiv3_key(), body)
    }

    fn acknowledge(&self, received: bool) -> Acknowledgement {
        notify::acknowledge(received)
    }
}

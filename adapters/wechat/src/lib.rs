//! WeChat Pay (微信支付) API v3 behind the [`Wallet`] trait: order query, refund, refund query, refund notification.
//!
//! The way of a refund: [`Wallet::refund`] → `refund.rs` builds the request → `client.rs` signs it (`sign.rs`), sends it
//! and verifies the answer (`verify.rs`) → `refund.rs` and `errors.rs` say what the answer proves. Everything but the
//! client is pure. Nothing here retries, and nothing follows a redirect.
//!
//! Start with [`SettingsText::check`], which turns texts and files into checked [`Settings`], then [`WechatPay::new`].

mod certificates;
mod client;
mod errors;
#[cfg(test)]
mod fixtures;
mod keys;
mod notify;
mod query;
mod refund;
mod settings;
mod sign;
mod verify;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use scanback_wallet::{
    Acknowledgement, Asked, Capabilities, Clock, NotGenuine, Notification, OrderNumber, Outcome, RefundCall, Wallet,
    WalletError, WalletKind, WalletOrder,
};

pub use certificates::POLL_EVERY;
pub use keys::{ApiV3Key, Certificate, KeyError, MerchantKey};
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
        }
    }

    async fn refund(&self, call: &RefundCall) -> Outcome {
        let request = match refund::request(call) {
            Ok(request) => request,
            Err(not_sent) => return not_sent.into(),
        };
        match self.client.call(request).await {
            Ok(answer) => refund::read(call, &answer),
            Err(doubt) => Outcome::Unknown(doubt),
        }
    }

    async fn query_refund(&self, call: &RefundCall) -> Asked {
        let Some(request) = query::refund_request(call) else {
            return Asked::NotKnown; // a number that WeChat Pay can't have in its books
        };
        match self.client.call(request).await {
            Ok(answer) => query::read_refund(call, &answer),
            Err(doubt) => Asked::Unknown(doubt),
        }
    }

    async fn query_order(&self, number: &OrderNumber) -> Result<Option<WalletOrder>, WalletError> {
        let Some(request) = query::order_request(self.client.mchid(), number) else {
            return Ok(None);
        };
        let answer = self.client.call(request).await?;
        query::read_order(self.client.mchid(), number, &answer)
    }

    async fn open_notification(&self, headers: &[(String, String)], body: &[u8]) -> Result<Notification, NotGenuine> {
        self.client.trust_notification(headers, body).await?;
        notify::read(self.client.mchid(), self.client.apiv3_key(), body)
    }

    fn acknowledge(&self, received: bool) -> Acknowledgement {
        notify::acknowledge(received)
    }
}

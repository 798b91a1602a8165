//! Alipay (支付宝) through its gateway: RSA2, in public key mode and in certificate mode.
//!
//! A call goes `refund` or `query` (what is asked) → `sign` → `client` (the one place with a socket) → `answer` (the
//! signature over the raw bytes) → back to `refund` or `query` (what it proves). All but `client` are pure.

mod answer;
mod armour;
mod beijing;
mod cert_sn;
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

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use scanback_wallet::{
    Acknowledgement, Asked, Capabilities, Clock, Currency, NotGenuine, Notification, OrderNumber, Outcome, Proof,
    RefundCall, Rejection, Wallet, WalletError, WalletKind, WalletOrder,
};

pub use certificates::{Certificates, Chain};
pub use keys::{AlipayKey, AppKey, Verifying};
pub use settings::{CertificateFile, DEFAULT_REFUND_WINDOW_DAYS, Settings, SettingsError, SettingsText, VerifyingText};

/// Days before a certificate's end in which each start says so.
const EXPIRY_WARNING_DAYS: i64 = 30;

/// One application at Alipay.
pub struct Alipay {
    gateway: client::Gateway,
}

impl Alipay {
    /// An application that is called through `http`, whose time-outs hold for every call. It must not follow redirects:
    /// a redirected refund would be another request to somebody else.
    ///
    /// Says in the log where a certificate is about to end, and where Alipay's could not be traced to the root.
    #[must_use]
    pub fn new(settings: Settings, http: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        if let Verifying::Certificates(held) = &settings.verifying {
            let left = held.first_expiry().duration_since(clock.now());
            if left.as_hours() < EXPIRY_WARNING_DAYS * 24 {
                tracing::warn!(
                    wallet.app_id = settings.app_id,
                    certificate.not_after = %held.first_expiry(),
                    "a certificate for Alipay ends soon or has ended: download it anew from the console"
                );
            }
            if held.chain() == Chain::IntermediateMissing {
                tracing::warn!(
                    wallet.app_id = settings.app_id,
                    certificate.sn = held.alipay_cert_sn(),
                    "Alipay's certificate file lacks the intermediate certificate: it is trusted as given"
                );
            }
        }
        Self { gateway: client::Gateway::new(settings, http, clock) }
    }
}

#[async_trait]
impl Wallet for Alipay {
    fn kind(&self) -> WalletKind {
        WalletKind::Alipay
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_refunds_per_order: None,
            pace: Duration::from_secs(3),
            waits_while_unknown: false,
            ask_after: Duration::from_secs(10),
            settles_within: Duration::from_secs(10),
            refund_window_days: self.gateway.settings().refund_window_days,
        }
    }

    async fn refund(&self, call: &RefundCall) -> Outcome {
        if call.amount.currency() != Currency::CNY {
            // `refund_amount` has no currency: sent, it would be read as yuan.
            return Outcome::Rejected(Rejection {
                code: "CURRENCY_NOT_SUPPORT".to_owned(),
                detail: "not sent: Alipay refunds are in CNY".to_owned(),
                proof: Proof::Answer,
            });
        }
        match self.gateway.ask(&refund::request(call)).await {
            Ok(node) => refund::read(call, &node),
            Err(doubt) => Outcome::Unknown(doubt),
        }
    }

    async fn query_refund(&self, call: &RefundCall) -> Asked {
        match self.gateway.ask(&query::refund_request(call)).await {
            Ok(node) => query::read_refund(call, &node),
            Err(doubt) => Asked::Unknown(doubt),
        }
    }

    async fn query_order(&self, number: &OrderNumber) -> Result<Option<WalletOrder>, WalletError> {
        let node = self.gateway.ask(&query::order_request(number)).await?;
        query::read_order(number, &node)
    }

    /// Takes nothing from the headers: all that Alipay says stands in the form.
    async fn open_notification(&self, _headers: &[(String, String)], body: &[u8]) -> Result<Notification, NotGenuine> {
        notify::open(self.gateway.settings(), body)
    }

    fn acknowledge(&self, received: bool) -> Acknowledgement {
        let (status, body) = if received { (200, "success") } else { (400, "fail") };
        Acknowledgement { status, content_type: "text/plain", body }
    }
}

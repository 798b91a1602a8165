//! Alipay (支付宝) through its gateway: RSA2, in public key mode and in certificate mode.
//!
//! A call goes `refund` or `query` (what is asked) → `sign` → `client` (the one place with a socket) → `answer` (the
//! signature over the raw bytes) → back to `refund` or `query` (what it proves). All but `client` are pure.

mod answer;
mod armour;
mod beijing;
mod bill;
mod cert_sn;
mod certificates;
mod client;
mod crypt;
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
mod void;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::SignedDuration;
use scanback_wallet::{
    AbnormalCall, Acknowledgement, Asked, Bill, BillDay, BillKind, Capabilities, Clock, Currency, NotGenuine,
    Notification, OrderNumber, OrderRef, Outcome, PayerOf, PaymentCode, PaymentResult, Proof, RefundCall, Rejection,
    VoidCall, VoidRules, Wallet, WalletError, WalletKind, WalletOrder,
};

pub use certificates::{Certificates, Chain};
pub use crypt::ContentKey;
pub use keys::{AlipayKey, AppKey, Verifying};
pub use payer::PayerLookup;
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
            void: Some(VoidRules {
                trade_type: None,
                not_before: Duration::ZERO,
                // a paid order's void is a refund, and has a refund's window (contract §4 rule 12)
                window: Duration::from_secs(24 * 3600) * self.gateway.settings().refund_window_days,
                by_order: false,
            }),
            pays_to_account: false,
            names_payer: self.gateway.settings().payer_lookup.is_some(),
            trade_bill: true,
            fund_bill: false,
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

    async fn void(&self, call: &VoidCall) -> Outcome {
        match call.payment {
            PaymentResult::Paid => self.refund(&call.as_refund()).await,
            PaymentResult::Unknown => match self.gateway.ask(&void::cancel_request(&call.order)).await {
                Ok(node) => void::read_cancel(call, &node),
                Err(doubt) => Outcome::Unknown(doubt),
            },
        }
    }

    async fn query_void(&self, call: &VoidCall) -> Asked {
        match call.payment {
            PaymentResult::Paid => self.query_refund(&call.as_refund()).await,
            PaymentResult::Unknown => {
                void::judge(call, self.query_order(&OrderNumber::OrderNo(call.order.order_no.clone())).await)
            }
        }
    }

    /// Alipay has no such call: what a bank sends back falls to the payer's balance (alipay §15).
    async fn pay_to_account(&self, _call: &AbnormalCall) -> Outcome {
        Outcome::Rejected(Rejection {
            code: "NOT_SUPPORTED".to_owned(),
            detail: "not sent: Alipay pays what a bank sends back to the payer's balance by itself".to_owned(),
            proof: Proof::Answer,
        })
    }

    async fn close(&self, order: &OrderRef) -> Result<(), WalletError> {
        let node = self.gateway.ask(&void::close_request(order)).await?;
        void::read_close(order, &node)
    }

    async fn payer_of(&self, code: &PaymentCode) -> Result<PayerOf, WalletError> {
        let none =
            WalletError::NotSupported("alipay.payer_lookup names no API: Alipay grants one merchant by merchant");
        let lookup = self.gateway.settings().payer_lookup.ok_or(none)?;
        if code.wallet() != WalletKind::Alipay {
            return Ok(PayerOf::NoCode); // another wallet's secret is not ours to send here
        }
        let number = uuid::Uuid::now_v7().simple().to_string();
        let node = self.gateway.ask(&payer::request(self.gateway.settings(), lookup, code, &number)).await?;
        payer::read(&node)
    }

    async fn bill(&self, kind: BillKind, day: BillDay) -> Result<Bill, WalletError> {
        if kind == BillKind::Funds {
            return Err(WalletError::NotSupported("no source describes the file of Alipay's account flow"));
        }
        let Some(url) = bill::read_place(&self.gateway.ask(&bill::request(day)).await?)? else {
            return Ok(bill::empty(day));
        };
        Ok(bill::read(day, &self.gateway.download(url).await?)?)
    }

    fn clock_skew(&self) -> Option<SignedDuration> {
        self.gateway.clock_skew()
    }

    async fn query_order(&self, number: &OrderNumber) -> Result<Option<WalletOrder>, WalletError> {
        let node = self.gateway.ask(&query::order_request(number)).await?;
        query::read_order(number, &node)
    }

    /// Takes nothing from the headers: all that Alipay says stands in the form.
    async fn open_notification(&self, _headers: &[(String, String)], body: &[u8]) -> Result<Notification, NotGenuine> {
        let settings = self.gateway.settings();
        let opened = notify::open(settings, body);
        if opened == Err(NotGenuine::BadSignature)
            && let Some(sn) = notify::other_certificate(settings, body)
            && self.gateway.learn_certificate(&sn).await
        {
            return notify::open(settings, body);
        }
        opened
    }

    fn acknowledge(&self, received: bool) -> Acknowledgement {
        let (status, body) = if received { (200, "success") } else { (400, "fail") };
        Acknowledgement { status, content_type: "text/plain", body }
    }
}

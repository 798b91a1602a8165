//! Where a merchant hears of events, and the delivery of what waits in the outbox.

use std::sync::atomic::Ordering;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::{Desk, Pepper, ServiceError};
use crate::{
    domain::{
        actor::{Actor, Caller},
        refusal::Refusal,
    },
    ledger::{Delivery, DeliveryEnd, Endpoint},
    webhook::{
        client::check_url,
        schedule::{Next, after_failure},
        sign::WebhookSecret,
    },
};

/// The types that can be asked for. Source: contract §5.
const EVENT_TYPES: [&str; 11] = [
    "refund.created",
    "refund.awaiting_approval",
    "refund.processing",
    "refund.succeeded",
    "refund.failed",
    "refund.abnormal",
    "refund.declined",
    "refund.cancelled",
    "refund.attention",
    "order.voided",
    "reconciliation.mismatch",
];
/// Endpoints that one merchant may have: each costs a row in every transaction of a refund.
const MAX_ENDPOINTS: usize = 20;

/// An endpoint as it is listed.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(title = "WebhookEndpoint")]
pub struct EndpointView {
    /// Its id.
    pub id: Uuid,
    /// Where it is.
    pub url: String,
    /// Which types it gets; null means all.
    pub types: Option<Vec<String>>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A new endpoint: its secret is shown here and nowhere else.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(title = "NewWebhookEndpoint")]
pub struct NewEndpointView {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: EndpointView,
    /// `whsec_…`, to verify the signatures with.
    pub secret: String,
}

impl From<&Endpoint> for EndpointView {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            id: endpoint.id,
            url: endpoint.url.clone(),
            types: endpoint.types.clone(),
            created_at: endpoint.created_at,
        }
    }
}

impl Pepper {
    /// Seals a secret for the ledger: AES-256-GCM under a key of the pepper, bound to `purpose`; base64 of nonce and text.
    fn seal(&self, secret: &str, purpose: &str) -> Result<String, ServiceError> {
        let broken = |_| ServiceError::Internal("a secret could not be sealed".into());
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.seal).map_err(broken)?;
        let mut sealed = secret.as_bytes().to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(purpose), &mut sealed).map_err(broken)?;
        Ok(STANDARD.encode([nonce.as_ref().as_slice(), &sealed].concat()))
    }

    fn unseal(&self, sealed: &str, purpose: &str) -> Result<String, ServiceError> {
        let broken = || ServiceError::Internal("a sealed secret can't be opened: was secrets.pepper changed?".into());
        let mut bytes = STANDARD.decode(sealed).map_err(|_| broken())?;
        if bytes.len() < NONCE_LEN {
            return Err(broken());
        }
        let mut text = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| broken())?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.seal).map_err(|_| broken())?;
        let open = key.open_in_place(nonce, Aad::from(purpose), &mut text).map_err(|_| broken())?;
        String::from_utf8(open.to_vec()).map_err(|_| broken())
    }
}

impl Desk {
    /// Registers an endpoint.
    /// # Errors
    /// [`Refusal::ValidationFailed`] for a URL or type that can't be, [`Refusal::PolicyRefused`] for too many.
    pub async fn add_endpoint(
        &self,
        caller: &Caller,
        url: &str,
        types: Option<Vec<String>>,
    ) -> Result<NewEndpointView, ServiceError> {
        let url =
            check_url(url, self.settings.private_webhooks).map_err(|error| Refusal::field("url", error.to_string()))?;
        let unknown = types.iter().flatten().find(|one| !EVENT_TYPES.contains(&one.as_str()));
        if unknown.is_some() || types.as_ref().is_some_and(Vec::is_empty) {
            return Err(Refusal::field("types", format!("known types are {}", EVENT_TYPES.join(", "))).into());
        }
        if self.ledger.endpoints(&caller.merchant_id).await?.len() >= MAX_ENDPOINTS {
            return Err(Refusal::PolicyRefused("a merchant has at most 20 webhook endpoints").into());
        }
        let id = Uuid::now_v7();
        let secret = WebhookSecret::generate().map_err(|error| ServiceError::Internal(error.to_string()))?;
        let secret = secret.expose();
        let endpoint = Endpoint {
            id,
            merchant_id: caller.merchant_id.clone(),
            url: url.to_string(),
            types,
            sealed_secret: self.pepper.seal(&secret, &id.to_string())?,
            created_at: self.now(),
        };
        let view = EndpointView::from(&endpoint);
        self.has_endpoints.store(true, Ordering::Relaxed);
        self.ledger.add_endpoint(endpoint, Actor::of(caller, None)).await?;
        Ok(NewEndpointView { endpoint: view, secret: secret.to_string() })
    }

    /// The endpoints of the caller's merchant.
    /// # Errors
    /// [`ServiceError::Ledger`] where the database doesn't answer.
    pub async fn endpoints(&self, caller: &Caller) -> Result<Vec<EndpointView>, ServiceError> {
        Ok(self.ledger.endpoints(&caller.merchant_id).await?.iter().map(EndpointView::from).collect())
    }

    /// Ends an endpoint; what still waits for it is parked.
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn delete_endpoint(&self, caller: &Caller, id: Uuid) -> Result<(), ServiceError> {
        let by = Actor::of(caller, None);
        if self.ledger.delete_endpoint(caller.merchant_id.clone(), id, by, self.now()).await? {
            return Ok(());
        }
        Err(Refusal::NotFound.into())
    }

    /// Makes one attempt at a delivery and writes down what became of it.
    /// # Errors
    /// [`ServiceError`] where the ledger doesn't answer: the lease ends and it is tried again.
    pub async fn deliver(&self, delivery: &Delivery) -> Result<(), ServiceError> {
        let endpoint = &delivery.endpoint;
        let secret = self.pepper.unseal(&endpoint.sealed_secret, &endpoint.id.to_string());
        let Some(secret) = secret.ok().and_then(|secret| WebhookSecret::parse(&secret).ok()) else {
            let why = "the endpoint's secret can't be opened: was secrets.pepper changed?".to_owned();
            tracing::error!(webhook.id = delivery.id, why, "a webhook was parked");
            return Ok(self.ledger.end_delivery(&delivery.id, DeliveryEnd::Parked { why }, self.now()).await?);
        };
        let sent =
            self.webhooks.deliver(&endpoint.url, &delivery.id, self.now(), delivery.body.as_bytes(), &[secret]).await;
        let end = match sent {
            Ok(_) => DeliveryEnd::Delivered,
            Err(error) => {
                tracing::info!(webhook.id = delivery.id, %error, "a webhook was not taken");
                match after_failure(delivery.attempts + 1, jitter(), f64::from(self.settings.time_scale)) {
                    Next::After(wait) => {
                        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
                        let at = self.now().checked_add(wait).unwrap_or(Timestamp::MAX);
                        DeliveryEnd::Again { at, why: error.to_string() }
                    }
                    Next::Parked => DeliveryEnd::Parked { why: error.to_string() },
                }
            }
        };
        let word = match end {
            DeliveryEnd::Delivered => "delivered",
            DeliveryEnd::Again { .. } => "retried",
            DeliveryEnd::Parked { .. } => "parked",
        };
        metrics::counter!("scanback_webhooks_total", "result" => word).increment(1);
        self.ledger.end_delivery(&delivery.id, end, self.now()).await?;
        if word == "delivered" {
            self.deliver.notify_one(); // the next event of the same refund may go now
        }
        Ok(())
    }
}

/// A random number from 0 to 1; the middle where none can be drawn.
fn jitter() -> f64 {
    let mut bytes = [0; 2];
    aws_lc_rs::rand::fill(&mut bytes).map_or(0.5, |()| f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX))
}

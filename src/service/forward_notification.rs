//! Passes Alipay's notifications on to the merchant's own system (`alipay.forward_to`).
//!
//! They go to the *payment's* notify URL. A merchant who points that at Scanback, to learn of refunds sooner, would else
//! lose the news of its payments. The raw form is passed on as it came, so that the merchant's own code verifies it as
//! before; Alipay gets `success` only when that code said so, and else sends it again, on its own ladder.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Url, header::CONTENT_TYPE};
use scanback_wallet::MerchantId;

/// How long the merchant's system may take. Alipay waits for our answer meanwhile.
const WITHIN: Duration = Duration::from_secs(4);
/// Bytes of its answer that are looked at.
const ANSWER_BYTES: usize = 64;

/// Where each merchant's notifications go.
#[derive(Clone)]
pub struct Forwards {
    to: BTreeMap<MerchantId, Url>,
    client: reqwest::Client,
}

impl Forwards {
    /// Takes the addresses that the settings name. No redirects are followed.
    /// # Errors
    /// The client's own, where TLS can't be set up.
    pub fn new(to: BTreeMap<MerchantId, Url>) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .build()?;
        Ok(Self { to, client })
    }

    /// Passes a genuine notification on. True where there is nowhere to pass it, or it was taken: HTTP 200 and `success`.
    pub(super) async fn pass_on(&self, merchant: &MerchantId, headers: &[(String, String)], body: &[u8]) -> bool {
        let Some(url) = self.to.get(merchant) else { return true };
        let header = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str()));
        let form = header.map_or("application/x-www-form-urlencoded", |(_, value)| value.as_str());
        let sent = self.client.post(url.clone()).header(CONTENT_TYPE, form).body(body.to_vec()).send().await;
        let taken = match sent {
            Ok(answer) if answer.status() == reqwest::StatusCode::OK => says_success(answer).await,
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(merchant.id = %merchant, error = %error.without_url(), "alipay.forward_to gave no answer");
                false
            }
        };
        let result = if taken { "taken" } else { "not_taken" };
        metrics::counter!("scanback_forwarded_notifications_total", "result" => result).increment(1);
        taken
    }
}

async fn says_success(mut answer: reqwest::Response) -> bool {
    let mut text = Vec::new();
    while text.len() < ANSWER_BYTES {
        match answer.chunk().await {
            Ok(Some(chunk)) => text.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(_) => return false,
        }
    }
    text.trim_ascii() == b"success"
}

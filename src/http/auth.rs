//! Who calls: bearer tokens, looked up by their hash, and how often each may call.

use std::{num::NonZeroU32, sync::Arc};

use actix_web::{HttpRequest, http::header::AUTHORIZATION, web};
use governor::{
    DefaultKeyedRateLimiter, Quota,
    clock::{Clock as _, DefaultClock},
};
use uuid::Uuid;

use super::problem::Problem;
use crate::{
    domain::{
        actor::{Caller, Role},
        refusal::Refusal,
    },
    service::{Desk, hash_token},
};

/// Roles that read.
pub(super) const READERS: &[Role] = &[Role::Terminal, Role::Merchant, Role::Auditor, Role::Admin];
/// Roles that ask for refunds.
pub(super) const DESK: &[Role] = &[Role::Terminal, Role::Merchant];
/// The merchant's system.
pub(super) const MERCHANT: &[Role] = &[Role::Merchant];

/// The longest token that is looked at.
const MAX_TOKEN_LEN: usize = 256;

/// How often a token may call.
#[derive(Clone)]
pub(super) struct RateLimit(Arc<DefaultKeyedRateLimiter<Uuid>>);

impl RateLimit {
    pub(super) fn new(requests_per_second: u32) -> Self {
        let rate = NonZeroU32::new(requests_per_second).unwrap_or(NonZeroU32::MIN);
        Self(Arc::new(DefaultKeyedRateLimiter::keyed(Quota::per_second(rate))))
    }

    fn take(&self, token: Uuid) -> Result<(), Refusal> {
        self.0.check_key(&token).map_err(|wait| {
            let wait = wait.wait_time_from(DefaultClock::default().now()).as_secs();
            Refusal::RateLimited { retry_after_s: u32::try_from(wait).unwrap_or(u32::MAX).max(1) }
        })
    }
}

/// The caller, if the token is valid, its role is one of `roles`, and it doesn't call too often.
/// # Errors
/// 401 `unauthenticated`, 403 `forbidden`, 429 `rate_limited`, in this order.
pub(super) async fn caller(desk: &Desk, request: &HttpRequest, roles: &[Role]) -> Result<Caller, Problem> {
    // two headers are two callers: which one is meant can't be told
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let header = headers.next().filter(|_| headers.next().is_none()).and_then(|value| value.to_str().ok());
    let token = header.and_then(bearer).filter(|token| token.len() <= MAX_TOKEN_LEN).ok_or(Refusal::Unauthenticated)?;
    let caller = desk.ledger().caller_by_token_hash(&hash_token(token)).await?;
    let caller = caller.ok_or(Refusal::Unauthenticated)?;
    if !roles.contains(&caller.role) {
        return Err(Refusal::Forbidden.into());
    }
    if let Some(limit) = request.app_data::<web::Data<RateLimit>>() {
        limit.take(caller.token_id)?;
    }
    Ok(caller)
}

/// The token in `Bearer TOKEN`; the scheme's case doesn't matter (RFC 9110 §11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

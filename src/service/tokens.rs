//! Bearer tokens: 32 random bytes behind a prefix that says what they are, so that a leaked one is recognised.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::ServiceError;
use crate::domain::actor::Role;

const RANDOM_BYTES: usize = 32;

/// The hash that a token is kept and looked up by: SHA-256 of its text, lower-case hex. Tokens are random: they need no
/// slow hash.
#[must_use]
pub fn hash_token(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// A new token of this role: its text, shown once, and its hash.
/// # Errors
/// [`ServiceError::Internal`] where no random bytes can be had.
pub fn new_token(role: Role) -> Result<(String, String), ServiceError> {
    let mut bytes = [0; RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ServiceError::Internal("no random bytes".into()))?;
    let text = format!("scanback_{}_{}", role.as_str(), URL_SAFE_NO_PAD.encode(bytes));
    let hash = hash_token(&text);
    Ok((text, hash))
}

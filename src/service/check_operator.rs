//! Is this the person? PINs are checked with argon2, at most two at once, off the async threads.

use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use scanback_wallet::{MerchantId, OperatorId};
use secrecy::{ExposeSecret, SecretString};

use super::{Desk, ServiceError};
use crate::domain::refusal::Refusal;

/// A PIN: 6 to 12 digits. Shows nothing.
#[derive(Clone, Debug)]
pub struct Pin(SecretString);

/// Why a text is no PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a PIN has 6 to 12 digits")]
pub struct PinError;

impl Pin {
    /// Reads a PIN.
    /// # Errors
    /// [`PinError`] for anything but 6 to 12 digits.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let fits = (6..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| Self(SecretString::from(text))).ok_or(PinError)
    }
}

/// The argon2id hash of a PIN with a salt of its own, in PHC form. Takes tens of milliseconds by design.
/// # Errors
/// [`ServiceError::Internal`] where no salt could be drawn.
pub fn hash_pin(pin: &Pin) -> Result<String, ServiceError> {
    let hash = Argon2::default().hash_password(pin.0.expose_secret().as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| ServiceError::Internal(format!("hashing a PIN: {error}")))
}

fn fits(pin: &Pin, hash: &str) -> Result<bool, ServiceError> {
    let hash = PasswordHash::new(hash).map_err(|error| ServiceError::Internal(format!("a kept PIN hash: {error}")))?;
    Ok(Argon2::default().verify_password(pin.0.expose_secret().as_bytes(), &hash).is_ok())
}

impl Desk {
    /// Checks a person's PIN. Five wrong ones lock for 15 minutes (contract §3).
    pub(super) async fn check_operator(
        &self,
        merchant: &MerchantId,
        id: &OperatorId,
        pin: &Pin,
    ) -> Result<(), ServiceError> {
        let broken = |what: &str| ServiceError::Internal(format!("checking a PIN: {what}"));
        let _turn = self.pin_checks.acquire().await.map_err(|_| broken("stopped"))?;
        // read with the turn in hand: whoever waited behind wrong PINs meets the lock that they made
        let operator = self.ledger.operator(merchant, id).await?.ok_or(Refusal::OperatorUnknown)?;
        if let Some(until) = operator.locked_until.filter(|until| *until > self.now()) {
            return Err(Refusal::OperatorLocked { until }.into());
        }
        let right = {
            let pin = pin.clone();
            let check = tokio::task::spawn_blocking(move || fits(&pin, &operator.pin_hash));
            check.await.map_err(|error| broken(&error.to_string()))??
        };
        if right {
            return Ok(self.ledger.forget_wrong_pins(merchant, id).await?);
        }
        match self.ledger.count_wrong_pin(merchant, id, self.now()).await? {
            Some(until) => Err(Refusal::OperatorLocked { until }.into()),
            None => Err(Refusal::PinWrong.into()),
        }
    }
}

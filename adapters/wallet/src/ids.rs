//! The numbers: each its own type, parsed once at the edge. Names are those of contract §1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroize;

/// Why a text is not the number it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has 1 to {max} characters: {allowed}")]
pub struct IdError {
    what: &'static str,
    max: usize,
    allowed: &'static str,
}

const VISIBLE: &str = "visible ASCII characters without spaces";
const NAME: &str = "letters, digits, '_', '-' and '.'";

const fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $check:ident, $allowed:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Reads the text.
            /// # Errors
            /// [`IdError`] where it is empty, too long, or holds another character.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                if text.is_empty() || text.len() > $max || !text.bytes().all($check) {
                    return Err(IdError { what: $what, max: $max, allowed: $allowed });
                }
                Ok(Self(text.to_owned()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

text_id!(
    /// Whose money it is: the merchant in Scanback, for example `demo`.
    MerchantId, "a merchant id", 64, is_name, NAME
);
text_id!(
    /// A shop of a merchant.
    StoreId, "a store id", 64, is_name, NAME
);
text_id!(
    /// A device that posts frames.
    TerminalId, "a terminal id", 64, is_name, NAME
);
text_id!(
    /// A person with a PIN.
    OperatorId, "an operator id", 64, is_name, NAME
);
text_id!(
    /// An order's number as the wallet knows it, its out_trade_no; often the acquirer's. Aliases have the same form.
    OrderNo, "an order number", 64, is_visible, VISIBLE
);
text_id!(
    /// The wallet's own number of a payment: WeChat's `transaction_id`, Alipay's `trade_no`.
    TransactionId, "a transaction number", 64, is_visible, VISIBLE
);
text_id!(
    /// What both wallets get as out_refund_no / out_request_no. Ours is made by [`RefundId::wallet_request_no`]; one made
    /// elsewhere may have any form that a wallet allows.
    WalletRequestNo, "a wallet request number", 64, is_visible, VISIBLE
);
text_id!(
    /// WeChat's own number of a refund, its `refund_id`. Alipay has none.
    WalletRefundId, "a wallet refund id", 64, is_visible, VISIBLE
);
text_id!(
    /// A wallet's number of one notification: the same over its retries, so that a repeat is known.
    EventId, "an event id", 128, is_visible, VISIBLE
);

/// A new UUIDv7, of this moment. A simulation decides them by its seed ([`simulated_uuids`]).
#[must_use]
pub fn new_uuid() -> Uuid {
    #[cfg(feature = "simulated")]
    if let Some(uuid) = simulated::next() {
        return uuid;
    }
    Uuid::now_v7()
}

#[cfg(feature = "simulated")]
pub use simulated::simulated_uuids;

#[cfg(feature = "simulated")]
mod simulated {
    use std::cell::Cell;

    use uuid::{Builder, Uuid};

    thread_local!(static NEXT: Cell<Option<u64>> = const { Cell::new(None) });

    /// From here on this thread's UUIDs follow from `seed`.
    pub fn simulated_uuids(seed: u64) {
        NEXT.set(Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
    }

    pub(super) fn next() -> Option<Uuid> {
        let state = NEXT.get()?;
        NEXT.set(Some(state.wrapping_add(0x9e37_79b9_7f4a_7c15)));
        let mix = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&(mix ^ (mix >> 27)).to_be_bytes());
        random[8..].copy_from_slice(&state.to_be_bytes()[..2]);
        Some(Builder::from_unix_timestamp_millis(1_760_000_000_000, &random).into_uuid())
    }
}

/// Our number of a refund: a UUIDv7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RefundId(Uuid);

impl RefundId {
    /// A new number, of this moment.
    #[expect(clippy::new_without_default, reason = "a number made by Default would hide that each one is new")]
    #[must_use]
    pub fn new() -> Self {
        Self(new_uuid())
    }

    /// Reads a UUID in its usual form.
    /// # Errors
    /// [`IdError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| IdError { what: "a refund id", max: 36, allowed: "a UUID" })
    }

    /// The UUID itself.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// The number that the wallet gets: the 32 lower-case hex digits. It fits both wallets' rules, is unique per
    /// merchant, and never changes in the life of a refund (contract §1).
    #[must_use]
    pub fn wallet_request_no(self) -> WalletRequestNo {
        WalletRequestNo(self.0.simple().to_string())
    }
}

impl fmt::Display for RefundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who paid, as the wallet names the person. Personal data: it shows nothing in `Debug`, and a ledger keeps only its
/// HMAC (contract §4 rule 11).
///
/// One person has many such names: WeChat gives one for each app, Alipay has old and new ones. So a name has a scope, and
/// only names of one scope can be compared.
#[derive(Clone, PartialEq, Eq)]
pub struct PayerId {
    scope: String,
    text: String,
}

impl PayerId {
    /// Takes what a merchant wrote, of no known scope; `None` where it is empty.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        Self::within("", text)
    }

    /// Takes what the wallet wrote, and what kind of name it is (letters, digits, `_`); `None` where it is empty.
    #[must_use]
    pub fn within(scope: &str, text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self { scope: scope.to_owned(), text: text.to_owned() })
    }

    /// The text, for hashing and comparing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What kind of name it is; no secret.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
    }
}

impl fmt::Debug for PayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PayerId(hidden)")
    }
}

impl Drop for PayerId {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

/// Which wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WalletKind {
    /// WeChat Pay (微信支付).
    Wechat,
    /// Alipay (支付宝).
    Alipay,
}

impl WalletKind {
    /// Every wallet that Scanback knows.
    pub const ALL: [Self; 2] = [Self::Wechat, Self::Alipay];

    /// The word of the contract: `wechat`, `alipay`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wechat => "wechat",
            Self::Alipay => "alipay",
        }
    }
}

impl fmt::Display for WalletKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WalletKind {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(IdError {
            what: "a wallet",
            max: 6,
            allowed: "wechat or alipay",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refund_id_makes_one_number_that_fits_both_wallets() {
        let id = RefundId::parse("01932c07-8f1b-7cc0-8000-0123456789ab").unwrap();
        assert_eq!(id.wallet_request_no().as_str(), "01932c078f1b7cc080000123456789ab");
    }

    #[test]
    fn order_numbers_of_real_bill_pages_are_taken() {
        for text in ["100160000351000012511150504679", "83620260811642614220", "A1-b_2|3*4"] {
            assert!(OrderNo::parse(text).is_ok(), "{text}");
        }
        for text in ["", "has space", "汉字", &"9".repeat(65)] {
            assert!(OrderNo::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn payer_ids_are_hidden() {
        assert_eq!(format!("{:?}", PayerId::new("openid-1").unwrap()), "PayerId(hidden)");
    }
}

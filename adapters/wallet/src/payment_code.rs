//! The payment code: a secret that proves which wallet stands at the till, and nothing about any order.

use std::fmt;

use zeroize::Zeroize;

use crate::WalletKind;

/// A payment code (付款码) as the customer's wallet shows it. It is a secret of one minute: it never prints itself, is
/// wiped when dropped, and has no `Display` and no `Serialize`.
///
/// WeChat: 18 digits, prefix 10–15. Alipay: 16–24 digits, prefix 25–30. Sources: wechat-pay §18, alipay §18.
pub struct PaymentCode {
    digits: String,
    wallet: WalletKind,
}

impl PaymentCode {
    /// The code in `text`, if it has the form of one. An order number may have the very same form: ask the ledger first
    /// (contract §4 rule 10).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let prefix: u8 = text.get(..2)?.parse().ok()?;
        let wallet = match (prefix, text.len()) {
            (10..=15, 18) => WalletKind::Wechat,
            (25..=30, 16..=24) => WalletKind::Alipay,
            _ => return None,
        };
        Some(Self { digits: text.to_owned(), wallet })
    }

    /// Whose code it is.
    #[must_use]
    pub const fn wallet(&self) -> WalletKind {
        self.wallet
    }

    /// The digits, for the one call that looks the payer up.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.digits
    }

    /// The first two digits, the rest as stars: all that anyone else may see.
    #[must_use]
    pub fn masked(&self) -> String {
        let (shown, hidden) = self.digits.split_at(2);
        format!("{shown}{}", "*".repeat(hidden.len()))
    }
}

impl fmt::Debug for PaymentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaymentCode({}, hidden)", self.wallet)
    }
}

impl Drop for PaymentCode {
    fn drop(&mut self) {
        self.digits.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_wallets_apart_and_refuses_the_rest() {
        for (text, wallet) in [
            ("101234567890123456", Some(WalletKind::Wechat)),
            ("159999999999999999", Some(WalletKind::Wechat)),
            ("161234567890123456", None),
            ("1012345678901234567", None),
            ("2512345678901234", Some(WalletKind::Alipay)),
            ("301234567890123456789012", Some(WalletKind::Alipay)),
            ("3012345678901234567890123", None),
            ("241234567890123456", None),
            ("28123456789012345", Some(WalletKind::Alipay)),
            ("6212345678901234567", None),
            ("10123456789012345x", None),
            ("", None),
            ("１０１２３４５６７８９０１２３４５６", None),
        ] {
            assert_eq!(PaymentCode::parse(text).map(|code| code.wallet()), wallet, "{text}");
        }
    }

    #[test]
    fn shows_two_digits_at_most() {
        let code = PaymentCode::parse("134567890123456789").unwrap();
        assert_eq!(code.masked(), "13****************");
        assert_eq!(format!("{code:?}"), "PaymentCode(wechat, hidden)");
    }
}

//! Money: whole minor units of one currency. No float, no operators, no silent mixing of currencies.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A currency by its three upper-case letters (ISO 4217), for example `CNY`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Chinese yuan, the currency of both wallets; its minor unit is the fen, 1/100 yuan.
    pub const CNY: Self = Self(*b"CNY");

    /// Reads three upper-case ASCII letters.
    /// # Errors
    /// [`MoneyError::NotACurrency`] for anything else.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        match text.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Self([a, b, c])),
            _ => Err(MoneyError::NotACurrency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0 {
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(text: String) -> Result<Self, MoneyError> {
        Self::parse(&text)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.to_string()
    }
}

/// An amount of money: a whole number of minor units of one currency. 1250 CNY is 12.50 yuan.
///
/// Never negative, never above [`Money::MAX`]: no sum of two leaves an `i64` or a BIGINT column. Source: contract §1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "MoneyWire")]
pub struct Money {
    value: i64,
    currency: Currency,
}

/// What arrives: checked before it becomes a [`Money`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MoneyWire {
    value: i64,
    currency: Currency,
}

impl TryFrom<MoneyWire> for Money {
    type Error = MoneyError;
    fn try_from(wire: MoneyWire) -> Result<Self, MoneyError> {
        Self::new(wire.value, wire.currency)
    }
}

impl Money {
    /// The largest amount, in minor units: ten million million yuan.
    pub const MAX: i64 = 1_000_000_000_000_000;

    /// `value` minor units of `currency`.
    /// # Errors
    /// [`MoneyError::OutOfRange`] below zero or above [`Money::MAX`].
    pub const fn new(value: i64, currency: Currency) -> Result<Self, MoneyError> {
        if value < 0 || value > Self::MAX {
            return Err(MoneyError::OutOfRange);
        }
        Ok(Self { value, currency })
    }

    /// `value` fen, the minor unit of CNY.
    /// # Errors
    /// [`MoneyError::OutOfRange`] as for [`Money::new`].
    pub const fn fen(value: i64) -> Result<Self, MoneyError> {
        Self::new(value, Currency::CNY)
    }

    /// Nothing, in `currency`.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self { value: 0, currency }
    }

    /// Minor units.
    #[must_use]
    pub const fn value(self) -> i64 {
        self.value
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Whether this is nothing at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.value == 0
    }

    /// Both together.
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] for two currencies, [`MoneyError::OutOfRange`] above [`Money::MAX`].
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        Self::new(self.value + other.value, self.currency) // both at most MAX: the sum fits
    }

    /// What is left of `self` once `part` is taken away.
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] for two currencies, [`MoneyError::OutOfRange`] for less than nothing.
    pub fn minus(self, part: Self) -> Result<Self, MoneyError> {
        self.same_currency(part)?;
        Self::new(self.value - part.value, self.currency) // both are 0..=MAX: the difference fits
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(MoneyError::CurrencyMismatch { left: self.currency, right: other.currency })
    }

    /// Reads yuan as Alipay and the bills write them: digits, and at most two decimals after a point, `12.5` or `12.50`.
    ///
    /// Decimal text only; it never passes through a float. Source: protocols, alipay §9, wechat-pay §16.
    /// # Errors
    /// [`MoneyError::NotYuan`] for anything else, a sign included; [`MoneyError::OutOfRange`] above [`Money::MAX`].
    pub fn parse_yuan(text: &str) -> Result<Self, MoneyError> {
        let (whole, part) = match text.split_once('.') {
            Some((whole, part)) if !part.is_empty() => (whole, part),
            Some(_) => return Err(MoneyError::NotYuan),
            None => (text, ""),
        };
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || part.len() > 2 || !digits(whole) || !digits(part) {
            return Err(MoneyError::NotYuan);
        }
        let number = |s: &str| s.parse::<i64>().map_err(|_| MoneyError::OutOfRange);
        let fen = match part.len() {
            0 => 0,
            1 => number(part)? * 10,
            _ => number(part)?,
        };
        let whole = number(whole)?.checked_mul(100).ok_or(MoneyError::OutOfRange)?;
        Self::fen(whole.checked_add(fen).ok_or(MoneyError::OutOfRange)?)
    }

    /// The amount with two decimals, `12.50`: the form that Alipay takes and people read.
    #[must_use]
    pub fn to_yuan(self) -> String {
        format!("{}.{:02}", self.value / 100, self.value % 100)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_yuan(), self.currency)
    }
}

/// Why something is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Below zero, or above [`Money::MAX`].
    #[error("an amount is a whole number of minor units from 0 to {}", Money::MAX)]
    OutOfRange,
    /// Two currencies in one sum.
    #[error("{left} and {right} can't be added or compared")]
    CurrencyMismatch {
        /// The currency of the first amount.
        left: Currency,
        /// The currency of the second one.
        right: Currency,
    },
    /// Not three upper-case letters.
    #[error("a currency is three upper-case letters")]
    NotACurrency,
    /// Not digits with at most two decimals.
    #[error("yuan are digits with at most two decimals after a point")]
    NotYuan,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is printed reads back as the same amount, for every amount there is.
        #[test]
        fn yuan_text_is_exact(value in 0..=Money::MAX) {
            let money = Money::fen(value).unwrap();
            prop_assert_eq!(Money::parse_yuan(&money.to_yuan()), Ok(money));
        }

        /// No text makes the parser panic or lose a fen: what it accepts has the same digits.
        #[test]
        fn any_text_is_read_exactly_or_refused(text in "[0-9]{0,20}(\\.[0-9]{0,3})?|.{0,12}") {
            if let Ok(money) = Money::parse_yuan(&text) {
                let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
                let expected = format!("{}{:0<2}", whole.trim_start_matches('0'), part);
                let expected = expected.trim_start_matches('0');
                let got = money.value().to_string();
                prop_assert_eq!(if money.is_zero() { "" } else { got.as_str() }, expected);
            }
        }

        /// Taking away what was added gives the first amount back.
        #[test]
        fn plus_then_minus(a in 0..=Money::MAX, b in 0..=Money::MAX) {
            let (a, b) = (Money::fen(a).unwrap(), Money::fen(b).unwrap());
            match a.plus(b) {
                Ok(sum) => prop_assert_eq!(sum.minus(b), Ok(a)),
                Err(error) => prop_assert_eq!(error, MoneyError::OutOfRange),
            }
        }
    }

    #[test]
    fn refuses_what_is_not_an_amount() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1.234", "1,50", "1e3", " 1", "１", "99999999999999999999"] {
            assert!(Money::parse_yuan(text).is_err(), "{text:?}");
        }
        assert_eq!(Money::new(-1, Currency::CNY), Err(MoneyError::OutOfRange));
        let usd = Currency::parse("USD").unwrap();
        assert!(Money::fen(1).unwrap().plus(Money::zero(usd)).is_err());
    }

    #[test]
    fn the_wire_takes_whole_numbers_only() {
        for (json, ok) in [
            (r#"{"value":1250,"currency":"CNY"}"#, true),
            (r#"{"value":12.5,"currency":"CNY"}"#, false),
            (r#"{"value":"1250","currency":"CNY"}"#, false),
            (r#"{"value":-1,"currency":"CNY"}"#, false),
            (r#"{"value":1,"currency":"cny"}"#, false),
            (r#"{"value":1,"currency":"CNY","unit":"fen"}"#, false),
        ] {
            assert_eq!(serde_json::from_str::<Money>(json).is_ok(), ok, "{json}");
        }
    }
}

//! The payer behind a payment code: is it the one who paid the order? Pure; names of payers come as keyed hashes only.

/// Whether a terminal's payment code must be the payer's own (contract §3, `payer_mismatch`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayerCheck {
    /// Nobody is asked: a payment code proves the wallet and no more.
    Off,
    /// Compared where the wallet names the payer, and let pass where it can't or gives no answer.
    WherePossible,
    /// No refund by a payment code whose payer is not known to be the order's.
    Required,
}

impl PayerCheck {
    /// Reads the word of the settings.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "off" => Some(Self::Off),
            "where_possible" => Some(Self::WherePossible),
            "required" => Some(Self::Required),
            _ => None,
        }
    }
}

/// A payer's name as it is kept: what kind of name it is, and its HMAC under the pepper, as `scope:hex`. A merchant's own
/// word for a payer has no scope: the hex alone.
///
/// One person has several names (one for each WeChat app; `user_id` and `open_id` at Alipay), so two hashes that differ
/// prove another person only within one scope.
#[must_use]
pub fn same_payer(one: &str, other: &str) -> Option<bool> {
    let (of_one, one) = one.rsplit_once(':')?;
    let (of_other, other) = other.rsplit_once(':')?;
    (of_one == of_other).then_some(one == other)
}

/// What a comparison may end in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The same person.
    Same,
    /// Another person.
    Other,
    /// One of the two is not known, or they are names of two kinds.
    NotComparable,
}

/// Compares the payer of a payment code with that of an order.
#[must_use]
pub fn compare(of_code: Option<&str>, of_order: Option<&str>) -> Compared {
    match of_code.zip(of_order).and_then(|(code, order)| same_payer(code, order)) {
        Some(true) => Compared::Same,
        Some(false) => Compared::Other,
        None => Compared::NotComparable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_one_kind_are_compared() {
        for (code, order, expected) in [
            (Some("wx1:aa"), Some("wx1:aa"), Compared::Same),
            (Some("wx1:aa"), Some("wx1:bb"), Compared::Other),
            (Some("wx1:aa"), Some("wx2:aa"), Compared::NotComparable),
            (Some("open_id:aa"), Some("user_id:bb"), Compared::NotComparable),
            (Some("wx1:aa"), Some("aa"), Compared::NotComparable), // a merchant's own word
            (None, Some("wx1:aa"), Compared::NotComparable),
            (Some("wx1:aa"), None, Compared::NotComparable),
        ] {
            assert_eq!(compare(code, order), expected, "{code:?} {order:?}");
        }
    }

    #[test]
    fn the_words_of_the_settings_are_known() {
        assert_eq!(PayerCheck::parse("where_possible"), Some(PayerCheck::WherePossible));
        assert_eq!(PayerCheck::parse("always"), None);
    }
}

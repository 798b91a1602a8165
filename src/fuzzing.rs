//! What must hold for any text that a frame or a person brings. `fuzz/` calls it with what libFuzzer makes up; the test below
//! with the seeds and every finding there was (`fuzz/seeds`), those of the scanner too ([`crate::scan::fuzzing`]).
//!
//! It panics where a promise is broken.

use scanback_wallet::{Money, OrderNo, PaymentCode, WalletRequestNo};

use crate::domain::{
    code::{ScannedForm, ScannedText, decide},
    typed,
};

/// A text: no payment code in it is shown or sent on as a number, whatever it is written like; what is read of it as a number
/// or an amount is what stands there.
pub fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(shown) = typed::masked(text).filter(|_| !text.contains('*')) {
        // not with the two digits that a mask shows: they are no part of what stands before them
        let masks = shown.match_indices('*').map(|(at, _)| at);
        let mut left = shown.clone();
        for first in masks.filter(|at| shown.as_bytes()[at - 1] != b'*') {
            left.replace_range(first - 2..first, "xx");
        }
        assert_eq!(typed::masked(&left), None, "a code is left in {shown:?} of {text:?}");
    }
    if let Ok(amount) = Money::parse_yuan(text) {
        assert_eq!(Money::parse_yuan(&amount.to_yuan()), Ok(amount));
    }
    assert!(OrderNo::parse(text).is_ok_and(|number| number.as_str() == text) || OrderNo::parse(text).is_err());
    assert!(WalletRequestNo::parse(text).is_ok_and(|no| no.as_str() == text) || WalletRequestNo::parse(text).is_err());
    let Some(scanned) = ScannedText::new(text.to_owned()) else { return };
    if typed::is_code(text) {
        let digits = |text: &str| text.chars().filter(|c| c.is_numeric()).count();
        assert!(digits(&scanned.masked()) <= 2 && digits(&format!("{scanned:?}")) <= 2, "{text:?} is shown");
        assert!(!matches!(ScannedForm::of(&scanned), ScannedForm::Number(_)), "{text:?} would be asked for");
    }
    match ScannedForm::of(&scanned) {
        ScannedForm::Number(number) => assert_eq!(number.as_str(), text),
        ScannedForm::PaymentCode(code) => {
            assert!(PaymentCode::parse(text).is_some_and(|one| one.expose() == code.expose()))
        }
        ScannedForm::Foreign(_) | ScannedForm::Unrecognised => {
            assert!(decide::<()>([(scanned, None)]).is_err(), "{text:?} leads to a refund");
        }
        ScannedForm::Voucher => assert!(scanned.ledger_key().is_none()),
    }
}

#[cfg(test)]
mod tests {
    use scanback_wallet::conformance::replay;

    use super::*;
    use crate::scan::fuzzing::{bars, frame, square};

    #[test]
    fn what_must_hold_holds_for_the_seeds_and_for_all_that_was_found() {
        replay(&[("texts", texts), ("square", square), ("bars", bars), ("frame", frame)]);
    }
}

//! What a frame is about as far as form alone says.

use scanback_wallet::WalletKind;
use serde::Serialize;

use crate::{
    domain::code::{NoSubject, ScannedForm, Subject, decide},
    scan::{Reading, Symbol},
};

/// `refusal` is what the service would answer where there is no subject.
#[derive(Serialize)]
pub(super) struct SubjectOut {
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wallet: Option<WalletKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'static str>,
}

/// What the frame is about as far as form alone says: without a ledger a number is `unknown`.
pub(super) fn subject(reading: &Reading) -> SubjectOut {
    let known = |kind| SubjectOut { kind, wallet: None, refusal: None };
    match decide(reading.texts().into_iter().map(|text| (text, None::<()>))) {
        Ok(Subject::PaymentCode(code)) => SubjectOut { wallet: Some(code.wallet()), ..known("payment_code") },
        Ok(Subject::Voucher(_)) => known("voucher"),
        Ok(Subject::Known(()) | Subject::Number(_)) => known("unknown"),
        Err(why @ (NoSubject::NoSymbol | NoSubject::NotRecognised(_) | NoSubject::Ambiguous)) => {
            SubjectOut { refusal: Some(why.code()), ..known("unknown") }
        }
    }
}

/// What a text is by its form alone.
pub(super) fn form(symbol: &Symbol) -> &'static str {
    match ScannedForm::of(&symbol.text) {
        ScannedForm::Voucher => "voucher",
        ScannedForm::PaymentCode(_) => "payment code",
        ScannedForm::Number(_) => "could be an order's number",
        ScannedForm::Foreign(_) => "a code of another kind: refused",
        ScannedForm::Unrecognised => "not a known form: refused",
    }
}

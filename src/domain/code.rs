//! What a scanned text can be, and which one of a frame's texts is meant. Pure: the caller asks the ledger.
//!
//! Two steps, because contract §4 rule 10 puts the ledger between our voucher and the payment code's form: ask the ledger
//! for the [`ScannedText::ledger_key`] of each distinct text, then hand texts and answers to [`decide`].

use std::{borrow::Cow, fmt};

use scanback_wallet::{OrderNo, PaymentCode};
use zeroize::Zeroize;

use super::{foreign::ForeignCode, typed};

/// What every voucher that we print begins with; the rest is signed.
pub const VOUCHER_PREFIX: &str = "SBV1.";

/// How many characters of an unknown text anyone may see.
const SHOWN_CHARS: usize = 8;

/// The text of one symbol, as read. It may be a payment code, so it is handled as a secret: `Debug` shows only
/// [`Self::masked`], there is no `Display` and no `Serialize`, and it is wiped when dropped (contract §4 rule 11).
#[derive(Clone, PartialEq, Eq)]
pub struct ScannedText(String);

impl ScannedText {
    /// Takes what a decoder read; `None` where it read nothing: an empty text is no answer.
    #[must_use]
    pub fn new(text: String) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    /// The text itself. Never to a log, an error, an event or a stored row.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What anyone may see (`text_masked` of contract §3): a payment code's first two digits and stars, a number in
    /// full, at most the first eight characters of anything else.
    #[must_use]
    pub fn masked(&self) -> String {
        match ScannedForm::of(self) {
            ScannedForm::PaymentCode(code) => code.masked(),
            ScannedForm::Number(number) => number.to_string(),
            // it pays: not more of it than of a payment code
            ScannedForm::Foreign(code) if code.is_secret() => {
                let shown: String = self.0.chars().take(2).collect();
                format!("{shown}{}", "*".repeat(self.0.chars().count().saturating_sub(2)))
            }
            ScannedForm::Voucher | ScannedForm::Foreign(_) | ScannedForm::Unrecognised => {
                // a code in groups, in full-width digits or inside an address is no less a code
                let text = typed::masked(&self.0).map_or(Cow::Borrowed(self.0.as_str()), Cow::Owned);
                let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
                if shown.len() < text.len() {
                    shown.push('…');
                }
                shown
            }
        }
    }

    /// What to look up in the ledger before any form is believed: an order number or alias may look like a payment code
    /// or an address. `None` where no number there can read so, and for our own voucher, which comes first.
    #[must_use]
    pub fn ledger_key(&self) -> Option<LedgerKey> {
        if matches!(ScannedForm::of(self), ScannedForm::Voucher) {
            return None;
        }
        OrderNo::parse(&self.0).ok().map(LedgerKey)
    }
}

impl fmt::Debug for ScannedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScannedText({})", self.masked())
    }
}

impl Drop for ScannedText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A scanned text on its way into a ledger look-up. It may be a payment code still: compare it, don't write it.
#[derive(Clone, PartialEq, Eq)]
pub struct LedgerKey(OrderNo);

impl LedgerKey {
    /// The number to compare with order numbers, transaction numbers and aliases.
    #[must_use]
    pub const fn expose(&self) -> &OrderNo {
        &self.0
    }
}

impl fmt::Debug for LedgerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LedgerKey(hidden)")
    }
}

/// The form of a text, before anyone was asked.
#[derive(Debug)]
pub enum ScannedForm {
    /// It begins as our vouchers do; its signature is still to be checked.
    Voucher,
    /// A payment code's form. It is never sent to a wallet as a number.
    PaymentCode(PaymentCode),
    /// An order or transaction number's form: the wallets may be asked for it.
    Number(OrderNo),
    /// Something else that has a name; no wallet is asked about it.
    Foreign(ForeignCode),
    /// None of these.
    Unrecognised,
}

impl ScannedForm {
    /// The form of `text`, in the order of contract §4 rule 10.
    #[must_use]
    pub fn of(text: &ScannedText) -> Self {
        let text = text.expose();
        if text.starts_with(VOUCHER_PREFIX) {
            Self::Voucher
        } else if let Some(code) = PaymentCode::parse(text) {
            Self::PaymentCode(code)
        } else if let Some(code) = ForeignCode::of(text) {
            Self::Foreign(code)
        } else if let Some(number) = wallet_number(text) {
            Self::Number(number)
        } else {
            Self::Unrecognised
        }
    }
}

/// A number that a wallet may know: 6 to 64 of digits, letters, `_ - | *`. Sources: wechat-pay §18 (6–32), alipay §8 (64). Not a
/// payment code whose digits stand in groups: no wallet is asked about it (contract §4 rule 10).
fn wallet_number(text: &str) -> Option<OrderNo> {
    let fits =
        text.len() >= 6 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'|' | b'*'));
    (fits && !typed::is_code(text)).then(|| OrderNo::parse(text).ok())?
}

/// What a frame is about. `O` is what the ledger found: an order, and by which of its numbers.
#[derive(Debug)]
pub enum Subject<O> {
    /// A voucher that has our form. Its signature is the caller's to check.
    Voucher(ScannedText),
    /// A number of an order in the ledger.
    Known(O),
    /// A payment code: it proves the wallet and names no order (contract §1).
    PaymentCode(PaymentCode),
    /// Could be a number; the ledger has none such, the wallets may be asked.
    Number(OrderNo),
}

impl<O: PartialEq> Subject<O> {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Voucher(one), Self::Voucher(two)) => one == two,
            (Self::Known(one), Self::Known(two)) => one == two,
            (Self::PaymentCode(one), Self::PaymentCode(two)) => one.expose() == two.expose(),
            (Self::Number(one), Self::Number(two)) => one == two,
            (Self::Voucher(_) | Self::Known(_) | Self::PaymentCode(_) | Self::Number(_), _) => false,
        }
    }
}

/// Why a frame has no subject; each is a code of contract §3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSubject {
    /// `frame_unreadable`: there was no symbol.
    #[error("no code was read in the frame")]
    NoSymbol,
    /// `code_not_recognised`: symbols, but none that leads to a refund; what one of them is, where that is known.
    #[error("no code in the frame is one of a payment, an order or a voucher")]
    NotRecognised(Option<ForeignCode>),
    /// `code_ambiguous`: two different recognised codes. It is said, not guessed.
    #[error("the frame shows two different codes: show one alone")]
    Ambiguous,
}

impl NoSubject {
    /// The code of contract §3.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoSymbol => "frame_unreadable",
            Self::NotRecognised(_) => "code_not_recognised",
            Self::Ambiguous => "code_ambiguous",
        }
    }
}

/// The texts of a frame, each once: a payment page shows one code as bars and as a square.
#[must_use]
pub fn distinct(texts: impl IntoIterator<Item = ScannedText>) -> Vec<ScannedText> {
    let mut seen: Vec<ScannedText> = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen
}

/// What the frame is about, given its texts and what the ledger answered for each.
///
/// Unrecognised texts disturb nobody: a poster's address may stand behind the customer's telephone. Numbers that lead to
/// one and the same order are one: a bill page shows two of them.
/// # Errors
/// [`NoSubject`]: nothing read, nothing recognised, or two that differ.
pub fn decide<O: PartialEq>(
    answers: impl IntoIterator<Item = (ScannedText, Option<O>)>,
) -> Result<Subject<O>, NoSubject> {
    let mut nothing = NoSubject::NoSymbol;
    let mut subject: Option<Subject<O>> = None;
    for (text, in_ledger) in answers {
        let foreign = match ScannedForm::of(&text) {
            ScannedForm::Foreign(code) => Some(code),
            _ => None,
        };
        nothing = NoSubject::NotRecognised(match (nothing, foreign) {
            (NoSubject::NotRecognised(Some(one)), Some(other)) => Some(one.or_rather(other)),
            (NoSubject::NotRecognised(known), None) => known,
            (_, foreign) => foreign,
        });
        let Some(next) = recognise(text, in_ledger) else { continue };
        match &subject {
            Some(first) if !first.is(&next) => return Err(NoSubject::Ambiguous),
            Some(_) => {}
            None => subject = Some(next),
        }
    }
    subject.ok_or(nothing)
}

/// One text, in the order of contract §4 rule 10.
fn recognise<O>(text: ScannedText, in_ledger: Option<O>) -> Option<Subject<O>> {
    match (ScannedForm::of(&text), in_ledger) {
        (ScannedForm::Voucher, _) => Some(Subject::Voucher(text)),
        (_, Some(order)) => Some(Subject::Known(order)),
        (ScannedForm::PaymentCode(code), None) => Some(Subject::PaymentCode(code)),
        (ScannedForm::Number(number), None) => Some(Subject::Number(number)),
        (ScannedForm::Foreign(_) | ScannedForm::Unrecognised, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WECHAT_CODE: &str = "134567890123456789";
    const ALIPAY_CODE: &str = "281234567890123456";
    const NUMBER: &str = "83620260811642614220";

    fn text(text: &str) -> ScannedText {
        ScannedText::new(text.to_owned()).unwrap()
    }

    /// Decides over texts, with a ledger that knows the numbers in `known` as orders.
    fn decided(texts: &[&str], known: &[(&str, u32)]) -> Result<Subject<u32>, NoSubject> {
        decide(texts.iter().map(|one| {
            let key = text(one).ledger_key();
            let order = key.and_then(|key| known.iter().find(|(no, _)| *no == key.expose().as_str()));
            (text(one), order.map(|(_, order)| *order))
        }))
    }

    #[test]
    fn each_text_has_one_form() {
        for (written, form) in [
            (WECHAT_CODE, "PaymentCode(PaymentCode(wechat, hidden))"),
            (ALIPAY_CODE, "PaymentCode(PaymentCode(alipay, hidden))"),
            (NUMBER, "Number(OrderNo(\"83620260811642614220\"))"),
            ("4200001234202511220123456789", "Number(OrderNo(\"4200001234202511220123456789\"))"),
            ("A-1|b*2", "Number(OrderNo(\"A-1|b*2\"))"),
            ("SBV1.eyJ.x", "Voucher"),
            ("https://qr.example/134567890123456789", "Foreign(Address)"),
            ("weixin://wxpay/bizpayurl?pr=abc", "Foreign(PaymentLink(Wechat))"),
            ("6226580012345678901", "Foreign(UnionPayPaymentCode)"),
            ("12345", "Unrecognised"),
            ("has a space", "Unrecognised"),
            ("1345-6789-0123-4567-89", "Unrecognised"),
            ("订单一二三四五六", "Unrecognised"),
        ] {
            assert_eq!(format!("{:?}", ScannedForm::of(&text(written))), form, "{written}");
        }
        assert!(ScannedText::new(String::new()).is_none());
    }

    #[test]
    fn the_ledger_goes_before_the_form_of_a_payment_code() {
        assert!(matches!(decided(&[WECHAT_CODE], &[(WECHAT_CODE, 7)]), Ok(Subject::Known(7))));
        assert!(matches!(decided(&[WECHAT_CODE], &[]), Ok(Subject::PaymentCode(_))));
        assert!(matches!(decided(&["https://e.example/1"], &[("https://e.example/1", 7)]), Ok(Subject::Known(7))));
    }

    #[test]
    fn our_voucher_goes_before_the_ledger() {
        assert!(text("SBV1.abc").ledger_key().is_none());
        assert!(matches!(decided(&["SBV1.abc"], &[("SBV1.abc", 7)]), Ok(Subject::Voucher(_))));
    }

    #[test]
    fn two_different_codes_are_ambiguous_and_are_not_guessed() {
        for pair in [[WECHAT_CODE, ALIPAY_CODE], [WECHAT_CODE, NUMBER], [NUMBER, "ORDER-2"], ["SBV1.a", "SBV1.b"]] {
            assert_eq!(decided(&pair, &[]).unwrap_err(), NoSubject::Ambiguous, "{pair:?}");
            assert_eq!(decided(&[pair[1], pair[0]], &[]).unwrap_err(), NoSubject::Ambiguous, "{pair:?}");
        }
        assert_eq!(decided(&[NUMBER, "ORDER-2"], &[(NUMBER, 1), ("ORDER-2", 2)]).unwrap_err(), NoSubject::Ambiguous);
        assert_eq!(decided(&[NUMBER, "ORDER-2"], &[(NUMBER, 1)]).unwrap_err(), NoSubject::Ambiguous);
    }

    #[test]
    fn two_symbols_of_one_thing_are_one() {
        assert_eq!(distinct([text(NUMBER), text("x"), text(NUMBER)]).len(), 2);
        assert!(matches!(decided(&[NUMBER, NUMBER], &[]), Ok(Subject::Number(_))));
        assert!(matches!(decided(&[WECHAT_CODE, WECHAT_CODE], &[]), Ok(Subject::PaymentCode(_))));
        let both_numbers_of_order_7 = [(NUMBER, 7), ("ORDER-2", 7)];
        assert!(matches!(decided(&[NUMBER, "ORDER-2"], &both_numbers_of_order_7), Ok(Subject::Known(7))));
    }

    #[test]
    fn an_address_beside_a_code_disturbs_nobody() {
        for texts in [["https://shop.example", NUMBER], [NUMBER, "https://shop.example"]] {
            assert!(matches!(decided(&texts, &[]), Ok(Subject::Number(_))));
        }
        let nothing = |texts: &[&str]| decided(texts, &[]).unwrap_err();
        let address = NoSubject::NotRecognised(Some(ForeignCode::Address));
        let collecting = NoSubject::NotRecognised(Some(ForeignCode::Collecting(scanback_wallet::WalletKind::Wechat)));
        assert_eq!(nothing(&["https://shop.example"]), address);
        assert_eq!(nothing(&["https://shop.example", "x"]), address);
        assert_eq!(nothing(&["https://shop.example", "wxp://f2f0A"]), collecting);
        assert_eq!(nothing(&["wxp://f2f0A", "https://shop.example"]), collecting);
        assert_eq!(nothing(&["x"]), NoSubject::NotRecognised(None));
        assert_eq!(decided(&[], &[]).unwrap_err(), NoSubject::NoSymbol);
    }

    #[test]
    fn only_numbers_are_shown_in_full() {
        for (written, shown) in [
            (WECHAT_CODE, "13****************"),
            (ALIPAY_CODE, "28****************"),
            (NUMBER, NUMBER),
            ("https://shop.example/secret", "https://…"),
            ("SBV1.eyJhbGciOi", "SBV1.eyJ…"),
            ("汉字汉字汉字汉字汉", "汉字汉字汉字汉字…"),
            ("short", "short"),
            ("1345 6789 0123 4567 89", "13******…"),
            ("1345-6789-0123-4567-89", "13******…"),
            ("１３４５６７８９０１２３４５６７８９", "13******…"),
            ("u:134567890123456789", "u:13****…"),
            ("6226580012345678901", "62*****************"),
        ] {
            assert_eq!(text(written).masked(), shown);
        }
        assert_eq!(format!("{:?}", text(WECHAT_CODE)), "ScannedText(13****************)");
        assert_eq!(format!("{:?}", text(WECHAT_CODE).ledger_key().unwrap()), "LedgerKey(hidden)");
        assert!(!format!("{:?}", decided(&[WECHAT_CODE], &[])).contains("4567"));
    }
}

#[cfg(test)]
mod properties;

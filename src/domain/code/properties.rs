//! What holds for any text at all: it has one form, rule 10 of contract §4 says what it becomes, and no payment code is shown.

use proptest::prelude::*;

use super::*;

/// Anything, and what looks like what is scanned: the second finds the borders of the forms.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9]{1,30}",
        "[0-9A-Za-z_|*. -]{1,70}",
        "(SBV1|sbv1)[.]?[A-Za-z0-9._-]{0,40}",
        "(wxp|weixin|https?|HTTPS|alipays?)://[a-z.]{0,20}/?[ -~]{0,30}",
        "000201[0-9A-Z]{0,40}6304[0-9A-F]{4}",
        payment_code(),
    ]
    .prop_filter("an empty text is no answer", |text| !text.is_empty())
}

fn payment_code() -> impl Strategy<Value = String> {
    prop_oneof!["1[0-5][0-9]{16}", "(2[5-9]|30)[0-9]{14,22}"]
}

fn text(text: &str) -> ScannedText {
    ScannedText::new(text.to_owned()).unwrap()
}

/// What a text becomes where the ledger has it as an order's number, or not.
fn alone(written: &str, in_ledger: bool) -> Result<Subject<u8>, NoSubject> {
    let order = text(written).ledger_key().filter(|_| in_ledger).map(|_| 7);
    decide([(text(written), order)])
}

fn shown<T: fmt::Debug>(subject: &T) -> String {
    format!("{subject:?}")
}

proptest! {
    #[test]
    fn every_text_becomes_what_rule_10_says(written in any_text()) {
        let key = text(&written).ledger_key();
        let voucher = written.starts_with(VOUCHER_PREFIX);
        prop_assert!(!(voucher && key.is_some()), "nothing goes before our voucher");
        match alone(&written, true) {
            Ok(Subject::Voucher(_)) => prop_assert!(voucher),
            Ok(Subject::Known(7)) => prop_assert!(!voucher && key.is_some(), "the ledger goes before every other form"),
            _ => prop_assert!(!voucher && key.is_none()),
        }
        match alone(&written, false) {
            Ok(Subject::Voucher(_)) => prop_assert!(voucher),
            Ok(Subject::PaymentCode(code)) => {
                prop_assert!(!voucher);
                prop_assert_eq!(code.expose(), &written);
            }
            Ok(Subject::Number(number)) => {
                prop_assert!(PaymentCode::parse(&written).is_none(), "a payment code is never sent as a number");
                prop_assert!(!typed::is_code(&written));
                prop_assert_eq!(number.as_str(), &written);
            }
            Ok(Subject::Known(_)) => prop_assert!(false, "the ledger has none"),
            Err(why) => prop_assert!(matches!(why, NoSubject::NotRecognised(_))),
        }
    }

    #[test]
    fn a_payment_code_is_one_and_only_the_ledger_goes_before_it(code in payment_code()) {
        let wallet = if code.starts_with('1') { "wechat" } else { "alipay" };
        match alone(&code, false) {
            Ok(Subject::PaymentCode(read)) => prop_assert_eq!(read.wallet().as_str(), wallet),
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert!(matches!(alone(&code, true), Ok(Subject::Known(7))));
    }

    #[test]
    fn no_payment_code_is_shown(
        code in payment_code(),
        group in 2_usize..9,
        gap in prop_oneof![Just(""), Just(" "), Just("-")],
        (before, after) in prop_oneof![Just(("", "")), Just(("pay: ", "")), Just(("https://e/", "#x")), Just(("(", ")"))],
    ) {
        let digits: Vec<char> = code.chars().collect();
        let grouped: Vec<String> = digits.chunks(group).map(|group| group.iter().collect()).collect();
        let scanned = text(&format!("{before}{}{after}", grouped.join(gap)));
        let subject = decide::<u8>([(scanned.clone(), None)]);
        let said = [scanned.masked(), shown(&scanned), shown(&scanned.ledger_key()), shown(&subject)];
        for said in said {
            let digits = said.chars().filter(char::is_ascii_digit).count();
            prop_assert!(digits <= 2, "{} digits are shown in {}", digits, said);
        }
    }

    #[test]
    fn two_texts_mean_the_same_in_either_order(one in any_text(), other in any_text()) {
        let both = |first: &str, second: &str| shown(&decide::<u8>([(text(first), None), (text(second), None)]));
        prop_assert_eq!(both(&one, &other), both(&other, &one));
    }
}

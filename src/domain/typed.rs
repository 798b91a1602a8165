//! Payment codes where people type: a cashier's scanner may have been pointed at the note (contract §4 rule 11).

use std::ops::Range;

use scanback_wallet::PaymentCode;
use serde_json::Value;

/// Between two groups of one code stand at most so many characters.
const WIDEST_GAP: usize = 3;
/// Groups of a code as wallets show it are short; a longer one beside others is a number of its own, a telephone's for example.
const LONGEST_OF_SEVERAL: usize = 8;
/// The longest payment code (alipay §5).
const LONGEST_CODE: usize = 24;

/// The text with every payment code in it masked to its first two digits; digits may stand in groups, as wallets show them, and
/// may be full-width, as Chinese keyboards write them. `None` where there is none.
#[must_use]
pub fn masked(text: &str) -> Option<String> {
    let groups = groups(text);
    let (mut out, mut copied, mut at) = (String::with_capacity(text.len()), 0, 0);
    while at < groups.len() {
        match code_from(&groups, at) {
            Some((code, last)) => {
                out.push_str(&text[copied..groups[at].place.start]);
                out.push_str(&code.masked());
                copied = groups[last].place.end;
                at = last + 1;
            }
            None => at += 1,
        }
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// Whether the text as a whole is a payment code, however its digits are grouped or written.
#[must_use]
pub fn is_code(text: &str) -> bool {
    let digits: Option<String> = text.chars().filter(|c| !is_separator(*c)).map(digit).collect();
    digits.is_some_and(|digits| PaymentCode::parse(&digits).is_some())
}

/// Whether any name or value in it has the form of a payment code.
#[must_use]
pub fn holds_code(value: &Value) -> bool {
    match value {
        Value::String(text) => masked(text).is_some(),
        Value::Number(number) => PaymentCode::parse(&number.to_string()).is_some(),
        Value::Array(items) => items.iter().any(holds_code),
        Value::Object(members) => members.iter().any(|(name, value)| masked(name).is_some() || holds_code(value)),
        Value::Null | Value::Bool(_) => false,
    }
}

/// Digits without a break.
struct Group {
    place: Range<usize>,
    digits: String,
    /// Whether nothing but a separator stands between the group before and this one.
    goes_on: bool,
}

fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // how many separators came since the last digit; `None` after anything else
    let mut gap = None;
    for (at, c) in text.char_indices() {
        let Some(value) = digit(c) else {
            gap = gap.filter(|wide| is_separator(c) && *wide < WIDEST_GAP).map(|wide| wide + 1);
            continue;
        };
        let end = at + c.len_utf8();
        match groups.last_mut() {
            Some(group) if gap == Some(0) => {
                group.digits.push(value);
                group.place.end = end;
            }
            _ => groups.push(Group { place: at..end, digits: value.into(), goes_on: gap.is_some() }),
        }
        gap = Some(0);
    }
    groups
}

/// The longest code that begins with this group, and its last group.
fn code_from(groups: &[Group], first: usize) -> Option<(PaymentCode, usize)> {
    let run = 1 + groups[first + 1..].iter().take_while(|group| group.goes_on).count();
    let (mut digits, mut found, mut short) = (String::new(), None, true);
    for (last, group) in groups.iter().enumerate().skip(first).take(run) {
        digits.push_str(&group.digits);
        short &= group.digits.len() <= LONGEST_OF_SEVERAL;
        if digits.len() > LONGEST_CODE {
            break;
        }
        let whole_run = !groups[first].goes_on && last + 1 == first + run;
        if (last == first || short || whole_run)
            && let Some(code) = PaymentCode::parse(&digits)
        {
            found = Some((code, last));
        }
    }
    found
}

/// The digit as ASCII.
fn digit(c: char) -> Option<char> {
    match c {
        '0'..='9' => Some(c),
        '０'..='９' => char::from_digit(u32::from(c) - u32::from('０'), 10),
        _ => None,
    }
}

fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '-' | '_' | '.' | '·' | '\u{2010}'..='\u{2015}' | '\u{200b}'..='\u{200d}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_payment_code_is_masked_wherever_it_stands() {
        let hidden = "13****************";
        for (text, expected) in [
            ("134567890123456789", Some(hidden.to_owned())),
            ("code 134567890123456789.", Some(format!("code {hidden}."))),
            ("付款码134567890123456789", Some(format!("付款码{hidden}"))),
            ("1345 6789 0123 4567 89", Some(hidden.to_owned())),
            ("2 pieces, 134567890123456789", Some(format!("2 pieces, {hidden}"))),
            ("tel 13800138000 134567890123456789", Some(format!("tel 13800138000 {hidden}"))),
            ("1345  6789-0123 – 4567.89", Some(hidden.to_owned())),
            ("１３４５６７８９０１２３４５６７８９", Some(hidden.to_owned())),
            ("码１３４５　６７８９　０１２３　４５６７　８９。", Some(format!("码{hidden}。"))),
            ("tel 13800138000 1345 6789 0123 4567 89", Some(format!("tel 13800138000 {hidden}"))),
            ("1345 6789 0123 4567 89 13800138000", Some(format!("{hidden} 13800138000"))),
            ("u:134567890123456789/134567890123456789", Some(format!("u:{hidden}/{hidden}"))),
            ("1345    6789 0123 4567 89", None),
            ("2812345678901234567", Some("28*****************".to_owned())),
            ("tel 13800138000", None),
            ("2026-11-26 17:38", None),
            ("1345678901234567890", None),
            ("", None),
            ("- 1 -", None),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }

    #[test]
    fn a_code_is_one_however_it_is_grouped() {
        for text in ["134567890123456789", "1345-6789-0123-4567-89", " １３４５ 6789 0123 4567 89 "] {
            assert!(is_code(text), "{text}");
        }
        for text in ["A134567890123456789", "134567890123456789|2", "20251122-134567890123456789", ""] {
            assert!(!is_code(text), "{text}");
        }
    }

    #[test]
    fn it_is_found_in_names_and_values() {
        for value in [
            json!({ "a": ["x", { "b": "134567890123456789" }] }),
            json!({ "134567890123456789": 1 }),
            json!({ "a": 134_567_890_123_456_789_u64 }),
        ] {
            assert!(holds_code(&value), "{value}");
        }
        assert!(!holds_code(&json!({ "ticket": "A-7781", "n": 12, "tel": "13800138000", "ok": true, "no": null })));
    }
}

//! Payment codes where people type: a cashier's scanner may have been pointed at the note (contract §4 rule 11).

use std::ops::Range;

use scanback_wallet::PaymentCode;
use serde_json::Value;

/// Between two groups of one code stand at most so many characters.
const WIDEST_GAP: usize = 3;
/// Groups of a code as wallets show it are short; a longer one beside others is a number of its own, a telephone's for example.
const LONGEST_OF_SEVERAL: usize = 8;
/// The longest payment code (alipay §18).
const LONGEST_CODE: usize = 24;

/// The text with every payment code in it masked to its first two digits; digits may stand in groups, as wallets show them, and
/// may be full-width, as Chinese keyboards write them. `None` where there is none.
#[must_use]
pub fn masked(text: &str) -> Option<String> {
    let groups = groups(text);
    // a text that is nothing but a code is one, however far apart its groups stand
    if let (Some(code), Some(first), Some(last)) = (whole(text), groups.first(), groups.last()) {
        return Some(format!("{}{}{}", &text[..first.place.start], code.masked(), &text[last.place.end..]));
    }
    let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
    for (place, code) in codes(&groups) {
        out.push_str(&text[copied..groups[place.start].place.start]);
        out.push_str(&code.masked());
        copied = groups[place.end - 1].place.end;
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// Whether the text as a whole is a payment code, however its digits are grouped or written.
#[must_use]
pub fn is_code(text: &str) -> bool {
    whole(text).is_some()
}

fn whole(text: &str) -> Option<PaymentCode> {
    let digits: Option<String> = text.chars().filter(|c| !is_separator(*c)).map(digit).collect();
    PaymentCode::parse(&digits?)
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

/// The codes in these groups, in order, and which groups each of them takes.
fn codes(groups: &[Group]) -> Vec<(Range<usize>, PaymentCode)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < groups.len() {
        let run = 1 + groups[at + 1..].iter().take_while(|group| group.goes_on).count();
        codes_of_run(groups, at..at + run, &mut found);
        at += run;
    }
    found
}

/// The codes of groups between which nothing but separators stands: all of it together, or the first that is one, and then
/// what stands before and after that one in the same way.
fn codes_of_run(groups: &[Group], run: Range<usize>, found: &mut Vec<(Range<usize>, PaymentCode)>) {
    let mut rest = run;
    while !rest.is_empty() {
        if let Some(code) = joined(&groups[rest.clone()]) {
            found.push((rest, code));
            return;
        }
        let Some((place, code)) = rest.clone().find_map(|first| begins(groups, first..rest.end)) else { return };
        let before = rest.start..place.start;
        found.extend(joined(&groups[before.clone()]).map(|code| (before, code)));
        rest = place.end..rest.end;
        found.push((place, code));
    }
}

/// The longest code that begins with the first of these groups and is one group, or several short ones.
fn begins(groups: &[Group], of: Range<usize>) -> Option<(Range<usize>, PaymentCode)> {
    let (mut digits, mut found) = (String::new(), None);
    for last in of.clone() {
        digits.push_str(&groups[last].digits);
        let short = groups[of.start..=last].iter().all(|group| group.digits.len() <= LONGEST_OF_SEVERAL);
        if digits.len() > LONGEST_CODE || !(short || last == of.start) {
            break;
        }
        found = PaymentCode::parse(&digits).map(|code| (of.start..last + 1, code)).or(found);
    }
    found
}

/// The code that all of these groups are together.
fn joined(groups: &[Group]) -> Option<PaymentCode> {
    let mut digits = String::new();
    for group in groups {
        digits.push_str(&group.digits);
        if digits.len() > LONGEST_CODE {
            return None;
        }
    }
    PaymentCode::parse(&digits)
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
            ("2512345678 923456 1345 6789 0123 4567 89", Some(format!("25************** {hidden}"))),
            ("1345    6789 0123 4567 89", Some(hidden.to_owned())),
            ("a 1345    6789 0123 4567 89", None),
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

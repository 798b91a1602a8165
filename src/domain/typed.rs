//! Payment codes where people type: a cashier's scanner may have been pointed at the note (contract §4 rule 11).

use scanback_wallet::PaymentCode;
use serde_json::Value;

/// The text with every payment code in it masked to its first two digits; digits may stand in groups, as wallets show them.
/// `None` where there is none.
#[must_use]
pub fn masked(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut found) = (text, false);
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let run = &from[..run_of_digits(from)];
        match run_masked(run) {
            Some(hidden) => {
                found = true;
                out.push_str(&hidden);
            }
            None => out.push_str(run),
        }
        rest = &from[run.len()..];
    }
    out.push_str(rest);
    found.then_some(out)
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

/// How far digits go, single spaces and hyphens between them included.
fn run_of_digits(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = 0;
    while digit(end) || (end > 0 && matches!(bytes.get(end), Some(b' ' | b'-')) && digit(end - 1) && digit(end + 1)) {
        end += 1;
    }
    end
}

/// A run that is a payment code as a whole, or that has one among its groups.
fn run_masked(run: &str) -> Option<String> {
    let digits: String = run.chars().filter(char::is_ascii_digit).collect();
    if let Some(code) = PaymentCode::parse(&digits) {
        return Some(code.masked());
    }
    let groups: Vec<_> = run.split_inclusive([' ', '-']).collect();
    let hides = |group: &str| {
        let digits = group.trim_end_matches([' ', '-']);
        PaymentCode::parse(digits).map(|code| format!("{}{}", code.masked(), &group[digits.len()..]))
    };
    let hidden: Vec<_> = groups.iter().map(|group| hides(group)).collect();
    hidden.iter().any(Option::is_some).then(|| {
        groups.iter().zip(hidden).map(|(group, hidden)| hidden.unwrap_or_else(|| (*group).to_owned())).collect()
    })
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

//! Amounts as Alipay writes them: yuan as text with two decimals (alipay, head of the page).

/// Longest text of an amount (alipay §9).
const LENGTH: usize = 9;

/// `1250` fen is `12.50`.
pub(super) fn write(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

/// The same for what may be less than nothing.
pub(super) fn signed(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}", write(fen.abs()))
}

/// Reads yuan with at most two decimals, more than nothing.
pub(super) fn read(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if text.len() > LENGTH || !is_number(whole) || !is_number(part) || part.len() > 2 {
        return None;
    }
    let part: i64 = format!("{part:0<2}").parse().ok()?;
    let fen = whole.parse::<i64>().ok()? * 100 + part;
    (fen > 0).then_some(fen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuan_are_read_and_written_exactly() {
        for (text, fen) in [("12.50", 1_250), ("0.01", 1), ("20", 2_000), ("20.5", 2_050), ("999999.99", 99_999_999)] {
            assert_eq!(read(text), Some(fen), "{text}");
        }
        for text in ["", "0", "0.00", "-1", "1.", ".5", "1.234", "1e2", "+1", " 1", "1000000.00", "1,5"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(write(1_250), "12.50");
        assert_eq!(write(5), "0.05");
        assert_eq!(write(0), "0.00");
    }
}

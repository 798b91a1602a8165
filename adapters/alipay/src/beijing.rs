//! Alipay writes times without a zone; they are Beijing's, UTC+8 the year round (alipay, first paragraph).

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

const BEIJING: Offset = jiff::tz::offset(8);

/// `yyyy-MM-dd HH:mm:ss`, the form of the `timestamp` parameter.
pub(crate) fn text(time: Timestamp) -> String {
    BEIJING.to_datetime(time).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Reads `yyyy-MM-dd HH:mm:ss`, with a fraction or without; `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y-%m-%d %H:%M:%S%.f", text).ok()?;
    Some(civil.to_zoned(TimeZone::fixed(BEIJING)).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_in_beijing() {
        let time: Timestamp = "2024-12-31T18:53:20Z".parse().unwrap();
        assert_eq!(text(time), "2025-01-01 02:53:20");
        assert_eq!(parse("2025-01-01 02:53:20"), Some(time));
        assert_eq!(parse("2025-01-01 02:53:20.500"), Some("2024-12-31T18:53:20.5Z".parse().unwrap()));
        for bad in ["", "2025-01-01", "2025-13-01 00:00:00", "2025-01-01T02:53:20Z", "now"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}

//! The wallets' clock: both write Beijing time (UTC+8), each in its own form.

use std::time::Duration;

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::{Offset, TimeZone},
};

const BEIJING: Offset = Offset::constant(8);

/// `2018-06-08T10:34:56+08:00`, as WeChat Pay writes (wechat-pay §1).
pub(crate) fn rfc3339(at: Timestamp) -> String {
    at.to_zoned(TimeZone::fixed(BEIJING)).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// `2018-06-08 10:34:56`, as Alipay writes (alipay, head of the page).
pub(crate) fn seconds(at: Timestamp) -> String {
    at.to_zoned(TimeZone::fixed(BEIJING)).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `2018-06-08 10:34:56.789`: `gmt_refund` of an Alipay notification (alipay §14).
pub(crate) fn millis(at: Timestamp) -> String {
    at.to_zoned(TimeZone::fixed(BEIJING)).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// `20180608`: the day inside both wallets' own numbers.
pub(crate) fn day_digits(at: Timestamp) -> String {
    at.to_zoned(TimeZone::fixed(BEIJING)).strftime("%Y%m%d").to_string()
}

/// The day that a moment belongs to.
pub(crate) fn day(at: Timestamp) -> Date {
    BEIJING.to_datetime(at).date()
}

/// Reads `2018-06-08 10:34:56` as Beijing time.
pub(crate) fn parse_seconds(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    BEIJING.to_timestamp(civil).ok()
}

/// How long after `from` it is; nothing where `from` is still to come.
pub(crate) fn since(now: Timestamp, from: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(from)).unwrap_or_default()
}

/// The moment `wait` after `from`; the last one that can be written where it would be later still.
pub(crate) fn after(from: Timestamp, wait: Duration) -> Timestamp {
    from.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_wallets_forms_are_beijing_time() {
        let at: Timestamp = "2018-06-08T02:34:56.789Z".parse().unwrap();
        assert_eq!(rfc3339(at), "2018-06-08T10:34:56+08:00");
        assert_eq!(seconds(at), "2018-06-08 10:34:56");
        assert_eq!(millis(at), "2018-06-08 10:34:56.789");
        assert_eq!(day_digits("2018-06-08T17:00:00Z".parse().unwrap()), "20180609");
        assert_eq!(parse_seconds("2018-06-08 10:34:56"), "2018-06-08T02:34:56Z".parse().ok());
        assert_eq!(parse_seconds("2018-06-08T10:34:56"), None);
    }
}

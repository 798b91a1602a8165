//! What an answer that is no 200 proves: one table of status and code, and the rules around it.
//!
//! Branches on status and code, never on the message. Sources: wechat-pay §7, §8, §10, §11; contract §4 rules 4 and 5.

use scanback_wallet::{Doubt, DoubtKind};
use serde::Deserialize;

use crate::client::Answer;

/// The calls that read the table differently: its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Refund,
    QueryRefund,
    /// Order query and certificates: they move nothing and prove nothing about a refund.
    LookUp,
    Void,
    Abnormal,
    Close,
    Bill,
}

impl Call {
    /// Its column.
    const fn column(self) -> usize {
        match self {
            Self::Refund => 0,
            Self::QueryRefund => 1,
            Self::LookUp => 2,
            Self::Void => 3,
            Self::Abnormal => 4,
            Self::Close => 5,
            Self::Bill => 6,
        }
    }
}

/// What a code of the table means for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// Refused, and nothing happened under this request.
    Refused,
    /// The same, or "too soon after another refund": one code says both.
    RefusedOrTooSoon,
    /// Nothing moved for lack of balance; the same number may be sent later.
    BalanceLow,
    /// What was asked for doesn't exist.
    Absent,
    /// What was asked for is being made.
    NotYet,
    /// Nothing that may be built on: no source calls it final for this call.
    Nothing,
}

use Means::{Absent, BalanceLow, NotYet, Nothing, Refused, RefusedOrTooSoon};

/// Status, code, and what they mean for each column of [`Call`]. 429 and 5xx need no code: see [`read`].
///
/// No source lists the errors of a v3 reverse: of its column the common set is taken, and `INVALID_REQUEST` may be "too
/// soon" there as well (it is not taken in the first 15 s, nor while the payer is paying).
#[rustfmt::skip]
const TABLE: [(u16, &str, [Means; 7]); 14] = [
    //                               refund            q.refund look-up  void              abnormal close    bill
    (400, "PARAM_ERROR",           [Refused,          Nothing, Refused, Refused,          Refused, Refused, Refused]),
    (400, "INVALID_REQUEST",       [RefusedOrTooSoon, Nothing, Refused, RefusedOrTooSoon, Refused, Refused, Refused]),
    (400, "MCH_NOT_EXISTS",        [Nothing,          Nothing, Refused, Nothing,          Nothing, Refused, Nothing]), // §8 lists it under 400, §10 under 404 only
    (400, "NO_STATEMENT_EXIST",    [Nothing,          Nothing, Nothing, Nothing,          Nothing, Nothing, Absent]),
    (400, "STATEMENT_CREATING",    [Nothing,          Nothing, Nothing, Nothing,          Nothing, Nothing, NotYet]),
    (401, "SIGN_ERROR",            [Refused,          Nothing, Refused, Refused,          Refused, Refused, Refused]),
    (403, "NO_AUTH",               [Refused,          Nothing, Refused, Refused,          Refused, Refused, Refused]),
    (403, "NOT_ENOUGH",            [BalanceLow,       Nothing, Nothing, BalanceLow,       Nothing, Nothing, Nothing]),
    (403, "USER_ACCOUNT_ABNORMAL", [Refused,          Nothing, Nothing, Refused,          Nothing, Nothing, Nothing]),
    (403, "RULE_LIMIT",            [Nothing,          Nothing, Nothing, Nothing,          Nothing, Nothing, Nothing]), // §8: harmless to repeat
    (403, "TRADE_ERROR",           [Nothing,          Nothing, Nothing, Nothing,          Nothing, Nothing, Nothing]),
    (404, "RESOURCE_NOT_EXISTS",   [Refused,          Absent,  Absent,  Refused,          Refused, Refused, Nothing]),
    (404, "ORDER_NOT_EXIST",       [Refused,          Nothing, Absent,  Refused,          Nothing, Refused, Nothing]),
    (404, "MCH_NOT_EXISTS",        [Refused,          Nothing, Refused, Refused,          Nothing, Refused, Nothing]),
];

/// What an `err_code` of the old API means for the look-up of a payer. Source: wechat-pay §17.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum V2Means {
    /// The code ran out, or is none.
    NoCode,
    /// Nothing is known; ask again.
    Again,
    /// Refused; also whatever no source lists, for nothing hangs on it but this one answer.
    Refused,
}

const V2_TABLE: [(&str, V2Means); 4] = [
    ("SYSTEMERROR", V2Means::Again),
    ("AUTHCODEEXPIRE", V2Means::NoCode),
    ("AUTH_CODE_ERROR", V2Means::NoCode),
    ("AUTH_CODE_INVALID", V2Means::NoCode),
];

pub(crate) fn v2(code: &str) -> V2Means {
    V2_TABLE.iter().find(|(listed, _)| *listed == code).map_or(V2Means::Refused, |(_, means)| *means)
}

fn meaning(call: Call, status: u16, code: &str) -> Means {
    let row = TABLE.iter().find(|(row_status, row_code, _)| *row_status == status && *row_code == code);
    row.map_or(Nothing, |(_, _, means)| means[call.column()])
}

/// An answer that is no 200, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotOk {
    Refused(Refusal),
    RefusedOrTooSoon(Refusal),
    /// Signed: an unsigned one is a doubt.
    BalanceLow(Refusal),
    Absent(Refusal),
    NotYet(Refusal),
    Doubt(Doubt),
}

/// The wallet's code and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) detail: String,
    /// Whether it is provably the wallet's. 4xx may come without any signature (wechat-pay §3).
    pub(crate) signed: bool,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// Reads an answer that is not a 200.
///
/// - 429 and 5xx are doubts, signed or not: an unknown outcome is what they say (contract §4 rule 4).
/// - A wrong signature proves nothing, whatever it stands on. None at all is taken on a 4xx and marked: over verified TLS
///   it is the answer of WeChat's gateway, and `signed` tells the caller what else it takes to believe it.
/// - A code that the table doesn't know, or gives no meaning for this call, is a doubt.
pub(crate) fn read(call: Call, answer: &Answer) -> NotOk {
    let Answer { status, trust, body } = answer;
    let status = *status;
    let doubt = |kind, detail: String| NotOk::Doubt(Doubt::new(kind, detail));
    match status {
        429 => return doubt(DoubtKind::RateLimited, "HTTP 429".to_owned()),
        500.. => return doubt(DoubtKind::WalletError, format!("HTTP {status}")),
        _ => {}
    }
    let signed = match trust {
        Ok(()) => true,
        Err(distrust) if (400..500).contains(&status) && distrust.is_unsigned() => false,
        Err(distrust) => return doubt(DoubtKind::BadSignature, format!("HTTP {status}: {distrust}")),
    };
    if !(400..500).contains(&status) {
        return doubt(DoubtKind::Inconclusive, format!("HTTP {status}"));
    }
    let Ok(ErrorBody { code, message }) = serde_json::from_slice(body) else {
        return doubt(DoubtKind::Unreadable, format!("HTTP {status} without a code"));
    };
    // The longest that WeChat Pay gives them: wechat-pay §7.
    let (code, detail) = (cut(&code, 32).to_owned(), cut(message.as_deref().unwrap_or_default(), 256).to_owned());
    let means = meaning(call, status, &code);
    let refusal = Refusal { code, detail, signed };
    match means {
        Refused => NotOk::Refused(refusal),
        RefusedOrTooSoon => NotOk::RefusedOrTooSoon(refusal),
        BalanceLow if signed => NotOk::BalanceLow(refusal),
        Absent => NotOk::Absent(refusal),
        NotYet => NotOk::NotYet(refusal),
        BalanceLow | Nothing => {
            let unsigned = if signed { "" } else { ", unsigned" };
            doubt(DoubtKind::Inconclusive, format!("HTTP {status} {}{unsigned}", refusal.code))
        }
    }
}

/// At most `max` characters of `text`.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Distrust;

    fn answer(status: u16, code: &str, trust: Result<(), Distrust>) -> Answer {
        Answer { status, trust, body: format!(r#"{{"code":"{code}","message":"原因"}}"#).into_bytes() }
    }

    const CALLS: [Call; 7] =
        [Call::Refund, Call::QueryRefund, Call::LookUp, Call::Void, Call::Abnormal, Call::Close, Call::Bill];

    /// `fixtures/wire/wechat/error-codes.tsv` was written down from the protocol pages, call by call: what it says stands in
    /// the table, and the table says nothing else.
    #[test]
    fn the_table_is_what_the_protocol_pages_list() {
        let listed = crate::fixtures::file("error-codes.tsv");
        let mut rows = std::collections::BTreeSet::new();
        for line in listed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let [call, status, code, means] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            if call == "payer" {
                let expected = match means {
                    "no_code" => V2Means::NoCode,
                    "unknown" => V2Means::Again,
                    other => panic!("{other}"),
                };
                assert_eq!(v2(code), expected, "{line}");
                rows.insert((call.to_owned(), 200, code.to_owned()));
                continue;
            }
            let column = CALLS.into_iter().find(|column| name(*column) == call).unwrap_or_else(|| panic!("{line}"));
            let status: u16 = status.parse().unwrap();
            let read = read(column, &answer(status, code, Ok(())));
            let said = match &read {
                NotOk::Refused(_) => "refused",
                NotOk::RefusedOrTooSoon(_) => "refused_or_too_soon",
                NotOk::BalanceLow(_) => "balance_low",
                NotOk::Absent(_) => "absent",
                NotOk::NotYet(_) => "not_yet",
                NotOk::Doubt(_) => "unknown",
            };
            assert_eq!(said, means, "{line}");
            rows.insert((call.to_owned(), status, code.to_owned()));
        }
        for (status, code, means) in TABLE {
            for call in CALLS.into_iter().filter(|call| means[call.column()] != Nothing) {
                assert!(rows.contains(&(name(call).to_owned(), status, code.to_owned())), "{call:?} {status} {code}");
            }
        }
        for (code, _) in V2_TABLE {
            assert!(rows.contains(&("payer".to_owned(), 200, code.to_owned())), "{code}");
        }
        assert!(rows.len() > 60, "{}", rows.len());
    }

    const fn name(call: Call) -> &'static str {
        match call {
            Call::Refund => "refund",
            Call::QueryRefund => "query_refund",
            Call::LookUp => "query_order",
            Call::Void => "void",
            Call::Abnormal => "abnormal_refund",
            Call::Close => "close",
            Call::Bill => "bill",
        }
    }

    fn kind(read: &NotOk) -> Option<DoubtKind> {
        match read {
            NotOk::Doubt(doubt) => Some(doubt.kind),
            _ => None,
        }
    }

    #[test]
    fn every_row_reads_as_the_table_says_signed_and_unsigned() {
        let calls = CALLS;
        for (status, code, means) in TABLE {
            for (call, means) in calls.into_iter().zip(means) {
                for (trust, signed) in [(Ok(()), true), (Err(Distrust::Unsigned), false)] {
                    let refusal = Refusal { code: code.to_owned(), detail: "原因".to_owned(), signed };
                    let expected = match means {
                        Refused => Ok(NotOk::Refused(refusal)),
                        RefusedOrTooSoon => Ok(NotOk::RefusedOrTooSoon(refusal)),
                        Absent => Ok(NotOk::Absent(refusal)),
                        NotYet => Ok(NotOk::NotYet(refusal)),
                        BalanceLow if signed => Ok(NotOk::BalanceLow(refusal)),
                        BalanceLow | Nothing => Err(DoubtKind::Inconclusive),
                    };
                    let read = read(call, &answer(status, code, trust));
                    match expected {
                        Ok(expected) => assert_eq!(read, expected, "{status} {code} {call:?}"),
                        Err(doubt) => assert_eq!(kind(&read), Some(doubt), "{status} {code} {call:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_stands_once() {
        for (index, (status, code, _)) in TABLE.iter().enumerate() {
            let again = TABLE[index + 1..].iter().any(|(s, c, _)| s == status && c == code);
            assert!(!again, "{status} {code}");
        }
    }

    #[test]
    fn a_wrong_signature_proves_nothing_on_any_row() {
        for (status, code, _) in TABLE {
            for distrust in
                [Distrust::Wrong, Distrust::Incomplete, Distrust::Stale(301), Distrust::UnknownSerial("A".into())]
            {
                let read = read(Call::Refund, &answer(status, code, Err(distrust)));
                assert_eq!(kind(&read), Some(DoubtKind::BadSignature), "{status} {code}");
            }
        }
    }

    #[test]
    fn whatever_is_not_in_the_table_is_a_doubt() {
        for (status, code, trust, expected) in [
            (400, "NEW_CODE", Ok(()), DoubtKind::Inconclusive),
            (403, "PARAM_ERROR", Ok(()), DoubtKind::Inconclusive),
            (400, "param_error", Ok(()), DoubtKind::Inconclusive),
            (400, "SYSTEM_ERROR", Ok(()), DoubtKind::Inconclusive),
            (404, "", Err(Distrust::Unsigned), DoubtKind::Inconclusive),
            (202, "PARAM_ERROR", Ok(()), DoubtKind::Inconclusive),
            (202, "PARAM_ERROR", Err(Distrust::Unsigned), DoubtKind::BadSignature),
            (204, "", Ok(()), DoubtKind::Inconclusive),
            (302, "PARAM_ERROR", Err(Distrust::Unsigned), DoubtKind::BadSignature),
            (429, "PARAM_ERROR", Ok(()), DoubtKind::RateLimited),
            (429, "RATELIMIT_EXCEEDED", Err(Distrust::Unsigned), DoubtKind::RateLimited),
            (500, "SYSTEM_ERROR", Ok(()), DoubtKind::WalletError),
            (502, "", Err(Distrust::Unsigned), DoubtKind::WalletError),
            (503, "SERVICE_UNAVAILABLE", Err(Distrust::Wrong), DoubtKind::WalletError),
            (500, "PARAM_ERROR", Ok(()), DoubtKind::WalletError),
        ] {
            assert_eq!(kind(&read(Call::Refund, &answer(status, code, trust))), Some(expected), "{status} {code}");
        }
    }

    #[test]
    fn a_refusal_without_a_readable_code_is_unreadable() {
        for body in ["", "<html>404</html>", "{}", r#"{"code":404}"#, "[]"] {
            let answer = Answer { status: 404, trust: Ok(()), body: body.as_bytes().to_vec() };
            assert_eq!(kind(&read(Call::Refund, &answer)), Some(DoubtKind::Unreadable), "{body}");
        }
    }

    #[test]
    fn texts_are_cut_by_characters() {
        assert_eq!(cut("商品已售完", 2), "商品");
        assert_eq!(cut("ab", 2), "ab");
        assert_eq!(cut("", 2), "");
    }
}

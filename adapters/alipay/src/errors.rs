//! What Alipay's codes mean: one table (alipay §6, §9, §10), and no code outside it is taken as final.

use scanback_wallet::{Doubt, DoubtKind};
use serde::Deserialize;

/// The part that every answer has. Only ever read from a node whose signature holds.
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    code: String,
    msg: Option<String>,
    sub_code: Option<String>,
    sub_msg: Option<String>,
}

/// The APIs that have codes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// Query, refund and refund query: the codes that all of them share.
    Trade,
    Cancel,
    Close,
    Bill,
    Payer,
}

/// What an answer's codes say, before its other fields are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// `10000`: the call was understood. What happened stands in the other fields.
    Understood,
    /// Refused for good, before any effect.
    Final,
    /// The trade is not known: final to a refund, "not known" to a query.
    NoSuchTrade,
    /// The merchant's balance is too low; the same number may be sent later.
    BalanceLow,
    /// The number was used before with another amount; that one may be done.
    Discordant,
    /// Too many calls: nothing is known about this one.
    TooMany,
    /// Alipay is in trouble: nothing is known.
    Trouble,
    /// There is no bill of that day.
    NoBill {
        /// Whether it may come.
        may_come: bool,
    },
    /// The payment code ran out, or is none.
    NoCode,
    /// Not in the table: nothing is known.
    Unlisted,
}

/// The sub-codes of `40004`, and of any other code where marked in [`classify`]. A leading `aop.` is cut off first.
const SUB_CODES: &[(&str, Class)] = &[
    // trouble, whatever code stands above them
    ("ACQ.SYSTEM_ERROR", Class::Trouble),
    ("AQC.SYSTEM_ERROR", Class::Trouble), // spelled so
    ("isp.unknow-error", Class::Trouble), // spelled so
    ("unknow-error", Class::Trouble),
    ("isv.app-call-limited", Class::TooMany),
    ("isv.method-call-limited", Class::TooMany),
    // business
    ("ACQ.SELLER_BALANCE_NOT_ENOUGH", Class::BalanceLow),
    ("ACQ.DISCORDANT_REPEAT_REQUEST", Class::Discordant),
    ("ACQ.TRADE_NOT_EXIST", Class::NoSuchTrade),
    ("TRADE_NOT_EXIST", Class::NoSuchTrade),
    ("ACQ.INVALID_PARAMETER", Class::Final),
    ("ACQ.TRADE_STATUS_ERROR", Class::Final),
    ("ACQ.REASON_TRADE_STATUS_INVALID", Class::Final),
    ("ACQ.TRADE_NOT_ALLOW_REFUND", Class::Final),
    ("ACQ.NOT_ALLOW_PARTIAL_REFUND", Class::Final),
    ("ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND", Class::Final),
    ("ACQ.REASON_TRADE_BEEN_FREEZEN", Class::Final),
    ("ACQ.BUYER_NOT_EXIST", Class::Final),
    ("ACQ.BUYER_ENABLE_STATUS_FORBID", Class::Final),
    ("ACQ.BUYER_ERROR", Class::Final),
    ("ACQ.CURRENCY_NOT_SUPPORT", Class::Final),
    ("ACQ.ALLOC_AMOUNT_VALIDATE_ERROR", Class::Final),
    ("ACQ.USER_NOT_MATCH_ERR", Class::Final),
    ("ACQ.TRADE_SETTLE_ERROR", Class::Final),
    ("ACQ.REFUND_CHARGE_ERROR", Class::Final),
    ("ACQ.ENTERPRISE_PAY_BIZ_ERROR", Class::Final),
    ("ACQ.OVERDRAFT_ASSIGN_ACCOUNT_INVALID", Class::Final),
    ("ACQ.OVERDRAFT_AGREEMENT_NOT_MATCH", Class::Final),
    ("ACQ.REFUND_ACCOUNT_NOT_EXIST", Class::Final),
    ("ACQ.CUSTOMER_VALIDATE_ERROR", Class::Final),
    ("ACQ.REFUND_ROYALTY_PAYEE_ACCOUNT_NOT_EXIST", Class::Final),
    ("ACQ.REFUNDALLOC_UNAUTH_LIMIT", Class::Final),
    // Final to a first send. To a repeat they may describe the world after the first one took effect; the service
    // believes no refusal of a repeat (contract §4 rule 5), so they need no class of their own.
    ("ACQ.TRADE_HAS_FINISHED", Class::Final),
    ("ACQ.TRADE_HAS_CLOSE", Class::Final),
    ("ACQ.REASON_TRADE_REFUND_FEE_ERR", Class::Final),
    ("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", Class::Final),
    ("ACQ.REFUND_FEE_ERROR", Class::Final),
    // tokens, with 20001
    ("invalid-auth-token", Class::Final),
    ("auth-token-time-out", Class::Final),
    ("invalid-app-auth-token", Class::Final),
    ("invalid-app-auth-token-no-api", Class::Final),
    ("app-auth-token-time-out", Class::Final),
    ("no-product-reg-by-partner", Class::Final),
];

/// Codes that only one API has: another one's answer with it proves nothing.
const OWN_CODES: &[(Api, &str, Class)] = &[
    (Api::Cancel, "ACQ.TRADE_CANCEL_TIME_OUT", Class::Final),
    (Api::Cancel, "ACQ.CANCEL_NOT_ALLOWED", Class::Final),
    (Api::Close, "ACQ.REASON_ILLEGAL_STATUS", Class::Final),
    // as observed live, and as the lists have it (alipay §16)
    (Api::Bill, "isp.bill_not_exist", Class::NoBill { may_come: true }),
    (Api::Bill, "BILL_NOT_EXIST", Class::NoBill { may_come: true }),
    (Api::Bill, "invalid_arguments", Class::NoBill { may_come: true }), // today, or a day to come
    (Api::Bill, "isv.invalid_arguments", Class::NoBill { may_come: true }),
    (Api::Bill, "INVAILID_ARGUMENTS", Class::NoBill { may_come: true }), // spelled so
    (Api::Bill, "NO_BILL_DATA", Class::NoBill { may_come: false }),
    (Api::Bill, "BILL_DATE_BEFORE_REGISTRATION", Class::NoBill { may_come: false }),
    (Api::Bill, "TYPE_NOT_SUPPORTED", Class::Final),
    (Api::Bill, "UNKNOWN_ERROR", Class::Trouble),
    (Api::Bill, "SYSTEM_RATE_LIMIT", Class::TooMany),
    (Api::Bill, "USER_RATE_LIMIT", Class::TooMany),
    // listed for payments by code; no source lists the errors of the look-ups
    (Api::Payer, "ACQ.PAYMENT_AUTH_CODE_INVALID", Class::NoCode),
];

fn own_class(api: Api, sub_code: &str) -> Option<Class> {
    let own = OWN_CODES.iter().find(|(whose, listed, _)| *whose == api && *listed == sub_code);
    own.map(|(_, _, class)| *class)
}

fn class_of(sub_code: &str) -> Option<Class> {
    let name = sub_code.strip_prefix("aop.").unwrap_or(sub_code);
    SUB_CODES.iter().find(|(listed, _)| *listed == name).map(|(_, class)| *class)
}

impl Head {
    /// Reads the codes of a node.
    /// # Errors
    /// [`DoubtKind::Unreadable`] where it has none.
    pub(crate) fn read(node: &str) -> Result<Self, Doubt> {
        serde_json::from_str(node).map_err(|_| Doubt::new(DoubtKind::Unreadable, "the answer has no code"))
    }

    /// What the codes say, in an answer of this API.
    pub(crate) fn class(&self, api: Api) -> Class {
        let own = self.sub_code.as_deref().and_then(|sub_code| own_class(api, sub_code));
        match own {
            // whatever code stands above it: the pages don't say which
            Some(class) if self.code != "10000" && self.code != "20000" => class,
            _ => self.shared_class(),
        }
    }

    fn shared_class(&self) -> Class {
        let sub_code = self.sub_code.as_deref().filter(|sub_code| !sub_code.is_empty());
        let listed = sub_code.and_then(class_of);
        match (self.code.as_str(), listed) {
            (_, Some(Class::TooMany)) => Class::TooMany,
            (_, Some(Class::Trouble)) | ("20000", _) => Class::Trouble,
            ("10000", _) => Class::Understood,
            ("40004", Some(class)) => class,
            // The gateway refuses these before the business system sees the call. Its own sub-codes begin with `isv.`
            // and are many; one of another family that we don't know makes the answer doubtful.
            ("20001" | "40001" | "40002" | "40003" | "40006", listed) => match (sub_code, listed) {
                (None, _) | (_, Some(Class::Final)) => Class::Final,
                (Some(sub_code), None) if sub_code.starts_with("isv.") => Class::Final,
                _ => Class::Unlisted,
            },
            _ => Class::Unlisted,
        }
    }

    /// The most telling code, for people: `ACQ.TRADE_NOT_EXIST`, or `40002` where there is nothing finer.
    pub(crate) fn code(&self) -> String {
        self.sub_code.as_ref().filter(|code| !code.is_empty()).unwrap_or(&self.code).clone()
    }

    /// Alipay's words.
    pub(crate) fn words(&self) -> String {
        self.sub_msg.as_ref().or(self.msg.as_ref()).cloned().unwrap_or_default()
    }

    /// These codes as a doubt, for a class that proves nothing.
    pub(crate) fn doubt(&self, class: Class) -> Doubt {
        let kind = match class {
            Class::TooMany => DoubtKind::RateLimited,
            Class::Trouble => DoubtKind::WalletError,
            Class::Understood
            | Class::Final
            | Class::NoSuchTrade
            | Class::BalanceLow
            | Class::Discordant
            | Class::NoBill { .. }
            | Class::NoCode
            | Class::Unlisted => DoubtKind::Inconclusive,
        };
        Doubt::new(kind, format!("{} {}", self.code, self.sub_code.as_deref().unwrap_or_default()).trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: &str, sub_code: Option<&str>) -> Class {
        Head { code: code.to_owned(), msg: None, sub_code: sub_code.map(str::to_owned), sub_msg: None }
            .class(Api::Trade)
    }

    fn class_in(api: Api, code: &str, sub_code: &str) -> Class {
        Head { code: code.to_owned(), msg: None, sub_code: Some(sub_code.to_owned()), sub_msg: None }.class(api)
    }

    /// `fixtures/wire/alipay/error-codes.tsv` was written down from the protocol pages: what it says stands in the tables,
    /// and the tables say nothing else.
    #[test]
    fn the_tables_are_what_the_protocol_pages_list() {
        let listed = crate::fixtures::text("error-codes.tsv");
        let mut seen = std::collections::BTreeSet::new();
        for line in listed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let [api, code, sub_code, means] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let api = match api {
                "gateway" | "trade" => Api::Trade,
                "cancel" => Api::Cancel,
                "close" => Api::Close,
                "bill" => Api::Bill,
                "payer" => Api::Payer,
                other => panic!("{other}"),
            };
            let said = match class_in(api, code, sub_code) {
                Class::Understood => "understood",
                Class::Final => "final",
                Class::NoSuchTrade => "no_such_trade",
                Class::BalanceLow => "balance_low",
                Class::Discordant => "discordant",
                Class::TooMany => "too_many",
                Class::Trouble => "trouble",
                Class::NoBill { may_come: true } => "no_bill_yet",
                Class::NoBill { may_come: false } => "no_bill",
                Class::NoCode => "no_code",
                Class::Unlisted => "unlisted",
            };
            assert_eq!(said, means, "{line}");
            seen.insert(sub_code.strip_prefix("aop.").unwrap_or(sub_code).to_owned());
        }
        for code in SUB_CODES.iter().map(|(code, _)| *code).chain(OWN_CODES.iter().map(|(_, code, _)| *code)) {
            assert!(seen.contains(code), "{code} stands in no line");
        }
        assert!(seen.len() > 85, "{}", seen.len());
    }

    #[test]
    fn a_code_of_one_api_proves_nothing_in_an_answer_of_another() {
        for (api, code, class) in OWN_CODES {
            assert_eq!(class_in(*api, "40004", code), *class, "{code}");
            for other in [Api::Trade, Api::Cancel, Api::Close, Api::Bill, Api::Payer] {
                if other != *api {
                    assert_eq!(class_in(other, "40004", code), Class::Unlisted, "{other:?} {code}");
                }
            }
        }
    }

    #[test]
    fn every_code_of_the_table_stands_in_it_once_and_says_what_it_says_under_40004() {
        for (at, (code, listed)) in SUB_CODES.iter().enumerate() {
            assert!(SUB_CODES[..at].iter().all(|(earlier, _)| earlier != code), "{code} twice");
            assert_eq!(class("40004", Some(code)), *listed, "{code}");
            assert_eq!(class("40004", Some(&format!("aop.{code}"))), *listed, "aop.{code}");
            let under_20000 = if *listed == Class::TooMany { Class::TooMany } else { Class::Trouble };
            assert_eq!(class("20000", Some(code)), under_20000, "{code} under 20000");
        }
    }

    #[test]
    fn trouble_is_trouble_whatever_code_stands_above_it() {
        for code in ["10000", "20000", "20001", "40001", "40002", "40003", "40004", "40006", "99999"] {
            for sub_code in ["ACQ.SYSTEM_ERROR", "AQC.SYSTEM_ERROR", "aop.ACQ.SYSTEM_ERROR", "isp.unknow-error"] {
                assert_eq!(class(code, Some(sub_code)), Class::Trouble, "{code} {sub_code}");
            }
            assert_eq!(class(code, Some("isv.app-call-limited")), Class::TooMany, "{code}");
        }
    }

    #[test]
    fn what_the_gateway_refuses_is_final_and_what_is_not_listed_never_is() {
        for (code, sub_code, expected) in [
            ("10000", None, Class::Understood),
            ("40001", Some("isv.missing-signature"), Class::Final),
            ("40002", Some("isv.invalid-signature"), Class::Final),
            ("40002", None, Class::Final),
            ("40002", Some(""), Class::Final),
            ("40003", Some("isv.invalid-auth-relations"), Class::Final),
            ("40006", Some("isv.insufficient-isv-permissions"), Class::Final),
            ("20001", Some("aop.invalid-auth-token"), Class::Final),
            ("20001", Some("aop.something-new"), Class::Unlisted),
            ("40002", Some("ACQ.SOMETHING_NEW"), Class::Unlisted),
            ("40002", Some("ACQ.SELLER_BALANCE_NOT_ENOUGH"), Class::Unlisted),
            ("40004", None, Class::Unlisted),
            ("40004", Some(""), Class::Unlisted),
            ("40004", Some("ACQ.SOMETHING_NEW"), Class::Unlisted),
            ("40004", Some("acq.trade_not_exist"), Class::Unlisted),
            ("40004", Some("isv.something-new"), Class::Unlisted),
            ("10003", None, Class::Unlisted),
            ("40005", None, Class::Unlisted),
            ("", None, Class::Unlisted),
        ] {
            assert_eq!(class(code, sub_code), expected, "{code} {sub_code:?}");
        }
    }
}

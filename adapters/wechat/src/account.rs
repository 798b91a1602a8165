//! Who calls: an ordinary merchant, or a partner (服务商) for one of its merchants. Source: wechat-pay §19.

use serde::Serialize;

/// The account that calls are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Who signs: the merchant, or the partner.
    pub(crate) mchid: String,
    /// The signer's app, where one is set.
    pub(crate) appid: Option<String>,
    /// In partner mode: the merchant that is served.
    pub(crate) sub: Option<SubMerchant>,
    /// Where refunds are paid from, where that is to be said (`funds_account`).
    pub(crate) funds_account: Option<String>,
}

/// A partner's merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubMerchant {
    pub(crate) mchid: String,
    pub(crate) appid: Option<String>,
}

/// Who a message names, by whichever fields it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) mchid: Option<&'a str>,
    pub(crate) sp_mchid: Option<&'a str>,
    pub(crate) sub_mchid: Option<&'a str>,
}

/// The body of close and reverse.
#[derive(Serialize)]
pub(crate) struct OrderBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    appid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mchid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sp_appid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sp_mchid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_appid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_mchid: Option<&'a str>,
}

impl Account {
    /// Where orders are found: partners have paths of their own.
    pub(crate) const fn transactions(&self) -> &'static str {
        if self.sub.is_some() { "/v3/pay/partner/transactions" } else { "/v3/pay/transactions" }
    }

    /// The query of an order's URL, without `?`.
    pub(crate) fn order_query(&self) -> String {
        let mchid = &self.mchid;
        match &self.sub {
            None => format!("mchid={mchid}"),
            Some(sub) => format!("sp_mchid={mchid}&sub_mchid={}", sub.mchid),
        }
    }

    /// The merchant that a partner acts for.
    pub(crate) fn sub_mchid(&self) -> Option<&str> {
        self.sub.as_ref().map(|sub| sub.mchid.as_str())
    }

    /// The body of close (`with_apps` false) and reverse (true). Sources: wechat-pay §9, §14.
    pub(crate) fn order_body(&self, with_apps: bool) -> OrderBody<'_> {
        let app = self.appid.as_deref().filter(|_| with_apps);
        let mchid = Some(self.mchid.as_str());
        match &self.sub {
            None => OrderBody { appid: app, mchid, sp_appid: None, sp_mchid: None, sub_appid: None, sub_mchid: None },
            Some(sub) => OrderBody {
                appid: None,
                mchid: None,
                sp_appid: app,
                sp_mchid: mchid,
                sub_appid: sub.appid.as_deref().filter(|_| with_apps),
                sub_mchid: Some(&sub.mchid),
            },
        }
    }

    /// Whether a message speaks of this account and of no other.
    pub(crate) fn is_named(&self, named: Named<'_>) -> bool {
        match &self.sub {
            None => named.mchid == Some(&self.mchid),
            Some(sub) => named.sp_mchid.or(named.mchid) == Some(&self.mchid) && named.sub_mchid == Some(&sub.mchid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partner() -> Account {
        Account {
            mchid: "1900000109".to_owned(),
            appid: Some("wx1".to_owned()),
            sub: Some(SubMerchant { mchid: "1900000200".to_owned(), appid: Some("wx2".to_owned()) }),
            funds_account: None,
        }
    }

    #[test]
    fn a_partner_names_itself_and_its_merchant() {
        let account = partner();
        assert_eq!(account.transactions(), "/v3/pay/partner/transactions");
        assert_eq!(account.order_query(), "sp_mchid=1900000109&sub_mchid=1900000200");
        let body = |apps| serde_json::to_string(&account.order_body(apps)).unwrap();
        assert_eq!(body(false), r#"{"sp_mchid":"1900000109","sub_mchid":"1900000200"}"#);
        assert_eq!(
            body(true),
            r#"{"sp_appid":"wx1","sp_mchid":"1900000109","sub_appid":"wx2","sub_mchid":"1900000200"}"#
        );
    }

    #[test]
    fn an_ordinary_merchant_names_itself_alone() {
        let account = Account { sub: None, ..partner() };
        assert_eq!(account.order_query(), "mchid=1900000109");
        assert_eq!(serde_json::to_string(&account.order_body(false)).unwrap(), r#"{"mchid":"1900000109"}"#);
        assert_eq!(
            serde_json::to_string(&account.order_body(true)).unwrap(),
            r#"{"appid":"wx1","mchid":"1900000109"}"#
        );
    }

    #[test]
    fn news_of_another_merchant_of_the_same_partner_is_not_ours() {
        let named = |mchid, sp_mchid, sub_mchid| Named { mchid, sp_mchid, sub_mchid };
        let ours = partner();
        assert!(ours.is_named(named(None, Some("1900000109"), Some("1900000200"))));
        assert!(!ours.is_named(named(None, Some("1900000109"), Some("1900000201"))));
        assert!(!ours.is_named(named(None, Some("1900000110"), Some("1900000200"))));
        assert!(!ours.is_named(named(Some("1900000109"), None, None)));
        let alone = Account { sub: None, ..partner() };
        assert!(alone.is_named(named(Some("1900000109"), None, None)));
        assert!(!alone.is_named(named(None, Some("1900000109"), Some("1900000200"))));
    }
}

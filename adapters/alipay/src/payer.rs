//! Whose payment code is it? Three APIs answer that, each only for whom Alipay granted it; which one a merchant gets is
//! not stated anywhere, so it is a setting, and none is the default. Source: alipay §17.

use scanback_wallet::{Doubt, DoubtKind, PayerId, PayerOf, PaymentCode, WalletError};
use serde::{Deserialize, Serialize};

use crate::{
    errors::{Api, Class, Head},
    settings::Settings,
    sign::Call,
};

/// Which API is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayerLookup {
    /// `alipay.user.twostage.common.use`. A payment with the same code afterwards must name this look-up, so it is for
    /// tills that charge nothing with a code that was shown for a refund.
    Twostage,
    /// `alipay.marketing.facetoface.decode.use`
    Decode,
    /// `alipay.mobile.shake.user.query`, the oldest.
    Shake,
}

#[derive(Serialize)]
struct Biz<'a> {
    dynamic_id: &'a str,
    sence_no: &'a str, // spelled so
    #[serde(skip_serializing_if = "Option::is_none")]
    pay_pid: Option<&'a str>,
}

/// The question. `number` is unique for each: the wallet knows the look-up by it.
pub(crate) fn request(settings: &Settings, lookup: PayerLookup, code: &PaymentCode, number: &str) -> Call {
    let biz = |pay_pid| Biz { dynamic_id: code.expose(), sence_no: number, pay_pid };
    match lookup {
        PayerLookup::Twostage => Call::new("alipay.user.twostage.common.use", &biz(settings.seller_id.as_deref())),
        PayerLookup::Decode => Call::new("alipay.marketing.facetoface.decode.use", &biz(None)),
        PayerLookup::Shake => Call::with_params(
            "alipay.mobile.shake.user.query",
            vec![("dynamic_id", code.expose().to_owned()), ("dynamic_id_type", "bar_code".to_owned())],
        ),
    }
}

#[derive(Deserialize)]
struct Answer {
    user_id: Option<String>,
    open_id: Option<String>,
}

/// Who it is. `user_id` (2088…) and `open_id` are two kinds of names for one person: the same one is taken here as from
/// an order, `user_id` where there is one.
pub(crate) fn read(node: &str) -> Result<PayerOf, WalletError> {
    let head = Head::read(node)?;
    match head.class(Api::Payer) {
        Class::Understood => {
            let unreadable = |what: &str| Doubt::new(DoubtKind::Unreadable, what);
            let answer: Answer = serde_json::from_str(node).map_err(|_| unreadable("no answer to a look-up"))?;
            let payer = payer(answer.user_id.as_deref(), answer.open_id.as_deref());
            Ok(PayerOf::Payer(payer.ok_or_else(|| unreadable("the answer names nobody"))?))
        }
        Class::NoCode => Ok(PayerOf::NoCode),
        Class::Final | Class::NoSuchTrade => Err(WalletError::Refused { code: head.code(), detail: head.words() }),
        class => Err(head.doubt(class).into()),
    }
}

/// The one name of a person that is compared.
pub(crate) fn payer(user_id: Option<&str>, open_id: Option<&str>) -> Option<PayerId> {
    let named = |scope, text: Option<&str>| PayerId::within(scope, text?);
    named("user_id", user_id).or_else(|| named("open_id", open_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn each_api_is_asked_in_its_own_way() {
        let settings = fixtures::settings();
        let code = PaymentCode::parse("281234567890123456").unwrap();
        let ask = |lookup| request(&settings, lookup, &code, "n1");
        assert_eq!(
            ask(PayerLookup::Twostage).biz_content(),
            r#"{"dynamic_id":"281234567890123456","sence_no":"n1","pay_pid":"2088000000000001"}"#
        );
        assert_eq!(ask(PayerLookup::Decode).biz_content(), r#"{"dynamic_id":"281234567890123456","sence_no":"n1"}"#);
        let shake = ask(PayerLookup::Shake);
        assert_eq!(
            shake.params,
            [("dynamic_id", "281234567890123456".to_owned()), ("dynamic_id_type", "bar_code".to_owned())]
        );
    }

    #[test]
    fn like_is_named_like_and_nobody_is_nobody() {
        let read = |rest: &str| read(&format!(r#"{{"code":"10000"{rest}}}"#));
        let named = |scope, text| Ok(PayerOf::Payer(PayerId::within(scope, text).unwrap()));
        assert_eq!(read(r#","user_id":"2088101117955611","open_id":"o1""#), named("user_id", "2088101117955611"));
        assert_eq!(read(r#","user_id":"","open_id":"o1""#), named("open_id", "o1"));
        assert!(matches!(read(""), Err(WalletError::Doubt(_))));
    }

    #[test]
    fn a_missing_grant_is_told_and_an_old_code_is_no_code() {
        let read = |code: &str, sub: &str| read(&format!(r#"{{"code":"{code}","sub_code":"{sub}"}}"#));
        assert!(matches!(read("40006", "isv.insufficient-isv-permissions"), Err(WalletError::Refused { .. })));
        assert_eq!(read("40004", "ACQ.PAYMENT_AUTH_CODE_INVALID"), Ok(PayerOf::NoCode));
        assert!(matches!(read("40004", "NEVER_HEARD_OF"), Err(WalletError::Doubt(_))));
        assert!(matches!(read("20000", "isp.unknow-error"), Err(WalletError::Doubt(_))));
    }
}

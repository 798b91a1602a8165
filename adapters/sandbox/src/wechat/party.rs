//! Whom a call must name: the merchant, or the partner (服务商) and the merchant that it acts for (wechat-pay §19). The sandbox is
//! one or the other, and refuses the other's form.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    answer::Reply,
    orders::{NUMBER_LENGTH, query_value},
    param_error,
};
use crate::{
    directory::{SubMerchant, WechatParams},
    fields::{BadField, Fields},
};

/// A path without what marks it as a partner's. Orders have a path for each form; the rest of the API has one for both.
pub(super) fn plain_path<'a>(params: &WechatParams, path: &'a str) -> Result<Cow<'a, str>, Reply> {
    let partners = path.strip_prefix("/v3/pay/partner/");
    match (partners, params.sub.is_some()) {
        (Some(rest), true) => Ok(Cow::Owned(format!("/v3/pay/{rest}"))),
        (None, is_partner) if !is_partner || !path.starts_with("/v3/pay/") => Ok(Cow::Borrowed(path)),
        (Some(_), _) => Err(Reply::error(403, "NO_AUTH", "商户号不是服务商，没有该接口的权限")),
        (None, _) => Err(Reply::error(403, "NO_AUTH", "服务商请使用 /v3/pay/partner/ 下的接口")),
    }
}

/// The fields that name everybody in an order and in the answer of its reversal.
pub(super) fn names(params: &WechatParams) -> Map<String, Value> {
    let (appid, mchid) = (&params.appid, &params.mchid);
    let named = match &params.sub {
        None => vec![("appid", appid), ("mchid", mchid)],
        Some(SubMerchant { sub_mchid, sub_appid }) => {
            vec![("sp_appid", appid), ("sp_mchid", mchid), ("sub_appid", sub_appid), ("sub_mchid", sub_mchid)]
        }
    };
    named.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

/// The payer's id, as the apps know it.
pub(super) fn payer(params: &WechatParams, openid: &str) -> Value {
    match &params.sub {
        None => json!({ "openid": openid }),
        Some(sub) => json!({ "sp_openid": openid, "sub_openid": sub_openid(sub, openid) }),
    }
}

/// The id of the same payer in the merchant's own app: another one, always the same.
pub(super) fn sub_openid(sub: &SubMerchant, openid: &str) -> String {
    let digest = Sha256::new().chain_update(&sub.sub_appid).chain_update(openid).finalize();
    format!("o{}", &hex::encode(digest)[..27])
}

/// An order is asked for with the numbers of all who have to do with it.
pub(super) fn check_order_query(params: &WechatParams, query: &str) -> Result<(), Reply> {
    let expected = match &params.sub {
        None => vec![("mchid", &params.mchid)],
        Some(sub) => vec![("sp_mchid", &params.mchid), ("sub_mchid", &sub.sub_mchid)],
    };
    for (name, number) in expected {
        match query_value(query, name) {
            None => return Err(Reply::error(400, "PARAM_ERROR", &format!("缺少参数 {name}"))),
            Some(given) if given != *number => {
                let text = format!("{name}不存在或与签名的商户号不一致");
                return Err(Reply::error(400, "MCH_NOT_EXISTS", &text));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The body of close and reverse names everybody; a reversal the apps too, which a partner may leave out.
pub(super) fn check_order_body(params: &WechatParams, fields: &Fields<'_>, with_apps: bool) -> Result<(), BadField> {
    let must = |name: &str, expected: &str| {
        let given = fields.required_text(name, NUMBER_LENGTH)?;
        if given == expected { Ok(()) } else { Err(fields.bad(name, "is not the one that signed")) }
    };
    let may = |name: &str, expected: &str| match fields.text(name, NUMBER_LENGTH)? {
        Some(given) if given != expected => Err(fields.bad(name, "is not the one that the merchant has")),
        _ => Ok(()),
    };
    match &params.sub {
        None => {
            must("mchid", &params.mchid)?;
            if with_apps { must("appid", &params.appid) } else { Ok(()) }
        }
        Some(sub) => {
            must("sp_mchid", &params.mchid)?;
            must("sub_mchid", &sub.sub_mchid)?;
            if with_apps {
                may("sp_appid", &params.appid)?;
                may("sub_appid", &sub.sub_appid)?;
            }
            Ok(())
        }
    }
}

/// The body of a refund names the merchant that a partner acts for, and no merchant otherwise.
pub(super) fn check_refund_body(params: &WechatParams, fields: &Fields<'_>) -> Result<(), Reply> {
    let bad = |bad: BadField| param_error(&bad);
    match (&params.sub, fields.text("sub_mchid", NUMBER_LENGTH).map_err(bad)?) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(bad(fields.bad("sub_mchid", "is for partners; this merchant is none"))),
        (Some(_), None) => Err(bad(fields.bad("sub_mchid", "is required of a partner"))),
        (Some(sub), Some(given)) => known(sub, given),
    }
}

/// A refund is asked for under the merchant that a partner acts for.
pub(super) fn check_refund_query(params: &WechatParams, query: &str) -> Result<(), Reply> {
    let Some(sub) = &params.sub else { return Ok(()) };
    let given = query_value(query, "sub_mchid");
    known(sub, &given.ok_or_else(|| Reply::error(400, "PARAM_ERROR", "缺少参数 sub_mchid"))?)
}

/// A bill is that of all a partner's merchants, or of the one it names.
pub(super) fn check_bill_query(params: &WechatParams, query: &str) -> Result<(), Reply> {
    let is_ours = match (query_value(query, "sub_mchid"), &params.sub) {
        (None, _) => true,
        (Some(given), Some(sub)) => given == sub.sub_mchid,
        (Some(_), None) => false,
    };
    if is_ours { Ok(()) } else { Err(Reply::error(400, "INVALID_REQUEST", "sub_mchid与服务商没有受理关系")) }
}

fn known(sub: &SubMerchant, given: &str) -> Result<(), Reply> {
    if given == sub.sub_mchid {
        return Ok(());
    }
    Err(Reply::error(404, "MCH_NOT_EXISTS", "特约商户号不存在或与服务商没有受理关系"))
}

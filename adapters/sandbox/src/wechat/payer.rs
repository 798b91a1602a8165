//! Whose payment code is it? `POST /tools/authcodetoopenid` of the old API (APIv2): XML both ways, signed by MD5 in the
//! body (wechat-pay §17).

use std::{collections::BTreeMap, fmt::Write as _};

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use md5::{Digest as _, Md5};

use crate::{
    books::Wallet,
    cut::{Cut, cut},
    faults::{Fired, Kind, Operation},
    server::Broken,
    world::World,
};

type Fields = BTreeMap<String, String>;

/// The call.
pub(crate) async fn serve(
    request: HttpRequest,
    body: web::Bytes,
    world: web::Data<World>,
) -> Result<HttpResponse, Broken> {
    let params = &world.identity.wechat.params;
    let key = params.apiv2_key.as_str();
    let fields = match read(&body) {
        Some(fields) => fields,
        None => return Ok(failed("XML格式错误")),
    };
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    // HMAC is refused: the page names no sign_type (wechat-pay §17)
    if field("sign") != sign(&fields, key) || fields.contains_key("sign_type") {
        return Ok(failed("签名错误"));
    }
    if field("appid") != params.appid || field("mch_id") != params.mchid || field("nonce_str").is_empty() {
        return Ok(failed("appid、mch_id或nonce_str错误"));
    }
    let fault = world.draw(Wallet::Wechat, Operation::Payer);
    if let Some(Fired { delay, .. }) = fault {
        world.hold(delay).await;
    }
    let kind = fault.map(|fault| fault.kind);
    match kind {
        Some(Kind::NoEffectTimeout | Kind::EffectThenTimeout) => return Ok(cut(&request, Cut::Close)),
        Some(Kind::EffectThenReset) => return Ok(cut(&request, Cut::Reset)),
        Some(Kind::Http500) => return Ok(HttpResponse::InternalServerError().finish()),
        Some(Kind::RateLimited) => return Ok(HttpResponse::TooManyRequests().finish()),
        Some(Kind::UnsignedError) => return Ok(failed("商户号没有该接口的权限")),
        _ => {}
    }
    let mut answer = Fields::from([
        ("return_code".to_owned(), "SUCCESS".to_owned()),
        ("return_msg".to_owned(), "OK".to_owned()),
        ("appid".to_owned(), params.appid.clone()),
        ("mch_id".to_owned(), params.mchid.clone()),
        ("nonce_str".to_owned(), "SANDBOXNONCE".to_owned()),
    ]);
    let code = field("auth_code");
    let is_code =
        code.len() == 18 && code.bytes().all(|byte| byte.is_ascii_digit()) && ("10".."16").contains(&&code[..2]);
    let owner = world.books(|books, now| books.owner_of_code(Wallet::Wechat, code, now));
    let mut put = |name: &str, value: &str| answer.insert(name.to_owned(), value.to_owned());
    let error = match (kind, owner) {
        (Some(Kind::SystemError), _) => Some(("SYSTEMERROR", "系统错误")),
        (_, Some(openid)) => {
            put("openid", &openid);
            None
        }
        (_, None) if is_code => Some(("AUTHCODEEXPIRE", "二维码已过期，请用户刷新后重试")),
        (_, None) => Some(("AUTH_CODE_INVALID", "请扫描微信支付被扫条码/二维码")),
    };
    put("result_code", if error.is_some() { "FAIL" } else { "SUCCESS" });
    if let Some((code, words)) = error {
        put("err_code", code);
        put("err_code_des", words);
    }
    let mut signature = sign(&answer, key);
    if kind == Some(Kind::BadSignature) {
        signature = "0".repeat(32);
    }
    answer.insert("sign".to_owned(), signature);
    let mut text = write(&answer).into_bytes();
    if kind == Some(Kind::GarbageBody) {
        text.truncate(text.len() / 2);
    }
    Ok(respond(text))
}

fn respond(body: Vec<u8>) -> HttpResponse {
    HttpResponse::build(StatusCode::OK).content_type("text/xml; charset=utf-8").body(body)
}

/// Refused before the business saw it: without a signature.
fn failed(words: &str) -> HttpResponse {
    let fields = [("return_code", "FAIL"), ("return_msg", words)];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    respond(write(&Fields::from(fields)).into_bytes())
}

fn sign(fields: &Fields, key: &str) -> String {
    let mut text = String::new();
    for (name, value) in fields.iter().filter(|(name, value)| *name != "sign" && !value.is_empty()) {
        let _ = write!(text, "{name}={value}&");
    }
    let _ = write!(text, "key={key}");
    hex::encode_upper(Md5::digest(text.as_bytes()))
}

fn write(fields: &Fields) -> String {
    let mut text = String::from("<xml>");
    for (name, value) in fields {
        let _ = write!(text, "<{name}><![CDATA[{value}]]></{name}>");
    }
    text + "</xml>"
}

/// Flat fields, plain or in CDATA: all that clients send. Declarations and whatever nests are refused.
fn read(body: &[u8]) -> Option<Fields> {
    let text = std::str::from_utf8(body).ok()?;
    let mut rest = text.trim();
    if rest.starts_with("<?xml") {
        rest = rest.split_once("?>")?.1.trim_start();
    }
    rest = rest.strip_prefix("<xml>")?.strip_suffix("</xml>")?.trim();
    let mut fields = Fields::new();
    while !rest.is_empty() {
        let (name, inside) = rest.strip_prefix('<')?.split_once('>')?;
        let (value, after) = inside.split_once(&format!("</{name}>"))?;
        let value = match value.strip_prefix("<![CDATA[") {
            Some(data) => data.strip_suffix("]]>")?,
            None if value.contains(['<', '&']) => return None,
            None => value,
        };
        fields.insert(name.to_owned(), value.to_owned());
        rest = after.trim_start();
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_and_signed_as_the_old_api_has_it() {
        let text = "<xml><appid>wx8888888888888888</appid>\n<mch_id><![CDATA[1900000109]]></mch_id>\
                    <auth_code>134567890123456789</auth_code><nonce_str>5K8264ILTKCH16CQ2502SI8ZNMTM67VS</nonce_str>\
                    <sign>139E3A64A47BD377DCB7E2E81C00E4DA</sign></xml>";
        let fields = read(text.as_bytes()).unwrap();
        assert_eq!(sign(&fields, "TESTONLYv2key0123456789abcdefABC"), fields["sign"]);
        assert_eq!(read(write(&fields).as_bytes()), Some(fields));
        for text in [
            "",
            "<xml><a>1</b></xml>",
            "<xml><a><b>1</b></a></xml>",
            "<!DOCTYPE x><xml></xml>",
            "<xml><a>&b;</a></xml>",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}

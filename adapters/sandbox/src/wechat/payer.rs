//! Whose payment code is it? The one call of the old API that is needed: `authcodetoopenid` (wechat-pay §17).

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::{constant_time, hmac};
use md5::{Digest as _, Md5};

use super::answer;
use crate::{
    books::Wallet,
    cut::{Cut, cut},
    faults::{Kind, Operation},
    world::World,
};

/// Where it is asked.
pub(crate) const PATH: &str = "/tools/authcodetoopenid";

type Fields = BTreeMap<String, String>;

/// How a message of the old API is signed: as the request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignType {
    Md5,
    HmacSha256,
}

/// `POST /tools/authcodetoopenid`.
pub(crate) async fn serve(request: HttpRequest, body: web::Bytes, world: web::Data<World>) -> HttpResponse {
    let params = &world.identity.wechat.params;
    let Some(asked) = read(&body) else { return failed("XML格式错误") };
    let of = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let sign_type = match of("sign_type") {
        "" | "MD5" => SignType::Md5,
        "HMAC-SHA256" => SignType::HmacSha256,
        _ => return failed("签名类型应为MD5或HMAC-SHA256"),
    };
    let expected = sign(&asked, &params.apiv2_key, sign_type);
    if constant_time::verify_slices_are_equal(expected.as_bytes(), of("sign").as_bytes()).is_err() {
        return failed("签名错误");
    }
    if of("appid") != params.appid || of("mch_id") != params.mchid {
        return failed("appid或mch_id不匹配");
    }
    let sub_app = match &params.sub {
        None if of("sub_mch_id").is_empty() => None,
        Some(sub) if of("sub_mch_id") == sub.sub_mchid && ["", &sub.sub_appid].contains(&of("sub_appid")) => {
            Some(sub).filter(|_| !of("sub_appid").is_empty())
        }
        _ => return failed("sub_mch_id或sub_appid不匹配"),
    };
    if of("nonce_str").is_empty() || of("nonce_str").len() > 32 {
        return failed("nonce_str长度应为1到32");
    }
    let fault = world.draw(Wallet::Wechat, Operation::Payer);
    if let Some(fault) = fault {
        world.hold(fault.delay).await;
        match fault.kind {
            Kind::NoEffectTimeout | Kind::EffectThenTimeout => return cut(&request, Cut::Close),
            Kind::EffectThenReset => return cut(&request, Cut::Reset),
            Kind::Http500 => {
                return HttpResponse::InternalServerError().content_type("text/html").body("<html></html>");
            }
            Kind::RateLimited => return HttpResponse::TooManyRequests().finish(),
            Kind::UnsignedError => return failed("商户号没有该接口的权限"),
            _ => {}
        }
    }
    let mut said = Fields::new();
    let mut put = |name: &str, value: &str| said.insert(name.to_owned(), value.to_owned());
    put("return_code", "SUCCESS");
    put("return_msg", "OK");
    put("appid", &params.appid);
    put("mch_id", &params.mchid);
    put("nonce_str", &answer::nonce());
    let code = of("auth_code");
    let payer = world.books(|books, now| books.payer_of(Wallet::Wechat, code, now));
    let error = match (fault.map(|fault| fault.kind), payer) {
        (Some(Kind::SystemError), _) => Some(("SYSTEMERROR", "系统超时")),
        (_, Some(payer)) => {
            put("openid", &payer);
            if let Some(sub) = sub_app {
                put("sub_openid", &super::party::sub_openid(sub, &payer));
            }
            None
        }
        _ if has_the_form(code) => Some(("AUTHCODEEXPIRE", "二维码已过期，请用户在微信上刷新后再试")),
        _ => Some(("AUTH_CODE_INVALID", "请扫描微信支付被扫条码/二维码：18位数字，以10、11、12、13、14、15开头")),
    };
    match error {
        None => put("result_code", "SUCCESS"),
        Some((code, text)) => {
            put("result_code", "FAIL");
            put("err_code", code);
            put("err_code_des", text)
        }
    };
    let mut signature = sign(&said, &params.apiv2_key, sign_type);
    if fault.is_some_and(|fault| fault.kind == Kind::BadSignature) {
        signature = sign(&Fields::new(), &params.apiv2_key, sign_type);
    }
    said.insert("sign".into(), signature);
    let mut text = write(&said);
    if fault.is_some_and(|fault| fault.kind == Kind::GarbageBody) {
        let half = (0..=text.len() / 2).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(half);
    }
    HttpResponse::Ok().content_type("text/xml; charset=utf-8").body(text)
}

fn has_the_form(code: &str) -> bool {
    let digits = code.len() == 18 && code.bytes().all(|byte| byte.is_ascii_digit());
    digits && matches!(&code[..2], "10" | "11" | "12" | "13" | "14" | "15")
}

/// Transport failed: such an answer is not signed.
fn failed(why: &str) -> HttpResponse {
    let said = [("return_code", "FAIL"), ("return_msg", why)];
    let said = said.map(|(name, value)| (name.to_owned(), value.to_owned()));
    HttpResponse::Ok().content_type("text/xml; charset=utf-8").body(write(&Fields::from(said)))
}

/// Non-empty values by name, the key at the end; upper-case hex.
fn sign(fields: &Fields, key: &str, kind: SignType) -> String {
    let used = fields.iter().filter(|(name, value)| *name != "sign" && !value.is_empty());
    let text: String = used.map(|(name, value)| format!("{name}={value}&")).collect();
    let text = format!("{text}key={key}");
    match kind {
        SignType::Md5 => hex::encode_upper(Md5::digest(text.as_bytes())),
        SignType::HmacSha256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
            hex::encode_upper(hmac::sign(&key, text.as_bytes()))
        }
    }
}

fn write(fields: &Fields) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("<{name}><![CDATA[{value}]]></{name}>")).collect();
    format!("<xml>{fields}</xml>")
}

/// One root, flat fields, with or without CDATA. Declarations of types or entities are refused.
fn read(body: &[u8]) -> Option<Fields> {
    let text = std::str::from_utf8(body).ok()?.trim();
    if text.contains("<!DOCTYPE") || text.contains("<!ENTITY") {
        return None;
    }
    let start = text.find("<xml>")? + "<xml>".len();
    let mut rest = text.get(start..)?.strip_suffix("</xml>")?.trim();
    let mut fields = Fields::new();
    while !rest.is_empty() {
        let (name, after) = rest.strip_prefix('<')?.split_once('>')?;
        let end = format!("</{name}>");
        let (value, after) = match after.trim_start().strip_prefix("<![CDATA[") {
            Some(data) => {
                let (value, after) = data.split_once("]]>")?;
                (value.to_owned(), after.trim_start().strip_prefix(&end)?)
            }
            None => {
                let (value, after) = after.split_once(&end)?;
                let plain = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
                (plain.replace("&apos;", "'").replace("&amp;", "&"), after)
            }
        };
        fields.insert(name.to_owned(), value);
        rest = after.trim_start();
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, cases, text};

    #[test]
    fn messages_of_the_old_api_get_the_known_signatures() {
        let known = vectors::of("wechat");
        for case in cases(&known, "v2_sign") {
            let params = case["params"].as_object().unwrap();
            let fields: Fields = params.iter().map(|(name, value)| (name.clone(), text(value).to_owned())).collect();
            let kind = match text(&case["kind"]) {
                "MD5" => SignType::Md5,
                "HMAC-SHA256" => SignType::HmacSha256,
                other => panic!("{other}"),
            };
            let made = sign(&fields, text(&known["params"]["apiv2_key"]), kind);
            assert_eq!(made, text(&case["sign"]), "{}", case["name"]);
        }
    }

    #[test]
    fn the_old_apis_documents_are_read_and_signed_as_documented() {
        let asked = read(b"<xml>\n<appid>wxd930ea5d5a258f4f</appid><mch_id><![CDATA[10000100]]></mch_id>\n<device_info>1000</device_info><body>test</body><nonce_str>ibuaiVcKdpRxkhJA</nonce_str><empty></empty></xml>").unwrap();
        // the worked example of the wallet's page on signatures
        assert_eq!(sign(&asked, "192006250b4c09247ec02edce69f6a2d", SignType::Md5), "9A0A8659F005D6984697E2CA0A9CF3B7");
        assert_eq!(
            sign(&asked, "192006250b4c09247ec02edce69f6a2d", SignType::HmacSha256),
            "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"
        );
        assert_eq!(read(write(&asked).as_bytes()).unwrap(), asked);
        for bad in [&b""[..], b"<xml>", b"<xml><a>1</b></xml>", b"<!DOCTYPE a><xml></xml>", b"<xml>\xff</xml>"] {
            assert_eq!(read(bad), None);
        }
    }
}

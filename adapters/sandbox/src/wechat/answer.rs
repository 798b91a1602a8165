//! Answers and their signatures (wechat-pay §3, §5).

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use jiff::Timestamp;
use rand::{Rng as _, distributions::Alphanumeric};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    directory::PlatformCertificate,
    keys::{KeyError, SigningKey},
    server::Broken,
    world::World,
};

const SIGNATURE_TYPE: &str = "WECHATPAY2-SHA256-RSA2048";
const NONCE_LENGTH: usize = 32;

/// Which key signs, and under which name.
pub(super) enum Signer {
    PublicKey(Arc<World>),
    Certificate(Arc<PlatformCertificate>),
}

impl Signer {
    /// By the request's `Wechatpay-Serial`: the public key where it names that, else the certificate that it names, else
    /// the newest certificate (wechat-pay §5).
    pub(super) fn choose(world: &Arc<World>, request: &HttpRequest) -> Self {
        let header = request.headers().get("Wechatpay-Serial").and_then(|value| value.to_str().ok());
        Self::named(world, header)
    }

    pub(super) fn named(world: &Arc<World>, serial: Option<&str>) -> Self {
        if serial == Some(world.identity.wechat.params.platform_public_key_id.as_str()) {
            return Self::PublicKey(Arc::clone(world));
        }
        let certificates = world.platform_certificates();
        let named = certificates
            .iter()
            .find(|one| serial.is_some_and(|serial| one.certificate.serial.eq_ignore_ascii_case(serial)));
        let newest = certificates.last().unwrap_or(&world.identity.wechat.platform);
        Self::Certificate(Arc::clone(named.unwrap_or(newest)))
    }

    pub(super) fn serial(&self) -> &str {
        match self {
            Self::PublicKey(world) => &world.identity.wechat.params.platform_public_key_id,
            Self::Certificate(platform) => &platform.certificate.serial,
        }
    }

    fn key(&self) -> &SigningKey {
        match self {
            Self::PublicKey(world) => &world.identity.wechat.public_key_mode,
            Self::Certificate(platform) => &platform.key,
        }
    }

    /// The five headers over a body, of this moment: answers and notifications are signed alike.
    pub(super) fn headers(&self, body: &[u8]) -> Result<[(&'static str, String); 5], KeyError> {
        let timestamp = Timestamp::now().as_second().to_string();
        let nonce = nonce();
        let signature = self.key().sign(&signed_text(&timestamp, &nonce, body))?;
        Ok([
            ("Wechatpay-Timestamp", timestamp),
            ("Wechatpay-Nonce", nonce),
            ("Wechatpay-Signature", signature),
            ("Wechatpay-Serial", self.serial().to_owned()),
            ("Wechatpay-Signature-Type", SIGNATURE_TYPE.to_owned()),
        ])
    }
}

/// What the signature of an answer or a notification is over (wechat-pay §3).
fn signed_text(timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    [format!("{timestamp}\n{nonce}\n").as_bytes(), body, b"\n"].concat()
}

pub(super) fn nonce() -> String {
    rand::thread_rng().sample_iter(Alphanumeric).take(NONCE_LENGTH).map(char::from).collect()
}

/// An answer before it is signed.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    body: Vec<u8>,
    /// Of a file, which is answered without a signature (wechat-pay §16); `None` for JSON.
    file: Option<&'static str>,
}

impl Reply {
    /// 200 with JSON.
    pub(super) fn ok(body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self { status: StatusCode::OK, body, file: None },
            Err(error) => Self::error(500, "SYSTEM_ERROR", &error.to_string()),
        }
    }

    /// 204 without a body.
    pub(super) fn done() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: Vec::new(), file: None }
    }

    /// 200 with a file of this media type, which carries no signature.
    pub(super) fn file(body: Vec<u8>, kind: &'static str) -> Self {
        Self { status: StatusCode::OK, body, file: Some(kind) }
    }

    /// An error in the wallet's form (wechat-pay §7).
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::of_error(status, &json!({ "code": code, "message": message }))
    }

    /// An error that says more.
    pub(super) fn error_with(status: u16, code: &str, message: &str, detail: Value) -> Self {
        Self::of_error(status, &json!({ "code": code, "message": message, "detail": detail }))
    }

    fn of_error(status: u16, body: &Value) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, body: body.to_string().into_bytes(), file: None }
    }

    /// The same status with a body that no JSON parser takes: cut off in the middle.
    pub(super) fn garbled(mut self) -> Self {
        self.body.truncate(self.body.len() / 2);
        self.body.extend_from_slice(b"\xff<");
        if self.status == StatusCode::NO_CONTENT {
            self.status = StatusCode::OK;
        }
        self
    }

    /// Signed over exactly these bytes.
    pub(super) fn signed(self, signer: &Signer) -> Result<HttpResponse, Broken> {
        if self.file.is_some() {
            return Ok(self.unsigned());
        }
        let headers = signer.headers(&self.body)?;
        Ok(self.respond(headers.as_slice()))
    }

    /// Signed over other bytes: the headers are all there, and wrong.
    pub(super) fn badly_signed(self, signer: &Signer) -> Result<HttpResponse, Broken> {
        let headers = signer.headers(b"{\"not\":\"this body\"}")?;
        Ok(self.respond(headers.as_slice()))
    }

    /// Without a signature.
    pub(super) fn unsigned(self) -> HttpResponse {
        self.respond(&[])
    }

    fn respond(self, headers: &[(&'static str, String)]) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header(("Request-ID", request_id()));
        for (name, value) in headers {
            response.insert_header((*name, value.as_str()));
        }
        if self.status == StatusCode::NO_CONTENT {
            return response.finish();
        }
        response.content_type(self.file.unwrap_or("application/json; charset=utf-8")).body(self.body)
    }
}

/// What the wallet's support asks for (wechat-pay §1).
fn request_id() -> String {
    uuid::Uuid::now_v7().simple().to_string().to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, cases, text};

    #[test]
    fn answers_and_notifications_get_the_known_signatures() {
        let known = vectors::of("wechat");
        let params = &known["params"];
        let keys = [
            ("platform_serial", "platform_key.b64"),
            ("platform_serial_next", "platform_key_next.b64"),
            ("platform_public_key_id", "wechatpay_public_key_signing_half.b64"),
        ];
        let keys = keys.map(|(serial, file)| (text(&params[serial]), vectors::key("wechat", file)));
        let mut compared = 0;
        let all = ["response_verification", "notifications"].iter().flat_map(|name| cases(&known, name));
        for case in all.chain([&known["certificates_response"]]) {
            let header = |name: &str| text(&case["headers"][name]);
            let body = text(&case["body"]).as_bytes();
            let signed = signed_text(header("Wechatpay-Timestamp"), header("Wechatpay-Nonce"), body);
            let (_, key) = keys.iter().find(|(serial, _)| *serial == header("Wechatpay-Serial")).unwrap();
            let is_ours = key.sign(&signed).unwrap() == header("Wechatpay-Signature");
            // the one that is genuine and old is signed like any other
            let is_genuine = case["valid"] == true || case["name"] == "clock_skew";
            assert_eq!(is_ours, is_genuine, "{}", case["name"]);
            compared += 1;
        }
        assert!(compared >= 12, "{compared}");
    }
}

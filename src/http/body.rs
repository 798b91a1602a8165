//! Bodies: read up to a limit, in the type that is asked for, into a shape that names what is wrong.

use std::{sync::Arc, time::Duration};

use actix_multipart::{Multipart, MultipartError};
use actix_web::{
    HttpRequest,
    http::header::CONTENT_TYPE,
    web::{BytesMut, Payload},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{MAX_JSON_BYTES, problem::Problem};
use crate::domain::refusal::{FieldError, Refusal};

/// How long a body may take to arrive: a terminal on a slow line sends eight frames in less.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Frames in one request (contract §3: a burst of one to eight).
pub(super) const MAX_FRAMES: usize = 8;

/// The type of a body without its parameters, lower case; empty where there is none.
pub(super) fn media_type(request: &HttpRequest) -> String {
    let header = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    header.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// A body of at most `max` bytes.
/// # Errors
/// [`Refusal::BodyTooLarge`], [`Refusal::MalformedRequest`] where it breaks off.
pub(super) async fn bytes(payload: Payload, max: usize) -> Result<Vec<u8>, Refusal> {
    timeout(BODY_WITHIN, read_bytes(payload, max)).await.map_err(|_| too_slow())?
}

fn too_slow() -> Refusal {
    Refusal::MalformedRequest("the body took too long to arrive".into())
}

async fn read_bytes(mut payload: Payload, max: usize) -> Result<Vec<u8>, Refusal> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Refusal::MalformedRequest("the body broke off".into()))?;
        if body.len() + chunk.len() > max {
            return Err(Refusal::BodyTooLarge { max_bytes: max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.to_vec())
}

/// A JSON body: 415 for another type, 400 for what is no JSON, 422 with the field for another shape.
/// # Errors
/// The refusals above.
pub(super) async fn json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, Problem> {
    if media_type(request) != "application/json" {
        return Err(Refusal::UnsupportedMediaType("application/json").into());
    }
    let body = bytes(payload, MAX_JSON_BYTES).await?;
    Ok(parse(&body, "")?)
}

/// Reads JSON; `part` names the place for fields of a multipart body.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8], part: &str) -> Result<T, Refusal> {
    // syntax first: a body that is no JSON is malformed, whatever its fields
    let syntax = |error: serde_json::Error| Refusal::MalformedRequest(format!("the JSON can't be read: {error}"));
    let body = std::str::from_utf8(body)
        .map_err(|_| Refusal::MalformedRequest("the JSON can't be read: it is not UTF-8".into()))?;
    serde_json::from_str::<serde::de::IgnoredAny>(body).map_err(syntax)?;
    let mut reader = serde_json::Deserializer::from_str(body);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { part.to_owned() } else { path };
        let message = error.inner().to_string();
        if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            let field = if path.is_empty() || path == part { name.to_owned() } else { format!("{path}.{name}") };
            return Refusal::field(field, "is missing");
        }
        Refusal::ValidationFailed(vec![FieldError::new(path, without_values(&message))])
    })
}

/// An error of the reader without what was sent: a PIN or a payment code may stand where something else belongs
/// (contract §4 rule 11). What is expected remains.
pub(super) fn without_values(error: &str) -> String {
    let error = error.split(" at line ").next().unwrap_or(error);
    match error.split_once(", expected ") {
        Some((problem, expected)) if problem.starts_with("invalid ") => format!("must be {expected}"),
        Some((problem, expected)) if problem.starts_with("unknown ") => {
            format!("is not known here; known are {expected}")
        }
        _ if error.starts_with("duplicate field") => error.to_owned(),
        _ => "can't be read".to_owned(),
    }
}

/// A multipart body: the part named `named`, if one is wanted, and the parts `frame`.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) named: Option<Vec<u8>>,
    pub(super) frames: Vec<Arc<[u8]>>,
}

/// Reads a multipart body.
/// # Errors
/// 400 where it is broken, 413 for a frame or part that is too large, 422 for parts that aren't expected.
pub(super) async fn multipart(
    request: &HttpRequest,
    payload: Payload,
    named: Option<&str>,
    max_frame_bytes: usize,
) -> Result<Parts, Refusal> {
    timeout(BODY_WITHIN, read_parts(request, payload, named, max_frame_bytes)).await.map_err(|_| too_slow())?
}

async fn read_parts(
    request: &HttpRequest,
    payload: Payload,
    named: Option<&str>,
    max_frame_bytes: usize,
) -> Result<Parts, Refusal> {
    let broken =
        |error: MultipartError| Refusal::MalformedRequest(format!("the multipart body can't be read: {error}"));
    let mut multipart = Multipart::new(request.headers(), payload);
    let mut parts = Parts::default();
    while let Some(mut field) = multipart.try_next().await.map_err(broken)? {
        let name = field.name().unwrap_or("").to_owned();
        let is_frame = name == "frame";
        if is_frame && parts.frames.len() == MAX_FRAMES {
            return Err(Refusal::field("frame", "at most 8 frames are taken"));
        }
        if !is_frame && Some(name.as_str()) != named {
            return Err(Refusal::field(name, "no such part is expected here"));
        }
        let max = if is_frame { max_frame_bytes } else { MAX_JSON_BYTES };
        let mut content = Vec::new();
        while let Some(chunk) = field.try_next().await.map_err(broken)? {
            if content.len() + chunk.len() > max {
                return Err(if is_frame {
                    Refusal::FrameTooLarge(format!("a frame has at most {max} bytes: send a smaller picture"))
                } else {
                    Refusal::BodyTooLarge { max_bytes: max }
                });
            }
            content.extend_from_slice(&chunk);
        }
        if !is_frame {
            if parts.named.replace(content).is_some() {
                return Err(Refusal::field(name, "is there twice"));
            }
        } else {
            parts.frames.push(content.into());
        }
    }
    Ok(parts)
}

/// Collects what is wrong with the fields of one body, so that the caller hears of all at once.
#[derive(Debug, Default)]
pub(super) struct Checked(Vec<FieldError>);

impl Checked {
    /// The value, or a note of what is wrong with `field`.
    pub(super) fn take<T, E: std::fmt::Display>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.0.push(FieldError::new(field, error.to_string()))).ok()
    }

    /// The same where the field may be absent: `None` stands for absent and for wrong alike, and wrong is noted.
    pub(super) fn maybe<T, E: std::fmt::Display>(&mut self, field: &str, value: Option<Result<T, E>>) -> Option<T> {
        value.and_then(|value| self.take(field, value))
    }

    /// Notes that `field` is wrong.
    pub(super) fn wrong(&mut self, field: &str, problem: &str) {
        self.0.push(FieldError::new(field, problem));
    }

    /// Everything was right, or all that was wrong.
    pub(super) fn done(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::ValidationFailed(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Shape {
        pin: Option<String>,
        count: Option<u8>,
    }

    /// Whatever stands in the wrong place, it isn't repeated to the caller and whoever logs the answer.
    #[test]
    fn a_value_that_is_wrong_is_never_repeated() {
        for (json, field, says) in [
            (r#"{"pin": 135792468}"#, "pin", "must be a string"),
            (r#"{"count": "135792468"}"#, "count", "must be u8"),
            (r#"{"count": 135792468}"#, "count", "must be u8"),
            (r#"{"pin": "1", "pin": "135792468"}"#, "", "duplicate field `pin`"),
            (r#"{"nip": "135792468"}"#, "nip", "is not known here; known are `pin` or `count`"),
            (r#"["135792468", 135792468, 135792468]"#, "", ""),
        ] {
            let Err(Refusal::ValidationFailed(fields)) = parse::<Shape>(json.as_bytes(), "") else { panic!("{json}") };
            assert!(!format!("{fields:?}").contains("135792468"), "{fields:?}");
            if !says.is_empty() {
                assert_eq!((fields[0].field.as_str(), fields[0].problem.as_str()), (field, says));
            }
        }
        assert!(matches!(parse::<Shape>(b"{\"pin\": ", ""), Err(Refusal::MalformedRequest(_))));
    }
}

//! Refusals of control calls: RFC 9457, like the service's own (contract §3), with the field that is wrong.

use std::fmt;

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use serde_json::{Value, json};

use crate::fields::BadField;

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem {
    status: u16,
    code: &'static str,
    detail: String,
    field: Option<String>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, detail: &str) -> Self {
        Self { status, code, detail: detail.to_owned(), field: None }
    }
}

impl From<BadField> for Problem {
    fn from(bad: BadField) -> Self {
        let field = bad.field.trim_start_matches('/').to_owned();
        let detail = format!("{field}: {}", bad.issue);
        Self { status: 422, code: "validation_failed", detail, field: Some(field) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut body = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Some(field) = &self.field {
            body["errors"] = json!([{ "field": field, "detail": self.detail }]);
        }
        HttpResponse::build(status).content_type("application/problem+json").body(body.to_string())
    }
}

/// A refusal as an answer.
pub(crate) fn problem(status: u16, code: &'static str, detail: &str) -> HttpResponse {
    Problem::new(status, code, detail).error_response()
}

/// The JSON of a body.
pub(super) fn document(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(400, "malformed_request", &format!("the body is not JSON: {error}")))
}

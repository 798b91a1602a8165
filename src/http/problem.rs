//! The only error map: what was refused or broke → status, code and words (RFC 9457; contract §3). Handlers return a
//! [`Problem`]; one middleware gives it the caller's language and the request's id.

use std::fmt;

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{ACCEPT_LANGUAGE, ALLOW, HeaderName, HeaderValue, RETRY_AFTER},
    },
    middleware::Next,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing_actix_web::RequestId;

use crate::{
    domain::{
        refusal::Refusal,
        view::{MoneyView, OrderView},
    },
    ledger::LedgerError,
    service::ServiceError,
    words::{self, Language},
};

/// When a caller shall come back where nothing more is known, in seconds.
const RETRY_AFTER_S: u32 = 2;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer of RFC 9457 on its way to the caller.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    refusal: Option<Refusal>,
    retryable: bool,
    retry_after_s: Option<u32>,
    allowed: Option<&'static str>,
    facts: Map<String, Value>,
}

/// The shape of an error answer, for the API's description.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(title = "Problem")]
pub(super) struct ProblemBody {
    /// `urn:scanback:problem:` and the code.
    r#type: String,
    /// What it is, in the caller's language.
    title: String,
    /// HTTP status.
    status: u16,
    /// What happened this time, in the caller's language.
    detail: String,
    /// The code, for programs.
    code: String,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// What the cashier should do, in the caller's language.
    action: String,
    /// The request's id, also in `x-request-id`.
    instance: String,
    /// `amount_exceeds_refundable` and `refundable_changed`: what is left now.
    refundable: Option<MoneyView>,
    /// `order_required`: the payer's recent orders, where the payer is known.
    orders: Option<Vec<OrderView>>,
    /// `validation_failed`: each field that is wrong.
    errors: Option<Vec<crate::domain::refusal::FieldError>>,
}

impl Problem {
    fn new(status: u16, code: &'static str) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            refusal: None,
            retryable: false,
            retry_after_s: None,
            allowed: None,
            facts: Map::new(),
        }
    }

    fn with(mut self, name: &str, fact: impl Serialize) -> Self {
        self.facts.insert(name.to_owned(), json!(fact));
        self
    }

    fn retry(mut self, after_s: u32) -> Self {
        self.retryable = true;
        self.retry_after_s = Some(after_s);
        self
    }

    /// A refusal as others see it. A new one does not compile until someone decides here what the cashier sees.
    fn of(refusal: &Refusal) -> Self {
        use Refusal as R;
        let new = Self::new;
        match refusal {
            R::FrameUnreadable { .. } => new(422, "frame_unreadable"),
            R::FrameTooLarge(_) => new(413, "frame_too_large"),
            R::CodeNotRecognised { .. } => new(422, "code_not_recognised"),
            R::CodeAmbiguous => new(422, "code_ambiguous"),
            R::WalletMismatch { .. } => new(422, "wallet_mismatch"),
            R::PayerMismatch => new(422, "payer_mismatch"),
            R::ScanOrderMismatch => new(422, "scan_order_mismatch"),
            R::ScanRequired => new(422, "scan_required"),
            R::ScanExpired { .. } => new(422, "scan_expired"),
            R::ScanUsed => new(422, "scan_used"),
            R::OrderRequired { orders } => new(422, "order_required").with("orders", orders),
            R::OrderNotFound => new(404, "order_not_found"),
            R::OrderNotRefundable { .. } => new(409, "order_not_refundable"),
            R::OrderAmbiguous { wallets } => new(409, "order_ambiguous").with("wallets", wallets),
            R::OrderConflict { .. } => new(409, "order_conflict"),
            R::OrderMismatch { .. } => new(409, "order_mismatch"),
            R::OrderFrozen => new(409, "order_frozen"),
            R::AmountExceedsRefundable { refundable } => {
                new(409, "amount_exceeds_refundable").with("refundable", MoneyView::from(*refundable))
            }
            R::RefundableChanged { refundable } => {
                new(412, "refundable_changed").with("refundable", MoneyView::from(*refundable))
            }
            R::RefundWindowPassed { .. } => new(409, "refund_window_passed"),
            R::PartialRefundNotAllowed => new(409, "partial_refund_not_allowed"),
            R::TooManyRefunds { .. } => new(409, "too_many_refunds"),
            R::PolicyRefused(_) => new(409, "policy_refused"),
            R::OperatorUnknown => new(403, "operator_unknown"),
            R::PinWrong => new(403, "pin_wrong"),
            R::OperatorLocked { .. } => new(423, "operator_locked"),
            R::RefundNotFound => new(404, "refund_not_found"),
            R::RefundStateConflict(_) => new(409, "refund_state_conflict"),
            R::IdempotencyKeyMissing(_) => new(400, "idempotency_key_missing"),
            R::IdempotencyKeyReused => new(422, "idempotency_key_reused"),
            R::RequestInProgress => new(409, "request_in_progress").retry(1),
            R::Unauthenticated => new(401, "unauthenticated"),
            R::Forbidden => new(403, "forbidden"),
            R::RateLimited { retry_after_s } => new(429, "rate_limited").retry(*retry_after_s),
            R::WalletUnavailable { .. } => new(503, "wallet_unavailable").retry(RETRY_AFTER_S),
            R::Overloaded => new(503, "overloaded").retry(1),
            R::ValidationFailed(fields) => new(422, "validation_failed").with("errors", fields),
            R::CurrencyMismatch { .. } => new(422, "currency_mismatch"),
            R::MalformedRequest(_) => new(400, "malformed_request"),
            R::NotFound => new(404, "not_found"),
            R::MethodNotAllowed => new(405, "method_not_allowed"),
            R::BodyTooLarge { .. } => new(413, "body_too_large"),
            R::UnsupportedMediaType(_) => new(415, "unsupported_media_type"),
        }
    }

    /// The code that a preview gives as its reason, and the words for it.
    pub(super) fn reason(refusal: &Refusal, request: &HttpRequest) -> (&'static str, String) {
        let words = words::of_refusal(refusal, language(request));
        (Self::of(refusal).code, words.detail)
    }

    fn render(&self, language: Language, request_id: &str) -> Value {
        let words = match &self.refusal {
            Some(refusal) => words::of_refusal(refusal, language),
            None => words::of_fault(self.code, language),
        };
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:scanback:problem:{}", self.code).into());
        body.insert("title".into(), words.title.into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), words.detail.into());
        body.insert("code".into(), self.code.into());
        body.insert("retryable".into(), self.retryable.into());
        body.insert("action".into(), words.action.into());
        body.insert("instance".into(), request_id.into());
        body.extend(self.facts.clone());
        Value::Object(body)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal.clone()), ..Self::of(&refusal) }
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Refused(refusal) => refusal.into(),
            ServiceError::Ledger(error @ (LedgerError::Unavailable(_) | LedgerError::NotCommitted)) => {
                tracing::error!(%error, "the ledger does not answer");
                Self::new(503, "dependency_unavailable").retry(RETRY_AFTER_S)
            }
            // the cause goes to the log, by request id; the caller can't mend it
            ServiceError::Ledger(
                error @ (LedgerError::CommitUnknown(_)
                | LedgerError::Broken(_)
                | LedgerError::Check(_)
                | LedgerError::Duplicate
                | LedgerError::Stale
                | LedgerError::Schema(_)),
            ) => {
                tracing::error!(%error, "the ledger is not as it should be");
                Self::new(500, "internal")
            }
            ServiceError::Internal(cause) => {
                tracing::error!(cause, "a fault of ours");
                Self::new(500, "internal")
            }
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        ServiceError::Ledger(error).into()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// Without words yet: [`speak`] knows the language.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::new(self.status);
        response.extensions_mut().insert(self.clone());
        response
    }
}

pub(super) async fn not_found() -> Problem {
    Refusal::NotFound.into()
}

pub(super) async fn method_not_allowed(allowed: &'static str) -> Problem {
    Problem { allowed: Some(allowed), ..Refusal::MethodNotAllowed.into() }
}

impl actix_web::Responder for Problem {
    type Body = BoxBody;
    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

/// Gives every answer its request id, and a problem its words in the caller's language.
pub(super) async fn speak(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let language = language(request.request());
    let request_id = request.extensions().get::<RequestId>().map_or_else(String::new, ToString::to_string);
    let mut response = next.call(request).await?.map_into_boxed_body();
    let problem = response.response().extensions().get::<Problem>().cloned();
    if let Some(problem) = problem {
        let mut spoken = HttpResponse::build(problem.status);
        spoken.insert_header(("content-type", "application/problem+json"));
        spoken.insert_header(("content-language", language.tag()));
        spoken.insert_header(("cache-control", "no-store"));
        if problem.status == StatusCode::UNAUTHORIZED {
            spoken.insert_header(("www-authenticate", "Bearer"));
        }
        if let Some(allowed) = problem.allowed {
            spoken.insert_header((ALLOW, allowed));
        }
        if let Some(after_s) = problem.retry_after_s {
            spoken.insert_header((RETRY_AFTER, after_s));
        }
        let body = problem.render(language, &request_id).to_string();
        response = response.into_response(spoken.body(body));
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(response)
}

fn language(request: &HttpRequest) -> Language {
    let header = request.headers().get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Language::accepted(header.unwrap_or(""))
}

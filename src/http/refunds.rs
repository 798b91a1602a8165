//! `/v1/refunds`

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path, Payload},
};
use scanback_wallet::{OperatorId, OrderNo, RefundId, WalletKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    auth,
    body::{self, Checked},
    orders::{MoneyBody, cursor, limit, moment, query},
    problem::{Problem, ProblemBody},
};
use crate::{
    domain::{
        idempotency::{Fingerprint, IdempotencyKey},
        policy::Policy,
        refund::{AttentionReason, RefundState},
        refusal::Refusal,
        typed,
        view::RefundView,
    },
    ledger::{Attention, RefundFilter},
    service::{Desk, Pepper, Pin, Preview, RefundRequest, ScanGiven},
};

/// The longest internal note, in characters.
const MAX_NOTE: usize = 500;
/// The largest metadata, in bytes of JSON.
const MAX_METADATA: usize = 4096;

/// A second person's word for a refund that needs one.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalBody {
    operator_id: String,
    operator_pin: String,
}

/// A refund that is asked for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(title = "NewRefund")]
pub(super) struct RefundBody {
    /// The order's number, transaction number or alias; may be left out where the scan names the order.
    order_no: Option<String>,
    /// `wechat` or `alipay`; may be left out where only one wallet has the number.
    wallet: Option<String>,
    /// A scan that was posted before.
    scan_id: Option<String>,
    /// How much; all that is left if absent.
    amount: Option<MoneyBody>,
    /// What the caller believes to be left; 412 where it isn't.
    expected_refundable: Option<MoneyBody>,
    /// A code of the policy, for example `customer_request`.
    #[serde(default)]
    reason: Option<String>,
    /// Internal.
    note: Option<String>,
    /// The person who asks.
    operator_id: Option<String>,
    /// The person's PIN, 6 to 12 digits.
    #[schema(format = Password)]
    operator_pin: Option<String>,
    /// A second person's word, where the policy wants one.
    approval: Option<ApprovalBody>,
    /// The merchant's own data, given back with the refund.
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

impl RefundBody {
    /// Checks every field. A preview needs no PIN and no reason.
    fn into_request(self, policy: &Policy, frames: Vec<Arc<[u8]>>, preview: bool) -> Result<RefundRequest, Refusal> {
        let mut checked = Checked::default();
        let order_no = checked.maybe("order_no", self.order_no.as_deref().map(OrderNo::parse));
        let wallet = checked.maybe("wallet", self.wallet.as_deref().map(str::parse::<WalletKind>));
        let scan_id =
            checked.maybe("scan_id", self.scan_id.as_deref().map(|id| Uuid::try_parse(id).map_err(|_| "is a UUID")));
        let amount = self.amount.and_then(|amount| amount.positive("amount", &mut checked));
        let expected_refundable =
            self.expected_refundable.and_then(|money| money.any("expected_refundable", &mut checked));
        let reason = match self.reason.as_deref() {
            Some(code) => checked.take("reason", policy.reason(code).ok_or_else(|| known_reasons(policy))),
            None if preview => policy.reasons.first(),
            None => {
                checked.wrong("reason", &known_reasons(policy));
                None
            }
        };
        if self.note.as_ref().is_some_and(|note| note.chars().count() > MAX_NOTE) {
            checked.wrong("note", "has at most 500 characters");
        }
        if self.note.as_ref().is_some_and(|note| note.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'))) {
            checked.wrong("note", "has no control characters");
        }
        if policy.require_note && !preview && self.note.as_deref().is_none_or(|note| note.trim().is_empty()) {
            checked.wrong("note", "the policy asks for a note");
        }
        let operator = match (self.operator_id.as_deref(), self.operator_pin.as_deref()) {
            (Some(id), Some(pin)) => {
                let id = checked.take("operator_id", OperatorId::parse(id));
                let pin = checked.take("operator_pin", Pin::parse(pin));
                id.zip(pin)
            }
            (Some(_), None) if !preview => {
                checked.wrong("operator_pin", "goes with operator_id");
                None
            }
            (None, Some(_)) => {
                checked.wrong("operator_id", "goes with operator_pin");
                None
            }
            _ => None,
        };
        let mut approver = None;
        if let Some(approval) = &self.approval {
            approver = checked.take("approval.operator_id", OperatorId::parse(&approval.operator_id));
            checked.take("approval.operator_pin", Pin::parse(&approval.operator_pin));
        }
        let metadata = self.metadata.map(serde_json::Value::Object);
        if metadata.as_ref().is_some_and(|metadata| metadata.to_string().len() > MAX_METADATA) {
            checked.wrong("metadata", "has at most 4096 bytes");
        }
        if metadata.as_ref().is_some_and(typed::holds_code) {
            checked.wrong("metadata", "holds what looks like a payment code, which is stored nowhere");
        }
        if scan_id.is_some() && !frames.is_empty() {
            checked.wrong("scan_id", "give a scan_id or frames, not both");
        }
        checked.done()?;
        let reason = reason.ok_or_else(|| Refusal::field("reason", known_reasons(policy)))?;
        let scan = match (scan_id, frames.is_empty()) {
            (Some(id), _) => ScanGiven::Id(id),
            (None, false) => ScanGiven::Frames(frames),
            (None, true) => ScanGiven::None,
        };
        Ok(RefundRequest {
            order_no,
            wallet,
            scan,
            amount,
            expected_refundable,
            reason: (reason.code.clone(), reason.public_text.clone()),
            note: self.note,
            operator,
            approver,
            metadata,
        })
    }
}

fn known_reasons(policy: &Policy) -> String {
    let codes: Vec<_> = policy.reasons.iter().map(|reason| reason.code.as_str()).collect();
    format!("is one of {}", codes.join(", "))
}

/// The fingerprint of contract §4 rule 2: method, path and canonical fields, PINs left out, images by digest.
fn fingerprint(pepper: &Pepper, request: &RefundRequest) -> Fingerprint {
    let money = |money: scanback_wallet::Money| format!("{} {}", money.value(), money.currency());
    let mut fields: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut put = |name, value: Option<String>| {
        if let Some(value) = value {
            fields.push((name, value.into_bytes()));
        }
    };
    put("order_no", request.order_no.as_ref().map(ToString::to_string));
    put("wallet", request.wallet.map(|wallet| wallet.to_string()));
    put("amount", request.amount.map(money));
    put("expected_refundable", request.expected_refundable.map(money));
    put("reason", Some(request.reason.0.clone()));
    put("note", request.note.clone());
    put("operator_id", request.operator.as_ref().map(|(id, _)| id.to_string()));
    put("approval.operator_id", request.approver.as_ref().map(ToString::to_string));
    put("metadata", request.metadata.as_ref().map(canonical));
    match &request.scan {
        ScanGiven::None => {}
        ScanGiven::Id(id) => put("scan_id", Some(id.to_string())),
        ScanGiven::Frames(frames) => {
            for frame in frames {
                put("frame", Some(hex::encode(Sha256::digest(frame))));
            }
        }
    }
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    pepper.fingerprints().fingerprint("POST", "/v1/refunds", &fields)
}

/// JSON with its members in one order: the order in which they were sent means nothing.
fn canonical(value: &serde_json::Value) -> String {
    use serde_json::Value as V;
    match value {
        V::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let members =
                members.into_iter().map(|(name, value)| format!("{}:{}", V::from(name.as_str()), canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        V::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        V::Null | V::Bool(_) | V::Number(_) | V::String(_) => value.to_string(),
    }
}

fn idempotency_key(request: &HttpRequest) -> Result<IdempotencyKey, Refusal> {
    let mut headers = request.headers().get_all("idempotency-key");
    let missing =
        || Refusal::IdempotencyKeyMissing("send an Idempotency-Key of 1 to 255 visible ASCII characters".into());
    let header = headers.next().ok_or_else(missing)?;
    if headers.next().is_some() {
        return Err(Refusal::IdempotencyKeyMissing("send one Idempotency-Key, not several".into()));
    }
    IdempotencyKey::from_header(header.as_bytes()).map_err(|error| Refusal::IdempotencyKeyMissing(error.to_string()))
}

/// The body of a refund: JSON, or multipart with the part `refund` (that JSON) and parts `frame`.
async fn read_body(
    desk: &Desk,
    request: &HttpRequest,
    payload: Payload,
) -> Result<(RefundBody, Vec<Arc<[u8]>>), Problem> {
    if body::media_type(request) == "multipart/form-data" {
        let max = desk.settings().max_frame_bytes;
        let parts = body::multipart(request, payload, Some("refund"), max).await?;
        let refund = parts.named.ok_or_else(|| Refusal::field("refund", "the part is missing"))?;
        if parts.frames.is_empty() {
            return Err(Refusal::field("frame", "is missing: one to eight parts, or send JSON").into());
        }
        return Ok((body::parse(&refund, "refund")?, parts.frames));
    }
    match body::media_type(request).as_str() {
        "application/json" => Ok((body::json(request, payload).await?, Vec::new())),
        _ => Err(Refusal::UnsupportedMediaType("application/json or multipart/form-data").into()),
    }
}

/// Asks for a refund: one call, one effect under one `Idempotency-Key`. Answers 201 when the refund is final (a wallet's
/// refusal is final too: `state: failed`), else 202; a replay repeats the first answer.
#[utoipa::path(
    post, path = "/v1/refunds", tag = "refunds",
    params(("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters, bare or quoted")),
    request_body(content((RefundBody = "application/json"), (Vec<u8> = "multipart/form-data"))),
    responses(
        (status = 201, body = RefundView, description = "final"),
        (status = 202, body = RefundView, description = "on its way; read it at Location"),
        (status = 403, body = ProblemBody, description = "forbidden, operator_unknown, pin_wrong"),
        (status = 404, body = ProblemBody, description = "order_not_found"),
        (status = 409, body = ProblemBody, description = "amount_exceeds_refundable, refund_window_passed, request_in_progress, …"),
        (status = 412, body = ProblemBody, description = "refundable_changed"),
        (status = 422, body = ProblemBody, description = "validation_failed, scan_required, wallet_mismatch, idempotency_key_reused, …"),
        (status = 503, body = ProblemBody, description = "nothing was sent or reserved"),
        (status = "default", body = ProblemBody),
    )
)]
pub(super) async fn create(desk: Data<Desk>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Problem> {
    let _admitted = desk.admit()?; // first of all: whoever is too many must cost nothing
    let caller = auth::caller(&desk, &request, auth::DESK).await?;
    let (refund, frames) = read_body(&desk, &request, payload).await?;
    let refund = refund.into_request(desk.policy(), frames, false)?;
    let key = idempotency_key(&request)?;
    let fingerprint = fingerprint(desk.pepper(), &refund);
    let desk = Arc::clone(&desk);
    let answer = desk.request_refund(&caller, &key, fingerprint, refund).await?;
    let mut response = HttpResponse::build(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::ACCEPTED));
    response.insert_header(("location", answer.location)).content_type("application/json");
    if answer.replayed {
        response.insert_header(("idempotent-replayed", "true"));
    }
    Ok(response.body(answer.body))
}

/// A reason why a refund wouldn't be allowed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PreviewReason {
    /// A code of the error table.
    code: &'static str,
    /// In the caller's language.
    detail: String,
}

/// What would happen.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PreviewAnswer {
    #[serde(flatten)]
    preview: Preview,
    /// Why not, or why a second person is needed.
    reasons: Vec<PreviewReason>,
}

/// What a refund would do, without anything happening.
#[utoipa::path(
    post, path = "/v1/refunds/preview", tag = "refunds",
    request_body(content((RefundBody = "application/json"), (Vec<u8> = "multipart/form-data"))),
    responses((status = 200, body = PreviewAnswer), (status = "default", body = ProblemBody))
)]
pub(super) async fn preview(desk: Data<Desk>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Problem> {
    let caller = auth::caller(&desk, &request, auth::DESK).await?;
    let (refund, frames) = read_body(&desk, &request, payload).await?;
    let refund = refund.into_request(desk.policy(), frames, true)?;
    let (preview, refusal) = desk.preview_refund(&caller, &refund).await?;
    let reasons = refusal.iter().map(|refusal| {
        let (code, detail) = Problem::reason(refusal, &request);
        PreviewReason { code, detail }
    });
    Ok(HttpResponse::Ok().json(PreviewAnswer { preview, reasons: reasons.collect() }))
}

/// A refund with its timeline.
#[utoipa::path(
    get, path = "/v1/refunds/{refund_id}", tag = "refunds", params(("refund_id" = String, Path)),
    responses(
        (status = 200, body = RefundView),
        (status = 404, body = ProblemBody, description = "refund_not_found"),
        (status = "default", body = ProblemBody),
    )
)]
pub(super) async fn read(desk: Data<Desk>, request: HttpRequest, id: Path<String>) -> Result<HttpResponse, Problem> {
    let caller = auth::caller(&desk, &request, auth::READERS).await?;
    let id = RefundId::parse(&id).map_err(|_| Refusal::RefundNotFound)?;
    let refund = desk.ledger().refund(caller.sees(), id).await?.ok_or(Refusal::RefundNotFound)?;
    desk.look_early(&refund).await;
    Ok(HttpResponse::Ok().json(RefundView::from(&refund)))
}

/// Which refunds to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Of this order number.
    order_no: Option<String>,
    /// In this state.
    state: Option<String>,
    /// `true`: only those that a person must look at; or one of the reasons, such as `overpaid`.
    attention: Option<String>,
    /// Asked for at or after, RFC 3339.
    from: Option<String>,
    /// Asked for before, RFC 3339.
    to: Option<String>,
    /// Where the page begins, from the page before.
    cursor: Option<String>,
    /// 1 to 200; 50 if left out.
    limit: Option<String>,
}

/// What `attention=` asks for: `false` is everything.
fn attention(word: &str) -> Result<Option<Attention>, &'static str> {
    match word {
        "true" => Ok(Some(Attention::Any)),
        "false" => Ok(None),
        word => {
            let reason = AttentionReason::parse(word).ok_or("is true, false or a reason such as overpaid")?;
            Ok(Some(Attention::Reason(reason)))
        }
    }
}

/// A page of refunds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RefundPage {
    items: Vec<RefundView>,
    next_cursor: Option<String>,
}

/// Refunds, newest first.
#[utoipa::path(
    get, path = "/v1/refunds", tag = "refunds", params(ListQuery),
    responses((status = 200, body = RefundPage), (status = "default", body = ProblemBody))
)]
pub(super) async fn list(desk: Data<Desk>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let caller = auth::caller(&desk, &request, auth::READERS).await?;
    let query: ListQuery = query(&request)?;
    let mut checked = Checked::default();
    let filter = RefundFilter {
        order_no: checked.maybe("order_no", query.order_no.as_deref().map(OrderNo::parse)),
        state: checked
            .maybe("state", query.state.map(|text| text.parse::<RefundState>().map_err(|()| "no such state"))),
        attention: checked.maybe("attention", query.attention.as_deref().map(attention)).flatten(),
        from: checked.maybe("from", query.from.as_deref().map(moment)),
        to: checked.maybe("to", query.to.as_deref().map(moment)),
        cursor: cursor(query.cursor.as_deref(), &mut checked),
        limit: limit(query.limit.as_deref(), &mut checked),
    };
    checked.done()?;
    let page = desk.ledger().refunds(caller.sees(), &filter).await?;
    let items = page.items.iter().map(RefundView::from).collect();
    Ok(HttpResponse::Ok().json(RefundPage { items, next_cursor: page.next_cursor }))
}

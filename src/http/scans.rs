//! `/v1/scans`

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};

use super::{
    auth, body,
    problem::{Problem, ProblemBody},
};
use crate::{
    domain::refusal::Refusal,
    service::{Desk, ScanView},
};

/// Reads a frame: what code it shows and what that is about. The body is the image itself (JPEG, PNG, WebP), or multipart
/// with one to eight parts `frame`.
#[utoipa::path(
    post, path = "/v1/scans", tag = "scans",
    request_body(content(
        (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp"), (Vec<u8> = "multipart/form-data")
    )),
    responses(
        (status = 201, body = ScanView),
        (status = 413, body = ProblemBody, description = "frame_too_large"),
        (status = 415, body = ProblemBody, description = "unsupported_media_type"),
        (status = 422, body = ProblemBody, description = "frame_unreadable, code_not_recognised, code_ambiguous, scan_expired"),
        (status = "default", body = ProblemBody),
    )
)]
pub(super) async fn create(desk: Data<Desk>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Problem> {
    let caller = auth::caller(&desk, &request, auth::DESK).await?;
    let frames = frames(&desk, &request, payload).await?;
    let scanned = desk.scan_frames(&caller, frames).await?;
    Ok(HttpResponse::Created().json(scanned.view))
}

async fn frames(desk: &Desk, request: &HttpRequest, payload: Payload) -> Result<Vec<Arc<[u8]>>, Refusal> {
    let max = desk.settings().max_frame_bytes;
    match body::media_type(request).as_str() {
        "multipart/form-data" => {
            let parts = body::multipart(request, payload, None, max).await?;
            if parts.frames.is_empty() {
                return Err(Refusal::field("frame", "is missing: one to eight parts"));
            }
            Ok(parts.frames)
        }
        "" | "image/jpeg" | "image/jpg" | "image/png" | "image/webp" | "application/octet-stream" => {
            let frame = body::bytes(payload, max).await.map_err(|refusal| match refusal {
                Refusal::BodyTooLarge { max_bytes } => {
                    Refusal::FrameTooLarge(format!("a frame has at most {max_bytes} bytes: send a smaller picture"))
                }
                other => other,
            })?;
            Ok(vec![frame.into()])
        }
        _ => Err(Refusal::UnsupportedMediaType("image/jpeg, image/png, image/webp or multipart/form-data")),
    }
}

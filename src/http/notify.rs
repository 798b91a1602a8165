//! `/notify`: the wallets' own notifications. Open to all, believed by signature alone.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path, Payload},
};
use scanback_wallet::{MerchantId, WalletKind};

use super::{MAX_JSON_BYTES, body, problem::Problem};
use crate::{domain::refusal::Refusal, service::Desk};

/// WeChat Pay's refund notification (wechat-pay §15).
#[utoipa::path(
    post, path = "/notify/wechat/{merchant_id}", tag = "wallets", params(("merchant_id" = String, Path)),
    request_body(content = String, content_type = "application/json"),
    responses((status = 200, description = "taken"), (status = 401, description = "not provably the wallet's"))
)]
pub(super) async fn wechat(
    desk: Data<Desk>,
    request: HttpRequest,
    merchant: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    take(&desk, WalletKind::Wechat, &request, &merchant, payload).await
}

/// Alipay's notification, where the payment's notify_url leads here (alipay §14).
#[utoipa::path(
    post, path = "/notify/alipay/{merchant_id}", tag = "wallets", params(("merchant_id" = String, Path)),
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "`success`"), (status = 400, description = "`fail`"))
)]
pub(super) async fn alipay(
    desk: Data<Desk>,
    request: HttpRequest,
    merchant: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    take(&desk, WalletKind::Alipay, &request, &merchant, payload).await
}

async fn take(
    desk: &Desk,
    wallet: WalletKind,
    request: &HttpRequest,
    merchant: &str,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let merchant = MerchantId::parse(merchant).map_err(|_| Refusal::NotFound)?;
    let body = body::bytes(payload, MAX_JSON_BYTES).await?;
    let headers: Vec<_> = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let answer = desk.take_notification(&merchant, wallet, &headers, &body).await?;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(HttpResponse::build(status).content_type(answer.content_type).body(answer.body))
}

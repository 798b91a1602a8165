//! `/v1/webhook-endpoints`

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Payload},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    auth, body,
    problem::{Problem, ProblemBody},
};
use crate::{
    domain::refusal::Refusal,
    service::{Desk, EndpointView, NewEndpointView},
};

/// Where events shall go.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(title = "NewEndpoint")]
pub(super) struct EndpointBody {
    /// An https address on the public internet.
    url: String,
    /// Which types; all if absent.
    types: Option<Vec<String>>,
}

/// A page of endpoints.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct EndpointPage {
    items: Vec<EndpointView>,
    next_cursor: Option<String>,
}

/// Registers an endpoint for events. The secret is shown here and nowhere else.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints", tag = "webhooks", request_body = EndpointBody,
    responses((status = 201, body = NewEndpointView), (status = "default", body = ProblemBody))
)]
pub(super) async fn create(desk: Data<Desk>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Problem> {
    let caller = auth::caller(&desk, &request, auth::MERCHANT).await?;
    let endpoint: EndpointBody = body::json(&request, payload).await?;
    let endpoint = desk.add_endpoint(&caller, &endpoint.url, endpoint.types).await?;
    Ok(HttpResponse::Created().json(endpoint))
}

/// The endpoints, without their secrets.
#[utoipa::path(
    get, path = "/v1/webhook-endpoints", tag = "webhooks",
    responses((status = 200, body = EndpointPage), (status = "default", body = ProblemBody))
)]
pub(super) async fn list(desk: Data<Desk>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let caller = auth::caller(&desk, &request, auth::MERCHANT).await?;
    let items = desk.endpoints(&caller).await?;
    Ok(HttpResponse::Ok().json(EndpointPage { items, next_cursor: None }))
}

/// Ends an endpoint.
#[utoipa::path(
    delete, path = "/v1/webhook-endpoints/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemBody), (status = "default", body = ProblemBody))
)]
pub(super) async fn delete(desk: Data<Desk>, request: HttpRequest, id: Path<String>) -> Result<HttpResponse, Problem> {
    let caller = auth::caller(&desk, &request, auth::MERCHANT).await?;
    let id = Uuid::try_parse(&id).map_err(|_| Refusal::NotFound)?;
    desk.delete_endpoint(&caller, id).await?;
    Ok(HttpResponse::NoContent().finish())
}

//! Is it alive, is it ready, and how does it do.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use super::{auth, problem::Problem};
use crate::{keys::KeysHealth, service::Desk};

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200)))]
pub(super) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Whether refunds can be taken: `ready`, `degraded` (Redis is lost and the database alone goes on, or the clock is off) or
/// `unavailable` (503). A wallet that is down is named; requests for it are refused, others go on.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200), (status = 503)))]
pub(super) async fn ready(desk: Data<Desk>) -> HttpResponse {
    let counts = async {
        desk.ledger().ping().await?;
        let (jobs, overdue) = desk.ledger().follow_up_counts(desk.now()).await?;
        Ok::<_, crate::ledger::LedgerError>((jobs, overdue, desk.ledger().deliveries_waiting().await?))
    };
    let redis = match desk.keys().health() {
        KeysHealth::Absent => "absent",
        KeysHealth::Up => "up",
        KeysHealth::Down => "down",
    };
    match counts.await {
        Ok((jobs, overdue, deliveries)) => {
            let clock = if desk.clock_is_right() { "right" } else { "off" };
            let status = if redis == "down" || clock == "off" { "degraded" } else { "ready" };
            let word = |up: bool| if up { "up" } else { "down" };
            let wallets: serde_json::Map<_, _> =
                desk.wallets_answer().into_iter().map(|(kind, up)| (kind.to_owned(), word(up).into())).collect();
            HttpResponse::Ok().json(json!({
                "status": status,
                "checks": { "database": "up", "redis": redis, "clock": clock, "wallets": wallets },
                "follow_ups": { "open": jobs, "overdue": overdue },
                "webhooks": { "waiting": deliveries },
            }))
        }
        Err(error) => {
            tracing::warn!(%error, "not ready");
            HttpResponse::ServiceUnavailable().json(json!({
                "status": "unavailable",
                "checks": { "database": "down", "redis": redis },
            }))
        }
    }
}

/// Metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200), (status = 401)))]
pub(super) async fn metrics(
    desk: Data<Desk>,
    handle: Data<PrometheusHandle>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    auth::caller(&desk, &request, auth::READERS).await?;
    Ok(open_metrics(handle).await)
}

pub(super) async fn open_metrics(handle: Data<PrometheusHandle>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(handle.render())
}

//! Is it alive, is it ready, and how does it do.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use super::{Leaving, auth, problem::Problem};
use crate::{keys::KeysHealth, ledger::LedgerError, service::Desk};

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200)))]
pub(super) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// What `/readyz` and `/metrics` say of the desk, found out by asking now.
struct Condition {
    redis: KeysHealth,
    clock_is_right: bool,
    /// Whether each wallet answers.
    wallets: BTreeMap<&'static str, bool>,
    /// What waits; an error where the ledger can't be read or written.
    ledger: Result<Waiting, LedgerError>,
}

/// Work that is not done yet.
struct Waiting {
    follow_ups: i64,
    overdue: i64,
    webhooks: i64,
}

impl Condition {
    async fn of(desk: &Desk) -> Self {
        let waiting = async {
            desk.ledger().ping().await?;
            let (follow_ups, overdue) = desk.ledger().follow_up_counts(desk.now()).await?;
            Ok(Waiting { follow_ups, overdue, webhooks: desk.ledger().deliveries_waiting().await? })
        };
        Self {
            ledger: waiting.await,
            redis: desk.keys().health(),
            clock_is_right: desk.clock_is_right(),
            wallets: desk.wallets_answer(),
        }
    }

    /// As Prometheus gauges: 1 is well, 0 is not.
    fn measure(&self) {
        let well = |is: bool| f64::from(u8::from(is));
        metrics::gauge!("scanback_database_up").set(well(self.ledger.is_ok()));
        if self.redis != KeysHealth::Absent {
            metrics::gauge!("scanback_redis_up").set(well(self.redis == KeysHealth::Up));
        }
        metrics::gauge!("scanback_clock_right").set(well(self.clock_is_right));
        for (wallet, answers) in &self.wallets {
            metrics::gauge!("scanback_wallet_up", "wallet" => *wallet).set(well(*answers));
        }
        if let Ok(waiting) = &self.ledger {
            #[expect(clippy::cast_precision_loss, reason = "a gauge; exact up to 2^53 waiting refunds")]
            for (name, count) in [
                ("scanback_follow_ups_open", waiting.follow_ups),
                ("scanback_follow_ups_overdue", waiting.overdue),
                ("scanback_webhooks_waiting", waiting.webhooks),
            ] {
                metrics::gauge!(name).set(count as f64);
            }
        }
    }
}

/// Whether refunds can be taken: `ready`, `degraded` (Redis is lost and the database alone goes on, or the clock is off),
/// `stopping` (503: still served, but new work belongs elsewhere) or `unavailable` (503). A wallet that is down is named; requests
/// for it are refused, others go on.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200), (status = 503)))]
pub(super) async fn ready(desk: Data<Desk>, leaving: Data<Leaving>) -> HttpResponse {
    if leaving.is_announced() {
        return HttpResponse::ServiceUnavailable().json(json!({ "status": "stopping" }));
    }
    let condition = Condition::of(&desk).await;
    let redis = match condition.redis {
        KeysHealth::Absent => "absent",
        KeysHealth::Up => "up",
        KeysHealth::Down => "down",
    };
    match condition.ledger {
        Ok(waiting) => {
            let is_whole = condition.redis != KeysHealth::Down && condition.clock_is_right;
            let wallets: serde_json::Map<String, Value> = condition
                .wallets
                .into_iter()
                .map(|(kind, answers)| (kind.to_owned(), if answers { "up" } else { "down" }.into()))
                .collect();
            HttpResponse::Ok().json(json!({
                "status": if is_whole { "ready" } else { "degraded" },
                "checks": {
                    "database": "up",
                    "redis": redis,
                    "clock": if condition.clock_is_right { "right" } else { "off" },
                    "wallets": wallets,
                },
                "follow_ups": { "open": waiting.follow_ups, "overdue": waiting.overdue },
                "webhooks": { "waiting": waiting.webhooks },
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
    Ok(open_metrics(desk, handle).await)
}

pub(super) async fn open_metrics(desk: Data<Desk>, handle: Data<PrometheusHandle>) -> HttpResponse {
    Condition::of(&desk).await.measure();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(handle.render())
}

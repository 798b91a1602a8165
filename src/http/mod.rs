//! The edge: wire ↔ domain, nothing else. Every path is in `routes`, every error map in `problem`.

mod auth;
mod body;
mod docs;
mod events;
mod health;
mod leaving;
mod notify;
mod orders;
mod problem;
mod refunds;
mod routes;
mod scans;
mod webhooks;

use std::{net::TcpListener, sync::Arc};

use actix_web::{App, HttpServer, dev::Server, middleware::from_fn, web};
use metrics_exporter_prometheus::PrometheusHandle;
use tracing_actix_web::TracingLogger;

pub use docs::openapi;
pub use leaving::Leaving;

use crate::{http::auth::RateLimit, service::Desk, telemetry::RequestSpan};

/// How long a stop waits for requests in flight, in seconds: `serve` has 10 in all (contract §2).
const STOP_WITHIN_S: u64 = 8;
/// A caller that sends no head for this long is cut off, in milliseconds.
const HEAD_WITHIN_MS: u64 = 10_000;
/// A path may be this long when decoded numbers are in it; longer ones are no numbers of ours.
const MAX_JSON_BYTES: usize = 64 * 1024;

/// What the server is set up with.
#[derive(Clone)]
pub struct HttpParts {
    /// The desk.
    pub desk: Arc<Desk>,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Requests a second that a token may make.
    pub requests_per_second: u32,
    /// Whether the process is about to stop.
    pub leaving: Leaving,
}

/// The server on a listener that is bound already; it runs once it is awaited or spawned.
/// # Errors
/// The operating system's, where the listener can't be used.
pub fn server(parts: HttpParts, listener: TcpListener, workers: usize) -> std::io::Result<Server> {
    let limit = RateLimit::new(parts.requests_per_second);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&parts.desk)))
            .app_data(web::Data::new(parts.metrics.clone()))
            .app_data(web::Data::new(limit.clone()))
            .app_data(web::Data::new(parts.leaving.clone()))
            .configure(routes::all)
            .default_service(web::to(problem::not_found))
            .wrap(from_fn(problem::speak))
            .wrap(from_fn(leaving::close_connections))
            .wrap(TracingLogger::<RequestSpan>::new())
    })
    .shutdown_timeout(STOP_WITHIN_S)
    .client_request_timeout(std::time::Duration::from_millis(HEAD_WITHIN_MS))
    .workers(workers)
    .disable_signals();
    Ok(server.listen(listener)?.run())
}

/// The second listener: `/metrics` alone, open to whoever reaches it.
/// # Errors
/// The operating system's, where the listener can't be used.
pub fn metrics_server(parts: &HttpParts, listener: TcpListener) -> std::io::Result<Server> {
    let (desk, metrics) = (Arc::clone(&parts.desk), parts.metrics.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&desk)))
            .app_data(web::Data::new(metrics.clone()))
            .route("/metrics", web::get().to(health::open_metrics))
            .default_service(web::to(problem::not_found))
            .wrap(from_fn(problem::speak))
    });
    Ok(server.workers(1).disable_signals().listen(listener)?.run())
}

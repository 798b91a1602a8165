//! Logs, spans and metrics. What is never logged: bodies, whole headers, paths with numbers in them (a payment code could be
//! typed where an order number belongs), tokens, PINs, keys, payer ids.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing::Span;
use tracing_actix_web::{RequestId, RootSpanBuilder};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// What is logged unless `RUST_LOG` says otherwise: ours, and only warnings of the libraries: some of them log addresses.
const DEFAULT_FILTER: &str = "warn,scanback=info,scanback_wechat=info,scanback_alipay=info,scanback_sandbox=info";

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogForm {
    /// A line of JSON each, for machines: `serve`.
    Json,
    /// For people at a terminal: the tools.
    Text,
    /// Only what should not happen: `demo`, which breaks things on purpose and shows its own table.
    Quiet,
}

/// Sends logs to standard error. Call once.
pub fn start_logging(form: LogForm) {
    let usual = if form == LogForm::Quiet { "error,actix_http=off" } else { DEFAULT_FILTER };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let registry = tracing_subscriber::registry().with(filter);
    // a second call, as in a test, changes nothing
    let _ = match form {
        LogForm::Json => registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).try_init(),
        LogForm::Text | LogForm::Quiet => {
            registry.with(tracing_subscriber::fmt::layer().compact().with_writer(std::io::stderr)).try_init()
        }
    };
}

/// Starts to count. Call once; the handle renders `/metrics`.
/// # Errors
/// [`BuildError`] where a recorder is there already.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new().install_recorder()
}

/// A span a request: its id, method and route pattern; never its path.
#[derive(Debug)]
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        use actix_web::HttpMessage as _;
        let id = request.extensions().get::<RequestId>().map(ToString::to_string);
        tracing::info_span!(
            "request",
            request.id = id,
            http.method = %request.method(),
            http.route = request.match_pattern().unwrap_or_default(),
        )
    }

    fn on_request_end<B: MessageBody>(_: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let status = match outcome {
            Ok(response) => response.status().as_u16(),
            Err(error) => error.as_response_error().status_code().as_u16(),
        };
        let status = match status / 100 {
            2 | 3 => "ok",
            4 => "refused",
            _ => "fault",
        };
        metrics::counter!("scanback_http_requests_total", "result" => status).increment(1);
    }
}

//! The HTTP server: the paths, and what belongs to no wallet.

use std::{fmt, net::TcpListener, time::Duration};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, ResponseError,
    dev::Server,
    middleware::from_fn,
    web::{self, Data, PayloadConfig},
};

use crate::{alipay, control, cut, exchanges, keys::KeyError, wechat, world::World};

/// Two are enough for a mock; a held call blocks none of them.
const WORKERS: usize = 2;
/// Longer than clients keep an idle connection, so that it is they who close it.
const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// No wallet call is near this size.
const BODY_LIMIT: usize = 1024 * 1024;

/// An answer that could not be made: nothing of it is sent.
#[derive(Debug)]
pub(crate) struct Broken(KeyError);

impl From<KeyError> for Broken {
    fn from(error: KeyError) -> Self {
        Self(error)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the sandbox could not make an answer: {}", self.0)
    }
}

impl ResponseError for Broken {}

/// The target of the request as it was sent, without scheme and host: what a WeChat signature is over. An absolute-form
/// request line is understood.
pub(crate) fn path_and_query(request: &HttpRequest) -> &str {
    request.uri().path_and_query().map_or("/", |target| target.as_str())
}

/// Every path on one screen.
fn routes(config: &mut web::ServiceConfig) {
    config
        .service(control::scope())
        .route("/gateway.do", web::to(alipay::serve))
        .route(alipay::bill::PATH, web::get().to(alipay::bill::download))
        .route(wechat::payer::PATH, web::post().to(wechat::payer::serve))
        .route("/v3/{call:.*}", web::to(wechat::serve))
        .default_service(web::to(nothing_here));
}

async fn nothing_here(request: HttpRequest) -> HttpResponse {
    let detail = format!(
        "{} is no path of the sandbox: WeChat Pay is at /v3/, Alipay at /gateway.do, the control calls at /_sandbox/",
        request.path()
    );
    control::problem(404, "not_found", &detail)
}

/// Builds the server on listeners that are bound already. It runs when it is awaited or spawned.
pub(crate) fn build(
    world: Data<World>,
    listener: TcpListener,
    tls: Option<(TcpListener, rustls::ServerConfig)>,
) -> std::io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(world.clone())
            .app_data(PayloadConfig::new(BODY_LIMIT))
            .configure(routes)
            .wrap(from_fn(exchanges::record))
    });
    let mut server =
        server.on_connect(cut::remember).workers(WORKERS).keep_alive(KEEP_ALIVE).disable_signals().listen(listener)?;
    if let Some((listener, config)) = tls {
        server = server.listen_rustls_0_23(listener, config)?;
    }
    Ok(server.run())
}

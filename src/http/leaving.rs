//! A process that is about to stop says so first, and goes on serving for a while: a proxy in front sees it in `/readyz`, sends
//! new work elsewhere, and no caller meets a closed door (`http.drain_ms`).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix_web::{
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::ConnectionType,
    middleware::Next,
    web::Data,
};

/// Whether this process is about to stop. Once said, it stays so.
#[derive(Clone, Debug, Default)]
pub struct Leaving(Arc<AtomicBool>);

impl Leaving {
    /// Says it.
    pub fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was said.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whoever keeps a connection open is told with the next answer to make a new one, which leads to a process that stays.
pub(super) async fn close_connections(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let is_leaving = request.app_data::<Data<Leaving>>().is_some_and(|leaving| leaving.is_announced());
    let mut response = next.call(request).await?;
    if is_leaving {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

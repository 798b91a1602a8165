//! Every path on one screen.

use actix_web::{
    Resource,
    web::{self, ServiceConfig},
};

use super::{docs, events, health, notify, orders, problem, refunds, scans, webhooks};

/// A resource whose other methods than `allowed` are refused as `method_not_allowed`.
fn at(path: &str, allowed: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || problem::method_not_allowed(allowed)))
}

pub(super) fn all(app: &mut ServiceConfig) {
    app.service(at("/v1/scans", "POST").route(web::post().to(scans::create)))
        .service(at("/v1/orders", "POST, GET").route(web::post().to(orders::create)).route(web::get().to(orders::list)))
        .service(at("/v1/orders/{order_no}", "GET").route(web::get().to(orders::read)))
        .service(
            at("/v1/refunds", "POST, GET").route(web::post().to(refunds::create)).route(web::get().to(refunds::list)),
        )
        .service(at("/v1/refunds/preview", "POST").route(web::post().to(refunds::preview)))
        .service(at("/v1/refunds/{refund_id}", "GET").route(web::get().to(refunds::read)))
        .service(at("/v1/events", "GET").route(web::get().to(events::listen)))
        .service(
            at("/v1/webhook-endpoints", "POST, GET")
                .route(web::post().to(webhooks::create))
                .route(web::get().to(webhooks::list)),
        )
        .service(at("/v1/webhook-endpoints/{id}", "DELETE").route(web::delete().to(webhooks::delete)))
        .service(at("/notify/wechat/{merchant_id}", "POST").route(web::post().to(notify::wechat)))
        .service(at("/notify/alipay/{merchant_id}", "POST").route(web::post().to(notify::alipay)))
        .service(at("/healthz", "GET").route(web::get().to(health::alive)))
        .service(at("/readyz", "GET").route(web::get().to(health::ready)))
        .service(at("/metrics", "GET").route(web::get().to(health::metrics)))
        .service(at("/openapi.json", "GET").route(web::get().to(docs::document)))
        .service(at("/docs", "GET").route(web::get().to(docs::redirect)))
        .service(docs::page());
}

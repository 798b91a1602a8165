//! Every path on one screen.

use actix_web::{
    Resource,
    web::{self, ServiceConfig},
};

use super::{docs, health, notify, orders, problem, refunds, scans, webhooks};

/// A resource whose other methods are refused as `method_not_allowed`.
fn at(path: &str) -> Resource {
    web::resource(path).default_service(web::to(problem::method_not_allowed))
}

pub(super) fn all(app: &mut ServiceConfig) {
    app.service(at("/v1/scans").route(web::post().to(scans::create)))
        .service(at("/v1/orders").route(web::post().to(orders::create)).route(web::get().to(orders::list)))
        .service(at("/v1/orders/{order_no}").route(web::get().to(orders::read)))
        .service(at("/v1/refunds").route(web::post().to(refunds::create)).route(web::get().to(refunds::list)))
        .service(at("/v1/refunds/preview").route(web::post().to(refunds::preview)))
        .service(at("/v1/refunds/{refund_id}").route(web::get().to(refunds::read)))
        .service(
            at("/v1/webhook-endpoints").route(web::post().to(webhooks::create)).route(web::get().to(webhooks::list)),
        )
        .service(at("/v1/webhook-endpoints/{id}").route(web::delete().to(webhooks::delete)))
        .service(at("/notify/wechat/{merchant_id}").route(web::post().to(notify::wechat)))
        .service(at("/notify/alipay/{merchant_id}").route(web::post().to(notify::alipay)))
        .service(at("/healthz").route(web::get().to(health::alive)))
        .service(at("/readyz").route(web::get().to(health::ready)))
        .service(at("/metrics").route(web::get().to(health::metrics)))
        .service(at("/openapi.json").route(web::get().to(docs::document)))
        .service(at("/docs").route(web::get().to(docs::redirect)))
        .service(docs::page());
}

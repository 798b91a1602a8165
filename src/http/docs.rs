//! The description of the API, generated from the handlers, and a page to read it that needs no outside host.

use actix_web::{HttpResponse, http::header::LOCATION};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{events, health, notify, orders, refunds, scans, webhooks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Scanback",
        description = "The refund desk: a camera frame comes in, one signed refund goes out. Money is a whole number of \
                       minor units; times are RFC 3339; errors are RFC 9457 problems with a `code`."
    ),
    paths(
        scans::create,
        orders::create, orders::list, orders::read,
        refunds::create, refunds::list, refunds::preview, refunds::read,
        events::listen,
        webhooks::create, webhooks::list, webhooks::delete,
        notify::wechat, notify::alipay,
        health::alive, health::ready, health::metrics,
    ),
    modifiers(&BearerToken)
)]
struct Description;

/// API calls carry a bearer token; the wallets' notifications and the health checks don't.
struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
        for (path, item) in &mut document.paths.paths {
            if !path.starts_with("/v1/") && path != "/metrics" {
                continue;
            }
            for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
                operation.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
            }
        }
    }
}

/// The OpenAPI 3.1 document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().json(openapi())
}

pub(super) async fn redirect() -> HttpResponse {
    HttpResponse::MovedPermanently().insert_header((LOCATION, "/docs/")).finish()
}

pub(super) fn page() -> SwaggerUi {
    SwaggerUi::new("/docs/{_:.*}").config(Config::new(["/openapi.json"]))
}

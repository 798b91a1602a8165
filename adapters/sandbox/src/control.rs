//! The control calls: what a test or a demo does to the sandbox, never a wallet's client (contract §7).

pub(crate) mod orders;
mod problem;

use std::net::IpAddr;

use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::BoxBody,
    dev::{HttpServiceFactory, ServiceRequest, ServiceResponse},
    http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE},
    middleware::{Next, from_fn},
    web::{self, Bytes, Data, Query},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};

use crate::{
    books::{OrderNumber, RefundStatus, SettleRefusal, Wallet},
    faults::{Fault, Kind, Operation},
    fields::{BadField, Fields},
    frame::{Format, Symbology},
    page,
    server::Broken,
    world::{World, lock},
};
pub(crate) use problem::problem;
use problem::{Problem, document};

/// Longest hold that a fault may ask for: ten minutes.
const LONGEST_HOLD_MS: i64 = 600_000;

/// The wallets and their words.
const WALLETS: [(&str, Wallet); 2] = [("wechat", Wallet::Wechat), ("alipay", Wallet::Alipay)];

/// Every control call.
pub(crate) fn scope() -> impl HttpServiceFactory {
    let resource = |path: &str| web::resource(path).default_service(web::to(wrong_method));
    web::scope("/_sandbox")
        .service(resource("/orders").route(web::post().to(orders::add)))
        .service(resource("/orders/{out_trade_no}").route(web::get().to(orders::show)))
        .service(resource("/ledger").route(web::get().to(ledger)))
        .service(resource("/frame").route(web::get().to(frame)))
        .service(resource("/faults").route(web::post().to(add_fault)).route(web::delete().to(clear_faults)))
        .service(resource("/refunds/{out_refund_no}/settle").route(web::post().to(settle)))
        .service(resource("/exchanges").route(web::get().to(exchanges)))
        .service(resource("/exchanges/{id}").route(web::get().to(exchange)))
        .service(resource("/rotate").route(web::post().to(rotate)))
        .configure(page::routes)
        .default_service(web::to(unknown))
        .wrap(from_fn(only_friends))
}

/// Loopback, or the control token: as a bearer's, or as the password of a browser that was asked for it.
async fn only_friends(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    if is_friend(request.request()) {
        return next.call(request).await;
    }
    let detail = "control calls are answered on loopback, or with the control token as Authorization: Bearer";
    let asks = page::is_page(request.path())
        && request.app_data::<Data<World>>().is_some_and(|world| world.control_token.is_some());
    let mut refused = problem(if asks { 401 } else { 403 }, "forbidden", detail);
    if asks {
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"control token\""));
    }
    Ok(request.into_response(refused))
}

fn is_friend(request: &HttpRequest) -> bool {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = request.app_data::<Data<World>>().and_then(|world| world.control_token.as_deref());
    may_control(request.peer_addr().map(|peer| peer.ip()), given, token)
}

fn may_control(peer: Option<IpAddr>, authorization: Option<&str>, token: Option<&str>) -> bool {
    if peer.is_some_and(|peer| peer.to_canonical().is_loopback()) {
        return true;
    }
    let bearer = |text: &str| text.strip_prefix("Bearer ").map(str::to_owned);
    // whatever name the browser's user typed
    let password = |text: &str| {
        let pair = BASE64.decode(text.strip_prefix("Basic ")?).ok()?;
        String::from_utf8(pair).ok()?.split_once(':').map(|(_, password)| password.to_owned())
    };
    let given = authorization.and_then(|text| bearer(text).or_else(|| password(text)));
    given.zip(token).is_some_and(|(given, token)| {
        aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), token.as_bytes()).is_ok()
    })
}

async fn unknown(request: HttpRequest) -> HttpResponse {
    problem(404, "not_found", &format!("{} is no control call", request.path()))
}

async fn wrong_method(request: HttpRequest) -> HttpResponse {
    problem(405, "method_not_allowed", &format!("{} does not take {}", request.path(), request.method()))
}

async fn ledger(world: Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(world.books(|books, now| books.ledger(now)))
}

/// The last calls, newest first.
async fn exchanges(world: Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "items": lock(&world.exchanges).newest_first() }))
}

async fn exchange(world: Data<World>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let found = id.parse().ok().and_then(|id| lock(&world.exchanges).get(id));
    let found = found.ok_or_else(|| Problem::new(404, "not_found", "no exchange that is still kept has this id"))?;
    Ok(HttpResponse::Ok().json(found))
}

async fn add_fault(world: Data<World>, body: Bytes) -> Result<HttpResponse, Problem> {
    let document = document(&body)?;
    let fault = read_fault(&Fields::of(&document)?)?;
    let answer = HttpResponse::Created().json(&fault);
    world.faults().add(fault);
    Ok(answer)
}

/// A fault as it is asked for, here or on the status page.
pub(crate) fn read_fault(fields: &Fields<'_>) -> Result<Fault, BadField> {
    fields.only(&["wallet", "operation", "kind", "times", "probability", "delay_ms"])?;
    let wallet = fields.required_word("wallet", &WALLETS)?;
    let operation = fields.required_word("operation", Operation::WORDS)?;
    let kind = fields.required_word("kind", Kind::WORDS)?;
    if !kind.is_possible(wallet, operation) {
        let text = format!("can't happen to {} of {}", operation.word(), wallet.word());
        return Err(fields.bad("kind", text));
    }
    let times = match fields.integer("times")? {
        Some(times) if times < 1 => return Err(fields.bad("times", "must be at least 1")),
        times => times.and_then(|times| u64::try_from(times).ok()),
    };
    let probability = fields.number("probability")?.unwrap_or(1.0);
    if !(probability > 0.0 && probability <= 1.0) {
        return Err(fields.bad("probability", "must be above 0 and at most 1"));
    }
    let delay_ms = match fields.integer("delay_ms")? {
        Some(delay) if !(0..=LONGEST_HOLD_MS).contains(&delay) => {
            return Err(fields.bad("delay_ms", format!("must be 0 to {LONGEST_HOLD_MS}")));
        }
        delay => delay.and_then(|delay| u64::try_from(delay).ok()),
    };
    Ok(Fault { wallet, operation, kind, times, probability, delay_ms })
}

async fn clear_faults(world: Data<World>) -> HttpResponse {
    world.faults().clear();
    HttpResponse::NoContent().finish()
}

async fn settle(world: Data<World>, number: web::Path<String>, body: Bytes) -> Result<HttpResponse, Problem> {
    let document = document(&body)?;
    let fields = Fields::of(&document)?;
    fields.only(&["status"])?;
    let status = fields.required_word("status", &RefundStatus::WORDS)?;
    if status == RefundStatus::Processing {
        return Err(fields.bad("status", "must be SUCCESS, CLOSED or ABNORMAL").into());
    }
    match world.books(|books, now| books.settle(&number, status, now)) {
        Ok((order, refund)) => Ok(HttpResponse::Ok().json(json!({
            "out_trade_no": order.out_trade_no,
            "out_refund_no": refund.number,
            "amount_fen": refund.amount,
            "status": refund.status,
            "times_paid": refund.times_paid,
        }))),
        Err(SettleRefusal::NotFound) => {
            Err(Problem::new(404, "refund_not_found", "no refund of WeChat's has this number"))
        }
        Err(SettleRefusal::NotOpen(status)) => {
            let detail = format!("the refund is {} and can't become that", status.word());
            Err(Problem::new(409, "refund_state_conflict", &detail))
        }
    }
}

async fn rotate(world: Data<World>) -> Result<HttpResponse, Broken> {
    let fresh = {
        let world = Data::clone(&world);
        web::block(move || world.rotate()).await
    };
    let failed = |error: actix_web::error::BlockingError| crate::keys::KeyError::Library(error.to_string());
    let fresh = fresh.map_err(failed)??;
    let valid: Vec<String> =
        world.platform_certificates().iter().map(|platform| platform.certificate.serial.clone()).collect();
    Ok(HttpResponse::Created().json(json!({ "platform_serial": fresh.certificate.serial, "valid": valid })))
}

/// What a frame shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Show {
    PaymentCode,
    BillCode,
}

async fn frame(world: Data<World>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let pairs = Query::<Vec<(String, String)>>::from_query(request.query_string());
    let pairs = pairs.map(Query::into_inner).unwrap_or_default();
    let document =
        Value::Object(pairs.into_iter().map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>());
    let fields = Fields::of(&document)?;
    fields.only(&["wallet", "out_trade_no", "show", "symbology", "format"])?;
    let shows = [("payment_code", Show::PaymentCode), ("bill_code", Show::BillCode)];
    let show = fields.required_word("show", &shows)?;
    // the bill page has a linear code, the payment page both (wechat-pay §18, alipay §18)
    let usual = if show == Show::BillCode { Symbology::Code128 } else { Symbology::QrCode };
    let symbology = fields.word("symbology", &Symbology::WORDS)?.unwrap_or(usual);
    let format = fields.word("format", &Format::WORDS)?.unwrap_or(Format::Jpeg);
    let number = fields.required_text("out_trade_no", orders::NUMBER_LENGTH)?;
    let wallet = orders::wallet_of(&world, fields.word("wallet", &WALLETS)?, number)?;
    let order = OrderNumber::Merchant(number.to_owned());
    let text = world.books(|books, now| match show {
        Show::BillCode => books.order(wallet, &order, now).map(|order| order.out_trade_no),
        Show::PaymentCode => books.show_code(wallet, &order, now),
    });
    let text = text.map_err(|_| orders::no_such_order(number))?;
    let seed = world.books(|books, _| books.draw_seed());
    let drawn = web::block(move || crate::frame::draw(&text, symbology, format, seed)).await;
    match drawn {
        Ok(Ok(picture)) => Ok(HttpResponse::Ok().content_type(format.media_type()).body(picture)),
        Ok(Err(error)) => Err(fields.bad("symbology", error.to_string()).into()),
        Err(error) => Err(Problem::new(500, "internal", &error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_calls_come_from_loopback_or_carry_the_token() {
        let from = |peer: &str, given, token| may_control(Some(peer.parse().unwrap()), given, token);
        assert!(from("127.0.0.1", None, None));
        assert!(from("::1", None, Some("T")));
        assert!(from("::ffff:127.0.0.1", None, None));
        assert!(!from("10.0.0.2", None, None));
        assert!(!from("10.0.0.2", None, Some("T")));
        assert!(!from("10.0.0.2", Some("Bearer "), None));
        assert!(!from("10.0.0.2", Some("Bearer X"), Some("T")));
        assert!(!from("10.0.0.2", Some("T"), Some("T")));
        assert!(from("10.0.0.2", Some("Bearer T"), Some("T")));
        assert!(!may_control(None, None, Some("T")));
        assert!(from("10.0.0.2", Some("Basic YW5hOlQ="), Some("T")), "ana:T");
        assert!(!from("10.0.0.2", Some("Basic YW5hOlg="), Some("T")), "ana:X");
        assert!(!from("10.0.0.2", Some("Basic VA=="), Some("T")));
    }
}

//! The status page: orders, refunds, faults, and each call with what was wrong with it, for whoever tests by hand. Plain HTML,
//! no script, nothing from outside; what comes from a client is escaped in one place.

mod html;
mod words;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT_LANGUAGE, CONTENT_SECURITY_POLICY, HOST, LOCATION, ORIGIN, REFERRER_POLICY},
    web::{self, Data, Form, Query},
};
use serde::Deserialize;
use serde_json::{Map, Number, Value};

use self::{html::Html, words::Words};
use crate::{
    books::{Ledger, Order, OrderState, RefundStatus, Violation, Wallet},
    control::{self, problem},
    exchanges::Exchange,
    faults::{Fault, Kind, Operation},
    fields::{BadField, Fields},
    world::{World, lock},
};

/// Rows of each table.
const ROWS: usize = 50;
/// Nothing from elsewhere, no script at all.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The paths of the page, beside the control calls.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("", web::get().to(to_the_page))
        .route("/", web::get().to(show))
        .route("/page.css", web::get().to(style))
        .route("/page/orders", web::post().to(add_order))
        .route("/page/faults", web::post().to(add_fault))
        .route("/page/faults/clear", web::post().to(clear_faults));
}

/// Whether a browser asks for this path, which can be asked for a password.
pub(crate) fn is_page(path: &str) -> bool {
    matches!(path, "/_sandbox" | "/_sandbox/" | "/_sandbox/page.css") || path.starts_with("/_sandbox/page/")
}

async fn to_the_page() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "/_sandbox/")).finish()
}

async fn style() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(include_str!("page/style.css"))
}

#[derive(Deserialize)]
struct Asked {
    lang: Option<String>,
}

/// The language that was chosen, else the browser's.
fn words(request: &HttpRequest) -> &'static Words {
    let chosen = Query::<Asked>::from_query(request.query_string()).ok().and_then(|asked| asked.into_inner().lang);
    let header = request.headers().get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Words::of(chosen.as_deref().or(header).unwrap_or("en"))
}

async fn show(world: Data<World>, request: HttpRequest) -> HttpResponse {
    let words = words(&request);
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(page(&world, words, request.connection_info().host(), None))
}

/// A form of another site must not reach a sandbox on the reader's own machine: browsers name the page that a form is from.
fn is_ours(request: &HttpRequest) -> bool {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let origin = text(ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_some() && origin == text(HOST)
}

/// The fields of a form as the control calls take them: those left empty are left out, numbers are numbers.
fn as_document(form: Vec<(String, String)>) -> Value {
    let filled = form.into_iter().filter(|(_, value)| !value.trim().is_empty());
    let typed = filled.map(|(name, value)| {
        let value = value.trim();
        let number = match name.as_str() {
            "amount_fen" | "times" | "delay_ms" => value.parse::<i64>().ok().map(Number::from),
            "probability" => value.parse().ok().and_then(Number::from_f64),
            _ => None,
        };
        (name, number.map_or_else(|| Value::from(value), Value::Number))
    });
    Value::Object(typed.collect::<Map<_, _>>())
}

/// Does what a form asks for and goes back to the page, or shows the page with what is wrong.
fn answer(
    world: &World,
    request: &HttpRequest,
    form: Vec<(String, String)>,
    act: impl FnOnce(&Fields<'_>) -> Result<(), BadField>,
) -> HttpResponse {
    if !is_ours(request) {
        return problem(403, "forbidden", "forms are taken from the status page alone");
    }
    let words = words(request);
    let document = as_document(form);
    match Fields::of(&document).and_then(|fields| act(&fields)) {
        Ok(()) => HttpResponse::SeeOther()
            .insert_header((LOCATION, format!("/_sandbox/?lang={}", words.lang)))
            .insert_header((REFERRER_POLICY, "no-referrer"))
            .finish(),
        Err(bad) => {
            let wrong = format!("{}: {}", bad.field.trim_start_matches('/'), bad.issue);
            HttpResponse::UnprocessableEntity()
                .content_type("text/html; charset=utf-8")
                .insert_header((CONTENT_SECURITY_POLICY, POLICY))
                .body(page(world, words, request.connection_info().host(), Some(&wrong)))
        }
    }
}

async fn add_order(world: Data<World>, request: HttpRequest, form: Form<Vec<(String, String)>>) -> HttpResponse {
    answer(&world, &request, form.into_inner(), |fields| {
        let new = control::orders::read(fields)?;
        let added = world.books(|books, now| books.add_order(new, now));
        added.map(|_| ()).ok_or_else(|| fields.bad("out_trade_no", "this wallet has such an order already"))
    })
}

async fn add_fault(world: Data<World>, request: HttpRequest, form: Form<Vec<(String, String)>>) -> HttpResponse {
    answer(&world, &request, form.into_inner(), |fields| {
        let fault = control::read_fault(fields)?;
        world.faults().add(fault);
        Ok(())
    })
}

async fn clear_faults(world: Data<World>, request: HttpRequest, form: Form<Vec<(String, String)>>) -> HttpResponse {
    answer(&world, &request, form.into_inner(), |_| {
        world.faults().clear();
        Ok(())
    })
}

fn page(world: &World, words: &Words, host: &str, wrong: Option<&str>) -> String {
    let (ledger, orders) = world.books(|books, now| (books.ledger(now), books.newest_orders(ROWS, now)));
    let faults = world.faults().waiting().to_vec();
    let exchanges = lock(&world.exchanges).newest_first();
    let mut html = Html::default();
    html.raw("<!doctype html><html lang=\"").text(words.lang).raw("\"><head><meta charset=\"utf-8\">");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>").text(words.title);
    html.raw("</title><link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/_sandbox/page.css\"></head><body><header><h1>")
        .text(words.title);
    html.raw("</h1><nav><a href=\"?lang=zh-CN\">中文</a> <a href=\"?lang=en\">English</a> <a href=\"/_sandbox/?lang=");
    html.text(words.lang).raw("\">").text(words.reload).raw("</a></nav><p class=\"where\">");
    html.raw("WeChat Pay <code>http://").text(host).raw("/v3/</code> · Alipay <code>http://").text(host);
    html.raw("/gateway.do</code> · ")
        .text(words.scale)
        .raw(" ×")
        .text(&world.scale.times().to_string())
        .raw("</p></header><main>");
    if !world.verifies {
        html.raw("<p class=\"alarm\" role=\"alert\">").text(words.no_verify).raw("</p>");
    }
    if let Some(wrong) = wrong {
        html.raw("<p class=\"alarm\" role=\"alert\">").text(wrong).raw("</p>");
    }
    sums(&mut html, words, &ledger);
    violations(&mut html, words, &ledger.violations);
    exchange_table(&mut html, words, &exchanges);
    order_table(&mut html, words, &orders);
    fault_table(&mut html, words, &faults);
    html.raw("</main></body></html>");
    html.done()
}

/// Fen as yuan, exactly.
fn yuan(fen: i64) -> String {
    format!("¥{}.{:02}", fen / 100, (fen % 100).abs())
}

fn sums(html: &mut Html, words: &Words, ledger: &Ledger) {
    html.raw("<dl class=\"sums\">");
    for (name, value, bad) in [
        (words.orders, ledger.orders.to_string(), false),
        (words.refunds, ledger.refunds.to_string(), false),
        (words.refunded, yuan(ledger.refunded_fen), false),
        (words.violations, ledger.violations.len().to_string(), !ledger.violations.is_empty()),
    ] {
        html.raw(if bad { "<div class=\"bad\"><dt>" } else { "<div><dt>" }).text(name);
        html.raw("</dt><dd>").text(&value).raw("</dd></div>");
    }
    html.raw("</dl>");
}

fn violations(html: &mut Html, words: &Words, violations: &[Violation]) {
    if violations.is_empty() {
        return;
    }
    html.section(words.violations, &[words.time, words.wallet, words.order, words.refund, words.what]);
    for one in violations.iter().rev().take(ROWS) {
        html.row(&[&time(&one.at.to_string()), one.wallet.word(), &one.out_trade_no, &one.out_refund_no, &one.detail]);
    }
    html.empty(false, 5, words.none_yet).end_section();
}

/// The time of day and the date's end: what one compares with a log.
fn time(rfc3339: &str) -> String {
    let (date, time) = rfc3339.split_once('T').unwrap_or(("", rfc3339));
    let time: String = time.chars().take(12).collect();
    format!("{} {time}", date.get(5..).unwrap_or_default())
}

fn exchange_table(html: &mut Html, words: &Words, exchanges: &[Exchange]) {
    html.section(words.exchanges, &[words.time, words.call, words.answer, words.what]);
    for one in exchanges.iter().take(ROWS) {
        let bad = one.status.is_some_and(|status| status >= 400);
        html.raw(if bad { "<tr class=\"bad\"><td>" } else { "<tr><td>" }).text(&time(&one.at)).raw("</td><td><code>");
        html.text(&one.http_method).raw(" ").text(&one.path).raw("</code><br><small>");
        html.text(one.note.operation.unwrap_or_default()).raw("</small></td><td>");
        html.text(&one.status.map_or_else(|| words.under_way.to_owned(), |status| status.to_string()));
        html.raw("<br><small>").text(&format!("{:.1} ms", one.elapsed_us as f64 / 1000.0)).raw("</small></td><td>");
        if let Some(fault) = one.note.fault {
            html.raw("<b>").text(words.fault).raw(" ").text(fault).raw("</b> ");
        }
        html.text(one.note.refused.as_deref().unwrap_or_default()).raw("</td></tr>");
    }
    html.empty(exchanges.is_empty(), 4, words.none_yet).end_section();
}

fn order_table(html: &mut Html, words: &Words, orders: &[Order]) {
    html.section(words.orders, &[words.order, words.amount, words.refunded, words.state, words.refunds, words.frames]);
    for order in orders {
        html.raw("<tr><td><b>").text(&order.out_trade_no).raw("</b><br><small>").text(order.wallet.word()).raw(" ");
        html.text(&order.transaction_id).raw("</small></td><td>").text(&yuan(order.amount)).raw("</td><td>");
        html.text(&yuan(order.refunded())).raw("</td><td>").text(state(order.state())).raw("</td><td>");
        for refund in &order.refunds {
            let class = match refund.status {
                RefundStatus::Success => "good",
                RefundStatus::Processing => "open",
                RefundStatus::Closed | RefundStatus::Abnormal => "bad",
            };
            html.raw("<div><span class=\"").raw(class).raw("\">").text(refund.status.word()).raw("</span> ");
            html.text(&yuan(refund.amount)).raw(" <small>").text(&refund.number).raw("</small></div>");
        }
        html.raw("</td><td>");
        for (show, name) in [("payment_code", words.payment_code), ("bill_code", words.bill_code)] {
            html.raw("<div><a href=\"/_sandbox/frame?wallet=").text(order.wallet.word()).raw("&amp;out_trade_no=");
            html.escaped_in_url(&order.out_trade_no)
                .raw("&amp;show=")
                .raw(show)
                .raw("\">")
                .text(name)
                .raw("</a></div>");
        }
        html.raw("</td></tr>");
    }
    html.empty(orders.is_empty(), 6, words.none_yet);
    html.form("/_sandbox/page/orders", words.lang);
    html.choice("wallet", words.wallet, Wallet::ALL.map(Wallet::word));
    html.input("out_trade_no", words.order, "T-1001", true).input("amount_fen", words.amount_fen, "8800", true);
    // most orders that anybody wants are paid
    let mut states = OrderState::WORDS.map(|(word, _)| word);
    states.sort_by_key(|word| *word != "paid");
    html.choice("state", words.state, states);
    html.submit(words.add_order).end_section();
}

fn state(of: OrderState) -> &'static str {
    OrderState::WORDS.iter().find(|(_, state)| *state == of).map_or("", |(word, _)| word)
}

fn fault_table(html: &mut Html, words: &Words, faults: &[Fault]) {
    html.section(words.faults, &[words.wallet, words.call, words.what, words.times, words.probability, words.hold]);
    for one in faults {
        html.row(&[
            one.wallet.word(),
            one.operation.word(),
            one.kind.word(),
            &one.times.map_or_else(|| "∞".to_owned(), |times| times.to_string()),
            &one.probability.to_string(),
            &one.delay_ms.map_or_else(String::new, |delay| format!("{delay} ms")),
        ]);
    }
    html.empty(faults.is_empty(), 6, words.none_yet);
    html.form("/_sandbox/page/faults", words.lang);
    html.choice("wallet", words.wallet, Wallet::ALL.map(Wallet::word));
    html.choice("operation", words.call, Operation::WORDS.iter().map(|(word, _)| *word));
    html.choice("kind", words.what, Kind::WORDS.iter().map(|(word, _)| *word));
    html.input("times", words.times, "1", false).submit(words.add_fault);
    html.form("/_sandbox/page/faults/clear", words.lang).submit(words.clear_faults).end_section();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_a_document_with_numbers_and_without_what_is_empty() {
        let form = [("amount_fen", " 8800 "), ("state", ""), ("out_trade_no", "1001"), ("times", "many")];
        let document = as_document(form.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(document, serde_json::json!({ "amount_fen": 8800, "out_trade_no": "1001", "times": "many" }));
    }

    #[test]
    fn times_and_money_are_short_and_exact() {
        assert_eq!(time("2026-11-26T21:05:08.123456Z"), "11-26 21:05:08.123");
        assert_eq!((yuan(8805), yuan(5), yuan(-105)), ("¥88.05".into(), "¥0.05".into(), "¥-1.05".into()));
    }
}

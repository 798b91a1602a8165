//! WeChat Pay, API v3: what arrives at `/v3/…` (wechat-pay §2, §3, §8 to §11, §14).

mod abnormal;
mod answer;
mod auth;
mod bill;
mod cipher;
mod notification;
mod orders;
mod party;
pub(crate) mod payer;
mod refunds;

use actix_web::{HttpRequest, HttpResponse, http::Method, web};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::{
    books::Wallet,
    cut::{Cut, cut},
    exchanges,
    faults::{Fired, Kind, Operation},
    fields::{BadField, Fields},
    server::Broken,
    world::World,
};
use answer::{Reply, Signer};
pub(crate) use auth::Nonces;
pub(crate) use notification::Event;

/// Everything that the path of a call says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    OrderByTransaction(String),
    OrderByNumber(String),
    Close(String),
    Reverse(String),
    Refund,
    QueryRefund(String),
    AbnormalRefund(String),
    Certificates,
    TradeBill,
    FundFlowBill,
    BillFile,
}

impl Call {
    fn read(method: &Method, path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let text = |segment: &str| percent_decode_str(segment).decode_utf8().ok().map(|text| text.into_owned());
        let get = *method == Method::GET;
        let post = *method == Method::POST;
        Some(match segments.as_slice() {
            ["v3", "pay", "transactions", "id", id] if get => Self::OrderByTransaction(text(id)?),
            ["v3", "pay", "transactions", "out-trade-no", number] if get => Self::OrderByNumber(text(number)?),
            ["v3", "pay", "transactions", "out-trade-no", number, "close"] if post => Self::Close(text(number)?),
            ["v3", "pay", "transactions", "out-trade-no", number, "reverse"] if post => Self::Reverse(text(number)?),
            ["v3", "refund", "domestic", "refunds"] if post => Self::Refund,
            ["v3", "refund", "domestic", "refunds", number] if get => Self::QueryRefund(text(number)?),
            ["v3", "refund", "domestic", "refunds", id, "apply-abnormal-refund"] if post => {
                Self::AbnormalRefund(text(id)?)
            }
            ["v3", "certificates"] if get => Self::Certificates,
            ["v3", "bill", "tradebill"] if get => Self::TradeBill,
            ["v3", "bill", "fundflowbill"] if get => Self::FundFlowBill,
            ["v3", "billdownload", "file"] if get => Self::BillFile,
            _ => return None,
        })
    }

    fn operation(&self) -> Operation {
        match self {
            Self::OrderByTransaction(_) | Self::OrderByNumber(_) => Operation::QueryOrder,
            Self::Close(_) => Operation::Close,
            Self::Reverse(_) => Operation::Void,
            Self::Refund => Operation::Refund,
            Self::QueryRefund(_) => Operation::QueryRefund,
            Self::AbnormalRefund(_) => Operation::AbnormalRefund,
            Self::Certificates => Operation::Certificates,
            Self::TradeBill | Self::FundFlowBill | Self::BillFile => Operation::Bill,
        }
    }

    fn run(&self, world: &World, request: &HttpRequest, body: &[u8], fault: Option<Fired>) -> Result<Reply, Broken> {
        let query = request.uri().query().unwrap_or_default();
        let fault = fault.map(|fault| fault.kind);
        Ok(match self {
            Self::OrderByTransaction(id) => orders::query_by_transaction(world, id, query),
            Self::OrderByNumber(number) => orders::query_by_number(world, number, query),
            Self::Close(number) => orders::close(world, number, body),
            Self::Reverse(number) => orders::reverse(world, number, body),
            Self::Refund => refunds::refund(world, body, fault),
            Self::QueryRefund(number) => refunds::query(world, number, query),
            Self::AbnormalRefund(id) => {
                let serial = request.headers().get("Wechatpay-Serial").and_then(|value| value.to_str().ok());
                abnormal::pay_out(world, id, body, serial, fault)
            }
            Self::Certificates => cipher::certificates(world, query)?,
            Self::TradeBill => bill::trades(world, query).unwrap_or_else(|refused| refused),
            Self::FundFlowBill => bill::funds(world, query).unwrap_or_else(|refused| refused),
            Self::BillFile => bill::download(world, query),
        })
    }
}

/// Any call to `/v3/…`.
pub(crate) async fn serve(
    request: HttpRequest,
    body: web::Bytes,
    world: web::Data<World>,
) -> Result<HttpResponse, Broken> {
    let signer = Signer::choose(&world, &request);
    if let Err(refused) = auth::check(&world, &request, &body) {
        tracing::info!(reason = refused.message, "a WeChat Pay call was refused by its signature");
        exchanges::note(&request, |note| note.refused = Some(format!("{}: {}", refused.field, refused.message)));
        return refused.into_reply().signed(&signer);
    }
    let path = match party::plain_path(&world.identity.wechat.params, request.uri().path()) {
        Ok(path) => path,
        Err(refused) => return refused.signed(&signer),
    };
    let Some(call) = Call::read(request.method(), &path) else {
        let text = format!("没有此接口: {} {}", request.method(), request.uri().path());
        return Reply::error(404, "NOT_FOUND", &text).signed(&signer);
    };
    let fault = world.draw(Wallet::Wechat, call.operation());
    exchanges::note(&request, |note| {
        note.operation = Some(call.operation().word());
        note.fault = fault.map(|fault| fault.kind.word());
    });
    if let Some(fault) = fault
        && !fault.kind.has_effect()
    {
        world.hold(fault.delay).await;
        return without_effect(fault.kind, &request, &signer);
    }
    let reply = call.run(&world, &request, &body, fault)?;
    let Some(fault) = fault else { return reply.signed(&signer) };
    world.hold(fault.delay).await;
    match fault.kind {
        Kind::EffectThenTimeout => Ok(cut(&request, Cut::Close)),
        Kind::EffectThenReset => Ok(cut(&request, Cut::Reset)),
        Kind::BadSignature => reply.badly_signed(&signer),
        Kind::GarbageBody => reply.garbled().signed(&signer),
        _ => reply.signed(&signer),
    }
}

/// The answer of a call that does nothing because a fault met it.
fn without_effect(kind: Kind, request: &HttpRequest, signer: &Signer) -> Result<HttpResponse, Broken> {
    match kind {
        Kind::NoEffectTimeout => Ok(cut(request, Cut::Close)),
        Kind::SystemError => Reply::error(500, "SYSTEM_ERROR", "系统异常，请稍后重试").signed(signer),
        Kind::RateLimited => Reply::error(429, "FREQUENCY_LIMITED", "频率限制，请降低请求频率").signed(signer),
        Kind::NotEnoughBalance => Reply::error(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起").signed(signer),
        Kind::UnsignedError => Ok(Reply::error(403, "NO_AUTH", "商户号没有该接口的权限").unsigned()),
        // a proxy's page, not the wallet's JSON
        _ => Ok(HttpResponse::InternalServerError()
            .content_type("text/html")
            .body("<html><head><title>500 Internal Server Error</title></head><body></body></html>")),
    }
}

/// The JSON object of a request body.
fn document(body: &[u8]) -> Result<Value, Reply> {
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| Reply::error(400, "PARAM_ERROR", &format!("请求体不是JSON: {error}")))?;
    Fields::of(&document).map_err(|bad| param_error(&bad))?;
    Ok(document)
}

/// `PARAM_ERROR`, with the field in `detail` (wechat-pay §7).
fn param_error(bad: &BadField) -> Reply {
    let detail = serde_json::json!({
        "location": "body", "field": bad.field, "value": bad.value, "issue": bad.issue,
    });
    Reply::error_with(400, "PARAM_ERROR", &format!("参数错误 {}: {}", bad.field, bad.issue), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_with_their_method_and_percent_encoding() {
        let get = |path| Call::read(&Method::GET, path);
        assert_eq!(get("/v3/pay/transactions/out-trade-no/A%7C1"), Some(Call::OrderByNumber("A|1".into())));
        assert_eq!(get("/v3/pay/transactions/id/4200"), Some(Call::OrderByTransaction("4200".into())));
        assert_eq!(get("/v3/refund/domestic/refunds/R1"), Some(Call::QueryRefund("R1".into())));
        assert_eq!(get("/v3/refund/domestic/refunds"), None, "a refund is a POST");
        assert_eq!(Call::read(&Method::POST, "/v3/refund/domestic/refunds"), Some(Call::Refund));
        assert_eq!(get("/v3/refund/domestic/refunds/R1/"), None);
        assert_eq!(get("/v3/nothing"), None);
    }
}

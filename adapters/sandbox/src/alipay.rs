//! Alipay: what arrives at `/gateway.do` (alipay §1 to §6).

mod archive;
pub(crate) mod bill;
mod cipher;
mod gateway;
mod node;
mod notification;
mod payer;
mod trade;
mod yuan;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode},
    web,
};
use serde_json::Value;

use crate::{
    books::Wallet,
    cut::{Cut, cut},
    exchanges,
    faults::{Fired, Kind, Operation},
    server::Broken,
    world::World,
};
use gateway::{Gate, Params};
use node::Node;
pub(crate) use notification::Event;

/// The methods that this sandbox knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Query,
    Refund,
    RefundQuery,
    Close,
    Cancel,
    Bill,
    Payer,
}

impl Call {
    const METHODS: [(&'static str, Self); 9] = [
        ("alipay.trade.query", Self::Query),
        ("alipay.trade.refund", Self::Refund),
        ("alipay.trade.fastpay.refund.query", Self::RefundQuery),
        ("alipay.trade.close", Self::Close),
        ("alipay.trade.cancel", Self::Cancel),
        ("alipay.data.dataservice.bill.downloadurl.query", Self::Bill),
        ("alipay.user.twostage.common.use", Self::Payer),
        ("alipay.marketing.facetoface.decode.use", Self::Payer),
        ("alipay.mobile.shake.user.query", Self::Payer),
    ];

    fn read(method: &str) -> Option<Self> {
        Self::METHODS.iter().find(|(name, _)| *name == method).map(|(_, call)| *call)
    }

    fn operation(self) -> Operation {
        match self {
            Self::Query => Operation::QueryOrder,
            Self::Refund => Operation::Refund,
            Self::RefundQuery => Operation::QueryRefund,
            Self::Close => Operation::Close,
            Self::Cancel => Operation::Void,
            Self::Bill => Operation::Bill,
            Self::Payer => Operation::Payer,
        }
    }

    fn run(self, world: &World, content: &Value, fault: Option<Fired>) -> Node {
        let done = match self {
            Self::Query => trade::query(world, content),
            Self::Refund => trade::refund(world, content, fault.map(|fault| fault.kind)),
            Self::RefundQuery => trade::refund_query(world, content),
            Self::Close => trade::close(world, content),
            Self::Cancel => trade::cancel(world, content),
            Self::Bill => bill::address(world, content),
            Self::Payer => payer::look_up(world, content),
        };
        done.unwrap_or_else(|node| node)
    }
}

/// Any call to `/gateway.do`. HTTP status is 200 for errors too (alipay §1).
pub(crate) async fn serve(
    request: HttpRequest,
    body: web::Bytes,
    world: web::Data<World>,
) -> Result<HttpResponse, Broken> {
    if ![Method::GET, Method::POST].contains(request.method()) {
        return Ok(HttpResponse::MethodNotAllowed().content_type("text/html").body("405 Method Not Allowed"));
    }
    let params = Params::merge(request.uri().query().unwrap_or_default(), &body);
    let gate = match gateway::check(&world, &params) {
        Ok(gate) => gate,
        Err(refused) => {
            tracing::info!(sub_code = refused.sub_code(), "an Alipay call was refused by the gateway");
            exchanges::note(&request, |note| note.refused = Some(refused.text()));
            return Answer::plain("error_response", &refused).signed(&world);
        }
    };
    let name = format!("{}_response", gate.method.replace('.', "_"));
    let Some(call) = Call::read(gate.method) else {
        let refused = Node::refused("40002", "Invalid Arguments", "isv.invalid-method", "不存在的方法名");
        return Answer::plain("error_response", &refused).signed(&world);
    };
    let fault = world.draw(Wallet::Alipay, call.operation());
    exchanges::note(&request, |note| {
        note.operation = Some(call.operation().word());
        note.fault = fault.map(|fault| fault.kind.word());
    });
    if let Some(fault) = fault
        && !fault.kind.has_effect()
    {
        world.hold(fault.delay).await;
        return without_effect(fault.kind, &name, &gate, &request, &world);
    }
    let node = match gateway::content(&world, &params, &gate) {
        Ok(content) => call.run(&world, &content, fault),
        Err(refused) => refused,
    };
    let answer = Answer::of(&name, &node, &gate, &world)?;
    let Some(fault) = fault else { return answer.signed(&world) };
    world.hold(fault.delay).await;
    match fault.kind {
        Kind::EffectThenTimeout => Ok(cut(&request, Cut::Close)),
        Kind::EffectThenReset => Ok(cut(&request, Cut::Reset)),
        Kind::BadSignature => answer.badly_signed(&world),
        Kind::GarbageBody => answer.garbled(&world),
        _ => answer.signed(&world),
    }
}

/// The answer of a call that does nothing because a fault met it.
fn without_effect(
    kind: Kind,
    name: &str,
    gate: &Gate<'_>,
    request: &HttpRequest,
    world: &World,
) -> Result<HttpResponse, Broken> {
    let signed = |node: &Node| Answer::of(name, node, gate, world)?.signed(world);
    match kind {
        Kind::NoEffectTimeout => Ok(cut(request, Cut::Close)),
        Kind::SystemError => signed(&Node::failed("ACQ.SYSTEM_ERROR", "系统错误")),
        Kind::NotEnoughBalance => signed(&Node::failed("ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足")),
        // the number of this code is unconfirmed (alipay §6)
        Kind::RateLimited => {
            signed(&Node::refused("40005", "Call Limited", "isv.app-call-limited", "应用调用次数超限"))
        }
        Kind::UnsignedError => {
            let node =
                Node::refused("40006", "Insufficient Permissions", "isv.insufficient-isv-permissions", "ISV权限不足");
            Ok(respond(StatusCode::OK, format!("{{\"error_response\":{}}}", node.text()).into_bytes()))
        }
        _ => Ok(respond(
            StatusCode::INTERNAL_SERVER_ERROR,
            b"<html><head><title>500 Internal Server Error</title></head><body></body></html>".to_vec(),
        )),
    }
}

/// An answer before it is signed (alipay §3).
struct Answer {
    name: String,
    /// Exactly the bytes that are signed and sent.
    value: String,
    with_certificate: bool,
}

impl Answer {
    /// In the mode in which the request came: with the certificate's number, encrypted, or neither.
    fn of(name: &str, node: &Node, gate: &Gate<'_>, world: &World) -> Result<Self, Broken> {
        let mut value = node.text();
        if gate.is_encrypted {
            value = format!("\"{}\"", cipher::encrypt(&world.identity.alipay.params.aes_key, &value)?);
        }
        Ok(Self { name: name.to_owned(), value, with_certificate: gate.with_certificate })
    }

    fn plain(name: &str, node: &Node) -> Self {
        Self { name: name.to_owned(), value: node.text(), with_certificate: false }
    }

    fn text(&self, world: &World, signature: &str) -> String {
        let certificate = if self.with_certificate {
            format!(",\"alipay_cert_sn\":\"{}\"", world.identity.alipay.alipay_cert_sn)
        } else {
            String::new()
        };
        // an SDK wants `},"sign":"` where no certificate is in use (alipay §20)
        format!("{{\"{}\":{}{certificate},\"sign\":\"{signature}\"}}", self.name, self.value)
    }

    fn signed(self, world: &World) -> Result<HttpResponse, Broken> {
        let signature = world.identity.alipay.alipay.sign(self.value.as_bytes())?;
        Ok(respond(StatusCode::OK, self.text(world, &signature).into_bytes()))
    }

    /// A signature that is one, over something else.
    fn badly_signed(self, world: &World) -> Result<HttpResponse, Broken> {
        let signature = world.identity.alipay.alipay.sign(b"{\"not\":\"this node\"}")?;
        Ok(respond(StatusCode::OK, self.text(world, &signature).into_bytes()))
    }

    /// Cut off in the middle.
    fn garbled(self, world: &World) -> Result<HttpResponse, Broken> {
        let signature = world.identity.alipay.alipay.sign(self.value.as_bytes())?;
        let mut body = self.text(world, &signature).into_bytes();
        body.truncate(body.len() / 2);
        body.extend_from_slice(b"\xff<");
        Ok(respond(StatusCode::OK, body))
    }
}

fn respond(status: StatusCode, body: Vec<u8>) -> HttpResponse {
    HttpResponse::build(status).content_type("text/html;charset=utf-8").body(body)
}

//! Whose payment code is it? The three methods that have answered this over the years (alipay §17).

use serde_json::Value;

use super::node::Node;
use crate::{books::Wallet, fields::Fields, world::World};

/// The answer: `user_id` of the payer behind a living code.
pub(super) fn look_up(world: &World, content: &Value) -> Result<Node, Node> {
    let bad = |why: String| Node::failed("ACQ.INVALID_PARAMETER", &why);
    let fields = Fields::of(content).map_err(|field| bad(field.issue))?;
    let code = fields.required_text("dynamic_id", 32).map_err(|field| bad(field.issue))?;
    match world.books(|books, now| books.payer_of(Wallet::Alipay, code, now)) {
        Some(payer) => Ok(Node::success().with("user_id", payer)),
        // no source lists the errors of these methods; this one is listed for payments by code
        None => Err(Node::failed(
            "ACQ.PAYMENT_AUTH_CODE_INVALID",
            "支付失败，获取顾客账户信息失败，请顾客刷新付款码后重新收款",
        )),
    }
}

//! Whose payment code is it? The look-ups that take their parameters as JSON (alipay §17).

use serde_json::Value;

use super::node::Node;
use crate::{books::Wallet, fields::Fields, world::World};

/// `alipay.user.twostage.common.use` and `alipay.marketing.facetoface.decode.use`.
pub(super) fn look_up(world: &World, content: &Value) -> Result<Node, Node> {
    let bad = |text: &str| Node::failed("ACQ.INVALID_PARAMETER", &format!("参数无效: {text}"));
    let fields = Fields::of(content).map_err(|_| bad("biz_content"))?;
    let code = fields.required_text("dynamic_id", 32).map_err(|_| bad("dynamic_id"))?;
    fields.required_text("sence_no", 128).map_err(|_| bad("sence_no"))?; // spelled so
    let owner = world.books(|books, now| books.owner_of_code(Wallet::Alipay, code, now));
    let Some(owner) = owner else {
        return Err(Node::failed("ACQ.PAYMENT_AUTH_CODE_INVALID", "支付授权码无效"));
    };
    let is_user_id = owner.len() == 16 && owner.starts_with("2088");
    Ok(Node::success().with(if is_user_id { "user_id" } else { "open_id" }, owner.as_str()))
}

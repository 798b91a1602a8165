//! A refund that could not be paid out is sent to an account (wechat-pay §12).

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;

use super::{
    answer::Reply,
    document, param_error, party,
    refunds::{REFUND_NUMBER_LENGTH, refund_object},
};
use crate::{
    books::{Ending, PayoutRefusal},
    faults::Kind,
    fields::{BadField, Fields},
    world::World,
};

/// The banks that are paid out to.
const BANKS: [&str; 15] = [
    "ICBC_DEBIT",
    "ABC_DEBIT",
    "BOC_DEBIT",
    "CCB_DEBIT",
    "COMM_DEBIT",
    "CMB_DEBIT",
    "PSBC_DEBIT",
    "SPDB_DEBIT",
    "CITIC_DEBIT",
    "CEB_DEBIT",
    "CMBC_DEBIT",
    "CIB_DEBIT",
    "GDB_DEBIT",
    "PAB_DEBIT",
    "NBCB_DEBIT",
];
/// Longest ciphertext, in base64.
const SEALED_LENGTH: usize = 1024;

/// `POST /v3/refund/domestic/refunds/{refund_id}/apply-abnormal-refund`. `serial` names the key that what is personal was
/// encrypted under.
pub(super) fn pay_out(world: &World, id: &str, body: &[u8], serial: Option<&str>, fault: Option<Kind>) -> Reply {
    let document = match document(body) {
        Ok(document) => document,
        Err(reply) => return reply,
    };
    let number = match number_in(world, &document, serial) {
        Ok(number) => number,
        Err(refused) => return refused,
    };
    let ending = fault.map_or(Ending::Success, Kind::ending);
    match world.books(|books, now| books.pay_out(id, &number, ending, now)) {
        Ok((order, refund)) => Reply::ok(&refund_object(&order, &refund)),
        Err(PayoutRefusal::NotFound) => Reply::error(404, "RESOURCE_NOT_EXISTS", "退款单不存在"),
        Err(PayoutRefusal::NotAbnormal(status)) => {
            Reply::error(400, "INVALID_REQUEST", &format!("退款状态为{}，不是退款异常", status.word()))
        }
    }
}

/// The refund's number in a request that is as it must be.
fn number_in(world: &World, document: &Value, serial: Option<&str>) -> Result<String, Reply> {
    let fields = Fields::of(document).map_err(|bad| param_error(&bad))?;
    party::check_refund_body(&world.identity.wechat.params, &fields)?;
    read(world, &fields, serial).map_err(|bad| param_error(&bad))
}

/// The parameters, with what is encrypted opened: an account that can't be read can't be paid to.
fn read(world: &World, fields: &Fields<'_>, serial: Option<&str>) -> Result<String, BadField> {
    let number = fields.required_text("out_refund_no", REFUND_NUMBER_LENGTH)?.to_owned();
    let to_customer = fields.required_word("type", &[("USER_BANK_CARD", true), ("MERCHANT_BANK_CARD", false)])?;
    if to_customer {
        let bank = fields.required_text("bank_type", 16)?;
        if !BANKS.contains(&bank) {
            return Err(fields.bad("bank_type", "is none of the banks that are paid out to"));
        }
        for name in ["bank_account", "real_name"] {
            let sealed = fields.required_text(name, SEALED_LENGTH)?;
            let bytes = BASE64.decode(sealed).map_err(|_| fields.bad(name, "is not base64"))?;
            let plain = world.open_sealed(serial, &bytes);
            let usable = plain.is_some_and(|plain| !plain.is_empty() && std::str::from_utf8(&plain).is_ok());
            if !usable {
                return Err(fields.bad(name, "can't be decrypted under the key that Wechatpay-Serial names"));
            }
        }
    }
    Ok(number)
}

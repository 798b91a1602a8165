//! A refund that could not be paid out, sent to an account (wechat-pay §6, §12).

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::{
    answer::{Reply, Signer},
    document, param_error,
    refunds::refund_object,
};
use crate::{
    books::{Ending, PayoutRefusal},
    faults::Kind,
    fields::{BadField, Fields},
    keys::SigningKey,
    world::World,
};

const REFUND_NUMBER_LENGTH: usize = 64;
const SEALED_LENGTH: usize = 1024;
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

/// `POST /v3/refund/domestic/refunds/{refund_id}/apply-abnormal-refund`. `signer` has the key that the request's
/// `Wechatpay-Serial` names: what is personal must be encrypted for it.
pub(super) fn apply(world: &World, refund_id: &str, body: &[u8], signer: &Signer, fault: Option<Kind>) -> Reply {
    let document = match document(body) {
        Ok(document) => document,
        Err(reply) => return reply,
    };
    let number = match Fields::of(&document).and_then(|fields| read(&fields, signer.key())) {
        Ok(number) => number,
        Err(bad) => return param_error(&bad),
    };
    let ending = fault.map_or(Ending::Success, Kind::ending);
    match world.books(|books, now| books.pay_to_account(refund_id, &number, ending, now)) {
        Ok((order, refund)) => Reply::ok(&refund_object(&order, &refund)),
        Err(PayoutRefusal::NotFound) => Reply::error(404, "RESOURCE_NOT_EXISTS", "退款单不存在"),
        Err(PayoutRefusal::NotAbnormal) => Reply::error(400, "INVALID_REQUEST", "退款单状态不是退款异常"),
    }
}

/// The refund's number, once everything else is as it must be.
fn read(fields: &Fields<'_>, key: &SigningKey) -> Result<String, BadField> {
    if fields.text("sub_mchid", 32)?.is_some() {
        return Err(fields.bad("sub_mchid", "is for partners; this merchant is none"));
    }
    let number = fields.required_text("out_refund_no", REFUND_NUMBER_LENGTH)?;
    let to_customer = fields.required_word("type", &[("USER_BANK_CARD", true), ("MERCHANT_BANK_CARD", false)])?;
    if to_customer {
        fields.required_word("bank_type", &BANKS.map(|bank| (bank, ())))?;
        for name in ["bank_account", "real_name"] {
            let sealed = fields.required_text(name, SEALED_LENGTH)?;
            let opened = open(key, sealed);
            let Some(text) = opened.filter(|text| !text.is_empty()) else {
                return Err(fields.bad(name, "is not encrypted (RSA-OAEP, SHA-1) for the key in Wechatpay-Serial"));
            };
            if name == "bank_account" && !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(fields.bad(name, "is no account number"));
            }
        }
    }
    Ok(number.to_owned())
}

fn open(key: &SigningKey, sealed: &str) -> Option<String> {
    let key = PrivateDecryptingKey::from_pkcs8(key.private_der()).ok()?;
    let key = OaepPrivateDecryptingKey::new(key).ok()?;
    let sealed = BASE64.decode(sealed).ok()?;
    let mut text = vec![0; key.min_output_size()];
    let text = key.decrypt(&OAEP_SHA1_MGF1SHA1, &sealed, &mut text, None).ok()?;
    String::from_utf8(text.to_vec()).ok()
}

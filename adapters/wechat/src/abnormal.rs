//! A refund that could not be paid out, sent to an account (异常退款). Pure, but for the randomness of the encryption.
//!
//! Sources: wechat-pay §6, §12.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::Method;
use scanback_wallet::{AbnormalCall, Doubt, DoubtKind, Outcome, Payout, Private, Proof, RecordStatus, Rejection};
use serde::Serialize;

use crate::{
    account::Account,
    client::{Answer, Request},
    errors::{self, Call, NotOk},
    query::encoded,
    refund::{self, NotSent},
    verify::Verifiers,
};

/// The banks whose cards money can be paid out to. Source: wechat-pay §12.
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

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_mchid: Option<&'a str>,
    out_refund_no: &'a str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bank_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bank_account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    real_name: Option<String>,
}

/// The request. What is personal in it is encrypted for WeChat Pay, and `Wechatpay-Serial` says under which key: that of
/// the public key's id where there is one, else of the newest platform certificate.
pub(crate) fn request(account: &Account, verifiers: &Verifiers, call: &AbnormalCall) -> Result<Request, NotSent> {
    let id = call.wallet_refund_id.as_str();
    if id.len() > 32 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(NotSent("the wallet's refund number has not the form of one of WeChat Pay"));
    }
    let mut body = Body {
        sub_mchid: account.sub_mchid(),
        out_refund_no: call.refund.request_no.as_str(),
        r#type: "MERCHANT_BANK_CARD",
        bank_type: None,
        bank_account: None,
        real_name: None,
    };
    let mut serial = None;
    if let Payout::Customer { bank_type, bank_account, real_name } = &call.to {
        if !BANKS.contains(&bank_type.as_str()) {
            return Err(NotSent("bank_type is none of those that WeChat Pay pays out to, such as CMB_DEBIT"));
        }
        let (named, key) = verifiers.encrypting().ok_or(NotSent(
            "no key to encrypt with: configure the WeChat Pay public key, or let the platform certificates be fetched",
        ))?;
        let seal = |text: &Private| key.seal(text.expose().as_bytes()).map(|sealed| BASE64.encode(sealed));
        let too_long = NotSent("bank_account or real_name is empty or longer than a key can encrypt");
        (body.r#type, body.bank_type) = ("USER_BANK_CARD", Some(bank_type.as_str()));
        body.bank_account = Some(seal(bank_account).ok_or(too_long)?);
        body.real_name = Some(seal(real_name).ok_or(too_long)?);
        serial = Some(named.to_owned());
    }
    let target = format!("/v3/refund/domestic/refunds/{}/apply-abnormal-refund", encoded(id));
    let body = serde_json::to_vec(&body).map_err(|_| NotSent::UNWRITABLE)?;
    Ok(Request { body, serial, ..Request::of("abnormal_refund", Method::POST, target) })
}

/// What the answer proves. The refund's own record, not this answer, says what becomes of the money.
pub(crate) fn read(call: &AbnormalCall, answer: &Answer) -> Outcome {
    if answer.status == 200 {
        return match refund::record(&call.refund, answer) {
            Ok(record) if record.wallet_refund_id.as_ref() != Some(&call.wallet_refund_id) => {
                Outcome::Unknown(Doubt::new(DoubtKind::Unreadable, "it speaks of another refund: refund_id differs"))
            }
            Ok(record) => match record.status {
                RecordStatus::Paid | RecordStatus::Closed => Outcome::Done(record),
                RecordStatus::Taken | RecordStatus::Stuck => Outcome::Pending(record),
            },
            Err(doubt) => Outcome::Unknown(doubt),
        };
    }
    match errors::read(Call::Abnormal, answer) {
        NotOk::Refused(refusal) | NotOk::RefusedOrTooSoon(refusal) => {
            let proof = if refusal.signed { Proof::Answer } else { Proof::AnswerAndAbsence };
            Outcome::Rejected(Rejection { code: refusal.code, detail: refusal.detail, proof })
        }
        NotOk::BalanceLow(refusal) | NotOk::Absent(refusal) | NotOk::NotYet(refusal) => {
            Outcome::Unknown(Doubt::new(DoubtKind::Inconclusive, refusal.code))
        }
        NotOk::Doubt(doubt) => Outcome::Unknown(doubt),
    }
}

#[cfg(test)]
mod tests {
    use rsa::{Oaep, RsaPrivateKey, pkcs8::DecodePrivateKey as _};
    use scanback_wallet::WalletRefundId;
    use serde_json::Value;

    use super::*;
    use crate::fixtures::{self, text};

    fn call(to: Payout) -> AbnormalCall {
        AbnormalCall {
            refund: fixtures::refund_call(),
            wallet_refund_id: WalletRefundId::parse("50300000012025010100000000001").unwrap(),
            to,
        }
    }

    fn card(bank: &str) -> Payout {
        Payout::Customer {
            bank_type: bank.to_owned(),
            bank_account: Private::new("6225880137000000".to_owned()),
            real_name: Private::new("张三".to_owned()),
        }
    }

    /// Opens with another library what was sealed for the wallet.
    fn opened(sealed: &str, key: &str) -> String {
        let der = BASE64.decode(fixtures::file(key).trim()).unwrap();
        let key = RsaPrivateKey::from_pkcs8_der(&der).unwrap();
        let sealed = BASE64.decode(sealed).unwrap();
        String::from_utf8(key.decrypt(Oaep::new::<sha1::Sha1>(), &sealed).unwrap()).unwrap()
    }

    #[test]
    fn what_is_personal_is_sealed_for_the_key_that_the_header_names() {
        let certificates = fixtures::certificates_only();
        for (verifiers, serial, key) in [
            (fixtures::verifiers(), "PUB_KEY_ID_0114232134912410000000000000", "wechatpay_public_key_signing_half.b64"),
            (certificates, "6A11CE00000000000000000000000000000000B2", "platform_key_next.b64"),
        ] {
            let request = request(&fixtures::account(), &verifiers, &call(card("CMB_DEBIT"))).unwrap();
            assert_eq!(request.serial.as_deref(), Some(serial));
            assert_eq!(
                request.target,
                "/v3/refund/domestic/refunds/50300000012025010100000000001/apply-abnormal-refund"
            );
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!((text(&body["type"]), text(&body["bank_type"])), ("USER_BANK_CARD", "CMB_DEBIT"));
            assert_eq!(opened(text(&body["bank_account"]), key), "6225880137000000");
            assert_eq!(opened(text(&body["real_name"]), key), "张三");
        }
    }

    #[test]
    fn what_the_vectors_sealed_is_opened_by_the_same_scheme() {
        let vectors = fixtures::vectors();
        let case = &vectors["oaep_sha1"];
        assert_eq!(opened(text(&case["ciphertext"]), text(&case["decrypt_with"])), text(&case["plaintext"]));
    }

    #[test]
    fn the_merchants_own_card_needs_no_more_than_a_word() {
        let request = request(&fixtures::account(), &Verifiers::default(), &call(Payout::Merchant)).unwrap();
        assert_eq!(
            String::from_utf8(request.body).unwrap(),
            r#"{"out_refund_no":"R20250101000001-1","type":"MERCHANT_BANK_CARD"}"#
        );
        assert_eq!(request.serial, None);
    }

    #[test]
    fn what_can_only_be_refused_or_can_not_be_sealed_is_not_sent() {
        let account = fixtures::account();
        assert!(request(&account, &fixtures::verifiers(), &call(card("MY_BANK"))).is_err());
        assert!(request(&account, &Verifiers::default(), &call(card("CMB_DEBIT"))).is_err());
        let mut odd = call(Payout::Merchant);
        odd.wallet_refund_id = WalletRefundId::parse("50/../x").unwrap();
        assert!(request(&account, &fixtures::verifiers(), &odd).is_err());
    }

    #[test]
    fn an_answer_about_another_refund_proves_nothing() {
        let body = text(&fixtures::vectors()["response_verification"][0]["body"]).to_owned();
        let answer = |body: &str| Answer { status: 200, trust: Ok(()), body: body.as_bytes().to_vec() };
        assert!(matches!(read(&call(Payout::Merchant), &answer(&body)), Outcome::Pending(_)));
        let other = body.replace("50300000012025010100000000001", "50300000012025010100000000002");
        assert!(matches!(read(&call(Payout::Merchant), &answer(&other)), Outcome::Unknown(_)));
    }
}

//! A refund notification: what it says once its signature is known to be good. Source: wechat-pay §15.

use scanback_wallet::{
    Acknowledgement, EventId, NotGenuine, Notification, OrderNo, RefundRecord, TransactionId, WalletRefundId,
    WalletRequestNo,
};
use serde::Deserialize;

use crate::{
    account::{Account, Named},
    keys::{ApiV3Key, Sealed},
    refund,
};

#[derive(Deserialize)]
struct Envelope {
    id: EventId,
    event_type: String,
    #[serde(default)]
    resource: Option<Sealed>,
}

/// What was sealed. The amounts are fen of CNY: no currency is named.
#[derive(Deserialize)]
struct RefundNews {
    #[serde(default)]
    mchid: Option<String>,
    #[serde(default)]
    sp_mchid: Option<String>,
    #[serde(default)]
    sub_mchid: Option<String>,
    out_trade_no: OrderNo,
    out_refund_no: WalletRequestNo,
    transaction_id: TransactionId,
    refund_id: WalletRefundId,
    refund_status: String,
    #[serde(default)]
    success_time: Option<String>,
    amount: Amount,
}

#[derive(Deserialize)]
struct Amount {
    total: i64,
    refund: i64,
}

/// Reads a notification whose signature and time were found good. Numbers and amount are the wallet's: whoever takes the
/// record compares them with the ledger.
pub(crate) fn read(account: &Account, key: &ApiV3Key, body: &[u8]) -> Result<Notification, NotGenuine> {
    let unreadable = |what: &str| NotGenuine::Unreadable(what.to_owned());
    let Envelope { id: event_id, event_type, resource } =
        serde_json::from_slice(body).map_err(|_| unreadable("it is no notification"))?;
    if !event_type.starts_with("REFUND.") {
        return Ok(Notification::Other { event_id });
    }
    let sealed = resource.ok_or_else(|| unreadable("it has no resource"))?;
    let text = key.open(&sealed).map_err(unreadable)?;
    let news: RefundNews = serde_json::from_slice(&text).map_err(|_| unreadable("its content is no refund"))?;
    let named = Named {
        mchid: news.mchid.as_deref(),
        sp_mchid: news.sp_mchid.as_deref(),
        sub_mchid: news.sub_mchid.as_deref(),
    };
    if !account.is_named(named) {
        return Err(NotGenuine::OtherAccount);
    }
    let record = RefundRecord {
        request_no: news.out_refund_no,
        wallet_refund_id: Some(news.refund_id),
        amount: refund::fen(news.amount.refund).ok_or_else(|| unreadable("amount.refund is no amount"))?,
        status: refund::status(&news.refund_status).ok_or_else(|| unreadable("a refund_status that is not known"))?,
        settled_at: refund::settled_at(news.success_time.as_deref()),
        order_refunded: None,
    };
    // an envelope that says another end than its content is no proof of either: the wallet is asked
    if event_type.strip_prefix("REFUND.") != Some(news.refund_status.as_str()) {
        let request_no = Some(record.request_no);
        return Ok(Notification::Hint {
            event_id,
            order_no: news.out_trade_no,
            request_no,
            total: None,
            refunded: None,
        });
    }
    let total = refund::fen(news.amount.total).ok_or_else(|| unreadable("amount.total is no amount"))?;
    Ok(Notification::Refund {
        event_id,
        order_no: news.out_trade_no,
        transaction_id: Some(news.transaction_id),
        total: Some(total),
        record,
    })
}

/// 200 is "received"; any 4xx or 5xx makes WeChat Pay send it again, for 24 hours.
pub(crate) const fn acknowledge(received: bool) -> Acknowledgement {
    let content_type = "application/json";
    if received {
        Acknowledgement { status: 200, content_type, body: r#"{"code":"SUCCESS","message":"OK"}"# }
    } else {
        Acknowledgement { status: 401, content_type, body: r#"{"code":"FAIL","message":"not taken"}"# }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::aead;
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    use scanback_wallet::{Money, RecordStatus};
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{self, text};

    const MCHID: &str = "1900000109";

    fn secret() -> String {
        text(&fixtures::vectors()["params"]["apiv3_key"]).to_owned()
    }

    fn read_as(mchid: &str, body: &[u8]) -> Result<Notification, NotGenuine> {
        let account = Account { mchid: mchid.to_owned(), ..fixtures::account() };
        read(&account, &ApiV3Key::from_text(&secret()).unwrap(), body)
    }

    /// The first vector, its plaintext changed and sealed anew.
    fn resealed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let vectors = fixtures::vectors();
        let case = &vectors["notifications"][0];
        let mut news: Value = serde_json::from_str(text(&case["plaintext"])).unwrap();
        change(&mut news);
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, secret().as_bytes()).unwrap();
        let mut sealed = news.to_string().into_bytes();
        let nonce = aead::Nonce::assume_unique_for_key(*b"fdasflkja484");
        aead::LessSafeKey::new(key).seal_in_place_append_tag(nonce, aead::Aad::from("refund"), &mut sealed).unwrap();
        let mut body: Value = serde_json::from_str(text(&case["body"])).unwrap();
        body["resource"]["ciphertext"] = BASE64.encode(sealed).into();
        body.to_string().into_bytes()
    }

    #[test]
    fn each_vector_is_read_as_its_plaintext_says() {
        let vectors = fixtures::vectors();
        let cases = vectors["notifications"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let plain: Value = serde_json::from_str(text(&case["plaintext"])).unwrap();
            let envelope: Value = serde_json::from_str(text(&case["body"])).unwrap();
            let status = match text(&plain["refund_status"]) {
                "SUCCESS" => RecordStatus::Paid,
                "ABNORMAL" => RecordStatus::Stuck,
                "CLOSED" => RecordStatus::Closed,
                other => panic!("{other}"),
            };
            let expected = Notification::Refund {
                event_id: EventId::parse(text(&envelope["id"])).unwrap(),
                order_no: OrderNo::parse(text(&plain["out_trade_no"])).unwrap(),
                transaction_id: Some(TransactionId::parse(text(&plain["transaction_id"])).unwrap()),
                total: Some(Money::fen(plain["amount"]["total"].as_i64().unwrap()).unwrap()),
                record: RefundRecord {
                    request_no: WalletRequestNo::parse(text(&plain["out_refund_no"])).unwrap(),
                    wallet_refund_id: Some(WalletRefundId::parse(text(&plain["refund_id"])).unwrap()),
                    amount: Money::fen(plain["amount"]["refund"].as_i64().unwrap()).unwrap(),
                    status,
                    settled_at: plain["success_time"].as_str().map(|at| at.parse().unwrap()),
                    order_refunded: None,
                },
            };
            assert_eq!(read_as(MCHID, text(&case["body"]).as_bytes()), Ok(expected), "{}", case["name"]);
        }
    }

    #[test]
    fn an_envelope_that_contradicts_its_content_is_a_hint_only() {
        let body = resealed(|news| news["refund_status"] = "CLOSED".into());
        assert!(matches!(read_as(MCHID, &body), Ok(Notification::Hint { request_no: Some(_), .. })));
    }

    #[test]
    fn news_for_another_account_is_refused() {
        let vectors = fixtures::vectors();
        let body = text(&vectors["notifications"][0]["body"]).as_bytes();
        assert_eq!(read_as("1900000110", body), Err(NotGenuine::OtherAccount));
    }

    #[test]
    fn what_can_not_be_decrypted_or_is_no_refund_is_unreadable() {
        let vectors = fixtures::vectors();
        let good: Value = serde_json::from_str(text(&vectors["notifications"][0]["body"])).unwrap();
        let mut bodies = vec![b"not json".to_vec(), b"{}".to_vec()];
        let changes: [fn(&mut Value); 4] = [
            |body| drop(body.as_object_mut().unwrap().remove("resource")),
            |body| body["resource"]["associated_data"] = "other".into(),
            |body| body["resource"]["algorithm"] = "AEAD_SM4_GCM".into(),
            |body| body["id"] = "".into(),
        ];
        for change in changes {
            let mut body = good.clone();
            change(&mut body);
            bodies.push(body.to_string().into_bytes());
        }
        bodies.push(resealed(|news| news["refund_status"] = "REFUNDED".into()));
        bodies.push(resealed(|news| news["amount"]["refund"] = (-1).into()));
        bodies.push(resealed(|news| news["amount"]["refund"] = json!(20.5)));
        bodies.push(resealed(|news| news["out_refund_no"] = "a b".into()));
        for body in bodies {
            let read = read_as(MCHID, &body);
            assert!(matches!(read, Err(NotGenuine::Unreadable(_))), "{read:?}");
        }
    }

    #[test]
    fn a_status_that_no_envelope_tells_of_makes_the_wallet_be_asked() {
        let body = resealed(|news| news["refund_status"] = "PROCESSING".into());
        assert!(matches!(read_as(MCHID, &body), Ok(Notification::Hint { .. })));
    }

    #[test]
    fn news_of_something_else_keeps_its_number_and_nothing_more() {
        let body = br#"{"id":"EV-1","event_type":"TRANSACTION.SUCCESS","resource":null}"#;
        let event_id = EventId::parse("EV-1").unwrap();
        assert_eq!(read_as(MCHID, body), Ok(Notification::Other { event_id }));
    }

    #[test]
    fn only_a_2xx_stops_the_wallet_from_sending_again() {
        assert_eq!(acknowledge(true).status, 200);
        assert_eq!(acknowledge(true).body, r#"{"code":"SUCCESS","message":"OK"}"#);
        assert!(acknowledge(false).status >= 400);
        assert!(acknowledge(false).body.contains("FAIL"));
    }
}

//! What Alipay tells the merchant about a trade: signed forms to the payment's address (alipay §14).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::yuan;
use crate::{
    beijing,
    books::News,
    keys::KeyError,
    notify::{Attempt, Spoil},
    world::World,
};

/// After each send that was not answered well: 8 sends in 24 h 24 min (alipay §14).
const LADDER_MINUTES: [u64; 7] = [4, 10, 10, 60, 120, 360, 900];

/// What a form leaves as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*');

/// One notification: the same `notify_id` and fields in every send.
pub(crate) struct Event {
    id: String,
    url: String,
    fields: BTreeMap<&'static str, String>,
}

impl Event {
    /// The waits between sends, in the wallet's time.
    pub(crate) fn ladder() -> impl Iterator<Item = Duration> {
        LADDER_MINUTES.into_iter().map(|minutes| Duration::from_secs(minutes * 60))
    }

    /// Makes the notification of a refund. It carries the sum of the trade's refunds, never this one's amount.
    pub(crate) fn of(news: &News, world: &World) -> Self {
        let params = &world.identity.alipay.params;
        let (order, refund) = (&news.order, &news.refund);
        let at = refund.settled_at.unwrap_or_else(Timestamp::now);
        let is_whole = news.refunded == order.amount;
        let amount = yuan::write(order.amount);
        let id = format!("{}{}", beijing::day_digits(at), uuid::Uuid::now_v7().simple());
        let is_user_id = order.payer.len() == 16 && order.payer.starts_with("2088");
        let mut fields = BTreeMap::from([
            ("notify_type", "trade_status_sync".to_owned()),
            ("notify_id", id.clone()),
            ("app_id", params.app_id.clone()),
            ("auth_app_id", params.app_id.clone()),
            ("charset", "utf-8".to_owned()),
            ("version", "1.0".to_owned()),
            ("trade_no", order.transaction_id.clone()),
            ("out_trade_no", order.out_trade_no.clone()),
            ("out_biz_no", refund.number.clone()),
            (if is_user_id { "buyer_id" } else { "buyer_open_id" }, order.payer.clone()),
            ("buyer_logon_id", "159****5620".to_owned()),
            ("seller_id", params.seller_id.clone()),
            ("trade_status", if is_whole { "TRADE_CLOSED" } else { "TRADE_SUCCESS" }.to_owned()),
            ("total_amount", amount.clone()),
            ("receipt_amount", amount.clone()),
            ("invoice_amount", amount.clone()),
            ("buyer_pay_amount", amount.clone()),
            ("point_amount", "0.00".to_owned()),
            ("refund_fee", yuan::write(news.refunded)),
            ("subject", "Scanback sandbox".to_owned()),
            ("gmt_create", beijing::seconds(order.created_at)),
            ("gmt_refund", beijing::millis(at)),
            ("fund_bill_list", json!([{ "amount": amount, "fundChannel": "ALIPAYACCOUNT" }]).to_string()),
        ]);
        if let Some(paid_at) = order.paid_at {
            fields.insert("gmt_payment", beijing::seconds(paid_at));
        }
        if is_whole {
            fields.insert("gmt_close", beijing::seconds(at));
        }
        Self { id, url: news.url.clone(), fields }
    }

    /// The wallet's number of it.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// One send, signed now over everything but `sign` and `sign_type`.
    pub(crate) fn attempt(&self, world: &Arc<World>, spoil: Option<Spoil>) -> Result<Attempt, KeyError> {
        let mut fields = self.fields.clone();
        fields.insert("notify_time", beijing::seconds(Timestamp::now()));
        let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut text = pairs.join("&");
        if spoil == Some(Spoil::BadSignature) {
            text.push('x');
        }
        let signature = world.identity.alipay.alipay.sign(text.as_bytes())?;
        if spoil == Some(Spoil::Tampered) {
            fields.insert("refund_fee", yuan::write(1)); // after signing
            fields.insert("notify_id", format!("{}x", self.id));
        }
        fields.insert("sign_type", "RSA2".to_owned());
        fields.insert("sign", signature);
        let form: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, FORM))).collect();
        let kind = "application/x-www-form-urlencoded; charset=utf-8".to_owned();
        Ok(Attempt { url: self.url.clone(), headers: vec![("Content-Type", kind)], body: form.join("&").into_bytes() })
    }

    /// Whether an answer says that the merchant has it: 200 and exactly `success`.
    pub(crate) fn is_received(status: u16, body: &[u8]) -> bool {
        status == 200 && body == b"success"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_is_given_up_after_a_day_and_only_success_ends_it_before() {
        assert_eq!(Event::ladder().sum::<Duration>(), Duration::from_secs((24 * 60 + 24) * 60));
        assert!(Event::is_received(200, b"success"));
        assert!(!Event::is_received(200, b"success\n"));
        assert!(!Event::is_received(201, b"success"));
    }
}

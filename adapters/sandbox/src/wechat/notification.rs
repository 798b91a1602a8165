//! What WeChat tells the merchant about a refund (wechat-pay §15).

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;

use super::{answer::Signer, cipher};
use crate::{
    beijing,
    books::{News, RefundStatus},
    keys::KeyError,
    notify::{Attempt, Spoil},
    world::World,
};

/// After each send that was not answered well: 24 h 4 min in all (wechat-pay §15).
const LADDER: [u64; 15] =
    [15, 15, 30, 180, 600, 1_200, 1_800, 1_800, 1_800, 3_600, 10_800, 10_800, 10_800, 21_600, 21_600];

/// One event: the same id and text in every send, signed anew each time.
pub(crate) struct Event {
    id: String,
    url: String,
    body: Vec<u8>,
}

impl Event {
    /// The waits between sends, in the wallet's time.
    pub(crate) fn ladder() -> impl Iterator<Item = Duration> {
        LADDER.into_iter().map(Duration::from_secs)
    }

    /// Makes the event of a refund that ended. A refund that is under way has none.
    pub(crate) fn of(news: &News, world: &World) -> Result<Option<Self>, KeyError> {
        let (event_type, summary) = match news.refund.status {
            RefundStatus::Success => ("REFUND.SUCCESS", "退款成功"),
            RefundStatus::Abnormal => ("REFUND.ABNORMAL", "退款异常"),
            RefundStatus::Closed => ("REFUND.CLOSED", "退款关闭"),
            RefundStatus::Processing => return Ok(None),
        };
        let params = &world.identity.wechat.params;
        let (order, refund) = (&news.order, &news.refund);
        let at = refund.settled_at.unwrap_or_else(Timestamp::now);
        let mut plain = json!({
            "out_trade_no": order.out_trade_no,
            "transaction_id": order.transaction_id,
            "out_refund_no": refund.number,
            "refund_id": refund.wallet_refund_id,
            "refund_status": refund.status.word(),
            "user_received_account": "支付用户零钱",
            "amount": {
                "total": order.amount,
                "refund": refund.amount,
                "payer_total": order.amount,
                "payer_refund": refund.amount,
            },
        });
        match &params.sub {
            None => plain["mchid"] = json!(params.mchid),
            Some(sub) => {
                plain["sp_mchid"] = json!(params.mchid);
                plain["sub_mchid"] = json!(sub.sub_mchid);
            }
        }
        if refund.status == RefundStatus::Success {
            plain["success_time"] = json!(beijing::rfc3339(at));
        }
        let sealed = cipher::seal(&params.apiv3_key, "refund", plain.to_string().as_bytes())?;
        let mut resource = serde_json::to_value(sealed).map_err(|error| KeyError::Library(error.to_string()))?;
        resource["original_type"] = json!("refund");
        let id = uuid::Uuid::now_v7().to_string();
        let body = json!({
            "id": id,
            "create_time": beijing::rfc3339(at),
            "resource_type": "encrypt-resource",
            "event_type": event_type,
            "summary": summary,
            "resource": resource,
        });
        Ok(Some(Self { id, url: news.url.clone(), body: body.to_string().into_bytes() }))
    }

    /// The wallet's number of it.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// One send, signed now with the newest platform certificate: a merchant can't choose the key of a notification
    /// (wechat-pay §5).
    pub(crate) fn attempt(&self, world: &Arc<World>, spoil: Option<Spoil>) -> Result<Attempt, KeyError> {
        let mut headers: Vec<(&'static str, String)> = Signer::named(world, None).headers(&self.body)?.into();
        headers.push(("Content-Type", "application/json".to_owned()));
        let mut body = self.body.clone();
        match spoil {
            None => {}
            // after signing: another event of another id, under the signature of this one
            Some(Spoil::Tampered) => {
                let text = String::from_utf8_lossy(&body).replace(&self.id, &uuid::Uuid::now_v7().to_string());
                body = text.into_bytes();
            }
            // probe traffic (wechat-pay §3)
            Some(Spoil::BadSignature) => {
                for (name, value) in &mut headers {
                    if *name == "Wechatpay-Signature" {
                        *value = format!("WECHATPAY/SIGNTEST/{value}");
                    }
                }
            }
        }
        Ok(Attempt { url: self.url.clone(), headers, body })
    }

    /// Whether an answer says that the merchant has it.
    pub(crate) fn is_received(status: u16) -> bool {
        matches!(status, 200 | 204)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_lasts_a_day_and_four_minutes() {
        assert_eq!(Event::ladder().sum::<Duration>(), Duration::from_secs(24 * 3600 + 240));
    }
}

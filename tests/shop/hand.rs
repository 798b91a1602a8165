//! The merchant's own hand at the wallet: refunds made past the desk, through the wallet's real API.

use std::sync::Arc;

use scanback::config::Settings;
use scanback_alipay::Alipay;
use scanback_wallet::{
    Money, OrderNo, OrderRef, Outcome, RecordStatus, RefundCall, SystemClock, Wallet, WalletRequestNo,
};
use scanback_wechat::WechatPay;

use super::{Shop, WECHAT};

/// Who refunds by hand, with the merchant's own keys.
pub(crate) struct Hand {
    wallet: Arc<dyn Wallet>,
    notify_url: Option<String>,
}

impl Shop {
    /// The merchant's hand at one wallet. WeChat is told to notify the desk, as a console setting would.
    pub(crate) fn hand(&self, wallet: &str) -> Hand {
        let account = Settings::load(&self.config_file).unwrap().merchants.remove(0);
        let (http, clock) = (reqwest::Client::new(), Arc::new(SystemClock));
        if wallet == WECHAT {
            let wallet = Arc::new(WechatPay::new(account.wechat.unwrap(), http, clock));
            Hand { wallet, notify_url: Some(format!("{}/notify/wechat/demo", self.base)) }
        } else {
            Hand { wallet: Arc::new(Alipay::new(account.alipay.unwrap(), http, clock)), notify_url: None }
        }
    }
}

impl Hand {
    /// Refunds `amount` of an order of `total` under `number`, which the wallet takes.
    pub(crate) async fn refunds(&self, order_no: &str, number: &str, amount: i64, total: i64) {
        let call = RefundCall {
            order: OrderRef { order_no: OrderNo::parse(order_no).unwrap(), transaction_id: None },
            request_no: WalletRequestNo::parse(number).unwrap(),
            amount: Money::fen(amount).unwrap(),
            total: Money::fen(total).unwrap(),
            reason: "by hand".to_owned(),
            notify_url: self.notify_url.clone(),
            goods: Vec::new(),
        };
        let outcome = self.wallet.refund(&call).await;
        let taken = match &outcome {
            Outcome::Done(record) => record.status == RecordStatus::Paid,
            Outcome::Pending(_) => true,
            _ => false,
        };
        assert!(taken, "{outcome:?}");
    }
}

//! Refunds: what each wallet takes, when it is paid out, and what it refuses. The order of the checks is that of
//! contract §7: number reuse, order state, amount, pace (signature and parameters came before).

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Books, Key, News, Order, OrderNumber, ViolationKind, Wallet};
use crate::beijing;

/// How long WeChat takes from acceptance to the end (contract §7), divided by the time scale.
const WECHAT_PROCESSING: Duration = Duration::from_secs(60);
/// Between two different refunds of one order (wechat-pay §10, alipay §9), divided by the time scale.
const WECHAT_PACE: Duration = Duration::from_secs(60);
const ALIPAY_PACE: Duration = Duration::from_secs(3);
/// After the payment; days are days at any scale. Alipay's is by contract: a setting there, a year here.
const REFUND_WINDOW: Duration = Duration::from_secs(365 * 24 * 3600);
/// Refunds an order (wechat-pay §10). Alipay states none.
const WECHAT_REFUNDS_AN_ORDER: usize = 50;
/// Refund calls a second and merchant, and while they go wrong (wechat-pay §10), times the scale.
const WECHAT_QUOTA: u32 = 150;
const WECHAT_QUOTA_WHILE_REFUSED: u32 = 6;
/// "More than half of the last 20 within 10 s / X" (contract §7).
const LOOK_BACK_CALLS: usize = 20;
const LOOK_BACK_TIME: Duration = Duration::from_secs(10);

/// Where a refund stands. Alipay knows only the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum RefundStatus {
    Processing,
    Success,
    Closed,
    Abnormal,
}

impl RefundStatus {
    /// Every status and the wallet's word for it.
    pub(crate) const WORDS: [(&'static str, Self); 4] = [
        ("PROCESSING", Self::Processing),
        ("SUCCESS", Self::Success),
        ("CLOSED", Self::Closed),
        ("ABNORMAL", Self::Abnormal),
    ];

    /// The wallet's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Processing => "PROCESSING",
            Self::Success => "SUCCESS",
            Self::Closed => "CLOSED",
            Self::Abnormal => "ABNORMAL",
        }
    }
}

/// What becomes of a refund when its time is over: a fault may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    Success,
    Abnormal,
    Closed,
    /// Never by itself.
    Stay,
}

/// One refund in the books. Amounts are fen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refund {
    /// `out_refund_no`, `out_request_no`.
    pub(crate) number: String,
    /// WeChat's own `refund_id`; Alipay shows none.
    pub(crate) wallet_refund_id: String,
    pub(crate) amount: i64,
    pub(crate) reason: Option<String>,
    pub(crate) notify_url: Option<String>,
    pub(crate) funds_account: Option<String>,
    pub(crate) accepted_at: Timestamp,
    /// Since when the wallet has been working on it: again, where it was sent to an account.
    pub(crate) open_since: Timestamp,
    pub(crate) status: RefundStatus,
    pub(crate) settled_at: Option<Timestamp>,
    /// How often its money left.
    pub(crate) times_paid: u32,
    pub(crate) ending: Ending,
    /// Whether news of how it stands is on its way to the merchant.
    #[serde(default)]
    pub(crate) untold: bool,
}

impl Refund {
    /// Where the merchant is told of it: its own address wins over the one of the payment or the console (wechat-pay §10);
    /// Alipay has only that.
    fn told_at<'a>(&'a self, of_the_payment: Option<&'a String>) -> Option<&'a String> {
        self.notify_url.as_ref().or(of_the_payment)
    }
}

/// A refund call whose parameters are good.
#[derive(Clone, Debug)]
pub(crate) struct RefundAsk {
    pub(crate) wallet: Wallet,
    pub(crate) order: OrderNumber,
    pub(crate) number: String,
    pub(crate) amount: i64,
    /// The order's total as the caller believes it (WeChat).
    pub(crate) total: Option<i64>,
    pub(crate) reason: Option<String>,
    pub(crate) notify_url: Option<String>,
    pub(crate) funds_account: Option<String>,
    pub(crate) ending: Ending,
}

/// A refund that the books hold now.
#[derive(Clone, Debug)]
pub(crate) struct Refunded {
    pub(crate) order: Order,
    pub(crate) refund: Refund,
    /// This call made it; else it was there already.
    pub(crate) first: bool,
}

/// Why there is no refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefundRefusal {
    OrderNotFound,
    NotPaid,
    Closed,
    Voided,
    /// Nothing is left. WeChat calls it an amount over the rest, Alipay a closed trade.
    FullyRefunded,
    WindowOver,
    TotalDiffers,
    OverTheRest,
    TooMany,
    TooSoon,
    NumberReused,
}

/// Why a refund is not sent to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayoutRefusal {
    NotFound,
    /// Only what could not be paid out can be sent elsewhere.
    NotAbnormal(RefundStatus),
}

/// Why a refund can't be settled by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettleRefusal {
    NotFound,
    /// It has ended, or the status asked for is not an end.
    NotOpen(RefundStatus),
}

/// The last refund calls of WeChat's merchant, for its quotas.
#[derive(Default)]
pub(super) struct Recent {
    calls: VecDeque<Timestamp>,
    ends: VecDeque<(Timestamp, bool)>,
}

impl Books {
    /// Takes one WeChat refund call into the quota; `false` where the quota is used up.
    pub(crate) fn admit_refund_call(&mut self, now: Timestamp) -> bool {
        let window = self.scale.of(LOOK_BACK_TIME);
        let recent = &mut self.pace;
        while recent.calls.front().is_some_and(|at| beijing::since(now, *at) >= Duration::from_secs(1)) {
            recent.calls.pop_front();
        }
        let refused = recent.ends.iter().filter(|(at, refused)| *refused && beijing::since(now, *at) < window).count();
        let quota = if refused > LOOK_BACK_CALLS / 2 { WECHAT_QUOTA_WHILE_REFUSED } else { WECHAT_QUOTA };
        if recent.calls.len() >= self.scale.quota(quota) {
            return false;
        }
        recent.calls.push_back(now);
        true
    }

    /// Remembers how a WeChat refund call ended. A missing order is no error (contract §4 rule 8).
    pub(crate) fn note_refund_call(&mut self, refusal: Option<RefundRefusal>, now: Timestamp) {
        if matches!(refusal, Some(RefundRefusal::OrderNotFound | RefundRefusal::NotPaid)) {
            return; // both are a 404
        }
        self.pace.ends.push_back((now, refusal.is_some()));
        if self.pace.ends.len() > LOOK_BACK_CALLS {
            self.pace.ends.pop_front();
        }
    }

    /// Refunds, or finds the refund that this number already is.
    pub(crate) fn refund(&mut self, ask: RefundAsk, now: Timestamp) -> Result<Refunded, RefundRefusal> {
        self.catch_up(now);
        let asked_for = self.key_of(ask.wallet, &ask.order, now);
        let holder = match ask.wallet {
            Wallet::Wechat => self.wechat_refunds.get(&ask.number).cloned(),
            // Alipay's numbers are unique within a trade (alipay §9)
            Wallet::Alipay => asked_for.clone(),
        };
        if let Some(holder) = holder
            && let Some(order) = self.orders.get(&holder)
            && let Some(refund) = order.refund(&ask.number)
        {
            // what a number stands for is its order and its amounts (wechat-pay §10, alipay §9); a service that is
            // started anew may well have another address to be notified at
            let same_total = ask.total.is_none_or(|total| total == order.amount);
            if asked_for.as_ref() == Some(&holder) && refund.amount == ask.amount && same_total {
                return Ok(Refunded { order: order.clone(), refund: refund.clone(), first: false });
            }
            let detail =
                format!("first {} fen of {}, now {} fen of {}", refund.amount, holder.1, ask.amount, ask.order.text());
            self.violation(now, ViolationKind::NumberReused, &holder, &ask.number, detail);
            return Err(RefundRefusal::NumberReused);
        }
        let key = asked_for.ok_or(RefundRefusal::OrderNotFound)?;
        let order = self.orders.get(&key).ok_or(RefundRefusal::OrderNotFound)?;
        if let Some(refusal) = self.refusal(order, &ask, now) {
            if matches!(refusal, RefundRefusal::OverTheRest | RefundRefusal::FullyRefunded) {
                let detail = format!("{} fen asked for, {} fen left", ask.amount, order.rest());
                self.violation(now, ViolationKind::StoppedByTheRest, &key, &ask.number, detail);
            }
            return Err(refusal);
        }
        Ok(self.accept(&key, ask, now))
    }

    fn refusal(&self, order: &Order, ask: &RefundAsk, now: Timestamp) -> Option<RefundRefusal> {
        // the order's state
        if order.voided.is_some() {
            return Some(RefundRefusal::Voided);
        }
        if order.closed_at.is_some() {
            return Some(RefundRefusal::Closed);
        }
        let Some(paid_at) = order.paid_at else { return Some(RefundRefusal::NotPaid) };
        if order.wallet == Wallet::Alipay && order.rest() == 0 {
            return Some(RefundRefusal::FullyRefunded);
        }
        if beijing::since(now, paid_at) > REFUND_WINDOW {
            return Some(RefundRefusal::WindowOver);
        }
        if order.wallet == Wallet::Wechat && order.refunds.len() >= WECHAT_REFUNDS_AN_ORDER {
            return Some(RefundRefusal::TooMany);
        }
        // the amount
        if ask.total.is_some_and(|total| total != order.amount) {
            return Some(RefundRefusal::TotalDiffers);
        }
        if ask.amount > order.rest() {
            return Some(RefundRefusal::OverTheRest);
        }
        // the pace
        let pace = match order.wallet {
            Wallet::Wechat => WECHAT_PACE,
            Wallet::Alipay => ALIPAY_PACE,
        };
        let last = order.refunds.iter().map(|refund| refund.accepted_at).max();
        let too_soon = last.is_some_and(|last| beijing::since(now, last) < self.scale.of(pace));
        too_soon.then_some(RefundRefusal::TooSoon)
    }

    fn accept(&mut self, key: &Key, ask: RefundAsk, now: Timestamp) -> Refunded {
        let mut refund = Refund {
            number: ask.number,
            wallet_refund_id: self.wallet_refund_id(now),
            amount: ask.amount,
            reason: ask.reason,
            notify_url: ask.notify_url,
            funds_account: ask.funds_account,
            accepted_at: now,
            open_since: now,
            status: RefundStatus::Processing,
            settled_at: None,
            times_paid: 0,
            ending: ask.ending,
            untold: false,
        };
        match key.0 {
            Wallet::Wechat => {
                self.wechat_refunds.insert(refund.number.clone(), key.clone());
                self.schedule(&refund);
                self.push(key, refund.clone());
            }
            Wallet::Alipay => {
                let number = refund.number.clone();
                self.push(key, refund.clone());
                if let Some(ended) = self.end(key, &number, RefundStatus::Success, now) {
                    refund = ended;
                }
            }
        }
        let order = self.orders[key].clone();
        Refunded { order, refund, first: true }
    }

    fn push(&mut self, key: &Key, refund: Refund) {
        if let Some(order) = self.orders.get_mut(key) {
            order.refunds.push(refund);
            self.note_change(key);
        }
    }

    /// When time ends an open refund of WeChat's.
    pub(super) fn schedule(&mut self, refund: &Refund) {
        if refund.status == RefundStatus::Processing && refund.ending != Ending::Stay {
            let end = beijing::after(refund.open_since, self.scale.of(WECHAT_PROCESSING));
            self.due.insert((end, refund.number.clone()));
        }
    }

    /// Ends a refund: the only place where a refund's money leaves. What must never be is checked here once more.
    fn end(&mut self, key: &Key, number: &str, status: RefundStatus, now: Timestamp) -> Option<Refund> {
        let order = self.orders.get_mut(key)?;
        let refund = order.refunds.iter_mut().find(|refund| refund.number == number)?;
        refund.status = status;
        refund.settled_at = Some(now);
        if status == RefundStatus::Success {
            refund.times_paid += 1;
        }
        refund.untold = refund.told_at(order.notify_url.as_ref()).is_some();
        let refund = refund.clone();
        let order = order.clone();
        self.note_change(key);
        if refund.times_paid > 1 {
            let detail = format!("{} fen left {} times", refund.amount, refund.times_paid);
            self.violation(now, ViolationKind::PaidTwice, key, number, detail);
        }
        if order.paid_out() > order.amount {
            let detail = format!("{} fen left of {} fen", order.paid_out(), order.amount);
            self.violation(now, ViolationKind::PaidPastTheOrder, key, number, detail);
        }
        self.tell(order, refund.clone());
        Some(refund)
    }

    /// Sends news of a refund on its way, where there is an address for it.
    pub(super) fn tell(&mut self, order: Order, refund: Refund) {
        if let Some(url) = refund.told_at(order.notify_url.as_ref()).cloned() {
            let refunded = order.refunded();
            self.news.push(News { order, refund, refunded, url });
        }
    }

    /// News has arrived, or was given up: a restart doesn't send it again.
    pub(crate) fn told(&mut self, news: &News) {
        let key = (news.order.wallet, news.order.out_trade_no.clone());
        let Some(order) = self.orders.get_mut(&key) else { return };
        let same = |refund: &&mut Refund| refund.number == news.refund.number && refund.status == news.refund.status;
        if let Some(refund) = order.refunds.iter_mut().find(same) {
            refund.untold = false;
            self.note_change(&key);
        }
    }

    /// Lets time do what it has done by now.
    pub(crate) fn catch_up(&mut self, now: Timestamp) {
        while let Some((at, number)) = self.due.first().cloned() {
            if at > now {
                return;
            }
            self.due.remove(&(at, number.clone()));
            let Some(key) = self.wechat_refunds.get(&number).cloned() else { continue };
            let Some(refund) = self.orders.get(&key).and_then(|order| order.refund(&number)) else { continue };
            if refund.status != RefundStatus::Processing {
                continue; // ended by hand before its time
            }
            let status = match refund.ending {
                Ending::Success => RefundStatus::Success,
                Ending::Abnormal => RefundStatus::Abnormal,
                Ending::Closed => RefundStatus::Closed,
                Ending::Stay => continue,
            };
            self.end(&key, &number, status, at);
        }
    }

    /// A WeChat refund by its number, and its order.
    pub(crate) fn wechat_refund(&mut self, number: &str, now: Timestamp) -> Option<(Order, Refund)> {
        self.catch_up(now);
        let order = self.orders.get(self.wechat_refunds.get(number)?)?;
        Some((order.clone(), order.refund(number)?.clone()))
    }

    /// Ends an open refund by hand (contract §7): `PROCESSING` or `ABNORMAL` becomes `SUCCESS`, `CLOSED` or `ABNORMAL`.
    pub(crate) fn settle(
        &mut self,
        number: &str,
        status: RefundStatus,
        now: Timestamp,
    ) -> Result<(Order, Refund), SettleRefusal> {
        let (order, refund) = self.wechat_refund(number, now).ok_or(SettleRefusal::NotFound)?;
        let open = match refund.status {
            RefundStatus::Processing => status != RefundStatus::Processing,
            RefundStatus::Abnormal => matches!(status, RefundStatus::Success | RefundStatus::Closed),
            RefundStatus::Success | RefundStatus::Closed => false,
        };
        if !open {
            return Err(SettleRefusal::NotOpen(refund.status));
        }
        self.end(&(order.wallet, order.out_trade_no), number, status, now);
        self.wechat_refund(number, now).ok_or(SettleRefusal::NotFound)
    }

    /// Sends an `ABNORMAL` refund to an account: it is `PROCESSING` again (wechat-pay §12). `id` is WeChat's own number.
    pub(crate) fn pay_out(
        &mut self,
        id: &str,
        number: &str,
        ending: Ending,
        now: Timestamp,
    ) -> Result<(Order, Refund), PayoutRefusal> {
        let (order, refund) = self.wechat_refund(number, now).ok_or(PayoutRefusal::NotFound)?;
        if refund.wallet_refund_id != id {
            return Err(PayoutRefusal::NotFound);
        }
        if refund.status != RefundStatus::Abnormal {
            return Err(PayoutRefusal::NotAbnormal(refund.status));
        }
        let key = (order.wallet, order.out_trade_no);
        let kept =
            self.orders.get_mut(&key).and_then(|order| order.refunds.iter_mut().find(|one| one.number == number));
        if let Some(kept) = kept {
            kept.status = RefundStatus::Processing;
            kept.settled_at = None;
            kept.open_since = now;
            kept.ending = ending;
            let open = kept.clone();
            self.schedule(&open);
            self.note_change(&key);
        }
        self.wechat_refund(number, now).ok_or(PayoutRefusal::NotFound)
    }

    /// WeChat's own number of a refund, in a form of theirs: digits, beginning with 50.
    pub(super) fn wallet_refund_id(&mut self, at: Timestamp) -> String {
        format!("5030{}{}{}", self.digits(6), beijing::day_digits(at), self.digits(10))
    }
}

#[cfg(test)]
mod tests;

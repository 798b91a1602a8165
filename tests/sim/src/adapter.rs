//! A simulated wallet behind the service's own port: the network in between loses, holds and spoils, and the answer is read
//! as an adapter reads it.

use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use scanback::mutants::{Mutant, on};
use scanback_wallet::{
    AbnormalCall, Acknowledgement, Asked, Bill, BillDay, BillKind, Capabilities, Clock as _, Doubt, DoubtKind, EventId,
    Hold, HoldReason, Money, NotGenuine, Notification, OrderNo, OrderNumber, OrderRef, Outcome, PayerOf, PaymentCode,
    Proof, RecordStatus, RefundCall, RefundRecord, Rejection, TransactionId, VoidCall, Wallet, WalletError, WalletKind,
    WalletOrder, WalletOrderState, WalletRequestNo,
};
use tokio::{sync::oneshot, time::sleep};

use crate::{
    books::{Entry, Status, Verdict},
    news,
    world::World,
};

/// As long as the service's own `wallet.timeout`.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// A wallet refuses what was signed longer ago.
const OLDEST: u64 = 290;

/// One account at one wallet, as one life of one replica reaches it.
pub(crate) struct SimWallet {
    pub(crate) kind: WalletKind,
    pub(crate) life: u64,
    pub(crate) world: World,
}

/// What the network does with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Good,
    LostBefore,
    LostAfter,
    Late,
    Spoilt(DoubtKind),
    Limited,
}

/// What a wallet answers to a refund call, before it is read.
#[derive(Clone, Debug)]
enum Answer {
    Record(Entry, i64),
    /// Alipay's `fund_change`: `N`, whatever it means.
    FundChangeN,
    Refused(&'static str),
    TooSoon,
    BalanceLow,
}

impl SimWallet {
    fn way(&self) -> (Way, Duration, Duration) {
        let mut state = self.world.state();
        let faults = state.faults;
        let dice = &mut state.dice;
        let there = Duration::from_millis(dice.between(1, 400));
        let back = Duration::from_millis(dice.between(1, 400));
        let way = if dice.chance(faults.lost_before) {
            Way::LostBefore
        } else if dice.chance(faults.lost_after) {
            Way::LostAfter
        } else if dice.chance(faults.late) {
            return (Way::Late, Duration::from_secs(dice.between(11, OLDEST)), back);
        } else if dice.chance(faults.spoilt) {
            let kinds = [DoubtKind::BadSignature, DoubtKind::Unreadable, DoubtKind::WalletError, DoubtKind::Broken];
            Way::Spoilt(kinds[usize::try_from(dice.between(0, 3)).unwrap_or(0)])
        } else if dice.chance(faults.limited) {
            Way::Limited
        } else {
            Way::Good
        };
        (way, there, back)
    }

    /// The wallet acts on a refund call.
    fn act(&self, call: &RefundCall, late: bool) -> Answer {
        let world = &self.world;
        let (order_no, number) = (call.order.order_no.as_str(), call.request_no.as_str());
        let said = (call.amount.value(), call.total.value(), call.reason.as_str());
        let now = world.elapsed();
        let (answer, settles) = {
            let mut state = world.state();
            let faults = state.faults;
            match state.books.judge(order_no, number, said, now, late) {
                Verdict::Known if self.kind == WalletKind::Alipay => (Answer::FundChangeN, None),
                Verdict::Known => match state.books.find(order_no, number) {
                    Some(entry) => (Answer::Record(entry, 0), None),
                    None => (Answer::Refused("RESOURCE_NOT_EXISTS"), None),
                },
                Verdict::Refused(code) => (Answer::Refused(code), None),
                Verdict::NoOrder => (Answer::Refused("ORDER_NOT_EXIST"), None),
                Verdict::TooSoon => (Answer::TooSoon, None),
                // by a rule of its own that holds at this moment and may not at the next
                Verdict::Taken if state.dice.chance(faults.refused) => (Answer::Refused("USER_ACCOUNT_ABNORMAL"), None),
                Verdict::Taken if state.dice.chance(faults.held) => (Answer::BalanceLow, None),
                Verdict::Taken if self.kind == WalletKind::Alipay => {
                    if state.dice.chance(faults.nothing_moved) {
                        // the call reached the wallet twice on the way, and this answers the second; or nothing moved
                        let moved = state.dice.chance(500);
                        if moved {
                            state.books.enter(order_no, number, said, Status::Paid);
                        }
                        (Answer::FundChangeN, moved.then_some(Status::Paid))
                    } else {
                        state.books.enter(order_no, number, said, Status::Paid);
                        let entry = state.books.find(order_no, number);
                        let total = state.books.refunded(order_no);
                        (entry.map_or(Answer::Refused("?"), |entry| Answer::Record(entry, total)), Some(Status::Paid))
                    }
                }
                Verdict::Taken => {
                    state.books.enter(order_no, number, said, Status::Processing);
                    let end = if state.dice.chance(faults.closed) {
                        Status::Closed
                    } else if state.dice.chance(faults.abnormal) {
                        Status::Abnormal
                    } else {
                        Status::Paid
                    };
                    let entry = state.books.find(order_no, number);
                    (entry.map_or(Answer::Refused("?"), |entry| Answer::Record(entry, 0)), Some(end))
                }
            }
        };
        world.note(&format!("{} judges {number} on {order_no}: {answer:?}", self.kind));
        if let Some(end) = settles {
            tokio::spawn(news::settle(world.clone(), self.kind, order_no.to_owned(), number.to_owned(), end));
        }
        answer
    }

    /// Reads an answer, as an adapter does.
    fn read(&self, call: &RefundCall, answer: Answer) -> Outcome {
        let rejected = |code: &str, proof| {
            Outcome::Rejected(Rejection { code: code.to_owned(), detail: "the wallet refuses".into(), proof })
        };
        let wechat = self.kind == WalletKind::Wechat;
        match answer {
            Answer::Record(entry, total) => {
                let record = record(call, &entry, (!wechat).then_some(total));
                match record.status {
                    RecordStatus::Paid | RecordStatus::Closed => Outcome::Done(record),
                    RecordStatus::Taken | RecordStatus::Stuck => Outcome::Pending(record),
                }
            }
            Answer::FundChangeN if on(Mutant::FundChangeNDone) => {
                let amount = call.amount.value();
                let entry = Entry { amount, total: 0, reason: String::new(), status: Status::Paid, times_paid: 1 };
                Outcome::Done(record(call, &entry, None))
            }
            Answer::FundChangeN if on(Mutant::FundChangeNFailed) => rejected("fund_change N", Proof::Answer),
            Answer::FundChangeN => Outcome::Unknown(Doubt::new(DoubtKind::Inconclusive, "fund_change N")),
            Answer::Refused(code) if wechat => rejected(code, Proof::AnswerAndAbsence),
            Answer::Refused(code) => rejected(code, Proof::Answer),
            Answer::TooSoon if wechat => rejected("INVALID_REQUEST", Proof::AnswerAbsenceAndPace),
            Answer::TooSoon => Outcome::Unknown(Doubt::new(DoubtKind::WalletError, "ACQ.SYSTEM_ERROR")),
            Answer::BalanceLow => {
                Outcome::Held(Hold { reason: HoldReason::MerchantBalanceLow, detail: "NOT_ENOUGH".into() })
            }
        }
    }

    async fn look(&self, what: &str) -> Result<(), Doubt> {
        self.world.point(self.life, "before a question").await;
        let (way, there, back) = self.way();
        let doubt = |kind| Err(Doubt::new(kind, format!("{what}: {way:?}")));
        match way {
            Way::Good => sleep(there + back).await,
            Way::LostBefore | Way::LostAfter | Way::Late => {
                sleep(TIMEOUT).await;
                return doubt(DoubtKind::TimedOut);
            }
            Way::Spoilt(kind) => {
                sleep(there + back).await;
                return doubt(kind);
            }
            Way::Limited => return doubt(DoubtKind::RateLimited),
        }
        Ok(())
    }
}

fn record(call: &RefundCall, entry: &Entry, total: Option<i64>) -> RefundRecord {
    RefundRecord {
        request_no: call.request_no.clone(),
        wallet_refund_id: None,
        amount: Money::fen(entry.amount).unwrap_or(call.amount),
        status: match entry.status {
            Status::Processing => RecordStatus::Taken,
            Status::Paid => RecordStatus::Paid,
            Status::Closed => RecordStatus::Closed,
            Status::Abnormal => RecordStatus::Stuck,
        },
        settled_at: None,
        order_refunded: total.and_then(|total| Money::fen(total).ok()),
    }
}

const NOT_HERE: WalletError = WalletError::NotSupported("the simulated wallets refund and answer questions");

#[async_trait]
impl Wallet for SimWallet {
    fn kind(&self) -> WalletKind {
        self.kind
    }

    fn capabilities(&self) -> Capabilities {
        let wechat = self.kind == WalletKind::Wechat;
        let seconds = |wechats, alipays| Duration::from_secs(if wechat { wechats } else { alipays });
        Capabilities {
            max_refunds_per_order: wechat.then_some(50),
            pace: seconds(60, 3),
            waits_while_unknown: wechat,
            ask_after: seconds(2, 10),
            settles_within: seconds(75, 10),
            refund_window_days: 365,
            void: None,
            pays_to_account: false,
            names_payer: false,
            trade_bill: false,
            fund_bill: false,
        }
    }

    async fn refund(&self, call: &RefundCall) -> Outcome {
        let decided = tokio::time::Instant::now();
        self.world.point(self.life, "before a send").await;
        // past the desk's last look at its claim nothing can stop a process that sleeps: what it sends then, nobody can time
        let woke = decided.elapsed() > Duration::from_secs(1);
        let (way, there, back) = self.way();
        self.world.note(&format!("life {} sends {} of {} ({way:?})", self.life, call.request_no, call.order.order_no));
        let doubt = |kind| Outcome::Unknown(Doubt::new(kind, format!("{way:?}")));
        let acts = !matches!(way, Way::LostBefore | Way::Limited);
        let (tell, heard) = oneshot::channel();
        if acts {
            // on its way it is nobody's any more: whoever sent it may die, and it arrives all the same
            let there_it_is = Self { kind: self.kind, life: self.life, world: self.world.clone() };
            let call = call.clone();
            tokio::spawn(async move {
                sleep(there).await;
                let _ = tell.send(there_it_is.act(&call, woke || way == Way::Late));
            });
        }
        let outcome = match way {
            Way::Good => match heard.await {
                Ok(answer) => {
                    sleep(back).await;
                    self.read(call, answer)
                }
                Err(_) => doubt(DoubtKind::Broken),
            },
            Way::LostBefore | Way::LostAfter | Way::Late => {
                sleep(TIMEOUT).await;
                doubt(DoubtKind::TimedOut)
            }
            Way::Spoilt(kind) => {
                sleep(there + back).await;
                doubt(kind)
            }
            Way::Limited => {
                sleep(back).await;
                doubt(DoubtKind::RateLimited)
            }
        };
        self.world.point(self.life, "after a send").await;
        self.world.note(&format!("life {} hears of {}: {outcome:?}", self.life, call.request_no));
        outcome
    }

    async fn query_refund(&self, call: &RefundCall) -> Asked {
        if let Err(doubt) = self.look("query").await {
            return Asked::Unknown(doubt);
        }
        let (order_no, number) = (call.order.order_no.as_str(), call.request_no.as_str());
        let (found, total) = {
            let state = self.world.state();
            (state.books.find(order_no, number), state.books.refunded(order_no))
        };
        self.world.point(self.life, "after a question").await;
        let answer = match found {
            Some(entry) => Asked::Found(record(call, &entry, (self.kind == WalletKind::Alipay).then_some(total))),
            None => Asked::NotKnown,
        };
        self.world.note(&format!("life {} asked for {number}: {answer:?}", self.life));
        answer
    }

    async fn query_order(&self, number: &OrderNumber) -> Result<Option<WalletOrder>, WalletError> {
        self.look("order").await?;
        let OrderNumber::OrderNo(order_no) = number else { return Ok(None) };
        let state = self.world.state();
        let Some(trade) = state.books.trades.get(order_no.as_str()).filter(|trade| trade.wallet == self.kind) else {
            return Ok(None);
        };
        Ok(Some(WalletOrder {
            order_no: order_no.clone(),
            transaction_id: TransactionId::parse(&format!("t{order_no}")).ok(),
            state: if trade.refunds.is_empty() || self.kind == WalletKind::Alipay {
                WalletOrderState::Paid
            } else {
                WalletOrderState::RefundExists
            },
            amount: Money::fen(trade.amount).ok(),
            paid_at: self.world.now().checked_sub(SignedDuration::from_hours(1)).ok(),
            payer: None,
            trade_type: None,
        }))
    }

    async fn open_notification(&self, headers: &[(String, String)], body: &[u8]) -> Result<Notification, NotGenuine> {
        let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let signature = header("sim-signature").ok_or(NotGenuine::Unsigned)?;
        let at: u64 = header("sim-time").and_then(|text| text.parse().ok()).ok_or(NotGenuine::Unsigned)?;
        if signature != news::sign(body, at) && !on(Mutant::NotificationUnverified) {
            return Err(NotGenuine::BadSignature);
        }
        if self.world.elapsed() > Duration::from_secs(at + 300) {
            return Err(NotGenuine::Stale);
        }
        let unreadable = || NotGenuine::Unreadable("not a simulated notification".into());
        let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
        let [event, order_no, number, amount, status] = text.split('|').collect::<Vec<_>>()[..] else {
            return Err(unreadable());
        };
        let order_no = OrderNo::parse(order_no).map_err(|_| unreadable())?;
        let request_no = WalletRequestNo::parse(number).map_err(|_| unreadable())?;
        let event_id = EventId::parse(event).map_err(|_| unreadable())?;
        let amount = Money::fen(amount.parse().map_err(|_| unreadable())?).map_err(|_| unreadable())?;
        if self.kind == WalletKind::Alipay {
            // `amount` is the order's total there
            let hint = Notification::Hint {
                event_id,
                order_no,
                request_no: Some(request_no),
                total: None,
                refunded: Some(amount),
            };
            return Ok(hint);
        }
        let status = match status {
            "paid" => RecordStatus::Paid,
            "closed" => RecordStatus::Closed,
            "abnormal" => RecordStatus::Stuck,
            _ => return Err(unreadable()),
        };
        let record =
            RefundRecord { request_no, wallet_refund_id: None, amount, status, settled_at: None, order_refunded: None };
        Ok(Notification::Refund { event_id, order_no, transaction_id: None, total: None, record })
    }

    fn acknowledge(&self, received: bool) -> Acknowledgement {
        let status = if received { 200 } else { 500 };
        Acknowledgement { status, content_type: "text/plain", body: "" }
    }

    fn clock_skew(&self) -> Option<SignedDuration> {
        None
    }

    async fn void(&self, _: &VoidCall) -> Outcome {
        Outcome::Unknown(Doubt::new(DoubtKind::Unreachable, "not simulated"))
    }

    async fn query_void(&self, _: &VoidCall) -> Asked {
        Asked::Unknown(Doubt::new(DoubtKind::Unreachable, "not simulated"))
    }

    async fn pay_to_account(&self, _: &AbnormalCall) -> Outcome {
        Outcome::Unknown(Doubt::new(DoubtKind::Unreachable, "not simulated"))
    }

    async fn close(&self, _: &OrderRef) -> Result<(), WalletError> {
        Err(NOT_HERE)
    }

    async fn payer_of(&self, _: &PaymentCode) -> Result<PayerOf, WalletError> {
        Err(NOT_HERE)
    }

    async fn bill(&self, _: BillKind, _: BillDay) -> Result<Bill, WalletError> {
        Err(NOT_HERE)
    }
}

/// The moment as a wallet stamps it.
pub(crate) fn stamp(world: &World) -> u64 {
    world.elapsed().as_secs()
}

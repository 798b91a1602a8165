//! What a wallet does when nothing is broken.

use std::time::Instant;

use super::{Operation, Paid, Report, Stage, asked_word, expect, refund_of, total, void_of, word, yuan};
use crate::{
    Asked, Bill, BillDay, BillKind, DoubtKind, Notification, OrderNo, OrderNumber, OrderRef, Outcome, PayerOf,
    RecordStatus, RefundCall, TradeEntry, WalletError, WalletOrderState, WalletRequestNo,
};

/// Asks until the wallet's record is final, as long as the stage has patience.
pub(super) async fn settled(stage: &dyn Stage, call: &RefundCall) -> Result<RecordStatus, String> {
    let (wallet, began) = (stage.wallet(), Instant::now());
    loop {
        let asked = wallet.query_refund(call).await;
        match &asked {
            Asked::Found(record) if matches!(record.status, RecordStatus::Paid | RecordStatus::Closed) => {
                return Ok(record.status);
            }
            _ if began.elapsed() > stage.patience() => return Err(format!("never settled: {}", asked_word(&asked))),
            _ => stage.pause().await,
        }
    }
}

async fn ends_paid_once(stage: &dyn Stage, paid: &Paid, call: &RefundCall) -> Result<(), String> {
    let status = settled(stage, call).await?;
    expect(status == RecordStatus::Paid, || format!("ended as {status:?}"))?;
    let times = stage.times_paid(&paid.order, &call.request_no).await;
    expect(times == 1, || format!("paid {times} times"))
}

pub(super) async fn refunds(stage: &dyn Stage, report: &mut Report) {
    report.note("a whole refund is paid once", whole(stage).await);
    report.note("two parts and no more than the rest", parts(stage).await);
    report.note("the same number again is the same refund", repeated(stage).await);
    report.note("the same number with another amount is no new refund", altered(stage).await);
    report.note("an order that doesn't exist is refused", missing(stage).await);
    report.note("a number that was never sent is not known", never_sent(stage).await);
}

async fn whole(stage: &dyn Stage) -> Result<(), String> {
    let paid = stage.pay(total()).await;
    let call = refund_of(stage, &paid, total());
    let outcome = stage.wallet().refund(&call).await;
    let (Outcome::Done(record) | Outcome::Pending(record)) = &outcome else { return Err(word(&outcome)) };
    expect(record.request_no == call.request_no && record.amount == call.amount, || format!("{record:?}"))?;
    ends_paid_once(stage, &paid, &call).await?;
    let back = stage.paid_back(&paid.order).await;
    expect(back == total(), || format!("{back} came back"))
}

async fn parts(stage: &dyn Stage) -> Result<(), String> {
    let paid = stage.pay(total()).await;
    for amount in [yuan(20), yuan(30)] {
        let call = refund_of(stage, &paid, amount);
        let outcome = stage.wallet().refund(&call).await;
        expect(matches!(outcome, Outcome::Done(_) | Outcome::Pending(_)), || word(&outcome))?;
        ends_paid_once(stage, &paid, &call).await?;
        stage.pass_pace().await;
    }
    let outcome = stage.wallet().refund(&refund_of(stage, &paid, yuan(1))).await;
    expect(matches!(outcome, Outcome::Rejected(_)), || format!("beyond the rest: {}", word(&outcome)))?;
    let back = stage.paid_back(&paid.order).await;
    expect(back == total(), || format!("{back} came back"))
}

async fn repeated(stage: &dyn Stage) -> Result<(), String> {
    let paid = stage.pay(total()).await;
    let call = refund_of(stage, &paid, yuan(20));
    for round in 1..=3 {
        let outcome = stage.wallet().refund(&call).await;
        // a wallet that can't tell a repeat from a first one may only be in doubt
        let fits = matches!(outcome, Outcome::Done(_) | Outcome::Pending(_))
            || (round > 1 && matches!(&outcome, Outcome::Unknown(doubt) if doubt.kind == DoubtKind::Inconclusive));
        expect(fits, || format!("round {round}: {}", word(&outcome)))?;
    }
    ends_paid_once(stage, &paid, &call).await?;
    let back = stage.paid_back(&paid.order).await;
    expect(back == yuan(20), || format!("{back} came back"))
}

async fn altered(stage: &dyn Stage) -> Result<(), String> {
    let paid = stage.pay(total()).await;
    let call = refund_of(stage, &paid, yuan(20));
    let first = stage.wallet().refund(&call).await;
    expect(matches!(first, Outcome::Done(_) | Outcome::Pending(_)), || word(&first))?;
    let other = RefundCall { amount: yuan(10), ..call.clone() };
    let outcome = stage.wallet().refund(&other).await;
    expect(!matches!(outcome, Outcome::Done(_) | Outcome::Pending(_)), || word(&outcome))?;
    let asked = stage.wallet().query_refund(&other).await;
    expect(matches!(asked, Asked::Unknown(_)), || format!("asked for the other amount: {}", asked_word(&asked)))?;
    ends_paid_once(stage, &paid, &call).await?;
    let back = stage.paid_back(&paid.order).await;
    expect(back == yuan(20), || format!("{back} came back"))
}

fn unheard_of() -> Result<OrderRef, String> {
    let order_no = OrderNo::parse("CONFORMANCE-NOT-THERE").map_err(|error| error.to_string())?;
    Ok(OrderRef { order_no, transaction_id: None })
}

async fn missing(stage: &dyn Stage) -> Result<(), String> {
    let paid = Paid { order: unheard_of()?, amount: total(), code: None };
    let outcome = stage.wallet().refund(&refund_of(stage, &paid, yuan(1))).await;
    expect(matches!(outcome, Outcome::Rejected(_)), || word(&outcome))
}

async fn never_sent(stage: &dyn Stage) -> Result<(), String> {
    let paid = stage.pay(total()).await;
    let asked = stage.wallet().query_refund(&refund_of(stage, &paid, yuan(1))).await;
    expect(asked == Asked::NotKnown, || asked_word(&asked))
}

pub(super) async fn voids(stage: &dyn Stage, report: &mut Report) {
    let Some(rules) = stage.wallet().capabilities().void else {
        let outcome = stage.wallet().void(&void_of(&stage.pay(total()).await)).await;
        let refused = matches!(outcome, Outcome::Rejected(_));
        report.note("a void that the wallet hasn't is refused", expect(refused, || word(&outcome)));
        return report.skip("voids");
    };
    report.note("a void takes the whole payment back, once", void(stage).await);
    if rules.by_order {
        report.note("a void of an order that has a refund is refused or in doubt", void_after_refund(stage).await);
    }
    report.note("an unpaid order is closed, a paid one not", close(stage).await);
}

async fn void(stage: &dyn Stage) -> Result<(), String> {
    let paid = stage.pay(total()).await;
    stage.pass_void_delay().await;
    let call = void_of(&paid);
    let wallet = stage.wallet();
    for _ in 0..2 {
        let outcome = wallet.void(&call).await;
        let again = matches!(&outcome, Outcome::Unknown(doubt) if doubt.kind == DoubtKind::Inconclusive);
        expect(matches!(outcome, Outcome::Done(_) | Outcome::Pending(_)) || again, || word(&outcome))?;
    }
    let asked = wallet.query_void(&call).await;
    let Asked::Found(record) = &asked else { return Err(asked_word(&asked)) };
    expect(record.status == RecordStatus::Paid && record.amount == total(), || format!("{record:?}"))?;
    let back = stage.paid_back(&paid.order).await;
    expect(back == total(), || format!("{back} came back"))
}

async fn void_after_refund(stage: &dyn Stage) -> Result<(), String> {
    let paid = stage.pay(total()).await;
    stage.pass_void_delay().await;
    let refund = refund_of(stage, &paid, yuan(20));
    let outcome = stage.wallet().refund(&refund).await;
    expect(matches!(outcome, Outcome::Done(_) | Outcome::Pending(_)), || word(&outcome))?;
    let outcome = stage.wallet().void(&void_of(&paid)).await;
    expect(!matches!(outcome, Outcome::Done(_) | Outcome::Pending(_)), || word(&outcome))?;
    let asked = stage.wallet().query_void(&void_of(&paid)).await;
    expect(!matches!(asked, Asked::Found(_)), || asked_word(&asked))?;
    let back = stage.paid_back(&paid.order).await;
    expect(back == yuan(20), || format!("{back} came back"))
}

async fn close(stage: &dyn Stage) -> Result<(), String> {
    let wallet = stage.wallet();
    let order = stage.leave_unpaid(total()).await;
    wallet.close(&order).await.map_err(|error| error.to_string())?;
    let paid = stage.pay(total()).await;
    let closed = wallet.close(&paid.order).await;
    expect(matches!(closed, Err(WalletError::Refused { .. })), || format!("a paid order: {closed:?}"))
}

pub(super) async fn look_ups(stage: &dyn Stage, report: &mut Report) {
    report.note("an order is found by both numbers", orders(stage).await);
    let capabilities = stage.wallet().capabilities();
    if capabilities.names_payer && stage.plays(Operation::Payer) {
        report.note("a payment code leads to the one who paid", payer(stage).await);
    } else {
        report.skip("payers");
    }
    if capabilities.trade_bill && stage.plays(Operation::Bill) {
        report.note("the day's bill has the refund", bill(stage).await);
    } else {
        report.skip("bills of trades");
    }
    if capabilities.fund_bill && stage.plays(Operation::Bill) {
        let bill = stage.wallet().bill(BillKind::Funds, BillDay::of(jiff::Timestamp::now())).await;
        let read = matches!(&bill, Ok(Bill::Funds(bill)) if bill.unread.is_empty());
        report.note("the account's bill is read", expect(read, || format!("{bill:?}")));
    } else if !capabilities.fund_bill {
        let bill = stage.wallet().bill(BillKind::Funds, BillDay::of(jiff::Timestamp::UNIX_EPOCH)).await;
        let refused = matches!(bill, Err(WalletError::NotSupported(_)));
        report.note("a bill that the wallet hasn't is refused", expect(refused, || format!("{bill:?}")));
    }
}

async fn orders(stage: &dyn Stage) -> Result<(), String> {
    let (paid, wallet) = (stage.pay(total()).await, stage.wallet());
    let number = OrderNumber::OrderNo(paid.order.order_no.clone());
    let found = wallet.query_order(&number).await.map_err(|error| error.to_string())?;
    let found = found.ok_or("not found by its own number")?;
    let fits = found.order_no == paid.order.order_no
        && found.state == WalletOrderState::Paid
        && found.amount == Some(total())
        && found.paid_at.is_some();
    expect(fits, || format!("{found:?}"))?;
    let id = found.transaction_id.clone().ok_or("no number of the wallet's own")?;
    let by_id = wallet.query_order(&OrderNumber::TransactionId(id)).await.map_err(|error| error.to_string())?;
    expect(by_id.as_ref() == Some(&found), || format!("{by_id:?}"))?;
    let none = wallet.query_order(&OrderNumber::OrderNo(unheard_of()?.order_no)).await;
    expect(none == Ok(None), || format!("an order that isn't there: {none:?}"))
}

async fn payer(stage: &dyn Stage) -> Result<(), String> {
    let (paid, wallet) = (stage.pay(total()).await, stage.wallet());
    let code = paid.code.as_ref().ok_or("the stage shows no payment code")?;
    let order = wallet.query_order(&OrderNumber::OrderNo(paid.order.order_no.clone())).await;
    let of_order = order.map_err(|error| error.to_string())?.and_then(|order| order.payer);
    let of_code = wallet.payer_of(code).await.map_err(|error| error.to_string())?;
    let PayerOf::Payer(of_code) = of_code else { return Err("a fresh code is nobody's".to_owned()) };
    let of_order = of_order.ok_or("the order names no payer")?;
    expect(of_order == of_code, || format!("scopes {} and {}", of_order.scope(), of_code.scope()))
}

async fn bill(stage: &dyn Stage) -> Result<(), String> {
    let paid = stage.pay(total()).await;
    let call = refund_of(stage, &paid, yuan(20));
    let outcome = stage.wallet().refund(&call).await;
    expect(matches!(outcome, Outcome::Done(_) | Outcome::Pending(_)), || word(&outcome))?;
    settled(stage, &call).await?;
    let today = BillDay::of(jiff::Timestamp::now());
    let bill = stage.wallet().bill(BillKind::Trades, today).await.map_err(|error| error.to_string())?;
    let Bill::Trades(bill) = bill else { return Err("another bill".to_owned()) };
    expect(bill.unread.is_empty(), || format!("{:?}", bill.unread))?;
    let lines = bill.lines.iter().filter(|line| line.order_no == paid.order.order_no);
    let (mut payments, mut refunds) = (0, 0);
    for line in lines {
        match &line.entry {
            TradeEntry::Payment { amount } if *amount == total() => payments += 1,
            TradeEntry::Refund { request_no, amount, .. } if *request_no == call.request_no && *amount == yuan(20) => {
                refunds += 1;
            }
            other => return Err(format!("{other:?}")),
        }
    }
    expect((payments, refunds) == (1, 1), || format!("{payments} payments, {refunds} refunds of this order"))
}

pub(super) async fn notifications(stage: &dyn Stage, report: &mut Report) {
    if stage.notify_url().is_none() {
        return report.skip("notifications");
    }
    report.note("genuine news is opened, altered news refused", news(stage).await);
}

async fn news(stage: &dyn Stage) -> Result<(), String> {
    let paid = stage.pay(total()).await;
    let call = refund_of(stage, &paid, yuan(20));
    let outcome = stage.wallet().refund(&call).await;
    expect(matches!(outcome, Outcome::Done(_) | Outcome::Pending(_)), || word(&outcome))?;
    settled(stage, &call).await?;
    let began = Instant::now();
    loop {
        for (headers, body) in stage.heard().await {
            let Ok(opened) = stage.wallet().open_notification(&headers, &body).await else { continue };
            if number_of(&opened) != Some(&call.request_no) {
                continue;
            }
            for at in [body.len() / 3, body.len() / 2] {
                let mut altered = body.clone();
                altered[at] = if altered[at] == b'1' { b'2' } else { b'1' };
                let opened = stage.wallet().open_notification(&headers, &altered).await;
                expect(opened.is_err(), || format!("altered at {at}: {opened:?}"))?;
            }
            let stranger = stage.wallet().open_notification(&[], b"{}").await;
            return expect(stranger.is_err(), || "news without a signature was opened".to_owned());
        }
        if began.elapsed() > stage.patience() {
            return Err("no news of the refund was heard".to_owned());
        }
        stage.pause().await;
    }
}

const fn number_of(news: &Notification) -> Option<&WalletRequestNo> {
    match news {
        Notification::Refund { record, .. } => Some(&record.request_no),
        Notification::Hint { request_no, .. } => request_no.as_ref(),
        Notification::Bounced { request_no, .. } => Some(request_no),
        Notification::Other { .. } => None,
    }
}

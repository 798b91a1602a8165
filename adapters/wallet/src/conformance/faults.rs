//! Faults → outcomes: the table.

use std::time::Instant;

use super::{
    Fault, Operation, Paid, Report, Stage, asked_word, expect, needs_more, plain::settled, refund_of, total, void_of,
    word, yuan,
};
use crate::{
    AbnormalCall, Asked, BillDay, BillKind, HoldReason, OrderNumber, Outcome, PayerOf, Payout, Private, RecordStatus,
    RefundCall, RefundRecord, WalletError, WalletRefundId,
};

/// What the answer to a send may be, fault by fault.
fn fits_send(fault: Fault, outcome: &Outcome) -> bool {
    match fault {
        // no proof either way, whatever happened (contract §4 rule 4)
        Fault::NoEffectTimeout
        | Fault::EffectThenTimeout
        | Fault::EffectThenReset
        | Fault::Http500
        | Fault::SystemError
        | Fault::RateLimited
        | Fault::BadSignature
        | Fault::GarbageBody => matches!(outcome, Outcome::Unknown(_)),
        // at most a refusal that the wallet must confirm by not knowing the number (rule 5)
        Fault::UnsignedError => matches!(outcome, Outcome::Unknown(_)) || needs_more(outcome),
        Fault::Slow => matches!(outcome, Outcome::Done(_) | Outcome::Pending(_)),
        Fault::NotEnoughBalance => {
            matches!(outcome, Outcome::Held(hold) if hold.reason == HoldReason::MerchantBalanceLow)
        }
        Fault::Closed | Fault::Abnormal => matches!(outcome, Outcome::Done(_) | Outcome::Pending(_)),
    }
}

pub(super) async fn refunds(stage: &dyn Stage, report: &mut Report) {
    let only_refunds = [Fault::NotEnoughBalance, Fault::Closed, Fault::Abnormal];
    for fault in Fault::OF_ANY_CALL.into_iter().chain(only_refunds) {
        let case = format!("refund × {}", fault.as_str());
        if stage.break_next(Operation::Refund, fault).await {
            report.note(case, refund(stage, fault).await);
        } else {
            report.skip(case);
        }
    }
}

async fn refund(stage: &dyn Stage, fault: Fault) -> Result<(), String> {
    let (paid, wallet) = (stage.pay(total()).await, stage.wallet());
    let call = refund_of(stage, &paid, yuan(20));
    let outcome = wallet.refund(&call).await;
    expect(fits_send(fault, &outcome), || word(&outcome))?;
    match fault {
        Fault::Closed => {
            let status = settled(stage, &call).await?;
            expect(status == RecordStatus::Closed, || format!("ended as {status:?}"))?;
            let times = stage.times_paid(&paid.order, &call.request_no).await;
            return expect(times == 0, || format!("closed, and paid {times} times"));
        }
        Fault::Abnormal => return stuck(stage, &call).await.map(|_| ()),
        _ => {}
    }
    // the books, not the answer, say what happened; asking must say the same
    let asked = wallet.query_refund(&call).await;
    let known = matches!(asked, Asked::Found(_));
    expect(known == fault.takes_effect() && !matches!(asked, Asked::Unknown(_)), || asked_word(&asked))?;
    // sending again under the same number ends with one payment, whether or not the first one counted
    let again = wallet.refund(&call).await;
    expect(!matches!(again, Outcome::Rejected(_)) || fault.takes_effect(), || format!("again: {}", word(&again)))?;
    let status = settled(stage, &call).await?;
    expect(status == RecordStatus::Paid, || format!("ended as {status:?}"))?;
    let times = stage.times_paid(&paid.order, &call.request_no).await;
    let back = stage.paid_back(&paid.order).await;
    expect(times == 1 && back == yuan(20), || format!("paid {times} times, {back} in all"))
}

/// Waits until the wallet says that it can't pay this out.
async fn stuck(stage: &dyn Stage, call: &RefundCall) -> Result<RefundRecord, String> {
    let began = Instant::now();
    loop {
        match stage.wallet().query_refund(call).await {
            Asked::Found(record) if record.status == RecordStatus::Stuck => return Ok(record),
            asked if began.elapsed() > stage.patience() => return Err(asked_word(&asked)),
            _ => stage.pause().await,
        }
    }
}

/// What can't be paid out is sent to an account, once, whatever becomes of the call.
pub(super) async fn payouts(stage: &dyn Stage, report: &mut Report) {
    if !stage.wallet().capabilities().pays_to_account {
        let outcome = match abnormal(stage, &stage.pay(total()).await).await {
            Ok(call) => stage.wallet().pay_to_account(&call).await,
            Err(why) => return report.note("a payout that the wallet hasn't", Err(why)),
        };
        let refused = matches!(outcome, Outcome::Rejected(_));
        return report.note("a payout that the wallet hasn't is refused", expect(refused, || word(&outcome)));
    }
    if !stage.plays(Operation::AbnormalRefund) {
        return report.skip("payouts");
    }
    report.note("what is stuck is paid to the customer's card, once", payout(stage, None).await);
    for fault in Fault::OF_ANY_CALL {
        report.note(format!("payout × {}", fault.as_str()), payout(stage, Some(fault)).await);
    }
}

/// A payout of a refund, stuck or not.
async fn abnormal(stage: &dyn Stage, paid: &Paid) -> Result<AbnormalCall, String> {
    let wallet_refund_id = WalletRefundId::parse("1").map_err(|error| error.to_string())?;
    Ok(AbnormalCall { refund: refund_of(stage, paid, yuan(20)), wallet_refund_id, to: Payout::Merchant })
}

async fn payout(stage: &dyn Stage, fault: Option<Fault>) -> Result<(), String> {
    let (paid, wallet) = (stage.pay(total()).await, stage.wallet());
    let mut call = abnormal(stage, &paid).await?;
    expect(stage.break_next(Operation::Refund, Fault::Abnormal).await, || "nothing gets stuck here".to_owned())?;
    let outcome = wallet.refund(&call.refund).await;
    expect(matches!(outcome, Outcome::Done(_) | Outcome::Pending(_)), || word(&outcome))?;
    let record = stuck(stage, &call.refund).await?;
    call.wallet_refund_id = record.wallet_refund_id.ok_or("a stuck refund without the wallet's number")?;
    call.to = Payout::Customer {
        bank_type: "CMB_DEBIT".to_owned(),
        bank_account: Private::new("6225880137000000".to_owned()),
        real_name: Private::new("张三".to_owned()),
    };
    if let Some(fault) = fault {
        if !stage.break_next(Operation::AbnormalRefund, fault).await {
            return Ok(());
        }
        let outcome = wallet.pay_to_account(&call).await;
        expect(fits_send(fault, &outcome), || word(&outcome))?;
    }
    // whether or not the first call counted, the record says what is left to do
    let asked = wallet.query_refund(&call.refund).await;
    if matches!(&asked, Asked::Found(record) if record.status == RecordStatus::Stuck) {
        let outcome = wallet.pay_to_account(&call).await;
        expect(matches!(outcome, Outcome::Done(_) | Outcome::Pending(_)), || word(&outcome))?;
    }
    let status = settled(stage, &call.refund).await?;
    let times = stage.times_paid(&paid.order, &call.refund.request_no).await;
    expect(status == RecordStatus::Paid && times == 1, || format!("{status:?}, paid {times} times"))
}

pub(super) async fn queries(stage: &dyn Stage, report: &mut Report) {
    for fault in Fault::OF_ANY_CALL {
        let case = format!("query_refund × {}", fault.as_str());
        let paid = stage.pay(total()).await;
        let call = refund_of(stage, &paid, yuan(20));
        let sent = stage.wallet().refund(&call).await;
        if !stage.break_next(Operation::QueryRefund, fault).await {
            report.skip(case);
            continue;
        }
        let asked = stage.wallet().query_refund(&call).await;
        // a refund that is there is never "not known", and no broken answer is a record
        let fits = match fault {
            Fault::Slow => matches!(asked, Asked::Found(_)),
            _ => matches!(asked, Asked::Unknown(_)),
        };
        report.note(case, expect(fits, || format!("sent: {}; asked: {}", word(&sent), asked_word(&asked))));
    }
}

pub(super) async fn voids(stage: &dyn Stage, report: &mut Report) {
    if stage.wallet().capabilities().void.is_none() {
        return report.skip("voids × faults");
    }
    // a void that is a refund is broken where refunds are
    let by_order = stage.wallet().capabilities().void.is_some_and(|rules| rules.by_order);
    let operation = if by_order { Operation::Void } else { Operation::Refund };
    for fault in Fault::OF_ANY_CALL {
        let case = format!("void × {}", fault.as_str());
        if stage.break_next(operation, fault).await {
            report.note(case, void(stage, fault).await);
        } else {
            report.skip(case);
        }
    }
}

async fn void(stage: &dyn Stage, fault: Fault) -> Result<(), String> {
    let (paid, wallet) = (stage.pay(total()).await, stage.wallet());
    stage.pass_void_delay().await;
    let call = void_of(&paid);
    let outcome = wallet.void(&call).await;
    expect(fits_send(fault, &outcome), || word(&outcome))?;
    let asked = wallet.query_void(&call).await;
    let known = matches!(asked, Asked::Found(_));
    expect(known == fault.takes_effect(), || asked_word(&asked))?;
    if !known {
        let again = wallet.void(&call).await;
        expect(matches!(again, Outcome::Done(_) | Outcome::Pending(_)), || format!("again: {}", word(&again)))?;
    }
    let asked = wallet.query_void(&call).await;
    let paid_back = matches!(&asked, Asked::Found(record) if record.status == RecordStatus::Paid);
    expect(paid_back, || asked_word(&asked))?;
    let back = stage.paid_back(&paid.order).await;
    expect(back == total(), || format!("{back} came back"))
}

pub(super) async fn look_ups(stage: &dyn Stage, report: &mut Report) {
    for fault in Fault::OF_ANY_CALL {
        order(stage, fault, report).await;
        close(stage, fault, report).await;
        if stage.wallet().capabilities().names_payer && stage.plays(Operation::Payer) {
            payer(stage, fault, report).await;
        }
        if stage.wallet().capabilities().trade_bill && stage.plays(Operation::Bill) {
            bill(stage, fault, report).await;
        }
    }
}

/// A broken look-up is an error, and an order is never taken for missing by one.
async fn order(stage: &dyn Stage, fault: Fault, report: &mut Report) {
    let case = format!("query_order × {}", fault.as_str());
    let paid = stage.pay(total()).await;
    if !stage.break_next(Operation::QueryOrder, fault).await {
        return report.skip(case);
    }
    let found = stage.wallet().query_order(&OrderNumber::OrderNo(paid.order.order_no)).await;
    let fits = if fault == Fault::Slow { matches!(found, Ok(Some(_))) } else { found.is_err() };
    report.note(case, expect(fits, || format!("{found:?}")));
}

async fn close(stage: &dyn Stage, fault: Fault, report: &mut Report) {
    let case = format!("close × {}", fault.as_str());
    let order = stage.leave_unpaid(total()).await;
    if !stage.break_next(Operation::Close, fault).await {
        return report.skip(case);
    }
    let closed = stage.wallet().close(&order).await;
    report.note(case, expect(closed.is_ok() == (fault == Fault::Slow), || format!("{closed:?}")));
}

async fn payer(stage: &dyn Stage, fault: Fault, report: &mut Report) {
    let case = format!("payer × {}", fault.as_str());
    let paid = stage.pay(total()).await;
    let Some(code) = &paid.code else { return report.skip(case) };
    if !stage.break_next(Operation::Payer, fault).await {
        return report.skip(case);
    }
    let named = stage.wallet().payer_of(code).await;
    let fits = match fault {
        Fault::Slow => matches!(named, Ok(PayerOf::Payer(_))),
        _ => named.is_err(),
    };
    report.note(case, expect(fits, || format!("{named:?}")));
}

async fn bill(stage: &dyn Stage, fault: Fault, report: &mut Report) {
    let case = format!("bill × {}", fault.as_str());
    if !stage.break_next(Operation::Bill, fault).await {
        return report.skip(case);
    }
    let bill = stage.wallet().bill(BillKind::Trades, BillDay::of(jiff::Timestamp::now())).await;
    let fits = match fault {
        Fault::Slow => bill.is_ok(),
        _ => matches!(bill, Err(WalletError::Doubt(_) | WalletError::Refused { .. })),
    };
    report.note(case, expect(fits, || format!("{bill:?}")));
}

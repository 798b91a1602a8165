//! Faults → outcomes: the table.

use super::{
    Fault, Operation, Report, Stage, asked_word, expect, needs_more, plain::settled, refund_of, total, void_of, word,
    yuan,
};
use crate::{Asked, BillDay, BillKind, HoldReason, OrderNumber, Outcome, PayerOf, RecordStatus, WalletError};

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
        Fault::Abnormal => return stuck(stage, &call).await,
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

async fn stuck(stage: &dyn Stage, call: &crate::RefundCall) -> Result<(), String> {
    let began = std::time::Instant::now();
    loop {
        match stage.wallet().query_refund(call).await {
            Asked::Found(record) if record.status == RecordStatus::Stuck => return Ok(()),
            asked if began.elapsed() > stage.patience() => return Err(asked_word(&asked)),
            _ => stage.pause().await,
        }
    }
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

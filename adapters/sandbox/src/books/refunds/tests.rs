use super::*;
use crate::{
    books::{NewOrder, OrderState, VoidRefusal},
    scale::Scale,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn books(scale: u32) -> Books {
    Books::new(Scale::new(scale).unwrap(), Some(1))
}

fn order(books: &mut Books, wallet: Wallet, amount: i64) -> OrderNumber {
    let new = NewOrder {
        wallet,
        out_trade_no: "T-1".into(),
        amount,
        payer: None,
        paid_at: Some(at(0)),
        state: OrderState::Paid,
        trade_type: "MICROPAY".into(),
        notify_url: Some("http://127.0.0.1/n".into()),
    };
    let (order, _) = books.add_order(new, at(0)).unwrap();
    OrderNumber::Merchant(order.out_trade_no)
}

fn ask(wallet: Wallet, number: &str, amount: i64) -> RefundAsk {
    RefundAsk {
        wallet,
        order: OrderNumber::Merchant("T-1".into()),
        number: number.into(),
        amount,
        total: None,
        reason: None,
        notify_url: None,
        funds_account: None,
        ending: Ending::Success,
    }
}

fn kinds(books: &mut Books, now: Timestamp) -> Vec<ViolationKind> {
    books.ledger(now).violations.iter().map(|violation| violation.kind).collect()
}

#[test]
fn a_wechat_refund_is_processing_for_a_minute_and_paid_once_however_often_it_is_asked_for() {
    let mut books = books(1);
    order(&mut books, Wallet::Wechat, 1_000);
    let first = books.refund(ask(Wallet::Wechat, "R1", 400), at(100)).unwrap();
    assert!(first.first);
    assert_eq!(first.refund.status, RefundStatus::Processing);
    assert_eq!(books.next_due(), Some(at(160)));
    let repeat = books.refund(ask(Wallet::Wechat, "R1", 400), at(101)).unwrap();
    assert!(!repeat.first);
    assert_eq!(repeat.refund.wallet_refund_id, first.refund.wallet_refund_id);
    assert_eq!(books.wechat_refund("R1", at(159)).unwrap().1.status, RefundStatus::Processing);
    assert!(books.take_news().is_empty());
    let (order, refund) = books.wechat_refund("R1", at(160)).unwrap();
    assert_eq!((refund.status, refund.times_paid, order.refunded()), (RefundStatus::Success, 1, 400));
    assert_eq!(books.refund(ask(Wallet::Wechat, "R1", 400), at(200)).unwrap().refund.status, RefundStatus::Success);
    let news = books.take_news();
    assert_eq!(news.len(), 1);
    assert_eq!((news[0].refunded, news[0].url.as_str()), (400, "http://127.0.0.1/n"));
    assert_eq!(kinds(&mut books, at(300)), []);
}

#[test]
fn an_alipay_refund_is_done_at_once() {
    let mut books = books(1);
    order(&mut books, Wallet::Alipay, 1_000);
    let done = books.refund(ask(Wallet::Alipay, "R1", 1_000), at(100)).unwrap();
    assert_eq!((done.refund.status, done.refund.times_paid, done.order.rest()), (RefundStatus::Success, 1, 0));
    assert_eq!(books.take_news().len(), 1);
}

#[test]
fn a_known_number_with_another_amount_total_or_order_is_refused_and_is_a_violation() {
    for wallet in Wallet::ALL {
        let mut books = books(1);
        order(&mut books, wallet, 1_000);
        books.refund(ask(wallet, "R1", 400), at(100)).unwrap();
        assert_eq!(books.refund(ask(wallet, "R1", 401), at(101)).unwrap_err(), RefundRefusal::NumberReused);
        assert_eq!(kinds(&mut books, at(102)), [ViolationKind::NumberReused]);
    }
    let mut books = books(1);
    order(&mut books, Wallet::Wechat, 1_000);
    books.refund(ask(Wallet::Wechat, "R1", 400), at(100)).unwrap();
    let other_total = RefundAsk { total: Some(999), ..ask(Wallet::Wechat, "R1", 400) };
    assert_eq!(books.refund(other_total, at(101)).unwrap_err(), RefundRefusal::NumberReused);
    let other_order = RefundAsk { order: OrderNumber::Merchant("T-2".into()), ..ask(Wallet::Wechat, "R1", 400) };
    assert_eq!(books.refund(other_order, at(101)).unwrap_err(), RefundRefusal::NumberReused);
}

#[test]
fn what_only_the_rest_stops_is_a_violation_and_what_the_pace_stops_is_not() {
    let mut books = books(60);
    order(&mut books, Wallet::Wechat, 1_000);
    books.refund(ask(Wallet::Wechat, "R1", 600), at(100)).unwrap();
    assert_eq!(books.refund(ask(Wallet::Wechat, "R2", 401), at(100)).unwrap_err(), RefundRefusal::OverTheRest);
    assert_eq!(books.refund(ask(Wallet::Wechat, "R3", 400), at(100)).unwrap_err(), RefundRefusal::TooSoon);
    assert_eq!(kinds(&mut books, at(100)), [ViolationKind::StoppedByTheRest]);
    assert!(books.refund(ask(Wallet::Wechat, "R3", 400), at(101)).is_ok());
    assert_eq!(books.ledger(at(200)).refunded_fen, 1_000);
}

#[test]
fn a_fully_refunded_alipay_trade_refuses_as_closed_and_the_call_is_a_violation() {
    let mut books = books(1);
    order(&mut books, Wallet::Alipay, 1_000);
    books.refund(ask(Wallet::Alipay, "R1", 1_000), at(100)).unwrap();
    assert_eq!(books.refund(ask(Wallet::Alipay, "R2", 1), at(200)).unwrap_err(), RefundRefusal::FullyRefunded);
    assert_eq!(kinds(&mut books, at(200)), [ViolationKind::StoppedByTheRest]);
}

#[test]
fn alipays_pace_is_three_seconds() {
    let mut books = books(1);
    order(&mut books, Wallet::Alipay, 1_000);
    books.refund(ask(Wallet::Alipay, "R1", 100), at(100)).unwrap();
    assert_eq!(books.refund(ask(Wallet::Alipay, "R2", 100), at(102)).unwrap_err(), RefundRefusal::TooSoon);
    assert!(books.refund(ask(Wallet::Alipay, "R1", 100), at(102)).is_ok(), "a repeat has no pace");
    assert!(books.refund(ask(Wallet::Alipay, "R2", 100), at(103)).is_ok());
}

#[test]
fn wechat_takes_fifty_refunds_an_order() {
    let mut books = books(60);
    order(&mut books, Wallet::Wechat, 1_000);
    for n in 0..50 {
        books.refund(ask(Wallet::Wechat, &format!("R{n}"), 1), at(100 + n)).unwrap();
    }
    assert_eq!(books.refund(ask(Wallet::Wechat, "R50", 1), at(200)).unwrap_err(), RefundRefusal::TooMany);
}

#[test]
fn a_refund_needs_a_paid_order_not_older_than_a_year() {
    const YEAR: i64 = 365 * 24 * 3600;
    let mut books = books(60);
    order(&mut books, Wallet::Wechat, 1_000);
    assert_eq!(books.refund(ask(Wallet::Wechat, "R1", 1), at(YEAR + 1)).unwrap_err(), RefundRefusal::WindowOver);
    assert!(books.refund(ask(Wallet::Wechat, "R1", 1), at(YEAR)).is_ok());
    for (state, refusal) in [
        (OrderState::Unpaid, RefundRefusal::NotPaid),
        (OrderState::Closed, RefundRefusal::Closed),
        (OrderState::Voided, RefundRefusal::Voided),
        (OrderState::Refunded, RefundRefusal::OverTheRest),
    ] {
        let new = NewOrder {
            wallet: Wallet::Wechat,
            out_trade_no: format!("T-{state:?}"),
            amount: 100,
            payer: None,
            paid_at: None,
            state,
            trade_type: "MICROPAY".into(),
            notify_url: None,
        };
        let (order, _) = books.add_order(new, at(0)).unwrap();
        assert_eq!(order.state(), state);
        let ask = RefundAsk { order: OrderNumber::Wallet(order.transaction_id), ..ask(Wallet::Wechat, "R9", 100) };
        assert_eq!(books.refund(ask, at(1_000)).unwrap_err(), refusal, "{state:?}");
    }
}

#[test]
fn a_closed_refund_gives_its_amount_up_and_its_number_is_spent() {
    let mut books = books(1);
    order(&mut books, Wallet::Wechat, 1_000);
    let closed = RefundAsk { ending: Ending::Closed, ..ask(Wallet::Wechat, "R1", 1_000) };
    books.refund(closed, at(0)).unwrap();
    let (order, refund) = books.wechat_refund("R1", at(60)).unwrap();
    assert_eq!((refund.status, refund.times_paid, order.rest()), (RefundStatus::Closed, 0, 1_000));
    let repeat = books.refund(ask(Wallet::Wechat, "R1", 1_000), at(70)).unwrap();
    assert_eq!(repeat.refund.status, RefundStatus::Closed);
    assert!(books.refund(ask(Wallet::Wechat, "R2", 1_000), at(70)).is_ok());
}

#[test]
fn what_stays_processing_ends_by_hand_only_and_once() {
    let mut books = books(1);
    order(&mut books, Wallet::Wechat, 1_000);
    books.refund(RefundAsk { ending: Ending::Stay, ..ask(Wallet::Wechat, "R1", 500) }, at(0)).unwrap();
    assert_eq!(books.wechat_refund("R1", at(9_999)).unwrap().1.status, RefundStatus::Processing);
    assert_eq!(
        books.settle("R1", RefundStatus::Processing, at(9_999)).unwrap_err(),
        SettleRefusal::NotOpen(RefundStatus::Processing)
    );
    assert_eq!(books.settle("R1", RefundStatus::Abnormal, at(9_999)).unwrap().1.times_paid, 0);
    assert_eq!(books.settle("R1", RefundStatus::Success, at(9_999)).unwrap().1.times_paid, 1);
    assert_eq!(
        books.settle("R1", RefundStatus::Closed, at(9_999)).unwrap_err(),
        SettleRefusal::NotOpen(RefundStatus::Success)
    );
    assert_eq!(books.settle("R2", RefundStatus::Success, at(9_999)).unwrap_err(), SettleRefusal::NotFound);
    assert_eq!(books.take_news().len(), 2);
}

#[test]
fn the_quota_shrinks_while_most_refund_calls_are_refused() {
    let mut books = books(1);
    for _ in 0..11 {
        assert!(books.admit_refund_call(at(0)));
        books.note_refund_call(Some(RefundRefusal::TooSoon), at(0));
    }
    assert!(!books.admit_refund_call(at(0)), "11 of the last 20 were refused: 6 a second");
    for _ in 0..6 {
        assert!(books.admit_refund_call(at(1)));
    }
    assert!(!books.admit_refund_call(at(1)));
    assert!((0..150).all(|_| books.admit_refund_call(at(10))), "ten seconds later they are forgotten");
    assert!(!books.admit_refund_call(at(10)));
    let mut missing = self::books(1);
    for _ in 0..20 {
        missing.note_refund_call(Some(RefundRefusal::OrderNotFound), at(0));
    }
    assert!((0..150).all(|_| missing.admit_refund_call(at(0))), "a 404 is no error");
}

#[test]
fn a_void_takes_the_whole_payment_back_once_inside_its_window_and_before_any_refund() {
    let mut books = books(1);
    let number = order(&mut books, Wallet::Wechat, 1_000);
    assert_eq!(books.void(Wallet::Wechat, &number, at(14)).unwrap_err(), VoidRefusal::TooEarly);
    for _ in 0..2 {
        let voided = books.void(Wallet::Wechat, &number, at(15)).unwrap();
        assert!(voided.paid_back);
        assert_eq!((voided.order.refunded(), voided.order.state()), (1_000, OrderState::Voided));
    }
    assert_eq!(books.ledger(at(16)).refunded_fen, 1_000);
    assert_eq!(books.refund(ask(Wallet::Wechat, "R1", 1), at(20)).unwrap_err(), RefundRefusal::Voided);

    let mut refunded = self::books(1);
    let number = order(&mut refunded, Wallet::Wechat, 1_000);
    refunded.refund(ask(Wallet::Wechat, "R1", 1), at(20)).unwrap();
    assert_eq!(refunded.void(Wallet::Wechat, &number, at(30)).unwrap_err(), VoidRefusal::HasRefunds);

    let mut late = self::books(1);
    let number = order(&mut late, Wallet::Wechat, 1_000);
    assert_eq!(late.void(Wallet::Wechat, &number, at(7 * 86_400 + 1)).unwrap_err(), VoidRefusal::TooLate);
}

#[test]
fn a_payment_code_belongs_to_a_payer_and_names_no_order() {
    let mut books = books(1);
    let number = order(&mut books, Wallet::Alipay, 1_000);
    let code = books.show_code(Wallet::Alipay, &number, at(0)).unwrap();
    assert_eq!(code.len(), 18);
    assert!((25..=30).contains(&code[..2].parse::<u32>().unwrap()));
    assert!(books.order(Wallet::Alipay, &OrderNumber::Merchant(code.clone()), at(1)).is_err());
    assert!(books.is_live_code(Wallet::Alipay, &code, at(59)));
    assert!(!books.is_live_code(Wallet::Alipay, &code, at(60)));
}

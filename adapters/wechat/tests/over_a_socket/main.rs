//! The adapter against a server on a socket that behaves and misbehaves as a wallet does.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod fake;
mod openssl;
mod operations;
mod unsigned;

use std::{sync::Arc, time::Duration};

use fake::{Fake, HeldClock, NOW, Reply, order_answer, refund_answer, text, vectors};
use scanback_wallet::{
    Asked, DoubtKind, Money, NotGenuine, Notification, OrderNo, OrderNumber, OrderRef, Outcome, RecordStatus,
    RefundCall, Wallet, WalletError, WalletRequestNo,
};

fn call() -> RefundCall {
    RefundCall {
        order: OrderRef { order_no: OrderNo::parse("T20250101000001").unwrap(), transaction_id: None },
        request_no: WalletRequestNo::parse("R20250101000001-1").unwrap(),
        amount: Money::fen(2000).unwrap(),
        total: Money::fen(5000).unwrap(),
        reason: "商品已售完".to_owned(),
        notify_url: None,
        goods: Vec::new(),
    }
}

fn doubt(outcome: Outcome) -> DoubtKind {
    match outcome {
        Outcome::Unknown(doubt) => doubt.kind,
        other => panic!("not unknown: {other:?}"),
    }
}

#[tokio::test]
async fn a_refund_is_signed_sent_once_and_its_answer_believed() {
    let fake = Fake::start(|_, _| Reply::signed(200, &refund_answer("SUCCESS"))).await;
    let outcome = fake.wallet().refund(&call()).await;
    let Outcome::Done(record) = outcome else { panic!("{outcome:?}") };
    assert_eq!((record.status, record.amount), (RecordStatus::Paid, call().amount));

    let [request] = &fake.requests()[..] else { panic!("not one request") };
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v3/refund/domestic/refunds"));
    request.assert_signed();
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("user-agent"), Some(concat!("scanback/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(request.header("wechatpay-serial"), vectors()["params"]["platform_public_key_id"].as_str());
}

#[tokio::test]
async fn without_a_public_key_none_is_named() {
    let fake = Fake::start(|_, _| Reply::signed(200, &refund_answer("PROCESSING"))).await;
    let mut settings = fake.settings();
    settings.public_key = None;
    let outcome = fake.wallet_of(&settings, Arc::new(HeldClock::at(NOW))).refund(&call()).await;
    assert!(matches!(outcome, Outcome::Pending(_)), "{outcome:?}");
    assert_eq!(fake.requests()[0].header("wechatpay-serial"), None);
}

#[tokio::test]
async fn a_number_with_odd_characters_is_signed_as_it_travels() {
    let fake = Fake::start(|_, _| Reply::signed(200, &order_answer("A1-b_2|3*4"))).await;
    let number = OrderNo::parse("A1-b_2|3*4").unwrap();
    let order = fake.wallet().query_order(&OrderNumber::OrderNo(number.clone())).await.unwrap().unwrap();
    assert_eq!(order.order_no, number);
    let request = &fake.requests()[0];
    assert_eq!(request.target, "/v3/pay/transactions/out-trade-no/A1-b_2%7C3%2A4?mchid=1900000109");
    request.assert_signed();
}

#[tokio::test]
async fn a_number_that_is_none_of_the_wallets_is_not_asked_for() {
    let fake = Fake::start(|_, _| Reply::Close).await;
    let short = OrderNumber::OrderNo(OrderNo::parse("12345").unwrap());
    assert_eq!(fake.wallet().query_order(&short).await, Ok(None));
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn each_broken_exchange_is_the_doubt_that_it_is() {
    for (reply, expected) in [
        (Reply::Silence, DoubtKind::TimedOut),
        (Reply::Close, DoubtKind::Broken),
        (Reply::Reset, DoubtKind::Broken),
        (Reply::Half, DoubtKind::Broken),
        (Reply::HalfThenSilence, DoubtKind::TimedOut),
        (Reply::Raw("no HTTP at all\r\n\r\n".into()), DoubtKind::Broken),
        (Reply::unsigned(500, "{}"), DoubtKind::WalletError),
        (Reply::signed(503, r#"{"code":"SERVICE_UNAVAILABLE"}"#), DoubtKind::WalletError),
        (Reply::signed(429, r#"{"code":"FREQUENCY_LIMITED"}"#), DoubtKind::RateLimited),
        (Reply::unsigned(200, &refund_answer("SUCCESS")), DoubtKind::BadSignature),
        (Reply::signed(202, ""), DoubtKind::Inconclusive),
        (Reply::signed(200, &(refund_answer("SUCCESS") + &" ".repeat(2 * 1024 * 1024))), DoubtKind::Unreadable),
    ] {
        let name = reply.name();
        let fake = Fake::start(move |_, _| reply.clone()).await;
        let wallet = if expected == DoubtKind::TimedOut { fake.impatient_wallet() } else { fake.wallet() };
        assert_eq!(doubt(wallet.refund(&call()).await), expected, "{name}");
        assert_eq!(fake.requests().len(), 1, "{name}: sent once, never again by itself");
    }
}

#[tokio::test]
async fn a_wallet_that_nobody_answers_for_is_unreachable() {
    let fake = Fake::start(|_, _| Reply::Close).await;
    let mut settings = fake.settings();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    settings.base_url = format!("http://{closed}");
    let wallet = fake.wallet_of(&settings, Arc::new(HeldClock::at(NOW)));
    assert_eq!(doubt(wallet.refund(&call()).await), DoubtKind::Unreachable);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let fake =
        Fake::start(|_, _| Reply::Raw("HTTP/1.1 307 x\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".into()));
    let fake = fake.await;
    assert_eq!(doubt(fake.wallet().refund(&call()).await), DoubtKind::BadSignature);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_refund_that_the_wallet_does_not_know_is_not_known() {
    let fake = Fake::start(|_, _| Reply::signed(404, r#"{"code":"RESOURCE_NOT_EXISTS","message":"x"}"#)).await;
    assert_eq!(fake.wallet().query_refund(&call()).await, Asked::NotKnown);
    assert_eq!(fake.requests()[0].target, "/v3/refund/domestic/refunds/R20250101000001-1");
}

/// Answers certificates from the vectors, and refunds signed by the certificate that only they bring.
fn rotated(seen: &fake::Seen) -> Reply {
    if seen.target == "/v3/certificates" {
        return Reply::recorded(&vectors()["certificates_response"]);
    }
    Reply::signed_by_next(200, &refund_answer("SUCCESS"))
}

#[tokio::test]
async fn a_new_certificate_is_fetched_once_however_many_need_it() {
    let fake = Fake::start(|seen, _| rotated(seen)).await;
    let wallet = fake.wallet();
    let request = call();
    let (a, b, c) = tokio::join!(wallet.refund(&request), wallet.refund(&request), wallet.refund(&request));
    for outcome in [a, b, c, wallet.refund(&request).await] {
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
    assert_eq!(fake.requests().iter().filter(|seen| seen.target == "/v3/certificates").count(), 1);
}

#[tokio::test]
async fn with_no_certificate_at_all_the_first_answer_brings_them() {
    let fake = Fake::start(|seen, _| rotated(seen)).await;
    let mut settings = fake.settings();
    (settings.platform_certs, settings.public_key) = (Vec::new(), None);
    let outcome = fake.wallet_of(&settings, Arc::new(HeldClock::at(NOW))).refund(&call()).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
}

#[tokio::test]
async fn unknown_serials_cause_one_refresh_a_minute() {
    let fake = Fake::start(|seen, _| {
        let broken = seen.target == "/v3/certificates";
        if broken { Reply::unsigned(404, "{}") } else { Reply::signed_by_next(200, &refund_answer("SUCCESS")) }
    })
    .await;
    let clock = Arc::new(HeldClock::at(NOW));
    let wallet = fake.wallet_of(&fake.settings(), clock.clone());
    let refreshes = || fake.requests().iter().filter(|seen| seen.target == "/v3/certificates").count();
    for (seconds, expected) in [(0, 1), (0, 1), (59, 1), (1, 2), (30, 2)] {
        clock.advance(seconds);
        assert_eq!(doubt(wallet.refund(&call()).await), DoubtKind::BadSignature);
        assert_eq!(refreshes(), expected);
    }
}

#[tokio::test]
async fn certificates_that_their_own_signature_does_not_prove_are_not_taken() {
    let fake = Fake::start(|seen, _| {
        if seen.target == "/v3/certificates" {
            let mut case = vectors()["certificates_response"].clone();
            case["headers"]["Wechatpay-Nonce"] = "another".into();
            return Reply::recorded(&case);
        }
        Reply::signed_by_next(200, &refund_answer("SUCCESS"))
    })
    .await;
    let wallet = fake.wallet();
    let error = wallet.refresh_certificates().await.unwrap_err();
    assert!(matches!(&error, WalletError::Doubt(doubt) if doubt.kind == DoubtKind::BadSignature), "{error}");
    assert_eq!(doubt(wallet.refund(&call()).await), DoubtKind::BadSignature);
}

#[tokio::test]
async fn a_refresh_on_demand_names_what_is_known_and_why_there_is_nothing() {
    let fake = Fake::start(|seen, _| rotated(seen)).await;
    let serials = fake.wallet().refresh_certificates().await.unwrap();
    assert_eq!(serials.len(), 3, "{serials:?}");
    fake.requests()[0].assert_signed();

    let none = Fake::start(|_, _| Reply::signed(404, r#"{"code":"RESOURCE_NOT_EXISTS","message":"证书不存在"}"#)).await;
    let error = none.wallet().refresh_certificates().await.unwrap_err();
    assert_eq!(error.to_string(), "the wallet refuses the call: RESOURCE_NOT_EXISTS 证书不存在");
}

fn headers(case: &serde_json::Value) -> Vec<(String, String)> {
    let headers = case["headers"].as_object().unwrap();
    headers.iter().map(|(name, value)| (name.to_lowercase(), text(value).to_owned())).collect()
}

#[tokio::test]
async fn genuine_notifications_are_opened_in_both_key_modes() {
    let fake = Fake::start(|_, _| Reply::Close).await;
    let clock = Arc::new(HeldClock::at(1_735_700_060));
    let wallet = fake.wallet_of(&fake.settings(), clock);
    let cases = vectors()["notifications"].clone();
    for (case, status) in cases.as_array().unwrap().iter().zip([
        RecordStatus::Paid,
        RecordStatus::Stuck,
        RecordStatus::Closed,
        RecordStatus::Paid,
    ]) {
        let opened = wallet.open_notification(&headers(case), text(&case["body"]).as_bytes()).await;
        let Ok(Notification::Refund { record, .. }) = opened else { panic!("{}: {opened:?}", case["name"]) };
        assert_eq!(record.status, status, "{}", case["name"]);
    }
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn a_notification_that_is_not_provably_the_wallets_is_refused() {
    let fake = Fake::start(|_, _| Reply::unsigned(404, "{}")).await;
    let clock = Arc::new(HeldClock::at(1_735_700_060));
    let wallet = fake.wallet_of(&fake.settings(), clock.clone());
    let case = vectors()["notifications"][0].clone();
    let (good, body) = (headers(&case), text(&case["body"]).as_bytes().to_vec());
    let with = |name: &str, value: &str| {
        let mut headers = good.clone();
        headers.iter_mut().filter(|(key, _)| key == name).for_each(|(_, old)| *old = value.to_owned());
        headers
    };
    let without = |name: &str| good.iter().filter(|(key, _)| key != name).cloned().collect::<Vec<_>>();
    let probe = format!("WECHATPAY/SIGNTEST/{}", text(&case["headers"]["Wechatpay-Signature"]));

    let mut altered = body.clone();
    *altered.last_mut().unwrap() = b' ';
    assert_eq!(wallet.open_notification(&good, &altered).await, Err(NotGenuine::BadSignature));
    for (headers, expected) in [
        (with("wechatpay-signature", &probe), NotGenuine::BadSignature),
        (with("wechatpay-nonce", "other"), NotGenuine::BadSignature),
        (with("wechatpay-timestamp", "1735700061"), NotGenuine::BadSignature),
        (with("wechatpay-serial", "PUB_KEY_ID_0114232134912410000000000000"), NotGenuine::BadSignature),
        (with("wechatpay-serial", "FFFF"), NotGenuine::BadSignature),
        (without("wechatpay-signature"), NotGenuine::Unsigned),
        (Vec::new(), NotGenuine::Unsigned),
    ] {
        assert_eq!(wallet.open_notification(&headers, &body).await, Err(expected));
    }
    clock.advance(300);
    assert_eq!(wallet.open_notification(&good, &body).await, Err(NotGenuine::Stale));
    assert_eq!(fake.requests().len(), 1, "only the unknown serial of a certificate asks for certificates");
}

#[tokio::test]
async fn two_accounts_do_not_take_each_others_news() {
    let fake = Fake::start(|_, _| Reply::Close).await;
    let mut settings = fake.settings();
    settings.mchid = "1900000110".to_owned();
    let wallet = fake.wallet_of(&settings, Arc::new(HeldClock::at(1_735_700_060)));
    let case = vectors()["notifications"][0].clone();
    let opened = wallet.open_notification(&headers(&case), text(&case["body"]).as_bytes()).await;
    assert_eq!(opened, Err(NotGenuine::OtherAccount));
}

#[tokio::test]
async fn the_limits_are_the_wallets_own() {
    let fake = Fake::start(|_, _| Reply::Close).await;
    let capabilities = fake.wallet().capabilities();
    assert_eq!(capabilities.max_refunds_per_order, Some(50));
    assert_eq!((capabilities.pace, capabilities.refund_window_days), (Duration::from_secs(60), 365));
    assert!(capabilities.waits_while_unknown && capabilities.settles_within > capabilities.pace);
}

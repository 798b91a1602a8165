//! Void, close, payout, payer and bill over a socket.

use std::sync::Arc;

use aws_lc_rs::digest;
use scanback_wallet::{
    AbnormalCall, Asked, Bill, BillKind, DoubtKind, OrderRef, Outcome, PayerOf, PaymentCode, PaymentResult, Payout,
    Private, RecordStatus, VoidCall, Wallet as _, WalletError, WalletRefundId,
};
use serde_json::json;

use crate::{
    call,
    fake::{Fake, HeldClock, NOW, Reply, bytes, order_answer, refund_answer, text, vectors},
};

fn void() -> VoidCall {
    VoidCall {
        order: call().order,
        request_no: call().request_no,
        total: call().total,
        reason: String::new(),
        payment: PaymentResult::Paid,
    }
}

#[tokio::test]
async fn a_void_is_taken_and_then_read_from_the_order() {
    let fake = Fake::start(|seen, _| match seen.method.as_str() {
        "POST" => Reply::signed(200, &json!({"mchid": "1900000109", "out_trade_no": "T20250101000001"}).to_string()),
        _ => Reply::signed(200, &order_answer("T20250101000001").replace("\"SUCCESS\"", "\"REVOKED\"")),
    })
    .await;
    let wallet = fake.wallet();
    assert!(matches!(wallet.void(&void()).await, Outcome::Pending(_)));
    let Asked::Found(record) = wallet.query_void(&void()).await else { panic!("not found") };
    assert_eq!((record.status, record.amount), (RecordStatus::Paid, void().total));
    let [reverse, query] = &fake.requests()[..] else { panic!("two requests") };
    assert!(reverse.target.ends_with("/T20250101000001/reverse"), "{}", reverse.target);
    reverse.assert_signed();
    query.assert_signed();
}

#[tokio::test]
async fn a_close_is_believed_by_its_signature_over_nothing() {
    for (reply, closed) in [(Reply::signed(204, ""), true), (Reply::unsigned(204, ""), false)] {
        let fake = Fake::start(move |_, _| reply.clone()).await;
        let order = OrderRef { order_no: call().order.order_no, transaction_id: None };
        assert_eq!(fake.wallet().close(&order).await.is_ok(), closed);
        fake.requests()[0].assert_signed();
    }
}

#[tokio::test]
async fn what_is_personal_leaves_encrypted_under_the_key_that_the_header_names() {
    let fake = Fake::start(|_, _| Reply::signed(200, &refund_answer("PROCESSING"))).await;
    let abnormal = AbnormalCall {
        refund: call(),
        wallet_refund_id: WalletRefundId::parse("50300000012025010100000000001").unwrap(),
        to: Payout::Customer {
            bank_type: "CMB_DEBIT".to_owned(),
            bank_account: Private::new("6225880137000000".to_owned()),
            real_name: Private::new("张三".to_owned()),
        },
    };
    let outcome = fake.wallet().pay_to_account(&abnormal).await;
    assert!(matches!(outcome, Outcome::Pending(_)), "{outcome:?}");
    let request = &fake.requests()[0];
    request.assert_signed();
    assert_eq!(request.header("wechatpay-serial"), vectors()["params"]["platform_public_key_id"].as_str());
    assert!(!request.body().contains("6225880137000000") && !request.body().contains("张三"));
}

pub(crate) fn openid_answer() -> String {
    let case = &vectors()["v2_sign"][1];
    let mut xml = String::from("<xml>");
    for (name, value) in case["params"].as_object().unwrap() {
        xml.push_str(&format!("<{name}><![CDATA[{}]]></{name}>", text(value)));
    }
    xml + &format!("<sign>{}</sign></xml>", text(&case["sign"]))
}

#[tokio::test]
async fn whose_code_it_is_is_asked_by_the_old_api() {
    let fake = Fake::start(|_, _| Reply::unsigned(200, &openid_answer())).await;
    let code = PaymentCode::parse("134567890123456789").unwrap();
    let PayerOf::Payer(payer) = fake.wallet().payer_of(&code).await.unwrap() else { panic!("nobody") };
    assert_eq!((payer.scope(), payer.expose()), ("wx8888888888888888", "oUpF8uN95-Ptaags6E_roPHg7AG0"));
    let request = &fake.requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/tools/authcodetoopenid"));
    assert!(request.body().contains("<auth_code><![CDATA[134567890123456789]]></auth_code>"), "{}", request.body());

    let mut settings = fake.settings();
    settings.apiv2_key = None;
    let wallet = fake.wallet_of(&settings, Arc::new(HeldClock::at(NOW)));
    assert!(!wallet.capabilities().names_payer);
    assert!(matches!(wallet.payer_of(&code).await, Err(WalletError::NotSupported(_))));
    let alipays = PaymentCode::parse("281234567890123456").unwrap();
    assert_eq!(fake.wallet().payer_of(&alipays).await, Ok(PayerOf::NoCode));
    assert_eq!(fake.requests().len(), 1, "another wallet's code is not sent");
}

/// The address of the recorded bill at `base`, in a signed answer.
fn place(base: &str) -> Reply {
    let file = bytes("tradebill_all_2025-01-01.csv");
    let hash = hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &file));
    let url = format!("{base}/v3/billdownload/file?token=t%2B1&tartype=gzip");
    Reply::signed(200, &json!({"hash_type": "SHA1", "hash_value": hash, "download_url": url}).to_string())
}

#[tokio::test]
async fn a_bill_is_fetched_by_two_signed_calls_and_read() {
    let fake = Fake::start(|seen, _| {
        if seen.target.starts_with("/v3/bill/tradebill?") {
            return place(&format!("http://{}", seen.header("host").unwrap()));
        }
        Reply::file("application/x-gzip", &bytes("tradebill_all_2025-01-01.csv.gz"))
    })
    .await;
    let bill = fake.wallet().bill(BillKind::Trades, "2025-01-01".parse().unwrap()).await.unwrap();
    let Bill::Trades(bill) = bill else { panic!("{bill:?}") };
    assert_eq!((bill.lines.len(), bill.unread.len()), (2, 0));
    let [_, download] = &fake.requests()[..] else { panic!("two requests") };
    assert_eq!(download.target, "/v3/billdownload/file?token=t%2B1&tartype=gzip");
    download.assert_signed();
}

#[tokio::test]
async fn our_signature_goes_to_the_wallets_address_and_to_no_other() {
    let elsewhere = Fake::start(|_, _| Reply::unsigned(200, "x")).await;
    let address = format!("http://{}", elsewhere.address());
    let fake = Fake::start(move |_, _| place(&address)).await;
    let error = fake.wallet().bill(BillKind::Trades, "2025-01-01".parse().unwrap()).await.unwrap_err();
    assert!(matches!(&error, WalletError::Doubt(doubt) if doubt.kind == DoubtKind::Unreadable), "{error}");
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told() {
    let fake = Fake::start(|_, _| Reply::signed(200, &refund_answer("PROCESSING"))).await;
    let clock = Arc::new(HeldClock::at(NOW));
    let wallet = fake.wallet_of(&fake.settings(), clock.clone());
    assert_eq!(wallet.clock_skew(), None, "nothing was heard yet");
    clock.advance(-7);
    assert!(matches!(wallet.refund(&call()).await, Outcome::Pending(_)));
    assert_eq!(wallet.clock_skew().unwrap().as_secs(), -7);
    clock.advance(407);
    let Outcome::Unknown(doubt) = wallet.refund(&call()).await else { panic!("believed") };
    assert!(doubt.detail.contains("differs by 400 s") && doubt.detail.contains("NTP"), "{doubt}");
    assert_eq!(wallet.clock_skew().unwrap().as_secs(), 400);
}

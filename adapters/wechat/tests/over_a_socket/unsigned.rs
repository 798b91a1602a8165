//! What comes without a platform signature: the files of bills, proven by a hash, and the old API, proven by a shared key.

use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use scanback_wallet::{Bill, BillKind, DoubtKind, Money, PayerOf, PaymentCode, Wallet as _, WalletError};
use scanback_wechat::SignType;
use serde_json::json;

use crate::{
    fake::{Fake, HeldClock, NOW, Reply, text, vectors},
    operations::openid_answer,
};

const FLOW: &str = "\u{feff}记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号\r\n\
    `2025-01-01 10:53:21,`50300000012025010100000000001,`4200000001,`退款,`退款,`支出,`20.00,`27.00,`system,`,`R1\r\n\
    资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额\r\n`1,`0,`0.00,`1,`20.00\r\n";

/// A wallet whose bills have the hash of `FLOW`, and whose file is `file`.
async fn flows(file: &'static str) -> Fake {
    Fake::start(move |seen, _| {
        if !seen.target.starts_with("/v3/bill/fundflowbill?") {
            return Reply::file("text/plain", file.as_bytes());
        }
        let hash = hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, FLOW.as_bytes()));
        let url = format!("http://{}/v3/billdownload/file?token=1", seen.header("host").unwrap());
        Reply::signed(200, &json!({"hash_type": "SHA1", "hash_value": hash, "download_url": url}).to_string())
    })
    .await
}

#[tokio::test]
async fn the_bill_of_the_account_is_fetched_by_two_signed_calls_and_read() {
    let fake = flows(FLOW).await;
    let bill = fake.wallet().bill(BillKind::Funds, "2025-01-01".parse().unwrap()).await.unwrap();
    let Bill::Funds(bill) = bill else { panic!("{bill:?}") };
    let [line] = &bill.lines[..] else { panic!("{bill:?}") };
    assert_eq!((line.incoming, line.amount), (false, Money::fen(2000).unwrap()));
    let [question, download] = &fake.requests()[..] else { panic!("two requests") };
    assert_eq!(question.target, "/v3/bill/fundflowbill?bill_date=2025-01-01&account_type=BASIC&tar_type=GZIP");
    question.assert_signed();
    download.assert_signed();
}

#[tokio::test]
async fn a_file_that_is_not_the_one_of_the_signed_hash_is_no_bill() {
    let fake = flows("another file").await;
    let error = fake.wallet().bill(BillKind::Funds, "2025-01-01".parse().unwrap()).await.unwrap_err();
    assert!(matches!(&error, WalletError::Doubt(doubt) if doubt.kind == DoubtKind::BadSignature), "{error}");
}

fn code() -> PaymentCode {
    PaymentCode::parse("134567890123456789").unwrap()
}

#[tokio::test]
async fn a_payer_in_an_altered_answer_is_nobody() {
    let altered = openid_answer().replace("oUpF8uN95", "oUpF8uN96");
    assert_ne!(altered, openid_answer());
    let fake = Fake::start(move |_, _| Reply::unsigned(200, &altered)).await;
    let error = fake.wallet().payer_of(&code()).await.unwrap_err();
    assert!(matches!(&error, WalletError::Doubt(doubt) if doubt.kind == DoubtKind::BadSignature), "{error}");
}

#[tokio::test]
async fn with_hmac_asked_for_both_ways_are_signed_by_it() {
    // The fields of the recorded answer under the other sum, made here by name order.
    let params = vectors()["v2_sign"][1]["params"].as_object().unwrap();
    let mut fields: Vec<_> = params.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    fields.sort_unstable();
    let joined: String = fields.iter().map(|(name, value)| format!("{name}={value}&")).collect();
    let key = text(&vectors()["params"]["apiv2_key"]);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), format!("{joined}key={key}").as_bytes());
    let elements: String = fields.iter().map(|(name, value)| format!("<{name}><![CDATA[{value}]]></{name}>")).collect();
    let answer = format!("<xml>{elements}<sign>{}</sign></xml>", hex::encode_upper(tag));

    let fake = Fake::start(move |_, _| Reply::unsigned(200, &answer)).await;
    let mut settings = fake.settings();
    settings.v2_sign_type = SignType::HmacSha256;
    let wallet = fake.wallet_of(&settings, Arc::new(HeldClock::at(NOW)));
    let PayerOf::Payer(payer) = wallet.payer_of(&code()).await.unwrap() else { panic!("nobody") };
    assert_eq!(payer.expose(), "oUpF8uN95-Ptaags6E_roPHg7AG0");
    let body = fake.requests()[0].body();
    assert!(body.contains("<sign_type><![CDATA[HMAC-SHA256]]></sign_type>"), "{body}");

    // The same answer is not believed by one who agreed on MD5.
    let error = fake.wallet().payer_of(&code()).await.unwrap_err();
    assert!(matches!(&error, WalletError::Doubt(doubt) if doubt.kind == DoubtKind::BadSignature), "{error}");
}

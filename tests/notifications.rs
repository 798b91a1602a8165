//! What the wallets tell by themselves: believed by signature alone, and no result depends on its coming (contract §3, `/notify`).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::shop::{
    ALIPAY, Answer, POLL, Shop, WECHAT, fen,
    pen::{Notification, alipay_news, wechat_news},
};

/// Answered as WeChat demands: anything but a 200 or 204 makes it send again.
fn wechat_heard(answer: &Answer, taken: bool) {
    let (status, code) = if taken { (200, "SUCCESS") } else { (401, "FAIL") };
    assert_eq!((answer.status, answer.str("code")), (status, code), "{}", answer.text);
}

/// Answered as Alipay demands: 200 and exactly `success`, or not.
fn alipay_heard(answer: &Answer, taken: bool) {
    assert_eq!(answer.status == 200 && answer.text == "success", taken, "{} {}", answer.status, answer.text);
}

/// A WeChat refund in work that ends only if somebody says so.
async fn open_refund(shop: &Shop, number: &str) -> Value {
    shop.sandbox().fault(WECHAT, "refund", "stay_processing").await;
    let answer = shop.merchant().refund(number, 700).await;
    answer.assert(202, "processing");
    answer.body
}

/// The refund, the order, and how often each event was recorded.
async fn everything(shop: &Shop, refund: &Value) -> (Value, Value) {
    let wallet = refund["wallet"].as_str().unwrap();
    let order = shop.merchant().order(wallet, refund["order_no"].as_str().unwrap()).await;
    (shop.refund(refund["refund_id"].as_str().unwrap()).await, order)
}

/// Changes one letter in the middle.
fn altered(text: &str) -> String {
    let middle = text.len() / 2;
    let at = (middle..text.len()).find(|at| text.as_bytes()[*at].is_ascii_alphanumeric()).unwrap();
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

#[tokio::test]
async fn forged_altered_and_stale_news_from_wechat_is_refused_without_effect() {
    let shop = Shop::new().order(WECHAT, "NEWS-00001", 1_000).open().await;
    let refund = open_refund(&shop, "NEWS-00001").await;
    let before = everything(&shop, &refund).await;
    let now = Timestamp::now();
    let genuine = || wechat_news(shop.sandbox(), &refund, "SUCCESS", now);
    let without = |name: &str| {
        let mut news = genuine();
        news.headers.retain(|(other, _)| other != name);
        news
    };
    let signature =
        |news: &Notification| news.headers.iter().find(|(name, _)| name == "wechatpay-signature").unwrap().1.clone();
    let of_another = wechat_news(shop.sandbox(), &refund, "CLOSED", now);
    let refused: Vec<(&str, Notification)> = vec![
        ("no signature", without("wechatpay-signature")),
        ("no serial", without("wechatpay-serial")),
        ("no timestamp", without("wechatpay-timestamp")),
        ("no nonce", without("wechatpay-nonce")),
        ("a forged signature", genuine().with_header("wechatpay-signature", &altered(&signature(&genuine())))),
        ("the signature of other news", genuine().with_header("wechatpay-signature", &signature(&of_another))),
        ("an unknown serial", genuine().with_header("wechatpay-serial", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1")),
        ("another nonce", genuine().with_header("wechatpay-nonce", "0")),
        ("a fresher timestamp", {
            let old = wechat_news(shop.sandbox(), &refund, "SUCCESS", now - SignedDuration::from_secs(400));
            old.with_header("wechatpay-timestamp", &now.as_second().to_string())
        }),
        ("an altered body", Notification { body: altered(&genuine().body), ..genuine() }),
        ("an empty body", Notification { body: String::new(), ..genuine() }),
        ("301 s old", wechat_news(shop.sandbox(), &refund, "SUCCESS", now - SignedDuration::from_secs(305))),
        ("from the future", wechat_news(shop.sandbox(), &refund, "SUCCESS", now + SignedDuration::from_secs(330))),
    ];
    for (what, news) in refused {
        let answer = news.deliver(&shop).await;
        assert!(answer.status >= 400, "{what}: {} {}", answer.status, answer.text);
        wechat_heard(&answer, false);
        assert_eq!(everything(&shop, &refund).await, before, "{what}");
    }
    // the same hand, unspoiled, is believed
    shop.sandbox().settle(&refund, "SUCCESS").await;
    shop.until(refund["refund_id"].as_str().unwrap(), "succeeded").await;
    wechat_heard(&genuine().deliver(&shop).await, true);
    shop.close().await;
}

#[tokio::test]
async fn genuine_news_settles_a_refund_at_once_and_repeated_it_changes_nothing() {
    let shop = Shop::new().order(WECHAT, "NEWS-00002", 1_000).open().await;
    shop.sandbox().fault(WECHAT, "notification", "duplicate_notification").await;
    let answer = shop.merchant().refund("NEWS-00002", 700).await;
    answer.assert(202, "processing");
    let refund = shop.until(answer.refund_id(), "succeeded").await;
    let order = shop.merchant().order(WECHAT, "NEWS-00002").await;
    // the sandbox sent it twice; once more, and once as an older state that comes late
    for (status, times) in [("SUCCESS", 3), ("PROCESSING", 1), ("ABNORMAL", 1), ("CLOSED", 1)] {
        let news = wechat_news(shop.sandbox(), &refund, status, Timestamp::now());
        for _ in 0..times {
            wechat_heard(&news.deliver(&shop).await, true);
        }
    }
    assert_eq!(everything(&shop, &refund).await, (refund.clone(), order));
    assert_eq!(refund["timeline"].as_array().unwrap().iter().filter(|line| line["event"] == "succeeded").count(), 1);
    shop.close().await;
}

#[tokio::test]
async fn a_tampered_notification_is_refused_and_the_next_one_is_taken() {
    let shop = Shop::new().order(WECHAT, "NEWS-00003", 1_000).open().await;
    for kind in ["tampered_notification", "bad_signature"] {
        shop.sandbox().fault(WECHAT, "notification", kind).await;
    }
    let answer = shop.merchant().refund("NEWS-00003", 700).await;
    shop.until(answer.refund_id(), "succeeded").await;
    shop.sandbox().until_fired(2).await;
    shop.until_logged(2, "a notification was refused").await;
    shop.close().await;
}

#[tokio::test]
async fn without_any_notification_a_refund_is_settled_by_asking() {
    for kind in ["drop_notification", "late_notification"] {
        let shop = Shop::new().order(WECHAT, "NEWS-00004", 1_000).open().await;
        let silent = json!({ "wallet": WECHAT, "operation": "notification", "kind": kind });
        shop.sandbox().fault_with(silent).await;
        let answer = shop.merchant().refund("NEWS-00004", 700).await;
        answer.assert(202, "processing");
        shop.until(answer.refund_id(), "succeeded").await;
        shop.close().await;
    }
}

/// WeChat changes its certificate: news under the new one is believed, once the desk has fetched it.
#[tokio::test]
async fn news_under_a_new_certificate_is_believed() {
    let shop = Shop::new().order(WECHAT, "NEWS-00009", 1_000).open().await;
    shop.sandbox().rotate().await;
    let answer = shop.merchant().refund("NEWS-00009", 700).await;
    answer.assert(202, "processing");
    shop.until(answer.refund_id(), "succeeded").await;
    assert!(!shop.log().contains("a notification was refused"));
    shop.close().await;
}

/// Genuine news of a refund that this ledger doesn't have: answered as success, so that the wallet stops, and nothing changes.
#[tokio::test]
async fn genuine_news_of_a_refund_that_is_not_ours_changes_nothing() {
    let shop = Shop::new().order(WECHAT, "NEWS-00005", 1_000).order(ALIPAY, "NEWS-00006", 1_000).open().await;
    for (wallet, number) in [(WECHAT, "NEWS-00005"), (ALIPAY, "NEWS-00006")] {
        let ours = shop.merchant().refund(number, 700).await;
        let ours = shop.until(ours.refund_id(), "succeeded").await;
        let before = everything(&shop, &ours).await;
        let mut other = ours.clone();
        other["wallet_request_no"] = json!("0192f0c1d2e37a4b8c5d6e7f80910213");
        let mut other_money = ours.clone();
        other_money["amount"] = fen(1);
        let mut other_order = ours.clone();
        other_order["order_no"] = json!("NEWS-99999");
        for news in [other, other_money, other_order] {
            if wallet == WECHAT {
                let answer = wechat_news(shop.sandbox(), &news, "SUCCESS", Timestamp::now()).deliver(&shop).await;
                wechat_heard(&answer, true);
            } else {
                alipay_heard(&alipay_news(shop.sandbox(), &news, |_| ()).deliver(&shop).await, true);
            }
        }
        shop.until_settled(0).await;
        assert_eq!(everything(&shop, &ours).await, before);
    }
    assert_eq!(shop.merchant().all("/v1/refunds").await.len(), 2);
    shop.close().await;
}

/// Alipay's news carries the trade's total and is only a reason to ask; forged, it isn't even that.
#[tokio::test]
async fn forged_and_altered_news_from_alipay_is_refused_without_effect() {
    let shop = Shop::new().impatient().order(ALIPAY, "NEWS-00007", 1_000).open().await;
    let done = shop.merchant().refund("NEWS-00007", 300).await;
    done.assert(201, "succeeded");
    let before = everything(&shop, &done.body).await;
    let genuine = || alipay_news(shop.sandbox(), &done.body, |_| ());
    let signed_with = |name: &'static str, value: &'static str| {
        alipay_news(shop.sandbox(), &done.body, |fields| {
            fields.retain(|(other, _)| *other != name);
            fields.push((name, value.to_owned()));
        })
    };
    let body = |change: &dyn Fn(String) -> String| Notification { body: change(genuine().body), ..genuine() };
    for (what, news) in [
        ("no signature", body(&|form| form.split("&sign=").next().unwrap().to_owned())),
        ("an altered signature", body(&|form| altered_signature(&form))),
        (
            "an altered amount",
            body(&|form| {
                form.replace("refund%5Ffee=3%2E00", "refund%5Ffee=9%2E00")
                    .replace("refund_fee=3%2E00", "refund_fee=9%2E00")
            }),
        ),
        ("a field more", body(&|form| format!("{form}&extra=1"))),
        ("a field twice", body(&|form| format!("{form}&refund_fee=9.00"))),
        ("an empty body", body(&|_| String::new())),
        ("for another application", signed_with("app_id", "2014072300007148")),
        ("for another seller", signed_with("seller_id", "2088102119685838")),
    ] {
        let answer = news.deliver(&shop).await;
        alipay_heard(&answer, false);
        assert_eq!(everything(&shop, &done.body).await, before, "{what}");
    }
    alipay_heard(&genuine().deliver(&shop).await, true);
    alipay_heard(&genuine().deliver(&shop).await, true);
    assert_eq!(everything(&shop, &done.body).await, before);
    shop.close().await;
}

fn altered_signature(form: &str) -> String {
    let (head, signature) = form.split_once("&sign=").unwrap();
    format!("{head}&sign={}", altered(signature))
}

/// A hint from Alipay makes the desk ask at once, and believe the answer to that.
#[tokio::test]
async fn genuine_news_from_alipay_makes_the_desk_ask_at_once() {
    let shop = Shop::new().impatient().time_scale(60).order(ALIPAY, "NEWS-00008", 1_000).open().await;
    shop.sandbox().fault(ALIPAY, "refund", "effect_then_reset").await;
    shop.sandbox().fault_with(json!({ "wallet": ALIPAY, "operation": "query_refund", "kind": "http_500" })).await;
    let answer = shop.merchant().refund("NEWS-00008", 700).await;
    answer.assert(202, "submitting");
    // asked seven times in vain, it asks again by itself only after half an hour: half a minute at this pace
    shop.sandbox().until_fired(1 + 7).await;
    shop.sandbox().no_more_faults().await;
    let told = std::time::Instant::now();
    alipay_heard(&alipay_news(shop.sandbox(), &answer.body, |_| ()).deliver(&shop).await, true);
    // looked at by the list, which makes nobody ask sooner
    while shop.merchant().all("/v1/refunds").await[0]["state"] != "succeeded" {
        assert!(told.elapsed().as_secs() < 20, "it waits for its own turn");
        tokio::time::sleep(POLL * 10).await;
    }
    shop.close().await;
}

#[tokio::test]
async fn news_for_a_merchant_that_is_not_here_is_not_found() {
    let shop = Shop::new().open().await;
    for path in ["/notify/wechat/nobody", "/notify/alipay/nobody", "/notify/wechat/%20"] {
        shop.stranger().post(path).body("application/json", "{}").send().await.assert(404, "not_found");
    }
    shop.close().await;
}

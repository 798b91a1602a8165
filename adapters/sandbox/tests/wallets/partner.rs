//! WeChat Pay over HTTP in partner mode (服务商): the sandbox is a partner's account, and its orders are one merchant's.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::Shop;

const REFUNDS: &str = "/v3/refund/domestic/refunds";

async fn partner() -> (Shop, String, String) {
    let shop = Shop::with(|options| options.partner = true).await;
    let number = |name: &str| shop.wechat[name].as_str().unwrap().to_owned();
    let (sp, sub) = (number("mchid"), number("sub_mchid"));
    (shop, sp, sub)
}

#[tokio::test]
async fn a_partner_asks_refunds_and_closes_under_its_merchants_number() {
    let (shop, sp, sub) = partner().await;
    let made = shop.order("wechat", "T-100001", 5_000, json!({})).await;
    let path = |number: &str| format!("/v3/pay/partner/transactions/out-trade-no/{number}");
    let order = shop.wechat(Method::GET, &format!("{}?sp_mchid={sp}&sub_mchid={sub}", path("T-100001")), None).await;
    assert_eq!((order.status, order.is_genuine), (200, true));
    let order = order.json();
    assert_eq!((order["sp_mchid"].as_str(), order["sub_mchid"].as_str()), (Some(&*sp), Some(&*sub)));
    assert_eq!((&order["mchid"], &order["appid"]), (&Value::Null, &Value::Null));
    assert_eq!((&order["sp_appid"], &order["sub_appid"]), (&shop.wechat["appid"], &shop.wechat["sub_appid"]));
    assert_eq!((&order["payer"]["sp_openid"], &order["payer"]["openid"]), (&made["payer"], &Value::Null));
    assert_ne!(order["payer"]["sub_openid"], made["payer"]);

    let mut body = shop.refund_body("R1", "T-100001", 2_000, 5_000);
    body["sub_mchid"] = json!(sub);
    let taken = shop.wechat(Method::POST, REFUNDS, Some(body)).await;
    assert_eq!((taken.status, taken.json()["status"].as_str()), (200, Some("PROCESSING")), "{}", taken.json());
    let found = shop.wechat(Method::GET, &format!("{REFUNDS}/R1?sub_mchid={sub}"), None).await;
    assert_eq!(found.json()["refund_id"], taken.json()["refund_id"]);

    shop.order("wechat", "T-UNPAID", 1_000, json!({ "state": "unpaid" })).await;
    let both = json!({ "sp_mchid": sp, "sub_mchid": sub });
    let closed = shop.wechat(Method::POST, &format!("{}/close", path("T-UNPAID")), Some(both)).await;
    assert_eq!((closed.status, closed.is_genuine), (204, true));
    assert_eq!(shop.violations().await, [""; 0]);
    shop.close().await;
}

#[tokio::test]
async fn a_merchants_form_and_a_strangers_number_are_refused_of_a_partner() {
    let (shop, sp, sub) = partner().await;
    shop.order("wechat", "T-100001", 5_000, json!({})).await;
    let transactions = "transactions/out-trade-no/T-100001";
    for (path, expected) in [
        (format!("/v3/pay/{transactions}?mchid={sp}"), (403, "NO_AUTH")),
        (format!("/v3/pay/partner/{transactions}?mchid={sp}"), (400, "PARAM_ERROR")),
        (format!("/v3/pay/partner/{transactions}?sp_mchid={sp}"), (400, "PARAM_ERROR")),
        (format!("/v3/pay/partner/{transactions}?sp_mchid={sp}&sub_mchid=1"), (400, "MCH_NOT_EXISTS")),
        (format!("/v3/pay/partner/{transactions}?sp_mchid={sub}&sub_mchid={sub}"), (400, "MCH_NOT_EXISTS")),
        (format!("{REFUNDS}/R1"), (400, "PARAM_ERROR")),
        (format!("{REFUNDS}/R1?sub_mchid=1"), (404, "MCH_NOT_EXISTS")),
        ("/v3/bill/tradebill?bill_date=2020-01-01&sub_mchid=1".to_owned(), (400, "INVALID_REQUEST")),
    ] {
        let (status, code) = shop.wechat(Method::GET, &path, None).await.refusal();
        assert_eq!((status, &*code), expected, "{path}");
    }
    for (given, expected) in [(None, (400, "PARAM_ERROR")), (Some("1"), (404, "MCH_NOT_EXISTS"))] {
        let mut body = shop.refund_body("R1", "T-100001", 2_000, 5_000);
        body["sub_mchid"] = json!(given);
        let (status, code) = shop.wechat(Method::POST, REFUNDS, Some(body)).await.refusal();
        assert_eq!((status, &*code), expected, "{given:?}");
    }
    assert_eq!(shop.books("wechat", "T-100001").await["refunded_fen"], 0);
    shop.close().await;
}

#[tokio::test]
async fn a_partners_form_is_refused_of_a_merchant() {
    let shop = Shop::open().await;
    shop.order("wechat", "T-100001", 5_000, json!({})).await;
    let path = "/v3/pay/partner/transactions/out-trade-no/T-100001?sp_mchid=1&sub_mchid=2";
    assert_eq!(shop.wechat(Method::GET, path, None).await.refusal(), (403, "NO_AUTH".to_owned()));
    assert!(shop.wechat.get("sub_mchid").is_none());
    shop.close().await;
}

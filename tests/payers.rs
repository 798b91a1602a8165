//! Is the one at the till the one who paid? (contract §3, `payer_mismatch`; `policy.payer_check`)

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::{
    conformance::hear,
    shop::{ALIPAY, Shop, WECHAT, fen},
};

const ORDER: &str = "PAYER-0001";
const ANNA: &str = "oAnna000000000000000000000001";
const BERT: &str = "oBert000000000000000000000002";

/// WeChat Pay with the one call of its old API that tells whose code it is; all else goes on to the sandbox as it came.
#[derive(Clone)]
struct Front {
    url: String,
    /// Who stands at the till, or the error that the look-up has.
    answer: Arc<Mutex<Result<&'static str, &'static str>>>,
    asked: Arc<Mutex<usize>>,
}

fn xml(fields: &BTreeMap<&str, String>, key: &str) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let sign = hex::encode_upper(Md5::digest(format!("{}&key={key}", pairs.join("&"))));
    let inner: String = fields.iter().map(|(name, value)| format!("<{name}><![CDATA[{value}]]></{name}>")).collect();
    format!("<xml>{inner}<sign>{sign}</sign></xml>")
}

impl Front {
    async fn start(sandbox: &str, params: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let front = Self { url, answer: Arc::new(Mutex::new(Ok(ANNA))), asked: Arc::default() };
        let (mine, sandbox, http) = (front.clone(), sandbox.to_owned(), reqwest::Client::new());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mine, sandbox, params, http) = (mine.clone(), sandbox.clone(), params.clone(), http.clone());
                tokio::spawn(async move {
                    let Some((line, headers, body)) = hear(&mut stream).await else { return };
                    let mut words = line.split(' ');
                    let (method, path) = (words.next().unwrap(), words.next().unwrap());
                    let answer = if path == "/tools/authcodetoopenid" {
                        let text = mine.look_up(&params);
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len())
                    } else {
                        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
                        let mut request = http.request(method, format!("{sandbox}{path}")).body(body);
                        for (name, value) in headers.iter().filter(|(name, _)| name != "host") {
                            request = request.header(name, value);
                        }
                        let answer = request.send().await.unwrap();
                        let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", answer.status().as_u16());
                        for (name, value) in answer.headers() {
                            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
                        }
                        format!("{head}\r\n{}", answer.text().await.unwrap())
                    };
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        front
    }

    fn look_up(&self, params: &Value) -> String {
        *self.asked.lock().unwrap() += 1;
        let param = |name: &str| params[name].as_str().unwrap().to_owned();
        let mut fields = BTreeMap::from([
            ("return_code", "SUCCESS".to_owned()),
            ("appid", param("appid")),
            ("mch_id", param("mchid")),
            ("nonce_str", "n1".to_owned()),
        ]);
        match *self.answer.lock().unwrap() {
            Ok(openid) => fields.extend([("result_code", "SUCCESS".to_owned()), ("openid", openid.to_owned())]),
            Err(code) => fields.extend([("result_code", "FAIL".to_owned()), ("err_code", code.to_owned())]),
        }
        xml(&fields, &param("apiv2_key"))
    }

    fn shows(&self, answer: Result<&'static str, &'static str>) {
        *self.answer.lock().unwrap() = answer;
    }
}

/// A shop with this policy, and an order of Anna's.
async fn shop(check: &str) -> (Shop, Front) {
    let mut shop = Shop::new().setting("policy.payer_check", check).prepare().await;
    let params = shop.sandbox().params(WECHAT);
    let front = Front::start(&shop.sandbox().url, params.clone()).await;
    let config = std::fs::read_to_string(shop.config_file()).unwrap();
    let key = params["apiv2_key"].as_str().unwrap();
    let lines = config.lines().filter(|line| !line.starts_with("apiv2_key")).map(|line| match line {
        line if line.starts_with("base_url") => format!("base_url = \"{}\"\napiv2_key = \"{key}\"", front.url),
        line => line.to_owned(),
    });
    std::fs::write(shop.config_file(), lines.collect::<Vec<_>>().join("\n")).unwrap();
    for secret in [ANNA, BERT, key] {
        shop.plant(secret);
    }
    let order = json!({ "wallet": WECHAT, "out_trade_no": ORDER, "amount_fen": 5_000, "payer": ANNA });
    shop.sandbox().order(order).await;
    shop.start().await;
    (shop, front)
}

fn wish() -> Value {
    json!({ "order_no": ORDER, "amount": fen(1_000), "reason": "quality", "operator_id": "till", "operator_pin": "271828" })
}

#[tokio::test]
async fn a_payment_code_of_another_person_refunds_nothing_where_the_wallet_can_tell() {
    let (shop, front) = shop("where_possible").await;
    let terminal = shop.terminal();
    shop.add_operator("till", "cashier", "271828");
    let frame = shop.sandbox().payment_code(WECHAT, ORDER).await;

    front.shows(Ok(BERT));
    let refused = terminal.refund_with_frames(&wish(), &[&frame]).send().await;
    refused.assert_status(422);
    assert_eq!(refused.str("code"), "payer_mismatch");
    let order = shop.merchant().order(WECHAT, ORDER).await;
    assert_eq!((&order["reserved"], &order["refundable"]), (&fen(0), &fen(5_000)), "nothing is held");

    front.shows(Ok(ANNA));
    let taken = terminal.refund_with_frames(&wish(), &[&frame]).send().await;
    taken.assert_status(202);
    shop.until(taken.refund_id(), "succeeded").await;

    // two calls: a scan that is looked at first, and named in the refund
    front.shows(Ok(BERT));
    let scan = terminal.scan(&frame).await;
    scan.assert_status(201);
    assert_eq!(scan.body["subject"]["payer_known"], true);
    let mut named = wish();
    named["scan_id"] = scan.body["scan_id"].clone();
    let preview = terminal.post("/v1/refunds/preview").json(&named).send().await;
    assert_eq!(preview.str("code"), "payer_mismatch", "{}", preview.text);
    shop.close().await;
}

#[tokio::test]
async fn a_code_that_is_nobodys_proves_nobodys_presence_and_no_answer_goes_by_the_policy() {
    let (shop, front) = shop("where_possible").await;
    let terminal = shop.terminal();
    shop.add_operator("till", "cashier", "271828");
    let frame = shop.sandbox().payment_code(WECHAT, ORDER).await;
    front.shows(Err("AUTHCODEEXPIRE"));
    let refused = terminal.refund_with_frames(&wish(), &[&frame]).send().await;
    assert_eq!((refused.status, refused.str("code")), (422, "scan_expired"));
    front.shows(Err("SYSTEMERROR"));
    let taken = terminal.refund_with_frames(&wish(), &[&frame]).send().await;
    taken.assert_status(202);
    shop.until(taken.refund_id(), "succeeded").await;
    shop.close().await;
}

#[tokio::test]
async fn where_it_is_required_what_can_not_be_compared_is_refused() {
    let (shop, front) = shop("required").await;
    let terminal = shop.terminal();
    shop.add_operator("till", "cashier", "271828");
    let frame = shop.sandbox().payment_code(WECHAT, ORDER).await;
    front.shows(Err("SYSTEMERROR"));
    let refused = terminal.refund_with_frames(&wish(), &[&frame]).send().await;
    assert_eq!((refused.status, refused.str("code")), (503, "wallet_unavailable"));
    // not granted: nobody can tell, and the policy says no
    front.shows(Err("NOAUTH"));
    let refused = terminal.refund_with_frames(&wish(), &[&frame]).send().await;
    assert_eq!((refused.status, refused.str("code")), (409, "policy_refused"));
    // Alipay grants this shop no look-up at all
    shop.sandbox().pay(ALIPAY, "PAYER-0002", 3_000).await;
    let alipays = shop.sandbox().payment_code(ALIPAY, "PAYER-0002").await;
    let mut other = wish();
    other["order_no"] = "PAYER-0002".into();
    let refused = terminal.refund_with_frames(&other, &[&alipays]).send().await;
    assert_eq!((refused.status, refused.str("code")), (409, "policy_refused"));
    // a bill code names an order and no person: the check is about payment codes
    let bill = shop.sandbox().bill_code(WECHAT, ORDER).await;
    let taken = terminal.refund_with_frames(&wish(), &[&bill]).send().await;
    taken.assert_status(202);
    shop.until(taken.refund_id(), "succeeded").await;
    shop.close().await;
}

#[tokio::test]
async fn a_payment_code_alone_lists_the_payers_orders_and_nobody_elses() {
    let (shop, front) = shop("where_possible").await;
    let terminal = shop.terminal();
    shop.add_operator("till", "cashier", "271828");
    for (number, payer) in [("PAYER-0003", ANNA), ("PAYER-0004", BERT)] {
        let order = json!({ "wallet": WECHAT, "out_trade_no": number, "amount_fen": 700, "payer": payer });
        shop.sandbox().order(order).await;
    }
    for number in [ORDER, "PAYER-0003", "PAYER-0004"] {
        shop.merchant().order(WECHAT, number).await; // asked of the wallet, and kept
    }
    front.shows(Ok(ANNA));
    let mut wish = wish();
    wish.as_object_mut().unwrap().remove("order_no");
    let frame = shop.sandbox().payment_code(WECHAT, ORDER).await;
    let refused = terminal.refund_with_frames(&wish, &[&frame]).send().await;
    assert_eq!((refused.status, refused.str("code")), (422, "order_required"));
    let orders = refused.body["orders"].as_array().unwrap().iter();
    let numbers: Vec<&str> = orders.map(|order| order["order_no"].as_str().unwrap()).collect();
    assert_eq!(numbers, ["PAYER-0003", ORDER], "newest first, and none of Bert's");
    shop.close().await;
}

#[tokio::test]
async fn switched_off_nobody_is_asked() {
    let (shop, front) = shop("off").await;
    let terminal = shop.terminal();
    shop.add_operator("till", "cashier", "271828");
    front.shows(Ok(BERT));
    let frame = shop.sandbox().payment_code(WECHAT, ORDER).await;
    let taken = terminal.refund_with_frames(&wish(), &[&frame]).send().await;
    taken.assert_status(202);
    shop.until(taken.refund_id(), "succeeded").await;
    assert_eq!(*front.asked.lock().unwrap(), 0);
    shop.close().await;
}

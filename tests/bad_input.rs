//! What people, tills and configurations get wrong: each gets a clear answer that names the cause, and changes nothing.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::shop::{ALIPAY, Answer, Caller, Shop, WECHAT, fen, fresh_key, pictures, variable};

/// The fields that a `validation_failed` names.
fn fields(answer: &Answer) -> Vec<&str> {
    answer.assert(422, "validation_failed");
    let errors = answer.body["errors"].as_array().unwrap();
    errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
}

async fn refund(caller: &Caller, body: &str) -> Answer {
    caller.post("/v1/refunds").key(&fresh_key()).body("application/json", body).send().await
}

async fn is_untouched(shop: &Shop, wallet: &str, number: &str) {
    let order = shop.merchant().order(wallet, number).await;
    assert_eq!((&order["reserved"], &order["refunded"]), (&fen(0), &fen(0)));
    assert!(shop.merchant().all("/v1/refunds").await.is_empty());
}

#[tokio::test]
async fn an_amount_that_is_none_is_refused_by_its_field() {
    let shop = Shop::new().order(ALIPAY, "AMOUNT-001", 1_000).open().await;
    let merchant = shop.merchant();
    for (amount, field) in [
        (r#"{"value":0,"currency":"CNY"}"#, "amount.value"),
        (r#"{"value":-1,"currency":"CNY"}"#, "amount.value"),
        (r#"{"value":0.5,"currency":"CNY"}"#, "amount.value"),
        (r#"{"value":1.0,"currency":"CNY"}"#, "amount.value"),
        (r#"{"value":1e2,"currency":"CNY"}"#, "amount.value"),
        (r#"{"value":"100","currency":"CNY"}"#, "amount.value"),
        (r#"{"value":1000000000000001,"currency":"CNY"}"#, "amount.value"),
        (r#"{"value":9223372036854775808,"currency":"CNY"}"#, "amount.value"),
        (r#"{"value":100000000000000000000000000000000000,"currency":"CNY"}"#, "amount.value"),
        (r#"{"value":null,"currency":"CNY"}"#, "amount.value"),
        (r#"{"value":100,"currency":"cny"}"#, "amount.currency"),
        (r#"{"value":100,"currency":"CNYX"}"#, "amount.currency"),
        (r#"{"value":100,"currency":"¥"}"#, "amount.currency"),
        (r#"{"value":100}"#, "amount.currency"),
        (r#"{"currency":"CNY"}"#, "amount.value"),
        (r#"{"value":100,"currency":"CNY","yuan":1}"#, "amount.yuan"),
        ("100", "amount"),
        (r#""1.00""#, "amount"),
    ] {
        let body = format!(r#"{{"order_no":"AMOUNT-001","reason":"quality","amount":{amount}}}"#);
        let answer = refund(&merchant, &body).await;
        assert_eq!(fields(&answer), [field], "{amount}");
        let order = format!(
            r#"{{"order_no":"AMOUNT-002","wallet":"alipay","paid_at":"2026-07-01T10:00:00Z","kind":"sale","amount":{amount}}}"#
        );
        let answer = merchant.post("/v1/orders").body("application/json", order).send().await;
        assert_eq!(fields(&answer), [field], "{amount}");
    }
    // more than the order, and more than any order: a refusal of the amount, not of its form
    let most = r#"{"order_no":"AMOUNT-001","reason":"quality","amount":{"value":1000000000000000,"currency":"CNY"}}"#;
    refund(&merchant, most).await.assert(409, "amount_exceeds_refundable");
    is_untouched(&shop, ALIPAY, "AMOUNT-001").await;
    shop.close().await;
}

/// All that is wrong is said at once, each by its name.
#[tokio::test]
async fn every_wrong_field_is_named() {
    let shop = Shop::new().open().await;
    let merchant = shop.merchant();
    let wrong = json!({
        "order_no": "with space", "wallet": "cash", "scan_id": "7", "amount": fen(0), "reason": "because",
        "note": "x".repeat(501), "operator_id": "li", "metadata": { "much": "x".repeat(5_000) },
    });
    let answer = merchant.refund_call(&fresh_key(), &wrong).send().await;
    let named = ["order_no", "wallet", "scan_id", "amount.value", "reason", "note", "operator_pin", "metadata"];
    assert_eq!(fields(&answer), named);
    let wrong = json!({
        "order_no": "", "wallet": "cash", "amount": fen(-1), "paid_at": "yesterday", "transaction_id": "a b",
        "aliases": ["fine", "not fine"], "kind": "gift", "starts_at": "soon", "store_id": "", "terminal_id": "a b",
    });
    let answer = merchant.post("/v1/orders").json(&wrong).send().await;
    let named = [
        "order_no",
        "wallet",
        "amount.value",
        "paid_at",
        "transaction_id",
        "aliases[1]",
        "kind",
        "starts_at",
        "store_id",
        "terminal_id",
    ];
    let answered = fields(&answer);
    assert!(named.iter().all(|field| answered.contains(field)), "{answered:?}");
    shop.close().await;
}

#[tokio::test]
async fn a_body_that_can_not_be_read_is_refused_with_its_reason() {
    let shop = Shop::new().order(ALIPAY, "BODY-00001", 1_000).open().await;
    let merchant = shop.merchant();
    for body in ["", "{", "not json", "{\"reason\":\"quality\"} trailing", "{'reason':'quality'}", "\u{feff}{}"] {
        let answer = refund(&merchant, body).await;
        answer.assert(400, "malformed_request");
        assert!(answer.str("detail").len() > 10, "{}", answer.text);
    }
    for body in ["[]", "null", "7", "\"quality\"", "{}", r#"{"reason":7}"#, r#"{"reason":"quality","surprise":1}"#] {
        refund(&merchant, body).await.assert(422, "validation_failed");
    }
    for body in [&b"{\"reason\":\"\xff\"}"[..], &[0; 64][..]] {
        let answer = merchant.post("/v1/refunds").key(&fresh_key()).body("application/json", body).send().await;
        answer.assert(400, "malformed_request");
    }
    // deeper than any stack: an answer, not a crash
    let deep = format!(r#"{{"reason":"quality","metadata":{{"a":{}{}}}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let answer = refund(&merchant, &deep).await;
    assert!(matches!(answer.str("code"), "malformed_request" | "validation_failed"), "{}", answer.text);
    merchant.order(ALIPAY, "BODY-00001").await;
    is_untouched(&shop, ALIPAY, "BODY-00001").await;
    shop.close().await;
}

#[tokio::test]
async fn a_multipart_body_that_is_broken_is_refused_with_its_reason() {
    let shop = Shop::new().order(WECHAT, "PARTS-0001", 1_000).open().await;
    let terminal = shop.terminal();
    let frame = shop.sandbox().bill_code(WECHAT, "PARTS-0001").await;
    let wish = json!({ "reason": "quality", "amount": fen(100) }).to_string();
    let refund_part = ("refund", "application/json", wish.as_bytes());
    let frame_part = ("frame", "image/png", frame.as_slice());
    let call = || terminal.post("/v1/refunds").key(&fresh_key());

    for (media_type, body) in [
        ("multipart/form-data", "--x\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", "no boundary in here"),
        (
            "multipart/form-data; boundary=x",
            "--x\r\ncontent-disposition: form-data; name=\"refund\"\r\n\r\n{\"reason\"",
        ),
        (
            "multipart/form-data; boundary=x",
            "--x\r\ncontent-disposition: form-data; name=\"refund\"\r\n\r\n{\r\n--x--\r\n",
        ),
        ("multipart/form-data; boundary=x", "--x\r\nno headers at all\r\n--x--\r\n"),
    ] {
        let answer = call().body(media_type, body).send().await;
        assert!(matches!(answer.status, 400 | 422), "{media_type} {body:?}: {} {}", answer.status, answer.text);
        assert!(matches!(answer.str("code"), "malformed_request" | "validation_failed"), "{}", answer.text);
    }
    let nine = vec![frame_part; 9];
    for (parts, field) in [
        (vec![refund_part], "frame"),
        (vec![frame_part], "refund"),
        (vec![refund_part, refund_part, frame_part], "refund"),
        (vec![refund_part, frame_part, ("receipt", "text/plain", &b"x"[..])], "receipt"),
        ([&[refund_part], &nine[..]].concat(), "frame"),
        (vec![("refund", "application/json", &b"{\"reason\":7}"[..]), frame_part], "reason"),
    ] {
        let answer = call().multipart(&parts).send().await;
        assert_eq!(fields(&answer), [field]);
    }
    let broken = vec![("refund", "application/json", &b"{\"reason\":"[..]), frame_part];
    call().multipart(&broken).send().await.assert(400, "malformed_request");
    let large = vec![0; (8 << 20) + 1];
    let parts = vec![refund_part, ("frame", "image/png", large.as_slice())];
    call().multipart(&parts).send().await.assert(413, "frame_too_large");
    let long = format!("{{\"note\":\"{}\"}}", "x".repeat(70_000));
    let parts = vec![("refund", "application/json", long.as_bytes()), frame_part];
    call().multipart(&parts).send().await.assert(413, "body_too_large");
    shop.merchant().order(WECHAT, "PARTS-0001").await;
    is_untouched(&shop, WECHAT, "PARTS-0001").await;
    shop.close().await;
}

#[tokio::test]
async fn a_picture_that_is_none_or_a_trap_is_refused_before_it_costs_anything() {
    let shop = Shop::new().open().await;
    let terminal = shop.terminal();
    let photo = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/frames/no-code-480.jpg")).unwrap();
    let noise: Vec<u8> = (0..50_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("noise", noise),
        ("a JPEG that is cut off", photo[..photo.len() / 3].to_vec()),
        (
            "a GIF",
            b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\0\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
                .to_vec(),
        ),
        ("a page", b"<html><body>404</body></html>".to_vec()),
        ("no code", photo),
        ("data for more than the header says", pictures::claiming(pictures::bomb(3_000, 3_000), 64, 64)),
        ("a header for more than there is", pictures::claiming(pictures::bomb(8, 8), 3_000, 3_000)),
    ] {
        let answer = terminal.scan(&bytes).await;
        assert_eq!((answer.status, answer.str("code")), (422, "frame_unreadable"), "{what}: {}", answer.text);
    }
    for (what, bytes) in [
        ("more than 8 MiB", vec![0xff; (8 << 20) + 1]),
        ("13 million pixels in a few kilobytes", pictures::bomb(4_400, 3_000)),
        ("a strip that is too long", pictures::bomb(9_000, 10)),
        ("a header that claims 65000 × 65000", pictures::claiming(pictures::bomb(8, 8), 65_000, 65_000)),
    ] {
        let answer = terminal.scan(&bytes).await;
        assert_eq!((answer.status, answer.str("code")), (413, "frame_too_large"), "{what}: {}", answer.text);
    }
    shop.close().await;
}

/// A number of payment-code form is nobody's order number: it is asked of no wallet, logged nowhere and kept nowhere.
#[tokio::test]
async fn a_payment_code_where_an_order_number_belongs_goes_nowhere() {
    let shop = Shop::new().open().await;
    let merchant = shop.merchant();
    for code in ["134567890123456780", "287368233638646470"] {
        shop.plant(code);
        merchant.get(&format!("/v1/orders/{code}")).await.assert(404, "order_not_found");
        merchant.refund(code, 100).await.assert(404, "order_not_found");
        merchant.get(&format!("/v1/refunds?order_no={code}")).await.assert_status(200);
    }
    assert!(!shop.log().contains("query_order"), "a wallet was asked");
    for number in ["a%20b", "%00", "%F0%9F%92%B8", &"9".repeat(65), "a%0Ab"] {
        let answer = merchant.get(&format!("/v1/orders/{number}")).await;
        answer.assert(422, "validation_failed");
    }
    shop.close().await;
}

/// A service that can't work says so at the start, by the name of what is wrong, and ends.
#[tokio::test]
async fn a_configuration_that_can_not_work_is_refused_by_name() {
    let shop = Shop::new().prepare().await;
    let good = fs::read_to_string(shop.config_file()).unwrap();
    let mut wrong: Vec<(&str, String, Vec<&str>)> = Vec::new();
    let mut add = |what, text: String, names: &[&'static str]| {
        assert_ne!(text, good, "{what}");
        wrong.push((what, text, names.to_vec()));
    };
    let replaced = |from: &str, to: &str| good.replacen(from, to, 1);
    add("no TOML", format!("{good}\nthis is = = no TOML"), &["serve.toml"]);
    add("an unknown section", format!("{good}\n[refundz]\nx = 1\n"), &["refundz"]);
    add("an unknown setting", replaced("[http]", "[http]\nlistne = \"x\""), &["listne"]);
    add("a wrong type", replaced("time_scale = 600", "time_scale = \"fast\""), &["time_scale"]);
    add("a negative number", replaced("time_scale = 600", "time_scale = -1"), &["time_scale"]);
    add("no pepper", replaced("pepper = ", "# pepper = "), &["secrets.pepper"]);
    add("a short pepper", replaced("pepper = \"", "pepper = \"short\" # "), &["secrets.pepper"]);
    add("an unknown rule", replaced("operator = \"never\"", "operator = \"sometimes\""), &["policy.operator"]);
    add("a merchant twice", format!("{good}\n[[merchant]]\nid = \"demo\"\n"), &["merchant", "demo"]);
    add("a merchant without id", format!("{good}\n[[merchant]]\nname = \"x\"\n"), &["id"]);
    add(
        "a missing key file",
        replaced("merchant_key.pem", "lost_key.pem"),
        &["wechat.merchant_key_file", "lost_key.pem"],
    );
    add(
        "a missing certificate",
        replaced("merchant_cert.pem", "lost_cert.pem"),
        &["wechat.merchant_cert_file", "lost_cert.pem"],
    );
    add(
        "a missing Alipay key",
        replaced("app_private_key.pem", "lost.pem"),
        &["alipay.app_private_key_file", "lost.pem"],
    );
    add(
        "a key of another certificate",
        replaced("merchant_cert.pem", "platform_cert.pem"),
        &["demo", "wechat", "certificate"],
    );
    add("a certificate where a key belongs", replaced("merchant_key.pem", "merchant_cert.pem"), &["demo", "wechat"]);
    add("a short APIv3 key", replaced("apiv3_key = \"", "apiv3_key = \"x\" # "), &["demo", "wechat"]);
    add("a base URL that is none", replaced("base_url = \"http://", "base_url = \"nonsense "), &["demo", "wechat"]);
    add(
        "the application's certificate of another key",
        {
            let dir = shop.sandbox().dir.join("alipay");
            let files = format!(
                "app_cert_file = {0:?}\nalipay_cert_file = {0:?}\nalipay_root_cert_file = {1:?}\n",
                dir.join("alipay_cert.pem"),
                dir.join("alipay_root_cert.pem")
            );
            let line = good.lines().find(|line| line.starts_with("alipay_public_key_file")).unwrap();
            replaced(line, &files)
        },
        &["demo", "alipay"],
    );
    add(
        "half of Alipay's certificates",
        {
            let line = good.lines().find(|line| line.starts_with("alipay_public_key_file")).unwrap();
            replaced(line, &format!("app_cert_file = {:?}\n", shop.sandbox().dir.join("alipay/app_cert.pem")))
        },
        &["alipay_cert_file"],
    );
    add(
        "fast time at the real wallet",
        replaced(&format!("base_url = \"{}\"", shop.sandbox().url), "base_url = \"https://api.mch.weixin.qq.com\""),
        &["wallet.time_scale"],
    );
    for (what, text, names) in wrong {
        fs::write(shop.config_file(), text).unwrap();
        let said = shop.does_not_start(|_| ());
        for name in names {
            assert!(said.contains(name), "{what}: {name} is not in {said:?}");
        }
        assert!(said.lines().count() <= 6 && !said.contains("panicked"), "{what}: {said}");
        let pepper = good.lines().find_map(|line| line.strip_prefix("pepper = ")).unwrap().trim_matches('"');
        assert!(!said.contains(pepper), "{what}: it says the pepper");
    }
    fs::write(shop.config_file(), &good).unwrap();

    for (setting, value, names) in [
        ("http.listen", "nowhere", vec!["http.listen"]),
        ("http.listen", "192.0.2.1:80", vec!["http.listen", "192.0.2.1:80"]), // an address of no machine
        ("http.public_url", "ftp://x", vec!["http.public_url"]),
        ("http.answer_within_ms", "0", vec!["http.answer_within_ms"]),
        ("http.drain_ms", "5001", vec!["http.drain_ms"]),
        ("database.url", "mysql://x", vec!["database.url"]),
        ("database.url", "sqlite:/proc/no/such/folder/x.sqlite", vec!["database"]),
        ("database.url", "sqlite:/proc/scanback.sqlite", vec!["database"]), // nobody can write there
        ("redis.url", "http://127.0.0.1", vec!["redis"]),
        ("redis.key_lease_ms", "60000", vec!["redis"]),
        ("wallet.time_scale", "0", vec!["wallet.time_scale"]),
        ("limits.requests_per_second", "0", vec!["limits.requests_per_second"]),
        ("nonsense.setting", "1", vec!["nonsense"]),
        ("http.nonsense", "1", vec!["nonsense"]),
    ] {
        let said = shop.does_not_start(|command: &mut Command| {
            command.env(variable(setting), value);
        });
        for name in names {
            assert!(said.to_lowercase().contains(name), "{setting} = {value}: {name} is not in {said:?}");
        }
        assert!(!said.contains("panicked"), "{setting} = {value}: {said}");
    }
    fs::remove_file(shop.config_file()).unwrap();
    assert!(shop.does_not_start(|_| ()).contains("serve.toml"));
    shop.abandon().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused_by_name() {
    let shop = Shop::new().open().await;
    let taken = shop.base().trim_start_matches("http://").to_owned();
    let said = shop.does_not_start(|_| ()); // its own address, which it keeps for restarts
    assert!(said.contains("http.listen") && said.contains(&taken), "{said}");
    shop.merchant().get("/v1/orders").await.assert_status(200);
    shop.close().await;
}

/// A PostgreSQL that isn't there: the service ends with the cause, and never shows the password.
#[tokio::test]
async fn a_database_that_can_not_be_reached_is_refused_by_name() {
    let shop = Shop::new().prepare().await;
    let said = shop.does_not_start(|command: &mut Command| {
        command.env(variable("database.url"), "postgres://scanback:hunter2hunter2@127.0.0.1:1/scanback");
    });
    assert!(said.to_lowercase().contains("database"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    shop.abandon().await;
}

/// The ledger breaks while the shop is open: nothing is sent, the caller is told to come back, and then all is well.
#[tokio::test]
async fn while_the_ledger_does_not_answer_nothing_is_sent() {
    let shop = Shop::new().order(ALIPAY, "LEDGER-001", 1_000).open().await;
    let (merchant, key) = (shop.merchant(), fresh_key());
    merchant.order(ALIPAY, "LEDGER-001").await;
    let refund = json!({ "order_no": "LEDGER-001", "amount": fen(700), "reason": "quality" });
    let broken = shop.store.break_down().await;
    let answer = merchant.refund_call(&key, &refund).send().await;
    answer.assert(503, "dependency_unavailable");
    assert!(answer.body["retryable"] == true && !answer.header("retry-after").is_empty());
    assert_eq!(shop.stranger().get("/healthz").await.status, 200, "the process is alive");
    if crate::shop::on_postgres() {
        let ready = shop.ready().await;
        assert_eq!((ready.status, &ready.body["checks"]["database"]), (503, &json!("down")));
        merchant.get("/v1/orders").await.assert(503, "dependency_unavailable");
    }
    assert_eq!(shop.sandbox().paid_back(ALIPAY, "LEDGER-001").await, (0, vec![]));
    broken.mend().await;
    shop.until_ready("ready", |ready| ready.str("status") == "ready").await;
    let answer = merchant.refund_call(&key, &refund).send().await;
    answer.assert(201, "succeeded");
    assert!(!answer.is_replay());
    shop.close().await;
}

/// The ledger breaks while the wallet works: the caller hears 202, and what the wallet did is written down later.
#[tokio::test]
async fn a_ledger_that_breaks_during_a_call_learns_of_it_later() {
    for wallet in [ALIPAY, WECHAT] {
        let shop = Shop::new().impatient().order(wallet, "LEDGER-002", 1_000).open().await;
        let merchant = shop.merchant();
        merchant.order(wallet, "LEDGER-002").await;
        let slow = json!({ "wallet": wallet, "operation": "refund", "kind": "slow", "times": 1, "delay_ms": 1000 });
        shop.sandbox().fault_with(slow).await;
        let asked = tokio::spawn(async move { merchant.refund("LEDGER-002", 700).await });
        shop.sandbox().until_taken(wallet, "LEDGER-002").await;
        let broken = shop.store.break_down().await;
        let answer = asked.await.unwrap();
        answer.assert(202, "submitting");
        broken.mend().await;
        shop.until_ready("ready", |ready| ready.str("status") == "ready").await;
        shop.until(answer.refund_id(), "succeeded").await;
        assert_eq!(shop.sandbox().paid_back(wallet, "LEDGER-002").await, (700, vec![1]));
        shop.close().await;
    }
}

/// Numbers of other merchants, other wallets or nobody: unknown all the same.
#[tokio::test]
async fn a_number_that_nobody_has_is_not_found_in_any_form() {
    let shop = Shop::new().order(ALIPAY, "NOBODY-001", 1_000).open().await;
    let merchant = shop.merchant();
    for (number, wallet) in [("NOBODY-001", WECHAT), ("NOBODY-002", ALIPAY), ("4200000000000000000000000001", WECHAT)] {
        let wish: Value = json!({ "order_no": number, "wallet": wallet, "amount": fen(1), "reason": "other" });
        merchant.refund_call(&fresh_key(), &wish).send().await.assert(404, "order_not_found");
    }
    shop.close().await;
}

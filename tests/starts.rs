//! What would put money at risk is refused at the start, or told of by name; and a clock that is off breaks nothing that
//! several processes share.

use serde_json::json;

use crate::shop::{ALIPAY, POLL, RedisServer, Shop, WECHAT, another_time, fen, fresh_key, on_postgres, variable};

#[tokio::test]
async fn a_second_service_on_a_sqlite_file_is_refused_by_name_and_the_first_goes_on() {
    if on_postgres() {
        return; // any number of processes share a server
    }
    let mut shop = Shop::new().order(ALIPAY, "START-0001", 1_000).open().await;
    let said = shop.does_not_start(|command| {
        command.env(variable("http.listen"), "127.0.0.1:0");
    });
    assert!(said.contains("database.url") && said.contains("in use"), "{said}");
    shop.merchant().refund("START-0001", 700).await.assert(201, "succeeded");
    // the tools don't need it to themselves, and a killed one leaves nothing locked
    shop.make_token("auditor", "demo", "beside");
    shop.crash().await;
    shop.close().await;
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_refused_by_name() {
    let mut shop = Shop::new().open().await;
    shop.ask_to_stop();
    assert!(shop.stop().await.success());
    shop.store
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 9999, 'of tomorrow', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .await;
    let said = shop.does_not_start(|_| ());
    assert!(said.contains("9999") && said.contains("schema"), "{said}");
    let doctor = shop.run(&["doctor"], "");
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        !doctor.status.success() && said.lines().any(|line| line.contains("schema") && line.contains("9999")),
        "{said}"
    );
    shop.abandon().await;
}

#[tokio::test]
async fn a_database_that_may_lose_commits_is_told_of_by_name() {
    if !on_postgres() {
        return; // on SQLite the program sets it itself
    }
    let mut shop = Shop::new().prepare().await;
    let url = format!("{}?options[synchronous_commit]=off", shop.store.url());
    shop.set("database.url", url);
    shop.start().await;
    shop.until_logged(1, "synchronous_commit = on").await;
    let said = String::from_utf8_lossy(&shop.run(&["doctor"], "").stdout).into_owned();
    assert!(said.contains("synchronous_commit = on"), "{said}");
    shop.close().await;
}

/// A replica of Redis can't be written: it counts as lost, is named, and costs no request.
#[tokio::test]
async fn a_redis_that_is_a_replica_is_told_of_by_name_and_costs_no_request() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let _: String = redis.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let shop = Shop::new().setting("redis.url", redis.url()).order(ALIPAY, "START-0002", 1_000).open().await;
    let ready = shop.ready().await;
    assert_eq!((ready.str("status"), &ready.body["checks"]["redis"]), ("degraded", &json!("down")));
    shop.until_logged(1, "read only replica").await;
    shop.merchant().refund("START-0002", 700).await.assert(201, "succeeded");
    shop.close().await;
}

/// More than five minutes off, and the wallets refuse what is signed: told of as soon as anybody tells the time.
#[tokio::test]
async fn a_clock_that_is_off_is_told_of_by_name() {
    let Some(library) = another_time() else { return };
    let mut shop = Shop::new().order(WECHAT, "START-0003", 1_000).prepare().await;
    shop.set_variable("LD_PRELOAD", library);
    shop.set_variable("FAKETIME", "+600s");
    shop.start().await;
    let answer = shop.merchant().refund("START-0003", 700).await;
    assert!(answer.status >= 400, "{}", answer.text);
    shop.until_logged(1, "clock is off by more than five minutes").await;
    let ready = shop.until_ready("the clock to be told of", |ready| ready.body["checks"]["clock"] == "off").await;
    assert_eq!(ready.str("status"), "degraded");
    shop.close().await;
}

/// A replica whose clock is three seconds ahead: WeChat's minute, a tenth of a second here, is kept all the same.
#[tokio::test]
async fn a_replica_with_another_clock_keeps_the_wallets_pace() {
    let (true, Some(library)) = (on_postgres(), another_time()) else { return };
    for ahead in ["+3s", "-3s"] {
        let mut shop = Shop::new().time_scale(60).order(WECHAT, "START-0004", 1_000).open().await;
        shop.set_variable("LD_PRELOAD", library);
        shop.set_variable("FAKETIME", ahead);
        let replica = shop.start_replica().await;
        for n in 0..6 {
            let caller = if n % 2 == 0 { shop.merchant() } else { replica.caller(&shop) };
            let refund = json!({ "order_no": "START-0004", "amount": fen(100), "reason": "quality" });
            let answer = caller.refund_call(&fresh_key(), &refund).send().await;
            assert!(matches!(answer.status, 201 | 202), "{}", answer.text);
        }
        shop.until_settled(0).await;
        for refund in shop.merchant().all("/v1/refunds").await {
            assert_eq!(refund["state"], "succeeded", "{refund:#}");
            let held = refund["timeline"].as_array().unwrap().iter().any(|line| line["event"] == "held");
            assert!(!held, "too soon for the wallet: {refund:#}");
        }
        replica.until_ended().await;
        shop.close().await;
    }
}

/// A scanner that was pointed at the note: the code is kept nowhere (the shop's close looks for it).
#[tokio::test]
async fn a_payment_code_that_is_typed_into_a_note_or_into_metadata_is_kept_nowhere() {
    let shop = Shop::new().order(ALIPAY, "START-0005", 1_000).open().await;
    let code = "134567890123456789";
    shop.plant(code);
    let refund = |field: &str, value: serde_json::Value| {
        let mut refund = json!({ "order_no": "START-0005", "amount": fen(100), "reason": "quality" });
        refund[field] = value;
        refund
    };
    let refused =
        shop.merchant().refund_call(&fresh_key(), &refund("metadata", json!({ "scanned": code }))).send().await;
    refused.assert(422, "validation_failed");
    assert_eq!(refused.body["errors"][0]["field"], "metadata");
    assert!(!refused.text.contains(code));
    let (key, noted) = (fresh_key(), refund("note", json!(format!("shows {code}"))));
    let taken = shop.merchant().refund_call(&key, &noted).send().await;
    taken.assert(201, "succeeded");
    assert_eq!(taken.body["note"], "shows 13****************");
    assert!(shop.merchant().refund_call(&key, &noted).send().await.is_replay());
    tokio::time::sleep(POLL).await;
    shop.close().await;
}

//! PostgreSQL breaks under load: nothing that was acknowledged is lost, and nothing is paid twice.

use sqlx::{Connection as _, PgConnection};

use super::{
    gauge,
    load::{Load, ORDERS, check, paid_orders},
    opening,
};
use crate::shop::{Line, PostgresServer, Shop, on_postgres};

/// Refunds that go through in each state.
const MEANWHILE: usize = 12;

/// Waits until the desk says that its database is away.
async fn until_away(shop: &Shop) {
    let ready = shop.until_ready("unavailable", |ready| ready.status == 503).await;
    assert_eq!((ready.str("status"), ready.body["checks"]["database"].as_str()), ("unavailable", Some("down")));
}

/// Waits until it says that all is well again.
async fn until_back(shop: &Shop) {
    shop.until_ready("ready", |ready| ready.status == 200).await;
    assert!((gauge(shop, "scanback_database_up").await - 1.0).abs() < f64::EPSILON);
}

async fn close(shop: Shop, load: Load) {
    let told = load.end_where_commits_get_lost().await;
    check(&shop, &told).await;
    shop.close().await;
}

#[tokio::test]
async fn a_postgres_that_is_killed_or_restarted_loses_and_doubles_nothing() {
    if !on_postgres() {
        return;
    }
    let Some(mut postgres) = PostgresServer::start(&[]) else { return };
    let shop = opening().setting("database.url", postgres.url()).open().await;
    shop.caller("auditor", "demo"); // made while there is a database
    let load = Load::start(&[shop.merchant()], paid_orders(&shop, "KILLED", ORDERS).await);
    load.until_more(MEANWHILE).await;
    for _ in 0..2 {
        postgres.kill();
        until_away(&shop).await;
        postgres.launch();
        until_back(&shop).await;
        load.until_more(MEANWHILE).await;
        postgres.restart();
        until_back(&shop).await;
        load.until_more(MEANWHILE).await;
    }
    close(shop, load).await;
}

/// Other programs have taken all connections, and this one's were ended.
#[tokio::test]
async fn a_postgres_without_a_connection_to_spare_loses_nothing() {
    if !on_postgres() {
        return;
    }
    // one connection is left for whoever runs the server, which the desk must not be
    let Some(postgres) = PostgresServer::start(&["max_connections=12", "superuser_reserved_connections=1"]) else {
        return;
    };
    let mut first = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::raw_sql("CREATE ROLE desk LOGIN; GRANT ALL ON SCHEMA public TO desk").execute(&mut first).await.unwrap();
    let url = postgres.url().replace("scanback@", "desk@");
    let shop = opening().setting("database.url", &url).setting("database.max_connections", 6).open().await;
    shop.caller("auditor", "demo");
    let load = Load::start(&[shop.merchant()], paid_orders(&shop, "CROWDED", ORDERS).await);
    load.until_more(MEANWHILE).await;

    let mut crowd = Vec::new();
    let mut is_full = false;
    while !is_full || crowd.len() < 11 {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'desk' AND application_name <> 'crowd'";
        sqlx::raw_sql(end).execute(&mut first).await.unwrap();
        match PgConnection::connect(&format!("{url}?application_name=crowd")).await {
            Ok(connection) => crowd.push(connection),
            Err(_) => is_full = true,
        }
        if is_full && crowd.len() >= 10 {
            break;
        }
    }
    until_away(&shop).await;
    drop(crowd);
    until_back(&shop).await;
    load.until_more(MEANWHILE).await;
    drop(first);
    close(shop, load).await;
}

/// The primary dies under load; its synchronous standby goes on, with all that was acknowledged.
#[tokio::test]
async fn a_fail_over_to_the_synchronous_standby_loses_nothing() {
    if !on_postgres() {
        return;
    }
    let Some(mut primary) = PostgresServer::start(&["synchronous_standby_names=*"]) else { return };
    let standby = primary.standby(&[]);
    let url = format!("postgres://scanback@{},{}/postgres", primary.address(), standby.address());
    let shop = opening().setting("database.url", url).open().await;
    let load = Load::start(&[shop.merchant()], paid_orders(&shop, "FAILOVER", ORDERS).await);
    load.until_more(MEANWHILE).await;
    primary.kill();
    until_away(&shop).await;
    standby.promote();
    until_back(&shop).await;
    load.until_more(MEANWHILE).await;
    close(shop, load).await;
}

/// The line to the server swallows what is said: nobody hangs up, and no answer comes.
#[tokio::test]
async fn a_line_to_postgres_that_swallows_all_is_given_up() {
    if !on_postgres() {
        return;
    }
    let Some(postgres) = PostgresServer::start(&[]) else { return };
    let line = Line::to(&postgres.address());
    let url = postgres.url().replace(&postgres.address(), &line.address);
    let shop = opening().setting("database.url", url).open().await;
    let load = Load::start(&[shop.merchant()], paid_orders(&shop, "SWALLOWED", ORDERS).await);
    for swallow in [Line::swallow_questions, Line::swallow_answers] {
        load.until_more(MEANWHILE).await;
        swallow(&line);
        until_away(&shop).await;
        line.mend();
        until_back(&shop).await;
    }
    load.until_more(MEANWHILE).await;
    close(shop, load).await;
}

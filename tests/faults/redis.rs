//! Redis breaks in every way it can: it costs time, and no refund (contract §4 rule 2).

use std::time::Instant;

use super::{
    gauge,
    load::{Load, ORDERS, check, paid_orders},
    opening,
};
use crate::shop::{PATIENCE, POLL, RedisServer, Shop, on_postgres};

/// Refunds that go through in each state.
const MEANWHILE: usize = 12;

/// Waits until `/readyz` says it, and looks whether `/metrics` says the same.
async fn until_told(shop: &Shop, status: &str, up: f64) {
    shop.until_ready(status, |ready| ready.status == 200 && ready.str("status") == status).await;
    assert!((gauge(shop, "scanback_redis_up").await - up).abs() < f64::EPSILON, "{status}");
}

/// Ends the test: what was told of is there.
async fn close(shop: Shop, load: Load) {
    assert_eq!(load.in_vain(), 0, "a request failed because of Redis");
    let told = load.end().await;
    check(&shop, &told).await;
    shop.close().await;
}

#[tokio::test]
async fn redis_killed_flushed_paused_read_only_or_full_costs_no_request() {
    if !on_postgres() {
        return; // where there is one machine there is no Redis
    }
    let Some(mut redis) = RedisServer::start(&["--maxmemory-policy", "noeviction"]) else { return };
    let shop = opening().setting("redis.url", redis.url()).open().await;
    let load = Load::start(&[shop.merchant()], paid_orders(&shop, "REDIS", ORDERS).await);
    until_told(&shop, "ready", 1.0).await;
    load.until_more(MEANWHILE).await;

    redis.kill();
    until_told(&shop, "degraded", 0.0).await;
    load.until_more(MEANWHILE).await;
    redis.launch();
    until_told(&shop, "ready", 1.0).await;

    redis.tell(&["FLUSHALL"]);
    redis.tell(&["SCRIPT", "FLUSH"]);
    load.until_more(MEANWHILE).await;

    redis.signal("-STOP");
    until_told(&shop, "degraded", 0.0).await;
    load.until_more(MEANWHILE).await;
    redis.signal("-CONT");
    until_told(&shop, "ready", 1.0).await;

    redis.tell(&["REPLICAOF", "127.0.0.1", "1"]); // of nobody: it can't be written any more
    until_told(&shop, "degraded", 0.0).await;
    load.until_more(MEANWHILE).await;
    redis.tell(&["REPLICAOF", "NO", "ONE"]);
    until_told(&shop, "ready", 1.0).await;

    redis.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    until_told(&shop, "degraded", 0.0).await;
    load.until_more(MEANWHILE).await;
    redis.tell(&["CONFIG", "SET", "maxmemory", "0"]);
    until_told(&shop, "ready", 1.0).await;
    load.until_more(MEANWHILE).await;
    close(shop, load).await;
}

#[tokio::test]
async fn a_sentinel_that_fails_over_costs_no_request() {
    if !on_postgres() {
        return;
    }
    let Some(mut master) = RedisServer::start(&[]) else { return };
    let Some(replica) = RedisServer::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]) else { return };
    let Some(sentinel) = RedisServer::start(&["--sentinel"]) else { return };
    sentinel.tell(&["SENTINEL", "MONITOR", "shop", "127.0.0.1", &master.port.to_string(), "1"]);
    sentinel.tell(&["SENTINEL", "SET", "shop", "down-after-milliseconds", "500"]);
    let url = format!("redis+sentinel://127.0.0.1:{}/shop", sentinel.port);
    let shop = opening().setting("redis.url", url).open().await;
    let load = Load::start(&[shop.merchant()], paid_orders(&shop, "SENTINEL", ORDERS).await);
    until_told(&shop, "ready", 1.0).await;
    until(|| sentinel.ask::<String>(&["INFO", "sentinel"]).contains("slaves=1")).await;
    load.until_more(MEANWHILE).await;

    master.kill();
    until_told(&shop, "degraded", 0.0).await;
    load.until_more(MEANWHILE).await;
    until_told(&shop, "ready", 1.0).await;
    let role = replica.ask::<Vec<::redis::Value>>(&["ROLE"]).swap_remove(0);
    assert_eq!(role, ::redis::Value::BulkString(b"master".to_vec()), "the other one is used now");
    load.until_more(MEANWHILE).await;
    close(shop, load).await;
}

#[tokio::test]
async fn a_cluster_that_loses_a_master_costs_no_request() {
    if !on_postgres() {
        return;
    }
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let Some(node) = RedisServer::start(&["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]) else {
            return;
        };
        nodes.push(node);
    }
    for (node, [from, to]) in nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
        node.tell(&["CLUSTER", "ADDSLOTSRANGE", from, to]);
        node.tell(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string()]);
    }
    let is_whole = |nodes: &[RedisServer]| {
        nodes.iter().all(|node| {
            let info: String = node.ask(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
    };
    until(|| is_whole(&nodes)).await;
    let hosts = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect::<Vec<_>>().join(",");
    let shop = opening().setting("redis.url", format!("redis+cluster://{hosts}")).open().await;
    let load = Load::start(&[shop.merchant()], paid_orders(&shop, "CLUSTER", ORDERS).await);
    until_told(&shop, "ready", 1.0).await;
    load.until_more(MEANWHILE).await;

    // the one that keeps this merchant's keys
    let place = nodes.iter().position(|node| !node.ask::<Vec<String>>(&["KEYS", "scanback:idem:*"]).is_empty());
    let lost = &mut nodes[place.unwrap()];
    lost.kill();
    until_told(&shop, "degraded", 0.0).await;
    load.until_more(MEANWHILE).await;
    lost.launch();
    until(|| is_whole(&nodes)).await;
    until_told(&shop, "ready", 1.0).await;
    load.until_more(MEANWHILE).await;
    close(shop, load).await;
}

async fn until(fits: impl Fn() -> bool) {
    let began = Instant::now();
    while !fits() {
        assert!(began.elapsed() < PATIENCE, "the servers don't come together");
        tokio::time::sleep(POLL).await;
    }
}

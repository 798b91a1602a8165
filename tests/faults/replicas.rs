//! Three services behind a proxy, set up as `deploy/haproxy.cfg` says: restarted one after the other under load, and one of
//! them lost (contract §2).

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use super::{
    load::{Load, ORDERS, check, paid_orders},
    opening,
};
use crate::shop::{Replica, Shop, is_whole_run, on_postgres};

/// Refunds that go through in each state.
const MEANWHILE: usize = 12;

/// A running proxy; gone with the test.
struct Proxy {
    base: String,
    process: Child,
}

impl Proxy {
    /// The proxy of `deploy/haproxy.cfg`, in front of these. `None`, loudly, where none is installed.
    fn start(shop: &Shop, replicas: &[Replica]) -> Option<Self> {
        if Command::new("haproxy").arg("-v").stdout(Stdio::null()).status().is_err() {
            assert!(!is_whole_run(), "tests/run installs HAProxy");
            eprintln!("SKIPPED: no haproxy to test with; on Debian: apt-get install haproxy");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut config =
            include_str!("../../deploy/haproxy.cfg").replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
        for (replica, example) in replicas.iter().zip(["127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083"]) {
            assert!(config.contains(example));
            config = config.replace(example, replica.address());
        }
        let file = shop.config_file().with_file_name("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let process = Command::new("haproxy").arg("-f").arg(&file).stdout(Stdio::null()).spawn().unwrap();
        Some(Self { base: format!("http://127.0.0.1:{port}"), process })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Three services behind a proxy; the shop's own one is not among them, and looks at the books.
async fn three(name: &str) -> Option<(Shop, Vec<Replica>, Proxy, Load)> {
    if !on_postgres() {
        return None; // SQLite has one process
    }
    let shop = opening().setting("http.drain_ms", 2_000).open().await;
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(shop.start_replica().await);
    }
    let Some(proxy) = Proxy::start(&shop, &replicas) else {
        shop.close().await;
        return None;
    };
    let orders = paid_orders(&shop, name, 2 * ORDERS).await;
    let load = Load::start(&[shop.merchant_at(&proxy.base)], orders);
    load.until_more(MEANWHILE).await;
    Some((shop, replicas, proxy, load))
}

#[tokio::test]
async fn a_rolling_restart_behind_a_proxy_fails_no_request() {
    let Some((shop, mut replicas, proxy, load)) = three("ROLLING").await else { return };
    let before = load.in_vain(); // the proxy may have been asked before it listened
    for replica in &mut replicas {
        replica.restart(&shop).await;
        load.until_more(MEANWHILE).await;
    }
    assert_eq!(load.in_vain(), before, "a request failed while services were restarted");
    let told = load.end().await;
    check(&shop, &told).await;
    drop(proxy);
    for replica in replicas {
        replica.until_ended().await;
    }
    shop.close().await;
}

/// What fails is what the lost one had in hand; asked again with the same key it is refunded, once.
#[tokio::test]
async fn a_set_of_three_that_loses_one_under_load_fails_only_what_that_one_had_in_hand() {
    let Some((shop, mut replicas, proxy, load)) = three("LOST").await else { return };
    let before = load.in_vain();
    let mut lost = replicas.pop().unwrap();
    let most_in_hand = load.tills();
    lost.service.kill();
    load.until_more(20 * MEANWHILE).await; // far longer than it takes the proxy to see it
    let failed = load.in_vain() - before;
    assert!(failed <= most_in_hand, "{failed} requests failed, and no more than {most_in_hand} were under way");
    let told = load.end().await;
    check(&shop, &told).await;
    drop((proxy, lost));
    for replica in replicas {
        replica.until_ended().await;
    }
    shop.close().await;
}

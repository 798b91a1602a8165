//! Three services behind a proxy: a rolling restart under load fails no request; one that is killed fails only what it had in
//! flight, and that succeeds on retry with the same key (issue: many replicas). PostgreSQL, Redis and HAProxy, all real.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use crate::shop::{Caller, POLL, Program, Shop, WALLETS, fen, fresh_key, on_postgres, variable};

const REPLICAS: usize = 3;
const CALLERS: usize = 6;

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// HAProxy before some services.
struct Proxy {
    process: Child,
    dir: PathBuf,
    base: String,
}

impl Proxy {
    /// `None`, loudly, where none is installed.
    fn start(servers: &[String]) -> Option<Self> {
        if Command::new("haproxy").arg("-v").stdout(Stdio::null()).status().is_err() {
            eprintln!("SKIPPED: no haproxy to test with; on Debian: apt-get install haproxy");
            return None;
        }
        let dir = std::env::temp_dir().join(format!("scanback-proxy-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&dir).unwrap();
        let front = free_address();
        // a request that found nobody, or a connection that was closed before it was read, goes to another server: the
        // Idempotency-Key makes that harmless
        let mut config = format!(
            "defaults\n mode http\n timeout connect 1s\n timeout client 30s\n timeout server 30s\n option redispatch 1\n \
             retries 3\n retry-on conn-failure empty-response\n option http-server-close\nfrontend in\n bind {front}\n \
             default_backend desks\nbackend desks\n balance roundrobin\n option httpchk GET /readyz\n"
        );
        for (index, server) in servers.iter().enumerate() {
            config.push_str(&format!(" server desk{index} {server} check inter 200ms fall 1 rise 1\n"));
        }
        let file = dir.join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let process = Command::new("haproxy").arg("-f").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Some(Self { process: process.unwrap(), dir, base: format!("http://{front}") })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn serve(shop: &Shop, address: &str, dir: &std::path::Path) -> Program {
    let mut command = shop.command(&["serve"]);
    command.env(variable("http.listen"), address);
    Program::start("replica", command, dir, "listening on ").await.0
}

/// A caller that asks until it is told to stop; what failed, with its key.
async fn load(
    number: usize,
    caller: Caller,
    shop: Arc<Shop>,
    stop: Arc<AtomicBool>,
    failed: Arc<Mutex<Vec<Failed>>>,
) -> u32 {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let (wallet, order) = (WALLETS[number % 2], format!("ROLL-{number}-{done:05}"));
        shop.sandbox().pay(wallet, &order, 1_000).await;
        shop.merchant().register(wallet, &order, 1_000).await.assert(201, "paid");
        let (key, wish) = (fresh_key(), json!({ "order_no": order, "amount": fen(500), "reason": "quality" }));
        match caller.refund_call(&key, &wish).try_send().await {
            Ok(answer) if matches!(answer.status, 201 | 202) => {}
            Ok(answer) => failed.lock().unwrap().push(Failed { key, wish, said: answer.text }),
            Err(error) => failed.lock().unwrap().push(Failed { key, wish, said: error.to_string() }),
        }
        done += 1;
    }
    done
}

struct Failed {
    key: String,
    wish: serde_json::Value,
    said: String,
}

#[tokio::test]
async fn a_rolling_restart_fails_no_request_and_a_lost_replica_only_its_own() {
    if !on_postgres() {
        return; // SQLite has one process
    }
    let opening = Shop::new().setting("limits.requests_per_second", 10_000).setting("redis.key_lease_ms", 3_000);
    let shop = Arc::new(opening.open().await);
    let addresses: Vec<String> = (0..REPLICAS).map(|_| free_address()).collect();
    let Some(proxy) = Proxy::start(&addresses) else {
        Arc::into_inner(shop).unwrap().close().await;
        return;
    };
    let mut replicas = Vec::new();
    for address in &addresses {
        replicas.push(serve(&shop, address, &proxy.dir).await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await; // the proxy sees them
    let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let caller = Caller { base: proxy.base.clone(), ..shop.merchant() };
            tokio::spawn(load(number, caller, Arc::clone(&shop), Arc::clone(&stop), Arc::clone(&failed)))
        })
        .collect();
    for (index, address) in addresses.iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(replicas[index].stop(Duration::from_secs(10)).await.success());
        replicas[index] = serve(&shop, address, &proxy.dir).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    {
        let failed = failed.lock().unwrap();
        let said: Vec<&str> = failed.iter().map(|failed| failed.said.as_str()).collect();
        assert!(said.is_empty(), "a rolling restart failed requests: {said:#?}");
    }
    replicas[1].kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::Relaxed);
    let mut asked = 0;
    for caller in callers {
        asked += caller.await.unwrap();
    }
    let failed = std::mem::take(&mut *failed.lock().unwrap());
    println!("{asked} refunds, {} failed with the replica that was killed", failed.len());
    assert!(failed.len() <= CALLERS, "more failed than can have been in flight on it: {}", failed.len());
    let caller = Caller { base: proxy.base.clone(), ..shop.merchant() };
    for Failed { key, wish, said } in failed {
        let began = std::time::Instant::now();
        loop {
            let answer = caller.refund_call(&key, &wish).send().await;
            if matches!(answer.status, 201 | 202) {
                break;
            }
            answer.assert(409, "request_in_progress"); // until the dead owner's lease ends
            assert!(began.elapsed() < Duration::from_secs(30), "after {said}: {}", answer.text);
            tokio::time::sleep(POLL).await;
        }
    }
    for mut replica in replicas.into_iter().enumerate().filter(|(index, _)| *index != 1).map(|(_, replica)| replica) {
        assert!(replica.stop(Duration::from_secs(10)).await.success());
    }
    drop(proxy);
    Arc::into_inner(shop).unwrap().close().await;
}

//! Idempotency keys against real Redis servers, started here on free ports and stopped here (contract §4 rule 2).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails its test")]

use std::time::{Duration, Instant};

use redis::Commands;
use scanback::keys::{
    Claim, ClaimGuard, Fingerprint, IdempotencyKey, Keys, KeysError, KeysHealth, StoredAnswer, StoredStatus,
};
use scanback_wallet::MerchantId;

use crate::shop::RedisServer;

const LEASE: Duration = Duration::from_millis(900);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a state may take to come. Far more than it needs: only a failing test waits for all of it.
const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(url: &str) -> Keys {
    let keys = Keys::connect(url, LEASE, DAY).await.unwrap();
    until(&keys, KeysHealth::Up).await;
    keys
}

async fn until(keys: &Keys, health: KeysHealth) {
    let deadline = Instant::now() + PATIENCE;
    while keys.health() != health {
        assert!(Instant::now() < deadline, "never {health:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Down, and not up again as soon as the line is opened anew.
async fn stays_down(keys: &Keys) {
    let end = Instant::now() + Duration::from_millis(800);
    while Instant::now() < end {
        assert_eq!(keys.health(), KeysHealth::Down);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn shop() -> MerchantId {
    MerchantId::parse("shop").unwrap()
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::from_header(text.as_bytes()).unwrap()
}

const THIS: Fingerprint = Fingerprint::from_bytes([1; 32]);
const OTHER: Fingerprint = Fingerprint::from_bytes([2; 32]);

async fn claim(keys: &Keys, text: &str) -> Claim {
    keys.claim(&shop(), &key(text), &THIS).await
}

async fn granted(keys: &Keys, text: &str) -> ClaimGuard {
    match claim(keys, text).await {
        Claim::Granted(guard) => guard,
        other => panic!("{text}: {other:?}"),
    }
}

async fn until_granted(keys: &Keys, text: &str) -> ClaimGuard {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Claim::Granted(guard) = claim(keys, text).await {
            return guard;
        }
        assert!(Instant::now() < deadline, "{text} is never granted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn answer(body: &str) -> StoredAnswer {
    StoredAnswer { status: StoredStatus::Created, body: body.to_owned(), location: Some("/v1/refunds/0193".to_owned()) }
}

/// The hash of a claim in `server`, and how long it still lives.
fn stored(server: &RedisServer) -> (Vec<String>, Duration) {
    let names: Vec<String> = server.ask(&["KEYS", "scanback:idem:*"]);
    let [name] = names.as_slice() else { panic!("{names:?}") };
    let mut words: Vec<String> = server.ask(&["HGETALL", name]);
    words.push(name.clone());
    (words, Duration::from_millis(server.ask(&["PTTL", name])))
}

#[tokio::test]
async fn the_first_request_is_granted_the_second_waits_and_the_third_gets_its_answer() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    let guard = granted(&keys, "k").await;
    assert!(matches!(claim(&keys, "k").await, Claim::Running));
    assert!(matches!(claim(&keys, "\"k\"").await, Claim::Running), "the quoted form is the same key");
    let accepted = StoredAnswer {
        status: StoredStatus::Accepted,
        body: "{\"note\":\"退款\\n \\u0000\"}".to_owned(),
        location: None,
    };
    guard.store(&accepted).await;
    for _ in 0..3 {
        assert!(matches!(claim(&keys, "k").await, Claim::Replay(first) if first == accepted));
    }
    let lives = stored(&server).1;
    assert!(lives > DAY - Duration::from_secs(60) && lives <= DAY, "{lives:?}");
}

#[tokio::test]
async fn another_request_under_the_key_is_refused_and_never_touches_the_claim() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    let guard = granted(&keys, "k").await;
    let before = stored(&server).0;
    assert!(matches!(keys.claim(&shop(), &key("k"), &OTHER).await, Claim::Reused));
    assert_eq!(stored(&server).0, before);
    guard.store(&answer("first")).await;
    assert!(matches!(keys.claim(&shop(), &key("k"), &OTHER).await, Claim::Reused));
    assert!(matches!(claim(&keys, "k").await, Claim::Replay(first) if first == answer("first")));
}

#[tokio::test]
async fn keys_of_two_merchants_have_nothing_to_do_with_each_other() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    let _ours = granted(&keys, "k").await;
    let theirs = keys.claim(&MerchantId::parse("other").unwrap(), &key("k"), &OTHER).await;
    assert!(matches!(theirs, Claim::Granted(_)), "{theirs:?}");
}

#[tokio::test]
async fn a_freed_key_is_granted_again_also_to_another_request() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    granted(&keys, "k").await.free().await;
    assert!(matches!(keys.claim(&shop(), &key("k"), &OTHER).await, Claim::Granted(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_32_requests_at_once_one_is_granted() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let replicas = [connect(&server.url()).await, connect(&server.url()).await];
    for round in 0..8 {
        let name = format!("k{round}");
        let tasks: Vec<_> = (0..32)
            .map(|n| {
                let (keys, name) = (replicas[n % 2].clone(), name.clone());
                tokio::spawn(async move { claim(&keys, &name).await })
            })
            .collect();
        let mut guards = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Claim::Granted(guard) => guards.push(guard),
                Claim::Running => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(guards.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_claim_whose_owner_died_ends_with_its_lease_and_the_next_fence_is_higher() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    let start = Instant::now();
    let dead = granted(&keys, "k").await;
    let fence = dead.fence();
    drop(dead);
    assert!(matches!(claim(&keys, "k").await, Claim::Running));
    let next = until_granted(&keys, "k").await;
    assert!(start.elapsed() >= LEASE - Duration::from_millis(100) && start.elapsed() < LEASE * 3);
    assert!(next.fence() > fence);
}

#[tokio::test]
async fn a_living_owner_keeps_its_claim_past_the_lease() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    let guard = granted(&keys, "k").await;
    tokio::time::sleep(LEASE * 3).await;
    assert!(matches!(claim(&keys, "k").await, Claim::Running));
    guard.store(&answer("late")).await;
    assert!(matches!(claim(&keys, "k").await, Claim::Replay(_)));
}

/// The runtime has one thread: while it sleeps, the owner stands still as a paused process does.
#[tokio::test]
async fn an_owner_that_stalled_past_its_lease_can_neither_store_nor_free() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    let (first, second) = (granted(&keys, "k").await, granted(&keys, "l").await);
    std::thread::sleep(LEASE * 2);
    let (later, latest) = (until_granted(&keys, "k").await, until_granted(&keys, "l").await);
    first.store(&answer("stale")).await;
    second.free().await;
    assert!(matches!(claim(&keys, "k").await, Claim::Running), "a stale answer was kept");
    assert!(matches!(claim(&keys, "l").await, Claim::Running), "a stale owner freed the key");
    later.store(&answer("true")).await;
    assert!(matches!(claim(&keys, "k").await, Claim::Replay(first) if first == answer("true")));
    drop(latest);
}

/// Also where nobody else has claimed the key since.
#[tokio::test]
async fn a_lease_that_ended_is_not_brought_back_by_its_owner() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    let stalled = granted(&keys, "k").await;
    std::thread::sleep(LEASE * 2);
    until(&keys, KeysHealth::Up).await;
    stalled.store(&answer("stale")).await;
    let left: Vec<String> = server.ask(&["KEYS", "scanback:idem:*"]);
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_killed_redis_costs_next_to_nothing_and_works_again_when_it_is_back() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    let guard = granted(&keys, "k").await;
    server.kill();
    let start = Instant::now();
    assert!(matches!(claim(&keys, "k").await, Claim::NoRedis));
    guard.store(&answer("nowhere")).await;
    assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
    assert_eq!(keys.health(), KeysHealth::Down);

    let start = Instant::now();
    for _ in 0..1_000 {
        assert!(matches!(claim(&keys, "k").await, Claim::NoRedis));
    }
    assert!(start.elapsed() < Duration::from_millis(500), "1000 claims without Redis: {:?}", start.elapsed());

    server.launch();
    until(&keys, KeysHealth::Up).await;
    granted(&keys, "k").await.store(&answer("again")).await;
    assert!(matches!(claim(&keys, "k").await, Claim::Replay(_)));
}

#[tokio::test]
async fn a_redis_that_dies_unused_is_noticed_without_a_request() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    server.kill();
    until(&keys, KeysHealth::Down).await;
}

#[tokio::test]
async fn a_redis_that_says_nothing_is_given_up_in_time_and_its_claim_too() {
    let Some(server) = RedisServer::start(&[]) else { return };
    // a lease so long that only giving up frees the key within the patience of this test
    let keys = Keys::connect(&server.url(), Keys::MAX_LEASE, DAY).await.unwrap();
    until(&keys, KeysHealth::Up).await;
    granted(&keys, "first").await.free().await; // now Redis knows the script: the next claim is one message
    server.signal("-STOP");
    let start = Instant::now();
    assert!(matches!(claim(&keys, "k").await, Claim::NoRedis));
    let given_up = start.elapsed();
    assert!(given_up < Duration::from_millis(400), "{given_up:?}");
    // it is not waited for again: a hundred claims cost less than the first
    let start = Instant::now();
    for _ in 0..100 {
        assert!(matches!(claim(&keys, "k").await, Claim::NoRedis));
    }
    assert!(start.elapsed() < given_up, "{:?}, and the first was given up after {given_up:?}", start.elapsed());
    server.signal("-CONT");
    until(&keys, KeysHealth::Up).await;
    until_granted(&keys, "k").await.free().await;
}

#[tokio::test]
async fn a_redis_that_is_down_at_the_start_is_used_once_it_is_there() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    server.kill();
    let keys = Keys::connect(&server.url(), LEASE, DAY).await.unwrap();
    assert_eq!(keys.health(), KeysHealth::Down);
    assert!(matches!(claim(&keys, "k").await, Claim::NoRedis));
    server.launch();
    until(&keys, KeysHealth::Up).await;
    let _guard = granted(&keys, "k").await;
}

#[tokio::test]
async fn an_emptied_redis_grants_anew_with_a_higher_fence_and_knows_its_scripts() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    let lost = granted(&keys, "k").await;
    server.tell(&["FLUSHALL"]);
    server.tell(&["SCRIPT", "FLUSH"]);
    let next = granted(&keys, "k").await;
    assert!(next.fence() > lost.fence(), "the fence began anew");
    lost.store(&answer("stale")).await;
    assert!(matches!(claim(&keys, "k").await, Claim::Running));
}

#[tokio::test]
async fn a_read_only_replica_is_no_redis() {
    let (Some(master), Some(server)) = (RedisServer::start(&[]), RedisServer::start(&[])) else { return };
    let keys = connect(&server.url()).await;
    server.tell(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    assert!(matches!(claim(&keys, "k").await, Claim::NoRedis));
    stays_down(&keys).await;
    server.tell(&["REPLICAOF", "NO", "ONE"]);
    until(&keys, KeysHealth::Up).await;
    let _guard = granted(&keys, "k").await;
}

#[tokio::test]
async fn a_redis_without_memory_is_no_redis() {
    let Some(server) = RedisServer::start(&["--maxmemory-policy", "noeviction"]) else { return };
    let keys = connect(&server.url()).await;
    server.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(matches!(claim(&keys, "k").await, Claim::NoRedis));
    stays_down(&keys).await;
    server.tell(&["CONFIG", "SET", "maxmemory", "0"]);
    until(&keys, KeysHealth::Up).await;
    let _guard = granted(&keys, "k").await;
}

#[tokio::test]
async fn the_password_of_the_url_is_used_and_a_wrong_one_is_a_redis_that_is_down() {
    let Some(server) = RedisServer::start(&[]) else { return };
    server.tell(&["ACL", "SETUSER", "scanback", "on", ">p@ss", "~scanback:*", "+@all"]);
    let right = format!("redis://scanback:p%40ss@127.0.0.1:{}/1", server.port);
    let _guard = granted(&connect(&right).await, "k").await;
    let wrong = Keys::connect(&right.replace("p%40ss", "guess"), LEASE, DAY).await.unwrap();
    assert_eq!(wrong.health(), KeysHealth::Down);
}

#[tokio::test]
async fn no_text_of_the_request_or_its_key_is_in_redis() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    let _guard = granted(&keys, "my-till-42").await;
    let words = stored(&server).0;
    assert!(!words.concat().contains("my-till-42"), "{words:?}");
    assert!(words.contains(&THIS.to_string()));
}

#[tokio::test]
async fn an_unreadable_claim_leaves_the_decision_to_the_database() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let keys = connect(&server.url()).await;
    granted(&keys, "k").await.store(&answer("first")).await;
    let name = stored(&server).0.pop().unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    for status in ["500", "text"] {
        let () = connection.hset(&name, "status", status).unwrap();
        assert!(matches!(claim(&keys, "k").await, Claim::NoRedis), "{status}");
    }
    let () = connection.del(&name).unwrap();
    let () = connection.set(&name, "not even a hash").unwrap();
    assert!(matches!(claim(&keys, "k").await, Claim::NoRedis));
}

#[tokio::test]
async fn without_redis_the_database_decides() {
    let keys = Keys::disabled();
    assert!(matches!(claim(&keys, "k").await, Claim::NoRedis));
    assert_eq!(keys.health(), KeysHealth::Absent);
}

#[tokio::test]
async fn settings_that_break_the_contract_are_refused() {
    let url = "redis://127.0.0.1:1";
    let too_long = Keys::MAX_LEASE + Duration::from_millis(1);
    assert!(matches!(Keys::connect(url, too_long, DAY).await, Err(KeysError::Lease)));
    assert!(matches!(Keys::connect(url, Duration::ZERO, DAY).await, Err(KeysError::Lease)));
    assert!(matches!(Keys::connect(url, LEASE, DAY - Duration::from_secs(1)).await, Err(KeysError::Ttl)));
    assert!(matches!(Keys::connect("ftp://host", LEASE, DAY).await, Err(KeysError::Scheme)));
}

#[tokio::test]
async fn a_cluster_of_three_serves_merchants_of_every_slot() {
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
    let deadline = Instant::now() + PATIENCE;
    let knows_all = |node: &RedisServer| {
        let info: String = node.ask(&["CLUSTER", "INFO"]);
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
    };
    while !nodes.iter().all(knows_all) {
        assert!(Instant::now() < deadline, "no cluster came about");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let hosts = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect::<Vec<_>>().join(",");
    let keys = connect(&format!("redis+cluster://{hosts}")).await;
    for n in 0..16 {
        let merchant = MerchantId::parse(&format!("shop-{n}")).unwrap();
        let Claim::Granted(guard) = keys.claim(&merchant, &key("k"), &THIS).await else { panic!("{merchant}") };
        assert!(matches!(keys.claim(&merchant, &key("k"), &THIS).await, Claim::Running));
        guard.store(&answer("first")).await;
        assert!(matches!(keys.claim(&merchant, &key("k"), &THIS).await, Claim::Replay(_)));
    }
    let claims = |node: &RedisServer| node.ask::<Vec<String>>(&["KEYS", "scanback:idem:*"]).len();
    let spread: Vec<_> = nodes.iter().map(claims).collect();
    assert_eq!(spread.iter().sum::<usize>(), 16);
    assert!(spread.iter().all(|&count| count > 0), "{spread:?}");
}

#[tokio::test]
async fn the_master_that_the_sentinel_names_is_used_and_after_a_fail_over_the_new_one() {
    let Some(mut master) = RedisServer::start(&[]) else { return };
    let Some(replica) = RedisServer::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]) else { return };
    let Some(sentinel) = RedisServer::start(&["--sentinel"]) else { return };
    sentinel.tell(&["SENTINEL", "MONITOR", "shop", "127.0.0.1", &master.port.to_string(), "1"]);
    sentinel.tell(&["SENTINEL", "SET", "shop", "down-after-milliseconds", "500"]);
    let keys = connect(&format!("redis+sentinel://127.0.0.1:{}/shop", sentinel.port)).await;
    granted(&keys, "k").await.store(&answer("first")).await;

    let deadline = Instant::now() + PATIENCE;
    let copied = || replica.ask::<Vec<String>>(&["KEYS", "scanback:idem:*"]).len() == 1;
    let seen = || sentinel.ask::<String>(&["INFO", "sentinel"]).contains("slaves=1");
    while !(copied() && seen()) {
        assert!(Instant::now() < deadline, "the replica was never seen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    master.kill();
    until(&keys, KeysHealth::Down).await;
    until(&keys, KeysHealth::Up).await;
    assert!(matches!(claim(&keys, "k").await, Claim::Replay(_)));
    let _guard = granted(&keys, "l").await;
    assert_eq!(replica.ask::<Vec<redis::Value>>(&["ROLE"])[0], redis::Value::BulkString(b"master".to_vec()));
}

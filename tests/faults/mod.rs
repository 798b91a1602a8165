//! The real thing, broken for real, under load: Redis, PostgreSQL, disk, clock, network and processes. After each, nobody was
//! told of a refund that isn't there, each was paid once, all settles, and the books agree; meanwhile `/readyz` and `/metrics`
//! say how it stands.

mod clock;
mod disk;
mod figures;
mod load;
mod network;
mod postgres;
mod redis;
mod replicas;
mod soak;

use crate::shop::{Opening, Shop};

/// A shop whose tills ask as fast as they like, and which soon gives up what hangs.
fn opening() -> Opening {
    Shop::new().impatient().setting("limits.requests_per_second", 10_000)
}

/// A gauge of `/metrics` as it now stands.
async fn gauge(shop: &Shop, name: &str) -> f64 {
    let told = shop.caller("auditor", "demo").get("/metrics").await;
    told.assert_status(200);
    let line = told.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {}", told.text)).parse().unwrap()
}

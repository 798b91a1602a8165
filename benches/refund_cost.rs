//! What one refund costs the service: CPU time of its process per completed refund, as a multiple of one RSA-2048 signature
//! plus one verification by aws-lc-rs, measured in the same run on the same machine: beside the load, and before it.
//!
//!     cargo bench --bench refund_cost                 # SQLite
//!     SCANBACK_TEST_POSTGRES_URL=postgres://… SCANBACK_TEST_REDIS_URL=redis://… cargo bench --bench refund_cost
//!
//! The service and the sandbox run as processes of their own from the release binary. A merchant token, JSON, orders that are
//! checked already, no scan, no PIN. WeChat Pay's refunds end by its notification, Alipay's by the answer.

mod measure;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use measure::{Failure, Folder, RsaBeside, Running, merchant_token, rsa_alone};

const REFUNDS: usize = 2000;
const WARM_UP: usize = 100;
const AT_ONCE: usize = 16;
/// The wallet's minute is a second.
const TIME_SCALE: &str = "60";
/// Seconds of one PIN check, the best of five.
fn pin_check() -> Result<f64, Failure> {
    let pin = scanback::service::Pin::parse("246810")?;
    let mut best = f64::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        scanback::service::hash_pin(&pin)?; // a check is one such computation
        best = best.min(began.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Each wallet, and what ends a refund there.
const WALLETS: [(&str, &str); 2] = [("wechat", "the notification"), ("alipay", "the answer")];

struct Load {
    http: reqwest::Client,
    service: String,
    sandbox: String,
    token: String,
}

impl Load {
    async fn prepare(&self, wallet: &str, order_no: &str) -> Result<(), Failure> {
        let order = json!({ "wallet": wallet, "out_trade_no": order_no, "amount_fen": 1000 });
        self.http.post(format!("{}/_sandbox/orders", self.sandbox)).json(&order).send().await?.error_for_status()?;
        let url = format!("{}/v1/orders/{order_no}?wallet={wallet}", self.service);
        self.http.get(url).bearer_auth(&self.token).send().await?.error_for_status()?;
        Ok(())
    }

    async fn refund(&self, wallet: &str, order_no: &str) -> Result<(), Failure> {
        let body = json!({ "order_no": order_no, "wallet": wallet, "amount": { "value": 100, "currency": "CNY" },
                           "reason": "customer_request" });
        let request = self.http.post(format!("{}/v1/refunds", self.service)).bearer_auth(&self.token);
        let answer = request.header("idempotency-key", order_no).json(&body).send().await?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.text().await?.into()) }
    }

    async fn open(&self) -> Result<i64, Failure> {
        let ready: Value = self.http.get(format!("{}/readyz", self.service)).send().await?.json().await?;
        ready["follow_ups"]["open"].as_i64().ok_or_else(|| "no count".into())
    }

    /// Calls that the wallet was made so far.
    async fn wallet_calls(&self) -> Result<f64, Failure> {
        let log: Value = self.http.get(format!("{}/_sandbox/exchanges", self.sandbox)).send().await?.json().await?;
        log["items"][0]["id"].as_f64().ok_or_else(|| "no exchange".into())
    }

    async fn all(&self, wallet: &str, orders: &[String]) -> Result<(), Failure> {
        let mut answers = stream::iter(orders).map(|order| self.refund(wallet, order)).buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        while self.open().await? > 0 {
            tokio::time::sleep(Duration::from_millis(250)).await; // the question has its price too
        }
        Ok(())
    }

    async fn measure(&self, process: &Running, wallet: &str, end: &str) -> Result<(), Failure> {
        let run = std::process::id();
        let orders: Vec<String> = (0..WARM_UP + REFUNDS).map(|index| format!("B-{wallet}-{run}-{index:05}")).collect();
        for order in &orders {
            self.prepare(wallet, order).await?;
        }
        self.all(wallet, &orders[..WARM_UP]).await?;
        let alone = rsa_alone()?;
        let calls_before = self.wallet_calls().await?;
        let (before, began, rsa) = (process.cpu()?, Instant::now(), RsaBeside::start());
        self.all(wallet, &orders[WARM_UP..]).await?;
        let (cpu, wall, beside) = (process.cpu()? - before, began.elapsed().as_secs_f64(), rsa.end()?);
        let refunds = f64::from(u32::try_from(REFUNDS)?);
        let (each, calls) = (cpu / refunds, (self.wallet_calls().await? - calls_before) / refunds);
        println!("{wallet}, ended by {end}");
        println!("  service CPU a refund     {:8.3} ms", each * 1e3);
        for ((sign, verify), when) in [(beside, "beside the load"), (alone, "before it, the best of five")] {
            let (unit, sign_ms, verify_ms) = (sign + verify, sign * 1e3, verify * 1e3);
            println!("  RSA sign + verify        {:8.3} ms  ({sign_ms:.3} + {verify_ms:.3}, {when})", unit * 1e3);
            println!("    times it               {:8.2}     (to stay within 2.5)", each / unit);
        }
        println!("  wallet calls a refund    {calls:8.2}     (each is signed; one is the least)");
        println!(
            "  refunds a second         {:8.0}     (wall clock, sandbox and load on the same cores)",
            refunds / wall
        );
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = Folder::make()?;
    measure(folder.path()).await
}

async fn measure(folder: &Path) -> Result<(), Failure> {
    let (_sandbox, sandbox) = Running::sandbox(folder, TIME_SCALE)?;
    let config = folder.join("scanback.toml");
    let (postgres, redis) = (std::env::var("SCANBACK_TEST_POSTGRES_URL"), std::env::var("SCANBACK_TEST_REDIS_URL"));
    let mut env = vec![("SCANBACK__HTTP__LISTEN", "127.0.0.1:0"), ("SCANBACK__LIMITS__REQUESTS_PER_SECOND", "100000")];
    let mut store = String::from("SQLite");
    if let Ok(url) = &postgres {
        env.push(("SCANBACK__DATABASE__URL", url));
        store = "PostgreSQL".into();
    }
    if let Ok(url) = &redis {
        env.push(("SCANBACK__REDIS__URL", url));
        store.push_str(" + Redis");
    }
    let token = merchant_token(&config, &env)?;
    let (process, service) = Running::start(&["serve", "--config", config.to_str().ok_or("name")?], &env)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = process.memory()?;
    let load = Load { http: reqwest::Client::new(), service, sandbox, token };
    println!("{store}: {REFUNDS} refunds of each wallet, {AT_ONCE} at once");
    for (wallet, end) in WALLETS {
        load.measure(&process, wallet, end).await?;
    }
    println!(
        "  one PIN check            {:8.1} ms  (argon2, apart from the above; at most two run at once)",
        pin_check()? * 1e3
    );
    println!("  idle memory              {idle:8.1} MB  (to stay under 40)");
    Ok(())
}

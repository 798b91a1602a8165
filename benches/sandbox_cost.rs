//! What one exchange costs the sandbox: CPU time of its process per call, as a multiple of one RSA-2048 verification plus one
//! signature by aws-lc-rs, which it can't do without, measured in the same run on the same machine.
//!
//!     cargo bench --bench sandbox_cost
//!
//! The calls are made by the service's own adapters, `AT_ONCE` at a time.

mod measure;

use std::{path::Path, sync::Arc, time::Instant};

use futures_util::{StreamExt as _, stream};
use scanback::config::Settings;
use scanback_alipay::Alipay;
use scanback_wallet::{
    Asked, Money, OrderNo, OrderNumber, OrderRef, Outcome, RefundCall, SystemClock, Wallet, WalletRequestNo,
};
use scanback_wechat::WechatPay;
use serde_json::json;

use measure::{Failure, Folder, Running, rsa_alone};

const ORDERS: usize = 600;
const WARM_UP: usize = 60;
const AT_ONCE: usize = 8;
/// The wallets' quotas a second times this: what is measured is no queue.
const TIME_SCALE: &str = "60";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = Folder::make()?;
    measure(folder.path()).await
}

async fn measure(folder: &Path) -> Result<(), Failure> {
    let (process, sandbox) = Running::sandbox(folder, TIME_SCALE)?;
    let settings = Settings::load(&folder.join("scanback.toml"))?;
    let accounts = settings.merchants.into_iter().next().ok_or("no merchant")?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let clock = Arc::new(SystemClock);
    let wallets: [Arc<dyn Wallet>; 2] = [
        Arc::new(WechatPay::new(accounts.wechat.ok_or("no account")?, http.clone(), clock.clone())),
        Arc::new(Alipay::new(accounts.alipay.ok_or("no account")?, http.clone(), clock)),
    ];
    let (sign, verify) = rsa_alone()?;
    let unit = sign + verify;
    println!("RSA verify + sign          {:7.3} ms  ({:.3} + {:.3})", unit * 1e3, verify * 1e3, sign * 1e3);
    for wallet in wallets {
        let kind = wallet.kind();
        let mut orders = Vec::new();
        for index in 0..ORDERS {
            let number = OrderNo::parse(&format!("COST-{kind}-{index:05}"))?;
            let order = json!({ "wallet": kind.to_string(), "out_trade_no": number.as_str(), "amount_fen": 1000 });
            http.post(format!("{sandbox}/_sandbox/orders")).json(&order).send().await?.error_for_status()?;
            orders.push(number);
        }
        for operation in [Operation::QueryOrder, Operation::Refund, Operation::QueryRefund] {
            let (warm_up, measured) = orders.split_at(WARM_UP);
            all(&wallet, operation, warm_up).await?;
            let (before, began) = (process.cpu()?, Instant::now());
            all(&wallet, operation, measured).await?;
            let calls = f64::from(u32::try_from(measured.len())?);
            let (each, wall) = ((process.cpu()? - before) / calls, began.elapsed().as_secs_f64());
            let name = format!("{kind} {operation:?}");
            println!(
                "{name:26} {:7.3} ms, {:4.2} of it (to stay within 1.5), {:.0} a second",
                each * 1e3,
                each / unit,
                calls / wall
            );
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    QueryOrder,
    Refund,
    QueryRefund,
}

async fn all(wallet: &Arc<dyn Wallet>, operation: Operation, orders: &[OrderNo]) -> Result<(), Failure> {
    let mut answers = stream::iter(orders).map(|order| one(wallet, operation, order)).buffer_unordered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        answer?;
    }
    Ok(())
}

async fn one(wallet: &Arc<dyn Wallet>, operation: Operation, order_no: &OrderNo) -> Result<(), Failure> {
    let call = || -> Result<RefundCall, Failure> {
        Ok(RefundCall {
            order: OrderRef { order_no: order_no.clone(), transaction_id: None },
            request_no: WalletRequestNo::parse(&format!("R-{order_no}"))?,
            amount: Money::fen(100)?,
            total: Money::fen(1000)?,
            reason: "七天无理由退货".to_owned(),
            notify_url: None,
            goods: Vec::new(),
        })
    };
    match operation {
        Operation::QueryOrder => {
            let found = wallet.query_order(&OrderNumber::OrderNo(order_no.clone())).await?;
            found.map(drop).ok_or_else(|| "the order is not there".into())
        }
        Operation::Refund => match wallet.refund(&call()?).await {
            Outcome::Done(_) | Outcome::Pending(_) => Ok(()),
            other => Err(format!("{other:?}").into()),
        },
        Operation::QueryRefund => match wallet.query_refund(&call()?).await {
            Asked::Found(_) => Ok(()),
            other => Err(format!("{other:?}").into()),
        },
    }
}

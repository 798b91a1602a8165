//! What the wallets do by themselves: refunds end, and notifications come late, twice, out of order, forged or not at all.

use std::time::Duration;

use scanback_wallet::{MerchantId, WalletKind};
use tokio::time::sleep;

use crate::{
    books::Status,
    replica::{self, MERCHANT},
    world::World,
};

/// The simulated signature. Stands for the real one, which the adapters' own suites check: here it matters only whether it
/// was looked at.
pub(crate) fn sign(body: &[u8], at: u64) -> String {
    let mut mix: u64 = 0xcbf2_9ce4_8422_2325 ^ at;
    for byte in body {
        mix = (mix ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{mix:016x}")
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Paid => "paid",
        Status::Closed => "closed",
        Status::Abnormal => "abnormal",
        Status::Processing => "processing",
    }
}

/// A refund that was taken comes to its end, and the shop is told.
pub(crate) async fn settle(world: World, kind: WalletKind, order_no: String, number: String, end: Status) {
    if kind == WalletKind::Wechat {
        let forged = {
            let mut state = world.state();
            let faults = state.faults;
            state.dice.chance(faults.news_forged)
        };
        if forged {
            tokio::spawn(forge(world.clone(), kind, order_no.clone(), number.clone()));
        }
        sleep(Duration::from_secs(60)).await;
        world.state().books.settle(&order_no, &number, end);
        world.note(&format!("{number} is {end:?} at the wallet"));
        tell(&world, kind, &order_no, &number, end);
        if end == Status::Abnormal {
            // somebody pays it out at the wallet's own desk
            let after = world.state().dice.between(600, 7200);
            sleep(Duration::from_secs(after)).await;
            world.state().books.settle(&order_no, &number, Status::Paid);
            tell(&world, kind, &order_no, &number, Status::Paid);
        }
    } else {
        tell(&world, kind, &order_no, &number, end);
    }
}

/// Sends a notification until it is taken, with what goes wrong on the way.
fn tell(world: &World, kind: WalletKind, order_no: &str, number: &str, status: Status) {
    let (copies, lost) = {
        let mut state = world.state();
        let faults = state.faults;
        (1 + u32::from(state.dice.chance(faults.news_twice)), state.dice.chance(faults.news_lost))
    };
    if lost {
        world.note(&format!("news of {number} is lost"));
        return;
    }
    for copy in 0..copies {
        let amount = {
            let state = world.state();
            match kind {
                WalletKind::Alipay => state.books.refunded(order_no),
                _ => state.books.find(order_no, number).map_or(0, |entry| entry.amount),
            }
        };
        let body = format!("e{number}{copy}|{order_no}|{number}|{amount}|{}", word(status));
        let world = world.clone();
        tokio::spawn(async move {
            let wait = world.state().dice.between(1, 90_000);
            sleep(Duration::from_millis(wait)).await;
            for _ in 0..6 {
                let at = crate::adapter::stamp(&world);
                if deliver(&world, kind, &body, at, sign(body.as_bytes(), at)).await {
                    return;
                }
                sleep(Duration::from_secs(15)).await;
            }
        });
    }
}

/// Somebody who is not the wallet says that a refund was paid or closed.
async fn forge(world: World, kind: WalletKind, order_no: String, number: String) {
    let (wait, closed) = {
        let mut state = world.state();
        (state.dice.between(1, 50_000), state.dice.chance(500))
    };
    sleep(Duration::from_millis(wait)).await;
    let amount = world.state().books.find(&order_no, &number).map_or(0, |entry| entry.amount);
    let body = format!("f{number}|{order_no}|{number}|{amount}|{}", if closed { "closed" } else { "paid" });
    deliver(&world, kind, &body, crate::adapter::stamp(&world), "0".into()).await;
}

async fn deliver(world: &World, kind: WalletKind, body: &str, at: u64, signature: String) -> bool {
    let Some((life, desk)) = replica::any(world) else { return false };
    let Ok(merchant) = MerchantId::parse(MERCHANT) else { return false };
    let headers = [("sim-signature".to_owned(), signature), ("sim-time".to_owned(), at.to_string())];
    world.note(&format!("life {life} is told {body}"));
    let taking = desk.take_notification(&merchant, kind, &headers, body.as_bytes());
    // a wallet waits five seconds for its answer
    matches!(tokio::time::timeout(Duration::from_secs(5), taking).await, Ok(Ok(answer)) if answer.status == 200)
}

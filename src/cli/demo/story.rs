//! The demo's seven steps, each with what must come of it. A step that ends otherwise is shown as wrong.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use scanback_wallet::WalletKind::{Alipay, Wechat};
use serde_json::{Value, json};

use super::shop::{Answer, Shop};

/// How long a refund may take to end at the demo's pace.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// One line of the table.
struct Line {
    step: &'static str,
    answer: String,
    end: String,
    books: String,
    right: bool,
}

fn fen(value: i64) -> Value {
    json!({ "value": value, "currency": "CNY" })
}

/// Tells the story and prints it as a table; whether all went well.
pub(super) async fn tell(shop: &Shop) -> anyhow::Result<bool> {
    let began = Instant::now();
    let mut went_well = true;
    println!("{:<64} {:<31} {:<22} wallet's books", "step", "answer", "end");
    println!("{}", "-".repeat(142));
    let mut told = 0;
    let mut show = |line: Line| {
        told += 1;
        went_well &= line.right;
        let mark = if line.right { "ok" } else { "WRONG" };
        println!("{told} {:<62} {:<31} {:<22} {}  {mark}", line.step, line.answer, line.end, line.books);
    };
    show(presence_proof(shop).await?);
    show(bill_code_alone(shop).await?);
    show(partial(shop).await?);
    show(too_much(shop).await?);
    show(replay(shop).await?);
    show(wrong_wallet(shop).await?);
    show(lost_answer(shop).await?);
    let violations = shop.violations().await?;
    println!("{}", "-".repeat(142));
    println!(
        "The wallets' own books hold {} violations (money paid twice or past an order). {:.1} s in all.",
        violations.len(),
        began.elapsed().as_secs_f32()
    );
    Ok(went_well && violations.is_empty())
}

/// The customer shows the payment code, the cashier enters the order number. The order is unknown here: the wallet is asked.
async fn presence_proof(shop: &Shop) -> anyhow::Result<Line> {
    shop.pay(Wechat, "COFFEE-1001", 3_800).await?;
    let frame = shop.frame(Wechat, "COFFEE-1001", "payment_code", "qr_code", "jpeg").await?;
    let refund = json!({ "order_no": "COFFEE-1001", "reason": "quality" });
    let answer = shop.refund_with_frame("demo-1", &refund, &frame).await?;
    let end = end_of(shop, &answer).await?;
    let books = shop.wallets_order(Wechat, "COFFEE-1001").await?;
    line(
        "WeChat: payment code as presence proof, order number given",
        &answer,
        &end,
        &books,
        end == "succeeded" && paid(&books) == (3_800, vec![1]),
    )
}

/// The bill page's bar code alone says which order.
async fn bill_code_alone(shop: &Shop) -> anyhow::Result<Line> {
    shop.pay(Alipay, "100160000351000012511150504679", 8_800).await?;
    let frame = shop.frame(Alipay, "100160000351000012511150504679", "bill_code", "code_128", "png").await?;
    let refund = json!({ "amount": fen(2_000), "reason": "customer_request" });
    let answer = shop.refund_with_frame("demo-2", &refund, &frame).await?;
    let end = end_of(shop, &answer).await?;
    let books = shop.wallets_order(Alipay, "100160000351000012511150504679").await?;
    let right = answer.status == 201 && end == "succeeded" && paid(&books) == (2_000, vec![1]);
    line("Alipay: the bill's bar code alone", &answer, &end, &books, right)
}

/// The merchant's system registered the order and gives a part back.
async fn partial(shop: &Shop) -> anyhow::Result<Line> {
    shop.pay(Wechat, "BOOKS-2002", 10_000).await?;
    shop.register(Wechat, "BOOKS-2002", 10_000).await?;
    let refund = json!({ "order_no": "BOOKS-2002", "amount": fen(2_500), "reason": "out_of_stock" });
    let answer = shop.refund("demo-3", &refund).await?;
    let end = end_of(shop, &answer).await?;
    let books = shop.wallets_order(Wechat, "BOOKS-2002").await?;
    let right = end == "succeeded" && paid(&books) == (2_500, vec![1]);
    line("WeChat: 25.00 of 100.00, asked for by the merchant's system", &answer, &end, &books, right)
}

async fn too_much(shop: &Shop) -> anyhow::Result<Line> {
    let refund = json!({ "order_no": "BOOKS-2002", "amount": fen(7_501), "reason": "out_of_stock" });
    let answer = shop.refund("demo-4", &refund).await?;
    let books = shop.wallets_order(Wechat, "BOOKS-2002").await?;
    let right = answer.status == 409
        && answer.text("code") == "amount_exceeds_refundable"
        && answer.body["refundable"] == fen(7_500)
        && paid(&books) == (2_500, vec![1]);
    line("the same order: 75.01 of the 75.00 that are left", &answer, "refused, nothing held", &books, right)
}

/// The same request under the same key: the first answer again, and no second payment.
async fn replay(shop: &Shop) -> anyhow::Result<Line> {
    let refund = json!({ "order_no": "BOOKS-2002", "amount": fen(2_500), "reason": "out_of_stock" });
    let answer = shop.refund("demo-3", &refund).await?;
    let replayed = answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true");
    let books = shop.wallets_order(Wechat, "BOOKS-2002").await?;
    let right = replayed && paid(&books) == (2_500, vec![1]);
    line("step 3 once more with its Idempotency-Key", &answer, "replayed", &books, right)
}

async fn wrong_wallet(shop: &Shop) -> anyhow::Result<Line> {
    shop.pay(Alipay, "TEA-3003", 1_500).await?;
    let frame = shop.frame(Alipay, "TEA-3003", "payment_code", "code_128", "jpeg").await?;
    let refund = json!({ "order_no": "BOOKS-2002", "reason": "customer_request" });
    let answer = shop.refund_with_frame("demo-6", &refund, &frame).await?;
    let books = shop.wallets_order(Wechat, "BOOKS-2002").await?;
    let right = answer.status == 422 && answer.text("code") == "wallet_mismatch" && paid(&books) == (2_500, vec![1]);
    line("an Alipay code for a WeChat order", &answer, "refused, nothing held", &books, right)
}

/// The wallet pays, and the line breaks before it can say so.
async fn lost_answer(shop: &Shop) -> anyhow::Result<Line> {
    shop.pay(Wechat, "SHOES-4004", 29_900).await?;
    shop.fault(&json!({
        "wallet": "wechat", "operation": "refund", "kind": "effect_then_timeout", "times": 1, "delay_ms": 300
    }))
    .await?;
    let refund = json!({ "order_no": "SHOES-4004", "reason": "quality" });
    let answer = shop.refund("demo-7", &refund).await?;
    let end = end_of(shop, &answer).await?;
    let books = shop.wallets_order(Wechat, "SHOES-4004").await?;
    let right = answer.status == 202
        && answer.text("state") == "submitting"
        && end == "succeeded"
        && paid(&books) == (29_900, vec![1]);
    line("WeChat takes it, then the line breaks before the answer", &answer, &end, &books, right)
}

/// The state in which a refund ends, or the one it is stuck in.
async fn end_of(shop: &Shop, answer: &Answer) -> anyhow::Result<String> {
    let refund_id = answer.text("refund_id");
    if refund_id.is_empty() {
        return Ok("-".into());
    }
    let began = Instant::now();
    loop {
        let refund = shop.look(refund_id).await?;
        let state = refund.text("state").to_owned();
        if matches!(state.as_str(), "succeeded" | "failed") || began.elapsed() > PATIENCE {
            return Ok(state);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What the wallet paid back for an order in all, and how often each refund was paid.
fn paid(books: &Value) -> (i64, Vec<i64>) {
    let refunds = books["refunds"].as_array().cloned().unwrap_or_default();
    let times = refunds.iter().map(|refund| refund["times_paid"].as_i64().unwrap_or(-1)).collect();
    (books["refunded_fen"].as_i64().unwrap_or(-1), times)
}

fn line(step: &'static str, answer: &Answer, end: &str, books: &Value, right: bool) -> anyhow::Result<Line> {
    let word = if answer.status.is_success() { answer.text("state") } else { answer.text("code") };
    let (refunded, times) = paid(books);
    let amount = books["amount_fen"].as_i64().context("the sandbox's order has no amount")?;
    let yuan = |fen: i64| format!("{}.{:02}", fen / 100, fen % 100);
    Ok(Line {
        step,
        answer: format!("{} {word}", answer.status.as_u16()),
        end: end.to_owned(),
        books: format!("{} of {} back, paid {} time(s)", yuan(refunded), yuan(amount), times.iter().sum::<i64>()),
        right,
    })
}

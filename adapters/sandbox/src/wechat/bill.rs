//! Bills: trades and the flow of funds of a day, and the file behind their address (wechat-pay §16).

use std::io::Write as _;

use aws_lc_rs::digest;
use flate2::{Compression, write::GzEncoder};
use jiff::{Timestamp, civil::Date};
use serde_json::json;

use super::{answer::Reply, orders::query_value, party};
use crate::{
    beijing,
    books::{Entry, RefundStatus, Wallet},
    world::{World, lock},
};

const ALL: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const SUCCESS: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,商品名称,商户数据包,手续费,费率,订单金额,费率备注";
const REFUND: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,退款申请时间,退款成功时间,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const SUMMARY: &str = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";
const FUNDS: &str = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号";
const FUNDS_SUMMARY: &str = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额";
/// Bills reach back this far.
const MONTHS_BACK: i64 = 3;

/// Which lines a trade bill has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    All,
    Payments,
    Refunds,
}

/// `GET /v3/bill/tradebill`.
pub(super) fn trades(world: &World, query: &str) -> Result<Reply, Reply> {
    let lines = match query_value(query, "bill_type").as_deref() {
        None | Some("ALL") => Lines::All,
        Some("SUCCESS") => Lines::Payments,
        Some("REFUND") => Lines::Refunds,
        Some("RECHARGE_REFUND" | "ALL_SPECIAL" | "SUC_SPECIAL" | "REF_SPECIAL") => {
            return Err(Reply::error(400, "NO_STATEMENT_EXIST", "账单文件不存在"));
        }
        Some(_) => return Err(Reply::error(400, "PARAM_ERROR", "bill_type应为ALL、SUCCESS或REFUND")),
    };
    let wanted = |entry: &Entry| match lines {
        Lines::All => true,
        Lines::Payments => matches!(entry, Entry::Payment(..)),
        Lines::Refunds => !matches!(entry, Entry::Payment(..)),
    };
    party::check_bill_query(&world.identity.wechat.params, query)?;
    let entries: Vec<Entry> = of_the_day(world, query)?.into_iter().filter(wanted).collect();
    if entries.is_empty() {
        return Err(Reply::error(400, "NO_STATEMENT_EXIST", "账单文件不存在"));
    }
    let header = match lines {
        Lines::All => ALL,
        Lines::Payments => SUCCESS,
        Lines::Refunds => REFUND,
    };
    let rows = entries.iter().map(|entry| trade_row(world, entry, lines));
    let (mut paid, mut back) = (0, 0);
    for entry in &entries {
        if entry.moved() > 0 { paid += entry.moved() } else { back -= entry.moved() }
    }
    let count = format!("{}.0", entries.len());
    let sums = [count, yuan(paid), yuan(back), yuan(0), "0.00000".into(), yuan(paid), yuan(back)];
    address(world, query, &text(header, rows, SUMMARY, &sums))
}

/// `GET /v3/bill/fundflowbill`.
pub(super) fn funds(world: &World, query: &str) -> Result<Reply, Reply> {
    match query_value(query, "account_type").as_deref() {
        None | Some("BASIC") => {}
        Some("OPERATION" | "FEES") => return Err(Reply::error(400, "NO_STATEMENT_EXIST", "账单文件不存在")),
        Some(_) => return Err(Reply::error(400, "PARAM_ERROR", "account_type应为BASIC、OPERATION或FEES")),
    }
    let day = day_of(query)?;
    let (mut balance, mut rows, mut sums) = (0, Vec::new(), [(0_u32, 0_i64); 2]);
    for entry in world.books(|books, now| books.entries(Wallet::Wechat, now)) {
        // what was closed came back to the account; the flow shows what went
        if matches!(&entry, Entry::Refund(_, refund) if refund.status == RefundStatus::Closed) {
            continue;
        }
        balance += entry.moved();
        if entry.day() == day {
            let sum = &mut sums[usize::from(entry.moved() < 0)];
            sum.0 += 1;
            sum.1 += entry.moved().abs();
            rows.push(fund_row(world, &entry, balance));
        }
    }
    if rows.is_empty() {
        return Err(Reply::error(400, "NO_STATEMENT_EXIST", "账单文件不存在"));
    }
    let [income, outgo] = sums;
    let all = format!("{}.0", rows.len());
    let of = |(count, fen): (u32, i64)| (format!("{count}.0"), yuan(fen));
    let ((incomes, came), (outgoes, went)) = (of(income), of(outgo));
    address(world, query, &text(FUNDS, rows.into_iter(), FUNDS_SUMMARY, &[all, incomes, came, outgoes, went]))
}

/// `GET /v3/billdownload/file`: the address that one of the two above gave. Its answer carries no signature.
pub(super) fn download(world: &World, query: &str) -> Reply {
    let token = query_value(query, "token").unwrap_or_default();
    let files = lock(&world.files);
    let Some(file) = files.get(&token) else {
        return Reply::error(400, "INVALID_REQUEST", "下载地址无效或已过期");
    };
    let packed = query_value(query, "tartype").is_some_and(|kind| kind == "gzip");
    Reply::file(file.to_vec(), if packed { "application/x-gzip" } else { "text/plain; charset=utf-8" })
}

/// The day that a bill is asked for: up to today (contract §7), three months back.
fn day_of(query: &str) -> Result<Date, Reply> {
    let text = query_value(query, "bill_date").ok_or_else(|| Reply::error(400, "PARAM_ERROR", "缺少参数 bill_date"))?;
    let strict = text.len() == "2025-01-01".len();
    let day = text.parse::<Date>().ok().filter(|_| strict);
    let day = day.ok_or_else(|| Reply::error(400, "PARAM_ERROR", "bill_date格式应为YYYY-MM-DD"))?;
    let today = beijing::day(Timestamp::now());
    let oldest = today.checked_sub(jiff::Span::new().months(MONTHS_BACK)).unwrap_or(today);
    if day > today || day < oldest {
        return Err(Reply::error(400, "INVALID_REQUEST", "账单日期应在最近三个月内"));
    }
    Ok(day)
}

fn of_the_day(world: &World, query: &str) -> Result<Vec<Entry>, Reply> {
    let day = day_of(query)?;
    let entries = world.books(|books, now| books.entries(Wallet::Wechat, now));
    Ok(entries.into_iter().filter(|entry| entry.day() == day).collect())
}

fn trade_row(world: &World, entry: &Entry, lines: Lines) -> Vec<String> {
    let (params, order, at) = (&world.identity.wechat.params, entry.order(), beijing::seconds(entry.at()));
    let state = match entry {
        Entry::Payment(..) => "SUCCESS",
        Entry::Refund(..) => "REFUND",
        Entry::Void(..) => "REVOKED",
    };
    let paid = entry.moved().max(0);
    let back = (-entry.moved()).max(0);
    let mut row = vec![
        at.clone(),
        params.appid.clone(),
        params.mchid.clone(),
        params.sub.as_ref().map_or("0", |sub| &sub.sub_mchid).to_owned(),
        String::new(),
        order.transaction_id.clone(),
        order.out_trade_no.clone(),
        order.payer.clone(),
        order.trade_type.clone(),
        state.into(),
        "OTHERS".into(),
        "CNY".into(),
        yuan(paid),
        yuan(0),
    ];
    if lines == Lines::Refunds {
        let settled = match entry {
            Entry::Refund(_, refund) => refund.settled_at,
            _ => Some(entry.at()),
        };
        row.extend([at, settled.map(beijing::seconds).unwrap_or_default()]);
    }
    if lines != Lines::Payments {
        row.extend(match entry {
            Entry::Refund(_, refund) => {
                let ids = [refund.wallet_refund_id.clone(), refund.number.clone()];
                let rest = [yuan(back), yuan(0), "ORIGINAL".into(), refund.status.word().into()];
                ids.into_iter().chain(rest).collect::<Vec<_>>()
            }
            Entry::Void(..) => {
                vec!["0".into(), "0".into(), yuan(back), yuan(0), "ORIGINAL".into(), "SUCCESS".into()]
            }
            Entry::Payment(..) => vec!["0".into(), "0".into(), yuan(0), yuan(0), String::new(), String::new()],
        });
    }
    row.extend(["沙箱商品".into(), String::new(), "0.00000".into(), "0.00%".into(), yuan(paid)]);
    if lines != Lines::Payments {
        row.push(yuan(back));
    }
    row.push(String::new());
    row
}

fn fund_row(world: &World, entry: &Entry, balance: i64) -> Vec<String> {
    let order = entry.order();
    let (name, proof) = match entry {
        Entry::Payment(..) => ("交易", order.transaction_id.clone()),
        Entry::Refund(_, refund) => ("退款", refund.wallet_refund_id.clone()),
        Entry::Void(..) => ("撤销", order.transaction_id.clone()),
    };
    vec![
        beijing::seconds(entry.at()),
        proof.clone(),
        proof,
        name.into(),
        name.into(),
        if entry.moved() > 0 { "收入" } else { "支出" }.into(),
        yuan(entry.moved().abs()),
        yuan(balance),
        if entry.moved() > 0 { "system".to_owned() } else { world.identity.wechat.params.mchid.clone() },
        String::new(),
        match entry {
            Entry::Refund(_, refund) => refund.number.clone(),
            _ => order.out_trade_no.clone(),
        },
    ]
}

/// A byte order mark, lines that end in CRLF, a backtick before each cell, nothing quoted.
fn text(header: &str, rows: impl Iterator<Item = Vec<String>>, summary: &str, sums: &[String]) -> String {
    let line = |cells: &[String]| {
        // what separates can't be part of a cell
        let cells: Vec<String> =
            cells.iter().map(|cell| format!("`{}", cell.replace([',', '\r', '\n'], " "))).collect();
        cells.join(",")
    };
    let mut text = format!("\u{feff}{header}\r\n");
    for row in rows {
        text.push_str(&line(&row));
        text.push_str("\r\n");
    }
    format!("{text}{summary}\r\n{}\r\n", line(sums))
}

/// Keeps the file and says where it is.
fn address(world: &World, query: &str, text: &str) -> Result<Reply, Reply> {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let packed = match query_value(query, "tar_type").as_deref() {
        None => false,
        Some("GZIP") => true,
        Some(_) => return Err(Reply::error(400, "PARAM_ERROR", "tar_type应为GZIP")),
    };
    let file = if packed { pack(text.as_bytes()) } else { Ok(text.as_bytes().to_vec()) };
    let file = file.map_err(|error| Reply::error(500, "SYSTEM_ERROR", &error.to_string()))?;
    let token = lock(&world.files).keep(file);
    let kind = if packed { "&tartype=gzip" } else { "" };
    let base = &world.identity.wechat.params.base_url;
    Ok(Reply::ok(&json!({
        "hash_type": "SHA1",
        "hash_value": hex::encode(hash.as_ref()),
        "download_url": format!("{base}/v3/billdownload/file?token={token}{kind}"),
    })))
}

fn pack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Yuan with two decimals; a balance may be less than nothing.
fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", fen.abs() / 100, fen.abs() % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    /// What the adapter takes to pieces is what is put together here.
    #[test]
    fn a_bill_is_written_as_the_known_one_is() {
        let known = vectors::file("wechat", "tradebill_all_2025-01-01.csv");
        let lines: Vec<&str> = known.trim_start_matches('\u{feff}').split_terminator("\r\n").collect();
        let [header, rows @ .., summary, sums] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((*header, *summary), (ALL, SUMMARY));
        let cells = |line: &&str| line.split(',').map(|cell| cell.strip_prefix('`').unwrap().to_owned()).collect();
        let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
        let sums: Vec<String> = cells(sums);
        assert!(rows.iter().all(|row| row.len() == ALL.split(',').count()) && !rows.is_empty());
        assert_eq!(text(ALL, rows.into_iter(), SUMMARY, &sums), known);
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, known.as_bytes());
        assert_eq!(hex::encode(hash), vectors::of("wechat")["trade_bill"]["hash_value_of_uncompressed"]);
    }
}

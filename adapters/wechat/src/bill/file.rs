//! The text of a bill: a header, rows whose cells begin with a backtick, a summary header, one summary row. Nothing is
//! quoted, so a row is split where a comma stands before a backtick, and a comma in a name splits nothing.

use std::collections::HashMap;

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};
use scanback_wallet::{
    BillDay, Doubt, DoubtKind, FundBill, FundLine, Money, OrderNo, Standing, TradeBill, TradeEntry, TradeLine,
    TransactionId, UnreadLine, WalletRefundId, WalletRequestNo,
};

const BEIJING: Offset = jiff::tz::offset(8);

/// The rows under one header, and how many the summary states.
struct Table<'a> {
    columns: HashMap<&'a str, usize>,
    /// (line number from 1, cells)
    rows: Vec<(usize, Vec<&'a str>)>,
}

impl<'a> Table<'a> {
    /// `count` is the summary's column that says how many rows there are: a file that was cut off doesn't fit it.
    fn read(text: &'a str, needed: &[&str], count: &str) -> Result<Self, Doubt> {
        let unreadable = |what: String| Doubt::new(DoubtKind::Unreadable, what);
        let mut lines =
            text.trim_start_matches('\u{feff}').lines().enumerate().map(|(at, line)| (at + 1, line.trim_end()));
        let (_, header) = lines.next().ok_or_else(|| unreadable("the bill is empty".to_owned()))?;
        let columns: HashMap<&str, usize> = header.split(',').enumerate().map(|(at, name)| (name.trim(), at)).collect();
        if let Some(name) = needed.iter().find(|name| !columns.contains_key(*name)) {
            return Err(unreadable(format!("the bill has no column {name}")));
        }
        let mut rows = Vec::new();
        let mut summary_header = None;
        for (number, line) in lines.by_ref().filter(|(_, line)| !line.is_empty()) {
            if !line.starts_with('`') {
                summary_header = Some(line);
                break;
            }
            rows.push((number, cells(line)));
        }
        let summary = lines.find(|(_, line)| line.starts_with('`')).map(|(_, line)| cells(line));
        let stated = summary_header
            .and_then(|header| header.split(',').position(|name| name.trim() == count))
            .zip(summary)
            .and_then(|(at, cells)| cells.get(at)?.split('.').next()?.parse::<usize>().ok())
            .ok_or_else(|| unreadable("the bill has no summary: it was cut off".to_owned()))?;
        if stated != rows.len() {
            return Err(unreadable(format!("the bill has {} rows and states {stated}", rows.len())));
        }
        Ok(Self { columns, rows })
    }
}

/// One row by the names of its columns.
struct Row<'t, 'a> {
    table: &'t Table<'a>,
    cells: &'t [&'a str],
}

impl<'a> Row<'_, 'a> {
    fn get(&self, column: &str) -> &'a str {
        self.table.columns.get(column).and_then(|at| self.cells.get(*at)).copied().unwrap_or_default()
    }

    fn parse<T: std::str::FromStr>(&self, column: &'static str) -> Result<T, &'static str> {
        self.get(column).parse().map_err(|_| column)
    }

    fn money(&self, column: &'static str) -> Result<Money, &'static str> {
        Money::parse_yuan(self.get(column)).map_err(|_| column)
    }
}

fn cells(line: &str) -> Vec<&str> {
    line.strip_prefix('`').unwrap_or(line).split(",`").map(str::trim).collect()
}

fn time(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    Some(civil.to_zoned(TimeZone::fixed(BEIJING)).ok()?.timestamp())
}

fn unread(line: usize, column: &str) -> UnreadLine {
    UnreadLine { line, why: format!("{column} has an odd form") }
}

/// Reads a trade bill (交易账单) of type `ALL`.
pub(super) fn trades(day: BillDay, text: &str) -> Result<TradeBill, Doubt> {
    let needed = [
        "交易时间",
        "微信订单号",
        "商户订单号",
        "交易状态",
        "微信退款单号",
        "商户退款单号",
        "退款状态",
        "订单金额",
        "申请退款金额",
    ];
    let table = Table::read(text, &needed, "总交易单数")?;
    let mut bill = TradeBill { day, lines: Vec::new(), unread: Vec::new() };
    for (number, cells) in &table.rows {
        match trade(&Row { table: &table, cells }) {
            Ok(line) => bill.lines.push(line),
            Err(column) => bill.unread.push(unread(*number, column)),
        }
    }
    Ok(bill)
}

fn trade(row: &Row<'_, '_>) -> Result<TradeLine, &'static str> {
    let entry = match row.get("交易状态") {
        "SUCCESS" => TradeEntry::Payment { amount: row.money("订单金额")? },
        "REFUND" => TradeEntry::Refund {
            request_no: row.parse::<WalletRequestNo>("商户退款单号")?,
            wallet_refund_id: Some(row.parse::<WalletRefundId>("微信退款单号")?),
            amount: row.money("申请退款金额")?,
            standing: match row.get("退款状态") {
                "SUCCESS" => Standing::Paid,
                "FAIL" | "CLOSED" => Standing::Failed,
                _ => Standing::UnderWay, // words that no source lists contradict nothing
            },
        },
        "REVOKED" => TradeEntry::Void { amount: row.money("订单金额")? },
        _ => return Err("交易状态"),
    };
    Ok(TradeLine {
        order_no: row.parse::<OrderNo>("商户订单号")?,
        transaction_id: row.parse::<TransactionId>("微信订单号")?,
        at: time(row.get("交易时间")),
        store: Some(row.get("设备号")).filter(|mark| !mark.is_empty()).map(str::to_owned),
        entry,
    })
}

/// Reads a fund flow bill (资金账单).
pub(super) fn funds(day: BillDay, text: &str) -> Result<FundBill, Doubt> {
    let needed =
        ["记账时间", "微信支付业务单号", "资金流水单号", "业务类型", "收支类型", "收支金额(元)", "账户结余(元)"];
    let table = Table::read(text, &needed, "资金流水总笔数")?;
    let mut bill = FundBill { day, lines: Vec::new(), unread: Vec::new() };
    for (number, cells) in &table.rows {
        match movement(&Row { table: &table, cells }) {
            Ok(line) => bill.lines.push(line),
            Err(column) => bill.unread.push(unread(*number, column)),
        }
    }
    Ok(bill)
}

fn movement(row: &Row<'_, '_>) -> Result<FundLine, &'static str> {
    let incoming = match row.get("收支类型") {
        "收入" => true,
        "支出" => false,
        _ => return Err("收支类型"),
    };
    Ok(FundLine {
        at: time(row.get("记账时间")),
        cause: row.get("微信支付业务单号").to_owned(),
        flow_no: row.get("资金流水单号").to_owned(),
        kind: row.get("业务类型").to_owned(),
        incoming,
        amount: row.money("收支金额(元)")?,
        balance: row.money("账户结余(元)").ok(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    fn day() -> BillDay {
        "2025-01-01".parse().unwrap()
    }

    #[test]
    fn the_recorded_bill_is_read_line_by_line() {
        let bill = trades(day(), &fixtures::file("tradebill_all_2025-01-01.csv")).unwrap();
        assert_eq!((bill.lines.len(), bill.unread.len()), (2, 0));
        let [payment, refund] = &bill.lines[..] else { panic!("{bill:?}") };
        assert_eq!(payment.order_no.as_str(), "T20250101000001");
        assert_eq!(payment.entry, TradeEntry::Payment { amount: Money::fen(5000).unwrap() });
        assert_eq!(payment.at, Some("2025-01-01T02:00:00Z".parse().unwrap()));
        assert_eq!(payment.store.as_deref(), Some("POS-1"));
        let expected = TradeEntry::Refund {
            request_no: WalletRequestNo::parse("R20250101000001-1").unwrap(),
            wallet_refund_id: Some(WalletRefundId::parse("50300000012025010100000000001").unwrap()),
            amount: Money::fen(2000).unwrap(),
            standing: Standing::UnderWay,
        };
        assert_eq!(refund.entry, expected);
    }

    #[test]
    fn commas_in_names_split_nothing_and_lf_is_as_good_as_crlf() {
        let file = fixtures::file("tradebill_all_2025-01-01.csv");
        let named = file.replace("image形象店-深圳腾大", "杯,子, 大");
        for text in [named.clone(), named.replace("\r\n", "\n")] {
            assert_eq!(trades(day(), &text).unwrap().lines.len(), 2);
        }
    }

    #[test]
    fn an_odd_line_is_named_and_hides_no_other() {
        let file = fixtures::file("tradebill_all_2025-01-01.csv");
        for (from, to, column) in [
            ("`20.00,`0.00,`0.00,`", "`20.00,`0.00,`0.00,`", None),
            (",`REFUND,", ",`REVERSAL,", Some("交易状态")),
            ("`0.00,`20.00,`\r\n总", "`0.00,`-20.00,`\r\n总", Some("申请退款金额")),
            ("`R20250101000001-1", "`", Some("商户退款单号")),
        ] {
            let text = file.replace(from, to);
            let bill = trades(day(), &text).unwrap();
            let Some(column) = column else { continue };
            assert_ne!(text, file, "{from}");
            assert_eq!((bill.lines.len(), bill.unread.len()), (1, 1), "{from}");
            assert_eq!(bill.unread[0], unread(3, column));
        }
    }

    #[test]
    fn each_word_of_a_refunds_standing_has_its_meaning() {
        let file = fixtures::file("tradebill_all_2025-01-01.csv");
        for (word, expected) in [
            ("SUCCESS", Standing::Paid),
            ("PROCESSING", Standing::UnderWay),
            ("FAIL", Standing::Failed),
            ("CHANGE", Standing::UnderWay),
            ("", Standing::UnderWay),
        ] {
            let bill = trades(day(), &file.replace("`PROCESSING", &format!("`{word}"))).unwrap();
            let TradeEntry::Refund { standing, .. } = bill.lines[1].entry else { panic!("{word}") };
            assert_eq!(standing, expected, "{word}");
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_no_bill() {
        let file = fixtures::file("tradebill_all_2025-01-01.csv");
        let lines: Vec<&str> = file.split_inclusive('\n').collect();
        for cut in [
            lines[..1].concat(),
            lines[..3].concat(),
            lines[..4].concat(),
            String::new(),
            [lines[0], lines[1], lines[3], lines[4]].concat(),
        ] {
            assert!(trades(day(), &cut).is_err(), "{cut}");
        }
        assert!(trades(day(), &file.replacen("商户退款单号", "别的", 1)).is_err());
    }

    #[test]
    fn movements_on_the_account_are_read() {
        let text = "\u{feff}记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号\r\n\
            `2025-01-01 10:53:21,`50300000012025010100000000001,`4200000001,`退款,`退款,`支出,`20.00,`-3.00,`system,`a, b,`R1\r\n\
            `2025-01-01 11:00:00,`4200000000202501010000000001,`4200000002,`交易,`交易,`收入,`50.00,`47.00,`system,`,`T1\r\n\
            资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额\r\n`2,`1,`50.00,`1,`20.00\r\n";
        let bill = funds(day(), text).unwrap();
        assert_eq!((bill.lines.len(), bill.unread.len()), (2, 0));
        assert_eq!((bill.lines[0].incoming, bill.lines[0].amount), (false, Money::fen(2000).unwrap()));
        assert_eq!((bill.lines[0].balance, bill.lines[1].balance), (None, Some(Money::fen(4700).unwrap())));
        assert!(funds(day(), &text.replace("`2,`1", "`3,`1")).is_err());
    }

    proptest! {
        /// The recorded file with any text put anywhere is read or refused; no row is lost without a word.
        #[test]
        fn an_altered_file_is_read_or_refused(at in 0_usize..1200, text in "[`,\\r\\n0-9A-Z.\\-总]{0,12}", cut in 0_usize..40) {
            let mut file = fixtures::file("tradebill_all_2025-01-01.csv");
            let at = (at..file.len()).find(|at| file.is_char_boundary(*at)).unwrap_or(file.len());
            let end = (at + cut..file.len()).find(|end| file.is_char_boundary(*end)).unwrap_or(file.len());
            file.replace_range(at..end, &text);
            if let Ok(bill) = trades(day(), &file) {
                prop_assert!(bill.lines.len() + bill.unread.len() <= file.lines().count());
            }
            let _ = funds(day(), &file);
        }
    }
}

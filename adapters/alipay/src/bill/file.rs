//! The text of a detail file: remarks that begin with `#`, one header of 25 columns, rows whose cells may end in a TAB.

use jiff::Timestamp;
use scanback_wallet::{
    BillDay, Doubt, DoubtKind, Money, OrderNo, Standing, TradeBill, TradeEntry, TradeLine, TransactionId, UnreadLine,
    WalletRequestNo,
};

use crate::beijing;

/// The first column, by which the header is found.
const FIRST: &str = "支付宝交易号";
/// The one column that holds a merchant's free text: a comma in it is not quoted for certain (alipay §22).
const FREE_TEXT: &str = "商品名称";

struct Columns {
    names: Vec<String>,
    free_text: Option<usize>,
}

impl Columns {
    /// The cell of a column. A row with more cells than columns has its surplus in the free text.
    fn get<'a>(&self, cells: &[&'a str], name: &str) -> &'a str {
        let surplus = cells.len().saturating_sub(self.names.len());
        let at = self.names.iter().position(|column| column == name);
        let shifted = at.map(|at| if self.free_text.is_some_and(|free| at > free) { at + surplus } else { at });
        shifted.and_then(|at| cells.get(at)).map_or("", |cell| cell.trim())
    }
}

/// Reads the detail file. `broken`: some bytes were no GBK, so a name may show a replacement.
pub(super) fn trades(day: BillDay, text: &str, broken: bool) -> Result<TradeBill, Doubt> {
    let unreadable = |what: String| Doubt::new(DoubtKind::Unreadable, what);
    if broken {
        tracing::warn!(bill.day = %day, "a bill of Alipay has characters that are no GBK: they are replaced");
    }
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_end_matches(['\r', '\n'])));
    let header = lines.find(|(_, line)| line.starts_with(FIRST));
    let (_, header) = header.ok_or_else(|| unreadable("the bill has no header".to_owned()))?;
    let names: Vec<String> = header.split(',').map(|name| name.trim().to_owned()).collect();
    for needed in ["商户订单号", "业务类型", "完成时间", "订单金额（元）", "退款批次号/请求号"]
    {
        if !names.iter().any(|name| name == needed) {
            return Err(unreadable(format!("the bill has no column {needed}")));
        }
    }
    let free_text = names.iter().position(|name| name == FREE_TEXT);
    let columns = Columns { names, free_text };
    let mut bill = TradeBill { day, lines: Vec::new(), unread: Vec::new() };
    let (mut counted, mut stated, mut ended) = ((0, 0), (None, None), false);
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        if let Some(remark) = line.strip_prefix('#') {
            ended |= remark.contains("列表结束");
            stated.0 = stated.0.or_else(|| count(remark, "交易合计："));
            stated.1 = stated.1.or_else(|| count(remark, "退款合计："));
            continue;
        }
        let cells: Vec<&str> = line.split(',').collect();
        match columns.get(&cells, "业务类型") {
            "交易" => counted.0 += 1,
            "退款" => counted.1 += 1,
            _ => {}
        }
        match trade(&columns, &cells) {
            Ok(line) => bill.lines.push(line),
            Err(column) => {
                bill.unread.push(UnreadLine { line: number, why: format!("{column} has an odd form") });
            }
        }
    }
    if !ended {
        return Err(unreadable("the bill has no end: it was cut off".to_owned()));
    }
    let differs = |stated: Option<u64>, counted: u64| stated.is_some_and(|stated| stated != counted);
    if differs(stated.0, counted.0) || differs(stated.1, counted.1) {
        return Err(unreadable("the bill states another number of rows than it has".to_owned()));
    }
    Ok(bill)
}

/// `交易合计：6笔，…`
fn count(remark: &str, before: &str) -> Option<u64> {
    remark.strip_prefix(before)?.split_once('笔')?.0.trim().parse().ok()
}

fn trade(columns: &Columns, cells: &[&str]) -> Result<TradeLine, &'static str> {
    let get = |name: &str| columns.get(cells, name);
    let order_no = OrderNo::parse(get("商户订单号")).map_err(|_| "商户订单号")?;
    let amount = |sign: &str| {
        let text = get("订单金额（元）").strip_prefix(sign).ok_or("订单金额（元）")?;
        Money::parse_yuan(text).map_err(|_| "订单金额（元）")
    };
    let entry = match get("业务类型") {
        "交易" => TradeEntry::Payment { amount: amount("")? },
        "退款" => TradeEntry::Refund {
            // a refund that was made without a number has the order's (alipay §9)
            request_no: match get("退款批次号/请求号") {
                "" => WalletRequestNo::parse(order_no.as_str()).map_err(|_| "商户订单号")?,
                number => WalletRequestNo::parse(number).map_err(|_| "退款批次号/请求号")?,
            },
            wallet_refund_id: None,
            amount: amount("-")?,
            standing: Standing::Paid, // Alipay lists what is done
        },
        _ => return Err("业务类型"),
    };
    Ok(TradeLine {
        order_no,
        transaction_id: TransactionId::parse(get(FIRST)).map_err(|_| FIRST)?,
        at: time(get("完成时间")).or_else(|| time(get("创建时间"))),
        store: Some(get("门店编号")).filter(|text| !text.is_empty()).map(str::to_owned),
        entry,
    })
}

fn time(text: &str) -> Option<Timestamp> {
    beijing::parse(text)
}

#[cfg(test)]
mod tests {
    use encoding_rs::GBK;
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    fn day() -> BillDay {
        "2025-01-01".parse().unwrap()
    }

    fn recorded() -> String {
        let bytes = fixtures::bytes("detail_gbk.csv");
        let (text, broken) = GBK.decode_without_bom_handling(&bytes);
        assert!(!broken);
        text.into_owned()
    }

    fn read(text: &str) -> Result<TradeBill, Doubt> {
        trades(day(), text, false)
    }

    #[test]
    fn the_recorded_file_is_read_line_by_line() {
        let bill = read(&recorded()).unwrap();
        let [payment, refund] = &bill.lines[..] else { panic!("{bill:?}") };
        assert_eq!(payment.entry, TradeEntry::Payment { amount: Money::fen(5000).unwrap() });
        assert_eq!(payment.order_no.as_str(), "T20250101000001");
        assert_eq!(refund.transaction_id.as_str(), "2025010122001400000000000001");
        assert_eq!(refund.at, Some("2025-01-01T02:53:21Z".parse().unwrap()));
        assert_eq!(
            refund.entry,
            TradeEntry::Refund {
                request_no: WalletRequestNo::parse("R20250101000001_1").unwrap(),
                wallet_refund_id: None,
                amount: Money::fen(2000).unwrap(),
                standing: Standing::Paid,
            }
        );
    }

    #[test]
    fn a_comma_in_a_name_and_other_line_ends_change_nothing() {
        let good = read(&recorded()).unwrap();
        for text in [
            recorded().replace("咖啡", "咖啡,大杯,\"热\""),
            recorded().replace("\r\n", "\n"),
            recorded().replace('\t', ""),
        ] {
            assert_eq!(read(&text), Ok(good.clone()), "{text}");
        }
    }

    #[test]
    fn a_refund_without_a_number_has_the_orders() {
        let bill = read(&recorded().replace("R20250101000001_1", "")).unwrap();
        let TradeEntry::Refund { request_no, .. } = &bill.lines[1].entry else { panic!() };
        assert_eq!(request_no.as_str(), "T20250101000001");
    }

    #[test]
    fn an_odd_line_is_named_and_hides_no_other() {
        for (from, to) in [("退款\t", "退票\t"), (",-20.00,-20.00", ",20.00,20.00"), ("R20250101000001_1", "外")] {
            let text = recorded().replace(from, to);
            let bill = read(&text);
            if from == "退款\t" {
                assert!(bill.is_err(), "its count does not fit any more");
                continue;
            }
            let bill = bill.unwrap();
            assert_eq!((bill.lines.len(), bill.unread.len(), bill.unread[0].line), (1, 1, 7), "{from}");
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_no_bill() {
        let text = recorded();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for end in [0, 3, 5, 6, 7] {
            assert!(read(&lines[..end].concat()).is_err(), "{end}");
        }
        assert!(read(&[&lines[..6], &lines[7..]].concat().concat()).is_err(), "a row is missing");
        assert!(read(&text.replace("退款批次号/请求号", "别的")).is_err());
    }

    proptest! {
        /// The recorded file with any text put anywhere is read or refused.
        #[test]
        fn an_altered_file_is_read_or_refused(at in 0_usize..1200, text in "[,\\r\\n\\t0-9A-Z.#笔：\\-]{0,12}", cut in 0_usize..40) {
            let mut file = recorded();
            let at = (at..file.len()).find(|at| file.is_char_boundary(*at)).unwrap_or(file.len());
            let end = (at + cut..file.len()).find(|end| file.is_char_boundary(*end)).unwrap_or(file.len());
            file.replace_range(at..end, &text);
            if let Ok(bill) = read(&file) {
                prop_assert!(bill.lines.len() + bill.unread.len() <= file.lines().count());
            }
        }
    }
}

//! Bills: a day's or a month's business rows as a ZIP of GBK files, behind an address that needs no signature (alipay §16).

use actix_web::{HttpResponse, web};
use jiff::{Timestamp, civil::Date};
use serde_json::Value;

use super::{archive, node::Node, yuan};
use crate::{
    beijing,
    books::{Entry, Wallet},
    fields::Fields,
    world::{World, lock},
};

/// Where the address points to, at the sandbox's own.
pub(crate) const PATH: &str = "/downloadBillFile.resource";
const HEADER: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";
const SUMMARY: &str = "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,商家优惠（元）,卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）";

/// The days of a bill, the last one included.
struct Days {
    first: Date,
    last: Date,
    /// `20250101`, or `202501` of a month.
    digits: String,
}

/// `alipay.data.dataservice.bill.downloadurl.query`.
pub(super) fn address(world: &World, content: &Value) -> Result<Node, Node> {
    let bad = |sub_msg: String| Node::failed("isv.invalid_arguments", &sub_msg);
    let fields = Fields::of(content).map_err(|field| bad(field.issue))?;
    let kind = fields.required_text("bill_type", 32).map_err(|field| bad(field.issue))?;
    let date = fields.required_text("bill_date", 10).map_err(|field| bad(field.issue))?;
    match kind {
        "trade" => {}
        "signcustomer" | "merchant_act" | "trade_zft_merchant" | "zft_acc" | "settlementMerge" => {
            return Err(Node::failed("isp.bill_not_exist", "账单不存在"));
        }
        _ => return Err(bad("不支持的账单类型".into())),
    }
    let days = days(date).ok_or_else(|| bad("账单时间应为yyyy-MM-dd或yyyy-MM".into()))?;
    if days.first > beijing::day(Timestamp::now()) {
        return Err(bad("账单时间不能晚于今天".into()));
    }
    let entries = world.books(|books, now| books.entries(Wallet::Alipay, now));
    let within = |entry: &Entry| (days.first..=days.last).contains(&entry.day());
    let entries: Vec<Entry> = entries.into_iter().filter(within).collect();
    if entries.is_empty() {
        return Err(Node::failed("isp.bill_not_exist", "账单不存在"));
    }
    let params = &world.identity.alipay.params;
    let name = format!("{}0156_{}", params.seller_id, days.digits);
    let account = format!("{}0156", params.seller_id);
    let files = [
        (format!("{name}_业务明细.csv"), detail(&account, &days, &entries)),
        (format!("{name}_业务明细(汇总).csv"), summary(&account, &days, &entries)),
    ];
    let zip = archive::pack(&files).map_err(|error| {
        Node::refused("20000", "Service Currently Unavailable", "isp.unknow-error", &error.to_string())
    })?;
    let token = lock(&world.files).keep(zip);
    let base = params.gateway_url.strip_suffix("/gateway.do").unwrap_or(&params.gateway_url);
    let url = format!(
        "{base}{PATH}?bizType=trade&userId={account}&fileType=csv.zip&bizDates={}&downloadFileName={name}.csv.zip&token={token}",
        days.digits
    );
    Ok(Node::success().with("bill_download_url", url))
}

/// The file behind an address; a plain GET.
pub(crate) async fn download(world: web::Data<World>, query: web::Query<Vec<(String, String)>>) -> HttpResponse {
    let token = query.iter().find(|(name, _)| name == "token").map_or("", |(_, token)| token.as_str());
    match lock(&world.files).get(token) {
        Some(file) => HttpResponse::Ok().content_type("application/zip").body(file.to_vec()),
        None => HttpResponse::Forbidden().content_type("text/html;charset=utf-8").body("下载链接已失效"),
    }
}

fn days(text: &str) -> Option<Days> {
    let digits = text.replace('-', "");
    if text.len() == "2025-01".len() {
        let first: Date = format!("{text}-01").parse().ok()?;
        return Some(Days { first, last: first.last_of_month(), digits });
    }
    let day: Date = text.parse().ok().filter(|_| text.len() == "2025-01-01".len())?;
    Some(Days { first: day, last: day, digits })
}

fn heading(title: &str, list: &str, account: &str, days: &Days) -> String {
    let end = days.last.tomorrow().unwrap_or(days.last);
    let written = |day: Date| day.strftime("%Y年%m月%d日 00:00:00").to_string();
    format!(
        "#{title}\r\n#账号：[{account}]\r\n#起始日期：[{}]   终止日期：[{}]\r\n#-----------------------------------------{list}----------------------------------------\r\n",
        written(days.first),
        written(end)
    )
}

fn exported() -> String {
    let now = beijing::seconds(Timestamp::now());
    let (day, time) = now.split_once(' ').unwrap_or((&now, ""));
    let mut parts = day.splitn(3, '-');
    let mut part = || parts.next().unwrap_or_default();
    format!("#导出时间：[{}年{}月{}日 {time}]\r\n", part(), part(), part())
}

fn detail(account: &str, days: &Days, entries: &[Entry]) -> String {
    let mut text = heading("支付宝业务明细查询", "业务明细列表", account, days);
    text.push_str(HEADER);
    text.push_str("\r\n");
    let (mut paid, mut back) = ((0, 0), (0, 0));
    for entry in entries {
        let sum = if entry.moved() > 0 { &mut paid } else { &mut back };
        sum.0 += 1;
        sum.1 += entry.moved();
        text.push_str(&row(entry));
        text.push_str("\r\n");
    }
    text.push_str("#-----------------------------------------业务明细列表结束------------------------------------\r\n");
    text.push_str(&format!("#交易合计：{}笔，商家实收共{}元，商家优惠共0.00元\r\n", paid.0, yuan::signed(paid.1)));
    text.push_str(&format!(
        "#退款合计：{}笔，商家实收退款共{}元，商家优惠退款共0.00元\r\n",
        back.0,
        yuan::signed(back.1)
    ));
    text + &exported()
}

/// Several cells end in a tab, as the wallet writes them.
fn row(entry: &Entry) -> String {
    let order = entry.order();
    let (kind, number) = match entry {
        Entry::Payment(..) => ("交易", ""),
        Entry::Refund(_, refund) => ("退款", refund.number.as_str()),
        Entry::Void(..) => ("退款", ""),
    };
    let (at, amount) = (beijing::seconds(entry.at()), yuan::signed(entry.moved()));
    let (trade, own) = (&order.transaction_id, &order.out_trade_no);
    format!(
        "{trade}\t,{own}\t,{kind}\t,沙箱商品,{at},{at},\t,,\t,\t,*三(159****5620),{amount},{amount},0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,{number},0.00,0.00,"
    )
}

fn summary(account: &str, days: &Days, entries: &[Entry]) -> String {
    let payments = entries.iter().filter(|entry| entry.moved() > 0).count();
    let net = yuan::signed(entries.iter().map(Entry::moved).sum());
    let mut text = heading("支付宝业务汇总查询", "业务汇总列表", account, days);
    text.push_str(&format!(
        "{SUMMARY}\r\n,,{payments},{},{net},{net},0.00,0.00,0.00,0.00,0.00,{net}\r\n",
        entries.len() - payments
    ));
    text.push_str("#-----------------------------------------业务汇总列表结束------------------------------------\r\n");
    text + &exported()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn a_bill_begins_as_the_known_one_does() {
        let known = vectors::bytes("alipay", "detail_gbk.csv");
        let (known, _, malformed) = encoding_rs::GBK.decode(&known);
        assert!(!malformed);
        let day = Date::constant(2025, 1, 1);
        let days = Days { first: day, last: day, digits: "20250101".to_owned() };
        let made = detail("20880000000000010156", &days, &[]);
        let lines = |text: &str| text.lines().take(5).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&made), lines(&known));
        let row = known.lines().nth(5).unwrap();
        assert_eq!(row.split(',').count(), HEADER.split(',').count());
    }
}

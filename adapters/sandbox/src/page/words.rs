//! What the status page says, in both languages.

/// The words of one language.
pub(super) struct Words {
    pub(super) lang: &'static str,
    pub(super) title: &'static str,
    pub(super) reload: &'static str,
    pub(super) scale: &'static str,
    pub(super) no_verify: &'static str,
    pub(super) orders: &'static str,
    pub(super) refunds: &'static str,
    pub(super) refunded: &'static str,
    pub(super) violations: &'static str,
    pub(super) exchanges: &'static str,
    pub(super) faults: &'static str,
    pub(super) time: &'static str,
    pub(super) wallet: &'static str,
    pub(super) order: &'static str,
    pub(super) refund: &'static str,
    pub(super) call: &'static str,
    pub(super) answer: &'static str,
    pub(super) what: &'static str,
    pub(super) fault: &'static str,
    pub(super) amount: &'static str,
    pub(super) amount_fen: &'static str,
    pub(super) state: &'static str,
    pub(super) frames: &'static str,
    pub(super) payment_code: &'static str,
    pub(super) bill_code: &'static str,
    pub(super) times: &'static str,
    pub(super) probability: &'static str,
    pub(super) hold: &'static str,
    pub(super) under_way: &'static str,
    pub(super) none_yet: &'static str,
    pub(super) add_order: &'static str,
    pub(super) add_fault: &'static str,
    pub(super) clear_faults: &'static str,
}

const EN: Words = Words {
    lang: "en",
    title: "Scanback sandbox",
    reload: "Reload",
    scale: "time runs",
    no_verify: "--no-verify: signatures of requests are not looked at. Good for load tests and nothing else.",
    orders: "Orders",
    refunds: "Refunds",
    refunded: "Refunded",
    violations: "Violations",
    exchanges: "Calls, newest first",
    faults: "Faults that wait",
    time: "Time (UTC)",
    wallet: "Wallet",
    order: "Order",
    refund: "Refund",
    call: "Call",
    answer: "Answer",
    what: "What happens",
    fault: "Fault",
    amount: "Amount",
    amount_fen: "Amount in fen",
    state: "State",
    frames: "Frames",
    payment_code: "payment code",
    bill_code: "bill code",
    times: "Times",
    probability: "Probability",
    hold: "Hold",
    under_way: "under way",
    none_yet: "None yet.",
    add_order: "Add order",
    add_fault: "Add fault",
    clear_faults: "Clear all faults",
};

const ZH: Words = Words {
    lang: "zh-CN",
    title: "Scanback 沙箱",
    reload: "刷新",
    scale: "时间倍率",
    no_verify: "--no-verify：不验证请求签名，只可用于压力测试。",
    orders: "订单",
    refunds: "退款",
    refunded: "已退款",
    violations: "违规",
    exchanges: "调用记录（最新在前）",
    faults: "等待触发的故障",
    time: "时间（UTC）",
    wallet: "钱包",
    order: "订单",
    refund: "退款单",
    call: "调用",
    answer: "应答",
    what: "说明",
    fault: "故障",
    amount: "金额",
    amount_fen: "金额（分）",
    state: "状态",
    frames: "图像",
    payment_code: "付款码",
    bill_code: "账单码",
    times: "次数",
    probability: "概率",
    hold: "延迟",
    under_way: "进行中",
    none_yet: "暂无。",
    add_order: "新增订单",
    add_fault: "新增故障",
    clear_faults: "清除全部故障",
};

impl Words {
    /// The first of the two languages that is named; English if none is.
    pub(super) fn of(languages: &str) -> &'static Self {
        let named = languages.split([',', ';']).map(|one| one.trim().to_ascii_lowercase());
        let first = named.into_iter().find(|one| one.starts_with("zh") || one.starts_with("en"));
        if first.is_some_and(|one| one.starts_with("zh")) { &ZH } else { &EN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_language_that_there_is_is_taken() {
        for (asked, lang) in [("zh-CN", "zh-CN"), ("fr, zh;q=0.8, en", "zh-CN"), ("en-GB, zh", "en"), ("", "en")] {
            assert_eq!(Words::of(asked).lang, lang, "{asked}");
        }
    }
}

//! Why money goes back: a policy code, and the public text that the wallet shows to the payer.

use serde::Serialize;

/// One reason of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The code that callers send, for example `customer_request`.
    pub code: String,
    /// What the payer reads in the wallet.
    pub public_text: String,
}

/// The default set of contract §3, with texts for payers in Chinese.
#[must_use]
pub fn default_reasons() -> Vec<Reason> {
    [
        ("customer_request", "顾客申请退款"),
        ("wrong_amount", "收款金额有误"),
        ("duplicate_payment", "重复付款"),
        ("out_of_stock", "商品缺货"),
        ("quality", "商品质量问题"),
        ("booking_cancelled", "预订取消"),
        ("compliance", "合规要求"),
        ("other", "其他原因"),
    ]
    .into_iter()
    .map(|(code, text)| Reason { code: code.to_owned(), public_text: text.to_owned() })
    .collect()
}

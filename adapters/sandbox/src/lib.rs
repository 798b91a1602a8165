//! Mock WeChat Pay and Alipay with real signatures and books of their own

//! Alipay gateway adapter

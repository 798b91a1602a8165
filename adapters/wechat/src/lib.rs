//! WeChat Pay API v3 adapter

//! The sandbox as its clients meet it: real HTTP, signatures made and checked with another library than its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by a panic")]

mod alipay;
mod control;
mod directory;
mod exchanges;
mod faults;
mod kept;
mod listener;
mod notifications;
mod page;
mod partner;
mod shop;
mod wechat;

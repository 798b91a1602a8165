//! The rules, pure: no async, no clock, no I/O; time is an argument. Knows nothing of HTTP, SQL, Redis or a wallet.

pub mod actor;
pub mod code;
pub mod foreign;
pub mod gate;
pub mod idempotency;
pub mod order;
pub mod payer;
pub mod policy;
pub mod reason;
pub mod refund;
pub mod refusal;
pub mod typed;
pub mod view;

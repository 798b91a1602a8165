//! The rules, pure: no async, no clock, no I/O; time is an argument.

pub mod idempotency;

//! The rules, pure: no async, no clock, no I/O.

pub mod code;

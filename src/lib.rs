//! Scanback: a self-hosted refund desk for WeChat Pay and Alipay.
//!
//! The modules in reading order, the way of a refund: http → service → ledger → wallet. What may use what is drawn in
//! `docs/ARCHITECTURE.md`, and a test keeps it true.

pub mod cli;
pub mod config;
pub mod domain;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod http;
pub mod keys;
pub mod ledger;
pub mod mutants;
pub mod scan;
pub mod service;
pub mod startup;
pub mod telemetry;
pub mod webhook;
pub mod words;
pub mod worker;

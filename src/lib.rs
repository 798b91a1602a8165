//! Scanback: a self-hosted refund desk. The modules in reading order, the way of a refund:
//! http → service → ledger → wallet.

pub mod cli;
pub mod service;
pub mod domain;
pub mod ledger;
pub mod keys;
pub mod scan;
pub mod webhook;

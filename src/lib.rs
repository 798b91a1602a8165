//! Scanback: a self-hosted refund desk. The modules in reading order, the way of a refund:
//! http → service → ledger → wallet.

pub mod domain;
pub mod keys;
pub mod ledger;
pub mod webhook;

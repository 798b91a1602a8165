//! Scanback.

pub mod domain;
pub mod keys;

//! Scanback.

pub mod domain;
pub mod keys;
pub mod webhook;

//! Scanback.

pub mod cli;
pub mod domain;
pub mod scan;

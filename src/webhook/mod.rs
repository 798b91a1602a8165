//! Out to merchants: signed, retried, never to a private address. Source: contract §5.
//!
//! - [`sign`]: secrets and signatures as Standard Webhooks has them
//! - [`schedule`]: when to try again, and when to park
//! - [`client`]: one delivery over HTTP, and which addresses may be called

pub mod client;
pub mod schedule;
pub mod sign;

mod address;

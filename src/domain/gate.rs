//! How hard a wallet is asked: settings of the gate before each account.

/// How much a wallet is asked at once and a second. Quotas are the wallet's own time: multiplied by the time scale.
#[derive(Clone, Copy, Debug)]
pub struct GateLimits {
    /// Refund calls under way at once, and as many look-ups.
    pub calls_at_once: usize,
    /// Requests that may wait for a place; more are refused at once.
    pub waiting: usize,
    /// Refund calls a second.
    pub refunds_per_second: u32,
    /// The same while more than half of the last 20 were refused.
    pub refunds_per_second_while_refused: u32,
    /// Look-ups a second.
    pub look_ups_per_second: u32,
}

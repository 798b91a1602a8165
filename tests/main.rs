//! The promises of the desk, kept by the real program: each test starts the binary's own `serve` and `sandbox` and ends by
//! comparing the books. `tests/run` runs them on SQLite, then on PostgreSQL with Redis.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails its test")]

mod bad_input;
mod ceiling;
mod commands;
mod conformance;
mod crash;
mod doctor;
mod elsewhere;
mod events;
mod faults;
mod forwarding;
mod idempotency;
mod kept_books;
mod keys;
mod limits;
mod notifications;
mod partner;
mod patience;
mod payers;
mod random_day;
mod refunds;
mod refusals;
mod shop;
mod stale;
mod starts;
mod strangers;
mod tidy;
mod turns;
mod unknown;
mod webhooks;

//! The adapter against a gateway on a socket.
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod openssl;
mod operations;
mod renewed_certificate;

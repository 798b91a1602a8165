//! Scanback.
fn main() {}

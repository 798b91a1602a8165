//! Scanback.

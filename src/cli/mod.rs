//! A file a command.

pub mod decode;

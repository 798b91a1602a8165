//! The binary: parses the command line and calls one function.

use std::process::ExitCode;

use clap::Parser as _;
use scanback::cli;

fn main() -> ExitCode {
    // one TLS provider for all clients; a second call could only fail because it is there already
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run(cli::Arguments::parse())
}

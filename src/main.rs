//! The binary: parses the command line and calls one function.

use std::process::ExitCode;

use clap::Parser as _;
use scanback::cli;

/// A refund is thousands of small allocations that live for microseconds on threads that hand them over to each other: the
/// system's allocator spends a tenth of a refund's time on them (`cargo bench --bench refund_cost`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // one TLS provider for all clients; a second call could only fail because it is there already
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run(cli::Arguments::parse())
}

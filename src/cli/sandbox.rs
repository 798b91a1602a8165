//! `scanback sandbox`: the mock wallets, in a process of their own.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use scanback_sandbox::{Options, Sandbox};

#[derive(Debug, clap::Args)]
pub(super) struct SandboxArgs {
    /// Where it listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Filled with keys, certificates and a scanback.toml for `serve`; what is there is used again
    #[arg(long)]
    dir: PathBuf,
    /// Makes keys, numbers and draws repeatable
    #[arg(long)]
    seed: Option<u64>,
    /// Where it listens with TLS too, for SDKs with fixed hosts
    #[arg(long, value_name = "ADDR")]
    tls_listen: Option<SocketAddr>,
    /// Lets control calls in that don't come from this machine
    #[arg(long, value_name = "T")]
    control_token: Option<String>,
    /// How much faster the wallets' time runs
    #[arg(long, value_name = "X", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    time_scale: u32,
    /// Orders and refunds survive a restart, in books.jsonl of the directory
    #[arg(long)]
    keep_books: bool,
    /// The WeChat account is a partner's (服务商), which acts for one merchant
    #[arg(long)]
    partner: bool,
    /// For load tests only: believes requests without looking at their signatures
    #[arg(long)]
    no_verify: bool,
}

pub(super) async fn run(args: SandboxArgs) -> anyhow::Result<()> {
    let dir = args.dir.clone();
    let sandbox = Sandbox::start(Options {
        listen: args.listen,
        tls_listen: args.tls_listen,
        dir: args.dir,
        seed: args.seed,
        control_token: args.control_token,
        time_scale: args.time_scale,
        keep_books: args.keep_books,
        partner: args.partner,
        no_verify: args.no_verify,
    })
    .await?;
    // whoever started it may have stopped reading: that ends nothing
    let mut output = io::stdout();
    let _ = writeln!(output, "sandbox on {}", sandbox.base_url());
    if args.no_verify {
        let _ = writeln!(
            output,
            "WARNING: --no-verify: signatures of requests are NOT looked at; good for load tests and nothing else"
        );
    }
    let _ = writeln!(output, "status page: {}/_sandbox/", sandbox.base_url());
    let _ = writeln!(output, "configuration for `scanback serve`: {}", dir.join("scanback.toml").display());
    super::asked_to_stop()?.await;
    sandbox.stop().await;
    Ok(())
}

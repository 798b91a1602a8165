//! `scanback demo`: everything at once and nothing to install. A seeded shop on a SQLite file, mock wallets in the same
//! process, real frames posted over HTTP, real signatures; then it keeps serving.

mod shop;
mod story;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use scanback_sandbox::{Options, Sandbox};

use crate::{startup::Service, telemetry};

/// The demo's wallets run this much faster: a refund that takes a minute is paid after a second (contract §7).
const TIME_SCALE: u32 = 60;
const USUAL_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Stop after the table; non-zero if any step went wrong
    #[arg(long)]
    once: bool,
    /// Where the service listens [default: 127.0.0.1:8080, with --once a free port]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// A folder for the demo's files, gone with the demo.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("scanback-demo-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let folder = Folder::new()?;
    println!("Scanback demo: a shop on SQLite, WeChat Pay and Alipay played by a sandbox in this process.");
    println!("The wallets' time runs {TIME_SCALE} times faster; keys, signatures and frames are real.\n");
    let sandbox = Sandbox::start(Options {
        listen: ANY_PORT,
        tls_listen: None,
        dir: folder.0.clone(),
        seed: None,
        control_token: None,
        time_scale: TIME_SCALE,
        keep_books: false,
        partner: false,
        no_verify: false,
    })
    .await?;
    let mut settings = super::load(&folder.0.join("scanback.toml"))?;
    settings.listen = args.listen.unwrap_or(if args.once { ANY_PORT } else { USUAL_ADDRESS });
    let service = Service::start(settings, telemetry::start_metrics()?).await?;
    let shop = shop::Shop::seed(&service, &sandbox.base_url()).await?;

    let went_well = story::tell(&shop).await?;
    let code = if went_well { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if !args.once {
        shop.introduce();
        super::asked_to_stop()?.await;
    }
    service.stop().await;
    sandbox.stop().await;
    Ok(if args.once { code } else { ExitCode::SUCCESS })
}

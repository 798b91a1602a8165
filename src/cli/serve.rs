//! `scanback serve`: the service, until it is asked to stop. SIGHUP reads the keys of the wallets again.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use tokio::signal::unix::{SignalKind, signal};

use super::ConfigArgs;
use crate::{config::Settings, startup::Service, telemetry};

pub(super) async fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    let settings = args.settings()?;
    let merchants = settings.merchants.len();
    let mut asked_to_reload = signal(SignalKind::hangup())?;
    let stopped = super::asked_to_stop()?;
    let service = Service::start(settings, telemetry::start_metrics()?).await?;
    // on standard output, for whoever started it on port 0
    let _ = writeln!(io::stdout(), "listening on http://{}", service.address());
    tracing::info!(address = %service.address(), merchants, "listening");
    if merchants == 0 {
        tracing::warn!("no merchant is configured: nobody can be refunded");
    }
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            Some(()) = asked_to_reload.recv() => reload(&service, &args.config).await,
        }
    }
    service.stop().await;
    Ok(())
}

/// Reads the settings anew and takes the keys. Settings that can't be used change nothing: the service goes on as it was.
async fn reload(service: &Service, config: &Path) {
    let file: PathBuf = config.to_owned();
    // off the loop: a command that prints a key may take seconds
    let read = tokio::task::spawn_blocking(move || Settings::load(&file)).await;
    match read {
        Ok(Ok(settings)) => {
            let reloaded = service.reload_keys(settings);
            for left in &reloaded.left {
                tracing::warn!(account = left, "changed in the settings, and needs a restart");
            }
            tracing::info!(accounts = reloaded.renewed, "the wallets' keys were read again");
        }
        Ok(Err(error)) => tracing::error!(%error, "the settings can't be used: the keys stay as they were"),
        Err(error) => tracing::error!(%error, "the settings could not be read: the keys stay as they were"),
    }
}

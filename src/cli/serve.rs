//! `scanback serve`: the service, until it is asked to stop.

use std::io::{self, Write as _};

use crate::{config::Settings, startup::Service, telemetry};

pub(super) async fn run(settings: Settings) -> anyhow::Result<()> {
    let merchants = settings.merchants.len();
    let service = Service::start(settings, telemetry::start_metrics()?).await?;
    // on standard output, for whoever started it on port 0
    let _ = writeln!(io::stdout(), "listening on http://{}", service.address());
    tracing::info!(address = %service.address(), merchants, "listening");
    if merchants == 0 {
        tracing::warn!("no merchant is configured: nobody can be refunded");
    }
    super::asked_to_stop().await?;
    service.stop().await;
    Ok(())
}

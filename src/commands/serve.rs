//! `shortline serve`.

use crate::settings::Settings;
use crate::startup::Application;

/// Runs the service on the configured database until a signal stops it.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let application = Application::build(settings, settings.database()?).await?;
    tracing::info!("listening on http://{}", application.address());
    if let Some(address) = application.metrics_address() {
        tracing::info!("metrics on http://{address}/metrics");
    }
    application.run_until_stopped().await
}

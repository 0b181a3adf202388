//! `shortline serve`.

use tokio::select;
use tokio::signal::unix::{SignalKind, signal};

use crate::settings::Settings;
use crate::startup::{Application, reload_keys};

/// Runs the service on the configured database until a signal stops it. SIGHUP makes it read the
/// files of keys again.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let application = Application::build(settings, settings.database()?).await?;
    tracing::info!("listening on http://{}", application.address());
    if let Some(address) = application.metrics_address() {
        tracing::info!("metrics on http://{address}/metrics");
    }
    let authenticator = application.authenticator();
    let reload = async {
        while hangup.recv().await.is_some() {
            reload_keys(&authenticator).await;
        }
    };
    select! {
        stopped = application.run_until_stopped() => stopped,
        () = reload => Ok(()),
    }
}

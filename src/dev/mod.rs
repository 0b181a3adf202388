//! `shortline dev`: the service with a private PostgreSQL and the data of CarrierX's samples.

mod demo;
mod postgres;

use std::env;
use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Context;
use nix::unistd::Uid;
use uuid::Uuid;

pub use postgres::PrivateServer;

use crate::http::AllowedSites;
use crate::settings::{ConsoleMode, Settings};
use crate::startup::Application;
use crate::store;
use crate::webhooks::LOOPBACK;

/// The options of `shortline dev`.
#[derive(clap::Args)]
pub struct Options {
    /// Delete the data at the end
    #[arg(long)]
    ephemeral: bool,
    /// Folder of the data
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    data: Option<PathBuf>,
    /// A host, without its port, by which the service can be reached; may be repeated [default:
    /// loopback hosts only]
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// An origin whose pages can use the service; may be repeated [default: loopback origins only]
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
}

/// Runs the service on a private PostgreSQL until a signal stops it.
///
/// # Errors
/// If PostgreSQL is not installed or ends, or the folder or the address is in use.
pub async fn run(mut settings: Settings, options: Options) -> anyhow::Result<()> {
    let Options { ephemeral, data, allow_host, allow_origin } = options;
    if settings.database_url().is_ok() {
        eprintln!("shortline dev never uses DATABASE_URL: it runs a private PostgreSQL");
    }
    if settings.jwt_secret()?.is_none() && settings.jwt_keys()?.is_none() {
        settings.set_jwt_secret(format!("{}{}", Uuid::new_v4(), Uuid::new_v4()).into());
    }
    settings.drain_seconds.get_or_insert(0);
    set_webhooks(&mut settings)?;
    let mut server = if ephemeral {
        PrivateServer::ephemeral().await?
    } else {
        let folder = data.map_or_else(default_folder, Ok)?;
        PrivateServer::persistent(&folder).await?
    };
    let database = server.database("shortline").await?;
    let sites = AllowedSites::Loopback { hosts: allow_host, origins: allow_origin };
    let demo_token = Some(demo::SAMPLE.token);
    let application =
        Application::build_for(&settings, database.clone(), sites, demo_token).await?;
    demo::load(&mut store::connect(&database).await?).await?;
    // A closed standard output is not an error.
    let _ = writeln!(stdout(), "{}", welcome(&application, &server));
    if settings.console != ConsoleMode::Off {
        let _ =
            writeln!(stdout(), "Or open http://{}/console in a browser.\n", application.address());
    }
    tokio::select! {
        stopped = application.run_until_stopped() => stopped,
        error = server.ended() => Err(error),
    }
}

/// Lets webhooks reach this machine, and gives them a key. The key is not secret, as the data of
/// `dev` is not, and remains the same at the next start.
fn set_webhooks(settings: &mut Settings) -> anyhow::Result<()> {
    const KEY: &str = "the key of the secrets of webhooks in shortline dev";
    let webhooks = &mut settings.webhooks;
    if webhooks.events_key()?.is_none() {
        webhooks.set_events_key(KEY.into());
    }
    if webhooks.events_allow.is_empty() {
        webhooks.events_allow =
            LOOPBACK.iter().filter_map(|network| network.parse().ok()).collect();
    }
    Ok(())
}

fn welcome(application: &Application, server: &PrivateServer) -> String {
    let (address, folder) = (application.address(), server.folder().display());
    let demo::Sample { token, did_group_sid, .. } = demo::SAMPLE;
    format!(
        "Shortline listens on http://{address} (data in {folder}; Ctrl-C stops it). Try:\n
curl -X PATCH 'http://{address}/core/v2/phonenumber/did_groups/{did_group_sid}' \\
  -H 'Content-Type: application/json' \\
  --data-binary '{{\"name\":\"my_did_group\"}}' \\
  -H 'Authorization: Bearer {token}'\n"
    )
}

/// Returns the default folder of the data. For root, it is one that the user of the server can
/// access.
fn default_folder() -> anyhow::Result<PathBuf> {
    if Uid::effective().is_root() {
        return Ok("/var/lib/shortline".into());
    }
    let state = env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".local/state")))
        .context(
            "neither XDG_STATE_HOME nor HOME is set; set the folder of the data with --data DIR",
        )?;
    Ok(state.join("shortline"))
}

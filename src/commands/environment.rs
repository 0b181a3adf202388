//! The environment of this process.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use nix::unistd::{Uid, User, gethostname};

/// Starts this program again without the PostgreSQL settings of its environment, such as PGSSLMODE
/// and PGOPTIONS, if there are any. They are meant for another server than the private one.
///
/// # Errors
/// If the program cannot be started again.
pub(super) fn without_postgresql() -> anyhow::Result<()> {
    let settings = env::vars_os().map(|(name, _)| name);
    let settings: Vec<_> =
        settings.filter(|name| name.to_string_lossy().starts_with("PG")).collect();
    if settings.is_empty() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    command.arg0(arguments.next().unwrap_or_default()).args(arguments);
    for name in settings {
        command.env_remove(name);
    }
    // Returns only if it fails.
    Err(command.exec()).context("cannot start again without the settings of PostgreSQL")
}

/// Returns the operating system's names of the user and the host, such as `ann@host`.
pub(super) fn user_and_host() -> String {
    let uid = Uid::current();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let host = gethostname().unwrap_or_default();
    format!("{user}@{}", host.to_string_lossy())
}

//! `shortline migrate`.

use serde_json::json;
use sqlx::PgConnection;

use super::output::Output;
use crate::settings::Settings;
use crate::store::migrations;

/// Applies the migrations that are missing, and prints their names.
pub(super) async fn run(
    connection: PgConnection,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<()> {
    let report = migrations::migrate(connection, settings).await?;
    let applied: Vec<_> = report.applied_migrations().iter().map(ToString::to_string).collect();
    let sentence = match applied.as_slice() {
        [] => "the schema is up to date".to_owned(),
        applied => format!("applied {}", applied.join(", ")),
    };
    output.sentence(&json!({"applied": applied}), &sentence)
}

//! `shortline migrate`.

use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::output::Output;
use crate::settings::Settings;
use crate::store::{self, migrations};

/// Applies the migrations that are missing, and prints their names. Then corrects the stored
/// numbers of objects.
pub(super) async fn run(
    connection: PgConnection,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<()> {
    let report = migrations::migrate(connection, settings).await?;
    let applied: Vec<_> = report.applied_migrations().iter().map(ToString::to_string).collect();
    let mut connection = store::connect(&settings.database()?).await?;
    let corrected = store::correct_counts(&mut connection).await?;
    connection.close().await?;
    let mut sentence = match applied.as_slice() {
        [] => "the schema is up to date".to_owned(),
        applied => format!("applied {}", applied.join(", ")),
    };
    if corrected > 0 {
        sentence += &format!("; corrected {corrected} totals of lists");
    }
    output.sentence(&json!({"applied": applied, "corrected": corrected}), &sentence)
}

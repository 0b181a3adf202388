//! One PostgreSQL a run, one database and one running service a test, and the same tenants in each.

mod answer;
mod app;
mod cluster;

use std::panic::{AssertUnwindSafe, resume_unwind};

use actix_web::rt::System;
use clap::Parser;
use cluster::Cluster;
use futures_util::FutureExt;
use shortline::settings::Settings;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

pub use answer::{Answer, send_raw};
pub use app::{App, Tenant, code_path, group_path};

/// The secret that the tests' JWTs are signed with.
pub const SECRET: &str = "the secret of the tests, 32 bytes at least";

/// Runs a test against a service of its own. Afterwards the history is whole, or the test fails.
pub fn check(test: impl AsyncFnOnce(&App)) {
    check_with(&[], test);
}

/// The same with more flags.
pub fn check_with(flags: &[&str], test: impl AsyncFnOnce(&App)) {
    check_database(true, async |database| {
        let app = App::start(database, flags).await;
        test(&app).await;
        app.expect_whole_history().await;
        app.stop().await;
    });
}

/// Runs a test on a database of its own, migrated or empty, without a service.
pub fn check_database(migrated: bool, test: impl AsyncFnOnce(&PgConnectOptions)) {
    System::new().block_on(async {
        let cluster = Cluster::shared();
        let database = cluster.create(migrated).await;
        let outcome = AssertUnwindSafe(test(&database)).catch_unwind().await;
        cluster.execute(format!("drop database {} with (force)", name(&database))).await;
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

fn name(database: &PgConnectOptions) -> &str {
    database.get_database().unwrap_or_default()
}

/// A URL of the database, for the command line.
pub fn url(database: &PgConnectOptions) -> String {
    database.to_url_lossy().to_string()
}

/// The settings of a service under test.
pub fn settings(flags: &[&str]) -> Settings {
    let own = [
        "shortline",
        "--listen",
        "127.0.0.1:0",
        "--database-connections",
        "8",
        "--jwt-secret",
        SECRET,
    ];
    Settings::parse_from(own.iter().chain(flags))
}

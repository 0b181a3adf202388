//! The fixture: one PostgreSQL for each run, one database and one service for each test.

mod answer;
mod app;
mod cluster;
mod forwarder;
mod sink;
mod snapshot;
mod tenants;
mod timer;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, Instant};

use actix_web::rt::System;
use actix_web::rt::time::sleep;
use clap::Parser;
use cluster::Cluster;
use futures_util::FutureExt;
use shortline::settings::Settings;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

pub use answer::{Answer, send_raw};
pub use app::{App, plain_client};
pub use cluster::{Contents, place_files_in_memory};
pub use forwarder::{Ending, Forwarder};
pub use sink::{Received, Sink, status};
pub use snapshot::{indented, snapshot};
pub use tenants::{
    CHILD, PARTNER, Tenant, UNRELATED, code_path, create_tenants, did_path, endpoint_path,
    group_path,
};
pub use timer::start_timer;

/// The list of short codes.
pub const CODES: &str = "/core/v2/phonenumber/short_codes";

/// The list of rented phone numbers.
pub const DIDS: &str = "/core/v2/phonenumber/dids";

/// The list of phone numbers that can be rented.
pub const AVAILABLE: &str = "/core/v2/phonenumber/available_dids";

/// The list of DID groups.
pub const GROUPS: &str = "/core/v2/phonenumber/did_groups";

/// The list of webhook endpoints.
pub const ENDPOINTS: &str = "/core/v2/events/endpoints";

/// The header of a JSON body.
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// The secret that signs the JWTs of the tests.
pub const SECRET: &str = "the secret of the tests, 32 bytes at least";

/// Runs a test against its own service, then checks the history of every object.
pub fn check(test: impl AsyncFnOnce(&App)) {
    check_with(&[], test);
}

/// Runs a test like [`check`], with additional flags of the service.
pub fn check_with(flags: &[&str], test: impl AsyncFnOnce(&App)) {
    check_database(Contents::Tenants, async |database| {
        let app = App::start(database, flags).await;
        test(&app).await;
        app.expect_intact_history().await;
        app.stop().await;
    });
}

/// Runs a test on its own database, migrated or empty, without a service.
pub fn check_database(contents: Contents, test: impl AsyncFnOnce(&PgConnectOptions)) {
    start_timer();
    System::new().block_on(async {
        let cluster = Cluster::shared();
        let database = cluster.create(contents).await;
        let outcome = AssertUnwindSafe(test(&database)).catch_unwind().await;
        cluster.drop(&database).await;
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

/// The URL of the database, for the command line.
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
        "16",
        "--jwt-secret",
        SECRET,
        "--events-key",
        SECRET,
        "--events-allow",
        "127.0.0.1",
    ];
    Settings::parse_from(own.iter().chain(flags))
}

/// Polls until the condition holds, at most 10 seconds.
pub async fn wait_until(condition: &str, holds: impl AsyncFnMut() -> bool) {
    wait_at_most(Duration::from_secs(10), condition, holds).await;
}

/// Polls until the condition holds or the limit is reached.
pub async fn wait_at_most(limit: Duration, condition: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < limit, "not within {limit:?}: {condition}");
        sleep(Duration::from_millis(5)).await;
    }
}

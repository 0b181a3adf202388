//! The PostgreSQL server that all tests share.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, OnceLock};

use actix_web::rt::System;
use shortline::dev::PrivateServer;
use shortline::store::migrations;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::tenants::create_tenants;
use super::wait_until;

/// The initial contents of a database.
#[derive(Clone, Copy)]
pub enum Contents {
    /// No table.
    Empty,
    /// Every table and no row.
    Migrated,
    /// The tenants.
    Tenants,
}

impl Contents {
    /// The database that a test's database is copied from.
    fn template(self) -> &'static str {
        match self {
            Self::Empty => "template0",
            Self::Migrated => "shortline_migrated",
            Self::Tenants => "shortline_tenants",
        }
    }

    async fn create(self, database: &PgConnectOptions) {
        if let Self::Empty = self {
            return;
        }
        migrations::run(database.connect().await.unwrap()).await.unwrap();
        if let Self::Tenants = self {
            let mut connection = database.connect().await.unwrap();
            create_tenants(&mut connection).await;
            connection.close().await.unwrap();
        }
    }
}

/// The PostgreSQL server of a test run.
pub(super) struct Cluster {
    maintenance: PgConnectOptions,
    /// A private server, which stops with the process; `None` if DATABASE_URL is set.
    own: Option<PrivateServer>,
    /// How `create database` copies the template.
    strategy: &'static str,
}

impl Cluster {
    pub(super) fn shared() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| {
            // On a thread of its own: the runtime of the first test ends with that test.
            let started = std::thread::spawn(|| System::new().block_on(Self::start()));
            started.join().expect("PostgreSQL starts")
        })
    }

    async fn start() -> Self {
        if let Ok(url) = std::env::var("DATABASE_URL") {
            let maintenance = PgConnectOptions::from_str(&url).expect("DATABASE_URL is a URL");
            return Self { maintenance, own: None, strategy: "" };
        }
        place_files_in_memory();
        let server = PrivateServer::ephemeral().await.unwrap();
        let maintenance = server.database("postgres").await.unwrap();
        let mut connection = maintenance.connect().await.unwrap();
        let version = "select current_setting('server_version_num')::int";
        let version: i32 = sqlx::query_scalar(version).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        // It costs half of what the default costs since PostgreSQL 15, which logs every page.
        let strategy = if version >= 150_000 { "strategy file_copy" } else { "" };
        let cluster = Self { maintenance, own: Some(server), strategy };
        for contents in [Contents::Migrated, Contents::Tenants] {
            cluster.create_database(contents.template(), "template0").await;
            contents.create(&cluster.maintenance.clone().database(contents.template())).await;
        }
        cluster
    }

    /// Creates a database for a test.
    pub(super) async fn create(&self, contents: Contents) -> PgConnectOptions {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("shortline_test_{}_{number}", std::process::id());
        let database = self.maintenance.clone().database(&name);
        // On a server that is not ours, a template would be left behind.
        if self.own.is_some() {
            self.create_database(&name, contents.template()).await;
        } else {
            self.create_database(&name, "template0").await;
            contents.create(&database).await;
        }
        database
    }

    async fn create_database(&self, name: &str, template: &str) {
        let create = format!("create database {name} template {template} {}", self.strategy);
        let mut connection = self.maintenance.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Drops the database of a test and ends the connections to it.
    pub(super) async fn drop(&self, database: &PgConnectOptions) {
        let name = database.get_database().unwrap();
        let mut connection = self.maintenance.connect().await.unwrap();
        let end =
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = $1";
        // `drop database` would wait for them in steps of 100 ms.
        wait_until("the connections have ended", async || {
            let ended = sqlx::query_scalar::<_, i64>(end).bind(name);
            ended.fetch_one(&mut connection).await.unwrap() == 0
        })
        .await;
        let drop = format!("drop database {name} with (force)");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// Places temporary files, and with them the data of PostgreSQL, in memory where there is enough of
/// it. Copying a database there takes 10 ms, on some disks 300 ms.
pub fn place_files_in_memory() {
    const MEMORY: &str = "/dev/shm";
    const ENOUGH_KIB: u64 = 1024 * 1024;
    static PLACED: Once = Once::new();
    PLACED.call_once(|| {
        let df = Command::new("df").args(["--output=avail", "-k", MEMORY]).output();
        let available = df.ok().and_then(|output| {
            String::from_utf8(output.stdout).ok()?.lines().last()?.trim().parse::<u64>().ok()
        });
        if available.is_some_and(|available| available >= ENOUGH_KIB) {
            tempfile::env::override_temp_dir(Path::new(MEMORY)).unwrap();
        }
    });
}

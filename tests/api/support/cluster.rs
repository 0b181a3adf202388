//! The PostgreSQL server that all tests share.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use actix_web::rt::System;
use shortline::dev::PrivateServer;
use shortline::store::migrations;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::tenants::create_tenants;

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
            return Self { maintenance, own: None };
        }
        let server = PrivateServer::ephemeral().await.unwrap();
        let maintenance = server.database("postgres").await.unwrap();
        let cluster = Self { maintenance, own: Some(server) };
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
        self.execute(format!("create database {name} template {template}")).await;
    }

    pub(super) async fn execute(&self, statement: String) {
        let mut connection = self.maintenance.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

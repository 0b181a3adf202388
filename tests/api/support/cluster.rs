//! The PostgreSQL server that all tests share.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use actix_web::rt::System;
use shortline::dev::PrivateServer;
use shortline::migrations;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// The server that all tests share.
pub(super) struct Cluster {
    maintenance: PgConnectOptions,
    /// A server of our own, which ends with the process; none where DATABASE_URL names one.
    own: Option<PrivateServer>,
}

impl Cluster {
    const TEMPLATE: &str = "shortline_template";

    pub(super) fn shared() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| {
            // Not on the runtime of the test that happens to be the first.
            let started = std::thread::spawn(|| System::new().block_on(Self::start()));
            started.join().expect("PostgreSQL starts")
        })
    }

    async fn start() -> Self {
        if let Ok(url) = std::env::var("DATABASE_URL") {
            let maintenance = PgConnectOptions::from_str(&url).expect("DATABASE_URL makes sense");
            return Self { maintenance, own: None };
        }
        let server = PrivateServer::ephemeral().await.unwrap();
        let template = server.database(Self::TEMPLATE).await.unwrap();
        migrations::run(template.connect().await.unwrap()).await.unwrap();
        Self { maintenance: template.database("postgres"), own: Some(server) }
    }

    pub(super) async fn create(&self, migrated: bool) -> PgConnectOptions {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("shortline_test_{}_{number}", std::process::id());
        // On a server that is not ours, a template would stay behind.
        let ready_made = migrated && self.own.is_some();
        let template = if ready_made { Self::TEMPLATE } else { "template0" };
        self.execute(format!("create database {name} template {template}")).await;
        let database = self.maintenance.clone().database(&name);
        if migrated && !ready_made {
            migrations::run(database.connect().await.unwrap()).await.unwrap();
        }
        database
    }

    pub(super) async fn execute(&self, statement: String) {
        let mut connection = self.maintenance.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

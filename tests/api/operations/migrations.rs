//! The check that replaces migrations.

use std::process::Command;

use shortline::startup::Application;
use shortline::store::migrations;
use sqlx::{ConnectOptions, Connection};

use crate::support::{Contents, SECRET, check_database, settings, url};

#[test]
fn no_migrate_accepts_a_newer_schema_and_rejects_an_older_one_in_one_line() {
    check_database(Contents::Empty, async |database| {
        let serve = || {
            Command::new(env!("CARGO_BIN_EXE_shortline"))
                .args(["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET])
                .args(["--database-url", &url(database)])
                .env("SHORTLINE_NO_MIGRATE", "1")
                .output()
                .unwrap()
        };
        let older = migrations::newest() - 1;
        for version in [0, older] {
            if version > 0 {
                let connection = database.connect().await.unwrap();
                migrations::run_until(connection, version).await.unwrap();
            }
            let output = serve();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success());
            assert!(stderr.contains(&format!("has version {version}, ")), "{stderr}");
            assert!(stderr.contains("run `shortline migrate`"), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
        migrations::run(database.connect().await.unwrap()).await.unwrap();
        let newer = "insert into refinery_schema_history
                     select max(version) + 1, 'next', max(applied_on), '1'
                     from refinery_schema_history";
        let mut connection = database.connect().await.unwrap();
        sqlx::raw_sql(newer).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let settings = settings(&["--no-migrate"]);
        assert!(Application::build(&settings, database.clone()).await.is_ok());
    });
}

//! What the service and its commands expect of the database, and set themselves.

use std::process::Command;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use shortline::store::{self, Database};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::support::{Answer, Contents, SECRET, check, check_database, url};

/// Settings that an administrator may have given to the database, for other programs. The limit of
/// a statement holds until a session is set up, which takes some milliseconds on a busy machine.
const DEFAULTS: [(&str, &str); 11] = [
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("standard_conforming_strings", "off"),
    ("statement_timeout", "100ms"),
    ("lock_timeout", "1ms"),
    ("idle_session_timeout", "1s"),
    ("idle_in_transaction_session_timeout", "1ms"),
    ("session_replication_role", "replica"),
    ("timezone", "Asia/Kathmandu"),
    ("synchronous_commit", "off"),
    ("plan_cache_mode", "force_custom_plan"),
];

async fn set_defaults(database: &PgConnectOptions) {
    let mut connection = database.connect().await.unwrap();
    for (name, value) in DEFAULTS {
        let database = database.get_database().unwrap();
        let set = format!("alter database {database} set {name} = '{value}'");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// The values of the settings in a session, in the order of [`DEFAULTS`].
async fn settings_of(connection: &mut PgConnection) -> Vec<String> {
    let names: Vec<_> = DEFAULTS.iter().map(|(name, _)| *name).collect();
    let values = "select current_setting(name) from unnest($1::text[]) with ordinality
                  as setting (name, number) order by number";
    sqlx::query_scalar(values).bind(&names).fetch_all(connection).await.unwrap()
}

#[test]
fn sessions_do_not_depend_on_defaults_of_the_database() {
    check_database(Contents::Migrated, async |database| {
        set_defaults(database).await;
        let expected = |statement_timeout, lock_timeout, plan_cache_mode| {
            let common = ["read committed", "off", "on", statement_timeout, lock_timeout, "0"];
            [&common[..], &["5s", "origin", "UTC", "on", plan_cache_mode]].concat()
        };
        let mut command = store::connect(database).await.unwrap();
        let found = settings_of(&mut command).await;
        assert_eq!(found, expected("0", "10s", "force_custom_plan"));
        command.close().await.unwrap();
        let service = Database::new(database.clone(), 16, 4).unwrap();
        for pool in [service.lists().pool(), service.authentication()] {
            let found = settings_of(&mut pool.acquire().await.unwrap()).await;
            assert_eq!(found, expected("5s", "500ms", "auto"));
            pool.close().await;
        }
    });
}

#[test]
fn the_service_works_with_any_defaults_of_the_database() {
    check(async |app| {
        set_defaults(&app.database).await;
        let (base, _) = app.second_instance().await;
        let path = format!("{base}{}", app.partner.code_path());
        let writes = (0..16).map(async |number| {
            let body = json!({"attributes": {format!("k{number}"): "a\\b"}});
            let patch = app.request_to(Method::PATCH, &path).bearer_auth(&app.token);
            Answer::to(patch.json(&body)).await.expect(200);
        });
        join_all(writes).await;
        // The test itself reads the history with the defaults.
        let reset = format!("alter database {} reset all", app.database.get_database().unwrap());
        let mut connection = store::connect(&app.database).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(reset)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

#[test]
fn a_database_that_is_not_utf8_is_rejected_in_one_line() {
    check_database(Contents::Empty, async |database| {
        let name = format!("{}_ascii", database.get_database().unwrap());
        let mut connection = database.connect().await.unwrap();
        let create = format!(
            "create database {name} encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'
             template template0"
        );
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
        let ascii = url(&database.clone().database(&name));
        for arguments in
            [&["migrate"][..], &["serve"], &["serve", "--no-migrate"], &["partner", "list"]]
        {
            let output = Command::new(env!("CARGO_BIN_EXE_shortline"))
                .args(arguments)
                .args(["--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--database-url", &ascii])
                .output()
                .unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success());
            assert!(
                stderr.contains("the encoding SQL_ASCII, and Shortline needs UTF8"),
                "{stderr}"
            );
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
        let drop = format!("drop database {name} with (force)");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

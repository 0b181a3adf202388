//! The service under a role that has only the rights of deploy/grants.sql.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};
use shortline::store::{self, migrations};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use time::{Duration, OffsetDateTime};

use crate::support::{
    Answer, App, CODES, GROUPS, check, group_path, plain_client, url, wait_at_most, wait_until,
};

const GRANTS: &str = include_str!("../../../deploy/grants.sql");

/// What the role of the service must not do.
const FORBIDDEN: [&str; 13] = [
    "update history set entry = ''",
    "delete from history",
    "truncate history",
    "insert into history_retention values (true, 1)",
    "delete from history_retention",
    "update history_anchors set version = 1",
    "insert into refinery_schema_history values (1000, 'x', 'x', '1')",
    "update partner_tree set ancestor_sid = descendant_sid",
    "alter table short_codes add column x text",
    "drop table history_anchors",
    "create table x (y text)",
    "create or replace function prune_history(timestamptz, bigint) returns bigint
     language sql return 1",
    "alter table history disable trigger all",
];

/// Runs a test with the options of the role of the service, and drops the role.
async fn with_role(app: &App, name: &str, test: impl AsyncFnOnce(&PgConnectOptions)) {
    let name = format!("shortline_{name}_{}", std::process::id());
    let mut owner = app.connection().await;
    // Twice, as after each upgrade.
    for _ in 0..2 {
        let grants = format!("begin; set local shortline.role = '{name}'; {GRANTS}; commit");
        execute(&mut owner, &grants).await;
    }
    execute(&mut owner, &format!("alter role {name} password 'x'")).await;
    test(&app.database.clone().username(&name).password("x")).await;
    wait_until("the role is dropped", async || {
        let drop = format!("drop owned by {name}; drop role {name}");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut owner).await.is_ok()
    })
    .await;
}

async fn execute(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.unwrap();
}

#[test]
fn a_role_that_cannot_alter_history_serves_every_request() {
    check(async |app| {
        with_role(app, "serves", async |database| {
            let (base, server) = app.instance_with(database, &["--no-migrate"]).await;
            let call = async |method: Method, path: &str, body: Option<Value>| {
                let mut request = plain_client().request(method, format!("{base}{path}"));
                request = request.bearer_auth(&app.token).header("idempotency-key", path);
                if let Some(body) = body {
                    request = request.json(&body);
                }
                Answer::to(request).await
            };
            call(Method::GET, "/readyz", None).await.expect(200);
            let group = call(Method::POST, GROUPS, Some(json!({}))).await.expect(200);
            let group = group_path(group["did_group_sid"].as_str().unwrap());
            let (path, name) = (app.partner.code_path(), json!({"name": "second"}));
            call(Method::PATCH, &path, Some(name)).await.expect(200);
            for list in [CODES, GROUPS, &format!("{path}/history"), &path] {
                call(Method::GET, list, None).await.expect(200);
            }
            let revert = format!("{path}/revert");
            call(Method::POST, &revert, Some(json!({"version": 1}))).await.expect(200);
            assert_eq!(call(Method::DELETE, &group, None).await.status, 204);
            let revert = format!("{group}/revert");
            call(Method::POST, &revert, Some(json!({"version": 1}))).await.expect(200);
            server.stop(true).await;
        })
        .await;
    });
}

#[test]
fn a_role_that_cannot_alter_history_runs_the_operators_commands() {
    check(async |app| {
        with_role(app, "commands", async |database| {
            let run = |arguments: &[&str]| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_shortline"));
                command.args(arguments).args(["--database-url", &url(database), "--json"]);
                command.output().unwrap()
            };
            let output = run(&["partner", "create", "--name", "x"]);
            assert!(output.status.success(), "{output:?}");
            let partner: Value = serde_json::from_slice(&output.stdout).unwrap();
            let partner = partner["partner_sid"].as_str().unwrap();
            let created = ["short-code", "create", "--partner", partner, "--short-code", "12345"];
            for arguments in [
                &created[..],
                &["client", "create", "--partner", partner],
                &["token", "issue", "--partner", partner, "--opaque"],
                &["partner", "suspend", partner],
                &["history", "verify"],
            ] {
                let output = run(arguments);
                assert!(output.status.success(), "{arguments:?}: {output:?}");
            }
        })
        .await;
    });
}

#[test]
fn the_role_of_the_service_can_alter_neither_history_nor_schema() {
    check(async |app| {
        with_role(app, "forbidden", async |database| {
            let mut service = database.connect().await.unwrap();
            for statement in FORBIDDEN {
                let error = sqlx::raw_sql(statement).execute(&mut service).await.unwrap_err();
                let error = error.into_database_error().unwrap();
                assert_eq!(error.code().as_deref(), Some("42501"), "{statement}: {error}");
            }
            service.close().await.unwrap();
        })
        .await;
    });
}

#[test]
fn retention_deletes_only_what_the_owner_allows() {
    check(async |app| {
        let (path, sid) = (app.partner.code_path(), app.partner.code_sid);
        for name in ["second", "third", "fourth"] {
            app.patch(&path, &json!({"name": name})).await.expect(200);
        }
        let mut owner = app.connection().await;
        let age = "update history set date = date - make_interval(months => 4 - version::integer)";
        execute(&mut owner, &format!("{age} where sid = '{sid}'")).await;
        with_role(app, "retention", async |database| {
            let mut service = database.connect().await.unwrap();
            let now = OffsetDateTime::now_utc() + Duration::days(1);
            assert_eq!(store::prune(&mut service, now, 1_000).await.unwrap(), 0, "no limit");
            migrations::allow_retention(&mut owner, 3).await.unwrap();
            // The entry of version 1 is three months old.
            assert_eq!(store::prune(&mut service, now, 1_000).await.unwrap(), 1);
            migrations::allow_retention(&mut owner, 1).await.unwrap();
            let two_months_ago = now - Duration::days(46);
            assert_eq!(store::prune(&mut service, two_months_ago, 1_000).await.unwrap(), 1);
            let month_ago = now - Duration::days(16);
            assert_eq!(store::prune(&mut service, month_ago, 1_000).await.unwrap(), 1);
            assert_eq!(store::prune(&mut service, now, 1_000).await.unwrap(), 0, "protected");
            service.close().await.unwrap();
        })
        .await;
    });
}

#[test]
fn a_hanging_session_of_the_role_is_terminated() {
    check(async |app| {
        with_role(app, "hangs", async |database| {
            let (base, server) = app.instance_with(database, &["--no-migrate"]).await;
            Answer::to(plain_client().get(format!("{base}/readyz"))).await.expect(200);
            let mut owner = app.connection().await;
            // A session of maintenance can hang for longer.
            let session = "select application_name from pg_stat_activity
                           where usename = $1 and application_name like 'shortline %'
                             and application_name not like '% maintenance'";
            let session: String = sqlx::query_scalar(session)
                .bind(database.get_username())
                .fetch_one(&mut owner)
                .await
                .unwrap();
            let hanging = database.clone().application_name(&session);
            let mut hanging = hanging.connect().await.unwrap();
            let hanging = actix_web::rt::spawn(async move {
                sqlx::raw_sql("select pg_sleep(60)").execute(&mut hanging).await.unwrap_err()
            });
            let limit = std::time::Duration::from_secs(20);
            wait_at_most(limit, "it is terminated", async || hanging.is_finished()).await;
            let error = hanging.await.unwrap().into_database_error().unwrap();
            assert_eq!(error.code().as_deref(), Some("57P01"), "{error}");
            server.stop(true).await;
        })
        .await;
    });
}

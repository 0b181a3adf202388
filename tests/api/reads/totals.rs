//! Totals of lists, most of which are stored numbers.

use std::process::Command;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use shortline::store;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use uuid::Uuid;

use crate::support::{
    Answer, App, CODES, Contents, DIDS, GROUPS, SECRET, check, check_database, did_path,
    group_path, url,
};

async fn total(app: &App, path: &str) -> Value {
    app.get(path).await.expect(200)["total"].clone()
}

/// The totals of all lists with stored numbers, with the descendants of a partner and without.
async fn all_totals(app: &App, partner_sid: Uuid) -> Vec<Value> {
    let (own, tree) = (
        vec![Scope::PhonenumberRead],
        vec![Scope::PhonenumberRead, Scope::PhonenumberReadDescendant],
    );
    let requests = [own, tree].into_iter().flat_map(|scopes| {
        let token = app.token(partner_sid, &scopes);
        [GROUPS, CODES, DIDS].map(|path| app.anonymous(Method::GET, path).bearer_auth(&token))
    });
    let totals =
        requests.map(async |request| Answer::to(request).await.expect(200)["total"].clone());
    join_all(totals).await
}

/// The rows from which the numbers are summed.
async fn stored_rows(app: &App) -> i64 {
    let rows = "select count(*) from object_counts";
    sqlx::query_scalar(rows).fetch_one(&mut app.connection().await).await.unwrap()
}

#[test]
fn totals_follow_every_creation_and_deletion() {
    check(async |app| {
        assert_eq!(all_totals(app, app.partner.sid).await, [1, 1, 1, 2, 2, 2]);
        let group = app.post(GROUPS, &json!({"name": "second"})).await.expect(200);
        app.partner
            .add_codes(app, &[json!({"short_code": "20001"}), json!({"short_code": "20002"})])
            .await;
        app.child.add_codes(app, &[json!({"short_code": "20003"})]).await;
        let did = app.post(DIDS, &json!({})).await.expect(200);
        assert_eq!(all_totals(app, app.partner.sid).await, [2, 3, 2, 3, 5, 3]);
        assert_eq!(all_totals(app, app.child.sid).await, [1, 2, 1, 1, 2, 1]);
        assert_eq!(all_totals(app, app.unrelated.sid).await, [1, 1, 1, 1, 1, 1]);
        // Rejected and dry requests create nothing.
        app.post(GROUPS, &json!({"name": 1})).await.expect(422);
        app.post(&format!("{GROUPS}?validate_only=true"), &json!({"name": "dry"}))
            .await
            .expect(200);
        assert_eq!(app.delete(&did_path(did["did_sid"].as_str().unwrap())).await.status, 204);
        assert_eq!(
            app.delete(&group_path(group["did_group_sid"].as_str().unwrap())).await.status,
            204
        );
        assert_eq!(all_totals(app, app.partner.sid).await, [1, 3, 1, 2, 5, 2]);
    });
}

#[test]
fn a_total_with_conditions_is_counted() {
    check(async |app| {
        app.partner.add_codes(app, &[json!({"short_code": "20001", "name": "one"})]).await;
        assert_eq!(total(app, &format!("{CODES}?filter=name+eq+one")).await, 1);
        assert_eq!(total(app, &format!("{DIDS}?filter=did_group_sid+eq+{}", Uuid::nil())).await, 0);
        assert_eq!(total(app, &format!("{CODES}?offset=100")).await, 2);
        assert_eq!(total(app, &format!("{CODES}?after={}", app.partner.code_sid)).await, 2);
    });
}

#[test]
fn stored_numbers_are_summed_while_objects_are_created() {
    check(async |app| {
        // As on a server from which a logical replica is fed.
        execute(&app.database, "create publication everything for all tables").await;
        let (mut first, mut second) = (app.connection().await, app.connection().await);
        let create = async |number: usize| {
            app.post(GROUPS, &json!({"name": format!("{number}")})).await.expect(200);
        };
        for round in 0..5 {
            let creations = join_all((0..8).map(async |number| create(round * 8 + number).await));
            let sums = async {
                store::sum_counts(&mut first).await.unwrap();
                store::sum_counts(&mut second).await.unwrap();
            };
            tokio::join!(creations, sums);
            assert_eq!(total(app, GROUPS).await, 1 + (round + 1) * 8);
        }
        store::sum_counts(&mut first).await.unwrap();
        // One row for each of the three kinds of each of the three tenants.
        assert_eq!(stored_rows(app).await, 9);
        assert_eq!(total(app, GROUPS).await, 41);
    });
}

async fn execute(database: &PgConnectOptions, statement: &'static str) {
    let mut connection = database.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[test]
fn shortline_migrate_corrects_stored_numbers_that_are_wrong() {
    check(async |app| {
        // As after a restore of the data alone, whose rows were counted while they were restored.
        execute(&app.database, "insert into object_counts select * from object_counts").await;
        let found: Vec<_> = app.violations().await.into_iter().map(|found| found.problem).collect();
        assert_eq!(found.len(), 9, "{found:?}");
        let expected = "the stored number of objects of kind did is wrong by 1; `shortline migrate` \
                        corrects it";
        assert_eq!(found[0], expected);
        let migrate = Command::new(env!("CARGO_BIN_EXE_shortline"))
            .args(["migrate", "--jwt-secret", SECRET, "--database-url", &url(&app.database)])
            .output()
            .unwrap();
        assert!(migrate.status.success(), "{migrate:?}");
        let printed = "the schema is up to date; corrected 9 totals of lists\n";
        assert_eq!(String::from_utf8(migrate.stdout).unwrap(), printed);
        assert!(app.violations().await.is_empty());
        assert_eq!(all_totals(app, app.partner.sid).await, [1, 1, 1, 2, 2, 2]);
    });
}

#[test]
fn an_emptied_table_has_no_stored_numbers() {
    check_database(Contents::Tenants, async |database| {
        execute(database, "truncate short_codes").await;
        let mut connection = database.connect().await.unwrap();
        let kinds = "select distinct kind from object_counts order by 1";
        let kinds: Vec<String> =
            sqlx::query_scalar(kinds).fetch_all(&mut connection).await.unwrap();
        assert_eq!(kinds, ["did", "did_group"]);
        connection.close().await.unwrap();
    });
}

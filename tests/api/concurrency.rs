//! Several writers, several instances: nothing is lost.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::helpers::{Answer, check, check_database, settings};
use shortline::startup::Application;
use sqlx::ConnectOptions;

#[test]
fn two_writers_at_once_on_two_instances_keep_every_change() {
    check(async |app| {
        let (second, handle) = app.second_instance().await;
        let client = reqwest::Client::new();
        let path = app.partner.code_path();
        let writes = (0..40).map(|number| {
            let base = if number % 2 == 0 { &app.base } else { &second };
            let body = json!({"attributes": {format!("key_{number}"): number}});
            client
                .request(Method::PATCH, format!("{base}{path}"))
                .bearer_auth(&app.token)
                .json(&body)
        });
        for answer in join_all(writes.map(Answer::to)).await {
            answer.expect(200);
        }
        let attributes = app.get(&path).await.expect(200)["attributes"].clone();
        let kept =
            (0..40).filter(|number| attributes[format!("key_{number}")] == json!(number)).count();
        assert_eq!(kept, 40, "{attributes}");
        assert_eq!(app.version(app.partner.code.short_code_sid).await, 41);
        handle.stop(false).await;
    });
}

#[test]
fn a_read_on_another_instance_sees_what_was_acknowledged() {
    check(async |app| {
        let (second, handle) = app.second_instance().await;
        let client = reqwest::Client::new();
        let path = app.partner.group_path();
        for number in 0..20 {
            let name = format!("name {number}");
            app.patch(&path, &json!({"name": name})).await.expect(200);
            let read =
                client.request(Method::GET, format!("{second}{path}")).bearer_auth(&app.token);
            assert_eq!(Answer::to(read).await.expect(200)["name"], name);
        }
        handle.stop(false).await;
    });
}

#[test]
fn three_instances_start_at_once_on_an_empty_database() {
    check_database(false, async |database| {
        let settings = settings(&[]);
        let started =
            join_all((0..3).map(|_| Application::build(&settings, database.clone()))).await;
        assert!(started.iter().all(Result::is_ok));
        let mut connection = database.connect().await.unwrap();
        let applied: i64 = sqlx::query_scalar("select count(*) from refinery_schema_history")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(applied, i64::from(shortline::store::migrations::newest()));
    });
}

#[test]
fn a_row_that_is_locked_too_long_is_503_and_nothing_is_written() {
    check(async |app| {
        let mut connection = app.connection().await;
        let lock = "begin; select 1 from did_groups for update";
        sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
        let refused = app.patch(&app.partner.group_path(), &json!({"name": "late"})).await;
        assert_eq!(refused.header("retry-after"), Some("1"));
        refused.expect_error(503, "service unavailable");
        // Readers do not wait.
        let name: Value = app.get(&app.partner.group_path()).await.expect(200)["name"].clone();
        assert_eq!(name, "N/A");
        sqlx::raw_sql("rollback").execute(&mut connection).await.unwrap();
        app.patch(&app.partner.group_path(), &json!({"name": "late"})).await.expect(200);
    });
}

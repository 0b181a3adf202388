//! Faults of the database that do not disturb other tests: dead connections and locks.
//! `scripts/fault-test` has those that need their own server; `lifecycle.rs` has a killed instance,
//! concurrent startups and an unreachable database.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, check};

/// The process ids of the connections to the database of the test.
async fn connections(app: &App) -> Vec<i32> {
    let pids = "select pid from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid()";
    sqlx::query_scalar(pids).fetch_all(&mut app.connection().await).await.unwrap()
}

async fn patch_all(app: &App, clients: usize) -> Vec<(Answer, Duration)> {
    let path = app.partner.code_path();
    let writes = (0..clients).map(async |number| {
        let started = Instant::now();
        let answer = app.patch(&path, &json!({"attributes": {format!("k{number}"): 1}})).await;
        (answer, started.elapsed())
    });
    join_all(writes).await
}

#[test]
fn dead_connections_fail_at_most_one_request() {
    check(async |app| {
        patch_all(app, 32).await;
        let before = connections(app).await;
        assert!(before.len() > 2, "{before:?}");
        let kill = "select pg_terminate_backend(pid) from unnest($1::int[]) as pid";
        sqlx::query(kill).bind(&before).execute(&mut app.connection().await).await.unwrap();
        let mut rejected = 0;
        for number in 0..20 {
            let body = json!({"name": number.to_string()});
            let answer = app.patch(&app.partner.code_path(), &body).await;
            if answer.status == 503 {
                assert_eq!(answer.header("retry-after"), Some("1"));
                rejected += 1;
            } else {
                answer.expect(200);
            }
        }
        assert!(rejected <= 1, "{rejected} of 20 rejected");
    });
}

#[test]
fn writes_fail_in_bounded_time_while_locks_hold_every_connection() {
    check(async |app| {
        let mut holder = app.connection().await;
        let lock = "begin; select from short_codes for update";
        sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
        let alive = async {
            for _ in 0..20 {
                let started = Instant::now();
                Answer::to(app.anonymous(Method::GET, "/healthz")).await.expect(200);
                assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
                // Probes like a balancer, at intervals, while the writes wait.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // Three writes for each of the eight connections.
        let (answers, ()) = futures_util::future::join(patch_all(app, 24), alive).await;
        for (answer, took) in answers {
            assert_eq!(answer.header("retry-after"), Some("1"));
            answer.expect_error(503, "service unavailable");
            assert!(took < Duration::from_secs(4), "{took:?}");
        }
        sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
        for (answer, _) in patch_all(app, 24).await {
            answer.expect(200);
        }
    });
}

#[test]
fn a_write_to_a_locked_row_is_503_and_writes_nothing() {
    check(async |app| {
        let mut connection = app.connection().await;
        let lock = "begin; select 1 from did_groups for update";
        sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
        let rejected = app.patch(&app.partner.group_path(), &json!({"name": "late"})).await;
        assert_eq!(rejected.header("retry-after"), Some("1"));
        rejected.expect_error(503, "service unavailable");
        // Reads do not wait for the lock.
        let name: Value = app.get(&app.partner.group_path()).await.expect(200)["name"].clone();
        assert_eq!(name, "N/A");
        sqlx::raw_sql("rollback").execute(&mut connection).await.unwrap();
        app.patch(&app.partner.group_path(), &json!({"name": "late"})).await.expect(200);
    });
}

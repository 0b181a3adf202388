//! Connections that end while no request uses them.

use std::time::Duration;

use actix_web::rt::time::{sleep, timeout};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::support::{
    Answer, App, CODES, Ending, Forwarder, GROUPS, check, plain_client, wait_until,
};

/// The connections of an instance that were used within the last second are used without a test.
const TESTED_AFTER: Duration = Duration::from_millis(1_100);

/// An instance behind a forwarder.
struct Instance<'a> {
    app: &'a App,
    base: String,
    forwarder: Forwarder,
}

impl<'a> Instance<'a> {
    async fn start(app: &'a App) -> Self {
        let forwarder = Forwarder::start(&app.database).await;
        let (base, _) = app.instance_with(&forwarder.options(&app.database), &[]).await;
        Self { app, base, forwarder }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> u16 {
        let mut request = plain_client().request(method, format!("{}{path}", self.base));
        request = request.bearer_auth(&self.app.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::to(request).await.status
    }

    async fn read(&self) -> [u16; 4] {
        let code = self.app.partner.code_path();
        let history = format!("{code}/history");
        let mut statuses = [0; 4];
        for (status, path) in statuses.iter_mut().zip([&*code, CODES, &*history, "/readyz"]) {
            *status = self.call(Method::GET, path, None).await;
        }
        statuses
    }

    /// Waits until every connection is back in its pool, which it enters by a rollback.
    async fn wait_until_idle(&self) {
        let mut connection = self.app.connection().await;
        wait_until("no connection is in use", async || {
            let used = "select count(*) from pg_stat_activity
                        where datname = current_database() and pid <> pg_backend_pid()
                            and (state <> 'idle' or query ilike 'commit')";
            sqlx::query_scalar::<_, i64>(used).fetch_one(&mut connection).await.unwrap() == 0
        })
        .await;
    }

    /// The statuses of a batched write, and of one in a transaction of its own.
    async fn write(&self) -> [u16; 2] {
        let (group, name) = (self.app.partner.group_path(), json!({"name": "after"}));
        let update = self.call(Method::PATCH, &group, Some(name)).await;
        [update, self.call(Method::POST, GROUPS, Some(json!({}))).await]
    }
}

#[test]
fn a_server_that_ends_idle_sessions_costs_no_request() {
    check(async |app| {
        let name = app.database.get_database().unwrap();
        let limit = format!("alter database {name} set idle_session_timeout = '200ms'");
        let connection = &mut app.connection().await;
        sqlx::raw_sql(AssertSqlSafe(limit)).execute(connection).await.unwrap();
        let (base, _) = app.second_instance().await;
        let path = app.partner.code_path();
        for _ in 0..3 {
            for number in 0..10 {
                let patch = app.request_to(Method::PATCH, &format!("{base}{path}"));
                let body = json!({"name": number.to_string()});
                Answer::to(patch.bearer_auth(&app.token).json(&body)).await.expect(200);
            }
            sleep(Duration::from_millis(400)).await;
        }
    });
}

#[test]
fn connections_that_end_while_they_are_idle_cost_no_request() {
    let endings = [Ending::Closed, Ending::Silent, Ending::Error("57P01"), Ending::Error("57P05")];
    check(async |app| {
        join_all(endings.map(async |ending| {
            let instance = Instance::start(app).await;
            for _ in 0..2 {
                assert_eq!(instance.read().await, [200; 4]);
                assert_eq!(instance.write().await, [200; 2]);
                instance.forwarder.end(ending);
                sleep(TESTED_AFTER).await;
                assert_eq!(instance.write().await, [200; 2], "{ending:?}");
                instance.forwarder.end(ending);
                sleep(TESTED_AFTER).await;
                assert_eq!(instance.read().await, [200; 4], "{ending:?}");
            }
        }))
        .await;
    });
}

#[test]
fn a_connection_that_hangs_as_it_is_returned_is_replaced() {
    check(async |app| {
        let instance = Instance::start(app).await;
        let is_ready = async || instance.call(Method::GET, "/readyz", None).await == 200;
        assert!(is_ready().await);
        instance.forwarder.end(Ending::Silent);
        // The client gives up, so that the connection is returned while nothing answers.
        let given_up = timeout(Duration::from_millis(300), is_ready()).await;
        assert!(given_up.is_err());
        wait_until("the only connection of readiness checks is replaced", is_ready).await;
    });
}

#[test]
fn a_read_is_repeated_after_a_lost_connection() {
    for ending in [Ending::Closed, Ending::Error("57P01"), Ending::Error("08006")] {
        check(async |app| {
            let instance = Instance::start(app).await;
            for _ in 0..2 {
                assert_eq!(instance.read().await, [200; 4]);
                instance.forwarder.end(ending);
                assert_eq!(instance.read().await, [200; 4], "{ending:?}");
            }
        });
    }
}

#[test]
fn a_write_is_repeated_only_if_its_session_had_ended_while_it_was_idle() {
    for (ending, expected) in [
        (Ending::Error("57P05"), 200),
        (Ending::Error("57P01"), 503),
        (Ending::Error("25P03"), 503),
        (Ending::Error("25P04"), 503),
        (Ending::Error("28000"), 503),
        (Ending::Closed, 503),
    ] {
        check(async |app| {
            let instance = Instance::start(app).await;
            assert_eq!(instance.write().await, [200; 2]);
            instance.wait_until_idle().await;
            instance.forwarder.end(ending);
            let group = instance.call(Method::POST, GROUPS, Some(json!({}))).await;
            assert_eq!(group, expected, "{ending:?}");
            assert_eq!(instance.write().await, [200; 2], "{ending:?}");
        });
    }
}

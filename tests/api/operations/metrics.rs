//! Metrics.

use std::net::SocketAddr;

use futures_util::future::{join, join_all};
use reqwest::Method;
use serde_json::json;
use shortline::auth::Scope;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Answer, App, JSON, check, check_with, plain_client, wait_until};

const LISTEN: [&str; 2] = ["--metrics-listen", "127.0.0.1:0"];

async fn fetch(address: SocketAddr, path: &str) -> Answer {
    Answer::to(plain_client().get(format!("http://{address}{path}"))).await
}

async fn scrape(app: &App) -> String {
    let answer = fetch(app.metrics.unwrap(), "/metrics").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/plain; version=0.0.4"))
    );
    answer.text
}

/// The value of one time series.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}: {text}")).parse().unwrap()
}

fn count(method: &str, route: &str, status: u16) -> String {
    format!(
        "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
         http_response_status_code=\"{status}\",http_route=\"{route}\"}}"
    )
}

#[test]
fn requests_are_counted_by_method_route_and_status() {
    const CODE: &str = "/core/v2/phonenumber/short_codes/{short_code_sid}";
    check_with(&LISTEN, async |app| {
        let path = app.partner.code_path();
        app.get(&path).await.expect(200);
        app.get(&format!("{path}/?with_related=true")).await.expect(200);
        Answer::to(app.request(Method::HEAD, &path)).await;
        app.get(&app.unrelated.code_path()).await.expect(404);
        app.patch(&path, &json!({"name": 1})).await.expect(422);
        Answer::to(app.anonymous(Method::GET, &path)).await.expect(401);
        let scopeless = app.token(app.partner.sid, &[Scope::OauthRead]);
        Answer::to(app.anonymous(Method::GET, &path).bearer_auth(scopeless)).await.expect(403);
        for number in 0..3 {
            app.get(&format!("/made-up-{number}")).await.expect(404);
            let made_up = Method::from_bytes(format!("BREW{number}").as_bytes()).unwrap();
            Answer::to(app.request(made_up, &path)).await.expect(405);
        }

        let text = scrape(app).await;
        for (method, route, status, times) in [
            ("GET", CODE, 200, 2),
            ("HEAD", CODE, 200, 1),
            ("GET", CODE, 404, 1),
            ("PATCH", CODE, 422, 1),
            ("GET", CODE, 401, 1),
            ("GET", CODE, 403, 1),
            ("GET", "", 404, 3),
            ("_OTHER", CODE, 405, 3),
        ] {
            assert_eq!(value(&text, &count(method, route, status)), f64::from(times), "{text}");
        }
        for made_up in [&app.partner.code_sid.to_string(), "made-up", "BREW"] {
            assert!(!text.contains(made_up), "{text}");
        }
    });
}

#[test]
fn the_process_and_its_connections_are_measured() {
    check_with(&LISTEN, async |app| {
        app.get(&app.partner.code_path()).await.expect(200);
        let text = scrape(app).await;
        // 16 connections, of which maintenance opens one when it needs it.
        for (pool, max) in [
            ("probe", 1.0),
            ("authentication", 2.0),
            ("lists", 2.0),
            ("transactions", 4.0),
            ("batches", 6.0),
        ] {
            let series = format!("db_client_connection_max{{pool=\"{pool}\"}}");
            assert_eq!(value(&text, &series), max, "{pool}");
        }
        let open = ["idle", "used"].map(|state| {
            let labels = format!("{{pool=\"authentication\",state=\"{state}\"}}");
            value(&text, &format!("db_client_connection_count{labels}"))
        });
        assert!(open.iter().sum::<f64>() >= 1.0, "{text}");
        let build = format!("shortline_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(value(&text, &build), 1.0);
        if cfg!(target_os = "linux") {
            for series in ["process_resident_memory_bytes", "process_start_time_seconds"] {
                assert!(value(&text, series) > 0.0);
            }
        }
    });
}

#[test]
fn requests_in_flight_are_counted() {
    check_with(&LISTEN, async |app| {
        const ACTIVE: &str = "http_server_active_requests";
        assert_eq!(value(&scrape(app).await, ACTIVE), 0.0);
        let host = app.base.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(host).await.unwrap();
        // The body follows later.
        let head = format!(
            "PATCH {} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n",
            app.partner.code_path(),
            app.token
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let active = async || value(&scrape(app).await, ACTIVE);
        wait_until("a request is in flight", async || active().await >= 1.0).await;
        connection.write_all(b"{}").await.unwrap();
        wait_until("no request is in flight", async || active().await == 0.0).await;
    });
}

#[test]
fn metrics_and_the_api_have_separate_listeners() {
    check_with(&LISTEN, async |app| {
        app.get("/metrics").await.expect_error(404, "not found");
        for path in ["/", "/healthz", "/openapi.json", &*app.partner.code_path()] {
            assert_eq!(fetch(app.metrics.unwrap(), path).await.status, 404, "{path}");
        }
    });
}

#[test]
fn metrics_are_off_by_default() {
    check(async |app| {
        assert_eq!(app.metrics, None);
        app.get("/metrics").await.expect_error(404, "not found");
    });
}

#[test]
fn waits_batches_replays_and_tokens_are_measured() {
    check_with(&LISTEN, async |app| {
        let path = app.partner.code_path();
        app.get(&path).await.expect(200);
        let headers = [JSON, ("idempotency-key", "k")];
        for _ in 0..3 {
            app.patch_text(&path, r#"{"name":"after"}"#, &headers).await.expect(200);
        }
        let text = scrape(app).await;
        assert_eq!(value(&text, "shortline_replays_total"), 2.0);
        assert_eq!(value(&text, "shortline_batch_size_count{work=\"reads\"}"), 1.0);
        assert_eq!(value(&text, "shortline_batch_size_sum{work=\"updates\"}"), 3.0);
        let batches = |state: &str| {
            let labels = format!("{{pool=\"batches\",state=\"{state}\"}}");
            value(&text, &format!("db_client_connection_count{labels}"))
        };
        assert!(batches("idle") + batches("used") >= 1.0, "{text}");
        wait_until("the tokens of the tenants are counted", async || {
            value(&scrape(app).await, "shortline_tokens_alive") == 3.0
        })
        .await;

        // Writes outside of batches wait for connections while a lock holds them.
        let mut holder = app.connection().await;
        let lock = "begin; select from did_groups for update";
        sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
        let group = app.partner.group_path();
        let deletions = join_all((0..16).map(|_| app.delete(&group)));
        let watch = async {
            wait_until("requests wait for connections", async || {
                let waiting = "shortline_requests_waiting{for=\"transactions\"}";
                value(&scrape(app).await, waiting) > 0.0
            })
            .await;
        };
        let (answers, ()) = join(deletions, watch).await;
        assert!(answers.iter().all(|answer| answer.status == 503));
        sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
        let text = scrape(app).await;
        for name in ["lists", "transactions", "batches of reads", "batches of updates"] {
            let waiting = format!("shortline_requests_waiting{{for=\"{name}\"}}");
            assert_eq!(value(&text, &waiting), 0.0, "{name}");
        }
        // Two connections for the partner, 16 requests of half a second, and a limit of 3 s.
        let timeouts = "shortline_wait_timeouts_total{for=\"transactions\"}";
        assert!(value(&text, timeouts) >= 1.0, "{text}");
        assert!(value(&text, "shortline_wait_timeouts_total{for=\"locks\"}") >= 1.0, "{text}");
    });
}

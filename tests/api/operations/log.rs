//! The log: one line for each request, without secrets.

use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::operations::lifecycle::free_port;
use crate::support::{App, SECRET, check, plain_client, url, wait_until};

/// Runs another instance for the requests and returns the lines of its log.
pub async fn log_of(app: &App, filter: &str, requests: impl AsyncFnOnce(&str)) -> Vec<Value> {
    let listen = format!("127.0.0.1:{}", free_port());
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_shortline"))
        .args(["serve", "--listen", &listen, "--drain-seconds", "0", "--jwt-secret", SECRET])
        .args(["--database-url", &url(&app.database), "--log-format", "json", "--log", filter])
        .stderr(Stdio::from(log.reopen().unwrap()))
        .spawn()
        .unwrap();
    let (base, client) = (format!("http://{listen}"), plain_client());
    let is_ready = async || client.get(format!("{base}/readyz")).send().await.is_ok();
    wait_until("the instance is ready", is_ready).await;
    requests(&base).await;
    let kill = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
    assert!(kill.unwrap().success());
    tokio::task::spawn_blocking(move || process.wait().unwrap()).await.unwrap();
    let lines = std::fs::read_to_string(log.path()).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The only line of a request.
#[track_caller]
fn line<'a>(log: &'a [Value], request_id: &str) -> &'a Value {
    let lines: Vec<_> = log.iter().filter(|line| line["request_id"] == request_id).collect();
    assert_eq!(lines.len(), 1, "{request_id}: {log:#?}");
    lines[0]
}

async fn send_all(app: &App, base: &str) {
    const FORM: &str = "grant_type=client_credentials&client_id=x&client_secret=form-secret";
    const TOKEN: &str = "/core/v2/oauth/token";
    let (client, code) = (plain_client(), app.partner.code_path());
    let new = |id: &'static str, method, path: &str| {
        client.request(method, format!("{base}{path}")).header("x-request-id", id)
    };
    let form = "application/x-www-form-urlencoded";
    for (request, status) in [
        (
            new("good", Method::GET, &format!("{code}?with_related=true&x=query-secret"))
                .bearer_auth(&app.token),
            200,
        ),
        (new("bad-token", Method::GET, &code).bearer_auth("token-secret"), 401),
        (new("basic", Method::GET, &code).basic_auth("x", Some("basic-secret")), 401),
        (
            new("patch", Method::PATCH, &code)
                .bearer_auth(&app.token)
                .json(&json!({"name": "body-secret"})),
            200,
        ),
        (
            new("rejected", Method::PATCH, &code)
                .bearer_auth(&app.token)
                .body(r#"{"name":"body-secret"#)
                .header("content-type", "application/json"),
            400,
        ),
        (new("unmatched", Method::GET, "/path-secret?access_token=query-secret"), 404),
        (new("login", Method::POST, TOKEN).header("content-type", form).body(FORM), 401),
        (new("probe", Method::GET, "/healthz"), 200),
    ] {
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[test]
fn each_request_logs_one_line_without_secrets() {
    check(async |app| {
        let secrets =
            ["-secret", &*app.token, SECRET, "Bearer", "Basic", "Zm9ybS1zZWNyZXQ", "eDpiYXNpYy1z"];
        for filter in ["warn,shortline=info", "debug"] {
            let log = log_of(app, filter, async |base| send_all(app, base).await).await;
            for (id, method, route, status) in [
                ("good", "GET", "/core/v2/phonenumber/short_codes/{short_code_sid}", 200),
                ("bad-token", "GET", "/core/v2/phonenumber/short_codes/{short_code_sid}", 401),
                ("basic", "GET", "/core/v2/phonenumber/short_codes/{short_code_sid}", 401),
                ("patch", "PATCH", "/core/v2/phonenumber/short_codes/{short_code_sid}", 200),
                ("rejected", "PATCH", "/core/v2/phonenumber/short_codes/{short_code_sid}", 400),
                ("unmatched", "GET", "unmatched", 404),
                ("login", "POST", "/core/v2/oauth/token", 401),
            ] {
                let line = line(&log, id);
                let known =
                    json!({"level": "INFO", "method": method, "route": route, "status": status});
                for (member, value) in known.as_object().unwrap() {
                    assert_eq!(&line[member], value, "{line}");
                }
                let milliseconds = line["milliseconds"].as_f64().unwrap();
                assert_eq!((milliseconds * 1e3).round() / 1e3, milliseconds);
                let timestamp = line["timestamp"].as_str().unwrap();
                let format = &time::format_description::well_known::Rfc3339;
                assert!(time::OffsetDateTime::parse(timestamp, format).is_ok(), "{line}");
                let own = id == "good" || id == "patch" || id == "rejected";
                let expected = if own { json!(app.partner.sid) } else { Value::Null };
                assert_eq!(line["partner_sid"], expected, "{line}");
            }
            let probes = log.iter().filter(|line| line["request_id"] == "probe").count();
            assert_eq!(probes, usize::from(filter == "debug"));
            for line in &log {
                let flat = line.as_object().unwrap().values().all(|value| !value.is_object());
                assert!(flat, "{line}");
                let line = line.to_string();
                assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
            }
        }
    });
}

#[test]
fn a_head_that_is_no_request_logs_one_line() {
    check(async |app| {
        let mut answer = String::new();
        let log = log_of(app, "info", async |base| {
            let host = base.strip_prefix("http://").unwrap();
            let mut stream = TcpStream::connect(host).await.unwrap();
            stream.write_all(b"HELLO\r\n\r\n").await.unwrap();
            stream.read_to_string(&mut answer).await.unwrap();
        })
        .await;
        let (_, id) = answer.split_once("x-request-id: ").unwrap();
        let line = line(&log, id.lines().next().unwrap());
        assert_eq!((&line["level"], &line["status"]), (&json!("INFO"), &json!(400)), "{line}");
        assert!(log.iter().all(|line| line["level"] == "INFO"), "{log:#?}");
    });
}

#[test]
fn an_internal_error_logs_its_cause() {
    check(async |app| {
        let rename = async |statement| {
            sqlx::raw_sql(statement).execute(&mut app.connection().await).await.unwrap();
        };
        let log = log_of(app, "warn,shortline=info", async |base| {
            rename("alter table short_codes rename to away").await;
            let get = plain_client().get(format!("{base}{}", app.partner.code_path()));
            let get = get.bearer_auth(&app.token).header("x-request-id", "broken");
            assert_eq!(get.send().await.unwrap().status(), 500);
            rename("alter table away rename to short_codes").await;
        })
        .await;
        let line = line(&log, "broken");
        assert_eq!((&line["level"], &line["status"]), (&json!("ERROR"), &json!(500)));
        let error = line["error"].as_str().unwrap();
        assert!(error.contains("relation \"short_codes\" does not exist"), "{error}");
        assert_eq!(error.matches("does not exist").count(), 1, "{error}");
    });
}

#[test]
fn a_full_log_pipe_delays_neither_requests_nor_the_exit() {
    check(async |app| {
        let listen = format!("127.0.0.1:{}", free_port());
        let mut process = Command::new(env!("CARGO_BIN_EXE_shortline"))
            .args(["serve", "--listen", &listen, "--drain-seconds", "0", "--jwt-secret", SECRET])
            .args(["--database-url", &url(&app.database), "--log-format", "json"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (base, client) = (format!("http://{listen}"), plain_client());
        let get = async || {
            let request = client.get(format!("{base}{}", app.partner.code_path()));
            request.bearer_auth(&app.token).send().await
        };
        wait_until("the instance is ready", async || get().await.is_ok()).await;
        // A pipe holds 64 KiB, and a line has more than 200 bytes.
        let requests = 1_000;
        for _ in 0..requests {
            assert_eq!(get().await.unwrap().status(), 200);
        }
        let kill = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
        assert!(kill.unwrap().success());
        wait_until("the process ends", async || process.try_wait().unwrap().is_some()).await;
        let written = std::io::read_to_string(process.stderr.take().unwrap()).unwrap();
        assert!(written.lines().count() < requests, "the pipe was never full");
    });
}

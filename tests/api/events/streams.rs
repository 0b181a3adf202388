//! Streams: JSON lines and server-sent events.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{EVENTS, now};
use crate::support::{App, check};

/// A stream whose lines are read one at a time.
struct Lines {
    response: futures_util::stream::BoxStream<'static, reqwest::Result<actix_web::web::Bytes>>,
    text: String,
}

impl Lines {
    async fn open(app: &App, query: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = app.request(Method::GET, &format!("{EVENTS}?{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response
    }

    fn of(response: Response) -> Self {
        Self { response: response.bytes_stream().boxed(), text: String::new() }
    }

    /// The next line that is not empty; `None` at the end of the stream.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.text = rest;
                if !line.is_empty() {
                    return Some(line);
                }
                continue;
            }
            let piece = timeout(Duration::from_secs(15), self.response.next()).await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&piece.ok()?).unwrap());
        }
    }

    async fn json(&mut self) -> Value {
        serde_json::from_str(&self.next().await.unwrap()).unwrap()
    }
}

#[test]
fn json_lines_are_bookmarks_and_events() {
    check(async |app| {
        let place = now(app).await;
        let accept = [("accept", "application/x-ndjson")];
        let response = Lines::open(app, &format!("after={place}"), &accept).await;
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let mut lines = Lines::of(response);
        let bookmark = lines.json().await;
        assert_eq!(bookmark["type"], json!("bookmark"));
        app.patch(&app.partner.code_path(), &json!({"name": "one"})).await.expect(200);
        let event = lines.json().await;
        assert_eq!(event["type"], json!("short_code.updated"));
        // A stream without events has a line every ten seconds.
        assert_eq!(lines.json().await["type"], json!("bookmark"));
        app.patch(&app.partner.code_path(), &json!({"name": "two"})).await.expect(200);
        assert_eq!(lines.json().await["data"]["version"], json!(3));
        // Every cursor continues.
        let rest = super::after(app, event["cursor"].as_str().unwrap()).await;
        assert_eq!(rest["items"][0]["data"]["version"], json!(3));
    });
}

#[test]
fn server_sent_events_resume_behind_the_last_id() {
    check(async |app| {
        let place = now(app).await;
        app.patch(&app.partner.code_path(), &json!({"name": "one"})).await.expect(200);
        app.patch(&app.partner.code_path(), &json!({"name": "two"})).await.expect(200);
        let accept = ("accept", "text/event-stream");
        let response = Lines::open(app, &format!("after={place}"), &[accept]).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut lines = Lines::of(response);
        let id = lines.next().await.unwrap();
        let id = id.strip_prefix("id: ").unwrap().to_owned();
        let data = lines.next().await.unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((&data["data"]["version"], &data["cursor"]), (&json!(2), &json!(id)));
        // The URL still has the first cursor, as in a browser that connects again.
        let resume = [accept, ("last-event-id", &id)];
        let response = Lines::open(app, &format!("after={place}"), &resume).await;
        let mut lines = Lines::of(response);
        lines.next().await.unwrap();
        let data = lines.next().await.unwrap();
        assert!(data.contains(r#""version":3"#), "{data}");
        let bad = app.request(Method::GET, EVENTS).header("last-event-id", "x").send().await;
        assert_eq!(bad.unwrap().status(), 400);
    });
}

#[test]
fn a_stream_ends_with_an_error_when_its_token_does() {
    check(async |app| {
        let accept = [("accept", "application/x-ndjson")];
        let response = Lines::open(app, "", &accept).await;
        let mut lines = Lines::of(response);
        assert_eq!(lines.json().await["type"], json!("bookmark"));
        let mut connection = app.connection().await;
        let status = "update partners set status = $2 where sid = $1";
        let set = async |connection: &mut sqlx::PgConnection, to: &str| {
            sqlx::query(status).bind(app.partner.sid).bind(to).execute(connection).await.unwrap();
        };
        set(&mut connection, "suspended").await;
        let mut last = lines.json().await;
        while last["type"] == json!("bookmark") {
            last = lines.json().await;
        }
        assert_eq!((&last["type"], &last["status"]), (&json!("error"), &json!(401)));
        assert_eq!(lines.next().await, None);
        set(&mut connection, "active").await;
    });
}

#[test]
fn a_snapshot_streams_and_continues_with_events() {
    check(async |app| {
        let accept = [("accept", "application/x-ndjson")];
        let response = Lines::open(app, "snapshot=true&limit=2", &accept).await;
        let mut lines = Lines::of(response);
        let mut kinds = Vec::new();
        loop {
            let line = lines.json().await;
            match line["type"].as_str().unwrap() {
                "bookmark" => {
                    if kinds.len() >= 5 {
                        break;
                    }
                }
                kind => kinds.push(kind.to_owned()),
            }
        }
        let expected = ["did", "did_group", "partner", "partner", "short_code"];
        assert_eq!(kinds, expected.map(|kind| format!("{kind}.snapshot")));
        app.patch(&app.partner.code_path(), &json!({"name": "one"})).await.expect(200);
        let mut line = lines.json().await;
        while line["type"] == json!("bookmark") {
            line = lines.json().await;
        }
        assert_eq!(line["type"], json!("short_code.updated"));
    });
}

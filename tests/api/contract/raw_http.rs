//! Requests that an ordinary HTTP client does not send.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    Answer, App, CODES, check, check_with, code_path, group_path, plain_client, send_raw,
};

#[test]
fn long_urls_and_many_arguments_are_answered_quickly() {
    check(async |app| {
        let many = |name: &str, value: &str, count: usize| {
            format!("{CODES}?{}", format!("{name}={value}&").repeat(count))
        };
        let list = |name: &str, value: &str, count: usize| {
            format!("{CODES}?{name}={}", vec![value; count].join(","))
        };
        for (path, statuses) in [
            (many("a", "", 10_000), &[200][..]),
            (many("limit", "1", 7_000), &[400]),
            (list("order", "name", 10_000), &[200, 400]),
            (list("order", "short_code_sid,name+desc", 2_000), &[200, 400]),
            (list("include_fields", "name", 10_000), &[200]),
            (list("exclude_fields", "attributes.a", 5_000), &[200]),
            (format!("{CODES}?filter={}", "(".repeat(4_000)), &[400]),
            (format!("{CODES}?filter=name+in+({})", vec!["a"; 1_000].join(",")), &[200]),
            (format!("{CODES}?filter=name+like+'{}'", "%25_".repeat(1_000)), &[200]),
            (format!("{CODES}?filter=attributes{}+eq+1", ".a".repeat(2_000)), &[200, 400]),
            (code_path("x".repeat(60_000)), &[404]),
            (group_path("%2e%2e%2f".repeat(1_000)), &[404]),
        ] {
            let started = Instant::now();
            let answer = app.get(&path).await;
            assert!(
                statuses.contains(&answer.status),
                "{path:.80}: {} {:.300}",
                answer.status,
                answer.text
            );
            assert!(
                started.elapsed() < Duration::from_secs(2),
                "{path:.80}: {:?}",
                started.elapsed()
            );
        }
        // The connection of an oversized request head is closed.
        for head in [
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1_000_000)),
            format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1_000_000)),
            format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: x\r\n".repeat(10_000)),
        ] {
            let answer = send_raw(app, head.as_bytes()).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
        Answer::to(app.anonymous(Method::GET, "/readyz")).await.expect(200);
    });
}

#[test]
fn method_override_headers_are_ignored() {
    check(async |app| {
        let reader = app.token(app.partner.sid, &[Scope::PhonenumberRead]);
        for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
            let path = format!("{}?_method=DELETE", app.partner.group_path());
            let get = app.anonymous(Method::GET, &path).bearer_auth(&reader).header(name, "DELETE");
            Answer::to(get).await.expect(200);
        }
        for method in ["get", "FOO", "PATCH\t"] {
            let path = app.partner.group_path();
            let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let answer = send_raw(app, head.as_bytes()).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{method}: {answer}");
        }
        app.get(&app.partner.group_path()).await.expect(200);
    });
}

#[test]
fn trace_and_connect_are_rejected_and_not_echoed() {
    check(async |app| {
        let lines = ["TRACE /", "TRACE /healthz", "CONNECT example.com:443", "CONNECT /healthz"];
        // At once, since the connection of a CONNECT stays open for another second.
        let answers = join_all(lines.map(async |line| {
            let head = format!(
                "{line} HTTP/1.1\r\nHost: x\r\nX-Echo: canary\r\nConnection: close\r\n\r\n"
            );
            send_raw(app, head.as_bytes()).await
        }));
        for answer in answers.await {
            assert!(answer.starts_with("HTTP/1.1 40"), "{answer}");
            assert!(!answer.contains("canary"), "{answer}");
        }
    });
}

#[test]
fn a_forged_host_header_changes_only_the_host_of_links() {
    let next = async |app: &App, host: &str| {
        let head = format!(
            "GET {CODES}?limit=1 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
             X-Forwarded-Host: forged.example\r\nForwarded: host=forged.example\r\n\
             X-Forwarded-Prefix: /forged\r\nX-Original-URL: /forged\r\nConnection: close\r\n\r\n",
            app.token
        );
        let answer = send_raw(app, head.as_bytes()).await;
        assert!(!answer.contains("forged"), "{answer}");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        answer.starts_with("HTTP/1.1 200 ").then(|| {
            let body: Value = serde_json::from_str(&body).unwrap();
            body["pagination"]["next"].as_str().unwrap().to_owned()
        })
    };
    let hosts = [
        "evil.example/path?x=",
        "evil.example#",
        "user:password@evil.example",
        "\"><script>alert(1)</script>",
        "evil.example\\",
        "a b",
        "evil.example:99999",
        "%0d%0aX-Injected:1",
        "",
        &"x".repeat(10_000),
    ];
    check(async |app| {
        app.partner.add_codes(app, &[json!({"short_code": "20001"})]).await;
        assert_eq!(
            next(app, "api.example:8080").await,
            Some(format!("http://api.example:8080{CODES}?limit=1&offset=1"))
        );
        for host in hosts {
            // Either the request is rejected or the link has this host and an unchanged path.
            if let Some(link) = next(app, host).await {
                let link = url::Url::parse(&link).unwrap_or_else(|error| panic!("{error}: {link}"));
                assert_eq!(
                    (link.path(), link.query(), link.username()),
                    (CODES, Some("limit=1&offset=1"), ""),
                    "{host}"
                );
            }
        }
    });
    check_with(&["--public-url", "https://api.example"], async |app| {
        app.partner.add_codes(app, &[json!({"short_code": "20001"})]).await;
        for host in hosts {
            if let Some(link) = next(app, host).await {
                assert_eq!(link, format!("https://api.example{CODES}?limit=1&offset=1"), "{host}");
            }
        }
    });
}

/// Splits a response into its head, in lower case, and its body.
fn parts(answer: &str) -> (String, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    (head.to_lowercase(), body)
}

#[test]
fn a_head_that_is_no_request_gets_an_error_and_is_counted() {
    check_with(&["--metrics-listen", "127.0.0.1:0"], async |app| {
        let host = app.base.strip_prefix("http://").unwrap();
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(140_000));
        let cases = [
            ("HELLO\r\n\r\n", 400, "bad request"),
            ("GET / HTTP/1.1\r\n\r\n", 400, "bad request"),
            ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400, "bad request"),
            (&long, 431, "request header fields too large"),
            ("GET / HTTP/1.1\r\nHo", 408, "request timeout"),
            ("", 408, "request timeout"),
        ];
        join_all(cases.map(async |(sent, status, message)| {
            let mut stream = TcpStream::connect(host).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // The service has not read all of a long head, so the connection may be reset.
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = parts(&answer);
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
            assert_eq!(body["message"], message, "{body}");
            assert_eq!(body["errors"][0]["field"], Value::Null, "{body}");
            assert!(body["errors"][0]["message"].is_string(), "{body}");
            for header in [
                "connection: close",
                "content-type: application/json",
                "date: ",
                "x-content-type-options: nosniff",
                "x-request-id: ",
            ] {
                assert_eq!(head.matches(&format!("\r\n{header}")).count(), 1, "{header}: {head}");
            }
            assert_eq!(head.matches("content-length").count(), 1, "{head}");
        }))
        .await;
        let metrics = format!("http://{}/metrics", app.metrics.unwrap());
        let metrics = Answer::to(plain_client().get(metrics)).await.text;
        for (status, count) in [(400, 3), (408, 2), (431, 1)] {
            let name = "shortline_rejected_heads_total";
            let line = format!("{name}{{http_response_status_code=\"{status}\"}} {count}\n");
            assert!(metrics.contains(&line), "{line}{metrics}");
        }
    });
}

#[test]
fn the_responses_before_an_invalid_head_are_sent_unchanged() {
    check(async |app| {
        let get = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        let answer = send_raw(app, format!("{get}{get}HELLO\r\n\r\n").as_bytes()).await;
        let answers: Vec<_> = answer.split("HTTP/1.1 ").skip(1).collect();
        let statuses: Vec<_> = answers.iter().map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "200", "400"], "{answer}");
        assert_eq!(parts(answers[2]).1["message"], "bad request", "{answer}");
        // An error without a body that is a response to a request.
        let head = "HEAD /missing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = send_raw(app, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    });
}

#[test]
fn a_body_that_does_not_arrive_in_time_is_408() {
    /// The longest time that a body takes.
    const LIMIT: Duration = Duration::from_secs(30);
    check(async |app| {
        let host = app.base.strip_prefix("http://").unwrap();
        let form = "Content-Type: application/x-www-form-urlencoded";
        let json = format!("Content-Type: application/json\r\nAuthorization: Bearer {}", app.token);
        let code = app.partner.code_path();
        let requests = [
            ("PATCH", &*code, &*json, 0),
            // It arrives too slowly.
            ("PATCH", &*code, &*json, 20),
            ("POST", "/core/v2/oauth/token", form, 0),
        ];
        let answers = join_all(requests.map(async |(method, path, headers, bytes)| {
            let sent = Instant::now();
            let (mut read, mut write) = TcpStream::connect(host).await.unwrap().into_split();
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\nContent-Length: 100\r\n\r\n"
            );
            write.write_all(head.as_bytes()).await.unwrap();
            let slowly = async {
                for _ in 0..bytes {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    let _ = write.write_all(b" ").await;
                }
                std::future::pending::<()>().await;
            };
            let mut answer = [0; 1_024];
            let length = tokio::select! {
                length = read.read(&mut answer) => length.unwrap(),
                () = slowly => unreachable!(),
            };
            (String::from_utf8_lossy(&answer[..length]).into_owned(), sent.elapsed())
        }));
        for (answer, took) in answers.await {
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
            assert!(answer.contains("the body was not received in time"), "{answer}");
            assert!((LIMIT..LIMIT + Duration::from_secs(3)).contains(&took), "{took:?}");
        }
        app.get(&code).await.expect(200);
    });
}

//! Memory: what large bodies in flight can take, and the share of one tenant.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use shortline::auth::Scope;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Answer, App, CODES, JSON, check, wait_at_most, wait_until};

/// Sends the head of a request, and nothing more.
async fn begin(app: &App, request: &str, headers: &str) -> TcpStream {
    let host = app.base.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(host).await.unwrap();
    let head = format!("{request} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    connection
}

#[test]
fn clients_that_do_not_read_large_responses_exhaust_only_their_share() {
    check(async |app| {
        let codes: Vec<_> = (0..200)
            .map(|number| {
                let attributes = json!({"text": "x".repeat(60 * 1024)});
                json!({"short_code": format!("{}", 20_000 + number), "attributes": attributes})
            })
            .collect();
        app.partner.add_codes(app, &codes).await;
        let list = format!("{CODES}?limit=1000");
        let token = format!("authorization: Bearer {}\r\n", app.token);
        app.get(&list).await.expect(200);
        // 12 MB each, of a share of 33 MB.
        let mut unread = Vec::new();
        wait_until("a response is rejected", async || {
            unread.push(begin(app, &format!("GET {list}"), &token).await);
            app.get(&list).await.status == 429
        })
        .await;
        assert!((2..6).contains(&unread.len()), "{}", unread.len());
        app.get(&list).await.expect_error(429, "too many requests");
        app.get(&app.partner.code_path()).await.expect(200);
        let other = app.token(app.unrelated.sid, &Scope::DEFAULT);
        let openapi = app.anonymous(Method::GET, "/openapi.json");
        for request in [openapi, app.anonymous(Method::GET, CODES).bearer_auth(other)] {
            assert_eq!(Answer::to(request).await.status, 200);
        }
        drop(unread);
        wait_until("the share is free", async || app.get(&list).await.status == 200).await;
    });
}

#[test]
fn clients_that_do_not_send_large_bodies_exhaust_only_their_share() {
    check(async |app| {
        let path = app.partner.code_path();
        let large = json!({"attributes": {"text": "x".repeat(60 * 1024)}}).to_string();
        app.patch_text(&path, large.clone(), &[JSON]).await.expect(200);
        let mut unsent = Vec::new();
        let anonymous = "content-length: 262144\r\n";
        let headers = format!(
            "authorization: Bearer {}\r\ncontent-type: application/json\r\n{anonymous}",
            app.token
        );
        for _ in 0..128 {
            unsent.push(begin(app, &format!("PATCH {path}"), &headers).await);
            unsent.push(begin(app, "POST /core/v2/oauth/token", anonymous).await);
        }
        // The bodies are read as the heads arrive, which takes long beside other tests.
        wait_at_most(Duration::from_secs(25), "a body is rejected", async || {
            app.patch_text(&path, large.clone(), &[JSON]).await.status == 429
        })
        .await;
        // The response to a write is not rejected, although it is large.
        app.patch(&path, &json!({"name": "small"})).await.expect(200);
        // Requests without a token have a budget of their own.
        for (grant_type, status) in [("x".repeat(60 * 1024), 503), ("x".to_owned(), 400)] {
            let request = app.anonymous(Method::POST, "/core/v2/oauth/token");
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            let request = request.body(format!("grant_type={grant_type}"));
            assert_eq!(Answer::to(request).await.status, status);
        }
        let other = app.token(app.unrelated.sid, &Scope::DEFAULT);
        let request = app.anonymous(Method::PATCH, &app.unrelated.code_path()).bearer_auth(other);
        let request = request.header("content-type", "application/json").body(large.clone());
        Answer::to(request).await.expect(200);
        drop(unsent);
        wait_until("the share is free", async || {
            app.patch_text(&path, large.clone(), &[JSON]).await.status == 200
        })
        .await;
    });
}

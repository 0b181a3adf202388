//! Requests that come through proxies: the client's address, the links and the public URL.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, CODES, check, check_with, send_raw};

/// Trusts the tests themselves, and proxies in front of them.
const TRUSTED: [&str; 2] = ["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8,fd00::/8"];

/// The address in the history of a change that is sent with these headers.
async fn ip_of_change(app: &App, headers: &[(&str, &str)]) -> String {
    let version = app.version(app.partner.group_sid).await + 1;
    let mut patch = app.request(Method::PATCH, &app.partner.group_path());
    for (name, value) in headers {
        patch = patch.header(*name, value.as_bytes());
    }
    Answer::to(patch.json(&json!({"name": version.to_string()}))).await.expect(200);
    let ip = "select entry::json ->> 'ip' from history where sid = $1 and version = $2";
    let ip = sqlx::query_scalar(ip).bind(app.partner.group_sid).bind(version);
    ip.fetch_one(&mut app.connection().await).await.unwrap()
}

#[test]
fn forwarded_addresses_are_used_only_from_trusted_proxies() {
    let addresses = "6.6.6.6, 192.0.2.7, 10.1.2.3";
    check(async |app| {
        for headers in [("x-forwarded-for", addresses), ("forwarded", "for=6.6.6.6")] {
            assert_eq!(ip_of_change(app, &[headers]).await, "127.0.0.1");
        }
    });
    check_with(&TRUSTED, async |app| {
        let header = ("x-forwarded-for", addresses);
        assert_eq!(ip_of_change(app, &[header]).await, "192.0.2.7");
    });
}

#[test]
fn an_element_that_cannot_be_read_ends_the_search_for_the_client() {
    check_with(&TRUSTED, async |app| {
        for (addresses, client) in [
            ("6.6.6.6, 203.0.113.7:51008", "203.0.113.7"),
            ("6.6.6.6, [2001:db8::1]:51008, 10.0.0.1:1", "2001:db8::1"),
            ("6.6.6.6, [2001:db8::1], [fd00::1]", "2001:db8::1"),
            ("6.6.6.6, 2001:db8::1", "2001:db8::1"),
            ("6.6.6.6, ::ffff:203.0.113.7", "203.0.113.7"),
            ("6.6.6.6, unknown", "127.0.0.1"),
            ("6.6.6.6, 203.0.113.7:x, 10.0.0.1", "10.0.0.1"),
            ("6.6.6.6, , 10.0.0.1", "10.0.0.1"),
            ("6.6.6.6, \u{fc}, 10.0.0.1", "10.0.0.1"),
            ("10.0.0.2, 10.0.0.1", "10.0.0.2"),
            ("", "127.0.0.1"),
        ] {
            let found = ip_of_change(app, &[("x-forwarded-for", addresses)]).await;
            assert_eq!(found, client, "{addresses}");
        }
        for (forwarded, client) in [
            ("for=6.6.6.6, for=\"203.0.113.7:51008\";proto=https", "203.0.113.7"),
            ("for=6.6.6.6, For=\"[2001:db8::1]:1\", for=10.0.0.1", "2001:db8::1"),
            ("for=6.6.6.6, for=_hidden, for=10.0.0.1", "10.0.0.1"),
            ("for=6.6.6.6, proto=https", "127.0.0.1"),
            ("for=6.6.6.6, for=\"10.0.0.1", "127.0.0.1"),
        ] {
            let found = ip_of_change(app, &[("forwarded", forwarded)]).await;
            assert_eq!(found, client, "{forwarded}");
        }
        // Several lines are one list.
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.7, 10.0.0.1")];
        assert_eq!(ip_of_change(app, &lines).await, "203.0.113.7");
        let both = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=6.6.6.6")];
        assert_eq!(ip_of_change(app, &both).await, "203.0.113.7");
    });
}

/// The status of a list, and the beginning of its link to the next page, before the path.
async fn link(app: &App, line: &str, headers: &str) -> (String, String) {
    let head = format!(
        "{line}\r\n{headers}Authorization: Bearer {}\r\nConnection: close\r\n\r\n",
        app.token
    );
    let answer = send_raw(app, head.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().to_owned();
    // The server itself rejects requests without one `Host`, with an empty body.
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let found = match body["pagination"]["next"].as_str() {
        Some(next) => next.split_once(CODES).unwrap().0.to_owned(),
        None => body["errors"][0]["field"].as_str().unwrap_or_default().to_owned(),
    };
    (status, found)
}

async fn add_codes(app: &App) {
    app.partner.add_codes(app, &[json!({"short_code": "20001"})]).await;
}

#[test]
fn links_use_what_the_outermost_trusted_proxy_received() {
    const HOP: &str = "X-Forwarded-For: 203.0.113.7\r\n";
    const HOPS: &str = "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.1\r\n";
    check_with(&TRUSTED, async |app| {
        add_codes(app).await;
        for (headers, expected) in [
            (
                format!(
                    "{HOPS}X-Forwarded-Host: forged.example, api.example.com, inner.local\r\n\
                      X-Forwarded-Proto: http, https, http\r\n"
                ),
                "https://api.example.com",
            ),
            (
                format!(
                    "{HOP}X-Forwarded-Host: forged.example, api.example.com\r\n\
                      X-Forwarded-Proto: http, HTTPS\r\n"
                ),
                "https://api.example.com",
            ),
            // Proxies that replace the lists.
            (
                format!(
                    "{HOPS}X-Forwarded-Host: API.example.com:8443\r\n\
                      X-Forwarded-Proto: Https\r\n"
                ),
                "https://API.example.com:8443",
            ),
            (
                "X-Forwarded-Host: forged.example, api.example.com\r\n".to_owned(),
                "http://api.example.com",
            ),
            (format!("{HOP}X-Forwarded-Host:\r\nX-Forwarded-Proto:\r\n"), "http://x"),
            (
                "Forwarded: for=203.0.113.7;host=forged.example, for=\"203.0.113.8\";Proto=HTTPS;\
              host=\"api.example.com:1\"\r\n"
                    .to_owned(),
                "https://api.example.com:1",
            ),
            (
                "Forwarded: for=203.0.113.7;host=api.example.com;proto=https, \
              for=10.0.0.1;host=inner.local;proto=http\r\n"
                    .to_owned(),
                "https://api.example.com",
            ),
            // A header that the proxy may pass on from its client.
            (format!("{HOP}Forwarded: host=forged.example;proto=https\r\n"), "http://x"),
        ] {
            let line = format!("GET {CODES}?limit=1 HTTP/1.1");
            let found = link(app, &line, &format!("Host: x\r\n{headers}")).await;
            assert_eq!(found, ("200".to_owned(), expected.to_owned()), "{headers}");
        }
        for (header, name) in [
            ("X-Forwarded-Host: a/b", "X-Forwarded-Host"),
            ("X-Forwarded-Host: user@host", "X-Forwarded-Host"),
            ("X-Forwarded-Host: a, b c", "X-Forwarded-Host"),
            ("X-Forwarded-Host: :80", "X-Forwarded-Host"),
            ("X-Forwarded-Host: []", "X-Forwarded-Host"),
            ("X-Forwarded-Proto: javascript", "X-Forwarded-Proto"),
            ("Forwarded: host=\"a/b\"", "Forwarded"),
            ("Forwarded: host=\"[1::z]:80\"", "Forwarded"),
            ("Forwarded: proto=ftp", "Forwarded"),
        ] {
            let line = format!("GET {CODES}?limit=1 HTTP/1.1");
            let found = link(app, &line, &format!("Host: x\r\n{header}\r\n")).await;
            assert_eq!(found, ("400".to_owned(), name.to_owned()), "{header}");
        }
    });
}

#[test]
fn links_have_a_host_without_a_host_header() {
    check(async |app| {
        add_codes(app).await;
        let line =
            |target: &str, version: &str| format!("GET {target}{CODES}?limit=1 HTTP/{version}");
        let own = app.base.clone();
        for (target, version, headers, expected) in [
            ("", "1.0", "", ("200", &*own)),
            ("", "1.0", "Host: api.example\r\n", ("200", "http://api.example")),
            ("http://api.example", "1.1", "Host: x\r\n", ("200", "http://api.example")),
            ("http://api.example:8080", "1.0", "", ("200", "http://api.example:8080")),
            ("https://api.example", "1.1", "Host: x\r\n", ("200", "https://api.example")),
            ("http://user@api.example", "1.1", "Host: x\r\n", ("400", "Host")),
            ("", "1.1", "", ("400", "")),
            ("http://api.example", "1.1", "", ("400", "")),
            ("", "1.1", "Host: a\r\nHost: a\r\n", ("400", "")),
            ("", "1.1", "Host:\r\n", ("400", "Host")),
            ("", "1.1", "Host: :80\r\n", ("400", "Host")),
            ("", "1.1", "Host: [zz]\r\n", ("400", "Host")),
            ("", "1.1", "Host: [::1]:80\r\n", ("200", "http://[::1]:80")),
            ("http://[]:80", "1.1", "Host: x\r\n", ("400", "Host")),
        ] {
            let (status, found) = link(app, &line(target, version), headers).await;
            assert_eq!((&*status, &*found), expected, "{target} {version} {headers}");
        }
    });
}

#[test]
fn the_path_of_the_public_url_holds_everywhere() {
    const PUBLIC: &str = "https://api.example.com/short&line";
    check_with(&["--public-url", &format!("{PUBLIC}/")], async |app| {
        add_codes(app).await;
        let next = app.get(&format!("{CODES}?limit=1")).await.expect(200);
        let next = next["pagination"]["next"].as_str().unwrap().to_owned();
        assert_eq!(next, format!("{PUBLIC}{CODES}?limit=1&offset=1"));
        let document = app.get("/openapi.json").await.expect(200);
        assert_eq!(document["servers"], json!([{"url": PUBLIC}]));
        let page = app.get("/docs").await;
        assert!(page.text.contains("src=\"/short&amp;line/docs/start.js\""), "{}", page.text);
        assert!(!page.text.contains("\"/docs"), "{}", page.text);
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.ends_with("connect-src 'self' https://api.example.com"), "{policy}");
        let script = app.get("/docs/start.js").await;
        assert!(script.text.contains("url: \"/short&line/openapi.json\""), "{}", script.text);
        assert_eq!(app.get("/docs/swagger-ui.css").await.status, 200);
    });
    check(async |app| {
        let document = app.get("/openapi.json").await.expect(200);
        assert_eq!(document["servers"], json!([{"url": "/"}]));
    });
}

#[test]
fn a_public_url_that_is_no_base_url_is_rejected_at_the_start() {
    for url in ["https://api.example.com/?key=1", "https://api.example.com/#x", "api.example.com"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shortline"));
        let output = command.arg("serve").env("SHORTLINE_PUBLIC_URL", url).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains("expected a"), "{url}: {stderr}");
    }
}

#[test]
fn a_browser_that_opens_the_root_gets_the_console() {
    let check_root = async |app: &App, location: &str| {
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let browser = browser.build().unwrap();
        let accept = "text/html,application/xhtml+xml,*/*;q=0.8";
        for method in [Method::GET, Method::HEAD] {
            let request = browser.request(method, &app.base).header("accept", accept);
            let answer = Answer::to(request).await;
            assert_eq!((answer.status, answer.header("location")), (302, Some(location)));
            assert!(answer.header("vary").unwrap().contains("accept"));
        }
        for accept in ["*/*", "application/json", "text/html;q=0"] {
            let request = browser.get(&app.base).header("accept", accept);
            Answer::to(request).await.expect_error(404, "not found");
        }
        Answer::to(browser.post(&app.base).header("accept", accept)).await.expect(404);
    };
    check(async |app| check_root(app, "/console").await);
    check_with(&["--console", "read-only"], async |app| check_root(app, "/console").await);
    check_with(&["--console", "off"], async |app| check_root(app, "/docs").await);
    check_with(&["--public-url", "https://api.example.com/a"], async |app| {
        check_root(app, "/a/console").await;
    });
}

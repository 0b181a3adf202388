//! The console: its files, its settings, and the modes in which it is served.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, check, check_with};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; \
                      form-action 'none'";

async fn fetch(app: &App, path: &str) -> Answer {
    Answer::to(app.anonymous(Method::GET, path)).await
}

/// The paths of the files that a page of HTML names.
fn files(page: &str) -> Vec<&str> {
    page.split('"').filter(|text| text.starts_with('/')).collect()
}

#[test]
fn the_page_and_its_files_allow_no_other_origin() {
    check_with(&["--public-url", "https://api.example.com"], async |app| {
        let page = fetch(app, "/console/").await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        let loaded = page.text.split([' ', '\n']).filter_map(|attribute| {
            attribute.strip_prefix("href=\"").or_else(|| attribute.strip_prefix("src=\""))
        });
        for url in loaded {
            assert!(url.starts_with("/console/") || url.starts_with("data:"), "{url}");
        }
        let files = files(&page.text);
        assert!(files.contains(&"/console/main.js"), "{}", page.text);
        for path in [files, vec!["/console"]].concat() {
            let answer = fetch(app, path).await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header("content-security-policy"), Some(POLICY), "{path}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        }
        fetch(app, "/console/nothing.js").await.expect_error(404, "not found");
    });
}

#[test]
fn a_file_that_has_not_changed_is_not_sent_again() {
    check(async |app| {
        for path in ["/console", "/console/main.js", "/docs/start.js"] {
            let first = fetch(app, path).await;
            assert_eq!(first.header("cache-control"), Some("no-cache"), "{path}");
            let tag = first.header("etag").unwrap();
            let ask = |tag: &str| app.anonymous(Method::GET, path).header("if-none-match", tag);
            let second = Answer::to(ask(tag)).await;
            assert_eq!((second.status, &*second.text), (304, ""), "{path}");
            assert_eq!(second.header("etag"), Some(tag), "{path}");
            assert_eq!(Answer::to(ask("\"other\"")).await.status, 200, "{path}");
        }
    });
}

#[test]
fn pages_reject_methods_that_write() {
    check(async |app| {
        for path in ["/console", "/console/main.js", "/console/settings.json", "/docs"] {
            for method in [Method::POST, Method::PUT, Method::DELETE] {
                let answer = Answer::to(app.anonymous(method, path)).await;
                assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"), "{path}");
                answer.expect_error(405, "method not allowed");
            }
            assert_eq!(Answer::to(app.anonymous(Method::HEAD, path)).await.status, 200, "{path}");
        }
    });
}

#[test]
fn the_path_of_the_public_url_precedes_the_files_of_the_console() {
    check_with(&["--public-url", "https://api.example.com/a&b"], async |app| {
        let page = fetch(app, "/console").await;
        assert!(page.text.contains("\"/a&amp;b/console/main.js\""), "{}", page.text);
        assert!(!page.text.contains("\"/console"), "{}", page.text);
    });
}

#[test]
fn the_settings_of_the_console_have_its_mode_and_no_token() {
    for (flags, mode) in [(&[][..], "on"), (&["--console", "read-only"], "read-only")] {
        check_with(flags, async |app| {
            let settings = fetch(app, "/console/settings.json").await;
            assert_eq!(settings.header("cache-control"), Some("no-store"));
            assert_eq!(settings.expect(200), json!({"demo_token": Value::Null, "mode": mode}));
        });
    }
}

#[test]
fn a_console_that_is_off_does_not_exist() {
    check_with(&["--console", "off"], async |app| {
        for path in ["/console", "/console/main.js", "/console/settings.json"] {
            for method in [Method::GET, Method::OPTIONS, Method::POST] {
                Answer::to(app.anonymous(method, path)).await.expect_error(404, "not found");
            }
        }
        assert_eq!(fetch(app, "/docs").await.status, 200);
    });
}

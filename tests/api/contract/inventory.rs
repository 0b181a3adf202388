//! Paths that do not exist and details that responses do not disclose.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Answer, CODES, JSON, check, code_path, send_raw};

#[test]
fn responses_do_not_disclose_the_implementation() {
    check(async |app| {
        let path = app.partner.code_path();
        let mut answers = vec![
            app.get("/core/v2/nothing").await,
            app.get(&path).await,
            app.get(&code_path("' or 1=1 --")).await,
            app.get(&format!("{CODES}?filter=name+eq+'")).await,
            app.get(&format!("{CODES}?order=name);drop+table+short_codes")).await,
            app.get(&format!("{CODES}?filter=name+eq+'%00'")).await,
            app.patch_text(&path, "{\"name\":", &[JSON]).await,
            app.patch_text(&path, vec![0xff, 0xfe], &[JSON]).await,
            app.patch(&path, &json!({"name": 1, "did_group_sid": Uuid::new_v4()})).await,
            app.delete(&app.partner.group_path()).await,
            Answer::to(app.anonymous(Method::GET, &path)).await,
            Answer::to(app.anonymous(Method::TRACE, &path)).await,
            Answer::to(app.anonymous(Method::POST, "/core/v2/oauth/token")).await,
        ];
        // Provokes an internal error.
        let rename = async |statement: &'static str| {
            sqlx::raw_sql(statement).execute(&mut app.connection().await).await.unwrap();
        };
        rename("alter table short_codes rename to away").await;
        let broken = app.get(&path).await;
        rename("alter table away rename to short_codes").await;
        assert_eq!(
            (broken.status, &*broken.text),
            (500, r#"{"message":"internal server error","errors":[]}"#)
        );
        answers.push(broken);
        for answer in answers {
            let text = answer.text.to_lowercase();
            for detail in [
                "sqlx",
                "postgres",
                "sqlstate",
                "panicked",
                "backtrace",
                ".rs",
                "select ",
                "relation",
                "serde",
                "actix",
                "0x",
            ] {
                assert!(!text.contains(detail), "{detail}: {text}");
            }
            assert_eq!(
                answer.header("content-type").map(|kind| kind.starts_with("application/json")),
                Some(true),
                "{answer:?}"
            );
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            for banner in ["server", "x-powered-by", "via", "x-aspnet-version"] {
                assert_eq!(answer.header(banner), None);
            }
        }
    });
}

/// Paths that scanners try, and variants of a path that exists.
const PROBES: [&str; 41] = [
    "/",
    "/admin",
    "/metrics",
    "/.env",
    "/.git/config",
    "/api",
    "/core",
    "/core/v1",
    "/core/v1/phonenumber/short_codes",
    "/core/v2",
    "/core/v2/admin",
    "/core/v2/metrics",
    "/core/v2/phonenumber",
    "/core/v2/users",
    "/core/v2/oauth",
    "/core/v2/oauth/clients",
    "/core/v2/oauth/logins",
    "/core/v3/phonenumber/short_codes",
    "/actuator/health",
    "/console/index.html",
    "/console/settings",
    "/debug/pprof",
    "/graphql",
    "/health",
    "/phonenumber/short_codes",
    "/robots.txt",
    "/server-status",
    "/status",
    "/swagger.json",
    "/swagger-ui",
    "/test",
    "/v2/core/phonenumber/short_codes",
    "/version",
    "/wp-login.php",
    "//core/v2/oauth/whoami",
    "/core/v2/../v2/oauth/whoami",
    "/core//v2/oauth/whoami",
    "/CORE/V2/oauth/whoami",
    "/core/v2/oauth/whoami/x",
    "/core/v2/oauth/whoami;x=1",
    "/core/v2/oauth/whoami%00",
];

#[test]
fn undocumented_paths_are_404() {
    check(async |app| {
        let document = Answer::to(app.anonymous(Method::GET, "/openapi.json")).await.expect(200);
        let documented = document["paths"].as_object().unwrap();
        for probe in PROBES {
            assert!(!documented.contains_key(probe), "{probe}");
            for method in ["GET", "POST"] {
                // Sent raw: an HTTP client would normalize the path.
                let head = format!(
                    "{method} {probe} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
                     Content-Length: 0\r\nConnection: close\r\n\r\n",
                    app.token
                );
                let answer = send_raw(app, head.as_bytes()).await;
                let rejected = answer.starts_with("HTTP/1.1 404 ")
                    && answer.contains(r#"{"message":"not found""#);
                assert!(rejected, "{method} {probe}: {answer}");
            }
        }
        let versions: Vec<_> =
            documented.keys().filter_map(|path| path.strip_prefix("/core/")).collect();
        assert!(versions.iter().all(|path| path.starts_with("v2/")), "{versions:?}");
    });
}

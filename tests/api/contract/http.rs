//! HTTP: CORS, OPTIONS, problem documents, links behind a proxy, encoded paths.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, App, CODES, check, check_with};

#[test]
fn a_preflight_needs_no_token() {
    check(async |app| {
        let headers = "authorization,content-type,if-match,if-none-match,idempotency-key,prefer,\
                       x-request-id,accept";
        let preflight = app
            .anonymous(Method::OPTIONS, &app.partner.code_path())
            .header("origin", "https://app.example")
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", headers);
        let answer = Answer::to(preflight).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(answer.header("access-control-allow-methods").unwrap().contains("PATCH"));
        let allowed = answer.header("access-control-allow-headers").unwrap().to_lowercase();
        assert!(headers.split(',').all(|header| allowed.contains(header)), "{allowed}");

        let get = app
            .request(Method::GET, &app.partner.code_path())
            .header("origin", "https://app.example");
        let answer = Answer::to(get).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let exposed = answer.header("access-control-expose-headers").unwrap().to_lowercase();
        for header in [
            "etag",
            "retry-after",
            "ratelimit",
            "ratelimit-policy",
            "x-request-id",
            "idempotency-replayed",
            "preference-applied",
        ] {
            assert!(exposed.contains(header), "{exposed}");
        }
        // Errors need the header too, or a browser hides them from the page.
        let rejected = app
            .anonymous(Method::GET, &app.partner.code_path())
            .header("origin", "https://app.example");
        let answer = Answer::to(rejected).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        answer.expect_error(401, "unauthorized");
    });
}

#[test]
fn options_lists_the_allowed_methods() {
    check(async |app| {
        let answer = Answer::to(app.anonymous(Method::OPTIONS, &app.partner.group_path())).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (204, Some("GET, HEAD, PATCH, PUT, DELETE, OPTIONS"))
        );
        Answer::to(app.anonymous(Method::OPTIONS, "/nothing")).await.expect_error(404, "not found");
    });
}

#[test]
fn accept_selects_problem_documents_for_errors() {
    check(async |app| {
        let patch = |accept: &str| {
            let request =
                app.request(Method::PATCH, &app.partner.code_path()).header("accept", accept);
            request.json(&json!({"name": 1}))
        };
        for accept in
            ["application/problem+json", "application/json, Application/Problem+JSON;q=0.5"]
        {
            let answer = Answer::to(patch(accept)).await;
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            let problem = answer.expect(422);
            assert_eq!(
                (&problem["status"], &problem["type"]),
                (&json!(422), &json!("about:blank"))
            );
            assert_eq!(
                (&problem["title"], &problem["errors"][0]["field"]),
                (&json!("object validation error"), &json!("name"))
            );
        }
        for accept in ["*/*", "text/html", "application/problem+json;q=0"] {
            let answer = Answer::to(patch(accept)).await;
            assert_eq!(answer.header("content-type"), Some("application/json"));
            answer.expect_error(422, "object validation error");
        }
        let success = app
            .request(Method::GET, &app.partner.code_path())
            .header("accept", "application/problem+json");
        Answer::to(success).await.expect(200);
        let unauthorized = app
            .anonymous(Method::GET, &app.partner.code_path())
            .header("accept", "application/problem+json");
        let answer = Answer::to(unauthorized).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
    });
}

#[test]
fn page_links_use_the_public_host() {
    let next = async |app: &App| {
        app.partner.add_codes(app, &[json!({"short_code": "20001"})]).await;
        let list =
            app.request(Method::GET, &format!("{CODES}?limit=1")).header("host", "api.example");
        let forwarded =
            list.header("x-forwarded-proto", "https").header("x-forwarded-host", "public.example");
        Answer::to(forwarded).await.expect(200)["pagination"]["next"].as_str().unwrap().to_owned()
    };
    check(async |app| {
        assert_eq!(next(app).await, format!("http://api.example{CODES}?limit=1&offset=1"))
    });
    check_with(&["--trusted-proxies", "127.0.0.1"], async |app| {
        assert_eq!(next(app).await, format!("https://public.example{CODES}?limit=1&offset=1"));
    });
    check_with(&["--public-url", "https://api.example/telephony/"], async |app| {
        assert_eq!(
            next(app).await,
            format!("https://api.example/telephony{CODES}?limit=1&offset=1")
        );
    });
}

#[test]
fn percent_encoded_paths_are_recognized() {
    check(async |app| {
        let path = app.partner.code_path();
        let encoded = path.replace("short_codes", "short%5Fcodes");
        assert_eq!(app.get(&encoded).await.expect(200), app.get(&path).await.expect(200));
        let answer = Answer::to(app.anonymous(Method::TRACE, &encoded)).await;
        answer.expect_error(405, "method not allowed");
        Answer::to(app.anonymous(Method::GET, &encoded)).await.expect_error(401, "unauthorized");
    });
}

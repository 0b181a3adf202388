//! The request rate of a partner.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use shortline::auth::Scope;

use crate::support::{Answer, App, check, check_with, code_path};

/// One request in 1,000 seconds: no capacity is regained during a test.
const SLOW: [&str; 2] = ["--rate", "0.001"];

async fn get_as(app: &App, token: &str, path: &str) -> Answer {
    Answer::to(app.anonymous(Method::GET, path).bearer_auth(token)).await
}

/// The members `r` and `t` of `RateLimit`.
fn remaining(answer: &Answer) -> (u32, u64) {
    let value = answer.header("ratelimit").unwrap();
    let (r, t) = value.strip_prefix(r#""default";r="#).unwrap().split_once(";t=").unwrap();
    (r.parse().unwrap(), t.parse().unwrap())
}

#[test]
fn requests_beyond_the_burst_are_429_with_retry_after() {
    check_with(&[&SLOW[..], &["--burst", "3"]].concat(), async |app| {
        let path = app.partner.code_path();
        let first = app.get(&path).await;
        assert_eq!(first.header("ratelimit-policy"), Some(r#""default";q=3;w=3000"#));
        assert_eq!(remaining(&first), (2, 1_000));
        first.expect(200);
        // A request that a handler rejects counts and has the header.
        let second = app.get(&code_path("x")).await;
        assert_eq!(remaining(&second), (1, 1_000));
        second.expect_error(404, "no item error");
        let third = app.patch(&path, &json!({"name": "after"})).await;
        assert_eq!(remaining(&third), (0, 1_000));
        third.expect(200);

        let rejected = app.patch(&path, &json!({"name": "later"})).await;
        let retry_after: u64 = rejected.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=1_000).contains(&retry_after), "{retry_after}");
        assert_eq!(remaining(&rejected), (0, retry_after));
        assert_eq!(rejected.header("ratelimit-policy"), Some(r#""default";q=3;w=3000"#));
        rejected.expect_error(429, "too many requests");
        assert_eq!(app.version(app.partner.code_sid).await, 2);

        let problem = app.request(Method::GET, &path).header("accept", "application/problem+json");
        let problem = Answer::to(problem).await;
        assert!(problem.header("retry-after").is_some());
        assert_eq!(problem.expect(429)["title"], "too many requests");
    });
}

#[test]
fn rate_limit_is_checked_after_authentication() {
    check_with(&SLOW, async |app| {
        let path = app.partner.code_path();
        app.get(&path).await.expect(200);

        app.get("/core/v2/nothing").await.expect_error(404, "not found");
        let wrong_method = app.request(Method::TRACE, &path);
        Answer::to(wrong_method).await.expect_error(405, "method not allowed");
        let anonymous = Answer::to(app.anonymous(Method::GET, &path)).await;
        assert_eq!(anonymous.header("ratelimit"), None);
        anonymous.expect_error(401, "unauthorized");
        let scopeless = app.token(app.partner.sid, &[Scope::OauthRead]);
        let forbidden = get_as(app, &scopeless, &path).await;
        assert_eq!(forbidden.header("ratelimit"), None);
        forbidden.expect_error(403, "forbidden");

        for path in
            [&*code_path("x"), &format!("{path}?with_related=maybe"), "/core/v2/oauth/whoami"]
        {
            app.get(path).await.expect_error(429, "too many requests");
        }
        app.patch_text(&path, "{", &[]).await.expect_error(429, "too many requests");
        Answer::to(app.anonymous(Method::GET, "/readyz")).await.expect(200);
    });
}

#[test]
fn requests_rejected_before_the_rate_limit_do_not_count() {
    check_with(&SLOW, async |app| {
        let path = app.partner.code_path();
        let scopeless = app.token(app.partner.sid, &[Scope::OauthRead]);
        for _ in 0..3 {
            get_as(app, &scopeless, &path).await.expect_error(403, "forbidden");
            app.get("/core/v2/nothing").await.expect_error(404, "not found");
        }
        app.get(&path).await.expect(200);
    });
}

#[test]
fn each_partner_has_its_own_rate_limit() {
    check_with(&[&SLOW[..], &["--burst", "2"]].concat(), async |app| {
        // All tokens of a partner share its rate.
        let other = app.token(app.partner.sid, &[Scope::PhonenumberRead]);
        get_as(app, &other, &app.partner.code_path()).await.expect(200);
        app.get(&app.partner.code_path()).await.expect(200);
        for _ in 0..20 {
            app.get(&app.partner.code_path()).await.expect_error(429, "too many requests");
        }
        // An unrelated partner and a child are unaffected.
        for tenant in [&app.unrelated, &app.child] {
            let token = app.token(tenant.sid, &[Scope::PhonenumberRead]);
            let answer = get_as(app, &token, &tenant.code_path()).await;
            assert_eq!(remaining(&answer).0, 1);
            answer.expect(200);
        }
    });
}

#[test]
fn sub_partners_share_the_rate_of_their_subtree() {
    let flags = [&SLOW[..], &["--burst", "4", "--subtree-rate", "0.002"]].concat();
    check_with(&flags, async |app| {
        let sub_partner = async || {
            let token = app.token(app.unrelated.sid, &[Scope::PartnersManage]);
            let made = app.anonymous(Method::POST, "/core/v2/partners").bearer_auth(token);
            let made = Answer::to(made.json(&json!({}))).await.expect(200);
            let sid = made["partner_sid"].as_str().unwrap().parse().unwrap();
            app.token(sid, &[Scope::PartnersManage])
        };
        let (one, two) = (sub_partner().await, sub_partner().await);
        let list = async |token: &str| get_as(app, token, "/core/v2/partners").await;
        // Two of the eight requests of the burst were the creations.
        for _ in 0..4 {
            list(&one).await.expect(200);
        }
        list(&one).await.expect_error(429, "too many requests");
        for _ in 0..3 {
            list(&two).await.expect(200);
        }
        // The subtree is now tighter than the partner's own rate.
        let rejected = list(&two).await;
        let left = rejected.header("ratelimit").unwrap().to_owned();
        assert!(left.starts_with(r#""subtree";r=0;t="#), "{left}");
        assert_eq!(rejected.header("ratelimit-policy"), Some(r#""subtree";q=8;w=4000"#));
        rejected.expect_error(429, "too many requests");
        // A partner that the operator created starts a subtree of its own.
        let child = app.token(app.child.sid, &[Scope::PartnersRead]);
        assert_eq!(remaining(&list(&child).await).0, 3);
    });
}

#[test]
fn a_request_after_retry_after_is_accepted() {
    check_with(&["--rate", "1"], async |app| {
        let path = app.partner.code_path();
        let rejected = loop {
            let answer = app.get(&path).await;
            if answer.status == 429 {
                break answer;
            }
            answer.expect(200);
        };
        assert_eq!(rejected.header("retry-after"), Some("1"));
        // The time that `Retry-After` asks for must pass.
        tokio::time::sleep(Duration::from_secs(1)).await;
        app.get(&path).await.expect(200);
    });
}

#[test]
fn there_is_no_rate_limit_by_default() {
    check(async |app| {
        for _ in 0..50 {
            let answer = app.get(&app.partner.code_path()).await;
            assert_eq!(answer.header("ratelimit"), None);
            assert_eq!(answer.header("ratelimit-policy"), None);
            answer.expect(200);
        }
    });
}

//! The limits that `whoami` shows.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;

use super::whoami;
use crate::support::{Answer, App, DIDS, check, check_with};

async fn limits(app: &App, token: &str) -> Value {
    whoami(app, token).await.expect(200)["limits"].clone()
}

#[test]
fn whoami_shows_the_limits_of_the_tree() {
    check_with(&["--max-descendants", "7"], async |app| {
        let shown = limits(app, &app.token).await;
        let expected = json!({
            "depth": {"limit": 16, "used": 1},
            "descendants": {"limit": 7, "used": 1},
            "dids": null,
            "event_endpoints": {"limit": 100, "used": 1},
            "rate": null,
            "subtree_rate": null,
        });
        assert_eq!(shown, expected);
        let child = app.token(app.child.sid, &[Scope::PhonenumberRead]);
        let shown = limits(app, &child).await;
        assert_eq!(shown["depth"]["used"], 2);
        assert_eq!(shown["descendants"]["used"], 0);
        app.post("/core/v2/partners", &json!({"name": "x"})).await.expect(200);
        assert_eq!(limits(app, &app.token).await["descendants"]["used"], 2);
    });
}

#[test]
fn whoami_shows_what_is_used_of_the_rentals() {
    check_with(&["--did-rentals", "9"], async |app| {
        assert_eq!(limits(app, &app.token).await["dids"], json!({"limit": 9, "used": 1}));
        app.post(DIDS, &json!({})).await.expect(200);
        assert_eq!(limits(app, &app.token).await["dids"], json!({"limit": 9, "used": 2}));
        let child = app.token(app.child.sid, &[Scope::PhonenumberRead]);
        assert_eq!(limits(app, &child).await["dids"], json!({"limit": 9, "used": 1}));
    });
}

#[test]
fn whoami_shows_what_is_used_of_the_rates() {
    let rates = ["--rate", "0.01", "--burst", "5", "--subtree-rate", "0.02"];
    check_with(&rates, async |app| {
        let other = app.token(app.unrelated.sid, &[Scope::PhonenumberRead]);
        limits(app, &other).await;
        for used in 1..=5 {
            let shown = limits(app, &app.token).await;
            let rate = json!({"limit": 5, "per_second": 0.01, "used": used});
            assert_eq!(shown["rate"], rate);
            assert_eq!(
                (&shown["subtree_rate"]["limit"], &shown["subtree_rate"]["per_second"]),
                (&json!(10), &json!(0.02))
            );
        }
        whoami(app, &app.token).await.expect(429);
    });
}

#[test]
fn limits_are_shown_to_every_valid_token() {
    check(async |app| {
        let token = app.token(app.partner.sid, &[]);
        assert!(limits(app, &token).await.is_object());
        let anonymous = app.anonymous(Method::GET, "/core/v2/oauth/whoami");
        Answer::to(anonymous).await.expect(401);
    });
}

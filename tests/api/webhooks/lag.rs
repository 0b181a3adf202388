//! The metrics of endpoints that are behind.

use reqwest::Method;
use serde_json::json;
use shortline::auth::Scope;

use super::{deliveries, endpoint, path_of, rename, sid_of};
use crate::support::{Answer, App, ENDPOINTS, check, status, wait_until};

/// The metrics of another instance, which measures when it starts.
async fn metrics(app: &App) -> String {
    let (address, server) = app.instance_with_metrics().await;
    let mut text = String::new();
    wait_until("the lag is measured", async || {
        text = Answer::to(app.request_to(Method::GET, &format!("http://{address}/metrics")))
            .await
            .text;
        text.contains("shortline_webhook_lag_seconds{")
    })
    .await;
    server.stop(false).await;
    text
}

/// The value of one time series.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}: {text}")).parse().unwrap()
}

#[test]
fn how_far_each_endpoint_is_behind_is_measured() {
    check(async |app| {
        let (dead, dead_endpoint) = endpoint(app).await;
        let (accepting, healthy) = endpoint(app).await;
        let (_, disabled) = endpoint(app).await;
        app.patch(&path_of(&disabled), &json!({"enabled": false})).await.expect(200);
        let body = json!({"url": dead.url, "ordering": "strict", "descendants": true});
        let token = app.token(app.partner.sid, &Scope::ALL);
        let request = app.anonymous(Method::POST, ENDPOINTS).bearer_auth(token);
        let strict = Answer::to(request.json(&body)).await.expect(200);
        dead.respond(|_| Some(status(500)));
        rename(app, &app.partner.code_path(), 1).await;
        dead.wait_for(2).await;
        rename(app, &app.partner.code_path(), 2).await;
        rename(app, &app.partner.group_path(), 1).await;
        // Strict: the failed event, and three behind it. Otherwise one of each object.
        wait_until("failures", async || deliveries(app, &dead_endpoint).await.len() == 2).await;
        accepting.wait_for(4).await;
        let text = metrics(app).await;
        for (endpoint, events) in [(&strict, 4.0), (&dead_endpoint, 2.0), (&healthy, 0.0)] {
            let of = |metric: &str| {
                let sid = sid_of(endpoint);
                value(&text, &format!("shortline_webhook_lag_{metric}{{endpoint_sid=\"{sid}\"}}"))
            };
            assert_eq!(of("events"), events, "{text}");
            assert_eq!(of("seconds") > 0.0, events > 0.0, "{text}");
        }
        assert!(!text.contains(sid_of(&disabled)), "{text}");
    });
}

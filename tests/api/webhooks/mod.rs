//! Webhooks: endpoints, deliveries, retries and failures.

mod deliveries;
mod endpoints;
mod failures;
mod instances;
mod lag;
mod listen;
mod meanwhile;
mod replays;
mod secrets;

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;

use crate::support::{Answer, App, ENDPOINTS, GROUPS, Received, Sink, endpoint_path};

/// Creates an endpoint of the partner that leads to the sink.
async fn endpoint_with(app: &App, sink: &Sink, members: Value) -> Value {
    let mut endpoint = json!({"url": sink.url});
    endpoint.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    app.post(ENDPOINTS, &endpoint).await.expect(200)
}

/// Creates an endpoint with every type and starts its sink.
async fn endpoint(app: &App) -> (Sink, Value) {
    let sink = Sink::start().await;
    let endpoint = endpoint_with(app, &sink, json!({})).await;
    (sink, endpoint)
}

fn sid_of(endpoint: &Value) -> &str {
    endpoint["endpoint_sid"].as_str().unwrap()
}

fn path_of(endpoint: &Value) -> String {
    endpoint_path(sid_of(endpoint))
}

/// Changes the name of an object that many times.
async fn rename(app: &App, path: &str, times: usize) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    for _ in 0..times {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        app.patch(path, &json!({"name": format!("name {number}")})).await.expect(200);
    }
}

/// Waits until another partner has got an event that is committed after everything before this. What
/// the dispatcher has for other endpoints by then is on its way.
async fn wait_for_another_partner(app: &App) {
    let sink = Sink::start().await;
    let token = app.token(app.unrelated.sid, &Scope::ALL);
    let send = async |method: Method, path: &str, body: Value| {
        let request = app.anonymous(method, path).bearer_auth(&token);
        Answer::to(request.json(&body)).await.expect(200)
    };
    send(Method::POST, ENDPOINTS, json!({"url": sink.url})).await;
    for count in 1..=2 {
        send(Method::POST, GROUPS, json!({})).await;
        sink.wait_for(count).await;
    }
}

/// The versions of an object in the order in which they were received.
fn versions(received: &[Received], sid: impl ToString) -> Vec<i64> {
    let sid = sid.to_string();
    let places = received.iter().map(Received::place);
    places.filter(|(other, _)| *other == sid).map(|(_, version)| version).collect()
}

/// Makes every retry due.
async fn make_due(app: &App) {
    let statement =
        "update event_deliveries set next_attempt_at = now() where next_attempt_at is not null";
    sqlx::query(statement).execute(&mut app.connection().await).await.unwrap();
}

/// The deliveries of the endpoint, newest first.
async fn deliveries(app: &App, endpoint: &Value) -> Vec<Value> {
    let list = app.get(&format!("{}/deliveries?limit=100", path_of(endpoint))).await.expect(200);
    list["items"].as_array().unwrap().clone()
}

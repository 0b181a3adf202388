//! Deliveries: which events an endpoint gets, and in which order.

use serde_json::json;
use shortline::auth::Scope;
use shortline::partners::Status;

use super::{
    deliveries, endpoint, endpoint_with, make_due, path_of, rename, versions,
    wait_for_another_partner,
};
use crate::support::{
    Answer, App, CODES, ENDPOINTS, GROUPS, Received, Sink, check, status, wait_until,
};

#[test]
fn an_event_is_delivered_with_the_changes_and_the_object() {
    check(async |app| {
        let (sink, _) = endpoint(app).await;
        let path = app.partner.code_path();
        let changed = app.patch(&path, &json!({"name": "after"})).await.expect(200);
        let received = sink.wait_for(1).await;
        let event = &received[0];
        let id = format!("msg_{}_2", app.partner.code_sid);
        assert_eq!(event.header("webhook-id"), id);
        assert_eq!(event.header("content-type"), "application/json");
        assert_eq!(event.name(), "short_code.updated");
        assert_eq!(event.body["id"], id);
        assert_eq!(event.body["data"]["object"], changed);
        assert_eq!(
            event.body["data"]["changes"],
            json!({"name": {"after": "after", "before": "before"}})
        );
        assert_eq!(event.body["data"]["partner_sid"], json!(app.partner.sid));
    });
}

#[test]
fn every_change_from_the_creation_of_the_endpoint_on_is_delivered() {
    check(async |app| {
        rename(app, &app.partner.code_path(), 2).await;
        let (sink, _) = endpoint(app).await;
        rename(app, &app.partner.code_path(), 30).await;
        let group = app.post(GROUPS, &json!({})).await.expect(200);
        let group = format!("{GROUPS}/{}", group["did_group_sid"].as_str().unwrap());
        app.patch(&group, &json!({"name": "x"})).await.expect(200);
        app.post(&format!("{group}/revert"), &json!({"version": 1})).await.expect(200);
        assert_eq!(app.delete(&group).await.status, 204);
        let received = sink.wait_for(34).await;
        let expected: Vec<i64> = (4..34).collect();
        assert_eq!(versions(&received, app.partner.code_sid), expected);
        let names: Vec<_> = received.iter().map(|received| received.name().to_owned()).collect();
        for name in ["created", "updated", "reverted", "deleted"] {
            let name = format!("did_group.{name}");
            assert_eq!(names.iter().filter(|other| **other == name).count(), 1, "{name}");
        }
        assert_eq!(received.len(), 34);
    });
}

#[test]
fn an_endpoint_gets_its_types_only() {
    check(async |app| {
        let sink = Sink::start().await;
        let types = json!({"types": ["did_group.updated", "partner.updated"]});
        endpoint_with(app, &sink, types).await;
        rename(app, &app.partner.code_path(), 3).await;
        app.post(GROUPS, &json!({})).await.expect(200);
        rename(app, &app.partner.group_path(), 1).await;
        let path = format!("/core/v2/partners/{}", app.partner.sid);
        rename(app, &path, 1).await;
        let received = sink.wait_for(2).await;
        let mut names: Vec<_> = received.iter().map(Received::name).collect();
        names.sort_unstable();
        assert_eq!(names, ["did_group.updated", "partner.updated"]);
        let partner =
            received.iter().find(|received| received.name() == "partner.updated").unwrap();
        assert_eq!(partner.body["data"]["object"]["suspended_by"], json!(null));
        assert!(partner.body["data"]["object"].get("requires_if_match").is_none());
    });
}

#[test]
fn events_of_descendants_need_the_member_and_the_scope_of_the_partner() {
    check(async |app| {
        let own = Sink::start().await;
        endpoint_with(app, &own, json!({})).await;
        let all = Sink::start().await;
        let token = app.token(app.partner.sid, &Scope::ALL);
        let body = json!({"url": all.url, "descendants": true});
        let request = app.anonymous(reqwest::Method::POST, ENDPOINTS);
        Answer::to(request.bearer_auth(token).json(&body)).await.expect(200);
        let change = async |name: &str| {
            let token = app.token(app.child.sid, &[Scope::PhonenumberManage]);
            let request = app.anonymous(reqwest::Method::PATCH, &app.child.code_path());
            let request = request.bearer_auth(token).json(&json!({"name": name}));
            Answer::to(request).await.expect(200);
            rename(app, &app.partner.code_path(), 1).await;
            rename(app, &app.partner.group_path(), 1).await;
        };
        change("one").await;
        own.wait_for(2).await;
        let received = all.wait_for(3).await;
        assert_eq!(versions(&received, app.child.code_sid), [2]);
        assert_eq!(versions(&own.received(), app.child.code_sid), [0_i64; 0]);
        let scopes =
            Scope::ALL.into_iter().filter(|scope| !scope.as_str().ends_with("_descendant"));
        app.update_partner(app.partner.sid, |partner| partner.available_scopes = scopes.collect())
            .await;
        let token = app.token(app.child.sid, &[Scope::PhonenumberManage]);
        let request = app.anonymous(reqwest::Method::PATCH, &app.child.code_path());
        let request = request.bearer_auth(token).json(&json!({"name": "two"}));
        Answer::to(request).await.expect(200);
        app.patch(&app.partner.code_path(), &json!({"name": "last"})).await.expect(200);
        let is_last = |received: &Received| received.body["data"]["object"]["name"] == "last";
        wait_until("the last event", async || all.received().iter().any(is_last)).await;
        assert_eq!(versions(&all.received(), app.child.code_sid), [2]);
    });
}

#[test]
fn nothing_is_delivered_to_a_suspended_partner_until_it_is_active() {
    check(async |app| {
        let (sink, _) = endpoint(app).await;
        rename(app, &app.partner.code_path(), 1).await;
        sink.wait_for(1).await;
        app.update_partner(app.partner.sid, |partner| {
            partner.set_status_as_operator(Status::Suspended);
        })
        .await;
        let change = async |sid: uuid::Uuid| {
            let change = |code: &mut shortline::short_codes::ShortCode| {
                code.string_key_1 = None;
                Ok(())
            };
            let (operator, mut db) = (shortline::auth::Actor::operator(), app.connection().await);
            shortline::store::update_within(&mut db, &operator, sid, change).await.unwrap();
        };
        change(app.partner.code_sid).await;
        wait_for_another_partner(app).await;
        assert_eq!(sink.received().len(), 1);
        app.update_partner(app.partner.sid, |partner| {
            partner.set_status_as_operator(Status::Active);
        })
        .await;
        // The events of the partner come before or after it.
        let has_third = async || versions(&sink.received(), app.partner.code_sid).contains(&3);
        wait_until("the event is delivered", has_third).await;
    });
}

#[test]
fn an_endpoint_that_is_deleted_gets_nothing_more() {
    check(async |app| {
        let (sink, endpoint) = endpoint(app).await;
        sink.respond(|_| None);
        rename(app, &app.partner.code_path(), 1).await;
        sink.wait_for(1).await;
        assert_eq!(app.delete(&path_of(&endpoint)).await.status, 204);
        rename(app, &app.partner.group_path(), 2).await;
        let other = Sink::start().await;
        endpoint_with(app, &other, json!({})).await;
        rename(app, &app.partner.code_path(), 1).await;
        other.wait_for(1).await;
        assert_eq!(sink.received().len(), 1);
    });
}

#[test]
fn a_disabled_endpoint_gets_later_what_it_has_missed() {
    check(async |app| {
        let (sink, endpoint) = endpoint(app).await;
        app.patch(&path_of(&endpoint), &json!({"enabled": false})).await.expect(200);
        rename(app, &app.partner.code_path(), 3).await;
        assert_eq!(sink.received().len(), 0);
        app.patch(&path_of(&endpoint), &json!({"enabled": true})).await.expect(200);
        let received = sink.wait_for(3).await;
        assert_eq!(versions(&received, app.partner.code_sid), [2, 3, 4]);
    });
}

/// A sink that rejects the events of one object.
fn reject(sink: &Sink, sid: uuid::Uuid) {
    sink.respond(move |received| {
        let is_rejected = received.place().0 == sid.to_string();
        Some(status(if is_rejected { 500 } else { 204 }))
    });
}

async fn change_both(app: &App) {
    for name in ["one", "two", "three"] {
        app.patch(&app.partner.code_path(), &json!({"name": name})).await.expect(200);
        app.patch(&app.partner.group_path(), &json!({"name": name})).await.expect(200);
    }
}

#[test]
fn later_events_of_the_same_object_wait_and_others_pass() {
    check(async |app| {
        let (sink, endpoint) = endpoint(app).await;
        let (code, group) = (app.partner.code_sid, app.partner.group_sid);
        reject(&sink, code);
        change_both(app).await;
        let is_complete = async || versions(&sink.received(), group) == [2, 3, 4];
        wait_until("the events of the group", is_complete).await;
        assert_eq!(versions(&sink.received(), code), [2]);
        let waiting = deliveries(app, &endpoint).await;
        assert_eq!(waiting.len(), 1);
        assert_eq!((&waiting[0]["status"], &waiting[0]["version"]), (&json!("pending"), &json!(2)));
        assert_eq!(waiting[0]["attempts"][0]["status"], 500);
        assert_eq!(waiting[0]["type"], "short_code.updated");
        sink.respond(|_| Some(status(204)));
        make_due(app).await;
        let is_complete = async || versions(&sink.received(), code) == [2, 2, 3, 4];
        wait_until("the events of the code", is_complete).await;
        wait_until("one delivery is listed", async || {
            let ended = deliveries(app, &endpoint).await;
            ended.len() == 1 && ended[0]["status"] == "delivered"
        })
        .await;
    });
}

#[test]
fn strict_order_holds_everything_behind_a_failure() {
    check(async |app| {
        let sink = Sink::start().await;
        let endpoint = endpoint_with(app, &sink, json!({"ordering": "strict"})).await;
        reject(&sink, app.partner.code_sid);
        change_both(app).await;
        wait_until("the failure", async || deliveries(app, &endpoint).await.len() == 1).await;
        wait_for_another_partner(app).await;
        assert_eq!(sink.received().len(), 1);
        sink.respond(|_| Some(status(204)));
        make_due(app).await;
        let received = sink.wait_for(7).await;
        let places: Vec<_> = received.iter().map(Received::place).collect();
        let (code, group) = (app.partner.code_sid.to_string(), app.partner.group_sid.to_string());
        let expected =
            [(&code, 2), (&code, 2), (&group, 2), (&code, 3), (&group, 3), (&code, 4), (&group, 4)];
        assert_eq!(places, expected.map(|(sid, version)| (sid.clone(), version)));
    });
}

#[test]
fn without_order_nothing_waits() {
    check(async |app| {
        let sink = Sink::start().await;
        let endpoint = endpoint_with(app, &sink, json!({"ordering": "none"})).await;
        reject(&sink, app.partner.code_sid);
        change_both(app).await;
        let received = sink.wait_for(6).await;
        let mut versions = versions(&received, app.partner.code_sid);
        versions.sort_unstable();
        assert_eq!(versions, [2, 3, 4]);
        wait_until("three rows", async || deliveries(app, &endpoint).await.len() == 3).await;
    });
}

#[test]
fn a_dead_endpoint_costs_one_row_for_each_object_and_delays_no_other() {
    check(async |app| {
        let numbers = (40_000..40_010).map(|number| json!({"short_code": number.to_string()}));
        app.partner.add_codes(app, &numbers.collect::<Vec<_>>()).await;
        let (dead, dead_endpoint) = endpoint(app).await;
        dead.respond(|_| Some(status(503)));
        let (healthy, _) = endpoint(app).await;
        let codes = app.get(&format!("{CODES}?filter=short_code+ge+'40000'&limit=10")).await;
        let codes = codes.expect(200)["items"].as_array().unwrap().clone();
        assert_eq!(codes.len(), 10);
        for round in 0..20 {
            for code in &codes {
                let path = format!("{CODES}/{}", code["short_code_sid"].as_str().unwrap());
                app.patch(&path, &json!({"name": format!("{round}")})).await.expect(200);
            }
        }
        healthy.wait_for(200).await;
        let cursors = "select count(distinct (cursor_epoch, cursor_sid, cursor_version))
                       from event_endpoints where enabled";
        let mut connection = app.connection().await;
        wait_until("the dead endpoint has passed everything", async || {
            let count: i64 = sqlx::query_scalar(cursors).fetch_one(&mut connection).await.unwrap();
            count == 1
        })
        .await;
        assert!(deliveries(app, &dead_endpoint).await.len() <= 10);
    });
}

#[test]
fn a_delivery_has_the_trace_of_the_request_that_caused_it() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    check(async |app| {
        let (sink, _) = endpoint(app).await;
        sink.respond_in_turn(&[500]);
        let patch = async |name: &str, traces: &[&str]| {
            let headers: Vec<_> = traces.iter().map(|trace| ("traceparent", *trace)).collect();
            let body = format!(r#"{{"name": "{name}"}}"#);
            let json = ("content-type", "application/json");
            let headers = [&[json][..], &headers].concat();
            app.patch_text(&app.partner.code_path(), body, &headers).await.expect(200);
        };
        patch("traced", &[TRACE]).await;
        sink.wait_for(1).await;
        patch("untraced", &[]).await;
        patch("invalid", &["00-0-0-0"]).await;
        patch("two", &[TRACE, TRACE]).await;
        patch("later", &[&TRACE.replace("00-4", "fe-4")]).await;
        make_due(app).await;
        let received = sink.wait_for(6).await;
        let traces: Vec<_> = received.iter().map(|received| received.find("traceparent")).collect();
        // The retry has it too.
        assert_eq!(traces, [Some(TRACE), Some(TRACE), None, None, None, Some(TRACE)]);
        let history = app.get(&format!("{}/history", app.partner.code_path())).await.text;
        assert!(!history.contains("traceparent"), "{history}");
    });
}

//! What a page contains.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;

use super::{EVENTS, after, cursor, message, now, settle, types};
use crate::support::{Answer, App, CODES, check, code_path};

async fn with_scopes(app: &App, path: &str, scopes: &[Scope]) -> Answer {
    let token = app.token(app.partner.sid, scopes);
    Answer::to(app.anonymous(Method::GET, path).bearer_auth(token)).await
}

#[test]
fn every_change_is_an_event_in_its_order() {
    check(async |app| {
        let start = now(app).await;
        let path = app.partner.code_path();
        let name = |name| json!({"name": name});
        app.patch(&path, &name("one")).await.expect(200);
        app.patch(&path, &name("two")).await.expect(200);
        app.post(&format!("{path}/revert"), &json!({"version": 2})).await.expect(200);
        assert_eq!(app.delete(&path).await.status, 204);
        app.post(&format!("{path}/revert"), &json!({"version": 1})).await.expect(200);
        let page = after(app, &start).await;
        let expected = ["updated", "updated", "reverted", "deleted", "reverted"]
            .map(|happened| format!("short_code.{happened}"));
        assert_eq!(types(&page), expected);
        assert_eq!(page["has_more"], json!(false));
        let (sid, partner_sid) = (app.partner.code_sid, app.partner.sid);
        for (version, event) in (2..).zip(page["items"].as_array().unwrap()) {
            assert_eq!(event["id"], json!(format!("msg_{sid}_{version}")));
            let data = &event["data"];
            assert_eq!(data["sid"], json!(sid));
            assert_eq!(data["partner_sid"], json!(partner_sid));
            assert_eq!(data["version"], json!(version));
        }
        let first = &page["items"][0];
        assert_eq!(first["data"]["changes"], json!({"name": {"after": "one", "before": "before"}}));
        let history = app.get(&format!("{path}/history")).await.expect(200);
        assert_eq!(first["timestamp"], history["items"][1]["date"]);
        let at = format!("{path}?at={}", first["timestamp"].as_str().unwrap());
        assert_eq!(first["data"]["object"], app.get(&at).await.expect(200));
        // Each event has a cursor of its own, and the page one behind all of them.
        let rest = after(app, page["items"][2]["cursor"].as_str().unwrap()).await;
        assert_eq!(types(&rest), expected[3..]);
        let none = after(app, &cursor(&page)).await;
        assert_eq!((types(&none), &none["has_more"]), (vec![], &json!(false)));
    });
}

#[test]
fn a_write_that_changes_nothing_or_fails_is_no_event() {
    check(async |app| {
        let start = now(app).await;
        let path = app.partner.code_path();
        app.patch(&path, &json!({"name": "before"})).await.expect(200);
        app.patch(&format!("{path}?validate_only=true"), &json!({"name": "x"})).await.expect(200);
        app.patch(&path, &json!({"callback_url": "ftp://x"})).await.expect(422);
        let in_use = app.delete(&app.partner.group_path()).await;
        assert_eq!(in_use.status, 409);
        assert_eq!(types(&after(app, &start).await), Vec::<String>::new());
    });
}

#[test]
fn pages_end_at_their_limit_and_miss_nothing() {
    check(async |app| {
        let mut place = now(app).await;
        for number in 0..7 {
            let name = json!({"name": format!("name {number}")});
            app.patch(&app.partner.code_path(), &name).await.expect(200);
        }
        settle(app).await;
        let (mut versions, mut has_more) = (Vec::new(), Vec::new());
        loop {
            let page = app.get(&format!("{EVENTS}?limit=3&after={place}")).await.expect(200);
            place = cursor(&page);
            has_more.push(page["has_more"].as_bool().unwrap());
            let items = page["items"].as_array().unwrap();
            versions.extend(items.iter().map(|event| event["data"]["version"].as_i64().unwrap()));
            if page["has_more"] == json!(false) {
                break;
            }
        }
        assert_eq!(versions, [2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(has_more, [true, true, false]);
    });
}

#[test]
fn large_events_make_short_pages() {
    check(async |app| {
        let start = now(app).await;
        for number in 0..30 {
            let large = json!({"attributes": {"text": format!("{number:060000}")}});
            app.patch(&app.partner.code_path(), &large).await.expect(200);
        }
        let page = after(app, &start).await;
        let count = page["items"].as_array().unwrap().len();
        assert!((1..30).contains(&count), "{count}");
        assert_eq!(page["has_more"], json!(true));
        let rest = after(app, &cursor(&page)).await;
        assert_eq!(rest["items"][0]["data"]["version"], json!(count + 2));
    });
}

#[test]
fn types_select_events() {
    check(async |app| {
        let asked = [
            ("short_code.deleted", vec!["short_code.deleted"]),
            (
                "did_group.updated,short_code.updated",
                vec!["short_code.updated", "did_group.updated"],
            ),
            ("did.created", vec![]),
        ];
        settle(app).await;
        let mut starts = Vec::new();
        for (names, _) in &asked {
            let page = app.get(&format!("{EVENTS}?types={names}")).await.expect(200);
            starts.push(cursor(&page));
        }
        app.patch(&app.partner.code_path(), &json!({"name": "new"})).await.expect(200);
        app.patch(&app.partner.group_path(), &json!({"name": "new"})).await.expect(200);
        assert_eq!(app.delete(&app.partner.code_path()).await.status, 204);
        settle(app).await;
        for ((names, expected), start) in asked.iter().zip(starts) {
            let page = app.get(&format!("{EVENTS}?types={names}&after={start}")).await.expect(200);
            assert_eq!(types(&page), *expected);
        }
        let unknown = app.get(&format!("{EVENTS}?types=short_code.changed")).await;
        let message = message(&unknown, 400, "bad request");
        assert!(message.contains("did you mean `short_code.created`"), "{message}");
    });
}

#[test]
fn events_need_the_scope_of_their_objects() {
    check(async |app| {
        use Scope::{EventsRead, PartnersRead, PhonenumberRead, PhonenumberReadDescendant};
        let forbidden = with_scopes(app, EVENTS, &[PhonenumberRead, PartnersRead]).await;
        assert_eq!(forbidden.status, 403);
        let forbidden = with_scopes(app, EVENTS, &[EventsRead]).await;
        assert!(message(&forbidden, 403, "forbidden").contains("phonenumber.read"));
        let asked = format!("{EVENTS}?types=partner.updated,did.created");
        let forbidden = with_scopes(app, &asked, &[EventsRead, PhonenumberRead]).await;
        assert!(message(&forbidden, 403, "forbidden").contains("partners.read"));

        let readers: [(&[Scope], &[&str]); 4] = [
            (&[EventsRead, PhonenumberRead], &["partner code"]),
            (&[EventsRead, PartnersRead], &["child"]),
            (&[EventsRead, PartnersRead, PhonenumberRead], &["partner code", "child"]),
            (
                &[EventsRead, PhonenumberRead, PhonenumberReadDescendant],
                &["partner code", "child code"],
            ),
        ];
        settle(app).await;
        let mut starts = Vec::new();
        for (scopes, _) in readers {
            starts.push(cursor(&with_scopes(app, EVENTS, scopes).await.expect(200)));
        }
        let named = json!({"name": "new"});
        app.patch(&app.partner.code_path(), &named).await.expect(200);
        for tenant in [&app.child, &app.unrelated] {
            let token = app.token(tenant.sid, &Scope::ALL);
            let patch = app.anonymous(Method::PATCH, &tenant.code_path()).bearer_auth(token);
            Answer::to(patch.json(&named)).await.expect(200);
            app.update_partner(tenant.sid, |partner| partner.requires_if_match = true).await;
        }
        settle(app).await;
        let names = BTreeMap::from([
            (app.partner.code_sid.to_string(), "partner code"),
            (app.child.code_sid.to_string(), "child code"),
            (app.child.sid.to_string(), "child"),
        ]);
        for ((scopes, expected), start) in readers.into_iter().zip(starts) {
            let page = with_scopes(app, &format!("{EVENTS}?after={start}"), scopes).await;
            let page = page.expect(200);
            let got: Vec<_> = page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| names[event["data"]["sid"].as_str().unwrap()])
                .collect();
            assert_eq!(got, expected, "{scopes:?}");
            for event in page["items"].as_array().unwrap() {
                // What the API does not show is in no event.
                let text = event.to_string();
                for hidden in ["requires_if_match", "subtree_sid", "suspended_by"] {
                    assert!(!text.contains(hidden), "{text}");
                }
            }
        }
    });
}

#[test]
fn a_snapshot_and_the_events_after_it_are_all_objects() {
    check(async |app| {
        let codes: Vec<Value> =
            (20_000..20_025).map(|number| json!({"short_code": number.to_string()})).collect();
        app.partner.add_codes(app, &codes).await;
        let mut objects = BTreeMap::new();
        let mut place = String::from("snapshot=true");
        let mut pages = 0;
        loop {
            let page = app.get(&format!("{EVENTS}?limit=10&{place}")).await.expect(200);
            for event in page["items"].as_array().unwrap() {
                let data = &event["data"];
                if event["type"].as_str().unwrap().ends_with(".deleted") {
                    objects.remove(data["sid"].as_str().unwrap());
                } else {
                    objects
                        .insert(data["sid"].as_str().unwrap().to_owned(), data["object"].clone());
                }
            }
            place = format!("after={}", cursor(&page));
            pages += 1;
            if pages == 2 {
                // Meanwhile: an object that was read, one that was not, a new one, a deleted one.
                app.patch(&app.partner.did_path(), &json!({"name": "new"})).await.expect(200);
                let sids = app.get(&format!("{CODES}?limit=100")).await.expect(200);
                let sid =
                    |at: usize| code_path(sids["items"][at]["short_code_sid"].as_str().unwrap());
                app.patch(&sid(25), &json!({"name": "new"})).await.expect(200);
                assert_eq!(app.delete(&sid(3)).await.status, 204);
                let new = json!({"partner_sid": app.partner.sid, "short_code": "30000"});
                app.post(CODES, &new).await.expect(200);
            }
            if page["has_more"] == json!(false) {
                break;
            }
            settle(app).await;
        }
        let listed = app.get(&format!("{CODES}?limit=100")).await.expect(200);
        for code in listed["items"].as_array().unwrap() {
            let sid = code["short_code_sid"].as_str().unwrap();
            assert_eq!(objects.remove(sid).as_ref(), Some(code));
        }
        let did = app.get(&app.partner.did_path()).await.expect(200);
        assert_eq!(objects.remove(&app.partner.did_sid.to_string()), Some(did));
        let group = app.get(&app.partner.group_path()).await.expect(200);
        assert_eq!(objects.remove(&app.partner.group_sid.to_string()), Some(group));
        let mut partners: Vec<_> = objects.keys().cloned().collect();
        partners.sort();
        assert_eq!(partners, [app.partner.sid.to_string(), app.child.sid.to_string()]);
    });
}

#[test]
fn a_large_tree_misses_nothing_between_the_events_of_others() {
    check(async |app| {
        let start = now(app).await;
        let unrelated = app.token(app.unrelated.sid, &Scope::ALL);
        let mut expected = Vec::new();
        for number in 0..36 {
            let child = app.post("/core/v2/partners", &json!({})).await.expect(200);
            expected.push(child["partner_sid"].clone());
            // Between two events of the tree there are up to 30 of others.
            for other in 0..(number % 4) * 10 {
                let name = json!({"name": format!("{number} {other}")});
                let patch = app.anonymous(Method::PATCH, &app.unrelated.code_path()).json(&name);
                Answer::to(patch.bearer_auth(&unrelated)).await.expect(200);
            }
        }
        settle(app).await;
        for limit in [1, 5, 1_000] {
            let (mut place, mut read) = (start.clone(), Vec::new());
            loop {
                let page =
                    app.get(&format!("{EVENTS}?limit={limit}&after={place}")).await.expect(200);
                let items = page["items"].as_array().unwrap();
                assert!(items.len() <= limit);
                read.extend(items.iter().map(|event| event["data"]["sid"].clone()));
                place = cursor(&page);
                if page["has_more"] == json!(false) {
                    break;
                }
            }
            assert_eq!(read, expected, "{limit}");
        }
    });
}

//! Lists of deleted objects.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use uuid::Uuid;

use super::{numbers, numbers_of, rejected};
use crate::support::{
    Answer, App, CODES, DIDS, GROUPS, check, check_with, code_path, did_path, group_path,
};

const DELETED: (&str, &str) = ("deleted", "true");

/// Adds three short codes of the partner and deletes them, the one with the smallest number first.
/// Returns their sids.
async fn delete_codes(app: &App) -> Vec<String> {
    let codes = ["20001", "20002", "20003"].map(|number| json!({"short_code": number}));
    app.partner.add_codes(app, &codes).await;
    let list = app.get(&format!("{CODES}?filter=short_code ge 2")).await.expect(200);
    let sid = |item: &Value| item["short_code_sid"].as_str().unwrap().to_owned();
    let sids: Vec<_> = list["items"].as_array().unwrap().iter().map(sid).collect();
    for sid in &sids {
        delete(app, sid).await;
    }
    sids
}

async fn delete(app: &App, sid: &str) {
    assert_eq!(app.delete(&code_path(sid)).await.status, 204);
}

async fn restore(app: &App, sid: &str) {
    app.post(&format!("{}/revert", code_path(sid)), &json!({"version": 1})).await.expect(200);
}

async fn get_as(app: &App, partner_sid: Uuid, scopes: &[Scope], path: &str) -> Answer {
    let request = app.anonymous(Method::GET, path).bearer_auth(app.token(partner_sid, scopes));
    Answer::to(request).await
}

#[test]
fn deleted_objects_are_listed_as_they_were_last() {
    check(async |app| {
        for (list, path) in [
            (CODES, app.partner.code_path()),
            (DIDS, app.partner.did_path()),
            (GROUPS, app.partner.group_path()),
        ] {
            let deleted = format!("{list}?deleted=true");
            let page = app.get(&deleted).await.expect(200);
            assert_eq!((&page["items"], &page["total"]), (&json!([]), &json!(0)), "{list}");
            let last = app.patch(&path, &json!({"name": "last"})).await.expect(200);
            assert_eq!(app.delete(&path).await.status, 204, "{path}");
            let page = app.get(&deleted).await.expect(200);
            let expected = json!({
                "count": 1, "has_more": false, "items": [last], "limit": 10, "offset": 0,
                "pagination": {}, "total": 1
            });
            assert_eq!(page, expected, "{list}");
            let page = app.get(&format!("{list}?deleted=false")).await.expect(200);
            assert_eq!(page["total"], 0, "{list}");
        }
    });
}

#[test]
fn the_newest_deletion_is_first_and_pages_continue_at_a_row() {
    check(async |app| {
        let sids = delete_codes(app).await;
        assert_eq!(numbers(app, &[DELETED]).await, ["20003", "20002", "20001"]);
        let page = app.get(&format!("{CODES}?deleted=true&limit=1&total=false")).await.expect(200);
        assert_eq!(numbers_of(&page), ["20003"]);
        assert_eq!((&page["has_more"], &page["total"]), (&json!(true), &Value::Null));
        let next = page["pagination"]["next"].as_str().unwrap();
        assert!(next.ends_with("?deleted=true&limit=1&total=false&offset=1"), "{next}");
        assert_eq!(numbers(app, &[DELETED, ("offset", "2")]).await, ["20001"]);

        let page = app.get(&format!("{CODES}?deleted=true&limit=1&after={}", sids[2])).await;
        let page = page.expect(200);
        assert_eq!(numbers_of(&page), ["20002"]);
        assert_eq!((&page["has_more"], &page["total"]), (&json!(true), &json!(3)));
        let links = &page["pagination"];
        for (link, number) in [("next", "20001"), ("previous", "20003")] {
            let link = links[link].as_str().unwrap();
            let request = app.request_to(Method::GET, link).bearer_auth(&app.token);
            assert_eq!(numbers_of(&Answer::to(request).await.expect(200)), [number], "{link}");
        }
        let before = app.get(&format!("{CODES}?deleted=true&before={}", sids[0])).await.expect(200);
        assert_eq!(numbers_of(&before), ["20003", "20002"]);
        assert_eq!(before["pagination"]["previous"], Value::Null);
        assert_eq!(before["has_more"], true);
        assert_eq!(numbers(app, &[DELETED, ("after", &sids[0])]).await, [""; 0]);
    });
}

#[test]
fn a_restored_object_leaves_the_list_and_returns_when_it_is_deleted_again() {
    check(async |app| {
        let sids = delete_codes(app).await;
        restore(app, &sids[1]).await;
        assert_eq!(numbers(app, &[DELETED]).await, ["20003", "20001"]);
        // A page can still start where it stood.
        assert_eq!(numbers(app, &[DELETED, ("after", &sids[1])]).await, ["20001"]);
        app.patch(&code_path(&sids[1]), &json!({"name": "again"})).await.expect(200);
        delete(app, &sids[1]).await;
        let page = app.get(&format!("{CODES}?deleted=true")).await.expect(200);
        assert_eq!(numbers_of(&page), ["20002", "20003", "20001"]);
        assert_eq!((&page["total"], &page["items"][0]["name"]), (&json!(3), &json!("again")));
        assert_eq!(numbers(app, &[DELETED, ("after", &sids[1])]).await, ["20003", "20001"]);
    });
}

#[test]
fn deleted_objects_are_visible_to_the_tokens_that_could_read_them() {
    check(async |app| {
        let sids = delete_codes(app).await;
        let child = app.token(app.child.sid, &[Scope::AdminDelete]);
        let gone = app.anonymous(Method::DELETE, &app.child.code_path()).bearer_auth(child);
        assert_eq!(Answer::to(gone).await.status, 204);
        let read = [Scope::PhonenumberRead];
        let tree = [Scope::PhonenumberRead, Scope::PhonenumberReadDescendant];
        let path = format!("{CODES}?deleted=true");
        for (partner_sid, scopes, expected) in [
            (app.partner.sid, &read[..], &["20003", "20002", "20001"][..]),
            (app.partner.sid, &tree, &["10002", "20003", "20002", "20001"]),
            (app.child.sid, &tree, &["10002"]),
            (app.unrelated.sid, &tree, &[]),
        ] {
            let page = get_as(app, partner_sid, scopes, &path).await.expect(200);
            assert_eq!(numbers_of(&page), expected);
            assert_eq!(page["total"], expected.len());
        }
        let page = get_as(app, app.partner.sid, &tree, &format!("{path}&limit=2&offset=1")).await;
        assert_eq!(numbers_of(&page.expect(200)), ["20003", "20002"]);
        // The sid of a foreign object is rejected like a random one.
        let after = async |partner_sid, scopes: &[Scope], sid: &str| {
            let answer = get_as(app, partner_sid, scopes, &format!("{path}&after={sid}")).await;
            assert_eq!(answer.status, 400);
            answer.text
        };
        let random = after(app.unrelated.sid, &tree, &Uuid::new_v4().to_string()).await;
        assert_eq!(after(app.unrelated.sid, &tree, &sids[0]).await, random);
        let foreign = app.child.code_sid.to_string();
        assert_eq!(after(app.partner.sid, &read, &foreign).await, random);
        get_as(app, app.partner.sid, &[Scope::PartnersRead], &path)
            .await
            .expect_error(403, "forbidden");
    });
}

#[test]
fn the_last_renter_of_a_number_sees_its_own_rental_only() {
    check_with(&["--did-aging-days", "0"], async |app| {
        let (path, number) = (app.partner.did_path(), app.partner.rented);
        app.patch(&path, &json!({"name": "of the partner"})).await.expect(200);
        assert_eq!(app.delete(&path).await.status, 204);
        let manage = [Scope::PhonenumberManage];
        let rent = app.anonymous(Method::POST, DIDS).json(&json!({"phonenumber": number}));
        let rent = rent.bearer_auth(app.token(app.child.sid, &manage));
        let new = Answer::to(rent).await.expect(200);
        let deleted = format!("{DIDS}?deleted=true");
        let of_partner = app.get(&deleted).await.expect(200);
        assert_eq!(of_partner["total"], 1);
        assert_eq!(of_partner["items"][0]["did_sid"], json!(app.partner.did_sid));
        assert_eq!(of_partner["items"][0]["name"], "of the partner");
        assert_eq!(get_as(app, app.child.sid, &manage, &deleted).await.expect(200)["total"], 0);
        let release = app.anonymous(Method::DELETE, &did_path(new["did_sid"].as_str().unwrap()));
        let release = release.bearer_auth(app.token(app.child.sid, &manage));
        assert_eq!(Answer::to(release).await.status, 204);
        let of_child = get_as(app, app.child.sid, &manage, &deleted).await.expect(200);
        assert_eq!(of_child["items"], json!([new]));
        assert_eq!(app.get(&deleted).await.expect(200), of_partner);
    });
}

#[test]
fn members_of_deleted_objects_are_selected_as_of_others() {
    check(async |app| {
        assert_eq!(app.delete(&app.partner.code_path()).await.status, 204);
        let path = format!("{CODES}?deleted=true&include_fields=short_code,attributes.n");
        let page = app.get(&path).await.expect(200);
        assert_eq!(page["items"], json!([{"attributes": {"n": 5}, "short_code": "10001"}]));
        let path = format!("{CODES}?deleted=true&with_related=true&exclude_fields=attributes");
        let item = app.get(&path).await.expect(200)["items"][0].clone();
        assert_eq!(item["partner"]["partner_sid"], json!(app.partner.sid));
        assert_eq!((&item["attributes"], &item["state"]), (&Value::Null, &json!("IL")));
    });
}

#[test]
fn arguments_that_a_list_of_deleted_objects_lacks_are_rejected() {
    check(async |app| {
        let sid = app.partner.code_sid.to_string();
        for (argument, field) in [
            (("filter", "short_code eq 10001"), "filter"),
            (("order", "name"), "order"),
            (("order", "shuffle"), "order"),
            (("after", "x"), "after"),
            // It exists.
            (("before", &*sid), "before"),
        ] {
            assert_eq!(rejected(app, &[DELETED, argument]).await.0, field, "{argument:?}");
        }
        assert_eq!(rejected(app, &[("deleted", "yes")]).await.0, "deleted");
        let trunk = format!("{DIDS}?deleted=true&trunk_group_sid={sid}");
        assert_eq!(app.get(&trunk).await.expect_error(400, "bad request"), ["trunk_group_sid"]);
        for list in ["partners", "oauth/tokens", "events/endpoints", "phonenumber/available_dids"] {
            let answer = app.get(&format!("/core/v2/{list}?deleted=true")).await;
            assert_eq!(answer.expect_error(400, "bad request"), ["deleted"], "{list}");
            app.get(&format!("/core/v2/{list}?deleted=false")).await.expect(200);
        }
        let group = app.post(GROUPS, &json!({})).await.expect(200);
        let path = group_path(group["did_group_sid"].as_str().unwrap());
        assert_eq!(app.delete(&format!("{path}?validate_only=true")).await.status, 204);
        let page = app.get(&format!("{GROUPS}?deleted=true")).await.expect(200);
        assert_eq!(page["total"], 0);
    });
}

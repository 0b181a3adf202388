//! One tenant never sees another's rows: what a token does not reach does not exist for it.

use reqwest::Method;
use serde_json::json;
use shortline::auth::Scope;
use uuid::Uuid;

use crate::helpers::{Answer, check, code_path, group_path};

#[test]
fn a_strangers_row_answers_as_a_random_sid_does() {
    check(async |app| {
        for path in [code_path, group_path] {
            let random = path(Uuid::new_v4());
            for stranger in [
                app.stranger.code.short_code_sid,
                app.stranger.group.did_group_sid,
                app.child.code.short_code_sid,
                app.child.group.did_group_sid,
            ] {
                assert_eq!(app.get(&path(stranger)).await.text, app.get(&random).await.text);
                let patch = app.patch(&path(stranger), &json!({"name": "mine"})).await;
                assert_eq!(patch.text, app.patch(&random, &json!({"name": "mine"})).await.text);
                assert_eq!(patch.expect_error(404, "no item error"), [""]);
            }
        }
        assert_eq!(app.version(app.stranger.code.short_code_sid).await, 1);
    });
}

#[test]
fn a_malformed_sid_is_404_before_anything_about_arguments_and_body() {
    check(async |app| {
        let simple = app.partner.code.short_code_sid.simple().to_string();
        for sid in ["x", &simple, "%00", "531f65b7-dff7-42b4-b638-597f91da9ccg", "..%2f"] {
            let path = format!("{}?nested_objects=x", code_path(sid));
            let answer = app.patch_text(&path, "no json", &[]).await;
            assert_eq!(answer.expect_error(404, "no item error"), [""]);
        }
        let upper = app.partner.code.short_code_sid.to_string().to_uppercase();
        app.get(&code_path(upper)).await.expect(200);
    });
}

#[test]
fn the_group_must_be_of_the_same_owner() {
    check(async |app| {
        let path = app.partner.code_path();
        for foreign in
            [app.stranger.group.did_group_sid, app.child.group.did_group_sid, Uuid::new_v4()]
        {
            let answer =
                app.patch(&path, &json!({"did_group_sid": foreign, "name": "other"})).await;
            assert_eq!(answer.expect_error(422, "object validation error"), ["did_group_sid"]);
        }
        assert_eq!(app.version(app.partner.code.short_code_sid).await, 1);
        // Not even for a token that reaches both.
        let scopes = [Scope::PhonenumberManage, Scope::PhonenumberManageDescendant];
        let wide = app.token(app.partner.sid, &scopes);
        let body = json!({"did_group_sid": app.partner.group.did_group_sid});
        let request =
            app.anonymous(Method::PATCH, &app.child.code_path()).bearer_auth(wide).json(&body);
        Answer::to(request).await.expect_error(422, "object validation error");
    });
}

#[test]
fn descendants_are_reached_with_the_scope_for_it_only() {
    check(async |app| {
        use Scope::{PhonenumberManage, PhonenumberManageDescendant, PhonenumberReadDescendant};
        for (scopes, reads, writes) in [
            (vec![PhonenumberManage], 404, 404),
            (vec![PhonenumberManage, PhonenumberReadDescendant], 200, 404),
            (vec![PhonenumberManage, PhonenumberManageDescendant], 200, 200),
            // The reach alone is no right.
            (vec![PhonenumberManageDescendant], 403, 403),
        ] {
            let token = app.token(app.partner.sid, &scopes);
            for path in [app.child.code_path(), app.child.group_path()] {
                let read = app.anonymous(Method::GET, &path).bearer_auth(&token);
                assert_eq!(Answer::to(read).await.status, reads, "{scopes:?}");
                let write = app
                    .anonymous(Method::PATCH, &path)
                    .bearer_auth(&token)
                    .json(&json!({"name": "ours"}));
                assert_eq!(Answer::to(write).await.status, writes, "{scopes:?}");
            }
            // Neither up the tree nor across.
            let child = app.token(app.child.sid, &scopes);
            for path in [app.partner.code_path(), app.stranger.code_path()] {
                let read = app.anonymous(Method::GET, &path).bearer_auth(&child);
                assert!([403, 404].contains(&Answer::to(read).await.status));
            }
        }
    });
}

//! One tenant never sees another's rows: what a token does not reach does not exist for it.

use reqwest::Method;
use serde_json::json;
use shortline::auth::Scope;
use uuid::Uuid;

use crate::support::{Answer, check, code_path, group_path};

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

const CODES: &str = "/core/v2/phonenumber/short_codes";

const GROUPS: &str = "/core/v2/phonenumber/did_groups";

#[test]
fn api1_a_sid_of_others_is_answered_as_one_of_nobody() {
    check(async |app| {
        let nobody = Uuid::new_v4();
        let of_others = [&app.stranger, &app.child];
        // What an answer says of a sid, with the sid left out.
        let told = |answer: Answer, sid: Uuid| {
            (answer.status, answer.text.replace(&sid.to_string(), "SID"))
        };
        let put = async |group: Uuid| {
            let mut whole = app.get(&app.partner.code_path()).await.expect(200);
            whole["did_group_sid"] = json!(group);
            app.put(&app.partner.code_path(), &whole).await
        };
        let post = async |group: Uuid| {
            let code = json!({"partner_sid": app.partner.sid, "short_code": "778", "did_group_sid": group});
            app.post(CODES, &code).await
        };
        let refused = (put(nobody).await.status, post(nobody).await.status);
        assert_eq!(refused, (422, 422));
        for other in of_others {
            let group = other.group.did_group_sid;
            assert_eq!(told(put(group).await, group), told(put(nobody).await, nobody));
            assert_eq!(told(post(group).await, group), told(post(nobody).await, nobody));
            let foreign_owner = json!({"partner_sid": app.stranger.sid, "short_code": "779"});
            app.post(CODES, &foreign_owner).await.expect_error(422, "object validation error");
            for (list, sid) in [(CODES, other.code.short_code_sid), (GROUPS, group)] {
                for argument in ["after", "before"] {
                    let from = async |sid| app.get(&format!("{list}?{argument}={sid}")).await;
                    assert_eq!(from(nobody).await.status, 400);
                    assert_eq!(told(from(sid).await, sid), told(from(nobody).await, nobody));
                }
                let filter =
                    async |sid| app.get(&format!("{list}?filter=partner_sid+eq+{sid}")).await;
                assert_eq!(
                    told(filter(other.sid).await, other.sid),
                    told(filter(nobody).await, nobody)
                );
            }
            for path in [other.code_path(), other.group_path()] {
                let head = Answer::to(app.request(Method::HEAD, &path)).await;
                assert_eq!((head.status, &*head.text), (404, ""));
            }
        }
        assert_eq!(app.version(app.partner.code.short_code_sid).await, 1);
    });
}

#[test]
fn api1_what_is_related_is_within_reach() {
    check(async |app| {
        for path in [CODES, GROUPS, &app.partner.code_path(), &app.partner.group_path()] {
            let text = app.get(&format!("{path}?with_related=true")).await.text;
            assert!(text.contains(r#""partner":{"#), "{text}");
            for other in [&app.stranger, &app.child] {
                assert!(!text.contains(&other.sid.to_string()), "{text}");
            }
        }
        // A child is not told of its parent.
        let token = app.token(app.child.sid, &[Scope::PhonenumberManage]);
        let request =
            app.anonymous(Method::GET, &format!("{}?with_related=true", app.child.code_path()));
        let shown = Answer::to(request.bearer_auth(token)).await.expect(200);
        assert_eq!(shown["partner"]["partner_sid"], json!(app.child.sid));
        let members = shown["partner"].as_object().unwrap();
        assert!(
            !members.keys().any(|name| name.contains("secret") || name.contains("hash")),
            "{shown}"
        );
    });
}

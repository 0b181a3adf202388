//! Tenancy: an object that a token cannot see is treated as absent.

use reqwest::Method;
use serde_json::json;
use shortline::auth::Scope;
use uuid::Uuid;

use crate::support::{Answer, CODES, GROUPS, check, code_path, group_path};

#[test]
fn an_invisible_object_looks_like_an_unknown_sid() {
    check(async |app| {
        for path in [code_path, group_path] {
            let random = path(Uuid::new_v4());
            for invisible in [
                app.unrelated.code_sid,
                app.unrelated.group_sid,
                app.child.code_sid,
                app.child.group_sid,
            ] {
                assert_eq!(app.get(&path(invisible)).await.text, app.get(&random).await.text);
                let patch = app.patch(&path(invisible), &json!({"name": "mine"})).await;
                assert_eq!(patch.text, app.patch(&random, &json!({"name": "mine"})).await.text);
                assert_eq!(patch.expect_error(404, "no item error"), [""]);
            }
        }
        assert_eq!(app.version(app.unrelated.code_sid).await, 1);
    });
}

#[test]
fn a_malformed_sid_is_404_before_query_and_body_are_checked() {
    check(async |app| {
        let simple = app.partner.code_sid.simple().to_string();
        for sid in ["x", &simple, "%00", "531f65b7-dff7-42b4-b638-597f91da9ccg", "..%2f"] {
            let path = format!("{}?nested_objects=x", code_path(sid));
            let answer = app.patch_text(&path, "no json", &[]).await;
            assert_eq!(answer.expect_error(404, "no item error"), [""]);
        }
        let upper = app.partner.code_sid.to_string().to_uppercase();
        app.get(&code_path(upper)).await.expect(200);
    });
}

#[test]
fn the_group_must_belong_to_the_same_partner() {
    check(async |app| {
        let path = app.partner.code_path();
        for foreign in [app.unrelated.group_sid, app.child.group_sid, Uuid::new_v4()] {
            let answer =
                app.patch(&path, &json!({"did_group_sid": foreign, "name": "other"})).await;
            assert_eq!(answer.expect_error(422, "object validation error"), ["did_group_sid"]);
        }
        assert_eq!(app.version(app.partner.code_sid).await, 1);
        // The rule holds even for a token that can see both.
        let scopes = [Scope::PhonenumberManage, Scope::PhonenumberManageDescendant];
        let wide = app.token(app.partner.sid, &scopes);
        let body = json!({"did_group_sid": app.partner.group_sid});
        let request =
            app.anonymous(Method::PATCH, &app.child.code_path()).bearer_auth(wide).json(&body);
        Answer::to(request).await.expect_error(422, "object validation error");
    });
}

#[test]
fn descendants_are_visible_only_with_a_descendant_scope() {
    check(async |app| {
        use Scope::{PhonenumberManage, PhonenumberManageDescendant, PhonenumberReadDescendant};
        for (scopes, reads, writes) in [
            (vec![PhonenumberManage], 404, 404),
            (vec![PhonenumberManage, PhonenumberReadDescendant], 200, 404),
            (vec![PhonenumberManage, PhonenumberManageDescendant], 200, 200),
            // A descendant scope alone grants no access.
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
            // Visibility extends neither to ancestors nor to siblings.
            let child = app.token(app.child.sid, &scopes);
            for path in [app.partner.code_path(), app.unrelated.code_path()] {
                let read = app.anonymous(Method::GET, &path).bearer_auth(&child);
                assert!([403, 404].contains(&Answer::to(read).await.status));
            }
        }
    });
}

#[test]
fn references_to_invisible_objects_look_like_unknown_sids() {
    check(async |app| {
        let unknown = Uuid::new_v4();
        let of_others = [&app.unrelated, &app.child];
        // The status and body of a response with the sid replaced.
        let without_sid = |answer: Answer, sid: Uuid| {
            (answer.status, answer.text.replace(&sid.to_string(), "SID"))
        };
        let put = async |group: Uuid| {
            let mut whole = app.get(&app.partner.code_path()).await.expect(200);
            whole["did_group_sid"] = json!(group);
            app.put(&app.partner.code_path(), &whole).await
        };
        let post = async |group: Uuid| {
            let owner = app.partner.sid;
            let code = json!({"partner_sid": owner, "short_code": "778", "did_group_sid": group});
            app.post(CODES, &code).await
        };
        let rejected = (put(unknown).await.status, post(unknown).await.status);
        assert_eq!(rejected, (422, 422));
        for other in of_others {
            let group = other.group_sid;
            assert_eq!(
                without_sid(put(group).await, group),
                without_sid(put(unknown).await, unknown)
            );
            assert_eq!(
                without_sid(post(group).await, group),
                without_sid(post(unknown).await, unknown)
            );
            let foreign_owner = json!({"partner_sid": app.unrelated.sid, "short_code": "779"});
            app.post(CODES, &foreign_owner).await.expect_error(422, "object validation error");
            for (list, sid) in [(CODES, other.code_sid), (GROUPS, group)] {
                for argument in ["after", "before"] {
                    let from = async |sid| app.get(&format!("{list}?{argument}={sid}")).await;
                    assert_eq!(from(unknown).await.status, 400);
                    assert_eq!(
                        without_sid(from(sid).await, sid),
                        without_sid(from(unknown).await, unknown)
                    );
                }
                let filter =
                    async |sid| app.get(&format!("{list}?filter=partner_sid+eq+{sid}")).await;
                assert_eq!(
                    without_sid(filter(other.sid).await, other.sid),
                    without_sid(filter(unknown).await, unknown)
                );
            }
            for path in [other.code_path(), other.group_path()] {
                let head = Answer::to(app.request(Method::HEAD, &path)).await;
                assert_eq!((head.status, &*head.text), (404, ""));
            }
        }
        assert_eq!(app.version(app.partner.code_sid).await, 1);
    });
}

#[test]
fn related_objects_are_limited_to_visible_partners() {
    check(async |app| {
        for path in [CODES, GROUPS, &app.partner.code_path(), &app.partner.group_path()] {
            let text = app.get(&format!("{path}?with_related=true")).await.text;
            assert!(text.contains(r#""partner":{"#), "{text}");
            for other in [&app.unrelated, &app.child] {
                assert!(!text.contains(&other.sid.to_string()), "{text}");
            }
        }
        // A child does not see its parent.
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

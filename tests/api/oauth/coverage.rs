//! Scopes that others cover: `x.manage` covers `x.read`, `x.create`, `x.update` and `x.delete`.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::{Scope, Scopes};

use super::{
    CLIENT_CREDENTIALS, TOKEN, access_token, client, error, form, grant, oauth_error, whoami,
};
use crate::support::{Answer, App, CODES, check};

fn scopes(names: &[Scope]) -> Scopes {
    names.iter().copied().collect()
}

/// The statuses of a GET and of a PATCH of the partner's short code.
async fn get_and_patch(app: &App, token: &str) -> (u16, u16) {
    let path = app.partner.code_path();
    let get = Answer::to(app.anonymous(Method::GET, &path).bearer_auth(token)).await;
    let patch = app.anonymous(Method::PATCH, &path).bearer_auth(token).json(&json!({}));
    (get.status, Answer::to(patch).await.status)
}

#[test]
fn a_manage_scope_can_be_narrowed_to_those_that_it_covers() {
    check(async |app| {
        use Scope::{OauthManage, PhonenumberManage, PhonenumberManageDescendant};
        let held = [OauthManage, PhonenumberManage, PhonenumberManageDescendant];
        app.update_partner(app.partner.sid, |partner| partner.available_scopes = scopes(&held))
            .await;
        let client = client(app, &app.partner, &held).await;
        let ask =
            async |scope: &str| grant(app, &client, &[CLIENT_CREDENTIALS, ("scope", scope)]).await;
        for covered in [
            "phonenumber.read",
            "phonenumber.create phonenumber.delete",
            "phonenumber.update",
            "phonenumber.read_descendant",
            "oauth.create oauth.read oauth.update",
        ] {
            let token = ask(covered).await.expect(200);
            let names: Vec<_> = covered.split(' ').collect();
            assert_eq!(token["scopes"], json!(names));
            assert_eq!(whoami(app, access_token(&token)).await.expect(200)["scopes"], json!(names));
        }
        for outside in ["admin.read", "admin.create", "partners.read", "oauth.manage_all_tokens"] {
            assert_eq!(oauth_error(ask(outside).await), error(400, "invalid_scope", "scope"));
        }
        let token = ask("phonenumber.manage oauth.manage").await.expect(200);
        assert_eq!(get_and_patch(app, access_token(&token)).await, (200, 200));
        let path = format!("/core/v2/oauth/tokens/{}", token["token_sid"].as_str().unwrap());
        let narrow = async |names: &[&str]| app.patch(&path, &json!({"scopes": names})).await;
        narrow(&["phonenumber.read", "oauth.read"]).await.expect(200);
        narrow(&["phonenumber.manage"]).await.expect_error(422, "object validation error");
        narrow(&["phonenumber.update"]).await.expect_error(422, "object validation error");
    });
}

#[test]
fn a_partner_grants_the_scopes_that_its_own_cover() {
    check(async |app| {
        use Scope::{OauthCreate, PartnersManage, PhonenumberManage, PhonenumberRead};
        let own = app.token(app.partner.sid, &[OauthCreate, PartnersManage, PhonenumberManage]);
        let create = async |names: Value| {
            let request = app.anonymous(Method::POST, "/core/v2/partners").bearer_auth(&own);
            Answer::to(request.json(&json!({"available_scopes": names}))).await
        };
        create(json!(["partners.create", "phonenumber.read"])).await.expect(200);
        create(json!(["admin.create"])).await.expect_error(422, "object validation error");
        let readers = scopes(&[PhonenumberRead]);
        app.update_partner(app.child.sid, |child| child.available_scopes = readers).await;
        let path = format!("{TOKEN}/{}", app.child.sid);
        let token = async |fields: &[(&str, &str)]| {
            let request = app.anonymous(Method::POST, &path).bearer_auth(&own);
            Answer::to(form(request, fields)).await
        };
        assert_eq!(token(&[]).await.expect(200)["scopes"], json!(["phonenumber.read"]));
        let wide = token(&[("scope", "phonenumber.update")]).await;
        assert_eq!(oauth_error(wide), error(400, "invalid_scope", "scope"));
    });
}

#[test]
fn the_effective_scopes_are_those_that_token_and_partner_cover() {
    check(async |app| {
        use Scope::{
            PhonenumberManage, PhonenumberManageDescendant, PhonenumberRead,
            PhonenumberReadDescendant,
        };
        for (of_token, of_partner, effective, patch_status) in [
            (PhonenumberRead, PhonenumberManage, "phonenumber.read", 403),
            (PhonenumberManage, PhonenumberRead, "phonenumber.read", 403),
            (PhonenumberManage, PhonenumberManage, "phonenumber.manage", 200),
        ] {
            let sid = app.partner.sid;
            app.update_partner(sid, |partner| partner.available_scopes = scopes(&[of_partner]))
                .await;
            // It has no principal in its cache.
            let (base, server) = app.second_instance().await;
            let token = app.token(sid, &[of_token]);
            let call = async |method: Method, path: &str| {
                let request = app.request_to(method, &format!("{base}{path}")).bearer_auth(&token);
                Answer::to(request.json(&json!({}))).await
            };
            let me = call(Method::GET, "/core/v2/oauth/whoami").await.expect(200);
            assert_eq!(me["scopes"], json!([effective]));
            let path = app.partner.code_path();
            assert_eq!(call(Method::GET, &path).await.status, 200);
            assert_eq!(call(Method::PATCH, &path).await.status, patch_status);
            server.stop(false).await;
        }
        let all = scopes(&[PhonenumberManage, PhonenumberReadDescendant]);
        app.update_partner(app.partner.sid, |partner| partner.available_scopes = all).await;
        let wide = app.token(app.partner.sid, &[PhonenumberManage, PhonenumberManageDescendant]);
        let list = app.anonymous(Method::GET, CODES).bearer_auth(&wide);
        assert_eq!(Answer::to(list).await.expect(200)["total"], 2);
        let patch = app.anonymous(Method::PATCH, &app.child.code_path()).bearer_auth(&wide);
        Answer::to(patch.json(&json!({}))).await.expect_error(404, "no item error");
    });
}

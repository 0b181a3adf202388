//! Refresh tokens: single use, bound to their client, never with more scopes.

use serde_json::{Value, json};
use shortline::auth::Scope;

use super::{
    BY_PASSWORD, access_token, client, error, expect_revoked, grant, login, oauth_error, refresh,
    whoami,
};
use crate::support::check;

#[test]
fn reusing_a_refresh_token_revokes_its_family() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let first = [&BY_PASSWORD[..], &[("name", "phone")]].concat();
        let first = grant(app, &client, &first).await.expect(200);
        let other = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let second = refresh(app, &client, &first).await.expect(200);
        assert_ne!(second["token_sid"], first["token_sid"]);
        assert_eq!((&second["name"], &second["scopes"]), (&json!("phone"), &first["scopes"]));
        let third = refresh(app, &client, &second).await.expect(200);
        for token in [&first, &second, &third] {
            whoami(app, access_token(token)).await.expect(200);
        }
        let stolen = refresh(app, &client, &first).await;
        assert_eq!(oauth_error(stolen), error(400, "invalid_grant", "refresh_token"));
        expect_revoked(app, &[&first, &second, &third]).await;
        let ended = refresh(app, &client, &third).await;
        assert_eq!(oauth_error(ended), error(400, "invalid_grant", "refresh_token"));
        // Another login starts another family.
        whoami(app, access_token(&other)).await.expect(200);
        refresh(app, &client, &other).await.expect(200);
    });
}

#[test]
fn at_most_one_of_two_concurrent_refreshes_succeeds() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let token = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let both = futures_util::future::join(
            refresh(app, &client, &token),
            refresh(app, &client, &token),
        );
        let (one, two) = both.await;
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400]);
        let fresh = if one.status == 200 { one } else { two }.expect(200);
        expect_revoked(app, &[&fresh]).await;
    });
}

#[test]
fn a_refresh_is_bound_to_its_client_and_never_widens_scopes() {
    check(async |app| {
        use Scope::{PhonenumberManage, PhonenumberRead};
        let client = client(app, &app.partner, &[PhonenumberManage, PhonenumberRead]).await;
        let other = self::client(app, &app.partner, &[PhonenumberManage, PhonenumberRead]).await;
        login(app, &app.partner, "ann").await;
        let token = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let asking = async |token: &Value, scope: &str| {
            let fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", token["refresh_token"].as_str().unwrap()),
                ("scope", scope),
            ];
            grant(app, &client, &fields).await
        };
        // A rejected request does not consume the refresh token.
        assert_eq!(
            oauth_error(refresh(app, &other, &token).await),
            error(400, "invalid_grant", "refresh_token")
        );
        let more = asking(&token, "admin.manage").await;
        assert_eq!(oauth_error(more), error(400, "invalid_scope", "scope"));
        let narrow = asking(&token, "phonenumber.read").await.expect(200);
        assert_eq!(narrow["scopes"], json!(["phonenumber.read"]));
        let wide = asking(&narrow, "phonenumber.manage").await;
        assert_eq!(oauth_error(wide), error(400, "invalid_scope", "scope"));
        assert_eq!(
            refresh(app, &client, &narrow).await.expect(200)["scopes"],
            json!(["phonenumber.read"])
        );
        // An access token is not accepted as a refresh token.
        let fields = [("grant_type", "refresh_token"), ("refresh_token", access_token(&narrow))];
        let answer = grant(app, &client, &fields).await;
        assert_eq!(oauth_error(answer), error(400, "invalid_grant", "refresh_token"));
    });
}

//! Refresh tokens: used once, bound to their client, never wider.

use serde_json::{Value, json};
use shortline::auth::Scope;

use super::{BY_PASSWORD, client, ends, grant, login, refresh, refusal, refused, secret, whoami};
use crate::support::check;

#[test]
fn a_refresh_token_is_good_once_and_its_reuse_ends_the_family() {
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
            whoami(app, secret(token)).await.expect(200);
        }
        let stolen = refresh(app, &client, &first).await;
        assert_eq!(refused(stolen), refusal(400, "invalid_grant", "refresh_token"));
        for token in [&first, &second, &third] {
            ends(app, secret(token)).await;
        }
        let ended = refresh(app, &client, &third).await;
        assert_eq!(refused(ended), refusal(400, "invalid_grant", "refresh_token"));
        // Another login is another family.
        whoami(app, secret(&other)).await.expect(200);
        refresh(app, &client, &other).await.expect(200);
    });
}

#[test]
fn of_two_refreshes_at_once_at_most_one_succeeds() {
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
        ends(app, secret(&fresh)).await;
    });
}

#[test]
fn a_refresh_narrows_never_widens_and_is_bound_to_its_client() {
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
        // What is refused does not use the refresh token up.
        assert_eq!(
            refused(refresh(app, &other, &token).await),
            refusal(400, "invalid_grant", "refresh_token")
        );
        let more = asking(&token, "admin.manage").await;
        assert_eq!(refused(more), refusal(400, "invalid_scope", "scope"));
        let narrow = asking(&token, "phonenumber.read").await.expect(200);
        assert_eq!(narrow["scopes"], json!(["phonenumber.read"]));
        let wide = asking(&narrow, "phonenumber.manage").await;
        assert_eq!(refused(wide), refusal(400, "invalid_scope", "scope"));
        assert_eq!(
            refresh(app, &client, &narrow).await.expect(200)["scopes"],
            json!(["phonenumber.read"])
        );
        // An access token is no refresh token.
        let fields = [("grant_type", "refresh_token"), ("refresh_token", secret(&narrow))];
        let answer = grant(app, &client, &fields).await;
        assert_eq!(refused(answer), refusal(400, "invalid_grant", "refresh_token"));
    });
}

//! The deletion of tokens that have ended.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::{Actor, Authenticator, Scope};
use shortline::oauth::{EndedTokens, OauthToken};
use shortline::store;
use sqlx::AssertSqlSafe;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    BY_PASSWORD, CLIENT_CREDENTIALS, access_token, client, grant, login, refresh, revoke, whoami,
};
use crate::support::{Answer, App, check, check_with};

fn sid(token: &Value) -> Uuid {
    token["token_sid"].as_str().unwrap().parse().unwrap()
}

/// Moves all dates of a token to the past, and in its history entry. Time cannot be advanced.
async fn age(app: &App, token: &Value, days: i64) {
    let mut connection = app.connection().await;
    let columns = [
        "date_created",
        "date_expiration_access_token",
        "date_expiration_refresh_token",
        "date_refresh_spent",
        "retained_until",
    ];
    let set = columns.map(|column| format!("{column} = {column} - make_interval(days => $2)"));
    let statement = format!("update oauth_tokens set {} where sid = $1", set.join(", "));
    let age = sqlx::query(AssertSqlSafe(statement)).bind(sid(token)).bind(days as i32);
    age.execute(&mut connection).await.unwrap();
    // Covers the columns by a history entry again.
    let rename = |token: &mut OauthToken| {
        token.name = None;
        token.ip_last_accessed = Some(format!("aged by {days} days"));
        Ok(())
    };
    store::update_within::<OauthToken>(&mut connection, &Actor::operator(), sid(token), rename)
        .await
        .unwrap();
}

async fn purge(app: &App) -> usize {
    EndedTokens::default().purge(&mut app.connection().await).await.unwrap()
}

async fn exists(app: &App, token: &Value) -> bool {
    let path = format!("/core/v2/oauth/tokens/{}", sid(token));
    app.get(&path).await.status == 200
}

#[test]
fn tokens_are_deleted_a_day_after_their_end_and_keep_their_history() {
    check_with(&["--token-format", "opaque"], async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let (old, recent, alive) = futures_util::join!(
            grant(app, &client, &[CLIENT_CREDENTIALS]),
            grant(app, &client, &[CLIENT_CREDENTIALS]),
            grant(app, &client, &[CLIENT_CREDENTIALS]),
        );
        let (old, recent, alive) = (old.expect(200), recent.expect(200), alive.expect(200));
        age(app, &old, 2).await;
        age(app, &recent, 1).await;
        let list = "/core/v2/oauth/tokens?limit=100";
        let after = format!("{list}&after={}", sid(&old));
        let page = app.get(&after).await.expect(200)["items"].clone();
        assert_eq!(purge(app).await, 1);
        assert_eq!(purge(app).await, 0);
        assert!(
            !exists(app, &old).await && exists(app, &recent).await && exists(app, &alive).await
        );
        whoami(app, access_token(&alive)).await.expect(200);
        // A list can start where the token stood.
        assert_eq!(app.get(&after).await.expect(200)["items"], page);
        let statement = "select entry::json ->> 'action' from history where sid = $1
                         order by version desc limit 1";
        let action: String = sqlx::query_scalar(statement)
            .bind(sid(&old))
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(action, "delete");
        assert_eq!(app.violations().await, []);
        // Nothing is left of it: it cannot be used, revoked or renamed.
        assert_eq!(whoami(app, access_token(&old)).await.status, 401);
        let fields = [("token", access_token(&old))];
        assert_eq!(revoke(app, &app.token, &fields).await.status, 204);
        let path = format!("/core/v2/oauth/tokens/{}", sid(&old));
        app.patch(&path, &json!({"name": "x"})).await.expect_error(404, "no item error");
    });
}

#[test]
fn a_revoked_jwt_is_not_forgotten_before_its_own_expiry() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let week = [CLIENT_CREDENTIALS, ("access_token_expires_in", "604800")];
        let token = grant(app, &client, &week).await.expect(200);
        let fields = [("token", access_token(&token))];
        assert_eq!(revoke(app, &app.token, &fields).await.status, 204);
        // As issued by a release that did not store how long the row is needed.
        let early = grant(app, &client, &week).await.expect(200);
        let forget = "update oauth_tokens set retained_until = null where sid = $1";
        let forget = sqlx::query(forget).bind(sid(&early));
        forget.execute(&mut app.connection().await).await.unwrap();
        let fields = [("token", access_token(&early))];
        assert_eq!(revoke(app, &app.token, &fields).await.status, 204);
        let both = "update oauth_tokens
                    set date_created = date_created - interval '3 days',
                        date_expiration_access_token =
                            date_expiration_access_token - interval '3 days'
                    where date_expiration_access_token <= date_created";
        sqlx::query(both).execute(&mut app.connection().await).await.unwrap();
        assert_eq!(purge(app).await, 0);
        let (base, server) = app.second_instance().await;
        for token in [&token, &early] {
            let request = app.request_to(Method::GET, &format!("{base}/core/v2/oauth/whoami"));
            let answer = Answer::to(request.bearer_auth(access_token(token))).await;
            assert_eq!(answer.status, 401);
        }
        server.stop(false).await;
        let back = "update oauth_tokens
                    set date_created = date_created + interval '3 days',
                        date_expiration_access_token =
                            date_expiration_access_token + interval '3 days'
                    where date_expiration_access_token <= date_created";
        sqlx::query(back).execute(&mut app.connection().await).await.unwrap();
    });
}

#[test]
fn a_revoked_opaque_token_is_deleted_whatever_its_lifetime() {
    check_with(&["--token-format", "opaque"], async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let century = [CLIENT_CREDENTIALS, ("access_token_expires_in", "3153600000")];
        let (revoked, alive) =
            futures_util::join!(grant(app, &client, &century), grant(app, &client, &century));
        let (revoked, alive) = (revoked.expect(200), alive.expect(200));
        let fields = [("token", access_token(&revoked))];
        assert_eq!(revoke(app, &app.token, &fields).await.status, 204);
        age(app, &revoked, 2).await;
        age(app, &alive, 2).await;
        assert_eq!(purge(app).await, 1);
        assert!(!exists(app, &revoked).await && exists(app, &alive).await);
    });
}

#[test]
fn a_used_refresh_token_is_recognised_for_its_lifetime() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let first = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let second = refresh(app, &client, &first).await.expect(200);
        age(app, &first, 29).await;
        assert_eq!(purge(app).await, 0);
        assert_eq!(refresh(app, &client, &first).await.status, 400);
        assert_eq!(refresh(app, &client, &second).await.status, 400, "the family is revoked");
        age(app, &first, 3).await;
        assert_eq!(purge(app).await, 1);
        assert!(exists(app, &second).await, "its own refresh token is still recognised");
    });
}

#[test]
fn revocations_of_other_systems_tokens_are_deleted_a_day_after_their_expiry() {
    check(async |app| {
        let mut connection = app.connection().await;
        let now = OffsetDateTime::now_utc();
        for (hash, hours) in [("a", -25), ("b", -23), ("c", 1)] {
            sqlx::query("insert into revoked_tokens (hash, date_expiration) values ($1, $2)")
                .bind(hash.as_bytes())
                .bind(now + Duration::hours(hours))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        Authenticator::purge_revocations(&mut connection).await.unwrap();
        let left: Vec<Vec<u8>> =
            sqlx::query_scalar("select hash from revoked_tokens order by hash")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert_eq!(left, [b"b", b"c"]);
    });
}

#[test]
fn a_run_looks_at_a_part_of_many_tokens_and_the_next_one_continues() {
    check(async |app| {
        let statement = "
            insert into oauth_tokens (sid, partner_sid, version, head, changed_at, access_hash,
                date_created, date_expiration_access_token, scopes)
            select gen_random_uuid(), $1, 1, '', now(), convert_to(number::text, 'UTF8'),
                now(), now() + interval '1 hour', ''
            from generate_series(1, 10500) as number";
        let mut connection = app.connection().await;
        let insert = sqlx::query(statement).bind(app.unrelated.sid);
        insert.execute(&mut connection).await.unwrap();
        // The last one in the order of sids has ended.
        let last = "
            update oauth_tokens
            set sid = 'ffffffff-ffff-4fff-bfff-ffffffffffff',
                date_created = now() - interval '3 days',
                date_expiration_access_token = now() - interval '2 days'
            where access_hash = convert_to('1', 'UTF8')";
        sqlx::query(last).execute(&mut connection).await.unwrap();
        let ended_tokens = EndedTokens::default();
        for expected in [0, 1, 0] {
            assert_eq!(ended_tokens.purge(&mut connection).await.unwrap(), expected);
        }
        // These tokens have no history.
        let history = "delete from history where sid = 'ffffffff-ffff-4fff-bfff-ffffffffffff'";
        sqlx::query(history).execute(&mut connection).await.unwrap();
        let delete = "delete from oauth_tokens where head = ''";
        sqlx::query(delete).execute(&mut connection).await.unwrap();
    });
}

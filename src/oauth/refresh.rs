//! The grant of a refresh token (RFC 6749, section 6), which its client can use once.
//!
//! A refresh token that is used again may have been stolen, so its whole family is revoked (RFC
//! 9700, section 4.14.2). There is one exception: two tabs of a browser, or a client that did not
//! get the response, may use it twice within seconds. The second use then gets a sibling of the
//! first successor, see [`OauthToken::refresh`].

use actix_web::HttpRequest;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::console::Presented;
use super::family::revoke_family;
use super::forms::{TokenForm, TokenRequest, required};
use super::grants::{Grants, NewToken, Renewable, invalid_grant};
use super::issuance::{self, Grantor};
use super::token::{OauthToken, Refresh, Successors};
use crate::auth::{Actor, Scope, hash};
use crate::error::ApiError;
use crate::http::actor_of;
use crate::input::parse_sid;
use crate::store;

fn invalid() -> ApiError {
    invalid_grant("refresh_token", "is unknown, used or expired")
}

impl Grants {
    /// Issues a token for a refresh token.
    ///
    /// # Errors
    /// `invalid_client`, `invalid_scope`, or `invalid_grant`.
    pub(super) async fn refresh(
        &self,
        request: &HttpRequest,
        form: &TokenForm,
        presented: Presented,
        token_request: TokenRequest,
    ) -> Result<OauthToken, ApiError> {
        let secret = required("refresh_token", form.refresh_token.as_ref())?;
        let client = self.client(request, &presented).await?;
        store::within_limit(async {
            let token = self.renewable(secret).await?.ok_or_else(invalid)?;
            let ancestry = self.active(token.partner_sid).await?.ok_or_else(invalid)?;
            let actor = actor_of(request, token.partner_sid, ancestry.subtree_sid);
            let held = client.scopes_within(&ancestry.scopes);

            let mut lease = self.database.transactions().acquire(&actor).await?;
            let mut tx = lease.connection.begin().await?;
            let family_sid = token.family_sid.ok_or_else(invalid)?;
            let family = [Grantor::Login(token.partner_sid), Grantor::Family(family_sid)];
            let grantors: Vec<_> = client.grantor().into_iter().chain(family).collect();
            issuance::hold(&mut tx, &grantors).await?;
            let (outcome, spent) = spend(&mut tx, &actor, token.token_sid, &client.id()).await?;
            match outcome {
                Refresh::Granted => {}
                Refresh::Rejected => return Err(invalid()),
                Refresh::Reused => {
                    tx.rollback().await?;
                    revoke_family(&mut lease.connection, &actor, family_sid).await?;
                    return Err(invalid());
                }
            }
            // If the scopes are rejected, nothing is committed, and the refresh token stays valid.
            let scopes =
                token_request.scopes_within(&Scope::common(&spent.scopes.to_vec(), &held))?;
            let mut new = NewToken::of(spent.partner_sid, Some(client), scopes, token_request);
            new.name = new.name.or_else(|| spent.name.clone());
            new.renewable = Renewable::Successor(Box::new(spent));
            let token = self.issue_within(&mut tx, &actor, new).await?;
            tx.commit().await?;
            Ok(token)
        })
        .await
    }

    /// Returns the token of a refresh token.
    async fn renewable(&self, secret: &str) -> Result<Option<OauthToken>, ApiError> {
        let Some(secret) = parse_sid(secret) else { return Ok(None) };
        let sid: Option<Uuid> =
            sqlx::query_scalar("select sid from oauth_tokens where refresh_hash = $1")
                .bind(hash(&secret.to_string()))
                .fetch_optional(self.lookups())
                .await?;
        let Some(sid) = sid else { return Ok(None) };
        Ok(Some(store::get(self.lookups(), &Actor::operator(), sid).await?.object))
    }
}

/// Spends the refresh token of that token, if the client can use it. Returns the outcome and the
/// token. Other uses wait until the transaction ends.
async fn spend(
    tx: &mut PgConnection,
    actor: &Actor,
    token_sid: Uuid,
    client_id: &str,
) -> Result<(Refresh, OauthToken), ApiError> {
    sqlx::query("select from oauth_tokens where sid = $1 for no key update")
        .bind(token_sid)
        .execute(&mut *tx)
        .await?;
    // A statement of its own, which sees the successors that were committed before the row was
    // free.
    let successors: Successors = sqlx::query_as(
        "select date_trunc('milliseconds', clock_timestamp()) as now, count(*) as count,
             coalesce(bool_or(refresh_spent), false) as is_refreshed
         from oauth_tokens
         where family_sid = (select family_sid from oauth_tokens where sid = $1)
             and refreshed_from = $1",
    )
    .bind(token_sid)
    .fetch_one(&mut *tx)
    .await?;
    let mut outcome = Refresh::Rejected;
    let spend = |token: &mut OauthToken| {
        outcome = token.refresh(client_id, &successors);
        Ok(())
    };
    let token = store::update_within(tx, actor, token_sid, spend).await?.object;
    Ok((outcome, token))
}

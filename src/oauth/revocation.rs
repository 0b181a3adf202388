//! Revocation of tokens (RFC 7009).

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use time::OffsetDateTime;
use uuid::Uuid;

use super::credentials::{ClientCredentials, no_client};
use super::family::{is_in_subtree, revoke, revoke_family};
use super::forms::{RevocationForm, required};
use super::grants::{Grants, address_of};
use crate::auth::{Actor, Claims, OauthRevoke, Permission, hash, signed_part};
use crate::error::ApiError;
use crate::http::{Caller, actor_of, bearer};
use crate::input::parse_sid;
use crate::store;

/// The party that revokes a token: the bearer of a token, or a client by HTTP Basic.
pub enum Revoker {
    /// Can revoke the tokens of its partner and of that partner's descendants.
    Bearer(Caller<OauthRevoke>),
    /// Can revoke the same tokens if it has the scope, and always those that were issued to itself.
    Client(ClientCredentials),
}

impl FromRequest for Revoker {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        match ClientCredentials::basic(request) {
            Some(client) => ready(Ok(Self::Client(client))),
            None => ready(Caller::from_request(request, payload).into_inner().map(Self::Bearer)),
        }
    }
}

/// A revoker whose credentials were checked.
struct Party {
    actor: Actor,
    /// The client, if it can revoke only the tokens that were issued to itself.
    own_only: Option<String>,
}

/// The row of a token that is to be revoked.
#[derive(sqlx::FromRow)]
struct Known {
    sid: Uuid,
    client_id: Option<String>,
    family_sid: Option<Uuid>,
    /// Whether the request contains its refresh token.
    is_refresh: bool,
}

impl Grants {
    /// Revokes the token in the form, otherwise the caller's. Does nothing if the token is unknown
    /// or not visible to the revoker.
    ///
    /// # Errors
    /// `invalid_client` if the client's credentials are wrong, `invalid_request` if it sends no
    /// token.
    pub async fn revoke(
        &self,
        request: &HttpRequest,
        revoker: Revoker,
        form: &RevocationForm,
    ) -> Result<(), ApiError> {
        let calling = match revoker {
            Revoker::Bearer(_) => bearer(request),
            Revoker::Client(_) => None,
        };
        let party = self.party(request, revoker).await?;
        let token = match (form.token.as_ref(), calling) {
            (None, Some(calling)) => calling,
            (sent, _) => required("token", sent)?,
        };
        // A token that is not valid yet can be revoked, too.
        let claims = self.authenticator.keys().verify_early(token);
        store::within_limit(async {
            match (self.known(token, claims.as_ref()).await?, claims) {
                (Some(known), _) => self.revoke_known(&party, known).await,
                (None, Some(claims)) => self.revoke_foreign(&party, token, &claims).await,
                (None, None) => Ok(()),
            }
        })
        .await
    }

    async fn party(&self, request: &HttpRequest, revoker: Revoker) -> Result<Party, ApiError> {
        let credentials = match revoker {
            Revoker::Bearer(caller) => {
                return Ok(Party { actor: (*caller).clone(), own_only: None });
            }
            Revoker::Client(credentials) => credentials,
        };
        let client = self.credentials.client(&credentials, address_of(request)).await?;
        let ancestry = store::within_limit(self.active(client.partner_sid)).await?;
        let ancestry = ancestry.ok_or_else(no_client)?;
        let held = client.scopes_within(&ancestry.scopes);
        let own_only = !OauthRevoke::ANY_OF.iter().any(|scope| scope.is_covered(&held));
        Ok(Party {
            actor: actor_of(request, client.partner_sid, ancestry.subtree_sid),
            own_only: own_only.then(|| client.client_id.to_string()),
        })
    }

    /// Returns the row of an access token or refresh token. A JWT is also found by its sid.
    async fn known(
        &self,
        token: &str,
        claims: Option<&Claims>,
    ) -> Result<Option<Known>, sqlx::Error> {
        let opaque = parse_sid(token).map(|sid| sid.to_string());
        let jti = claims.and_then(|claims| parse_sid(claims.jti.as_deref()?));
        sqlx::query_as(
            "select sid, client_id, family_sid, coalesce(refresh_hash = $1, false) as is_refresh
             from oauth_tokens
             where access_hash = $1 or refresh_hash = $1 or (sid = $2 and partner_sid = $3)",
        )
        .bind(hash(opaque.as_deref().unwrap_or(token)))
        .bind(jti)
        .bind(claims.map(|claims| claims.sub))
        .fetch_optional(self.lookups())
        .await
    }

    async fn revoke_known(&self, party: &Party, known: Known) -> Result<(), ApiError> {
        if party.own_only.is_some() && party.own_only != known.client_id {
            return Ok(());
        }
        let mut lease = self.database.transactions().acquire(&party.actor).await?;
        let connection = &mut *lease.connection;
        let revoked = match known.family_sid.filter(|_| known.is_refresh) {
            Some(family_sid) => revoke_family(connection, &party.actor, family_sid).await,
            None => {
                store::update_within(connection, &party.actor, known.sid, revoke).await.map(drop)
            }
        };
        match revoked {
            // Not visible to the revoker.
            Err(ApiError::NoItem) => Ok(()),
            revoked => revoked,
        }
    }

    /// Revokes a token without a row, which another system has issued: stores its hash.
    async fn revoke_foreign(
        &self,
        party: &Party,
        token: &str,
        claims: &Claims,
    ) -> Result<(), ApiError> {
        let own = party.actor.partner_sid().filter(|_| party.own_only.is_none());
        let Some(own) = own else { return Ok(()) };
        if !is_in_subtree(self.lookups(), own, claims.sub).await? {
            return Ok(());
        }
        // Limits the date to the last one that can be stored.
        let latest = OffsetDateTime::new_utc(time::Date::MAX, time::Time::MIDNIGHT);
        let expiration = OffsetDateTime::from_unix_timestamp(claims.expiry()).unwrap_or(latest);
        let mut lease = self.database.transactions().acquire(&party.actor).await?;
        sqlx::query(
            "insert into revoked_tokens (hash, date_expiration) values ($1, $2)
             on conflict do nothing",
        )
        .bind(hash(signed_part(token)))
        .bind(expiration)
        .execute(&mut *lease.connection)
        .await?;
        Ok(())
    }
}

//! Revocation (RFC 7009): who may end which token.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::credentials::{ClientCredentials, no_client};
use super::{Grants, OauthToken};
use crate::auth::{Actor, Claims, OauthRevoke, Permission, hash, signed_part};
use crate::error::ApiError;
use crate::http::{Caller, Form, actor_of, bearer};
use crate::input::date;
use crate::input::parse_sid;
use crate::store;

/// Who asks to end a token: the bearer of one, or a client by HTTP Basic.
pub enum Revoker {
    /// It reaches the tokens of its partner and of that partner's descendants.
    Bearer(Caller<OauthRevoke>),
    /// It reaches the same where it has the scope for it, and always the tokens that were given to itself.
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

/// A revoker that has proved who it is.
struct Party {
    actor: Actor,
    /// The client whose own tokens are all that it reaches; none where it reaches all of its partner's.
    own_only: Option<String>,
}

/// A token that somebody wants to end, as we know it.
#[derive(sqlx::FromRow)]
struct Known {
    sid: Uuid,
    client_id: Option<String>,
    family_sid: Option<Uuid>,
    /// What was sent is its refresh token.
    is_refresh: bool,
}

impl Grants {
    /// Ends the token in the form, or the calling one. A token that is unknown or out of reach is none: that is no error.
    ///
    /// # Errors
    /// `invalid_client` where the client proves nothing, `invalid_request` where it names no token.
    pub async fn revoke(
        &self,
        request: &HttpRequest,
        revoker: Revoker,
        form: &Form,
    ) -> Result<(), ApiError> {
        let calling = match revoker {
            Revoker::Bearer(_) => bearer(request),
            Revoker::Client(_) => None,
        };
        let party = self.party(request, revoker).await?;
        let token = form.get("token").or(calling).map_or_else(|| form.required("token"), Ok)?;
        let claims = self.authenticator.keys().verify(token);
        match (self.known(token, claims.as_ref()).await?, claims) {
            (Some(known), _) => self.end_known(&party, known).await,
            (None, Some(claims)) => self.remember_ended(&party, token, &claims).await,
            (None, None) => Ok(()),
        }
    }

    async fn party(&self, request: &HttpRequest, revoker: Revoker) -> Result<Party, ApiError> {
        let credentials = match revoker {
            Revoker::Bearer(caller) => {
                return Ok(Party { actor: (*caller).clone(), own_only: None });
            }
            Revoker::Client(credentials) => credentials,
        };
        let client = self.credentials.client(&credentials).await?;
        let held = self.effective(client.partner_sid).await?.ok_or_else(no_client)?;
        let may = |scope| client.scopes.contains(scope) && held.contains(&scope);
        let own_only = !OauthRevoke::ANY_OF.iter().any(|scope| may(*scope));
        Ok(Party {
            actor: actor_of(request, client.partner_sid),
            own_only: own_only.then(|| client.client_id.to_string()),
        })
    }

    /// The row of an access token or refresh token; of a JWT also by its sid, as when it is presented.
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
        .fetch_optional(&self.db)
        .await
    }

    async fn end_known(&self, party: &Party, known: Known) -> Result<(), ApiError> {
        if party.own_only.is_some() && party.own_only != known.client_id {
            return Ok(());
        }
        let ended = if known.is_refresh {
            end_family(&self.db, &party.actor, known.family_sid).await
        } else {
            store::update_within(&mut *self.db.acquire().await?, &party.actor, known.sid, end)
                .await
                .map(drop)
        };
        match ended {
            // Out of reach.
            Err(ApiError::NoItem) => Ok(()),
            ended => ended,
        }
    }

    /// Another system made the token, of which there is no row.
    async fn remember_ended(
        &self,
        party: &Party,
        token: &str,
        claims: &Claims,
    ) -> Result<(), ApiError> {
        let own = party.actor.partner_sid().filter(|_| party.own_only.is_none());
        let Some(own) = own else { return Ok(()) };
        if !reaches(&self.db, own, claims.sub).await? {
            return Ok(());
        }
        // Beyond the years that we can write, it ends for us.
        let latest = OffsetDateTime::new_utc(time::Date::MAX, time::Time::MIDNIGHT);
        let expiration = OffsetDateTime::from_unix_timestamp(claims.expiry()).unwrap_or(latest);
        sqlx::query(
            "insert into revoked_tokens (hash, date_expiration) values ($1, $2) on conflict do nothing",
        )
        .bind(hash(signed_part(token)))
        .bind(expiration)
        .execute(&self.db)
        .await?;
        Ok(())
    }
}

/// Whether the one partner is the other, or an ancestor of it.
pub async fn reaches(db: &PgPool, partner_sid: Uuid, other: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from partner_tree where ancestor_sid = $1 and descendant_sid = $2)",
    )
    .bind(partner_sid)
    .bind(other)
    .fetch_one(db)
    .await
}

/// Ends every token of a family.
pub async fn end_family(
    db: &PgPool,
    actor: &Actor,
    family_sid: Option<Uuid>,
) -> Result<(), ApiError> {
    let mut tx = db.begin().await?;
    // While we end one, somebody may just be renewing it: the next look finds that one, too.
    loop {
        let alive: Vec<Uuid> = sqlx::query_scalar(
            "select sid from oauth_tokens
             where family_sid = $1
               and (date_expiration_access_token > $2 or (date_expiration_refresh_token > $2 and not refresh_spent))
             order by ordinal",
        )
        .bind(family_sid)
        .bind(date::now())
        .fetch_all(&mut *tx)
        .await?;
        if alive.is_empty() {
            return Ok(tx.commit().await?);
        }
        for sid in alive {
            store::update_within(&mut tx, actor, sid, end).await?;
        }
    }
}

fn end(token: &mut OauthToken) -> Result<(), ApiError> {
    token.revoke();
    Ok(())
}

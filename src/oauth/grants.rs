//! The grants: what a token is given for (RFC 6749).

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Data;
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use super::credentials::{ClientCredentials, no_client, no_login};
use super::{Credentials, DEFAULT_EXPIRES_IN, MAX_EXPIRES_IN, OauthClient, OauthToken, revocation};
use crate::auth::{Actor, Authenticator, OauthCreate, PartnerAncestry, Scope, Scopes, hash};
use crate::error::{ApiError, OauthError};
use crate::http::{Caller, Form, actor_of};
use crate::input::types::Name;
use crate::input::{FromMember, parse_sid};
use crate::partners::Partner;
use crate::settings::TokenFormat;
use crate::store;

/// The grants that we know, by their `grant_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Grant {
    /// A client's own secret.
    ClientCredentials,
    /// A partner's login and password.
    Password,
    /// What a token came with, to renew it.
    RefreshToken,
}

impl Grant {
    fn named(name: &str) -> Result<Self, ApiError> {
        match name {
            "client_credentials" => Ok(Self::ClientCredentials),
            "password" => Ok(Self::Password),
            "refresh_token" => Ok(Self::RefreshToken),
            _ => {
                let message = "must be client_credentials, password or refresh_token";
                let refused = ApiError::bad_argument("grant_type", message);
                Err(refused.with_oauth_code(OauthError::UnsupportedGrantType))
            }
        }
    }
}

/// What a form asks of the token, whatever the grant.
struct TokenRequest {
    /// None where everything is asked for that is to be had.
    scopes: Option<Scopes>,
    name: Option<Name>,
    expires_in: Duration,
}

impl TokenRequest {
    fn of(form: &Form) -> Result<Self, ApiError> {
        let name = form.get("name").map(|text| Name::from_member(text.into())).transpose();
        let name = name.map_err(|refusal| ApiError::bad_argument("name", refusal.message));
        Ok(Self {
            scopes: form.get("scope").map(scopes).transpose()?,
            name: name.map_err(|error| error.with_oauth_code(OauthError::InvalidRequest))?,
            expires_in: form
                .get("access_token_expires_in")
                .map_or(Ok(Duration::from_secs(DEFAULT_EXPIRES_IN)), expires_in)?,
        })
    }

    /// The scopes that the token gets.
    ///
    /// # Errors
    /// `invalid_scope` that names those which are not to be had.
    fn within(&self, held: &[Scope]) -> Result<Scopes, ApiError> {
        let Some(asked) = &self.scopes else { return Ok(held.iter().copied().collect()) };
        match asked.outside(held) {
            None => Ok(asked.clone()),
            Some(beyond) => Err(invalid_scope(format!("is not to be had: {beyond}"))),
        }
    }
}

/// Names with blanks (RFC 6749, section 3.3) or, as with CarrierX, commas between them.
fn scopes(text: &str) -> Result<Scopes, ApiError> {
    let names = text.split([' ', ',']).filter(|name| !name.is_empty());
    let known = |name| Scope::named(name).ok_or_else(|| invalid_scope(Scope::unknown(name)));
    names.map(known).collect()
}

fn invalid_scope(message: String) -> ApiError {
    ApiError::bad_argument("scope", message).with_oauth_code(OauthError::InvalidScope)
}

fn expires_in(text: &str) -> Result<Duration, ApiError> {
    let seconds = text.parse().ok().filter(|seconds| (1..=MAX_EXPIRES_IN).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        let message = format!("must be a number of seconds from 1 to {MAX_EXPIRES_IN}");
        let refused = ApiError::bad_argument("access_token_expires_in", message);
        refused.with_oauth_code(OauthError::InvalidRequest)
    })
}

fn invalid_grant(field: &'static str, message: &'static str) -> ApiError {
    ApiError::bad_argument(field, message).with_oauth_code(OauthError::InvalidGrant)
}

/// Makes tokens, and ends them.
pub struct Grants {
    pub(super) db: PgPool,
    pub(super) authenticator: Data<Authenticator>,
    pub(super) credentials: Credentials,
    format: TokenFormat,
}

impl Grants {
    /// Makes tokens of that format; opaque ones where there is no key to sign others with.
    ///
    /// # Errors
    /// Where the machine has no randomness.
    pub fn new(
        db: PgPool,
        authenticator: Data<Authenticator>,
        format: TokenFormat,
    ) -> anyhow::Result<Self> {
        let format = if authenticator.keys().can_sign() { format } else { TokenFormat::Opaque };
        Ok(Self { credentials: Credentials::new(db.clone())?, db, authenticator, format })
    }

    /// The token that the form asks for.
    ///
    /// # Errors
    /// As RFC 6749 (section 5.2) names them.
    pub async fn token(&self, request: &HttpRequest, form: &Form) -> Result<OauthToken, ApiError> {
        let grant = Grant::named(form.required("grant_type")?)?;
        let token_request = TokenRequest::of(form)?;
        let credentials = ClientCredentials::of(request, form)?;
        match grant {
            Grant::ClientCredentials => {
                self.client_credentials(request, credentials, token_request).await
            }
            Grant::Password => self.password(request, form, credentials, token_request).await,
            Grant::RefreshToken => self.refresh(request, form, credentials, token_request).await,
        }
    }

    /// RFC 6749, section 4.4: a client for its own partner. It can come again, so it gets no refresh token.
    async fn client_credentials(
        &self,
        request: &HttpRequest,
        credentials: ClientCredentials,
        token_request: TokenRequest,
    ) -> Result<OauthToken, ApiError> {
        let client = self.credentials.client(&credentials).await?;
        let held = self.effective(client.partner_sid).await?.ok_or_else(no_client)?;
        let scopes = token_request.within(&common(&client.scopes, &held))?;
        let actor = actor_of(request, client.partner_sid);
        let new = NewToken::of(client.partner_sid, Some(&client), scopes, token_request);
        self.issue(&mut *self.db.acquire().await?, &actor, new).await
    }

    /// RFC 6749, section 4.3: a partner that trusts the client with its password. The client is its own, or an ancestor's.
    async fn password(
        &self,
        request: &HttpRequest,
        form: &Form,
        credentials: ClientCredentials,
        token_request: TokenRequest,
    ) -> Result<OauthToken, ApiError> {
        let (name, password) = (form.required("username")?, form.required("password")?);
        let client = self.credentials.client(&credentials).await?;
        let login = self.credentials.login(name, password).await?;
        let partner_sid = login.partner_sid;
        if !revocation::reaches(&self.db, client.partner_sid, partner_sid).await? {
            return Err(no_login());
        }
        let held = self.effective(partner_sid).await?.ok_or_else(no_login)?;
        let scopes = token_request.within(&common(&client.scopes, &held))?;
        let actor = actor_of(request, partner_sid);
        let mut new = NewToken::of(partner_sid, Some(&client), scopes, token_request);
        new.renewable = Renewable::NewFamily;
        self.issue(&mut *self.db.acquire().await?, &actor, new).await
    }

    /// RFC 6749, section 6: a refresh token is good once, for its own client, and gives the next one.
    ///
    /// One that is used again was stolen from somebody: the whole family ends (RFC 9700, section 4.14.2).
    async fn refresh(
        &self,
        request: &HttpRequest,
        form: &Form,
        credentials: ClientCredentials,
        token_request: TokenRequest,
    ) -> Result<OauthToken, ApiError> {
        let refused = || invalid_grant("refresh_token", "is unknown, used or at its end");
        let secret = form.required("refresh_token")?;
        let client = self.credentials.client(&credentials).await?;
        let token = self.renewable(secret, &client).await?.ok_or_else(refused)?;
        let actor = actor_of(request, token.partner_sid);
        let held = self.effective(token.partner_sid).await?.ok_or_else(refused)?;
        let held = common(&client.scopes, &held);

        let mut tx = self.db.begin().await?;
        let mut stale = false;
        let spend = |token: &mut OauthToken| {
            stale = !token.spend();
            if stale { Err(refused()) } else { Ok(()) }
        };
        let spent = store::update_within(&mut tx, &actor, token.token_sid, spend).await;
        if stale {
            tx.rollback().await?;
            revocation::end_family(&self.db, &actor, token.family_sid).await?;
            return Err(refused());
        }
        let spent = spent?.object;
        // Where these are refused, nothing is committed: the refresh token is as good as before.
        let scopes = token_request.within(&common(&spent.scopes, &held))?;
        let mut new = NewToken::of(spent.partner_sid, Some(&client), scopes, token_request);
        new.name = new.name.or(spent.name);
        new.renewable = Renewable::Family(spent.family_sid);
        let token = self.issue(&mut tx, &actor, new).await?;
        tx.commit().await?;
        Ok(token)
    }

    /// The token that the refresh token renews, where the client is the one that it was given to.
    async fn renewable(
        &self,
        secret: &str,
        client: &OauthClient,
    ) -> Result<Option<OauthToken>, ApiError> {
        let Some(secret) = parse_sid(secret) else { return Ok(None) };
        let sid: Option<Uuid> = sqlx::query_scalar(
            "select sid from oauth_tokens where refresh_hash = $1 and client_id = $2",
        )
        .bind(hash(&secret.to_string()))
        .bind(client.client_id.to_string())
        .fetch_optional(&self.db)
        .await?;
        let Some(sid) = sid else { return Ok(None) };
        Ok(Some(store::get(&self.db, &Actor::operator(), sid).await?.object))
    }

    /// A token of a sub-partner, for the caller's own. Its scopes are held by both.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] where the partner is no descendant of the caller's, else as RFC 6749 (section 5.2) names them.
    pub async fn sub_partner_token(
        &self,
        caller: &Caller<OauthCreate>,
        partner_sid: Uuid,
        form: &Form,
    ) -> Result<OauthToken, ApiError> {
        form.get("grant_type").map(Grant::named).transpose()?;
        let token_request = TokenRequest::of(form)?;
        let client = self.own_client(caller, form).await?;
        let partner: Partner = store::get(&self.db, caller, partner_sid).await?.object;
        if caller.partner_sid() == Some(partner.partner_sid) {
            return Err(ApiError::NoItem);
        }
        let suspended = || invalid_grant("partner_sid", "the partner is suspended");
        let held = self.effective(partner_sid).await?.ok_or_else(suspended)?;
        let held = held.into_iter().filter(|scope| caller.scopes().contains(scope));
        let held: Vec<_> = match &client {
            Some(client) => held.filter(|scope| client.scopes.contains(*scope)).collect(),
            None => held.collect(),
        };
        let scopes = token_request.within(&held)?;
        let new = NewToken::of(partner_sid, client.as_ref(), scopes, token_request);
        self.issue(&mut *self.db.acquire().await?, caller, new).await
    }

    /// The client in the form, where there is one: it must be of the caller's own partner.
    async fn own_client(
        &self,
        caller: &Caller<OauthCreate>,
        form: &Form,
    ) -> Result<Option<OauthClient>, ApiError> {
        let Some(credentials) = ClientCredentials::in_form(form)? else { return Ok(None) };
        let client = self.credentials.client(&credentials).await?;
        if caller.partner_sid() == Some(client.partner_sid) {
            return Ok(Some(client));
        }
        let refused = ApiError::bad_argument("client_id", "must be a client of your partner");
        Err(refused.with_oauth_code(OauthError::UnauthorizedClient))
    }

    /// The scopes that the partner's tokens can have; none where it is suspended.
    pub(super) async fn effective(
        &self,
        partner_sid: Uuid,
    ) -> Result<Option<Vec<Scope>>, ApiError> {
        Ok(PartnerAncestry::of(&self.db, partner_sid)
            .await?
            .and_then(PartnerAncestry::effective_scopes))
    }

    async fn issue(
        &self,
        connection: &mut PgConnection,
        actor: &Actor,
        new: NewToken,
    ) -> Result<OauthToken, ApiError> {
        let NewToken { partner_sid, client_id, scopes, name, expires_in, renewable } = new;
        let keys = self.authenticator.keys();
        let (mut token, secret) =
            OauthToken::issue(keys, self.format, partner_sid, scopes, expires_in)
                .map_err(ApiError::Internal)?;
        (token.client_id, token.name) = (client_id, name);
        let refresh_token = match renewable {
            Renewable::Not => None,
            Renewable::NewFamily => Some(token.make_renewable(None)),
            Renewable::Family(family_sid) => Some(token.make_renewable(family_sid)),
        };
        let mut token = store::create_one(connection, actor, token).await?.object;
        (token.access_token, token.refresh_token) = (Some(secret), refresh_token);
        Ok(token)
    }
}

/// The scopes that are in both.
fn common(scopes: &Scopes, held: &[Scope]) -> Vec<Scope> {
    scopes.iter().filter(|scope| held.contains(scope)).collect()
}

/// A token to make.
struct NewToken {
    partner_sid: Uuid,
    client_id: Option<String>,
    scopes: Scopes,
    name: Option<Name>,
    expires_in: Duration,
    renewable: Renewable,
}

impl NewToken {
    fn of(
        partner_sid: Uuid,
        client: Option<&OauthClient>,
        scopes: Scopes,
        token_request: TokenRequest,
    ) -> Self {
        Self {
            partner_sid,
            client_id: client.map(|client| client.client_id.to_string()),
            scopes,
            name: token_request.name,
            expires_in: token_request.expires_in,
            renewable: Renewable::Not,
        }
    }
}

/// Whether a token comes with a refresh token.
enum Renewable {
    Not,
    NewFamily,
    Family(Option<Uuid>),
}

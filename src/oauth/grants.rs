//! The grants of tokens (RFC 6749). An error has the code of section 5.2.
//!
//! The time limit of the database does not include the verification of secrets, which may wait for
//! its turn and delays its failures.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest};
use sqlx::{Connection, PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::clients::OauthClient;
use super::console::{Client, ConsoleClient, Presented};
use super::credentials::{ClientCredentials, Credentials, Verified, no_client, no_login};
use super::family::is_in_subtree;
use super::forms::{Grant, SubPartnerTokenForm, TokenForm, TokenRequest, required};
use super::issuance::{self, Grantor};
use super::logins::PartnerLogin;
use super::token::OauthToken;
use crate::auth::{Actor, Authenticator, ClientIp, OauthCreate, PartnerAncestry, Scope, Scopes};
use crate::error::{ApiError, OauthError};
use crate::http::{Caller, actor_of};
use crate::input::date;
use crate::input::types::Name;
use crate::partners::Partner;
use crate::settings::{Settings, TokenFormat};
use crate::store::{self, Database};

pub(super) fn invalid_grant(field: &'static str, message: &'static str) -> ApiError {
    ApiError::bad_argument(field, message).with_oauth_code(OauthError::InvalidGrant)
}

/// Issues and revokes tokens.
pub struct Grants {
    pub(super) database: Database,
    pub(super) authenticator: Data<Authenticator>,
    pub(super) credentials: Credentials,
    format: TokenFormat,
    console: Option<ConsoleClient>,
}

impl Grants {
    /// Issues tokens of the format in the settings; opaque tokens if there is no key to sign a JWT.
    /// The console has a client unless it is off.
    ///
    /// # Errors
    /// If the operating system returns no random bytes.
    pub fn from_settings(
        database: &Database,
        authenticator: Data<Authenticator>,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let Settings { token_format: format, console, .. } = *settings;
        let format = if authenticator.keys().can_sign() { format } else { TokenFormat::Opaque };
        let credentials = Credentials::new(database.authentication().clone())?;
        let console = ConsoleClient::of(console);
        Ok(Self { credentials, database: database.clone(), authenticator, format, console })
    }

    /// The connections for look-ups, which no partner's transactions can take.
    pub(super) fn lookups(&self) -> &PgPool {
        self.database.authentication()
    }

    /// Issues the token that the form requests.
    ///
    /// # Errors
    /// `invalid_request`, `unsupported_grant_type`, `unauthorized_client`, `invalid_scope`,
    /// `invalid_client` or `invalid_grant`.
    pub async fn token(
        &self,
        request: &HttpRequest,
        form: &TokenForm,
    ) -> Result<OauthToken, ApiError> {
        let grant = form.grant()?;
        let token_request = form.token_request()?;
        let presented = self.presented(request, form)?;
        match grant {
            Grant::ClientCredentials => {
                self.client_credentials(request, presented, token_request).await
            }
            Grant::Password => self.password(request, form, presented, token_request).await,
            Grant::RefreshToken => self.refresh(request, form, presented, token_request).await,
        }
    }

    fn presented(&self, request: &HttpRequest, form: &TokenForm) -> Result<Presented, ApiError> {
        let is_basic = ClientCredentials::basic(request).is_some();
        let console = self.console.filter(|_| !is_basic && ConsoleClient::is_named(form));
        match console {
            Some(console) => console.presented(form),
            None => ClientCredentials::of(request, form).map(Presented::Registered),
        }
    }

    /// Returns the client, after it has authenticated.
    ///
    /// # Errors
    /// `invalid_client`
    pub(super) async fn client(
        &self,
        request: &HttpRequest,
        presented: &Presented,
    ) -> Result<Client, ApiError> {
        match presented {
            Presented::Console(console) => Ok(Client::Console(*console)),
            Presented::Registered(credentials) => {
                let client = self.credentials.client(credentials, address_of(request)).await?;
                Ok(Client::Registered(Box::new(client)))
            }
        }
    }

    /// RFC 6749, section 4.4: a token for the client's own partner. The client can request another
    /// one at any time, so there is no refresh token.
    async fn client_credentials(
        &self,
        request: &HttpRequest,
        presented: Presented,
        token_request: TokenRequest,
    ) -> Result<OauthToken, ApiError> {
        let Client::Registered(client) = self.client(request, &presented).await? else {
            let message = "must be `password` or `refresh_token` for the client `console`";
            let error = ApiError::bad_argument("grant_type", message);
            return Err(error.with_oauth_code(OauthError::UnauthorizedClient));
        };
        store::within_limit(async {
            let ancestry = self.active(client.partner_sid).await?.ok_or_else(no_client)?;
            let scopes = token_request.scopes_within(&client.scopes_within(&ancestry.scopes))?;
            let (partner_sid, client) = (client.partner_sid, Client::Registered(client));
            let actor = actor_of(request, partner_sid, ancestry.subtree_sid);
            let new = NewToken::of(partner_sid, Some(client), scopes, token_request);
            self.issue(&actor, new).await
        })
        .await
    }

    /// RFC 6749, section 4.3: a token for a login. The client belongs to the login's partner or to
    /// an ancestor of it, or is that of the console.
    async fn password(
        &self,
        request: &HttpRequest,
        form: &TokenForm,
        presented: Presented,
        token_request: TokenRequest,
    ) -> Result<OauthToken, ApiError> {
        let name = required("username", form.username.as_ref())?;
        let password = required("password", form.password.as_ref())?;
        let client = self.client(request, &presented).await?;
        let login = self.credentials.login(name, password, address_of(request)).await?;
        store::within_limit(async {
            let partner_sid = login.partner_sid;
            if let Client::Registered(client) = &client
                && !is_in_subtree(self.lookups(), client.partner_sid, partner_sid).await?
            {
                return Err(no_login());
            }
            let ancestry = self.active(partner_sid).await?.ok_or_else(no_login)?;
            let scopes = token_request.scopes_within(&client.scopes_within(&ancestry.scopes))?;
            let actor = actor_of(request, partner_sid, ancestry.subtree_sid);
            let mut new = NewToken::of(partner_sid, Some(client), scopes, token_request);
            new.renewable = Renewable::NewFamily(login);
            self.issue(&actor, new).await
        })
        .await
    }

    /// Issues a token of a sub-partner. Its scopes are held by the caller and by the sub-partner.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] if the partner is not a descendant of the caller's;
    /// `unsupported_grant_type`, `invalid_scope`, `invalid_client`, `unauthorized_client` or
    /// `invalid_grant`.
    pub async fn sub_partner_token(
        &self,
        caller: &Caller<OauthCreate>,
        partner_sid: Uuid,
        form: &SubPartnerTokenForm,
    ) -> Result<OauthToken, ApiError> {
        let token_request = form.token_request()?;
        let client = self.own_client(caller, form).await?;
        store::within_limit(async {
            let partner: Partner = store::get(self.lookups(), caller, partner_sid).await?.object;
            if caller.partner_sid() == Some(partner.partner_sid) {
                return Err(ApiError::NoItem);
            }
            let suspended = || invalid_grant("partner_sid", "the partner is suspended");
            let held = self.active(partner_sid).await?.ok_or_else(suspended)?.scopes;
            let mut held = Scope::common(caller.scopes(), &held);
            if let Some(client) = &client {
                held = Scope::common(&held, &client.scopes.to_vec());
            }
            let scopes = token_request.scopes_within(&held)?;
            let client = client.map(|client| Client::Registered(Box::new(client)));
            let new = NewToken::of(partner_sid, client, scopes, token_request);
            self.issue(caller, new).await
        })
        .await
    }

    /// Returns the client in the form, if there is one. It must belong to the caller's own partner.
    async fn own_client(
        &self,
        caller: &Caller<OauthCreate>,
        form: &SubPartnerTokenForm,
    ) -> Result<Option<Verified<OauthClient>>, ApiError> {
        let (client_id, client_secret) = (form.client_id.as_deref(), form.client_secret.as_deref());
        let credentials = ClientCredentials::in_form(client_id, client_secret)?;
        let Some(credentials) = credentials else { return Ok(None) };
        let client = self.credentials.client(&credentials, caller.ip()).await?;
        if caller.partner_sid() == Some(client.partner_sid) {
            return Ok(Some(client));
        }
        let error = ApiError::bad_argument("client_id", "must be a client of your partner");
        Err(error.with_oauth_code(OauthError::UnauthorizedClient))
    }

    /// Returns the partner's ancestry; `None` if the partner or an ancestor is suspended.
    pub(super) async fn active(
        &self,
        partner_sid: Uuid,
    ) -> Result<Option<PartnerAncestry>, ApiError> {
        let ancestry = PartnerAncestry::of(self.lookups(), partner_sid).await?;
        Ok(ancestry.filter(|ancestry| ancestry.active))
    }

    async fn issue(&self, actor: &Actor, new: NewToken) -> Result<OauthToken, ApiError> {
        let mut lease = self.database.transactions().acquire(actor).await?;
        let mut tx = lease.connection.begin().await?;
        issuance::hold(&mut tx, &new.grantors()).await?;
        let token = self.issue_within(&mut tx, actor, new).await?;
        tx.commit().await?;
        Ok(token)
    }

    /// Issues a token within a transaction that holds its grantors.
    pub(super) async fn issue_within(
        &self,
        tx: &mut PgConnection,
        actor: &Actor,
        new: NewToken,
    ) -> Result<OauthToken, ApiError> {
        let latest_end = new.check_grantors(tx).await?;
        let NewToken { partner_sid, client, scopes, name, mut expires_in, renewable } = new;
        if let Some(date) = latest_end {
            let left = Duration::try_from(date - date::now()).unwrap_or_default();
            expires_in = expires_in.min(Duration::from_secs(left.as_secs()));
        }
        let keys = self.authenticator.keys();
        let (mut token, secret) =
            OauthToken::issue(keys, self.format, partner_sid, scopes, expires_in)
                .map_err(ApiError::Internal)?;
        (token.client_id, token.name) = (client.map(|client| client.id()), name);
        let refresh_token = match renewable {
            Renewable::Not => None,
            Renewable::NewFamily(_) => Some(token.make_renewable()),
            Renewable::Successor(spent) => Some(token.succeed(&spent)),
        };
        if latest_end.is_some() {
            token.end(latest_end);
        }
        let token = store::create_one(tx, actor, token).await?.object;
        Ok(token.issued(secret, refresh_token))
    }
}

/// The address of the client that sent a request.
pub(super) fn address_of(request: &HttpRequest) -> Option<IpAddr> {
    request.extensions().get::<ClientIp>().map(|client| client.0)
}

/// A token to issue.
pub(super) struct NewToken {
    partner_sid: Uuid,
    client: Option<Client>,
    scopes: Scopes,
    pub name: Option<Name>,
    expires_in: Duration,
    pub renewable: Renewable,
}

impl NewToken {
    pub fn of(
        partner_sid: Uuid,
        client: Option<Client>,
        scopes: Scopes,
        token_request: TokenRequest,
    ) -> Self {
        Self {
            partner_sid,
            client,
            scopes,
            name: token_request.name,
            expires_in: token_request.expires_in,
            renewable: Renewable::Not,
        }
    }

    fn grantors(&self) -> Vec<Grantor> {
        let client = self.client.as_ref().and_then(Client::grantor);
        let login = match &self.renewable {
            Renewable::NewFamily(login) => Some(Grantor::Login(login.partner_sid)),
            Renewable::Not | Renewable::Successor(_) => None,
        };
        client.into_iter().chain(login).collect()
    }

    /// Checks that the secrets that were verified are still accepted. Returns the date at which the
    /// token must end, if its client's secret ends.
    async fn check_grantors(
        &self,
        tx: &mut PgConnection,
    ) -> Result<Option<OffsetDateTime>, ApiError> {
        let latest_end = match self.client.as_ref().and_then(Client::registered) {
            Some(client) => sqlx::query_scalar(
                "select case when secret_hash = $2 then null else date_old_secret_expires end
                 from oauth_clients
                 where sid = $1 and (secret_hash = $2
                     or (old_secret_hash = $2 and date_old_secret_expires > clock_timestamp()))",
            )
            .bind(client.client_id)
            .bind(&client.hash)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(no_client)?,
            None => None,
        };
        if let Renewable::NewFamily(login) = &self.renewable {
            let is_accepted: bool = sqlx::query_scalar(
                "select exists (select from partner_logins where sid = $1 and password_hash = $2)",
            )
            .bind(login.login_sid)
            .bind(&login.hash)
            .fetch_one(tx)
            .await?;
            if !is_accepted {
                return Err(no_login());
            }
        }
        Ok(latest_end)
    }
}

/// The refresh token of a new token: none, the first of a family for a login, or the next one after
/// a token whose refresh token was used.
pub(super) enum Renewable {
    Not,
    NewFamily(Verified<PartnerLogin>),
    Successor(Box<OauthToken>),
}

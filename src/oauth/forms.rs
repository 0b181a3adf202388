//! The forms of the OAuth endpoints.

use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;

use super::token::{DEFAULT_EXPIRES_IN, MAX_EXPIRES_IN};
use crate::auth::{Scope, Scopes};
use crate::error::{ApiError, OauthError};
use crate::http::{member, some};
use crate::input::types::Name;

/// The grants, by their `grant_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Grant {
    /// The secret of a client.
    ClientCredentials,
    /// The login and the password of a partner.
    Password,
    /// The refresh token of an earlier token.
    RefreshToken,
}

impl Grant {
    /// Returns the grant of that name.
    ///
    /// # Errors
    /// `unsupported_grant_type`.
    pub fn named(name: &str) -> Result<Self, ApiError> {
        match name {
            "client_credentials" => Ok(Self::ClientCredentials),
            "password" => Ok(Self::Password),
            "refresh_token" => Ok(Self::RefreshToken),
            _ => {
                let message = "must be `client_credentials`, `password` or `refresh_token`";
                let error = ApiError::bad_argument("grant_type", message);
                Err(error.with_oauth_code(OauthError::UnsupportedGrantType))
            }
        }
    }
}

/// The form of a token request (RFC 6749).
#[derive(Deserialize, ToSchema)]
pub struct TokenForm {
    /// The lifetime of the token in seconds. One hour by default.
    #[serde(default)]
    #[schema(value_type = u64, minimum = 1, maximum = 3_153_600_000_u64)]
    pub access_token_expires_in: Lifetime,
    /// The client, if it does not authenticate with HTTP Basic. `console` is the client of the
    /// console: it has no secret and can use the grants `password` and `refresh_token`.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, pattern = r"^[^\u0000]*$")]
    pub client_id: Option<String>,
    /// The secret of the client.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, pattern = r"^[^\u0000]*$")]
    pub client_secret: Option<String>,
    /// The grant.
    #[schema(value_type = Grant)]
    pub grant_type: String,
    /// The name of the token.
    #[serde(default, deserialize_with = "member")]
    #[schema(value_type = Name)]
    pub name: Option<Name>,
    /// The password of `username`, for the grant `password`.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, pattern = r"^[^\u0000]*$")]
    pub password: Option<String>,
    /// The refresh token, for the grant `refresh_token`.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, pattern = r"^[^\u0000]*$")]
    pub refresh_token: Option<String>,
    /// The scopes of the token, separated by spaces or commas. By default all that the client and
    /// the partner have in common.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, pattern = r"^[^\u0000]*$")]
    pub scope: Option<String>,
    /// The login of a partner, for the grant `password`.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, pattern = r"^[^\u0000]*$")]
    pub username: Option<String>,
}

/// The form of a request for a token of a sub-partner. Every field is optional.
#[derive(Deserialize, ToSchema)]
pub struct SubPartnerTokenForm {
    /// The lifetime of the token in seconds. One hour by default.
    #[serde(default)]
    #[schema(value_type = u64, minimum = 1, maximum = 3_153_600_000_u64)]
    pub access_token_expires_in: Lifetime,
    /// A client of the caller's partner.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, pattern = r"^[^\u0000]*$")]
    pub client_id: Option<String>,
    /// The secret of the client.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, pattern = r"^[^\u0000]*$")]
    pub client_secret: Option<String>,
    /// A grant. It has no effect, because the caller's token is the grant.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Grant)]
    pub grant_type: Option<String>,
    /// The name of the token.
    #[serde(default, deserialize_with = "member")]
    #[schema(value_type = Name)]
    pub name: Option<Name>,
    /// The scopes of the token, separated by spaces or commas. By default all that the caller's
    /// token and the sub-partner have in common.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, pattern = r"^[^\u0000]*$")]
    pub scope: Option<String>,
}

/// The form of a revocation (RFC 7009).
#[derive(Deserialize, ToSchema)]
pub struct RevocationForm {
    /// An access token or a refresh token. By default the caller's token.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, pattern = r"^[^\u0000]*$")]
    pub token: Option<String>,
    /// Accepted without effect: a token is found without a hint.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, pattern = r"^[^\u0000]*$")]
    pub token_type_hint: Option<String>,
}

/// The lifetime of a token.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Lifetime(Duration);

impl Default for Lifetime {
    fn default() -> Self {
        Self(Duration::from_secs(DEFAULT_EXPIRES_IN))
    }
}

impl TryFrom<String> for Lifetime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let seconds = text.parse().ok().filter(|seconds| (1..=MAX_EXPIRES_IN).contains(seconds));
        seconds
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| format!("must be a number of seconds from 1 to {MAX_EXPIRES_IN}"))
    }
}

/// What a form requests of a token, for every grant.
pub struct TokenRequest {
    /// The requested scopes; `None` requests all that can be granted.
    scopes: Option<Scopes>,
    /// The name of the token.
    pub name: Option<Name>,
    /// The lifetime of the token.
    pub expires_in: Duration,
}

impl TokenRequest {
    fn new(
        scope: Option<&str>,
        name: Option<Name>,
        Lifetime(expires_in): Lifetime,
    ) -> Result<Self, ApiError> {
        Ok(Self { scopes: scope.map(scopes).transpose()?, name, expires_in })
    }

    /// Returns the scopes of the token.
    ///
    /// # Errors
    /// `invalid_scope` with the scopes that are requested but not in `grantable`.
    pub fn scopes_within(&self, grantable: &[Scope]) -> Result<Scopes, ApiError> {
        let Some(scopes) = &self.scopes else { return Ok(grantable.iter().copied().collect()) };
        match scopes.outside(grantable) {
            None => Ok(scopes.clone()),
            Some(beyond) => Err(invalid_scope(format!("cannot be granted: {beyond}"))),
        }
    }
}

impl TokenForm {
    /// Returns the grant.
    ///
    /// # Errors
    /// As [`Grant::named`].
    pub fn grant(&self) -> Result<Grant, ApiError> {
        Grant::named(&self.grant_type)
    }

    /// Returns what the form requests of the token.
    ///
    /// # Errors
    /// `invalid_scope` if a scope is unknown.
    pub fn token_request(&self) -> Result<TokenRequest, ApiError> {
        TokenRequest::new(self.scope.as_deref(), self.name.clone(), self.access_token_expires_in)
    }
}

impl SubPartnerTokenForm {
    /// Returns what the form requests of the token.
    ///
    /// # Errors
    /// `invalid_scope` if a scope is unknown, `unsupported_grant_type` if the grant is.
    pub fn token_request(&self) -> Result<TokenRequest, ApiError> {
        self.grant_type.as_deref().map(Grant::named).transpose()?;
        TokenRequest::new(self.scope.as_deref(), self.name.clone(), self.access_token_expires_in)
    }
}

/// Returns a field that the grant requires.
///
/// # Errors
/// `invalid_request` if it is absent.
pub(super) fn required<'a>(
    name: &'static str,
    field: Option<&'a String>,
) -> Result<&'a str, ApiError> {
    let absent = || ApiError::bad_argument(name, "must be present");
    field.map(String::as_str).ok_or_else(|| absent().with_oauth_code(OauthError::InvalidRequest))
}

/// Parses names that are separated by spaces (RFC 6749, section 3.3) or commas (as at CarrierX).
fn scopes(text: &str) -> Result<Scopes, ApiError> {
    let names = text.split([' ', ',']).filter(|name| !name.is_empty());
    let known = |name| Scope::named(name).ok_or_else(|| invalid_scope(Scope::unknown(name)));
    names.map(known).collect()
}

fn invalid_scope(message: String) -> ApiError {
    ApiError::bad_argument("scope", message).with_oauth_code(OauthError::InvalidScope)
}

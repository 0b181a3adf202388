//! The client of the console, and what it has in common with registered clients.
//!
//! A page cannot keep a secret, so its client has none. It can only get tokens for a login, whose
//! password is checked as for every client, and only while the console is served. Its tokens live
//! for an hour at most, so that they end soon after the console is switched off.

use std::time::Duration;

use super::clients::OauthClient;
use super::credentials::{ClientCredentials, Verified};
use super::forms::TokenForm;
use super::issuance::Grantor;
use super::token::DEFAULT_EXPIRES_IN;
use crate::auth::Scope;
use crate::error::{ApiError, OauthError};
use crate::settings::ConsoleMode;

/// The `client_id` of the console.
const CLIENT_ID: &str = "console";
/// The longest lifetime of its tokens.
const MAX_LIFETIME: Duration = Duration::from_secs(DEFAULT_EXPIRES_IN);
/// The scopes of its tokens while the console is read-only.
const READ_SCOPES: [Scope; 5] = [
    Scope::PhonenumberRead,
    Scope::PhonenumberReadDescendant,
    Scope::PartnersRead,
    Scope::OauthRead,
    Scope::EventsRead,
];

/// The client of a console that is served.
#[derive(Clone, Copy)]
pub(super) struct ConsoleClient {
    is_read_only: bool,
}

impl ConsoleClient {
    /// Returns the client of a console in that mode. It has none if it is off.
    pub fn of(mode: ConsoleMode) -> Option<Self> {
        match mode {
            ConsoleMode::On => Some(Self { is_read_only: false }),
            ConsoleMode::ReadOnly => Some(Self { is_read_only: true }),
            ConsoleMode::Off => None,
        }
    }

    /// Whether the form names this client.
    pub fn is_named(form: &TokenForm) -> bool {
        form.client_id.as_deref() == Some(CLIENT_ID)
    }

    /// Returns the client, as that form presents it.
    ///
    /// # Errors
    /// `invalid_request` for a secret or a long lifetime.
    pub fn presented(self, form: &TokenForm) -> Result<Presented, ApiError> {
        let invalid = |field, message: String| {
            let error = ApiError::bad_argument(field, message);
            Err(error.with_oauth_code(OauthError::InvalidRequest))
        };
        if form.client_secret.is_some() {
            let message = "must be absent: the client `console` has no secret";
            return invalid("client_secret", message.to_owned());
        }
        if form.token_request()?.expires_in > MAX_LIFETIME {
            let seconds = MAX_LIFETIME.as_secs();
            let message = format!("must be at most {seconds} for the client `console`");
            return invalid("access_token_expires_in", message);
        }
        Ok(Presented::Console(self))
    }
}

/// The client in a request, before it is authenticated.
pub(super) enum Presented {
    /// A client of a partner.
    Registered(ClientCredentials),
    /// The client of the console.
    Console(ConsoleClient),
}

/// The client that a token is issued to, after it has authenticated.
pub(super) enum Client {
    /// A client of a partner.
    Registered(Box<Verified<OauthClient>>),
    /// The client of the console, which belongs to no partner.
    Console(ConsoleClient),
}

impl Client {
    /// The `client_id` of its tokens.
    pub fn id(&self) -> String {
        match self {
            Self::Registered(client) => client.client_id.to_string(),
            Self::Console(_) => CLIENT_ID.to_owned(),
        }
    }

    /// Returns the client of a partner.
    pub fn registered(&self) -> Option<&Verified<OauthClient>> {
        match self {
            Self::Registered(client) => Some(client),
            Self::Console(_) => None,
        }
    }

    pub fn grantor(&self) -> Option<Grantor> {
        self.registered().map(|client| Grantor::Client(client.client_id))
    }

    /// Returns the scopes that a token of the client can carry if its partner holds these.
    pub fn scopes_within(&self, held: &[Scope]) -> Vec<Scope> {
        match self {
            Self::Registered(client) => client.scopes_within(held),
            Self::Console(ConsoleClient { is_read_only: true }) => {
                Scope::common(&READ_SCOPES, held)
            }
            Self::Console(_) => held.to_vec(),
        }
    }
}

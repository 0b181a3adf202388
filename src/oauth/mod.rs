//! OAuth 2.0: tokens, and the clients and logins that obtain them.

mod clients;
mod credentials;
mod family;
mod forms;
mod grants;
pub mod handlers;
mod logins;
mod revocation;
mod token;

pub use clients::OauthClient;
pub use credentials::Credentials;
pub use grants::Grants;
pub use logins::{PartnerLogin, Password};
pub use token::{DEFAULT_EXPIRES_IN, MAX_EXPIRES_IN, OauthToken, TokenChanges, TokenType};

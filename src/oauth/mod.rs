//! OAuth 2.0: tokens, and the clients and logins that obtain them.

mod clients;
mod console;
mod credentials;
mod ended;
mod family;
mod forms;
mod grants;
pub mod handlers;
mod issuance;
mod limits;
mod logins;
mod refresh;
mod revocation;
mod token;

pub use clients::{OauthClient, revoke_client, rotate_client};
pub use credentials::Credentials;
pub use ended::EndedTokens;
pub use grants::Grants;
pub use logins::{PartnerLogin, Password, disable_login, set_password};
pub use token::{DEFAULT_EXPIRES_IN, MAX_EXPIRES_IN, OauthToken, TokenChanges, TokenType};

//! The settings of webhooks.

use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::SecretString;

use super::values::{network, secret};

/// The settings of webhooks.
#[derive(Clone, Debug, clap::Args)]
pub struct WebhookSettings {
    /// Key that encrypts the secrets of webhook endpoints, at least 32 bytes [default: none]
    ///
    /// `openssl rand -hex 32` makes one. All instances need the same key. Without it, endpoints can
    /// be neither created nor rotated, and nothing is delivered. With another key, each endpoint
    /// has to be created again, unless the next setting has the old one. `dev` has a key of its own
    /// unless this one is set.
    #[arg(
        long,
        env = "SHORTLINE_EVENTS_KEY",
        value_name = "SECRET",
        hide_env_values = true,
        global = true
    )]
    events_key: Option<SecretString>,
    /// File that contains the key of the secrets of endpoints
    ///
    /// Whitespace at the end of the file is ignored.
    #[arg(long, env = "SHORTLINE_EVENTS_KEY_FILE", value_name = "FILE", global = true)]
    events_key_file: Option<PathBuf>,
    /// Key that decrypts the secrets of endpoints in addition, and encrypts none: the one before or
    /// after a rotation [default: none]
    ///
    /// Remove it after `shortline events reencrypt`.
    #[arg(
        long,
        env = "SHORTLINE_EVENTS_KEY_PREVIOUS",
        value_name = "SECRET",
        hide_env_values = true,
        global = true
    )]
    events_key_previous: Option<SecretString>,
    /// File that contains the key before or after a rotation
    ///
    /// Whitespace at the end of the file is ignored.
    #[arg(long, env = "SHORTLINE_EVENTS_KEY_PREVIOUS_FILE", value_name = "FILE", global = true)]
    events_key_previous_file: Option<PathBuf>,
    /// Networks that are not public and to which webhooks are delivered all the same: networks or
    /// addresses, separated by commas [default: none; with `dev`: loopback addresses]
    ///
    /// Link-local addresses, those of cloud metadata services, and IPv6 addresses that contain an
    /// IPv4 address are never allowed.
    #[arg(
        long,
        env = "SHORTLINE_EVENTS_ALLOW",
        value_name = "NETWORKS",
        value_parser = network,
        value_delimiter = ',',
        global = true
    )]
    pub events_allow: Vec<IpNet>,
}

impl WebhookSettings {
    /// Returns the key that encrypts the secrets of endpoints.
    ///
    /// # Errors
    /// See the module.
    pub fn events_key(&self) -> anyhow::Result<Option<SecretString>> {
        secret("SHORTLINE_EVENTS_KEY", &self.events_key, &self.events_key_file)
    }

    /// Returns the key that decrypts the secrets of endpoints in addition.
    ///
    /// # Errors
    /// See the module.
    pub fn events_key_previous(&self) -> anyhow::Result<Option<SecretString>> {
        let name = "SHORTLINE_EVENTS_KEY_PREVIOUS";
        secret(name, &self.events_key_previous, &self.events_key_previous_file)
    }

    /// Sets the key that encrypts the secrets of endpoints.
    pub fn set_events_key(&mut self, key: SecretString) {
        self.events_key = Some(key);
    }
}

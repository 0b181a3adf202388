//! The values of settings: how their text is parsed, and secrets from files.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// Parses a rate in requests per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "expected a number from 0.001 to 1000000".to_owned())
}

/// Parses a network. A single address is a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "expected a network such as 10.0.0.0/8, or an address".to_owned())
}

/// Checks the public URL and removes slashes at its end.
pub(super) fn public_url(text: &str) -> Result<String, String> {
    match Url::parse(text) {
        Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("expected a URL with a host that starts with http:// or https://".to_owned()),
    }
}

/// Returns the secret, from the setting itself or from its file. Whitespace at the end, such as the
/// newline that a shell or an editor adds, is no part of it.
pub(super) fn secret(
    name: &str,
    value: &Option<SecretString>,
    file: &Option<PathBuf>,
) -> anyhow::Result<Option<SecretString>> {
    match (value, file) {
        (Some(_), Some(_)) => {
            bail!("`{name}` and `{name}_FILE` are both set; unset one")
        }
        (Some(value), None) => Ok(Some(trimmed(value.expose_secret()))),
        (None, Some(file)) => Ok(Some(trimmed(&read(file)?))),
        (None, None) => Ok(None),
    }
}

fn trimmed(secret: &str) -> SecretString {
    secret.trim_end().into()
}

/// Reads a file.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

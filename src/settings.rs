//! The settings, from flags and the environment. Their doc comments are the manual.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use url::Url;

/// The format of new tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TokenFormat {
    /// A signed JSON Web Token.
    Jwt,
    /// A random UUID that only the database knows.
    Opaque,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Everything that can be set. A flag is named as its variable, without `SHORTLINE_`.
#[derive(Clone, Debug, clap::Parser)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// The PostgreSQL database, as `postgres://user:password@host/name`
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, global = true)]
    database_url: Option<SecretString>,
    /// A file that holds the database's URL
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE", global = true)]
    database_url_file: Option<PathBuf>,
    /// How many connections to the database the pool keeps at most; beside it, up to four for each core serve what is batched
    #[arg(
        long,
        env = "SHORTLINE_DATABASE_CONNECTIONS",
        value_name = "N",
        default_value = "16",
        value_parser = clap::value_parser!(u32).range(1..),
        global = true
    )]
    pub database_connections: u32,
    /// Where the service listens
    #[arg(
        long,
        env = "SHORTLINE_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        global = true
    )]
    pub listen: SocketAddr,
    /// The URL that clients know the service by, for links to other pages; else that of each request
    #[arg(long, env = "SHORTLINE_PUBLIC_URL", value_name = "URL", value_parser = public_url, global = true)]
    pub public_url: Option<String>,
    /// The secret that JWTs are signed and verified with (HS256), at least 32 bytes
    #[arg(
        long,
        env = "SHORTLINE_JWT_SECRET",
        value_name = "SECRET",
        hide_env_values = true,
        global = true
    )]
    jwt_secret: Option<SecretString>,
    /// A file that holds this secret
    #[arg(long, env = "SHORTLINE_JWT_SECRET_FILE", value_name = "FILE", global = true)]
    jwt_secret_file: Option<PathBuf>,
    /// A file of public keys (PEM or JWK set) that JWTs are verified with: EdDSA, ES256, RS256
    #[arg(long, env = "SHORTLINE_JWT_KEYS", value_name = "FILE", global = true)]
    jwt_keys: Option<PathBuf>,
    /// A file with the private key (PEM, PKCS #8) that JWTs are signed with, in place of the secret
    #[arg(long, env = "SHORTLINE_JWT_SIGNING_KEY", value_name = "FILE", global = true)]
    jwt_signing_key: Option<PathBuf>,
    /// The issuer that every JWT must name
    #[arg(long, env = "SHORTLINE_JWT_ISSUER", value_name = "NAME", global = true)]
    pub jwt_issuer: Option<String>,
    /// The audience that every JWT must name
    #[arg(long, env = "SHORTLINE_JWT_AUDIENCE", value_name = "NAME", global = true)]
    pub jwt_audience: Option<String>,
    /// The kind of token that is made where nobody says
    #[arg(
        long,
        env = "SHORTLINE_TOKEN_FORMAT",
        value_name = "FORMAT",
        default_value = "jwt",
        global = true
    )]
    pub token_format: TokenFormat,
    /// How long the service goes on after SIGTERM, so that the balancer can turn away, in seconds [default: 10; dev: 0]
    #[arg(long, env = "SHORTLINE_DRAIN_SECONDS", value_name = "SECONDS", global = true)]
    pub drain_seconds: Option<u64>,
    /// Networks whose forwarded headers are believed, separated by commas
    #[arg(
        long,
        env = "SHORTLINE_TRUSTED_PROXIES",
        value_name = "NETWORKS",
        value_parser = network,
        value_delimiter = ',',
        global = true
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// How long entries of the history are kept, in months: for ever where it is not set
    #[arg(
        long,
        env = "SHORTLINE_HISTORY_MONTHS",
        value_name = "MONTHS",
        value_parser = clap::value_parser!(u32).range(1..=1_200),
        global = true
    )]
    pub history_months: Option<u32>,
    /// How many requests a second each partner may make, by all its tokens together, on this instance: several instances
    /// let through as many times more. Fractions are fine, as 0.5 for one in two seconds; no limit where it is not set
    #[arg(long, env = "SHORTLINE_RATE", value_name = "RATE", value_parser = rate, global = true)]
    rate: Option<f64>,
    /// How many of them a partner that was quiet may make at once [default: those of a second, at least 1]
    #[arg(
        long,
        env = "SHORTLINE_BURST",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        global = true
    )]
    burst: Option<u32>,
    /// Where `/metrics` is served, in Prometheus' text format, and nothing else; nowhere where it is not set
    #[arg(long, env = "SHORTLINE_METRICS_LISTEN", value_name = "ADDRESS", global = true)]
    pub metrics_listen: Option<SocketAddr>,
    /// How log lines look; `text` on a terminal, else `json`
    #[arg(long, env = "SHORTLINE_LOG_FORMAT", value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
    /// Which log lines are written, as in `warn,shortline=debug`
    #[arg(
        long,
        env = "RUST_LOG",
        value_name = "FILTER",
        default_value = "warn,shortline=info",
        global = true
    )]
    pub log: String,
}

impl Settings {
    /// The URL of the database.
    ///
    /// # Errors
    /// Where it is not set, or its file cannot be read.
    pub fn database_url(&self) -> anyhow::Result<SecretString> {
        secret("DATABASE_URL", &self.database_url, &self.database_url_file)?
            .context("DATABASE_URL is not set; it names the PostgreSQL database (to try things out: `shortline dev`)")
    }

    /// The options of a connection to the configured database.
    ///
    /// # Errors
    /// If no URL is set, or it is not valid.
    pub fn database(&self) -> anyhow::Result<PgConnectOptions> {
        let url = self.database_url()?;
        let options = PgConnectOptions::from_str(url.expose_secret())
            .context("DATABASE_URL is not a valid PostgreSQL URL")?;
        Ok(options.application_name("shortline"))
    }

    /// The secret that JWTs are signed and verified with.
    ///
    /// # Errors
    /// Where its file cannot be read.
    pub fn jwt_secret(&self) -> anyhow::Result<Option<SecretString>> {
        secret("SHORTLINE_JWT_SECRET", &self.jwt_secret, &self.jwt_secret_file)
    }

    /// Sets the secret that JWTs are signed and verified with.
    pub fn set_jwt_secret(&mut self, secret: SecretString) {
        self.jwt_secret = Some(secret);
    }

    /// How many requests a second each partner may make, and how many at once; none where there is no limit.
    ///
    /// # Errors
    /// Where only the latter is set.
    pub fn rate(&self) -> anyhow::Result<Option<(f64, NonZeroU32)>> {
        let Some(rate) = self.rate else {
            ensure!(self.burst.is_none(), "SHORTLINE_BURST is set, but not SHORTLINE_RATE");
            return Ok(None);
        };
        let burst = self.burst.unwrap_or(rate.ceil() as u32);
        Ok(Some((rate, NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN))))
    }

    /// The public keys that JWTs are verified with, as a PEM or JWK set.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn jwt_keys(&self) -> anyhow::Result<Option<String>> {
        self.jwt_keys.as_deref().map(read).transpose()
    }

    /// The private key that JWTs are signed with, as a PEM.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn jwt_signing_key(&self) -> anyhow::Result<Option<SecretString>> {
        self.jwt_signing_key.as_deref().map(|file| read(file).map(SecretString::from)).transpose()
    }
}

/// Requests a second, from one in 1,000 seconds to a million.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "must be a number from 0.001 to 1000000".to_owned())
}

/// A network, or an address as a network of one.
fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "must be a network such as 10.0.0.0/8, or an address".to_owned())
}

fn public_url(text: &str) -> Result<String, String> {
    match Url::parse(text) {
        Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("must start with http:// or https:// and name a host".to_owned()),
    }
}

/// The secret itself, or what its file holds.
fn secret(
    name: &str,
    value: &Option<SecretString>,
    file: &Option<PathBuf>,
) -> anyhow::Result<Option<SecretString>> {
    match (value, file) {
        (Some(_), Some(_)) => {
            bail!("both {name} and {name}_FILE are set; which of the two counts?")
        }
        (Some(value), None) => Ok(Some(value.clone())),
        (None, Some(file)) => Ok(Some(read(file)?.trim_end().to_owned().into())),
        (None, None) => Ok(None),
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_burst_is_what_comes_in_a_second_where_nobody_says() {
        let parse = |flags: &[&str]| Settings::try_parse_from([&["shortline"], flags].concat());
        let burst = |flags| parse(flags).unwrap().rate().unwrap().unwrap().1.get();
        assert_eq!(burst(&["--rate", "0.5"]), 1);
        assert_eq!(burst(&["--rate", "20.1"]), 21);
        assert_eq!(burst(&["--rate", "20", "--burst", "5"]), 5);
        for refused in [
            &["--rate", "0"][..],
            &["--rate", "-1"],
            &["--rate", "nan"],
            &["--rate", "many"],
            &["--rate", "1", "--burst", "0"],
        ] {
            assert!(parse(refused).is_err(), "{refused:?}");
        }
        assert!(parse(&["--burst", "5"]).unwrap().rate().is_err());
        assert_eq!(parse(&[]).unwrap().rate().unwrap(), None);
    }
}

//! Settings from flags and environment variables.
//!
//! The doc comments of [`Settings`] are the manual: `--help` and docs/configuration.md are made
//! from them. A default that is not a plain value ends the first paragraph: `[default: none]`.
//!
//! Errors: a setting that is missing, contradicts another one or names a file that cannot be read.

mod choices;
#[cfg(test)]
mod page;
mod values;
mod webhooks;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::builder::BoolishValueParser;
use ipnet::IpNet;
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;

pub use self::choices::{ConsoleMode, LogFormat, TokenFormat};
use self::values::{connect_options, network, public_url, rate, read, secret};
pub use self::webhooks::WebhookSettings;

/// The heading of the settings in `--help`.
pub const SETTINGS: &str = "Settings";

/// All settings. Each has a flag and an environment variable.
#[derive(Clone, Debug, clap::Parser)]
#[command(next_help_heading = SETTINGS)]
pub struct Settings {
    /// URL of the PostgreSQL database, such as `postgres://user:password@host:5432/name`
    ///
    /// `dev` ignores it and runs a private database. Every other command that uses the database
    /// needs it.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, global = true)]
    database_url: Option<SecretString>,
    /// File that contains the database URL
    ///
    /// Whitespace at the end of the file is ignored.
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE", global = true)]
    database_url_file: Option<PathBuf>,
    /// Maximum number of connections to the database, at least 9
    ///
    /// An instance divides them: one each for probes and maintenance, an eighth each for token
    /// lookups and for lists, a quarter for transactions, and the rest for batches, half of them
    /// for reads. No partner gets more than half of those for lists or of those for transactions.
    /// With at least seven connections for batches per CPU core, each worker has one of its own;
    /// otherwise the workers share them.
    #[arg(
        long,
        env = "SHORTLINE_DATABASE_CONNECTIONS",
        value_name = "N",
        default_value = "32",
        value_parser = clap::value_parser!(u32).range(9..),
        global = true
    )]
    pub database_connections: u32,
    /// Check that the database's schema is not older than the release, and never change it
    /// [default: `serve` applies missing migrations]
    ///
    /// For a role that does not own the schema: see deploy/grants.sql. `shortline migrate` applies
    /// the migrations as the owner.
    #[arg(
        long,
        env = "SHORTLINE_NO_MIGRATE",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub no_migrate: bool,
    /// Address and port on which the service listens
    ///
    /// Port 0 selects a free port. `healthcheck` uses the same setting to find the service.
    #[arg(
        long,
        env = "SHORTLINE_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        global = true
    )]
    pub listen: SocketAddr,
    /// Base URL under which clients reach the service, such as `https://api.example.com`, for links
    /// in responses [default: scheme and host of the request]
    ///
    /// It can have a path, which a proxy removes. The pages at `/console` and `/docs` and the
    /// servers of the OpenAPI document have it too.
    #[arg(
        long,
        env = "SHORTLINE_PUBLIC_URL",
        value_name = "URL",
        value_parser = public_url,
        global = true
    )]
    pub public_url: Option<String>,
    /// The console, a page at `/console` on which people read and change objects
    ///
    /// With `read-only`, its sign-in issues tokens that can only read. With `off`, neither the page
    /// nor its OAuth client `console` exists.
    #[arg(
        long,
        env = "SHORTLINE_CONSOLE",
        value_name = "MODE",
        default_value = "on",
        global = true
    )]
    pub console: ConsoleMode,
    /// Secret that signs and verifies JWTs (HS256), at least 32 bytes
    ///
    /// `openssl rand -hex 32` makes one. `serve` needs this secret or SHORTLINE_JWT_KEYS, unless
    /// SHORTLINE_TOKEN_FORMAT is `opaque`. `dev` makes a new secret at each start if neither is
    /// set.
    #[arg(
        long,
        env = "SHORTLINE_JWT_SECRET",
        value_name = "SECRET",
        hide_env_values = true,
        global = true
    )]
    jwt_secret: Option<SecretString>,
    /// File that contains the JWT secret
    ///
    /// Whitespace at the end of the file is ignored.
    #[arg(long, env = "SHORTLINE_JWT_SECRET_FILE", value_name = "FILE", global = true)]
    jwt_secret_file: Option<PathBuf>,
    /// Secret that verifies JWTs (HS256) in addition, and signs none: the one before a rotation
    ///
    /// Remove it when the tokens that it has signed have expired.
    #[arg(
        long,
        env = "SHORTLINE_JWT_SECRET_PREVIOUS",
        value_name = "SECRET",
        hide_env_values = true,
        global = true
    )]
    jwt_secret_previous: Option<SecretString>,
    /// File that contains the JWT secret before a rotation
    ///
    /// Whitespace at the end of the file is ignored.
    #[arg(long, env = "SHORTLINE_JWT_SECRET_PREVIOUS_FILE", value_name = "FILE", global = true)]
    jwt_secret_previous_file: Option<PathBuf>,
    /// File of public keys that verify JWTs (EdDSA, ES256, RS256), as PEM or as a JWK set
    ///
    /// The file may contain several keys. Instances read this file, and the other files of keys and
    /// secrets of JWTs, again within five seconds of a change, and on SIGHUP.
    #[arg(long, env = "SHORTLINE_JWT_KEYS", value_name = "FILE", global = true)]
    jwt_keys: Option<PathBuf>,
    /// File of the private key that signs JWTs, as PEM (PKCS #8)
    ///
    /// Its public key must be in SHORTLINE_JWT_KEYS. If SHORTLINE_JWT_SECRET is set as well, this
    /// key signs and both verify.
    #[arg(long, env = "SHORTLINE_JWT_SIGNING_KEY", value_name = "FILE", global = true)]
    jwt_signing_key: Option<PathBuf>,
    /// Issuer (`iss`) that every JWT must name [default: not checked]
    ///
    /// Issued JWTs carry it.
    #[arg(long, env = "SHORTLINE_JWT_ISSUER", value_name = "NAME", global = true)]
    pub jwt_issuer: Option<String>,
    /// Audience (`aud`) that every JWT must name [default: not checked]
    ///
    /// Issued JWTs carry it.
    #[arg(long, env = "SHORTLINE_JWT_AUDIENCE", value_name = "NAME", global = true)]
    pub jwt_audience: Option<String>,
    /// Format of issued access tokens
    ///
    /// Without a key to sign with, the OAuth endpoints issue opaque tokens.
    #[arg(
        long,
        env = "SHORTLINE_TOKEN_FORMAT",
        value_name = "FORMAT",
        default_value = "jwt",
        global = true
    )]
    pub token_format: TokenFormat,
    /// Seconds for which the service continues to serve after SIGTERM or SIGINT, while `/readyz`
    /// reports 503 [default: 10; with `dev`: 0]
    ///
    /// The load balancer needs this time to stop sending requests. A second signal ends it.
    #[arg(long, env = "SHORTLINE_DRAIN_SECONDS", value_name = "SECONDS", global = true)]
    pub drain_seconds: Option<u64>,
    /// Proxies whose `X-Forwarded-For`, `-Host` and `-Proto` or `Forwarded` headers are trusted:
    /// networks or addresses, separated by commas, such as `10.0.0.0/8,192.0.2.7` [default: none]
    ///
    /// `Forwarded` is used if a request has none of the others.
    #[arg(
        long,
        env = "SHORTLINE_TRUSTED_PROXIES",
        value_name = "NETWORKS",
        value_parser = network,
        value_delimiter = ',',
        global = true
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// Months after which history entries are deleted, 1 to 1200 [default: never]
    ///
    /// `migrate`, and `serve` unless SHORTLINE_NO_MIGRATE is set, store it as the owner's limit:
    /// instances delete no entry that is younger.
    #[arg(
        long,
        env = "SHORTLINE_HISTORY_MONTHS",
        value_name = "MONTHS",
        value_parser = clap::value_parser!(u32).range(1..=1_200),
        global = true
    )]
    pub history_months: Option<u32>,
    /// Requests per second that each partner may make, 0.001 to 1000000 [default: no limit]
    ///
    /// All tokens of a partner share the rate. It applies to each instance: two instances admit
    /// twice as many requests. A fraction is valid: 0.5 admits one request every two seconds.
    #[arg(long, env = "SHORTLINE_RATE", value_name = "RATE", value_parser = rate, global = true)]
    rate: Option<f64>,
    /// Requests that a partner may make at once after it has been idle, 1 to 1000000 [default: the
    /// rate, rounded up]
    ///
    /// Needs SHORTLINE_RATE.
    #[arg(
        long,
        env = "SHORTLINE_BURST",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        global = true
    )]
    burst: Option<u32>,
    /// Requests per second that the partners of a subtree may make together, 0.001 to 1000000
    /// [default: ten times SHORTLINE_RATE]
    ///
    /// A partner that was created on the command line starts a subtree; partners that are created
    /// below it through the API belong to it. Half of the rate is shared equally among the partners
    /// that send requests. The burst has the same ratio to the rate as that of a partner. Needs
    /// SHORTLINE_RATE.
    #[arg(
        long,
        env = "SHORTLINE_SUBTREE_RATE",
        value_name = "RATE",
        value_parser = rate,
        global = true
    )]
    subtree_rate: Option<f64>,
    /// Descendants that a partner without a parent may have before the API rejects further ones, 0
    /// to 1000000
    ///
    /// `shortline partner create` does not check this limit.
    #[arg(
        long,
        env = "SHORTLINE_MAX_DESCENDANTS",
        value_name = "N",
        default_value = "1000",
        value_parser = clap::value_parser!(u32).range(0..=1_000_000),
        global = true
    )]
    pub max_descendants: u32,
    /// Requests of a partner that wait for events or stream them at once, 1 to 10000
    ///
    /// Further ones get 429.
    #[arg(
        long,
        env = "SHORTLINE_EVENTS_STREAMS",
        value_name = "N",
        default_value = "64",
        value_parser = clap::value_parser!(u32).range(1..=10_000),
        global = true
    )]
    pub events_streams: u32,
    /// Days for which a released phone number is not available, 0 to 3650
    ///
    /// A change applies to the numbers that are released after it.
    #[arg(
        long,
        env = "SHORTLINE_DID_AGING_DAYS",
        value_name = "DAYS",
        default_value = "30",
        value_parser = clap::value_parser!(u32).range(0..=3_650),
        global = true
    )]
    pub did_aging_days: u32,
    /// Phone numbers that a partner may rent [default: no limit]
    ///
    /// Rentals of its descendants do not count. A partner that rents more already keeps them.
    #[arg(long, env = "SHORTLINE_DID_RENTALS", value_name = "N", global = true)]
    pub did_rentals: Option<u32>,
    /// The settings of webhooks.
    #[command(flatten)]
    pub webhooks: WebhookSettings,
    /// Address and port that serve `/metrics` in the Prometheus text format [default: disabled]
    ///
    /// This listener serves nothing else and asks for no token. Do not publish its port.
    #[arg(long, env = "SHORTLINE_METRICS_LISTEN", value_name = "ADDRESS", global = true)]
    pub metrics_listen: Option<SocketAddr>,
    /// Format of log lines [default: `text` on a terminal, otherwise `json`]
    #[arg(long, env = "SHORTLINE_LOG_FORMAT", value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
    /// Filter of log lines by module and level, such as `warn,shortline=debug`
    #[arg(
        long,
        env = "RUST_LOG",
        value_name = "FILTER",
        default_value = "warn,shortline=info",
        global = true
    )]
    pub log: String,
}

/// The request rates, in requests per second, and their bursts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The rate of a partner.
    pub rate: f64,
    /// The burst of a partner.
    pub burst: NonZeroU32,
    /// The rate of a subtree of partners.
    pub subtree_rate: f64,
    /// The burst of a subtree.
    pub subtree_burst: f64,
}

impl Settings {
    /// Returns the URL of the database; it is an error if none is set.
    ///
    /// # Errors
    /// See the module.
    pub fn database_url(&self) -> anyhow::Result<SecretString> {
        secret("DATABASE_URL", &self.database_url, &self.database_url_file)?.context(
            "DATABASE_URL is not set; set it to the URL of a PostgreSQL database, or try \
                 `shortline dev`, which needs none",
        )
    }

    /// Returns the options of a connection to the configured database.
    ///
    /// # Errors
    /// If no URL is set, or it is not valid.
    pub fn database(&self) -> anyhow::Result<PgConnectOptions> {
        let url = self.database_url()?;
        // A parameter that a pooler may reject. No value that it concerns is read as text.
        Ok(connect_options(&url)?.application_name("shortline").extra_float_digits(None))
    }

    /// Returns the secret that signs and verifies JWTs.
    ///
    /// # Errors
    /// See the module.
    pub fn jwt_secret(&self) -> anyhow::Result<Option<SecretString>> {
        secret("SHORTLINE_JWT_SECRET", &self.jwt_secret, &self.jwt_secret_file)
    }

    /// Returns the secret that verifies JWTs in addition.
    ///
    /// # Errors
    /// See the module.
    pub fn jwt_secret_previous(&self) -> anyhow::Result<Option<SecretString>> {
        let name = "SHORTLINE_JWT_SECRET_PREVIOUS";
        secret(name, &self.jwt_secret_previous, &self.jwt_secret_previous_file)
    }

    /// Returns the files of keys and secrets of JWTs.
    pub fn key_files(&self) -> impl Iterator<Item = &Path> {
        let files = [
            &self.jwt_secret_file,
            &self.jwt_secret_previous_file,
            &self.jwt_keys,
            &self.jwt_signing_key,
        ];
        files.into_iter().filter_map(Option::as_deref)
    }

    /// Sets the secret that signs and verifies JWTs.
    pub fn set_jwt_secret(&mut self, secret: SecretString) {
        self.jwt_secret = Some(secret);
    }

    /// Returns the rates of partners and subtrees; `None` for no limit.
    ///
    /// # Errors
    /// See the module.
    pub fn rates(&self) -> anyhow::Result<Option<Rates>> {
        let Some(rate) = self.rate else {
            ensure!(
                self.burst.is_none(),
                "SHORTLINE_BURST is set without SHORTLINE_RATE; set both"
            );
            ensure!(
                self.subtree_rate.is_none(),
                "SHORTLINE_SUBTREE_RATE is set without SHORTLINE_RATE; set both"
            );
            return Ok(None);
        };
        let burst = NonZeroU32::new(self.burst.unwrap_or(rate.ceil() as u32));
        let burst = burst.unwrap_or(NonZeroU32::MIN);
        let subtree_rate = self.subtree_rate.unwrap_or(10.0 * rate);
        let subtree_burst = (f64::from(burst.get()) * (subtree_rate / rate)).ceil().max(1.0);
        Ok(Some(Rates { rate, burst, subtree_rate, subtree_burst }))
    }

    /// Returns the public keys that verify JWTs, as PEM or as a JWK set.
    ///
    /// # Errors
    /// See the module.
    pub fn jwt_keys(&self) -> anyhow::Result<Option<String>> {
        self.jwt_keys.as_deref().map(read).transpose()
    }

    /// Returns the private key that signs JWTs, as PEM.
    ///
    /// # Errors
    /// See the module.
    pub fn jwt_signing_key(&self) -> anyhow::Result<Option<SecretString>> {
        self.jwt_signing_key.as_deref().map(|file| read(file).map(SecretString::from)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn burst_defaults_to_the_rate_rounded_up() {
        let parse = |flags: &[&str]| Settings::try_parse_from([&["shortline"], flags].concat());
        let burst = |flags| parse(flags).unwrap().rates().unwrap().unwrap().burst.get();
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
        assert!(parse(&["--burst", "5"]).unwrap().rates().is_err());
        assert!(parse(&["--subtree-rate", "5"]).unwrap().rates().is_err());
        assert_eq!(parse(&[]).unwrap().rates().unwrap(), None);
        let subtree = |flags| {
            let rates = parse(flags).unwrap().rates().unwrap().unwrap();
            (rates.subtree_rate, rates.subtree_burst)
        };
        assert_eq!(subtree(&["--rate", "20", "--burst", "5"]), (200.0, 50.0));
        assert_eq!(subtree(&["--rate", "20", "--burst", "5", "--subtree-rate", "9"]), (9.0, 3.0));
    }
}

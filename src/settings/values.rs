//! The values of settings: how their text is parsed, and secrets from files.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use ipnet::{IpNet, Ipv4Net};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use url::{Host, Url};

/// Parses a rate in requests per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "expected a number from 0.001 to 1000000".to_owned())
}

/// Parses a network. A single address is a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(canonical)
        .map_err(|_| "expected a network such as 10.0.0.0/8, or an address".to_owned())
}

/// Returns the IPv4 network that is written as one of mapped addresses, such as
/// `::ffff:10.0.0.0/104`. The addresses that are compared with it are IPv4.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let address = mapped.addr().to_ipv4_mapped();
    let length = mapped.prefix_len().checked_sub(96);
    let canonical = address
        .zip(length)
        .and_then(|(address, length)| Some(IpNet::V4(Ipv4Net::new(address, length).ok()?)));
    canonical.unwrap_or(network)
}

/// Parses the public URL, and removes slashes at its end.
pub(super) fn public_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|_| "expected a URL such as https://api.example.com")?;
    let is_web = url.has_host() && matches!(url.scheme(), "http" | "https");
    // The parser adds slashes that are missing behind the scheme, and drops others.
    let host = text.split_once("://").map(|(_, rest)| rest);
    let problem = if !is_web || host.is_none_or(|host| host.starts_with(['/', '\\'])) {
        "expected a URL with a host that starts with http:// or https://"
    } else if url.path().trim_end_matches('/').contains("//") {
        // A link that begins with two slashes leads to another host.
        "expected a path without empty segments"
    } else if url.query().is_some() || url.fragment().is_some() {
        "expected a base URL without a query and a fragment"
    } else if !url.username().is_empty() || url.password().is_some() {
        "expected a URL without a user and a password"
    } else {
        return Ok(url.as_str().trim_end_matches('/').to_owned());
    };
    Err(problem.to_owned())
}

/// Parses the URL of the database.
///
/// # Errors
/// If it is not valid. The message does not contain it: it could contain the password.
pub(super) fn connect_options(url: &SecretString) -> anyhow::Result<PgConnectOptions> {
    let parsed = Url::parse(url.expose_secret()).ok();
    let parsed = parsed.filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    let options = parsed.and_then(|mut url| {
        // The driver takes the brackets for a part of the name.
        if let Some(Host::Ipv6(address)) = url.host() {
            url.query_pairs_mut().append_pair("host", &address.to_string());
        }
        PgConnectOptions::from_str(url.as_str()).ok()
    });
    options.context(
        "DATABASE_URL is not a valid PostgreSQL URL; expected `postgres://user:password@host/name`",
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_a_base_url() {
        for (text, expected) in [
            ("https://api.example.com", "https://api.example.com"),
            ("HTTPS://API.example.com/", "https://api.example.com"),
            ("http://[::1]:8080/a/b//", "http://[::1]:8080/a/b"),
        ] {
            assert_eq!(public_url(text).as_deref(), Ok(expected));
        }
        for invalid in [
            "api.example.com",
            "/a",
            "ftp://api.example.com",
            "https://",
            "https:api.example.com",
            "https:/api.example.com",
            "https:///api.example.com",
            "https:\\\\api.example.com",
            "https://api.example.com//b",
            "https://api.example.com/a//b",
            "https://api.example.com?",
            "https://api.example.com/?a=b",
            "https://api.example.com/#",
            "https://user@api.example.com",
            "https://:x@api.example.com",
            "",
        ] {
            assert!(public_url(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn networks_of_mapped_addresses_are_those_of_ipv4() {
        for (text, expected) in [
            ("::ffff:127.0.0.1", "127.0.0.1/32"),
            ("::FFFF:a00:0/104", "10.0.0.0/8"),
            ("::ffff:0:0/95", "::ffff:0:0/95"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("10.1.2.3", "10.1.2.3/32"),
        ] {
            assert_eq!(network(text).unwrap(), expected.parse().unwrap(), "{text}");
        }
    }

    #[test]
    fn an_ipv6_address_of_the_database_has_no_brackets() {
        let host = |url: &str| {
            let options = connect_options(&SecretString::from(url)).unwrap();
            (options.get_host().to_owned(), options.get_port())
        };
        assert_eq!(host("postgres://u:p@[::1]:5433/d"), ("::1".to_owned(), 5433));
        assert_eq!(host("postgresql://[2001:DB8::7]/d?sslmode=disable").0, "2001:db8::7");
        assert_eq!(host("postgres://u:p@[::ffff:10.0.0.1]/d").0, "::ffff:10.0.0.1");
        assert_eq!(host("postgres://u:p@127.0.0.1/d").0, "127.0.0.1");
        assert_eq!(host("postgres://u:p@db.example/d").0, "db.example");
        for invalid in ["postgres://[::1/d", "http://u:p@[::1]/d", "postgres://u:secret@[x]/d"] {
            let error = connect_options(&SecretString::from(invalid)).unwrap_err();
            assert!(!format!("{error:#}").contains("secret"), "{error:#}");
        }
    }
}

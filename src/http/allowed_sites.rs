//! The sites that can use a service with a well-known token: `shortline dev`.
//!
//! Any page that a developer opens can send requests to the developer's own machine, and can make
//! its own name point there. `dev` therefore serves only requests for a loopback host, and from
//! pages of a loopback origin.

use std::net::IpAddr;

use actix_web::dev::ServiceRequest;
use actix_web::http::header;
use actix_web::http::uri::Authority;
use url::{Host, Url};

use crate::error::ApiError;

/// The hosts and origins that are served.
#[derive(Clone, Debug, Default)]
pub enum AllowedSites {
    /// All of them.
    #[default]
    Any,
    /// Loopback hosts and origins on any port, and these.
    Loopback {
        /// Further hosts, without a port.
        hosts: Vec<String>,
        /// Further origins, for instance `https://app.example.com`.
        origins: Vec<String>,
    },
}

impl AllowedSites {
    /// Checks the host and the `Origin` of a request. A request without an origin is served.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] that names the header.
    pub(super) fn check(&self, request: &ServiceRequest, host: &str) -> Result<(), ApiError> {
        let Self::Loopback { hosts, origins } = self else { return Ok(()) };
        let authority = Authority::try_from(host).ok();
        let host = authority.as_ref().map(Authority::host).unwrap_or_default();
        if !is_loopback(host) && !hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)) {
            let message = "must be a loopback host; allow another one with --allow-host";
            return Err(ApiError::bad_argument("Host", message));
        }
        for origin in request.headers().get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let url = Url::parse(origin).ok();
            let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
            if !is_loopback(host) && !origins.iter().any(|allowed| allowed == origin) {
                let message = "must be a loopback origin; allow another one with --allow-origin";
                return Err(ApiError::bad_argument("Origin", message));
            }
        }
        Ok(())
    }
}

/// Whether the host is `localhost`, below it, or a loopback address.
fn is_loopback(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => IpAddr::from(address).to_canonical().is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_recognized() {
        for host in ["localhost", "LOCALHOST", "app.localhost", "127.0.0.1", "127.8.8.8", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "localhost.example.com", "notlocalhost", "10.0.0.1", "[::2]", "0.0.0.0"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}

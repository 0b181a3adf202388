//! The client of a request and the URL that it used, behind trusted proxies, and the public URL.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::dev::Extensions;
use actix_web::http::uri::Authority;
use actix_web::http::{Version, header};
use actix_web::{HttpMessage, HttpRequest, web};
use ipnet::IpNet;

use super::connection::Connection;
use super::forwarded::{Forwarded, element};
use crate::error::ApiError;

const HTTP: &str = "http";
const HTTPS: &str = "https";

/// The configured URL of the service, for links in responses.
#[derive(Clone, Debug, Default)]
pub struct PublicUrl(pub Option<String>);

impl PublicUrl {
    /// The path before every path of the service, without a slash at its end.
    pub fn prefix(&self) -> &str {
        let after_scheme = self.0.as_deref().and_then(|url| url.split_once("://"));
        let path = after_scheme.and_then(|(_, rest)| Some(&rest[rest.find('/')?..]));
        path.unwrap_or_default()
    }
}

/// The address of this server on a connection.
struct LocalAddress(SocketAddr);

/// Stores the address of this server with each connection, for requests that name no host.
pub fn note_local_address(connection: &Connection, data: &mut Extensions) {
    if let Ok(address) = connection.stream().local_addr() {
        data.insert(LocalAddress(address));
    }
}

/// The scheme and host that the client of a request used.
pub(super) struct Target {
    scheme: &'static str,
    host: String,
}

impl Target {
    /// The host, optionally with a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the scheme and host of the request itself. An absolute target overrides `Host` (RFC
    /// 9112, section 3.2.2). Only before HTTP/1.1 a request can name no host; then it is the
    /// address of this server.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] unless there is one valid `Host`.
    pub fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let mut hosts = request.headers().get_all(header::HOST);
        let host = hosts.next().map(|host| host.to_str().unwrap_or_default());
        let is_valid = host.map_or(request.version() < Version::HTTP_11, is_valid_host);
        if !is_valid || hosts.next().is_some() {
            let message = "must be sent once, with a host and optionally a port";
            return Err(ApiError::bad_argument("Host", message));
        }
        let uri = request.uri();
        if let Some(authority) = uri.authority() {
            if !is_valid_host(authority.as_str()) {
                let message = "the host of the target must be a host, optionally with a port";
                return Err(ApiError::bad_argument("Host", message));
            }
            let scheme = if uri.scheme_str() == Some(HTTPS) { HTTPS } else { HTTP };
            return Ok(Self { scheme, host: authority.as_str().to_owned() });
        }
        let local = || request.conn_data().map(|LocalAddress(address)| address.to_string());
        let host = host.map(str::to_owned).or_else(local).unwrap_or_default();
        Ok(Self { scheme: HTTP, host })
    }
}

/// Whether the text is a host, optionally with a port (RFC 9112, section 3.2). Links are made from
/// it.
fn is_valid_host(text: &str) -> bool {
    Authority::try_from(text).is_ok_and(|authority| {
        let host = authority.host();
        let is_host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
            None => !host.is_empty(),
        };
        // No user before the host, and only a port behind it.
        is_host
            && match authority.as_str().strip_prefix(host) {
                Some("") => true,
                Some(_) => authority.port_u16().is_some(),
                None => false,
            }
    })
}

/// The networks whose forwarded headers are trusted.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts the proxies in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the address of the client, and the target as the outermost trusted proxy received
    /// it.
    ///
    /// The client is the first address from the end that is not a trusted proxy. The search ends at
    /// an element that cannot be read: the client is then the last address before it.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if a host or scheme of a trusted proxy is not valid.
    pub(super) fn resolve(
        &self,
        request: &HttpRequest,
        own: Target,
    ) -> Result<(Option<IpAddr>, Target), ApiError> {
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        let Some(mut client) = peer.filter(|peer| self.contains(*peer)) else {
            return Ok((peer, own));
        };
        let forwarded = Forwarded::of(request.headers());
        // The number of trusted proxies behind the outermost one.
        let mut position = 0;
        for address in forwarded.addresses.iter().rev() {
            let Some(address) = *address else { break };
            client = address;
            if !self.contains(address) {
                break;
            }
            position += 1;
        }
        let (host_header, scheme_header) = forwarded.names;
        let host = match element(&forwarded.hosts, position) {
            Some(host) if !is_valid_host(host) => {
                let message = "must have a host, optionally with a port";
                return Err(ApiError::bad_argument(host_header, message));
            }
            host => host.map_or(own.host, str::to_owned),
        };
        let scheme = match element(&forwarded.schemes, position) {
            None => own.scheme,
            Some(scheme) => [HTTP, HTTPS]
                .into_iter()
                .find(|known| scheme.eq_ignore_ascii_case(known))
                .ok_or_else(|| ApiError::bad_argument(scheme_header, "must be http or https"))?,
        };
        Ok((Some(client), Target { scheme, host }))
    }
}

/// Returns the URL of the service without a slash at its end: the configured one, otherwise scheme
/// and host of the request.
pub(super) fn base_url(request: &HttpRequest) -> String {
    let configured = request.app_data::<web::Data<PublicUrl>>();
    if let Some(url) = configured.and_then(|url| url.0.as_ref()) {
        return url.clone();
    }
    let extensions = request.extensions();
    let target = extensions.get::<Target>();
    target.map(|Target { scheme, host }| format!("{scheme}://{host}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_the_path_of_the_public_url() {
        for (url, prefix) in [
            (None, ""),
            (Some("https://api.example.com"), ""),
            (Some("https://api.example.com:8443/a/b"), "/a/b"),
        ] {
            assert_eq!(PublicUrl(url.map(str::to_owned)).prefix(), prefix, "{url:?}");
        }
    }
}

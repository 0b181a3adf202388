//! The headers that proxies add: `X-Forwarded-For`, `-Host` and `-Proto`, or `Forwarded` (RFC
//! 7239).
//!
//! Each proxy adds an element at the end of a list, so only the last elements are of trusted
//! proxies.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::http::header::HeaderMap;

/// The elements of the headers, each list in the order of the proxies. An element that cannot be
/// read is `None`.
#[derive(Default)]
pub(super) struct Forwarded {
    /// The addresses from which the proxies received the request.
    pub addresses: Vec<Option<IpAddr>>,
    /// The hosts for which they received it.
    pub hosts: Vec<Option<String>>,
    /// The schemes by which they received it.
    pub schemes: Vec<Option<String>>,
    /// The names of the headers with the hosts and the schemes.
    pub names: (&'static str, &'static str),
}

impl Forwarded {
    /// Reads the headers. If there is any `X-Forwarded-*`, `Forwarded` is not used: a proxy that
    /// sets the former may pass the latter on as its client sent it.
    pub fn of(headers: &HeaderMap) -> Self {
        let [addresses, hosts, schemes] =
            ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"]
                .map(|name| elements(headers, name));
        let text = |list: Vec<String>| {
            list.into_iter().map(|text| Some(text).filter(|text| !text.is_empty())).collect()
        };
        if !(addresses.is_empty() && hosts.is_empty() && schemes.is_empty()) {
            return Self {
                addresses: addresses.iter().map(|text| address(text)).collect(),
                hosts: text(hosts),
                schemes: text(schemes),
                names: ("X-Forwarded-Host", "X-Forwarded-Proto"),
            };
        }
        let mut forwarded = Self { names: ("Forwarded", "Forwarded"), ..Self::default() };
        for element in elements(headers, "Forwarded") {
            let pairs = pairs(&element).unwrap_or_default();
            let value = |name: &str| {
                let value = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                value.map(|(_, value)| value.clone())
            };
            forwarded.addresses.push(value("for").and_then(|text| address(&text)));
            forwarded.hosts.push(value("host"));
            forwarded.schemes.push(value("proto"));
        }
        forwarded
    }
}

/// The element of a list that was added by a proxy, counted from the end. If other proxies replace
/// the list instead of adding to it, it is shorter.
pub(super) fn element(list: &[Option<String>], position: usize) -> Option<&str> {
    let last = list.len().checked_sub(1)?;
    list[last - position.min(last)].as_deref()
}

/// The elements of all headers of that name.
fn elements(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    values.flat_map(|value| split(&value, ',')).collect()
}

/// Splits a text at the separators that are not within quotes, and removes the blanks around the
/// parts.
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for character in text.chars() {
        if !is_quoted && character == separator {
            parts.push(part.trim().to_owned());
            part.clear();
            continue;
        }
        is_quoted ^= character == '"' && !is_escaped;
        is_escaped = is_quoted && character == '\\' && !is_escaped;
        part.push(character);
    }
    parts.push(part.trim().to_owned());
    parts
}

/// The pairs of an element of `Forwarded`. `None` if one of them cannot be read.
fn pairs(element: &str) -> Option<Vec<(String, String)>> {
    let pairs = split(element, ';').into_iter().filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = match value.strip_prefix('"') {
                Some(quoted) => unescape(quoted.strip_suffix('"')?),
                None => value.to_owned(),
            };
            Some((name.to_owned(), value))
        })
        .collect()
}

fn unescape(quoted: &str) -> String {
    let mut is_escaped = false;
    quoted
        .chars()
        .filter(|character| {
            is_escaped = !is_escaped && *character == '\\';
            !is_escaped
        })
        .collect()
}

/// Parses an address, which can have a port, and brackets if it is one of IPv6.
fn address(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    address.or_else(|| in_brackets().map(IpAddr::from)).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_ports_and_brackets() {
        for (text, expected) in [
            ("203.0.113.7", Some("203.0.113.7")),
            ("203.0.113.7:51008", Some("203.0.113.7")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("::ffff:203.0.113.7", Some("203.0.113.7")),
            ("[::ffff:203.0.113.7]:1", Some("203.0.113.7")),
            ("203.0.113.7:", None),
            ("203.0.113.7:99999", None),
            ("[203.0.113.7]", None),
            ("2001:db8::1]", None),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
        ] {
            assert_eq!(address(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn forwarded_has_pairs_and_quotes() {
        let element = r#"For="[2001:db8::1]:4711";proto=https; host="a\"b;c,d" ;by=x"#;
        let expected =
            [("For", "[2001:db8::1]:4711"), ("proto", "https"), ("host", "a\"b;c,d"), ("by", "x")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs(element).unwrap(), expected);
        assert_eq!(split(&format!("{element}, for=1.2.3.4"), ',').len(), 2);
        for broken in ["for", "for=\"1", "for=1.2.3.4;host"] {
            assert_eq!(pairs(broken), None, "{broken}");
        }
    }
}

//! The addresses to which deliveries may connect: public ones, and those that the operator allows.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;
use url::{Host, Url};

/// Networks that are not public (IANA's registries of special-purpose addresses). The operator can
/// allow them.
const SPECIAL: [&str; 20] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "2001::/23",
    "2001:db8::/32",
    "3ffe::/16",
    "3fff::/20",
    "2620:4f:8000::/48",
];

/// The only IPv6 network with public addresses.
const GLOBAL_UNICAST: &str = "2000::/3";

/// Networks that nothing allows: link-local addresses and those of the metadata services of clouds,
/// and the IPv6 addresses that contain an IPv4 address, which a router may deliver to it.
const FORBIDDEN: [&str; 12] = [
    "169.254.0.0/16",
    "100.100.100.200/32",
    "192.0.0.192/32",
    "fe80::/10",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2001::/32",
    "2002::/16",
];

/// The networks of `dev`: this machine.
pub const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

struct Networks {
    special: Vec<IpNet>,
    forbidden: Vec<IpNet>,
    global_unicast: Option<IpNet>,
}

static NETWORKS: LazyLock<Networks> = LazyLock::new(|| Networks {
    special: parse(&SPECIAL),
    forbidden: parse(&FORBIDDEN),
    global_unicast: GLOBAL_UNICAST.parse().ok(),
});

fn parse(networks: &[&str]) -> Vec<IpNet> {
    networks.iter().filter_map(|network| network.parse().ok()).collect()
}

/// Which addresses deliveries may connect to.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    allowed: Vec<IpNet>,
}

impl AddressRules {
    /// Returns rules that also allow these networks, except for addresses that nothing allows.
    pub fn allowing(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Returns rules that allow every address that can be allowed.
    pub fn allowing_all() -> Self {
        Self::allowing(parse(&["0.0.0.0/0", "::/0"]))
    }

    /// Whether deliveries may connect to the address.
    pub fn permit(&self, address: IpAddr) -> bool {
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        !is_in(&NETWORKS.forbidden)
            && !is_compatible(address)
            && (is_public(address) || is_in(&self.allowed))
    }

    /// Checks the host of a URL if it is an address. Names are checked when they are resolved.
    ///
    /// # Errors
    /// A message that says what would be right.
    pub fn check_url(&self, url: &str) -> Result<(), &'static str> {
        let url = Url::parse(url).map_err(|_| "must be a URL")?;
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::from(address),
            Some(Host::Ipv6(address)) => IpAddr::from(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        if self.permit(address) {
            Ok(())
        } else {
            Err("must not lead to a private, local or reserved address; use a public one")
        }
    }
}

fn is_public(address: IpAddr) -> bool {
    let Networks { special, global_unicast, .. } = &*NETWORKS;
    let is_global = match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(_) => global_unicast.is_some_and(|network| network.contains(&address)),
    };
    is_global && !special.iter().any(|network| network.contains(&address))
}

/// Whether it is an IPv4 address in the deprecated form `::a.b.c.d`. The loopback address `::1` is
/// not.
fn is_compatible(address: IpAddr) -> bool {
    let IpAddr::V6(address) = address else { return false };
    address.segments()[..6] == [0; 6] && address != Ipv6Addr::LOCALHOST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allowed: &[&str]) -> AddressRules {
        AddressRules::allowing(parse(allowed))
    }

    #[test]
    fn every_constant_is_a_network() {
        let Networks { special, forbidden, global_unicast } = &*NETWORKS;
        assert_eq!((special.len(), forbidden.len()), (SPECIAL.len(), FORBIDDEN.len()));
        assert!(global_unicast.is_some());
    }

    #[test]
    fn hostile_addresses_are_not_permitted() {
        let rules = rules(&[]);
        for hostile in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.254",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!rules.permit(hostile.parse().unwrap()), "{hostile}");
        }
    }

    #[test]
    fn public_addresses_are_permitted() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(rules(&[]).permit(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn an_allowed_network_never_includes_metadata_or_embedded_addresses() {
        let all = AddressRules::allowing_all();
        for permitted in ["10.1.2.3", "127.0.0.1", "192.168.0.1", "::1", "fd00::1"] {
            assert!(all.permit(permitted.parse().unwrap()), "{permitted}");
        }
        for forbidden in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "::a9fe:a9fe",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(!all.permit(forbidden.parse().unwrap()), "{forbidden}");
        }
        let loopback = rules(&LOOPBACK);
        assert!(loopback.permit("127.0.0.1".parse().unwrap()));
        assert!(!loopback.permit("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_address_in_a_url_is_checked() {
        for (url, is_permitted) in [
            ("https://example.com/", true),
            ("https://1.1.1.1/", true),
            ("https://127.0.0.1:8080/", false),
            ("https://[::1]/", false),
            ("https://[::ffff:127.0.0.1]/", false),
            ("https://169.254.169.254/latest", false),
            ("https://2130706433/", false),
            ("https://0x7f.1/", false),
        ] {
            assert_eq!(rules(&[]).check_url(url).is_ok(), is_permitted, "{url}");
        }
    }
}

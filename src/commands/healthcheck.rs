//! `shortline healthcheck`: asks a running service whether it is ready.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;

/// Succeeds where the service that listens at `listen` says that it is ready.
pub async fn run(mut listen: SocketAddr) -> anyhow::Result<()> {
    // A service that listens everywhere listens here.
    match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let url = format!("http://{listen}/readyz");
    let asked = tokio::task::spawn_blocking(move || {
        let agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build();
        ureq::Agent::from(agent)
            .get(&url)
            .call()
            .with_context(|| format!("{url} does not say that it is ready"))
    });
    asked.await?.map(drop)
}

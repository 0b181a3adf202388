//! `shortline healthcheck`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;

/// Requests `/readyz` of the service that listens at `listen`, and fails unless it is ready.
pub async fn run(mut listen: SocketAddr) -> anyhow::Result<()> {
    // A service that listens on all addresses also listens on the loopback address.
    match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let url = format!("http://{listen}/readyz");
    let request = tokio::task::spawn_blocking(move || {
        let agent = ureq::Agent::config_builder();
        // No proxy of the environment: it does not lead to this machine.
        let agent = agent.timeout_global(Some(Duration::from_secs(5))).proxy(None).build();
        ureq::Agent::from(agent)
            .get(&url)
            .call()
            .with_context(|| format!("{url} does not report that the service is ready"))
    });
    request.await?.map(drop)
}

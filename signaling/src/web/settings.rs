//! The section `[web]` of the broker's settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::Deserialize;

use crate::config::seconds;

/// What stands before the broker, and how it stops.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebSettings {
    /// Whether clients come through a proxy, which does TLS for the broker and says in
    /// `X-Forwarded-For` where they come from.
    pub behind_proxy: bool,
    /// The addresses of such proxies: nobody else's `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// How long peers and requests may take to end when the broker stops: 0 s to 60 s.
    #[serde(rename = "drain_timeout_s", deserialize_with = "seconds::<0, 60, _>")]
    pub drain_timeout: Duration,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self {
            behind_proxy: false,
            trusted_proxies: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl WebSettings {
    /// Whether this address is that of a proxy that may speak for others.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.behind_proxy && self.trusted_proxies.contains(&address.to_canonical())
    }
}

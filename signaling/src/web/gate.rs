//! Who asks, and whether he may: the token of a request, the web page it comes from, and where in the
//! network its sender is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use rovercast_protocol::signaling::ErrorCode;

use super::pace::{Crowded, Pace, Waiting};
use super::refusal::Refusal;
use crate::access::{self, Denied, Grant, Verifier};
use crate::config::Config;
use crate::limits::Permit;
use crate::socket::{Hub, unix_s};

/// What every request is asked.
#[derive(Debug)]
pub(crate) struct Gate {
    hub: Arc<Hub>,
    /// None where there are no keys, and everybody may do everything.
    verifier: Option<Verifier>,
    /// Whether pages are taken at the word that they are the broker's own, by whatever name.
    any_name: bool,
    pace: Pace,
    draining: AtomicBool,
}

/// The leave that a connection has to be there; None where it is a proxy's, who speaks for many: then
/// each request needs its own.
#[derive(Debug, Clone)]
pub(crate) struct Leave(pub(crate) Option<Arc<Permit>>);

impl Gate {
    /// A gate that is open for whoever has a token of these keys. Without keys `config.insecure` says
    /// whether others than this computer are meant to come.
    pub(crate) fn new(hub: Arc<Hub>, verifier: Option<Verifier>, config: &Config) -> Self {
        let any_name = config.insecure || verifier.is_some();
        let pace = Pace::new(&config.limits, hub.queued_bytes().clone());
        Self { hub, verifier, any_name, pace, draining: AtomicBool::new(false) }
    }

    /// The peers behind the gate.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// From now on nobody is let in.
    pub(crate) fn close(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Refuses when the broker stops.
    pub(crate) fn accepts(&self) -> Result<(), Refusal> {
        if self.draining.load(Ordering::Acquire) {
            let details = "the broker stops: try again in a while";
            return Err(Refusal::of(ErrorCode::ShuttingDown, details));
        }
        Ok(())
    }

    /// What the token of a request allows.
    pub(crate) fn grant(&self, headers: &HeaderMap) -> Result<Grant, Refusal> {
        let Some(verifier) = &self.verifier else {
            return Ok(Grant::open());
        };
        let token = access::bearer(headers)?.ok_or(Denied::Missing)?;
        Ok(verifier.verify(token, unix_s(SystemTime::now()))?)
    }

    /// Refuses web pages of other servers (RFC 6455, section 10.2) that are not on the list. What comes
    /// from no page has no origin.
    pub(crate) fn knows_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let host = headers.get(header::HOST).and_then(|host: &HeaderValue| host.to_str().ok());
        let own = authority.is_some() && authority == host;
        // Without keys a page must not come in by a name of its own that leads to this computer.
        let own = own && (self.any_name || host.is_some_and(is_this_computer));
        if own || self.hub.allows_origin(origin) {
            return Ok(());
        }
        tracing::debug!(origin, "a web page of another server");
        let details = "pages of this origin may not connect: see allow_origins";
        Err(Refusal::of(ErrorCode::Forbidden, details))
    }

    /// Refuses what a page asks by a name of somebody's own that leads to this computer: of its own
    /// server, as it believes, it asks without an origin. Programs may leave the name out.
    pub(crate) fn knows_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let is_known = |host: &HeaderValue| host.to_str().is_ok_and(is_this_computer);
        if self.any_name || headers.get(header::HOST).is_none_or(is_known) {
            return Ok(());
        }
        let details = "without keys this is told by an IP address or `localhost` alone: ask by one of \
                       those, or say --insecure";
        Err(Refusal::of(ErrorCode::Forbidden, details))
    }

    /// Counts a request as a message of this address; refuses when it asks too much.
    pub(crate) fn pace(&self, address: IpAddr) -> Result<(), Refusal> {
        if self.pace.take(address, Instant::now()) {
            return Ok(());
        }
        let details = "this address asks more than it may: ask less, or raise the broker's \
                       messages_per_s";
        Err(Refusal::of(ErrorCode::RateLimited, details))
    }

    /// Counts a request as so many messages more.
    pub(crate) fn charge(&self, address: IpAddr, messages: u32) {
        self.pace.charge(address, messages, Instant::now());
    }

    /// Lets an answer of so many bytes wait until it is read.
    pub(crate) fn wait(&self, address: IpAddr, bytes: usize) -> Result<Waiting, Refusal> {
        self.pace.wait(address, bytes, Instant::now()).map_err(|crowded| match crowded {
            Crowded::Address => {
                let details = "enough answers wait for this address: read those first, or raise the \
                               broker's queue_bytes";
                Refusal::of(ErrorCode::RateLimited, details)
            }
            Crowded::Full => {
                let details = "too much waits for others: try again later, or raise the broker's \
                               queue_bytes_in_all";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Refusal::new(status, ErrorCode::RateLimited, details)
            }
        })
    }

    /// The leave of a request: that of its connection, or one of its own if a proxy speaks for it.
    pub(crate) fn leave(&self, address: IpAddr, leave: Leave) -> Result<Arc<Permit>, Refusal> {
        match leave.0 {
            Some(permit) => Ok(permit),
            None => Ok(Arc::new(self.hub.limits().admit(address)?)),
        }
    }
}

/// Whether a Host cannot be anybody else's name: an address, or `localhost`.
fn is_this_computer(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    let address = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// Where the sender of a request is, that comes from a proxy which is trusted. Only what that proxy
/// says counts, which is the last hop: the others are anybody's claims.
pub(crate) fn forwarded(proxy: SocketAddr, headers: &HeaderMap) -> SocketAddr {
    let hops = headers.get_all("x-forwarded-for").into_iter().next_back();
    let last = hops.and_then(|hops| hops.to_str().ok()?.rsplit(',').next().map(str::trim));
    let address = last.and_then(|hop| {
        let alone = hop.trim_matches(['[', ']']).parse().map(|ip| SocketAddr::new(ip, 0));
        alone.or_else(|_| hop.parse()).ok()
    });
    address.unwrap_or(proxy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_nobody_elses_names() {
        for host in
            ["127.0.0.1:8765", "127.0.0.1", "[::1]:8765", "[::1]", "localhost:1", "LocalHost"]
        {
            assert!(is_this_computer(host), "{host}");
        }
        for host in ["evil.example:8765", "localhost.evil.example", "127.0.0.1.evil.example", ""] {
            assert!(!is_this_computer(host), "{host}");
        }
    }

    #[test]
    fn the_last_hop_is_where_a_client_is() {
        let proxy: SocketAddr = "127.0.0.1:5".parse().unwrap();
        for (lines, address) in [
            (&["192.0.2.1"][..], "192.0.2.1:0"),
            (&["203.0.113.9, 192.0.2.1"], "192.0.2.1:0"),
            (&["192.0.2.1", "192.0.2.2"], "192.0.2.2:0"),
            (&["192.0.2.1:77"], "192.0.2.1:77"),
            (&["2001:db8::1"], "[2001:db8::1]:0"),
            (&["[2001:db8::1]"], "[2001:db8::1]:0"),
            (&["[2001:db8::1]:77"], "[2001:db8::1]:77"),
            (&["192.0.2.1, somebody"], "127.0.0.1:5"),
            (&["192.0.2.1,"], "127.0.0.1:5"),
            (&[], "127.0.0.1:5"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            assert_eq!(forwarded(proxy, &headers).to_string(), address, "{lines:?}");
        }
    }
}

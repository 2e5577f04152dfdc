//! How many connections there may be, in all and from one address; and how often a peer may do
//! something. What a peer may have of the broker once it is connected is checked where it is asked
//! for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rovercast_protocol::signaling::ErrorCode;

mod bucket;
mod count;
mod settings;

pub use bucket::{Bucket, Rate};
pub(crate) use count::Count;
pub use settings::LimitSettings;
pub(crate) use settings::{CONSUMER_SHARES, Contradiction, REFUSAL_COST};

/// Counts connections. Clones count together.
#[derive(Debug, Clone)]
pub struct Limits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    in_all: usize,
    per_address: Option<usize>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    addresses: HashMap<IpAddr, usize>,
}

/// Leave to be connected, for as long as this lives.
#[derive(Debug)]
pub struct Permit {
    limits: Limits,
    address: IpAddr,
}

/// Why there is no [`Permit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The broker is full.
    #[error("the broker serves as many connections as it may: try again later")]
    Full,
    /// The address has enough.
    #[error("this address has as many connections as it may: close some first")]
    Address,
}

impl Refusal {
    /// The same for programs.
    pub fn code(self) -> ErrorCode {
        ErrorCode::TooManyConnections
    }
}

impl Limits {
    /// Counts from zero.
    pub fn new(settings: &LimitSettings) -> Self {
        let per_address = settings.max_connections_per_address as usize;
        Self(Arc::new(Shared {
            in_all: settings.max_connections as usize,
            per_address: (per_address > 0).then_some(per_address),
            counts: Mutex::default(),
        }))
    }

    /// Counts one more connection from this address, unless there are enough.
    pub fn admit(&self, address: IpAddr) -> Result<Permit, Refusal> {
        let address = counted(address);
        let mut counts = self.counts();
        if counts.all >= self.0.in_all {
            return Err(Refusal::Full);
        }
        let here = counts.addresses.get(&address).copied().unwrap_or(0);
        if self.0.per_address.is_some_and(|most| here >= most) {
            return Err(Refusal::Address);
        }
        counts.all += 1;
        counts.addresses.insert(address, here + 1);
        drop(counts);
        Ok(Permit { limits: self.clone(), address })
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.counts().all
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nobody who counts can panic half way.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limits.counts();
        counts.all = counts.all.saturating_sub(1);
        let here = counts.addresses.get(&self.address).copied().unwrap_or(0);
        if here > 1 {
            counts.addresses.insert(self.address, here - 1);
        } else {
            // Or every address that ever came would be remembered.
            counts.addresses.remove(&self.address);
        }
    }
}

/// What counts as one address. A customer of IPv6 has a /64 at least, and 2^64 addresses with it.
pub(crate) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(in_all: u32, per_address: u32) -> Limits {
        Limits::new(&LimitSettings {
            max_connections: in_all,
            max_connections_per_address: per_address,
            ..LimitSettings::default()
        })
    }

    fn admit(limits: &Limits, address: &str) -> Result<Permit, Refusal> {
        limits.admit(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_so_many_and_others_are_untouched() {
        let limits = limits(10, 2);
        let first = admit(&limits, "192.0.2.1").unwrap();
        let _second = admit(&limits, "::ffff:192.0.2.1").unwrap();
        let refusal = admit(&limits, "192.0.2.1").unwrap_err();
        assert_eq!((refusal, refusal.code()), (Refusal::Address, ErrorCode::TooManyConnections));
        let _other = admit(&limits, "192.0.2.2").unwrap();
        drop(first);
        let _third = admit(&limits, "192.0.2.1").unwrap();
        assert_eq!(limits.connections(), 3);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let limits = limits(10, 1);
        let _one = admit(&limits, "2001:db8::1").unwrap();
        assert_eq!(admit(&limits, "2001:db8::ffff:1").unwrap_err(), Refusal::Address);
        let _other = admit(&limits, "2001:db8:0:1::1").unwrap();
        let _own = admit(&limits, "::1").unwrap();
        assert_eq!(admit(&limits, "::1").unwrap_err(), Refusal::Address);
    }

    #[test]
    fn the_whole_is_limited_and_nothing_is_remembered() {
        let limits = limits(2, 0);
        let permits = [admit(&limits, "192.0.2.1").unwrap(), admit(&limits, "192.0.2.1").unwrap()];
        assert_eq!(admit(&limits, "192.0.2.2").unwrap_err(), Refusal::Full);
        drop(permits);
        assert_eq!(limits.connections(), 0);
        assert!(limits.counts().addresses.is_empty());
    }
}

//! The addresses that this host has now. A connection whose own address is gone is dead, though
//! the kernel goes on trying for many minutes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// The addresses of all interfaces that are up and have a carrier. None when the system does not
/// say.
pub fn present() -> Option<BTreeSet<IpAddr>> {
    let usable = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let interfaces = getifaddrs().ok()?.filter(|interface| interface.flags.contains(usable));
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    Some(interfaces.filter_map(address).collect())
}

/// Whether an address of this host is gone; false when that is not known.
pub fn is_gone(address: IpAddr) -> bool {
    !address.is_loopback() && present().is_some_and(|present| !present.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_host_has_is_there() {
        let present = present().unwrap();
        assert!(present.iter().any(IpAddr::is_loopback), "{present:?}");
        assert!(!is_gone(IpAddr::from([127, 0, 0, 1])));
        assert!(is_gone(IpAddr::from([192, 0, 2, 1])));
    }
}

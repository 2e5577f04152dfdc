//! Hosts and ports out of URLs. Pure.

/// Host and port of a URL such as `rtsp://user:password@host:554/path`; `port` is the one where it
/// names none. None where there is no host in it.
pub fn of_url(url: &str, port: u16) -> Option<(String, u16)> {
    let (_, rest) = url.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host_and_port(host, port)
}

/// `host:port`, `[v6]:port`, or either without the port.
pub fn host_and_port(text: &str, port: u16) -> Option<(String, u16)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None if rest.is_empty() => port,
        None => return None,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_found() {
        for (url, found) in [
            ("rtsp://cam", Some(("cam", 554))),
            ("rtsp://me:p@ss@cam:8554/a:b@c", Some(("cam", 8554))),
            ("ws://[::1]:8765/ws", Some(("::1", 8765))),
            ("ws://[::1]?x", Some(("::1", 554))),
            ("http://:80/", None),
            ("http://cam:eighty/", None),
            ("nonsense", None),
        ] {
            let expected = found.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(of_url(url, 554), expected, "{url}");
        }
    }
}

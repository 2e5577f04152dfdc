//! The HTTP headers that WHEP is made of. Pure.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use rovercast_protocol::signaling::IceServer;

/// Whether the body is of this type, whatever its parameters.
pub(crate) fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let given = text(headers, header::CONTENT_TYPE).and_then(|given| given.split(';').next());
    given.is_some_and(|given| given.trim().eq_ignore_ascii_case(wanted))
}

/// Whether the client takes an SDP in return; one that says nothing takes anything.
pub(crate) fn takes_sdp(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(header::ACCEPT).iter().peekable();
    let takes = |range: &str| {
        let range = range.split(';').next().unwrap_or_default().trim();
        ["*/*", "application/*", "application/sdp"]
            .iter()
            .any(|fit| range.eq_ignore_ascii_case(fit))
    };
    ranges.peek().is_none()
        || ranges.filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(',')).any(takes)
}

/// Whether the request is for this version of the session. One that names none is for any.
pub(crate) fn matches(headers: &HeaderMap, etag: &str) -> bool {
    text(headers, header::IF_MATCH)
        .is_none_or(|tags| tags.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag))
}

/// The `Link` headers that name STUN and TURN servers: one for each URL.
pub(crate) fn links(servers: &[IceServer]) -> Vec<HeaderValue> {
    let of_server = |server: &IceServer| {
        let (user, credential) = (server.username.clone(), server.credential.clone());
        let secrets = user.zip(credential).map_or_else(String::new, |(user, credential)| {
            format!(
                "; username={}; credential={}; credential-type=\"password\"",
                quoted(&user),
                quoted(&credential)
            )
        });
        let link = move |url: &String| {
            let mut value =
                HeaderValue::try_from(format!("<{url}>; rel=\"ice-server\"{secrets}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        server
            .urls
            .iter()
            .filter(|url| !url.contains(['<', '>']))
            .filter_map(link)
            .collect::<Vec<_>>()
    };
    servers.iter().flat_map(of_server).collect()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// A quoted string (RFC 9110, section 5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn types_are_told_apart() {
        let is_sdp =
            |values: &[&str]| is_of_type(&with(header::CONTENT_TYPE, values), "application/sdp");
        assert!(is_sdp(&["application/sdp"]));
        assert!(is_sdp(&["Application/SDP; charset=utf-8"]));
        for other in [&[][..], &["text/plain"], &["application/sdpx"], &["application/json"]] {
            assert!(!is_sdp(other), "{other:?}");
        }
    }

    #[test]
    fn an_sdp_is_returned_to_who_takes_it() {
        let takes = |values: &[&str]| takes_sdp(&with(header::ACCEPT, values));
        for yes in [
            &[][..],
            &["*/*"],
            &["text/html, application/sdp;q=0.5"],
            &["text/html", "application/*"],
        ] {
            assert!(takes(yes), "{yes:?}");
        }
        assert!(!takes(&["text/html"]));
        assert!(!takes(&["application/json, image/*"]));
    }

    #[test]
    fn versions_are_compared() {
        let matches = |values: &[&str]| matches(&with(header::IF_MATCH, values), "\"v1\"");
        assert!(matches(&[]) && matches(&["*"]) && matches(&["\"v0\", \"v1\""]));
        assert!(!matches(&["\"v0\""]) && !matches(&["v1"]) && !matches(&["W/\"v1\""]));
    }

    #[test]
    fn ice_servers_are_linked_with_their_credentials() {
        let server = |urls: &[&str], secrets: Option<(&str, &str)>| IceServer {
            urls: urls.iter().map(|&url| url.to_owned()).collect(),
            username: secrets.map(|(user, _)| user.to_owned()),
            credential: secrets.map(|(_, credential)| credential.to_owned()),
        };
        let links = links(&[
            server(&["stun:s:3478"], None),
            server(&["turn:t?transport=udp", "turn:t?transport=tcp"], Some(("17:u", "a\"\\="))),
            server(&["stun:>x", "stun:\n"], None),
        ]);
        assert!(links.iter().all(HeaderValue::is_sensitive));
        let links: Vec<_> = links.iter().map(|link| link.to_str().unwrap()).collect();
        let turn = |transport: &str| {
            format!(
                "<turn:t?transport={transport}>; rel=\"ice-server\"; username=\"17:u\"; \
                 credential=\"a\\\"\\\\=\"; credential-type=\"password\""
            )
        };
        assert_eq!(links, ["<stun:s:3478>; rel=\"ice-server\"", &turn("udp"), &turn("tcp")]);
    }
}

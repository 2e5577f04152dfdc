//! How a handshake hands its token over. Never in a URL: those end in logs.

use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, HeaderName};

use super::Denied;

/// The WebSocket subprotocol to choose when a browser offers it. The one that carries the token
/// must never be the answer.
pub const SUBPROTOCOL: &str = "rovercast";

/// What a subprotocol begins with that carries a token: browsers let pages set no other header.
pub const TOKEN_SUBPROTOCOL: &str = "rovercast.bearer.";

/// The token of a handshake or request, if it has one: `Authorization: Bearer TOKEN`, or the
/// subprotocol `rovercast.bearer.TOKEN`. It is as it came, and checked by nobody.
///
/// Other schemes of `Authorization` are passed over: they may be for a proxy on the way. Two tokens
/// are refused, lest somebody else than this broker takes the other one for the true one.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let mut tokens = Vec::new();
    for value in texts(headers, AUTHORIZATION) {
        let (scheme, token) = value?.trim().split_once(' ').unwrap_or_default();
        if scheme.eq_ignore_ascii_case("bearer") {
            tokens.push(token.trim_start());
        }
    }
    for value in texts(headers, SEC_WEBSOCKET_PROTOCOL) {
        let offered = value?.split(',').map(str::trim);
        tokens.extend(offered.filter_map(|one| one.strip_prefix(TOKEN_SUBPROTOCOL)));
    }
    match tokens[..] {
        [] => Ok(None),
        [token] => Ok(Some(token)),
        _ => Err(Denied::Ambiguous),
    }
}

fn texts(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = Result<&str, Denied>> {
    headers.get_all(name).into_iter().map(|value| value.to_str().map_err(|_| Denied::Malformed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(HeaderName, &str)]) -> Result<Option<String>, Denied> {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        bearer(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn tokens_are_found_where_they_may_be() {
        let some = |token: &str| Ok(Some(token.to_owned()));
        for (header, value, token) in [
            (AUTHORIZATION, "Bearer a.b.c", some("a.b.c")),
            (AUTHORIZATION, "bearer  a.b.c ", some("a.b.c")),
            (AUTHORIZATION, "Basic dXNlcjpwYXNz", Ok(None)),
            (AUTHORIZATION, "a.b.c", Ok(None)),
            (AUTHORIZATION, "", Ok(None)),
            (SEC_WEBSOCKET_PROTOCOL, "rovercast, rovercast.bearer.a.b.c", some("a.b.c")),
            (SEC_WEBSOCKET_PROTOCOL, "rovercast.bearer.a.b.c,rovercast", some("a.b.c")),
            (SEC_WEBSOCKET_PROTOCOL, "rovercast", Ok(None)),
            (SEC_WEBSOCKET_PROTOCOL, "rovercast.bearer.", some("")),
        ] {
            assert_eq!(found(&[(header, value)]), token, "{value}");
        }
        assert_eq!(found(&[]), Ok(None));
        // A proxy's own password does not hide the token.
        let basic = (AUTHORIZATION, "Basic dXNlcjpwYXNz");
        assert_eq!(
            found(&[basic, (SEC_WEBSOCKET_PROTOCOL, "rovercast, rovercast.bearer.t")]),
            some("t")
        );
    }

    #[test]
    fn two_tokens_are_none() {
        let protocols = (SEC_WEBSOCKET_PROTOCOL, "rovercast.bearer.a, rovercast.bearer.b");
        assert_eq!(found(&[protocols]), Err(Denied::Ambiguous));
        let both = [(AUTHORIZATION, "Bearer a"), (SEC_WEBSOCKET_PROTOCOL, "rovercast.bearer.a")];
        assert_eq!(found(&both), Err(Denied::Ambiguous));
        let mut twice = HeaderMap::new();
        twice.append(AUTHORIZATION, "Bearer a".parse().unwrap());
        twice.append(AUTHORIZATION, "Bearer b".parse().unwrap());
        assert_eq!(bearer(&twice), Err(Denied::Ambiguous));
    }

    #[test]
    fn what_is_no_text_is_malformed() {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, b"Bearer \xff"[..].try_into().unwrap());
        assert_eq!(bearer(&headers), Err(Denied::Malformed));
    }
}

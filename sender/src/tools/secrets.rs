//! Texts as they may be shown to whoever looks over somebody's shoulder. Pure.

use crate::config::{Secret, Source};
use crate::tools::shell;

/// What stands in the place of a secret.
pub const HIDDEN: &str = "***";

/// A URL without user, password and query; whole where secrets are `shown`.
pub fn url(url: &Secret, shown: bool) -> String {
    if shown { url.0.clone() } else { without_secrets(&url.0) }
}

/// A text of its own.
pub fn text(text: &Secret, shown: bool) -> String {
    if shown { text.0.clone() } else { HIDDEN.to_owned() }
}

/// A launch fragment without the users and passwords of the URLs in it, and without what is given
/// for a password or the like.
pub fn launch(launch: &str, shown: bool) -> String {
    if shown {
        return launch.to_owned();
    }
    shell::words(launch).iter().map(|word| hidden(word)).collect::<Vec<_>>().join(" ")
}

/// Whether a source knows something that is not for everybody.
pub fn has_any(source: &Source) -> bool {
    match source {
        Source::Rtsp { url, .. } | Source::Http { url } => without_secrets(&url.0) != url.0,
        Source::Srt { passphrase, .. } => passphrase.is_some(),
        Source::Rtmp { .. } => true,
        Source::Launch { launch: text } => {
            shell::words(text).iter().any(|word| hidden(word) != *word)
        }
        Source::Stereo { left, right } => has_any(left) || has_any(right),
        _ => false,
    }
}

/// Properties of elements that hold secrets, by how they end.
const SECRET_KEYS: [&str; 6] =
    ["passphrase", "password", "user-pw", "user-id", "token", "proxy-pw"];

fn hidden(word: &str) -> String {
    match word.split_once('=') {
        Some((key, _)) if SECRET_KEYS.iter().any(|secret| key.ends_with(secret)) => {
            format!("{key}={HIDDEN}")
        }
        _ if word.contains("://") => without_secrets(word),
        _ => word.to_owned(),
    }
}

fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}"),
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, _)) => {
            let quote = if url.ends_with('"') { "\"" } else { "" };
            format!("{path}?{HIDDEN}{quote}")
        }
        None => path.to_owned(),
    };
    format!("{scheme}://{authority}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_passwords_and_queries_are_hidden() {
        for (whole, shown) in [
            ("rtsp://cam/stream", "rtsp://cam/stream"),
            ("rtsp://me:p@ss@cam:554/a@b", "rtsp://***@cam:554/a@b"),
            ("http://cam?user=me&pw=x", "http://cam?***"),
            ("http://me@cam/a/?t=1", "http://***@cam/a/?***"),
        ] {
            assert_eq!(url(&Secret(whole.to_owned()), false), shown);
            assert_eq!(url(&Secret(whole.to_owned()), true), whole);
        }
    }

    #[test]
    fn fragments_are_looked_through() {
        let whole = "rtspsrc location=\"rtsp://me:pw@cam/?x=y\" user-pw=pw ! srtsrc \
                     passphrase=\"01234 6789\" latency=5 ! decodebin";
        let shown = "rtspsrc location=\"rtsp://***@cam/?***\" user-pw=*** ! srtsrc \
                     passphrase=*** latency=5 ! decodebin";
        assert_eq!(launch(whole, false), shown);
        assert_eq!(launch(whole, true), whole);
        assert!(has_any(&Source::Launch { launch: whole.to_owned() }));
        assert!(!has_any(&Source::Launch { launch: "videotestsrc  ! tee".to_owned() }));
    }
}

//! What is doubtful in how a broker is reached, as far as files show it: for tools. Connects to nobody.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::target::Target;
use super::tls;

/// Something that will not work, or that lets others in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// What it is about: `token` or `tls`.
    pub about: &'static str,
    /// What is doubtful, for people. Never what is in a file.
    pub text: String,
    /// What helps.
    pub remedy: String,
}

impl Target {
    /// What is doubtful at this second of the Unix clock. Reads the files that are named.
    pub fn doubts(&self, now_unix_s: u64) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let doubt = |about, text, remedy| Doubt { about, text, remedy };
        let url = &self.url;
        let file = self.token_file.as_deref().map(|file| file.display().to_string());
        let file = file.unwrap_or_default();
        match self.token() {
            Ok(None) => {}
            Err(error) => {
                let remedy = "put one there that the broker's operator made, and nothing else";
                doubts.push(doubt("token", error, remedy.to_owned()));
            }
            Ok(Some(token)) => {
                if token.exposed {
                    doubts.push(exposed(&file));
                }
                let over_s = expiry(&token.text).and_then(|end| now_unix_s.checked_sub(end));
                if let Some(over_s) = over_s {
                    let text = format!("the token in {file} expired {} ago", length(over_s));
                    let remedy = "put a new one there: it is used at once";
                    doubts.push(doubt("token", text, remedy.to_owned()));
                }
            }
        }
        if self.gives_token_away() {
            doubts.push(given_away(&file, url));
        }
        if url.starts_with("wss://") {
            if let Err(error) = tls::config(self) {
                let remedy = "until then there is no connection to the broker";
                doubts.push(doubt("tls", error, remedy.to_owned()));
            }
        } else if self.tls_fingerprint.is_some() || self.ca_file.is_some() {
            let key = if self.ca_file.is_some() { "ca_file" } else { "tls_fingerprint" };
            let text = format!("{key} is set, but {url} shows no certificate");
            doubts.push(doubt("tls", text, "write wss://".to_owned()));
        }
        doubts
    }
}

/// Others may read the token in this file.
pub(super) fn exposed(file: &str) -> Doubt {
    let text = format!("others on this computer may read the token in {file}");
    Doubt { about: "token", text, remedy: format!("`chmod 600 {file}`") }
}

/// Whoever listens on the way to this broker may read it.
pub(super) fn given_away(file: &str, url: &str) -> Doubt {
    let text = format!("the token in {file} goes to {url} in clear text");
    Doubt { about: "token", text, remedy: "use wss://".to_owned() }
}

/// From when on a JWT says that it is void, in Unix seconds; none for what is no JWT. Whether it is
/// signed is the broker's business.
fn expiry(token: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    // What is beyond the numbers becomes the last of them: `as` saturates.
    serde_json::from_slice(&claims).ok().map(|Claims { exp }| exp as u64)
}

/// A length of time, for people.
fn length(s: u64) -> String {
    match s {
        0..120 => format!("{s} s"),
        120..7_200 => format!("{} minutes", s / 60),
        7_200..172_800 => format!("{} hours", s / 3_600),
        _ => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;
    use crate::link::Fingerprint;

    /// What is doubtful an hour after the beginning of 1970.
    fn told(target: &Target) -> Vec<String> {
        let told = |doubt: Doubt| format!("{}: {} -> {}", doubt.about, doubt.text, doubt.remedy);
        target.doubts(3_600).into_iter().map(told).collect()
    }

    fn with_token(url: &str, token_file: PathBuf) -> Target {
        Target { token_file: Some(token_file), ..Target::from(url.to_owned()) }
    }

    #[test]
    fn tokens_are_doubted() {
        let file = std::env::temp_dir().join(format!("rovercast-doubts-{}", std::process::id()));
        let target = with_token("ws://127.0.0.1", file.clone());
        let [missing] = &told(&target)[..] else { panic!("nothing is there") };
        assert!(missing.starts_with("token: cannot read the token in ") && !missing.contains(';'));
        let put = |claims: &str, mode| {
            let claims = URL_SAFE_NO_PAD.encode(claims);
            fs::write(&file, format!("e30.{claims}.c2ln\n")).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        };
        put(r#"{"exp":3601}"#, 0o600);
        assert_eq!(told(&target), [""; 0]);
        put(r#"{"exp":3599.5}"#, 0o600);
        let [expired] = &told(&target)[..] else { panic!("it has expired") };
        assert!(expired.contains("expired 1 s ago"), "{expired}");
        put(r#"{"sub":"no end"}"#, 0o644);
        let [exposed] = &told(&target)[..] else { panic!("everybody may read it") };
        assert!(exposed.contains("-> `chmod 600 "), "{exposed}");
        put("{}", 0o600);
        let [clear] = &told(&with_token("ws://robot.local", file.clone()))[..] else {
            panic!("it goes in clear text")
        };
        assert!(clear.contains("-> use wss://"), "{clear}");
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn tls_is_doubted() {
        let plain = Target::from("ws://127.0.0.1".to_owned());
        let pinned = Target { tls_fingerprint: Some(Fingerprint::of(b"")), ..plain.clone() };
        let signed = Target { ca_file: Some("/nowhere/ca.pem".into()), ..plain.clone() };
        assert_eq!(told(&plain), [""; 0]);
        assert!(told(&pinned)[0].starts_with("tls: tls_fingerprint is set"));
        assert!(told(&signed)[0].starts_with("tls: ca_file is set"));
        let secure = |target| Target { url: "wss://127.0.0.1".to_owned(), ..target };
        assert_eq!(told(&secure(pinned)), [""; 0]);
        assert!(told(&secure(signed))[0].contains("ca_file /nowhere/ca.pem cannot be used"));
    }

    #[test]
    fn what_is_no_jwt_has_no_end() {
        for text in ["", "opaque", "a.b.c", "a.!!.c", "e30.e30.x"] {
            assert_eq!(expiry(text), None, "{text}");
        }
        assert_eq!(
            expiry(&format!("a.{}.c", URL_SAFE_NO_PAD.encode(r#"{"exp":1e300}"#))),
            Some(u64::MAX)
        );
    }

    #[test]
    fn lengths_of_time_are_read_easily() {
        assert_eq!(
            [90, 150, 7_300, 400_000].map(length),
            ["90 s", "2 minutes", "2 hours", "4 days"]
        );
    }
}

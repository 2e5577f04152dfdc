//! `rovercast-signaling token`: what it mints, and what it refuses to mint.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use rovercast_signaling::access::{AccessSettings, Algorithm, Grant, KeySettings};
use rovercast_signaling::key_files;

/// Every algorithm, with the keys that lie beside the tests.
#[test]
fn what_it_mints_the_broker_takes() {
    let room = Room::new("mints");
    for (id, private_key) in [("hs", None), ("ed", Some("ed25519.pem")), ("es", Some("p256.pem"))] {
        let private_key = private_key.map(key_file);
        let mut flags = vec!["--key", id];
        if let Some(file) = &private_key {
            flags.extend(["--private-key", file.to_str().unwrap()]);
        }
        let before = now_unix_s();
        let token = minted(&room.token(&flags));
        let grant = room.grant(&token);
        assert_eq!(grant.subject(), Some("anna"));
        assert!(grant.may_view_camera(Some("rover-1"), "front") && !grant.may_view(None));
        let validity_s = grant.expires_at().unwrap() - before;
        assert!((43_200..43_300).contains(&validity_s), "{id}: {validity_s}");
    }
}

#[test]
fn a_link_carries_the_token_where_no_log_sees_it() {
    let room = Room::new("link");
    let link = minted(&room.token(&["--key", "hs", "--link", "https://broker.example/"]));
    let token = link.strip_prefix("https://broker.example/#token=").unwrap();
    assert_eq!(room.grant(token).subject(), Some("anna"));
}

#[test]
fn a_new_secret_is_one_that_the_broker_takes() {
    let output = program(&["token", "new-secret"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let room = Room::new("secret");
    std::fs::write(room.0.join("secret"), &output.stdout).unwrap();
    let token = minted(&room.token(&["--key", "hs"]));
    assert_eq!(room.grant(&token).subject(), Some("anna"));
}

#[test]
fn what_the_broker_would_not_take_is_not_minted() {
    let room = Room::new("refuses");
    let ed25519 = key_file("ed25519.pem");
    let other = key_file("other-ed25519.pem");
    let p256 = key_file("p256.pem");
    let [ed25519, other, p256] = [&ed25519, &other, &p256].map(|path| path.to_str().unwrap());
    for (flags, code, said) in [
        (&[][..], 1, "--key with one of hs, ed, es"),
        (&["--key", "of yore"], 1, "--key with one of hs, ed, es"),
        (&["--key", "ed"], 1, "--private-key"),
        (&["--key", "hs", "--private-key", ed25519], 1, "leave --private-key out"),
        (&["--key", "ed", "--private-key", p256], 1, "openssl genpkey -algorithm ed25519"),
        (&["--key", "ed", "--private-key", other], 1, "the broker would refuse"),
        (&["--key", "ed", "--private-key", "/nowhere.pem"], 1, "/nowhere.pem"),
        (&["--key", "hs", "--link", "broker.example"], 2, "https://"),
    ] {
        refused(&room.token(flags), code, said);
    }
    for (subject, scope, expires, code, said) in [
        ("anna", "veiw:rover-1", "12h", 1, "\"veiw:rover-1\" is no scope"),
        ("anna", " ", "12h", 1, "without scopes"),
        ("", "view:*", "12h", 1, "`sub`"),
        ("anna", "view:*", "12", 2, "90s, 30m, 12h or 7d"),
    ] {
        let flags = ["--subject", subject, "--scope", scope, "--expires", expires];
        refused(&room.order(&[&flags[..], &["--key", "hs"]].concat()), code, said);
    }
    let scopes: Vec<_> = (0..500).map(|number| format!("view:rover-{number}")).collect();
    let flags = ["--subject", "anna", "--scope", &scopes.join(" "), "--expires", "1h"];
    refused(&room.order(&[&flags[..], &["--key", "hs"]].concat()), 1, "4096 bytes");
    std::fs::write(room.config(), "listen = \"127.0.0.1:0\"\n").unwrap();
    refused(&room.token(&[]), 1, "has no keys");
    refused(&program(&["token"]), 2, "--subject");
}

/// A secret that others may read is used, but not without a word.
#[test]
fn an_open_secret_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let room = Room::new("open");
    for (mode, warned) in [(0o640, false), (0o644, true)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(room.0.join("secret"), mode).unwrap();
        let output = room.token(&["--key", "hs"]);
        minted(&output);
        let said = String::from_utf8_lossy(&output.stderr).contains("everybody on this computer");
        assert_eq!(said, warned, "{output:?}");
    }
}

/// A folder with a broker's settings, its secret, and a key of each algorithm.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Self {
        let room = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{name}")));
        std::fs::create_dir_all(&room.0).unwrap();
        std::fs::write(room.0.join("secret"), "for tests alone: everybody has it\n").unwrap();
        let keys = room.keys().into_iter().map(|key| {
            let line = |name: &str, path: &Option<PathBuf>| {
                path.as_ref().map_or(String::new(), |path| format!("{name} = {path:?}\n"))
            };
            format!(
                "[[access.keys]]\nid = {:?}\nalgorithm = \"{}\"\n{}{}",
                key.id,
                key.algorithm,
                line("secret_file", &key.secret_file),
                line("public_key_file", &key.public_key_file),
            )
        });
        std::fs::write(room.config(), keys.collect::<String>()).unwrap();
        room
    }

    fn config(&self) -> PathBuf {
        self.0.join("signaling.toml")
    }

    fn keys(&self) -> [KeySettings; 3] {
        let public = |id: &str, algorithm, file| KeySettings {
            id: id.to_owned(),
            algorithm,
            secret_file: None,
            public_key_file: Some(key_file(file)),
        };
        let secret = KeySettings {
            id: "hs".to_owned(),
            algorithm: Algorithm::Hs256,
            secret_file: Some(self.0.join("secret")),
            public_key_file: None,
        };
        let ed = public("ed", Algorithm::EdDsa, "ed25519.pub.pem");
        [secret, ed, public("es", Algorithm::Es256, "p256.pub.pem")]
    }

    /// The usual token, but for these flags.
    fn token(&self, flags: &[&str]) -> Output {
        let usual = ["--subject", "anna", "--scope", "view:rover-1", "--expires", "12h"];
        self.order(&[&usual[..], flags].concat())
    }

    fn order(&self, flags: &[&str]) -> Output {
        let config = self.config();
        program(&[&["token", "--config", config.to_str().unwrap()], flags].concat())
    }

    /// What a broker with these settings makes of the token.
    fn grant(&self, token: &str) -> Grant {
        let settings = AccessSettings { keys: self.keys().to_vec() };
        let verifier = key_files::verifier(&settings).unwrap().unwrap();
        verifier.verify(token, now_unix_s()).unwrap()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn key_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rovercast-signaling")).args(arguments).output().unwrap()
}

/// The one line on standard output.
fn minted(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    let line = said.strip_suffix('\n').unwrap();
    assert!(!line.contains(char::is_whitespace), "{line}");
    line.to_owned()
}

fn refused(output: &Output, code: i32, said: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(said), "{said} is missing: {stderr}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

//! The broker as a program: what it prints, and how it exits.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

#[test]
fn a_signal_stops_it_cleanly() {
    for signal in ["TERM", "INT"] {
        let mut program = start(&["--listen", "127.0.0.1:0"]);
        let address = address_of(&mut program);
        let mut socket = TcpStream::connect(&address).unwrap();
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("ok"), "{answer}");
        let output = stop(program, signal);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(log.contains(&format!("listening on http://{address}")), "{log}");
        assert!(!log.contains("WARN"), "{log}");
    }
}

#[test]
fn an_open_door_is_warned_of_once() {
    let mut program = start(&["--listen", "0.0.0.0:0", "--insecure"]);
    address_of(&mut program);
    let log = stop(program, "TERM").stderr;
    assert_eq!(String::from_utf8_lossy(&log).matches("no keys are configured").count(), 1);
}

#[test]
fn an_open_door_must_be_asked_for() {
    for flags in [&["--listen", "0.0.0.0:0"][..], &["--listen", "[::]:0"]] {
        let output = start(flags).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("--insecure") && said.contains("access.keys"), "{said}");
    }
    // A proxy brings everybody to this computer's own address.
    let output = with_settings("proxy", "web.behind_proxy = true\n").wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn tokens_that_travel_in_clear_text_are_warned_of() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/p256.pub.pem");
    let keys = format!(
        "access.keys = [{{ id = \"k\", algorithm = \"ES256\", public_key_file = {keys:?} }}]\n"
    );
    let here = "listen = \"127.0.0.1:0\"\n";
    let everywhere = "listen = \"0.0.0.0:0\"\n";
    let proxy = "web.behind_proxy = true\n";
    for (name, listen, web, warned) in [
        ("here", here, "", false),
        ("everywhere", everywhere, "", true),
        ("behind", everywhere, proxy, false),
    ] {
        let mut program = with_settings(name, &format!("{listen}{keys}{web}"));
        address_of(&mut program);
        let log = stop(program, "TERM").stderr;
        let log = String::from_utf8_lossy(&log);
        assert_eq!(log.contains("can read the tokens"), warned, "{name}: {log}");
    }
}

#[test]
fn a_log_of_json_has_an_object_on_each_line() {
    let mut program = start(&["--listen", "127.0.0.1:0", "--log-format", "json"]);
    address_of(&mut program);
    let log = stop(program, "TERM").stderr;
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 1, "{log}");
    assert!(lines.iter().all(|line| line["level"] == "INFO" && line["message"].is_string()));
}

#[test]
fn a_certificate_of_its_own_keeps_its_fingerprint() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("own-certificate");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    let [certificate, key] = ["c.pem", "k.pem"].map(|name| folder.join(name));
    let settings = format!(
        "listen = \"127.0.0.1:0\"\n[tls]\nself_signed = true\ncertificate = {certificate:?}\n\
         key = {key:?}\n"
    );
    let run = || {
        let mut program = with_settings("own", &settings);
        let mut said = BufReader::new(program.stdout.take().unwrap()).lines();
        let [listening, fingerprint] = [(); 2].map(|()| said.next().unwrap().unwrap());
        assert!(listening.starts_with("listening on https://127.0.0.1:"), "{listening}");
        let log = stop(program, "TERM").stderr;
        let pinned = fingerprint.strip_prefix("fingerprint ").unwrap().to_owned();
        assert!(String::from_utf8_lossy(&log).contains(&pinned));
        pinned
    };
    let first = run();
    assert_eq!(first.len(), "sha256:".len() + 32 * 3 - 1, "{first}");
    assert_eq!(run(), first);
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Half of it is no certificate, and not to be made anew behind the operator's back.
    std::fs::remove_file(&certificate).unwrap();
    let output = with_settings("own", &settings).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("put it back"), "{output:?}");
}

#[test]
fn a_bad_config_is_told_line_by_line() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bad.toml");
    let text = "[limits]\nqueue_messages = 1\n\nmax_mesage_bytes = 9\n\
                ping_interval_s = true\n";
    std::fs::write(&file, text).unwrap();
    let output = start(&["--config", file.to_str().unwrap()]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    for (line, number) in lines.iter().zip([2, 4, 5]) {
        assert!(line.starts_with(&format!("{}:{number}: ", file.display())), "{said}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn other_bad_starts_say_why() {
    for (flags, code, said) in [
        (["--config", "nowhere/x.toml"], 2, "nowhere/x.toml: "),
        (["--queue-messages", "1"], 2, "8..=65536"),
        (["--silence-timeout-s", "3"], 2, "silence_timeout_s: 3 is not longer"),
    ] {
        let output = start(&flags).wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[test]
fn a_taken_address_is_named_with_a_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = start(&["--listen", &address]).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("choose another address"), "{said}");
}

/// Starts it with a settings file, whose name no other test uses.
fn with_settings(name: &str, text: &str) -> Child {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    std::fs::write(&file, text).unwrap();
    start(&["--config", file.to_str().unwrap()])
}

fn start(flags: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_rovercast-signaling"))
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the program listens.
fn address_of(program: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(program.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://");
    address.unwrap_or_else(|| panic!("{line}")).to_owned()
}

fn stop(program: Child, signal: &str) -> Output {
    let kill = Command::new("kill").args([format!("-{signal}"), program.id().to_string()]).status();
    assert!(kill.unwrap().success());
    program.wait_with_output().unwrap()
}

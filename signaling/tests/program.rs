//! The broker as a program: what it prints, and how it exits.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
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
        assert!(!log.contains("access control"), "{log}");
    }
}

#[test]
fn an_open_door_is_refused_unless_it_is_asked_for() {
    let output = start(&["--listen", "0.0.0.0:0"]).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("[access]") && said.contains("--insecure"), "{said}");

    let mut program = start(&["--listen", "0.0.0.0:0", "--insecure"]);
    address_of(&mut program);
    let log = stop(program, "TERM").stderr;
    assert_eq!(String::from_utf8_lossy(&log).matches("insecure: whoever").count(), 1);
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

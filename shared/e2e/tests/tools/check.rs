//! `check`: what cannot be used, and what is doubtful.

use anyhow::ensure;
use rovercast_e2e::lab::Folder;

use crate::{Environment, Outcome, config, nothing, tool};

#[test]
fn a_config_that_cannot_be_used_is_refused_line_by_line() -> Outcome {
    let folder = Folder::new("check")?;
    let source = "{ type = \"rtsp\", url = \"rtsp://me:hunter2@cam/\", fps = 3 }";
    let config = config(&folder, source, "widht = 640")?;
    let said = tool(&["check", "--config", &config], &Environment::new())?;
    ensure!(said.code == Some(2), "{:?} {}", said.code, said.out);
    for line in [format!("{config}:5: "), format!("{config}:6: ")] {
        ensure!(said.out.lines().any(|said| said.starts_with(&line)), "{line} in {}", said.out);
    }
    ensure!(said.out.contains("not usable: 2 problems"), "{}", said.out);
    ensure!(!said.out.contains("hunter2"), "{}", said.out);
    let said = tool(&["check", "--config", "/nowhere/sender.toml"], &Environment::new())?;
    ensure!(said.code == Some(2) && said.out.contains("cannot read the config"), "{}", said.out);
    Ok(())
}

#[test]
fn a_doubtful_config_is_usable() -> Outcome {
    let folder = Folder::new("check-doubts")?;
    let others = format!(
        "bitrate_kbps = 30000\n[[camera]]\nid = \"rear\"\nsource = {{ type = \"file\", path = \"/nowhere.mp4\" }}\n\
         encoder = \"openh264enc\"\n[control]\nsocket = \"{}/s\"\n",
        folder.path().display()
    );
    let config = config(&folder, "{ type = \"v4l2\", device = \"/dev/video99\" }", &others)?;
    let said = tool(&["check", "--config", &config], &Environment::new())?;
    ensure!(said.code == Some(0), "{:?} {}", said.code, said.out);
    for doubt in [
        "WARN  device [front]: the device /dev/video99 is not there now",
        "WARN  file [rear]: the file /nowhere.mp4 is not there",
        "WARN  bitrate: all cameras together send 31000 kbit/s",
        "usable, 2 cameras, 3 things to look at",
    ] {
        ensure!(said.out.contains(doubt), "{doubt} in {}", said.out);
    }
    let said = tool(&["check", "--config", &config], &nothing(&folder)?)?;
    let missing = "WARN  encoder [rear]: no encoder for it is installed: encoder = \"openh264enc\"\n      \
                   -> install gstreamer1.0-plugins-bad for openh264enc";
    ensure!(said.code == Some(0) && said.out.contains(missing), "{}", said.out);
    Ok(())
}

#[test]
fn a_token_that_opens_nothing_is_told() -> Outcome {
    let folder = Folder::new("check-token")?;
    // {"exp":1}
    let token = folder.write("token", "e30.eyJleHAiOjF9.c2ln\n")?;
    let signaling = |url: &str, more: &str| {
        format!("[signaling]\nurl = \"{url}\"\ntoken_file = \"{token}\"\n{more}")
    };
    let ca_file = "ca_file = \"/nowhere/ca.pem\"";
    for (url, told) in [
        (
            "ws://broker.example",
            ["WARN  token: the token in", "-> use wss://", "WARN  tls: ca_file"],
        ),
        (
            "wss://broker.example",
            ["expired", "-> put a new one there", "WARN  tls: ca_file /nowhere/"],
        ),
    ] {
        let config = config(&folder, "{ type = \"test\" }", &signaling(url, ca_file))?;
        let said = tool(&["check", "--config", &config], &Environment::new())?;
        ensure!(said.code == Some(0), "{:?} {}", said.code, said.out);
        for told in told {
            ensure!(said.out.contains(told), "{told} in {}", said.out);
        }
    }
    std::fs::remove_file(&token)?;
    let config = config(&folder, "{ type = \"test\" }", &signaling("wss://broker.example", ""))?;
    let said = tool(&["check", "--config", &config], &Environment::new())?;
    let missing = format!("WARN  token: cannot read the token in {token}: No such file");
    ensure!(said.out.contains(&missing), "{}", said.out);
    Ok(())
}

#[test]
fn a_socket_without_a_folder_cannot_be_used() -> Outcome {
    let folder = Folder::new("check-socket")?;
    let socket = "[control]\nsocket = \"/nowhere/rovercast/s\"";
    let config = config(&folder, "{ type = \"test\" }", socket)?;
    let said = tool(&["check", "--config", &config], &Environment::new())?;
    ensure!(said.code == Some(2) && said.out.contains("FAIL  socket: "), "{}", said.out);
    Ok(())
}

#[test]
fn the_reference_config_is_usable() -> Outcome {
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/sender.toml");
    let said = tool(&["check", "--config", reference], &Environment::new())?;
    ensure!(said.code == Some(0), "{}{}", said.out, said.err);
    Ok(())
}

//! `doctor`: each broken thing is found, by what is broken.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use anyhow::ensure;
use rovercast_e2e::lab::{Folder, broker, program};

use crate::{Environment, Outcome, config, hardware, nothing, said, tool};

const TEST: &str = "{ type = \"test\" }";

fn v4l2(device: &str) -> String {
    format!("{{ type = \"v4l2\", device = \"{device}\" }}")
}

#[test]
fn a_robot_in_order_is_well() -> Outcome {
    let folder = Folder::new("doctor")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let (config, url) = (config(&folder, TEST, "")?, format!("ws://{address}"));
    let arguments = ["doctor", "--config", &config, "--url", &url];
    let none = Environment::new();
    let people = tool(&arguments, &none)?;
    ensure!(people.code == Some(0), "{}{}", people.out, people.err);
    ensure!(people.out.contains("ok    encoder [front]: x264enc works\n"), "{}", people.out);
    let programs = tool(&[&arguments[..], &["--json"]].concat(), &none)?;
    ensure!(programs.json()?["well"] == true, "{}", programs.out);
    for check in ["gstreamer", "config", "plugins", "encoder", "broker", "ice", "udp"] {
        ensure!(programs.finding(check)?.0 == "ok", "{check} in {}", programs.out);
    }
    for check in ["cpu", "time-service", "clock", "robot-id"] {
        ensure!(programs.finding(check)?.0 != "fail", "{check} in {}", programs.out);
    }
    Ok(())
}

#[test]
fn a_computer_with_nothing_is_told_what_to_install() -> Outcome {
    let folder = Folder::new("doctor-nothing")?;
    let config = config(&folder, &v4l2("/dev/video99"), "")?;
    let said = tool(&["doctor", "--json", "--config", &config], &nothing(&folder)?)?;
    ensure!(said.code == Some(1), "{}", said.err);
    let plugins = said.findings("plugins")?;
    for (element, package) in [
        ("nicesink", "gstreamer1.0-nice"),
        ("webrtcbin", "gstreamer1.0-plugins-bad"),
        ("v4l2src", "gstreamer1.0-plugins-good"),
    ] {
        let found = plugins.iter().any(|(severity, text)| {
            severity == "fail"
                && text.contains(element)
                && text.contains(&format!("install {package}"))
        });
        ensure!(found, "{element} in {plugins:?}");
    }
    let (severity, text) = said.finding("encoder")?;
    ensure!(severity == "fail" && text.contains("no encoder for h264 is installed"), "{text}");
    Ok(())
}

#[test]
fn a_config_that_cannot_be_used_is_a_finding() -> Outcome {
    let folder = Folder::new("doctor-config")?;
    let config = config(&folder, TEST, "fps = 0")?;
    let said = tool(&["doctor", "--json", "--config", &config], &Environment::new())?;
    let (severity, text) = said.finding("config")?;
    ensure!(said.code == Some(1) && severity == "fail", "{text}");
    ensure!(text.contains("camera[front].fps: must be 1 to 240"), "{text}");
    ensure!(said.finding("gstreamer")?.0 == "ok", "{}", said.out);
    Ok(())
}

#[test]
fn a_device_that_is_missing_held_or_no_camera_is_found() -> Outcome {
    let folder = Folder::new("doctor-device")?;
    let none = Environment::new();
    let config = |device: &str| config(&folder, &v4l2(device), "");
    let missing = config("/dev/video99")?;
    let said = tool(&["doctor", "--json", "--config", &missing], &none)?;
    let (severity, text) = said.finding("device")?;
    ensure!(said.code == Some(1) && severity == "fail", "{text}");
    ensure!(text.contains("/dev/video99 is not there"), "{text}");

    let device = folder.write("video0", "")?;
    let there = config(&device)?;
    let open = File::open(&device)?;
    let said = tool(&["doctor", "--json", "--config", &there], &none)?;
    let (severity, text) = said.finding("in-use")?;
    ensure!(severity == "fail", "{text}");
    ensure!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    ensure!(said.findings("format")?.is_empty(), "opened while it was held: {}", said.out);

    drop(open);
    let said = tool(&["doctor", "--json", "--config", &there], &none)?;
    ensure!(said.finding("device")?.0 == "ok" && said.finding("in-use")?.0 == "ok", "{}", said.out);
    let (severity, text) = said.finding("format")?;
    ensure!(severity == "fail" && text.contains("is it a camera?"), "{text}");
    Ok(())
}

#[test]
fn a_device_that_may_not_be_opened_is_found() -> Outcome {
    let folder = Folder::new("doctor-permission")?;
    let device = folder.write("video0", "")?;
    let config = config(&folder, &v4l2(&device), "")?;
    let arguments = ["doctor", "--json", "--config", &config];
    let home = folder.path().display().to_string();
    let said = if File::open(&device)?.metadata()?.uid() == 0 {
        // As on a robot: the device belongs to a group, and somebody is not in it.
        let video = group("video")?;
        chown(&device, None, Some(video))?;
        std::fs::set_permissions(&device, Permissions::from_mode(0o660))?;
        let program = program("rovercast-sender")?;
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let mut command = Command::new("setpriv");
        said(command.args(nobody).arg(program).args(arguments).env("HOME", &home))?
    } else {
        std::fs::set_permissions(&device, Permissions::from_mode(0o000))?;
        tool(&arguments, &Environment::new())?
    };
    let (severity, text) = said.finding("permission")?;
    ensure!(said.code == Some(1) && severity == "fail", "{text}");
    let root = File::open("/proc/self/status")?.metadata()?.uid() == 0;
    ensure!(!root || text.contains("usermod -aG video $USER"), "{text}");
    ensure!(said.findings("format")?.is_empty(), "{}", said.out);
    Ok(())
}

/// The number of a group.
fn group(name: &str) -> anyhow::Result<u32> {
    let groups = std::fs::read_to_string("/etc/group")?;
    let mut lines = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields[0] == name);
    Ok(line.and_then(|fields| fields.get(2)?.parse().ok()).unwrap_or(44))
}

#[test]
fn an_encoder_that_hangs_is_found_beside_the_one_that_works() -> Outcome {
    let folder = Folder::new("doctor-hang")?;
    let mut environment = hardware("jetson")?;
    environment.push((rovercast_twins::HANG.to_owned(), "nvv4l2h264enc".to_owned()));
    let auto = config(&folder, TEST, "")?;
    let said = tool(&["doctor", "--json", "--config", &auto], &environment)?;
    let (severity, text) = said.finding("encoder")?;
    ensure!(severity == "warn", "{text}");
    ensure!(
        text.contains("x264enc works") && text.contains("nvv4l2h264enc: it does not answer"),
        "{text}"
    );
    Ok(())
}

#[test]
fn an_encoder_that_fails_is_found() -> Outcome {
    let folder = Folder::new("doctor-broken")?;
    let mut environment = hardware("va")?;
    environment.push((rovercast_twins::BROKEN.to_owned(), "vah264enc".to_owned()));
    let wanted = config(&folder, TEST, "encoder = \"vah264enc\"")?;
    let said = tool(&["doctor", "--json", "--config", &wanted], &environment)?;
    let (severity, text) = said.finding("encoder")?;
    ensure!(said.code == Some(1) && severity == "fail", "{text}");
    ensure!(text.contains("vah264enc: "), "{text}");
    Ok(())
}

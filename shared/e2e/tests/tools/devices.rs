//! `devices`: what is installed, and what of it works.

use anyhow::{Context, ensure};
use rovercast_e2e::lab::Folder;
use serde_json::Value;

use crate::{Outcome, hardware, nothing, tool};

/// The row of an encoder.
fn row<'a>(devices: &'a Value, factory: &str) -> anyhow::Result<&'a Value> {
    let rows = devices["encoders"].as_array().context("no encoders")?;
    rows.iter().find(|row| row["factory"] == factory).context("no such row")
}

#[test]
fn a_computer_with_nothing_is_told_what_to_install() -> Outcome {
    let folder = Folder::new("devices")?;
    let environment = nothing(&folder)?;
    let said = tool(&["devices", "--json"], &environment)?;
    ensure!(said.code == Some(0), "{:?}: {}", said.code, said.err);
    let devices = said.json()?;
    ensure!(devices["cameras"] == Value::Array(vec![]), "{devices}");
    for (factory, codec, package) in [
        ("nvv4l2h264enc", "h264", "nvidia-l4t-gstreamer"),
        ("vp8enc", "vp8", "gstreamer1.0-plugins-good"),
    ] {
        let row = row(&devices, factory)?;
        ensure!(row["codec"] == codec && row["package"] == package, "{row}");
        ensure!(row["installed"] == false && row["trials"] == Value::Array(vec![]), "{row}");
    }
    let people = tool(&["devices"], &environment)?.out;
    ensure!(people.contains("vp8enc            vp8   not installed: gstreamer1.0"), "{people}");
    ensure!(people.contains("CAMERAS\n  none: "), "{people}");
    Ok(())
}

#[test]
fn hardware_that_works_is_told_from_hardware_that_is_registered() -> Outcome {
    for (platform, factory, works) in [
        ("jetson", "nvv4l2h264enc", true),
        ("orin-nano", "nvv4l2h264enc", false),
        ("pi4", "v4l2h264enc", true),
        ("va", "vah264enc", true),
        ("nvidia", "nvh264enc", true),
    ] {
        let said = tool(&["devices", "--json"], &hardware(platform)?)?;
        let devices = said.json()?;
        let row = row(&devices, factory)?;
        ensure!(row["installed"] == true, "{platform}: {row}");
        let trials = row["trials"].as_array().context("no trials")?;
        let sizes: Vec<_> =
            trials.iter().map(|trial| (&trial["width"], &trial["height"])).collect();
        ensure!(sizes == [(&640.into(), &480.into()), (&1280.into(), &720.into())], "{row}");
        for trial in trials {
            ensure!(trial["works"] == works, "{platform}: {row}");
            ensure!(trial["reason"].is_string() != works, "{platform}: {row}");
        }
    }
    Ok(())
}

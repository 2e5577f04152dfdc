//! What the sender knows of hardware, on twins of it: the table of encoders, and the lines that
//! bring a device's pictures to them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod rows;
mod sources;

use std::process::Command;

/// Set in the child.
const CHILD: &str = "ROVERCAST_HARDWARE_TEST_CHILD";

/// Runs the body of this test in a process of its own, where these platforms' twins exist. A test
/// may do so for several platforms, one after the other.
fn with_twins(test: &str, platforms: &str, body: fn()) {
    if std::env::var_os(CHILD).is_some() {
        if std::env::var(rovercast_twins::PLATFORMS).unwrap() == platforms {
            gst::init().unwrap();
            body();
        }
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .envs(rovercast_twins::place::environment(platforms).unwrap())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = [child.stdout, child.stderr].concat();
    assert!(child.status.success(), "with {platforms}:\n{}", String::from_utf8_lossy(&said));
}

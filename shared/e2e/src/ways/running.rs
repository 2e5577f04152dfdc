//! A way that is in use, and what is seen at its end.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use rovercast_peer::start::now_us;

use super::cameras::{Cameras, frame_rate};
use super::{Case, Ends};
use crate::shown::{Outcome, Seen};

/// How long after the end of a span its pictures may still come.
const LATE: Duration = Duration::from_secs(1);

/// The programs of a way; they end when it is dropped.
#[derive(Debug)]
pub struct Running {
    case: Case,
    ends: Ends,
    _cameras: Cameras,
}

/// What was seen in a span of time.
#[derive(Debug)]
pub struct Measured {
    /// Of each camera.
    pub outcomes: Vec<Outcome>,
    /// What the receiver itself told of the latency: medians of a second and a camera each, in
    /// milliseconds. Only ours does.
    pub told_ms: Vec<f64>,
}

impl Running {
    pub(super) fn new(case: Case, ends: Ends, cameras: Cameras) -> Self {
        Self { case, ends, _cameras: cameras }
    }

    /// Waits for a picture of each camera, lets all warm up, and then measures for so long.
    pub fn measure(mut self, warm_up: Duration, length: Duration) -> anyhow::Result<Measured> {
        let mut cameras = BTreeSet::new();
        while cameras.len() < self.case.cameras {
            let camera = |line: &str| line.parse::<Seen>().ok().map(|seen| seen.camera);
            cameras.insert(self.ends.eye.wait_for("picture", camera)?);
        }
        std::thread::sleep(warm_up);
        let start = now_us();
        std::thread::sleep(length);
        let span = start..now_us();
        std::thread::sleep(LATE);
        Ok(self.measured(&span))
    }

    fn measured(&mut self, span: &Range<i64>) -> Measured {
        let output = self.ends.eye.output();
        let seen: Vec<Seen> = output.lines().filter_map(|line| line.parse().ok()).collect();
        let told = output.lines().filter_map(|line| {
            let (at_us, p50) = line.strip_prefix("told ")?.split_once(' ')?;
            span.contains(&at_us.parse::<i64>().ok()?).then(|| p50.parse().ok())?
        });
        let outcome = |camera| {
            let of_camera: Vec<Seen> =
                seen.iter().filter(|seen| seen.camera == camera).copied().collect();
            Outcome::of(&of_camera, span.clone(), frame_rate(self.case, camera))
        };
        Measured {
            outcomes: (0..self.case.cameras).map(outcome).collect(),
            told_ms: told.collect(),
        }
    }
}

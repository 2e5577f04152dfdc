//! A long recording, in a short time.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::*;

/// How long.
const SECONDS: i64 = 30 * 60;

/// From picture to picture: ten times a second.
const STEP_US: i64 = 100_000;

#[test]
fn after_half_an_hour_cameras_and_telemetry_are_still_together() {
    let folder = Folder::new();
    let mut recording = Recording::new(settings(&folder.0, Format::Mp4));
    let units = encode(Codec::H264, 10, (64, 48), 10);
    let mut random = StdRng::seed_from_u64(1);
    let cameras = ["front", "left", "right"];
    // Cameras run a little fast or slow, and not quite evenly; what they send comes when it comes.
    let drifts = [0, 7_000, -11_000];
    let mut captured = [0; 3].map(|_| Vec::new());
    for step in 0..SECONDS * 1_000_000 / STEP_US {
        for (camera, drift_us) in drifts.into_iter().enumerate() {
            let even_us = step * STEP_US + step * drift_us * STEP_US / (SECONDS * 1_000_000);
            let at_us = even_us + random.random_range(0..5_000);
            let way_us = random.random_range(10_000..120_000);
            let unit = &units[usize::try_from(step).unwrap() % units.len()];
            recording.feed(cameras[camera], Codec::H264, unit, at_us, way_us);
            captured[camera].push(at_us);
        }
        if step % 10 == 0 {
            recording.tell(step * STEP_US, &json!({ "type": "telemetry", "seq": step * STEP_US }));
        }
    }
    let state = recording.finish(SECONDS * 1_000_000);
    assert_eq!((state.files, state.access_units_lost, state.warning), (18, 0, None));
    for (camera, captured) in cameras.into_iter().zip(captured) {
        let recorded = recorded(&folder.0, camera, Codec::H264, "mp4");
        assert_eq!(recorded.len(), captured.len());
        let off = recorded.iter().zip(&captured).map(|((at_us, _), fed_us)| (at_us - fed_us).abs());
        let off_us = off.max().unwrap();
        assert!(off_us < 2_000, "{camera} is off by {off_us} us, and a picture lasts {STEP_US}");
    }
    let lines = journal(&folder.0);
    let told: Vec<_> = lines.iter().filter(|line| line["type"] == "telemetry").collect();
    assert_eq!(told.len(), SECONDS as usize);
    for line in told {
        let off = line["t"].as_f64().unwrap() - line["seq"].as_f64().unwrap() / 1e6;
        assert!(off.abs() < 1e-3, "{line}");
    }
    let paths = files(&folder.0, "mp4");
    assert_eq!(paths.iter().map(|path| probe(path)).sum::<usize>(), 3 * SECONDS as usize * 10);
}

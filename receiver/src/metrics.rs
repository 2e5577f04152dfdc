//! The receiver's figures for Prometheus, made of its reports. The table in docs/metrics.md names all
//! of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rovercast_metrics::page::{Figures, Labels, Page};
use rovercast_metrics::seconds::Seconds;
use rovercast_protocol::ids::{CameraId, RobotId};

use crate::report::{CameraReport, Report};
use crate::stages::Stage;

/// What is known of a running receiver.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    robots: BTreeMap<RobotId, Connection>,
    cameras: BTreeMap<(RobotId, CameraId), Camera>,
}

#[derive(Debug, Default)]
struct Connection {
    connected: bool,
    /// Sessions that began after pictures had ceased to come, or before there were any.
    connections: u64,
}

#[derive(Debug)]
struct Camera {
    report: CameraReport,
    stages: [Seconds; Stage::ALL.len()],
}

impl Metrics {
    /// Takes a report. Blocks for no longer than it takes to write a page.
    pub fn on_report(&self, report: &Report) {
        let Report::Camera(report) = report else { return };
        let mut known = self.lock();
        let robot = known.robots.entry(report.robot.clone()).or_default();
        if report.connected && !robot.connected {
            robot.connections += 1;
        }
        robot.connected = report.connected;
        let id = (report.robot.clone(), report.camera.clone());
        let stages = known.cameras.remove(&id).map(|camera| camera.stages).unwrap_or_default();
        for frame in &report.frames {
            for stage in Stage::ALL {
                if let Some(us) = frame.us(stage) {
                    // What two clocks measure may be less than nothing, by their error.
                    let us = u64::try_from(us).unwrap_or(0);
                    stages[stage as usize].observe(Duration::from_micros(us));
                }
            }
        }
        let report = CameraReport { frames: Vec::new(), ..report.clone() };
        known.cameras.insert(id, Camera { report, stages });
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures for Metrics {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let known = self.lock();
        let of = |robot: &RobotId| vec![("robot", robot.to_string())];
        page.gauges(
            "rovercast_receiver_connected",
            "Whether there is a session with the robot.",
            known.robots.iter().map(|(id, robot)| (of(id), f64::from(u8::from(robot.connected)))),
        )?;
        page.counters(
            "rovercast_receiver_connections",
            "How often the receiver came to have a session with the robot: the first time, and after \
             each time without one.",
            known.robots.iter().map(|(id, robot)| (of(id), robot.connections)),
        )?;
        write_flow(page, &known)?;
        write_times(page, &known)
    }
}

fn labels(report: &CameraReport) -> Labels {
    vec![("robot", report.robot.to_string()), ("camera", report.camera.to_string())]
}

fn gauges(
    page: &mut Page<'_>,
    known: &Known,
    name: &str,
    help: &str,
    figure: fn(&CameraReport) -> Option<f64>,
) -> fmt::Result {
    let reports = known.cameras.values().map(|camera| &camera.report);
    let figures = reports.filter_map(|report| Some((labels(report), figure(report)?)));
    page.gauges(name, help, figures)
}

fn counters(
    page: &mut Page<'_>,
    known: &Known,
    name: &str,
    help: &str,
    figure: fn(&CameraReport) -> u64,
) -> fmt::Result {
    let reports = known.cameras.values().map(|camera| &camera.report);
    page.counters(name, help, reports.map(|report| (labels(report), figure(report))))
}

fn write_flow(page: &mut Page<'_>, known: &Known) -> fmt::Result {
    let decoders = known.cameras.values().map(|camera| {
        let mut labels = labels(&camera.report);
        labels.push(("decoder", camera.report.decoder.clone()));
        (labels, 1.0)
    });
    page.gauges("rovercast_receiver_camera_decoder_info", "1, with the decoder in use.", decoders)?;
    gauges(
        page,
        known,
        "rovercast_receiver_camera_frames_per_second",
        "Pictures decoded in the last second.",
        |report| Some(report.fps),
    )?;
    gauges(
        page,
        known,
        "rovercast_receiver_camera_bits_per_second",
        "Bits of video received in the last second.",
        |report| Some(report.bitrate_kbps as f64 * 1000.0),
    )?;
    counters(
        page,
        known,
        "rovercast_receiver_camera_frames_decoded",
        "Pictures decoded.",
        |report| report.frames_decoded,
    )?;
    counters(
        page,
        known,
        "rovercast_receiver_camera_frames_dropped",
        "Access units not decoded, because the decoder was too slow.",
        |report| report.frames_dropped,
    )?;
    counters(
        page,
        known,
        "rovercast_receiver_camera_packets_lost",
        "Packets that never came, in this session.",
        |report| report.packets_lost,
    )?;
    counters(
        page,
        known,
        "rovercast_receiver_camera_packets_recovered",
        "Packets that were lost and came when they were asked for again, in this session.",
        |report| report.packets_recovered,
    )?;
    counters(
        page,
        known,
        "rovercast_receiver_camera_packets_restored",
        "Packets that were lost and restored from others, in this session.",
        |report| report.packets_restored,
    )
}

fn write_times(page: &mut Page<'_>, known: &Known) -> fmt::Result {
    gauges(
        page,
        known,
        "rovercast_receiver_camera_jitter_buffer_seconds",
        "The longest that a missing packet is waited for.",
        |report| Some(f64::from(report.jitter_buffer_ms) / 1000.0),
    )?;
    gauges(
        page,
        known,
        "rovercast_receiver_camera_jitter_seconds",
        "How unevenly packets come.",
        |report| Some(report.jitter_ms / 1000.0),
    )?;
    gauges(
        page,
        known,
        "rovercast_receiver_camera_clock_error_seconds",
        "How far the robot's clock, and with it stages network and total, may be off.",
        |report| report.clock_error_ms.map(|ms| ms / 1000.0),
    )?;
    let stages = known.cameras.values().flat_map(|camera| {
        Stage::ALL.iter().zip(&camera.stages).map(|(stage, seconds)| {
            let mut labels = labels(&camera.report);
            labels.push(("stage", stage.name().to_owned()));
            (labels, seconds.clone())
        })
    });
    page.seconds(
        "rovercast_receiver_camera_latency_seconds",
        "How long frames take from camera to screen, by stage and in total.",
        stages,
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rovercast_metrics::page::text;

    use super::*;
    use crate::meter::FrameTimes;
    use crate::stages::{StageTimes, Stages};

    fn report(connected: bool, frames: usize) -> Report {
        let times = FrameTimes {
            arrived_us: 1_000,
            delivered_us: Some(1_700),
            decoded_us: Some(1_600),
            ..FrameTimes::default()
        };
        Report::Camera(CameraReport {
            robot: "r".parse().unwrap(),
            camera: "c".parse().unwrap(),
            connected,
            width: 0,
            height: 0,
            fps: 30.0,
            bitrate_kbps: 900,
            packets_lost: 3,
            packets_recovered: 4,
            packets_restored: 5,
            decoder: "avdec_h264".to_owned(),
            frames_decoded: 77,
            frames_dropped: 0,
            jitter_buffer_ms: 100,
            jitter_ms: 0.5,
            latency_ms: None,
            clock_error_ms: None,
            round_trip_ms: None,
            stages_ms: Stages::default(),
            frames: vec![StageTimes::of(&times); frames],
        })
    }

    #[test]
    fn reports_become_figures() {
        let metrics = Arc::new(Metrics::default());
        for connected in [false, true, true, false, true] {
            metrics.on_report(&report(connected, 2));
        }
        let figures: Arc<dyn Figures> = metrics;
        let page = text(&figures).unwrap();
        let camera = "robot=\"r\",camera=\"c\"";
        for line in [
            "rovercast_receiver_connected{robot=\"r\"} 1.0".to_owned(),
            "rovercast_receiver_connections_total{robot=\"r\"} 2".to_owned(),
            format!("rovercast_receiver_camera_frames_decoded_total{{{camera}}} 77"),
            format!("rovercast_receiver_camera_bits_per_second{{{camera}}} 900000.0"),
            format!("rovercast_receiver_camera_jitter_buffer_seconds{{{camera}}} 0.1"),
            format!(
                "rovercast_receiver_camera_decoder_info{{{camera},decoder=\"avdec_h264\"}} 1.0"
            ),
            format!(
                "rovercast_receiver_camera_latency_seconds_count{{{camera},stage=\"receive\"}} 10"
            ),
            format!(
                "rovercast_receiver_camera_latency_seconds_sum{{{camera},stage=\"decode\"}} 0.0"
            ),
            format!(
                "rovercast_receiver_camera_latency_seconds_count{{{camera},stage=\"total\"}} 0"
            ),
        ] {
            assert!(page.lines().any(|told| told == line), "{line} in\n{page}");
        }
        assert!(!page.contains("clock_error_seconds{"), "it is not known:\n{page}");
    }
}

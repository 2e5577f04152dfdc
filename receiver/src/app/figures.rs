//! The figures of each second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rovercast_peer::start::now;

use super::App;
use crate::meter::FrameTimes;
use crate::report::{CameraReport, Report, Spread};
use crate::session::Session;
use crate::stages::{StageTimes, Stages};

impl App {
    /// Tells of each camera what happened since the last report.
    pub(super) fn report(&mut self, elapsed: Duration) {
        if let Some(wall) = self.settings.output.wall() {
            let offset = self.sessions.main().and_then(Session::offset);
            wall.robot_clock(offset.map(|offset| offset.offset_us));
        }
        self.show_recording();
        let connected = self.watch.is_connected(now().into());
        let seconds = elapsed.as_secs_f64().max(0.001);
        let mut reports = Vec::new();
        for (camera, view) in self.views.iter_mut() {
            let meter = view.meter().clone();
            let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let (decoded, bytes) = (load(&meter.decoded), load(&meter.bytes));
            let (frames, received) = view.since_last_report(decoded, bytes);
            let shown = meter.take_frames();
            let stages: Vec<StageTimes> = shown.iter().map(StageTimes::of).collect();
            let latencies = shown.iter().filter_map(FrameTimes::decoded_after_us).collect();
            let session = self.sessions.main();
            let network = session.map(|session| session.network(camera)).unwrap_or_default();
            let offset = session.and_then(Session::offset);
            reports.push(Report::Camera(CameraReport {
                robot: self.settings.robot.clone(),
                camera: camera.clone(),
                connected,
                width: meter.width.load(Ordering::Relaxed),
                height: meter.height.load(Ordering::Relaxed),
                decoder: view.decoder().to_owned(),
                fps: frames as f64 / seconds,
                bitrate_kbps: (received as f64 * 8.0 / 1000.0 / seconds) as u64,
                packets_lost: network.packets_lost,
                packets_recovered: network.packets_recovered,
                packets_restored: network.packets_restored,
                frames_decoded: decoded,
                frames_dropped: load(&meter.dropped),
                jitter_buffer_ms: network.jitter_buffer_ms,
                jitter_ms: network.jitter_ms,
                latency_ms: Spread::of_us(latencies),
                clock_error_ms: offset.map(|offset| offset.error_us as f64 / 1000.0),
                round_trip_ms: offset.map(|offset| offset.rtt_us as f64 / 1000.0),
                stages_ms: Stages::of(&stages),
                frames: stages,
            }));
        }
        reports.iter().for_each(|report| self.tell(report));
    }
}

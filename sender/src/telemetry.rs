//! The robot's figures, gathered once a second.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rovercast_protocol::telemetry::{CameraFigures, HostFigures};
use sysinfo::{Components, System};

use crate::camera::task::Camera;

/// Reads the figures of the host. Usage is that since the last reading; what the host does not
/// tell is zero.
#[derive(Debug, Default)]
pub struct Host {
    system: Option<System>,
    sensors: Option<Components>,
}

impl Host {
    /// Finds the sensors; takes the first reading of usage.
    pub fn new() -> Self {
        let mut system = System::new().ok();
        if let Some(system) = &mut system {
            system.refresh_cpu_usage();
        }
        Self { system, sensors: Components::new_with_refreshed_list().ok() }
    }

    /// The figures now.
    pub fn read(&mut self) -> HostFigures {
        let mut figures = HostFigures {
            load_1m: System::load_average().map_or(0.0, |load| load.one),
            uptime_s: System::uptime().unwrap_or(0),
            ..HostFigures::default()
        };
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory();
            figures.cpu_percent = system.global_cpu_usage();
            figures.memory_used_bytes = system.used_memory();
            figures.memory_total_bytes = system.total_memory();
        }
        if let Some(sensors) = &mut self.sensors {
            sensors.refresh(false);
            let degrees = sensors.iter().filter_map(sysinfo::Component::temperature);
            figures.temperature_celsius =
                degrees.filter(|celsius| celsius.is_finite()).reduce(f32::max);
        }
        figures
    }
}

/// The rates of one camera between two readings.
#[derive(Debug, Default)]
pub struct Meter {
    encoded: u64,
    bytes: u64,
    fps: f32,
    bitrate_kbps: u32,
}

impl Meter {
    /// Takes a reading, so long after the last one.
    pub fn read(&mut self, camera: &Camera, elapsed: Duration) {
        let encoded = camera.counters.encoded.load(Ordering::Relaxed);
        let bytes = camera.counters.bytes.load(Ordering::Relaxed);
        let seconds = elapsed.as_secs_f64().max(0.001);
        self.fps = ((encoded - self.encoded) as f64 / seconds) as f32;
        self.bitrate_kbps = ((bytes - self.bytes) as f64 * 8.0 / 1000.0 / seconds) as u32;
        (self.encoded, self.bytes) = (encoded, bytes);
    }

    /// The camera's figures: its state now, its rates as last read.
    pub fn figures(&self, camera: &Camera) -> CameraFigures {
        let status = camera.status.borrow();
        CameraFigures {
            id: camera.config.id.clone(),
            state: status.state,
            reason: status.reason.clone(),
            since_us: status.since_us,
            fault: status.fault,
            encoder: status.encoder.map(str::to_owned),
            fps: self.fps,
            bitrate_kbps: self.bitrate_kbps,
            frames_dropped: camera.counters.dropped(),
        }
    }
}

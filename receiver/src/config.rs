//! The receiver's settings: what may stand in `receiver.toml`, its defaults and its limits. Nothing
//! is read here: the text of the file comes in as an argument.

use std::path::PathBuf;

use rovercast_metrics::address::Address;
use rovercast_peer::ice::TransportPolicy;
use rovercast_peer::link::{Fingerprint, Target};
use rovercast_protocol::ids::{CameraId, RobotId};
use rovercast_protocol::settings::{self, InvalidSettings, Problem};
use serde::Deserialize;

use crate::decode::DecodeSettings;
use crate::playout;
use crate::record;
use crate::window::WindowSettings;

/// How a receiver runs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The broker's WebSocket, `ws://HOST:PORT` or `wss://HOST:PORT`.
    pub url: String,
    /// The file with the viewer's token; none is sent where left out.
    pub token_file: Option<PathBuf>,
    /// Certificates in PEM that sign the broker's, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The one certificate that is the broker's.
    pub tls_fingerprint: Option<Fingerprint>,
    /// Which paths pictures may take.
    pub ice_transport_policy: TransportPolicy,
    /// The robot to show; none lists those that are on-line.
    pub robot: Option<RobotId>,
    /// Its cameras; all when empty.
    pub cameras: Vec<CameraId>,
    /// Where pictures go: `window`, `windows`, `null`, or a launch fragment for each camera.
    pub sink: String,
    /// The window.
    pub window: WindowSettings,
    /// How missing packets are waited for.
    pub playout: playout::Settings,
    /// Recordings.
    pub record: record::Settings,
    /// Figures for Prometheus.
    pub metrics: MetricsConfig,
    /// What decodes.
    pub decode: DecodeSettings,
}

/// Figures for Prometheus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Where they can be had, as `/metrics`; nowhere by default.
    pub address: Option<Address>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "ws://127.0.0.1:8765".to_owned(),
            token_file: None,
            ca_file: None,
            tls_fingerprint: None,
            ice_transport_policy: TransportPolicy::All,
            robot: None,
            cameras: Vec::new(),
            sink: "window".to_owned(),
            window: WindowSettings::default(),
            playout: playout::Settings::default(),
            record: record::Settings::default(),
            metrics: MetricsConfig::default(),
            decode: DecodeSettings::default(),
        }
    }
}

impl Config {
    /// The settings in a file with this name and text.
    pub fn parse(name: &str, text: &str) -> Result<Self, InvalidSettings> {
        let config: Self = settings::parse(name, text)?;
        let problems = config.problems();
        if problems.is_empty() {
            return Ok(config);
        }
        Err(InvalidSettings { file: name.to_owned(), problems })
    }

    /// The broker to connect to.
    pub fn target(&self) -> Target {
        Target {
            url: self.url.clone(),
            token_file: self.token_file.clone(),
            ca_file: self.ca_file.clone(),
            tls_fingerprint: self.tls_fingerprint,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let broker = self.target().problems();
        let broker = broker.into_iter().map(|(key, remedy)| Problem::value(key, remedy));
        let window = self.window.check().err().map(|error| Problem::value("window", error));
        let record = self.record.check().err().map(|error| Problem::value("record", error));
        let playout = self.playout.check().err().map(|error| Problem::value("playout", error));
        broker.chain(window).chain(playout).chain(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = include_str!("../../config/receiver.toml");

    #[test]
    fn the_reference_file_is_the_defaults() {
        assert_eq!(Config::parse("receiver.toml", REFERENCE).unwrap(), Config::default());
        // What it shows as examples is right, too.
        Config::parse("receiver.toml", &REFERENCE.replace("\n#: ", "\n")).unwrap();
        for (bad, key) in [
            ("url = \"http://x\"", "url"),
            ("ca_file = 7", "ca_file"),
            ("tls_fingerprint = \"x\"", "sha256:"),
            ("ice_transport_policy = \"x\"", "relay"),
            ("[window]\nstale_ms = 1", "window: stale_ms"),
            ("[playout]\nmax_ms = 2001", "playout: max_ms"),
            ("[playout]\nmin_ms = 300", "playout: min_ms"),
            ("[record]\nsplit_s = 0", "record: split_s"),
            ("[decode]\nprefer = [\"x\"]", "prefer"),
            ("[metrics]\naddress = \"x\"", "address"),
        ] {
            let said = Config::parse("r.toml", bad).unwrap_err().to_string();
            assert!(said.contains(key), "{said}");
        }
    }
}

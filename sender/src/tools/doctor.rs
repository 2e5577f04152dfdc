//! `rovercast-sender doctor`: why there is no picture. Disturbs no sender that runs.

pub mod broker;
pub mod encoders;
pub mod host;
pub mod ice;
pub mod plugins;
pub mod sources;
pub mod stun;
pub mod usb;

use std::path::Path;

use clap::Args;
use rovercast_peer::link::check_url;
use serde::Serialize;

use crate::camera::convert::Installed;
use crate::camera::probe::Probe;
use crate::camera::registry::Registry;
use crate::config::Config;
use crate::tools::doubts::doubts;
use crate::tools::finding::{Finding, Severity, worst};
use crate::tools::here::Here;
use crate::tools::{ConfigFile, nodes};

/// What to look at.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The broker's WebSocket, in place of `signaling.url` of the config.
    #[arg(long, value_name = "URL", value_parser = check_url)]
    url: Option<String>,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// What to print, and what came of it.
#[derive(Debug)]
pub struct Report {
    /// The text.
    pub text: String,
    /// Whether nothing is broken.
    pub well: bool,
}

#[derive(Debug, Serialize)]
struct Json<'a> {
    well: bool,
    findings: &'a [Finding],
}

/// Looks at everything. GStreamer must have been started.
pub async fn run(arguments: Arguments, probe: &Probe) -> anyhow::Result<Report> {
    let clocks = host::Clocks::now();
    let mut findings = vec![host::gstreamer()];
    match Config::load(&arguments.config.path) {
        Ok(mut config) => {
            if let Some(url) = arguments.url {
                config.signaling.url = url;
            }
            findings.extend(of_config(&config, &arguments.config.path));
            findings.extend(of_robot(&config, probe).await);
        }
        Err(error) => {
            let remedy = "correct it: the rest can be looked at then";
            findings.push(Finding::fail("config", format!("{error:#}"), remedy));
        }
    }
    findings.push(host::cpu());
    findings.push(host::synchronised().await);
    findings.push(clocks.compare());
    let well = worst(&findings) < Severity::Fail;
    let text = if arguments.json {
        serde_json::to_string_pretty(&Json { well, findings: &findings })? + "\n"
    } else {
        told(&findings)
    };
    Ok(Report { text, well })
}

fn of_config(config: &Config, file: &Path) -> Vec<Finding> {
    let text = format!("{} is usable", file.display());
    let mut findings = vec![Finding::ok("config", text)];
    findings.extend(plugins::findings(config, |element| Registry.has_element(element)));
    // Of these more is found out below.
    let below = ["device", "name", "encoder", "file"];
    findings.extend(doubts(config, file, &Here).into_iter().filter(|d| !below.contains(&d.check)));
    findings
}

async fn of_robot(config: &Config, probe: &Probe) -> Vec<Finding> {
    let senders = nodes::senders();
    let (mut findings, mut usb, mut streams) = (Vec::new(), Vec::new(), false);
    for camera in &config.camera {
        let seen = sources::look(camera, &senders).await;
        findings.extend(seen.findings);
        usb.extend(seen.usb);
        streams |= seen.streams;
    }
    findings.extend(usb::findings(&usb));
    let broker = broker::look(config.signaling.target(), &config.robot.id, &senders).await;
    streams |= broker.registered && !senders.is_empty();
    for camera in &config.camera {
        findings.push(encoders::look(camera, probe, streams).await.of(&camera.id));
    }
    findings.extend(broker.findings);
    if let Some(servers) = &broker.servers {
        findings.push(broker::udp(&config.signaling.url).await);
        findings.extend(ice::look(servers).await);
    }
    findings
}

/// For people: what matters most stands at the end, where the eye is.
fn told(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let lines = findings.iter().map(|finding| format!("{finding}\n")).collect::<String>();
    let (warn, fail) = (count(Severity::Warn), count(Severity::Fail));
    let verdict = match (warn, fail) {
        (0, 0) => "all is well".to_owned(),
        (warn, 0) => format!("nothing is broken; {warn} to look at"),
        (warn, fail) => format!("{fail} broken, {warn} to look at"),
    };
    format!("{lines}\n{verdict}\n")
}

//! `rovercast-sender pipeline`: a camera's pipeline, to try it without the sender or to look at it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use gst::prelude::*;

use crate::camera::encoder::Encoder;
use crate::camera::probe::Probe;
use crate::camera::{drive, encoding, launch, plan, source};
use crate::config::{CameraConfig, Config, RtspTransport, Source};
use crate::tools::{ConfigFile, secrets, shell};

/// What to show.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The id of a camera; all of them where left out.
    camera: Option<String>,
    /// Writes graphs of the camera's pipelines, for Graphviz, to this file; `-` prints them, and no
    /// launch lines.
    #[arg(long, value_name = "FILE")]
    dot: Option<PathBuf>,
    /// Shows passwords and stream keys, too.
    #[arg(long)]
    show_secrets: bool,
}

/// What to print, and whether every camera has a pipeline.
#[derive(Debug)]
pub struct Report {
    /// The text.
    pub text: String,
    /// Whether all went well.
    pub complete: bool,
}

/// Makes the launch lines and graphs. Devices are opened to ask what they offer, and do not stream.
pub async fn run(arguments: Arguments, probe: &Probe) -> anyhow::Result<Report> {
    let Arguments { config, camera, dot, show_secrets } = arguments;
    let cameras = chosen(&Config::load(&config.path)?, camera.as_deref())?;
    let (mut lines, mut graphs, mut complete) = (Vec::new(), String::new(), true);
    for camera in cameras {
        if let Some(how) = network(&camera.source, show_secrets) {
            lines.push(format!("# {}: {how}", camera.id));
            continue;
        }
        let made = match probe.choose(&camera).await {
            Ok(row) => {
                let (camera, graph) = (camera.clone(), dot.is_some());
                tokio::task::spawn_blocking(move || made(&camera, row, show_secrets, graph)).await?
            }
            Err(error) => Err(error),
        };
        match made {
            Ok((line, graph)) => {
                lines.push(format!("# {}\n{line}", camera.id));
                graphs += &graph;
            }
            Err(error) => {
                complete = false;
                lines.push(format!("# {}: {error}", camera.id));
            }
        }
    }
    let text = lines.join("\n\n") + "\n";
    Ok(match dot {
        Some(file) if file.as_os_str() == "-" => Report { text: graphs, complete },
        Some(file) => {
            let named = || format!("cannot write the graph to {}", file.display());
            std::fs::write(&file, graphs).with_context(named)?;
            Report { text, complete }
        }
        None => Report { text, complete },
    })
}

fn chosen(config: &Config, camera: Option<&str>) -> anyhow::Result<Vec<CameraConfig>> {
    let Some(wanted) = camera else { return Ok(config.camera.clone()) };
    let found = config.camera.iter().find(|camera| camera.id.as_str() == wanted);
    let Some(found) = found else {
        let ids: Vec<_> = config.camera.iter().map(|camera| camera.id.as_str()).collect();
        bail!("there is no camera {wanted:?}: the config has {}", ids.join(", "));
    };
    Ok(vec![found.clone()])
}

/// The command for a shell, and the graphs where they are wanted.
fn made(
    camera: &CameraConfig,
    row: &Encoder,
    show_secrets: bool,
    graph: bool,
) -> Result<(String, String), String> {
    let line = secrets::launch(&source::whole_line(camera, row)?, show_secrets);
    let mut graphs = String::new();
    if graph {
        let encoder = {
            let element =
                gst::ElementFactory::make(row.factory).build().map_err(|_| drive::missing(row))?;
            plan::encoding(row, encoding::parameters(camera), drive::has(&element))
        };
        // Values would show secrets: they are left out with those of all other elements.
        let plain = show_secrets || !secrets::has_any(&camera.source);
        graphs += &graph_of(&source::launch_line(camera, row)?, camera, "source", plain)?;
        graphs += &graph_of(&encoder, camera, "encoder", true)?;
    }
    Ok((shell::command("gst-launch-1.0", &line), graphs))
}

/// A pipeline as a graph, built and not started.
fn graph_of(line: &str, camera: &CameraConfig, part: &str, values: bool) -> Result<String, String> {
    let pipeline = launch::parse(line)?;
    pipeline.set_property("name", format!("{}-{part}", camera.id));
    let mut details = gst::DebugGraphDetails::MEDIA_TYPE | gst::DebugGraphDetails::CAPS_DETAILS;
    if values {
        details |= gst::DebugGraphDetails::NON_DEFAULT_PARAMS;
    }
    Ok(pipeline.debug_to_dot_data(details).to_string())
}

/// What can be said of a source whose stream comes encoded: the sender looks into the stream first,
/// and builds what it needs then.
fn network(source: &Source, show_secrets: bool) -> Option<String> {
    let (what, launch) = match source {
        Source::Rtsp { url, transport, latency_ms } => {
            let protocols = match transport {
                RtspTransport::Udp => "udp",
                RtspTransport::Tcp => "tcp",
            };
            let url = plan::quoted(&secrets::url(url, show_secrets));
            (
                "the pipeline is made for what the camera sends. To see whether it sends:",
                format!("rtspsrc location={url} protocols={protocols} latency={latency_ms}"),
            )
        }
        Source::Http { url } => (
            "the pipeline is made for what the server sends. To see whether it sends:",
            format!(
                "souphttpsrc is-live=true location={}",
                plan::quoted(&secrets::url(url, show_secrets))
            ),
        ),
        Source::Srt { listen, passphrase, latency_ms } => {
            let passphrase = passphrase.iter().map(|secret| {
                format!(" passphrase={}", plan::quoted(&secrets::text(secret, show_secrets)))
            });
            (
                "the pipeline is made for what comes. To listen in the sender's place:",
                format!(
                    "srtsrc uri=\"srt://{listen}?mode=listener\" latency={latency_ms}{}",
                    passphrase.collect::<String>()
                ),
            )
        }
        Source::Rtmp { listen, key } => {
            let key = secrets::text(key, show_secrets);
            return Some(format!(
                "the sender itself takes the stream, and no launch line can. Publish to \
                 rtmp://{listen}/live/{key}"
            ));
        }
        _ => return None,
    };
    let line = format!("{launch} ! decodebin ! fakesink sync=false");
    Some(format!("{what}\n{}", shell::command("gst-launch-1.0", &line)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn network_sources_keep_their_secrets() {
        let source = Source::Srt {
            listen: "0.0.0.0:7001".parse().unwrap(),
            passphrase: Some(Secret("correct horse".to_owned())),
            latency_ms: 120,
        };
        let hidden = network(&source, false).unwrap();
        assert!(hidden.contains("'passphrase=\"***\"'") && !hidden.contains("horse"), "{hidden}");
        let shown = network(&source, true).unwrap();
        assert!(shown.contains("'passphrase=\"correct horse\"'"), "{shown}");
        let source = Source::Rtmp {
            listen: "0.0.0.0:1935".parse().unwrap(),
            key: Secret("letmein".to_owned()),
        };
        assert!(!network(&source, false).unwrap().contains("letmein"));
        let source = Source::Rtsp {
            url: Secret("rtsp://me:pw@cam/1".to_owned()),
            transport: RtspTransport::Udp,
            latency_ms: 50,
        };
        let line = network(&source, false).unwrap();
        let expected = "gst-launch-1.0 rtspsrc 'location=\"rtsp://***@cam/1\"' protocols=udp latency=50 ! decodebin";
        assert!(line.contains(expected), "{line}");
    }
}

//! Whether each camera's encoder works.

use crate::camera::encoder::{self, Converter};
use crate::camera::probe::{self, Probe};
use crate::config::CameraConfig;
use crate::tools::finding::Finding;

/// Tries a camera's encoders as the sender does, the best first. While a sender streams (`busy`)
/// hardware is left alone: it may take one stream at a time.
pub async fn look(camera: &CameraConfig, probe: &Probe, busy: bool) -> Finding {
    let mut reasons = Vec::new();
    for row in encoder::candidates(camera.codec, &camera.encoder) {
        if !probe::installed(row) {
            continue;
        }
        if busy && row.converter != Converter::Software {
            let text = format!("{} is not tried while the sender runs", row.factory);
            return Finding::ok("encoder", text + ": its log names the encoder in use");
        }
        match probe.try_encoder(row, camera).await {
            Ok(()) => return works(row.factory, &reasons),
            Err(reason) => reasons.push(format!("{}: {reason}", row.factory)),
        }
    }
    let remedy = match encoder::candidates(camera.codec, &camera.encoder).last() {
        Some(last) => format!("install {} for {}", last.package, last.factory),
        None => "choose another encoder".to_owned(),
    };
    if reasons.is_empty() {
        let text = format!("no encoder for {} is installed", camera.codec);
        return Finding::fail("encoder", text, remedy);
    }
    let text = format!("no encoder works: {}", reasons.join("; "));
    Finding::fail("encoder", text, format!("mend its driver, set encoder = \"auto\", or {remedy}"))
}

fn works(factory: &str, reasons: &[String]) -> Finding {
    let text = format!("{factory} works");
    if reasons.is_empty() {
        return Finding::ok("encoder", text);
    }
    let text = format!("{text}, but is not the best here: {}", reasons.join("; "));
    Finding::warn("encoder", text, "mend the driver of the better one: it saves the processor work")
}

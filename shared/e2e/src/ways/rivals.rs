//! The elements that people take who do not build a system of their own: `webrtcsink` to
//! `webrtcsrc`, as they are published (`shared/rivals`), with their defaults.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use gst::prelude::*;

use super::cameras::line;
use super::picture::{look_at, pipeline, play};
use super::{Case, Ends, Places, part};

pub(super) const SEE: &str = "webrtcsrc";
pub(super) const SEND: &str = "webrtcsink";

/// The plugin, as built by `make bench`, from the folder of this crate.
const PLUGIN: &str = "../../target/rivals/release/librovercast_rivals.so";

fn plugin() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(PLUGIN)
}

/// Why they cannot be measured, with the remedy.
pub fn missing() -> Option<String> {
    let path = plugin();
    (!path.is_file()).then(|| {
        format!("webrtcsrc: SKIPPED, not built: no {} (`make bench` builds it)", path.display())
    })
}

pub(super) fn start(case: Case, places: Places<'_>, cameras: &str) -> anyhow::Result<Ends> {
    let mut sender = part(places.robot, SEND, case, &[cameras, places.broker])?;
    // Whoever asks for the first producer does so once.
    sender.wait_for_text("registered")?;
    let eye = part(places.operator, SEE, case, &[places.broker])?;
    Ok(Ends { eye, _sender: sender })
}

/// Sends the pictures of these cameras, known to this broker. Only that it is to make H.264 is said, and that in one slice.
///
/// `webrtcsink` has parameter sets put before every slice of a key frame; `rtph264depay` of
/// GStreamer 1.22 takes each of these slices for a picture, and with four of them, the default,
/// no picture is ever whole.
pub(super) fn send(case: Case, cameras: &str, broker: &str) -> anyhow::Result<()> {
    gst::Plugin::load_file(plugin())?;
    let mut launch =
        format!("webrtcsink name=out video-caps=video/x-h264 signaller::uri=ws://{broker}");
    for camera in 0..case.cameras {
        launch.push_str(&format!(" {} ! out.", line(case, cameras, camera)));
    }
    let pipeline = pipeline(&launch)?;
    let sink = pipeline.by_name("out").context("no webrtcsink")?;
    let signaller = sink.property::<gst::glib::Object>("signaller");
    signaller.connect("notify::client-id", false, |_| {
        println!("registered");
        None
    });
    sink.connect("encoder-setup", false, |arguments| {
        let encoder = arguments.get(3).and_then(|value| value.get::<gst::Element>().ok());
        Some(encoder.is_some_and(|encoder| set_up(&encoder)).to_value())
    });
    play(&pipeline)
}

/// Gives x264enc the settings that `webrtcsink` gives it, but for `threads`, which makes the
/// slices. False of any other encoder.
fn set_up(encoder: &gst::Element) -> bool {
    let ours = encoder.factory().is_some_and(|factory| factory.name() == "x264enc");
    if ours {
        encoder.set_property("bitrate", 2048u32);
        encoder.set_property_from_str("tune", "zerolatency");
        encoder.set_property_from_str("speed-preset", "ultrafast");
        encoder.set_property("threads", 1u32);
        encoder.set_property("key-int-max", 2560u32);
        encoder.set_property("b-adapt", false);
        encoder.set_property("vbv-buf-capacity", 120u32);
    }
    ours
}

/// Receives what this broker knows. Decoded as its users have it, by the decoder that it chooses;
/// but shown at once, which a window by default does not do.
pub(super) fn see(case: Case, broker: &str) -> anyhow::Result<()> {
    gst::Plugin::load_file(plugin())?;
    let pipeline = gst::Pipeline::new();
    let receiver = gst::ElementFactory::make("webrtcsrc")
        .property("connect-to-first-producer", true)
        .build()?;
    let signaller = receiver.property::<gst::glib::Object>("signaller");
    signaller.set_property("uri", format!("ws://{broker}"));
    pipeline.add(&receiver)?;
    let (inside, cameras) = (pipeline.downgrade(), AtomicUsize::new(0));
    receiver.connect_pad_added(move |_, pad| {
        let camera = cameras.fetch_add(1, Ordering::Relaxed);
        if let Some(pipeline) = inside.upgrade()
            && let Err(error) = show(&pipeline, pad, case, camera)
        {
            println!("camera {camera}: {error:#}");
        }
    });
    play(&pipeline)
}

fn show(pipeline: &gst::Pipeline, pad: &gst::Pad, case: Case, camera: usize) -> anyhow::Result<()> {
    let line = "videoconvert ! video/x-raw,format=I420 ! appsink name=eye sync=false";
    let shown = gst::parse::bin_from_description(line, true)?;
    look_at(&shown.by_name("eye").and_downcast().context("no sink")?, case, camera);
    pipeline.add(&shown)?;
    shown.sync_state_with_parent()?;
    pad.link(&shown.static_pad("sink").context("no pad")?)?;
    Ok(())
}

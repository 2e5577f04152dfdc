//! What the tests of the twins share: a child process in which twins exist, and pipelines run to
//! their end.

use std::process::Command;
use std::sync::{Arc, Mutex};

use gst::prelude::*;

/// Set in the child.
const CHILD: &str = "ROVERCAST_TWINS_TEST_CHILD";

/// Runs the body of this test in a process of its own, where these platforms' twins exist.
pub(crate) fn with_twins(test: &str, platforms: &str, body: fn()) {
    if std::env::var_os(CHILD).is_some() {
        gst::init().unwrap();
        return body();
    }
    let output = child(test, platforms).output().unwrap();
    assert!(
        output.status.success(),
        "with {platforms}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A process that runs this test alone, with these platforms' twins.
pub(crate) fn child(test: &str, platforms: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]);
    command.envs(rovercast_twins::place::environment(platforms).unwrap()).env(CHILD, "1");
    command
}

/// Whether this is the child.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// What reached the end of a pipeline.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// Buffers.
    pub(crate) buffers: Vec<gst::Buffer>,
    /// The last caps.
    pub(crate) caps: Option<gst::Caps>,
}

/// Runs a pipeline, given without its sink, until it ends. The error is that of the pipeline.
pub(crate) fn run(launch: &str) -> Result<Reached, String> {
    run_with(launch, |_, _| {})
}

/// The same, and calls `each` with the pipeline at each buffer that comes to its end.
pub(crate) fn run_with(
    launch: &str,
    each: impl Fn(&gst::Bin, usize) + Send + Sync + 'static,
) -> Result<Reached, String> {
    let launch = format!("{launch} ! fakesink name=end sync=false");
    let pipeline = gst::parse::launch(&launch).map_err(|error| error.to_string())?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let reached = Arc::new(Mutex::new(Reached::default()));
    let end = pipeline.by_name("end").unwrap().static_pad("sink").unwrap();
    let (at_end, of_each) = (reached.clone(), pipeline.downgrade());
    end.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let mut reached = at_end.lock().unwrap();
        reached.buffers.push(info.buffer().unwrap().clone());
        reached.caps = pad.current_caps();
        let count = reached.buffers.len();
        drop(reached);
        if let Some(pipeline) = of_each.upgrade() {
            each(pipeline.upcast_ref(), count);
        }
        gst::PadProbeReturn::Ok
    });
    let _ = pipeline.set_state(gst::State::Playing);
    let patience = gst::ClockTime::from_seconds(60);
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().unwrap().timed_pop_filtered(patience, &types);
    let outcome = match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => {
            Err(format!("{} {:?}", error.error(), error.debug()))
        }
        _ => Err("the pipeline neither ends nor fails".to_owned()),
    };
    pipeline.set_state(gst::State::Null).unwrap();
    outcome.map(|()| std::mem::take(&mut *reached.lock().unwrap()))
}

/// The NAL unit types in an access unit of H.264.
pub(crate) fn nal_types(buffer: &gst::Buffer) -> Vec<u8> {
    let map = buffer.map_readable().unwrap();
    map.windows(4).filter(|bytes| bytes[..3] == [0, 0, 1]).map(|bytes| bytes[3] & 0x1f).collect()
}

/// Which of these access units are IDR pictures.
pub(crate) fn idr_pictures(buffers: &[gst::Buffer]) -> Vec<usize> {
    let idr = |buffer: &gst::Buffer| nal_types(buffer).contains(&5);
    buffers.iter().enumerate().filter(|(_, buffer)| idr(buffer)).map(|(at, _)| at).collect()
}

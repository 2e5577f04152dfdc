//! An attempt at a source with what a camera puts behind it.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use gst::prelude::*;
use rovercast_peer::start::{now, share_clock};
use rovercast_sender::camera::inputs::h264::{Inspector, Verdict};
use rovercast_sender::camera::inputs::network::{Media, Wanted};
use rovercast_sender::camera::inputs::streams::{Input, Origin};
use tokio::runtime::Runtime;

/// Longer than any of it takes, however busy the host is.
const PATIENCE: Duration = Duration::from_secs(30);
const WANTED: Wanted<'_> =
    Wanted { width: 320, height: 240, fps: 30, controls: &std::collections::BTreeMap::new() };

/// What an attempt tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// There is video.
    Arrived(Media),
    /// What is to be done with H.264 changed.
    Verdict(Verdict),
    /// A picture reached the end, decoded where it was not H.264.
    Picture,
    /// The bus said so.
    Failed(String),
    /// The source has ended.
    Ended,
}

pub(crate) struct Attempt {
    pipeline: gst::Pipeline,
    told: Receiver<Told>,
    _input: Input,
}

impl Attempt {
    pub(crate) fn start(origin: &Origin, runtime: &Runtime) -> Self {
        let pipeline = gst::Pipeline::new();
        share_clock(&pipeline);
        // More than a test lets come.
        let (tell, told) = sync_channel(100_000);
        let (teller, weak) = (tell.clone(), pipeline.downgrade());
        let end = end(&pipeline, tell.clone());
        let on = move |pad: &gst::Pad, media| {
            if let Some(pipeline) = weak.upgrade() {
                let _ = teller.try_send(Told::Arrived(media));
                connect(&pipeline, pad, media, &end);
            }
        };
        let input = origin.open(WANTED, runtime.handle(), on).unwrap();
        pipeline.add(&input.bin).unwrap();
        pipeline.bus().unwrap().set_sync_handler(move |_, message| {
            let message = match message.view() {
                gst::MessageView::Error(error) => Told::Failed(error.error().to_string()),
                gst::MessageView::Eos(_) => Told::Ended,
                _ => return gst::BusSyncReply::Drop,
            };
            let _ = tell.try_send(message);
            gst::BusSyncReply::Drop
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, told, _input: input }
    }

    /// Waits for what `wanted` finds; fails on what else ends the attempt.
    #[track_caller]
    pub(crate) fn wait<T>(&self, wanted: impl Fn(&Told) -> Option<T>) -> T {
        loop {
            let told = self.told.recv_timeout(PATIENCE).expect("nothing is told");
            if let Some(found) = wanted(&told) {
                return found;
            }
            assert!(!matches!(told, Told::Failed(_) | Told::Ended), "{told:?}");
        }
    }

    #[track_caller]
    pub(crate) fn verdict(&self) -> Verdict {
        self.wait(|told| match told {
            Told::Verdict(verdict) if *verdict != Verdict::Undecided => Some(*verdict),
            _ => None,
        })
    }

    #[track_caller]
    pub(crate) fn pictures(&self, count: usize) {
        for _ in 0..count {
            self.wait(|told| (*told == Told::Picture).then_some(()));
        }
    }

    /// Why it ended.
    #[track_caller]
    pub(crate) fn end(&self) -> String {
        self.wait(|told| match told {
            Told::Failed(reason) => Some(reason.clone()),
            Told::Ended => Some("ended".to_owned()),
            _ => None,
        })
    }

    pub(crate) fn nothing_told(&self) -> bool {
        self.told.try_recv().is_err()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// The end that pictures reach. It is there from the start, as a camera's is: a sink that is added
/// while the pipeline starts may stay behind in PAUSED.
fn end(pipeline: &gst::Pipeline, tell: SyncSender<Told>) -> gst::Element {
    let end = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .property("async", false)
        .build()
        .unwrap();
    pipeline.add(&end).unwrap();
    let inspected = Mutex::new((Inspector::new(), Verdict::Undecided));
    let sink = end.static_pad("sink").unwrap();
    sink.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let buffer = info.buffer().unwrap();
        let caps = pad.current_caps().unwrap();
        if caps.structure(0).unwrap().name() == "video/x-h264" {
            let (inspector, verdict) = &mut *inspected.lock().unwrap();
            let unit = buffer.map_readable().unwrap();
            let found = inspector.look(&unit, buffer.pts().map(Into::into), now().into());
            if found != std::mem::replace(verdict, found) {
                let _ = tell.try_send(Told::Verdict(found));
            }
        }
        let _ = tell.try_send(Told::Picture);
        gst::PadProbeReturn::Ok
    });
    end
}

fn connect(pipeline: &gst::Pipeline, pad: &gst::Pad, media: Media, end: &gst::Element) {
    let sink = end.static_pad("sink").unwrap();
    if media == Media::H264 {
        pad.link(&sink).unwrap();
        return;
    }
    let decoder = gst::ElementFactory::make("decodebin").build().unwrap();
    decoder.connect_pad_added(move |_, pad| {
        pad.link(&sink).unwrap();
    });
    pipeline.add(&decoder).unwrap();
    decoder.sync_state_with_parent().unwrap();
    pad.link(&decoder.static_pad("sink").unwrap()).unwrap();
}

/// A runtime with GStreamer up.
pub(crate) fn runtime() -> Runtime {
    gst::init().unwrap();
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

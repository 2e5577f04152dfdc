//! Where a camera's access units leave. It outlives every source and encoder of the camera, so
//! that sessions notice nothing of their coming and going.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use gst_utils::StreamProducer;
use gst_utils::streamproducer::ProducerSettings;
use rovercast_peer::start::{now, share_clock};
use tokio::sync::oneshot;

use crate::camera::counters::Counters;
use crate::camera::stamp::{Stamp, Times};

/// So many may wait for a key frame at once.
const WAITING: usize = 8;

/// One that gives access units to an [`Output`]: an encoder, or a source whose stream is passed
/// through. Later ones have greater numbers; the first has 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feed(pub u32);

/// Which feed's access units pass: those of the wanted one from its first key frame on, and until
/// then those of the one before, so that no decoder meets a gap. Pure.
#[derive(Debug, Default)]
struct FeedSwitch {
    active: Feed,
    wanted: Feed,
    /// Wanted even more, should it ever begin.
    preferred: Option<Feed>,
}

impl FeedSwitch {
    /// Whether an access unit passes.
    fn passes(&mut self, feed: Feed, key_frame: bool) -> bool {
        if key_frame && self.preferred == Some(feed) {
            self.wanted = feed;
        }
        if key_frame && feed == self.wanted {
            self.active = feed;
        }
        feed == self.active
    }

    /// Nothing of this feed passes any more.
    fn end(&mut self, feed: Feed) {
        for role in [&mut self.active, &mut self.wanted] {
            if *role == feed {
                *role = Feed::default();
            }
        }
    }
}

/// What happens when a viewer asks for a key frame. Called on a thread of GStreamer's.
type OnKeyFrameWanted = Arc<dyn Fn() + Send + Sync>;

struct State {
    switch: FeedSwitch,
    caps: Option<gst::Caps>,
    segment: Option<gst::Segment>,
    on_key_frame_wanted: Option<OnKeyFrameWanted>,
    /// Who waits for the next key frame.
    waiting: Vec<oneshot::Sender<gst::Sample>>,
}

/// A camera's access units on their way to any number of sessions.
pub struct Output {
    stamp: Stamp,
    counters: Arc<Counters>,
    pipeline: gst::Pipeline,
    /// Linked to the sink, and in no element: whoever pushes does so on his own thread.
    inlet: gst::Pad,
    stream: StreamProducer,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("inlet", &self.inlet).finish_non_exhaustive()
    }
}

impl Output {
    /// An output that runs. Ends by [`Output::stop`].
    pub fn start(name: &str, counters: &Arc<Counters>) -> Result<Self, String> {
        let pipeline = gst::Pipeline::with_name(name);
        share_clock(&pipeline);
        let appsink = gst_app::AppSink::builder().async_(false).build();
        let stream = StreamProducer::with(&appsink, ProducerSettings { sync: false });
        stream.set_forward_events([]);
        pipeline.add(&appsink).map_err(|error| error.to_string())?;
        let state = Arc::new(Mutex::new(State {
            switch: FeedSwitch::default(),
            caps: None,
            segment: None,
            on_key_frame_wanted: None,
            waiting: Vec::new(),
        }));
        let wanted = state.clone();
        let inlet = gst::Pad::builder(gst::PadDirection::Src)
            .event_function(move |_, _, event| {
                if gst_video::ForceKeyUnitEvent::is(&event) {
                    ask(&wanted);
                }
                true
            })
            .build();
        let sink = appsink.static_pad("sink").ok_or("an appsink without pad")?;
        let counted = counters.clone();
        sink.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                counted.encoded.fetch_add(1, Ordering::Relaxed);
                counted.bytes.fetch_add(buffer.size() as u64, Ordering::Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
        inlet.set_active(true).map_err(|error| error.to_string())?;
        inlet.link(&sink).map_err(|error| error.to_string())?;
        pipeline.set_state(gst::State::Playing).map_err(|error| error.to_string())?;
        inlet.push_event(gst::event::StreamStart::new(name));
        let (stamp, counters) = (Stamp::default(), counters.clone());
        Ok(Self { stamp, counters, pipeline, inlet, stream, state })
    }

    /// The stream that sessions subscribe to.
    pub fn stream(&self) -> &StreamProducer {
        &self.stream
    }

    /// From its first key frame on, this feed's access units pass and no others. Key frames are
    /// asked of it by `on_key_frame_wanted`, which must not block.
    pub fn expect(&self, feed: Feed, on_key_frame_wanted: impl Fn() + Send + Sync + 'static) {
        let mut state = self.lock();
        state.switch.wanted = feed;
        state.on_key_frame_wanted = Some(Arc::new(on_key_frame_wanted));
    }

    /// This feed takes over with its first key frame, should it ever begin. Nobody can ask it for key
    /// frames. With none, it is the expected one alone that takes over.
    pub fn prefer(&self, feed: Option<Feed>) {
        self.lock().switch.preferred = feed;
    }

    /// Asks for a key frame of whoever is expected to give one.
    pub fn request_key_frame(&self) {
        ask(&self.state);
    }

    /// The next key frame, when there is one. None when too many wait for it already.
    pub fn next_key_frame(&self) -> Option<oneshot::Receiver<gst::Sample>> {
        let (tx, rx) = oneshot::channel();
        let mut state = self.lock();
        state.waiting.retain(|waiting| !waiting.is_closed());
        (state.waiting.len() < WAITING).then(|| {
            state.waiting.push(tx);
            rx
        })
    }

    /// Whether this feed's access units pass.
    pub fn passes(&self, feed: Feed) -> bool {
        self.lock().switch.active == feed
    }

    /// A feed was ended: what comes of it late passes no more.
    pub fn end(&self, feed: Feed) {
        let mut state = self.lock();
        state.on_key_frame_wanted = None;
        state.switch.end(feed);
    }

    /// Takes an access unit of a feed, on the thread that made it.
    pub fn push(&self, feed: Feed, sample: &gst::Sample) {
        let (Some(mut buffer), Some(caps)) = (sample.buffer_owned(), sample.caps_owned()) else {
            return;
        };
        let encoded = now();
        let key_frame = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let mut state = self.lock();
        if !state.switch.passes(feed, key_frame) {
            return;
        }
        let new_caps = (state.caps.as_ref() != Some(&caps)).then(|| caps.clone());
        // Encoders shift times and segment alike.
        let new_segment = sample.segment().filter(|new| state.segment.as_ref() != Some(*new));
        let new_segment = new_segment.cloned();
        if new_caps.is_some() {
            state.caps.clone_from(&new_caps);
        }
        if new_segment.is_some() {
            state.segment.clone_from(&new_segment);
        }
        if key_frame {
            for waiting in state.waiting.drain(..) {
                let _ = waiting.send(sample.clone());
            }
        }
        // Not locked while others' code runs: it may ask for a key frame at once.
        drop(state);
        if let Some(caps) = new_caps {
            self.inlet.push_event(gst::event::Caps::new(&caps));
        }
        if let Some(segment) = new_segment {
            self.inlet.push_event(gst::event::Segment::new(&segment));
        }
        if let Some(captured) = captured(&buffer, sample.segment()) {
            let took = encoded.saturating_sub(captured);
            self.counters.encode.observe(took.into());
            self.stamp.put(buffer.make_mut(), Times { captured, encoded });
        }
        // Refused only while it stops.
        let _ = self.inlet.push(buffer);
    }

    /// Ends it.
    pub fn stop(&self) {
        self.lock().on_key_frame_wanted = None;
        let _ = self.pipeline.set_state(gst::State::Null);
        let _ = self.inlet.set_active(false);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// When the picture of an access unit was captured.
fn captured(buffer: &gst::BufferRef, segment: Option<&gst::Segment>) -> Option<gst::ClockTime> {
    segment?.downcast_ref::<gst::ClockTime>()?.to_running_time(buffer.pts()?)
}

/// Not locked while the encoder is asked: one that hangs must not hold up who pushes and watches.
fn ask(state: &Mutex<State>) {
    let on_key_frame_wanted = lock(state).on_key_frame_wanted.clone();
    if let Some(on_key_frame_wanted) = on_key_frame_wanted {
        on_key_frame_wanted();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_takes_over_at_its_first_key_frame() {
        let mut switch = FeedSwitch { active: Feed(1), wanted: Feed(1), preferred: None };
        assert!(switch.passes(Feed(1), false));
        switch.wanted = Feed(2);
        assert!(!switch.passes(Feed(2), false), "a decoder could not show it");
        assert!(switch.passes(Feed(1), false), "the old one fills the gap");
        assert!(switch.passes(Feed(2), true));
        assert!(!switch.passes(Feed(1), true), "it is over");
        assert!(switch.passes(Feed(2), false));
        switch.end(Feed(1));
        assert!(switch.passes(Feed(2), false), "another was ended");
        switch.end(Feed(2));
        assert!(!switch.passes(Feed(2), true), "it was ended");
        switch.wanted = Feed(3);
        assert!(!switch.passes(Feed(2), true) && switch.passes(Feed(3), true));
    }

    #[test]
    fn a_preferred_feed_takes_over_for_good() {
        let mut switch = FeedSwitch { active: Feed(1), wanted: Feed(1), preferred: Some(Feed(2)) };
        assert!(switch.passes(Feed(1), true) && !switch.passes(Feed(2), false));
        assert!(switch.passes(Feed(2), true));
        assert!(!switch.passes(Feed(1), true), "a late key frame of a slate");
        switch.wanted = Feed(3);
        assert!(switch.passes(Feed(3), true), "it is lost");
        assert!(switch.passes(Feed(2), true), "it is back");
        (switch.preferred, switch.wanted) = (None, Feed(3));
        assert!(switch.passes(Feed(2), true), "until it is encoded anew");
        assert!(switch.passes(Feed(3), true) && !switch.passes(Feed(2), true));
    }
}

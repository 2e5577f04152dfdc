//! The way of one session's access units into a view: what is dropped, when a key frame is needed,
//! and when a decoder has to go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rovercast_peer::start::{now, now_us};
use rovercast_protocol::keyframes::KeyFrameGate;

use super::Inside;
use crate::decode::{Chain, Refusal, Silence, Unit};
use crate::turns::Turn;

/// A key frame is asked for again after this time, in microseconds.
const KEY_FRAME_REQUESTS_US: i64 = 500_000;

/// The entrance of a [`View`](super::View), for one session.
#[derive(Debug)]
pub struct Entrance {
    view: Arc<Inside>,
    turn: Turn,
    /// Older access units are dropped.
    oldest: Duration,
    /// The decoder, as of this epoch of the view's decoding.
    chain: Option<Arc<Chain>>,
    epoch: Option<u32>,
    caps: Option<gst::Caps>,
    silence: Silence,
    gate: KeyFrameGate,
    gap: bool,
    key_frame_asked_us: i64,
}

impl Entrance {
    pub(super) fn new(view: Arc<Inside>, oldest: Duration, turn: Turn) -> Self {
        Self {
            view,
            turn,
            oldest,
            chain: None,
            epoch: None,
            caps: None,
            silence: Silence::default(),
            gate: KeyFrameGate::default(),
            gap: true,
            key_frame_asked_us: 0,
        }
    }

    /// Takes an access unit, and returns when it is decoded. False when a key frame should be
    /// asked for.
    pub fn push(&mut self, sample: &gst::Sample) -> bool {
        let Some(buffer) = sample.buffer_owned() else { return true };
        let flags = buffer.flags();
        let key_frame = !flags.contains(gst::BufferFlags::DELTA_UNIT);
        if !self.view.turns.admit(&self.turn, key_frame) {
            // One that is not over cannot be shown before it has a key frame.
            return self.view.turns.is_over(&self.turn) || !self.asks();
        }
        let recorded = self.view.tap.tell(sample);
        let meter = &self.view.meter;
        meter.received.fetch_add(1, Ordering::Relaxed);
        meter.bytes.fetch_add(buffer.size() as u64, Ordering::Relaxed);
        self.look();
        let Some(chain) = self.chain.clone() else {
            // The next decoder asks for a key frame as soon as it is there.
            self.view.meter.dropped.fetch_add(1, Ordering::Relaxed);
            return recorded || !self.asks();
        };
        let late = buffer.pts().is_some_and(|pts| Duration::from(now()) > self.oldest + pts.into());
        // Where packets were lost, depayloaders that cannot wait for a key frame themselves say so.
        let gap = self.gap || flags.contains(gst::BufferFlags::DISCONT);
        let passes = self.gate.passes(gap, key_frame) && !late;
        self.gap = late;
        if passes {
            self.decode(&chain, sample, buffer, gap);
        } else {
            self.view.meter.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let wanted = self.view.decoding.takes_key_frame_request() || !recorded;
        let lacks = wanted || self.gap || !passes;
        !lacks || !self.asks()
    }

    /// Whether it is time to ask for a key frame.
    fn asks(&mut self) -> bool {
        let asks = now_us() - self.key_frame_asked_us > KEY_FRAME_REQUESTS_US;
        if asks {
            self.key_frame_asked_us = now_us();
        }
        asks
    }

    /// Looks whether there is another decoder, or the same one that has forgotten everything.
    fn look(&mut self) {
        let epoch = self.view.decoding.epoch();
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.chain = self.view.decoding.chain();
            self.silence = Silence::default();
            // It needs a key frame, and at once, whenever the last was asked for.
            (self.caps, self.gap, self.key_frame_asked_us) = (None, true, 0);
        }
    }

    fn decode(&mut self, chain: &Arc<Chain>, sample: &gst::Sample, buffer: gst::Buffer, gap: bool) {
        let view = &self.view;
        // While the output takes a picture it is not the decoder that is silent.
        let silent = view.stage.busy() == Duration::ZERO
            && self.silence.too_long(gap, chain.pictures(), now_us())
            && chain.row().hardware;
        if silent {
            let reason = "it takes access units and gives no pictures";
            return view.decoding.replace(chain, reason, false);
        }
        let _alone = chain.alone();
        if !view.turns.admit(&self.turn, false) {
            // A later session has taken over meanwhile.
            return;
        }
        let announced = self.announced(sample);
        let view = &self.view;
        view.pushing_since_us.store(now_us(), Ordering::Relaxed);
        let taken = chain.take(Unit { announced, buffer });
        view.pushing_since_us.store(0, Ordering::Relaxed);
        let (reason, hangs) = match taken {
            Ok(()) => {
                self.turn.set_shown();
                (chain.fault().map(str::to_owned), false)
            }
            Err(Refusal::Interrupted) => {
                // It must hear everything again.
                (self.caps, self.gap) = (None, true);
                (chain.fault().map(str::to_owned), false)
            }
            Err(Refusal::Failed(reason)) => {
                (self.caps, self.gap) = (None, true);
                (Some(reason), false)
            }
            Err(Refusal::Hangs) => (Some("it hangs with the first access unit".to_owned()), true),
        };
        // An output that fails takes the decoder with it, which is not to blame.
        if let Some(reason) = reason.filter(|_| !view.stage.has_failed()) {
            view.decoding.replace(chain, &reason, hangs);
        }
    }

    /// What the decoder has to be told: all of it before the first access unit and when it changes.
    fn announced(&mut self, sample: &gst::Sample) -> Option<(gst::Caps, gst::Segment)> {
        let caps = sample.caps_owned();
        if caps == self.caps {
            return None;
        }
        self.caps = caps.clone();
        Some((caps?, sample.segment()?.clone()))
    }
}

//! A jitter buffer of GStreamer's (`rtpjitterbuffer`): its counts, and how it is told to wait. It
//! decides nothing.

use std::time::Duration;

use gst::glib;
use gst::prelude::*;

use crate::playout::{Counts, REQUESTS_APART, Waiting};

/// How often the same packet is asked for at most: more often than any deadline has room for.
const MOST_TRIES: i32 = 8;

/// Requests are not thrown away because their packets would come too late, in milliseconds: of
/// several at a time that would be all but one, even where it is only a guess.
const REQUESTS_EXPIRE_MS: i32 = 10_000;

/// What restores a packet comes within this time after the next one, in milliseconds: behind the same
/// picture.
const RESTORED_WITHIN_MS: i32 = 10;

/// Makes a new one ask for what is missing as soon as something newer is there; or, where it is
/// `protected`, as soon as it should have been restored.
pub fn prepare(buffer: &gst::Element, protected: bool) {
    // It would wait for half a picture's time, in case that packets overtake each other. They
    // hardly ever do, and then a packet comes twice; but every loss would cost that time.
    set(buffer, "rtx-delay", if protected { RESTORED_WITHIN_MS } else { 0 });
    set(buffer, "rtx-min-retry-timeout", REQUESTS_APART.as_millis() as i32);
    set(buffer, "rtx-max-retries", MOST_TRIES);
    set(buffer, "rtx-deadline", REQUESTS_EXPIRE_MS);
}

/// Makes it wait so.
pub fn set_waiting(buffer: &gst::Element, waiting: &Waiting) {
    let deadline_ms = u32::try_from(waiting.deadline.as_millis()).unwrap_or(u32::MAX);
    if buffer.property::<u32>("latency") != deadline_ms {
        set(buffer, "latency", deadline_ms);
    }
    let ask_again_ms = i32::try_from(waiting.ask_again.as_millis()).unwrap_or(i32::MAX);
    set(buffer, "rtx-retry-timeout", ask_again_ms);
}

/// What it has counted. `ping_rtt` is passed on.
pub fn counts(buffer: &gst::Element, ping_rtt: Option<Duration>) -> Counts {
    let stats = buffer.property::<gst::Structure>("stats");
    let number = |name: &str| stats.get::<u64>(name).unwrap_or(0);
    Counts {
        lost: number("num-lost"),
        late: number("num-late"),
        requested: number("rtx-count"),
        recovered: number("rtx-success-count"),
        request_rtt: Duration::from_nanos(number("rtx-rtt")),
        jitter: Duration::from_nanos(number("avg-jitter")),
        ping_rtt,
    }
}

/// Not all versions have all properties.
fn set(buffer: &gst::Element, name: &str, value: impl Into<glib::Value>) {
    if buffer.find_property(name).is_some() {
        buffer.set_property(name, value);
    }
}

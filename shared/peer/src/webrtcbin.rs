//! webrtcbin's signals as events in a queue, its promises as futures, its ICE agent set up.

use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst_webrtc::{
    WebRTCDataChannel, WebRTCICEGatheringState, WebRTCPeerConnectionState, WebRTCRTPTransceiver,
};
use rovercast_protocol::signaling::Candidate;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::arrival;
use crate::channel::{Channel, Inlet};
use crate::connection::ConnectionError;
use crate::fec::Fec;
use crate::ice::IceUrls;
use crate::resend;

/// webrtcbin answers within milliseconds, or never.
const PROMISE: Duration = Duration::from_secs(5);

/// SSRCs that one peer may make up: each costs a jitter buffer and a thread.
const MAX_STREAMS: u32 = 256;

/// From the bandwidth follows how soon after one request of a receiver the next may leave (RFC 4585,
/// section 3.5.2: 5 % are for reports and requests). Guessed from a camera that sends little it
/// would be half a second, which no missing packet can wait. Reports come every 5 s all the same.
const FEEDBACK_BANDWIDTH_BPS: f64 = 100e6;

/// What webrtcbin said, before anything is made of it.
#[derive(Debug)]
pub(crate) enum Said {
    Candidate(Candidate),
    /// There are no further ones.
    Gathered,
    State(WebRTCPeerConnectionState),
    Pad(gst::Pad, gst::PadProbeId),
    JitterBuffer(u32, glib::WeakRef<gst::Element>),
    /// The other peer has made a channel, which is open and listened to.
    Channel(Channel, WebRTCDataChannel),
    /// One of our own channels is open.
    Opened(Channel),
    Failed(String),
}

/// What a promise was answered with.
pub(crate) type Reply = Result<Option<gst::Structure>, gst::PromiseError>;

/// A promise, and where its answer comes.
pub(crate) fn promise() -> (gst::Promise, oneshot::Receiver<Reply>) {
    let (sender, receiver) = oneshot::channel();
    let promise = gst::Promise::with_change_func(move |reply| {
        let _ = sender.send(reply.map(|reply| reply.map(|reply| reply.to_owned())));
    });
    (promise, receiver)
}

/// Waits for the answer to what `signal` asked.
pub(crate) async fn answered(
    signal: &str,
    reply: oneshot::Receiver<Reply>,
) -> Result<Option<gst::Structure>, ConnectionError> {
    let failed = |reason: String| ConnectionError::Gst(format!("{signal}: {reason}"));
    let no_answer = || failed("no answer".to_owned());
    let reply = timeout(PROMISE, reply).await.map_err(|_| no_answer())?;
    let reply = reply.map_err(|_| no_answer())?;
    let reply = reply.map_err(|error| failed(format!("{error:?}")))?;
    if let Some(Ok(error)) = reply.as_ref().map(|reply| reply.get::<glib::Error>("error")) {
        return Err(failed(error.message().to_owned()));
    }
    Ok(reply)
}

/// Sets up the ICE agent.
pub(crate) fn configure_ice(webrtc: &gst::Element, urls: &IceUrls) {
    if let Some(stun) = &urls.stun {
        webrtc.set_property("stun-server", stun);
    }
    for turn in &urls.turn {
        if !webrtc.emit_by_name::<bool>("add-turn-server", &[turn]) {
            tracing::warn!("a TURN server is refused by webrtcbin: check its URL");
        }
    }
    let ice = webrtc.property::<glib::Object>("ice-agent");
    if ice.find_property("agent").is_some() {
        let agent = ice.property::<glib::Object>("agent");
        agent.set_property("upnp", false);
        agent.set_property("ice-tcp", false);
        // Notices a peer that is gone without a word.
        agent.set_property("keepalive-conncheck", true);
    }
}

/// Turns webrtcbin's signals into events. The closures hold the queue and nothing else.
pub(crate) fn post_events(
    pipeline: &gst::Pipeline,
    webrtc: &gst::Element,
    events: &mpsc::Sender<Said>,
    inlet: &Inlet,
    fec: &Fec,
) {
    let tx = events.clone();
    webrtc.connect("on-ice-candidate", false, move |values| {
        if let (Ok(index), Ok(candidate)) = (values[1].get::<u32>(), values[2].get::<String>()) {
            let candidate = Candidate { candidate, sdp_m_line_index: index };
            let _ = tx.try_send(Said::Candidate(candidate));
        }
        None
    });

    let tx = events.clone();
    webrtc.connect_notify(Some("ice-gathering-state"), move |webrtc, _| {
        let state: WebRTCICEGatheringState = webrtc.property("ice-gathering-state");
        if state == WebRTCICEGatheringState::Complete {
            let _ = tx.try_send(Said::Gathered);
        }
    });

    let tx = events.clone();
    webrtc.connect_notify(Some("connection-state"), move |webrtc, _| {
        let _ = tx.try_send(Said::State(webrtc.property("connection-state")));
    });

    let (tx, inlet) = (events.clone(), inlet.clone());
    webrtc.connect("on-data-channel", false, move |values| {
        // Listened to before this returns: its first message may be on its way.
        if let Ok(channel) = values[1].get::<WebRTCDataChannel>()
            && let Some(which) = inlet.listen(&channel, false)
        {
            let _ = tx.try_send(Said::Channel(which, channel));
        }
        None
    });

    webrtc.connect("on-new-transceiver", false, |values| {
        if let Ok(transceiver) = values[1].get::<WebRTCRTPTransceiver>() {
            transceiver.set_property("do-nack", true);
        }
        None
    });

    let tx = events.clone();
    webrtc.connect_pad_added(move |_, pad| {
        if pad.direction() == gst::PadDirection::Src {
            let blocker =
                pad.add_probe(gst::PadProbeType::BLOCK_DOWNSTREAM, |_, _| gst::PadProbeReturn::Ok);
            if let Some(blocker) = blocker {
                let _ = tx.try_send(Said::Pad(pad.clone(), blocker));
            }
        }
    });

    if let Some(bin) = webrtc.downcast_ref::<gst::Bin>() {
        let fec = fec.clone();
        bin.connect_deep_element_added(move |_, _, element| set_up(element, &fec));
        if let Some(rtpbin) = bin.by_name("rtpbin") {
            rtpbin.set_property("max-streams", MAX_STREAMS);
            let tx = events.clone();
            rtpbin.connect("new-jitterbuffer", false, move |values| {
                if let (Ok(buffer), Ok(ssrc)) =
                    (values[1].get::<gst::Element>(), values[3].get::<u32>())
                {
                    arrival::note(&buffer);
                    // The first picture does not wait to see whether packets come in order.
                    buffer.set_property("faststart-min-packets", 1u32);
                    // Else it guesses when the next packet is due, and after a pause of the camera
                    // takes the first one for lost and throws it away. What is missing in between
                    // is asked for again all the same, as soon as something newer comes.
                    buffer.set_property("rtx-next-seqnum", false);
                    let _ = tx.try_send(Said::JitterBuffer(ssrc, buffer.downgrade()));
                }
                None
            });
        }
    }

    let tx = events.clone();
    if let Some(bus) = pipeline.bus() {
        bus.set_sync_handler(move |_, message| {
            if let gst::MessageView::Error(error) = message.view() {
                let source = error.src().map(|source| source.name()).unwrap_or_default();
                let _ = tx.try_send(Said::Failed(format!("{source}: {}", error.error())));
            }
            gst::BusSyncReply::Drop
        });
    }
}

/// Sets up what webrtcbin makes for itself.
fn set_up(element: &gst::Element, fec: &Fec) {
    match element.factory().map(|factory| factory.name()).as_deref() {
        // Frames leave when they are made: nothing waits for the clock inside webrtcbin.
        Some("clocksync") => element.set_property("sync", false),
        Some("rtpsession") => element.set_property("bandwidth", FEEDBACK_BANDWIDTH_BPS),
        Some("rtprtxsend") => {
            resend::set_up(element);
            fec.sending.set_up(element);
        }
        Some("rtprtxreceive") => fec.receiving.set_up(element),
        _ => {}
    }
}

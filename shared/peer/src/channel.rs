//! The data channels of a session: what may pass in each, and how much may wait. Not what the
//! messages say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::glib;
use gst::prelude::*;
use gst_webrtc::{WebRTCDataChannel, WebRTCDataChannelState};
use rovercast_protocol::{control, telemetry};
use tokio::sync::mpsc;

use crate::connection::ConnectionError;

/// A data channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Lossy and unordered: what is said again soon.
    Telemetry,
    /// Reliable and ordered: what is said once.
    Control,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Telemetry, Self::Control];

    /// Its name on the wire.
    pub fn label(self) -> &'static str {
        match self {
            Self::Telemetry => telemetry::CHANNEL,
            Self::Control => control::CHANNEL,
        }
    }

    /// The channel with this name.
    pub fn labelled(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.label() == label)
    }

    /// Bytes that may wait in it. With more, new messages are refused: old news would only delay
    /// newer ones, and who floods a reliable channel has to wait.
    fn max_backlog(self) -> u64 {
        match self {
            Self::Telemetry => 64 * 1024,
            Self::Control => 256 * 1024,
        }
    }

    /// Messages of the other peer that may wait; of a flood the newest are dropped.
    fn max_messages(self) -> usize {
        match self {
            Self::Telemetry => 64,
            // A snapshot comes in many.
            Self::Control => 256,
        }
    }

    /// The longest message that is taken, in bytes, where the channel was made here (at the robot)
    /// or by the other peer.
    fn max_message_bytes(self, made_here: bool) -> usize {
        match (self, made_here) {
            (Self::Telemetry, _) => telemetry::MAX_MESSAGE_BYTES,
            (Self::Control, true) => control::MAX_REQUEST_BYTES,
            (Self::Control, false) => control::MAX_MESSAGE_BYTES,
        }
    }

    fn options(self) -> gst::Structure {
        let options = gst::Structure::builder("options").field("ordered", self == Self::Control);
        match self {
            Self::Telemetry => options.field("max-retransmits", 0i32).build(),
            Self::Control => options.build(),
        }
    }
}

/// Where the other peer's messages are put.
#[derive(Debug, Clone)]
pub(crate) struct Inlet {
    telemetry: mpsc::Sender<Vec<u8>>,
    control: mpsc::Sender<Vec<u8>>,
    /// Channels that are listened to already: a second one with the same name is ignored.
    taken: Arc<[AtomicBool; 2]>,
}

impl Inlet {
    /// Listens to a channel, unless it has a name that nobody knows or that is taken. Returns which
    /// it is. To be called before its first message can come.
    pub(crate) fn listen(&self, channel: &WebRTCDataChannel, made_here: bool) -> Option<Channel> {
        let which = Channel::labelled(channel.label()?.as_str())?;
        if self.taken[which as usize].swap(true, Ordering::Relaxed) {
            return None;
        }
        let messages = match which {
            Channel::Telemetry => self.telemetry.clone(),
            Channel::Control => self.control.clone(),
        };
        let longest = which.max_message_bytes(made_here);
        channel.connect_on_message_data(move |_, bytes| {
            if let Some(bytes) = bytes.filter(|bytes| bytes.len() <= longest) {
                // A full queue drops the newest: only a flood fills it.
                let _ = messages.try_send(bytes.to_vec());
            }
        });
        Some(which)
    }
}

/// The channels that there are.
#[derive(Debug)]
pub(crate) struct Channels {
    there: [Option<WebRTCDataChannel>; 2],
    /// That a message was refused is said once.
    overflown: AtomicBool,
    telemetry: mpsc::Receiver<Vec<u8>>,
    control: mpsc::Receiver<Vec<u8>>,
    inlet: Inlet,
}

impl Channels {
    /// None yet.
    pub(crate) fn new() -> Self {
        let (telemetry_tx, telemetry) = mpsc::channel(Channel::Telemetry.max_messages());
        let (control_tx, control) = mpsc::channel(Channel::Control.max_messages());
        let inlet = Inlet { telemetry: telemetry_tx, control: control_tx, taken: Arc::default() };
        Self { there: [None, None], overflown: AtomicBool::new(false), telemetry, control, inlet }
    }

    /// Where messages are put.
    pub(crate) fn inlet(&self) -> &Inlet {
        &self.inlet
    }

    /// Makes all channels; `opened` is called when one is open.
    pub(crate) fn make(
        &mut self,
        webrtc: &gst::Element,
        opened: impl Fn(Channel) + Clone + Send + Sync + 'static,
    ) -> Result<(), ConnectionError> {
        for which in Channel::ALL {
            let made: Option<WebRTCDataChannel> =
                webrtc.emit_by_name("create-data-channel", &[&which.label(), &which.options()]);
            let channel = made.ok_or_else(|| {
                ConnectionError::Gst("no data channel: is the plugin `sctp` installed?".to_owned())
            })?;
            self.inlet.listen(&channel, true);
            let opened = opened.clone();
            channel.connect_on_open(move |_| opened(which));
            self.take(which, channel);
        }
        Ok(())
    }

    /// Takes a channel that is listened to.
    pub(crate) fn take(&mut self, which: Channel, channel: WebRTCDataChannel) {
        self.there[which as usize] = Some(channel);
    }

    /// Sends a message, unless the channel is not open or too much waits in it.
    pub(crate) fn send(&self, which: Channel, message: &[u8]) -> bool {
        let Some(channel) = self.open(which) else { return false };
        if channel.buffered_amount() >= which.max_backlog() {
            if which == Channel::Control && !self.overflown.swap(true, Ordering::Relaxed) {
                tracing::warn!("the other peer does not read its control channel; messages wait");
            }
            return false;
        }
        channel.send_data(Some(&glib::Bytes::from(message)));
        true
    }

    /// Bytes that wait in a channel; none where it is not open.
    pub(crate) fn backlog(&self, which: Channel) -> Option<u64> {
        self.open(which).map(WebRTCDataChannel::buffered_amount)
    }

    /// The next message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> (Channel, Vec<u8>) {
        // Fair, so that a flood in one does not silence the other.
        tokio::select! {
            Some(message) = self.telemetry.recv() => (Channel::Telemetry, message),
            Some(message) = self.control.recv() => (Channel::Control, message),
            else => std::future::pending().await,
        }
    }

    fn open(&self, which: Channel) -> Option<&WebRTCDataChannel> {
        let channel = self.there[which as usize].as_ref();
        channel.filter(|channel| channel.ready_state() == WebRTCDataChannelState::Open)
    }
}

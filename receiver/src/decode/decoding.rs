//! A view's decoding: the decoder that it has, and the next one when that fails. Which is next is
//! `choice`'s matter.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rovercast_protocol::codec::Codec;
use rovercast_protocol::ids::CameraId;

use super::chain::{Chain, OPENING};
use super::choice::{Choice, DecodeSettings, Tries, Verdict};
use super::expendable::within;
use super::table::Row;

/// What all views of a process know of its decoders.
#[derive(Debug, Default)]
pub struct Decoders {
    choice: Mutex<Choice>,
    /// They are opened one at a time: a driver that hangs does so once, not once for each camera.
    turn: Mutex<()>,
}

impl Decoders {
    /// None has been tried yet.
    pub fn new(settings: &DecodeSettings) -> Self {
        Self { choice: Mutex::new(Choice::new(settings)), turn: Mutex::default() }
    }
}

/// Called when there is no decoder left, with the reason.
pub(crate) type OnEnd = Box<dyn Fn(String) + Send + Sync>;

/// The decoder of a view. Ends by [`Decoding::stop`].
pub(crate) struct Decoding {
    camera: CameraId,
    codec: Codec,
    decoders: Arc<Decoders>,
    /// Where pictures go.
    exit: gst::Pad,
    on_end: OnEnd,
    needs_key_frame: Arc<AtomicBool>,
    /// Another number whenever everything has to be said again.
    epoch: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None while one is being opened, and in the end.
    chain: Option<Arc<Chain>>,
    /// Of the last decoder that was opened.
    row: Option<&'static Row>,
    tries: Tries,
    interrupted: bool,
    stopped: bool,
}

impl Decoding {
    /// Opens the best decoder that works; its pictures go to `exit`. Blocks until it is open. The
    /// error is for people. `on_end` is told when there is none left later.
    pub(crate) fn start(
        camera: &CameraId,
        codec: Codec,
        decoders: &Arc<Decoders>,
        exit: gst::Pad,
        on_end: OnEnd,
    ) -> Result<Arc<Self>, String> {
        let decoding = Arc::new(Self {
            camera: camera.clone(),
            codec,
            decoders: decoders.clone(),
            exit,
            on_end,
            needs_key_frame: Arc::default(),
            epoch: AtomicU32::new(0),
            state: Mutex::default(),
        });
        decoding.open()?;
        Ok(decoding)
    }

    /// The factory name of the decoder in use, or of the one being opened.
    pub(crate) fn factory(&self) -> &'static str {
        lock(&self.state).row.map_or("", |row| row.factory)
    }

    /// Another number than before means: [`Decoding::chain`] may be another, and the one that is
    /// there has to be told everything again.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The decoder. None while one is being opened, and in the end.
    pub(crate) fn chain(&self) -> Option<Arc<Chain>> {
        lock(&self.state).chain.clone()
    }

    /// Whether a decoder asked for a key frame since the last call.
    pub(crate) fn takes_key_frame_request(&self) -> bool {
        self.needs_key_frame.swap(false, Ordering::Relaxed)
    }

    /// Puts a decoder aside, and opens the next one on a thread of its own. One that hangs is left
    /// behind as it is. Does nothing when this one has been replaced already.
    pub(crate) fn replace(self: &Arc<Self>, chain: &Arc<Chain>, reason: &str, hangs: bool) {
        {
            let mut state = lock(&self.state);
            if !state.chain.as_ref().is_some_and(|current| Arc::ptr_eq(current, chain)) {
                return;
            }
            state.chain = None;
            self.epoch.fetch_add(1, Ordering::Release);
        }
        chain.unlink();
        self.note(chain.row(), reason, chain.pictures());
        if !hangs {
            let chain = chain.clone();
            expend(move || chain.retire());
        }
        let decoding = self.clone();
        let opening = expend(move || {
            if let Err(reason) = decoding.open() {
                (decoding.on_end)(reason);
            }
        });
        if !opening {
            (self.on_end)("no thread can be made to open a decoder".to_owned());
        }
    }

    /// Lets go of the picture that the output is taking, and takes none before
    /// [`Decoding::resume`].
    pub(crate) fn interrupt(&self) {
        if let Some(chain) = self.set_interrupted(true) {
            chain.tell(gst::event::FlushStart::new());
        }
    }

    /// Takes access units again.
    pub(crate) fn resume(&self) {
        if let Some(chain) = self.set_interrupted(false) {
            chain.tell(gst::event::FlushStop::new(true));
        }
        self.epoch.fetch_add(1, Ordering::Release);
    }

    fn set_interrupted(&self, interrupted: bool) -> Option<Arc<Chain>> {
        let mut state = lock(&self.state);
        state.interrupted = interrupted;
        state.chain.clone()
    }

    /// Frees the decoder, or leaves it behind when it hangs.
    pub(crate) fn stop(&self) {
        let chain = {
            let mut state = lock(&self.state);
            state.stopped = true;
            state.chain.take()
        };
        self.epoch.fetch_add(1, Ordering::Release);
        if let Some(chain) = chain {
            let freed = within(OPENING, || false, move || chain.retire(), |()| {});
            if freed.is_none() {
                tracing::warn!(camera = %self.camera, "{} does not end", self.factory());
            }
        }
    }

    /// Opens the best one that works.
    fn open(&self) -> Result<(), String> {
        loop {
            // Kept until it is noted what came of it, so that no other camera tries the same.
            let _turn = lock(&self.decoders.turn);
            let row = {
                let mut state = lock(&self.state);
                if state.stopped {
                    return Ok(());
                }
                let row = self.next(&state.tries)?;
                state.row = Some(row);
                row
            };
            let (codec, needs_key_frame) = (self.codec, self.needs_key_frame.clone());
            let opened = within(
                OPENING,
                || false,
                move || Chain::open(row, codec, &needs_key_frame),
                |late| late.iter().for_each(|chain| chain.retire()),
            );
            let installed = match opened {
                Some(opened) => opened.and_then(|chain| self.install(chain)),
                None => Err(format!("it does not open within {} s", OPENING.as_secs())),
            };
            match installed {
                Ok(()) => return Ok(()),
                Err(reason) => self.note(row, &reason, 0),
            }
        }
    }

    fn install(&self, chain: Arc<Chain>) -> Result<(), String> {
        let mut state = lock(&self.state);
        let linked = if state.stopped { Ok(()) } else { chain.link(&self.exit) };
        if state.stopped || linked.is_err() {
            drop(state);
            chain.retire();
            return linked;
        }
        if state.interrupted {
            chain.tell(gst::event::FlushStart::new());
        }
        tracing::info!(camera = %self.camera, "decoded by {}", chain.row().factory);
        state.chain = Some(chain);
        self.epoch.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Remembers a failure, and says so.
    fn note(&self, row: &'static Row, reason: &str, pictures: u64) {
        let mut state = lock(&self.state);
        let verdict =
            lock(&self.decoders.choice).failed(self.codec, row, reason, pictures, &mut state.tries);
        let (camera, factory) = (&self.camera, row.factory);
        match (verdict, self.next(&state.tries)) {
            (Verdict::Again, _) => {
                tracing::warn!(%camera, "{factory} failed: {reason}; starting it again");
            }
            (Verdict::Aside | Verdict::GivenUp, Ok(next)) => {
                let next = next.factory;
                tracing::warn!(%camera, "{factory} does not work here: {reason}; trying {next}");
            }
            // With none left the error that follows says it all.
            (Verdict::AsideAlready, _) | (_, Err(_)) => {
                tracing::debug!(%camera, "{factory} does not work here: {reason}");
            }
        }
    }

    fn next(&self, tries: &Tries) -> Result<&'static Row, String> {
        let installed = |name: &str| gst::ElementFactory::find(name).is_some();
        lock(&self.decoders.choice).next(self.codec, tries, installed)
    }
}

impl std::fmt::Debug for Decoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoding")
            .field("camera", &self.camera)
            .field("state", &self.state)
            .finish()
    }
}

/// Does something on a thread that nobody waits for. False when there is no thread for it.
fn expend(work: impl FnOnce() + Send + 'static) -> bool {
    thread::Builder::new().name("decoder".into()).spawn(work).is_ok()
}

/// What a panic left behind is still sound: every change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

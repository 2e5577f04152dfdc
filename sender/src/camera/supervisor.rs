//! When a camera is opened, given up, tried again, and what viewers are shown meanwhile. Pure.

use std::time::Duration;

use rovercast_protocol::backoff::Backoff;
use rovercast_protocol::telemetry::CameraState;

/// How often the frames are to be looked at, by [`Input::Look`].
pub const LOOK: Duration = Duration::from_millis(40);

/// Frames may stay away for so many frame times, and at least for [`SHORTEST_STALL`], before the
/// camera counts as stalled.
const STALL_FRAMES: u32 = 5;
const SHORTEST_STALL: Duration = Duration::from_millis(160);

/// The same of the time that its frames take in fact: in the dark many cameras are slower than
/// they were asked to be.
const STALL_REAL_FRAMES: u32 = 3;

/// A camera that stays stalled for this long is closed and opened again.
const GIVE_UP: Duration = Duration::from_secs(2);

/// A device may take this long to its first frame.
const OPENING: Duration = Duration::from_secs(10);

/// From then on viewers see a card instead of nothing while it opens.
const OPENING_UNNOTICED: Duration = Duration::from_millis(800);

/// Why a camera that listens gives nothing.
const WAITING: &str = "waiting for somebody to send";

const FIRST_RETRY: Duration = Duration::from_millis(250);
const SLOWEST_RETRY: Duration = Duration::from_secs(5);

/// What is asked of the camera by its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectations {
    /// Frames per second.
    pub fps: u32,
    /// Whether it waits for somebody to send, for as long as it takes.
    pub listens: bool,
}

/// Where a camera stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Being opened for the first time.
    Starting,
    /// Frames come.
    Live,
    /// Open, but no frames come.
    Stalled,
    /// Being closed, or being opened again.
    Lost,
    /// Closed until then, or until a device appears.
    Backoff {
        /// The shared clock.
        until: Duration,
    },
    /// Nothing can encode it.
    Failed,
    /// Switched off.
    Off,
}

/// What happens to a camera.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The source was opened; frames may come.
    Opened,
    /// The source cannot be opened, or failed; says why.
    Failed(String),
    /// The source is closed; so many frames have come since the camera exists.
    Closed(u64),
    /// So many frames have come since the camera exists.
    Look(u64),
    /// Some device was plugged in.
    DeviceAppeared,
    /// It is switched on or off.
    Enable(bool),
    /// It is switched off for good; says why.
    Retire(String),
    /// No encoder works for it; says why.
    NoEncoder(String),
    /// What it is asked for has changed, so that it must be opened anew.
    Changed(Expectations),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Open the source; answer by [`Input::Opened`] or [`Input::Failed`].
    Open,
    /// Close the source, or give up opening it; answer by [`Input::Closed`].
    Close,
    /// Viewers see a slate from now on, about the state and reason of now.
    ShowSlate,
    /// Viewers see the camera from now on.
    ShowCamera,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    Closed,
    Opening,
    Open,
    Closing,
}

/// One camera's supervisor.
#[derive(Debug)]
pub struct Supervisor {
    expected: Expectations,
    state: State,
    since: Duration,
    reason: Option<String>,
    device: Device,
    /// Whether it is to be opened again as soon as it is closed.
    at_once: bool,
    slate: bool,
    frames: u64,
    /// When the last frame was seen, or the device was opened or began to be.
    seen: Duration,
    /// From frame to frame, of late.
    pace: Duration,
    looked: Duration,
    backoff: Backoff,
}

impl Supervisor {
    /// A camera that is to be opened, and the first command; one that is off when not `enabled`.
    pub fn new(expected: Expectations, enabled: bool, now: Duration) -> (Self, Vec<Command>) {
        let mut this = Self {
            expected,
            state: State::Off,
            since: now,
            reason: None,
            device: Device::Closed,
            at_once: false,
            slate: false,
            frames: 0,
            seen: now,
            pace: Duration::ZERO,
            looked: now,
            backoff: Backoff::new(FIRST_RETRY, SLOWEST_RETRY),
        };
        let mut commands = Vec::new();
        if enabled {
            this.enter(State::Starting, None, now);
            this.open(now, &mut commands);
        } else {
            this.show_slate(&mut commands);
        }
        (this, commands)
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The same as viewers are told it.
    pub fn told(&self) -> CameraState {
        match self.state {
            State::Starting => CameraState::Starting,
            State::Live => CameraState::Live,
            State::Stalled => CameraState::Stalled,
            State::Lost | State::Backoff { .. } => CameraState::Lost,
            State::Failed => CameraState::Failed,
            State::Off => CameraState::Off,
        }
    }

    /// Whether viewers see a slate.
    pub fn shows_slate(&self) -> bool {
        self.slate
    }

    /// Why it is not live.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Since when viewers are told what they are told.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// Takes what happened. `random` is from 0 to 1.
    pub fn handle(&mut self, input: Input, now: Duration, random: f64) -> Vec<Command> {
        let mut commands = Vec::new();
        match input {
            Input::Opened if self.device == Device::Opening => {
                self.device = Device::Open;
                self.seen = now;
            }
            Input::Failed(reason) if matches!(self.device, Device::Opening | Device::Open) => {
                self.lose(reason, now, &mut commands);
            }
            Input::Closed(frames) if self.device == Device::Closing => {
                // Of these none is of the attempt to come.
                self.frames = frames;
                self.closed(now, random, &mut commands);
            }
            Input::Look(frames) => self.look(frames, now, &mut commands),
            Input::DeviceAppeared => {
                // It may not be ready at once.
                self.backoff.reset();
                if let State::Backoff { .. } = self.state {
                    self.open_again(now, &mut commands);
                }
            }
            Input::Enable(true) if matches!(self.state, State::Off | State::Failed) => {
                self.start_over(now, &mut commands);
            }
            Input::Enable(false) if self.state != State::Off || self.reason.is_some() => {
                self.switch_off(None, now, &mut commands);
            }
            Input::Retire(reason) => self.switch_off(Some(reason), now, &mut commands),
            Input::NoEncoder(reason) if self.state != State::Off => {
                self.at_once = false;
                self.enter(State::Failed, Some(reason), now);
                self.close(&mut commands);
            }
            Input::Changed(expected) => {
                self.expected = expected;
                if self.state != State::Off {
                    self.start_over(now, &mut commands);
                }
            }
            // What comes late from a device that is being closed says nothing new, and one that is
            // off needs no encoder.
            Input::Opened
            | Input::Failed(_)
            | Input::Closed(_)
            | Input::Enable(_)
            | Input::NoEncoder(_) => {}
        }
        commands
    }

    fn look(&mut self, frames: u64, now: Duration, commands: &mut Vec<Command>) {
        // After a pause of the whole process the camera gets its time again.
        let late = now.saturating_sub(self.looked).saturating_sub(2 * LOOK);
        self.seen = (self.seen + late).min(now);
        self.looked = now;
        let came = u32::try_from(frames.saturating_sub(self.frames)).unwrap_or(u32::MAX);
        self.frames = frames;
        if let State::Backoff { until } = self.state {
            if now >= until {
                self.open_again(now, commands);
            }
            return;
        }
        let away = now.saturating_sub(self.seen);
        if self.device != Device::Open {
            let opens = self.device == Device::Opening;
            if self.state == State::Starting && opens && away > OPENING {
                // It goes on being opened, but viewers are to know.
                let reason = format!("it does not open within {} s", OPENING.as_secs());
                self.enter(State::Lost, Some(reason), now);
                self.show_slate(commands);
            } else if self.state == State::Starting && self.is_late(now) && !self.slate {
                self.show_slate(commands);
            }
            return;
        }
        if came > 0 {
            self.seen = now;
            if matches!(self.state, State::Live | State::Stalled) {
                self.pace = (self.pace * 3 + away / came) / 4;
            }
            if self.state != State::Live {
                self.backoff.reset();
                self.enter(State::Live, None, now);
            }
            self.show_camera(commands);
            return;
        }
        match self.state {
            State::Live if away > self.stall() => {
                let reason = format!("no picture for {} ms", self.stall().as_millis());
                self.enter(State::Stalled, Some(reason), now);
                self.show_slate(commands);
            }
            State::Stalled if away > GIVE_UP.max(2 * self.stall()) => {
                self.lose(format!("no picture for {} s", away.as_secs()), now, commands);
            }
            State::Starting | State::Lost if self.expected.listens => {
                let due = away > OPENING_UNNOTICED || (self.is_late(now) && !self.slate);
                if due && self.reason.as_deref() != Some(WAITING) {
                    self.reason = Some(WAITING.to_owned());
                    self.show_slate(commands);
                }
            }
            State::Starting | State::Lost if away > OPENING => {
                let reason = format!("no picture within {} s of opening it", OPENING.as_secs());
                self.lose(reason, now, commands);
            }
            State::Starting if self.is_late(now) && !self.slate => self.show_slate(commands),
            _ => {}
        }
    }

    /// Whether a camera that starts has taken so long that viewers want to know.
    fn is_late(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) > OPENING_UNNOTICED
    }

    fn switch_off(&mut self, reason: Option<String>, now: Duration, commands: &mut Vec<Command>) {
        self.at_once = false;
        self.enter(State::Off, reason, now);
        self.close(commands);
        self.show_slate(commands);
    }

    fn stall(&self) -> Duration {
        let asked = Duration::from_secs(1) * STALL_FRAMES / self.expected.fps.max(1);
        asked.max(self.pace * STALL_REAL_FRAMES).max(SHORTEST_STALL)
    }

    fn lose(&mut self, reason: String, now: Duration, commands: &mut Vec<Command>) {
        self.enter(State::Lost, Some(reason), now);
        self.close(commands);
        self.show_slate(commands);
    }

    fn closed(&mut self, now: Duration, random: f64, commands: &mut Vec<Command>) {
        self.device = Device::Closed;
        if std::mem::take(&mut self.at_once) {
            self.open(now, commands);
        } else if self.state == State::Lost {
            // Viewers are told nothing new by this.
            self.state = State::Backoff { until: now + self.backoff.next(random) };
        }
    }

    fn open_again(&mut self, now: Duration, commands: &mut Vec<Command>) {
        self.state = State::Lost;
        self.open(now, commands);
    }

    /// Closes it where it is open, and opens it.
    fn start_over(&mut self, now: Duration, commands: &mut Vec<Command>) {
        self.enter(State::Starting, None, now);
        self.backoff.reset();
        if self.slate {
            // It would tell of what is over.
            self.show_slate(commands);
        }
        if self.device == Device::Closed {
            self.open(now, commands);
        } else {
            self.at_once = true;
            self.close(commands);
        }
    }

    fn open(&mut self, now: Duration, commands: &mut Vec<Command>) {
        self.device = Device::Opening;
        self.seen = now;
        self.pace = Duration::ZERO;
        commands.push(Command::Open);
    }

    fn close(&mut self, commands: &mut Vec<Command>) {
        if matches!(self.device, Device::Opening | Device::Open) {
            self.device = Device::Closing;
            commands.push(Command::Close);
        }
    }

    fn show_slate(&mut self, commands: &mut Vec<Command>) {
        self.slate = true;
        commands.push(Command::ShowSlate);
    }

    fn show_camera(&mut self, commands: &mut Vec<Command>) {
        if std::mem::take(&mut self.slate) {
            commands.push(Command::ShowCamera);
        }
    }

    /// A camera that is lost for one reason and then for another has been lost all the time.
    fn enter(&mut self, state: State, reason: Option<String>, now: Duration) {
        let told = self.told();
        self.state = state;
        self.reason = reason;
        if self.told() != told {
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests;

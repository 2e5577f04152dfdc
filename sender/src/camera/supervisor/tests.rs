//! What a camera's supervisor commands, input by input; and that no sequence of inputs leads it
//! astray.

use super::Command::{Close, Open, ShowCamera, ShowSlate};
use super::*;

const NONE: [Command; 0] = [];
const CAMERA: Expectations = Expectations { fps: 30, listens: false };
const LISTENS: Expectations = Expectations { listens: true, ..CAMERA };

/// A supervisor, its time, and the frames of its camera.
struct Bench {
    supervisor: Supervisor,
    now: Duration,
    frames: u64,
}

impl Bench {
    fn new(expected: Expectations) -> Self {
        let now = Duration::from_secs(1000);
        let (supervisor, commands) = Supervisor::new(expected, true, now);
        assert_eq!(commands, [Open]);
        Self { supervisor, now, frames: 0 }
    }

    fn live() -> Self {
        let mut bench = Self::new(CAMERA);
        assert_eq!(bench.tell(Input::Opened), NONE);
        assert_eq!(bench.flow(1), NONE);
        assert_eq!(bench.supervisor.state(), State::Live);
        bench
    }

    /// A live camera that has then failed, been closed, and waits.
    fn waiting() -> Self {
        let mut bench = Self::live();
        assert_eq!(bench.tell(failed()), [Close, ShowSlate]);
        assert_eq!(bench.closed(), NONE);
        assert!(matches!(bench.supervisor.state(), State::Backoff { .. }));
        bench
    }

    fn tell(&mut self, input: Input) -> Vec<Command> {
        self.supervisor.handle(input, self.now, 1.0)
    }

    fn closed(&mut self) -> Vec<Command> {
        self.tell(Input::Closed(self.frames))
    }

    /// So many looks at a camera that gives no frames.
    fn wait(&mut self, looks: u32) -> Vec<Command> {
        (0..looks).flat_map(|_| self.look(0)).collect()
    }

    /// So many looks at a camera that gives frames.
    fn flow(&mut self, looks: u32) -> Vec<Command> {
        (0..looks).flat_map(|_| self.look(1)).collect()
    }

    fn look(&mut self, frames: u64) -> Vec<Command> {
        self.now += LOOK;
        self.frames += frames;
        self.tell(Input::Look(self.frames))
    }

    /// How long it takes until looks without frames command something, and what.
    fn next(&mut self) -> (Duration, Vec<Command>) {
        let begun = self.now;
        for _ in 0..10_000 {
            let commands = self.wait(1);
            if !commands.is_empty() {
                return (self.now - begun, commands);
            }
        }
        (Duration::MAX, Vec::new())
    }

    fn reason(&self) -> &str {
        self.supervisor.reason().unwrap_or_default()
    }
}

fn failed() -> Input {
    Input::Failed("unplugged".to_owned())
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn a_camera_that_works_shows_no_slate() {
    let mut bench = Bench::new(CAMERA);
    assert_eq!(bench.supervisor.told(), CameraState::Starting);
    assert_eq!(bench.wait(10), NONE);
    assert_eq!(bench.tell(Input::Opened), NONE);
    assert_eq!(bench.wait(2), NONE);
    assert_eq!(bench.flow(1000), NONE);
    assert_eq!(bench.supervisor.told(), CameraState::Live);
}

#[test]
fn one_that_starts_slowly_shows_a_slate_meanwhile() {
    let mut bench = Bench::new(CAMERA);
    let (after, commands) = bench.next();
    assert_eq!(commands, [ShowSlate]);
    assert!(after > OPENING_UNNOTICED && after <= OPENING_UNNOTICED + LOOK);
    assert_eq!(bench.tell(Input::Opened), NONE);
    assert_eq!(bench.flow(1), [ShowCamera]);
}

#[test]
fn one_that_gives_nothing_or_does_not_open_is_lost_after_all() {
    let mut bench = Bench::new(CAMERA);
    assert_eq!(bench.tell(Input::Opened), NONE);
    assert_eq!(bench.next().1, [ShowSlate]);
    let (after, commands) = bench.next();
    assert_eq!(commands, [Close, ShowSlate]);
    assert!(after < OPENING && bench.reason().contains("within 10 s of opening"));

    let mut bench = Bench::new(CAMERA);
    assert_eq!(bench.next().1, [ShowSlate]);
    assert_eq!(bench.next().1, [ShowSlate]);
    assert_eq!(bench.supervisor.told(), CameraState::Lost);
    assert!(bench.reason().contains("does not open"));
    assert_eq!(bench.next().0, Duration::MAX, "the attempt goes on");
    assert_eq!(bench.tell(Input::Opened), NONE);
    assert_eq!(bench.flow(1), [ShowCamera]);
}

#[test]
fn a_failure_closes_and_tries_again_ever_later() {
    let mut bench = Bench::live();
    assert_eq!(bench.tell(failed()), [Close, ShowSlate]);
    assert_eq!((bench.supervisor.told(), bench.reason()), (CameraState::Lost, "unplugged"));
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(bench.wait(3), NONE, "nothing before it is closed");
        assert_eq!(bench.closed(), NONE);
        let (after, commands) = bench.next();
        assert_eq!(commands, [Open]);
        waits.push(after);
        assert_eq!(bench.tell(failed()), [Close, ShowSlate]);
    }
    assert!(waits.is_sorted() && waits[0] <= FIRST_RETRY + LOOK, "{waits:?}");
    assert!(waits[7] >= SLOWEST_RETRY && waits[7] <= SLOWEST_RETRY + LOOK, "{waits:?}");

    // Pictures, not an open device, end it.
    for (frames, retry) in [(0, SLOWEST_RETRY), (1, FIRST_RETRY)] {
        assert_eq!(bench.closed(), NONE);
        assert_eq!(bench.next().1, [Open]);
        assert_eq!(bench.tell(Input::Opened), NONE);
        bench.flow(frames);
        assert_eq!(bench.tell(failed()), [Close, ShowSlate]);
        assert_eq!(bench.closed(), NONE);
        let State::Backoff { until } = bench.supervisor.state() else { panic!("does not wait") };
        assert_eq!(until - bench.now, retry);
        bench.now = until;
        assert_eq!(bench.look(0), [Open]);
        assert_eq!(bench.tell(failed()), [Close, ShowSlate]);
    }
}

#[test]
fn waits_are_jittered() {
    let waits = [0.0, 1.0].map(|random| {
        let mut bench = Bench::live();
        bench.tell(failed());
        bench.supervisor.handle(Input::Closed(1), bench.now, random);
        let State::Backoff { until } = bench.supervisor.state() else { panic!("does not wait") };
        until - bench.now
    });
    assert_eq!(waits, [FIRST_RETRY / 2, FIRST_RETRY]);
}

#[test]
fn a_stall_shows_a_slate_in_time_and_ends_without_opening_again() {
    let mut bench = Bench::live();
    bench.flow(100);
    let (after, commands) = bench.next();
    assert_eq!((commands, bench.supervisor.told()), (vec![ShowSlate], CameraState::Stalled));
    assert!(after <= ms(240), "{after:?}");
    assert!(bench.reason().contains("no picture for"));
    assert_eq!(bench.wait(10), NONE);
    assert_eq!(bench.flow(1), [ShowCamera]);
    assert_eq!((bench.supervisor.told(), bench.supervisor.reason()), (CameraState::Live, None));
}

#[test]
fn a_stall_that_lasts_is_given_up() {
    let mut bench = Bench::live();
    let (first, _) = bench.next();
    let (then, commands) = bench.next();
    assert_eq!((commands, bench.supervisor.told()), (vec![Close, ShowSlate], CameraState::Lost));
    assert!(first + then > GIVE_UP && first + then <= GIVE_UP + LOOK);
    assert_eq!(bench.reason(), "no picture for 2 s");
}

#[test]
fn slow_cameras_are_given_their_time() {
    let mut bench = Bench::new(Expectations { fps: 1, ..CAMERA });
    bench.tell(Input::Opened);
    bench.flow(1);
    for _ in 0..20 {
        assert_eq!(bench.wait(24), NONE);
        assert_eq!(bench.flow(1), NONE);
    }
    // As in the dark: a few slates until it is known for slow, and then none.
    let mut bench = Bench::live();
    let mut slates = Vec::new();
    for frame in 0..50 {
        if bench.wait(4).contains(&ShowSlate) || bench.look(1).contains(&ShowSlate) {
            slates.push(frame);
        }
    }
    assert!(slates.len() < 4 && slates.iter().all(|&frame| frame < 4), "{slates:?}");
    assert_eq!(bench.next().1, [ShowSlate]);
}

#[test]
fn a_pause_of_the_whole_process_is_no_fault_of_the_camera() {
    let mut bench = Bench::live();
    bench.now += Duration::from_secs(60);
    assert_eq!(bench.wait(3), NONE);
    assert_eq!(bench.next().1, [ShowSlate], "after that it is");

    let mut bench = Bench::new(CAMERA);
    bench.now += Duration::from_secs(60);
    bench.tell(Input::Opened);
    bench.flow(1);
    assert!(bench.next().0 <= ms(240), "a pause before it was open gives it no time");
}

#[test]
fn a_device_that_appears_is_tried_at_once() {
    let mut bench = Bench::waiting();
    for _ in 0..6 {
        assert_eq!(bench.next().1, [Open]);
        bench.tell(failed());
        bench.closed();
    }
    assert_eq!(bench.tell(Input::DeviceAppeared), [Open]);
    assert_eq!(bench.tell(Input::DeviceAppeared), NONE);
    // Not ready yet: what follows does not wait as long as before.
    bench.tell(failed());
    bench.closed();
    assert!(bench.next().0 <= FIRST_RETRY + LOOK);
    let mut bench = Bench::live();
    assert_eq!(bench.tell(Input::DeviceAppeared), NONE);
}

#[test]
fn switched_off_in_any_state_it_is_closed_and_says_so() {
    let off = |bench: &mut Bench| bench.tell(Input::Enable(false));
    let mut opening = Bench::new(CAMERA);
    assert_eq!(off(&mut opening), [Close, ShowSlate]);
    let mut live = Bench::live();
    assert_eq!(off(&mut live), [Close, ShowSlate]);
    let mut stalled = Bench::live();
    stalled.next();
    assert_eq!(off(&mut stalled), [Close, ShowSlate]);
    let mut closing = Bench::live();
    closing.tell(failed());
    assert_eq!(off(&mut closing), [ShowSlate]);
    let mut waiting = Bench::waiting();
    assert_eq!(off(&mut waiting), [ShowSlate]);
    for (mut bench, closes) in
        [(opening, true), (live, true), (stalled, true), (closing, true), (waiting, false)]
    {
        assert_eq!(bench.supervisor.told(), CameraState::Off);
        assert_eq!(off(&mut bench), NONE);
        for input in [Input::Opened, failed(), Input::DeviceAppeared, Input::NoEncoder("x".into())]
        {
            assert_eq!(bench.tell(input), NONE);
        }
        if closes {
            assert_eq!(bench.closed(), NONE);
        }
        assert_eq!(bench.next().0, Duration::MAX);
        assert_eq!(bench.supervisor.told(), CameraState::Off);
        // The slate tells of the new state.
        assert_eq!(bench.tell(Input::Enable(true)), [ShowSlate, Open]);
        bench.tell(Input::Opened);
        assert_eq!(bench.flow(1), [ShowCamera]);
    }
}

#[test]
fn switched_on_while_it_is_still_being_closed_it_opens_after_that() {
    let mut bench = Bench::live();
    assert_eq!(bench.tell(Input::Enable(false)), [Close, ShowSlate]);
    assert_eq!(bench.tell(Input::Enable(true)), [ShowSlate]);
    assert_eq!(bench.tell(Input::Enable(true)), NONE);
    assert_eq!(bench.tell(Input::Opened), NONE, "late");
    assert_eq!(bench.wait(2), NONE);
    assert_eq!(bench.closed(), [Open]);
    bench.tell(Input::Enable(false));
    bench.tell(Input::Enable(true));
    bench.tell(Input::Enable(false));
    assert_eq!(bench.closed(), NONE);
}

#[test]
fn one_that_starts_switched_off_waits() {
    let (mut supervisor, commands) = Supervisor::new(CAMERA, false, ms(0));
    assert_eq!((commands, supervisor.told()), (vec![ShowSlate], CameraState::Off));
    assert_eq!(supervisor.handle(Input::Look(0), ms(90_000), 0.5), NONE);
    assert_eq!(supervisor.handle(Input::Enable(true), ms(90_000), 0.5), [ShowSlate, Open]);
}

#[test]
fn another_config_opens_it_anew() {
    let other = Expectations { fps: 5, ..CAMERA };
    let mut bench = Bench::live();
    bench.frames += 3;
    assert_eq!(bench.tell(Input::Changed(other)), [Close]);
    assert_eq!(bench.tell(Input::Changed(other)), NONE, "once is enough");
    assert_eq!(bench.closed(), [Open]);
    assert_eq!(bench.tell(Input::Opened), NONE);
    assert_eq!(bench.wait(1), NONE);
    assert_eq!(bench.supervisor.told(), CameraState::Starting, "by frames of before");
    assert_eq!(bench.flow(1), NONE);
    assert!(bench.next().0 > ms(900), "it is slower now");

    let mut bench = Bench::new(CAMERA);
    assert_eq!(bench.tell(Input::Changed(other)), [Close], "the attempt is of the old config");
    let mut bench = Bench::waiting();
    assert_eq!(bench.tell(Input::Changed(other)), [ShowSlate, Open]);
    let mut bench = Bench::live();
    bench.tell(Input::Enable(false));
    assert_eq!(bench.tell(Input::Changed(other)), NONE);
    assert_eq!(bench.supervisor.told(), CameraState::Off);
}

#[test]
fn without_an_encoder_it_fails_until_something_changes() {
    let none = || Input::NoEncoder("none is installed".to_owned());
    for again in [Input::Enable(true), Input::Changed(CAMERA)] {
        let mut bench = Bench::live();
        assert_eq!(bench.tell(none()), [Close]);
        assert_eq!(bench.supervisor.told(), CameraState::Failed);
        assert_eq!(bench.reason(), "none is installed");
        assert_eq!(bench.closed(), NONE);
        assert_eq!(bench.next().0, Duration::MAX);
        assert_eq!(bench.tell(Input::DeviceAppeared), NONE);
        assert_eq!(bench.tell(again), [Open]);
        // The answer to that may be the same.
        assert_eq!(bench.tell(none()), [Close]);
        assert_eq!(bench.closed(), NONE);
        assert_eq!(bench.supervisor.told(), CameraState::Failed);
    }
}

#[test]
fn what_comes_late_from_a_device_that_closes_changes_nothing() {
    let mut bench = Bench::live();
    bench.tell(failed());
    for input in [failed(), Input::Opened, failed()] {
        assert_eq!(bench.tell(input), NONE);
    }
    assert_eq!(bench.flow(5), NONE, "frames of a device that closes are none");
    assert_eq!(bench.closed(), NONE);
    assert_eq!(bench.closed(), NONE);
    assert_eq!(bench.supervisor.told(), CameraState::Lost);
    assert_eq!(bench.next().1, [Open]);
}

#[test]
fn one_that_listens_waits_for_ever() {
    let mut bench = Bench::new(LISTENS);
    bench.tell(Input::Opened);
    assert_eq!(bench.next().1, [ShowSlate]);
    assert_eq!(bench.reason(), WAITING);
    assert_eq!(bench.next().0, Duration::MAX);
    assert_eq!(bench.supervisor.told(), CameraState::Starting);
    assert_eq!(bench.flow(1), [ShowCamera]);
    assert_eq!(bench.supervisor.reason(), None);
    // Who sent has gone.
    assert_eq!(bench.next().1, [ShowSlate]);
    assert_eq!(bench.next().1, [Close, ShowSlate]);
    bench.closed();
    assert_eq!(bench.next().1, [Open]);
    bench.tell(Input::Opened);
    assert_eq!(bench.next().1, [ShowSlate]);
    assert_eq!((bench.next().0, bench.reason()), (Duration::MAX, WAITING));
}

#[test]
fn a_loss_lasts_from_its_beginning() {
    let mut bench = Bench::live();
    bench.wait(1);
    bench.tell(failed());
    let since = bench.supervisor.since();
    assert_eq!(since, bench.now);
    for _ in 0..3 {
        bench.wait(2);
        bench.closed();
        bench.next();
        bench.tell(Input::Opened);
        bench.wait(20);
        bench.tell(Input::Failed("another reason".to_owned()));
        assert_eq!((bench.supervisor.since(), bench.reason()), (since, "another reason"));
    }
    bench.closed();
    bench.next();
    bench.tell(Input::Opened);
    bench.flow(1);
    assert_eq!(bench.supervisor.since(), bench.now);
}

/// The rest of a camera: does what it is commanded, in its time.
struct Shell {
    device: Device,
    slate: bool,
    frames: u64,
}

impl Shell {
    fn carry_out(&mut self, commands: Vec<Command>, step: usize) {
        for command in commands {
            match command {
                Open => {
                    assert_eq!(self.device, Device::Closed, "step {step}: opened twice");
                    self.device = Device::Opening;
                }
                Close => {
                    let held = matches!(self.device, Device::Opening | Device::Open);
                    assert!(held, "step {step}: nothing to close");
                    self.device = Device::Closing;
                }
                ShowSlate => self.slate = true,
                ShowCamera => self.slate = false,
            }
        }
    }
}

#[test]
fn a_camera_that_is_removed_is_off_and_says_so_until_it_is_named_again() {
    let (mut supervisor, _) = Supervisor::new(CAMERA, true, ms(0));
    supervisor.handle(Input::Opened, ms(1), 0.5);
    let retire = Input::Retire("removed".to_owned());
    assert_eq!(supervisor.handle(retire, ms(2), 0.5), [Close, ShowSlate]);
    assert_eq!((supervisor.state(), supervisor.reason()), (State::Off, Some("removed")));
    assert_eq!(supervisor.handle(Input::Closed(0), ms(3), 0.5), NONE);
    assert_eq!(supervisor.handle(Input::Enable(true), ms(4), 0.5), [ShowSlate, Open]);
    assert_eq!(supervisor.reason(), None);
}

/// A xorshift generator: the same sequence at every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

#[test]
fn no_sequence_of_events_leads_astray() {
    for seed in 1..300 {
        let mut dice = Dice(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
        let mut now = Duration::from_secs(5000);
        let expected = if seed % 4 == 0 { LISTENS } else { CAMERA };
        let (mut supervisor, commands) = Supervisor::new(expected, seed % 3 != 0, now);
        let mut shell = Shell { device: Device::Closed, slate: false, frames: 0 };
        shell.carry_out(commands, 0);
        let mut not_live_since = now;
        const STEPS: usize = 3000;
        for step in 0..STEPS {
            // In the end all goes well.
            let well = step >= STEPS / 2;
            if step == STEPS / 2 {
                not_live_since = now;
                shell.carry_out(supervisor.handle(Input::Changed(expected), now, 0.5), step);
                shell.carry_out(supervisor.handle(Input::Enable(true), now, 0.5), step);
            }
            let input = match dice.roll(if well { 16 } else { 25 }) {
                0..8 => {
                    now += LOOK;
                    if shell.device == Device::Open && (well || dice.roll(3) > 0) {
                        shell.frames += 1;
                    }
                    Input::Look(shell.frames)
                }
                8..16 => match shell.device {
                    Device::Opening if well || dice.roll(3) > 0 => {
                        shell.device = Device::Open;
                        Input::Opened
                    }
                    Device::Opening => failed(),
                    Device::Closing => {
                        shell.device = Device::Closed;
                        Input::Closed(shell.frames)
                    }
                    _ => continue,
                },
                16 => Input::Enable(dice.roll(2) > 0),
                17 => Input::Changed(expected),
                18 => Input::NoEncoder("none".to_owned()),
                19 => Input::DeviceAppeared,
                24 => Input::Retire("removed".to_owned()),
                20 | 21 => failed(),
                _ => {
                    now += ms(dice.roll(3000));
                    continue;
                }
            };
            let looks = matches!(input, Input::Look(_));
            if matches!(supervisor.state(), State::Live | State::Failed) {
                not_live_since = now;
            }
            let random = dice.roll(100) as f64 / 100.0;
            let commands = supervisor.handle(input, now, random);
            shell.carry_out(commands, step);
            assert_eq!(shell.device, supervisor.device, "seed {seed}, step {step}");
            assert_eq!(shell.slate, supervisor.shows_slate(), "seed {seed}, step {step}");
            assert!(supervisor.since() <= now);
            let live = supervisor.state() == State::Live;
            if live && looks {
                assert!(!shell.slate, "seed {seed}, step {step}: a slate over pictures");
            }
            // Where it starts it has a moment's time.
            let shows = shell.slate || live || supervisor.state() == State::Failed;
            let unseen = now - not_live_since > OPENING_UNNOTICED + 2 * LOOK && !shows;
            assert!(!(unseen && looks), "seed {seed}, step {step}: {supervisor:?}");
        }
        assert_eq!(supervisor.state(), State::Live, "seed {seed}: {supervisor:?}");
    }
}

//! What is to be drawn, as data: made anew for each drawing, from what is known and what the
//! operator wants. Pure.

use std::time::Duration;

use rovercast_protocol::ids::{CameraId, RobotId};

use crate::stages::Stage;
use crate::window::WindowSettings;
use crate::window::board::{Board, Camera, Note};
use crate::window::desk::Desk;
use crate::window::figures::{NONE, bitrate, elapsed, is_of_camera, milliseconds, telemetry};
use crate::window::keys::HELP;
use crate::window::layout::{Area, Place, layout, scale};
use crate::window::verdict::{Link, State, Verdict, Way};

/// What counts is drawn this often.
const TICK: Duration = Duration::from_millis(100);

/// A note is told for so long, in microseconds.
const NOTE_US: i64 = 4_000_000;

/// A window's contents.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// How much larger than on a small screen everything is.
    pub scale: f64,
    /// All of it.
    pub window: Area,
    /// What concerns the robot.
    pub bar: Bar,
    /// The cameras.
    pub tiles: Vec<Tile>,
    /// What is said where there are no cameras; empty when there are some.
    pub empty: String,
    /// Keys and what they do, while the help is shown.
    pub help: Option<&'static [(&'static str, &'static str)]>,
    /// What happened.
    pub note: Option<Note>,
    /// It looks different after this time even if nothing happens; never, when there is none.
    pub changes_in: Option<Duration>,
}

/// The bar along the upper edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Where it is.
    pub area: Area,
    /// The robot's name.
    pub robot: String,
    /// How far the way to it goes.
    pub way: Way,
    /// Pictures stand still: for how long the oldest has.
    pub frozen: Option<String>,
    /// For how long a recording has been going on.
    pub recording: Option<String>,
    /// What is wrong with it.
    pub warning: Option<String>,
    /// The robot's figures.
    pub figures: Vec<String>,
}

/// A camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// Which one.
    pub camera: CameraId,
    /// The key that enlarges it.
    pub key: Option<u8>,
    /// What people call it.
    pub label: String,
    /// Where it is.
    pub place: Place,
    /// Whether there is a picture to be shown.
    pub picture: bool,
    /// How that is to be taken.
    pub verdict: Verdict,
    /// How old it is when it is shown; empty while something covers it.
    pub age: String,
    /// How good the way is.
    pub link: Option<Link>,
    /// What is measured here.
    pub figures: String,
    /// What the robot tells of it.
    pub told: String,
    /// More figures, by their names, while they are wanted.
    pub details: Vec<(String, String)>,
}

impl Scene {
    /// What a window of this size is to show now.
    pub fn build(
        robot: &RobotId,
        board: &Board,
        desk: &Desk,
        settings: &WindowSettings,
        (width, height): (i32, i32),
        now_us: i64,
    ) -> Self {
        let aspects: Vec<f64> = board.cameras.iter().map(Camera::aspect).collect();
        let enlarged = desk.enlarged.as_ref();
        let enlarged = board.cameras.iter().position(|camera| Some(&camera.face.id) == enlarged);
        let layout = layout(width, height, &aspects, enlarged);
        let view = View { board, desk, settings, now_us };
        let cameras = board.cameras.iter().zip(layout.tiles).enumerate();
        let note = board.note.as_ref().filter(|(_, at_us)| now_us < at_us + NOTE_US);
        Self {
            scale: scale(width, height),
            window: Area::new(0, 0, width, height),
            bar: view.bar(robot, layout.bar),
            tiles: cameras
                .map(|(index, (camera, place))| view.tile(index, camera, place))
                .collect(),
            empty: if board.cameras.is_empty() {
                nothing_to_show(robot, board.way)
            } else {
                String::new()
            },
            help: desk.help.then_some(&HELP),
            note: note.map(|(note, _)| note.clone()),
            changes_in: view.changes_in(note.is_some()),
        }
    }
}

fn nothing_to_show(robot: &RobotId, way: Way) -> String {
    match way {
        Way::NoBroker => "Looking for the broker".to_owned(),
        Way::Offline => format!("{robot} is off-line: waiting for it"),
        Way::Connecting => format!("Connecting to {robot}"),
        Way::Connected => format!("{robot} has no cameras"),
    }
}

struct View<'a> {
    board: &'a Board,
    desk: &'a Desk,
    settings: &'a WindowSettings,
    now_us: i64,
}

impl View<'_> {
    fn bar(&self, robot: &RobotId, area: Area) -> Bar {
        let board = self.board;
        let oldest = board.cameras.iter().filter_map(|camera| Some(camera.shown?.0)).min();
        let frozen = self.desk.frozen.then(|| {
            let for_us = oldest.map_or(0, |shown_us| self.now_us.saturating_sub(shown_us));
            crate::window::figures::age(for_us)
        });
        let recording = board.recording.as_ref();
        let paths = self.settings.telemetry.iter().filter(|path| !is_of_camera(path));
        Bar {
            area,
            robot: robot.to_string(),
            way: board.way,
            frozen,
            recording: recording.map(|recording| elapsed(self.now_us - recording.since_us)),
            warning: recording.and_then(|recording| recording.warning.clone()),
            figures: paths.map(|path| telemetry(path, board.telemetry.as_ref(), None)).collect(),
        }
    }

    fn verdict(&self, camera: &Camera) -> Verdict {
        let mut evidence = self.board.evidence(camera, self.settings.stale(), self.now_us);
        evidence.frozen_us = camera.shown.map(|(at_us, _)| at_us).filter(|_| self.desk.frozen);
        evidence.judge()
    }

    fn tile(&self, index: usize, camera: &Camera, place: Place) -> Tile {
        let verdict = self.verdict(camera);
        let link = camera.treatment().map(|treatment| treatment.link());
        let moves = matches!(verdict.state, State::Live | State::Late);
        let paths = self.settings.telemetry.iter().filter(|path| is_of_camera(path));
        let id = Some(camera.face.id.as_str());
        let told: Vec<String> =
            paths.map(|path| telemetry(path, self.board.telemetry.as_ref(), id)).collect();
        Tile {
            camera: camera.face.id.clone(),
            key: u8::try_from(index + 1).ok().filter(|key| *key <= 9),
            label: camera.face.label.clone(),
            place,
            picture: camera.shown.is_some(),
            age: if moves { self.age(camera) } else { String::new() },
            verdict,
            link,
            figures: figures(camera),
            told: told.join("   "),
            details: if self.desk.details { details(camera, link) } else { Vec::new() },
        }
    }

    /// From capture to the screen where the clocks are known, else since the newest picture.
    fn age(&self, camera: &Camera) -> String {
        match (camera.latency_us(), camera.arrived_us) {
            (Some(latency_us), _) => format!("{} ms", latency_us.max(0) / 1000),
            (None, Some(at_us)) => crate::window::figures::age(self.now_us.saturating_sub(at_us)),
            (None, None) => String::new(),
        }
    }

    fn changes_in(&self, note: bool) -> Option<Duration> {
        let board = self.board;
        let counts = |camera: &&Camera| !self.verdict(camera).age.is_empty();
        if note || board.recording.is_some() || board.cameras.iter().any(|camera| counts(&camera)) {
            return Some(TICK);
        }
        let stale_at = |camera: &Camera| {
            let evidence = board.evidence(camera, self.settings.stale(), self.now_us);
            evidence.stale_at_us().filter(|&at_us| at_us > self.now_us)
        };
        let first_us = board.cameras.iter().filter_map(stale_at).min()?;
        let in_us = u64::try_from(first_us - self.now_us).unwrap_or(0);
        Some(Duration::from_micros(in_us))
    }
}

fn figures(camera: &Camera) -> String {
    let Some(report) = &camera.report else { return String::new() };
    let mut figures = vec![format!("{:.0} fps", report.fps), bitrate(report.bitrate_kbps)];
    if report.packets_lost > 0 {
        figures.push(format!("{} lost", report.packets_lost));
    }
    figures.join("   ")
}

fn details(camera: &Camera, link: Option<Link>) -> Vec<(String, String)> {
    let row = |name: &str, value: String| (name.to_owned(), value);
    let or_none = |value: Option<String>| value.unwrap_or_else(|| NONE.to_owned());
    let report = camera.report.as_ref();
    let of = |value: fn(&crate::report::CameraReport) -> String| or_none(report.map(value));
    let mut rows = vec![
        row("picture", of(|report| format!("{} × {}", report.width, report.height))),
        row("frames", of(|report| format!("{:.1} fps", report.fps))),
        row("rate", of(|report| bitrate(report.bitrate_kbps))),
        row("decoder", of(|report| report.decoder.clone())),
    ];
    let stages = report.map(|report| &report.stages_ms);
    let stage = |stage: Stage| Some((stage, stages?.get(stage)?.spread.p50));
    let known: Vec<_> = Stage::ALL.into_iter().filter_map(stage).collect();
    rows.extend(known.iter().map(|(stage, ms)| row(stage.name(), milliseconds(*ms))));
    if known.is_empty()
        && let Some(latency) = report.and_then(|report| report.latency_ms)
    {
        let spread = format!("{} (max {})", milliseconds(latency.p50), milliseconds(latency.max));
        rows.push(row("to decoded", spread));
    }
    if known.is_empty() && camera.shown.is_some() {
        rows.push(row("to the screen", milliseconds(camera.screen_lag_us / 1000.0)));
    }
    rows.push(row("link", or_none(link.map(|link| link.word.to_owned()))));
    rows.push(row("lost", of(|report| format!("{} packets", report.packets_lost))));
    if let Some(round_trip_ms) = report.and_then(|report| report.round_trip_ms) {
        rows.push(row("round trip", milliseconds(round_trip_ms)));
    }
    rows.push(row("jitter", of(|report| milliseconds(report.jitter_ms))));
    rows.push(row("jitter buffer", of(|report| format!("≤ {} ms", report.jitter_buffer_ms))));
    rows.push(row("not decoded", of(|report| format!("{} frames", report.frames_dropped))));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::FrameTimes;
    use crate::report::Report;
    use crate::stages::{StageTimes, Stages};
    use crate::window::board::Recording;
    use crate::window::board::tests::{board, camera_report};
    use crate::window::keys::Wish;
    use crate::window::layout::Role;

    const SIZE: (i32, i32) = (1280, 720);

    fn build(board: &Board, desk: &Desk, now_us: i64) -> Scene {
        let settings = WindowSettings {
            telemetry: vec!["host.cpuPercent".into(), "camera.fps".into(), "robot.x".into()],
            ..WindowSettings::default()
        };
        Scene::build(&"rover".parse().unwrap(), board, desk, &settings, SIZE, now_us)
    }

    fn with_pictures(at_us: i64) -> Board {
        let mut board = board(&["a", "b"]);
        for camera in &mut board.cameras {
            (camera.arrived_us, camera.shown) = (Some(at_us), Some((at_us, 4.0 / 3.0)));
        }
        board
    }

    #[test]
    fn without_cameras_it_says_why() {
        let told = |way| {
            let scene = build(&Board { way, ..Board::default() }, &Desk::default(), 0);
            assert_eq!(scene.changes_in, None, "nothing counts");
            scene.empty
        };
        assert_eq!(told(Way::NoBroker), "Looking for the broker");
        assert_eq!(told(Way::Offline), "rover is off-line: waiting for it");
    }

    #[test]
    fn a_live_picture_is_bare_and_says_how_old_it_is() {
        let mut board = with_pictures(0);
        let scene = build(&board, &Desk::default(), 120_000);
        let tile = &scene.tiles[0];
        assert!(tile.picture && tile.verdict.title.is_empty());
        assert_eq!((tile.key, &*tile.label, &*tile.age), (Some(1), "A", "0.1 s"));
        assert_eq!(scene.changes_in, Some(Duration::from_millis(380)), "stale by then");
        board.report(camera_report("a", 0), 0);
        board.cameras[0].screen_lag_us = 9_000.0;
        let tile = &build(&board, &Desk::default(), 120_000).tiles[0];
        assert_eq!((&*tile.age, &*tile.figures), ("49 ms", "30 fps   1.9 Mb/s"));
        assert_eq!(tile.link.unwrap().word, "good");
    }

    #[test]
    fn stale_pictures_count() {
        let scene = build(&with_pictures(0), &Desk::default(), 700_000);
        assert_eq!(scene.tiles[1].verdict.state, State::Stale);
        assert_eq!((&*scene.tiles[1].verdict.age, &*scene.tiles[1].age), ("0.7 s", ""));
        assert_eq!(scene.changes_in, Some(TICK));
    }

    #[test]
    fn frozen_pictures_count_while_live_goes_on() {
        let mut board = with_pictures(0);
        let desk = Desk { frozen: true, ..Desk::default() };
        board.cameras[0].arrived_us = Some(3_000_000);
        let scene = build(&board, &desk, 3_010_000);
        assert_eq!(scene.bar.frozen.as_deref(), Some("3.0 s"));
        assert_eq!(scene.tiles[0].verdict.detail, "live goes on");
        assert_eq!(scene.tiles[1].verdict.detail, "meanwhile: stale");
        assert!(scene.tiles.iter().all(|tile| tile.verdict.state == State::Frozen));
        assert_eq!(scene.changes_in, Some(TICK));
    }

    #[test]
    fn the_enlarged_camera_is_found_by_its_name() {
        let mut board = with_pictures(0);
        let desk = Desk { enlarged: Some("b".parse().unwrap()), ..Desk::default() };
        let roles = |board: &Board| {
            let tiles = build(board, &desk, 0).tiles;
            tiles.into_iter().map(|tile| tile.place.role).collect::<Vec<_>>()
        };
        assert_eq!(roles(&board), [Role::Aside, Role::Enlarged]);
        board.cameras.swap(0, 1);
        assert_eq!(roles(&board), [Role::Enlarged, Role::Aside]);
        board.cameras.remove(0);
        assert_eq!(roles(&board), [Role::Equal]);
    }

    #[test]
    fn chosen_telemetry_is_shown_where_it_belongs() {
        let scene = build(&with_pictures(0), &Desk::default(), 0);
        assert_eq!(scene.bar.figures, ["cpu –", "x –"]);
        assert_eq!(scene.tiles[0].told, "fps –");
    }

    #[test]
    fn a_recording_and_a_note_are_told_in_time() {
        let mut board = Board::default();
        let warning = Some("the disk is nearly full".to_owned());
        board.recording = Some(Recording { since_us: 0, warning: warning.clone() });
        board.note = Some((Note { text: "saved".into(), bad: false }, 10_000_000));
        let scene = build(&board, &Desk::default(), 12_500_000);
        assert_eq!((scene.bar.recording.as_deref(), scene.bar.warning), (Some("00:12"), warning));
        assert_eq!(scene.note.unwrap().text, "saved");
        assert_eq!(build(&board, &Desk::default(), 14_000_000).note, None);
    }

    #[test]
    fn details_and_help_are_shown_on_demand() {
        let mut board = with_pictures(0);
        board.report(camera_report("a", 7), 0);
        let mut desk = Desk::default();
        assert!(build(&board, &desk, 0).tiles[0].details.is_empty());
        desk.wish(Wish::Details, &[]);
        desk.wish(Wish::Help, &[]);
        let scene = build(&board, &desk, 0);
        let value = |scene: &Scene, name: &str| {
            let mut rows = scene.tiles[0].details.iter();
            rows.find(|(row, _)| row == name).map(|(_, value)| value.clone())
        };
        assert_eq!(value(&scene, "decoder").unwrap(), "avdec_h264");
        assert_eq!(value(&scene, "lost").unwrap(), "7 packets");
        assert_eq!(value(&scene, "to decoded").unwrap(), "40 ms (max 60 ms)");
        assert!(scene.help.is_some());
        let mut report = camera_report("a", 7);
        if let Report::Camera(report) = &mut report {
            report.stages_ms = Stages::of(&[StageTimes::of(&FrameTimes {
                arrived_us: 1_000,
                delivered_us: Some(4_250),
                ..FrameTimes::default()
            })]);
        }
        board.report(report, 0);
        let scene = build(&board, &desk, 0);
        assert_eq!(value(&scene, "receive").unwrap(), "3.2 ms");
        assert_eq!(value(&scene, "to decoded"), None);
    }
}

//! The operator's window on a real X display: what it shows, read from the screen.
//!
//! With `ROVERCAST_SCREENSHOTS` set, the folder that it names gets a picture of each step, with
//! recorded footage beside the test cameras where there is some.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use gst::prelude::*;
use rovercast_e2e::lab::{
    Folder, PATIENCE, Program, broker, decoded, footage, gstreamer, program, robot, robot_config,
};
use rovercast_e2e::source::{Look, Socket};
use rovercast_e2e::watcher::look;
use rovercast_protocol::pixelclock::{Luma, Reading};
use rovercast_receiver::window::layout::{Area, Place, layout};

type Outcome = anyhow::Result<()>;

/// Of the display; the window is smaller.
const SCREEN: (i32, i32) = (1440, 900);

/// How often the display is looked at, while something is awaited.
const LOOK: Duration = Duration::from_millis(10);

const USUAL: f64 = 4.0 / 3.0;

/// What headers say without words.
const STALE: [u8; 3] = [255, 201, 51];
const LOST: [u8; 3] = [92, 26, 21];
const FROZEN: [u8; 3] = [79, 209, 255];
const PLAIN: [u8; 3] = [21, 27, 34];

/// An X server of its own.
struct Display {
    _server: Program,
    name: String,
    /// Where the server keeps what it shows.
    memory: Folder,
}

impl Display {
    fn start() -> anyhow::Result<Self> {
        let memory = Folder::new("display")?;
        let mut command = Command::new("Xvfb");
        // Without -noreset the server starts over, and turns newcomers away, whenever its last
        // client leaves.
        command.args(["-displayfd", "1", "-noreset", "-nolisten", "tcp", "-screen", "0"]);
        command.arg(format!("{}x{}x24", SCREEN.0, SCREEN.1)).arg("-fbdir").arg(memory.path());
        let mut server = Program::spawn("Xvfb", command)
            .context("a display is needed: install the package xvfb")?;
        let number = server.wait_for("display", |line| line.trim().parse::<u32>().ok())?;
        Ok(Self { _server: server, name: format!(":{number}"), memory })
    }

    /// Has xdotool do something; returns what it says.
    fn xdotool(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("xdotool").args(arguments).env("DISPLAY", &self.name).output();
        let output = output.context("keys are pressed by the package xdotool")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn press(&self, key: &str) -> Outcome {
        self.xdotool(&["key", key]).map(drop)
    }

    /// Where the receiver's window is.
    fn window(&self) -> anyhow::Result<Area> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.xdotool(&["search", "--onlyvisible", "--name", "Rovercast"])?;
            if let Some(id) = found.split_whitespace().next() {
                let told = self.xdotool(&["getwindowgeometry", "--shell", id])?;
                let number = |name: &str| {
                    let value = told.lines().find_map(|line| line.strip_prefix(name));
                    value.and_then(|value| value.parse::<i32>().ok()).context("no geometry")
                };
                let (x, y) = (number("X=")?, number("Y=")?);
                return Ok(Area::new(x, y, number("WIDTH=")?, number("HEIGHT=")?));
            }
            ensure!(Instant::now() < deadline, "there is no window");
            std::thread::sleep(LOOK);
        }
    }

    /// What the server has in its memory, which it may be drawing to: what is awaited has to be seen
    /// in one and the same shot.
    fn shot(&self) -> anyhow::Result<Shot> {
        let file = std::fs::read(self.memory.path().join("Xvfb_screen0"))?;
        // A window dump of the version that X has had since 1987; see X11/XWDFile.h.
        let word = |index: usize| -> anyhow::Result<usize> {
            let bytes = file.get(4 * index..4 * index + 4).context("no window dump")?;
            Ok(u32::from_be_bytes(bytes.try_into()?) as usize)
        };
        let (header, colors, stride) = (word(0)?, word(19)?, word(12)?);
        ensure!(word(11)? == 32 && word(7)? == 0, "not 32 bits for each pixel, blue first");
        let start = header + 12 * colors;
        ensure!(file.len() >= start + stride * SCREEN.1 as usize, "a window dump that is cut off");
        Ok(Shot { file, start, stride })
    }
}

/// What the display shows.
struct Shot {
    file: Vec<u8>,
    start: usize,
    stride: usize,
}

impl Shot {
    /// The pixels of an area, row by row: red, green, blue.
    fn pixels(&self, area: Area) -> anyhow::Result<Vec<[u8; 3]>> {
        let whole = area.x >= 0
            && area.y >= 0
            && area.x + area.width <= SCREEN.0
            && area.y + area.height <= SCREEN.1;
        ensure!(whole, "{area:?} is not on the display");
        let row = |y: i32| {
            let start = self.start + y as usize * self.stride + area.x as usize * 4;
            self.file[start..start + area.width as usize * 4].chunks_exact(4)
        };
        let rows = area.y..area.y + area.height;
        Ok(rows.flat_map(row).map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect())
    }

    /// The clock burnt into the picture that is shown there.
    fn clock(&self, area: Area) -> anyhow::Result<Reading> {
        let samples: Vec<u8> = self.pixels(area)?.iter().map(|pixel| pixel[1]).collect();
        let (width, height) = (area.width as usize, area.height as usize);
        Ok(Luma { samples, stride: width, width, height }.read())
    }

    /// The color of a tile's header, where nothing is written.
    fn header(&self, place: &Place) -> anyhow::Result<[u8; 3]> {
        let Area { x, y, width, .. } = place.header;
        Ok(self.pixels(Area::new(x + width / 2, y + 2, 1, 1))?[0])
    }

    /// How bright an area is, from 0 to 255.
    fn brightness(&self, area: Area) -> anyhow::Result<f64> {
        let pixels = self.pixels(area)?;
        let sum: f64 = pixels.iter().flatten().map(|&value| f64::from(value)).sum();
        Ok(sum / (3.0 * pixels.len() as f64))
    }

    /// Keeps what is in this area for people, if they want it.
    fn save(&self, name: &str, area: Area) -> Outcome {
        let Some(folder) = std::env::var_os("ROVERCAST_SCREENSHOTS") else { return Ok(()) };
        let (width, height) = (area.width as u32, area.height as u32);
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, width, height);
        let info = info.fps(gst::Fraction::new(30, 1)).build()?;
        let stride = usize::try_from(info.stride()[0])?;
        let mut pixels = Vec::with_capacity(info.size());
        for row in self.pixels(area)?.chunks_exact(width as usize) {
            pixels.extend(row.iter().flatten());
            pixels.resize(pixels.len().next_multiple_of(stride), 0);
        }
        let buffer = gst::Buffer::from_slice(pixels);
        let sample = gst::Sample::builder().buffer(&buffer).caps(&info.to_caps()?).build();
        let caps = gst::Caps::new_empty_simple("image/png");
        let png =
            gst_video::convert_sample(&sample, &caps, Some(gst::ClockTime::from_seconds(20)))?;
        let png = png.buffer().context("no picture")?.map_readable()?;
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(Path::new(&folder).join(format!("{name}.png")), &png)?)
    }
}

/// A window with its robot, and everything between.
struct Desktop {
    display: Display,
    folder: Folder,
    address: String,
    config: String,
    cameras: Vec<(&'static str, f64)>,
    receiver: Program,
    sender: Program,
    _broker: Program,
}

impl Desktop {
    /// With these test cameras of 640x480, and more.
    fn start(
        name: &str,
        tests: &[&'static str],
        more: &[(&'static str, f64, String)],
    ) -> anyhow::Result<Self> {
        gstreamer();
        let folder = Folder::new(name)?;
        let display = Display::start()?;
        let (broker, address) = broker("127.0.0.1:0")?;
        let test_cameras: Vec<_> = tests.iter().map(|&id| (id, 640, 480, 30)).collect();
        let mut config = robot_config("rover", &test_cameras);
        let mut cameras: Vec<_> = tests.iter().map(|&id| (id, USUAL)).collect();
        for (id, aspect, camera) in more {
            config.push_str(camera);
            cameras.push((id, *aspect));
        }
        let sender = robot(&folder, &config, &address)?;
        let mut command = Command::new(program("rovercast-receiver")?);
        command.args(["--url", &format!("ws://{address}"), "--robot", "rover"]);
        command.env("DISPLAY", &display.name).current_dir(folder.path());
        let receiver = Program::spawn("rovercast-receiver", command)?;
        Ok(Self { display, folder, address, config, cameras, receiver, sender, _broker: broker })
    }

    /// Where a camera's tile is on the display, while this one is enlarged.
    fn tile(&self, camera: &str, enlarged: Option<&str>) -> anyhow::Result<Place> {
        let window = self.display.window()?;
        let aspects: Vec<f64> = self.cameras.iter().map(|&(_, aspect)| aspect).collect();
        let index = |id: &str| self.cameras.iter().position(|&(known, _)| known == id);
        let tiles = layout(window.width, window.height, &aspects, enlarged.and_then(index)).tiles;
        let mut place = tiles[index(camera).context("no such camera")?];
        for area in [&mut place.frame, &mut place.header, &mut place.picture, &mut place.footer] {
            (area.x, area.y) = (area.x + window.x, area.y + window.y);
        }
        Ok(place)
    }

    /// Keeps what the window shows for people, if they want it.
    fn keep(&self, shot: &Shot, name: &str) -> Outcome {
        shot.save(name, self.display.window()?)
    }

    /// Looks at the display until `seen` gives something; returns that with what was looked at.
    fn until<T>(
        &mut self,
        what: &str,
        mut seen: impl FnMut(&Shot) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<(T, Shot)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shot = self.display.shot()?;
            if let Some(found) = seen(&shot)? {
                return Ok((found, shot));
            }
            if Instant::now() > deadline {
                bail!("{what} is not shown:\n{}", self.receiver.output());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until a tile shows a clock later than `after`; returns it.
    fn later_clock(&mut self, place: &Place, after: u64) -> anyhow::Result<(u64, Shot)> {
        let picture = place.picture;
        self.until("a later clock", |shot| match shot.clock(picture)? {
            Reading::Whole(clock) if clock > after => Ok(Some(clock)),
            _ => Ok(None),
        })
    }

    /// Waits until a tile's header has this color.
    fn header(&mut self, place: &Place, color: [u8; 3]) -> anyhow::Result<Shot> {
        let what = format!("a header {color:?}");
        let (_, shot) =
            self.until(&what, |shot| Ok((shot.header(place)? == color).then_some(())))?;
        Ok(shot)
    }
}

fn screenshots() -> bool {
    std::env::var_os("ROVERCAST_SCREENSHOTS").is_some()
}

/// Cameras that show more than a test pattern, for those who look at the screenshots.
fn beauty() -> Vec<(&'static str, f64, String)> {
    let films = [("street", "bikes.mp4", (640, 272)), ("meadow", "bigbuckbunny.mp4", (640, 360))];
    let films = films.into_iter().filter(|_| screenshots());
    films
        .filter_map(|(id, file, (width, height))| {
            let path = footage(file)?.canonicalize().ok()?;
            let camera = format!(
                "[[camera]]\nid = \"{id}\"\nwidth = {width}\nheight = {height}\nfps = 25\n\
                 source = {{ type = \"file\", path = \"{}\" }}\n",
                path.display()
            );
            Some((id, f64::from(width) / f64::from(height), camera))
        })
        .collect()
}

#[test]
fn keys_do_what_the_help_says() -> Outcome {
    let mut desktop = Desktop::start("window-keys", &["a", "b", "c"], &beauty())?;
    let (a, b) = (desktop.tile("a", None)?, desktop.tile("b", None)?);
    let (first, _) = desktop.later_clock(&a, 0)?;
    let (_, shot) = desktop.later_clock(&b, first)?;
    desktop.keep(&shot, "grid")?;

    desktop.display.press("2")?;
    let large = desktop.tile("b", Some("b"))?;
    ensure!(large.picture.width > 5 * b.picture.width / 4, "{large:?}, {b:?}");
    let (clock, shot) = desktop.later_clock(&large, first)?;
    desktop.keep(&shot, "enlarged")?;
    snapshot(&mut desktop, clock)?;
    desktop.display.press("Escape")?;
    desktop.later_clock(&a, clock)?;
    click(&desktop, &a)?;
    let large = desktop.tile("a", Some("a"))?;
    desktop.later_clock(&large, clock)?;
    desktop.display.press("0")?;
    let (clock, _) = desktop.later_clock(&a, clock)?;

    record(&mut desktop, &a, clock)?;
    freeze(&mut desktop, &a)?;
    desktop.later_clock(&b, clock)?;

    desktop.display.press("d")?;
    desktop.display.press("question")?;
    let dimmed = Area::new(a.frame.x - 6, a.frame.y, 4, 4);
    let bare = shot_of_ground(&desktop, dimmed)?;
    let (_, shot) =
        desktop.until("the help", |shot| Ok((shot.pixels(dimmed)?[0] != bare).then_some(())))?;
    desktop.keep(&shot, "help")?;
    desktop.display.press("h")?;
    let (_, shot) =
        desktop.until("no help", |shot| Ok((shot.pixels(dimmed)?[0] == bare).then_some(())))?;
    desktop.keep(&shot, "details")?;
    desktop.display.press("d")?;

    let window = desktop.display.window()?;
    desktop.display.press("f")?;
    window_at(&desktop, Area::new(0, 0, SCREEN.0, SCREEN.1))?;
    let all = desktop.tile("a", None)?;
    let (clock, shot) = desktop.later_clock(&all, clock)?;
    desktop.keep(&shot, "full-screen")?;
    desktop.display.press("f")?;
    window_at(&desktop, window)?;
    desktop.later_clock(&a, clock)?;

    desktop.display.press("q")?;
    let status = desktop.receiver.wait()?;
    ensure!(status.success(), "{status}: {}", desktop.receiver.output());
    Ok(())
}

/// Waits until the window is there.
fn window_at(desktop: &Desktop, wanted: Area) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let window = desktop.display.window()?;
        if window == wanted {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the window is at {window:?}");
        std::thread::sleep(LOOK);
    }
}

/// What is there where nothing is drawn.
fn shot_of_ground(desktop: &Desktop, area: Area) -> anyhow::Result<[u8; 3]> {
    Ok(desktop.display.shot()?.pixels(area)?[0])
}

fn click(desktop: &Desktop, place: &Place) -> Outcome {
    let Area { x, y, width, height } = place.picture;
    let (x, y) = ((x + width / 2).to_string(), (y + height / 2).to_string());
    desktop.display.xdotool(&["mousemove", &x, &y, "click", "1"]).map(drop)
}

/// The picture that is shown becomes a file, as it was received.
fn snapshot(desktop: &mut Desktop, after: u64) -> Outcome {
    desktop.display.press("s")?;
    let saved = desktop.receiver.wait_for("snapshot", |line| {
        line.split_once("saved ").map(|(_, path)| PathBuf::from(path.trim()))
    })?;
    let path = desktop.folder.path().join(saved);
    ensure!(path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("b-")));
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={} ! pngdec ! videoconvert ! video/x-raw,format=I420 ! appsink name=out",
        path.display()
    ))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
    let out = pipeline.by_name("out").context("no sink")?;
    let out = out.downcast::<gst_app::AppSink>().ok().context("no appsink")?;
    pipeline.set_state(gst::State::Playing)?;
    let picture = look(&"b".parse()?, &out.pull_sample()?).context("no picture")?;
    pipeline.set_state(gst::State::Null)?;
    ensure!(picture.size == (640, 480), "{picture:?}");
    ensure!(matches!(picture.clock, Reading::Whole(clock) if clock >= after), "{picture:?}");
    Ok(())
}

/// What comes from one press of the key to the next is kept, of every camera.
fn record(desktop: &mut Desktop, a: &Place, after: u64) -> Outcome {
    desktop.display.press("r")?;
    let folder = desktop.receiver.wait_for("recording", |line| {
        line.split_once("recording into ").map(|(_, folder)| folder.trim().to_owned())
    })?;
    desktop.later_clock(a, after + 2_000_000)?;
    desktop.display.press("r")?;
    desktop.receiver.wait_for_text("recorded ")?;
    let folder = desktop.folder.path().join(folder);
    for &(camera, _) in &desktop.cameras {
        let mut files = std::fs::read_dir(&folder)?.map_while(Result::ok).map(|file| file.path());
        let name = format!("rover_{camera}_");
        let file = files.find(|path| {
            path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&name))
        });
        let pictures = decoded(&file.with_context(|| format!("no recording of {camera}"))?)?;
        ensure!(pictures > 0, "{camera}: nothing was recorded");
    }
    Ok(())
}

/// Pictures stand still, say so, and go on where live is by then.
fn freeze(desktop: &mut Desktop, a: &Place) -> Outcome {
    // The lower right corner of the pattern is noise.
    let Area { x, y, width, height } = a.picture;
    let noise = Area::new(x + width * 4 / 5, y + height * 4 / 5, width / 10, height / 10);
    desktop.display.press("space")?;
    let mut shot = desktop.header(a, FROZEN)?;
    let age = Area::new(x + width / 4, y + 10, width / 2, 30);
    let mut pictures = Vec::new();
    // While the age counts on, the display has drawn all of what was drawn before.
    for _ in 0..3 {
        let told = shot.pixels(age)?;
        let counted = |shot: &Shot| Ok((shot.pixels(age)? != told).then_some(()));
        (_, shot) = desktop.until("an age that counts", counted)?;
        pictures.push(shot.pixels(noise)?);
    }
    ensure!(pictures[1] == pictures[2], "frozen pictures move");
    let before = pictures.swap_remove(2);
    desktop.keep(&shot, "frozen")?;
    desktop.display.press("space")?;
    desktop.header(a, PLAIN)?;
    desktop.until("live", |shot| Ok((shot.pixels(noise)? != before).then_some(()))).map(drop)
}

#[test]
fn what_is_lost_or_old_says_so_and_the_window_outlives_its_robot() -> Outcome {
    let socket = Socket::default();
    let look = Look { size: (640, 480), fps: 15, format: "I420", pattern: "white" };
    let source = socket.start(look)?;
    let mut more = vec![("c", USUAL, socket.config("c", (640, 480), 15))];
    more.extend(beauty());
    let mut desktop = Desktop::start("window-lost", &["a", "b"], &more)?;
    let (a, c) = (desktop.tile("a", None)?, desktop.tile("c", None)?);
    let (first, _) = desktop.later_clock(&a, 0)?;
    desktop.until("white", |shot| Ok((shot.brightness(c.picture)? > 230.0).then_some(())))?;

    source.kill()?;
    desktop.until("a lost camera", |shot| {
        Ok((shot.header(&c)? == LOST && shot.brightness(c.picture)? < 100.0).then_some(()))
    })?;
    let (second, shot) = desktop.later_clock(&a, first)?;
    desktop.keep(&shot, "lost")?;
    desktop.header(&a, PLAIN)?;
    let _source = socket.start(look)?;
    let (live, _) = desktop.until("everything live again", |shot| {
        let plain = shot.header(&c)? == PLAIN && shot.header(&a)? == PLAIN;
        let white = shot.brightness(c.picture)? > 230.0;
        let clock = matches!(shot.clock(a.picture)?, Reading::Whole(_));
        Ok((plain && white && clock).then_some(shot.brightness(a.picture)?))
    })?;

    desktop.sender.signal("STOP")?;
    let (_, shot) = desktop.until("pictures that are dimmed and hatched", |shot| {
        let marked = shot.header(&a)? == STALE && shot.header(&c)? == STALE;
        let dimmed = shot.brightness(a.picture)? < 0.8 * live;
        Ok((marked && dimmed && striped(shot, c.picture)?).then_some(()))
    })?;
    desktop.keep(&shot, "stale")?;
    desktop.sender.signal("CONT")?;
    desktop.header(&a, PLAIN)?;
    desktop.later_clock(&a, second)?;

    let sender = robot(&desktop.folder, &desktop.config, &desktop.address)?;
    std::mem::replace(&mut desktop.sender, sender).kill()?;
    let resumed = rovercast_peer::start::now_us().unsigned_abs();
    desktop.later_clock(&a, resumed)?;
    ensure!(desktop.receiver.interrupt()?.success(), "{}", desktop.receiver.output());
    Ok(())
}

/// Whether a picture that was white is hatched: along a row near its lower edge, where nothing is
/// written, the stripes' color comes and goes several times.
fn striped(shot: &Shot, picture: Area) -> anyhow::Result<bool> {
    let Area { x, y, width, height } = picture;
    let row = shot.pixels(Area::new(x, y + height - height / 8, width, 1))?;
    let colored = |pixel: &[u8; 3]| i32::from(pixel[0]) - i32::from(pixel[2]) > 40;
    let changes = row.windows(2).filter(|pair| colored(&pair[0]) != colored(&pair[1])).count();
    Ok(changes >= 8)
}

#[test]
fn without_a_display_it_says_what_to_do() -> Outcome {
    let mut command = Command::new(program("rovercast-receiver")?);
    command.args(["--robot", "rover"]).env("SDL_VIDEODRIVER", "x11").env("DISPLAY", ":no-such");
    let mut receiver = Program::spawn("rovercast-receiver", command)?;
    receiver.wait_for_text("DISPLAY")?;
    ensure!(!receiver.wait()?.success());
    ensure!(receiver.output().contains("--sink null"), "{}", receiver.output());
    Ok(())
}

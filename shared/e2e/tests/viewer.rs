//! The browser viewer as an operator meets it: Chromium, the broker and robots as real processes,
//! some of which are killed on the way. Rates and latencies are the benches' business.

use anyhow::Context;
use rovercast_e2e::browser::{Browser, LOOK_EVERY, Page, Tile};
use rovercast_e2e::lab::{self, Folder, PATIENCE, Program, robot_config};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

/// One at a time: several browsers at once are too much for a small host.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Frames that make sure that the pictures move.
const SOME_FRAMES: u64 = 20;

const TWO: &[(&str, u32, u32, u32)] = &[("front", 640, 360, 30), ("rear", 320, 240, 30)];

/// Of three cameras that differ, with labels.
const THREE: &str = r#"
[robot]
id = "rover"

[[camera]]
id = "front"
label = "Front"
source = { type = "test", pattern = "ball" }
width = 640
height = 360

[[camera]]
id = "left"
label = "Left wheel"
source = { type = "test", pattern = "smpte" }
width = 320
height = 240

[[camera]]
id = "right"
label = "Right wheel"
source = { type = "test", pattern = "pinwheel" }
width = 320
height = 240
fps = 15
"#;

/// Broker, robot and browser, with the viewer loaded.
struct Lab {
    browser: Browser,
    sender: Option<Program>,
    broker: Option<Program>,
    address: String,
    config: String,
    folder: Folder,
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    async fn start(name: &str, config: String) -> anyhow::Result<Self> {
        let alone = ALONE.lock().await;
        let folder = Folder::new(&format!("viewer-{name}"))?;
        let (broker, address) = lab::broker("127.0.0.1:0")?;
        let sender = lab::robot(&folder, &config, &address)?;
        let browser = Browser::start(name).await?;
        browser.open(&format!("http://{address}/")).await?;
        let (sender, broker) = (Some(sender), Some(broker));
        Ok(Self { browser, sender, broker, address, config, folder, _alone: alone })
    }

    fn kill_sender(&mut self) -> anyhow::Result<()> {
        self.sender.take().map_or(Ok(()), Program::kill)
    }

    fn start_sender(&mut self) -> anyhow::Result<()> {
        self.sender = Some(lab::robot(&self.folder, &self.config, &self.address)?);
        Ok(())
    }

    fn kill_broker(&mut self) -> anyhow::Result<()> {
        self.broker.take().map_or(Ok(()), Program::kill)
    }

    fn start_broker(&mut self) -> anyhow::Result<()> {
        self.broker = Some(lab::broker(&self.address)?.0);
        Ok(())
    }
}

impl Lab {
    fn sender(&mut self) -> anyhow::Result<&mut Program> {
        self.sender.as_mut().context("no robot runs")
    }

    /// Waits until the page, and the robot, have one session and no more. Returns the robot's word
    /// on it all.
    async fn one_session(&mut self) -> anyhow::Result<String> {
        self.browser.until("one session on the page", |page| page.open == 1).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.sender()?.output();
            let (started, ended) = (sessions(&output, "starts"), sessions(&output, "ended"));
            if started.len() == ended.len() + 1 {
                return Ok(output);
            }
            anyhow::ensure!(Instant::now() < deadline, "sessions are left:\n{output}");
            sleep(LOOK_EVERY).await;
        }
    }
}

/// The ids of the sessions of which a robot says this.
fn sessions<'a>(output: &'a str, what: &str) -> Vec<&'a str> {
    let what = format!("session {what}");
    let lines = output.lines().filter(|line| line.contains(&what));
    lines.filter_map(|line| line.split_once("session=")?.1.split_whitespace().next()).collect()
}

/// Waits until there are this many cameras, and all are live and move.
async fn live(browser: &Browser, cameras: usize) -> anyhow::Result<Page> {
    let what = format!("{cameras} live cameras");
    let before = browser.until(&what, |page| page.all(cameras, "live")).await?;
    let what = format!("{what} whose pictures move");
    browser
        .until(&what, |page| page.all(cameras, "live") && page.advanced(&before, SOME_FRAMES))
        .await
}

/// The number that stands before a unit, if there is one.
fn figure(text: &str, unit: &str) -> Option<f64> {
    text.trim_start_matches("⚠ ").strip_suffix(unit)?.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_three_cameras_with_their_figures() -> anyhow::Result<()> {
    let lab = Lab::start("three", THREE.to_owned()).await?;
    let page = live(&lab.browser, 3).await?;

    let told: Vec<_> = page.tiles.iter().map(|tile| (&*tile.label, &*tile.resolution)).collect();
    let expected = [("Front", "640×360"), ("Left wheel", "320×240"), ("Right wheel", "320×240")];
    assert_eq!(told, expected);
    // A slow host's pictures are late, and then the page has to say so.
    let plain = |tile: &Tile| ["LIVE", "LATE"].contains(&&*tile.chip) && tile.title.is_empty();
    assert!(page.tiles.iter().all(plain), "{page:#?}");
    assert_eq!(page.robots, [("rover".to_owned(), true)]);
    assert_eq!((page.link.as_str(), page.banner.as_str(), page.problem.as_str()), ("up", "", ""));

    for tile in &page.tiles {
        let first = lab.browser.picture_after(&tile.camera, 0).await?;
        lab.browser.picture_after(&tile.camera, first).await?;
    }
    let what = "rate and latency of every camera";
    let positive = |text: &str, unit| figure(text, unit).is_some_and(|figure| figure > 0.0);
    lab.browser
        .until(what, |page| {
            page.tiles
                .iter()
                .all(|tile| positive(&tile.fps, "fps") && positive(&tile.latency, "ms"))
        })
        .await?;
    let what = "telemetry with figures of the host";
    let page = lab.browser.until(what, |page| page.seq >= 0).await?;
    for name in ["CPU", "Memory", "Up for"] {
        let value = page.host.iter().find(|(figure, _)| figure == name);
        let (_, value) = value.with_context(|| format!("no {name} in {:?}", page.host))?;
        assert!(value.contains(|c: char| c.is_ascii_digit()), "{name}: {value}");
    }
    lab.browser.until("further telemetry", |later| later.seq > page.seq).await?;
    let what = "the round trip to the robot";
    let round_trip = |page: &Page| {
        page.host.iter().any(|(name, value)| name == "Round trip" && figure(value, "ms").is_some())
    };
    lab.browser.until(what, round_trip).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn enlarges_a_camera_by_key_and_by_click() -> anyhow::Result<()> {
    let lab = Lab::start("enlarge", THREE.to_owned()).await?;
    let browser = &lab.browser;
    let before = live(&lab.browser, 3).await?;

    let enlarged = |page: &Page, camera: Option<&str>| {
        page.tiles.iter().all(|tile| tile.enlarged == (Some(tile.camera.as_str()) == camera))
    };
    let large = |page: &Page, camera: &str| {
        let widths = |large: bool| {
            let these = page.tiles.iter().filter(move |tile| (tile.camera == camera) == large);
            these.map(|tile| tile.width)
        };
        widths(true).all(|width| widths(false).all(|other| width > 1.5 * other))
    };
    for camera in ["right", "left"] {
        let key = if camera == "left" { "2" } else { "3" };
        browser.press(key).await?;
        let what = format!("{camera}, enlarged by its key");
        browser.until(&what, |page| enlarged(page, Some(camera)) && large(page, camera)).await?;
        browser.press(key).await?;
        browser.until("all alike, by the same key", |page| enlarged(page, None)).await?;

        browser.click(camera).await?;
        let what = format!("{camera}, enlarged by a click");
        browser.until(&what, |page| enlarged(page, Some(camera)) && large(page, camera)).await?;
        browser.click(camera).await?;
        browser.until("all alike, by the same click", |page| enlarged(page, None)).await?;
    }
    let page = live(&lab.browser, 3).await?;
    assert_eq!(page.opened, before.opened, "a session more for a look closer: {page:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn media_outlives_the_broker() -> anyhow::Result<()> {
    let mut lab = Lab::start("broker", robot_config("rover", TWO)).await?;
    let before = live(&lab.browser, 2).await?;

    for _ in 0..2 {
        lab.kill_broker()?;
        let what = "a banner that tells of the broker";
        let said = "No link to the broker. Pictures go on.";
        let told = |page: &Page| page.link == "down" && page.banner == said;
        let down = lab.browser.until(what, told).await?;
        let what = "pictures that go on without the broker";
        let further = |page: &Page| page.all(2, "live") && page.advanced(&down, 3 * SOME_FRAMES);
        let page = lab.browser.until(what, further).await?;
        assert_eq!(page.link, "down");

        lab.start_broker()?;
        let what = "link and robot, and no banner";
        let online = [("rover".to_owned(), true)];
        let linked =
            |page: &Page| page.link == "up" && page.banner.is_empty() && page.robots == online;
        let up = lab.browser.until(what, linked).await?;
        let what = "pictures after the broker came back";
        let further = |page: &Page| page.all(2, "live") && page.advanced(&up, SOME_FRAMES);
        let page = lab.browser.until(what, further).await?;
        assert_eq!(page.opened, before.opened, "media that flows was replaced: {page:#?}");
        assert_eq!(page.open, 1);
        assert_eq!(page.problem, "");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_silence_leaves_the_session_that_was() -> anyhow::Result<()> {
    let mut lab = Lab::start("silence", robot_config("rover", TWO)).await?;
    live(&lab.browser, 2).await?;
    let output = lab.one_session().await?;
    let first = sessions(&output, "connected");
    for _ in 0..3 {
        lab.sender()?.signal("STOP")?;
        let asked = |page: &Page| page.all(2, "frozen") && page.open == 2;
        let silent = lab.browser.until("an attempt beside the silent session", asked).await?;
        lab.sender()?.signal("CONT")?;
        let further = |page: &Page| page.all(2, "live") && page.advanced(&silent, SOME_FRAMES);
        lab.browser.until("further pictures", further).await?;
        let output = lab.one_session().await?;
        let ended = sessions(&output, "ended");
        assert!(
            !ended.contains(&first[0]),
            "the first session is not the one that is left:\n{output}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_is_noticed_when_the_pictures_do() -> anyhow::Result<()> {
    let mut lab = Lab::start("still", robot_config("rover", TWO)).await?;
    let before = live(&lab.browser, 2).await?;
    lab.broker.as_ref().context("no broker runs")?.signal("STOP")?;
    let further = |page: &Page| page.all(2, "live") && page.advanced(&before, 3 * SOME_FRAMES);
    let page = lab.browser.until("pictures without the broker", further).await?;
    assert_eq!(page.opened, before.opened, "media that flows was replaced: {page:#?}");

    // Nothing closes its sockets: only who asks knows that there is no answer.
    lab.kill_sender()?;
    let down = |page: &Page| page.all(2, "frozen") && page.link == "down";
    let down = lab.browser.until("a link that is given up", down).await?;
    lab.broker.as_ref().context("no broker runs")?.signal("CONT")?;
    lab.start_sender()?;
    let back =
        |page: &Page| page.all(2, "live") && page.link == "up" && page.advanced(&down, SOME_FRAMES);
    lab.browser.until("pictures of the new robot", back).await?;
    lab.one_session().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_robot_freezes_unmistakably_and_comes_back() -> anyhow::Result<()> {
    let mut lab = Lab::start("robot", robot_config("rover", TWO)).await?;
    live(&lab.browser, 2).await?;

    // Once back while the old session is still there, once after its end.
    for outlives_session in [false, true] {
        lab.kill_sender()?;
        let what = "frozen cameras and a banner that tells why";
        let said = "rover is off-line. Waiting for it.";
        let told = |page: &Page| page.all(2, "frozen") && page.banner == said;
        let mut frozen = lab.browser.until(what, told).await?;
        for tile in &frozen.tiles {
            let said = (tile.chip.as_str(), tile.title.as_str(), tile.detail.as_str());
            assert_eq!(said, ("FROZEN", "FROZEN", "robot is off-line"));
            assert!(figure(&tile.age, "s").is_some_and(|age| age > 0.0), "{tile:?}");
        }
        assert_eq!(frozen.robots, [("rover".to_owned(), false)]);
        if outlives_session {
            frozen = lab.browser.until("the end of the session", |page| page.open == 0).await?;
            assert!(frozen.all(2, "frozen"), "{frozen:#?}");
        }
        // The last pictures stay.
        let mut last = Vec::new();
        for (camera, ..) in TWO {
            last.push(lab.browser.picture_after(camera, 0).await?);
        }

        lab.start_sender()?;
        let what = "live cameras of the new robot";
        let further = |page: &Page| page.all(2, "live") && page.advanced(&frozen, SOME_FRAMES);
        lab.browser.until(what, further).await?;
        let what = "one session, and nothing that covers the pictures";
        let plain = |page: &Page| {
            page.all(2, "live")
                && page.tiles.iter().all(|tile| tile.title.is_empty())
                && page.banner.is_empty()
                && page.open == 1
        };
        lab.browser.until(what, plain).await?;
        lab.one_session().await?;
        for ((camera, ..), last) in TWO.iter().zip(last) {
            let next = lab.browser.picture_after(camera, last).await?;
            lab.browser.picture_after(camera, next).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_is_lost_says_why_and_hurts_no_other() -> anyhow::Result<()> {
    let none = "\n[[camera]]\nid = \"none\"\nlabel = \"Mast\"\n\
                source = { type = \"v4l2\", device = \"/dev/video-none\" }\n";
    let lab = Lab::start("lost", robot_config("rover", TWO) + none).await?;
    let expected = [("front", "live"), ("rear", "live"), ("none", "lost")];
    let before = lab
        .browser
        .until("one lost and two live cameras", |page| page.states() == expected)
        .await?;
    let mast = &before.tiles[2];
    let said = (mast.label.as_str(), mast.chip.as_str(), mast.title.as_str());
    assert_eq!(said, ("Mast", "LOST", "SIGNAL LOST"));
    assert!(mast.detail.contains("/dev/video-none"), "no reason is given: {mast:?}");
    lab.browser
        .until("pictures of the others", |page| {
            let moved = |i: usize| page.tiles[i].frames >= before.tiles[i].frames + SOME_FRAMES;
            page.states() == expected && moved(0) && moved(1)
        })
        .await?;
    let what = "since when the camera has no signal";
    let told = |page: &Page| figure(&page.tiles[2].age, "s").is_some_and(|age| age > 0.0);
    lab.browser.until(what, told).await?;

    // A robot that is not told otherwise lets nobody control its cameras, and says how to.
    lab.browser.choose("front", ".key-frame").await?;
    let remedy = |page: &Page| page.answer.contains("sessions.control_cameras");
    lab.browser.until("the robot's refusal", remedy).await?;
    Ok(())
}

/// Gives how many packets that restore others have come.
const RESTORING: &str = "
    const done = arguments[arguments.length - 1];
    const [connection] = witness.connections;
    connection.getStats().then((stats) => {
      const tracks = [...stats.values()].filter(({ type }) => type === 'inbound-rtp');
      done(tracks.map(({ fecPacketsReceived }) => fecPacketsReceived ?? 0));
    });
";

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_restore_others_reach_the_page() -> anyhow::Result<()> {
    let config = robot_config("rover", TWO) + "[sessions]\nfec_percent = 20\n";
    let lab = Lab::start("fec", config).await?;
    let page = live(&lab.browser, 2).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let restoring: Vec<u64> = serde_json::from_value(lab.browser.ask(RESTORING).await?)?;
        if restoring.len() == 2 && restoring.iter().all(|packets| *packets > SOME_FRAMES) {
            break;
        }
        anyhow::ensure!(Instant::now() < deadline, "{restoring:?} in\n{page:?}");
        sleep(LOOK_EVERY).await;
    }
    let before = lab.browser.look().await?;
    lab.browser.until("pictures that go on", |page| page.advanced(&before, SOME_FRAMES)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn four_viewers_see_every_camera() -> anyhow::Result<()> {
    const VIEWERS: usize = 4;
    let lab = Lab::start("four", robot_config("rover", TWO)).await?;
    let url = format!("http://{}/", lab.address);
    while lab.browser.add_window().await? < VIEWERS {
        lab.browser.open(&url).await?;
    }
    lab.browser.open(&url).await?;
    let mut first = Vec::new();
    for viewer in 0..VIEWERS {
        lab.browser.go_to_window(viewer).await?;
        first.push(live(&lab.browser, 2).await.with_context(|| format!("viewer {viewer}"))?);
    }
    // All were live before any is looked at again: the pictures go to all of them at once.
    for (viewer, before) in first.iter().enumerate() {
        lab.browser.go_to_window(viewer).await?;
        let what = format!("further pictures in viewer {viewer}");
        let further = |page: &Page| page.all(2, "live") && page.advanced(before, 3 * SOME_FRAMES);
        let page = lab.browser.until(&what, further).await?;
        assert!(page.visible, "{page:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_serves_the_viewer_alone() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let folder = Folder::new("viewer-serve")?;
    let config = folder.write("sender.toml", &robot_config("rover", TWO))?;
    let arguments = ["--config", &config, "--serve", "127.0.0.1:0"];
    let mut sender = Program::start("rovercast-sender", &arguments)?;
    let address = sender.wait_for("address", lab::address_in)?;
    let browser = Browser::start("serve").await?;
    browser.open(&format!("http://{address}/")).await?;
    let page = live(&browser, 2).await?;
    assert_eq!(page.robots, [("rover".to_owned(), true)]);
    for (camera, ..) in TWO {
        let first = browser.picture_after(camera, 0).await?;
        browser.picture_after(camera, first).await?;
    }
    Ok(())
}

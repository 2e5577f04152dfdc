//! A real browser: Debian's Chromium without a window, driven through its chromedriver, and what
//! the viewer's page says and shows in it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use rovercast_protocol::pixelclock::{Luma, Reading};
use serde::Deserialize;
use serde_json::{Value, from_value, json};
use url::{ParseError, Url};

use crate::lab::{Folder, PATIENCE, Program};
use crate::net::Host;

const FLAGS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--window-size=1280,800",
];

/// Between two looks at a page.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs before the page's own scripts: keeps what the page itself does not tell.
const WITNESS: &str = r"
    const witness = (window.witness = { connections: [], errors: [] });
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...configuration) {
        super(...configuration);
        witness.connections.push(this);
      }
    };
    addEventListener('error', (event) => witness.errors.push(event.message));
    addEventListener('unhandledrejection', (event) => witness.errors.push(String(event.reason)));
    addEventListener('securitypolicyviolation', (event) =>
      witness.errors.push(`${event.violatedDirective} forbids ${event.blockedURI}`));
";

/// Gives a [`Page`].
const LOOK: &str = r"
    const all = (selector, root = document) => [...root.querySelectorAll(selector)];
    const text = (selector, root = document) => {
      const element = root.querySelector(selector);
      return element && element.checkVisibility() ? element.textContent.trim() : '';
    };
    const { connections, errors } = window.witness ?? { connections: [], errors: ['no witness'] };
    return {
      same: window.marker === true,
      errors,
      visible: document.visibilityState === 'visible',
      opened: connections.length,
      open: connections.filter(({ signalingState }) => signalingState !== 'closed').length,
      link: document.documentElement.dataset.link,
      banner: text('#banner span'),
      problem: text('#problem span'),
      answer: text('#camera-menu [role=status]'),
      seq: Number(document.querySelector('#telemetry').dataset.seq || -1),
      host: all('#host dt').map((name) => [name.textContent, name.nextElementSibling.textContent]),
      robots: all('#robots li').map(({ dataset }) => [dataset.robot, dataset.online === 'true']),
      moving: document.getAnimations().some((animation) => animation instanceof CSSTransition),
      tiles: all('#grid article.tile').map((tile) => ({
        camera: tile.dataset.camera,
        state: tile.dataset.state,
        frames: Number(tile.dataset.frames),
        width: tile.getBoundingClientRect().width,
        enlarged: tile.classList.contains('enlarged'),
        label: text('.label', tile),
        chip: text('.chip', tile),
        title: text('.overlay .title', tile),
        age: text('.overlay .age', tile),
        detail: text('.overlay .detail', tile),
        resolution: text('.resolution', tile),
        fps: text('.fps', tile),
        latency: text('.latency', tile),
      })),
    };
";

/// Gives the picture that a tile shows: its size and its luma plane. The topmost is the last.
const PICTURE: &str = r"
    const tile = document.querySelector(`#grid article.tile[data-camera='${arguments[0]}']`);
    const picture = [...tile.querySelectorAll('.picture :is(video, canvas)')].pop();
    const [width, height] =
      [picture?.videoWidth ?? picture?.width ?? 0, picture?.videoHeight ?? picture?.height ?? 0];
    if (width === 0 || height === 0) return { width: 0, height: 0, samples: [] };
    const canvas = new OffscreenCanvas(width, height).getContext('2d');
    canvas.drawImage(picture, 0, 0);
    const { data } = canvas.getImageData(0, 0, width, height);
    const luma = (_, i) => (data[4 * i] + 2 * data[4 * i + 1] + data[4 * i + 2]) >> 2;
    return { width, height, samples: Array.from({ length: width * height }, luma) };
";

/// What the viewer's page says at a moment.
#[derive(Debug, Deserialize)]
pub struct Page {
    same: bool,
    errors: Vec<String>,
    moving: bool,
    /// Whether the browser counts it as seen: of what is not, it may skip the pictures.
    pub visible: bool,
    /// Peer connections made since the page was loaded.
    pub opened: usize,
    /// Those of them that are not closed.
    pub open: usize,
    /// `up` or `down`: the link to the broker.
    pub link: String,
    /// The text of the banner, empty while it is hidden.
    pub banner: String,
    /// The complaint shown, empty while there is none.
    pub problem: String,
    /// What the menu of a camera says, empty while it says nothing.
    pub answer: String,
    /// Of the telemetry shown; -1 before the first.
    pub seq: i64,
    /// The figures of the robot's computer: name and value.
    pub host: Vec<(String, String)>,
    /// The robots listed and whether they are on-line.
    pub robots: Vec<(String, bool)>,
    /// The cameras, in their order.
    pub tiles: Vec<Tile>,
}

/// One camera on the page. Texts are empty while they are hidden.
#[derive(Debug, Deserialize)]
pub struct Tile {
    /// Its id.
    pub camera: String,
    /// `live`, `waiting`, `frozen` or `lost`.
    pub state: String,
    /// Frames decoded since the page was loaded.
    pub frames: u64,
    /// In pixels of the page.
    pub width: f64,
    /// Whether it takes most of the room.
    pub enlarged: bool,
    /// The camera's name.
    pub label: String,
    /// The state in words.
    pub chip: String,
    /// Over the picture: what is wrong,
    pub title: String,
    /// how old the picture is,
    pub age: String,
    /// and why.
    pub detail: String,
    /// Width and height.
    pub resolution: String,
    /// Frames per second.
    pub fps: String,
    /// From the camera to the screen.
    pub latency: String,
}

impl Page {
    /// The cameras' states.
    pub fn states(&self) -> Vec<(&str, &str)> {
        self.tiles.iter().map(|tile| (tile.camera.as_str(), tile.state.as_str())).collect()
    }

    /// Whether there are this many cameras and all are in this state.
    pub fn all(&self, cameras: usize, state: &str) -> bool {
        self.tiles.len() == cameras && self.tiles.iter().all(|tile| tile.state == state)
    }

    /// Whether every camera has decoded at least this many frames more than on an earlier look.
    pub fn advanced(&self, before: &Page, frames: u64) -> bool {
        let frames_before = |tile: &Tile| {
            before
                .tiles
                .iter()
                .find(|earlier| earlier.camera == tile.camera)
                .map_or(0, |t| t.frames)
        };
        self.tiles.len() == before.tiles.len()
            && self.tiles.iter().all(|tile| tile.frames >= frames_before(tile) + frames)
    }
}

/// A picture on the page.
#[derive(Debug, Deserialize)]
pub struct Shown {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    samples: Vec<u8>,
}

impl Shown {
    /// The mean of its luma samples, and their mean distance from it.
    pub fn mean_and_contrast(&self) -> (f64, f64) {
        let count = self.samples.len().max(1) as f64;
        let mean = self.samples.iter().map(|&sample| f64::from(sample)).sum::<f64>() / count;
        let distances = self.samples.iter().map(|&sample| (f64::from(sample) - mean).abs());
        (mean, distances.sum::<f64>() / count)
    }

    /// The clock burnt into it.
    pub fn clock(&self) -> Reading {
        let (width, height) = (self.width, self.height);
        Luma { samples: &self.samples, stride: width, width, height }.read()
    }
}

/// A browser that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    pid: u64,
    _driver: Program,
    folder: Folder,
}

impl Browser {
    /// Starts one with a profile of its own; `name` tells its folder from that of others.
    pub async fn start(name: &str) -> anyhow::Result<Self> {
        let chromedriver = Command::new(installed("chromedriver", "chromium-driver")?);
        Self::start_by(name, chromedriver).await
    }

    /// Starts the one of a host of a network. All that is asked of it must be asked [`Host::within`] that
    /// host.
    pub async fn start_on(host: &Host, name: &str) -> anyhow::Result<Self> {
        let chromedriver = installed("chromedriver", "chromium-driver")?;
        Self::start_by(name, host.command(chromedriver)).await
    }

    async fn start_by(name: &str, mut command: Command) -> anyhow::Result<Self> {
        let chromium = installed("chromium", "chromium")?;
        let folder = Folder::new(&format!("browser-{name}"))?;
        // Where there is no IPv6 it does not tell which port it chose.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        // Chromium leaves files there when it is killed.
        command.arg(format!("--port={port}")).env("TMPDIR", folder.path());
        let mut driver = Program::spawn("chromedriver", command)?;
        driver.wait_for_text("started successfully")?;
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([profile.as_str()]).collect();
        let options = json!({ "binary": chromium, "args": flags });
        let wanted = Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)]);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("chromedriver cannot start chromium")?;
        let pid = client.capabilities().and_then(|given| given.get("goog:processID")?.as_u64());
        let pid = pid.context("chromedriver does not tell chromium's process")?;
        Ok(Self { client, pid, _driver: driver, folder })
    }

    /// Loads a page into the present window. It must not be loaded again while it is looked at.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        let witness = json!({ "source": WITNESS });
        self.client.issue_cmd(Cdp("Page.addScriptToEvaluateOnNewDocument", witness)).await?;
        self.client.goto(url).await?;
        self.client.execute("window.marker = true", Vec::new()).await?;
        Ok(())
    }

    /// Makes a further window and goes there. Returns the number of windows.
    pub async fn add_window(&self) -> anyhow::Result<usize> {
        let window = self.client.new_window(false).await?;
        self.client.switch_to_window(window.handle).await?;
        Ok(self.client.windows().await?.len())
    }

    /// Goes to another of the windows.
    pub async fn go_to_window(&self, index: usize) -> anyhow::Result<()> {
        let windows = self.client.windows().await?;
        let window = windows.into_iter().nth(index).context("no such window")?;
        Ok(self.client.switch_to_window(window).await?)
    }

    /// What the page says now. An error if its scripts failed, or if it was loaded again.
    pub async fn look(&self) -> anyhow::Result<Page> {
        let page: Page = from_value(self.client.execute(LOOK, Vec::new()).await?)?;
        ensure!(page.same, "the page was loaded again");
        ensure!(page.errors.is_empty(), "the page's scripts failed: {:?}", page.errors);
        Ok(page)
    }

    /// Looks until `done` says so.
    pub async fn until(&self, what: &str, done: impl Fn(&Page) -> bool) -> anyhow::Result<Page> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = self.look().await.with_context(|| format!("while waiting for: {what}"))?;
            if done(&page) {
                return Ok(page);
            }
            if Instant::now() > deadline {
                bail!("waited for: {what}; but the page says {page:#?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What is to be seen of a camera now.
    pub async fn picture(&self, camera: &str) -> anyhow::Result<Shown> {
        Ok(from_value(self.client.execute(PICTURE, vec![camera.into()]).await?)?)
    }

    /// Waits for a picture of a camera that is not blank and shows a time after this, in
    /// microseconds of the clock that test cameras burn in. Returns the time.
    pub async fn picture_after(&self, camera: &str, after_us: u64) -> anyhow::Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let picture = self.picture(camera).await?;
            let (mean, contrast) = picture.mean_and_contrast();
            if let Reading::Whole(us) = picture.clock()
                && us > after_us
                && (5.0..250.0).contains(&mean)
                && contrast > 5.0
            {
                return Ok(us);
            }
            ensure!(
                Instant::now() < deadline,
                "waited for a picture of {camera} later than {after_us} us; but {:?} with a mean \
                 of {mean:.1} and a contrast of {contrast:.1} is shown",
                picture.clock()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Runs a script in the page, which gives its answer to the function that is the last of its
    /// arguments.
    pub async fn ask(&self, script: &str) -> anyhow::Result<Value> {
        Ok(self.client.execute_async(script, Vec::new()).await?)
    }

    /// Presses a key.
    pub async fn press(&self, key: &str) -> anyhow::Result<()> {
        Ok(self.client.find(Locator::Css("body")).await?.send_keys(key).await?)
    }

    /// Opens a camera's menu and presses one of its buttons.
    pub async fn choose(&self, camera: &str, button: &str) -> anyhow::Result<()> {
        self.until("tiles that stand still", |page| !page.moving).await?;
        let menu = format!("#grid article.tile[data-camera='{camera}'] .menu");
        self.client.find(Locator::Css(&menu)).await?.click().await?;
        let button = format!("#camera-menu {button}");
        Ok(self.client.find(Locator::Css(&button)).await?.click().await?)
    }

    /// Clicks on a camera's picture, once the tiles stand still.
    pub async fn click(&self, camera: &str) -> anyhow::Result<()> {
        self.until("tiles that stand still", |page| !page.moving).await?;
        let selector = format!("#grid article.tile[data-camera='{camera}'] .enlarge");
        Ok(self.client.find(Locator::Css(&selector)).await?.click().await?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // chromedriver leaves the browser running when it is killed, and of the browser's children
        // one writes its cache when it ends: all of them go, and then the profile.
        let mut ends = vec![self.pid.to_string()];
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten() {
            let children = thread.map(|thread| thread.path().join("children"));
            let children = children.and_then(std::fs::read_to_string).unwrap_or_default();
            ends.extend(children.split_whitespace().map(str::to_owned));
        }
        let _ = Command::new("kill").arg("-9").args(ends).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::remove_dir_all(self.folder.path()).is_err() && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// A command of the Chrome DevTools protocol, for what WebDriver lacks.
#[derive(Debug)]
struct Cdp(&'static str, Value);

impl WebDriverCompatibleCommand for Cdp {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "cmd": self.0, "params": self.1 }).to_string()))
    }
}

fn installed(program: &str, package: &str) -> anyhow::Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(program));
    found.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("{program} is not installed: `apt-get install {package}` (Debian) brings it")
    })
}

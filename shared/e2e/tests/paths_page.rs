//! The viewer's page while a robot's way out breaks and comes back, in a real browser: the pictures
//! come back by themselves, in the same page, and one session is left.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use rovercast_e2e::browser::{Browser, LOOK_EVERY};
use rovercast_e2e::lab::{Folder, PATIENCE, Program, gstreamer, open_sessions, robot_config};
use rovercast_e2e::net::{Host, Link, Loss, Net, TwoWays};
use rovercast_peer::start::now_us;
use tokio::time::{Instant, sleep};

type Outcome = anyhow::Result<()>;

const PORT: u16 = 8765;

/// Has the page note of each picture when it is shown, and when the newest that has come was captured; both
/// in milliseconds of the time of day.
const NOTE: &str = r"
    const done = arguments[arguments.length - 1];
    const NTP_TO_UNIX_MS = 2208988800000;
    const [shown, followed] = [window.shown = [], new WeakSet()];
    const captured = () => Math.max(0, ...witness.connections
      .flatMap((connection) => connection.getReceivers())
      .flatMap((receiver) => receiver.getSynchronizationSources())
      .map(({ captureTimestamp }) => (captureTimestamp ?? 0) - NTP_TO_UNIX_MS));
    const follow = (video) => video.requestVideoFrameCallback(() => {
      shown.push([performance.timeOrigin + performance.now(), captured()]);
      follow(video);
    });
    setInterval(() => {
      for (const video of document.querySelectorAll('#grid article.tile video')) {
        if (!followed.has(video)) follow(video);
        followed.add(video);
      }
    }, 10);
    done();
";

/// Gives what the page has noted.
const NOTED: &str = "arguments[arguments.length - 1](window.shown.splice(0));";

#[test]
fn a_page_sees_pictures_again_when_the_robot_has_another_way() -> Outcome {
    let Some(mut net) = Net::new()? else { return Ok(()) };
    gstreamer();
    let folder = Folder::new("paths-page")?;
    let TwoWays { robot, router, operator, wifi, lte, public } = TwoWays::new(&mut net)?;
    let (_broker, address) = router.broker(public, PORT)?;
    let config = robot_config("r", &[("c", 320, 240, 30)]);
    let mut sender = robot.robot(&folder, &config, &address)?;
    // One thread: what the browser's driver is told has to be told inside the host.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    operator.within(|| runtime.block_on(watch(&address, &robot, [wifi, lte], &mut sender)))?
}

async fn watch(address: &str, robot: &Host, links: [Link; 2], sender: &mut Program) -> Outcome {
    let browser = Browser::start("paths").await?;
    browser.open(&format!("http://{address}/")).await?;
    browser.picture_after("c", 0).await?;
    browser.ask(NOTE).await?;
    for outage in [Duration::ZERO, Duration::from_secs(3), Duration::ZERO] {
        let lost = in_use(&browser, &links).await?;
        if outage.is_zero() {
            robot.address_del(lost)?;
        } else {
            links.iter().try_for_each(Link::down)?;
            sleep(outage).await;
            links.iter().try_for_each(Link::up)?;
        }
        let usable_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
        browser.picture_after("c", now_us().unsigned_abs()).await?;
        let noted: Vec<(f64, f64)> = serde_json::from_value(browser.ask(NOTED).await?)?;
        let fresh = noted.iter().find(|(_, captured_ms)| *captured_ms > usable_ms);
        let (shown_ms, _) = fresh.with_context(|| format!("none after {usable_ms}: {noted:?}"))?;
        let took = (shown_ms - usable_ms) / 1e3;
        println!("{} lost, nothing for {outage:?}: back after {took:.2} s", lost.name());
        one_session(&browser, sender).await?;
        if outage.is_zero() {
            robot.address_add(lost)?;
        }
    }
    Ok(())
}

/// The link by which pictures come.
async fn in_use<'a>(browser: &Browser, links: &'a [Link; 2]) -> anyhow::Result<&'a Link> {
    // Counts anew.
    links.iter().try_for_each(|link| link.set_loss(Loss::None))?;
    browser.picture_after("c", now_us().unsigned_abs() + 1_000_000).await?;
    let [wifi, lte] = links;
    Ok(if wifi.count()?.offered > lte.count()?.offered { wifi } else { lte })
}

/// Waits until the page, and the robot, have one session and no more.
async fn one_session(browser: &Browser, sender: &mut Program) -> Outcome {
    browser.until("one session on the page", |page| page.open == 1).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = sender.output();
        if open_sessions(&output).len() == 1 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "sessions are left:\n{output}");
        sleep(LOOK_EVERY).await;
    }
}

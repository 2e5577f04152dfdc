//! The viewer's page while a robot's way out breaks and comes back, in a real browser: the pictures
//! come back by themselves, in the same page, and one session is left.

use std::time::Duration;

use anyhow::ensure;
use rovercast_e2e::browser::{Browser, LOOK_EVERY};
use rovercast_e2e::lab::{Folder, PATIENCE, Program, gstreamer, open_sessions, robot_config};
use rovercast_e2e::net::{Host, Link, Loss, Net, TwoWays};
use rovercast_peer::start::now_us;
use tokio::time::{Instant, sleep};

type Outcome = anyhow::Result<()>;

const PORT: u16 = 8765;

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
    for outage in [Duration::ZERO, Duration::from_secs(3), Duration::ZERO] {
        let lost = in_use(&browser, &links).await?;
        if outage.is_zero() {
            robot.address_del(lost)?;
        } else {
            links.iter().try_for_each(Link::down)?;
            sleep(outage).await;
            links.iter().try_for_each(Link::up)?;
        }
        let usable_us = now_us().unsigned_abs();
        browser.picture_after("c", usable_us).await?;
        let took = (now_us().unsigned_abs() - usable_us) as f64 / 1e6;
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

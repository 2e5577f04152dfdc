//! Ways between a robot and its operator that break and come back: the pictures do, too, by
//! themselves, and nothing is left behind.
//!
//! Everybody has a host. Each drill has its network, so that they run side by side. What a drill
//! measures is the time from the moment when there is a way again until a picture is seen that was
//! taken after that moment.

use std::thread::{scope, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, ensure};
use rovercast_e2e::coturn;
use rovercast_e2e::figures::Usage;
use rovercast_e2e::lab::{
    Folder, PATIENCE, Program, address_in, gstreamer, open_sessions, robot_config,
};
use rovercast_e2e::net::{Host, Link, Loss, Net, TwoWays, Viewer};
use rovercast_peer::start::now_us;

type Outcome = anyhow::Result<()>;

/// Pictures have to be back by then. Far more than it should take: hosts are slow at times.
const BOUND: Duration = Duration::from_secs(10);

/// How often it is looked at what nobody tells.
const LOOK: Duration = Duration::from_millis(50);

const DAY_S: f64 = 86_400.0;

/// The broker's port.
const PORT: u16 = 8765;

/// Who may use the TURN server.
const TURN: (&str, &str) = ("rover", "by-relay");

/// How a way out is lost.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// The address is taken away.
    Address,
    /// The device goes down.
    Device,
    /// Packets vanish and nobody is told. Where there is another way, the route changes.
    Silence,
}

/// A robot that one viewer watches.
struct Drill {
    name: String,
    robot: Host,
    router: Host,
    wifi: Link,
    lte: Link,
    /// The router's address that all reach.
    public: String,
    broker_config: String,
    broker: Option<Program>,
    turn: Option<Program>,
    sender: Program,
    viewer: Viewer,
    /// Lines that have been logged before what is looked at.
    logged: [usize; 2],
    folder: Folder,
    _net: Net,
}

impl Drill {
    /// One that has pictures. None where there can be no networks.
    fn start(name: &str, relayed: bool) -> anyhow::Result<Option<Self>> {
        let Some(mut net) = Net::new()? else { return Ok(None) };
        gstreamer();
        let folder = Folder::new("paths")?;
        let TwoWays { robot, router, operator, wifi, lte, public } = TwoWays::new(&mut net)?;
        let public = public.to_string();
        let mut config = format!("listen = \"{public}:{PORT}\"\ninsecure = true\n");
        if relayed {
            router.forward_no_udp()?;
            let (port, (user, password)) = (coturn::PORT, TURN);
            config += &format!(
                "[[ice_servers]]\nurls = [\"turn:{public}:{port}?transport=udp\"]\n\
                 username = \"{user}\"\ncredential = \"{password}\"\n"
            );
        }
        let turn = relayed.then(|| turn(&router, &folder, &public)).transpose()?;
        let broker_config = folder.write("signaling.toml", &config)?;
        let (broker, address) = broker(&router, &broker_config)?;
        let cameras = robot_config("r", &[("c", 320, 240, 30)]);
        let sender = robot.robot(&folder, &cameras, &address)?;
        let viewer = Viewer::start(&operator, &address, "r")?;
        Ok(Some(Self {
            name: name.to_owned(),
            robot,
            router,
            wifi,
            lte,
            public,
            broker_config,
            broker: Some(broker),
            turn,
            sender,
            viewer,
            logged: [0; 2],
            folder,
            _net: net,
        }))
    }

    /// Waits until all is as it should be before anything is lost.
    fn begin(&mut self) -> Outcome {
        // The first picture of all.
        self.fresh(0)?;
        self.steady()?;
        self.has_one_session()?;
        self.story(0, 0).map(drop)
    }

    /// Waits for pictures taken from now on, and steadily so.
    fn steady(&mut self) -> Outcome {
        self.fresh(now_us() + 1_000_000).map(drop)
    }

    /// The first picture taken after this moment. Returns when it was seen.
    fn fresh(&mut self, since_us: i64) -> anyhow::Result<i64> {
        let seen = self.viewer.taken_after(since_us);
        Ok(seen.with_context(|| format!("{}\n{}", self.name, self.sender.output()))?.at_us)
    }

    /// The link by which pictures come.
    fn in_use(&mut self) -> anyhow::Result<Link> {
        let links = [&self.wifi, &self.lte];
        links.iter().try_for_each(|link| link.set_loss(Loss::None))?;
        self.viewer.taken_after(now_us() + 1_000_000)?;
        let [wifi, lte] = links.map(|link| link.count().map(|count| count.offered));
        Ok(if wifi? > lte? { self.wifi.clone() } else { self.lte.clone() })
    }

    /// Loses one way out, while another may be left. To be undone by [`Self::restore`].
    fn lose(&self, link: &Link, way: Way, other: bool) -> Outcome {
        match way {
            Way::Address => self.robot.address_del(link),
            Way::Device => link.down(),
            Way::Silence => {
                link.set_blackhole(true)?;
                if other { self.robot.demote(link, true) } else { Ok(()) }
            }
        }
    }

    fn restore(&self, link: &Link, way: Way, other: bool) -> Outcome {
        match way {
            Way::Address => self.robot.address_add(link),
            Way::Device => link.up(),
            Way::Silence => {
                link.set_blackhole(false)?;
                if other { self.robot.demote(link, false) } else { Ok(()) }
            }
        }
    }

    /// Pictures are back in time after this moment, and in the end there is one session.
    fn recovers(&mut self, what: &str, usable_us: i64, bound: Duration) -> Outcome {
        let seen_us = self.fresh(usable_us)?;
        let earlier = self.viewer.seen().into_iter().map(|seen| seen.at_us);
        let last_us = earlier.filter(|at_us| *at_us < seen_us).max().unwrap_or(usable_us);
        let [took, gap] = [usable_us, last_us].map(|from_us| (seen_us - from_us) as f64 / 1e6);
        self.steady()?;
        self.has_one_session()?;
        let one = (now_us() - usable_us) as f64 / 1e6;
        let story = self.story(usable_us, seen_us)?;
        // At once: others print, too.
        println!(
            "{}, {what}: back after {took:.2} s; {gap:.2} s without a picture; one session within \
             {one:.1} s\n{story}",
            self.name
        );
        ensure!(took < bound.as_secs_f64(), "{}: back after {took:.2} s only\n{story}", self.name);
        Ok(())
    }

    /// Waits until the robot has exactly one session.
    fn has_one_session(&mut self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.sender.output();
            ensure!(!output.contains("panicked"), "{output}");
            let sessions = open_sessions(&output);
            if sessions.len() == 1 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{}: {sessions:?} in\n{output}", self.name);
            sleep(LOOK);
        }
    }

    /// What robot and viewer have logged since the last call, with the seconds since there was a
    /// way again, and the first fresh picture among it.
    fn story(&mut self, usable_us: i64, seen_us: i64) -> anyhow::Result<String> {
        let since_midnight = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() % DAY_S;
        let usable = since_midnight - (now_us() - usable_us) as f64 / 1e6;
        let sender: Vec<String> = self.sender.output().lines().map(str::to_owned).collect();
        let picture = (seen_us - usable_us) as f64 / 1e6;
        let mut news = vec![(picture, "viewer".to_owned(), "THE PICTURE".to_owned())];
        let logs = [("robot", sender), ("viewer", self.viewer.log()?)];
        for ((who, log), logged) in logs.into_iter().zip(&mut self.logged) {
            for line in log.iter().skip(*logged) {
                let Some((at, text)) = line.split_once("Z ") else { continue };
                let Some(at) = at.split_once('T').and_then(|(_, time)| seconds(time)) else {
                    continue;
                };
                // Midnight may lie between.
                let after = (at - usable + DAY_S / 2.0).rem_euclid(DAY_S) - DAY_S / 2.0;
                news.push((after, who.to_owned(), text.trim().to_owned()));
            }
            *logged = log.len();
        }
        news.sort_by(|a, b| a.0.total_cmp(&b.0));
        let lines =
            news.iter().map(|(at, who, text)| format!("    {at:+8.3} s {who:>6}: {text}\n"));
        Ok(lines.collect())
    }

    /// Threads and descriptors of robot and viewer.
    fn usage(&self) -> anyhow::Result<[Usage; 2]> {
        Ok([Usage::of(self.sender.pid())?, Usage::of(self.viewer.pid())?])
    }

    /// Waits until robot and viewer hold no more than they did.
    fn holds_no_more_than(&self, before: [Usage; 2]) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let after = self.usage()?;
            let is_back = before.iter().zip(&after).all(|(before, after)| {
                after.threads <= before.threads + 2 && after.descriptors <= before.descriptors + 3
            });
            let [robot, viewer] = [0, 1].map(|who| format!("{} -> {}", before[who], after[who]));
            if is_back {
                println!("{}: robot {robot}; viewer {viewer}", self.name);
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{}: robot {robot}; viewer {viewer}", self.name);
            sleep(LOOK);
        }
    }

    fn kill_broker(&mut self) -> Outcome {
        self.broker.take().context("no broker")?.kill()
    }

    fn restart_broker(&mut self) -> Outcome {
        self.broker = Some(broker(&self.router, &self.broker_config)?.0);
        Ok(())
    }
}

/// The broker on a host.
fn broker(host: &Host, config: &str) -> anyhow::Result<(Program, String)> {
    let mut broker = host.start("rovercast-signaling", &["--config", config])?;
    let address = broker.wait_for("address", address_in)?;
    Ok((broker, address))
}

/// A TURN server on a host, which serves once this returns.
fn turn(host: &Host, folder: &Folder, address: &str) -> anyhow::Result<Program> {
    let (port, (user, password)) = (coturn::PORT, TURN);
    let mut command = host.command("turnserver");
    command.args([
        "-n",
        "--no-cli",
        "--no-tls",
        "--no-dtls",
        "--log-file",
        "stdout",
        "--lt-cred-mech",
    ]);
    command.args(["--listening-ip", address, "--relay-ip", address, "--realm", "rovercast"]);
    command.args(["--listening-port", &port.to_string(), "--user", &format!("{user}:{password}")]);
    for (option, file) in [("--pidfile", "turn.pid"), ("--userdb", "turn.db")] {
        command.arg(option).arg(folder.path().join(file));
    }
    coturn::serving(host, address.parse()?, Program::spawn("turnserver", command)?)
}

/// The seconds in `HH:MM:SS.ffffff`.
fn seconds(time: &str) -> Option<f64> {
    time.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))
}

/// Runs drills side by side.
fn side_by_side(drills: Vec<Box<dyn FnOnce() -> Outcome + Send>>) -> Outcome {
    scope(|scope| {
        let running: Vec<_> = drills.into_iter().map(|drill| scope.spawn(drill)).collect();
        let ended: Vec<_> = running.into_iter().map(|drill| drill.join()).collect();
        let mut ended = ended.into_iter();
        ended.try_for_each(|ended| ended.map_err(|_| anyhow!("a drill panicked"))?)
    })
}

/// A robot whose two ways out are lost in turn, each while it is the one in use.
fn other_way(way: Way) -> Outcome {
    let Some(mut drill) = Drill::start(&format!("{way:?} lost"), false)? else { return Ok(()) };
    drill.begin()?;
    let mut before = None;
    for _ in 0..3 {
        let link = drill.in_use()?;
        drill.lose(&link, way, true)?;
        // By now nothing comes by it any more.
        drill.recovers(link.name(), now_us(), BOUND)?;
        drill.restore(&link, way, true)?;
        before = Some(before.map_or_else(|| drill.usage(), Ok)?);
    }
    drill.holds_no_more_than(before.context("no look at the programs")?)
}

#[test]
fn another_address_serves_when_the_one_in_use_is_lost() -> Outcome {
    let ways = [Way::Address, Way::Device, Way::Silence];
    side_by_side(ways.map(|way| Box::new(move || other_way(way)) as _).into())
}

/// A robot with one way out that is away for these times.
fn outages(way: Way, outages_s: &[u64]) -> Outcome {
    let Some(mut drill) = Drill::start(&format!("{way:?} away"), false)? else { return Ok(()) };
    drill.lte.down()?;
    drill.begin()?;
    let mut before = None;
    for &outage_s in outages_s {
        let link = drill.wifi.clone();
        drill.lose(&link, way, false)?;
        sleep(Duration::from_secs(outage_s));
        let usable_us = now_us();
        drill.restore(&link, way, false)?;
        drill.recovers(&format!("{outage_s} s"), usable_us, BOUND)?;
        before = Some(before.map_or_else(|| drill.usage(), Ok)?);
    }
    drill.holds_no_more_than(before.context("no look at the programs")?)
}

/// A robot that loses its only way out and the broker at once.
fn broker_and_way() -> Outcome {
    let Some(mut drill) = Drill::start("broker and way away", false)? else { return Ok(()) };
    drill.lte.down()?;
    drill.begin()?;
    let mut before = None;
    for way in [Way::Silence, Way::Device, Way::Silence] {
        let link = drill.wifi.clone();
        drill.kill_broker()?;
        drill.lose(&link, way, false)?;
        sleep(Duration::from_secs(6));
        drill.restart_broker()?;
        let usable_us = now_us();
        drill.restore(&link, way, false)?;
        drill.recovers(&format!("{way:?}"), usable_us, BOUND)?;
        before = Some(before.map_or_else(|| drill.usage(), Ok)?);
    }
    drill.holds_no_more_than(before.context("no look at the programs")?)
}

#[test]
fn pictures_are_back_when_the_only_way_and_the_broker_are() -> Outcome {
    side_by_side(vec![
        Box::new(|| outages(Way::Silence, &[3, 10, 3])),
        Box::new(|| outages(Way::Device, &[3, 10, 3])),
        Box::new(|| outages(Way::Silence, &[60])),
        Box::new(broker_and_way),
    ])
}

#[test]
fn pictures_are_back_when_the_relay_is() -> Outcome {
    if !coturn::is_there() {
        return Ok(());
    }
    let Some(mut drill) = Drill::start("relay killed", true)? else { return Ok(()) };
    drill.begin()?;
    let mut before = None;
    for _ in 0..3 {
        drill.turn.take().context("no TURN server")?.kill()?;
        drill.turn = Some(turn(&drill.router, &drill.folder, &drill.public)?);
        drill.recovers("restarted", now_us(), BOUND)?;
        before = Some(before.map_or_else(|| drill.usage(), Ok)?);
    }
    drill.holds_no_more_than(before.context("no look at the programs")?)
}

//! Paths by a real coturn, with the configuration that the repository carries and with credentials
//! that a real broker makes: for the browser and for the receiver, by UDP and by TCP; and that coturn
//! takes no others.
//!
//! Robot and operator have a host each. The router between them is where broker and coturn are, and
//! passes no UDP on: what media comes has come by coturn.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use rovercast_e2e::browser::Browser;
use rovercast_e2e::coturn;
use rovercast_e2e::lab::{Folder, Program, address_in, gstreamer, robot_config};
use rovercast_e2e::net::{Host, LinkSettings, Net, Viewer};
use rovercast_e2e::wire::RawPeer;
use rovercast_peer::start::now_us;
use rovercast_protocol::signaling::{IceServer, IceServers};
use serde::Deserialize;
use serde_json::{Value, json};

type Outcome = anyhow::Result<()>;

const SECRET: &str = "d2f6ac4c6bb0a2a1bb0d70ab0b4a4c1e\n";

/// Frames that make sure that the pictures move.
const SOME_FRAMES: u64 = 20;

/// For how long credentials are good, in seconds: long enough to be used on a host that is slow.
const SHORT_TTL_S: u32 = 15;

/// Gives the path by which media comes.
const PATH: &str = "
    const done = arguments[arguments.length - 1];
    const connected = ({ connectionState }) => connectionState === 'connected';
    witness.connections.find(connected).getStats().then((stats) => {
      const all = [...stats.values()];
      const transport = all.find(({ type }) => type === 'transport');
      const pair = stats.get(transport.selectedCandidatePairId);
      const { candidateType, relayProtocol, url } = stats.get(pair.localCandidateId);
      done({ kind: candidateType, protocol: relayProtocol, url, received: pair.bytesReceived });
    });
";

/// The path by which a browser gets its media.
#[derive(Debug, Deserialize)]
struct Path {
    kind: String,
    protocol: String,
    url: String,
    received: u64,
}

/// A robot and an operator who cannot reach each other but by coturn.
struct Lab {
    robot: Host,
    operator: Host,
    router: Host,
    /// The router's address that all reach.
    public: Ipv4Addr,
    folder: Folder,
    _net: Net,
}

impl Lab {
    /// One with its coturn. None where there can be no networks, or no coturn: that has been printed.
    fn new() -> anyhow::Result<Option<(Self, Program)>> {
        if !coturn::is_there() {
            return Ok(None);
        }
        let Some(mut net) = Net::new()? else { return Ok(None) };
        gstreamer();
        let folder = Folder::new("turn")?;
        let (robot, router) = (net.host("robot")?, net.router("router")?);
        let operator = net.host("operator")?;
        let radio = net.link("radio", &robot, &router, LinkSettings::default())?;
        let desk = net.link("desk", &operator, &router, LinkSettings::default())?;
        robot.uplink(&radio, 100)?;
        operator.uplink(&desk, 100)?;
        router.forward_no_udp()?;
        let public = desk.address_of(&router)?;
        let secret_file = folder.write("secret", SECRET)?;
        let coturn = coturn::start(&router, &folder, public, &secret_file)?;
        Ok(Some((Self { robot, operator, router, public, folder, _net: net }, coturn)))
    }

    /// A broker that makes credentials with this secret, for coturn by these transports.
    fn broker(
        &self,
        secret: &str,
        transports: &[&str],
        ttl_s: u32,
    ) -> anyhow::Result<(Program, String)> {
        let (public, port) = (self.public, coturn::PORT);
        let secret_file = self.folder.write("broker-secret", secret)?;
        let url = |transport: &&str| format!("turn:{public}:{port}?transport={transport}");
        let urls: Vec<_> = transports.iter().map(url).collect();
        let config = format!(
            "listen = \"{public}:0\"\ninsecure = true\n\
             [turn]\nsecret_file = \"{secret_file}\"\nurls = {urls:?}\nttl_s = {ttl_s}\n"
        );
        let config = self.folder.write("signaling.toml", &config)?;
        let mut broker = self.router.start("rovercast-signaling", &["--config", &config])?;
        let address = broker.wait_for("address", address_in)?;
        Ok((broker, address))
    }

    /// A robot at a broker.
    fn sender(&self, broker: &str) -> anyhow::Result<Program> {
        let mut sender =
            self.robot.robot(&self.folder, &robot_config("r", &[("c", 320, 240, 30)]), broker)?;
        sender.wait_for_text("camera live")?;
        Ok(sender)
    }

    /// Runs something that has connections on the operator's host.
    fn at_the_operator<T: Send>(
        &self,
        task: impl AsyncFnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        self.operator.within(|| {
            // Of one thread, that of the host: its sockets are made where it is.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(task())
        })?
    }

    /// Whether coturn takes these credentials, by UDP and by TCP, which are alike in this.
    fn takes(&self, server: &IceServer) -> anyhow::Result<bool> {
        let taken = |by_tcp| coturn::takes(&self.operator, self.public, server, by_tcp);
        let (by_udp, by_tcp) = (taken(false)?, taken(true)?);
        ensure!(by_udp == by_tcp, "by UDP: {by_udp}, by TCP: {by_tcp}");
        Ok(by_udp)
    }
}

/// The address of the viewer's page that takes no other path.
fn page(broker: &str) -> String {
    format!("http://{broker}/#robot=r&ice=relay")
}

/// The TURN server in what a broker says.
fn turn_server(said: Value) -> anyhow::Result<IceServer> {
    let servers: IceServers = serde_json::from_value(said)?;
    ensure!(servers.ice_servers_ttl_s == Some(SHORT_TTL_S), "{servers:?}");
    servers.ice_servers.into_iter().next().context("no server")
}

#[test]
fn the_browser_gets_pictures_by_the_relay_by_udp_and_by_tcp() -> Outcome {
    for transport in ["udp", "tcp"] {
        let Some((lab, _relay)) = Lab::new()? else { return Ok(()) };
        let (_broker, address) = lab.broker(SECRET, &[transport], 3600)?;
        let _sender = lab.sender(&address)?;
        let path = lab.at_the_operator(async || {
            let browser = Browser::start_on(&lab.operator, "turn").await?;
            browser.open(&page(&address)).await?;
            let begun = browser.until("a live camera", |page| page.all(1, "live")).await?;
            browser.until("pictures", |page| page.advanced(&begun, SOME_FRAMES)).await?;
            Ok(serde_json::from_value::<Path>(browser.ask(PATH).await?)?)
        })?;
        println!("{path:?}");
        ensure!((path.kind.as_str(), path.protocol.as_str()) == ("relay", transport), "{path:?}");
        ensure!(path.url.ends_with(&format!("?transport={transport}")), "{path:?}");
        ensure!(path.received > 0, "{path:?}");
    }
    Ok(())
}

#[test]
fn robot_and_receiver_find_each_other_by_the_relay_alone() -> Outcome {
    for transport in ["udp", "tcp"] {
        let Some((lab, _relay)) = Lab::new()? else { return Ok(()) };
        // To a port where nobody listens: by UDP nothing leaves at all.
        let port = if transport == "udp" { coturn::PORT } else { 9 };
        for host in [&lab.robot, &lab.operator] {
            host.send_no_udp_but_to(port)?;
        }
        let (_broker, address) = lab.broker(SECRET, &[transport], 3600)?;
        let mut sender = lab.sender(&address)?;
        let mut viewer = Viewer::start(&lab.operator, &address, "r")?;
        for _ in 0..SOME_FRAMES {
            let seen = viewer.taken_after(now_us());
            seen.with_context(|| format!("by {transport}: {}", sender.output()))?;
        }
    }
    Ok(())
}

#[test]
fn expired_credentials_are_refused_and_renewed_ones_taken_while_pictures_go_on() -> Outcome {
    let Some((lab, _relay)) = Lab::new()? else { return Ok(()) };
    let (_broker, address) = lab.broker(SECRET, &["udp", "tcp"], SHORT_TTL_S)?;
    lab.operator.send_no_udp_but_to(coturn::PORT)?;
    let sender = lab.sender(&address)?;
    let mut viewer = Viewer::start(&lab.operator, &address, "r")?;
    viewer.taken_after(now_us())?;
    lab.at_the_operator(async || {
        let mut peer = RawPeer::connect(&address).await?;
        let welcome = peer.hear("welcome").await?;
        let own_id = welcome["peerId"].as_str().context("no peer id")?.to_owned();
        let first = turn_server(welcome)?;
        ensure!(lab.takes(&first)?, "fresh credentials are refused");

        let user = first.username.clone().context("no user")?;
        let (expires_s, name) = user.split_once(':').context("no time in the user's name")?;
        ensure!(name == own_id, "{user} is not of peer {own_id}");
        let expired = UNIX_EPOCH + Duration::from_secs(expires_s.parse::<u64>()? + 1);
        let left = expired.duration_since(SystemTime::now()).unwrap_or_default();
        ensure!(left <= Duration::from_secs(u64::from(SHORT_TTL_S) + 1), "{left:?} are left");
        tokio::time::sleep(left).await;
        ensure!(!lab.takes(&first)?, "expired credentials are taken");

        peer.say(json!({"type": "getIceServers"})).await?;
        let renewed = turn_server(peer.hear("iceServers").await?)?;
        ensure!(lab.takes(&renewed)?, "renewed credentials are refused");
        Ok(())
    })?;
    // Made with credentials that have expired since.
    viewer.taken_after(now_us())?;
    drop(sender);
    Ok(())
}

#[test]
fn a_secret_that_is_not_coturns_relays_nothing_and_the_page_says_so() -> Outcome {
    let Some((lab, mut relay)) = Lab::new()? else { return Ok(()) };
    let (_broker, address) = lab.broker("another secret, of 32 bytes or so", &["udp"], 3600)?;
    let _sender = lab.sender(&address)?;
    let user = lab.at_the_operator(async || {
        let browser = Browser::start_on(&lab.operator, "turn-secret").await?;
        browser.open(&page(&address)).await?;
        let refused = |page: &rovercast_e2e::browser::Page| {
            page.problem.contains("refuses the broker's credentials")
                && page.problem.contains(&lab.public.to_string())
        };
        let page = browser.until("a word on the refusal", refused).await?;
        ensure!(page.tiles.iter().all(|tile| tile.frames == 0), "{page:?}");

        let mut peer = RawPeer::connect(&address).await?;
        let welcome: IceServers = serde_json::from_value(peer.hear("welcome").await?)?;
        let server = welcome.ice_servers.first().context("no server")?;
        ensure!(!lab.takes(server)?, "credentials made with another secret are taken");
        server.username.clone().context("no user")
    })?;
    // Whoever runs coturn learns which peer it was.
    relay.wait_for_text(&user)?;
    Ok(())
}

//! That the networks which other tests rely upon do what they promise.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rovercast_e2e::figures::percentile;
use rovercast_e2e::lab::Program;
use rovercast_e2e::net::path::{Path, PathSettings};
use rovercast_e2e::net::{Host, Link, LinkSettings, Loss, Net};

type Outcome = anyhow::Result<()>;

const PACKETS: u32 = 200;

/// Two hosts with a link of this kind between them.
fn pair(settings: LinkSettings) -> anyhow::Result<Option<(Net, [Host; 2], Link)>> {
    let Some(mut net) = Net::new()? else { return Ok(None) };
    let hosts = [net.host("a")?, net.host("b")?];
    let link = net.link("line", &hosts[0], &hosts[1], settings)?;
    Ok(Some((net, hosts, link)))
}

/// A socket of each host, connected with each other.
fn sockets(hosts: &[Host; 2], link: &Link) -> anyhow::Result<[UdpSocket; 2]> {
    let socket = |host: &Host| -> anyhow::Result<UdpSocket> {
        let address = link.address_of(host)?;
        let socket = host.within(|| UdpSocket::bind((address, 0)))??;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(socket)
    };
    let [a, b] = [socket(&hosts[0])?, socket(&hosts[1])?];
    a.connect(b.local_addr()?)?;
    b.connect(a.local_addr()?)?;
    Ok([a, b])
}

/// The next packet, four bytes long, at a socket. A process that is paused meanwhile goes on waiting.
fn receive(socket: &UdpSocket) -> anyhow::Result<[u8; 4]> {
    let mut packet = [0; 4];
    loop {
        match socket.recv(&mut packet) {
            Ok(length) => {
                ensure!(length == packet.len(), "{length} bytes came");
                return Ok(packet);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[test]
fn packets_are_under_way_for_as_long_as_they_should() -> Outcome {
    let delay = [Duration::from_millis(30), Duration::from_millis(10)];
    let settings = LinkSettings { delay, ..LinkSettings::default() };
    let Some((_net, hosts, link)) = pair(settings)? else { return Ok(()) };
    let [a, b] = sockets(&hosts, &link)?;
    for (from, to, delay) in [(&a, &b, delay[0]), (&b, &a, delay[1])] {
        let mut late_ms = Vec::new();
        for number in 0..PACKETS / 4 {
            let sent = Instant::now();
            from.send(&number.to_be_bytes())?;
            ensure!(receive(to)? == number.to_be_bytes(), "packets have changed places");
            let late = sent.elapsed().checked_sub(delay);
            late_ms.push(late.context("a packet was too fast")?.as_secs_f64() * 1000.0);
        }
        let [least, half, most] = [0.0, 0.5, 0.95].map(|part| percentile(&late_ms, part));
        println!("{delay:?}: {least:.2} ms later, p50 {half:.2} ms, p95 {most:.2} ms");
        // Of the one that nothing else on this computer made late.
        ensure!(least < 5.0, "{least} ms later than {delay:?}");
    }
    Ok(())
}

#[test]
fn what_gets_lost_is_counted_and_no_more_gets_lost() -> Outcome {
    for delay in [Duration::ZERO, Duration::from_millis(1)] {
        let settings = LinkSettings { delay: [delay; 2], ..LinkSettings::default() };
        let Some((_net, hosts, link)) = pair(settings)? else { return Ok(()) };
        let [a, b] = sockets(&hosts, &link)?;
        for (loss, expected) in [
            (Loss::None, 0..=0),
            (Loss::Every { packets: 10 }, PACKETS / 10..=PACKETS / 10),
            (Loss::Random { per_mille: 200 }, 5..=PACKETS / 2),
            (Loss::All, PACKETS..=PACKETS),
        ] {
            link.set_loss(loss)?;
            for number in 0..PACKETS {
                a.send(&number.to_be_bytes())?;
            }
            // What comes last is not lost: it tells that all others have come.
            let deadline = Instant::now() + Duration::from_secs(20);
            while link.count()?.offered < u64::from(PACKETS) {
                ensure!(Instant::now() < deadline, "{loss:?}: {:?}", link.count()?);
            }
            let count = link.count()?;
            link.set_loss(Loss::None)?;
            a.send(&u32::MAX.to_be_bytes())?;
            let mut received = 0;
            while receive(&b)? != u32::MAX.to_be_bytes() {
                received += 1;
            }
            ensure!(expected.contains(&(PACKETS - received)), "{loss:?}: {received} of {PACKETS}");
            ensure!(count.lost == u64::from(PACKETS - received), "{loss:?}: {count:?}");
            ensure!(count.offered == u64::from(PACKETS) && count.refused == 0, "{count:?}");
        }
    }
    Ok(())
}

#[test]
fn a_slow_link_is_slow() -> Outcome {
    let settings = LinkSettings {
        rate_kbps: Some(1000),
        queue: Duration::from_secs(10),
        ..LinkSettings::default()
    };
    let Some((_net, hosts, link)) = pair(settings)? else { return Ok(()) };
    let [a, b] = sockets(&hosts, &link)?;
    let begun = Instant::now();
    for _ in 0..100 {
        a.send(&[0; 1222])?;
    }
    // Longer ones than fit are cut.
    for _ in 0..100 {
        receive(&b)?;
    }
    // 100 packets of 1250 bytes (with headers) at 1 Mbit/s are one second, but for the burst.
    let took = begun.elapsed();
    println!("1 Mbit took {took:?} at 1 Mbit/s");
    ensure!(took > Duration::from_millis(900), "{took:?}");
    Ok(())
}

#[test]
fn of_two_ways_out_the_other_is_taken_when_one_is_gone() -> Outcome {
    let Some(mut net) = Net::new()? else { return Ok(()) };
    let (robot, router) = (net.host("robot")?, net.router("router")?);
    let wifi = net.link("wifi", &robot, &router, LinkSettings::default())?;
    let lte = net.link("lte", &robot, &router, LinkSettings::default())?;
    robot.uplink(&wifi, 100)?;
    robot.uplink(&lte, 200)?;
    let way = || robot.ip("route get 198.51.100.1");
    ensure!(way()?.contains("dev wifi"), "{}", way()?);
    for step in ["address", "device", "route"] {
        match step {
            "address" => robot.address_del(&wifi)?,
            "device" => wifi.down()?,
            _ => robot.demote(&wifi, true)?,
        }
        ensure!(way()?.contains("dev lte"), "without {step}: {}", way()?);
        match step {
            "address" => robot.address_add(&wifi)?,
            "device" => wifi.up()?,
            _ => robot.demote(&wifi, false)?,
        }
        ensure!(way()?.contains("dev wifi"), "with {step}: {}", way()?);
    }
    Ok(())
}

#[test]
fn nothing_is_left_of_a_network_not_even_its_programs() -> Outcome {
    let Some(mut net) = Net::new()? else { return Ok(()) };
    let host = net.host("short-lived")?;
    let name = host.namespace().to_owned();
    let listed = || -> anyhow::Result<bool> {
        let list = Command::new("ip").args(["netns", "list"]).output()?;
        Ok(String::from_utf8_lossy(&list.stdout).contains(&name))
    };
    ensure!(listed()?, "{name} is not there");
    let mut command = host.command("sh");
    command.args(["-c", "echo inside; exec sleep 600"]);
    let mut sleeper = Program::spawn("sleeper", command)?;
    sleeper.wait_for_text("inside")?;
    let listener = host.within(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 9)))??;
    let panicked = std::thread::spawn(move || {
        let _net = net;
        panic!("as a test does that fails");
    });
    ensure!(panicked.join().is_err(), "it should have panicked");
    ensure!(!sleeper.wait()?.success(), "the program was not ended");
    ensure!(!listed()?, "{name} is left");
    drop(listener);
    Ok(())
}

#[test]
fn all_reach_the_broker_of_a_path_and_none_too_fast() -> Outcome {
    let round_trip = Duration::from_millis(40);
    let settings =
        PathSettings { round_trip, loss: Loss::Random { per_mille: 500 }, rate_kbps: Some(5000) };
    let Some(path) = Path::new(settings)? else { return Ok(()) };
    let address: SocketAddr = path.broker_address.parse()?;
    for (host, at_least) in [(&path.robot, round_trip), (&path.operator, Duration::ZERO)] {
        let begun = Instant::now();
        host.within(|| TcpStream::connect_timeout(&address, Duration::from_secs(20)))??;
        let took = begun.elapsed();
        ensure!(took >= at_least, "{took:?}");
    }
    Ok(())
}

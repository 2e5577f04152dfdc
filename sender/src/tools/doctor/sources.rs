//! Whether a camera's source is there. Opens nothing that somebody else has open.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use gst::prelude::*;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::usb;
use crate::camera::v4l2::{self, Capture};
use crate::config::{CameraConfig, Rotation, Source, V4l2Format};
use crate::tools::address::of_url;
use crate::tools::doubts::eyes;
use crate::tools::finding::Finding;
use crate::tools::formats;
use crate::tools::nodes::{self, Holder, Holders};

/// A device or a server answers within this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sender's name as the kernel shortens it.
const SENDER: &str = "rovercast-sende";

/// They open every camera to list it, and stream from none by themselves.
const LISTING: [&str; 2] = ["pipewire", "wireplumber"];

/// What was seen of a camera's source.
#[derive(Debug, Default)]
pub struct Seen {
    /// What to say of it.
    pub findings: Vec<Finding>,
    /// Its devices on USB.
    pub usb: Vec<usb::Camera>,
    /// Whether a sender has one of its devices open.
    pub streams: bool,
}

/// Looks at all that a camera's pictures come from. `senders` are the senders that run here.
pub async fn look(camera: &CameraConfig, senders: &[u32]) -> Seen {
    let mut seen = Seen::default();
    for source in eyes(&camera.source) {
        let finding = match source {
            Source::V4l2 { device, format } => {
                v4l2_device(camera, device, *format, &mut seen).await;
                continue;
            }
            Source::File { path } => file(path),
            Source::Rtsp { url, .. } => {
                reach(&url.0, if url.0.starts_with("rtsps") { 322 } else { 554 }).await
            }
            Source::Http { url } => {
                reach(&url.0, if url.0.starts_with("https") { 443 } else { 80 }).await
            }
            Source::Srt { listen, .. } => {
                listening(*listen, UdpSocket::bind(listen).await.err(), "UDP", senders)
            }
            Source::Rtmp { listen, .. } => {
                listening(*listen, TcpListener::bind(listen).await.err(), "TCP", senders)
            }
            Source::Launch { launch } => fragment(launch),
            _ => continue,
        };
        seen.findings.push(finding);
    }
    seen.findings = seen.findings.into_iter().map(|finding| finding.of(&camera.id)).collect();
    seen
}

async fn v4l2_device(camera: &CameraConfig, device: &Path, format: V4l2Format, seen: &mut Seen) {
    let name = device.display();
    if let Err(error) = device.metadata() {
        let text = format!("{name} is not there: {error}");
        let remedy = "plug it in; `rovercast-sender devices` lists what is there";
        return seen.findings.push(Finding::fail("device", text, remedy));
    }
    seen.findings.push(stable(device));
    if let Err(remedy) = nodes::permission(device) {
        let text = format!("{name} may not be opened by this user");
        return seen.findings.push(Finding::fail("permission", text, remedy));
    }
    let holders = nodes::holders(device);
    seen.streams |= holders.seen.iter().any(|holder| holder.name == SENDER);
    seen.findings.push(held(device, &holders));
    let wanted = wanted(camera);
    let passive = |holder: &Holder| LISTING.contains(&holder.name.as_str());
    let capture = if holders.seen.iter().all(passive) {
        let (finding, capture) = offered(device, format, wanted).await;
        seen.findings.push(finding);
        capture
    } else {
        None
    };
    let asked = capture.or(match format {
        V4l2Format::Auto => None,
        V4l2Format::Raw => Some(Capture::Raw),
        V4l2Format::Mjpeg => Some(Capture::Mjpeg),
        V4l2Format::H264 => Some(Capture::H264),
    });
    let place = usb::place(Path::new("/sys/class/video4linux"), device);
    if let (Some(place), Some(capture)) = (place, asked) {
        seen.usb.push(usb::Camera { id: camera.id.to_string(), place, capture, picture: wanted });
    }
}

/// What the device is asked for: the picture before it is turned, one eye's half of it.
fn wanted(camera: &CameraConfig) -> (u32, u32, u32) {
    let &CameraConfig { width, height, fps, .. } = camera;
    let turned = matches!(camera.picture.rotate, Rotation::Quarter | Rotation::ThreeQuarters);
    let (width, height) = if turned { (height, width) } else { (width, height) };
    match camera.source {
        Source::Stereo { .. } => (width / 2, height, fps),
        _ => (width, height, fps),
    }
}

/// It is there; by a name that stays?
fn stable(device: &Path) -> Finding {
    let name = device.display();
    let numbered = device.to_str().is_some_and(|name| name.starts_with("/dev/video"));
    let names = nodes::stable_names(Path::new(nodes::NAMES), device);
    match names.first().filter(|_| numbered) {
        Some(stable) => Finding::warn(
            "device",
            format!("{name} is there, and may be another camera after the next start"),
            format!("write device = {:?}", stable.display().to_string()),
        ),
        None => Finding::ok("device", format!("{name} is there")),
    }
}

/// Who has it open. Pure.
fn held(device: &Path, holders: &Holders) -> Finding {
    let name = device.display();
    let Holders { seen, hidden } = holders;
    let people: Vec<_> =
        seen.iter().map(|Holder { pid, name }| format!("{name} (process {pid})")).collect();
    let people = people.join(", ");
    let all = |names: &[&str]| seen.iter().all(|holder| names.contains(&holder.name.as_str()));
    match (seen.len(), hidden) {
        (0, 0) => Finding::ok("in-use", format!("nobody has {name} open")),
        (0, hidden) => Finding::ok(
            "in-use",
            format!(
                "nobody is seen to have {name} open; {hidden} processes of others were not \
                     looked into (run this with sudo to see them)"
            ),
        ),
        _ if all(&[SENDER]) => Finding::ok("in-use", format!("{name} is open in {people}")),
        _ if all(&LISTING) => {
            Finding::ok("in-use", format!("{name} is open in {people}, which only list it"))
        }
        _ => Finding::fail(
            "in-use",
            format!("{name} is held by {people}"),
            "stop it: a camera streams to one program at a time",
        ),
    }
}

/// What it offers of what is wanted, and what it would be asked for.
async fn offered(
    device: &Path,
    format: V4l2Format,
    wanted: (u32, u32, u32),
) -> (Finding, Option<Capture>) {
    let (name, node) = (device.display(), device.to_owned());
    let (answer, asked) = oneshot::channel();
    // A thread of its own: a driver that hangs must not keep the program from ending.
    std::thread::spawn(move || answer.send(v4l2::offered(&node)));
    let caps = match timeout(PATIENCE, asked).await {
        Ok(Ok(Ok(caps))) => caps,
        Ok(Ok(Err(reason))) => {
            let text = format!("{name} does not say what it offers: {reason}");
            let remedy = "is it a camera? `rovercast-sender devices` lists them";
            return (Finding::fail("format", text, remedy), None);
        }
        _ => {
            let text = format!("{name} does not answer within {PATIENCE:?}");
            let remedy = "unplug it and plug it in again; look into `sudo dmesg`";
            return (Finding::fail("format", text, remedy), None);
        }
    };
    match v4l2::choose(format, &caps, wanted) {
        Ok(capture) => (suits(&caps, capture, wanted), Some(capture)),
        Err(reason) => {
            (Finding::fail("format", format!("{name}: {reason}"), "choose another format"), None)
        }
    }
}

/// Whether what it is asked for comes as large and as fast as wanted.
fn suits(caps: &gst::CapsRef, capture: Capture, (width, height, fps): (u32, u32, u32)) -> Finding {
    let (media, what) = match capture {
        Capture::Raw => ("video/x-raw", "raw pictures"),
        Capture::Mjpeg => ("image/jpeg", "MJPEG"),
        Capture::H264 => ("video/x-h264", "H.264"),
    };
    let of_media = caps.iter().filter(|structure| structure.name() == media);
    let of_media: gst::Caps = of_media.map(|structure| structure.to_owned()).collect();
    let offers = formats::of_caps(&of_media);
    let suits = offers.iter().any(|offer| {
        let size = (offer.width, offer.height) == (width, height)
            || offer.range && offer.width >= width && offer.height >= height;
        size && offer.fps.round() >= f64::from(fps)
    });
    let wanted = format!("{width}x{height} at {fps}");
    if suits {
        return Finding::ok("format", format!("it gives {what} of {wanted}"));
    }
    let offers: Vec<_> = offers.iter().take(6).map(ToString::to_string).collect();
    Finding::warn(
        "format",
        format!("it gives no {what} of {wanted}, but {}", offers.join(", ")),
        "set width, height and fps to one of these; others are scaled",
    )
}

fn file(path: &Path) -> Finding {
    match std::fs::File::open(path) {
        Ok(_) => Finding::ok("file", format!("{} is there", path.display())),
        Err(error) => Finding::fail(
            "file",
            format!("{} cannot be read: {error}", path.display()),
            "correct source.path, or its permissions",
        ),
    }
}

/// Whether the server of a URL takes connections. What is told of it holds no password.
async fn reach(url: &str, port: u16) -> Finding {
    let Some((host, port)) = of_url(url, port) else {
        return Finding::fail("server", "the URL has no host in it", "correct source.url");
    };
    let reason = match timeout(PATIENCE, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => return Finding::ok("server", format!("{host}:{port} takes connections")),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {PATIENCE:?}"),
    };
    let remedy = "switch the camera on, and look whether this computer is in its network";
    Finding::fail("server", format!("{host}:{port} cannot be reached: {reason}"), remedy)
}

/// What came of an attempt to listen. Pure.
fn listening(
    listen: SocketAddr,
    error: Option<std::io::Error>,
    protocol: &str,
    senders: &[u32],
) -> Finding {
    let address = format!("{protocol} {listen}");
    match error {
        None => Finding::ok("listen", format!("{address} is free to listen on")),
        Some(error) if error.kind() == std::io::ErrorKind::AddrInUse && !senders.is_empty() => {
            Finding::ok("listen", format!("{address} is in use, and a sender runs here"))
        }
        Some(error) => Finding::fail(
            "listen",
            format!("{address} cannot be listened on: {error}"),
            "choose another address (`ss -lptu` says who has it)",
        ),
    }
}

/// Whether a fragment makes elements. It is built and not started.
fn fragment(launch: &str) -> Finding {
    match gst::parse::bin_from_description(launch.trim().trim_end_matches('!'), false) {
        Ok(bin) => {
            let _ = bin.set_state(gst::State::Null);
            Finding::ok("launch", "the fragment can be built")
        }
        Err(error) => Finding::fail(
            "launch",
            format!("the fragment cannot be built: {}", error.message()),
            "correct source.launch, or install the package with the element",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::finding::Severity;
    use std::str::FromStr;

    fn holders(names: &[&str], hidden: usize) -> Holders {
        let holder = |name: &&str| Holder { pid: 7, name: (*name).to_owned() };
        Holders { seen: names.iter().map(holder).collect(), hidden }
    }

    #[test]
    fn who_holds_a_device_is_told() {
        let device = Path::new("/dev/video0");
        for (names, hidden, severity, says) in [
            (&[][..], 0, Severity::Ok, "nobody has"),
            (&[], 3, Severity::Ok, "3 processes of others"),
            (&["cheese"], 3, Severity::Fail, "held by cheese (process 7)"),
            (&[SENDER], 0, Severity::Ok, "is open in rovercast-sende (process 7)"),
            (&["pipewire", "wireplumber"], 0, Severity::Ok, "only list it"),
            (&["pipewire", "cheese"], 0, Severity::Fail, "cheese"),
        ] {
            let finding = held(device, &holders(names, hidden));
            assert_eq!(finding.severity, severity, "{finding}");
            assert!(finding.text.contains(says), "{finding}");
        }
    }

    #[test]
    fn what_a_camera_does_not_give_is_told_with_what_it_gives() {
        gst::init().unwrap();
        let caps = gst::Caps::from_str(
            "video/x-raw,format=YUY2,width=640,height=480,framerate=30/1;\
             image/jpeg,width=1280,height=720,framerate=30/1",
        )
        .unwrap();
        assert_eq!(suits(&caps, Capture::Raw, (640, 480, 30)).severity, Severity::Ok);
        let finding = suits(&caps, Capture::Raw, (1280, 720, 30));
        assert_eq!(finding.severity, Severity::Warn);
        assert!(finding.text.ends_with("but YUY2 640x480 at 30"), "{finding}");
    }

    #[test]
    fn a_device_is_asked_for_the_picture_before_it_is_turned() {
        let asked = |source: &str| {
            let text = format!(
                "[robot]\nid = \"r\"\n[[camera]]\nid = \"c\"\nsource = {source}\n\
                 width = 480\nheight = 640\npicture = {{ rotate = 90 }}\n"
            );
            wanted(&crate::config::Config::parse("t", &text).unwrap().camera[0])
        };
        let eye = "{ type = \"v4l2\", device = \"/dev/video0\" }";
        assert_eq!(asked(eye), (640, 480, 30));
        let stereo = format!("{{ type = \"stereo\", left = {eye}, right = {eye} }}");
        assert_eq!(asked(&stereo), (320, 480, 30));
    }

    #[test]
    fn an_address_in_use_is_fine_for_a_sender_alone() {
        let listen = "127.0.0.1:1935".parse().unwrap();
        let in_use = || Some(std::io::Error::from(std::io::ErrorKind::AddrInUse));
        assert_eq!(listening(listen, in_use(), "TCP", &[7]).severity, Severity::Ok);
        assert_eq!(listening(listen, in_use(), "TCP", &[]).severity, Severity::Fail);
        assert_eq!(listening(listen, None, "TCP", &[]).severity, Severity::Ok);
    }
}

//! RTMP with ffmpeg, GStreamer, and whoever else finds the port.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use rovercast_feeders::{Feeder, Video, ffmpeg, free_address};
use rovercast_sender::camera::inputs::h264::{Reason, Verdict};
use rovercast_sender::camera::inputs::network::Media;
use rovercast_sender::camera::inputs::rtmp::RtmpListener;
use rovercast_sender::camera::inputs::streams::Origin;
use rovercast_sender::config::{Secret, Source};
use rtmp_runtime::client::{ClientConfig, ClientSession};
use rtmp_runtime::server::ServerSession;

use crate::support::{Attempt, Told, runtime};

const KEY: &str = "right-key";

fn origin(listen: SocketAddr) -> Origin {
    Origin::new(Source::Rtmp { listen, key: Secret(KEY.to_owned()) })
}

fn publish(width: u32, b_frames: u32, to: SocketAddr, key: &str) -> Feeder {
    let video = Video { b_frames, ..Video::of_width(width) };
    Feeder::ffmpeg(video, &["-f", "flv", &format!("rtmp://{to}/live/{key}")]).unwrap()
}

fn width(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::PassThrough(stream) => stream.width,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_b_frames_it_passes_and_the_next_sender_is_taken() {
    let (runtime, address) = (runtime(), free_address().unwrap());
    let origin = origin(address);
    let attempt = Attempt::start(&origin, &runtime);
    let first = publish(320, 0, address, KEY);
    assert_eq!(attempt.wait(|told| Some(told.clone())), Told::Arrived(Media::H264));
    assert_eq!(width(attempt.verdict()), 320);
    attempt.pictures(30);
    drop(first);
    assert!(attempt.end().contains("RTMP sender"));

    // Between two attempts a sender waits, and no picture of it is lost.
    let rest = format!("flvmux streamable=true ! rtmp2sink location=rtmp://{address}/live/{KEY}");
    let _second = Feeder::gst_launch(352, &rest).unwrap();
    drop(attempt);
    let attempt = Attempt::start(&origin, &runtime);
    assert_eq!(width(attempt.verdict()), 352);
    attempt.pictures(30);
}

#[test]
fn b_frames_are_transcoded() {
    let (runtime, address) = (runtime(), free_address().unwrap());
    let origin = origin(address);
    let attempt = Attempt::start(&origin, &runtime);
    let _sender = publish(320, 2, address, KEY);
    assert_eq!(attempt.verdict(), Verdict::Transcode(Reason::Reordered));
    attempt.pictures(30);
}

#[test]
fn only_the_right_key_publishes_and_its_newest_sender() {
    let (runtime, address) = (runtime(), free_address().unwrap());
    let origin = origin(address);
    let attempt = Attempt::start(&origin, &runtime);
    for key in ["wrong-key", "", "right-key2", "right-ke"] {
        assert!(!publish(320, 0, address, key).wait().unwrap(), "{key} was taken");
    }
    assert!(attempt.nothing_told());

    let dead = publish(320, 0, address, KEY);
    assert_eq!(width(attempt.verdict()), 320);
    dead.freeze().unwrap();
    let _alive = publish(352, 0, address, KEY);
    let stream = attempt.wait(|told| match told {
        Told::Verdict(Verdict::PassThrough(stream)) => Some(*stream),
        _ => None,
    });
    assert_eq!(stream.width, 352);
    attempt.pictures(30);
}

#[test]
fn another_codec_is_named() {
    let (runtime, address) = (runtime(), free_address().unwrap());
    let origin = origin(address);
    let attempt = Attempt::start(&origin, &runtime);
    let mut command: Command = ffmpeg();
    command
        .args(["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=30", "-c:v", "flv1"])
        .args(["-f", "flv", &format!("rtmp://{address}/live/{KEY}")]);
    let _sender = Feeder::spawn(command).unwrap();
    let reason = attempt.end();
    assert!(reason.contains("Sorenson H.263: set it to H.264"), "{reason}");
}

/// What a right sender says from its first byte to the start of its stream.
fn conversation() -> Vec<u8> {
    let mut said = Vec::new();
    let mut server = ServerSession::with_defaults();
    let mut config = ClientConfig::default();
    (config.app, config.stream_key) = ("live".to_owned(), KEY.to_owned());
    let mut client = ClientSession::new(config);
    let mut to_server = client.start();
    while !to_server.is_empty() {
        said.extend_from_slice(&to_server);
        let (to_client, _) = server.handle_data(&to_server).unwrap();
        to_server = client.handle_data(&to_client).unwrap().0;
    }
    said
}

#[test]
fn garbage_harms_nothing() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(panic);
    }));
    let runtime = runtime();
    let key = Secret(KEY.to_owned());
    let listener =
        RtmpListener::bind("127.0.0.1:0".parse().unwrap(), key, runtime.handle()).unwrap();
    let (address, right) = (listener.address(), conversation());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let right = &right;
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(thread);
                for _ in 0..CONNECTIONS / THREADS {
                    say(address, &spoilt(right, &mut random));
                }
            });
        }
    });
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    let reply = say(address, &right);
    let start = b"NetStream.Publish.Start";
    assert!(reply.windows(start.len()).any(|part| part == start), "the right one is not heard");
}

const CONNECTIONS: u64 = 3000;
const THREADS: u64 = 8;

fn spoilt(right: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = right.to_vec();
    let at = random.random_range(0..bytes.len());
    match random.random_range(0..4) {
        0 => bytes.truncate(at),
        1 => random.fill_bytes(&mut bytes[at..]),
        // The handshake is any bytes: what is said after it can go wrong.
        2 => random.fill_bytes(&mut bytes[HANDSHAKE..]),
        _ => {
            for _ in 0..random.random_range(1..10) {
                let at = random.random_range(HANDSHAKE..bytes.len());
                bytes[at] = random.random();
            }
        }
    }
    bytes
}

const HANDSHAKE: usize = 1 + 2 * 1536;

/// Says it and listens to the end. The other end may close the connection at any byte.
fn say(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    reply
}

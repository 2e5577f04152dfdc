//! Streams from a web server, which is ffmpeg.

use std::net::SocketAddr;

use rovercast_feeders::{Feeder, Video, ffmpeg, free_address};
use rovercast_sender::camera::inputs::h264::{Reason, Verdict};
use rovercast_sender::camera::inputs::network::Media;
use rovercast_sender::camera::inputs::streams::Origin;
use rovercast_sender::config::{Secret, Source};

use crate::support::{Attempt, Told, runtime};

/// An attempt; another one as long as the server is not there yet.
fn attempt(address: SocketAddr, runtime: &tokio::runtime::Runtime) -> (Attempt, Media) {
    let origin = Origin::new(Source::Http { url: Secret(format!("http://{address}/")) });
    loop {
        let attempt = Attempt::start(&origin, runtime);
        let first = attempt.wait(|told| Some(told.clone()));
        match first {
            Told::Arrived(media) => return (attempt, media),
            Told::Failed(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn multipart_jpeg_is_decoded() {
    let (runtime, address) = (runtime(), free_address().unwrap());
    let mut server = ffmpeg();
    server
        .args(["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=30", "-c:v", "mjpeg"])
        .args(["-f", "mpjpeg", "-listen", "1", &format!("http://{address}/")]);
    let server = Feeder::spawn(server).unwrap();
    let (attempt, media) = attempt(address, &runtime);
    assert_eq!(media, Media::Encoded);
    attempt.pictures(30);
    drop(server);
    attempt.end();
}

#[test]
fn transport_streams_and_files_are_taken_apart() {
    for (format, b_frames, passes) in [("mpegts", 0, true), ("matroska", 2, false)] {
        let (runtime, address) = (runtime(), free_address().unwrap());
        let url = format!("http://{address}/");
        let video = Video { b_frames, ..Video::of_width(320) };
        let _server = Feeder::ffmpeg(video, &["-f", format, "-listen", "1", &url]).unwrap();
        let (attempt, media) = attempt(address, &runtime);
        assert_eq!(media, Media::H264, "{format}");
        match attempt.verdict() {
            Verdict::PassThrough(stream) => assert!(passes && stream.width == 320, "{format}"),
            other => {
                assert!(!passes && other == Verdict::Transcode(Reason::Reordered), "{other:?}")
            }
        }
        attempt.pictures(10);
    }
}

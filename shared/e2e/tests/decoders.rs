//! The receiver's decoders, on twins of each platform's: which one is used and how, that none holds
//! a picture back, and that the next takes over where one does not work, in the same view and the
//! same session.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use gst::prelude::*;
use rovercast_e2e::lab::{Folder, PATIENCE, broker, gstreamer, robot_config, robot_in};
use rovercast_e2e::watcher::Watcher;
use rovercast_peer::start::{log_to_stderr, now};
use rovercast_protocol::codec::Codec;
use rovercast_protocol::pixelclock::Reading;
use rovercast_receiver::decode::{DecodeSettings, Decoders, way};
use rovercast_receiver::output::Output;
use rovercast_receiver::turns::Turn;
use rovercast_receiver::view::{Entrance, View, ViewFailed};
use rovercast_twins::place::environment;
use rovercast_twins::{BROKEN, HANG, HANG_OPENING, SWALLOW};
use tokio::sync::mpsc;

type Outcome = anyhow::Result<()>;

/// Set in the child.
const CHILD: &str = "ROVERCAST_DECODERS_TEST_CHILD";

/// No more than this may be missing where a decoder fails in the middle; a second would be much on
/// a host that has nothing else to do.
const MISSING: Duration = Duration::from_secs(4);

/// Runs this test once more, in a process in which these platforms' decoders exist. Returns what
/// it printed; in that process itself, nothing.
fn child(test: &str, platforms: &str, more: &[(&str, &str)]) -> anyhow::Result<Option<String>> {
    if std::env::var_os(CHILD).is_some() {
        log_to_stderr("info,rovercast_receiver=debug");
        gstreamer();
        return Ok(None);
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args([test, "--exact", "--nocapture"]);
    command.envs(environment(platforms)?).envs(more.iter().copied()).env(CHILD, "1");
    let output = command.output()?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let sound = output.status.success() && !printed.contains("CRITICAL");
    ensure!(sound, "with {platforms}, {more:?}:\n{printed}");
    Ok(Some(printed))
}

/// Access units of some pictures as depayloaders give them: nothing is told of profile and size.
fn access_units(codec: Codec) -> anyhow::Result<Vec<gst::Buffer>> {
    let encoder = match codec {
        Codec::H264 => "x264enc tune=zerolatency speed-preset=ultrafast ! h264parse",
        Codec::H265 => "x265enc tune=zerolatency speed-preset=ultrafast ! h265parse",
        Codec::Vp8 => "vp8enc deadline=1",
    };
    let access_units = way(codec).access_units;
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc num-buffers=40 ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! {encoder} ! {access_units} ! appsink name=out sync=false"
    ))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
    let out = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().context("no sink")?;
    pipeline.set_state(gst::State::Playing)?;
    let mut units = Vec::new();
    while let Ok(sample) = out.pull_sample() {
        units.push(sample.buffer_owned().context("an empty sample")?);
    }
    pipeline.set_state(gst::State::Null)?;
    ensure!(units.len() == 40, "{} access units", units.len());
    Ok(units)
}

/// Gives an access unit to a view as one that has just come. False when a key frame is asked for.
fn push(entrance: &mut Entrance, codec: Codec, unit: &gst::Buffer) -> anyhow::Result<bool> {
    let mut unit = unit.clone();
    let unit_ref = unit.make_mut();
    unit_ref.set_pts(now());
    unit_ref.set_dts(gst::ClockTime::NONE);
    let caps: gst::Caps = way(codec).access_units.parse()?;
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    let sample = gst::Sample::builder().buffer(&unit).caps(&caps).segment(&segment).build();
    Ok(entrance.push(&sample))
}

/// A view, and the failures that it reports.
fn view(
    codec: Codec,
    output: &Output,
    settings: &DecodeSettings,
) -> anyhow::Result<(View, mpsc::Receiver<ViewFailed>)> {
    let (failures_tx, failures) = mpsc::channel(64);
    let decoders = Arc::new(Decoders::new(settings));
    let view = View::start(&"c".parse()?, codec, output, &decoders, failures_tx);
    Ok((view.map_err(anyhow::Error::msg)?, failures))
}

/// In the child: this decoder is the one, gives system memory, and a picture for each access unit
/// before the next one comes.
fn gives_each_picture_at_once(codec: Codec, decoder: &str) -> Outcome {
    let pictures = Arc::new(AtomicUsize::new(0));
    let counted = pictures.clone();
    let output = Output::Pictures(Arc::new(move |_, sample| {
        let features = sample.caps().and_then(|caps| caps.features(0));
        let plain = features
            .is_none_or(|features| features.is_empty() || features.contains("memory:SystemMemory"));
        counted.fetch_add(usize::from(plain), Ordering::SeqCst);
    }));
    let (view, mut failures) = view(codec, &output, &DecodeSettings::default())?;
    ensure!(view.decoder() == decoder, "{} decodes {codec}", view.decoder());
    let mut entrance = view.entrance(Duration::from_secs(60), Turn::new(1));
    for (index, unit) in access_units(codec)?.iter().enumerate() {
        let content = push(&mut entrance, codec, unit)?;
        ensure!(content, "a key frame is asked for after picture {index}");
        let shown = pictures.load(Ordering::SeqCst);
        ensure!(shown == index + 1, "{shown} pictures of {} access units", index + 1);
    }
    ensure!(view.decoder() == decoder, "{} in the end", view.decoder());
    view.stop();
    ensure!(failures.try_recv().is_err());
    Ok(())
}

/// On this platform this decoder is used for each of the codecs, in this line.
fn decodes(test: &str, platform: &str, expected: &[(Codec, &str, &str)]) -> Outcome {
    let Some(printed) = child(test, platform, &[])? else {
        return expected
            .iter()
            .try_for_each(|&(codec, decoder, _)| gives_each_picture_at_once(codec, decoder));
    };
    for (_, _, line) in expected {
        ensure!(printed.contains(&format!("decoder: {line}")), "no {line} in\n{printed}");
    }
    ensure!(!printed.contains("WARN"), "{printed}");
    Ok(())
}

/// What all decoders of GStreamer's base class are told.
macro_rules! told {
    ($before:literal, $after:literal) => {
        concat!($before, " qos=false automatic-request-sync-points=true", $after)
    };
}

#[test]
fn a_jetson() -> Outcome {
    let line = told!(
        "nvv4l2decoder disable-dpb=true enable-max-performance=true low-latency-mode=true",
        " ! nvvidconv ! capsfilter caps=\"video/x-raw,format={NV12,I420}\""
    );
    let parsed = |parser: &str| format!("{parser} ! {line}");
    let (h264, h265) = (parsed("h264parse"), parsed("h265parse"));
    let rows = [(Codec::H264, h264.as_str()), (Codec::H265, &h265), (Codec::Vp8, line)];
    decodes("a_jetson", "jetson", &rows.map(|(codec, line)| (codec, "nvv4l2decoder", line)))
}

#[test]
fn a_raspberry_pi() -> Outcome {
    let line = told!("h264parse ! v4l2h264dec", " ! capsfilter caps=video/x-raw");
    decodes("a_raspberry_pi", "pi4", &[(Codec::H264, "v4l2h264dec", line)])
}

#[test]
fn nvidia_gpus() -> Outcome {
    let line = told!("h264parse ! nvh264dec max-display-delay=0", " ! capsfilter caps=video/x-raw");
    decodes("nvidia_gpus", "nvidia", &[(Codec::H264, "nvh264dec", line)])
}

#[test]
fn intel_and_amd_gpus() -> Outcome {
    let line = told!("h264parse ! vah264dec", " ! capsfilter caps=video/x-raw");
    decodes("intel_and_amd_gpus", "va", &[(Codec::H264, "vah264dec", line)])
}

#[test]
fn gpus_by_the_older_elements() -> Outcome {
    let line = told!("vaapih264dec low-latency=true", " ! capsfilter caps=video/x-raw");
    decodes("gpus_by_the_older_elements", "vaapi", &[(Codec::H264, "vaapih264dec", line)])
}

#[test]
fn quick_sync() -> Outcome {
    let line = told!("h264parse ! qsvh264dec", " ! capsfilter caps=video/x-raw");
    decodes("quick_sync", "qsv", &[(Codec::H264, "qsvh264dec", line)])
}

#[test]
fn any_computer() -> Outcome {
    let h264 = told!("avdec_h264 thread-type=slice output-corrupt=false", "");
    let h265 = told!("avdec_h265 thread-type=slice output-corrupt=false", "");
    let vp8 = told!("vp8dec", "");
    let rows = [
        (Codec::H264, "avdec_h264", h264),
        (Codec::H265, "avdec_h265", h265),
        (Codec::Vp8, "vp8dec", vp8),
    ];
    decodes("any_computer", "none", &rows)
}

#[test]
fn what_is_preferred_is_used() -> Outcome {
    gstreamer();
    let prefer = ["vp8dec", "openh264dec"].map(|name| name.parse());
    let prefer = prefer.into_iter().collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
    let (view, _failures) = view(Codec::H264, &Output::Null, &DecodeSettings { prefer })?;
    ensure!(view.decoder() == "openh264dec", "{}", view.decoder());
    view.stop();
    Ok(())
}

#[test]
fn a_tap_sees_what_is_dropped_too() -> Outcome {
    gstreamer();
    let (view, _failures) = view(Codec::H264, &Output::Null, &DecodeSettings::default())?;
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let mut entrance = view.entrance(Duration::from_secs(60), Turn::new(1));
    let units = access_units(Codec::H264)?;
    view.set_tap(Some(Arc::new(move |sample| {
        let whole = sample.buffer().is_some_and(|buffer| buffer.size() > 0);
        counted.fetch_add(usize::from(whole), Ordering::SeqCst);
        true
    })));
    push(&mut entrance, Codec::H264, &units[0])?;
    // Another way in, and no key frame: it goes nowhere.
    let mut entrance = view.entrance(Duration::from_secs(60), Turn::new(1));
    ensure!(!push(&mut entrance, Codec::H264, &units[1])?, "no key frame is asked for");
    for unit in &units[..5] {
        push(&mut entrance, Codec::H264, unit)?;
    }
    ensure!(seen.load(Ordering::SeqCst) == 7);
    ensure!(view.meter().dropped.load(Ordering::SeqCst) == 1);
    ensure!(view.meter().decoded.load(Ordering::SeqCst) == 6);
    view.set_tap(None);
    push(&mut entrance, Codec::H264, &units[5])?;
    ensure!(seen.load(Ordering::SeqCst) == 7);
    view.stop();
    Ok(())
}

/// Gives a view pictures until it fails; returns why it does, and with which decoder.
fn reason(output: &str) -> anyhow::Result<(String, &'static str)> {
    let output = Output::Launch(output.to_owned());
    let (view, mut failures) = view(Codec::H264, &output, &DecodeSettings::default())?;
    let mut entrance = view.entrance(Duration::from_secs(60), Turn::new(1));
    let units = access_units(Codec::H264)?;
    let deadline = Instant::now() + PATIENCE;
    // Another decoder is opened meanwhile on a thread of its own.
    for unit in units.iter().cycle() {
        push(&mut entrance, Codec::H264, unit)?;
        if let Ok(failed) = failures.try_recv() {
            let decoder = view.decoder();
            view.stop();
            return Ok((failed.reason, decoder));
        }
        ensure!(Instant::now() < deadline, "it does not fail");
    }
    anyhow::bail!("no access units")
}

#[test]
fn an_output_that_fails_is_not_held_against_the_decoder() -> Outcome {
    gstreamer();
    let (reason, decoder) = reason("identity error-after=10 ! fakesink")?;
    ensure!(decoder == "avdec_h264" && !reason.contains("decoder"), "{decoder}: {reason}");
    Ok(())
}

#[test]
fn when_no_decoder_is_left_the_view_fails_and_says_why() -> Outcome {
    gstreamer();
    let (reason, _) = reason("capsfilter caps=video/x-raw,format=GRAY16_BE ! fakesink")?;
    ensure!(reason.starts_with("no H264 decoder works here: avdec_h264: "), "{reason}");
    ensure!(reason.contains("; openh264dec: "), "{reason}");
    Ok(())
}

/// In the child: a real robot's cameras, until there have been so many pictures of each. Returns
/// the longest time between two pictures of one camera, as their burnt clocks tell it.
async fn watch(cameras: &[&str], pictures: usize) -> anyhow::Result<Duration> {
    let folder = Folder::new("decoders")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let config: Vec<_> = cameras.iter().map(|camera| (*camera, 320, 240, 30)).collect();
    let config = robot_config("r", &config);
    let _robot = robot_in(&environment("none")?, &folder, &config, &address)?;
    let mut watcher = Watcher::start(&address, "r", cameras)?;
    let mut seen = vec![(0, None); cameras.len()];
    let mut longest = 0;
    while seen.iter().any(|(count, _)| *count < pictures) {
        let picture = watcher.next().await?;
        let of = cameras.iter().position(|camera| *camera == picture.camera.as_str());
        let (count, last) = &mut seen[of.context("another camera")?];
        if let Reading::Whole(clock) = picture.clock {
            longest = longest.max(clock.saturating_sub(last.replace(clock).unwrap_or(clock)));
            *count += 1;
        }
    }
    watcher.stop().await?;
    Ok(Duration::from_micros(longest))
}

/// Each line says that a decoder does not work, and which is tried instead.
fn steps(printed: &str) -> Vec<&str> {
    printed.lines().filter(|line| line.contains("WARN") && line.contains("work here")).collect()
}

fn is_one_session(printed: &str) -> Outcome {
    let sessions = printed.matches("connected to r\n").count();
    ensure!(sessions == 1 && !printed.contains("ERROR"), "{sessions} sessions:\n{printed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_in_the_middle_is_replaced() -> Outcome {
    let test = "one_that_fails_in_the_middle_is_replaced";
    let Some(printed) = child(test, "nvidia", &[(BROKEN, "nvh264dec:100")])? else {
        let missing = watch(&["c"], 250).await?;
        println!("missing: {} ms", missing.as_millis());
        ensure!(missing < MISSING, "{missing:?}");
        return Ok(());
    };
    let missing = printed.lines().find(|line| line.contains("missing: "));
    eprintln!("where a decoder failed at picture 100: {}", missing.context("no figure")?);
    let steps = steps(&printed);
    ensure!(steps.len() == 1, "{printed}");
    let step = "nvh264dec does not work here: the decoder is broken; trying avdec_h264";
    ensure!(steps[0].contains(step), "{steps:?}");
    is_one_session(&printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_when_it_is_opened_is_left_behind_once() -> Outcome {
    let test = "one_that_hangs_when_it_is_opened_is_left_behind_once";
    let Some(printed) = child(test, "va", &[(HANG_OPENING, "vah264dec")])? else {
        watch(&["one", "two", "three"], 30).await?;
        return Ok(());
    };
    let steps = steps(&printed);
    ensure!(steps.len() == 1, "{printed}");
    let step = "vah264dec does not work here: it does not open within 5 s; trying avdec_h264";
    ensure!(steps[0].contains(step), "{steps:?}");
    is_one_session(&printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_with_its_first_access_unit_is_left_behind() -> Outcome {
    let test = "one_that_hangs_with_its_first_access_unit_is_left_behind";
    let Some(printed) = child(test, "vaapi", &[(HANG, "vaapih264dec")])? else {
        watch(&["c"], 30).await?;
        return Ok(());
    };
    let steps = steps(&printed);
    ensure!(steps.len() == 1, "{printed}");
    let step = "vaapih264dec does not work here: it hangs with the first access unit; \
                trying avdec_h264";
    ensure!(steps[0].contains(step), "{steps:?}");
    is_one_session(&printed)
}

/// Whoever pushes is lost with it, but not the view.
#[test]
fn one_that_hangs_later_leaves_the_view_to_the_next_session() -> Outcome {
    let test = "one_that_hangs_later_leaves_the_view_to_the_next_session";
    let hang = [(HANG, "nvh264dec:10")];
    let Some(printed) = child(test, "nvidia", &hang)? else {
        let (view, _failures) = view(Codec::H264, &Output::Null, &DecodeSettings::default())?;
        let units = access_units(Codec::H264)?;
        let (pushed_tx, pushed) = std::sync::mpsc::channel();
        let (mut entrance, lost) = (view.entrance(PATIENCE, Turn::new(1)), units.clone());
        std::thread::spawn(move || {
            for unit in &lost {
                let _ = pushed_tx.send(push(&mut entrance, Codec::H264, unit).is_ok());
            }
        });
        for _ in 0..9 {
            ensure!(pushed.recv_timeout(PATIENCE)?);
        }
        let deadline = Instant::now() + PATIENCE;
        let mut entrance = view.entrance(PATIENCE, Turn::new(1));
        while view.meter().decoded.load(Ordering::SeqCst) < 9 + 30 {
            // As if ten times a second. Only one that does not come back is taken for hanging.
            ensure!(!view.unstick() && Instant::now() < deadline);
            if view.decoder() == "avdec_h264" {
                units
                    .iter()
                    .try_for_each(|unit| push(&mut entrance, Codec::H264, unit).map(drop))?;
            }
        }
        view.stop();
        ensure!(pushed.try_recv().is_err());
        return Ok(());
    };
    let steps = steps(&printed);
    let step = "nvh264dec does not work here: it hangs; trying avdec_h264";
    ensure!(steps.len() == 1 && steps[0].contains(step), "{printed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_gives_no_pictures_is_replaced() -> Outcome {
    let test = "one_that_gives_no_pictures_is_replaced";
    let Some(printed) = child(test, "pi4", &[(SWALLOW, "v4l2h264dec")])? else {
        watch(&["c"], 30).await?;
        return Ok(());
    };
    let steps = steps(&printed);
    ensure!(steps.len() == 1, "{printed}");
    let step = "v4l2h264dec does not work here: it takes access units and gives no pictures; \
                trying avdec_h264";
    ensure!(steps[0].contains(step), "{steps:?}");
    is_one_session(&printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_them_are_tried_down_to_software() -> Outcome {
    let test = "all_of_them_are_tried_down_to_software";
    let order = [
        "nvv4l2decoder",
        "nvh264dec",
        "vah264dec",
        "vaapih264dec",
        "v4l2h264dec",
        "qsvh264dec",
        "avdec_h264",
    ];
    let broken = order[..6].join(",");
    let platforms = "jetson,pi4,nvidia,va,vaapi,qsv";
    let Some(printed) = child(test, platforms, &[(BROKEN, &broken)])? else {
        watch(&["c"], 30).await?;
        return Ok(());
    };
    let steps = steps(&printed);
    ensure!(steps.len() == 6, "{printed}");
    for (pair, line) in order.windows(2).zip(&steps) {
        let step =
            format!("{} does not work here: the decoder is broken; trying {}", pair[0], pair[1]);
        ensure!(line.contains(&step), "no {step}: {line}");
    }
    is_one_session(&printed)
}

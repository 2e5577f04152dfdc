//! What the rows of the table come to.

use super::*;

const PARAMETERS: Parameters =
    Parameters { width: 640, height: 480, fps: 30, bitrate_kbps: 2000, cores: 8 };

fn row(factory: &str) -> &'static Encoder {
    ENCODERS.iter().find(|row| row.factory == factory).unwrap()
}

fn all(_: &str) -> bool {
    true
}

#[test]
fn auto_goes_from_hardware_to_software() {
    let names: Vec<_> = candidates(Codec::H264, AUTO).map(|row| row.factory).collect();
    assert_eq!(
        names,
        [
            "nvv4l2h264enc",
            "v4l2h264enc",
            "nvh264enc",
            "nvcudah264enc",
            "nvautogpuh264enc",
            "vah264enc",
            "vah264lpenc",
            "vaapih264enc",
            "qsvh264enc",
            "x264enc",
            "openh264enc"
        ]
    );
    for codec in Codec::ALL {
        let last = candidates(codec, AUTO).last().unwrap();
        assert_eq!(last.converter, Converter::Software, "{codec} has a fallback");
    }
    let wanted: Vec<_> = candidates(Codec::H264, "x264enc").collect();
    assert_eq!(wanted, [row("x264enc")]);
}

#[test]
fn an_encoder_of_another_codec_is_refused_with_a_remedy() {
    assert_eq!(check(Codec::H264, AUTO), Ok(()));
    assert_eq!(check(Codec::Vp8, "vp8enc"), Ok(()));
    let error = check(Codec::H264, "vp8enc").unwrap_err();
    assert!(error.contains("makes vp8, not h264: use auto, nvv4l2h264enc"), "{error}");
    assert!(error.ends_with("or set codec = \"vp8\""), "{error}");
    let error = check(Codec::Vp8, "libvpx").unwrap_err();
    assert_eq!(error, "\"libvpx\" is not known: use auto, vp8enc");
}

#[test]
fn units_are_those_of_the_element() {
    for (factory, parts) in [
        ("x264enc", &["bitrate=\"2000\"", "threads=\"4\"", "vbv-buf-capacity=\"67\""][..]),
        ("x264enc", &["key-int-max=\"1800\""]),
        ("openh264enc", &["bitrate=\"2000000\""]),
        ("nvv4l2h264enc", &["bitrate=\"2000000\"", "vbv-size=\"133334\""]),
        ("nvh264enc", &["bitrate=\"2000\"", "vbv-buffer-size=\"134\"", "gop-size=\"1800\""]),
        ("vah264enc", &["bitrate=\"2000\"", "cpb-size=\"134\"", "key-int-max=\"1024\""]),
        ("vaapih264enc", &["cpb-length=\"67\"", "rate-control=\"cbr\""]),
        ("vp8enc", &["target-bitrate=\"2000000\""]),
        (
            "v4l2h264enc",
            &["extra-controls=\"controls,video_bitrate=2000000,h264_i_frame_period=1800,\
               repeat_sequence_header=1\""],
        ),
    ] {
        let launch = row(factory).launch(PARAMETERS, all);
        for part in parts {
            assert!(launch.contains(&format!(" {part}")), "{part} in {launch}");
        }
    }
}

#[test]
fn properties_that_the_element_lacks_are_left_out() {
    let launch = row("x264enc").launch(PARAMETERS, |name| name != "sync-lookahead");
    assert!(!launch.contains("sync-lookahead") && launch.contains("tune=\"zerolatency\""));
}

#[test]
fn each_generation_of_an_element_gets_its_own_properties() {
    // Up to 1.24; from 1.26 on; its neighbour of 1.22.
    let old = row("nvh264enc")
        .launch(PARAMETERS, |name| !["tune", "repeat-sequence-header"].contains(&name));
    assert!(old.contains(" preset=\"low-latency-hp\""), "{old}");
    assert!(old.contains("! h264parse config-interval=-1 !") && !old.contains("tune"), "{old}");
    let new = row("nvh264enc").launch(PARAMETERS, all);
    assert!(new.contains(" preset=\"p2\"") && !new.contains("low-latency-hp"), "{new}");
    assert!(new.contains(" tune=\"ultra-low-latency\""), "{new}");
    assert!(new.contains(" repeat-sequence-header=\"true\""), "{new}");
    assert!(!new.contains("h264parse"), "{new}");
    let renamed = ["rc-mode", "bframes", "zerolatency", "tune"];
    let cuda = row("nvcudah264enc").launch(PARAMETERS, |name| !renamed.contains(&name));
    for part in ["rate-control=\"cbr\"", "b-frames=\"0\"", "zero-reorder-delay=\"true\""] {
        assert!(cuda.contains(part), "{part} in {cuda}");
    }
}

#[test]
fn the_level_is_that_of_the_pictures_where_it_must_be_named() {
    let level = |width, height, fps| {
        let parameters = Parameters { width, height, fps, ..PARAMETERS };
        let launch = row("v4l2h264enc").launch(parameters, all);
        launch.rsplit_once("level=(string)").unwrap().1.to_owned()
    };
    assert_eq!(level(640, 480, 30), "3");
    assert_eq!(level(1280, 720, 30), "3.1");
    assert_eq!(level(1920, 1080, 30), "4");
    assert!(!row("x264enc").launch(PARAMETERS, all).contains("level="));
}

#[test]
fn what_is_too_much_is_said() {
    let pi = row("v4l2h264enc");
    assert_eq!(pi.fits(1920, 1080, 30), Ok(()));
    assert_eq!(pi.fits(1280, 720, 60), Ok(()));
    let error = pi.fits(1920, 1080, 60).unwrap_err();
    assert_eq!(error, "it encodes at most 30 frames/s of 1920x1080 pixels");
    assert_eq!(pi.fits(1600, 2200, 5), Err("it takes pictures up to 1920x1920 pixels".into()));
    assert_eq!(
        row("nvh264enc").fits(128, 96, 30),
        Err("it takes pictures from 160x64 pixels on".into())
    );
}

#[test]
fn the_bitrate_of_a_pi_keeps_to_its_steps() {
    assert_eq!(v4l2_bitrate_bps(1_234_000), 1_225_000);
    assert_eq!(v4l2_bitrate_bps(1_000), 25_000);
    assert_eq!(v4l2_bitrate_bps(90_000_000), 25_000_000);
}

#[test]
fn frames_are_described_with_their_memory() {
    assert_eq!(
        row("nvv4l2h264enc").frame_caps(640, 480, 30),
        "video/x-raw(memory:NVMM),format=NV12,width=640,height=480,pixel-aspect-ratio=1/1,\
         framerate=30/1,interlace-mode=progressive"
    );
    assert!(row("x264enc").input_caps(64, 32).starts_with("video/x-raw,format=I420,width=64"));
}

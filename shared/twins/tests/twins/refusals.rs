//! What the hardware refuses its twin refuses, beside the right line that works to the picture.

use gst::prelude::*;

use crate::common::{run, with_twins};

const SOURCE: &str = "videotestsrc num-buffers=5 ! video/x-raw,width=320,height=240,framerate=30/1";
const DECODED: &str = "h264parse ! avdec_h264";

/// All five pictures come out.
fn works(launch: &str) {
    let reached = run(launch).unwrap_or_else(|error| panic!("{launch}: {error}"));
    assert_eq!(reached.buffers.len(), 5, "{launch}");
}

/// It does not link, or fails with these words.
fn fails(launch: &str, words: &str) {
    let error = run(launch).map(|_| ()).expect_err(launch);
    assert!(error.contains(words), "{launch}: {error}");
}

#[test]
fn jetson() {
    with_twins("refusals::jetson", "jetson", || {
        let nvmm = format!("{SOURCE} ! nvvidconv ! video/x-raw(memory:NVMM),format=NV12");
        works(&format!("{nvmm} ! nvv4l2h264enc ! {DECODED}"));
        works(&format!("{nvmm} ! nvv4l2h265enc ! h265parse ! avdec_h265"));
        // The encoder takes memory of the device only, and of a format that it knows.
        fails(&format!("{SOURCE} ! nvv4l2h264enc ! {DECODED}"), "could not link");
        fails(&format!("{SOURCE} ! videoconvert ! nvv4l2h264enc"), "could not link");
        let grey = format!("{SOURCE} ! nvvidconv ! video/x-raw(memory:NVMM),format=GRAY8");
        fails(&format!("{grey} ! nvv4l2h264enc"), "could not link");
        // Properties of other releases, and values that are none.
        for wrong in ["bufapi-version=true", "cabac-entropy-coding=1", "tune=zerolatency"] {
            fails(&format!("{nvmm} ! nvv4l2h264enc {wrong}"), "no property");
        }
        fails(&format!("{nvmm} ! nvv4l2h264enc profile=baseline"), "could not set property");
        works(&format!("{nvmm} ! nvv4l2h264enc profile=Baseline ! {DECODED}"));
        fails(&format!("{nvmm} ! nvv4l2h264enc preset-level=UltraFast"), "could not set property");
        works(&format!("{nvmm} ! nvv4l2h264enc preset-level=UltraFastPreset ! {DECODED}"));
        // Whole pictures unless it is told to slice.
        let nal = "video/x-h264,alignment=nal";
        fails(&format!("{nvmm} ! nvv4l2h264enc ! {nal}"), "downstream takes none");
        // The converter knows no RGB, and has one side in the device's memory.
        fails(&format!("{SOURCE} ! nvvidconv ! video/x-raw,format=RGB"), "could not link");
        let scaled = "video/x-raw,width=160,height=120";
        fails(&format!("{SOURCE} ! nvvidconv ! {scaled}"), "not-negotiated");
        works(&format!("{nvmm} ! nvvidconv ! {scaled}"));
        // Motion JPEG.
        let jpeg = format!("{SOURCE} ! jpegenc");
        works(&format!("{jpeg} ! nvv4l2decoder mjpeg=true ! nvvidconv ! video/x-raw,format=I420"));
        fails(&format!("{jpeg} ! nvv4l2decoder ! nvvidconv ! video/x-raw"), "mjpeg=true");
        fails(&format!("{jpeg} ! nvv4l2decoder mjpeg=true ! x264enc"), "could not link");
        works(&format!("{jpeg} ! nvjpegdec ! video/x-raw,format=I420"));
        let stream = format!("{SOURCE} ! x264enc tune=zerolatency ! h264parse");
        let avc = "video/x-h264,stream-format=avc";
        works(&format!("{stream} ! nvv4l2decoder ! nvvidconv ! video/x-raw"));
        fails(&format!("{stream} ! {avc} ! nvv4l2decoder ! nvvidconv"), "could not link");
    });
}

#[test]
fn jetson_cameras() {
    with_twins("refusals::jetson_cameras", "jetson", || {
        let camera = "nvarguscamerasrc num-buffers=5";
        let reached = run(&format!("{camera} ! nvvidconv ! video/x-raw,format=I420")).unwrap();
        let caps = reached.caps.unwrap();
        let size = caps.structure(0).unwrap();
        assert_eq!((size.get("width"), size.get("height")), (Ok(1920), Ok(1080)));
        let small = "video/x-raw(memory:NVMM),width=320,height=240,framerate=30/1";
        works(&format!("{camera} sensor-id=1 ! {small} ! nvvidconv ! video/x-raw"));
        fails(&format!("{camera} sensor-id=7 ! {small}"), "no sensor 7");
        fails(&format!("{camera} ! x264enc"), "could not link");
        works(&format!("nvv4l2camerasrc num-buffers=5 ! {small},format=UYVY"));
        fails(&format!("nvv4l2camerasrc ! {small},format=NV12"), "could not link");
        fails(&format!("nvv4l2camerasrc device=/dev/video9 ! {small}"), "/dev/video9");
    });
}

/// Left and right are the other way about than in `videoflip`'s numbers.
#[test]
fn jetson_turns() {
    with_twins("refusals::jetson_turns", "jetson", || {
        let picture = |turn: &str| {
            let source = "videotestsrc num-buffers=1 ! video/x-raw,format=I420,width=64,height=32";
            let reached = run(&format!("{source} ! {turn}")).unwrap();
            let map = reached.buffers[0].map_readable().unwrap();
            map.to_vec()
        };
        let there = "nvvidconv ! video/x-raw(memory:NVMM),format=I420";
        let back = "! video/x-raw,format=I420";
        let right = picture(&format!("videoflip video-direction=90r {back}"));
        let left = picture(&format!("videoflip video-direction=90l {back}"));
        assert_ne!(left, right);
        assert_eq!(picture(&format!("{there} ! nvvidconv flip-method=1 {back}")), left);
        assert_eq!(picture(&format!("{there} ! nvvidconv flip-method=3 {back}")), right);
    });
}

#[test]
fn raspberry_pi() {
    with_twins("refusals::raspberry_pi", "pi4", || {
        let level = "video/x-h264,level=(string)4";
        works(&format!("{SOURCE} ! v4l2h264enc ! {level} ! {DECODED}"));
        // The first level of all, unless downstream names one that exists.
        fails(&format!("{SOURCE} ! v4l2h264enc ! {DECODED}"), "level 1 does not hold 320x240");
        fails(
            &format!("{SOURCE} ! v4l2h264enc ! video/x-h264,level=(string)4.0"),
            "could not link",
        );
        let tiny = "videotestsrc num-buffers=5 ! video/x-raw,width=128,height=96";
        works(&format!("{tiny} ! v4l2h264enc ! {DECODED}"));
        let sized = |width, height| {
            let size = format!("video/x-raw,width={width},height={height}");
            format!("videotestsrc num-buffers=5 ! {size} ! v4l2h264enc ! {level} ! {DECODED}")
        };
        works(&sized(1920, 1080));
        fails(&sized(1600, 2200), "1600x2200");
        fails(&sized(30, 240), "30x240");
        fails(&sized(321, 240), "321x240");
        // All through controls.
        fails(&format!("{SOURCE} ! v4l2h264enc bitrate=1000000"), "no property");
        let controlled = |controls: &str| {
            format!("{SOURCE} ! v4l2h264enc extra-controls=c,{controls} ! {level} ! {DECODED}")
        };
        works(&controlled("video_bitrate=1000000,repeat_sequence_header=1"));
        fails(&controlled("video_bitrate_mode=1"), "constant bitrate is refused");
        // Unknown and unsigned ones are dropped, no more.
        works(&controlled("intra_refresh=1,video_bitrate_mode=(uint)1"));
        // The camera says full range unless it is told.
        let camera = "libcamerasrc ! video/x-raw,width=320,height=240";
        let encoded = format!("v4l2h264enc ! {level} ! identity eos-after=5 ! {DECODED}");
        fails(&format!("{camera},format=NV12 ! {encoded}"), "colorimetry");
        let told = format!("{camera},format=NV12,colorimetry=bt709,interlace-mode=progressive");
        assert!(run(&format!("{told} ! {encoded}")).is_ok());
        fails(&format!("libcamerasrc camera-name=none ! {encoded}"), "camera named 'none'");
        fails("libcamerasrc num-buffers=5", "no property");
        fails("libcamerasrc exposure-time=1000", "no property");
        let jpeg = format!("{SOURCE} ! jpegenc ! v4l2jpegdec ! v4l2convert");
        works(&format!("{jpeg} ! video/x-raw,format=NV12 ! v4l2h264enc ! {level} ! v4l2h264dec"));
    });
}

#[test]
fn raspberry_pi_5() {
    with_twins("refusals::raspberry_pi_5", "pi5", || {
        fails(&format!("{SOURCE} ! v4l2h264enc"), "no element \"v4l2h264enc\"");
        let camera = "libcamerasrc exposure-time=10000 af-mode=continuous";
        let small = "video/x-raw,width=320,height=240";
        assert!(run(&format!("{camera} ! {small} ! identity eos-after=5")).is_ok());
        fails(&format!("{camera} auto-focus-mode=1 ! {small}"), "no property");
    });
}

#[test]
fn nvidia() {
    with_twins("refusals::nvidia", "nvidia", || {
        let cuda = "video/x-raw(memory:CUDAMemory)";
        works(&format!("{SOURCE} ! nvh264enc ! {DECODED}"));
        let uploaded = format!("{SOURCE} ! cudaupload ! cudaconvertscale ! {cuda},format=NV12");
        for encoder in ["nvh264enc", "nvcudah264enc", "nvautogpuh264enc"] {
            works(&format!("{uploaded} ! {encoder} ! {DECODED}"));
        }
        works(&format!("{uploaded},width=640,height=480 ! nvcudah264enc ! {DECODED}"));
        works(&format!("{uploaded} ! cudadownload ! video/x-raw,format=NV12"));
        fails(&format!("{SOURCE} ! cudaconvertscale"), "could not link");
        fails(&format!("{SOURCE},format=I420 ! nvcudah264enc"), "could not link");
        // Uploading converts nothing.
        let other = format!("{SOURCE},format=I420 ! cudaupload ! {cuda},format=NV12");
        fails(&other, "could not link");
        // One converts, the other scales; no more.
        let nv12 = format!("{cuda},format=NV12");
        works(&format!("{SOURCE},format=I420 ! cudaupload ! cudaconvert ! {nv12}"));
        works(&format!("{SOURCE} ! cudaupload ! cudascale ! {cuda},width=160,height=120"));
        let scaled = format!("{SOURCE} ! cudaupload ! cudaconvert ! {cuda},width=160");
        fails(&scaled, "could not link");
        let converted = format!("{SOURCE},format=I420 ! cudaupload ! cudascale ! {nv12}");
        fails(&converted, "could not link");
        let jpeg = format!("{SOURCE} ! jpegenc ! nvjpegdec");
        works(&format!("{jpeg} ! video/x-raw,format=NV12"));
        works(&format!("{jpeg} ! {cuda} ! nvh264enc ! h264parse ! nvh264dec ! video/x-raw"));
        // Three generations of names.
        fails(&format!("{SOURCE} ! nvh264enc repeat-sequence-header=true"), "no property");
        fails(&format!("{SOURCE} ! nvh264enc tune=ultra-low-latency"), "no property");
        fails(&format!("{SOURCE} ! nvh264enc preset=p1"), "could not set property");
        fails(&format!("{SOURCE} ! nvcudah264enc rc-mode=cbr"), "no property");
        works(&format!("{SOURCE} ! nvh264enc rc-mode=cbr zerolatency=true ! {DECODED}"));
        let cbr = "rate-control=cbr zero-reorder-delay=true";
        works(&format!("{SOURCE} ! nvcudah264enc {cbr} ! {DECODED}"));
        // The legacy element writes byte-stream only, and no small pictures.
        let avc = "video/x-h264,stream-format=avc";
        fails(&format!("{SOURCE} ! nvh264enc ! {avc}"), "could not link");
        works(&format!("{SOURCE} ! nvcudah264enc ! {avc} ! {DECODED}"));
        let tiny = "videotestsrc ! video/x-raw,width=128,height=96";
        fails(&format!("{tiny} ! nvh264enc"), "could not link");
    });
}

/// What comes from the network tells neither profile nor size: some want to be told.
#[test]
fn decoders() {
    let platforms = "jetson,pi4,nvidia,va,vaapi,qsv";
    with_twins("refusals::decoders", platforms, || {
        let stream = format!("{SOURCE} ! x264enc tune=zerolatency ! h264parse config-interval=-1");
        let received = format!(
            "{stream} ! rtph264pay ! rtph264depay ! video/x-h264,stream-format=byte-stream,alignment=au"
        );
        for decoder in ["nvh264dec", "vah264dec", "qsvh264dec"] {
            fails(&format!("{received} ! {decoder}"), "not-negotiated");
            works(&format!("{received} ! h264parse ! {decoder} ! video/x-raw,format=NV12"));
        }
        for decoder in ["vaapih264dec", "v4l2h264dec", "nvv4l2decoder"] {
            works(&format!("{received} ! {decoder}"));
        }
        let h265 = format!("{SOURCE} ! x265enc tune=zerolatency ! h265parse");
        let vp8 = format!("{SOURCE} ! vp8enc deadline=1");
        for stream in [&h265, &vp8] {
            works(&format!("{stream} ! nvv4l2decoder ! nvvidconv ! video/x-raw,format=NV12"));
            fails(&format!("{stream} ! nvv4l2decoder ! x264enc"), "could not link");
            fails(&format!("{stream} ! vah264dec"), "could not link");
        }
        // Left to choose, they stay in their own memory, if they have some.
        let memory = |decoder: &str| {
            let caps = run(&format!("{received} ! h264parse ! {decoder}")).unwrap().caps.unwrap();
            caps.features(0).unwrap().to_string()
        };
        assert_eq!(memory("nvv4l2decoder"), "memory:NVMM");
        assert_eq!(memory("vah264dec"), "memory:VAMemory");
        assert_eq!(memory("vaapih264dec"), "memory:VASurface");
        assert_eq!(memory("v4l2h264dec"), "memory:SystemMemory");
        assert_eq!(memory("qsvh264dec"), "memory:SystemMemory");
    });
}

#[test]
fn va_and_quick_sync() {
    with_twins("refusals::va_and_quick_sync", "va,vaapi,qsv", || {
        let va = "vapostproc ! video/x-raw(memory:VAMemory),format=NV12,width=160,height=120";
        for encoder in ["vah264enc", "vah264lpenc", "qsvh264enc"] {
            works(&format!("{SOURCE} ! {encoder} ! {DECODED}"));
            works(&format!("{SOURCE} ! {va} ! {encoder} ! {DECODED}"));
            fails(&format!("{SOURCE},format=I420 ! {encoder}"), "could not link");
            fails(&format!("{SOURCE} ! {encoder} repeat-sequence-header=1"), "no property");
        }
        let vaapi = "vaapipostproc ! video/x-raw(memory:VASurface),width=160,height=120";
        works(&format!("{SOURCE} ! {vaapi} ! vaapih264enc rate-control=cbr ! {DECODED}"));
        works(&format!("{SOURCE} ! vaapih264enc ! h264parse ! vaapih264dec ! video/x-raw"));
        works(&format!("{SOURCE} ! vah264enc ! h264parse ! vah264dec ! vapostproc"));
        let jpeg = format!("{SOURCE} ! jpegenc");
        works(&format!("{jpeg} ! vajpegdec ! video/x-raw(memory:VAMemory) ! vah264enc"));
        works(&format!("{jpeg} ! vaapijpegdec ! video/x-raw(memory:VASurface) ! vaapih264enc"));
        fails(&format!("{jpeg} ! vajpegdec ! video/x-raw,format=I420"), "could not link");
        works(&format!("{SOURCE} ! vaapih264enc rate-control=cbr ! {DECODED}"));
        fails(&format!("{SOURCE} ! {va} ! vaapih264enc"), "could not link");
        fails(&format!("{SOURCE} ! {va} ! x264enc"), "could not link");
        let avc = "video/x-h264,stream-format=avc";
        fails(&format!("{SOURCE} ! vah264enc ! {avc}"), "could not link");
        works(&format!("{SOURCE} ! qsvh264enc ! {avc} ! {DECODED}"));
        works(&format!("{SOURCE} ! vaapih264enc ! {avc} ! {DECODED}"));
        fails(&format!("{SOURCE} ! vah264enc bitrate=4000 max-bitrate=1"), "no property");
        fails(&format!("{SOURCE} ! vah264enc rate-control=constant"), "could not set property");
        // GObject warns of a value out of range, and leaves the old one.
        let encoder = gst::parse::launch("vah264enc bitrate=2048001 key-int-max=9").unwrap();
        assert_eq!(encoder.property::<u32>("bitrate"), 0);
        assert_eq!(encoder.property::<u32>("key-int-max"), 9);
        let wide = "videotestsrc num-buffers=1 ! video/x-raw,width=4112,height=64";
        fails(&format!("{wide} ! vah264enc"), "downstream takes none");
    });
}

//! Encoders: x264 or x265 behind the properties and the manners of the hardware.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use gst::glib::{BoolError, Value, WeakRef};
use gst::prelude::*;

use crate::behaviour::controls::Controls;
use crate::behaviour::nal::{Codec, without_parameter_sets};
use crate::behaviour::picture::{make, template};
use crate::behaviour::v4l2::{check_level, check_pictures};
use crate::caps::{filtered, plain};
use crate::fixture::{Element, fixtures};
use crate::label::{End, Label};
use crate::properties::{nick, number};
use crate::twin::{Behaviour, assemble};

/// What stands for "automatic", in 1,000 bits per second.
const AUTOMATIC_KBPS: u32 = 2000;

/// More than this the software does not take.
const MOST_KBPS: u32 = 102_400;

/// The plugin whose libraries write to the program's standard output.
const NOISY: &str = "nvvideo4linux2";

/// The rate control's buffer, in milliseconds.
const BUFFER_MS: u32 = 300;

/// Builds an encoder.
pub(crate) fn build(
    bin: &gst::Bin,
    face: &'static Element,
) -> Result<Arc<dyn Behaviour>, BoolError> {
    let codec = match face.caps("src").contains("video/x-h265") {
        true => Codec::H265,
        false => Codec::H264,
    };
    let software = make(match codec {
        Codec::H264 => "x264enc",
        Codec::H265 => "x265enc",
    })?;
    software.set_property_from_str("speed-preset", "ultrafast");
    software.set_property_from_str("tune", "zerolatency");
    if codec == Codec::H264 {
        software.set_property("threads", 1_u32);
    }
    let pictures = make("capsfilter")?;
    let planar = gst::Caps::builder("video/x-raw").field("format", "I420").build();
    pictures.set_property("caps", planar);
    let format = make("capsfilter")?;
    let encoder = Arc::new(Encoder {
        face,
        codec,
        bin: bin.upcast_ref::<gst::Element>().downgrade(),
        sink: template(face, "sink")?,
        src: template(face, "src")?,
        software: software.clone(),
        format: format.clone(),
        exit: OnceLock::new(),
        controls: Mutex::new(None),
        output: Mutex::new(None),
        started: AtomicBool::new(false),
        headed: AtomicBool::new(false),
        repeats: AtomicBool::new(false),
    });
    let entry: gst::Element = Label::new(Arc::new(EncoderEntry(encoder.clone()))).upcast();
    let exit = Label::new(Arc::new(EncoderExit(encoder.clone())));
    let _ = encoder.exit.set(exit.downgrade());
    let exit: gst::Element = exit.upcast();
    let chain = [entry.clone(), make("videoconvert")?, pictures, software, format, exit.clone()];
    assemble(bin, &chain, &[("sink", &entry), ("src", &exit)])?;
    Ok(encoder)
}

struct Encoder {
    face: &'static Element,
    codec: Codec,
    bin: WeakRef<gst::Element>,
    sink: gst::Caps,
    src: gst::Caps,
    software: gst::Element,
    /// Behind the software: which format it is to write.
    format: gst::Element,
    exit: OnceLock<gst::glib::WeakRef<Label>>,
    /// Of an open V4L2 device.
    controls: Mutex<Option<Controls>>,
    /// What was negotiated with downstream.
    output: Mutex<Option<gst::Structure>>,
    /// A frame has come.
    started: AtomicBool,
    /// Parameter sets have gone out.
    headed: AtomicBool,
    /// They go out with every key frame.
    repeats: AtomicBool,
}

struct EncoderEntry(Arc<Encoder>);
struct EncoderExit(Arc<Encoder>);

impl Behaviour for Encoder {
    fn changed(&self, name: &str, value: &Value) {
        if name == "min-force-key-unit-interval" {
            self.software.set_property(name, value);
        }
        if name == "extra-controls" {
            self.write_controls();
        }
        let Some(property) = self.bitrate_property() else { return };
        if property.name == name && property.live && self.is_negotiated() {
            self.software.set_property("bitrate", self.bitrate_kbps());
        }
    }

    fn open(&self) -> Result<(), gst::ErrorMessage> {
        if self.face.plugin == NOISY {
            println!("Opening in BLOCKING MODE ");
        }
        // The factories are on every board; an encoder is not.
        let board = |name| crate::named(crate::PLATFORMS, name);
        if self.face.platforms.iter().any(|platform| platform == "orin-nano")
            && board("orin-nano")
            && !board("jetson")
        {
            let device = self.text("device").unwrap_or_default();
            return Err(gst::error_msg!(
                gst::ResourceError::NotFound,
                ("Cannot identify device '{device}'. Failed to open encoder")
            ));
        }
        if self.is_v4l2() {
            let table = fixtures().iter().find(|fixture| !fixture.controls.is_empty());
            if let (Some(fixture), Ok(mut controls)) = (table, self.controls.lock()) {
                *controls = Some(Controls::new(&fixture.controls));
            }
            self.write_controls();
        }
        Ok(())
    }

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        // It takes properties up to READY only, and what they are to be the caps tell.
        self.software.set_locked_state(true);
        self.started.store(false, Ordering::Relaxed);
        self.headed.store(false, Ordering::Relaxed);
        if let Ok(mut output) = self.output.lock() {
            *output = None;
        }
        Ok(())
    }

    fn stop(&self) {
        // Where no caps came.
        self.software.set_locked_state(false);
    }

    fn act(&self, signal: &str) {
        if signal == "force-IDR" {
            self.force_key_frame();
        }
    }
}

impl End for EncoderEntry {
    fn takes(&self, _: &Label, filter: Option<&gst::Caps>) -> gst::Caps {
        filtered(self.0.sink.clone(), filter)
    }

    fn gives(&self, label: &Label, filter: Option<&gst::Caps>) -> gst::Caps {
        let outside = label.upstream(&self.0.sink).intersect(&self.0.sink);
        filtered(plain(&outside), filter)
    }

    fn caps(&self, _: &Label, caps: &gst::Caps) -> Option<gst::Caps> {
        if !caps.is_subset(&self.0.sink) {
            return None;
        }
        match self.0.negotiate(caps.structure(0)?) {
            Ok(()) => Some(plain(caps)),
            Err(reason) => {
                if let Some(bin) = self.0.bin.upgrade() {
                    gst::element_error!(bin, gst::ResourceError::Settings, ("{reason}"));
                }
                None
            }
        }
    }

    fn buffer(&self, buffer: gst::Buffer) -> Result<Option<gst::Buffer>, gst::FlowError> {
        if !self.0.started.swap(true, Ordering::Relaxed) {
            if crate::named(crate::HANG, &self.0.face.factory) {
                loop {
                    std::thread::park();
                }
            }
            if crate::named(crate::BROKEN, &self.0.face.factory) {
                if let Some(bin) = self.0.bin.upgrade() {
                    gst::element_error!(bin, gst::StreamError::Encode, ("the encoder is broken"));
                }
                return Err(gst::FlowError::Error);
            }
        }
        Ok(Some(buffer))
    }
}

impl End for EncoderExit {
    fn takes(&self, _: &Label, filter: Option<&gst::Caps>) -> gst::Caps {
        filtered(gst::Caps::new_any(), filter)
    }

    fn gives(&self, _: &Label, filter: Option<&gst::Caps>) -> gst::Caps {
        filtered(self.0.src.clone(), filter)
    }

    fn caps(&self, _: &Label, caps: &gst::Caps) -> Option<gst::Caps> {
        let mut output = self.0.output.lock().ok()?.clone()?;
        // Another stream begins.
        self.0.headed.store(false, Ordering::Relaxed);
        for (name, value) in caps.structure(0)?.iter() {
            let negotiated = ["stream-format", "alignment", "profile", "level", "tier"];
            if !negotiated.contains(&name.as_str()) {
                output.set_value(name.as_str(), value.clone());
            }
        }
        Some(gst::Caps::from(output))
    }

    fn buffer(&self, buffer: gst::Buffer) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let repeats = self.0.repeats.load(Ordering::Relaxed);
        if !key || !self.0.headed.swap(true, Ordering::Relaxed) || repeats {
            return Ok(Some(buffer));
        }
        let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
        let Some(rest) = without_parameter_sets(&map, self.0.codec) else {
            drop(map);
            return Ok(Some(buffer));
        };
        drop(map);
        let mut stripped = gst::Buffer::from_mut_slice(rest);
        let target = stripped.make_mut();
        buffer
            .copy_into(target, gst::BUFFER_COPY_METADATA, ..)
            .map_err(|_| gst::FlowError::Error)?;
        Ok(Some(stripped))
    }

    fn passes_upstream(&self, event: &gst::Event) -> bool {
        // In GStreamer 1.22.0 the V4L2 encoder has no control for it.
        let request = event.structure().is_some_and(|body| body.name() == "GstForceKeyUnit");
        !(request && self.0.is_v4l2())
    }
}

impl Encoder {
    /// Driven by V4L2 controls alone.
    fn is_v4l2(&self) -> bool {
        self.bitrate_property().is_none()
    }

    fn is_negotiated(&self) -> bool {
        self.output.lock().is_ok_and(|output| output.is_some())
    }

    fn bitrate_property(&self) -> Option<&'static crate::fixture::Property> {
        self.face.property("bitrate")
    }

    /// The value of the first of these properties that the face has.
    fn value(&self, names: &[&str]) -> Option<Value> {
        let property = self.face.first_of(names)?;
        Some(self.bin.upgrade()?.property_value(&property.name))
    }

    fn number(&self, names: &[&str]) -> Option<i64> {
        number(&self.value(names)?)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.value(&[name])?.get().ok()?
    }

    fn control(&self, name: &str) -> Option<i32> {
        let controls = self.controls.lock().ok()?;
        controls.as_ref().map(|controls| controls.get(name))
    }

    fn bitrate_kbps(&self) -> u32 {
        let value = self.number(&["bitrate"]).or(self.control("video_bitrate").map(i64::from));
        let in_bits = self.bitrate_property().is_none_or(|p| p.unit.as_deref() == Some("bit/s"));
        let kbps = value.unwrap_or_default() / if in_bits { 1000 } else { 1 };
        match u32::try_from(kbps) {
            Ok(kbps) if kbps > 0 => kbps.min(MOST_KBPS),
            _ => AUTOMATIC_KBPS,
        }
    }

    /// Whether parameter sets are to come with every key frame.
    fn wants_repetition(&self) -> bool {
        let property = self.number(&["insert-sps-pps", "repeat-sequence-header"]);
        property.or(self.control("repeat_sequence_header").map(i64::from)).unwrap_or_default() != 0
    }

    fn write_controls(&self) {
        let Some(bin) = self.bin.upgrade().filter(|_| self.is_v4l2()) else { return };
        let structure: Option<gst::Structure> = bin.property("extra-controls");
        let written = self
            .controls
            .lock()
            .ok()
            .and_then(|mut controls| Some(controls.as_mut()?.write(structure.as_deref()?)));
        let Some(written) = written else { return };
        for dropped in &written.dropped {
            gst::warning!(gst::CAT_RUST, obj = bin, "extra-controls: {dropped}");
        }
        if !self.is_negotiated() {
            return;
        }
        if written.live.contains(&"video_bitrate") {
            self.software.set_property("bitrate", self.bitrate_kbps());
        }
        if written.live.contains(&"force_key_frame") {
            self.force_key_frame();
        }
    }

    fn force_key_frame(&self) {
        if let Some(src) = self.software.static_pad("src") {
            src.send_event(
                gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build(),
            );
        }
    }

    /// Settles what goes out for these pictures, and sets the software up for it.
    fn negotiate(&self, pictures: &gst::StructureRef) -> Result<(), String> {
        let size = |name| pictures.get::<i32>(name).unwrap_or_default();
        let (width, height) = (size("width"), size("height"));
        if self.is_v4l2() {
            check_pictures(pictures, width, height)?;
            if self.control("video_bitrate_mode") == Some(1) {
                return Err("Failed to start: constant bitrate is refused".to_owned());
            }
        }
        let exit = self.exit.get().and_then(|exit| exit.upgrade()).ok_or("no way out")?;
        let offered = self.offered(width, height);
        let wanted = exit.downstream(&offered);
        let allowed = offered.intersect_with_mode(&wanted, gst::CapsIntersectMode::First);
        let mut output = allowed
            .structure(0)
            .ok_or_else(|| format!("downstream takes none of {offered}"))?
            .to_owned();
        // What the template leaves open is said only where downstream asks for it.
        let mut options = vec![String::from("scenecut=0")];
        let mut profile = first(&output, "profile");
        if let Some(profile) = &profile {
            output.set("profile", profile);
        } else {
            let property = self.value(&["profile"]).and_then(|value| nick(&value));
            profile = property.map(|nick| nick.to_lowercase());
        }
        if let Some(level) = first(&output, "level") {
            if self.is_v4l2() {
                check_level(&level, width, height)?;
            }
            options.push(format!("level={level}"));
            output.set("level", level);
        }
        for field in ["stream-format", "alignment"] {
            if let Some(first) = first(&output, field) {
                output.set(field, first);
            }
        }
        if self.software.is_locked_state() {
            self.set_up(&output, profile.as_deref(), options);
            self.software.set_locked_state(false);
            self.software.sync_state_with_parent().map_err(|error| error.to_string())?;
        }
        output.remove_fields(["width", "height", "framerate"]);
        if let Ok(mut kept) = self.output.lock() {
            *kept = Some(output);
        }
        Ok(())
    }

    /// The source template for pictures of this size.
    fn offered(&self, width: i32, height: i32) -> gst::Caps {
        let mut offered = self.src.clone();
        let sliced =
            self.value(&["slice-header-spacing"]).and_then(|value| value.get::<u64>().ok());
        for structure in offered.make_mut().iter_mut() {
            if sliced == Some(0) && structure.has_field("alignment") {
                structure.set("alignment", "au");
            }
        }
        let name = match self.codec {
            Codec::H264 => "video/x-h264",
            Codec::H265 => "video/x-h265",
        };
        let size = gst::Caps::builder(name).field("width", width).field("height", height).build();
        offered.intersect_with_mode(&size, gst::CapsIntersectMode::First)
    }

    fn set_up(&self, output: &gst::Structure, profile: Option<&str>, mut options: Vec<String>) {
        let software = &self.software;
        self.repeats.store(self.wants_repetition(), Ordering::Relaxed);
        let frames = ["idrinterval", "gop-size", "key-int-max", "keyframe-period"];
        let interval = self.number(&frames);
        let interval = interval.or(self.control("h264_i_frame_period").map(i64::from));
        // Less than 0 is for ever, 0 is automatic.
        let interval = interval.map_or(0, |frames| match i32::try_from(frames) {
            Ok(frames) if frames >= 0 => frames,
            _ => i32::MAX,
        });
        software.set_property("bitrate", self.bitrate_kbps());
        if self.codec == Codec::H265 {
            software.set_property("key-int-max", interval);
            // A key frame on request is one to join at, as the hardware makes it.
            let joins = "min-keyint=1:open-gop=0";
            let options = format!("scenecut=0:repeat-headers=1:pools=1:{joins}");
            software.set_property("option-string", options);
        } else {
            software.set_property("key-int-max", interval as u32);
            software.set_property("vbv-buf-capacity", BUFFER_MS);
            let aud = self.number(&["insert-aud", "aud"]).unwrap_or_default() != 0;
            software.set_property("aud", aud);
            let reordered = self.number(&["num-B-Frames", "bframes", "b-frames", "max-bframes"]);
            let cavlc = self.number(&["disable-cabac"]).unwrap_or_default() != 0
                || self.number(&["cabac"]) == Some(0);
            let (cavlc, transform, reordered) = match profile {
                Some(profile) if profile.contains("baseline") => (true, 0, 0),
                Some(profile) if profile.contains("high") => (cavlc, 1, reordered.unwrap_or(0)),
                _ => (cavlc, 0, reordered.unwrap_or(0)),
            };
            options.push(format!("cabac={}:8x8dct={transform}", u8::from(!cavlc)));
            software.set_property("bframes", u32::try_from(reordered).unwrap_or(0).min(16));
            software.set_property("option-string", options.join(":"));
            let control = self.value(&["rc-mode", "rate-control"]).and_then(|value| nick(&value));
            let constant = matches!(control.as_deref(), Some("cqp" | "constqp"));
            software.set_property_from_str("pass", if constant { "quant" } else { "cbr" });
        }
        let format = gst::Caps::builder(output.name().as_str())
            .field("stream-format", first(output, "stream-format").unwrap_or_default())
            .field("alignment", "au")
            .build();
        self.format.set_property("caps", format);
    }
}

/// The value of a text field, or the first of its list.
fn first(structure: &gst::StructureRef, field: &str) -> Option<String> {
    let value = structure.value(field).ok()?;
    if let Ok(list) = value.get::<gst::List>() {
        return list.iter().next()?.get().ok();
    }
    value.get().ok()
}

//! Converters and cameras.

use std::sync::{Arc, Mutex};

use gst::glib::{BoolError, Value, WeakRef};
use gst::prelude::*;

use crate::ends::{Entry, Exit};
use crate::fixture::Element;
use crate::label::Label;
use crate::properties::{nick, number};
use crate::twin::{Behaviour, assemble};

/// Converts only from or to other memory than the system's.
const ONE_SIDE_LABELLED: &str = "nvvidconv";

/// Scales without converting, though its class says "converter" as well.
const SCALES_ONLY: &str = "cudascale";

/// The properties that turn pictures.
const TURNS: [&str; 2] = ["flip-method", "video-direction"];

/// The properties that tell what stays of a picture: its edges, in pixels from the upper left.
const CROP: [&str; 4] = ["left", "right", "top", "bottom"];

/// Says of its pictures that they are of full range, unless it is told something else.
const LIBCAMERA: &str = "libcamera";
const FULL_RANGE: &str = "1:4:7:1";

/// The cameras that every board of the twins has, as libcamera calls them.
const CAMERAS: [&str; 2] =
    ["/base/soc/i2c0mux/i2c@1/imx219@10", "/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a"];

/// Builds a converter, or an element that only moves pictures to other memory.
pub(crate) fn build_converter(
    bin: &gst::Bin,
    face: &'static Element,
) -> Result<Arc<dyn Behaviour>, BoolError> {
    let came = Arc::new(Mutex::new(None));
    let entry = Entry { template: template(face, "sink")?, came: came.clone() };
    let exit = Exit {
        template: template(face, "src")?,
        preferred: None,
        came: (face.factory == ONE_SIDE_LABELLED).then_some(came),
    };
    let entry: gst::Element = Label::new(Arc::new(entry)).upcast();
    let exit: gst::Element = Label::new(Arc::new(exit)).upcast();
    let mut chain = vec![entry.clone()];
    if CROP.iter().all(|edge| face.property(edge).is_some()) {
        let crop = make("videocrop")?;
        chain.push(crop.clone());
        crop_pictures(bin, &entry, &crop);
    }
    let mut flip = None;
    if face.first_of(&TURNS).is_some() {
        let turning = make("videoflip")?;
        chain.extend([make("videoconvert")?, turning.clone()]);
        flip = Some(turning);
    }
    if face.klass.contains("Converter") && face.factory != SCALES_ONLY {
        chain.push(make("videoconvert")?);
    }
    if face.klass.contains("Scaler") {
        chain.push(make("videoscale")?);
    }
    chain.push(exit.clone());
    assemble(bin, &chain, &[("sink", &entry), ("src", &exit)])?;
    Ok(Arc::new(Converter { face, bin: bin.upcast_ref::<gst::Element>().downgrade(), flip }))
}

/// Crops as the twin's properties say when pictures of another size come.
fn crop_pictures(twin: &gst::Bin, entry: &gst::Element, crop: &gst::Element) {
    let Some(pad) = entry.static_pad("src") else { return };
    let (twin, crop) = (twin.downgrade(), crop.downgrade());
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
            && let (Some(twin), Some(crop)) = (twin.upgrade(), crop.upgrade())
            && let Some(picture) = caps.caps().structure(0)
        {
            let size = |side| picture.get::<i32>(side).unwrap_or_default();
            let [left, right, top, bottom] = CROP.map(|edge| twin.property::<i32>(edge));
            let beyond = |size: i32, edge: i32| if edge == 0 { 0 } else { (size - edge).max(0) };
            crop.set_property("left", left);
            crop.set_property("right", beyond(size("width"), right));
            crop.set_property("top", top);
            crop.set_property("bottom", beyond(size("height"), bottom));
        }
        gst::PadProbeReturn::Ok
    });
}

/// Builds a camera.
pub(crate) fn build_source(
    bin: &gst::Bin,
    face: &'static Element,
) -> Result<Arc<dyn Behaviour>, BoolError> {
    let raw = template(face, "src")?;
    let picture = gst::Caps::builder("video/x-raw").any_features();
    let (width, height) = if face.plugin == LIBCAMERA { (800, 600) } else { (1920, 1080) };
    let picture = picture
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(30, 1));
    let mut preferred = picture.build();
    if face.plugin == LIBCAMERA {
        preferred.make_mut().set("colorimetry", FULL_RANGE);
        // At another size, too.
        let coloured = gst::Caps::builder("video/x-raw").field("colorimetry", FULL_RANGE);
        preferred.merge(coloured.build());
    }
    let exit = Exit { template: raw, preferred: Some(preferred), came: None };
    let exit: gst::Element = Label::new(Arc::new(exit)).upcast();
    let camera = make("videotestsrc")?;
    camera.set_property("is-live", true);
    // Something moves in it, and it looks another way however it is turned.
    camera.set_property_from_str("pattern", "smpte");
    assemble(bin, &[camera.clone(), exit.clone()], &[("src", &exit)])?;
    bin.set_element_flags(gst::ElementFlags::SOURCE);
    let bin = bin.upcast_ref::<gst::Element>().downgrade();
    Ok(Arc::new(Camera { face, bin, camera }))
}

/// The caps of the pads in this direction.
pub(crate) fn template(face: &Element, direction: &str) -> Result<gst::Caps, BoolError> {
    face.caps(direction).parse()
}

/// Makes an element, named after what it is.
pub(crate) fn make(factory: &str) -> Result<gst::Element, BoolError> {
    gst::ElementFactory::make(factory).build()
}

struct Converter {
    face: &'static Element,
    bin: WeakRef<gst::Element>,
    flip: Option<gst::Element>,
}

impl Behaviour for Converter {
    fn changed(&self, name: &str, _: &Value) {
        let property = self.face.property(name);
        if property.is_some_and(|property| property.mutable.as_deref() == Some("playing")) {
            self.turn();
        }
    }

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        self.turn();
        Ok(())
    }
}

impl Converter {
    fn turn(&self) {
        let property = self.face.first_of(&TURNS);
        let (Some(flip), Some(property), Some(bin)) = (&self.flip, property, self.bin.upgrade())
        else {
            return;
        };
        if let Some(turn) = nick(&bin.property_value(&property.name)) {
            flip.set_property_from_str("video-direction", direction(&turn));
        }
    }
}

/// The word of `videoflip`. Whether a turn goes left or right is said by the word, not the number.
fn direction(nick: &str) -> &str {
    match nick {
        "none" => "identity",
        "counterclockwise" => "90l",
        "rotate-180" => "180",
        "clockwise" => "90r",
        "horizontal-flip" => "horiz",
        "vertical-flip" => "vert",
        "upper-right-diagonal" => "ur-ll",
        "upper-left-diagonal" => "ul-lr",
        other => other,
    }
}

struct Camera {
    face: &'static Element,
    bin: WeakRef<gst::Element>,
    camera: gst::Element,
}

impl Behaviour for Camera {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let Some(bin) = self.bin.upgrade() else { return Ok(()) };
        let text = |name| {
            let known = self.face.property(name)?;
            bin.property::<Option<String>>(&known.name)
        };
        let sensor = self.face.property("sensor-id").map(|_| bin.property_value("sensor-id"));
        let sensor = sensor.and_then(|value| number(&value)).unwrap_or_default();
        let missing = if sensor >= CAMERAS.len() as i64 {
            Some(format!("Argus Error Status: no sensor {sensor}"))
        } else if let Some(name) =
            text("camera-name").filter(|name| !CAMERAS.contains(&name.as_str()))
        {
            Some(format!("Could not find a camera named '{name}'."))
        } else {
            let device = text("device").filter(|device| device != "/dev/video0");
            device.map(|device| format!("Cannot identify device '{device}'."))
        };
        if let Some(missing) = missing {
            return Err(gst::error_msg!(gst::ResourceError::NotFound, ("{missing}")));
        }
        if self.face.property("num-buffers").is_some() {
            self.camera.set_property("num-buffers", bin.property::<i32>("num-buffers"));
        }
        Ok(())
    }
}

//! Decoders: software that is chosen when the stream's caps come, and what goes wrong with it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gst::glib::{BoolError, WeakRef};
use gst::prelude::*;

use crate::behaviour::picture::{make, template};
use crate::caps::filtered;
use crate::ends::Exit;
use crate::fixture::Element;
use crate::label::{End, Label};
use crate::twin::{Behaviour, assemble};

/// Builds a decoder.
pub(crate) fn build(
    bin: &gst::Bin,
    face: &'static Element,
) -> Result<Arc<dyn Behaviour>, BoolError> {
    let convert = make("videoconvert")?;
    let exit = Exit { template: template(face, "src")?, preferred: None, came: None };
    let exit: gst::Element = Label::new(Arc::new(exit)).upcast();
    assemble(bin, &[convert.clone(), exit.clone()], &[("src", &exit)])?;
    let entry = DecoderEntry {
        face,
        template: template(face, "sink")?,
        bin: bin.downgrade(),
        convert,
        codec: Mutex::new(None),
        frames: AtomicU64::new(0),
    };
    let entry: gst::Element = Label::new(Arc::new(entry)).upcast();
    assemble(bin, std::slice::from_ref(&entry), &[("sink", &entry)])?;
    Ok(Arc::new(Decoder { face }))
}

struct Decoder {
    face: &'static Element,
}

impl Behaviour for Decoder {
    fn open(&self) -> Result<(), gst::ErrorMessage> {
        if crate::named(crate::HANG_OPENING, &self.face.factory) {
            hang();
        }
        Ok(())
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

struct DecoderEntry {
    face: &'static Element,
    template: gst::Caps,
    bin: WeakRef<gst::Bin>,
    convert: gst::Element,
    /// The software, and the stream's media type.
    codec: Mutex<Option<String>>,
    frames: AtomicU64,
}

impl End for DecoderEntry {
    fn takes(&self, _: &Label, filter: Option<&gst::Caps>) -> gst::Caps {
        filtered(self.template.clone(), filter)
    }

    fn gives(&self, _: &Label, _: Option<&gst::Caps>) -> gst::Caps {
        gst::Caps::new_any()
    }

    fn caps(&self, label: &Label, caps: &gst::Caps) -> Option<gst::Caps> {
        let media = caps.structure(0)?.name().to_string();
        if !caps.is_subset(&self.template) {
            return None;
        }
        let bin = self.bin.upgrade()?;
        let mut codec = self.codec.lock().ok()?;
        if codec.is_none() {
            match self.insert(&bin, label, &media) {
                Ok(()) => *codec = Some(media),
                Err(reason) => {
                    gst::element_error!(bin, gst::StreamError::WrongType, ("{reason}"));
                    return None;
                }
            }
        } else if *codec != Some(media) {
            return None;
        }
        Some(caps.clone())
    }

    fn buffer(&self, buffer: gst::Buffer) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let factory = &self.face.factory;
        let frame = self.frames.fetch_add(1, Ordering::Relaxed) + 1;
        if crate::at(crate::HANG, factory) == Some(frame) {
            hang();
        }
        if crate::at(crate::BROKEN, factory) == Some(frame) {
            if let Some(bin) = self.bin.upgrade() {
                gst::element_error!(bin, gst::StreamError::Decode, ("the decoder is broken"));
            }
            return Err(gst::FlowError::Error);
        }
        Ok((!crate::named(crate::SWALLOW, factory)).then_some(buffer))
    }
}

impl DecoderEntry {
    fn insert(&self, bin: &gst::Bin, label: &Label, media: &str) -> Result<(), String> {
        let factory = match media {
            "image/jpeg"
                if self.face.property("mjpeg").is_some() && !bin.property::<bool>("mjpeg") =>
            {
                return Err("motion JPEG needs mjpeg=true".to_owned());
            }
            "image/jpeg" => "jpegdec",
            "video/x-h264" => "avdec_h264",
            "video/x-h265" => "avdec_h265",
            "video/x-vp8" => "vp8dec",
            other => return Err(format!("this twin does not decode {other}")),
        };
        let codec = make(factory).map_err(|error| error.to_string())?;
        if factory.starts_with("avdec") {
            // Whole pictures at once: one thread for each would hold some back.
            codec.set_property("max-threads", 1);
        }
        let inserted = bin
            .add(&codec)
            .and_then(|()| codec.link(&self.convert))
            .and_then(|()| label.link(&codec))
            .and_then(|()| codec.sync_state_with_parent());
        inserted.map_err(|error| error.to_string())
    }
}

//! The GObject types of the twins. A type's properties and templates belong to the type, so there
//! is one type, a slot, for each element of the fixtures; which element is its number's matter.

use std::sync::OnceLock;

use gst::glib;
use gst::glib::subclass::Signal;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::fixture::{Element, elements};
use crate::properties::specifications;
use crate::twin::Twin;

/// What is made once for a slot.
struct Face {
    element: &'static Element,
    metadata: gst::subclass::ElementMetadata,
    templates: Vec<gst::PadTemplate>,
}

fn face(cell: &'static OnceLock<Face>, number: usize) -> &'static Face {
    cell.get_or_init(|| {
        // A slot without an element has no registered type, so nothing asks.
        let element = elements().nth(number).unwrap_or_else(|| panic!("slot {number} is empty"));
        let metadata = gst::subclass::ElementMetadata::new(
            &element.long_name,
            &element.klass,
            "A twin in software, for tests",
            "The Rovercast authors",
        );
        Face { element, metadata, templates: templates(element) }
    })
}

fn templates(element: &Element) -> Vec<gst::PadTemplate> {
    let template = |pad: &crate::fixture::Pad| {
        let direction = match pad.direction.as_str() {
            "sink" => gst::PadDirection::Sink,
            _ => gst::PadDirection::Src,
        };
        let caps = pad.caps.join("; ").parse::<gst::Caps>().ok()?;
        gst::PadTemplate::new(&pad.name, direction, gst::PadPresence::Always, &caps).ok()
    };
    let made = element.pads.iter().map(|pad| {
        template(pad).unwrap_or_else(|| panic!("fixture: {} {}", element.factory, pad.name))
    });
    made.collect()
}

macro_rules! slots {
    ($($module:ident $number:literal),* $(,)?) => {
        $(mod $module {
            use super::*;

            static FACE: OnceLock<Face> = OnceLock::new();
            const NUMBER: usize = $number;

            glib::wrapper! {
                pub(super) struct Slot(ObjectSubclass<Imp>)
                    @extends gst::Bin, gst::Element, gst::Object,
                    @implements gst::ChildProxy;
            }

            #[derive(Default)]
            pub(super) struct Imp(Twin);

            #[glib::object_subclass]
            impl ObjectSubclass for Imp {
                const NAME: &'static str = concat!("RovercastTwin", $number);
                type Type = Slot;
                type ParentType = gst::Bin;
            }

            impl ObjectImpl for Imp {
                fn properties() -> &'static [glib::ParamSpec] {
                    static SPECS: OnceLock<Vec<glib::ParamSpec>> = OnceLock::new();
                    SPECS.get_or_init(|| specifications(face(&FACE, NUMBER).element))
                }

                fn signals() -> &'static [Signal] {
                    static SIGNALS: OnceLock<Vec<Signal>> = OnceLock::new();
                    SIGNALS.get_or_init(|| {
                        let names = &face(&FACE, NUMBER).element.actions;
                        let signal = |name: &'static String| {
                            Signal::builder(name)
                                .run_last()
                                .action()
                                .class_handler(move |values| {
                                    if let Ok(slot) = values[0].get::<Slot>() {
                                        slot.imp().0.act(name);
                                    }
                                    None
                                })
                                .build()
                        };
                        names.iter().map(signal).collect()
                    })
                }

                fn constructed(&self) {
                    self.parent_constructed();
                    self.0.build(self.obj().upcast_ref(), face(&FACE, NUMBER).element);
                }

                fn set_property(&self, _: usize, value: &glib::Value, spec: &glib::ParamSpec) {
                    self.0.set(spec, value);
                }

                fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
                    self.0.get(face(&FACE, NUMBER).element, spec)
                }
            }

            impl GstObjectImpl for Imp {}

            impl ElementImpl for Imp {
                fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
                    Some(&face(&FACE, NUMBER).metadata)
                }

                fn pad_templates() -> &'static [gst::PadTemplate] {
                    &face(&FACE, NUMBER).templates
                }

                fn change_state(
                    &self,
                    transition: gst::StateChange,
                ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
                    self.0.change(self.obj().upcast_ref(), transition)?;
                    self.parent_change_state(transition)
                }
            }

            impl BinImpl for Imp {}
        })*

        /// The type of the element with this number in the fixtures.
        pub(crate) fn kind(number: usize) -> Option<glib::Type> {
            match number {
                $($number => Some($module::Slot::static_type()),)*
                _ => None,
            }
        }
    };
}

slots! {
    s0 0, s1 1, s2 2, s3 3, s4 4, s5 5, s6 6, s7 7, s8 8, s9 9, s10 10, s11 11, s12 12, s13 13,
    s14 14, s15 15, s16 16, s17 17, s18 18, s19 19, s20 20, s21 21, s22 22, s23 23, s24 24, s25 25,
    s26 26, s27 27, s28 28, s29 29, s30 30, s31 31, s32 32, s33 33, s34 34, s35 35,
}

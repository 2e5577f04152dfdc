//! The element at each end of a twin: it changes caps between the twin's face and the software
//! inside, and may look at what flows. No feature of the plugin: only twins make it.

use std::sync::{Arc, OnceLock};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

/// What one end does. Sink and source are those of the label, whichever end it is.
pub(crate) trait End: Send + Sync + 'static {
    /// What the sink takes.
    fn takes(&self, label: &Label, filter: Option<&gst::Caps>) -> gst::Caps;
    /// What the source gives.
    fn gives(&self, label: &Label, filter: Option<&gst::Caps>) -> gst::Caps;
    /// What to send on for these new caps; `None` refuses them.
    fn caps(&self, label: &Label, caps: &gst::Caps) -> Option<gst::Caps>;
    /// What to send on for this buffer; `None` for nothing.
    fn buffer(&self, buffer: gst::Buffer) -> Result<Option<gst::Buffer>, gst::FlowError> {
        Ok(Some(buffer))
    }
    /// Whether an event from downstream goes on upstream.
    fn passes_upstream(&self, _event: &gst::Event) -> bool {
        true
    }
}

glib::wrapper! {
    /// The element.
    pub(crate) struct Label(ObjectSubclass<imp::Label>)
        @extends gst::Element, gst::Object;
}

impl Label {
    /// A label that does what `end` says.
    pub(crate) fn new(end: Arc<dyn End>) -> Self {
        let label: Self = glib::Object::new();
        let _ = label.imp().end.set(end);
        label
    }

    /// What the element in front of it gives.
    pub(crate) fn upstream(&self, filter: &gst::Caps) -> gst::Caps {
        self.imp()
            .pads()
            .map_or_else(gst::Caps::new_any, |pads| pads.0.peer_query_caps(Some(filter)))
    }

    /// What the element behind it takes.
    pub(crate) fn downstream(&self, filter: &gst::Caps) -> gst::Caps {
        self.imp()
            .pads()
            .map_or_else(gst::Caps::new_any, |pads| pads.1.peer_query_caps(Some(filter)))
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub(crate) struct Label {
        pub(super) end: OnceLock<Arc<dyn End>>,
        pads: OnceLock<(gst::Pad, gst::Pad)>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Label {
        const NAME: &'static str = "RovercastTwinLabel";
        type Type = super::Label;
        type ParentType = gst::Element;
    }

    impl ObjectImpl for Label {
        fn constructed(&self) {
            self.parent_constructed();
            let sink = gst::Pad::builder(gst::PadDirection::Sink)
                .name("sink")
                .chain_function(|_, parent, buffer| {
                    Self::catch_panic_pad_function(
                        parent,
                        || Err(gst::FlowError::Error),
                        |this| this.chain(buffer),
                    )
                })
                .event_function(|pad, parent, event| {
                    let pad = pad.clone();
                    Self::catch_panic_pad_function(parent, || false, |this| this.event(&pad, event))
                })
                .query_function(|pad, parent, query| {
                    let pad = pad.clone();
                    Self::catch_panic_pad_function(
                        parent,
                        || false,
                        |this| this.query(&pad, query, true),
                    )
                })
                .build();
            let src = gst::Pad::builder(gst::PadDirection::Src)
                .name("src")
                .event_function(|pad, parent, event| {
                    let pad = pad.clone();
                    Self::catch_panic_pad_function(
                        parent,
                        || false,
                        |this| {
                            if this.end.get().is_some_and(|end| !end.passes_upstream(&event)) {
                                return true;
                            }
                            gst::Pad::event_default(&pad, Some(&*this.obj()), event)
                        },
                    )
                })
                .query_function(|pad, parent, query| {
                    let pad = pad.clone();
                    Self::catch_panic_pad_function(
                        parent,
                        || false,
                        |this| this.query(&pad, query, false),
                    )
                })
                .build();
            // Both are new, and so are their names.
            let _ = self.obj().add_pad(&sink);
            let _ = self.obj().add_pad(&src);
            let _ = self.pads.set((sink, src));
        }
    }

    impl GstObjectImpl for Label {}
    impl ElementImpl for Label {}

    impl Label {
        pub(super) fn pads(&self) -> Option<&(gst::Pad, gst::Pad)> {
            self.pads.get()
        }

        fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let (Some(end), Some((_, src))) = (self.end.get(), self.pads()) else {
                return Err(gst::FlowError::Error);
            };
            end.buffer(buffer)?.map_or(Ok(gst::FlowSuccess::Ok), |buffer| src.push(buffer))
        }

        fn event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
            let (gst::EventView::Caps(caps), Some(end), Some((_, src))) =
                (event.view(), self.end.get(), self.pads())
            else {
                return gst::Pad::event_default(pad, Some(&*self.obj()), event);
            };
            let caps = caps.caps_owned();
            match end.caps(&self.obj(), &caps) {
                Some(caps) => {
                    src.push_event(gst::event::Caps::builder(&caps).seqnum(event.seqnum()).build())
                }
                None => {
                    gst::warning!(gst::CAT_NEGOTIATION, imp = self, "refused: {caps}");
                    false
                }
            }
        }

        fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef, at_sink: bool) -> bool {
            let Some(end) = self.end.get() else { return false };
            let answer = |filter: Option<&gst::Caps>| {
                if at_sink {
                    end.takes(&self.obj(), filter)
                } else {
                    end.gives(&self.obj(), filter)
                }
            };
            match query.view_mut() {
                gst::QueryViewMut::Caps(caps) => {
                    let filter = caps.filter_owned();
                    caps.set_result(&answer(filter.as_ref()));
                    true
                }
                gst::QueryViewMut::AcceptCaps(accept) => {
                    let caps = accept.caps_owned();
                    accept.set_result(caps.is_subset(&answer(None)));
                    true
                }
                // The memory on the other side is of another kind.
                gst::QueryViewMut::Allocation(_) => false,
                _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
            }
        }
    }
}

//! The ends of twins that take or give raw pictures: their caps carry labels outside only.

use std::sync::{Arc, Mutex};

use crate::caps::{filtered, is_labelled, labelled, plain, without_system_memory};
use crate::label::{End, Label};

/// The way in: takes what the template says, gives system memory.
pub(crate) struct Entry {
    /// The twin's sink template.
    pub(crate) template: gst::Caps,
    /// Where the caps that came are kept for the way out.
    pub(crate) came: Arc<Mutex<Option<gst::Caps>>>,
}

/// The way out: gives what the template says.
pub(crate) struct Exit {
    /// The twin's source template.
    pub(crate) template: gst::Caps,
    /// What it settles on when downstream leaves the choice.
    pub(crate) preferred: Option<gst::Caps>,
    /// The caps that came in, of a twin that must have one side out of system memory, or leave
    /// the pictures as they are.
    pub(crate) came: Option<Arc<Mutex<Option<gst::Caps>>>>,
}

impl End for Entry {
    fn takes(&self, label: &Label, filter: Option<&gst::Caps>) -> gst::Caps {
        let outside = filtered(self.template.clone(), filter);
        let inside = label.downstream(&plain(&outside));
        filtered(labelled(&inside, &self.template), filter)
    }

    fn gives(&self, label: &Label, filter: Option<&gst::Caps>) -> gst::Caps {
        let wanted = filter.cloned().unwrap_or_else(gst::Caps::new_any);
        let outside = label.upstream(&labelled(&wanted, &self.template));
        filtered(plain(&outside.intersect(&self.template)), filter)
    }

    fn caps(&self, _: &Label, caps: &gst::Caps) -> Option<gst::Caps> {
        if let Ok(mut came) = self.came.lock() {
            *came = Some(caps.clone());
        }
        caps.is_subset(&self.template).then(|| plain(caps))
    }
}

impl End for Exit {
    fn takes(&self, label: &Label, filter: Option<&gst::Caps>) -> gst::Caps {
        let wanted = filter.cloned().unwrap_or_else(gst::Caps::new_any);
        let outside = label.downstream(&labelled(&wanted, &self.template));
        let all = outside.intersect(&self.template);
        let mut inside = gst::Caps::new_empty();
        if let Some(preferred) = &self.preferred {
            inside
                .merge(plain(&preferred.intersect_with_mode(&all, gst::CapsIntersectMode::First)));
        }
        inside.merge(plain(&all));
        filtered(inside, filter)
    }

    fn gives(&self, label: &Label, filter: Option<&gst::Caps>) -> gst::Caps {
        let outside = filtered(self.template.clone(), filter);
        let inside = label.upstream(&plain(&outside));
        filtered(labelled(&inside, &self.template), filter)
    }

    fn caps(&self, label: &Label, caps: &gst::Caps) -> Option<gst::Caps> {
        let came = self.came.as_ref().and_then(|came| came.lock().ok()?.clone());
        let mut candidates = labelled(caps, &self.template);
        if let Some(came) = came.filter(|came| !is_labelled(came) && plain(came) != *caps) {
            gst::debug!(gst::CAT_NEGOTIATION, obj = label, "only out of system memory: {came}");
            candidates = without_system_memory(&candidates);
        }
        let allowed = label.downstream(&candidates);
        let mut chosen = candidates.intersect_with_mode(&allowed, gst::CapsIntersectMode::First);
        if chosen.is_empty() {
            return None;
        }
        chosen.truncate();
        Some(chosen)
    }
}

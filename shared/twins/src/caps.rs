//! Memory features as labels: how caps look outside of a twin and inside of it. No element.

/// The same caps of system memory.
pub(crate) fn plain(caps: &gst::Caps) -> gst::Caps {
    if caps.is_any() {
        return caps.clone();
    }
    let mut plain = gst::Caps::new_empty();
    for structure in caps.iter() {
        plain.merge(gst::Caps::builder_full().structure(structure.to_owned()).build());
    }
    plain
}

/// The part of the template that stands for these caps of system memory, in the template's order.
pub(crate) fn labelled(plain: &gst::Caps, template: &gst::Caps) -> gst::Caps {
    if plain.is_any() {
        return template.clone();
    }
    let mut labelled = gst::Caps::new_empty();
    for (structure, features) in template.iter_with_features() {
        let mut outside = gst::Caps::new_empty();
        for candidate in plain.iter() {
            outside.merge(with_features(candidate, features));
        }
        let row = with_features(structure, features);
        labelled.merge(outside.intersect_with_mode(&row, gst::CapsIntersectMode::First));
    }
    labelled
}

/// Whether the first structure is of memory that is no system memory.
pub(crate) fn is_labelled(caps: &gst::CapsRef) -> bool {
    caps.features(0).is_some_and(|features| !is_system_memory(features))
}

/// Those of other memory.
pub(crate) fn without_system_memory(caps: &gst::Caps) -> gst::Caps {
    let mut rest = gst::Caps::new_empty();
    for (structure, features) in caps.iter_with_features() {
        if !is_system_memory(features) {
            rest.merge(with_features(structure, features));
        }
    }
    rest
}

fn is_system_memory(features: &gst::CapsFeaturesRef) -> bool {
    features.is_any()
        || features.contains("memory:SystemMemory")
        || !features.iter().any(|feature| feature.starts_with("memory:"))
}

fn with_features(structure: &gst::StructureRef, features: &gst::CapsFeaturesRef) -> gst::Caps {
    gst::Caps::builder_full()
        .structure_with_features(structure.to_owned(), features.to_owned())
        .build()
}

/// Those that the filter lets through.
pub(crate) fn filtered(caps: gst::Caps, filter: Option<&gst::Caps>) -> gst::Caps {
    match filter {
        Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
        None => caps,
    }
}

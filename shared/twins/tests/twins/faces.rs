//! Every twin has the name, the pads and the properties of its fixture.

use gst::glib;
use gst::prelude::*;
use rovercast_twins::fixture::{Element, Property, elements, fixtures};

const PLATFORMS: [&str; 8] = ["jetson", "orin-nano", "pi4", "pi5", "nvidia", "va", "vaapi", "qsv"];

fn on(platform: &str) -> impl Iterator<Item = &'static Element> {
    elements().filter(move |element| element.platforms.iter().any(|name| name == platform))
}

fn check_faces() {
    let platform = std::env::var(rovercast_twins::PLATFORMS).unwrap();
    let registry = gst::Registry::get();
    let registered = registry.features_by_plugin("rovercast_twins");
    assert_eq!(registered.len(), on(&platform).count());
    for element in on(&platform) {
        let factory = gst::ElementFactory::find(&element.factory).unwrap();
        assert_eq!(factory.plugin_name().unwrap(), "rovercast_twins");
        assert_eq!(i32::from(factory.rank()), element.rank, "{}", element.factory);
        assert_eq!(factory.metadata("klass").unwrap(), element.klass);
        let instance = factory.create().build().unwrap();
        assert_eq!(factory.num_pad_templates() as usize, element.pads.len());
        for pad in &element.pads {
            let template = instance.pad_template(&pad.name).unwrap();
            let caps: gst::Caps = pad.caps.join(";").parse().unwrap();
            assert_eq!(*template.caps(), caps, "{} {}", element.factory, pad.name);
            assert!(instance.static_pad(&pad.name).is_some(), "{}", element.factory);
        }
        check_properties(element, &instance);
        for action in &element.actions {
            let signal = glib::subclass::SignalId::lookup(action, instance.type_()).unwrap();
            assert!(signal.query().flags().contains(glib::SignalFlags::ACTION), "{action}");
        }
    }
}

fn check_properties(element: &Element, instance: &gst::Element) {
    // Those of every element and of every bin.
    let common = ["name", "parent", "async-handling", "message-forward"];
    let mut specs: Vec<_> = instance.list_properties().to_vec();
    specs.retain(|spec| !common.contains(&spec.name()));
    assert_eq!(specs.len(), element.properties.len(), "{}", element.factory);
    for property in &element.properties {
        let what = format!("{} {}", element.factory, property.name);
        let spec = instance.find_property(&property.name).unwrap_or_else(|| panic!("no {what}"));
        let read_only = property.access.as_deref() == Some("r");
        assert_eq!(spec.flags().contains(glib::ParamFlags::WRITABLE), !read_only, "{what}");
        let ready = property.mutable.as_deref() == Some("ready");
        assert_eq!(spec.flags().contains(gst::PARAM_FLAG_MUTABLE_READY), ready, "{what}");
        let text = |value: &Option<toml::Value>| match value {
            Some(toml::Value::String(text)) => text.clone(),
            Some(value) => value.as_integer().unwrap().to_string(),
            None => String::new(),
        };
        if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt>() {
            assert_eq!(spec.minimum().to_string(), text(&property.min), "{what}");
            assert_eq!(spec.maximum().to_string(), text(&property.max), "{what}");
            assert_eq!(spec.default_value().to_string(), text(&property.default), "{what}");
        } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecInt>() {
            assert_eq!(spec.minimum().to_string(), text(&property.min), "{what}");
            assert_eq!(spec.maximum().to_string(), text(&property.max), "{what}");
            assert_eq!(spec.default_value().to_string(), text(&property.default), "{what}");
        } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecEnum>() {
            check_nicks(element, property, spec);
        }
        // What an instance holds is of the right type and in range.
        let held = instance.property_value(&property.name);
        assert!(held.type_().is_a(spec.value_type()), "{what}");
    }
}

fn check_nicks(element: &Element, property: &Property, spec: &glib::ParamSpecEnum) {
    let name = property.enumeration.as_ref().unwrap();
    let mut tables = fixtures()
        .iter()
        .filter(|fixture| fixture.elements.iter().any(|other| std::ptr::eq(other, element)));
    let expected = &tables.next().unwrap().enums[name].values;
    let class = spec.enum_class();
    let found: Vec<_> =
        class.values().iter().map(|value| (value.value(), value.nick().to_owned())).collect();
    assert_eq!(found, *expected, "{} {}", element.factory, property.name);
    let default = spec.default_value_as_i32();
    let nick = class.value(default).unwrap().nick().to_owned();
    let expected = property.default.as_ref().unwrap();
    assert_eq!(Some(nick.as_str()), expected.as_str(), "{} {}", element.factory, property.name);
}

#[test]
fn twins_have_the_faces_of_the_fixtures() {
    if crate::common::is_child() {
        gst::init().unwrap();
        return check_faces();
    }
    for platform in PLATFORMS {
        assert!(on(platform).next().is_some(), "{platform}");
        crate::common::with_twins(
            "faces::twins_have_the_faces_of_the_fixtures",
            platform,
            check_faces,
        );
    }
}

#[test]
fn nothing_is_registered_without_a_platform() {
    crate::common::with_twins("faces::nothing_is_registered_without_a_platform", "", || {
        for element in elements() {
            let found = gst::ElementFactory::find(&element.factory);
            let twin = found.is_some_and(|f| f.plugin_name().unwrap() == "rovercast_twins");
            assert!(!twin, "{}", element.factory);
        }
    });
}

/// A cached registry is read again when the platform has changed.
#[test]
fn one_registry_serves_changing_platforms() {
    let mut environment = rovercast_twins::place::environment("va").unwrap();
    let registry = std::env::temp_dir().join(format!("rovercast-twins-{}", std::process::id()));
    environment.retain(|(name, _)| name == "GST_PLUGIN_PATH");
    let exists = |platform: &str, factory: &str| {
        std::process::Command::new("gst-inspect-1.0")
            .args(["--exists", factory])
            .envs(environment.iter().cloned())
            .env("GST_REGISTRY", &registry)
            .env(rovercast_twins::PLATFORMS, platform)
            .status()
            .unwrap()
            .success()
    };
    let found: Vec<_> = ["jetson", "pi4", "jetson"]
        .map(|platform| (exists(platform, "nvv4l2h264enc"), exists(platform, "v4l2h264enc")))
        .to_vec();
    std::fs::remove_file(&registry).unwrap();
    assert_eq!(found, [(true, false), (false, true), (true, false)]);
}

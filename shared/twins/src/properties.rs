//! GObject property specifications and values made from the fixtures.

use std::collections::BTreeMap;
use std::sync::Mutex;

use gst::glib::{self, ParamFlags, ParamSpec, Value};
use gst::prelude::*;

use crate::fixture::{Element, Property};

/// The specifications of an element's properties.
pub(crate) fn specifications(element: &Element) -> Vec<ParamSpec> {
    element
        .properties
        .iter()
        .map(|property| {
            specification(property)
                .unwrap_or_else(|| panic!("fixture: {} {}", element.factory, property.name))
        })
        .collect()
}

/// The values that an instance holds.
#[derive(Default)]
pub(crate) struct Values(Mutex<BTreeMap<String, Held>>);

/// A value that threads may share: a GObject value as such may not.
enum Held {
    Plain(glib::SendValue),
    Enum(i32),
    Flags(u32),
}

impl Values {
    /// Stores one.
    pub(crate) fn set(&self, name: &str, value: &Value) {
        if let (Ok(mut values), Some(held)) = (self.0.lock(), held(value)) {
            values.insert(name.to_owned(), held);
        }
    }

    /// The one stored, else what a new instance holds.
    pub(crate) fn get(&self, element: &Element, spec: &ParamSpec) -> Value {
        let stored = self.0.lock().ok().and_then(|values| match values.get(spec.name())? {
            Held::Plain(value) => Some(Value::from(value.clone())),
            Held::Enum(number) => glib::EnumClass::with_type(spec.value_type())?.to_value(*number),
            Held::Flags(bits) => {
                glib::FlagsClass::with_type(spec.value_type())?.builder().set(*bits).build()
            }
        });
        stored.unwrap_or_else(|| initial(element, spec))
    }
}

fn held(value: &Value) -> Option<Held> {
    macro_rules! plain {
        ($($type:ty),*) => {
            $(if let Ok(plain) = value.get::<$type>() {
                return Some(Held::Plain(plain.to_send_value()));
            })*
        };
    }
    plain!(bool, i32, u32, u64, f32, f64, Option<String>, Option<gst::Structure>, gst::Array);
    if let Some((_, value)) = glib::EnumValue::from_value(value) {
        return Some(Held::Enum(value.value()));
    }
    let (_, flags) = glib::FlagsValue::from_value(value)?;
    Some(Held::Flags(flags.iter().fold(0, |bits, flag| bits | flag.value())))
}

/// A value as a number, where it is one.
pub(crate) fn number(value: &Value) -> Option<i64> {
    value
        .get::<u32>()
        .map(i64::from)
        .or_else(|_| value.get::<i32>().map(i64::from))
        .or_else(|_| value.get::<bool>().map(i64::from))
        .ok()
}

/// The nick of an enumeration's value.
pub(crate) fn nick(value: &Value) -> Option<String> {
    glib::EnumValue::from_value(value).map(|(_, value)| value.nick().to_owned())
}

fn initial(element: &Element, spec: &ParamSpec) -> Value {
    let property = element.property(spec.name());
    match property.and_then(|property| property.instance_default.as_ref()) {
        Some(toml::Value::Boolean(value)) => value.to_value(),
        Some(toml::Value::Integer(value)) if spec.value_type() == u32::static_type() => {
            u32::try_from(*value).unwrap_or_default().to_value()
        }
        // An empty text stands for none.
        Some(toml::Value::String(text)) => Some(text).filter(|text| !text.is_empty()).to_value(),
        _ => spec.default_value().clone(),
    }
}

fn specification(property: &Property) -> Option<ParamSpec> {
    let name = property.name.as_str();
    let flags = flags(property);
    let integer = |value: &Option<toml::Value>| match value {
        Some(toml::Value::Integer(value)) => Some(i128::from(*value)),
        Some(toml::Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let float = |value: &Option<toml::Value>| value.as_ref().and_then(toml::Value::as_float);
    let text = || property.default.as_ref().and_then(toml::Value::as_str);
    macro_rules! numeric {
        ($builder:ty, $type:ty) => {
            <$builder>::builder(name)
                .minimum(<$type>::try_from(integer(&property.min)?).ok()?)
                .maximum(<$type>::try_from(integer(&property.max)?).ok()?)
                .default_value(<$type>::try_from(integer(&property.default)?).ok()?)
                .flags(flags)
                .build()
        };
    }
    Some(match property.kind.as_str() {
        "boolean" => glib::ParamSpecBoolean::builder(name)
            .default_value(property.default.as_ref()?.as_bool()?)
            .flags(flags)
            .build(),
        "int" => numeric!(glib::ParamSpecInt, i32),
        "uint" => numeric!(glib::ParamSpecUInt, u32),
        "uint64" => numeric!(glib::ParamSpecUInt64, u64),
        "float" => glib::ParamSpecFloat::builder(name)
            .minimum(float(&property.min)? as f32)
            .maximum(float(&property.max)? as f32)
            .default_value(float(&property.default)? as f32)
            .flags(flags)
            .build(),
        "double" => glib::ParamSpecDouble::builder(name)
            .minimum(float(&property.min)?)
            .maximum(float(&property.max)?)
            .default_value(float(&property.default)?)
            .flags(flags)
            .build(),
        "string" => glib::ParamSpecString::builder(name).default_value(text()).flags(flags).build(),
        "structure" => glib::ParamSpecBoxed::builder::<gst::Structure>(name).flags(flags).build(),
        "array" => gst::ParamSpecArray::builder(name).flags(flags).build(),
        "enum" if property.enumeration.as_deref() == Some("GstVideoOrientationMethod") => {
            spec(name, gst_video::VideoOrientationMethod::Identity, flags)
        }
        "enum" => enumeration(property.enumeration.as_deref()?, name, text()?, flags)?,
        "flags" => {
            use gst_video::VideoDecoderRequestSyncPointFlags as Flags;
            glib::ParamSpecFlags::builder::<Flags>(name)
                .default_value(Flags::DISCARD_INPUT | Flags::CORRUPT_OUTPUT)
                .flags(flags)
                .build()
        }
        _ => return None,
    })
}

fn flags(property: &Property) -> ParamFlags {
    let mut flags = ParamFlags::READABLE;
    if property.access.as_deref() != Some("r") {
        flags |= ParamFlags::WRITABLE;
    }
    if property.construct {
        flags |= ParamFlags::CONSTRUCT;
    }
    if property.controllable {
        flags |= gst::PARAM_FLAG_CONTROLLABLE;
    }
    match property.mutable.as_deref() {
        Some("ready") => flags |= gst::PARAM_FLAG_MUTABLE_READY,
        Some("paused") => flags |= gst::PARAM_FLAG_MUTABLE_PAUSED,
        Some("playing") => flags |= gst::PARAM_FLAG_MUTABLE_PLAYING,
        _ => {}
    }
    flags
}

fn spec<T>(name: &str, default: T, flags: ParamFlags) -> ParamSpec
where
    T: glib::HasParamSpec<ParamSpec = glib::ParamSpecEnum>
        + StaticType
        + glib::translate::FromGlib<i32>
        + glib::translate::IntoGlib<GlibType = i32>,
{
    glib::ParamSpecEnum::builder_with_default(name, default).flags(flags).build()
}

include!(concat!(env!("OUT_DIR"), "/enums.rs"));

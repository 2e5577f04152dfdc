//! The facts about the elements, from `fixtures/*.toml`: what they are called and look like, not
//! what they do.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

/// One platform's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// The enumerations of its properties, by type name.
    pub enums: BTreeMap<String, Enumeration>,
    /// The V4L2 controls of its encoder.
    #[serde(default)]
    pub controls: Vec<Control>,
    /// Its elements.
    #[serde(rename = "element")]
    pub elements: Vec<Element>,
}

/// The values of an enumeration or of flags.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enumeration {
    /// Values may be joined.
    #[serde(default)]
    pub flags: bool,
    /// Number and nick of each.
    pub values: Vec<(i32, String)>,
}

/// A V4L2 control.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// As `extra-controls` spells it.
    pub name: String,
    /// `int`, `menu`, `bool` or `button`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Absent for a button.
    pub default: Option<toml::Value>,
    /// For `int`.
    pub min: Option<i32>,
    /// For `int`.
    pub max: Option<i32>,
    /// For `int`: values are rounded to it.
    pub step: Option<i32>,
    /// For `menu`: the values that exist.
    #[serde(default)]
    pub menu: Vec<i32>,
    /// Takes effect while the stream runs.
    #[serde(default)]
    pub live: bool,
}

/// An element's face.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Element {
    /// The name of its factory.
    pub factory: String,
    /// Where it exists; the words of `ROVERCAST_TWINS`.
    pub platforms: Vec<String>,
    /// The real plugin that holds it.
    pub plugin: String,
    /// Its class, such as `Codec/Encoder/Video`.
    pub klass: String,
    /// Its long name.
    pub long_name: String,
    /// Its rank.
    pub rank: i32,
    /// Its action signals; none of them has arguments.
    #[serde(default)]
    pub actions: Vec<String>,
    /// Its properties, without those of every element.
    pub properties: Vec<Property>,
    /// Its always-pads.
    pub pads: Vec<Pad>,
}

/// A property.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// `boolean`, `int`, `uint`, `uint64`, `float`, `double`, `string`, `enum`, `flags`,
    /// `structure` or `array`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The enumeration of an `enum` or of `flags`.
    #[serde(rename = "enum")]
    pub enumeration: Option<String>,
    /// The specification's default. A nick for an `enum`.
    pub default: Option<toml::Value>,
    /// What a new instance holds, where that differs.
    pub instance_default: Option<toml::Value>,
    /// Least value. Text where the number is too great for TOML.
    pub min: Option<toml::Value>,
    /// Greatest value. Text where the number is too great for TOML.
    pub max: Option<toml::Value>,
    /// `r` or `rw`; absent = `rw`.
    pub access: Option<String>,
    /// `bit/s` or `kbit/s`, for rates.
    pub unit: Option<String>,
    /// The state up to which it may be changed, as its specification says: `ready`, `playing`.
    pub mutable: Option<String>,
    /// Set at construction.
    #[serde(default)]
    pub construct: bool,
    /// May be bound to a controller.
    #[serde(default)]
    pub controllable: bool,
    /// A write while the element runs takes effect.
    #[serde(default)]
    pub live: bool,
}

/// A pad template.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// Its name.
    pub name: String,
    /// `sink` or `src`.
    pub direction: String,
    /// Its caps, the preferred ones first.
    pub caps: Vec<String>,
}

/// All fixtures, read once.
pub fn fixtures() -> &'static [Fixture] {
    static FIXTURES: OnceLock<Vec<Fixture>> = OnceLock::new();
    FIXTURES.get_or_init(|| {
        [
            include_str!("../fixtures/jetson.toml"),
            include_str!("../fixtures/pi.toml"),
            include_str!("../fixtures/nvidia.toml"),
            include_str!("../fixtures/va.toml"),
        ]
        .into_iter()
        // They are part of this crate, and its tests read them all.
        .map(|text| toml::from_str(text).unwrap_or_else(|error| panic!("fixture: {error}")))
        .collect()
    })
}

/// The elements of all fixtures, in their order.
pub fn elements() -> impl Iterator<Item = &'static Element> {
    fixtures().iter().flat_map(|fixture| &fixture.elements)
}

impl Element {
    /// Its property of this name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// The first of these that it has.
    pub fn first_of(&self, names: &[&str]) -> Option<&Property> {
        names.iter().find_map(|name| self.property(name))
    }

    /// The caps of its pads in this direction, joined.
    pub fn caps(&self, direction: &str) -> String {
        let pads = self.pads.iter().filter(|pad| pad.direction == direction);
        pads.flat_map(|pad| pad.caps.iter().map(String::as_str)).collect::<Vec<_>>().join("; ")
    }

    /// What it does, told by its class.
    pub fn role(&self) -> Role {
        let klass = |part: &str| self.klass.split('/').any(|found| found == part);
        if klass("Encoder") {
            Role::Encoder
        } else if klass("Decoder") {
            Role::Decoder
        } else if klass("Source") || klass("Capture") {
            Role::Source
        } else {
            Role::Converter
        }
    }
}

/// What an element does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Pictures to a stream.
    Encoder,
    /// A stream to pictures.
    Decoder,
    /// Pictures to pictures.
    Converter,
    /// Pictures out of nothing.
    Source,
}

//! Writes a Rust enum for every enumeration in the fixtures: a GObject enumeration needs a type
//! known at compile time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

#[derive(serde::Deserialize)]
struct Fixture {
    enums: BTreeMap<String, Enumeration>,
}

#[derive(serde::Deserialize, PartialEq)]
struct Enumeration {
    #[serde(default)]
    flags: bool,
    values: Vec<(i32, String)>,
}

/// GStreamer has these already.
const EXISTING: [&str; 2] = ["GstVideoOrientationMethod", "GstVideoDecoderRequestSyncPointFlags"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut all: BTreeMap<String, Enumeration> = BTreeMap::new();
    for platform in ["jetson", "pi", "nvidia", "va"] {
        let path = format!("fixtures/{platform}.toml");
        println!("cargo::rerun-if-changed={path}");
        let fixture: Fixture = toml::from_str(&std::fs::read_to_string(&path)?)?;
        for (name, enumeration) in fixture.enums {
            if all.get(&name).is_some_and(|other| *other != enumeration) {
                return Err(format!("{path}: {name} differs from that of another platform").into());
            }
            if !EXISTING.contains(&name.as_str()) {
                if enumeration.flags {
                    return Err(format!("{path}: {name}: flags are not generated").into());
                }
                all.insert(name, enumeration);
            }
        }
    }
    let folder = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&folder).join("enums.rs"), source(&all)?)?;
    Ok(())
}

/// The types, and `enumeration`, which makes the property specification for one of them.
fn source(all: &BTreeMap<String, Enumeration>) -> Result<String, std::fmt::Error> {
    let mut types = String::new();
    let mut rows = String::new();
    for (index, (name, enumeration)) in all.iter().enumerate() {
        // Another name than the real one: that may be registered by the real plugin.
        writeln!(types, "#[derive(Clone, Copy, Debug, PartialEq, Eq, gst::glib::Enum)]")?;
        writeln!(types, "#[repr(i32)]\n#[enum_type(name = \"RovercastTwin{name}\")]")?;
        writeln!(types, "enum E{index} {{")?;
        write!(rows, "{name:?} => match default {{ ")?;
        for (position, (value, nick)) in enumeration.values.iter().enumerate() {
            writeln!(types, "    #[enum_value(name = {nick:?}, nick = {nick:?})]")?;
            writeln!(types, "    V{position} = {value},")?;
            write!(rows, "{nick:?} => Some(spec(name, E{index}::V{position}, flags)), ")?;
        }
        writeln!(types, "}}")?;
        writeln!(rows, "_ => None }},")?;
    }
    Ok(format!(
        "{types}fn enumeration(kind: &str, name: &str, default: &str, flags: ParamFlags) \
         -> Option<ParamSpec> {{ match kind {{ {rows} _ => None }} }}\n"
    ))
}

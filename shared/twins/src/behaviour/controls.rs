//! The V4L2 controls of an encoder, as `extra-controls` writes them. No element.

use std::collections::BTreeMap;

use crate::fixture::Control;

/// The values that a device holds.
#[derive(Debug)]
pub(crate) struct Controls {
    table: &'static [Control],
    values: BTreeMap<&'static str, i32>,
}

/// What came of writing a structure.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// The live controls that it wrote.
    pub(crate) live: Vec<&'static str>,
    /// What was dropped, and why.
    pub(crate) dropped: Vec<String>,
}

impl Controls {
    /// The defaults.
    pub(crate) fn new(table: &'static [Control]) -> Self {
        let default = |control: &'static Control| {
            let default = control.default.as_ref()?;
            let number = default.as_bool().map(i64::from).or_else(|| default.as_integer())?;
            Some((control.name.as_str(), i32::try_from(number).ok()?))
        };
        Self { table, values: table.iter().filter_map(default).collect() }
    }

    /// The value of a control; 0 if there is none.
    pub(crate) fn get(&self, name: &str) -> i32 {
        self.values.get(name).copied().unwrap_or_default()
    }

    /// Writes each field, as the driver takes it: numbers into their range, what is of another
    /// type or unknown not at all.
    pub(crate) fn write(&mut self, structure: &gst::StructureRef) -> Written {
        let mut written = Written::default();
        for (name, value) in structure.iter() {
            let Some(control) = self.table.iter().find(|control| control.name == name.as_str())
            else {
                written.dropped.push(format!("{name}: no such control"));
                continue;
            };
            let number = value.get::<i32>().or_else(|_| value.get::<bool>().map(i32::from));
            let Ok(number) = number else {
                let kind = value.type_().name();
                written.dropped.push(format!("{name}: {kind} is not a type of controls"));
                continue;
            };
            match taken(control, number) {
                Some(number) => {
                    self.values.insert(&control.name, number);
                    if control.live {
                        written.live.push(&control.name);
                    }
                }
                None => written.dropped.push(format!("{name}: {number} is not on its menu")),
            }
        }
        written
    }
}

fn taken(control: &Control, number: i32) -> Option<i32> {
    match control.kind.as_str() {
        "int" => {
            let min = control.min.unwrap_or(i32::MIN);
            let step = control.step.unwrap_or(1).max(1);
            let number = number.clamp(min, control.max.unwrap_or(i32::MAX));
            Some(min + (number - min) / step * step)
        }
        "menu" => control.menu.contains(&number).then_some(number),
        "bool" => Some(i32::from(number != 0)),
        _ => Some(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_taken_as_the_driver_takes_them() {
        gst::init().unwrap();
        let table = &crate::fixture::fixtures()[1].controls;
        let mut controls = Controls::new(table);
        assert_eq!(controls.get("video_bitrate"), 10_000_000);
        let structure = gst::Structure::builder("c")
            .field("video_bitrate", 1_990_000)
            .field("h264_i_frame_period", 30_u32)
            .field("video_bitrate_mode", 2)
            .field("repeat_sequence_header", true)
            .field("intra_refresh", 1)
            .build();
        let written = controls.write(&structure);
        assert_eq!(controls.get("video_bitrate"), 1_975_000, "in steps");
        assert_eq!(controls.get("h264_i_frame_period"), 60, "unsigned");
        assert_eq!(controls.get("video_bitrate_mode"), 0, "not on the menu");
        assert_eq!(controls.get("repeat_sequence_header"), 1);
        assert_eq!(written.live, ["video_bitrate"]);
        assert_eq!(written.dropped.len(), 3, "{:?}", written.dropped);
    }
}

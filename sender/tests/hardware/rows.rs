//! The rows of the table are right for their hardware, and would not pass if they were wrong.

use gst::prelude::*;
use gst_app::AppSink;
use rovercast_sender::camera::drive;
use rovercast_sender::camera::encoder::{
    Converter, ENCODERS, Encoder, KeyFrame, ParameterSets, Parameters, Property, Value,
};
use rovercast_sender::camera::probe::trial::{self, Trial, Verdict};
use rovercast_twins::fixture::{Role, elements};

use crate::with_twins;

const ALL: &str = "jetson,pi4,nvidia,va,vaapi,qsv";

const PARAMETERS: Parameters =
    Parameters { width: 320, height: 240, fps: 30, bitrate_kbps: 1000, cores: 1 };

/// Those of newer versions than the twins are of.
const NEWER: [&str; 1] = ["tune"];

/// The row of each hardware encoder that has a twin.
fn rows() -> impl Iterator<Item = &'static Encoder> {
    ENCODERS.iter().filter(|row| {
        let twin = |factory: &str| elements().any(|element| element.factory == factory);
        twin(row.factory)
    })
}

/// Whether a row drives its encoder as it should; what is wrong otherwise.
fn judge(row: &'static Encoder) -> Result<(), String> {
    let plugin = elements().find(|element| element.factory == row.factory).unwrap().plugin.as_str();
    let family = || elements().filter(|e| e.plugin == plugin && e.role() == Role::Encoder);
    for Property { name, .. } in row.properties {
        if !NEWER.contains(name) && !family().any(|element| element.property(name).is_some()) {
            return Err(format!("no version has {name}"));
        }
    }
    let Parameters { width, height, fps, bitrate_kbps, .. } = PARAMETERS;
    let trial = Trial { factory: row.factory.to_owned(), width, height, fps, bitrate_kbps };
    match trial::run_row(row, &trial) {
        Verdict::Works { delay_frames: 0 } => {}
        Verdict::Works { delay_frames } => return Err(format!("late by {delay_frames}")),
        Verdict::Fails(reason) => return Err(reason),
    }
    let rate_kbps = rate_kbps(row)?;
    if (600..1500).contains(&rate_kbps) {
        Ok(())
    } else {
        Err(format!("{rate_kbps} kbit/s for {bitrate_kbps}"))
    }
}

/// What it spends on pictures that every bit helps with.
fn rate_kbps(row: &Encoder) -> Result<usize, String> {
    const FRAMES: usize = 60;
    let Parameters { width, height, fps, .. } = PARAMETERS;
    let launch = format!(
        "videotestsrc pattern=snow num-buffers={FRAMES} \
         ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! {} ! {} ! {} \
         ! appsink name=units sync=false",
        row.upload(),
        row.input_caps(width, height),
        drive::launch(row, PARAMETERS)?
    );
    let pipeline = gst::parse::launch(&launch).map_err(|error| error.to_string())?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let units = pipeline.by_name("units").unwrap().downcast::<AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).map_err(|error| error.to_string())?;
    let patience = gst::ClockTime::from_seconds(20);
    let sizes = std::iter::from_fn(|| units.try_pull_sample(patience));
    let sizes: Vec<_> = sizes.map(|unit| unit.buffer().unwrap().size()).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    if sizes.len() != FRAMES {
        return Err(format!("{} access units of {FRAMES} frames", sizes.len()));
    }
    // The first frames take what they need.
    let settled = &sizes[FRAMES / 3..];
    Ok(settled.iter().sum::<usize>() * 8 * fps as usize / settled.len() / 1000)
}

/// The same row, but for these fields.
fn like(row: &Encoder) -> Encoder {
    Encoder {
        properties: row.properties,
        factory: row.factory,
        output: row.output,
        format: row.format,
        package: row.package,
        ..*row
    }
}

/// With those of its properties otherwise that `change` has another for; none where there are none.
fn with(row: &Encoder, change: impl Fn(&Property) -> Option<Property>) -> Option<Encoder> {
    row.properties.iter().find_map(&change)?;
    let changed = |property: &Property| change(property).unwrap_or(Property { ..*property });
    let properties: Vec<_> = row.properties.iter().map(changed).collect();
    Some(Encoder { properties: properties.leak(), ..like(row) })
}

fn valued(row: &Encoder, change: impl Fn(&Property) -> Option<Value>) -> Option<Encoder> {
    with(row, |property| Some(Property { value: change(property)?, ..*property }))
}

/// What may be wrong with a row; none where it cannot be.
type Mutation = fn(&Encoder) -> Option<Encoder>;

const MUTATIONS: [(&str, Mutation); 9] = [
    ("a property that no version has", |row| {
        with(row, |property| {
            let limits = property.name == "min-force-key-unit-interval";
            limits.then_some(Property { name: "min-force-key-frame-interval", ..*property })
        })
    }),
    ("a bitrate beyond the range", |row| {
        valued(row, |property| match property.value {
            Value::BitrateBps => Some(Value::Fixed("5000000000")),
            Value::BitrateKbps => Some(Value::Fixed("3000000000")),
            Value::V4l2Controls => {
                Some(Value::Fixed("controls,video_bitrate=90000000,repeat_sequence_header=1"))
            }
            _ => None,
        })
    }),
    ("a word that the property does not know", |row| {
        let words = ["control-rate", "rate-control", "rc-mode"];
        valued(row, |property| {
            words.contains(&property.name).then_some(Value::Fixed("constant-bit-rate"))
        })
    }),
    ("another unit of the bitrate", |row| {
        valued(row, |property| match property.value {
            Value::BitrateBps => Some(Value::BitrateKbps),
            Value::BitrateKbps => Some(Value::BitrateBps),
            Value::V4l2Controls => Some(Value::Fixed(
                "controls,video_bitrate=1000,h264_i_frame_period=1800,repeat_sequence_header=1",
            )),
            _ => None,
        })
    }),
    ("memory of another kind", |row| {
        let converter = match row.converter {
            Converter::Nvvidconv => Converter::Software,
            Converter::Cuda => Converter::Va,
            Converter::Va => Converter::Cuda,
            Converter::V4l2 | Converter::Software => Converter::Nvvidconv,
        };
        Some(Encoder { converter, ..like(row) })
    }),
    ("a format that it does not take", |row| Some(Encoder { format: "GRAY8", ..like(row) })),
    ("no level", |row| row.needs_level.then(|| Encoder { needs_level: false, ..like(row) })),
    ("parameter sets just once", |row| match row.parameter_sets {
        ParameterSets::Encoder => valued(row, |property| match property.value {
            Value::V4l2Controls => {
                Some(Value::Fixed("controls,video_bitrate=1000000,h264_i_frame_period=1800"))
            }
            _ => None,
        }),
        ParameterSets::Property(_) | ParameterSets::Parser => {
            Some(Encoder { parameter_sets: ParameterSets::Encoder, ..like(row) })
        }
    }),
    ("key frames asked for in a way that it ignores", |row| match row.key_frame {
        KeyFrame::Control { .. } => Some(Encoder { key_frame: KeyFrame::Event, ..like(row) }),
        KeyFrame::Event | KeyFrame::Property(_) => None,
    }),
];

#[test]
fn every_row_is_right() {
    with_twins("rows::every_row_is_right", ALL, || {
        assert!(rows().count() >= 10, "{:?}", rows().map(|row| row.factory).collect::<Vec<_>>());
        for row in rows() {
            assert_eq!(judge(row), Ok(()), "{}", row.factory);
        }
    });
}

#[test]
fn a_row_that_is_wrong_does_not_pass() {
    with_twins("rows::a_row_that_is_wrong_does_not_pass", ALL, || {
        for (what, mutation) in MUTATIONS {
            let wrong: Vec<_> = rows().filter_map(mutation).collect();
            assert!(!wrong.is_empty(), "{what} is tried on no row");
            for row in wrong {
                let row: &'static Encoder = Box::leak(Box::new(row));
                let verdict = judge(row);
                println!("{}, {what}: {verdict:?}", row.factory);
                assert!(verdict.is_err(), "{} passes with {what}", row.factory);
            }
        }
    });
}

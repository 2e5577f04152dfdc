//! Which decoder is next: the settings, what is installed, and what was found not to work. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use rovercast_protocol::codec::Codec;
use serde::de::{Deserialize, Deserializer, Error};

use super::table::{Row, rows, way};

/// Decoding, as a config file says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecodeSettings {
    /// Decoders that are tried before all others, in this order: factory names, such as
    /// `avdec_h264`. None by default.
    pub prefer: Vec<DecoderName>,
}

/// The factory name of a decoder that the table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecoderName(&'static str);

impl DecoderName {
    /// As GStreamer spells it.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for DecoderName {
    type Err = String;

    /// The error names all that there are.
    fn from_str(name: &str) -> Result<Self, String> {
        let known = rows().find(|row| row.factory == name);
        known.map(|row| Self(row.factory)).ok_or_else(|| {
            let mut names: Vec<_> = rows().map(|row| row.factory).collect();
            names.sort_unstable();
            names.dedup();
            format!("no decoder is called {name:?}; there are {}", names.join(", "))
        })
    }
}

impl<'de> Deserialize<'de> for DecoderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A decoder of software may fail so often in one view before the next row is tried: what it
/// stumbles over may be in the stream.
const SOFTWARE_FAILURES: u32 = 3;

/// After so many pictures earlier failures of a decoder of software are forgiven.
const FORGIVEN_PICTURES: u64 = 100;

/// What the process has learnt of its decoders.
#[derive(Debug, Default)]
pub struct Choice {
    prefer: Vec<DecoderName>,
    /// Drivers that do not work here, and why. They are not tried again.
    aside: Vec<(Codec, &'static str, String)>,
}

/// What one view has seen of decoders of software: how often each failed, and why at last.
#[derive(Debug, Default)]
pub struct Tries(BTreeMap<&'static str, (u32, String)>);

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No view uses it any more.
    Aside,
    /// Another view has found that out before.
    AsideAlready,
    /// It is started anew.
    Again,
    /// This view does without it from now on.
    GivenUp,
}

impl Choice {
    /// Nothing is known yet but the settings.
    pub fn new(settings: &DecodeSettings) -> Self {
        Self { prefer: settings.prefer.clone(), aside: Vec::new() }
    }

    /// The best decoder that is `installed`, and has not failed. The error says what to do.
    pub fn next(
        &self,
        codec: Codec,
        tries: &Tries,
        installed: impl Fn(&str) -> bool,
    ) -> Result<&'static Row, String> {
        let rows = way(codec).rows;
        let preferred = self
            .prefer
            .iter()
            .filter_map(|name| rows.iter().find(|row| row.factory == name.as_str()));
        let mut candidates = preferred.chain(rows);
        let found = candidates
            .find(|row| self.failure(codec, row, tries).is_none() && installed(row.factory));
        found.ok_or_else(|| self.complaint(codec, tries, installed))
    }

    /// A decoder has failed after so many pictures.
    pub fn failed(
        &mut self,
        codec: Codec,
        row: &'static Row,
        reason: &str,
        pictures: u64,
        tries: &mut Tries,
    ) -> Verdict {
        if row.hardware {
            if self.is_aside(codec, row) {
                return Verdict::AsideAlready;
            }
            self.aside.push((codec, row.factory, reason.to_owned()));
            return Verdict::Aside;
        }
        let (failures, last) = tries.0.entry(row.factory).or_default();
        *failures = if pictures >= FORGIVEN_PICTURES { 1 } else { *failures + 1 };
        reason.clone_into(last);
        if *failures < SOFTWARE_FAILURES { Verdict::Again } else { Verdict::GivenUp }
    }

    /// Whether no view uses it any more.
    pub fn is_aside(&self, codec: Codec, row: &Row) -> bool {
        self.aside.iter().any(|&(of, factory, _)| of == codec && factory == row.factory)
    }

    fn failure<'a>(&'a self, codec: Codec, row: &Row, tries: &'a Tries) -> Option<&'a str> {
        let aside = self.aside.iter();
        let aside = aside.filter(|(of, factory, _)| *of == codec && *factory == row.factory);
        let given_up =
            tries.0.get(row.factory).filter(|(failures, _)| *failures >= SOFTWARE_FAILURES);
        let mut reasons =
            aside.map(|(_, _, reason)| reason).chain(given_up.map(|(_, reason)| reason));
        reasons.next().map(String::as_str)
    }

    /// Why there is none, and what helps: only what every computer can have is to be installed.
    fn complaint(&self, codec: Codec, tries: &Tries, installed: impl Fn(&str) -> bool) -> String {
        let rows = way(codec).rows.iter();
        let failures: Vec<_> = rows
            .clone()
            .filter_map(|row| {
                Some(format!("{}: {}", row.factory, self.failure(codec, row, tries)?))
            })
            .collect();
        let missing: Vec<_> = rows
            .filter(|row| !row.hardware && !installed(row.factory))
            .map(|row| format!("{} ({})", row.factory, row.package))
            .collect();
        let mut complaint = format!("no {} decoder", codec.encoding_name());
        if !failures.is_empty() {
            complaint += &format!(" works here: {}", failures.join("; "));
        }
        if !missing.is_empty() {
            let install = if failures.is_empty() { ": install" } else { "; install" };
            complaint += &format!("{install} {}", missing.join(" or "));
        }
        complaint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factory(choice: &Choice, tries: &Tries) -> &'static str {
        choice.next(Codec::H264, tries, |_| true).unwrap().factory
    }

    fn fail(choice: &mut Choice, tries: &mut Tries, reason: &str, pictures: u64) -> Verdict {
        let row = choice.next(Codec::H264, tries, |_| true).unwrap();
        choice.failed(Codec::H264, row, reason, pictures, tries)
    }

    fn preferring(names: &[&str]) -> Choice {
        let prefer = names.iter().map(|name| name.parse().unwrap()).collect();
        Choice::new(&DecodeSettings { prefer })
    }

    #[test]
    fn the_best_that_is_installed() {
        let (choice, tries) = (Choice::default(), Tries::default());
        for codec in Codec::ALL {
            for row in way(codec).rows {
                let next = choice.next(codec, &tries, |name| name == row.factory).unwrap();
                assert_eq!(next.factory, row.factory);
            }
            assert_eq!(choice.next(codec, &tries, |_| true).unwrap().factory, "nvv4l2decoder");
            let error = choice.next(codec, &tries, |_| false).unwrap_err();
            assert!(error.contains(": install ") && error.contains(" or "), "{error}");
            assert!(error.contains("gstreamer1.0-libav"), "{error}");
            assert!(error.contains(codec.encoding_name()) && !error.contains("nvv4l2"), "{error}");
        }
    }

    #[test]
    fn drivers_that_failed_stay_aside_for_every_view() {
        let (mut choice, mut tries) = (Choice::default(), Tries::default());
        let row = choice.next(Codec::H264, &tries, |_| true).unwrap();
        assert_eq!(fail(&mut choice, &mut tries, "it hangs", 5000), Verdict::Aside);
        assert_eq!(factory(&choice, &Tries::default()), "nvh264dec");
        let twice = choice.failed(Codec::H264, row, "it hangs", 0, &mut tries);
        assert_eq!(twice, Verdict::AsideAlready);
        // The same element may well decode another codec.
        let other = choice.next(Codec::H265, &tries, |_| true).unwrap();
        assert_eq!(other.factory, "nvv4l2decoder");
    }

    #[test]
    fn software_is_tried_again_but_not_for_ever() {
        let mut choice = preferring(&["avdec_h264"]);
        let mut tries = Tries::default();
        assert_eq!(fail(&mut choice, &mut tries, "damaged", 0), Verdict::Again);
        assert_eq!(fail(&mut choice, &mut tries, "damaged", 99), Verdict::Again);
        // It has shown since that it can.
        assert_eq!(fail(&mut choice, &mut tries, "damaged", 100), Verdict::Again);
        assert_eq!(fail(&mut choice, &mut tries, "damaged", 0), Verdict::Again);
        assert_eq!(factory(&choice, &tries), "avdec_h264");
        assert_eq!(fail(&mut choice, &mut tries, "damaged", 0), Verdict::GivenUp);
        assert_eq!(factory(&choice, &tries), "nvv4l2decoder");
        // Another view's stream may be sound.
        assert_eq!(factory(&choice, &Tries::default()), "avdec_h264");
    }

    #[test]
    fn when_all_have_failed_the_reasons_are_told() {
        let (mut choice, mut tries) = (Choice::default(), Tries::default());
        let installed = |name: &str| ["nvh264dec", "avdec_h264"].contains(&name);
        while let Ok(row) = choice.next(Codec::H264, &tries, installed) {
            choice.failed(Codec::H264, row, &format!("{} died", row.factory), 0, &mut tries);
        }
        assert_eq!(
            choice.next(Codec::H264, &tries, installed).unwrap_err(),
            "no H264 decoder works here: nvh264dec: nvh264dec died; avdec_h264: avdec_h264 died; \
             install openh264dec (gstreamer1.0-plugins-bad)"
        );
    }

    #[test]
    fn what_is_preferred_comes_first_in_its_order() {
        let mut choice = preferring(&["openh264dec", "vp8dec", "v4l2h264dec"]);
        let mut tries = Tries::default();
        let mut order = Vec::new();
        while let Ok(row) = choice.next(Codec::H264, &tries, |_| true) {
            if order.last() != Some(&row.factory) {
                order.push(row.factory);
            }
            choice.failed(Codec::H264, row, "", 0, &mut tries);
        }
        assert_eq!(order[..3], ["openh264dec", "v4l2h264dec", "nvv4l2decoder"]);
        assert_eq!(order.len(), way(Codec::H264).rows.len());
    }

    #[test]
    fn settings_name_decoders_that_there_are() {
        let read = |json: &str| serde_json::from_str::<DecodeSettings>(json);
        assert_eq!(read("{}").unwrap(), DecodeSettings::default());
        let settings = read(r#"{"prefer": ["avdec_h264", "vp8dec"]}"#).unwrap();
        assert_eq!(settings.prefer[1].as_str(), "vp8dec");
        let error = read(r#"{"prefer": ["avdec_h263"]}"#).unwrap_err().to_string();
        assert!(error.contains("\"avdec_h263\"; there are avdec_h264, avdec_h265,"), "{error}");
        assert_eq!(error.matches("nvv4l2decoder").count(), 1, "{error}");
        assert!(read(r#"{"preferred": []}"#).is_err());
    }
}

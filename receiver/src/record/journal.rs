//! What is told, as lines of JSON: each with its time on the recording's clock.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::disk::Failure;
use super::names;
use super::timeline::Epoch;

/// Something that was told: a JSON object with a `type`.
#[derive(Debug)]
pub(super) struct Line {
    /// When, on this host's monotonic clock, in microseconds.
    pub(super) at_us: i64,
    /// Its `type`.
    pub(super) kind: String,
    json: String,
}

impl Line {
    /// None of what is no object with a `type`.
    pub(super) fn new(at_us: i64, told: &impl Serialize) -> Option<Self> {
        let told = serde_json::to_value(told).ok()?;
        let kind = told.as_object()?.get("type")?.as_str()?.to_owned();
        Some(Self { at_us, kind, json: told.to_string() })
    }

    /// Its JSON, with `t` (seconds since the epoch) and `utc` put before the rest.
    pub(super) fn timed(&self, epoch: Epoch) -> String {
        let seconds = epoch.since(self.at_us) as f64 / 1e6;
        let utc = names::iso(epoch.utc_us(self.at_us));
        format!("{{\"t\":{seconds:.6},\"utc\":\"{utc}\",{}", &self.json[1..])
    }

    /// What it takes while it waits, in bytes.
    pub(super) fn size(&self) -> usize {
        self.kind.len() + self.json.len()
    }
}

/// A file of lines.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens it for more lines: the one that there is after a pause, else a new one.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let failure = |error| Failure::new(path, error);
        let mut file = File::options().append(true).create(true).open(path).map_err(failure)?;
        if file.metadata().map_err(failure)?.len() > 0 {
            // The last line may have been cut short.
            file.write_all(b"\n").map_err(failure)?;
        }
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes a line, at once: the next one may never come.
    pub(super) fn write(&mut self, line: &Line, epoch: Epoch) -> Result<(), Failure> {
        let text = line.timed(epoch) + "\n";
        self.file.write_all(text.as_bytes()).map_err(|error| Failure::new(&self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch { mono_us: 1_000_000, utc_us: 1_700_000_000_000_000 };

    #[test]
    fn lines_tell_when() {
        let line = Line::new(3_500_000, &serde_json::json!({ "type": "x", "a": 1 })).unwrap();
        let json = r#"{"t":2.500000,"utc":"2023-11-14T22:13:22.500000Z","a":1,"type":"x"}"#;
        assert_eq!(line.timed(EPOCH), json);
        assert_eq!(line.kind, "x");
        assert!(Line::new(0, &"no object").is_none());
    }

    #[test]
    fn a_full_disk_is_told_with_the_file() {
        let line = Line::new(0, &serde_json::json!({ "type": "x" })).unwrap();
        let mut journal = Journal::open(Path::new("/dev/full")).unwrap();
        let failure = journal.write(&line, EPOCH).unwrap_err();
        assert_eq!(failure.path, Path::new("/dev/full"));
        assert!(failure.reason.contains("No space left"), "{failure:?}");
    }
}

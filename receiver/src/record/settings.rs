//! What to record and where to: settings alone.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::ensure;
use serde::Deserialize;

/// What is recorded, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The folder for the files; made when it is not there.
    pub directory: PathBuf,
    /// What kind of files.
    pub format: Format,
    /// A new file begins after so many seconds, at the next key frame: 1 to 86400.
    pub split_s: u32,
    /// A new file begins after so many megabytes (1,000,000 bytes), at the next key frame; 0: never
    /// because of its size.
    pub split_mb: u32,
    /// So many megabytes (1,000,000 bytes) of the disk are left free: recording pauses below.
    pub min_free_mb: u32,
}

/// A kind of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Fragmented MP4, a file for each camera, and what is told beside it as lines of JSON.
    #[default]
    Mp4,
    /// Matroska, a file for each camera, and what is told beside it as lines of JSON.
    Mkv,
    /// MCAP, one file with every camera and all that is told: for Foxglove and its kin.
    Mcap,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: "recordings".into(),
            format: Format::default(),
            split_s: 300,
            split_mb: 0,
            min_free_mb: 500,
        }
    }
}

impl Settings {
    /// Whether all of it can be. The error names the field and its range.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=86_400).contains(&self.split_s),
            "split_s is {}: give 1 to 86400 seconds",
            self.split_s
        );
        ensure!(
            !self.directory.as_os_str().is_empty(),
            "directory is empty: give a folder for the recordings"
        );
        Ok(())
    }

    /// Whether a file that has lasted so long, and has so many bytes, should give way to another.
    pub(super) fn is_due(&self, age_us: i64, bytes: u64) -> bool {
        let large = self.split_mb > 0 && bytes >= u64::from(self.split_mb) * 1_000_000;
        age_us >= i64::from(self.split_s) * 1_000_000 || large
    }
}

impl FromStr for Format {
    type Err = String;

    /// From its name in settings.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mp4" => Ok(Self::Mp4),
            "mkv" => Ok(Self::Mkv),
            "mcap" => Ok(Self::Mcap),
            other => Err(format!("{other:?} is no format of recordings: use mp4, mkv or mcap")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        assert!(Settings::default().check().is_ok());
        let error = Settings { split_s: 0, ..Settings::default() }.check().unwrap_err();
        assert!(error.to_string().contains("split_s"), "{error}");
        let error = Settings { directory: "".into(), ..Settings::default() }.check().unwrap_err();
        assert!(error.to_string().contains("directory"), "{error}");
        assert!("avi".parse::<Format>().unwrap_err().contains("mp4, mkv or mcap"));
        assert_eq!("mcap".parse(), Ok(Format::Mcap));
    }
}

//! What a disk has to say: how much is free, and why something cannot be written.

use std::path::{Path, PathBuf};

use gst::glib;

use super::settings::Settings;

/// Why nothing can be written: for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The file.
    pub(super) path: PathBuf,
    /// What is wrong with it.
    pub(super) reason: String,
    /// Whether it is the stream that does not fit into the file, not the disk that fails.
    pub(super) of_stream: bool,
}

impl Failure {
    /// Of this file, for this reason.
    pub(super) fn new(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string(), of_stream: false }
    }

    /// That recording pauses because of it, and what can be done.
    pub(super) fn complaint(&self, settings: &Settings) -> String {
        let (path, reason, min_free_mb) = (self.path.display(), &self.reason, settings.min_free_mb);
        let pauses = format!("recording pauses: {path}: {reason}");
        match free_bytes(&settings.directory).map(megabytes) {
            Ok(free_mb) if free_mb <= u64::from(min_free_mb) => format!(
                "{pauses} ({free_mb} MB are free, and min_free_mb is {min_free_mb}): delete what is \
                 not needed, or record to another disk; it goes on by itself"
            ),
            Ok(free_mb) => format!("{pauses} ({free_mb} MB are free); it is tried again"),
            Err(_) => format!("{pauses}; it is tried again"),
        }
    }
}

impl From<(&Path, &glib::Error)> for Failure {
    fn from((path, error): (&Path, &glib::Error)) -> Self {
        let of_stream = !error.is::<gst::ResourceError>();
        Self { of_stream, ..Self::new(path, error) }
    }
}

/// How many bytes are free in a folder for whoever runs this.
pub(super) fn free_bytes(directory: &Path) -> Result<u64, Failure> {
    let figures = nix::sys::statvfs::statvfs(directory)
        .map_err(|errno| Failure::new(directory, std::io::Error::from(errno)))?;
    Ok(figures.blocks_available().saturating_mul(figures.fragment_size()))
}

/// Bytes as the megabytes of the settings.
pub(super) fn megabytes(bytes: u64) -> u64 {
    bytes / 1_000_000
}

/// How long a file is by now; 0 when that cannot be known.
pub(super) fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

/// Removes a file that came to nothing: where every attempt fails, they would pile up.
pub(super) fn discard_if_empty(path: &Path) {
    if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0) {
        // Whoever reads the folder may have it; it does no harm.
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_that_of_the_folders_disk() {
        assert!(free_bytes(&std::env::temp_dir()).is_ok());
        let missing = Path::new("/nowhere/at/all");
        let failure = free_bytes(missing).unwrap_err();
        assert_eq!(failure.path, missing);
        assert!(failure.reason.contains("No such file"), "{failure:?}");
    }
}

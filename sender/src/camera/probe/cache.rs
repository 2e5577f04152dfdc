//! What is known to work, kept until the computer starts anew: trials cost seconds on small boards.
//!
//! Only successes are kept: what failed may have been busy, and is tried again when the sender
//! starts again. The file is a convenience; without it, or with nonsense in it, all is tried anew.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use gst::prelude::*;
use serde::{Deserialize, Serialize};

use super::trial::Trial;

/// Its file within the folder for caches.
const FILE: &str = "rovercast/encoders.json";

/// Entries beyond this are not kept: the oldest go.
const MOST: usize = 256;

/// A file larger than this is none of ours.
const LARGEST: u64 = 256 * 1024;

/// A user's folder for caches, from `XDG_CACHE_HOME` and `HOME`.
pub fn folder(xdg_cache_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    // The specification wants relative paths ignored.
    let absolute = |path: &PathBuf| path.is_absolute();
    xdg_cache_home
        .filter(absolute)
        .or_else(|| home.filter(absolute).map(|home| home.join(".cache")))
}

/// The successes, in memory and on disk.
#[derive(Debug)]
pub struct Cache {
    file: Option<PathBuf>,
    known: Known,
}

/// What the file is to hold.
#[derive(Debug)]
#[must_use = "it is not on the disk before it is written"]
pub struct Unwritten {
    file: PathBuf,
    known: Known,
}

/// What the file holds. Everything that can change what works is part of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Known {
    /// The start of the computer that it holds for.
    boot: String,
    /// The version of GStreamer.
    gstreamer: String,
    works: Vec<Success>,
}

/// An encoder that worked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Success {
    factory: String,
    width: u32,
    height: u32,
    fps: u32,
    /// The plugin with the encoder, and when that was changed.
    plugin: PathBuf,
    changed_s: u64,
}

impl Cache {
    /// Reads the file below a user's folder for caches; without one nothing is kept.
    pub fn read(folder: Option<&Path>) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::read_for(folder, boot.trim())
    }

    fn read_for(folder: Option<&Path>, boot: &str) -> Self {
        let (major, minor, micro, nano) = gst::version();
        let now = Known {
            boot: boot.to_owned(),
            gstreamer: format!("{major}.{minor}.{micro}.{nano}"),
            works: Vec::new(),
        };
        // Without a boot id it would hold for ever.
        let file = folder.filter(|_| !boot.is_empty()).map(|folder| folder.join(FILE));
        let known = file
            .as_deref()
            .and_then(load)
            .filter(|known| known.boot == now.boot && known.gstreamer == now.gstreamer)
            .unwrap_or(now);
        Self { file, known }
    }

    /// Whether an encoder worked since the computer started.
    pub fn works(&self, trial: &Trial) -> bool {
        success(trial).is_some_and(|success| self.known.works.contains(&success))
    }

    /// Keeps that it worked; what comes back is to be written to the disk.
    pub fn keep(&mut self, trial: &Trial) -> Option<Unwritten> {
        let success = success(trial)?;
        let works = &mut self.known.works;
        works.retain(|known| *known != success);
        works.push(success);
        let excess = works.len().saturating_sub(MOST);
        works.drain(..excess);
        Some(Unwritten { file: self.file.clone()?, known: self.known.clone() })
    }
}

impl Unwritten {
    /// Writes the file. Blocks on the disk.
    pub fn write(self) {
        let Self { file, known } = self;
        if let Err(error) = save(&file, &known) {
            tracing::debug!(file = %file.display(), %error, "encoders are tried at each start");
        }
    }
}

/// The entry for a trial; none where the plugin is not to be found.
fn success(trial: &Trial) -> Option<Success> {
    let plugin = gst::ElementFactory::find(&trial.factory)?.plugin()?.filename()?;
    let changed = plugin.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let Trial { factory, width, height, fps, .. } = trial.clone();
    Some(Success { factory, width, height, fps, plugin, changed_s: changed.as_secs() })
}

fn load(file: &Path) -> Option<Known> {
    if file.metadata().ok()?.len() > LARGEST {
        return None;
    }
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Writes beside it and renames: whoever reads finds the old file or the new one, whole.
fn save(file: &Path, known: &Known) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let new = folder.join(format!(".encoders-{}.json", std::process::id()));
    let written = std::fs::File::create(&new)
        .and_then(|mut out| out.write_all(&serde_json::to_vec_pretty(known)?))
        .and_then(|()| std::fs::rename(&new, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(width: u32) -> Trial {
        Trial { factory: "x264enc".to_owned(), width, height: 32, fps: 30, bitrate_kbps: 100 }
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            gst::init().unwrap();
            let unique = format!("rovercast-cache-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(unique))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn successes_are_found_again_until_the_next_boot() {
        let folder = Folder::new("boot");
        let mut cache = Cache::read_for(Some(&folder.0), "one");
        assert!(!cache.works(&trial(64)));
        cache.keep(&trial(64)).unwrap().write();
        cache.keep(&trial(64)).unwrap().write();
        let again = Cache::read_for(Some(&folder.0), "one");
        assert!(again.works(&trial(64)) && !again.works(&trial(128)));
        assert_eq!(again.known.works.len(), 1);
        assert!(!Cache::read_for(Some(&folder.0), "two").works(&trial(64)));
    }

    #[test]
    fn nonsense_and_missing_folders_are_no_trouble() {
        let folder = Folder::new("nonsense");
        std::fs::create_dir_all(folder.0.join("rovercast")).unwrap();
        std::fs::write(folder.0.join(FILE), b"{\"boot\": \"one\", 7").unwrap();
        let mut cache = Cache::read_for(Some(&folder.0), "one");
        assert!(!cache.works(&trial(64)));
        cache.keep(&trial(64)).unwrap().write();
        assert!(Cache::read_for(Some(&folder.0), "one").works(&trial(64)));

        let mut none = Cache::read_for(None, "one");
        assert!(none.keep(&trial(64)).is_none(), "nowhere to write to");
        assert!(none.works(&trial(64)), "for this run");
        let nowhere = folder.0.join(FILE).join("below-a-file");
        Cache::read_for(Some(&nowhere), "one").keep(&trial(64)).unwrap().write();
    }

    #[test]
    fn the_folder_is_where_the_user_wants_it() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(folder(path("/c"), path("/home/a")), path("/c"));
        assert_eq!(folder(path("c"), path("/home/a")), path("/home/a/.cache"));
        assert_eq!(folder(None, path("")), None);
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        gst::init().unwrap();
        let mut cache = Cache::read_for(None, "one");
        (0..300).for_each(|width| drop(cache.keep(&trial(width))));
        assert_eq!(cache.known.works.len(), MOST);
        assert!(cache.works(&trial(299)) && !cache.works(&trial(0)));
    }
}

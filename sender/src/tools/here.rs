//! This computer, as far as a config speaks of it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rovercast_peer::link::{Doubt, Target};

use crate::camera::convert::Installed;
use crate::camera::registry::Registry;
use crate::tools::doubts::Place;
use crate::tools::nodes;

/// This computer.
#[derive(Debug, Clone, Copy)]
pub struct Here;

impl Place for Here {
    fn has(&self, factory: &str) -> bool {
        Registry.has_element(factory)
    }

    fn real(&self, path: &Path) -> Option<PathBuf> {
        path.canonicalize().ok()
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        Some(path.metadata().ok()?.mode())
    }

    fn stable_name(&self, device: &Path) -> Option<PathBuf> {
        nodes::stable_names(Path::new(nodes::NAMES), device).into_iter().next()
    }

    fn broker(&self, broker: &Target) -> Vec<Doubt> {
        // Before 1970 nothing has expired.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        broker.doubts(now.as_secs())
    }
}

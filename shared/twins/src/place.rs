//! Where the built plugin is, for tests that start programs with twins.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The environment for a process in which these platforms' twins exist, as name and value each:
/// see the crate's documentation for `platforms`. GStreamer gets a registry of its own for it,
/// kept beside the plugin for the next time.
///
/// Works in tests of any crate that has this one among its dependencies, which is what makes cargo
/// build the plugin.
pub fn environment(platforms: &str) -> std::io::Result<Vec<(String, String)>> {
    let folder = folder()?;
    let name = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = platforms.chars().map(name).collect();
    let registry = folder.join(format!("registry-{name}.bin"));
    let variable = |name: &str, value: &Path| (name.to_owned(), value.display().to_string());
    Ok(vec![
        variable("GST_PLUGIN_PATH", &folder.join("plugin")),
        variable("GST_REGISTRY", &registry),
        (crate::PLATFORMS.to_owned(), platforms.to_owned()),
    ])
}

/// The folder `twins` beside the built programs. The plugin gets a folder without anything else,
/// since GStreamer looks into each file where it searches.
fn folder() -> std::io::Result<PathBuf> {
    const LIBRARY: &str = "librovercast_twins.so";
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let executable = std::env::current_exe()?;
    let deps = executable.parent().unwrap_or(Path::new("."));
    let built = deps.join(LIBRARY);
    if !built.is_file() {
        let message = format!("{} is not built", built.display());
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, message));
    }
    let folder = deps.parent().unwrap_or(deps).join("twins");
    let plugin = folder.join("plugin");
    std::fs::create_dir_all(&plugin)?;
    // Several tests may do this at once: each puts its link into the place of the last.
    let link = folder.join(format!("link-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed)));
    std::os::unix::fs::symlink(&built, &link)?;
    std::fs::rename(&link, plugin.join(LIBRARY))?;
    Ok(folder)
}

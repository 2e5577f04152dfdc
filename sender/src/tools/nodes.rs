//! Device files: their stable names, who may open them, and who has. Opens none of them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Gid, Group, access};

/// Where stable names of V4L2 devices are.
pub const NAMES: &str = "/dev/v4l";

/// A process that has a file open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name, as the kernel tells it: 15 bytes at most.
    pub name: String,
}

/// Who has a file open, as far as can be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders {
    /// The processes.
    pub seen: Vec<Holder>,
    /// How many processes could not be looked into.
    pub hidden: usize,
}

/// The stable names of a device below `folder`: those by serial number first, then those by place.
pub fn stable_names(folder: &Path, device: &Path) -> Vec<PathBuf> {
    let Ok(node) = device.canonicalize() else { return Vec::new() };
    let links = ["by-id", "by-path"].into_iter().flat_map(|kind| {
        let mut links: Vec<_> = entries(&folder.join(kind)).collect();
        links.sort();
        links
    });
    links.filter(|link| link.canonicalize().is_ok_and(|target| target == node)).collect()
}

/// Whether this process may read and write it. The error is the remedy.
pub fn permission(device: &Path) -> Result<(), String> {
    if access(device, AccessFlags::R_OK | AccessFlags::W_OK).is_ok() {
        return Ok(());
    }
    let group = device
        .metadata()
        .ok()
        .filter(|data| data.mode() & 0o060 == 0o060)
        .and_then(|data| Group::from_gid(Gid::from_raw(data.gid())).ok().flatten());
    Err(match group {
        Some(group) => format!(
            "join its group: `sudo usermod -aG {} $USER`, then log in again (for a service: \
             SupplementaryGroups={})",
            group.name, group.name
        ),
        None => "run as the user that it belongs to, or give it a group by a udev rule".to_owned(),
    })
}

/// Which other processes have it open. Reads the links in `/proc`, and nothing else.
pub fn holders(device: &Path) -> Holders {
    let mut holders = Holders::default();
    let Ok(node) = device.canonicalize() else { return holders };
    for process in entries(Path::new("/proc")) {
        let Some(pid) = pid(&process).filter(|pid| *pid != std::process::id()) else { continue };
        match std::fs::read_dir(process.join("fd")) {
            Ok(files) => {
                let mut files = files.flatten();
                if files.any(|file| file.path().read_link().is_ok_and(|target| target == node)) {
                    holders.seen.push(Holder { pid, name: name(&process) });
                }
            }
            // One that has ended meanwhile holds nothing.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                holders.hidden += 1;
            }
            Err(_) => {}
        }
    }
    holders
}

/// Senders that stream on this computer: their process ids.
pub fn senders() -> Vec<u32> {
    let streams = |process: &Path| {
        let Ok(line) = std::fs::read(process.join("cmdline")) else { return false };
        let mut words = line.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        // What has a subcommand does something else.
        let other = |word: &[u8]| super::SUBCOMMANDS.iter().any(|name| name.as_bytes() == word);
        program.ends_with(b"rovercast-sender") && !words.any(other)
    };
    let processes = entries(Path::new("/proc")).filter(|process| streams(process));
    processes.filter_map(|process| pid(&process)).collect()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn pid(process: &Path) -> Option<u32> {
    process.file_name()?.to_str()?.parse().ok()
}

fn name(process: &Path) -> String {
    let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn names_by_serial_number_come_first() {
        let folder = std::env::temp_dir().join(format!("rovercast-nodes-{}", std::process::id()));
        for kind in ["by-id", "by-path"] {
            std::fs::create_dir_all(folder.join(kind)).unwrap();
        }
        let node = folder.join("video0");
        std::fs::write(&node, "").unwrap();
        std::fs::write(folder.join("video1"), "").unwrap();
        let links = [
            ("by-path/pci-1-video-index0", "../video0"),
            ("by-id/usb-Cam_1-video-index0", "../video0"),
            ("by-id/usb-Other-video-index0", "../video1"),
            ("by-id/gone", "../video7"),
        ];
        for (link, target) in links {
            symlink(target, folder.join(link)).unwrap();
        }
        let names = stable_names(&folder, &node);
        let names: Vec<_> = names.iter().map(|name| name.strip_prefix(&folder).unwrap()).collect();
        assert_eq!(
            names,
            [Path::new("by-id/usb-Cam_1-video-index0"), Path::new("by-path/pci-1-video-index0")]
        );
        assert!(stable_names(&folder, &folder.join("video9")).is_empty());
        std::fs::remove_dir_all(folder).unwrap();
    }
}

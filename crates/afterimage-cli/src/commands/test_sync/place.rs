//! What a directory stands on: the kind of file system and its device, where the system says so.

use crate::failure::Failure;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory, and its file system.
pub struct Place {
    /// The directory as it was named.
    pub dir: PathBuf,
    /// Kind and source of the file system: `ext4`, `/dev/sda2`.
    pub file_system: Option<(String, String)>,
}

impl Place {
    /// Finds out about `dir`, which must be a directory.
    pub fn of(dir: &Path) -> Result<Self, Failure> {
        match fs::metadata(dir) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(Failure::usage("this is not a directory").at(dir.display())),
            Err(e) => {
                return Err(Failure::usage(format!("there is no such directory: {e}"))
                    .at(dir.display())
                    .advise("name a directory on the disk that is to hold the log"));
            }
        }
        // Only Linux has this file; elsewhere it remains unknown.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
        Ok(Self {
            dir: dir.to_path_buf(),
            file_system: mounted(&mounts, &whole),
        })
    }

    /// The name of the file system, if it is one that lives in memory.
    pub fn memory(&self) -> Option<String> {
        let (kind, _) = self.file_system.as_ref()?;
        ["tmpfs", "ramfs"]
            .contains(&kind.as_str())
            .then(|| kind.clone())
    }
}

/// The file system of `dir` among these mounts: of the longest mount point that leads to it, and of equals the last.
fn mounted(mounts: &str, dir: &Path) -> Option<(String, String)> {
    let mut found: Option<(PathBuf, String, String)> = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let (Some(point), mut after) = (before.split(' ').nth(4), after.split(' ')) else {
            continue;
        };
        let point = PathBuf::from(unescaped(point));
        let (Some(kind), Some(source)) = (after.next(), after.next()) else {
            continue;
        };
        let longer = found
            .as_ref()
            .is_none_or(|(best, ..)| point.components().count() >= best.components().count());
        if dir.starts_with(&point) && longer {
            found = Some((point, kind.to_string(), unescaped(source)));
        }
    }
    found.map(|(_, kind, source)| (kind, source))
}

/// Spaces and the like are written as `\040`.
fn unescaped(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .into_iter()
    .fold(text.to_string(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /dev/shm rw - tmpfs tmpfs rw
24 22 0:22 / /mnt/my\\040disk rw shared:1 - xfs /dev/sdb1 rw
25 22 0:23 / /mnt rw - tmpfs none rw
26 22 0:24 / /mnt rw - btrfs /dev/sdc rw
";

    #[test]
    fn the_nearest_mount_counts() {
        let kind = |dir: &str| mounted(MOUNTS, Path::new(dir)).expect("found").0;
        assert_eq!(kind("/home"), "ext4");
        assert_eq!(kind("/dev/shm"), "tmpfs");
        assert_eq!(kind("/dev/shmoo"), "ext4");
        assert_eq!(kind("/mnt/my disk/a"), "xfs");
        assert_eq!(kind("/mnt/other"), "btrfs", "the last one hides the others");
        assert!(mounted("", Path::new("/")).is_none());
    }
}

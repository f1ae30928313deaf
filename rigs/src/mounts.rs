//! A file system in an image file, mounted through a loop device: made, mounted, unmounted and removed by the system's own
//! commands. Images are sparse.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
}

impl Kind {
    /// Its name for `mount`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
            Kind::Btrfs => "btrfs",
        }
    }

    /// The smallest that its tools make, in bytes.
    pub fn smallest(self) -> u64 {
        match self {
            Kind::Ext4 => 48 << 20,
            Kind::Xfs => 304 << 20,
            Kind::Btrfs => 128 << 20,
        }
    }

    /// Makes one in a file or on a device.
    ///
    /// # Errors
    /// What the tool said.
    pub fn make(self, on: &Path) -> Result<(), String> {
        let on = on.display().to_string();
        match self {
            Kind::Ext4 => run("mkfs.ext4", &["-q", "-F", "-J", "size=4", &on]),
            Kind::Xfs => run("mkfs.xfs", &["-q", "-f", &on]),
            Kind::Btrfs => run("mkfs.btrfs", &["-q", "-f", &on]),
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// What it said.
pub fn run(program: &str, words: &[&str]) -> Result<(), String> {
    said_by(program, words).map(|_| ())
}

/// Runs a command to its end, and returns what it wrote.
///
/// # Errors
/// What it said.
pub fn said_by(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(words)
        .output()
        .map_err(|e| format!("{program} cannot be started: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", words.join(" "), said.trim()))
}

/// A file system in an image.
pub struct Mount {
    kind: Kind,
    /// The image, or the device.
    source: PathBuf,
    /// Where it is mounted.
    pub at: PathBuf,
    mounted: bool,
    with_loop: bool,
}

impl Mount {
    /// Makes an image in `images`, a file system in it, and mounts that in `dir`.
    ///
    /// # Errors
    /// What the tools said.
    pub fn in_image(kind: Kind, images: &Path, dir: &Path) -> Result<Mount, String> {
        let image = images.join("image");
        let file = File::create(&image).map_err(|e| format!("{}: {e}", image.display()))?;
        file.set_len(kind.smallest()).map_err(|e| e.to_string())?;
        kind.make(&image)?;
        Mount::of(kind, &image, &dir.join("mounted"), true)
    }

    /// Mounts what there is: an image (`with_loop`) or a device.
    ///
    /// # Errors
    /// What `mount` said.
    pub fn of(kind: Kind, source: &Path, at: &Path, with_loop: bool) -> Result<Mount, String> {
        std::fs::create_dir_all(at).map_err(|e| e.to_string())?;
        let mut mount = Mount {
            kind,
            source: source.to_path_buf(),
            at: at.to_path_buf(),
            mounted: false,
            with_loop,
        };
        mount.again()?;
        Ok(mount)
    }

    /// Mounts it again: the file system recovers.
    ///
    /// # Errors
    /// What `mount` said.
    pub fn again(&mut self) -> Result<(), String> {
        let (source, at) = (
            self.source.display().to_string(),
            self.at.display().to_string(),
        );
        let options = if self.with_loop { "loop" } else { "rw" };
        run(
            "mount",
            &["-t", self.kind.name(), "-o", options, &source, &at],
        )?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts it.
    ///
    /// # Errors
    /// What `umount` said for ten seconds.
    pub fn unmount(&mut self) -> Result<(), String> {
        let at = self.at.display().to_string();
        for attempt in 0.. {
            match run("umount", &[&at]) {
                Ok(()) => break,
                Err(wrong) if attempt == 200 => return Err(wrong),
                // A process that was killed may not have let go yet.
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted && run("umount", &[&self.at.display().to_string()]).is_err() {
            let _ = run("umount", &["-l", &self.at.display().to_string()]);
        }
    }
}

//! The directory that the engines work in, and the file system under it.

use crate::Result;
use std::fs::{self, File};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// What the directories of all runs begin with; the number of the process follows.
const PREFIX: &str = "bench-compare-";

/// A directory that is removed at the end, with all that is in it.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new directory inside `dir`, or inside the current one. Not in the system's temporary one: that is often memory.
    pub fn new(dir: Option<&Path>) -> Result<Scratch> {
        let inside = dir.unwrap_or(Path::new("."));
        let path = inside.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(inside)?;
        remove_orphans(inside)?;
        fs::create_dir(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        Ok(Scratch { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it that does not exist yet.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        Ok(path)
    }

    /// Waits until all that was written to the file system is on disk, so that no point pays for the one before.
    pub fn settle(&self) -> Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.path)?)?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what runs left behind that were stopped: directories of processes that are no more.
fn remove_orphans(inside: &Path) -> Result<()> {
    for entry in fs::read_dir(inside)? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let gone = |id: u32| !Path::new("/proc").join(id.to_string()).exists();
        if process.and_then(|id| id.parse().ok()).is_some_and(gone) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Every file under `dir`.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

/// Bytes of all files under `dir`.
pub fn size(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for file in files(dir)? {
        bytes += fs::metadata(file)?.len();
    }
    Ok(bytes)
}

/// Copies a directory and what is in it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Drops the files under `dir` from the page cache; they must be on disk.
pub fn chill(dir: &Path) -> Result<()> {
    for file in files(dir)? {
        let whole: Option<NonZeroU64> = None;
        rustix::fs::fadvise(File::open(file)?, 0, whole, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

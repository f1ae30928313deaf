//! A directory for a run that makes its own database: the person's choice, which stays, or one that goes at the end.
//!
//! Without a choice it lies in the current directory, not in the system's temporary one: that is often memory, and a
//! demonstration or measurement of durable writes in memory would show nothing.

use crate::failure::Failure;
use std::fs;
use std::path::{Path, PathBuf};

/// A new or empty directory. Dropping it removes it, unless the person named it or it is [kept](Scratch::keep).
pub struct Scratch {
    path: PathBuf,
    temporary: bool,
}

impl Scratch {
    /// The directory `chosen`, which must be absent or empty, or a temporary one whose name begins with `name`.
    pub fn new(chosen: Option<&Path>, name: &str) -> Result<Self, Failure> {
        let (path, temporary) = match chosen {
            Some(path) => (path.to_path_buf(), false),
            None => (
                PathBuf::from(format!("{name}-{}", std::process::id())),
                true,
            ),
        };
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && is_empty(&path) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Failure::usage("the directory holds something already")
                    .at(path.display())
                    .advise("name one that does not exist, or leave --dir out for one that is removed at the end"));
            }
            Err(e) => return Err(Failure::io("making a directory", &path, &e)),
        }
        Ok(Self { path, temporary })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes at the end.
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// Leaves it there: it is evidence.
    pub fn keep(&mut self) {
        self.temporary = false;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

//! The file that is written to: full of zeroes and durable before anything is measured, as a log's prepared segments
//! are, and gone at the end, however that comes.
//!
//! It keeps its name until then. A file without one would be gone by itself, but some file systems do not sync what
//! nobody can ever open again, and the figures would be too good.

use super::Stop;
use crate::failure::Failure;
use afterimage_io::{DurableWrites, File, Io, OpenMode};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The size of the file: far more than a disk's own memory would be needed to tell, little enough to be written in a moment.
pub const FILE_BYTES: u64 = 64 << 20;
/// It is prepared in pieces of this size, so that it can be stopped meanwhile.
const PIECE: u64 = 4 << 20;

/// The file. Dropping it removes it.
pub struct TestFile {
    io: Io,
    path: PathBuf,
}

impl TestFile {
    /// Makes it in `dir`.
    pub fn new(dir: &Path, stop: &Stop) -> Result<Self, Failure> {
        let io = Io::os();
        let path = dir.join(format!("afterimage-test-sync-{}.tmp", std::process::id()));
        let file = io
            .open(&path, OpenMode::CreateNew)
            .map_err(|e| cannot(&e, dir))?;
        // From here on it is removed, whatever happens.
        let made = Self { io, path };
        for from in (0..FILE_BYTES).step_by(PIECE as usize) {
            let written = file.prefill(from, from + PIECE);
            written.map_err(|e| cannot(&e, dir))?;
            stop.check()?;
        }
        let synced = file.sync_all().and_then(|()| made.io.sync_dir(dir));
        synced.map_err(|e| Failure::io("a sync", dir, &e))?;
        Ok(made)
    }

    /// Another handle, whose durable writes are made in this way; or why that is not offered here. It is tried out: some
    /// file systems refuse only the write.
    pub fn open(&self, writes: DurableWrites) -> std::io::Result<File> {
        let file = self
            .io
            .open_durable(&self.path, OpenMode::ReadWrite, writes)?;
        file.write_all_at_durably(0, &vec![0; file.block() as usize])?;
        Ok(file)
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        if let Err(e) = self.io.remove_file(&self.path) {
            let path = self.path.display();
            crate::out::note(format!("the temporary file {path} cannot be removed: {e}"));
        }
    }
}

fn cannot(error: &std::io::Error, dir: &Path) -> Failure {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Failure::refused("there is no room for a file of 64 MiB")
                .at(dir.display())
                .advise("make room, or name another directory on the same disk")
        }
        _ => Failure::usage(format!("no file can be written in this directory: {error}"))
            .at(dir.display())
            .advise("name a directory that you may write to, on the disk that is to be measured"),
    }
}

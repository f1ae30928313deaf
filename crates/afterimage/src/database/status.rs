//! The `status` file: the holder's counters, for other processes to look at. Rewritten in place without sync, in one
//! write of fixed size; advisory: recovery never reads it.

use std::path::Path;

use afterimage_io::{File, Io, OpenMode};

use super::pins::{self, Pin};
use super::stats::Stats;
use crate::error::{Error, Result};

/// The file's name in the database directory.
pub(super) const STATUS_FILE: &str = "status";
/// Its size, from the first write on.
const BYTES: usize = 4096;
const FIRST_LINE: &str = "afterimage status 1";
const LAST_LINE: &str = "end\n";

/// What the `status` file says, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusFile {
    /// The holder's process id.
    pub pid: u32,
    /// Microseconds since the Unix epoch.
    pub written_at_micros: u64,
    /// Whether the holder has closed the database since.
    pub closed: bool,
    /// The counters.
    pub stats: Stats,
    /// Who holds the log back, oldest need first, as many as have room.
    pub pins: Vec<Pin>,
}

impl StatusFile {
    fn encode(&self) -> Vec<u8> {
        let mut text = format!(
            "{FIRST_LINE}\npid {}\nwritten_at_micros {}\nclosed {}\n",
            self.pid,
            self.written_at_micros,
            u8::from(self.closed)
        );
        for (name, value) in self.stats.fields() {
            text.push_str(&format!("{name} {value}\n"));
        }
        for pin in &self.pins {
            let line = pins::encode(pin);
            if text.len() + line.len() + LAST_LINE.len() > BYTES {
                break;
            }
            text.push_str(&line);
        }
        text.push_str(LAST_LINE);
        let mut bytes = text.into_bytes();
        assert!(bytes.len() <= BYTES, "the status file has a fixed size");
        bytes.resize(BYTES, b' ');
        bytes
    }

    /// `None` if the bytes are not a whole status (it may be read while it is being written).
    fn decode(bytes: &[u8]) -> Option<StatusFile> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut status = StatusFile {
            pid: 0,
            written_at_micros: 0,
            closed: false,
            stats: Stats::default(),
            pins: Vec::new(),
        };
        for line in lines {
            if line == LAST_LINE.trim_end() {
                return Some(status);
            }
            let (name, value) = line.split_once(' ')?;
            if name == "pin" {
                status.pins.extend(pins::decode(value));
                continue;
            }
            let value: u64 = value.parse().ok()?;
            match name {
                "pid" => status.pid = u32::try_from(value).ok()?,
                "written_at_micros" => status.written_at_micros = value,
                "closed" => status.closed = value != 0,
                // A field that this version does not know is left out.
                _ => drop(status.stats.set(name, value)),
            }
        }
        None
    }

    /// Reads the status of the database in `directory`, which may be open elsewhere. `None` if there is none, or it is
    /// being written just now.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn read(io: &Io, directory: &Path) -> Result<Option<StatusFile>> {
        let path = directory.join(STATUS_FILE);
        let file = match io.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(&path, "open", &e)),
        };
        let mut bytes = vec![0; BYTES];
        match file.read_exact_at(0, &mut bytes) {
            Ok(()) => Ok(StatusFile::decode(&bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(Error::io(&path, "read", &e)),
        }
    }
}

/// The holder's side.
pub(super) struct StatusWriter {
    file: File,
}

impl StatusWriter {
    pub(super) fn open(io: &Io, directory: &Path) -> Result<StatusWriter> {
        let path = directory.join(STATUS_FILE);
        let file = io
            .open(&path, OpenMode::Create)
            .map_err(|e| Error::io(&path, "create", &e))?;
        Ok(StatusWriter { file })
    }

    /// Best effort: a status that could not be written stops nobody.
    pub(super) fn write(&self, io: &Io, stats: Stats, pins: Vec<Pin>, closed: bool) {
        let status = StatusFile {
            pid: io.process_id(),
            written_at_micros: io.wall_clock(),
            closed,
            stats,
            pins,
        };
        let _ = self.file.write_all_at(0, &status.encode());
    }
}

#[cfg(test)]
mod tests {
    use super::super::pins::PinHolder;
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_part_is_nothing() {
        let pin = Pin {
            holder: PinHolder::DirtyPage { page: 7 },
            lsn: 5,
            bytes: 7,
        };
        let stats = Stats {
            next_lsn: 12,
            commits: 5,
            ..Stats::default()
        };
        let status = StatusFile {
            pid: 7,
            written_at_micros: 99,
            closed: true,
            stats,
            pins: vec![pin.clone(); 3],
        };
        let bytes = status.encode();
        assert_eq!(StatusFile::decode(&bytes), Some(status.clone()));
        let many = StatusFile {
            pins: vec![pin; 1000],
            ..status.clone()
        };
        let some = StatusFile::decode(&many.encode()).expect("a whole status");
        assert!(some.pins.len() > 9, "{}", some.pins.len());
        let mut full = status.clone();
        for (name, _) in Stats::default().fields() {
            assert!(full.stats.set(name, u64::MAX), "{name}");
        }
        let read = StatusFile::decode(&full.encode()).expect("there is room for it");
        assert_eq!(read.stats, full.stats);
        assert_eq!(StatusFile::decode(&bytes[..40]), None);
        assert_eq!(StatusFile::decode(&[0; BYTES]), None);
    }
}

//! Where a log stands, for other processes: one small block in the `status` file, written by the holder after every
//! flush and read by whoever follows the log without having it open.
//!
//! The block stands behind the first 4 KiB, which are the engine's. It is written in one write and never synced:
//! advisory, recovery does not read it. But what it says of durability is true even if it is old, because it is written
//! after the sync; a reader may rely on it. Bytes: `docs/format.md`, "Positions".

use std::path::Path;

use afterimage_io::sync::Mutex;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_io::{File, Io, OpenMode};

use crate::bytes::{get_u32, get_u64, get_u128, put_u32, put_u64, put_u128};
use crate::error::{Error, Result};
use crate::frame::crc32c;
use crate::identity::Identity;
use crate::lsn::Lsn;

const STATUS: &str = "status";
/// Where the block stands in the file.
const AT: u64 = 4096;
const BYTES: usize = 128;
const CRC_AT: usize = BYTES - 4;
const MAGIC: &[u8; 8] = b"AFTRPOS1";
/// A block may be read while it is being written; it is read again so often before it counts as damaged.
const ATTEMPTS: usize = 16;

/// Where a log stood when its holder last said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Positions {
    /// Which database, and which of its timelines.
    pub identity: Identity,
    /// Everything before this is durable.
    pub durable: Lsn,
    /// Everything before this has been handed to the operating system.
    pub written: Lsn,
    /// The position of the oldest record that is kept.
    pub oldest: Lsn,
    /// The holder's process id. It may have gone since.
    pub pid: u32,
    /// When this was written, in microseconds since the Unix epoch.
    pub written_at_micros: u64,
}

impl Positions {
    fn encode(&self) -> [u8; BYTES] {
        let mut b = [0; BYTES];
        b[..8].copy_from_slice(MAGIC);
        put_u32(&mut b, 8, self.pid);
        put_u32(&mut b, 12, self.identity.timeline_ordinal);
        put_u128(&mut b, 16, self.identity.database_id);
        put_u128(&mut b, 32, self.identity.timeline_id);
        put_u64(&mut b, 48, self.durable.get());
        put_u64(&mut b, 56, self.written.get());
        put_u64(&mut b, 64, self.oldest.get());
        put_u64(&mut b, 72, self.written_at_micros);
        let crc = crc32c(&b[..CRC_AT]);
        put_u32(&mut b, CRC_AT, crc);
        b
    }

    fn decode(b: &[u8; BYTES]) -> Option<Positions> {
        if b[..8] != *MAGIC || get_u32(b, CRC_AT) != crc32c(&b[..CRC_AT]) {
            return None;
        }
        Some(Positions {
            identity: Identity {
                database_id: get_u128(b, 16),
                timeline_id: get_u128(b, 32),
                timeline_ordinal: get_u32(b, 12),
            },
            durable: Lsn::new(get_u64(b, 48))?,
            written: Lsn::new(get_u64(b, 56))?,
            oldest: Lsn::new(get_u64(b, 64))?,
            pid: get_u32(b, 8),
            written_at_micros: get_u64(b, 72),
        })
    }

    /// Reads what the holder of the log in `dir`, of this identity, said last; takes no lock. `None` where there is
    /// nothing, nothing of this log, or nothing that can be read.
    ///
    /// # Errors
    ///
    /// `Io`, with what the operating system says.
    pub fn read(io: &Io, dir: &Path, identity: &Identity) -> Result<Option<Positions>> {
        let path = dir.join(STATUS);
        match io.open(&path, OpenMode::Read) {
            Ok(file) => Positions::read_file(io, &file, identity),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("open", &path, 0, e)),
        }
    }

    fn read_file(io: &Io, file: &File, identity: &Identity) -> Result<Option<Positions>> {
        for _ in 0..ATTEMPTS {
            let mut bytes = [0; BYTES];
            match file.read_exact_at(AT, &mut bytes) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(e) => return Err(Error::io("read", file.path(), AT, e)),
            }
            if let Some(found) = Positions::decode(&bytes) {
                return Ok(Some(found).filter(|found| found.identity == *identity));
            }
            io.yield_now();
        }
        Ok(None)
    }
}

/// The holder's side.
pub(crate) struct Publisher {
    /// None where the file could not be made: then nobody can follow, and nothing else is harmed.
    file: Option<File>,
    /// The position of the oldest record that is kept.
    oldest: AtomicU64,
    /// Asked once: it is written with every flush.
    pid: u32,
    /// Held over the write, so that an older position never replaces a newer one.
    writing: Mutex<()>,
}

impl Publisher {
    /// `dir` is the directory with the segments; the file stands beside it.
    pub(crate) fn open(io: &Io, dir: &Path, oldest: u64) -> Publisher {
        let path = dir.parent().unwrap_or(Path::new("")).join(STATUS);
        Publisher {
            file: io.open(&path, OpenMode::Create).ok(),
            oldest: AtomicU64::new(oldest),
            pid: io.process_id(),
            writing: Mutex::new(io, ()),
        }
    }

    /// From now on nothing before `oldest` is kept.
    pub(crate) fn give_up(&self, oldest: u64) {
        self.oldest.fetch_max(oldest, Ordering::AcqRel);
    }

    /// Writes what `now` makes of the oldest position and the process id. Best effort: whoever cannot be told waits for the next time.
    pub(crate) fn write(&self, now: impl FnOnce(Lsn, u32) -> Positions) {
        if let Some(file) = &self.file {
            // Asked under the mutex: the last to write has the newest.
            let _writing = self.writing.lock();
            let positions = now(Lsn::at(self.oldest.load(Ordering::Acquire)), self.pid);
            let _ = file.write_all_at(AT, &positions.encode());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use afterimage_io::sim::Sim;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let identity = Identity {
            database_id: 7,
            timeline_id: 8,
            timeline_ordinal: 1,
        };
        let positions = Positions {
            identity,
            durable: Lsn::at(5000),
            written: Lsn::at(6000),
            oldest: Lsn::at(4096),
            pid: 12,
            written_at_micros: 99,
        };
        let io = Sim::new(1).io();
        let read = || Positions::read(&io, Path::new(""), &identity).unwrap();
        assert_eq!(read(), None);
        let file = io.open(Path::new(STATUS), OpenMode::Create).unwrap();
        file.write_all_at(0, &[b' '; 4096]).unwrap();
        assert_eq!(read(), None, "an engine's status without positions");
        let bytes = positions.encode();
        file.write_all_at(AT, &bytes).unwrap();
        assert_eq!(read(), Some(positions));
        for at in 0..BYTES {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            file.write_all_at(AT, &damaged).unwrap();
            assert_eq!(read(), None, "byte {at}");
        }
        file.write_all_at(AT, &bytes).unwrap();
        let other = Identity {
            timeline_id: 9,
            ..identity
        };
        assert_eq!(Positions::read(&io, Path::new(""), &other).unwrap(), None);
    }
}

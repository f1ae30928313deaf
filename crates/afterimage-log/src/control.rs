//! The control file: what must be known before anything else can be read.
//!
//! Two copies in separate 4 KiB blocks, each with its own checksum, written alternately: while one is being written
//! the other stands. The file has its full size from the beginning, so that writing it never needs space. The
//! engine's own fields are an opaque area, so that the log can stand alone. Bytes: `docs/format.md`, "Control file".

use std::path::{Path, PathBuf};

use afterimage_io::planted::{self, Bug};
use afterimage_io::{DurableWrites, File, Io, OpenMode, SyncMethod};

use crate::bytes::{get_u32, get_u64, get_u128, put_u32, put_u64, put_u128};
use crate::choice::SyncChoice;
use crate::error::{Error, Result, is_full};
use crate::frame::crc32c;
use crate::identity::Identity;
use crate::lsn::Lsn;
use crate::options::check_segment_bytes;

/// The file's name in the database directory.
const NAME: &str = "control";
const TEMPORARY: &str = "control.tmp";
const MAGIC: &[u8; 8] = b"AFTRCTL1";
const VERSION: u32 = 1;
/// The distance between the two copies.
const COPY_STRIDE: u64 = 4096;
/// How much of a copy's block is used; the rest is zero.
const COPY_BYTES: usize = 1024;
const CLIENT_AT: usize = 128;
const CRC_AT: usize = COPY_BYTES - 4;
/// Required features this version knows: none yet.
const KNOWN_FEATURES: u64 = 0;

/// What one copy of the control file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Which database this is.
    pub identity: Identity,
    /// Raised at every unclean start and every promotion.
    pub epoch: u64,
    /// Raised by one at every write of the file; set by `ControlFile`.
    pub generation: u64,
    /// The size of a log segment in bytes.
    pub segment_bytes: u64,
    /// Where the log ended when it was stopped cleanly; none while it is open.
    pub clean_end: Option<Lsn>,
    /// How far the log was known to be durable when this was written.
    pub durable_lsn: Option<Lsn>,
    /// How the log's flushes are made durable, as found when it was made; none if that was not recorded.
    pub writes: Option<SyncChoice>,
    /// Features without which the database cannot be read.
    pub required_features: u64,
    /// Features that may be ignored.
    pub optional_features: u64,
    /// The engine's own fields.
    pub client: [u8; 512],
}

impl Control {
    /// The control data of a new log: nothing known to be durable, no client fields.
    #[must_use]
    pub fn new(identity: Identity, segment_bytes: u64) -> Control {
        Control {
            identity,
            epoch: 1,
            generation: 0,
            segment_bytes,
            clean_end: None,
            durable_lsn: None,
            writes: None,
            required_features: 0,
            optional_features: 0,
            client: [0; 512],
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut b = vec![0; COPY_STRIDE as usize];
        b[..8].copy_from_slice(MAGIC);
        put_u32(&mut b, 8, VERSION);
        put_u32(&mut b, 12, COPY_BYTES as u32);
        put_u64(&mut b, 16, self.required_features);
        put_u64(&mut b, 24, self.optional_features);
        put_u128(&mut b, 32, self.identity.database_id);
        put_u128(&mut b, 48, self.identity.timeline_id);
        put_u32(&mut b, 64, self.identity.timeline_ordinal);
        put_u32(&mut b, 68, u32::from(self.clean_end.is_some()));
        put_u64(&mut b, 72, self.epoch);
        put_u64(&mut b, 80, self.generation);
        put_u64(&mut b, 88, self.segment_bytes);
        put_u64(&mut b, 96, self.clean_end.map_or(0, Lsn::get));
        put_u64(&mut b, 104, self.durable_lsn.map_or(0, Lsn::get));
        put_u32(&mut b, 112, encode_writes(self.writes.map(|w| w.writes)));
        put_u32(&mut b, 116, self.writes.map_or(0, |w| w.nanos));
        put_u32(&mut b, 120, self.writes.map_or(0, |w| w.plain_nanos));
        b[CLIENT_AT..CLIENT_AT + 512].copy_from_slice(&self.client);
        let crc = crc32c(&b[..CRC_AT]);
        put_u32(&mut b, CRC_AT, crc);
        b
    }

    fn decode(b: &[u8]) -> std::result::Result<Control, Bad> {
        if b.len() < COPY_BYTES || b[..8] != *MAGIC {
            return Err(Bad::Damaged("it does not begin with the magic number"));
        }
        // Every version keeps magic, version, length and a checksum in the last four bytes of that length, so that
        // a newer file is told from a damaged one.
        let length = get_u32(b, 12) as usize;
        if !(20..=b.len()).contains(&length) {
            return Err(Bad::Damaged("its length is out of bounds"));
        }
        if get_u32(b, length - 4) != crc32c(&b[..length - 4]) {
            return Err(Bad::Damaged("its checksum does not match"));
        }
        let version = get_u32(b, 8);
        if version != VERSION || length != COPY_BYTES {
            return Err(Bad::Unknown(format!(
                "control file format version {version}"
            )));
        }
        let required_features = get_u64(b, 16);
        if required_features & !KNOWN_FEATURES != 0 {
            return Err(Bad::Unknown(format!(
                "required features {required_features:#x}"
            )));
        }
        let (clean, end) = (get_u32(b, 68), Lsn::new(get_u64(b, 96)));
        if clean > 1 || (clean == 1) != end.is_some() {
            return Err(Bad::Damaged("its clean flag and its end do not agree"));
        }
        let segment_bytes = get_u64(b, 88);
        if check_segment_bytes(segment_bytes).is_err() {
            return Err(Bad::Damaged("its segment size is out of bounds"));
        }
        let (epoch, generation) = (get_u64(b, 72), get_u64(b, 80));
        if epoch.max(generation) == u64::MAX {
            return Err(Bad::Damaged("its epoch or generation is out of bounds"));
        }
        let mut client = [0; 512];
        client.copy_from_slice(&b[CLIENT_AT..CLIENT_AT + 512]);
        Ok(Control {
            identity: Identity {
                database_id: get_u128(b, 32),
                timeline_id: get_u128(b, 48),
                timeline_ordinal: get_u32(b, 64),
            },
            epoch,
            generation,
            segment_bytes,
            clean_end: end,
            durable_lsn: Lsn::new(get_u64(b, 104)),
            writes: decode_writes(get_u32(b, 112)).map(|writes| SyncChoice {
                writes,
                nanos: get_u32(b, 116),
                plain_nanos: get_u32(b, 120),
            }),
            required_features,
            optional_features: get_u64(b, 24),
            client,
        })
    }
}

/// 0 for none; else the method's place from 1 on, and bit 8 for direct.
fn encode_writes(writes: Option<DurableWrites>) -> u32 {
    writes.map_or(0, |writes| {
        (writes.method.place() as u32 + 1) | (u32::from(writes.direct) << 8)
    })
}

/// A way that this version does not know is none: it is advice, not meaning.
fn decode_writes(bits: u32) -> Option<DurableWrites> {
    let method = SyncMethod::ALL.get(((bits & 0xFF) as usize).checked_sub(1)?)?;
    Some(DurableWrites {
        method: *method,
        direct: bits & 0x100 != 0,
    })
}

/// Why a copy cannot be used.
enum Bad {
    Damaged(&'static str),
    Unknown(String),
}

/// The open control file.
#[derive(Debug)]
pub struct ControlFile {
    io: Io,
    file: File,
    path: PathBuf,
    /// Which copy, 0 or 1, `current` was read from or last written to.
    copy: u64,
    current: Control,
    other: Option<Control>,
}

impl ControlFile {
    /// Makes the control file in `dir`, both copies written, synced with its name. It appears whole or not at all.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where there is one; `DiskFull`, `Io` where it cannot be made.
    pub fn create(io: &Io, dir: &Path, control: &Control) -> Result<ControlFile> {
        check_segment_bytes(control.segment_bytes)?;
        let path = dir.join(NAME);
        let temporary = dir.join(TEMPORARY);
        if io
            .exists(&path)
            .map_err(|e| Error::io("look for", &path, 0, e))?
        {
            return Err(Error::AlreadyExists { path });
        }
        let first = Control {
            generation: control.generation + 1,
            ..control.clone()
        };
        let second = Control {
            generation: control.generation + 2,
            ..control.clone()
        };
        let mut bytes = first.encode();
        bytes.extend(second.encode());
        let make = || -> std::io::Result<File> {
            let file = io.open(&temporary, OpenMode::Create)?;
            file.set_len(2 * COPY_STRIDE)?;
            file.write_all_at(0, &bytes)?;
            if !planted::active(Bug::RenamedBeforeSync) {
                file.sync_all()?;
            }
            io.rename(&temporary, &path)?;
            io.sync_dir(dir)?;
            // Opened again: messages about this file are to name it, not the temporary one.
            io.open(&path, OpenMode::ReadWrite)
        };
        let file = make().map_err(|e| {
            if is_full(&e) {
                Error::DiskFull {
                    path: path.clone(),
                    needed: 2 * COPY_STRIDE,
                }
            } else {
                Error::io("make", &path, 0, e)
            }
        })?;
        Ok(ControlFile {
            io: io.clone(),
            file,
            path,
            copy: 1,
            current: second,
            other: Some(first),
        })
    }

    /// Whether `dir` holds a control file: whether there is a database.
    ///
    /// # Errors
    ///
    /// `Io` where the world cannot tell.
    pub fn exists(io: &Io, dir: &Path) -> Result<bool> {
        let path = dir.join(NAME);
        io.exists(&path)
            .map_err(|e| Error::io("look for", &path, 0, e))
    }

    /// Reads the control file in `dir`: the newest copy that can be read.
    ///
    /// # Errors
    ///
    /// `ControlCorrupt` where no copy can be read, `Unsupported` where one is of a newer format, `Io` otherwise.
    pub fn open(io: &Io, dir: &Path, writable: bool) -> Result<ControlFile> {
        let path = dir.join(NAME);
        let mode = if writable {
            OpenMode::ReadWrite
        } else {
            OpenMode::Read
        };
        let file = io
            .open(&path, mode)
            .map_err(|e| Error::io("open", &path, 0, e))?;
        let (first, second) = (read_copy(&file, &path, 0)?, read_copy(&file, &path, 1)?);
        let (copy, current, other) = match (first, second) {
            (Ok(a), Ok(b)) if a.generation > b.generation => (0, a, Some(b)),
            (Ok(a), Ok(b)) => (1, b, Some(a)),
            (Ok(a), Err(_)) => (0, a, None),
            (Err(_), Ok(b)) => (1, b, None),
            (Err(a), Err(b)) => {
                let what = format!("first copy: {a}; second copy: {b}");
                return Err(Error::ControlCorrupt { path, what });
            }
        };
        Ok(ControlFile {
            io: io.clone(),
            file,
            path,
            copy,
            current,
            other,
        })
    }

    /// The newest copy that could be read.
    #[must_use]
    pub fn current(&self) -> &Control {
        &self.current
    }

    /// The older copy, where it can be read.
    #[must_use]
    pub fn other(&self) -> Option<&Control> {
        self.other.as_ref()
    }

    /// Writes `control`, one generation up, over the older copy, and syncs it.
    ///
    /// # Errors
    ///
    /// `Io`: the copy's state is then unknown, and nothing more may be written in this process.
    pub fn write(&mut self, control: &Control) -> Result<()> {
        let next = Control {
            generation: self.current.generation + 1,
            ..control.clone()
        };
        let copy = match planted::active(Bug::OneControlSlot) {
            true => self.copy,
            false => 1 - self.copy,
        };
        self.put(copy, &next)?;
        self.copy = copy;
        self.other = Some(std::mem::replace(&mut self.current, next));
        Ok(())
    }

    /// Writes the copy that was read again, in its own place, and syncs it and the names in the directory: after an
    /// unclean stop what was read, even the file's name, may be in the page cache only.
    ///
    /// # Errors
    ///
    /// As [`ControlFile::write`].
    pub fn rewrite_in_place(&mut self) -> Result<()> {
        self.put(self.copy, &self.current)?;
        let dir = self.path.parent().unwrap_or(Path::new(""));
        self.io
            .sync_dir(dir)
            .map_err(|e| Error::io("sync directory", dir, 0, e))
    }

    fn put(&self, copy: u64, control: &Control) -> Result<()> {
        let offset = copy * COPY_STRIDE;
        let written = self.file.write_all_at(offset, &control.encode());
        written.map_err(|e| Error::io("write", &self.path, offset, e))?;
        self.file
            .sync_all()
            .map_err(|e| Error::io("sync", &self.path, offset, e))
    }
}

/// One copy, or in words why it cannot be read.
fn read_copy(
    file: &File,
    path: &Path,
    copy: u64,
) -> Result<std::result::Result<Control, &'static str>> {
    let offset = copy * COPY_STRIDE;
    let mut bytes = vec![0; COPY_STRIDE as usize];
    if let Err(e) = file.read_exact_at(offset, &mut bytes) {
        if e.kind() == std::io::ErrorKind::UnexpectedEof {
            return Ok(Err("the file is too short"));
        }
        return Err(Error::io("read", path, offset, e));
    }
    match Control::decode(&bytes) {
        Ok(control) => Ok(Ok(control)),
        Err(Bad::Damaged(what)) => Ok(Err(what)),
        Err(Bad::Unknown(what)) => Err(Error::Unsupported {
            path: path.to_path_buf(),
            what,
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

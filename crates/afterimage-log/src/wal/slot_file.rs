//! The bytes of a slot: a file of four blocks, two for its owner and two for the holder of the log.
//!
//! Owner and holder may be two processes, and each writes its own blocks only, so neither can undo what the other has
//! said. Each writes its two copies alternately, as the control file does: the other one stands while one is written.
//! That was chosen over a temporary file and a rename because the file has its full size from the beginning: a slot
//! can be moved, and given up, on a full disk; and a move costs one sync. Bytes: `docs/format.md`, "Slots".

use std::path::{Path, PathBuf};

use afterimage_io::planted::{self, Bug};
use afterimage_io::{File, Io, OpenMode};

use crate::bytes::{get_u32, get_u64, get_u128, put_u32, put_u64, put_u128};
use crate::error::{Error, Result, is_full};
use crate::frame::crc32c;
use crate::identity::Identity;

const STRIDE: u64 = 4096;
const FILE_BYTES: u64 = 4 * STRIDE;
const BYTES: usize = 512;
const NAME_AT: usize = 128;
const CRC_AT: usize = BYTES - 4;
const VERSION: u32 = 1;

/// Whose word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Whoever reads by the slot.
    Owner,
    /// Whoever has the log open.
    Holder,
}

impl Side {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Side::Owner => b"AFTRSLO1",
            Side::Holder => b"AFTRSLH1",
        }
    }

    fn first_block(self) -> u64 {
        match self {
            Side::Owner => 0,
            Side::Holder => 2,
        }
    }
}

/// What one block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Word {
    pub generation: u64,
    /// Of the owner: the position. Of the holder: where the log was cut last; 0 for never.
    pub lsn: u64,
    /// Which cut: of the holder the last one, of the owner the last one it was told of.
    pub cut: u64,
    /// When, in microseconds since the Unix epoch: the owner's last word, or the slot's loss.
    pub time: u64,
    /// Of the holder: where the log ended when the slot was given up, and why; 0 where it was not.
    pub lost_at: u64,
    pub reason: u32,
}

/// What a slot's file says, from both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Words {
    /// None where no copy can be read.
    pub owner: Option<Word>,
    pub holder: Word,
}

impl Words {
    /// The position that counts: that of the owner, but not beyond a cut it has not been told of.
    pub(super) fn position(&self) -> Option<u64> {
        let owner = self.owner?;
        Some(match self.untold(owner.cut) {
            None => owner.lsn,
            Some(at) => owner.lsn.min(at),
        })
    }

    /// Where the log was cut since the cut that the owner knows. A holder's side that cannot be read tells of none.
    pub(super) fn untold(&self, known: u64) -> Option<u64> {
        Some(self.holder.lsn).filter(|at| *at != 0 && self.holder.cut != known)
    }
}

/// An open slot file.
#[derive(Debug)]
pub(super) struct SlotFile {
    file: File,
    identity: Identity,
    name: String,
}

impl SlotFile {
    /// Makes the file, whole or not at all, and its name durable.
    pub(super) fn create(
        io: &Io,
        dir: &Path,
        name: &str,
        identity: &Identity,
        owner: Word,
    ) -> Result<()> {
        let path = dir.join(name);
        let temporary = dir.join(format!("{name}.tmp"));
        let mut bytes = Vec::new();
        for side in [Side::Owner, Side::Holder] {
            let word = if side == Side::Owner {
                owner
            } else {
                Word::default()
            };
            for generation in 1..=2 {
                let word = Word { generation, ..word };
                bytes.extend(encode(side, identity, name, &word));
                bytes.resize(bytes.len().next_multiple_of(STRIDE as usize), 0);
            }
        }
        let make = || -> std::io::Result<()> {
            let file = io.open(&temporary, OpenMode::Create)?;
            file.write_all_at(0, &bytes)?;
            file.sync_all()?;
            io.rename(&temporary, &path)?;
            io.sync_dir(dir)
        };
        make().map_err(|e| {
            if is_full(&e) {
                let needed = FILE_BYTES;
                Error::DiskFull { path, needed }
            } else {
                Error::io("make", &path, 0, e)
            }
        })
    }

    /// Opens the file of the slot `name` for reading and writing.
    pub(super) fn open(io: &Io, dir: &Path, name: &str, identity: &Identity) -> Result<SlotFile> {
        let path = dir.join(name);
        match io.open(&path, OpenMode::ReadWrite) {
            Ok(file) => Ok(SlotFile {
                file,
                identity: *identity,
                name: name.to_owned(),
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::NoSlot {
                name: name.to_owned(),
                path,
            }),
            Err(e) => Err(Error::io("open", &path, 0, e)),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.file.path().to_path_buf()
    }

    pub(super) fn read(&self) -> Result<Words> {
        let owner = self.newest(Side::Owner)?.map(|(_, word)| word);
        let holder = self
            .newest(Side::Holder)?
            .map_or_else(Word::default, |(_, word)| word);
        Ok(Words { owner, holder })
    }

    /// Says `word`, one generation up, over the older copy of that side, and syncs it.
    pub(super) fn write(&self, side: Side, word: Word) -> Result<()> {
        let (copy, generation) = match self.newest(side)? {
            Some((copy, newest)) => (1 - copy, newest.generation + 1),
            None => (0, 1),
        };
        self.put(side, copy, &Word { generation, ..word })
    }

    /// Writes what was read again in its own place: after an unclean stop it may be in the page cache only.
    pub(super) fn rewrite(&self, side: Side) -> Result<()> {
        match self.newest(side)? {
            Some((copy, word)) => self.put(side, copy, &word),
            None => Ok(()),
        }
    }

    /// What was read before is on disk after this.
    pub(super) fn sync(&self) -> Result<()> {
        if planted::active(Bug::SlotNotSynced) {
            return Ok(());
        }
        self.file
            .sync_all()
            .map_err(|e| Error::io("sync", self.file.path(), 0, e))
    }

    fn put(&self, side: Side, copy: u64, word: &Word) -> Result<()> {
        let at = (side.first_block() + copy) * STRIDE;
        let bytes = encode(side, &self.identity, &self.name, word);
        let written = self.file.write_all_at(at, &bytes);
        written.map_err(|e| Error::io("write", self.file.path(), at, e))?;
        self.sync()
    }

    fn newest(&self, side: Side) -> Result<Option<(u64, Word)>> {
        let (a, b) = (self.copy(side, 0)?, self.copy(side, 1)?);
        Ok(match (a, b) {
            (Some(a), Some(b)) if a.generation > b.generation => Some((0, a)),
            (_, Some(b)) => Some((1, b)),
            (a, None) => a.map(|a| (0, a)),
        })
    }

    fn copy(&self, side: Side, copy: u64) -> Result<Option<Word>> {
        let at = (side.first_block() + copy) * STRIDE;
        let mut b = [0; BYTES];
        match self.file.read_exact_at(at, &mut b) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(Error::io("read", self.file.path(), at, e)),
        }
        if b[..8] != *side.magic() || get_u32(&b, CRC_AT) != crc32c(&b[..CRC_AT]) {
            return Ok(None);
        }
        let version = get_u32(&b, 8);
        if version != VERSION {
            return Err(Error::Unsupported {
                path: self.path(),
                what: format!("slot file format version {version}"),
            });
        }
        // A file of another log, or of another slot, says nothing of this one.
        let of = (get_u128(&b, 24), get_u128(&b, 40));
        let name = &b[NAME_AT..NAME_AT + 64];
        let ours = of == (self.identity.database_id, self.identity.timeline_id)
            && name.starts_with(self.name.as_bytes())
            && name[self.name.len()..].iter().all(|c| *c == 0);
        let word = Word {
            generation: get_u64(&b, 16),
            lsn: get_u64(&b, 64),
            cut: get_u64(&b, 72),
            time: get_u64(&b, 80),
            lost_at: get_u64(&b, 88),
            reason: get_u32(&b, 96),
        };
        // No owner has ever stood at 0, and no generation is the last.
        let possible = (side == Side::Holder || word.lsn != 0) && word.generation != u64::MAX;
        Ok((ours && possible).then_some(word))
    }
}

fn encode(side: Side, identity: &Identity, name: &str, word: &Word) -> [u8; BYTES] {
    let mut b = [0; BYTES];
    b[..8].copy_from_slice(side.magic());
    put_u32(&mut b, 8, VERSION);
    put_u32(&mut b, 12, BYTES as u32);
    put_u64(&mut b, 16, word.generation);
    put_u128(&mut b, 24, identity.database_id);
    put_u128(&mut b, 40, identity.timeline_id);
    put_u64(&mut b, 64, word.lsn);
    put_u64(&mut b, 72, word.cut);
    put_u64(&mut b, 80, word.time);
    put_u64(&mut b, 88, word.lost_at);
    put_u32(&mut b, 96, word.reason);
    b[NAME_AT..NAME_AT + name.len()].copy_from_slice(name.as_bytes());
    let crc = crc32c(&b[..CRC_AT]);
    put_u32(&mut b, CRC_AT, crc);
    b
}

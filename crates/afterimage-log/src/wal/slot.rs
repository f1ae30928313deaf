//! A slot in the hands of its owner: where it stands, and how it moves.
//!
//! The owner may be in another process than the log, so a position is looked at in the log's files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use afterimage_io::sync::atomic::{AtomicBool, Ordering};
use afterimage_io::{Io, LockFile, OpenMode};

use super::outside::{Start, WalReader};
use super::slot_file::{Side, SlotFile, Word};
use super::slots::{check_name, refuse_lost, slots_dir, take_lock};
use crate::control::{Control, ControlFile};
use crate::cursor::{Cursor, Step};
use crate::error::{Error, Result};
use crate::frame;
use crate::identity::Identity;
use crate::lsn::Lsn;
use crate::options::HEADER_BYTES;
use crate::positions::Positions;
use crate::segment::{Header, HeaderFound, file_name, log_dir};
use crate::shared::Shared;

/// A slot that this handle owns. Dropping it lets go; the position stays.
///
/// The way to work: do what the records up to a point ask for, make that durable, then [`Slot::advance`] to there.
/// After a kill the records from [`Slot::position`] on come again: at least once. Whoever must do everything exactly
/// once keeps the position with the effect.
pub struct Slot {
    file: SlotFile,
    io: Io,
    name: String,
    place: Place,
    moved: Option<Arc<AtomicBool>>,
    /// What the owner's side says.
    word: Word,
    /// A write of the file has failed: what it says is unknown until it is opened again.
    failed: bool,
    _lock: LockFile,
}

impl Slot {
    /// Opens a slot of the log in `dir` without opening the log: another process may have it open, or nobody.
    ///
    /// # Errors
    ///
    /// As [`Wal::slot`](crate::Wal::slot); `ControlCorrupt` where the control file cannot be read.
    pub fn open(io: &Io, dir: &Path, name: &str) -> Result<Slot> {
        let control = ControlFile::open(io, dir, false)?.current().clone();
        let place = Place {
            io: io.clone(),
            dir: dir.to_path_buf(),
            control: Some(control.clone()),
            log: None,
            identity: control.identity,
            segment_bytes: control.segment_bytes,
            shown: None,
        };
        own(io, dir, name, place, None)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where to go on reading: everything before is done with. After a cut of the log that its owner was not told of
    /// yet, not beyond the cut.
    #[must_use]
    pub fn position(&self) -> Lsn {
        Lsn::at(self.word.lsn)
    }

    /// Moves it to `lsn`, a [`Record::next`](crate::Record::next) or a record's own LSN; durable when this returns, by
    /// one sync. Staying where it is says that its owner is alive.
    ///
    /// # Errors
    ///
    /// `SlotLost` where it was given up meanwhile: drop it, and begin anew from the oldest record or the end.
    /// `SlotCut`, once, where the log was cut since the owner was last here: the position is where it says, and what
    /// was read beyond is not part of the log any more. `BadPosition` for a step back, for what is not durable yet, and
    /// where no record begins or ends; nothing was changed. `Io`: open it again to see where it stands.
    pub fn advance(&mut self, lsn: Lsn) -> Result<()> {
        if self.failed {
            return Err(Error::Failed {
                reason: format!("a write of the slot {:?} failed", self.name),
            });
        }
        let words = self.file.read()?;
        refuse_lost(&self.name, &words)?;
        if words.untold(self.word.cut).is_some() {
            return self.accept_cut(&words.holder);
        }
        if lsn.get() < self.word.lsn {
            let what = format!(
                "the slot {:?} stands at {} and moves forward only",
                self.name, self.word.lsn
            );
            return Err(Error::BadPosition { lsn, what });
        }
        if lsn.get() > self.word.lsn {
            self.place.check(lsn)?;
        }
        let word = Word {
            lsn: lsn.get(),
            time: self.io.wall_clock(),
            ..self.word
        };
        self.write(word)
    }

    fn accept_cut(&mut self, holder: &Word) -> Result<()> {
        self.place.shown = None;
        let from = self.word.lsn;
        let to = from.min(holder.lsn);
        self.write(Word {
            lsn: to,
            cut: holder.cut,
            time: self.io.wall_clock(),
            ..self.word
        })?;
        Err(Error::SlotCut {
            name: self.name.clone(),
            from: Lsn::at(from),
            to: Lsn::at(to),
            cut: Lsn::at(holder.lsn),
        })
    }

    fn write(&mut self, word: Word) -> Result<()> {
        let written = self.file.write(Side::Owner, word);
        self.failed = written.is_err();
        written?;
        self.word = word;
        if let Some(moved) = &self.moved {
            moved.store(true, Ordering::Release);
        }
        Ok(())
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({:?} at {})", self.name, self.word.lsn)
    }
}

/// Where an owner asks about positions: in the log that this process has open, or from outside.
pub(super) struct Place {
    io: Io,
    dir: PathBuf,
    control: Option<Control>,
    log: Option<Arc<Shared>>,
    identity: Identity,
    segment_bytes: u64,
    /// What the files themselves have shown to be durable, since this was made or a cut was told of.
    shown: Option<u64>,
}

impl Place {
    pub(super) fn inside(log: &Arc<Shared>) -> Place {
        Place {
            io: log.io.clone(),
            dir: log.dir.parent().unwrap_or(Path::new("")).to_path_buf(),
            control: None,
            log: Some(Arc::clone(log)),
            identity: log.identity,
            segment_bytes: log.segment_bytes,
            shown: None,
        }
    }

    /// Everything before this is durable; it is looked for no further than `wanted`.
    fn durable(&mut self, wanted: u64) -> Result<u64> {
        // After a stop or a cut the positions are another log's to say.
        if let Some(log) = self.log.as_ref().filter(|log| log.check().is_ok()) {
            return Ok(log.durable.load(Ordering::Acquire));
        }
        // What a holder has said mostly is enough: it was true when it was said, and only a cut takes it back. But after a
        // loss of power the file may be of before a cut. So the log's own files are looked at once, all of them, and
        // behind a cut again; what is not older than they are is believed from then on.
        if let Some(shown) = self.shown {
            let said = Positions::read(&self.io, &self.dir, &self.identity)?;
            if let Some(said) = said.filter(|said| said.durable.get() >= wanted.max(shown)) {
                return Ok(said.durable.get());
            }
        }
        let durable = WalReader::open(&self.io, &self.dir, Start::End)?.durable_lsn();
        let control = self.control.as_ref().and_then(|c| c.durable_lsn);
        let durable = durable.get().max(control.map_or(0, Lsn::get));
        self.shown = Some(durable);
        Ok(durable)
    }

    /// Refuses what is not durable, and what is not the begin or the end of a record.
    fn check(&mut self, lsn: Lsn) -> Result<()> {
        let durable = self.durable(lsn.get())?;
        if lsn.get() > durable {
            let what = format!("the log is durable up to {durable} only");
            return Err(Error::BadPosition { lsn, what });
        }
        if lsn.get() == durable || self.is_boundary(lsn.get())? {
            return Ok(());
        }
        let what = "no record begins or ends there".to_owned();
        Err(Error::BadPosition { lsn, what })
    }

    /// Everything below the durable position is in the files.
    fn is_boundary(&self, lsn: u64) -> Result<bool> {
        let (number, offset) = (lsn / self.segment_bytes, lsn % self.segment_bytes);
        if offset < HEADER_BYTES {
            return Ok(false);
        }
        let path = log_dir(&self.dir).join(file_name(self.identity.timeline_ordinal, number));
        let file = match self.io.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::io("open", &path, 0, e)),
        };
        let HeaderFound::Good(_) = Header::read(&file, &self.identity, number, self.segment_bytes)?
        else {
            return Ok(false);
        };
        let seed = frame::seed(&self.identity, number);
        let mut cursor = Cursor::new(file, number, seed, self.segment_bytes, offset);
        Ok(!matches!(cursor.step()?, Step::Bad(_)))
    }
}

/// Refuses a position that is not durable, or where no record begins or ends.
pub(super) fn check_position(log: &Arc<Shared>, lsn: Lsn) -> Result<()> {
    Place::inside(log).check(lsn)
}

/// Takes the slot's lock and reads where it stands.
pub(super) fn own(
    io: &Io,
    dir: &Path,
    name: &str,
    mut place: Place,
    moved: Option<Arc<AtomicBool>>,
) -> Result<Slot> {
    check_name(name)?;
    let dir = slots_dir(dir);
    // Asked first, so that a name that does not exist leaves no lock file.
    SlotFile::open(io, &dir, name, &place.identity)?;
    let lock = take_lock(io, &dir, name)?;
    // Again, now that nobody else can remove or move it.
    let file = SlotFile::open(io, &dir, name, &place.identity)?;
    let words = file.read()?;
    refuse_lost(name, &words)?;
    let Some(owner) = words.owner else {
        return Err(Error::Corruption {
            lsn: Lsn::at(place.durable(u64::MAX)?),
            path: file.path(),
            offset: 0,
            what: format!("no copy of the position of the slot {name:?} can be read"),
            advice: "Drop the slot and make it anew where its reader knows it has come to.".into(),
        });
    };
    let position = words.position().unwrap_or(owner.lsn);
    // What was read may be in the page cache only; and its owner is alive.
    let mut slot = Slot {
        file,
        io: io.clone(),
        name: name.to_owned(),
        place,
        moved,
        word: owner,
        failed: false,
        _lock: lock,
    };
    slot.file.rewrite(Side::Owner)?;
    slot.write(Word {
        lsn: position,
        time: io.wall_clock(),
        ..owner
    })?;
    Ok(slot)
}

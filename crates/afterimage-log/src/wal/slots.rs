//! Slots: named readers that hold the log back, within limits.
//!
//! A slot's position is durable in a file of its own. Its owner, in this process or another one, moves it; the holder
//! of the log reads it before anything is given up. Two limits are on by default, and a full disk is a third: at a
//! limit the slot is given up by name, durably and before any of its log goes, and whoever comes back is told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::atomic::{AtomicBool, Ordering};
use afterimage_io::{Io, LockAttempt, LockFile};

use super::cut::Cut;
use super::outside::Start;
use super::slot::{Place, Slot, check_position, own};
use super::slot_file::{Side, SlotFile, Word, Words};
use super::{Core, Wal};
use crate::control::ControlFile;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::identity::Identity;
use crate::lsn::Lsn;
use crate::tail::Proof;

/// How often the holder looks at the slots' files when nothing tells it that one has moved.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a slot was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotLoss {
    /// It held back more than `max_slot_wal_keep_size`.
    KeepSize,
    /// Nobody owned or moved it for `idle_replication_slot_timeout`.
    Idle,
    /// The disk was full, and log that only this slot held back was the way out.
    DiskFull,
    /// The log at its position is not there any more.
    LogGone,
}

impl SlotLoss {
    fn code(self) -> u32 {
        match self {
            SlotLoss::KeepSize => 1,
            SlotLoss::Idle => 2,
            SlotLoss::DiskFull => 3,
            SlotLoss::LogGone => 4,
        }
    }

    fn of(code: u32) -> SlotLoss {
        match code {
            1 => SlotLoss::KeepSize,
            2 => SlotLoss::Idle,
            3 => SlotLoss::DiskFull,
            _ => SlotLoss::LogGone,
        }
    }
}

impl fmt::Display for SlotLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SlotLoss::KeepSize => "it held back more log than max_slot_wal_keep_size",
            SlotLoss::Idle => {
                "nobody owned it or moved it for longer than idle_replication_slot_timeout"
            }
            SlotLoss::DiskFull => "the disk was full, and it was this slot that held the log back",
            SlotLoss::LogGone => "the log at its position is not there any more",
        })
    }
}

/// How it is with a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotState {
    /// It holds the log back.
    Active,
    /// It was given up and holds nothing back.
    Lost {
        /// Why.
        why: SlotLoss,
        /// When, in microseconds since the Unix epoch.
        at_micros: u64,
        /// Where the log ended then.
        at_lsn: Lsn,
    },
    /// No copy of its position can be read. It holds back everything, within the limits, until it is dropped.
    Damaged,
}

/// A slot, as [`Wal::slots`] shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotInfo {
    /// Its name.
    pub name: String,
    /// Where it stands; none where that cannot be read.
    pub position: Option<Lsn>,
    /// Active, lost or damaged.
    pub state: SlotState,
    /// How many bytes of log, in whole segments, are there from its position on.
    pub kept_bytes: u64,
    /// When it was made, opened or moved last, in microseconds since the Unix epoch; 0 where that cannot be read.
    pub moved_at_micros: u64,
}

impl SlotInfo {
    /// All slots of the log in `dir`, by name, as their files say now; without opening the log, which another process may
    /// have open.
    ///
    /// # Errors
    ///
    /// `ControlCorrupt`, `Io`; `Unsupported` for a slot of a newer format.
    pub fn list(io: &Io, dir: &Path) -> Result<Vec<SlotInfo>> {
        let control = ControlFile::open(io, dir, false)?.current().clone();
        let slots = Slots::open(io, dir, &control.identity)?;
        let files = Files::read(io, dir, &control)?;
        let mut all = Vec::new();
        for (name, file) in &slots.known {
            let words = file.read()?;
            let from = words.position().unwrap_or(0) / control.segment_bytes;
            let used = files.segments.range(from..);
            let used = used.filter(|(_, file)| file.header.is_some()).count() as u64;
            all.push(SlotInfo {
                name: name.clone(),
                position: words.position().and_then(Lsn::new),
                state: state(&words),
                kept_bytes: used * control.segment_bytes,
                moved_at_micros: words.owner.map_or(0, |word| word.time),
            });
        }
        Ok(all)
    }
}

/// What the holder of the log knows of the slots.
pub(super) struct Slots {
    known: BTreeMap<String, SlotFile>,
    /// What was asked to be given up, and could not yet, as a position.
    wish: u64,
    /// When an owner was last seen at a slot that has not moved for long.
    seen: BTreeMap<String, u64>,
    looked_at: Duration,
    looked_next: u64,
    /// An owner in this process has moved its slot.
    moved: Arc<AtomicBool>,
}

impl Slots {
    /// Finds the slots in `dir/slots`.
    pub(super) fn open(io: &Io, dir: &Path, identity: &Identity) -> Result<Slots> {
        let dir = slots_dir(dir);
        let mut known = BTreeMap::new();
        if is_there(io, &dir)? {
            for name in io
                .list_dir(&dir)
                .map_err(|e| Error::io("list", &dir, 0, e))?
            {
                if check_name(&name).is_ok() {
                    let file = SlotFile::open(io, &dir, &name, identity)?;
                    known.insert(name, file);
                }
            }
        }
        Ok(Slots {
            known,
            wish: 0,
            seen: BTreeMap::new(),
            looked_at: io.now(),
            looked_next: 0,
            moved: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Where the slots prove the log to have been durable. A lost slot proves nothing: its log may be gone.
    pub(super) fn proofs(&self) -> Result<Vec<(Proof, Lsn)>> {
        let mut proofs = Vec::new();
        for (name, file) in &self.known {
            let words = file.read()?;
            if let Some(lsn) = words.position().and_then(Lsn::new)
                && words.holder.lost_at == 0
            {
                proofs.push((Proof::Slot(name.clone()), lsn));
            }
        }
        Ok(proofs)
    }

    /// Tells every slot that the log was cut at `lsn`: none stands beyond it from now on.
    pub(super) fn cut_at(&self, lsn: Lsn) -> Result<()> {
        self.known.values().try_for_each(|file| {
            let words = file.read()?;
            let id = words.holder.cut.wrapping_add(1);
            tell(file, &words, Cut { at: lsn, id })
        })
    }

    /// As [`Slots::cut_at`]; those that were told of this cut before are not told again.
    pub(super) fn tell(&self, cut: Cut) -> Result<()> {
        self.known.values().try_for_each(|file| {
            let words = file.read()?;
            if words.holder.cut == cut.id {
                return Ok(());
            }
            tell(file, &words, cut)
        })
    }

    /// What was read may be in the page cache only, if the last stop was not clean.
    pub(super) fn rewrite(&self) -> Result<()> {
        self.known
            .values()
            .try_for_each(|file| file.rewrite(Side::Holder))
    }
}

impl Wal {
    /// Makes a slot that begins at `from`; durable when this returns. Open it with [`Wal::slot`], or in another process
    /// with [`Slot::open`]. Names are 1 to 64 of `a-z`, `0-9`, `_` and `-`.
    ///
    /// What a slot holds back is what [`Wal::truncate_before`] was asked to give up; `LogOptions::recycle_behind_slots`
    /// asks for that by itself. A slot that stands still is given up at `max_slot_wal_keep_size`, at
    /// `idle_replication_slot_timeout`, and where a full disk would otherwise refuse writers.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use afterimage_io::sim::Sim;
    /// use afterimage_log::{LogOptions, Start, Wal};
    ///
    /// # fn main() -> Result<(), afterimage_log::Error> {
    /// # let io = Sim::new(1).io();
    /// # let options = LogOptions { background: false, ..LogOptions::default() };
    /// let wal = Wal::open(&io, Path::new("events"), &options)?;
    /// wal.create_slot("mailer", Start::Oldest)?;
    /// wal.append(b"one")?.wait()?;
    /// let mut slot = wal.slot("mailer")?;
    /// for record in wal.read(slot.position()) {
    ///     slot.advance(record?.next)?; // from here on it is not wanted again
    /// }
    /// assert_eq!(wal.read(slot.position()).count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where there is one of this name; `BadPosition` where `from` is no record boundary, not durable,
    /// or given up; `BadOption` for the name; `DiskFull`, `Io`.
    pub fn create_slot(&self, name: &str, from: Start) -> Result<()> {
        check_name(name)?;
        let core = &self.handle.core;
        // Held over it all: nothing is given up between the look at the position and the file.
        let mut slots = core.slots.lock();
        core.log.shared.check()?;
        let dir = slots_dir(&core.dir);
        if slots.known.contains_key(name) {
            return Err(Error::AlreadyExists {
                path: dir.join(name),
            });
        }
        let (oldest, durable) = (core.log.oldest_lsn(), core.log.durable_lsn());
        let position = match from {
            Start::Oldest => oldest.min(durable),
            Start::End => durable,
            Start::At(lsn) => {
                check_position(&core.log.shared, lsn)?;
                lsn
            }
        };
        if !is_there(&core.io, &dir)? {
            core.io
                .create_dir(&dir)
                .and_then(|()| core.io.sync_dir(&core.dir))
                .map_err(|e| Error::io("make", &dir, 0, e))?;
        }
        let identity = &core.log.shared.identity;
        let word = Word {
            lsn: position.get(),
            time: core.io.wall_clock(),
            ..Word::default()
        };
        SlotFile::create(&core.io, &dir, name, identity, word)?;
        let file = SlotFile::open(&core.io, &dir, name, identity)?;
        slots.known.insert(name.to_owned(), file);
        Ok(())
    }

    /// Opens a slot: from now on it is this handle that moves it, and no other, in whatever process.
    ///
    /// # Errors
    ///
    /// `NoSlot`; `InUse` where somebody owns it; `SlotLost` where it was given up, with what can be done;
    /// `Corruption` where its file cannot be read; `Io`.
    pub fn slot(&self, name: &str) -> Result<Slot> {
        let core = &self.handle.core;
        let place = Place::inside(&core.log.shared);
        let moved = Arc::clone(&core.slots.lock().moved);
        own(&core.io, &core.dir, name, place, Some(moved))
    }

    /// Removes a slot, lost or not. It holds nothing back any more, and its name can be used again.
    ///
    /// # Errors
    ///
    /// `NoSlot`; `InUse` where somebody owns it; `Io`.
    pub fn drop_slot(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let core = &self.handle.core;
        let mut slots = core.slots.lock();
        let dir = slots_dir(&core.dir);
        let path = dir.join(name);
        if !slots.known.contains_key(name) {
            let name = name.to_owned();
            return Err(Error::NoSlot { name, path });
        }
        let _lock = take_lock(&core.io, &dir, name)?;
        core.io
            .remove_file(&path)
            .and_then(|()| core.io.sync_dir(&dir))
            .map_err(|e| Error::io("remove", &path, 0, e))?;
        slots.known.remove(name);
        slots.moved.store(true, Ordering::Release);
        Ok(())
    }

    /// All slots, by name, as their files say now.
    ///
    /// # Errors
    ///
    /// `Io`; `Unsupported` for a slot of a newer format.
    pub fn slots(&self) -> Result<Vec<SlotInfo>> {
        let core = &self.handle.core;
        let slots = core.slots.lock();
        let mut all = Vec::new();
        for (name, file) in &slots.known {
            let words = file.read()?;
            all.push(SlotInfo {
                name: name.clone(),
                position: words.position().and_then(Lsn::new),
                state: state(&words),
                kept_bytes: core.kept_from(words.position().unwrap_or(0)),
                moved_at_micros: words.owner.map_or(0, |word| word.time),
            });
        }
        Ok(all)
    }

    /// Gives up what lies before `lsn`, in whole segments, as far as it is durable and no slot stands before it; answers
    /// how many. What a slot holds back now goes by itself, in the background, when the slot has moved on or is given
    /// up; that is forgotten at a close, so ask again after an open.
    ///
    /// # Errors
    ///
    /// `Io`: appending goes on; the file is found again at the next open. `Failed` after a stop.
    pub fn truncate_before(&self, lsn: Lsn) -> Result<u64> {
        let core = &self.handle.core;
        let mut slots = core.slots.lock();
        slots.wish = slots.wish.max(lsn.min(core.log.durable_lsn()).get());
        core.enforce_limits(&mut slots)?;
        core.recycle(&mut slots)
    }
}

impl Core {
    /// Looks at the slots from time to time: gives up those at a limit, and the log that none needs any more.
    pub(super) fn look_at_slots(&self) -> Result<()> {
        let mut slots = self.slots.lock();
        if slots.known.is_empty() && slots.wish == 0 {
            return Ok(());
        }
        let (now, next) = (self.io.now(), self.log.next_lsn().get());
        let due = slots.moved.swap(false, Ordering::AcqRel)
            || now.saturating_sub(slots.looked_at) >= LOOK_EVERY
            || next - slots.looked_next.min(next) >= self.log.shared.segment_bytes;
        if !due {
            return Ok(());
        }
        (slots.looked_at, slots.looked_next) = (now, next);
        self.enforce_limits(&mut slots)?;
        self.recycle(&mut slots).map(|_| ())
    }

    /// The disk is full: gives up log that may go, or else the slot that stands furthest back, if that leads out.
    /// Answers whether it is worth trying again. `made` was counted before the attempt that failed.
    pub(super) fn make_room(&self, made: u64) -> Result<bool> {
        let mut slots = self.slots.lock();
        if self.log.shared.counters.made.load(Ordering::Acquire) != made {
            return Ok(true);
        }
        if self.log.shared.options.recycle_behind_slots && !slots.known.is_empty() {
            // What is in memory only cannot be given up.
            self.log.wait_durable(self.log.next_lsn())?;
        }
        loop {
            if self.recycle(&mut slots)? > 0 {
                return Ok(true);
            }
            let segment = |lsn: u64| lsn / self.log.shared.segment_bytes;
            let mut furthest: Option<(u64, String)> = None;
            for (name, file) in &slots.known {
                let words = file.read()?;
                let at = words.position().unwrap_or(0);
                let holds = words.holder.lost_at == 0 && segment(at) < segment(slots.wish);
                if holds && furthest.as_ref().is_none_or(|(other, _)| at < *other) {
                    furthest = Some((at, name.clone()));
                }
            }
            let Some((_, name)) = furthest else {
                return Ok(false);
            };
            self.lose(&slots, &name, SlotLoss::DiskFull)?;
        }
    }

    /// Gives up the slots that have come to a limit.
    fn enforce_limits(&self, slots: &mut Slots) -> Result<()> {
        let options = &self.log.shared.options;
        let timeout = options.idle_replication_slot_timeout;
        let timeout = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        let oldest = self.oldest_segment();
        let now = self.io.wall_clock();
        let names: Vec<_> = slots.known.keys().cloned().collect();
        let segment = |lsn: u64| lsn / self.log.shared.segment_bytes;
        let mut failed = Ok(());
        for name in names {
            let words = match slots.known[&name].read() {
                Ok(words) => words,
                Err(error) => {
                    // The others have their limits all the same.
                    failed = Err(error);
                    continue;
                }
            };
            if words.holder.lost_at != 0 {
                continue;
            }
            let at = words.position();
            // What nobody has asked to be given up is kept anyway, and no slot is to blame.
            let holds = segment(at.unwrap_or(0)) < segment(slots.wish);
            if at.is_some_and(|at| segment(at) < oldest) {
                self.lose(slots, &name, SlotLoss::LogGone)?;
            } else if holds && self.kept_from(at.unwrap_or(0)) > options.max_slot_wal_keep_size {
                self.lose(slots, &name, SlotLoss::KeepSize)?;
            } else {
                let seen = slots.seen.get(&name).copied().unwrap_or(0);
                let alive = words.owner.map_or(now, |word| word.time).max(seen);
                if now.saturating_sub(alive) <= timeout {
                    continue;
                }
                // Whoever holds its lock is alive. If nobody does, it is held until the slot's loss is durable.
                match take_lock(&self.io, &slots_dir(&self.dir), &name) {
                    Ok(_lock) => self.lose(slots, &name, SlotLoss::Idle)?,
                    Err(Error::InUse { .. }) => {
                        slots.seen.insert(name, now);
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        failed
    }

    /// Says durably that a slot is given up; only then may its log go.
    fn lose(&self, slots: &Slots, name: &str, why: SlotLoss) -> Result<()> {
        let file = &slots.known[name];
        let word = Word {
            time: self.io.wall_clock(),
            lost_at: self.log.next_lsn().get(),
            reason: why.code(),
            ..file.read()?.holder
        };
        file.write(Side::Holder, word)?;
        let counter = &self.log.shared.counters.slots_lost;
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Gives up what was asked to be given up and no slot needs; answers how many segments.
    fn recycle(&self, slots: &mut Slots) -> Result<u64> {
        if self.log.shared.options.recycle_behind_slots && !slots.known.is_empty() {
            slots.wish = slots.wish.max(self.log.durable_lsn().get());
        }
        let segment = |lsn: u64| lsn / self.log.shared.segment_bytes;
        let oldest = self.oldest_segment();
        let mut bound = slots.wish;
        let mut files = Vec::new();
        for file in slots.known.values() {
            // Once one holds everything back the others do not matter.
            if segment(bound) <= oldest {
                return self.give_up(slots.wish.min(bound));
            }
            let words = file.read()?;
            if words.holder.lost_at == 0 && !planted::active(Bug::SlotIgnored) {
                // One that cannot be read stands at the oldest.
                bound = bound.min(words.position().unwrap_or(0));
                files.push(file);
            }
        }
        if segment(bound) > oldest {
            // Another process may have written its position and not synced it: a loss of power would move it back.
            files.into_iter().try_for_each(SlotFile::sync)?;
        }
        self.give_up(bound)
    }

    fn give_up(&self, bound: u64) -> Result<u64> {
        match Lsn::new(bound) {
            Some(bound) => self.truncate_before(bound),
            None => Ok(0),
        }
    }

    /// How many bytes of log, in whole segments, there are from `lsn` on.
    fn kept_from(&self, lsn: u64) -> u64 {
        let bytes = self.log.shared.segment_bytes;
        let buffer = self.log.shared.buffer.lock();
        buffer.live.range(lsn / bytes..).count() as u64 * bytes
    }
}

fn tell(file: &SlotFile, words: &Words, cut: Cut) -> Result<()> {
    let holder = words.holder;
    // Of several cuts that the owner has not heard of, the lowest counts.
    let untold = words.owner.and_then(|owner| words.untold(owner.cut));
    let at = cut.at.get();
    let lsn = untold.map_or(at, |before| at.min(before));
    let cut = cut.id;
    file.write(Side::Holder, Word { lsn, cut, ..holder })
}

pub(super) fn refuse_lost(name: &str, words: &Words) -> Result<()> {
    match state(words) {
        SlotState::Lost { why, at_lsn, .. } => Err(Error::SlotLost {
            name: name.to_owned(),
            position: Lsn::new(words.position().unwrap_or(0)),
            what: format!("{why}; the log ended at LSN {at_lsn} then"),
        }),
        _ => Ok(()),
    }
}

fn state(words: &Words) -> SlotState {
    match Lsn::new(words.holder.lost_at) {
        Some(at_lsn) => SlotState::Lost {
            why: SlotLoss::of(words.holder.reason),
            at_micros: words.holder.time,
            at_lsn,
        },
        None if words.owner.is_none() => SlotState::Damaged,
        None => SlotState::Active,
    }
}

pub(super) fn take_lock(io: &Io, dir: &Path, name: &str) -> Result<LockFile> {
    let path = dir.join(format!("{name}.lock"));
    match io.try_lock(&path) {
        Ok(LockAttempt::Acquired(lock)) => Ok(lock),
        Ok(LockAttempt::Held { pid }) => Err(Error::InUse {
            path: dir.join(name),
            pid,
        }),
        Err(e) => Err(Error::io("lock", &path, 0, e)),
    }
}

pub(super) fn slots_dir(dir: &Path) -> PathBuf {
    dir.join("slots")
}

fn is_there(io: &Io, path: &Path) -> Result<bool> {
    io.exists(path)
        .map_err(|e| Error::io("look for", path, 0, e))
}

/// Names are such that no file system and no shell minds them, and that no other file in the directory bears one.
pub(super) fn check_name(name: &str) -> Result<()> {
    let fine = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
    if (1..=64).contains(&name.len()) && name.bytes().all(fine) {
        return Ok(());
    }
    Err(Error::BadOption {
        name: "slot name",
        what: format!("{name:?} is not 1 to 64 of a-z, 0-9, _ and -"),
    })
}

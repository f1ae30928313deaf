//! Segments ahead of use: made one at a time, or given a future number instead of being removed.
//!
//! Everything here happens under the preparer's mutex and never under the buffer's, so appends go on meanwhile. A
//! failure here refuses those who need room and harms nothing else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::atomic::Ordering;
use afterimage_io::{OpenMode, Progress};

use crate::error::{Error, Result};
use crate::segment::{self, OpenSegment, file_name};
use crate::shared::{Preparer, Shared};
use crate::units::micros;

/// How long background work does not ask a full disk again, in microseconds.
const FULL_PAUSE: u64 = 1_000_000;

impl Preparer {
    /// Something is given up, with the log's end here. A larger distance counts at once, a smaller one slowly, so that a quiet
    /// hour does not take away what the next busy one needs.
    fn tell(&mut self, next: u64) {
        let distance = next.saturating_sub(self.given_up_at);
        self.given_up_at = next;
        self.distance = distance.max(self.distance / 10 * 9 + distance / 10);
    }
}

impl Shared {
    /// Makes one segment, unless more than `made` have been made meanwhile.
    pub(crate) fn prepare_one(&self, made: u64) -> Result<()> {
        let mut preparer = self.prepare.lock();
        if self.counters.made.load(Ordering::Acquire) != made {
            return Ok(());
        }
        self.check()?;
        if let Some(reason) = &preparer.broken {
            return Err(Error::io(
                "prepare a segment in",
                &self.dir,
                0,
                io::Error::other(reason.clone()),
            ));
        }
        let number = preparer.next_number;
        let path = self
            .dir
            .join(file_name(self.identity.timeline_ordinal, number));
        let file = segment::prepare(&self.io, &path, self.segment_bytes)?;
        self.sync_names(&mut preparer)?;
        preparer.next_number += 1;
        preparer.full_at = None;
        self.counters.prepared.fetch_add(1, Ordering::Relaxed);
        let spare = OpenSegment::new(&self.identity, number, self.segment_bytes, path, file);
        self.add_spare(spare.written_by(&self.io, self.choice.writes)?);
        tracing::debug!(number, "a segment was made");
        Ok(())
    }

    fn add_spare(&self, segment: OpenSegment) {
        self.buffer.lock().prepared.push_back(Arc::new(segment));
        self.counters.made.fetch_add(1, Ordering::AcqRel);
    }

    fn sync_names(&self, preparer: &mut Preparer) -> Result<()> {
        let synced = segment::sync_names(&self.io, &self.dir);
        if let Err(e) = &synced {
            preparer.broken = Some(e.to_string());
        }
        synced
    }

    /// See `Log::switch_segment`.
    pub(crate) fn switch_segment(&self) -> Result<u64> {
        let next = loop {
            let made = self.counters.made.load(Ordering::Acquire);
            {
                let mut buffer = self.buffer.lock();
                self.admit(&buffer)?;
                if !buffer.holds_records() {
                    break buffer.next;
                }
                if buffer.can_switch(self.reserved.load(Ordering::Acquire)) {
                    buffer.switch();
                    self.next.store(buffer.next, Ordering::Release);
                    break buffer.next;
                }
            }
            self.prepare_one(made)?;
        };
        self.flush_to(next)?;
        Ok(next)
    }

    /// Background work: begins a new segment if records have stood in this one for `archive_timeout`.
    pub(crate) fn switch_late(&self, now: u64) -> Result<Progress> {
        if self.options.archive_timeout == Duration::MAX {
            return Ok(Progress::Idle);
        }
        let current = {
            let buffer = self.buffer.lock();
            buffer.holds_records().then(|| buffer.current().number)
        };
        let mut preparer = self.prepare.lock();
        match (current, preparer.filling) {
            (Some(number), Some((seen, since))) if number == seen => {
                if now.saturating_sub(since) < micros(self.options.archive_timeout) {
                    return Ok(Progress::Idle);
                }
            }
            (current, _) => {
                preparer.filling = current.map(|number| (number, now));
                return Ok(Progress::Idle);
            }
        }
        drop(preparer);
        match self.switch_segment() {
            Ok(_) => Ok(Progress::Worked),
            // It is tried again; whoever appends is told.
            Err(Error::DiskFull { .. }) => Ok(Progress::Idle),
            Err(e) => self.check().and(Err(e)),
        }
    }

    /// How many prepared segments there should be: the one that is never written into, and the spare ones.
    fn wanted(&self) -> usize {
        self.options.spare_segments + 1
    }

    /// Background work: prepares a segment where one is missing. A full disk is not news to anyone here.
    pub(crate) fn keep_spares(&self, now: u64) -> Result<Progress> {
        let made = self.counters.made.load(Ordering::Acquire);
        if self.buffer.lock().prepared.len() >= self.wanted() {
            return Ok(Progress::Idle);
        }
        if self
            .prepare
            .lock()
            .full_at
            .is_some_and(|at| now.saturating_sub(at) < FULL_PAUSE)
        {
            return Ok(Progress::Idle);
        }
        match self.prepare_one(made) {
            Ok(()) => Ok(Progress::Worked),
            Err(Error::DiskFull { .. }) => {
                self.prepare.lock().full_at = Some(now);
                Ok(Progress::Idle)
            }
            Err(e) => Err(e),
        }
    }

    /// See `Log::truncate_before`. Oldest first, each change of names durable before the next: what remains has no hole.
    pub(crate) fn truncate_before(&self, lsn: u64) -> Result<u64> {
        let mut given_up = 0;
        loop {
            let mut preparer = self.prepare.lock();
            self.check()?;
            if preparer.broken.is_some() {
                return Ok(given_up);
            }
            let Some(number) = self.take_oldest(lsn) else {
                return Ok(given_up);
            };
            if given_up == 0 {
                preparer.tell(self.next.load(Ordering::Acquire));
            }
            if self.keeps(&preparer) {
                self.recycle(number, &mut preparer)?;
            } else {
                self.remove(number, &mut preparer)?;
            }
            given_up += 1;
        }
    }

    /// Whether a segment that nobody needs any more is kept for what will be written, instead of being removed.
    fn keeps(&self, preparer: &Preparer) -> bool {
        let (live, prepared) = {
            let buffer = self.buffer.lock();
            (buffer.live.len() as u64, buffer.prepared.len() as u64)
        };
        let wanted = self.wanted() as u64;
        let kept = (live + prepared + 1) * self.segment_bytes;
        let max = self.changing.max_wal_size();
        let expected = wanted + preparer.distance.div_ceil(self.segment_bytes);
        prepared < wanted
            || kept <= self.options.min_wal_size.min(max)
            || (prepared < expected && kept <= max)
    }

    /// Takes the oldest segment from those that can be read, if it is durable and before the one that `lsn` lies in. That
    /// one stays, even if no record in it is at or above `lsn`: whoever wrote `lsn` down will begin to read there.
    fn take_oldest(&self, lsn: u64) -> Option<u64> {
        let durable = self.durable.load(Ordering::Acquire);
        let mut buffer = self.buffer.lock();
        let (number, live) = buffer
            .live
            .iter()
            .next()
            .map(|(number, live)| (*number, *live))?;
        // The durable LSN must have left the segment, not only reached its end: its END frame may be on its way.
        let next = buffer.live.range(number + 1..).next()?.1.first;
        live.end?;
        let keep = lsn / self.segment_bytes + u64::from(planted::active(Bug::GivenUpTooEarly));
        if number >= keep || next > durable {
            return None;
        }
        buffer.live.remove(&number);
        drop(buffer);
        self.publish_oldest(next);
        self.reading
            .lock()
            .take_if(|(reading, _)| *reading == number);
        Some(number)
    }

    fn recycle(&self, number: u64, preparer: &mut Preparer) -> Result<()> {
        let ordinal = self.identity.timeline_ordinal;
        let future = preparer.next_number;
        let from = self.dir.join(file_name(ordinal, number));
        let to = self.dir.join(file_name(ordinal, future));
        // Counted up first: whatever happens, this number is not given to two files.
        preparer.next_number += 1;
        self.io
            .rename(&from, &to)
            .map_err(|e| Error::io("rename", &from, 0, e))?;
        self.sync_names(preparer)?;
        let file = self
            .io
            .open(&to, OpenMode::ReadWrite)
            .map_err(|e| Error::io("open", &to, 0, e))?;
        self.counters.recycled.fetch_add(1, Ordering::Relaxed);
        let spare = OpenSegment::new(&self.identity, future, self.segment_bytes, to, file);
        self.add_spare(spare.written_by(&self.io, self.choice.writes)?);
        Ok(())
    }

    fn remove(&self, number: u64, preparer: &mut Preparer) -> Result<()> {
        let path = self
            .dir
            .join(file_name(self.identity.timeline_ordinal, number));
        self.io
            .remove_file(&path)
            .map_err(|e| Error::io("remove", &path, 0, e))?;
        self.sync_names(preparer)?;
        self.counters.removed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

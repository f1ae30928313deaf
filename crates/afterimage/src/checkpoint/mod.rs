//! Fuzzy checkpoints: what recovery needs in order to start late in the log, written while work goes on.
//!
//! Begin record; active transactions and dirty pages, read after it; end record; the log synced; and only then the
//! control file. Nothing stops, no page is forced. Behind it the log that nobody needs any more is given up.

mod area;
mod estimate;
mod pace;

use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::Mutex;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_log::{Control, ControlFile, Durations, Log, Lsn, Reservation};

pub(crate) use area::{EngineArea, Stop};
pub(crate) use estimate::{Load, Speed, Took};
pub(crate) use pace::{Limits, Pace, Standing, delay, due_checkpoint, forced_at};

use crate::buffer::{Counter, Pager};
use crate::error::Result;
use crate::limits::TABLES_CHUNK_BYTES_MAX;
use crate::record::{Record, RecordKind, encode_tables};
use crate::transaction::System;

/// Bytes that a record is taken to have before there are enough to ask.
pub(crate) const USUAL_RECORD: u64 = 150;

/// Why a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// `checkpoint_timeout` had passed.
    Timed,
    /// An eighth of `max_wal_size` had been written since the last one; the cleaner keeps up.
    Paced,
    /// The log came close to `max_wal_size`: the cleaner did not keep up.
    Forced,
    /// Somebody asked for it.
    Manual,
    /// A clean stop, or the end of a recovery.
    Shutdown,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) timed: Counter,
    pub(crate) paced: Counter,
    pub(crate) forced: Counter,
    pub(crate) manual: Counter,
    pub(crate) shutdown: Counter,
    /// How long each took, the pages that it brought home included.
    pub(crate) took: Durations,
    /// How long after the one before, of those that nobody asked for.
    pub(crate) apart: Durations,
}

impl Counters {
    fn count(&self, cause: Cause, took: Duration) {
        self.took.add(took);
        let counter = match cause {
            Cause::Timed => &self.timed,
            Cause::Paced => &self.paced,
            Cause::Forced => &self.forced,
            Cause::Manual => &self.manual,
            Cause::Shutdown => &self.shutdown,
        };
        counter.add(1);
    }
}

/// Takes checkpoints, one at a time, and owns the control file.
pub(crate) struct Checkpointer {
    inner: Mutex<Inner>,
    checkpoint_lsn: AtomicU64,
    redo_lsn: AtomicU64,
    scan_lsn: AtomicU64,
    /// Pages that had been written home when its tables were taken.
    pages_written: AtomicU64,
    /// The end that a recovery found, and how many positions between the redo point and where it went on hold no log.
    skipped: Mutex<(u64, u64)>,
    /// How fast a recovery is; none before there was something to learn it from.
    speed: Mutex<Option<Speed>>,
    /// From where on the two control copies need log.
    kept_lsn: AtomicU64,
    /// Where the log ended behind the last one.
    end_lsn: AtomicU64,
    /// Microseconds of the world's clock at the last one.
    taken_at: AtomicU64,
    /// The most log that a recovery would have had to read, so far.
    most: AtomicU64,
    pub(crate) counters: Counters,
}

struct Inner {
    control: ControlFile,
    /// Log space kept for the next checkpoint, so that a full disk does not keep the log from being given up.
    space: Option<Reservation>,
}

impl Checkpointer {
    /// Takes over the control file of a database that was just recovered or cleanly closed.
    pub(crate) fn new(io: &Io, control: ControlFile, area: &EngineArea) -> Checkpointer {
        let checkpointer = Checkpointer::with(io, control, None);
        *checkpointer.speed.lock() = area.speed;
        checkpointer.publish(io, area, area.checkpoint_lsn);
        checkpointer
    }

    /// Takes the first checkpoint of a new database, whose making has taught so much of the disk; `make` makes the control file that names it, durably.
    pub(crate) fn create(
        system: &System,
        speed: Option<Speed>,
        make: impl FnOnce(&EngineArea) -> Result<ControlFile>,
    ) -> Result<Checkpointer> {
        let mut space = None;
        let area = EngineArea {
            speed,
            ..write_records(system, &mut space)?
        };
        let checkpointer = Checkpointer::with(&system.pager.io, make(&area)?, space);
        *checkpointer.speed.lock() = speed;
        checkpointer.publish(&system.pager.io, &area, system.pager.log.next_lsn());
        Ok(checkpointer)
    }

    fn with(io: &Io, control: ControlFile, space: Option<Reservation>) -> Checkpointer {
        Checkpointer {
            inner: Mutex::new(io, Inner { control, space }),
            checkpoint_lsn: AtomicU64::new(0),
            redo_lsn: AtomicU64::new(0),
            scan_lsn: AtomicU64::new(0),
            pages_written: AtomicU64::new(0),
            skipped: Mutex::new(io, (0, 0)),
            speed: Mutex::new(io, None),
            kept_lsn: AtomicU64::new(0),
            end_lsn: AtomicU64::new(0),
            taken_at: AtomicU64::new(io.now().as_micros() as u64),
            most: AtomicU64::new(0),
            counters: Counters::default(),
        }
    }

    pub(crate) fn checkpoint_lsn(&self) -> Option<Lsn> {
        Lsn::new(self.checkpoint_lsn.load(Ordering::Acquire))
    }

    pub(crate) fn redo_lsn(&self) -> Option<Lsn> {
        Lsn::new(self.redo_lsn.load(Ordering::Acquire))
    }

    /// From where on a recovery by either control copy would read.
    pub(crate) fn kept_lsn(&self) -> Option<Lsn> {
        Lsn::new(self.kept_lsn.load(Ordering::Acquire))
    }

    /// Bytes of log written since the last checkpoint ended.
    pub(crate) fn log_since(&self, log: &Log) -> u64 {
        log.next_lsn()
            .get()
            .saturating_sub(self.end_lsn.load(Ordering::Acquire))
    }

    pub(crate) fn since_last(&self, io: &Io) -> Duration {
        io.now()
            .saturating_sub(Duration::from_micros(self.taken_at.load(Ordering::Acquire)))
    }

    /// How far the log's end is from the redo point: what has to stay below `max_wal_size`.
    pub(crate) fn span(&self, log: &Log) -> u64 {
        self.redo_lsn()
            .map_or(0, |redo| log.next_lsn().get().saturating_sub(redo.get()))
    }

    /// Bytes of log that a recovery would have to read now.
    pub(crate) fn age(&self, log: &Log) -> u64 {
        let nothing = self.skipped_since(self.redo_lsn().map_or(0, Lsn::get));
        self.span(log).saturating_sub(nothing)
    }

    /// Positions from there on that hold no log.
    fn skipped_since(&self, lsn: u64) -> u64 {
        let (end, none) = *self.skipped.lock();
        match end >= lsn {
            true => none,
            false => 0,
        }
    }

    /// The most that [`age`](Checkpointer::age) has been since the database was opened, or since its bound was changed.
    pub(crate) fn age_max(&self, log: &Log) -> u64 {
        self.most.load(Ordering::Relaxed).max(self.age(log))
    }

    /// Its bound has changed.
    pub(crate) fn restart_age_max(&self) {
        self.most.store(0, Ordering::Relaxed);
    }

    /// It is at its highest just before it falls. What a recovery has read is no age of this open, and some of it may be no log.
    fn raise_age_max(&self, log: &Log, cause: Cause) {
        if cause != Cause::Shutdown {
            self.most.fetch_max(self.age(log), Ordering::Relaxed);
        }
    }

    /// How long a recovery would take, and of what, if it came now.
    pub(crate) fn recovery(&self, pager: &Pager) -> (Speed, Load) {
        let (next, stats) = (pager.log.next_lsn().get(), pager.log.stats());
        let record_bytes = match stats.records {
            0..1000 => USUAL_RECORD,
            records => (stats.bytes / records).max(1),
        };
        let since = |lsn: &AtomicU64| {
            let lsn = lsn.load(Ordering::Acquire);
            let nothing = self.skipped_since(lsn);
            next.saturating_sub(lsn).saturating_sub(nothing) / record_bytes
        };
        let (examined, redone) = (since(&self.scan_lsn), since(&self.redo_lsn));
        // Each page that the checkpoint has in its table, or that has become dirty since, is dirty, or was written since.
        let written = pager.counters.pages_written.get();
        let written = written.saturating_sub(self.pages_written.load(Ordering::Acquire));
        let pages = (pager.dirty_count() as u64 + written).min(redone);
        let load = Load {
            examined,
            redone,
            record_bytes,
            pages,
            unproven: pager.log.unproven_segments(),
        };
        (self.speed.lock().unwrap_or_default(), load)
    }

    /// A recovery read so many bytes of log from the redo point, if there was one, to the end that it found, and the log goes on at `next`. What
    /// earlier recoveries have skipped is between them, too.
    pub(crate) fn skip(&self, redo: Option<Lsn>, end: Lsn, next: Lsn, read: u64) {
        let span = next.get().saturating_sub(redo.unwrap_or(end).get());
        *self.skipped.lock() = (end.get(), span.saturating_sub(read));
    }

    /// A recovery of this load took so long. The next checkpoint writes down what that says of the next one.
    pub(crate) fn learn(&self, load: &Load, took: &Took) {
        let mut speed = self.speed.lock();
        *speed = Speed::learn(*speed, load, took);
    }

    /// Takes a checkpoint, points the control file at it, and gives up the log that is no longer needed.
    ///
    /// # Errors
    ///
    /// `DiskFull`: the checkpoint did not come about, the one before stands. `Io` from giving up log: the checkpoint stands.
    /// Anything else has stopped the engine.
    pub(crate) fn take(&self, system: &System, cause: Cause) -> Result<()> {
        let _taking = tracing::info_span!("checkpoint", ?cause).entered();
        self.take_since(system, cause, system.pager.io.now())
    }

    /// As [`take`](Checkpointer::take), once every page is home that was dirty with a recLSN below `below`.
    pub(crate) fn take_behind(&self, system: &System, cause: Cause, below: Lsn) -> Result<()> {
        let _taking = tracing::info_span!("checkpoint", ?cause).entered();
        let began = system.pager.io.now();
        system.pager.clean_below(below)?;
        self.take_since(system, cause, began)
    }

    fn take_since(&self, system: &System, cause: Cause, began: Duration) -> Result<()> {
        let mut inner = self.inner.lock();
        let mut control = inner.control.current().clone();
        let written = system.pager.counters.pages_written.get();
        let area = EngineArea {
            stop: EngineArea::decode(&control.client)?.stop,
            speed: *self.speed.lock(),
            ..write_records(system, &mut inner.space)?
        };
        self.pages_written.store(written, Ordering::Release);
        control.client = area.encode();
        control.durable_lsn = Some(system.pager.log.durable_lsn());
        control.clean_end = None;
        if matches!(cause, Cause::Timed | Cause::Paced | Cause::Forced) {
            self.counters.apart.add(self.since_last(&system.pager.io));
        }
        self.raise_age_max(&system.pager.log, cause);
        self.point_at(system, &mut inner, &control, &area)?;
        let took = system.pager.io.now().saturating_sub(began);
        self.counters.count(cause, took);
        tracing::info!(
            lsn = area.checkpoint_lsn.get(),
            redo_from = area.scan_lsn.get(),
            "checkpoint taken"
        );
        self.truncate(system, &inner)
    }

    /// The last checkpoint of a clean stop: every page is home, nobody is active, the log ends where the control file
    /// says.
    pub(crate) fn close(&self, system: &System) -> Result<()> {
        let began = system.pager.io.now();
        system.pager.clean_below(system.pager.log.next_lsn())?;
        assert_eq!(
            system.pager.dirty_count(),
            0,
            "CKPT-2: a clean stop leaves no dirty page"
        );
        let mut inner = self.inner.lock();
        let mut area = write_records(system, &mut inner.space)?;
        inner.space = None;
        let unlogged = system.catalogue.unlogged();
        // Before the control file says that the stop was clean: a crash in between leaves it an unclean one.
        system.pager.leave(area.checkpoint_lsn)?;
        area.speed = *self.speed.lock();
        area.stop = Some(Stop {
            lsn: area.checkpoint_lsn,
            pages: system.pager.file_pages()?,
        });
        if !planted::active(Bug::UnloggedNotSynced)
            && let Some(unlogged) = unlogged
        {
            unlogged.pager.leave(area.checkpoint_lsn)?;
        }
        let mut control = inner.control.current().clone();
        control.client = area.encode();
        control.durable_lsn = Some(system.pager.log.durable_lsn());
        control.clean_end = Some(system.pager.log.next_lsn());
        self.point_at(system, &mut inner, &control, &area)?;
        let took = system.pager.io.now().saturating_sub(began);
        self.counters.count(Cause::Shutdown, took);
        if planted::active(Bug::UnloggedNotSynced)
            && let Some(unlogged) = unlogged
        {
            unlogged.pager.leave(area.checkpoint_lsn)?;
        }
        Ok(())
    }

    fn point_at(
        &self,
        system: &System,
        inner: &mut Inner,
        control: &Control,
        area: &EngineArea,
    ) -> Result<()> {
        if let Err(error) = inner.control.write(control) {
            system
                .pager
                .log
                .fail(format!("writing the control file: {error}"));
            return Err(error.into());
        }
        if planted::active(Bug::ControlBeforeTables) {
            system.pager.log.wait_durable(system.pager.log.next_lsn())?;
        }
        self.publish(&system.pager.io, area, system.pager.log.next_lsn());
        Ok(())
    }

    fn publish(&self, io: &Io, area: &EngineArea, end: Lsn) {
        self.checkpoint_lsn
            .store(area.checkpoint_lsn.get(), Ordering::Release);
        self.redo_lsn.store(area.redo_lsn.get(), Ordering::Release);
        self.scan_lsn.store(area.scan_lsn.get(), Ordering::Release);
        self.end_lsn.store(end.get(), Ordering::Release);
        self.taken_at
            .store(io.now().as_micros() as u64, Ordering::Release);
    }

    /// Nothing goes that recovery from either control copy, or the undo of anybody who could become a loser, may need.
    fn truncate(&self, system: &System, inner: &Inner) -> Result<()> {
        let log = &system.pager.log;
        let older = inner.control.other();
        let older = older.filter(|_| !planted::active(Bug::NewestCopyOnly));
        let copies = [Some(inner.control.current()), older];
        let mut bound = log.durable_lsn();
        for copy in copies.into_iter().flatten() {
            let area = EngineArea::decode(&copy.client)?;
            bound = bound.min(if planted::active(Bug::TruncateActive) {
                area.redo_lsn
            } else {
                area.scan_lsn
            });
        }
        self.kept_lsn.store(bound.get(), Ordering::Release);
        let oldest = system.active.oldest_needed(log.durable_lsn());
        if let Some(oldest) = oldest.filter(|_| !planted::active(Bug::TruncateActive)) {
            bound = bound.min(oldest);
        }
        log.truncate_before(bound)?;
        Ok(())
    }
}

/// Begin, tables, end; all durable when this returns.
fn write_records(system: &System, kept: &mut Option<Reservation>) -> Result<EngineArea> {
    let log = &system.pager.log;
    let mut space = match kept.take() {
        Some(space) => space,
        None => log.reserve(space_needed(system))?,
    };
    let too_early = planted::active(Bug::TablesBeforeBegin)
        .then(|| (system.active.snapshot(), system.pager.dirty_pages()));
    let pager = &system.pager;
    let begin = pager.append(&mut space, &Record::CheckpointBegin, false, |_, _| ())?;
    // Read after the begin record has its place: every effect of the records before it is in the tables.
    let (att, mut dpt) =
        too_early.unwrap_or_else(|| (system.active.snapshot(), system.pager.dirty_pages()));
    // A page whose recLSN was read long before it was marked is dirty all the same; what is older than the oldest log
    // cannot be missing from its home.
    let oldest = log.oldest_lsn();
    for (_, rec_lsn) in &mut dpt {
        *rec_lsn = oldest.max(*rec_lsn);
    }
    let max = log.max_payload().min(TABLES_CHUNK_BYTES_MAX);
    let mut end = begin;
    for chunk in encode_tables(&att, &dpt, max) {
        // The kept space is reckoned for the usual case; a table that outgrew it asks again.
        if space.bytes() < Log::frame_bytes(chunk.len(), false) + END_BYTES {
            space.absorb(log.reserve(Log::frame_bytes(chunk.len(), false) + END_BYTES)?);
        }
        let chunk = (RecordKind::CheckpointTables, &*chunk);
        end = pager.append_encoded(&mut space, chunk, false, |_, _| ())?;
    }
    let last = Record::CheckpointEnd {
        begin: begin.lsn,
        last_commit_time: 0,
    };
    let appended = pager.append(&mut space, &last, false, |_, _| ())?;
    debug_assert!(appended.lsn >= end.lsn);
    if !planted::active(Bug::ControlBeforeTables) {
        log.wait_durable(appended.end)?;
    }
    drop(space);
    // For the next time, if there is room; if not, it asks then.
    *kept = log.reserve(space_needed(system)).ok();
    let redo = dpt
        .iter()
        .map(|(_, rec_lsn)| *rec_lsn)
        .min()
        .unwrap_or(begin.lsn)
        .min(begin.lsn);
    let undo = att.iter().map(|entry| entry.txn).min().unwrap_or(begin.lsn);
    Ok(EngineArea {
        page_size: system.pager.page_size() as u32,
        checkpoint_lsn: begin.lsn,
        redo_lsn: redo,
        scan_lsn: redo.min(undo),
        stop: None,
        speed: None,
    })
}

fn space_needed(system: &System) -> usize {
    let tables = 20 * system.pager.frame_count() + 32 * (system.active.count() + 16);
    tables.min(4 * TABLES_CHUNK_BYTES_MAX) + 2 * END_BYTES
}

/// Space for the begin record, or for the end record.
const END_BYTES: usize = 64;

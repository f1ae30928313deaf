//! Opening a database that is there: decide, make safe, analysis, redo, undo, checkpoint.
#![doc = include_str!("README.md")]

mod analysis;
mod kept;
mod kinds;
mod redo;
mod refuse;
mod report;
mod undo;
mod workers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use afterimage_io::planted::{self, Bug};
use afterimage_io::{Io, Note, OpenMode};
use afterimage_log::{
    Control, ControlFile, Examination, Identity, Log, LogOptions, Lsn, Proof, Tail,
};

pub use kept::LastRecovery;
pub use kinds::KindReport;
pub use report::RecoveryReport;

use crate::buffer::{Doublewrite, DoublewriteCopy, Found, Pager, Store, UnloggedFile};
use crate::checkpoint::{Cause, Checkpointer, EngineArea, Load, Took};
use crate::error::{Error, Result};
use crate::ids::TableId;
use crate::observe::{Observing, RecoveryStep, TransactionLine};
use crate::options::Options;
use crate::page::Page;
use crate::record::RecordKind;
use crate::transaction::{System, after_record};
use analysis::{Analysis, Analyst, page_line};
use redo::redo;
use refuse::{check_before_opening, check_mendable, check_stop};

/// A database brought up.
pub(crate) struct Recovered {
    pub(crate) system: System,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) report: RecoveryReport,
}

/// What was read before anything was written.
struct Decided {
    control: Control,
    area: EngineArea,
    copies: Vec<DoublewriteCopy>,
    /// Whether the doublewrite area held copies that could not be read.
    copies_lost: bool,
    examination: Examination,
    /// What the records behind the checkpoint say; nothing after a clean stop.
    analysis: Analysis,
}

/// Measures the passes, one after the other.
struct Clock<'a> {
    io: &'a Io,
    since: Duration,
}

impl Clock<'_> {
    fn lap(&mut self) -> Duration {
        let now = self.io.now();
        let lap = now.saturating_sub(self.since);
        self.since = now;
        lap
    }
}

pub(crate) fn log_options(options: &Options) -> LogOptions {
    LogOptions {
        background: options.background,
        max_wal_size: options.max_wal_size,
        ..options.log.clone()
    }
}

/// Cells of the doublewrite area for a pool of this many frames.
pub(crate) fn doublewrite_cells(options: &Options) -> usize {
    options.frames() / 4
}

/// Where the unlogged tables of this database are.
pub(crate) fn unlogged_file(
    io: &Io,
    directory: &Path,
    options: &Options,
    identity: &Identity,
) -> UnloggedFile {
    let (page_size, frames) = (options.page_size, options.unlogged_frames());
    UnloggedFile::new(io, directory, page_size, frames, identity)
}

/// Opens the database whose control file this is.
///
/// # Errors
///
/// Damage to what was durable, with nothing changed; whatever the disk says.
pub(crate) fn recover(
    io: &Io,
    directory: &Path,
    mut file: ControlFile,
    options: &Options,
) -> Result<Recovered> {
    let mut clock = Clock {
        io,
        since: io.now(),
    };
    let observer = &options.observer.clone();
    let deciding = tracing::info_span!("decide");
    let decided = deciding.in_scope(|| decide(io, directory, &file, observer));
    if decided.is_err() && planted::active(Bug::RefusalWrites) {
        let mut control = file.current().clone();
        control.clean_end = None;
        file.write(&control)?;
    }
    let decided = decided.inspect_err(|_| io.note(Note::RecoveryRefused))?;
    let fixed = (decided.area.page_size, decided.control.segment_bytes);
    let options = &options.clone().adopt(fixed.0, fixed.1)?;
    options.check_together()?;
    let clean = decided.control.clean_end.is_some();
    let mut report = begin_report(&decided, clean);
    if !clean {
        observer.tell(&RecoveryStep::LogEnded {
            end: decided.examination.end,
            tail: &report.tail,
        });
    }
    report.decide_time = clock.lap();
    let securing = tracing::info_span!("make_safe").entered();

    let mut control = decided.control.clone();
    let page_size = decided.area.page_size as usize;
    let id = control.identity.database_id;
    let store = Pager::open_store(io, directory, page_size, id, OpenMode::ReadWrite)?;
    let unlogged_file = unlogged_file(io, directory, options, &control.identity);
    // What a stop that was not clean has left of unlogged rows is some older moment of each page, or half of one.
    let mut unlogged_left = None;
    if clean || planted::active(Bug::UnloggedKept) {
        unlogged_left = unlogged_file.left_by(decided.area.checkpoint_lsn)?;
    }
    let is_it = |()| match decided.area.stop {
        Some(stop) if !planted::active(Bug::OlderPagesTaken) => {
            check_stop(&store, stop, clean, decided.examination.end)
        }
        _ => Ok(true),
    };
    let clean_area = if clean {
        let checked = check_before_opening(&store)
            .and_then(is_it)
            .and_then(|_| unlogged_left.as_ref().map_or(Ok(()), check_before_opening))
            .and_then(|()| Doublewrite::open(io, directory, id, page_size));
        Some(checked.inspect_err(|_| io.note(Note::RecoveryRefused))?)
    } else {
        let mendable = |head_is_good: bool| match decided.copies_lost || !head_is_good {
            true => check_mendable(io, directory, &decided, &store, head_is_good),
            false => Ok(()),
        };
        let checked = is_it(()).and_then(mendable);
        checked.inspect_err(|_| io.note(Note::RecoveryRefused))?;
        None
    };
    if clean && planted::active(Bug::CleanFlagKept) {
        // The flag is left for a crash to find.
    } else {
        mark_open(&mut file, &mut control, clean)?;
    }
    let doublewrite = match clean_area {
        Some(area) => area,
        None => {
            let cells = doublewrite_cells(options);
            let kept = match planted::active(Bug::CopiesGoFirst) {
                true => &[][..],
                false => &decided.copies,
            };
            let area = Doublewrite::replace(io, directory, id, page_size, cells, kept)?;
            restore_torn_pages(&store, &decided.copies, &mut report, observer)?;
            area
        }
    };
    let log_options = log_options(options);
    let (end, analysis) = (decided.examination.end, decided.analysis);
    let examined = decided.examination.records;
    report.segments_rewritten = decided.examination.unproven_segments();
    let before = clock.io.now();
    let log = Log::resume(io, directory, &control, decided.examination, &log_options);
    let log = log.inspect_err(|_| {
        if clean {
            // Nothing was written to the log: that stop is still the last thing that happened, and unlogged rows rest on it.
            let _ = file.write(&decided.control);
        }
    })?;
    let rewriting = io.now().saturating_sub(before);
    report.secure_time = clock.lap();
    drop(securing);

    let system = Arc::new(System::new(
        io,
        Pager::new(io, log, store, doublewrite, options.frames()),
        unlogged_file,
        options.lock_timeout,
        options.version_store_size,
    ));
    let checkpointer = Checkpointer::new(io, file, &decided.area);
    let next = system.pager.log.next_lsn();
    let unlogged = passes(
        &system,
        analysis,
        end,
        clean,
        observer,
        &mut report,
        &mut clock,
    )?;
    checkpointer.skip(report.redo_lsn, end, next, report.log_bytes);
    let system = Arc::into_inner(system).expect("those who redid have ended");
    if unlogged_left.is_none() {
        report.unlogged_emptied = unlogged.len() as u64;
    }
    system.open_unlogged(&unlogged, unlogged_left)?;
    if !clean {
        let load = Load {
            examined,
            redone: report.redone + report.already_there,
            record_bytes: 0,
            pages: report.pages,
            unproven: report.segments_rewritten,
        };
        let took = Took {
            records: report.decide_time + report.analysis_time + report.redo_time,
            segments: rewriting,
            // The checkpoint to come takes about a fifth of what making safe took.
            rest: report.secure_time * 6 / 5 - rewriting,
        };
        checkpointer.learn(&load, &took);
        checkpointer.take(&system, Cause::Shutdown)?;
        let taken = checkpointer.checkpoint_lsn().zip(checkpointer.redo_lsn());
        if let Some((lsn, redo_from)) = taken {
            observer.tell(&RecoveryStep::CheckpointTaken { lsn, redo_from });
        }
    }
    report.checkpoint_time = clock.lap();
    Ok(Recovered {
        system,
        checkpointer,
        report,
    })
}

/// Step 1: reads, and decides whether this database can be opened. Writes nothing.
fn decide(io: &Io, directory: &Path, file: &ControlFile, observer: &Observing) -> Result<Decided> {
    let control = file.current().clone();
    let area = EngineArea::decode(&control.client)?;
    let id = control.identity.database_id;
    let (copies, copies_lost) = if control.clean_end.is_some() {
        (Vec::new(), false)
    } else {
        Doublewrite::read(io, directory, id, area.page_size as usize)?
    };
    // A page is written anywhere only when its log is durable: its LSN proves how far the log was.
    let proofs: Vec<_> = copies
        .iter()
        .map(|copy| (Proof::Doublewrite, after_record(copy.lsn)))
        .collect();
    let clean = control.clean_end.is_some();
    observer.tell(&RecoveryStep::Began {
        checkpoint: area.checkpoint_lsn,
        clean,
    });
    let analyst = Analyst {
        analysis: Analysis::default(),
        checkpoint: (!clean).then_some(area.checkpoint_lsn),
        observer: observer.clone(),
        failed: None,
    };
    let (examination, analyst) =
        Log::examine_with(io, directory, &control, area.scan_lsn, &proofs, analyst)?;
    analyst.failed.map_or(Ok(()), Err)?;
    let analysis = analyst.analysis;
    if !clean && !analysis.checkpoint_complete {
        let what = "CKPT-1: the control file names a checkpoint that has no end record";
        return Err(Error::corruption(
            format!("LSN {}", area.checkpoint_lsn),
            what,
        ));
    }
    Ok(Decided {
        analysis,
        control,
        area,
        copies,
        copies_lost,
        examination,
    })
}

fn begin_report(decided: &Decided, clean: bool) -> RecoveryReport {
    let (tail, torn_bytes) = match &decided.examination.verdict {
        Tail::Torn {
            at,
            reason,
            discarded,
        } => (
            format!(
                "a torn tail at LSN {at} ({reason}), cut off; nothing proves that it was ever durable"
            ),
            *discarded,
        ),
        Tail::Clean => ("where the last clean stop left it".to_owned(), 0),
        _ => ("after the last whole record, nothing torn".to_owned(), 0),
    };
    let mut report = RecoveryReport::new(false, clean, tail);
    report.torn_bytes = torn_bytes;
    report.checkpoint_lsn = Some(decided.area.checkpoint_lsn);
    report.end_lsn = Some(decided.examination.end);
    report
}

/// Step 2. After a clean stop: the flag goes, synced, before anything else is written. After any other: the copy that
/// was read is written again, for it may have been only in a page cache, and the epoch is raised.
fn mark_open(file: &mut ControlFile, control: &mut Control, clean: bool) -> Result<()> {
    if !clean {
        file.rewrite_in_place()?;
        control.epoch += 1;
    }
    control.clean_end = None;
    file.write(control)?;
    *control = file.current().clone();
    Ok(())
}

/// Step 3: each page whose home is unreadable, or not newer than its copy, goes home again, synced, before any cell of
/// the area is used anew.
fn restore_torn_pages(
    store: &Store,
    copies: &[DoublewriteCopy],
    report: &mut RecoveryReport,
    observer: &Observing,
) -> Result<()> {
    let mut home = Page::new(store.page_size());
    // A page beyond the file's end was free when the file was cut.
    let pages = store.page_count()?;
    for copy in copies.iter().filter(|copy| copy.page.get() < pages) {
        let found = store.look(copy.page, &mut home)?;
        let newer = matches!(found, Found::Good) && home.lsn() > Some(copy.lsn);
        if !newer && !planted::active(Bug::TornPageBelieved) {
            store.write_run(copy.page, &copy.image)?;
            report.pages_restored += 1;
            let torn = matches!(found, Found::Bad(_));
            report.pages_torn += u64::from(torn);
            observer.tell(&RecoveryStep::PageRestored {
                page: copy.page.get(),
                lsn: copy.lsn,
                torn,
            });
        }
    }
    store.sync()
}

/// Step 6: redo, undo. Returns the unlogged tables, whose rows are no part of it.
fn passes(
    system: &Arc<System>,
    analysis: Analysis,
    end: Lsn,
    clean: bool,
    observer: &Observing,
    report: &mut RecoveryReport,
    clock: &mut Clock<'_>,
) -> Result<Vec<(String, TableId)>> {
    let (pager, log) = (&system.pager, &system.pager.log);
    let losers = analysis.losers();
    report.records = analysis.records;
    report.winners = analysis.winners;
    report.losers = losers.len() as u64;
    let (dirty, mut kinds) = (analysis.dirty(), analysis.kinds);
    report.analysis_time = clock.lap();

    report.redo_lsn = dirty.iter().map(|(_, rec_lsn)| *rec_lsn).min();
    let ids: Vec<Lsn> = losers.iter().map(|loser| loser.txn).collect();
    if observer.is_there() && !clean {
        let losers: Vec<TransactionLine> = losers.iter().copied().map(Into::into).collect();
        let dirty: Vec<_> = dirty.iter().copied().map(page_line).collect();
        observer.tell(&RecoveryStep::AnalysisEnded {
            losers: &losers,
            dirty: &dirty,
            winners: report.winners,
            redo_from: report.redo_lsn,
        });
    }
    let redoing = tracing::info_span!(
        "redo",
        from = report.redo_lsn.map(Lsn::get),
        pages = dirty.len()
    );
    let redone = redoing.in_scope(|| redo(system, dirty, end, &ids, &mut kinds, observer))?;
    if !clean {
        observer.tell(&RecoveryStep::RedoEnded {
            applied: redone.applied,
            already_there: redone.already_there,
        });
    }
    report.log_bytes = redone.bytes;
    report.pages = redone.pages;
    report.redone = redone.applied;
    report.already_there = redone.already_there;
    report.redo_time = clock.lap();

    if !clean {
        pager.sweep_end_of_file()?;
    }
    pager.load_map()?;
    let unlogged = system.catalogue.load(pager)?;
    system.active.restore(&losers);
    let undoing = tracing::info_span!("undo", losers = losers.len());
    report.undone = undoing.in_scope(|| undo::undo(system, &losers, &mut kinds, observer))?;
    report.last_record = kinds.last.map(RecordKind::name);
    report.kinds = kinds.report();
    system.purge.begin_at(log.next_lsn());
    report.undo_time = clock.lap();
    Ok(unlogged)
}

//! A real database, explained: what a recovery of it would do, tried in memory over files that are only read; or what it did, as it was
//! opened.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use afterimage::inspect::{self, DumpLine};
use afterimage::{Database, Error, Lsn, Options, RecoveryReport};
use afterimage_io::Io;

use crate::narrate::{Names, Narrator, value_text};
use crate::story::{Recovery, Rows, State, Story};
use crate::watch::{Event, Watch};

/// Steps of each pass that are told, where not all are.
const TOLD: usize = 12;
/// Steps of each pass that are told of a recovery that was looked on at.
const SHOWN: usize = 75;
/// Stories of no more steps, and tables of no more entries, have the tables behind each step.
const WITH_TABLES: usize = 300;
const ENTRIES: usize = 300;
/// More log than this is recovered without anybody looking on.
const LOOKED_ON: u64 = 64 << 20;

/// What opening a database would come to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The steps, and what comes of them.
    pub story: Story,
    /// What was found and would be done; none if the database would be refused.
    pub report: Option<RecoveryReport>,
    /// How long that would take on the disk, and whether that is by the last recovery here. None: there is nothing to recover, or it is refused.
    pub estimate: Option<(Duration, bool)>,
    /// Why it would be refused.
    pub refused: Option<Error>,
}

/// Tries a recovery of the database in `directory` in memory, and tells it. Changes no byte. `all`: tells every step.
///
/// # Errors
///
/// What keeps it from being looked at at all: there is none, somebody has it open, a setting is refused.
pub fn explain_directory(options: Options, directory: &Path, all: bool) -> Result<Plan, Error> {
    let io = Io::overlay();
    let watch = Arc::new(Watch::new(if all { usize::MAX } else { TOLD }));
    let options = options.io(io.clone()).create(false).background(false);
    let opened = options.observer(watch.clone()).open(directory);
    let (db, refused) = match opened {
        Ok(db) => (Some(db), None),
        Err(error @ (Error::Corruption { .. } | Error::PageCorrupt { .. })) => (None, Some(error)),
        Err(error) => return Err(error),
    };
    let report = db.as_ref().map(|db| db.recovery_report().clone());
    let outcome = match &refused {
        None => "open".to_owned(),
        Some(error) => format!("refused: {error}"),
    };
    let mut recovery = tell(&watch, db.as_ref(), outcome)?;
    recovery.told = report.as_ref().map(would).unwrap_or_default();
    let mut estimate = None;
    if let Some(report) = &report
        && !report.clean
        && !report.created
    {
        let reckoned = inspect::estimate(&Io::overlay(), directory, report)?;
        estimate = Some((reckoned.time, reckoned.learnt));
    }
    Ok(Plan {
        story: Story {
            title: format!(
                "A recovery of {}, tried in memory: nothing on the disk changes",
                directory.display()
            ),
            recoveries: vec![recovery],
            ..Story::default()
        },
        report,
        estimate,
        refused,
    })
}

/// Opens a database, and tells the recovery that it needed; none after a clean stop. Where there is much log, by the counters that the
/// last process has left, it is opened as ever and not told: whoever looks on sees every record, which takes its time.
///
/// # Errors
///
/// As [`Options::open`].
pub fn open_explained(
    options: Options,
    directory: &Path,
) -> Result<(Database, Option<Story>), Error> {
    let left = inspect::status(&Io::overlay(), directory).ok().flatten();
    if left.is_none_or(|left| left.closed || left.stats.checkpoint_age > LOOKED_ON) {
        return Ok((options.open(directory)?, None));
    }
    let watch = Arc::new(Watch::new(SHOWN));
    let db = options.observer(watch.clone()).open(directory)?;
    let report = db.recovery_report();
    if report.clean || report.created {
        return Ok((db, None));
    }
    let took = report.total_time();
    let recovery = tell(&watch, Some(&db), "open".to_owned())?;
    let story = Story {
        title: "The last recovery of this database: what it found and did".to_owned(),
        recoveries: vec![recovery],
        result: format!("Everything took {:.3} s.", took.as_secs_f64()),
        ..Story::default()
    };
    Ok((db, Some(story)))
}

/// What was seen of a recovery, told.
fn tell(watch: &Watch, db: Option<&Database>, outcome: String) -> Result<Recovery, Error> {
    let events = watch.events();
    let mut names = Numbers {
        tables: db.map(tables).transpose()?.unwrap_or_default(),
    };
    let dirty = |event: &Event| match event {
        Event::AnalysisEnded { dirty, losers, .. } => dirty.len() + losers.len(),
        _ => 0,
    };
    let entries = events.iter().map(dirty).max().unwrap_or(0);
    let mut narrator = Narrator::new(&mut names, State::default());
    if events.len() > WITH_TABLES || entries > ENTRIES {
        narrator = narrator.without_tables();
    }
    for event in &events {
        narrator.tell(event);
    }
    let mut recovery = narrator.finish(outcome);
    if let Some(report) = db.map(Database::recovery_report) {
        recovery.redo_from = report.redo_lsn.map(|lsn| lsn.to_string());
        recovery.told = report.to_string().lines().map(str::to_owned).collect();
    }
    Ok(recovery)
}

/// What a recovery that was tried in memory would do. Its times are those of memory, and are not told.
fn would(report: &RecoveryReport) -> Vec<String> {
    let at = |lsn: Option<Lsn>| lsn.map_or_else(|| "none".to_owned(), |lsn| lsn.to_string());
    if report.clean || report.created {
        return vec![report.to_string()];
    }
    let mut lines = vec![
        format!(
            "decide    the log ends at LSN {}: {}",
            at(report.end_lsn),
            report.tail
        ),
        format!(
            "secure    {} pages would be restored from the doublewrite area, {} of them torn",
            report.pages_restored, report.pages_torn
        ),
        format!(
            "analysis  {} records from the checkpoint at LSN {}: {} winners, {} losers",
            report.records,
            at(report.checkpoint_lsn),
            report.winners,
            report.losers
        ),
        format!(
            "redo      {} bytes from LSN {}: {} changes would be applied to {} pages, {} are there already",
            report.log_bytes,
            at(report.redo_lsn),
            report.redone,
            report.pages,
            report.already_there
        ),
        format!(
            "undo      {} records of the losers would be taken back",
            report.undone
        ),
    ];
    if report.unlogged_emptied > 0 {
        lines.push(format!(
            "unlogged  {} tables would be empty: their rows are not in the log",
            report.unlogged_emptied
        ));
    }
    lines
}

fn tables(db: &Database) -> Result<BTreeMap<u32, String>, Error> {
    let mut tables = BTreeMap::new();
    for name in db.tables()? {
        tables.insert(db.table(&name)?.id(), name);
    }
    Ok(tables)
}

/// Things by their numbers, and tables by their names.
struct Numbers {
    tables: BTreeMap<u32, String>,
}

impl Numbers {
    fn row_of(&self, record: &DumpLine) -> Option<String> {
        let table = record.table?;
        let name = match self.tables.get(&table) {
            Some(name) => name.clone(),
            None => format!("table {table}"),
        };
        let key = record.key.as_deref().unwrap_or_default();
        Some(format!("{name}/{}", key_text(key)))
    }
}

/// A key as far as it fits a line.
fn key_text(key: &[u8]) -> String {
    const MOST: usize = 24;
    let text = key.iter().take(MOST).flat_map(|byte| byte.escape_ascii());
    let text: String = text.map(char::from).collect();
    match key.len() > MOST {
        true => format!("{text}..."),
        false => text,
    }
}

impl Names for Numbers {
    fn lsn(&self, lsn: Lsn) -> String {
        lsn.to_string()
    }

    fn record(&self, record: &DumpLine) -> String {
        let txn = record.txn.map(|txn| format!("T{txn} ")).unwrap_or_default();
        let row = self.row_of(record).unwrap_or_default();
        format!("{txn}{} {row}", record.kind).trim_end().to_owned()
    }

    fn txn(&self, txn: Lsn) -> String {
        format!("T{txn}")
    }

    fn page(&self, page: u64) -> String {
        format!("page {page}")
    }

    fn row(&self, page: u64, record: &DumpLine) -> String {
        self.row_of(record).unwrap_or_else(|| self.page(page))
    }

    fn version(&self, _: u64, _: Lsn) -> Option<Rows> {
        None
    }

    fn value(&self, value: &[u8]) -> String {
        value_text(value)
    }

    fn is_before(&self, _: Lsn) -> bool {
        false
    }

    fn left_out(&self, _: Lsn) -> bool {
        false
    }

    fn is_about(&self, _: u64) -> bool {
        true
    }

    fn written(&mut self, _: Lsn, _: String) {}

    fn tail(&self, tail: &str) -> String {
        tail.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_is_cut() {
        assert_eq!(key_text(b"a\x00b"), "a\\x00b");
        assert_eq!(key_text(&[b'x'; 30]), format!("{}...", "x".repeat(24)));
    }
}

//! `afterimage bench recovery`: recoveries of logs of different sizes, each beside what the database itself said just before that it would take.
//!
//! A database is filled with single-row updates until a recovery would read so much log; it says how long that would take; then its
//! directory is copied as it is, which is what a kill leaves, and the copy is opened. The copy goes on as the subject of the next size: it has learnt from
//! its recovery, as any database does.

use super::clients::{key, value};
use crate::failure::Failure;
use crate::open::from_engine;
use crate::out::{Out, Progress};
use crate::rng::Rng;
use crate::scratch::Scratch;
use crate::settings::Settings;
use crate::units;
use afterimage::{Database, Durability, Options, Table};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Updates between two looks at how much log there is.
const STEP: u64 = 1000;

/// What `bench recovery` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Each row: log that the recovery read, changes in it, pages, what it was said to take (stats, `a recovery now`), what
it took (the open as a whole), and how far the one is from the other. Nothing else should be busy.

Examples:
  afterimage bench recovery
  afterimage bench recovery --sizes 64MiB,1GiB --rows 1000000 --set buffer_pool_size=1GiB")]
pub struct Args {
    /// Where to measure, new or empty; without it a directory that is removed at the end
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// Log for each recovery to read, a row each, ascending
    #[arg(long, value_name = "S,S", value_delimiter = ',', default_value = "8MiB,16MiB,32MiB,48MiB,64MiB,96MiB,128MiB,192MiB,256MiB,384MiB", value_parser = afterimage_log::units::parse_size)]
    sizes: Vec<u64>,
    /// Rows in the table
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
}

/// One recovery.
struct Row {
    log_bytes: u64,
    records: u64,
    pages: u64,
    estimated: Duration,
    took: Duration,
}

/// Fills and recovers, size by size.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let scratch = Scratch::new(args.dir.as_deref(), "afterimage-bench")?;
    let most = args.sizes.iter().max().copied().unwrap_or_default();
    // All of the log is to be there for the recovery.
    let options = settings
        .options()?
        .create(true)
        .background(false)
        .max_wal_size((most * 4).max(1 << 30))
        .synchronous_commit(Durability::Memory);
    let mut subject = Subject::create(scratch.path().join("0"), &options, args.rows)?;
    if !out.is_json() {
        out.line("       log     records      pages    estimated        took    took/estimated")?;
    }
    let mut rows = Vec::new();
    for (n, &size) in args.sizes.iter().enumerate() {
        subject.fill(size)?;
        let (next, row) = subject.crash(scratch.path().join(format!("{}", n + 1)), &options)?;
        subject = next;
        if out.is_json() {
            rows.push(row.json());
        } else {
            out.line(row.text())?;
            out.flush()?;
        }
    }
    if out.is_json() {
        out.document(&json!({
            "bench": "recovery",
            "rows": rows,
            "table_rows": args.rows,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "version": env!("CARGO_PKG_VERSION"),
        }))?;
    }
    Ok(())
}

/// A database that is filled.
struct Subject {
    dir: PathBuf,
    db: Database,
    table: Table,
    rng: Rng,
    rows: u64,
    /// Bytes of log that it had appended when it began to be filled.
    begun: u64,
}

impl Subject {
    fn create(dir: PathBuf, options: &Options, rows: u64) -> Result<Self, Failure> {
        let told = |e| from_engine(e, &dir);
        let db = options.clone().open(&dir).map_err(told)?;
        let table = db.table("bench").map_err(told)?;
        let mut subject = Self {
            rng: Rng::new(1),
            dir,
            db,
            table,
            rows,
            begun: 0,
        };
        let mut progress = Progress::new();
        for first in (0..rows).step_by(STEP as usize) {
            progress.show(|| format!("preparing: {} rows", units::count(first)));
            for row in first..(first + STEP).min(rows) {
                subject.put(row)?;
            }
        }
        // Two: from here on a recovery from either copy of the control file begins behind the rows.
        for _ in 0..2 {
            let cleaned = subject.db.checkpoint();
            cleaned.map_err(|e| from_engine(e, &subject.dir))?;
        }
        subject.begun = subject.db.stats().wal_bytes;
        Ok(subject)
    }

    fn put(&mut self, row: u64) -> Result<(), Failure> {
        let value = value(&mut self.rng);
        let put = self.db.put(&self.table, &key(row), &value);
        put.map_err(|e| from_engine(e, &self.dir))
    }

    /// Updates rows at random until a recovery would read so much.
    fn fill(&mut self, size: u64) -> Result<(), Failure> {
        let mut progress = Progress::new();
        // What the copy found of it is still to be redone.
        let found = self.db.recovery_report().log_bytes;
        let begun = self.begun;
        let there = |db: &Database| found + db.stats().wal_bytes - begun;
        while there(&self.db) < size {
            progress.show(|| {
                let there = there(&self.db);
                format!("{} of {} of log", units::size(there), units::size(size))
            });
            for _ in 0..STEP {
                let row = self.rng.next() % self.rows;
                self.put(row)?;
            }
        }
        let mut last = self.db.begin();
        last.set_durability(Durability::Disk);
        let put = last.put(&self.table, &key(0), &value(&mut self.rng));
        put.and_then(|()| last.commit())
            .map_err(|e| from_engine(e, &self.dir))
    }

    /// Copies the directory, opens the copy, and goes on with that.
    fn crash(mut self, to: PathBuf, options: &Options) -> Result<(Self, Row), Failure> {
        let estimated = Duration::from_micros(self.db.stats().estimated_recovery_micros);
        copy(&self.dir, &to).map_err(|e| Failure::io("copying", &self.dir, &e))?;
        let gone = std::mem::replace(&mut self.dir, to);
        let _ = self.db.close();
        fs::remove_dir_all(&gone).map_err(|e| Failure::io("removing", &gone, &e))?;
        let told = |e| from_engine(e, &self.dir);
        let begun = Instant::now();
        self.db = options.clone().open(&self.dir).map_err(told)?;
        let took = begun.elapsed();
        self.table = self.db.table("bench").map_err(told)?;
        self.begun = 0;
        let report = self.db.recovery_report();
        let row = Row {
            log_bytes: report.log_bytes,
            records: report.redone + report.already_there,
            pages: report.pages,
            estimated,
            took,
        };
        Ok((self, row))
    }
}

/// The directory as it is, durable in its new place, so that what is measured does not wait for the copy.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), &place)?;
            fs::File::open(&place)?.sync_all()?;
        }
    }
    Ok(())
}

impl Row {
    fn ratio(&self) -> f64 {
        self.took.as_secs_f64() / self.estimated.as_secs_f64().max(1e-9)
    }

    fn text(&self) -> String {
        format!(
            "{:>10} {:>11} {:>10} {:>12} {:>11} {:>17.2}",
            units::size(self.log_bytes),
            units::count(self.records),
            units::count(self.pages),
            units::duration(self.estimated),
            units::duration(self.took),
            self.ratio(),
        )
    }

    fn json(&self) -> Value {
        json!({
            "log_bytes": self.log_bytes,
            "records": self.records,
            "pages": self.pages,
            "estimated_seconds": self.estimated.as_secs_f64(),
            "took_seconds": self.took.as_secs_f64(),
            "took_by_estimated": self.ratio(),
        })
    }
}

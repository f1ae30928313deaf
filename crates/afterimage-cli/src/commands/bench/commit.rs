//! `afterimage bench commit`: durable commits a second, beside what a single durable write costs on the same
//! directory in the same run.
//!
//! Every commit is a real one: an autocommit put of a 100-byte value under a 16-byte key, one frame in the log,
//! answered when it is durable. The calibration runs before and after each row and the multiple is taken of the mean
//! of the two, so a disk that changes its mind between rows shows in the spread and not in the multiples.

use super::calibrate::{Calibration, Single};
use super::clients::{self, Counted, RECORD_BYTES, ROWS, Subject, VALUE_BYTES};
use crate::commands::serve::{self, Page};
use crate::failure::Failure;
use crate::latency::quantile;
use crate::open::{from_engine, from_log, log_options};
use crate::out::{self, Out, Progress};
use crate::rng::Rng;
use crate::scratch::Scratch;
use crate::settings::Settings;
use crate::units;
use afterimage::{Database, Table};
use afterimage_io::Io;
use afterimage_log::Wal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SEED: u64 = 1;

/// What `bench commit` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Each row: commits counted, commits/s, latency at the 50th, 99th and 99.9th percentile, log syncs/s, commits a
sync, bytes of log a commit, and commits/s as a multiple of single durable writes/s, calibrated before and
after the row (4 KiB over a pre-written file, then fdatasync). One second of warm-up is not counted.

--sync-delay adds to every sync, also to the calibration's: how a slower disk would change the picture.

Examples:
  afterimage bench commit
  afterimage bench commit --clients 1,16 --seconds 10 --sync-delay 1ms
  afterimage bench commit --log-only
  afterimage bench commit --seconds 60 --http 127.0.0.1:8080     and look on in a browser
  afterimage bench commit --dir /mnt/fast/bench --json")]
pub struct Args {
    /// Where to measure, new or empty; without it a directory that is removed at the end
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// Numbers of concurrent clients, a row each
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,4,16,64", value_parser = clap::value_parser!(u32).range(1..=4096))]
    clients: Vec<u32>,
    /// Seconds counted in each row
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// Time added to every sync
    #[arg(long, value_name = "D", default_value = "0", value_parser = afterimage_log::units::parse_duration)]
    sync_delay: Duration,
    /// Measure the log alone: appends of 128-byte records, no engine above it
    #[arg(long, conflicts_with = "http")]
    log_only: bool,
    #[command(flatten)]
    page: Page,
}

/// Prepares the table, and measures a row for each number of clients.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let length = Duration::try_from_secs_f64(args.seconds)
        .map_err(|_| Failure::usage(format!("--seconds {} is no length of time", args.seconds)))?;
    let scratch = Scratch::new(args.dir.as_deref(), "afterimage-bench")?;
    let dir = scratch.path().join("db");
    let io = Io::os().with_sync_delay(args.sync_delay);
    let mut calibration = Calibration::new(&io, scratch.path())
        .map_err(|e| Failure::io("calibration", scratch.path(), &e))?;
    let subject = open(args, settings, &io, &dir)?;
    let page = match &subject {
        Subject::Engine(db, _) => args.page.serve(db)?,
        Subject::Log(_) => None,
    };
    if let Some(page) = &page {
        out::note(format!("the page is at {}", serve::url(page)));
    }
    let rows = measure(
        args,
        length,
        scratch.path(),
        &mut calibration,
        &subject,
        out,
    )?;
    drop(page);
    match subject {
        Subject::Engine(db, _) => db.close().map_err(|e| from_engine(e, &dir))?,
        Subject::Log(wal) => wal.close().map_err(|e| from_log(e, &dir))?,
    }
    if out.is_json() {
        out.document(&json!({
            "bench": "commit",
            "log_only": args.log_only,
            "rows": rows,
            "table_rows": if args.log_only { 0 } else { ROWS },
            "record_bytes": if args.log_only { RECORD_BYTES } else { 16 + VALUE_BYTES },
            "seconds": args.seconds,
            "sync_delay_seconds": args.sync_delay.as_secs_f64(),
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "version": env!("CARGO_PKG_VERSION"),
        }))?;
    }
    Ok(())
}

fn open(args: &Args, settings: &Settings, io: &Io, dir: &Path) -> Result<Subject, Failure> {
    if args.log_only {
        let wal = Wal::open(io, dir, &log_options(io, dir, settings)?);
        return wal.map(Subject::Log).map_err(|e| from_log(e, dir));
    }
    let told = |e| from_engine(e, dir);
    let options = settings.options()?.create(true).io(io.clone());
    let db = options.open(dir).map_err(told)?;
    let table = preload(&db).map_err(told)?;
    Ok(Subject::Engine(db, table))
}

/// The table, with all rows in it and a checkpoint behind them.
fn preload(db: &Database) -> afterimage::Result<Table> {
    let mut progress = Progress::new();
    let table = db.table("bench")?;
    let mut rng = Rng::new(SEED);
    for first in (0..ROWS).step_by(1000) {
        progress.show(|| {
            format!(
                "preparing: {} of {} rows",
                units::count(first),
                units::count(ROWS)
            )
        });
        db.transact(|tx| {
            (first..first + 1000)
                .try_for_each(|row| tx.put(&table, &clients::key(row), &clients::value(&mut rng)))
        })?;
    }
    db.checkpoint()?;
    Ok(table)
}

fn measure(
    args: &Args,
    length: Duration,
    place: &Path,
    calibration: &mut Calibration,
    subject: &Subject,
    out: &mut Out,
) -> Result<Vec<Value>, Failure> {
    let calibration_length = (length / 5).clamp(Duration::from_millis(200), Duration::from_secs(1));
    let mut calibrate = || {
        calibration
            .run(calibration_length)
            .map_err(|e| Failure::io("calibration", place, &e))
    };
    let mut before = calibrate()?;
    if !out.is_json() {
        head(args, &before, out)?;
    }
    let mut rows = Vec::new();
    for &clients in &args.clients {
        out::note(format!(
            "measuring {}",
            units::counted(u64::from(clients), "client", "clients")
        ));
        let counted = clients::run(subject, clients, length, SEED + u64::from(clients))?;
        let after = calibrate()?;
        let row = Row::new(clients, &counted, &before, &after);
        if out.is_json() {
            rows.push(row.json());
        } else {
            out.line(row.text())?;
            out.flush()?;
        }
        before = after;
    }
    Ok(rows)
}

fn head(args: &Args, single: &Single, out: &mut Out) -> Result<(), Failure> {
    let delay = if args.sync_delay.is_zero() {
        String::new()
    } else {
        format!(", {} added to every sync", units::duration(args.sync_delay))
    };
    out.line(format!(
        "one single durable write (4 KiB over a pre-written file, fdatasync): p50 {}, p99 {}, {:.0}/s{delay}",
        units::duration(single.p50),
        units::duration(single.p99),
        single.per_second,
    ))?;
    out.line(if args.log_only {
        format!("durable appends of {RECORD_BYTES} bytes to a log alone")
    } else {
        let rows = units::count(ROWS);
        format!("durable autocommit puts: 16-byte keys, {VALUE_BYTES}-byte values, a table of {rows} rows")
    })?;
    out.line("")?;
    out.line(
        "clients    commits  commits/s        p50        p99      p99.9    syncs/s  commits/sync  log B/commit  single/s  x single",
    )?;
    out.flush()
}

/// One row of the result.
struct Row {
    clients: u32,
    commits: u64,
    commits_per_second: f64,
    p50: Duration,
    p99: Duration,
    p999: Duration,
    syncs_per_second: f64,
    commits_per_sync: f64,
    log_bytes_per_commit: f64,
    before: Single,
    after: Single,
}

impl Row {
    fn new(clients: u32, counted: &Counted, before: &Single, after: &Single) -> Self {
        let seconds = counted.length.as_secs_f64();
        let commits = counted.latencies.len();
        // Divided by the engine's own count, which is taken at the same two moments as its syncs and bytes are.
        let engine_commits = (counted.after.commits - counted.before.commits).max(1) as f64;
        let syncs = (counted.after.wal_syncs - counted.before.wal_syncs) as f64;
        let bytes = (counted.after.wal_bytes - counted.before.wal_bytes) as f64;
        Self {
            clients,
            commits,
            commits_per_second: commits as f64 / seconds,
            p50: quantile(&counted.latencies, 0.5),
            p99: quantile(&counted.latencies, 0.99),
            p999: quantile(&counted.latencies, 0.999),
            syncs_per_second: syncs / seconds,
            commits_per_sync: engine_commits / syncs.max(1.0),
            log_bytes_per_commit: bytes / engine_commits,
            before: before.clone(),
            after: after.clone(),
        }
    }

    fn single_per_second(&self) -> f64 {
        f64::midpoint(self.before.per_second, self.after.per_second)
    }

    fn multiple(&self) -> f64 {
        self.commits_per_second / self.single_per_second()
    }

    fn text(&self) -> String {
        format!(
            "{:>7} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>13.1} {:>13.0} {:>9.0} {:>9.2}",
            self.clients,
            units::count(self.commits),
            units::count(self.commits_per_second.round() as u64),
            units::duration(self.p50),
            units::duration(self.p99),
            units::duration(self.p999),
            units::count(self.syncs_per_second.round() as u64),
            self.commits_per_sync,
            self.log_bytes_per_commit,
            self.single_per_second(),
            self.multiple(),
        )
    }

    fn json(&self) -> Value {
        let single = |single: &Single| {
            json!({
                "per_second": single.per_second,
                "p50_seconds": single.p50.as_secs_f64(),
                "p99_seconds": single.p99.as_secs_f64(),
            })
        };
        json!({
            "clients": self.clients,
            "commits": self.commits,
            "commits_per_second": self.commits_per_second,
            "p50_seconds": self.p50.as_secs_f64(),
            "p99_seconds": self.p99.as_secs_f64(),
            "p999_seconds": self.p999.as_secs_f64(),
            "syncs_per_second": self.syncs_per_second,
            "commits_per_sync": self.commits_per_sync,
            "log_bytes_per_commit": self.log_bytes_per_commit,
            "single_write_before": single(&self.before),
            "single_write_after": single(&self.after),
            "multiple_of_single_write": self.multiple(),
        })
    }
}

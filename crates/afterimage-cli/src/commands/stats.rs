//! `afterimage stats`: where the log stands and what happened, from the status file, so also of a live database.
//!
//! The holder rewrites the file as it works; nobody is asked and nothing is locked, so the numbers are as old as it
//! says.

use crate::commands::demo::story;
use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::units::{count, duration, size};
use afterimage::{Histogram, Stats, StatusFile, inspect};
use afterimage_io::Io;
use afterimage_server::json::checkpoint_age_percent;
use afterimage_server::live::State;
use afterimage_server::metrics;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `stats` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Reads the status file, which the process that has the database open rewrites as it works; the first line says how
old the numbers are. Works on a live database, and on one that nobody has open.

Examples:
  afterimage stats bank
  watch -n1 afterimage stats bank
  afterimage stats bank --json | jq .checkpoint_age
  afterimage stats bank --metrics | grep wal_bytes")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
    /// Print them as OpenMetrics text, which Prometheus reads
    #[arg(long, conflicts_with = "json")]
    metrics: bool,
    /// Print the report of the last recovery that had something to recover
    #[arg(long)]
    recovery: bool,
}

/// Prints the numbers.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let io = Io::overlay();
    let status = read(&io, &args.dir)?;
    let age = Duration::from_micros(io.wall_clock().saturating_sub(status.written_at_micros));
    let state = State::of(&status).words();
    if args.metrics {
        return out.line(metrics::text(&status).trim_end());
    }
    if args.recovery {
        return recovery(&io, args, &status, out);
    }
    if out.is_json() {
        return out.document(&document(&status, age, state));
    }
    out.line(line("written", &written(&status, age, state)))?;
    if let Some(why) = &status.failed {
        let what = "every call answers LogFailed until it is closed and opened again";
        out.line(line("stopped", &format!("{why}; {what}")))?;
    }
    lines(&status.stats).try_for_each(|line| out.line(line))
}

/// The last recovery that was one, as `recover` would have told it.
fn recovery(io: &Io, args: &Args, status: &StatusFile, out: &mut Out) -> Result<(), Failure> {
    let Some(last) = &status.recovery else {
        return Err(Failure::data("no recovery is known of").at(args.dir.display()).advise(
            "every stop since the database was made was clean, or the last status was lost in a crash",
        ));
    };
    let ago = Duration::from_micros(io.wall_clock().saturating_sub(last.at_micros));
    if out.is_json() {
        let mut document = story::report_json(&last.report);
        document["age_seconds"] = json!(ago.as_secs_f64());
        return out.document(&document);
    }
    out.line(format!("the last recovery, {} ago", duration(ago)))?;
    story::tell_recovery(&last.report, last.report.total_time())
        .iter()
        .try_for_each(|line| out.line(line))
}

/// The numbers, one a line.
pub fn lines(stats: &Stats) -> impl Iterator<Item = String> + use<> {
    let rows = table(stats).into_iter();
    let times = stats.histograms().into_iter();
    let times = times.filter(|(_, times)| times.count() > 0);
    let times: Vec<_> = times.map(|(name, times)| took(name, times)).collect();
    let rows = rows.map(|(name, value)| line(name, &value));
    let now = stats
        .waiting()
        .into_iter()
        .filter(|(_, callers)| *callers > 0);
    let now: Vec<_> = now
        .map(|(cause, callers)| {
            let name = format!("waiting: {}", cause.replace('_', " "));
            line(&name, &format!("{} at this moment", count(callers)))
        })
        .collect();
    rows.chain(now).chain(times)
}

/// How long something took, or was waited for; what never happened is left out.
fn took(name: &str, times: &Histogram) -> String {
    let value = format!(
        "{} (half of them {}, 1 in 100 {}, {} the longest; {} in all)",
        count(times.count()),
        duration(times.permille(500)),
        duration(times.permille(990)),
        duration(times.max()),
        duration(times.total())
    );
    let (kind, name) = match name.strip_prefix("wait_") {
        Some(cause) => ("waits", cause),
        None => ("times", name),
    };
    line(&format!("{kind}: {}", name.replace('_', " ")), &value)
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<22}{value}")
}

/// When and by whom the status was written.
pub fn written(status: &StatusFile, age: Duration, state: &str) -> String {
    format!("{} ago, by process {} ({state})", duration(age), status.pid)
}

/// The status; it may be being written just now, so it is looked at again before giving up.
pub fn read(io: &Io, dir: &Path) -> Result<StatusFile, Failure> {
    open::must_be_database(dir)?;
    for attempt in 0..10 {
        if attempt > 0 {
            io.sleep(Duration::from_millis(2));
        }
        if let Some(status) = inspect::status(io, dir).map_err(|e| from_engine(e, dir))? {
            return Ok(status);
        }
    }
    let nothing = Failure::usage("there is no status to be read here");
    Err(nothing
        .at(dir.display())
        .advise("opening the database writes one"))
}

fn table(stats: &Stats) -> Vec<(&'static str, String)> {
    let age = format!(
        "{} ({:.1} % of max_wal_size, {}; {} the most)",
        size(stats.checkpoint_age),
        checkpoint_age_percent(stats),
        size(stats.max_wal_size),
        size(stats.checkpoint_age_max)
    );
    let checkpoints = format!(
        "timed {}, paced {}, forced {}, manual {}, shutdown {}",
        count(stats.checkpoints_timed),
        count(stats.checkpoints_paced),
        count(stats.checkpoints_forced),
        count(stats.checkpoints_manual),
        count(stats.checkpoints_shutdown)
    );
    let commits_a_sync = stats.commits_per_sync().unwrap_or(0.0);
    let pool = format!(
        "{} of {} frames dirty",
        count(stats.pool_dirty),
        count(stats.pool_frames)
    );
    let snapshots = format!(
        "{} ({} old versions of rows, {}; {} snapshots given up)",
        count(stats.snapshots),
        count(stats.versions),
        size(stats.version_bytes),
        count(stats.snapshots_too_old)
    );
    vec![
        ("next LSN", stats.next_lsn.to_string()),
        ("written LSN", stats.written_lsn.to_string()),
        ("durable LSN", stats.durable_lsn.to_string()),
        ("redo point", stats.redo_lsn.to_string()),
        ("last checkpoint LSN", stats.checkpoint_lsn.to_string()),
        ("checkpoint age", age),
        (
            "a recovery now",
            format!(
                "about {}",
                duration(Duration::from_micros(stats.estimated_recovery_micros))
            ),
        ),
        ("checkpoints", checkpoints),
        ("commits", count(stats.commits)),
        ("rollbacks", count(stats.rollbacks)),
        ("active transactions", count(stats.active_transactions)),
        ("lock waits begun", count(stats.lock_waits)),
        ("deadlocks", count(stats.deadlocks)),
        ("lock timeouts", count(stats.lock_timeouts)),
        ("snapshots", snapshots),
        (
            "log syncs",
            format!(
                "{} ({commits_a_sync:.1} commits a sync; {} each, {} the longest)",
                count(stats.wal_syncs),
                duration(Duration::from_micros(stats.wal_sync_micros)),
                duration(Duration::from_micros(stats.wal_slowest_sync_micros))
            ),
        ),
        (
            "log records",
            format!("{} ({})", count(stats.wal_records), size(stats.wal_bytes)),
        ),
        (
            "log segments",
            format!(
                "{} ({} used again)",
                count(stats.wal_segments),
                count(stats.wal_segments_recycled)
            ),
        ),
        (
            "pages",
            format!("{} ({} free)", count(stats.pages), count(stats.pages_free)),
        ),
        (
            "tables",
            format!(
                "{} ({} unlogged: {} pages, {} free, {} kept for rollbacks)",
                count(stats.tables),
                count(stats.unlogged_tables),
                count(stats.unlogged_pages),
                count(stats.unlogged_pages_free),
                size(stats.unlogged_kept_bytes)
            ),
        ),
        (
            "pages read, written",
            format!(
                "{}, {}",
                count(stats.pages_read),
                count(stats.pages_written)
            ),
        ),
        ("torn pages", protection(stats)),
        ("buffer pool", pool),
    ]
}

/// What keeps a page whole that is on its way home when the power goes.
fn protection(stats: &Stats) -> String {
    let by = match stats.page_writes_atomic {
        0 => "mended by copies in the doublewrite area",
        _ => "none, by atomic writes",
    };
    match (stats.pages_written_atomically, stats.atomic_writes_refused) {
        (0, 0) => by.to_owned(),
        (pages, 0) => format!("{by} ({} pages)", count(pages)),
        (pages, refused) => format!(
            "{by} ({} pages by atomic writes, of which the disk has refused {})",
            count(pages),
            count(refused)
        ),
    }
}

/// The document of the library, and what is known of who wrote the status.
fn document(status: &StatusFile, age: Duration, state: &str) -> Value {
    let mut document = afterimage_server::json::status(status);
    document["age_seconds"] = json!(age.as_secs_f64());
    document["holder"] = json!({ "pid": status.pid, "state": state });
    document
}

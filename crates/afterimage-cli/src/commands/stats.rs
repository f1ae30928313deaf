//! `afterimage stats`: where the log stands and what happened, from the status file, so also of a live database.
//!
//! The holder rewrites the file as it works; nobody is asked and nothing is locked, so the numbers are as old as it
//! says.

use crate::failure::Failure;
use crate::open::from_engine;
use crate::out::Out;
use crate::units::{count, duration, size};
use afterimage::{Stats, inspect};
use afterimage_io::Io;
use serde_json::json;
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
  afterimage stats bank --json | jq .checkpoint_age")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
}

/// Prints the numbers.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let io = Io::overlay();
    let status = inspect::status(&io, &args.dir).map_err(|e| from_engine(e, &args.dir))?;
    let age = Duration::from_micros(io.wall_clock().saturating_sub(status.written_at_micros));
    let running = is_running(status.pid);
    if out.is_json() {
        return out.document(&document(&status.stats, age, status.pid, running));
    }
    let state = match running {
        Some(true) => "running",
        Some(false) => "ended",
        None => "may be running",
    };
    let written = format!("{} ago, by process {} ({state})", duration(age), status.pid);
    let rows = [("written", written)]
        .into_iter()
        .chain(table(&status.stats));
    rows.into_iter()
        .try_for_each(|(name, value)| out.line(format!("{name:<22}{value}")))
}

fn table(stats: &Stats) -> Vec<(&'static str, String)> {
    let percent = stats.checkpoint_age as f64 * 100.0 / stats.max_wal_size.max(1) as f64;
    let all = stats.checkpoints_timed
        + stats.checkpoints_paced
        + stats.checkpoints_forced
        + stats.checkpoints_manual
        + stats.checkpoints_shutdown;
    vec![
        ("next LSN", stats.next_lsn.to_string()),
        ("written LSN", stats.written_lsn.to_string()),
        ("durable LSN", stats.durable_lsn.to_string()),
        ("redo point", stats.redo_lsn.to_string()),
        ("last checkpoint LSN", stats.checkpoint_lsn.to_string()),
        (
            "checkpoint age",
            format!(
                "{} ({percent:.1} % of max_wal_size, {})",
                size(stats.checkpoint_age),
                size(stats.max_wal_size)
            ),
        ),
        ("checkpoints", count(all)),
        ("  timed", count(stats.checkpoints_timed)),
        ("  paced", count(stats.checkpoints_paced)),
        ("  forced", count(stats.checkpoints_forced)),
        ("  manual", count(stats.checkpoints_manual)),
        ("  shutdown", count(stats.checkpoints_shutdown)),
        ("commits", count(stats.commits)),
        ("rollbacks", count(stats.rollbacks)),
        ("deadlocks", count(stats.deadlocks)),
        ("log syncs", count(stats.wal_syncs)),
        ("log records", count(stats.wal_records)),
        ("log bytes", size(stats.wal_bytes)),
    ]
}

fn document(stats: &Stats, age: Duration, pid: u32, running: Option<bool>) -> serde_json::Value {
    json!({
        "age_seconds": age.as_secs_f64(),
        "holder": { "pid": pid, "running": running },
        "next_lsn": stats.next_lsn.get(),
        "written_lsn": stats.written_lsn.get(),
        "durable_lsn": stats.durable_lsn.get(),
        "redo_lsn": stats.redo_lsn.get(),
        "checkpoint_lsn": stats.checkpoint_lsn.get(),
        "checkpoint_age": stats.checkpoint_age,
        "max_wal_size": stats.max_wal_size,
        "checkpoints": {
            "timed": stats.checkpoints_timed,
            "paced": stats.checkpoints_paced,
            "forced": stats.checkpoints_forced,
            "manual": stats.checkpoints_manual,
            "shutdown": stats.checkpoints_shutdown,
        },
        "commits": stats.commits,
        "rollbacks": stats.rollbacks,
        "deadlocks": stats.deadlocks,
        "wal_syncs": stats.wal_syncs,
        "wal_records": stats.wal_records,
        "wal_bytes": stats.wal_bytes,
    })
}

/// Whether the process that wrote the status is there still; none where the system does not tell.
fn is_running(pid: u32) -> Option<bool> {
    Path::new("/proc/self")
        .exists()
        .then(|| Path::new("/proc").join(pid.to_string()).exists())
}

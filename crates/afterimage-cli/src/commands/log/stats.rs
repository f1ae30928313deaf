//! `afterimage log stats`: where a log stands, from its holder's positions and its control file.

use super::kind::{Kind, failure};
use crate::failure::Failure;
use crate::out::Out;
use crate::units::{duration, size};
use afterimage_io::Io;
use afterimage_log::{Lsn, Overview};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// What `log stats` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Reads what the log's holder writes down after every flush; takes no lock. Works on a log, or the log of a database,
that is open elsewhere, and on one that nobody has open.

Examples:
  afterimage log stats events
  watch -n1 afterimage log stats events
  afterimage log stats events --json | jq .durable_lsn")]
pub struct Args {
    /// The directory of a log or a database
    dir: PathBuf,
}

/// Prints the positions.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let io = Io::overlay();
    let database = matches!(Kind::of(&io, &args.dir)?, Kind::Database);
    let seen = Overview::of(&io, &args.dir).map_err(|e| failure(e, &args.dir))?;
    let positions = seen.positions.as_ref();
    let age = positions
        .map(|p| Duration::from_micros(io.wall_clock().saturating_sub(p.written_at_micros)));
    let clean = seen.control.clean_end.map(Lsn::get);
    if out.is_json() {
        return out.document(&json!({
            "kind": if database { "database" } else { "log" },
            "oldest_lsn": seen.oldest.get(),
            "durable_lsn": seen.durable.get(),
            "written_lsn": positions.map(|p| p.written.get()),
            "clean_end": clean,
            "epoch": seen.control.epoch,
            "segment_bytes": seen.control.segment_bytes,
            "segments": seen.segments,
            "wal_sync_method": seen.control.writes.map(|w| w.writes.method.name()),
            "wal_direct_io": seen.control.writes.map(|w| w.writes.direct),
            "spare_segments": seen.spare_segments,
            "pid": positions.map(|p| p.pid),
            "age_seconds": age.map(|age| age.as_secs_f64()),
        }));
    }
    let written = match (positions, age) {
        (Some(p), Some(age)) => format!("{} ago, by process {}", duration(age), p.pid),
        _ => {
            "never, or it cannot be read; what follows is from the control file and the log".into()
        }
    };
    let state = clean.map_or_else(
        || "open, or not stopped cleanly".into(),
        |end| format!("stopped cleanly at LSN {end}"),
    );
    let files = format!(
        "{} in use, {} spare, {} each",
        seen.segments,
        seen.spare_segments,
        size(seen.control.segment_bytes)
    );
    let bytes = seen.durable.get().saturating_sub(seen.oldest.get());
    for (name, value) in [
        ("told", written),
        ("state", state),
        ("oldest LSN", seen.oldest.to_string()),
        ("durable LSN", seen.durable.to_string()),
        ("distance", size(bytes)),
        ("segments", files),
        (
            "durable by",
            seen.control
                .writes
                .map_or_else(|| "not recorded".into(), |choice| choice.to_string()),
        ),
        ("epoch", seen.control.epoch.to_string()),
    ] {
        out.line(format!("{name:<14}{value}"))?;
    }
    Ok(())
}

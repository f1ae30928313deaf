//! `afterimage checkpoint`: opens the database, takes a checkpoint, closes it.

use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use crate::units;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// What `checkpoint` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Checkpoints happen by themselves; this one is for the moment before something else: a copy, an upgrade, a measurement.

Example:
  afterimage checkpoint bank")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
}

/// Takes the checkpoint and tells where it lies.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let told = |e| from_engine(e, &args.dir);
    let db = open::for_writing(&args.dir, settings)?;
    let start = Instant::now();
    db.checkpoint().map_err(told)?;
    let took = start.elapsed();
    let stats = db.stats();
    db.close().map_err(told)?;
    if out.is_json() {
        return out.document(&json!({
            "checkpoint_lsn": stats.checkpoint_lsn,
            "redo_lsn": stats.redo_lsn,
            "seconds": took.as_secs_f64(),
        }));
    }
    out.line(format!(
        "checkpoint at LSN {} in {}; redo starts at LSN {}",
        stats.checkpoint_lsn,
        units::duration(took),
        stats.redo_lsn
    ))
}

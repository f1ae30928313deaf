//! `afterimage recover`: opens a database as any program would, which recovers it where it was not closed, and tells
//! what was found.

use crate::commands::demo::story;
use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use std::path::PathBuf;
use std::time::Instant;

/// What `recover` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Every open recovers by itself; this command is for seeing it happen, and for having it behind you. To look at a
database that was not closed without changing it, use `get`, `scan`, `export` or `verify`: they recover in memory.

Example:
  afterimage recover bank")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
}

/// Recovers, prints the report, and closes the database.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let start = Instant::now();
    let db = open::for_writing(&args.dir, settings)?;
    let took = start.elapsed();
    let report = db.recovery_report().clone();
    db.close().map_err(|e| from_engine(e, &args.dir))?;
    if out.is_json() {
        return out.document(&story::report_json(&report));
    }
    story::tell_recovery(&report, took)
        .iter()
        .try_for_each(|line| out.line(line))
}

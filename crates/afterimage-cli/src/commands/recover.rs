//! `afterimage recover`: opens a database as any program would, which recovers it where it was not closed, and tells
//! what was found.

use crate::commands::demo::story;
use crate::commands::plan;
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

Examples:
  afterimage recover bank
  afterimage recover bank --plan    what it would do, and how long that would take; changes nothing")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
    /// Tell what a recovery would do, step by step, and change nothing
    #[arg(long)]
    plan: bool,
    /// With --plan: every step, however many there are
    #[arg(long, requires = "plan")]
    all: bool,
}

/// Recovers, prints the report, and closes the database.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    if args.plan {
        return plan::run(&args.dir, args.all, false, settings, out);
    }
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

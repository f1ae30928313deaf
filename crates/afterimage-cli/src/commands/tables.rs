//! `afterimage tables`: the names in the catalogue, and which of the tables are unlogged, read without changing a byte.

use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use serde_json::json;
use std::path::PathBuf;

/// What `tables` takes.
#[derive(clap::Args)]
#[command(after_help = "\
A tab and the word `unlogged` follow the name of a table whose rows are not in the log: it is empty after a crash.

Example:
  afterimage tables bank")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
}

/// Prints the names, sorted, one a line.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let db = open::for_reading(&args.dir, settings)?;
    let mut names = db.tables().map_err(|e| from_engine(e, &args.dir))?;
    names.sort();
    let unlogged = db
        .unlogged_tables()
        .map_err(|e| from_engine(e, &args.dir))?;
    if out.is_json() {
        return out.document(&json!({ "tables": names, "unlogged": unlogged }));
    }
    names
        .iter()
        .try_for_each(|name| match unlogged.contains(name) {
            true => out.line(format!("{name}\tunlogged")),
            false => out.line(name),
        })
}

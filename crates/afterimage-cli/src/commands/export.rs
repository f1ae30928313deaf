//! `afterimage export`: a whole table as the lines that `load` reads, without changing a byte of the database.

use crate::commands::rows::Rows;
use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use std::path::PathBuf;

/// What `export` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Rows come in key order (bytes compared), one a line: key, tab, value, with tab, newline and backslash
escaped as \\t, \\n and \\\\. A database that was not closed is recovered in memory; its files stay as they are.

Examples:
  afterimage export bank accounts > accounts.tsv
  afterimage export old accounts | afterimage load new accounts")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
    /// The table
    table: String,
}

/// Prints every row.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let told = |e| from_engine(e, &args.dir);
    let db = open::for_reading(&args.dir, settings)?;
    let table = open::existing_table(&db, &args.dir, &args.table)?;
    let mut tx = db.begin();
    let mut rows = Rows::start(out, &args.table)?;
    for row in tx.scan::<[u8], _>(&table, ..).map_err(told)? {
        let (key, value) = row.map_err(told)?;
        rows.row(&key, &value)?;
    }
    rows.end()
}

//! `afterimage put`: one row, durable when the command ends.

use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;

/// What `put` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Makes the table where there is none; the database must be there (`load` makes one).
Key and value are written as `scan` prints them: a tab is \\t, a newline \\n, a backslash \\\\.

Example:
  afterimage put bank accounts alice 100")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
    /// The table; made where there is none
    table: String,
    /// The key
    key: OsString,
    /// The value
    value: OsString,
}

/// Puts the row and closes the database.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let key = open::argument("key", &args.key)?;
    let value = open::argument("value", &args.value)?;
    let told = |e| from_engine(e, &args.dir);
    let db = open::for_writing(&args.dir, settings)?;
    let table = db.table(&args.table).map_err(told)?;
    db.put(&table, &key, &value).map_err(told)?;
    db.close().map_err(told)?;
    if out.is_json() {
        return out.document(
            &json!({ "table": args.table, "key": crate::escape::to_json(&key), "put": true }),
        );
    }
    Ok(())
}

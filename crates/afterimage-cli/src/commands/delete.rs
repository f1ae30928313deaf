//! `afterimage delete`: one row less, durably.

use crate::commands::get::not_there;
use crate::failure::{Exit, Failure};
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;

/// What `delete` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Exits 1 if the key was not there.

Example:
  afterimage delete bank accounts alice")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
    /// The table
    table: String,
    /// The key, written as `scan` prints it
    key: OsString,
}

/// Deletes the row and closes the database.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let key = open::argument("key", &args.key)?;
    let told = |e| from_engine(e, &args.dir);
    let db = open::for_writing(&args.dir, settings)?;
    let table = open::existing_table(&db, &args.dir, &args.table)?;
    let deleted = db.delete(&table, &key).map_err(told)?;
    db.close().map_err(told)?;
    if out.is_json() {
        out.document(&json!({ "table": args.table, "key": crate::escape::to_json(&key), "deleted": deleted }))?;
        return if deleted {
            Ok(())
        } else {
            Err(Failure::Told(Exit::Data))
        };
    }
    if deleted {
        Ok(())
    } else {
        Err(not_there(&args.table, &args.key))
    }
}

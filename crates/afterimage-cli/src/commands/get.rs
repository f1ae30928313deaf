//! `afterimage get`: one value, read without changing a byte.

use crate::failure::Failure;
use crate::open;
use crate::out::Out;
use crate::settings::Settings;
use crate::{escape, open::from_engine};
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;

/// What `get` takes.
#[derive(clap::Args)]
#[command(after_help = "\
The key is written as `scan` prints it: a tab is \\t, a newline \\n, a backslash \\\\; so is the value.
Exits 1 if the key is not there. Changes nothing, also on a database that was not closed: it is recovered in memory.

Examples:
  afterimage get bank accounts 00042
  afterimage get bank pictures cat --raw > cat.jpg")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
    /// The table
    table: String,
    /// The key
    key: OsString,
    /// Print the bytes of the value as they are: no escapes, no newline behind
    #[arg(long)]
    raw: bool,
}

/// Prints the value, or fails with exit 1.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let key = open::argument("key", &args.key)?;
    let db = open::for_reading(&args.dir, settings)?;
    let table = open::existing_table(&db, &args.dir, &args.table)?;
    let value = db
        .get(&table, &key)
        .map_err(|e| from_engine(e, &args.dir))?;
    if out.is_json() {
        let value = value.as_deref().map(escape::to_json);
        let found = value.is_some();
        out.document(&json!({ "table": args.table, "key": escape::to_json(&key), "found": found, "value": value }))?;
        return if found {
            Ok(())
        } else {
            Err(Failure::Told(crate::failure::Exit::Data))
        };
    }
    let value = value.ok_or_else(|| not_there(&args.table, &args.key))?;
    if args.raw {
        return out.bytes(&value);
    }
    let mut line = Vec::with_capacity(value.len() + 1);
    escape::escape_into(&value, &mut line);
    line.push(b'\n');
    out.bytes(&line)
}

/// The failure of looking for a key that is not there.
pub fn not_there(table: &str, key: &std::ffi::OsStr) -> Failure {
    Failure::data("there is no such key").at(format!("table {table}, key {}", key.display()))
}

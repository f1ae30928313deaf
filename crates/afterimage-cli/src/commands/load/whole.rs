//! `afterimage load --new`: all rows become a new table, as a whole.

use super::Args;
use super::lines::Lines;
use crate::failure::Failure;
use crate::open::from_engine;
use crate::out::{self, Out, Progress};
use crate::units;
use afterimage::{Database, Error, LoadOptions, TableLoad};
use serde_json::json;
use std::time::Instant;

/// Rows between two lines of `--progress`.
const TOLD_EVERY: u64 = 1000;

#[derive(Default)]
struct Read {
    rows: u64,
    bytes: u64,
}

/// Loads everything, or nothing.
pub fn load(args: &Args, db: Database, lines: &mut Lines, out: &mut Out) -> Result<(), Failure> {
    let told = |e| from_engine(e, &args.dir);
    let start = Instant::now();
    let options = LoadOptions::new().sorted(args.sorted);
    let options = match args.sorted {
        true => options,
        false => options.sort_memory(args.sort_memory),
    };
    let mut load = db.load_table(&args.table, options).map_err(|error| {
        let exists = matches!(error, Error::TableExists { .. });
        let failure = told(error);
        if exists {
            return failure.advise("without --new, rows are added to it");
        }
        failure
    })?;
    let read = read(args, &mut load, lines).map_err(|wrong| wrong.advise(NOTHING_LOADED))?;
    if args.progress {
        out::note(format!("read {}, all", read.rows));
    }
    load.finish().map_err(told)?;
    db.close().map_err(told)?;
    let took = start.elapsed();
    if out.is_json() {
        return out.document(&json!({
            "table": args.table,
            "rows": read.rows,
            "bytes": read.bytes,
            "seconds": took.as_secs_f64(),
        }));
    }
    out.line(format!(
        "loaded {} ({} in {}, {} rows/s)",
        units::counted(read.rows, "row", "rows"),
        units::size(read.bytes),
        units::duration(took),
        units::rate(read.rows, took),
    ))
}

const NOTHING_LOADED: &str = "nothing was loaded; correct it and load again";

/// Gives every row of the input to the load.
fn read(args: &Args, load: &mut TableLoad, lines: &mut Lines) -> Result<Read, Failure> {
    let start = Instant::now();
    let mut progress = Progress::new();
    let mut read = Read::default();
    while let Some((key, value)) = lines.next_row()? {
        load.push(&key, &value)
            .map_err(|e| from_engine(e, &args.dir).within(lines.place()))?;
        read.rows += 1;
        read.bytes += (key.len() + value.len()) as u64;
        if args.progress && read.rows.is_multiple_of(TOLD_EVERY) {
            out::note(format!("read {}", read.rows));
        }
        progress.show(|| {
            format!(
                "{} rows, {} rows/s",
                units::count(read.rows),
                units::rate(read.rows, start.elapsed())
            )
        });
    }
    Ok(read)
}

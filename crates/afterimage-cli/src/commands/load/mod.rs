//! `afterimage load`: key-and-value lines into a table, a batch of rows a transaction; or all of them as a new table.
//!
//! A batch is there whole or not at all. The count that this command prints is of rows whose commit was acknowledged,
//! also when it fails or is killed (`--progress` tells it batch by batch), so what a crash may leave is known: these
//! rows, or these and one batch more.

mod lines;
mod whole;

use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::{self, Out, Progress};
use crate::settings::Settings;
use crate::units;
use afterimage::{Database, Table};
use lines::{Lines, Row, input};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// What `load` takes.
#[derive(clap::Args)]
#[command(after_help = "\
One row a line: key, tab, value. A tab in either is written \\t, a newline \\n, a backslash \\\\.
A key that is there already gets the new value. Each batch of rows is one transaction: after a crash it is
there whole or not at all. The database and the table are made where there are none.

With --new the table must not be there yet. It is made of all rows as a whole, or not at all, and several times
faster; others see it when it is whole. Rows are sorted for it, in memory and then in a file in DIR, unless they
are in order already (--sorted); a key that comes twice is an error.

Examples:
  afterimage load bank accounts accounts.tsv
  find / -printf '%p\\t%s %T@\\n' | sed 's/\\\\/\\\\\\\\/g' | afterimage load files listing --batch 500
  afterimage load bank accounts rows.tsv --progress 2>progress.txt   one line `acknowledged N` a batch
  afterimage export old accounts | afterimage load new accounts --new --sorted")]
pub struct Args {
    /// The database directory; made where there is none
    dir: PathBuf,
    /// The table; made where there is none
    table: String,
    /// The file to read; stdin where it is left out or `-`
    file: Option<PathBuf>,
    /// Rows in a transaction
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Print `acknowledged N` on stderr after each batch, N being the rows acknowledged so far; with --new, `read N`
    #[arg(long)]
    progress: bool,
    /// Make a new table of all rows: it is there whole or not at all
    #[arg(long, conflicts_with = "batch")]
    new: bool,
    /// The rows are in ascending order of their keys
    #[arg(long, requires = "new")]
    sorted: bool,
    /// Memory to sort in, as 64MiB
    #[arg(long, requires = "new", conflicts_with = "sorted", value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    sort_memory: u64,
}

fn size(text: &str) -> Result<u64, String> {
    afterimage_log::units::parse_size(text)
}

/// What has been loaded so far.
#[derive(Default)]
struct Loaded {
    acknowledged: u64,
    bytes: u64,
    batches: u64,
}

/// Loads everything, and tells how much was acknowledged however it ends.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let (input, name) = input(args.file.as_deref())?;
    let told = |e| from_engine(e, &args.dir);
    let db = open::or_create(&args.dir, settings)?;
    let lines = &mut Lines::new(input, name);
    if args.new {
        return whole::load(args, db, lines, out);
    }
    let table = db.table(&args.table).map_err(told)?;
    let start = Instant::now();
    let mut loaded = Loaded::default();
    let ended = load(args, &db, &table, lines, &mut loaded).and_then(|()| db.close().map_err(told));
    let took = start.elapsed();
    if out.is_json() {
        out.document(&json!({
            "table": args.table,
            "acknowledged": loaded.acknowledged,
            "batches": loaded.batches,
            "bytes": loaded.bytes,
            "seconds": took.as_secs_f64(),
            "complete": ended.is_ok(),
        }))?;
    } else {
        out.line(format!(
            "acknowledged {} ({} in {}, {}, {} rows/s)",
            units::counted(loaded.acknowledged, "row", "rows"),
            units::size(loaded.bytes),
            units::counted(loaded.batches, "transaction", "transactions"),
            units::duration(took),
            units::rate(loaded.acknowledged, took),
        ))?;
    }
    ended
}

fn load(
    args: &Args,
    db: &Database,
    table: &Table,
    lines: &mut Lines,
    loaded: &mut Loaded,
) -> Result<(), Failure> {
    let told = |e| from_engine(e, &args.dir);
    let start = Instant::now();
    let mut progress = Progress::new();
    loop {
        let batch = read_batch(lines, args.batch)
            .map_err(|wrong| wrong.advise("rows before its batch are loaded; correct the line and load again: rows that are there are set anew"))?;
        if batch.is_empty() {
            return Ok(());
        }
        db.transact(|tx| {
            batch
                .iter()
                .try_for_each(|(key, value)| tx.put(table, key, value))
        })
        .map_err(told)?;
        loaded.acknowledged += batch.len() as u64;
        loaded.bytes += batch
            .iter()
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum::<u64>();
        loaded.batches += 1;
        if args.progress {
            out::note(format!("acknowledged {}", loaded.acknowledged));
        } else {
            progress.show(|| {
                format!(
                    "{} rows, {} rows/s",
                    units::count(loaded.acknowledged),
                    units::rate(loaded.acknowledged, start.elapsed())
                )
            });
        }
    }
}

fn read_batch(lines: &mut Lines, rows: u64) -> Result<Vec<Row>, Failure> {
    let mut batch = Vec::new();
    while (batch.len() as u64) < rows {
        match lines.next_row()? {
            Some(row) => batch.push(row),
            None => break,
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &'static [u8]) -> Lines {
        Lines::new(Box::new(text), "test".to_string())
    }

    #[test]
    fn rows_are_read_in_batches() {
        let mut lines = lines(b"a\t1\nb\t2\nc\t3");
        assert_eq!(read_batch(&mut lines, 2).expect("rows").len(), 2);
        assert_eq!(
            read_batch(&mut lines, 2).expect("rows"),
            vec![(b"c".to_vec(), b"3".to_vec())]
        );
        assert!(read_batch(&mut lines, 2).expect("end").is_empty());
    }
}

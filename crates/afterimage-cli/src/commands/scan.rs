//! `afterimage scan`: a part of a table, forwards or backwards, read without changing a byte.

use crate::commands::rows::Rows;
use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use crate::span::Span;
use std::ffi::OsString;
use std::path::PathBuf;

/// What `scan` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Keys are compared byte by byte. --from is the first key wanted, --to the first one not wanted.
Keys are written as they are printed: a tab is \\t, a newline \\n, a backslash \\\\.

Examples:
  afterimage scan bank accounts --limit 10
  afterimage scan bank accounts --prefix 000 --reverse
  afterimage scan bank accounts --from 00100 --to 00200")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
    /// The table
    table: String,
    /// Only keys that begin with this
    #[arg(long, value_name = "P")]
    prefix: Option<OsString>,
    /// Only keys from this one on
    #[arg(long, value_name = "K")]
    from: Option<OsString>,
    /// Only keys before this one
    #[arg(long, value_name = "K")]
    to: Option<OsString>,
    /// At most this many rows
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Greatest key first
    #[arg(long)]
    reverse: bool,
}

/// Prints the rows asked for.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let told = |e| from_engine(e, &args.dir);
    let bounds = span(args)?.bounds();
    let db = open::for_reading(&args.dir, settings)?;
    let table = open::existing_table(&db, &args.dir, &args.table)?;
    let mut rows = Rows::start(out, &args.table)?;
    if let Some(bounds) = bounds {
        let mut tx = db.begin();
        let scan = tx.scan(&table, bounds).map_err(told)?;
        let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let mut print = |row: afterimage::Result<(Vec<u8>, Vec<u8>)>| {
            let (key, value) = row.map_err(told)?;
            rows.row(&key, &value)
        };
        if args.reverse {
            scan.rev().take(limit).try_for_each(&mut print)?
        } else {
            scan.take(limit).try_for_each(&mut print)?
        }
    }
    rows.end()
}

/// The keys that satisfy `--prefix`, `--from` and `--to` together.
fn span(args: &Args) -> Result<Span, Failure> {
    let key = |name, text: &Option<OsString>| {
        text.as_ref()
            .map(|text| open::argument(name, text))
            .transpose()
    };
    Ok(Span {
        prefix: key("prefix", &args.prefix)?,
        from: key("--from key", &args.from)?,
        to: key("--to key", &args.to)?,
    })
}

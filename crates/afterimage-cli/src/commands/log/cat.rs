//! `afterimage log cat`: the records of a log, read without the lock. Only what is durable.

use super::dump;
use super::kind::{Kind, failure};
use super::record::{self, Form, FromArg};
use crate::failure::Failure;
use crate::out::Out;
use afterimage_io::Io;
use afterimage_log::Start;
use std::path::PathBuf;

/// What `log cat` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Prints each durable record and a newline, oldest first, up to where the log is durable now. Takes no lock and changes
nothing. Of a database it prints decoded records, as `log dump` does.

Examples:
  afterimage log cat events
  afterimage log cat events --from 16781312 --limit 20 --lsn
  afterimage log cat events --length-prefixed | afterimage log append copy --length-prefixed")]
pub struct Args {
    /// The directory of a log or a database
    dir: PathBuf,
    /// Begin at this LSN or the first record behind it, or at `start` or `end`
    #[arg(long, value_name = "LSN|start|end", default_value = "start")]
    from: FromArg,
    /// At most this many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    form: Form,
}

/// Prints the records.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    if let Kind::Database = Kind::of(&Io::os(), &args.dir)? {
        let from = match args.from.0 {
            Start::Oldest => None,
            Start::At(lsn) => Some(lsn.get()),
            Start::End => Some(record::reader(&args.dir, Start::End)?.position().get()),
        };
        return dump::run(&dump::Args::of(args.dir.clone(), from, args.limit), out);
    }
    let mut reader = record::reader(&args.dir, args.from.0)?;
    let mut shown = 0;
    let json = out.is_json();
    if json {
        out.bytes(b"{\n  \"records\": [")?;
    }
    let mut ended = Ok(());
    while args.limit.is_none_or(|limit| shown < limit) {
        let record = match reader.try_next() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(e) => {
                // What was shown before is a result: the document is ended before the error is told.
                ended = Err(failure(e, &args.dir));
                break;
            }
        };
        if json {
            let comma = if shown == 0 { "" } else { "," };
            out.bytes(format!("{comma}\n    {}", record::document(&record)).as_bytes())?;
        } else {
            record::print(&record, args.form, out)?;
        }
        shown += 1;
    }
    if json {
        let next = reader.position();
        out.bytes(format!("\n  ],\n  \"count\": {shown},\n  \"next\": {next}\n}}\n").as_bytes())?;
    }
    ended
}

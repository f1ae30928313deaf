//! `afterimage log tail`: the last records of a log, and those to come, from another process than the one that writes.
//!
//! It looks at the holder's positions every millisecond and shows what has become durable. It may be killed at any time;
//! and so may the holder: what was shown is never taken back by a crash. If the log is cut on purpose, it says so and ends.

use super::dump;
use super::kind::{Kind, failure};
use super::record::{self, Form, FromArg};
use crate::failure::Failure;
use crate::out::{self, Out};
use afterimage::inspect;
use afterimage_io::Io;
use afterimage_log::{Error, Record, Slot, Start, WalReader};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long it waits for a record before it makes sure that somebody still reads.
const LOOK: Duration = Duration::from_millis(100);

/// A slot is moved after so many records at the latest: a move costs a sync.
const MOVE_EVERY: u32 = 1000;

/// What `log tail` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Prints the last 10 records, or those from --from on; with -f it goes on with those to come, a millisecond or two after
they are durable, until it is stopped. Takes no lock and changes nothing; the log's holder may come and go. Of a
database it prints decoded records. With --json it prints one document a line. Where the log is cut below what was
printed, it says where, and ends with 1; the same command with --slot, or --from there, goes on.

Examples:
  afterimage log tail -f events
  afterimage log tail -f events --from start --lsn
  afterimage log tail -f events --slot mailer
  afterimage log tail bank -n 3")]
pub struct Args {
    /// The directory of a log or a database
    dir: PathBuf,
    /// Go on with the records to come
    #[arg(short, long)]
    follow: bool,
    /// Begin at this LSN or the first record behind it, or at `start` or `end`
    #[arg(long, value_name = "LSN|start|end", conflicts_with = "lines")]
    from: Option<FromArg>,
    /// Begin with the last N records; finding them reads the whole log from its oldest record on
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Begin where this slot stands, and move it on as records are printed; after a kill the last ones may come again
    #[arg(long, value_name = "NAME", conflicts_with_all = ["from", "lines"])]
    slot: Option<String>,
    #[command(flatten)]
    form: Form,
}

/// Prints what is there, and, if asked to, what comes.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let database = matches!(Kind::of(&Io::os(), &args.dir)?, Kind::Database);
    let mut slot = match &args.slot {
        Some(name) => Some(take_slot(name, &args.dir)?),
        None => None,
    };
    let from = match &slot {
        Some(slot) => Some(Start::At(slot.position())),
        None => args.from.map(|from| from.0),
    };
    let mut reader = record::reader(&args.dir, from.unwrap_or(Start::Oldest))?;
    let printer = Printer {
        form: args.form,
        segment_bytes: database.then(|| reader.control().segment_bytes),
    };
    if from.is_none() {
        for record in last(&mut reader, args)? {
            printer.print(&record, out)?;
        }
    }
    let mut unsaid = 0;
    loop {
        let next = reader.try_next().map_err(|e| failure(e, &args.dir))?;
        let next = match next {
            Some(record) => Some(record),
            // Everything there is has been printed: it is handed on before waiting.
            None if args.follow => {
                done_with(&mut slot, &mut unsaid, &reader, args, out)?;
                reader
                    .next_timeout(LOOK)
                    .map_err(|e| failure(e, &args.dir))?
            }
            None => return done_with(&mut slot, &mut unsaid, &reader, args, out),
        };
        if next.is_none() && out.reader_has_gone() {
            return Err(Failure::BrokenPipe);
        }
        if let Some(record) = next {
            printer.print(&record, out)?;
            unsaid += 1;
        }
        if unsaid >= MOVE_EVERY {
            done_with(&mut slot, &mut unsaid, &reader, args, out)?;
        }
    }
}

/// Takes the slot. If the log was cut while nobody was here, its owner is told now: where it stands is still right.
fn take_slot(name: &str, dir: &Path) -> Result<Slot, Failure> {
    let mut slot = Slot::open(&Io::os(), dir, name).map_err(|e| failure(e, dir))?;
    match slot.advance(slot.position()) {
        Err(told @ Error::SlotCut { cut, .. }) => out::note(format!(
            "{told}; what was read from LSN {cut} on is not part of the log any more"
        )),
        alive => alive.map_err(|e| failure(e, dir))?,
    }
    Ok(slot)
}

/// Hands on what was printed; only then is it done with, and the slot moves.
fn done_with(
    slot: &mut Option<Slot>,
    unsaid: &mut u32,
    reader: &WalReader,
    args: &Args,
    out: &mut Out,
) -> Result<(), Failure> {
    out.flush()?;
    if let Some(slot) = slot
        && *unsaid > 0
    {
        slot.advance(reader.position())
            .map_err(|e| failure(e, &args.dir))?;
    }
    *unsaid = 0;
    Ok(())
}

/// The last records there are.
fn last(reader: &mut WalReader, args: &Args) -> Result<VecDeque<Record>, Failure> {
    let mut last = VecDeque::new();
    loop {
        match reader.try_next() {
            Ok(Some(record)) => last.push_back(record),
            Ok(None) => return Ok(last),
            // The log's holder was quicker to give up what is old than this to read it: none of that is among the last.
            Err(Error::NotFound { .. }) => {
                *reader = record::reader(&args.dir, Start::Oldest)?;
                last.clear();
            }
            Err(e) => return Err(failure(e, &args.dir)),
        }
        if last.len() > args.lines {
            last.pop_front();
        }
    }
}

struct Printer {
    form: Form,
    /// Of a database, whose records are decoded.
    segment_bytes: Option<u64>,
}

impl Printer {
    fn print(&self, record: &Record, out: &mut Out) -> Result<(), Failure> {
        match self.segment_bytes {
            Some(segment_bytes) => {
                let line = inspect::line(record, segment_bytes);
                if out.is_json() {
                    out.line(dump::document(&line, false))
                } else {
                    out.bytes(&dump::text(&line, false))
                }
            }
            None if out.is_json() => out.line(record::document(record)),
            None => record::print(record, self.form, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage_log::{LogOptions, Wal};
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_last_records_are_found_in_a_log_that_is_given_up_meanwhile() {
        let scratch = crate::scratch::Scratch::new(None, "afterimage-tail").unwrap();
        let dir = scratch.path().join("log");
        let options = LogOptions {
            segment_bytes: 64 << 10,
            min_wal_size: 0,
            max_wal_size: 0,
            ..LogOptions::default()
        };
        let wal = Wal::open(&Io::os(), &dir, &options).unwrap();
        let put = |n: u8| wal.append(&[n; 8000]).unwrap().wait().unwrap();
        (0..40).for_each(put);
        let mut reader = record::reader(&dir, Start::Oldest).unwrap();
        assert!(reader.try_next().unwrap().is_some());
        (40..80).for_each(put);
        assert!(wal.truncate_before(wal.durable_lsn()).unwrap() > 5);
        let dir = dir.display().to_string();
        let args = Command::parse_from(["tail", &dir, "-n", "2"]).args;
        let found = last(&mut reader, &args).unwrap();
        let found: Vec<_> = found.iter().map(|r| r.payload[0]).collect();
        assert_eq!(found, [78, 79]);
    }
}

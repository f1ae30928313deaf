//! `afterimage log dump`: the log, a line a record, read straight from the segments; so also of a live database.

use super::frames;
use super::kind::Kind;
use crate::escape;
use crate::failure::Failure;
use crate::open::from_engine;
use crate::out::Out;
use afterimage::{Error, Lsn, inspect, inspect::DumpLine};
use afterimage_io::Io;
use afterimage_log::ControlFile;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The header fills the first block of a segment; records begin behind it.
const SEGMENT_HEADER_BYTES: u64 = 4096;

/// What `log dump` takes.
#[derive(clap::Args)]
#[command(after_help = "\
A line: LSN, bytes, kind, transaction (the LSN of its first record), prevLSN (that transaction's record before this
one), undoNext (in a CLR), table, pages, then what else is worth a word. --images adds the key and the before- and
after-image. Takes no lock and changes nothing; of a live database it shows what has been written so far.

Examples:
  afterimage log dump bank
  afterimage log dump bank --from 16781312 --limit 20 --images
  afterimage log dump bank --json | jq '.records[] | select(.kind == \"clr\")'")]
pub struct Args {
    /// The directory of a database or a log
    dir: PathBuf,
    /// Start at this LSN, or at the first record behind it; without it at the oldest
    #[arg(long, value_name = "LSN")]
    from: Option<u64>,
    /// At most this many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Show keys, before-images and after-images
    #[arg(long)]
    images: bool,
}

impl Args {
    /// What another command asks of this one.
    pub fn of(dir: PathBuf, from: Option<u64>, limit: Option<u64>) -> Args {
        Args {
            dir,
            from,
            limit,
            images: false,
        }
    }
}

/// Prints the frames: decoded, of a database; as they stand, of a log alone.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let from = args
        .from
        .map(|lsn| Lsn::new(lsn).ok_or_else(|| Failure::usage("no record stands at LSN 0")))
        .transpose()?;
    let io = Io::overlay();
    if let Kind::Log(control) = Kind::of(&io, &args.dir)? {
        return frames::dump(&io, &args.dir, &control, from, args.limit, args.images, out);
    }
    // Asked before reading: the log of a live database is longer afterwards.
    let durable = known_durable(&io, &args.dir);
    let mut lines = Lines {
        out,
        images: args.images,
        shown: 0,
    };
    lines.begin()?;
    let limit = args.limit.unwrap_or(u64::MAX);
    let mut told = Ok(());
    let mut end = from;
    let read = inspect::dump(&io, &args.dir, from, &mut |line| {
        if lines.shown < limit {
            end = Lsn::new(line.lsn + line.bytes);
            told = lines.show(&line);
        }
        told.is_ok() && lines.shown < limit
    });
    told?;
    // What was shown before the damage is a result: the document is ended before the error is told.
    lines.end()?;
    read.map_err(|e| unreadable(e, args, lines.shown))?;
    match durable {
        Some(durable) if lines.shown < limit && Some(durable.lsn) > end => {
            Err(stopped_early(&durable, end).at(args.dir.display()))
        }
        _ => Ok(()),
    }
}

/// Why reading failed; a start that lies outside the log is no damage.
fn unreadable(error: Error, args: &Args, shown: u64) -> Failure {
    match (&error, args.from) {
        (Error::Corruption { what, .. }, Some(from)) if shown == 0 && what.contains("no segment holds it") => {
            Failure::usage(format!("no segment of the log holds LSN {from}"))
                .at(args.dir.display())
                .advise("`afterimage log dump` without --from begins at the oldest; `afterimage stats` names the newest")
        }
        _ => from_engine(error, &args.dir),
    }
}

/// A position before which every record was durable once, and who says so.
struct Durable {
    lsn: Lsn,
    witness: &'static str,
}

/// The highest position known to have been durable, but for those that open a segment: there all log may end in the
/// segment before.
fn known_durable(io: &Io, dir: &Path) -> Option<Durable> {
    let file = ControlFile::open(io, dir, false).ok()?;
    let control = file.current();
    let status = inspect::status(io, dir).ok().flatten();
    let status = status.and_then(|status| Lsn::new(status.stats.durable_lsn));
    let known = [
        (
            "the control file",
            control.durable_lsn.max(control.clean_end),
        ),
        ("the status file", status),
    ];
    let known = known
        .into_iter()
        .filter_map(|(witness, lsn)| Some(Durable { lsn: lsn?, witness }));
    let within =
        |known: &Durable| known.lsn.get() % control.segment_bytes.max(1) > SEGMENT_HEADER_BYTES;
    known.filter(within).max_by_key(|known| known.lsn)
}

/// Where reading stops, the log may end, or be damaged: a dump of a log that is known to go on must not look complete.
fn stopped_early(durable: &Durable, end: Option<Lsn>) -> Failure {
    let place = end.map_or_else(|| "its begin".to_string(), |end| format!("LSN {end}"));
    Failure::data(format!(
        "no record can be read at {place}, but the log goes on: it was durable up to LSN {}, says {}",
        durable.lsn, durable.witness
    ))
    .advise("`afterimage verify` names the damaged place")
}

struct Lines<'a> {
    out: &'a mut Out,
    images: bool,
    shown: u64,
}

impl Lines<'_> {
    fn begin(&mut self) -> Result<(), Failure> {
        if self.out.is_json() {
            self.out.bytes(b"{\n  \"records\": [")
        } else {
            Ok(())
        }
    }

    fn show(&mut self, line: &DumpLine) -> Result<(), Failure> {
        let first = self.shown == 0;
        self.shown += 1;
        if self.out.is_json() {
            let comma = if first { "" } else { "," };
            let record = document(line, self.images);
            return self.out.bytes(format!("{comma}\n    {record}").as_bytes());
        }
        if first {
            self.out.line(format!(
                "{:>14} {:>7}  {:<18} {:>14} {:>14} {:>14}  {:>5}  page",
                "LSN", "bytes", "kind", "transaction", "prevLSN", "undoNext", "table"
            ))?;
        }
        self.out.bytes(&text(line, self.images))
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.out.is_json() {
            self.out
                .bytes(format!("\n  ],\n  \"count\": {}\n}}\n", self.shown).as_bytes())
        } else {
            Ok(())
        }
    }
}

/// One record as a line, and, with images, a line for each of them.
pub(super) fn text(line: &DumpLine, images: bool) -> Vec<u8> {
    let lsn = |lsn: Option<u64>| lsn.map_or_else(|| "-".to_string(), |lsn| lsn.to_string());
    let table = line
        .table
        .map_or_else(|| "-".to_string(), |table| table.to_string());
    let pages: Vec<String> = line.pages.iter().map(u64::to_string).collect();
    let pages = if pages.is_empty() {
        "-".to_string()
    } else {
        pages.join(",")
    };
    let mut text = format!(
        "{:>14} {:>7}  {:<18} {:>14} {:>14} {:>14}  {table:>5}  {pages}",
        line.lsn,
        line.bytes,
        line.kind,
        lsn(line.txn),
        lsn(line.prev),
        lsn(line.undo_next),
    );
    let mut sizes = String::new();
    for (name, bytes) in [
        ("key", &line.key),
        ("before", &line.before),
        ("after", &line.after),
    ] {
        if let Some(bytes) = bytes {
            let _ = write!(sizes, "  {name} {} B", bytes.len());
        }
    }
    text.push_str(&sizes);
    if !line.note.is_empty() {
        let _ = write!(text, "  {}", line.note);
    }
    text.push('\n');
    let mut bytes = text.into_bytes();
    if images {
        for (name, image) in [
            ("key", &line.key),
            ("before", &line.before),
            ("after", &line.after),
        ] {
            if let Some(image) = image {
                bytes.extend_from_slice(format!("{:>14} {name:<7} ", "").as_bytes());
                escape::escape_into(image, &mut bytes);
                bytes.push(b'\n');
            }
        }
    }
    bytes
}

/// One record as JSON.
pub(super) fn document(line: &DumpLine, images: bool) -> Value {
    let mut record = json!({
        "lsn": line.lsn,
        "bytes": line.bytes,
        "kind": line.kind,
        "transaction": line.txn,
        "prev_lsn": line.prev,
        "undo_next": line.undo_next,
        "table": line.table,
        "pages": line.pages,
        "time_micros": line.time_micros,
        "segment": line.segment,
        "offset": line.offset,
        "key_bytes": line.key.as_ref().map(Vec::len),
        "before_bytes": line.before.as_ref().map(Vec::len),
        "after_bytes": line.after.as_ref().map(Vec::len),
        "note": line.note,
    });
    if images {
        let image = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(escape::to_json);
        record["key"] = json!(image(&line.key));
        record["before"] = json!(image(&line.before));
        record["after"] = json!(image(&line.after));
    }
    record
}

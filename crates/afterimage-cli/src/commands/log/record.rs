//! What `cat` and `tail` print of a record, and where they begin.

use super::kind::failure;
use crate::escape;
use crate::failure::Failure;
use crate::out::Out;
use afterimage_io::Io;
use afterimage_log::{Lsn, Record, Start, WalReader};
use serde_json::{Value, json};
use std::path::Path;

/// How records are written out.
#[derive(Clone, Copy, clap::Args)]
pub struct Form {
    /// Write each record's LSN and a tab before it
    #[arg(long, conflicts_with = "length_prefixed")]
    lsn: bool,
    /// Write each record as its length in 4 bytes, little-endian, and its bytes; no newline
    #[arg(long)]
    length_prefixed: bool,
}

/// Where to begin: a word or an LSN.
#[derive(Clone, Copy)]
pub struct FromArg(pub Start);

impl std::str::FromStr for FromArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let start = match text {
            "start" => Start::Oldest,
            "end" => Start::End,
            _ => {
                let lsn = text.parse().ok().and_then(Lsn::new);
                Start::At(lsn.ok_or_else(|| format!("`{text}` is not an LSN, `start` or `end`"))?)
            }
        };
        Ok(FromArg(start))
    }
}

/// The reader of the log in `dir`.
pub fn reader(dir: &Path, from: Start) -> Result<WalReader, Failure> {
    WalReader::open(&Io::os(), dir, from).map_err(|e| failure(e, dir))
}

/// One record on stdout, in the form asked for.
pub fn print(record: &Record, form: Form, out: &mut Out) -> Result<(), Failure> {
    if form.length_prefixed {
        let len = u32::try_from(record.payload.len()).map_err(Failure::data)?;
        out.bytes(&len.to_le_bytes())?;
        return out.bytes(&record.payload);
    }
    if form.lsn {
        out.bytes(format!("{}\t", record.lsn).as_bytes())?;
    }
    out.bytes(&record.payload)?;
    out.bytes(b"\n")
}

/// One record as JSON.
pub fn document(record: &Record) -> Value {
    json!({
        "lsn": record.lsn.get(),
        "next": record.next.get(),
        "index": record.index,
        "time_micros": record.time,
        "payload": escape::to_json(&record.payload),
    })
}

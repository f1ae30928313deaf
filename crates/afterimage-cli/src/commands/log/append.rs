//! `afterimage log append`: records from stdin into a log; their LSNs on stdout as they become durable.
//!
//! One thread reads and appends, another waits for the records in order and prints: while one flush is under way the
//! next group gathers, so a single process fills the disk's syncs. An LSN that was printed is a record that stays.

use super::kind::{self, Kind, failure};
use crate::failure::Failure;
use crate::open::log_options;
use crate::out::Out;
use crate::settings::Settings;
use afterimage_io::Io;
use afterimage_log::{ControlFile, Ticket, Wal};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// How many records may be under way at once.
const IN_FLIGHT: usize = 4096;

/// What `log append` takes.
#[derive(Clone, clap::Args)]
#[command(after_help = "\
Reads records from stdin, one a line, and prints the LSN of each, a line each, once it is durable. Makes the log where
there is none. At the end of the input it closes the log. It may be killed at any time: what was printed stays.
Settings come from --set, over DIR/settings.toml, over the defaults; `afterimage settings DIR` shows them.

Examples:
  seq 1000 | afterimage log append events
  seq 1000 | afterimage log append events --set commit_delay=1ms
  tail -F /var/log/app.log | afterimage log append events > /dev/null
  afterimage log cat events --length-prefixed | afterimage log append copy --length-prefixed")]
pub struct Args {
    /// The log's directory
    dir: PathBuf,
    /// Each record is its length in 4 bytes, little-endian, and its bytes
    #[arg(long)]
    length_prefixed: bool,
}

/// Appends until the input ends.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let (io, told) = (Io::os(), |e| failure(e, &args.dir));
    kind::must_be_directory(&args.dir)?;
    let exists = ControlFile::exists(&io, &args.dir).map_err(told)?;
    if exists && matches!(Kind::of(&io, &args.dir)?, Kind::Database) {
        return Err(Failure::refused("a database's log belongs to its engine")
            .at(args.dir.display())
            .advise("`afterimage load DIR TABLE` puts rows into a database"));
    }
    let options = log_options(&io, &args.dir, settings)?;
    let wal = Wal::open(&io, &args.dir, &options).map_err(told)?;
    let json = out.is_json();
    if json {
        out.bytes(b"{\n  \"lsns\": [")?;
    }
    let (send, receive) = sync_channel(IN_FLIGHT);
    let mut printed = 0;
    let reading = {
        let (args, wal) = (args.clone(), wal.clone());
        thread::spawn(move || feed(&args, &wal, send))
    };
    if let Err(failed) = print(receive, args, out, &mut printed) {
        // The reading thread may wait for input that never comes: it is left behind, and can append nothing any more.
        let _ = wal.close();
        return Err(failed);
    }
    let read = reading.join();
    let read = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if json {
        out.bytes(format!("\n  ],\n  \"count\": {printed}\n}}\n").as_bytes())?;
    }
    out.flush()?;
    read.and(wal.close().map_err(told))
}

/// Reads and appends. Ends where the input ends, or where nobody prints any more.
fn feed(args: &Args, wal: &Wal, send: SyncSender<Ticket>) -> Result<(), Failure> {
    let mut input = BufReader::with_capacity(1 << 16, std::io::stdin());
    let mut number = 0_u64;
    let mut record = Vec::new();
    loop {
        number += 1;
        let place = |e: Failure| e.at(format!("standard input, record {number}"));
        let more = if args.length_prefixed {
            read_prefixed(&mut input, wal.max_payload(), &mut record)
        } else {
            read_line(&mut input, wal.max_payload(), &mut record)
        };
        if !more.map_err(place)? {
            return Ok(());
        }
        let ticket = wal
            .append(&record)
            .map_err(|e| place(failure_of_record(e, args)))?;
        if send.send(ticket).is_err() {
            return Ok(());
        }
    }
}

/// An error that is the record's fault names the record rather than the log.
fn failure_of_record(e: afterimage_log::Error, args: &Args) -> Failure {
    match e {
        afterimage_log::Error::TooLarge { .. } => Failure::data(e),
        other => failure(other, &args.dir),
    }
}

/// One line without its newline; false at the end. Reads no more than one byte too many.
fn read_line(input: &mut impl BufRead, max: usize, record: &mut Vec<u8>) -> Result<bool, Failure> {
    record.clear();
    let mut bounded = input.take(max as u64 + 1);
    let read = bounded.read_until(b'\n', record).map_err(unreadable)?;
    if record.last() == Some(&b'\n') {
        record.pop();
    }
    if record.len() > max {
        return Err(Failure::data(format!(
            "a line is larger than the largest possible record, {max} bytes"
        )));
    }
    Ok(read > 0)
}

/// One record behind its length; false at the end.
fn read_prefixed(
    input: &mut impl BufRead,
    max: usize,
    record: &mut Vec<u8>,
) -> Result<bool, Failure> {
    if input.fill_buf().map_err(unreadable)?.is_empty() {
        return Ok(false);
    }
    let cut = |e: std::io::Error| match e.kind() {
        ErrorKind::UnexpectedEof => Failure::data("the input ends within a record"),
        _ => unreadable(e),
    };
    let mut len = [0; 4];
    input.read_exact(&mut len).map_err(cut)?;
    let len = u32::from_le_bytes(len) as usize;
    if len > max {
        return Err(Failure::data(format!(
            "a record of {len} bytes is larger than the largest possible, {max} bytes"
        )));
    }
    record.resize(len, 0);
    input.read_exact(record).map_err(cut)?;
    Ok(true)
}

fn unreadable(e: std::io::Error) -> Failure {
    Failure::refused(format!("the input cannot be read: {e}"))
}

/// Waits for the records in order, and prints where they stand.
fn print(
    tickets: Receiver<Ticket>,
    args: &Args,
    out: &mut Out,
    printed: &mut u64,
) -> Result<(), Failure> {
    let mut next = tickets.recv().ok();
    while let Some(ticket) = next {
        ticket.wait().map_err(|e| failure(e, &args.dir))?;
        if out.is_json() {
            let comma = if *printed == 0 { "" } else { "," };
            out.bytes(format!("{comma}\n    {}", ticket.lsn()).as_bytes())?;
        } else {
            out.line(ticket.lsn())?;
        }
        *printed += 1;
        next = match tickets.try_recv() {
            Ok(ticket) if ticket.is_durable().unwrap_or(false) => Some(ticket),
            // Whoever reads is told before the next wait.
            Ok(ticket) => {
                out.flush()?;
                Some(ticket)
            }
            Err(_) => {
                out.flush()?;
                tickets.recv().ok()
            }
        };
    }
    Ok(())
}

//! Every byte of a small log, one bit of it flipped: what comes of it is a refusal that names the place, an end that is cut
//! off and reported, or nothing.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::time::Duration;

use afterimage_io::sim::{Image, Sim, Survival};
use afterimage_log::{
    ControlFile, Error, Log, LogOptions, Lsn, Record, SlotState, Start, Tail, Wal,
};

const SEGMENT: u64 = 64 << 10;

fn dir() -> &'static Path {
    Path::new("db")
}

/// A small log as its user leaves it: single records and batches, a cut-off tail behind it, a second segment, a slot that
/// has moved. Answers the disk and the records, all of them acknowledged, each with its LSN.
fn small_wal(end: End) -> (Image, Vec<Record>) {
    let sim = Sim::new(4);
    let io = sim.io();
    let wal = Wal::open(&io, dir(), &options()).unwrap();
    put_some(&wal, 0);
    wal.create_slot("reader", Start::Oldest).unwrap();
    // The process dies: the next one goes on in a new segment.
    let image = sim.snapshot().crash(&Survival::All);
    drop(wal);
    let sim = Sim::from_image(5, &image);
    let wal = Wal::open(&sim.io(), dir(), &options()).unwrap();
    put_some(&wal, 100);
    let third = wal.read(wal.oldest_lsn()).nth(2).unwrap().unwrap();
    wal.slot("reader").unwrap().advance(third.next).unwrap();
    if end == End::Idle {
        for _ in 0..4 {
            sim.advance_clock(Duration::from_millis(300));
            let _ = wal.step().unwrap();
        }
    }
    let image = match end {
        End::Clean => {
            wal.close().unwrap();
            sim.snapshot().page_cache()
        }
        End::Idle | End::Busy => sim.snapshot().crash(&Survival::None),
    };
    let wal = Wal::open(&Sim::from_image(1, &image).io(), dir(), &options()).unwrap();
    let (records, why) = all(&wal);
    assert!(why.is_none() && records.len() == 2 * (24 + 6 * 3));
    (image, records)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Closed.
    Clean,
    /// Killed when it had been idle for a while.
    Idle,
    /// Killed in the middle of its work.
    Busy,
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        background: false,
        ..LogOptions::default()
    }
}

fn put_some(wal: &Wal, n: u8) {
    for n in n..n + 30 {
        if n % 5 == 0 {
            let batch = [vec![n; 3], Vec::new(), vec![n; 40]];
            wal.append_batch(&batch).unwrap().wait().unwrap();
        } else {
            wal.append(&vec![n; usize::from(n)])
                .unwrap()
                .wait()
                .unwrap();
        }
    }
}

/// The records that can be read, from the oldest on, and why no more, if that is an error.
fn all(wal: &Wal) -> (Vec<Record>, Option<Error>) {
    let mut records = Vec::new();
    for record in wal.read(wal.oldest_lsn()) {
        match record {
            Ok(record) => records.push(record),
            Err(e) => return (records, Some(e)),
        }
    }
    (records, None)
}

/// What comes of a flipped bit.
#[derive(Default, Debug)]
struct Outcomes {
    harmless: u64,
    /// The open refuses.
    refused: u64,
    /// The log opens, and reading comes to an error.
    reading: u64,
    /// Cut off and reported.
    torn: u64,
    /// The slot's position is an older one.
    slot: u64,
}

/// The error names the file that was changed, or one before it, and a place not behind the change.
fn names_the_place(e: &Error, path: &str, offset: u64, context: &str) {
    let Error::Corruption {
        path: file,
        offset: at,
        advice,
        ..
    } = e
    else {
        panic!("{context}: {e}");
    };
    let (changed, named) = (Path::new(path), file.as_path());
    assert!(!advice.is_empty() && named <= changed, "{context}: {e}");
    assert!(named < changed || *at <= offset, "{context}: {e}");
}

impl Outcomes {
    fn flip(&mut self, image: &Image, records: &[Record], end: End, path: &str, offset: u64) {
        let context = format!("{end:?}, byte {offset} of {path}");
        let mut bad = image.clone();
        bad.flip_bit(path, offset, (offset % 8) as u8);
        let wal = match Wal::open(&Sim::from_image(1, &bad).io(), dir(), &options()) {
            Ok(wal) => wal,
            Err(e) => {
                names_the_place(&e, path, offset, &context);
                self.refused += 1;
                return;
            }
        };
        let (found, why) = all(&wal);
        assert!(records.starts_with(&found), "{context}");
        let last_flush = records[records.len() - 1].lsn;
        match why {
            // An open reads what may have to be recovered; this was older, and known to be durable.
            Some(e) => {
                names_the_place(&e, path, offset, &context);
                self.reading += 1;
            }
            None if found.len() < records.len() => {
                let torn = matches!(wal.opened(), Tail::Torn { .. });
                assert!(torn && end == End::Busy, "{context}: {:?}", wal.opened());
                assert!(records[found.len()].lsn == last_flush, "{context}");
                self.torn += 1;
            }
            None => self.harmless += 1,
        }
        let slot = &wal.slots().unwrap()[0];
        assert_eq!(slot.state, SlotState::Active, "{context}");
        if slot.position != Some(records[2].next) {
            let older = path.contains("slots/") && slot.position < Some(records[2].next);
            assert!(older, "{context}: {slot:?}");
            self.slot += 1;
        }
    }

    fn of_every_byte(end: End) -> Outcomes {
        let (image, records) = small_wal(end);
        let mut outcomes = Outcomes::default();
        for (path, len) in image.files() {
            let bytes = image.read(path, 0, len as usize).unwrap();
            let holds = |range: std::ops::Range<u64>| {
                let range = range.start as usize..range.end.min(len) as usize;
                bytes[range].iter().any(|b| *b != 0)
            };
            for offset in 0..len {
                // All that hold something, and those near them; of long stretches of zeroes a sample.
                if offset % 509 == 0 || holds(offset.saturating_sub(40)..offset + 40) {
                    outcomes.flip(&image, &records, end, path, offset);
                }
            }
        }
        println!("{end:?}: {outcomes:?}");
        outcomes
    }
}

#[test]
fn a_closed_log_reports_every_damaged_byte() {
    let outcomes = Outcomes::of_every_byte(End::Clean);
    assert!(
        outcomes.torn == 0 && outcomes.reading > 4000,
        "{outcomes:?}"
    );
}

#[test]
fn a_log_that_was_idle_reports_every_damaged_byte() {
    let outcomes = Outcomes::of_every_byte(End::Idle);
    assert!(
        outcomes.torn == 0 && outcomes.refused > 1000,
        "{outcomes:?}"
    );
}

#[test]
fn a_log_that_was_killed_loses_its_last_batch_at_most() {
    let outcomes = Outcomes::of_every_byte(End::Busy);
    assert!((1..300).contains(&outcomes.torn), "{outcomes:?}");
}

/// Nothing but the way back needs the header of a segment that is known to be durable: its records are read all the same.
#[test]
fn verify_names_an_old_header_that_is_damaged() {
    let (mut image, _) = small_wal(End::Clean);
    image.flip_bit("db/log/00000001-0000000000000001.log", 80, 0);
    let io = Sim::from_image(1, &image).io();
    let control = ControlFile::open(&io, dir(), false)
        .unwrap()
        .current()
        .clone();
    let end = control.clean_end.unwrap();
    let verified = Log::verify(&io, dir(), &control, end, &[]).unwrap_err();
    let place = Lsn::new(SEGMENT + 4096).unwrap();
    assert!(
        matches!(verified, Error::Corruption { lsn, .. } if lsn == place),
        "{verified}"
    );
}

//! The promise: a value may be as long as 1 GiB, through a pool of eight pages and a log of small segments (all of which
//! together, `max_wal_size`, must hold it). It is there whole or not at all, whatever ends the transaction, and its pages
//! are used again when it goes.

#![allow(
    clippy::disallowed_types,
    reason = "a hook collects disk states, and nobody waits for it"
)]

use std::io::Read;
use std::sync::{Arc, Mutex};

use afterimage::{Database, Error, Options, Table};
use afterimage_io::sim::{DiskState, Sim, Survival, Verdict};

const MIB: u64 = 1 << 20;

fn open(sim: &Sim) -> (Database, Table) {
    open_with(sim, 256 << 10)
}

fn open_with(sim: &Sim, max_wal_size: u64) -> (Database, Table) {
    let db = Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(8 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(max_wal_size)
        .open("d")
        .expect("opens");
    let table = db.table("t").expect("is there");
    (db, table)
}

/// Bytes that are nowhere the same for long.
fn value(seed: u64, len: u64) -> Vec<u8> {
    let mut pattern = Pattern { seed, at: 0 };
    let mut value = vec![0; len as usize];
    pattern
        .read_exact(&mut value)
        .expect("a pattern has no end");
    value
}

struct Pattern {
    seed: u64,
    at: u64,
}

impl Read for Pattern {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        for byte in into.iter_mut() {
            let word = (self.at / 8 + self.seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            *byte = word.to_le_bytes()[(self.at % 8) as usize] ^ word as u8;
            self.at += 1;
        }
        Ok(into.len())
    }
}

/// Does all that waits to be done in the background.
fn settle(db: &Database) {
    while db.step().expect("steps") == afterimage::Progress::Worked {}
}

fn assert_sound(db: &Database) {
    let report = db.verify().expect("verifies");
    assert!(report.is_clean(), "{:?}", report.findings);
}

fn used(db: &Database) -> u64 {
    let stats = db.stats();
    stats.pages - stats.pages_free
}

#[test]
fn values_of_every_length_come_back() {
    let sim = Sim::new(1);
    let (db, table) = open_with(&sim, MIB);
    let lengths = [
        0, 1, 1023, 1024, 1025, 3984, 3985, 7968, 7969, 50_000, 300_000,
    ];
    for (n, len) in lengths.into_iter().enumerate() {
        db.put(&table, &[n as u8], &value(len, len)).expect("puts");
    }
    for round in 0..2 {
        for (n, len) in lengths.into_iter().enumerate() {
            let found = db.get(&table, &[n as u8]).expect("gets");
            assert!(found == Some(value(len, len)), "{len} bytes, round {round}");
        }
        settle(&db);
    }
    let mut tx = db.begin();
    let rows: Vec<_> = tx
        .scan::<[u8], _>(&table, ..)
        .expect("scans")
        .map(|row| row.expect("reads").1.len() as u64)
        .collect();
    assert_eq!(rows, lengths);
    tx.commit().expect("commits");
    assert_sound(&db);
}

/// Lent rows are those that the iterator copies, large values among them, from whichever end and in whatever mixture.
#[test]
fn lent_rows_are_the_rows() {
    let sim = Sim::new(3);
    let (db, table) = open(&sim);
    let rows: Vec<_> = (0..60u64)
        .map(|n| {
            (
                format!("{n:03}").into_bytes(),
                value(n, [10, 9000, 200][n as usize % 3]),
            )
        })
        .collect();
    for (key, value) in &rows {
        db.put(&table, key, value).expect("puts");
    }
    let snapshot = db.snapshot().expect("is taken");
    let mut tx = db.begin();
    for mixture in 0..40u64 {
        let mut scan = if mixture % 2 == 0 {
            tx.scan::<[u8], _>(&table, ..).expect("scans")
        } else {
            snapshot.scan::<[u8], _>(&table, ..).expect("scans")
        };
        let (mut front, mut back) = (Vec::new(), Vec::new());
        for n in 0.. {
            // Which end, and whether lent.
            let dice = ((n + 3) * (mixture + 7) * 0x9E37) >> 5;
            let owned = |(key, value): (&[u8], &[u8])| (key.to_vec(), value.to_vec());
            let (to, row) = match dice % 4 {
                0 => (&mut front, scan.next_row().expect("reads").map(owned)),
                1 => (&mut back, scan.next_row_back().expect("reads").map(owned)),
                2 => (&mut front, scan.next().map(|row| row.expect("reads"))),
                _ => (&mut back, scan.next_back().map(|row| row.expect("reads"))),
            };
            let Some(row) = row else { break };
            to.push(row);
        }
        assert_eq!(scan.next_row().expect("it is over"), None);
        front.extend(back.into_iter().rev());
        assert!(front == rows, "mixture {mixture}");
    }
    drop(tx);
}

#[test]
fn sixty_four_mebibytes_stream_through_a_pool_of_eight_pages() {
    let sim = Sim::new(2);
    let len = 64 * MIB;
    let (db, table) = open(&sim);
    let mut tx = db.begin();
    let no = tx.put_reader(&table, b"big", len, &mut Pattern { seed: 5, at: 0 });
    assert!(matches!(no, Err(Error::TransactionTooBig { .. })), "{no:?}");
    drop((tx, db));
    // A transaction's own log is at most max_wal_size.
    let (db, table) = open_with(&sim, 2 * len);
    let mut tx = db.begin();
    tx.put_reader(&table, b"big", len, &mut Pattern { seed: 5, at: 0 })
        .expect("puts");
    tx.commit().expect("commits");

    let mut tx = db.begin();
    let mut reader = tx
        .get_reader(&table, b"big")
        .expect("gets")
        .expect("is there");
    assert_eq!(reader.len(), len);
    let mut expected = Pattern { seed: 5, at: 0 };
    let (mut found, mut right) = (vec![0; 100_000], vec![0; 100_000]);
    loop {
        let count = reader.read(&mut found).expect("reads");
        if count == 0 {
            break;
        }
        expected.read_exact(&mut right[..count]).expect("a pattern");
        assert!(found[..count] == right[..count], "up to {}", expected.at);
    }
    assert_eq!(expected.at, len);
    let mut piece = [0; 9];
    for offset in [0, 1, 3983, 3984, 40 * MIB + 5, len - 9] {
        assert_eq!(reader.read_at(offset, &mut piece).expect("reads"), 9);
        let mut right = value(5 + offset / 8, 32);
        right.drain(..(offset % 8) as usize);
        assert_eq!(piece, right[..9]);
    }
    assert_eq!(reader.read_at(len - 4, &mut piece).expect("reads"), 4);
    assert_eq!(reader.read_at(len, &mut piece).expect("reads"), 0);
    assert_eq!(reader.read_at(u64::MAX, &mut piece).expect("reads"), 0);
}

/// What was in use before the values came is in use after they went: by delete, by replacement, by rollback.
#[test]
fn pages_of_values_that_go_are_free_again() {
    let sim = Sim::new(3);
    let (db, table) = open(&sim);
    db.put(&table, b"small", b"row").expect("puts");
    let put = |key: &[u8], seed, len| {
        db.put(&table, key, &value(seed, len)).expect("puts");
    };
    put(b"a", 1, 100_000);
    assert!(db.delete(&table, b"a").expect("deletes"));
    settle(&db);
    let before = used(&db);
    for round in 0..5 {
        put(b"a", round, 100_000);
        put(b"a", round, 200_000);
        db.put(&table, b"a", b"small again").expect("puts");
        put(b"b", round, 60_000);
        assert!(db.delete(&table, b"a").expect("deletes"));
        assert!(db.delete(&table, b"b").expect("deletes"));
        let mut tx = db.begin();
        tx.put(&table, b"c", &value(round, 90_000)).expect("puts");
        tx.put(&table, b"c", &value(round, 30_000)).expect("puts");
        tx.rollback().expect("rolls back");
        assert_eq!(db.get(&table, b"c").expect("gets"), None);
    }
    settle(&db);
    assert_eq!(used(&db), before);
    let grown = db.stats().pages;
    for round in 0..20 {
        put(b"a", round, 200_000);
    }
    settle(&db);
    assert!(
        db.stats().pages <= grown + 40,
        "{} after {grown}",
        db.stats().pages
    );
    assert_sound(&db);
}

#[test]
fn a_savepoint_takes_a_large_value_back() {
    let sim = Sim::new(4);
    let (db, table) = open(&sim);
    db.put(&table, b"k", &value(1, 20_000)).expect("puts");
    settle(&db);
    let before = used(&db);
    let mut tx = db.begin();
    let savepoint = tx.savepoint().expect("sets");
    for _ in 0..2 {
        tx.put(&table, b"k", &value(2, 30_000)).expect("puts");
        tx.put(&table, b"k", &value(3, 10)).expect("puts");
        assert!(tx.delete(&table, b"k").expect("deletes"));
        tx.insert(&table, b"k", &value(4, 40_000)).expect("inserts");
        tx.rollback_to(&savepoint).expect("goes back");
        assert!(tx.get(&table, b"k").expect("gets") == Some(value(1, 20_000)));
    }
    tx.update(&table, b"k", &value(5, 20_001)).expect("updates");
    tx.commit().expect("commits");
    settle(&db);
    assert!(db.get(&table, b"k").expect("gets") == Some(value(5, 20_001)));
    assert_eq!(
        used(&db),
        before,
        "as many pages as before: one more byte fits"
    );
    assert_sound(&db);
}

#[test]
fn a_swap_compares_the_whole_of_a_large_value() {
    let sim = Sim::new(5);
    let (db, table) = open(&sim);
    let (old, new) = (value(1, 10_000), value(2, 12_000));
    let mut nearly = old.clone();
    nearly[9_999] ^= 1;
    let swap = |expected: Option<&[u8]>, new: Option<&[u8]>| {
        db.compare_and_swap(&table, b"k", expected, new)
            .expect("swaps")
    };
    assert!(swap(None, Some(&old)));
    assert!(!swap(None, Some(&new)));
    assert!(!swap(Some(&nearly), Some(&new)));
    assert!(!swap(Some(b""), Some(b"short")));
    assert!(swap(Some(&old), Some(&new)));
    assert!(swap(Some(&new), None));
    assert_eq!(db.get(&table, b"k").expect("gets"), None);
    assert!(matches!(
        db.update(&table, b"k", &new),
        Err(Error::KeyNotFound)
    ));
    db.insert(&table, b"k", &new).expect("inserts");
    assert!(matches!(
        db.insert(&table, b"k", &old),
        Err(Error::KeyExists)
    ));
    settle(&db);
    assert_sound(&db);
}

#[test]
fn a_reader_that_fails_leaves_the_transaction_as_it_was() {
    let sim = Sim::new(6);
    let (db, table) = open(&sim);
    db.put(&table, b"k", &value(1, 5_000)).expect("puts");
    let mut tx = db.begin();
    tx.put(&table, b"other", b"row").expect("puts");
    let short = value(2, 20_000);
    let failed = tx.put_reader(&table, b"k", 20_001, &mut &short[..]);
    assert!(matches!(failed, Err(Error::Reader { .. })), "{failed:?}");
    assert!(tx.get(&table, b"k").expect("gets") == Some(value(1, 5_000)));
    let failed = tx.put_reader(&table, b"k", 10, &mut &b"nine byte"[..]);
    assert!(matches!(failed, Err(Error::Reader { .. })), "{failed:?}");
    let failed = tx.put_reader(&table, b"k", (1 << 30) + 1, &mut &short[..]);
    assert!(
        matches!(
            failed,
            Err(Error::ValueTooLarge {
                max: 0x4000_0000,
                ..
            })
        ),
        "{failed:?}"
    );
    tx.put_reader(&table, b"k", 20_000, &mut &short[..])
        .expect("puts");
    tx.commit().expect("commits");
    assert!(db.get(&table, b"k").expect("gets") == Some(short));
    settle(&db);
    assert_sound(&db);
}

/// The power goes while one large value replaces another, is taken back, and goes: at every call to the disk.
#[test]
fn a_crash_leaves_one_value_or_the_other_and_no_page_behind() {
    let values = [value(1, 9_000), value(2, 14_000), value(3, 21_000)];
    let sim = Sim::new(7);
    let (db, table) = open(&sim);
    db.put(&table, b"k", &values[0]).expect("puts");
    settle(&db);
    let images = Arc::new(Mutex::new(Vec::new()));
    let taken = images.clone();
    sim.set_hook(Some(Box::new(move |_, disk: &DiskState| {
        let mut taken = taken.lock().expect("one thread");
        for survival in [Survival::None, Survival::All, Survival::NewestOnly] {
            taken.push(disk.crash(&survival));
        }
        Verdict::Continue
    })));
    let mut tx = db.begin();
    tx.put(&table, b"k", &values[2]).expect("puts");
    tx.rollback().expect("rolls back");
    db.put(&table, b"k", &values[1]).expect("puts");
    db.checkpoint().expect("checkpoints");
    settle(&db);
    db.put(&table, b"k", &values[2]).expect("puts");
    assert!(db.delete(&table, b"k").expect("deletes"));
    db.put(&table, b"k", &values[0]).expect("puts");
    settle(&db);
    sim.set_hook(None);
    let images = std::mem::take(&mut *images.lock().expect("one thread"));
    assert!(images.len() > 100, "{} states", images.len());
    let mut seen = [0; 4];
    for image in images {
        let sim = Sim::from_image(1, &image);
        let (db, table) = open(&sim);
        let found = db.get(&table, b"k").expect("gets");
        let which = match &found {
            Some(found) => values.iter().position(|value| value == found),
            None => Some(3),
        };
        seen[which.expect("one of the values")] += 1;
        settle(&db);
        assert_sound(&db);
        // File header, map, three roots; and the value.
        let pages = found.map_or(0, |found| found.len() as u64).div_ceil(3984);
        assert_eq!(used(&db), 5 + pages, "nothing leaks");
    }
    assert!(seen.iter().all(|&times| times > 0), "{seen:?}");
}

//! Any database: an intact small one, and on it what an input says: damage of every kind, and lies with right checksums.
//! It is opened, and if that succeeds everything is done to it, opened again and verified. Whatever is wrong must come out
//! as an error that says so: never a panic, never an end of the world of simulated calls.

mod disk;
mod world;

use std::collections::BTreeMap;
use std::path::Path;

use afterimage_io::sim::{Sim, Verdict};
use afterimage_io::{Io, Progress};

use self::world::{Rows, options};
use super::Input;
use crate::database::{Database, Scan, Table};
use crate::error::{Error, Result};

/// More calls of the disk than any input needs: whoever makes more goes in a circle.
const CALLS: u64 = 300_000;
/// More rows than any input can show.
const ROWS: usize = 50_000;

fn dir() -> &'static Path {
    Path::new("d")
}

pub(super) fn database(data: &[u8]) {
    let (image, rows) = disk::disk(&mut Input(data));
    let sim = Sim::from_image(1, &image);
    let mut calls = 0;
    sim.set_hook(Some(Box::new(move |_, _| {
        calls += 1;
        assert!(calls < CALLS, "more calls than any input needs");
        Verdict::Continue
    })));
    sim.set_hook_reads(true);
    let io = sim.io();
    // Looks from outside change nothing and ask for nothing.
    let _ = crate::inspect::status(&io, dir());
    if let Some(report) = said(crate::inspect::verify(&io, dir()))
        && data.is_empty()
    {
        assert!(report.is_clean(), "{:?}", report.findings);
    }
    if let Some(db) = said(options(&io).open(dir())) {
        use_all(&db, rows);
        said(db.close());
    } else {
        assert!(!data.is_empty(), "nothing is wrong with it");
    }
    second_life(&io);
}

/// What a first life has left, opened once more.
fn second_life(io: &Io) {
    if let Some(db) = said(options(io).open(dir())) {
        said(db.verify());
        for name in said(db.tables()).unwrap_or_default() {
            if let Some(table) = said(db.table(&name)) {
                scan_both_ways(&db, &table);
            }
        }
        // Not closed: what a process that was killed leaves.
    }
}

/// Every error is one of ours, and says something.
fn said<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let is_io = matches!(&error, Error::Io { message, .. } if message.contains("panic"));
            assert!(!is_io, "{error}");
            None
        }
    }
}

/// `rows`: what the tables must show where they show anything, if the input leaves no room for lies.
fn use_all(db: &Database, rows: Option<&Rows>) {
    let names = said(db.tables()).unwrap_or_default();
    for name in names.iter().take(8) {
        let Some(table) = said(db.table(name)) else {
            continue;
        };
        if let Some(rows) = rows {
            compare(db, &table, rows.get(name.as_str()));
        }
        scan_both_ways(db, &table);
        change(db, &table);
    }
    said(db.verify());
    said(db.drop_table("tall"));
    if let Some(table) = said(db.table("new")) {
        said(db.put(&table, b"key", b"value"));
        said(db.put(&table, b"large", &[7; 9000]));
    }
    if let Some(mut load) = said(db.load_table("loaded", crate::LoadOptions::new().sorted(true))) {
        for n in 0..30u8 {
            said(load.push(&[n; 300], &[n; 500]));
        }
        said(load.finish());
    }
    for _ in 0..200 {
        if !matches!(said(db.step()), Some(Progress::Worked)) {
            break;
        }
    }
    said(db.checkpoint());
    said(db.shrink_file());
    said(db.verify());
    let _ = (db.stats(), said(db.pins()));
}

/// What a table answers is what was written, or an error.
fn compare(db: &Database, table: &Table, rows: Option<&BTreeMap<Vec<u8>, Vec<u8>>>) {
    let Some(rows) = rows else {
        return;
    };
    for (key, value) in rows.iter().step_by(7) {
        if let Some(found) = said(db.get(table, key)) {
            assert_eq!(found.as_ref(), Some(value), "{}", table.name());
        }
    }
    let Some(view) = said(db.snapshot()) else {
        return;
    };
    let Some(scan) = said(view.scan::<[u8], _>(table, ..)) else {
        return;
    };
    let found: Vec<_> = scan.take(ROWS).collect();
    let whole = found.iter().all(Result::is_ok);
    let found: BTreeMap<_, _> = found.into_iter().filter_map(Result::ok).collect();
    assert!(
        found
            .iter()
            .all(|(key, value)| rows.get(key) == Some(value)),
        "{}: a row that nobody wrote",
        table.name()
    );
    assert!(!whole || found.len() == rows.len(), "rows are missing");
}

fn count(scan: Option<Scan<'_>>, backwards: bool) {
    let Some(mut scan) = scan else {
        return;
    };
    let mut last: Option<Vec<u8>> = None;
    for seen in 0.. {
        assert!(seen < ROWS, "a scan without an end");
        let next = match backwards {
            true => scan.next_back(),
            false => scan.next(),
        };
        let Some(row) = next else {
            return;
        };
        let Some((key, _)) = said(row) else {
            continue;
        };
        let ascends = last.as_ref().is_none_or(|last| match backwards {
            true => key < *last,
            false => key > *last,
        });
        assert!(ascends, "a key that was passed before");
        last = Some(key);
    }
}

fn scan_both_ways(db: &Database, table: &Table) {
    for backwards in [false, true] {
        if let Some(view) = said(db.snapshot()) {
            count(said(view.scan::<[u8], _>(table, ..)), backwards);
        }
        let mut tx = db.begin();
        count(said(tx.scan::<[u8], _>(table, ..)), backwards);
        said(tx.rollback());
    }
}

/// Gets, puts and deletes all over the table, taken back and kept.
fn change(db: &Database, table: &Table) {
    for keep in [false, true] {
        let mut tx = db.begin();
        for n in (0..160).step_by(13) {
            let key = world::key(n);
            said(tx.get(table, &key));
            said(tx.put(table, &key, &[n as u8; 700]));
        }
        let savepoint = said(tx.savepoint());
        said(tx.put(table, b"large", &[9; 10_000]));
        if let Some(savepoint) = savepoint {
            said(tx.rollback_to(&savepoint));
        }
        said(tx.delete(table, &world::key(13)));
        let (from, to) = (world::key(40), world::key(70));
        said(tx.delete_range(table, from..to));
        match keep {
            true => said(tx.commit()),
            false => said(tx.rollback()),
        };
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    disk::seeds()
}

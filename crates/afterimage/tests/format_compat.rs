//! The promise: every released format opens for ever, as it was left, closed or crashed.
//!
//! `golden/v1-closed` and `golden/v1-crashed` are whole databases of format version 1, made in a simulated world. They are
//! never made anew for a version that has been released: `AFTERIMAGE_WRITE_GOLDEN=1 cargo test --test format_compat`
//! writes them only where they are missing.

#![allow(
    clippy::disallowed_methods,
    reason = "copies golden files to a temporary directory"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use afterimage::{Database, Options};
use afterimage_io::sim::{Sim, Survival};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// What both hold, once recovered.
fn expected() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let row = |n: u32| {
        (
            n.to_be_bytes().to_vec(),
            vec![n as u8; 20 + (n % 50) as usize],
        )
    };
    (0..150).filter(|n| n % 5 != 0).map(row).collect()
}

fn fill(sim: &Sim) -> Database {
    let options = Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096);
    let db = options
        .buffer_pool_size(8 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(256 << 10)
        .open("d")
        .expect("creates");
    let table = db.table("rows").expect("creates");
    for n in 0..150u32 {
        db.put(
            &table,
            &n.to_be_bytes(),
            &vec![n as u8; 20 + (n % 50) as usize],
        )
        .expect("puts");
    }
    db.checkpoint().expect("checkpoints");
    for n in (0..150u32).step_by(5) {
        db.delete(&table, &n.to_be_bytes()).expect("deletes");
    }
    db
}

fn write_golden() {
    let sim = Sim::new(1);
    let db = fill(&sim);
    let table = db.table("rows").expect("there");
    let mut unfinished = db.begin();
    unfinished.put(&table, b"half", b"done").expect("puts");
    db.table("another").expect("creates, and syncs the log");
    let crashed = sim.snapshot().crash(&Survival::None);
    unfinished.rollback().expect("goes back");
    db.close().expect("closes");
    for (name, image) in [
        ("v1-crashed", crashed),
        ("v1-closed", sim.snapshot().crash(&Survival::None)),
    ] {
        if !golden(name).exists() {
            image.dump_to_dir(&golden(name)).expect("writes");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

fn open_golden(name: &str) -> (tempfile::TempDir, Database) {
    if std::env::var_os("AFTERIMAGE_WRITE_GOLDEN").is_some() {
        write_golden();
    }
    let directory = tempfile::tempdir().expect("a directory");
    copy(&golden(name).join("d"), &directory.path().join("d"));
    let db = Options::new()
        .create(false)
        .open(directory.path().join("d"))
        .expect("opens");
    let table = db.table("rows").expect("there");
    let mut tx = db.begin();
    let rows: BTreeMap<_, _> = tx
        .scan::<[u8], _>(&table, ..)
        .expect("scans")
        .collect::<Result<_, _>>()
        .expect("reads");
    tx.commit().expect("ends");
    assert_eq!(rows, expected());
    assert!(db.verify().expect("looks").is_clean());
    (directory, db)
}

#[test]
fn a_closed_database_of_version_1_opens() {
    let (_directory, db) = open_golden("v1-closed");
    assert!(db.recovery_report().clean);
}

#[test]
fn a_crashed_database_of_version_1_recovers() {
    let (_directory, db) = open_golden("v1-crashed");
    let report = db.recovery_report();
    assert_eq!((report.clean, report.losers), (false, 1));
}

//! The promise: every released format opens for ever, as it was left, closed or crashed.
//!
//! `golden/v1-closed`, `golden/v1-crashed` and `golden/v1-shapes` are whole databases of format version 1, made in a simulated world. They are
//! never made anew for a version that has been released: `AFTERIMAGE_WRITE_GOLDEN=1 cargo test --test format_compat`
//! writes them only where they are missing.

#![allow(
    clippy::disallowed_methods,
    reason = "copies golden files to a temporary directory"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use afterimage::{Database, LoadOptions, Options};
use afterimage_io::sim::{Sim, Survival};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// What both hold, once recovered.
fn expected() -> Rows {
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

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What `v1-shapes` holds, by table: a tree of four levels, whose keys are alike in 480 bytes and more, so that inner pages
/// have a prefix; large values; a table that was loaded, with one too; an unlogged one.
fn shapes() -> BTreeMap<&'static str, Rows> {
    let deep = |n: u32| {
        let key = [
            vec![b'p'; 480],
            format!("{:08}", n * 7919 % 400).into_bytes(),
        ]
        .concat();
        (key, n.to_be_bytes().to_vec())
    };
    let sized = |n: u32, len: u32| {
        let value = (0..len).map(|at| (at * 31 + n) as u8).collect();
        (format!("{n:04}").into_bytes(), value)
    };
    let loaded = |n| sized(n, if n == 50 { 9000 } else { 40 });
    BTreeMap::from([
        ("deep", (0..400).map(deep).collect()),
        ("large", (0..3).map(|n| sized(n, 5000 + n * 4000)).collect()),
        ("loaded", (0..200).map(loaded).collect()),
        ("unlogged", (0..60).map(|n| sized(n, 60)).collect()),
    ])
}

fn write_shapes() {
    let sim = Sim::new(2);
    let options = Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(16 * 4096)
        .unlogged_pool_size(8 * 4096);
    let options = options.wal_segment_size(64 << 10).max_wal_size(256 << 10);
    let db = options.open("d").expect("creates");
    for (name, rows) in shapes() {
        if name == "loaded" {
            let options = LoadOptions::new().sort_memory(64 << 10);
            let mut load = db.load_table(name, options).expect("begins");
            for (key, value) in rows.iter().rev() {
                load.push(key, value).expect("pushes");
            }
            load.finish().expect("finishes");
            continue;
        }
        let table = match name {
            "unlogged" => db.unlogged_table(name),
            _ => db.table(name),
        };
        let table = table.expect("creates");
        for (key, value) in &rows {
            db.put(&table, key, value).expect("puts");
        }
    }
    db.close().expect("closes");
    let image = sim.snapshot().crash(&Survival::None);
    if !golden("v1-shapes").exists() {
        image.dump_to_dir(&golden("v1-shapes")).expect("writes");
    }
}

fn read(db: &Database, name: &str) -> Rows {
    let table = db.table(name).expect("there");
    let mut tx = db.begin();
    let scan = tx.scan::<[u8], _>(&table, ..).expect("scans");
    let rows = scan.collect::<Result<_, _>>().expect("reads");
    tx.commit().expect("ends");
    rows
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
        write_shapes();
    }
    let directory = tempfile::tempdir().expect("a directory");
    copy(&golden(name).join("d"), &directory.path().join("d"));
    let db = Options::new()
        .create(false)
        .open(directory.path().join("d"))
        .expect("opens");
    assert!(db.verify().expect("looks").is_clean());
    (directory, db)
}

#[test]
fn a_closed_database_of_version_1_opens() {
    let (_directory, db) = open_golden("v1-closed");
    assert_eq!(read(&db, "rows"), expected());
    assert!(db.recovery_report().clean);
}

#[test]
fn a_crashed_database_of_version_1_recovers() {
    let (_directory, db) = open_golden("v1-crashed");
    assert_eq!(read(&db, "rows"), expected());
    let report = db.recovery_report();
    assert_eq!((report.clean, report.losers), (false, 1));
}

#[test]
fn a_database_of_version_1_with_trees_and_values_of_all_shapes_opens() {
    let (directory, db) = open_golden("v1-shapes");
    assert!(db.recovery_report().clean);
    let shapes = shapes();
    let names: Vec<_> = shapes.keys().copied().collect();
    assert_eq!(db.tables().expect("lists"), names);
    for (name, rows) in &shapes {
        assert!(read(&db, name) == *rows, "{name}");
        // By way of the inner pages, too.
        let table = db.table(name).expect("there");
        for (key, value) in rows {
            let found = db.get(&table, key).expect("gets");
            assert!(found.as_ref() == Some(value), "{name}: {key:?}");
        }
    }
    let pages = fs::read(directory.path().join("d/pages")).expect("reads");
    // By kind (inner) and level, as in the page header.
    let levels = pages
        .chunks(4096)
        .filter(|page| page[6] == 4)
        .map(|page| page[7]);
    assert_eq!(levels.max(), Some(3), "the tree has four levels");
    let unlogged = |name| db.table(name).expect("there").is_unlogged();
    assert!(unlogged("unlogged") && !unlogged("loaded"));
}

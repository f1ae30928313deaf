//! Damage is named, never a panic and never a silent loss: in a page, in the log, in both control copies.

mod common;

use common::{Scratch, fingerprint, killed, ok, rows_text, run, run_with_input};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

fn flip(path: &PathBuf, offset: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[offset] ^= 0x40;
    fs::write(path, bytes).expect("a file");
}

/// Everything but the lock file, into which whoever tries to open for writing puts its process id.
fn data(db: &str) -> BTreeMap<PathBuf, (u64, SystemTime, u64)> {
    let mut found = fingerprint(db);
    found.remove(&PathBuf::from(db).join("lock"));
    found
}

#[test]
fn a_flipped_byte_in_a_page_is_found_with_its_place() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    run_with_input(&["load", &db, "orders"], rows_text(0, 5000).as_bytes()).expect(0);
    ok(&["verify", &db]);
    let pages = PathBuf::from(&db).join("pages");
    let page = 20;
    flip(&pages, page * 8192 + 5000);
    let before = fingerprint(&db);
    let found = run(&["verify", &db]).expect(1);
    let told = found.text() + &found.stderr;
    assert!(
        told.contains("page 20") && told.contains("orders"),
        "{told}"
    );
    assert!(told.contains(&(page * 8192).to_string()), "{told}");
    run(&["verify", &db, "--json"]).expect(1).json();
    let refused = run(&["export", &db, "orders"]).expect(3);
    assert!(refused.stderr.contains("page 20"), "{}", refused.stderr);
    assert_eq!(fingerprint(&db), before);
}

#[test]
fn a_flipped_byte_in_the_acknowledged_log_is_refused_with_its_place() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    killed(&db, "t", 2000);
    let log = PathBuf::from(&db).join("log");
    let mut segments: Vec<PathBuf> = fs::read_dir(&log)
        .expect("a directory")
        .map(|e| e.expect("an entry").path())
        .collect();
    segments.sort();
    let first = segments.into_iter().next().expect("a segment");
    flip(&first, 60_000);
    let before = data(&db);
    let refused = run(&["recover", &db]).expect(3);
    assert!(
        refused.stderr.contains("LSN") || refused.stderr.contains("lsn"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains(".log"), "{}", refused.stderr);
    assert_eq!(data(&db), before, "a refused open changed something");
    run(&["verify", &db]).expect(1);
    assert_eq!(data(&db), before);
}

#[test]
fn damage_in_both_control_copies_is_refused() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    run_with_input(&["load", &db, "t"], b"a\t1\n").expect(0);
    let control = PathBuf::from(&db).join("control");
    flip(&control, 40);
    assert_eq!(
        ok(&["get", &db, "t", "a"]).text(),
        "1\n",
        "one copy is enough to read"
    );
    flip(&control, 4096 + 40);
    let refused = run(&["get", &db, "t", "a"]).expect(3);
    assert!(refused.stderr.contains("control"), "{}", refused.stderr);
    run(&["verify", &db]).expect(1);
}

#[test]
fn a_dump_that_stops_early_says_so() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    run_with_input(&["load", &db, "t"], rows_text(0, 2000).as_bytes()).expect(0);
    let whole = ok(&["log", "dump", &db]).lines().len();
    flip(
        &PathBuf::from(&db).join("log/00000001-0000000000000001.log"),
        60_000,
    );
    let cut = run(&["log", "dump", &db]).expect(1);
    assert!(cut.stderr.contains("goes on"), "{}", cut.stderr);
    assert!((10..whole).contains(&cut.lines().len()));
    ok(&["log", "dump", &db, "--limit", "5"]);
    assert!(run(&["log", "dump", &db, "--json"]).expect(1).json()["count"].is_u64());
    let found = run(&["verify", &db]).expect(1).text();
    for word in ["LSN", "00000001-0000000000000001.log", "byte"] {
        assert!(found.contains(word), "{word}: {found}");
    }
}

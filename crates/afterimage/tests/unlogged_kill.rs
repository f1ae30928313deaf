//! A process that has unlogged tables is killed with SIGKILL in the middle of its work, again and again: they are empty then,
//! though their pages were on the disk. One that closes its database leaves them whole.

#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use afterimage::{Database, Options, Result};

/// Tells the child, which is this test's own program, where to work, and on how many rows before it closes.
const DIRECTORY: &str = "AFTERIMAGE_TEST_DIRECTORY";
const ROWS: &str = "AFTERIMAGE_TEST_ROWS";
/// Acknowledged rows before the child is killed: several times what its pool holds.
const BEFORE_KILL: u64 = 200;

fn open(directory: &Path) -> Database {
    Options::new()
        .page_size(4096)
        .unlogged_pool_size(16 * 4096)
        .open(directory)
        .expect("opens")
}

fn rows(db: &Database, table: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let table = db.table(table).expect("is there");
    let mut tx = db.begin();
    let scan = tx.scan::<[u8], _>(&table, ..).expect("scans");
    scan.collect::<Result<_>>().expect("reads")
}

fn row(n: u64) -> (Vec<u8>, Vec<u8>) {
    (n.to_be_bytes().to_vec(), vec![n as u8; 700])
}

/// Not a test: what the child does. Numbers on its output are committed.
#[test]
#[ignore = "the other test runs it as a program of its own"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let many = std::env::var(ROWS)
        .expect("is told")
        .parse()
        .expect("a number");
    let db = open(Path::new(&directory));
    let (orders, carts) = (
        db.table("orders").expect("opens"),
        db.unlogged_table("carts").expect("opens"),
    );
    for n in 0..many {
        let (key, value) = row(n);
        db.transact(|tx| {
            tx.put(&orders, &key, &value)?;
            tx.put(&carts, &key, &value)
        })
        .expect("commits");
        println!("committed {n}");
    }
    db.close().expect("closes");
    println!("closed");
}

fn start(directory: &Path, many: u64) -> Child {
    Command::new(std::env::current_exe().expect("runs"))
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROWS, many.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts")
}

#[test]
fn killed_it_leaves_nothing_and_closed_everything() {
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = scratch.path().join("shop");
    for _ in 0..3 {
        let mut child = start(&directory, u64::MAX);
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let last = format!("committed {BEFORE_KILL}");
        let mut lines = output.lines().map(|line| line.expect("reads"));
        assert!(lines.any(|line| line == last), "it ended before that");
        child.kill().expect("kills");
        child.wait().expect("ends");
        let file = std::fs::metadata(directory.join("unlogged")).expect("is there");
        assert!(file.len() > 100_000, "rows have gone to the disk");

        let db = open(&directory);
        assert!(!db.recovery_report().clean);
        assert_eq!(db.recovery_report().unlogged_emptied, 1);
        assert_eq!(rows(&db, "carts"), []);
        let orders = rows(&db, "orders");
        assert!(orders.len() as u64 > BEFORE_KILL, "{} rows", orders.len());
        assert!(orders.iter().zip(0..).all(|(found, n)| *found == row(n)));
        assert!(db.verify().expect("looks").is_clean());
        let carts = db.table("carts").expect("is there");
        db.put(&carts, b"k", b"v").expect("puts");
        db.close().expect("closes");
    }
    let ended = start(&directory, 300).wait_with_output().expect("ends");
    assert!(ended.status.success());
    let db = open(&directory);
    assert!(db.recovery_report().clean);
    let carts = rows(&db, "carts");
    // What the last kill was followed by, too.
    let before = (b"k".to_vec(), b"v".to_vec());
    let expected: Vec<_> = (0..300).map(row).chain([before]).collect();
    assert_eq!(carts, expected);
    assert!(db.verify().expect("looks").is_clean());
}

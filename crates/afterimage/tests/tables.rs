//! The promise: tables are made, renamed and dropped in one piece, under crashes too; who still uses one is waited for; their
//! pages are used again; and ten thousand of them are no trouble.

#![allow(
    clippy::disallowed_types,
    reason = "a hook collects disk states, and nobody waits for it"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use afterimage::{Database, Error, Options, Progress};
use afterimage_io::sim::{DiskState, Sim, Survival, Verdict};

fn open(sim: &Sim) -> Database {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(16 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(1 << 20)
        .open("d")
        .expect("opens")
}

fn settle(db: &Database) {
    while db.step().expect("steps") == Progress::Worked {}
}

fn assert_sound(db: &Database) {
    let report = db.verify().expect("verifies");
    assert!(report.is_clean(), "{:?}", report.findings);
}

fn used(db: &Database) -> u64 {
    let stats = db.stats();
    stats.pages - stats.pages_free
}

/// Small rows, so that the tree has levels, and large values among them.
fn fill(db: &Database, name: &str, rows: u32) {
    let table = db.table(name).expect("makes");
    for n in 0..rows {
        let len = if n % 50 == 7 { 9000 } else { 100 };
        db.put(&table, &n.to_be_bytes(), &vec![n as u8; len])
            .expect("puts");
    }
}

#[test]
fn a_dropped_table_leaves_nothing_behind() {
    let sim = Sim::new(1);
    let db = open(&sim);
    fill(&db, "kept", 10);
    settle(&db);
    let before = used(&db);
    for round in 0..3 {
        fill(&db, "gone", 400);
        // A value in several places of the file.
        let table = db.table("gone").expect("is there");
        db.put(&table, b"wide", &vec![1; 300_000]).expect("puts");
        let mut tx = db.begin();
        tx.put(&table, b"rolled back", &vec![2; 50_000])
            .expect("puts");
        tx.rollback().expect("rolls back");
        assert!(db.drop_table("gone").expect("drops"));
        assert!(!db.drop_table("gone").expect("is gone"));
        if round == 1 {
            assert_sound(&db);
            while db.step().expect("steps") == Progress::Worked {
                assert_sound(&db);
            }
        }
        settle(&db);
        assert_eq!(used(&db), before);
        for gone in [
            db.get(&table, b"wide").map(drop),
            db.put(&table, b"k", b"v"),
            db.begin().get(&table, b"k").map(drop),
            db.begin()
                .scan::<[u8], _>(&table, ..)
                .and_then(|mut rows| rows.next().expect("says so").map(drop)),
            db.snapshot().expect("opens").get(&table, b"k").map(drop),
        ] {
            assert!(matches!(gone, Err(Error::NoSuchTable { .. })), "{gone:?}");
        }
    }
    assert_eq!(db.tables().expect("lists"), ["kept"]);
    assert_sound(&db);
}

#[test]
fn a_renamed_table_is_the_same_table() {
    let sim = Sim::new(2);
    let db = open(&sim);
    fill(&db, "a", 20);
    let table = db.table("a").expect("is there");
    let mut tx = db.begin();
    tx.put(&table, b"from", b"before").expect("puts");
    db.rename_table("a", "b").expect("renames");
    tx.commit().expect("commits");
    let same = db.table("b").expect("is there");
    assert_eq!(
        (same.id(), same.name(), table.name()),
        (table.id(), "b", "a")
    );
    assert_eq!(
        db.get(&same, b"from").expect("gets").as_deref(),
        Some(&b"before"[..])
    );
    assert!(matches!(
        db.rename_table("a", "c"),
        Err(Error::NoSuchTable { .. })
    ));
    db.table("c").expect("makes");
    assert!(matches!(
        db.rename_table("b", "c"),
        Err(Error::TableExists { .. })
    ));
    assert!(matches!(
        db.rename_table("b", ""),
        Err(Error::BadTableName { .. })
    ));
    db.rename_table("b", "b").expect("does nothing");
    assert_eq!(db.tables().expect("lists"), ["b", "c"]);
    // Names that lie on many leaves of the catalogue, back and forth.
    let long = |n: u32| format!("{n:03}{}", "x".repeat(200));
    for n in 0..60 {
        db.table(&long(n)).expect("makes");
    }
    for n in 0..60 {
        db.rename_table(&long(n), &long(n * 7 % 60 + 100))
            .expect("renames");
    }
    db.close().expect("closes");
    let db = open(&sim);
    assert_eq!(db.tables().expect("lists").len(), 62);
    assert_eq!(db.tables().expect("lists")[0], long(100));
    assert_sound(&db);
}

#[test]
fn who_uses_a_table_is_waited_for() {
    let sim = Sim::new(3);
    let db = Options::new()
        .io(sim.io())
        .background(false)
        .lock_timeout(Duration::from_millis(20))
        .open("d")
        .expect("opens");
    let table = db.table("t").expect("makes");
    db.put(&table, b"k", b"v").expect("puts");
    let mut tx = db.begin();
    tx.get(&table, b"k").expect("gets");
    let refused = db.drop_table("t");
    assert!(
        matches!(refused, Err(Error::LockTimeout { .. })),
        "{refused:?}"
    );
    tx.put(&table, b"k", b"w").expect("puts");
    tx.commit().expect("commits");
    let old = db.snapshot().expect("opens");
    assert!(db.drop_table("t").expect("drops"));
    settle(&db);
    assert_eq!(
        old.get(&table, b"k").expect("gets").as_deref(),
        Some(&b"w"[..])
    );
    drop(old);
    // The same name is another table.
    let new = db.table("t").expect("makes");
    assert_ne!(new.id(), table.id());
    assert_eq!(db.get(&new, b"k").expect("gets"), None);
    assert!(matches!(
        db.get(&table, b"k"),
        Err(Error::NoSuchTable { .. })
    ));
    settle(&db);
    assert_sound(&db);
}

/// The power goes while a table is made, renamed, dropped and freed: at every call to the disk.
#[test]
fn a_crash_leaves_a_table_whole_or_not_at_all() {
    let sim = Sim::new(4);
    let db = open(&sim);
    fill(&db, "kept", 5);
    settle(&db);
    let base = used(&db);
    let images = Arc::new(Mutex::new(Vec::new()));
    let taken = images.clone();
    sim.set_hook(Some(Box::new(move |_, disk: &DiskState| {
        let mut taken = taken.lock().expect("one thread");
        for survival in [Survival::None, Survival::All, Survival::NewestOnly] {
            taken.push(disk.crash(&survival));
        }
        Verdict::Continue
    })));
    fill(&db, "one", 60);
    db.rename_table("one", "two").expect("renames");
    db.checkpoint().expect("checkpoints");
    assert!(db.drop_table("two").expect("drops"));
    settle(&db);
    sim.set_hook(None);
    let images = std::mem::take(&mut *images.lock().expect("one thread"));
    assert!(images.len() > 100, "{} states", images.len());
    let mut seen = [0; 3];
    for image in images {
        let sim = Sim::from_image(1, &image);
        let db = open(&sim);
        let names = db.tables().expect("lists");
        let others: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "kept")
            .collect();
        let which = [&[][..], &["one"], &["two"]]
            .iter()
            .position(|names| *names == others);
        let which = which.expect("none, the one or the other");
        seen[which] += 1;
        if which == 2 {
            let table = db.table("two").expect("is there");
            let mut tx = db.begin();
            assert_eq!(tx.scan::<[u8], _>(&table, ..).expect("scans").count(), 60);
        }
        settle(&db);
        assert_sound(&db);
        if which == 0 {
            assert_eq!(used(&db), base, "nothing leaks");
        }
    }
    assert!(seen.iter().all(|&times| times > 0), "{seen:?}");
}

#[test]
fn ten_thousand_tables_are_no_trouble() {
    let sim = Sim::new(5);
    let options = |sim: &Sim| {
        Options::new()
            .io(sim.io())
            .background(false)
            .page_size(4096)
    };
    let db = options(&sim).open("d").expect("opens");
    for n in 0..10_000 {
        db.table(&format!("table {n:05}")).expect("makes");
    }
    let some = db.table("table 05000").expect("is there");
    db.put(&some, b"k", b"v").expect("puts");
    // A crash, with all of it in the log.
    let sim = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
    drop(db);
    let db = options(&sim).open("d").expect("recovers");
    assert_eq!(db.tables().expect("lists").len(), 10_000);
    let some = db.table("table 05000").expect("is there");
    assert_eq!(
        db.get(&some, b"k").expect("gets").as_deref(),
        Some(&b"v"[..])
    );
    for n in (0..10_000).filter(|n| n % 1000 != 0) {
        assert!(db.drop_table(&format!("table {n:05}")).expect("drops"));
    }
    settle(&db);
    let report = db.verify().expect("verifies");
    assert!(report.is_clean(), "{:?}", report.findings.first());
    assert_eq!((report.tables, report.pages_pending), (12, 0));
    assert!(used(&db) < 40, "{} pages for ten tables", used(&db));
}

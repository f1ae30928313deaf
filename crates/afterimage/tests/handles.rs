//! The promise: misuse is answered, not punished; closing is final; sizes and names have limits that are told.

use afterimage::{Database, Error, Options};
use afterimage_io::sim::Sim;

fn options(sim: &Sim) -> Options {
    Options::new().io(sim.io()).background(false)
}

#[test]
fn sizes_have_limits_and_the_limit_itself_is_fine() {
    let sim = Sim::new(1);
    let db = options(&sim).open("d").expect("opens");
    let table = db.table("t").expect("creates");
    let (key, value) = (vec![1; 1024], vec![2; 2048]);
    db.put(&table, &key, &value).expect("puts");
    assert_eq!(db.get(&table, &key).expect("gets"), Some(value.clone()));
    let long_key = vec![1; 1025];
    assert!(matches!(
        db.put(&table, &long_key, b""),
        Err(Error::KeyTooLarge {
            bytes: 1025,
            max: 1024
        })
    ));
    db.put(&table, b"", b"")
        .expect("the empty key and value are a key and a value");
    assert_eq!(db.get(&table, b"").expect("gets"), Some(Vec::new()));
    let mut tx = db.begin();
    assert!(matches!(
        tx.put(&table, &long_key, b""),
        Err(Error::KeyTooLarge { .. })
    ));
    tx.put(&table, b"k", b"v")
        .expect("such an error leaves the transaction as it was");
    tx.commit().expect("commits");
}

#[test]
fn the_largest_rows_fill_and_split_pages_of_every_size() {
    for page_size in [4096usize, 8192, 16384, 65536] {
        let sim = Sim::new(2);
        let segment = (8 * page_size as u64).max(64 << 10).next_power_of_two();
        let db = options(&sim)
            .page_size(page_size)
            .buffer_pool_size(8 * page_size as u64)
            .wal_segment_size(segment)
            .max_wal_size(8 * segment)
            .open("d")
            .expect("opens");
        let table = db.table("t").expect("creates");
        for n in 0..60u64 {
            let mut key = vec![b'k'; page_size / 8];
            key[page_size / 8 - 1 - (n % 3) as usize] = (n.wrapping_mul(37) % 251) as u8;
            key[0] = (n.wrapping_mul(101) % 7) as u8;
            db.put(&table, &key, &vec![n as u8; page_size / 4])
                .expect("puts");
        }
        let report = db.verify().expect("looks");
        assert!(report.is_clean(), "{page_size}: {report:?}");
        db.close().expect("closes");
        let db = Options::new()
            .io(sim.io())
            .background(false)
            .open("d")
            .expect("takes the page size from the database");
        assert!(db.verify().expect("looks").is_clean());
    }
}

#[test]
fn names_of_tables() {
    let sim = Sim::new(3);
    let db = options(&sim).open("d").expect("opens");
    assert!(matches!(db.table(""), Err(Error::BadTableName { .. })));
    assert!(matches!(
        db.table(&"x".repeat(256)),
        Err(Error::BadTableName { .. })
    ));
    let names: Vec<String> = (0..500).map(|n| format!("table {n:04}")).collect();
    for name in &names {
        db.table(name).expect("creates");
    }
    assert_eq!(db.tables().expect("lists"), names);
    assert_eq!(
        db.table("table 0007").expect("opens").id(),
        db.table("table 0007").expect("opens").id()
    );
    db.close().expect("closes");
    let db = options(&sim).open("d").expect("opens");
    assert_eq!(db.tables().expect("lists"), names);
    assert!(db.verify().expect("looks").is_clean());
}

#[test]
fn closing_is_final_for_everybody() {
    let sim = Sim::new(4);
    let db = options(&sim).open("d").expect("opens");
    let table = db.table("t").expect("creates");
    let other = db.clone();
    let mut tx = db.begin();
    tx.put(&table, b"k", b"v").expect("puts");
    db.close().expect("closes");
    assert!(matches!(other.get(&table, b"k"), Err(Error::Closed)));
    assert!(matches!(tx.put(&table, b"k", b"w"), Err(Error::Closed)));
    assert!(matches!(tx.commit(), Err(Error::Closed)));
    assert!(matches!(other.clone().close(), Err(Error::Closed)));
    let db = options(&sim).open("d").expect("the lock is free");
    assert!(
        !db.recovery_report().clean,
        "an unfinished transaction is left to recovery"
    );
    assert_eq!(db.recovery_report().losers, 1);
    assert_eq!(
        db.get(&db.table("t").expect("there"), b"k").expect("gets"),
        None
    );
    let stranger = other
        .begin()
        .put(&db.table("t").expect("there"), b"k", b"v");
    assert!(matches!(stranger, Err(Error::Closed)));
}

#[test]
fn a_table_of_another_handle_is_refused() {
    let sim = Sim::new(5);
    let one = options(&sim).open("one").expect("opens");
    let two = options(&sim).open("two").expect("opens");
    let table = one.table("t").expect("creates");
    assert!(matches!(
        two.put(&table, b"k", b"v"),
        Err(Error::BadTableName { .. })
    ));
}

#[test]
fn who_comes_second_is_told_who_was_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("d");
    let _db = Database::open(&path).expect("opens");
    match Database::open(&path) {
        Err(Error::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_database_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("letter.txt"), "dear").expect("writes");
    assert!(matches!(
        Database::open(directory.path()),
        Err(Error::NotADatabase { .. })
    ));
    let none = Options::new()
        .create(false)
        .open(directory.path().join("none"));
    assert!(matches!(none, Err(Error::NotADatabase { .. })));
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("lists").count(),
        1,
        "nothing was made"
    );
}

#[test]
fn settings_are_refused_by_name() {
    let bad = |options: Options, name: &str| match options.open("never made") {
        Err(Error::BadOption { name: found, .. }) => assert_eq!(found, name),
        other => panic!("{other:?}"),
    };
    bad(Options::new().page_size(5000), "page_size");
    bad(Options::new().buffer_pool_size(1), "buffer_pool_size");
    bad(Options::new().wal_segment_size(1 << 31), "wal_segment_size");
    bad(Options::new().max_wal_size(1 << 20), "max_wal_size");
    bad(
        Options::new().checkpoint_timeout(std::time::Duration::ZERO),
        "checkpoint_timeout",
    );
    bad(
        Options::new().wal_writer_delay(std::time::Duration::ZERO),
        "wal_writer_delay",
    );
}

#[test]
fn a_scan_goes_both_ways_and_meets_in_the_middle() {
    let sim = Sim::new(6);
    let db = options(&sim).page_size(4096).open("d").expect("opens");
    let table = db.table("t").expect("creates");
    for n in 0..1000u32 {
        db.put(&table, &n.to_be_bytes(), &[n as u8; 40])
            .expect("puts");
    }
    for n in (0..1000u32).filter(|n| n % 3 == 0) {
        assert!(db.delete(&table, &n.to_be_bytes()).expect("deletes"));
    }
    assert!(!db.delete(&table, b"not there").expect("deletes"));
    let expected: Vec<u32> = (0..1000).filter(|n| n % 3 != 0).collect();
    let key = |row: afterimage::Result<(Vec<u8>, Vec<u8>)>| {
        u32::from_be_bytes(row.expect("reads").0.try_into().expect("four bytes"))
    };
    let mut tx = db.begin();
    let all = |tx: &mut afterimage::Transaction| -> Vec<u32> {
        tx.scan::<[u8], _>(&table, ..)
            .expect("scans")
            .map(key)
            .collect()
    };
    assert_eq!(all(&mut tx), expected);
    let mut back: Vec<u32> = tx
        .scan::<[u8], _>(&table, ..)
        .expect("scans")
        .rev()
        .map(key)
        .collect();
    back.reverse();
    assert_eq!(back, expected);
    let (low, high) = (100u32.to_be_bytes(), 200u32.to_be_bytes());
    let inside = |n: &u32| (100..200).contains(n);
    let some: Vec<u32> = tx
        .scan(&table, low..high)
        .expect("scans")
        .map(key)
        .collect();
    assert_eq!(
        some,
        expected.iter().copied().filter(inside).collect::<Vec<_>>()
    );
    let closed: Vec<u32> = tx
        .scan(&table, low..=high)
        .expect("scans")
        .rev()
        .map(key)
        .collect();
    assert_eq!(closed.first(), Some(&200));
    let mut scan = tx.scan::<[u8], _>(&table, ..).expect("scans");
    let mut met = Vec::new();
    while let Some(front) = scan.next() {
        met.push(key(front));
        met.extend(scan.next_back().map(key));
    }
    met.sort_unstable();
    assert_eq!(met, expected, "each row once");
    drop(scan);
    tx.commit().expect("ends");
}

#[test]
fn a_panic_of_the_caller_only_rolls_its_transaction_back() {
    let sim = Sim::new(7);
    let db = options(&sim).open("d").expect("opens");
    let table = db.table("t").expect("creates");
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        db.transact(|tx| {
            tx.put(&table, b"k", b"v")?;
            std::panic::resume_unwind(Box::new("the caller's own trouble"));
            #[allow(unreachable_code, reason = "gives the closure its type")]
            Ok(())
        })
    }));
    assert!(outcome.is_err());
    assert_eq!(db.get(&table, b"k").expect("the engine goes on"), None);
    db.put(&table, b"k", b"w").expect("puts");
}

#[test]
fn who_is_shown_values_may_panic_and_may_close_the_database() {
    let sim = Sim::new(8);
    let db = options(&sim).open("d").expect("opens");
    let table = db.table("t").expect("creates");
    db.put(&table, b"small", b"v").expect("puts");
    db.put(&table, b"large", &[1; 50_000]).expect("puts");
    let snapshot = db.snapshot().expect("reads");
    for key in ["small", "large", "none"] {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            snapshot.get_many_with(&table, &[key], |_, _| {
                std::panic::resume_unwind(Box::new("the caller's own trouble"));
            })
        }));
        assert!(outcome.is_err());
        db.put(&table, b"other", b"w").expect("the engine goes on");
    }
    let mut shown = 0;
    let closed = snapshot.get_many_with(&table, &["small", "large"], |_, _| {
        shown += 1;
        db.clone().close().expect("closes");
    });
    assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
    assert_eq!(shown, 1);
}

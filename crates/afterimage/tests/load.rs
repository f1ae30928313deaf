//! The promise: a table that is loaded is there whole or not at all, whatever the order of its rows, their number and
//! their size, and nobody notices before; what is given up, or cut off, leaves nothing behind.

#![allow(
    clippy::disallowed_types,
    reason = "a hook collects disk states, and nobody waits for it"
)]

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use afterimage::{Database, Error, LoadOptions, Options, Progress};
use afterimage_io::sim::{CallKind, DiskState, Misread, RunEnd, Sim, Survival, Verdict};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(sim: &Sim) -> Options {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(16 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(512 << 10)
}

fn open(sim: &Sim) -> Database {
    options(sim).open("d").expect("opens")
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

/// A number whose order has nothing to do with that of `n`, and that no other `n` below 2^16 has.
fn scattered(n: u32) -> u32 {
    (n * 40_503) % (1 << 16)
}

fn row(n: u32) -> (Vec<u8>, Vec<u8>) {
    let key = format!("{:05}{}", n, "k".repeat((n % 40) as usize));
    let len = match n % 100 {
        7 => 1025 + n as usize % 9000,
        8 => 1024,
        n => n as usize,
    };
    (key.into_bytes(), vec![n as u8; len])
}

fn rows(numbers: impl Iterator<Item = u32>) -> Vec<(Vec<u8>, Vec<u8>)> {
    numbers.map(row).collect()
}

fn load(db: &Database, name: &str, options: LoadOptions, rows: &[(Vec<u8>, Vec<u8>)]) {
    let mut load = db.load_table(name, options).expect("begins");
    for (key, value) in rows {
        load.push(key, value).expect("pushes");
    }
    assert_eq!(load.rows(), rows.len() as u64);
    load.finish().expect("finishes");
}

fn read(db: &Database, name: &str) -> Rows {
    let table = db.table(name).expect("is there");
    let mut tx = db.begin();
    let scan = tx.scan::<[u8], _>(&table, ..).expect("scans");
    scan.map(|row| row.expect("reads")).collect()
}

/// Nothing but what belongs there.
fn assert_no_spilled_file(sim: &Sim) {
    let names = sim.io().list_dir("d".as_ref()).expect("lists");
    let spilled = names.iter().find(|name| name.starts_with("sorting"));
    assert_eq!(spilled, None);
}

#[test]
fn rows_in_order_and_in_none_make_the_same_table() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let in_order = rows(0..3000);
    let in_none = rows((0..1 << 16).map(scattered).filter(|&n| n < 3000));
    assert_eq!(in_none.len(), 3000);
    let expected: Rows = in_order.iter().cloned().collect();
    load(&db, "ordered", LoadOptions::new().sorted(true), &in_order);
    load(&db, "memory", LoadOptions::new(), &in_none);
    // Some thirty runs.
    load(
        &db,
        "runs",
        LoadOptions::new().sort_memory(64 << 10),
        &in_none,
    );
    load(&db, "empty", LoadOptions::new(), &[]);
    load(&db, "one", LoadOptions::new(), &in_none[..1]);
    assert_no_spilled_file(&sim);
    for name in ["ordered", "memory", "runs"] {
        assert!(read(&db, name) == expected, "{name}");
    }
    assert_eq!(read(&db, "empty"), Rows::new());
    assert_eq!(read(&db, "one").len(), 1);
    assert_sound(&db);
    // It is a table like any other.
    let table = db.table("runs").expect("is there");
    for n in (0..3000).step_by(3) {
        assert!(db.delete(&table, &row(n).0).expect("deletes"));
        db.put(&table, &row(n + 10_000).0, b"new").expect("puts");
    }
    settle(&db);
    assert_sound(&db);
    db.close().expect("closes");
    let db = open(&sim);
    assert!(read(&db, "ordered") == expected);
    assert_eq!(read(&db, "runs").len(), 3000);
    assert!(db.drop_table("ordered").expect("drops"));
    assert!(db.drop_table("memory").expect("drops"));
    settle(&db);
    assert_sound(&db);
}

#[test]
fn pages_are_filled_as_asked() {
    let sim = Sim::new(2);
    let db = open(&sim);
    let before = used(&db);
    // 104 bytes in a page's heap, and an entry of 6.
    let rows: Vec<_> = (0..4000)
        .map(|n| (format!("{n:020}").into_bytes(), vec![1; 81]))
        .collect();
    for (percent, leaves) in [(100, 4000 / 35), (95, 4000 / 34), (50, 4000 / 17)] {
        let options = LoadOptions::new().sorted(true).fill_percent(percent);
        load(&db, "t", options, &rows);
        // Inner pages too; and the leaf that is begun.
        let most = leaves + leaves / 50 + 3;
        let pages = used(&db) - before;
        assert!((leaves..=most).contains(&pages), "{percent}: {pages}");
        assert!(db.drop_table("t").expect("drops"));
        settle(&db);
    }
    // Long keys that differ in their last bytes alone: the fences are as long as they can be.
    let rows: Vec<_> = (0..2000)
        .map(|n| (format!("{}{n:08}", "x".repeat(504)).into_bytes(), vec![1]))
        .collect();
    load(&db, "t", LoadOptions::new().fill_percent(100), &rows);
    assert_sound(&db);
}

#[test]
fn more_than_the_log_may_hold_is_loaded() {
    let sim = Sim::new(3);
    let db = open(&sim);
    let (begin, max) = (db.stats().next_lsn, db.stats().max_wal_size);
    let mut load = db
        .load_table("t", LoadOptions::new().sorted(true))
        .expect("begins");
    let mut oldest = 0;
    for n in 0..20_000 {
        let (key, value) = (row(n).0, [n as u8; 100]);
        load.push(&key, &value).expect("pushes");
        if n % 100 == 0 {
            oldest = oldest.max(db.stats().checkpoint_age);
        }
    }
    // One value that is more than the log may hold.
    let huge = vec![9; 2 << 20];
    load.push_reader(b"huge", huge.len() as u64, &mut &huge[..])
        .expect("pushes");
    oldest = oldest.max(db.stats().checkpoint_age);
    load.finish().expect("finishes");
    assert!(oldest < max, "{oldest} of {max}");
    let stats = db.stats();
    assert!(stats.next_lsn - begin > 8 * max);
    assert_eq!(stats.checkpoints_timed, 0);
    let table = db.table("t").expect("is there");
    assert!(db.get(&table, b"huge").expect("gets").as_deref() == Some(&huge[..]));
    assert_eq!(read(&db, "t").len(), 20_001);
    assert_sound(&db);
}

#[test]
fn what_is_given_up_leaves_nothing() {
    let sim = Sim::new(4);
    let db = open(&sim);
    load(&db, "kept", LoadOptions::new(), &rows(0..10));
    settle(&db);
    let before = used(&db);
    for round in 0..3 {
        let mut load = db
            .load_table("gone", LoadOptions::new().sorted(round != 1))
            .expect("begins");
        for (key, value) in rows(0..3000) {
            load.push(&key, &value).expect("pushes");
        }
        assert_eq!(db.tables().expect("lists"), ["kept"]);
        assert_sound(&db);
        if round == 2 {
            let short = load.push_reader(b"x", 1 << 20, &mut &b"short"[..]);
            assert!(matches!(short, Err(Error::Reader { .. })), "{short:?}");
            let again = load.push(b"y", b"");
            assert!(matches!(again, Err(Error::Reader { .. })), "{again:?}");
            assert!(matches!(load.finish(), Err(Error::Reader { .. })));
        } else {
            drop(load);
        }
        settle(&db);
        assert_eq!(used(&db), before);
        assert_eq!(db.tables().expect("lists"), ["kept"]);
        assert_sound(&db);
    }
    // One that is left open when the database is closed.
    let mut load = db
        .load_table("left", LoadOptions::new().sort_memory(64 << 10))
        .expect("begins");
    for (key, value) in rows(0..3000) {
        load.push(&key, &value).expect("pushes");
    }
    db.clone().close().expect("closes");
    assert!(matches!(load.push(b"x", b""), Err(Error::Closed)));
    drop((load, db));
    let db = open(&sim);
    assert_no_spilled_file(&sim);
    settle(&db);
    assert_eq!(used(&db), before);
    assert_sound(&db);
}

#[test]
fn what_cannot_be_is_refused() {
    let sim = Sim::new(5);
    let db = open(&sim);
    db.table("there").expect("makes");
    let refused = |name: &str, options: LoadOptions| {
        let load = db.load_table(name, options);
        load.expect_err("refuses")
    };
    let default = LoadOptions::new();
    let error = refused("there", default.clone());
    assert!(matches!(error, Error::TableExists { .. }), "{error}");
    let error = refused("", default.clone());
    assert!(matches!(error, Error::BadTableName { .. }), "{error}");
    for options in [
        default.clone().fill_percent(49),
        default.clone().fill_percent(101),
        default.clone().sort_memory(65_535),
        default.clone().sort_memory(1 << 31),
    ] {
        let error = refused("t", options);
        assert!(matches!(error, Error::BadOption { .. }), "{error}");
    }
    // In order: a wrong row is refused, and the load goes on without it.
    let sorted = LoadOptions::new().sorted(true);
    let mut load = db.load_table("t", sorted.clone()).expect("begins");
    load.push(b"b", b"1").expect("pushes");
    let same = load.push(b"b", b"2");
    assert!(matches!(&same, Err(Error::DuplicateKey { key }) if key == b"b"));
    let below = load.push(b"a", b"3");
    assert!(matches!(&below, Err(Error::NotAscending { key }) if key == b"a"));
    let long = load.push(&[b'c'; 513], b"4");
    assert!(matches!(long, Err(Error::KeyTooLarge { .. })));
    load.push(b"c", b"5").expect("pushes");
    load.finish().expect("finishes");
    assert_eq!(read(&db, "t").len(), 2);
    // In none: the same key twice is found in the end, in memory and in two runs.
    for memory in [64 << 10, 64 << 20] {
        let options = LoadOptions::new().sort_memory(memory);
        let mut load = db.load_table("u", options).expect("begins");
        for (key, value) in rows(0..2000).iter().rev().chain(&rows(1000..1001)) {
            load.push(key, value).expect("pushes");
        }
        let twice = load.finish().expect_err("refuses");
        assert!(matches!(&twice, Error::DuplicateKey { key } if *key == row(1000).0));
    }
    // Somebody else was first.
    let load = db.load_table("u", sorted).expect("begins");
    db.table("u").expect("makes");
    assert!(matches!(load.finish(), Err(Error::TableExists { .. })));
    settle(&db);
    assert_no_spilled_file(&sim);
    assert_sound(&db);
}

/// A load may be made by one thread and filled by another, and two threads may load at the same time.
#[test]
fn threads_load_side_by_side() {
    let directory = tempfile::tempdir().expect("a directory");
    let db = Options::new()
        .buffer_pool_size(1 << 20)
        .wal_segment_size(1 << 20)
        .max_wal_size(8 << 20)
        .open(directory.path().join("d"))
        .expect("opens");
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let options = LoadOptions::new().sort_memory(256 << 10);
            let mut load = db.load_table(name, options).expect("begins");
            scope.spawn(move || {
                for n in (0..1 << 16).map(scattered) {
                    let (key, value) = row(n);
                    load.push(&key, &value).expect("pushes");
                }
                load.finish().expect("finishes");
            });
        }
    });
    for name in ["a", "b"] {
        assert!(read(&db, name) == rows(0..1 << 16).into_iter().collect::<Rows>());
    }
    assert_sound(&db);
    db.close().expect("closes");
}

#[test]
fn who_looks_from_before_sees_an_empty_table() {
    let sim = Sim::new(6);
    let db = open(&sim);
    let before = db.snapshot().expect("opens");
    load(&db, "t", LoadOptions::new(), &rows(0..100));
    let after = db.snapshot().expect("opens");
    let table = db.table("t").expect("is there");
    db.delete(&table, &row(1).0).expect("deletes");
    for (view, count) in [(&before, 0), (&after, 100)] {
        let scan = view.scan::<[u8], _>(&table, ..).expect("scans");
        assert_eq!(scan.count(), count);
        let scan = view.scan::<[u8], _>(&table, ..).expect("scans");
        assert_eq!(scan.rev().count(), count);
        let found = view.get(&table, &row(1).0).expect("gets");
        assert_eq!(found.is_some(), count > 0);
    }
}

#[test]
fn others_go_on_meanwhile() {
    let sim = Sim::new(7);
    let db = open(&sim);
    let other = db.table("other").expect("makes");
    let mut one = db
        .load_table("one", LoadOptions::new().sorted(true))
        .expect("begins");
    let mut two = db
        .load_table("two", LoadOptions::new().sorted(true))
        .expect("begins");
    for n in 0..1500 {
        let (key, value) = row(n);
        one.push(&key, &value).expect("pushes");
        two.push(&key, &value).expect("pushes");
        db.put(&other, &row(scattered(n)).0, &value).expect("puts");
        if n % 300 == 0 {
            db.checkpoint().expect("checkpoints");
            assert_sound(&db);
        }
        let _ = db.step().expect("steps");
    }
    drop(one);
    two.finish().expect("finishes");
    settle(&db);
    assert_eq!(read(&db, "two"), rows(0..1500).into_iter().collect());
    assert_eq!(read(&db, "other").len(), 1500);
    assert_sound(&db);
}

/// What is held is what was read and not yet written: far less than there are parts, whatever each is read in.
#[test]
fn sorting_keeps_to_its_memory_however_many_parts_there_are() {
    let sim = Sim::new(9);
    let db = open(&sim);
    let row = |n: u32| (format!("{n:05}").into_bytes(), vec![n as u8; 1000]);
    let rows: Vec<_> = (0..6000).map(|n| row(scattered(n))).collect();
    // Bytes of rows in parts: read at a stretch, the most of them, and all that were written.
    let counts = Arc::new(Mutex::new((0, 0, 0)));
    let counting = counts.clone();
    sim.set_hook_reads(true);
    sim.set_hook(Some(Box::new(move |call, _: &DiskState| {
        let (stretch, most, written) = &mut *counting.lock().expect("one thread");
        let parts = call.path.contains("sorting-");
        match call.kind {
            CallKind::Read if parts => *stretch += call.len,
            CallKind::Write => *stretch = 0,
            _ => {}
        }
        if parts && call.kind == CallKind::Write {
            *written += call.len;
        }
        *most = (*stretch).max(*most);
        Verdict::Continue
    })));
    let memory: u64 = 64 << 10;
    let options = LoadOptions::new().sort_memory(memory);
    load(&db, "t", options, &rows);
    sim.set_hook(None);
    let (_, most, written) = *counts.lock().expect("one thread");
    assert!(written > 80 * memory, "{written} bytes in parts");
    // At a stretch: all memory at first, and then what takes the place of rows that went on into leaves.
    assert!(most <= 4 * memory, "{most} bytes read at a stretch");
    assert!(read(&db, "t") == rows.into_iter().collect());
    assert_no_spilled_file(&sim);
    assert_sound(&db);
}

/// Rows and large values wait in files while others are sorted. A disk that loses a bit of them must not make rows of it
/// that look like any other.
#[test]
fn a_bit_lost_in_a_file_for_sorting_is_noticed() {
    let some: Vec<_> = rows((0..900).map(scattered));
    let attempt = |flipped: Option<(&'static str, usize)>| {
        let sim = Sim::new(9);
        let db = open(&sim);
        let mut load = db
            .load_table("t", LoadOptions::new().sort_memory(64 << 10))
            .expect("begins");
        for (key, value) in &some {
            load.push(key, value).expect("takes rows");
        }
        let mut reads = 0;
        sim.set_hook_reads(true);
        sim.set_hook(Some(Box::new(move |call, _: &DiskState| match flipped {
            Some((file, byte)) if call.kind == CallKind::Read && call.path.ends_with(file) => {
                reads += 1;
                match reads {
                    2 => Verdict::Misread(Misread::Flip(byte)),
                    _ => Verdict::Continue,
                }
            }
            _ => Verdict::Continue,
        })));
        let end = load.finish().map(drop);
        sim.set_hook(None);
        assert_eq!(db.tables().expect("lists").is_empty(), end.is_err());
        assert_sound(&db);
        end
    };
    attempt(None).expect("an honest disk");
    for file in ["-a", "-values"] {
        for byte in (0..200).step_by(3) {
            let end = attempt(Some((file, byte)));
            let right = match &end {
                Err(Error::Corruption { place, .. }) => place.contains("sorting-"),
                Err(Error::Reader { what }) => what.contains("sorting-"),
                _ => false,
            };
            assert!(right, "byte {byte} of a read of {file}: {end:?}");
        }
    }
}

/// What the thread of a load runs into while it sorts, and while it merges, is told to whoever loads; and where nobody takes
/// what it has merged, it ends.
#[test]
fn a_thread_that_sorts_tells_what_it_ran_into() {
    #[derive(Clone, Copy, Debug)]
    enum Ill {
        Nothing,
        Full(usize),
        Flip(usize),
        Twice,
        GivenUp,
    }
    let ills = [
        Ill::Nothing,
        Ill::Full(1),
        Ill::Full(7),
        Ill::Flip(2),
        Ill::Flip(8),
        Ill::Twice,
        Ill::GivenUp,
    ];
    for (seed, ill) in (0..21).zip(ills.into_iter().cycle()) {
        let sim = Sim::new(seed);
        let its = sim.clone();
        let body = move || {
            let db = open(&its);
            // Six parts or so, and more than fits between the two threads when they are merged.
            let mut some = rows((0..10_000).map(scattered));
            if matches!(ill, Ill::Twice) {
                some.push(row(0));
            }
            let (mut reads, mut writes) = (0, 0);
            its.set_hook_reads(true);
            its.set_hook(Some(Box::new(move |call, _: &DiskState| {
                if !call.path.ends_with("-a") || call.thread != "afterimage-load" {
                    return Verdict::Continue;
                }
                reads += usize::from(call.kind == CallKind::Read);
                writes += usize::from(call.kind == CallKind::Write);
                match (call.kind, ill) {
                    (CallKind::Write, Ill::Full(which)) if writes == which => {
                        Verdict::Error(ErrorKind::StorageFull)
                    }
                    (CallKind::Read, Ill::Flip(which)) if reads == which => {
                        Verdict::Misread(Misread::Flip(50))
                    }
                    _ => Verdict::Continue,
                }
            })));
            let options = LoadOptions::new().sort_memory(512 << 10);
            let mut load = db.load_table("t", options).expect("begins");
            let pushed = (some.iter()).try_for_each(|(key, value)| load.push(key, value));
            let end = match ill {
                Ill::GivenUp => pushed.map(|()| drop(load)),
                _ => pushed.and_then(|()| load.finish().map(drop)),
            };
            its.set_hook(None);
            let right = match (ill, &end) {
                (Ill::Nothing | Ill::GivenUp, Ok(())) => true,
                (Ill::Full(_), Err(Error::DiskFull { .. })) => true,
                (Ill::Flip(_), Err(Error::Corruption { place, .. })) => place.contains("sorting-"),
                (Ill::Twice, Err(Error::DuplicateKey { key })) => *key == row(0).0,
                _ => false,
            };
            assert!(right, "{ill:?}: {end:?}");
            if matches!(ill, Ill::Nothing) {
                assert!(read(&db, "t") == some.into_iter().collect());
            } else {
                assert_eq!(db.tables().expect("lists"), Vec::<String>::new());
            }
            assert_no_spilled_file(&its);
            assert_sound(&db);
        };
        let end = sim.run_threads(vec![("loader".to_owned(), Box::new(body))]);
        assert_eq!(end, RunEnd::Finished, "{ill:?}");
    }
}

/// Keys that begin alike, or with each other, or with zeroes, are as well sorted as any others.
#[test]
fn keys_that_have_much_in_common_come_in_order() {
    let alphabet: [&[u8]; 4] = [b"", b"\0", b"a", b"common "];
    let mut keys = vec![Vec::new()];
    for _ in 0..6 {
        let longer = |key: &Vec<u8>| alphabet.map(|more| [key, more].concat());
        keys = keys.iter().flat_map(longer).collect();
        keys.sort();
        keys.dedup();
    }
    for common in ["", "the same for all: "] {
        let numbered = (0..).zip(&keys);
        let all: BTreeMap<_, _> = numbered
            .map(|(n, key)| ([common.as_bytes(), key].concat(), vec![(n * 37) as u8]))
            .collect();
        // By their values, which have nothing to do with the keys' order: in memory, and in parts.
        let mut some: Vec<_> = all.clone().into_iter().collect();
        some.sort_by(|(_, one), (_, two)| one.cmp(two));
        for memory in [64 << 20, 64 << 10] {
            let sim = Sim::new(5);
            let db = open(&sim);
            load(&db, "t", LoadOptions::new().sort_memory(memory), &some);
            assert!(read(&db, "t") == all);
            assert_sound(&db);
        }
    }
}

#[test]
fn a_crash_leaves_the_table_whole_or_not_at_all() {
    let sim = Sim::new(8);
    let db = open(&sim);
    load(&db, "kept", LoadOptions::new(), &rows(0..10));
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
    let expected = rows(700..1400);
    let backwards: Vec<_> = expected.iter().rev().cloned().collect();
    let options = LoadOptions::new().sort_memory(64 << 10);
    load(&db, "t", options, &backwards);
    sim.set_hook(None);
    let expected: Rows = expected.into_iter().collect();
    let images = std::mem::take(&mut *images.lock().expect("one thread"));
    assert!(images.len() > 100, "{} states", images.len());
    let mut seen = [0; 2];
    for image in images {
        let sim = Sim::from_image(1, &image);
        let db = open(&sim);
        assert_no_spilled_file(&sim);
        let whole = db.tables().expect("lists") == ["kept", "t"];
        seen[usize::from(whole)] += 1;
        if whole {
            assert!(read(&db, "t") == expected);
        } else {
            assert_eq!(db.tables().expect("lists"), ["kept"]);
        }
        settle(&db);
        assert_sound(&db);
        if !whole {
            assert_eq!(used(&db), base, "nothing leaks");
        }
    }
    assert!(seen.iter().all(|&times| times > 0), "{seen:?}");
}

/// A snapshot that is older than a loaded table sees it empty, and leaves nothing in a buffer that it reads into.
#[test]
fn an_older_snapshot_reads_nothing_into_a_buffer() {
    let db = open(&Sim::new(1));
    let snapshot = db.snapshot().expect("opens");
    load(&db, "new", LoadOptions::new(), &rows(0..10));
    let table = db.table("new").expect("is there");
    let mut value = b"left over".to_vec();
    let there = snapshot.get_into(&table, &row(3).0, &mut value);
    assert!(!there.expect("reads") && value.is_empty());
    assert!(db.get_into(&table, &row(3).0, &mut value).expect("reads"));
    assert_eq!(value, row(3).1);
}

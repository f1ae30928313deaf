//! The promise of unlogged tables: empty after any stop that was not clean, whole after a clean close, and until then rows like
//! all others: rolled back, isolated, seen by snapshots.
//!
//! Public API, in a simulated world that loses its power at any call. `unlogged_kill.rs` has a real process killed.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use afterimage::{Database, Durability, Error, Options, Progress, Result, Table};
use afterimage_io::OpenMode;
use afterimage_io::sim::{Sim, Survival, Verdict};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn small(sim: &Sim) -> Options {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(8 * 4096)
        .unlogged_pool_size(8 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(1 << 20)
}

fn open(sim: &Sim) -> Database {
    small(sim).open("shop").expect("opens")
}

fn rows(db: &Database, table: &Table) -> Rows {
    let mut tx = db.begin();
    let scan = tx.scan::<[u8], _>(table, ..).expect("scans");
    scan.collect::<Result<_>>().expect("reads")
}

fn contents(db: &Database, table: &str) -> Rows {
    rows(db, &db.table(table).expect("there"))
}

/// What is wrong, and whether pages wait to be freed that nobody frees.
fn check(db: &Database, sim: &Sim) {
    let report = db.verify().expect("looks");
    assert!(report.is_clean(), "{:?}", report.findings);
    settle(db, sim);
    let report = db.verify().expect("looks");
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.pages_pending, 0);
}

/// All background work is done, also what waits until the log has been synced without anybody asking.
fn settle(db: &Database, sim: &Sim) {
    sim.io().sleep(Duration::from_secs(1));
    while db.step().expect("works") == Progress::Worked {}
}

fn after_crash(sim: &Sim, seed: u64) -> Sim {
    Sim::from_image(seed, &sim.snapshot().crash(&Survival::All))
}

#[test]
fn empty_after_a_crash_and_whole_after_a_close() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let (orders, sessions) = (
        db.table("orders").expect("creates"),
        db.unlogged_table("sessions").expect("creates"),
    );
    assert!(sessions.is_unlogged() && !orders.is_unlogged());
    assert_eq!(db.tables().expect("lists"), ["orders", "sessions"]);
    assert_eq!(db.unlogged_tables().expect("lists"), ["sessions"]);
    let mut model = Rows::new();
    for n in 0..300u32 {
        let (key, value) = (n.to_be_bytes().to_vec(), vec![n as u8; 40 * n as usize]);
        db.put(&sessions, &key, &value).expect("puts");
        model.insert(key, value);
    }
    db.put(&orders, b"1", b"kettle").expect("puts");
    assert_eq!(rows(&db, &sessions), model);
    check(&db, &sim);
    db.close().expect("closes");

    let sim = Sim::from_image(2, &sim.snapshot().crash(&Survival::None));
    let db = open(&sim);
    assert!(db.recovery_report().clean);
    assert_eq!(db.recovery_report().unlogged_emptied, 0);
    assert_eq!(contents(&db, "sessions"), model);
    check(&db, &sim);
    let sessions = db.table("sessions").expect("there");
    db.put(&sessions, b"late", b"").expect("puts");

    let sim = after_crash(&sim, 3);
    let db = open(&sim);
    assert_eq!(db.recovery_report().unlogged_emptied, 1);
    assert_eq!(contents(&db, "sessions"), Rows::new());
    assert_eq!(contents(&db, "orders").len(), 1);
    let sessions = db.unlogged_table("sessions").expect("there");
    db.put(&sessions, b"again", b"1").expect("puts");
    check(&db, &sim);
    db.close().expect("closes");
    let db = open(&sim);
    assert_eq!(contents(&db, "sessions").len(), 1);
}

/// A number from 0 to `below`, and the next state.
fn choose(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// What the two tables should hold.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    logged: Rows,
    unlogged: Rows,
}

/// Transactions over a logged and an unlogged table, with savepoints that nest, values of all sizes, ranges deleted. `done` is
/// told of each commit, before it is asked for and when it is acknowledged.
fn life(db: &Database, seed: u64, commits: u64, done: &mut dyn FnMut(&Model, bool)) -> Result<()> {
    let mut state = seed * 2 + 1;
    let (logged, unlogged) = (db.table("logged")?, db.unlogged_table("unlogged")?);
    let mut model = Model {
        logged: rows(db, &logged),
        unlogged: rows(db, &unlogged),
    };
    for _ in 0..commits {
        let mut tx = db.begin();
        let mut now = model.clone();
        let mut savepoints = Vec::new();
        let only_unlogged = choose(&mut state, 3) == 0;
        for _ in 0..12 {
            let to_unlogged = only_unlogged || choose(&mut state, 2) == 0;
            let (table, rows) = match to_unlogged {
                true => (&unlogged, &mut now.unlogged),
                false => (&logged, &mut now.logged),
            };
            let key = vec![b'k', choose(&mut state, 40) as u8];
            match choose(&mut state, 12) {
                0..=5 => {
                    let sizes = [0, 10, 300, 900, 3000, 20_000];
                    let size = sizes[choose(&mut state, sizes.len() as u64) as usize];
                    let value = vec![choose(&mut state, 250) as u8; size];
                    tx.put(table, &key, &value)?;
                    rows.insert(key, value);
                }
                6 | 7 => assert_eq!(tx.delete(table, &key)?, rows.remove(&key).is_some()),
                8 => {
                    let end = vec![b'k', key[1].saturating_add(5)];
                    let gone: Vec<_> = rows
                        .range(key.clone()..end.clone())
                        .map(|(k, _)| k.clone())
                        .collect();
                    assert_eq!(
                        tx.delete_range(table, &key[..]..&end[..])?,
                        gone.len() as u64
                    );
                    gone.iter().for_each(|key| drop(rows.remove(key)));
                }
                9 => {
                    let was = rows.get(&key).cloned();
                    assert!(tx.compare_and_swap(table, &key, was.as_deref(), Some(b"swapped"))?);
                    rows.insert(key, b"swapped".to_vec());
                }
                10 => savepoints.push((tx.savepoint()?, now.clone())),
                _ if !savepoints.is_empty() => {
                    let back = choose(&mut state, savepoints.len() as u64) as usize;
                    savepoints.truncate(back + 1);
                    tx.rollback_to(&savepoints[back].0)?;
                    now = savepoints[back].1.clone();
                }
                _ => {}
            }
        }
        for (table, rows) in [(&logged, &now.logged), (&unlogged, &now.unlogged)] {
            let all = tx.scan::<[u8], _>(table, ..)?.collect::<Result<Rows>>()?;
            assert_eq!(&all, rows);
        }
        if choose(&mut state, 3) == 0 {
            tx.rollback()?;
        } else {
            done(&now, false);
            tx.commit()?;
            done(&now, true);
            model = now;
        }
        assert_eq!(rows(db, &logged), model.logged);
        assert_eq!(rows(db, &unlogged), model.unlogged);
        if choose(&mut state, 4) == 0 {
            db.checkpoint()?;
        }
        while choose(&mut state, 3) == 0 && db.step()? == Progress::Worked {}
    }
    Ok(())
}

#[test]
fn transactions_over_both_kinds_are_what_a_model_says() {
    for seed in 0..12 {
        let sim = Sim::new(seed);
        let mut model = Model::default();
        for life_number in 0..3 {
            let db = open(&sim);
            assert_eq!(db.recovery_report().unlogged_emptied, 0);
            if life_number > 0 {
                assert_eq!(contents(&db, "logged"), model.logged, "seed {seed}");
                assert_eq!(contents(&db, "unlogged"), model.unlogged, "seed {seed}");
            }
            life(&db, seed * 10 + life_number, 25, &mut |now, _| {
                model = now.clone()
            })
            .expect("goes well");
            check(&db, &sim);
            db.close().expect("closes");
        }
    }
}

/// At any call the power goes, also in the middle of a close: what is there then is all of the unlogged rows where the stop was
/// clean, none of them where it was not; and the logged ones are those of the last commit or the one under way.
#[test]
fn a_crash_at_any_call_leaves_nothing_or_everything() {
    let sim = Sim::new(5);
    let mut before = Model::default();
    let db = open(&sim);
    life(&db, 1, 6, &mut |now, _| before = now.clone()).expect("goes well");
    db.close().expect("closes");
    let prepared = sim.snapshot().crash(&Survival::None);
    let (mut whole, mut empty, mut at) = (0, 0, 0);
    loop {
        let sim = Sim::from_image(5, &prepared);
        let (mut asked, mut acknowledged) = (before.clone(), before.clone());
        sim.set_hook(Some(Box::new(move |call, _| match call.index == at {
            true => Verdict::Crash,
            false => Verdict::Continue,
        })));
        let end = sim.catch(|| {
            let db = open(&sim);
            life(&db, 2, 3, &mut |now, is_done| match is_done {
                false => asked = now.clone(),
                true => acknowledged = now.clone(),
            })
            .expect("goes well");
            db.close().expect("closes");
        });
        sim.set_hook(None);
        for survival in [Survival::None, Survival::All, Survival::Random { seed: at }] {
            let after = Sim::from_image(at, &sim.snapshot().crash(&survival));
            let db = open(&after);
            let (logged, unlogged) = (contents(&db, "logged"), contents(&db, "unlogged"));
            assert!(
                logged == acknowledged.logged || logged == asked.logged,
                "call {at}"
            );
            let clean = db.recovery_report().clean;
            match clean {
                true => assert_eq!(unlogged, acknowledged.unlogged, "call {at}, {survival:?}"),
                false => assert_eq!(unlogged, Rows::new(), "call {at}, {survival:?}"),
            }
            whole += u64::from(clean);
            empty += u64::from(!clean);
            check(&db, &after);
        }
        if end.is_ok() {
            break;
        }
        at += 1;
    }
    assert!(whole > 5 && empty > 100, "{whole} whole, {empty} empty");
}

#[test]
fn a_file_that_is_not_the_last_stops_is_not_taken() {
    let sim = Sim::new(1);
    let put = |value: &[u8]| {
        let db = open(&sim);
        let table = db.unlogged_table("cache").expect("opens");
        db.put(&table, b"k", value).expect("puts");
        db.close().expect("closes");
    };
    let file = Path::new("shop/unlogged");
    put(b"old");
    let opened = |mode| sim.io().open(file, mode).expect("opens");
    let mut older = vec![0; opened(OpenMode::Read).len().expect("measures") as usize];
    let read = opened(OpenMode::Read).read_exact_at(0, &mut older);
    read.expect("reads");
    put(b"new");
    let db = open(&sim);
    assert_eq!(contents(&db, "cache").len(), 1);
    db.close().expect("closes");

    let written = opened(OpenMode::ReadWrite).write_all_at(0, &older);
    written.expect("writes");
    let db = open(&sim);
    assert!(db.recovery_report().clean);
    assert_eq!(db.recovery_report().unlogged_emptied, 1);
    assert_eq!(contents(&db, "cache"), Rows::new());
    db.close().expect("closes");

    put(b"new");
    sim.io().remove_file(file).expect("removes");
    let db = open(&sim);
    assert_eq!(db.recovery_report().unlogged_emptied, 1);
    assert_eq!(contents(&db, "cache"), Rows::new());
}

/// What the control file vouches for, and is damaged all the same: nothing is opened, nothing changed, until somebody decides to
/// give the rows up.
#[test]
fn a_damaged_file_refuses_the_open_until_it_is_removed() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let (cache, orders) = (
        db.unlogged_table("cache").expect("opens"),
        db.table("orders").expect("opens"),
    );
    db.put(&cache, b"k", b"v").expect("puts");
    db.put(&orders, b"k", b"v").expect("puts");
    db.close().expect("closes");
    let file = Path::new("shop/unlogged");
    let opened = sim.io().open(file, OpenMode::ReadWrite).expect("opens");
    opened.write_all_at(4096 + 200, b"damage").expect("writes");
    let refused = small(&sim).open("shop").expect_err("refuses");
    match refused {
        Error::PageCorrupt { page: 1, file, .. } => assert!(file.ends_with("unlogged")),
        other => panic!("{other}"),
    }
    sim.io().remove_file(file).expect("removes");
    let db = open(&sim);
    assert!(
        db.recovery_report().clean,
        "the refused open changed nothing"
    );
    assert_eq!(contents(&db, "cache"), Rows::new());
    assert_eq!(contents(&db, "orders").len(), 1);
}

#[test]
fn names_survive_a_crash_and_rows_do_not() {
    let sim = Sim::new(1);
    let db = open(&sim);
    for name in ["a", "b", "c"] {
        let table = db.unlogged_table(name).expect("makes");
        db.put(&table, b"k", &vec![1; 30_000]).expect("puts");
    }
    let logged = db.table("logged").expect("makes");
    let refused = db.unlogged_table("logged").expect_err("it is logged");
    assert!(matches!(refused, Error::TableExists { .. }), "{refused}");
    let before = db.snapshot_latest().expect("looks");
    let gone = db.table("b").expect("there");
    assert!(db.drop_table("b").expect("drops"));
    db.rename_table("c", "d").expect("renames");
    assert_eq!(db.unlogged_tables().expect("lists"), ["a", "d"]);
    // Who looks at an older moment still sees it, and as long as that is so its pages stay.
    assert!(before.get(&gone, b"k").expect("sees").is_some());
    settle(&db, &sim);
    assert!(before.get(&gone, b"k").expect("sees").is_some());
    drop(before);
    assert!(matches!(
        db.get(&gone, b"k"),
        Err(Error::NoSuchTable { .. })
    ));
    check(&db, &sim);
    let again = db.unlogged_table("b").expect("makes");
    assert_eq!(rows(&db, &again), Rows::new());
    db.put(&logged, b"k", b"").expect("puts");

    let sim = after_crash(&sim, 2);
    let db = open(&sim);
    assert_eq!(db.tables().expect("lists"), ["a", "b", "d", "logged"]);
    assert_eq!(db.unlogged_tables().expect("lists"), ["a", "b", "d"]);
    for name in ["a", "b", "d"] {
        assert_eq!(contents(&db, name), Rows::new());
    }
    check(&db, &sim);
}

/// So many that the tree of their roots has several pages.
#[test]
fn many_tables() {
    let sim = Sim::new(1);
    let name = |n: u32| format!("table {n}");
    let db = small(&sim)
        .synchronous_commit(Durability::Memory)
        .open("shop")
        .expect("opens");
    for n in 0..600 {
        let table = db.unlogged_table(&name(n)).expect("makes");
        db.put(&table, b"n", &n.to_le_bytes()).expect("puts");
    }
    for n in (0..600).step_by(3) {
        db.drop_table(&name(n)).expect("drops");
    }
    check(&db, &sim);
    db.close().expect("closes");
    let db = open(&sim);
    assert_eq!(db.unlogged_tables().expect("lists").len(), 400);
    for n in (0..600u32).filter(|n| n % 3 > 0) {
        let row = Rows::from([(b"n".to_vec(), n.to_le_bytes().to_vec())]);
        assert_eq!(contents(&db, &name(n)), row);
    }
    check(&db, &sim);
    let sim = after_crash(&sim, 2);
    let db = open(&sim);
    assert_eq!(db.recovery_report().unlogged_emptied, 400);
    for n in (0..600u32).filter(|n| n % 3 > 0) {
        assert_eq!(contents(&db, &name(n)), Rows::new());
    }
    check(&db, &sim);
}

#[test]
fn what_a_dropped_table_had_is_freed_after_a_close_too() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let kept = db.unlogged_table("kept").expect("makes");
    let gone = db.unlogged_table("gone").expect("makes");
    for n in 0..200u8 {
        db.put(&gone, &[n], &vec![n; 100 * n as usize])
            .expect("puts");
        db.put(&kept, &[n], &[n]).expect("puts");
    }
    db.drop_table("gone").expect("drops");
    db.close().expect("closes");
    let db = open(&sim);
    assert_eq!(contents(&db, "kept").len(), 200);
    check(&db, &sim);
}

#[test]
fn readers_and_writers_keep_out_of_each_others_way() {
    let sim = Sim::new(1);
    let db = small(&sim)
        .lock_timeout(Duration::from_millis(1))
        .open("shop")
        .expect("opens");
    let table = db.unlogged_table("t").expect("makes");
    db.put(&table, b"a", b"1").expect("puts");
    db.put(&table, b"b", b"1").expect("puts");
    let old = db.snapshot_latest().expect("looks");
    let mut tx = db.begin();
    tx.put(&table, b"a", b"2").expect("puts");
    tx.delete(&table, b"b").expect("deletes");
    tx.put(&table, b"c", &vec![2; 10_000]).expect("puts");
    // Nobody sees it, or gets in.
    let mut other = db.begin();
    for key in [b"a", b"b", b"c"] {
        let waited = other.get(&table, key).expect_err("it is locked");
        assert!(matches!(waited, Error::LockTimeout { .. }), "{waited}");
    }
    drop(other);
    let meanwhile = db.snapshot_latest().expect("looks");
    let seen = |snapshot: &afterimage::Snapshot| {
        let scan = snapshot.scan::<[u8], _>(&table, ..).expect("scans");
        scan.collect::<Result<Rows>>().expect("reads")
    };
    assert_eq!(seen(&meanwhile), seen(&old));
    let ticket = tx.commit_ticket().expect("commits");
    assert!(ticket.lsn().is_some());
    let after = db.snapshot_latest().expect("looks");
    assert_eq!(seen(&after).len(), 2);
    assert_eq!(seen(&meanwhile).len(), 2);
    assert_eq!(seen(&meanwhile), seen(&old));
    assert_eq!(seen(&old)[&b"a"[..]], b"1");
    assert_eq!(seen(&after)[&b"a"[..]], b"2");
    // What is durable follows when somebody syncs.
    let logged = db.table("logged").expect("makes");
    db.put(&logged, b"k", b"").expect("puts");
    assert_eq!(seen(&db.snapshot().expect("looks")), seen(&after));
    drop((old, meanwhile, after));
    check(&db, &sim);
}

/// A commit of unlogged rows alone waits for no sync, except for what it has read.
#[test]
fn a_commit_waits_for_what_it_rests_on_alone() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let (logged, unlogged) = (
        db.table("logged").expect("makes"),
        db.unlogged_table("unlogged").expect("makes"),
    );
    let syncs = || db.stats().wal_syncs;
    let before = syncs();
    for n in 0..50u8 {
        db.put(&unlogged, &[n], &[n]).expect("puts");
        assert_eq!(db.get(&unlogged, &[n]).expect("reads"), Some(vec![n]));
    }
    db.put(&unlogged, b"large", &vec![1; 50_000]).expect("puts");
    assert_eq!(syncs(), before);

    let mut tx = db.begin();
    tx.set_durability(Durability::Memory);
    tx.put(&logged, b"k", b"v").expect("puts");
    tx.put(&unlogged, b"k", b"v").expect("puts");
    tx.commit().expect("commits");
    assert_eq!(syncs(), before);
    let mut tx = db.begin();
    assert!(tx.get(&unlogged, b"k").expect("reads").is_some());
    tx.put(&unlogged, b"seen", b"k").expect("puts");
    tx.commit().expect("commits");
    assert!(syncs() > before, "it has read what was not durable");
}

#[test]
fn memory_for_taking_back_is_bounded() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let table = db.unlogged_table("t").expect("makes");
    db.put(&table, b"first", b"1").expect("puts");
    let mut tx = db.begin();
    let error = (0..u32::MAX)
        .find_map(|n| tx.put(&table, &n.to_be_bytes(), &[0; 100]).err())
        .expect("it is bounded");
    match error {
        Error::TransactionTooBig { bytes, max } => assert!(max == 8 * 4096 && bytes > max),
        other => panic!("{other}"),
    }
    let ended = tx
        .get(&table, b"first")
        .expect_err("it has been rolled back");
    assert!(matches!(ended, Error::TransactionTooBig { .. }), "{ended}");
    assert_eq!(rows(&db, &table).len(), 1);
    // What it had kept is free again.
    for n in 0..1000u32 {
        db.put(&table, &n.to_be_bytes(), &[0; 100]).expect("puts");
    }
    check(&db, &sim);
}

/// One that has changed much and does nothing more shuts nobody out: it is rolled back when others need the memory.
#[test]
fn an_idle_transaction_gives_way() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let table = db.unlogged_table("t").expect("makes");
    let (mut idle, mut small) = (db.begin(), db.begin());
    small.put(&table, b"small", b"1").expect("puts");
    let mut n = 0u32;
    while db.stats().unlogged_kept_bytes < 8 * 4096 - 600 {
        idle.put(&table, &n.to_be_bytes(), &[0; 100]).expect("puts");
        n += 1;
    }
    db.put(&table, b"other", b"2").expect("it has room");
    small.put(&table, b"more", &[7; 900]).expect("it has room");
    let ended = idle.get(&table, b"x").expect_err("it was rolled back");
    assert!(
        matches!(ended, Error::TransactionTooBig { bytes, max } if bytes > max / 2 && bytes <= max),
        "{ended}"
    );
    small.commit().expect("commits");
    let found: Vec<_> = rows(&db, &table).into_keys().collect();
    assert_eq!(found, [&b"more"[..], b"other", b"small"]);
    check(&db, &sim);
}

/// With a transaction left open, which a recovery would have to take back: it is taken back now, so that the stop is clean.
#[test]
fn a_close_takes_open_transactions_back() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let (logged, unlogged) = (
        db.table("logged").expect("makes"),
        db.unlogged_table("unlogged").expect("makes"),
    );
    db.put(&unlogged, b"k", b"committed").expect("puts");
    let (mut mixed, mut alone) = (db.begin(), db.begin());
    mixed.put(&logged, b"k", b"not").expect("puts");
    mixed.put(&unlogged, b"k", b"not").expect("puts");
    alone.put(&unlogged, b"l", b"not").expect("puts");
    db.close().expect("closes");
    assert!(matches!(alone.commit(), Err(Error::Closed)));
    drop(mixed);
    let db = open(&sim);
    assert!(db.recovery_report().clean);
    let committed = Rows::from([(b"k".to_vec(), b"committed".to_vec())]);
    assert_eq!(contents(&db, "unlogged"), committed);
    assert_eq!(contents(&db, "logged"), Rows::new());
}

/// The same rows again and again, the same large values: the file stops growing.
#[test]
fn pages_are_used_again() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let table = db.unlogged_table("t").expect("makes");
    let length = || {
        let file = sim.io().open(Path::new("shop/unlogged"), OpenMode::Read);
        file.expect("opens").len().expect("measures")
    };
    let mut state = 7;
    let mut turn = || {
        for _ in 0..400 {
            let key = [choose(&mut state, 60) as u8];
            let size = [20, 700, 9000][choose(&mut state, 3) as usize];
            db.put(&table, &key, &vec![1; size]).expect("puts");
            db.delete(&table, &[choose(&mut state, 60) as u8])
                .expect("deletes");
            sim.io().sleep(Duration::from_millis(20));
            let _ = db.step().expect("works");
        }
        length()
    };
    let first = (turn(), turn()).1;
    let later = (0..6).map(|_| turn()).max().expect("some");
    assert!(later <= first + first / 4, "{first} bytes, then {later}");
    db.delete_all(&table);
    check(&db, &sim);
}

trait DeleteAll {
    fn delete_all(&self, table: &Table);
}

impl DeleteAll for Database {
    fn delete_all(&self, table: &Table) {
        self.transact(|tx| tx.delete_range::<[u8], _>(table, ..))
            .expect("deletes");
    }
}

#[test]
fn values_are_streamed() {
    let sim = Sim::new(1);
    let db = small(&sim)
        .unlogged_pool_size(16 * 4096)
        .open("shop")
        .expect("opens");
    let table = db.unlogged_table("t").expect("makes");
    // Longer than the pool, and than half of max_wal_size, which has nothing to do with it.
    let value: Vec<u8> = (0..900_000u32).map(|n| (n % 251) as u8).collect();
    let len = value.len() as u64;
    let logged = db.stats().wal_bytes;
    db.transact(|tx| tx.put_reader(&table, b"k", len, &mut &value[..]))
        .expect("puts");
    assert!(db.stats().wal_bytes - logged < 1000);
    let snapshot = db.snapshot_latest().expect("looks");
    db.delete(&table, b"k").expect("deletes");
    let reader = snapshot.get_reader(&table, b"k").expect("looks");
    let mut read = Vec::new();
    let mut reader = reader.expect("is there");
    reader.read_to_end(&mut read).expect("reads");
    assert_eq!(read, value);
    // A reader that fails half way leaves the transaction as it was.
    let mut tx = db.begin();
    tx.put(&table, b"before", b"1").expect("puts");
    let short = tx.put_reader(&table, b"k", len, &mut &value[..100_000]);
    assert!(matches!(short, Err(Error::Reader { .. })));
    assert_eq!(tx.get(&table, b"k").expect("reads"), None);
    tx.put(&table, b"k", &value[..50_000]).expect("puts");
    let mut reader = tx
        .get_reader(&table, b"k")
        .expect("looks")
        .expect("is there");
    let mut piece = [0; 10];
    assert_eq!(reader.read_at(49_995, &mut piece).expect("reads"), 5);
    assert_eq!(piece[..5], value[49_995..50_000]);
    tx.commit().expect("commits");
    drop(snapshot);
    assert_eq!(rows(&db, &table).len(), 2);
    check(&db, &sim);
}

/// Threads as they come, on a real disk: money moves between unlogged accounts, and a logged table counts how often.
#[test]
fn threads_move_money_between_unlogged_accounts() {
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = scratch.path().join("bank");
    let options = || Options::new().page_size(4096).unlogged_pool_size(8 * 4096);
    let db = options().open(&directory).expect("opens");
    let (counts, accounts) = (
        db.table("counts").expect("makes"),
        db.unlogged_table("accounts").expect("makes"),
    );
    let amount = |value: &[u8]| u64::from_le_bytes(value[..8].try_into().expect("eight bytes"));
    // A few to a page, so that the pool does not hold them all.
    let row = |amount: u64| [amount.to_le_bytes().to_vec(), vec![0; 700]].concat();
    for n in 0..80u8 {
        db.put(&accounts, &[n], &row(100)).expect("puts");
    }
    std::thread::scope(|scope| {
        for client in 0..4u8 {
            let (db, counts, accounts) = (&db, &counts, &accounts);
            scope.spawn(move || {
                let mut state = u64::from(client) + 1;
                for turn in 0..60u64 {
                    let (from, to) = (choose(&mut state, 80) as u8, choose(&mut state, 80) as u8);
                    let moved = db.transact(|tx| {
                        tx.set_durability(Durability::Memory);
                        let left = amount(&tx.get(accounts, &[from])?.expect("is there"));
                        tx.put(accounts, &[from], &row(left.saturating_sub(7)))?;
                        let there = amount(&tx.get(accounts, &[to])?.expect("is there"));
                        tx.put(accounts, &[to], &row(there + left.min(7)))?;
                        tx.put(counts, &[client], &(turn + 1).to_le_bytes())
                    });
                    moved.expect("moves");
                    let snapshot = db.snapshot_latest().expect("looks");
                    let scan = snapshot.scan::<[u8], _>(accounts, ..).expect("scans");
                    let sum: u64 = scan.map(|row| amount(&row.expect("reads").1)).sum();
                    assert_eq!(sum, 80 * 100);
                }
            });
        }
    });
    assert!(db.verify().expect("looks").is_clean());
    let before = rows(&db, &accounts);
    db.close().expect("closes");
    let db = options().open(&directory).expect("opens");
    assert_eq!(contents(&db, "accounts"), before);
    assert!(
        contents(&db, "counts")
            .values()
            .all(|turns| amount(turns) == 60)
    );
}

/// An error of the file stops the engine, as any other that leaves unknown what the disk holds; the next open begins anew.
#[test]
fn a_failed_write_stops_the_engine() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let table = db.unlogged_table("t").expect("makes");
    sim.set_hook(Some(Box::new(|call, _| {
        match call.path.ends_with("unlogged") && call.data.len() >= 4096 {
            true => Verdict::OsError(5),
            false => Verdict::Continue,
        }
    })));
    let failed = (0..2000u32).find_map(|n| db.put(&table, &n.to_be_bytes(), &[0; 900]).err());
    sim.set_hook(None);
    assert!(failed.is_some(), "the pool is small");
    let stopped = db.put(&table, b"k", b"v").expect_err("it has stopped");
    assert!(matches!(stopped, Error::LogFailed { .. }), "{stopped}");
    assert!(db.close().is_err());
    let db = open(&sim);
    assert_eq!(contents(&db, "t"), Rows::new());
}

fn bytes_of(sim: &Sim, file: &str) -> Vec<u8> {
    let file = sim.io().open(&Path::new("shop").join(file), OpenMode::Read);
    let file = file.expect("opens");
    let mut bytes = vec![0; file.len().expect("measures") as usize];
    file.read_exact_at(0, &mut bytes).expect("reads");
    bytes
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn id(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().expect("sixteen bytes"))
}

/// With the offsets of docs/format.md, by hand.
#[test]
fn the_file_is_what_the_format_says() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let table = db.unlogged_table("t").expect("makes");
    for n in 0..100u8 {
        db.put(&table, &[n], &vec![n; 300 * usize::from(n)])
            .expect("puts");
    }
    db.close().expect("closes");
    let (control, file) = (bytes_of(&sim, "control"), bytes_of(&sim, "unlogged"));
    let copies = control.chunks(4096);
    let control = copies.max_by_key(|copy| number(copy, 80)).expect("two");
    assert_eq!(control[68], 1, "the stop was clean");
    let (database, timeline) = (id(control, 32), id(control, 48));
    let checkpoint = number(control, 128 + 16);
    assert_eq!(&file[96..104], b"AFTRPAGE");
    assert_eq!(id(&file, 112), database);
    assert_eq!(id(&file, 128), database ^ timeline);
    let mut kinds = [0; 7];
    for (page, bytes) in (0u64..).zip(file.chunks(4096)) {
        if bytes.iter().all(|&byte| byte == 0) {
            continue;
        }
        kinds[usize::from(bytes[6])] += 1;
        let lsn = if page == 0 { checkpoint } else { 0 };
        assert_eq!((number(bytes, 8), number(bytes, 16)), (page, lsn));
    }
    assert!(
        kinds[1] == 1 && kinds[2] == 1 && kinds[3] > 3 && kinds[5] > 100,
        "{kinds:?}"
    );
    // The roots, on page 2 of tree 3; pending-free, on page 3 of tree 4.
    for (page, tree) in [(2, 3), (3, 4)] {
        let bytes = &file[page * 4096..][..4096];
        assert_eq!((bytes[6], bytes[24]), (3, tree), "a leaf of its own tree");
    }
    let roots = &file[2 * 4096..][..4096];
    let key = table.id().to_be_bytes();
    let at = roots.windows(4).rposition(|window| window == key);
    let root = number(roots, at.expect("its key is there") + 4) as usize;
    let root = &file[root * 4096..][..4096];
    assert_eq!(u32::from(root[24]), table.id());
}

#[test]
fn verify_looks_into_the_file_too() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let table = db.unlogged_table("t").expect("makes");
    for n in 0..200u8 {
        db.put(&table, &[n], &[n; 500]).expect("puts");
    }
    db.close().expect("closes");
    let file = bytes_of(&sim, "unlogged");
    let leaf = |page: &[u8]| page[6] == 3 && u32::from(page[24]) == table.id();
    let damaged = file.chunks(4096).rposition(leaf).expect("a leaf with rows");
    let opened = sim
        .io()
        .open(Path::new("shop/unlogged"), OpenMode::ReadWrite);
    let written = opened
        .expect("opens")
        .write_all_at(damaged as u64 * 4096 + 2000, b"damage");
    written.expect("writes");
    let db = open(&sim);
    assert_eq!(db.recovery_report().unlogged_emptied, 0);
    let findings = db.verify().expect("looks").findings;
    let place = format!("unlogged at offset {}", damaged * 4096);
    assert!(
        findings
            .iter()
            .any(|finding| finding.place == place && finding.table.as_deref() == Some("t")),
        "{findings:?}"
    );
}

/// An open that fails has not lost anything: nothing crashed, and nobody has written.
#[test]
fn an_open_that_fails_empties_nothing() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let table = db.unlogged_table("t").expect("makes");
    db.put(&table, b"k", b"v").expect("puts");
    db.close().expect("closes");
    let prepared = sim.snapshot().crash(&Survival::All);
    let rows = Rows::from([(b"k".to_vec(), b"v".to_vec())]);
    let mut refused = 0;
    for at in 0..40 {
        let sim = Sim::from_image(1, &prepared);
        // The state of a control file whose write has failed is not known.
        sim.set_hook(Some(Box::new(move |call, _| {
            match call.index == at && !call.path.ends_with("control") {
                true => Verdict::OsError(24),
                false => Verdict::Continue,
            }
        })));
        let opened = small(&sim).open("shop");
        sim.set_hook(None);
        let is_open = opened.is_ok();
        drop(opened);
        let db = open(&sim);
        assert_eq!(contents(&db, "t"), rows, "call {at}, open: {is_open}");
        refused += u32::from(!is_open);
    }
    assert!(refused >= 3, "{refused} opens failed");
}

/// Once there are no unlogged tables any more, there is no file for them either.
#[test]
fn the_file_goes_with_the_last_table() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let table = db.unlogged_table("t").expect("makes");
    db.put(&table, b"k", b"v").expect("puts");
    drop(table);
    db.drop_table("t").expect("drops");
    db.close().expect("closes");
    let db = open(&sim);
    let there = || sim.io().exists(Path::new("shop/unlogged")).expect("looks");
    assert!(!there());
    let table = db.unlogged_table("t").expect("makes");
    db.put(&table, b"k", b"w").expect("puts");
    db.close().expect("closes");
    assert!(there());
    let kept = Rows::from([(b"k".to_vec(), b"w".to_vec())]);
    assert_eq!(contents(&open(&sim), "t"), kept);
}

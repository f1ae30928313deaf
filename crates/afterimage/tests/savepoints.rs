//! Part of a transaction is taken back, through the log like the whole of one: what stands is what a model says, in the
//! transaction, after its commit, and after a crash at any call.

use std::collections::BTreeMap;
use std::time::Duration;

use afterimage::{Database, Error, Options, PinHolder, Result, Table};
use afterimage_io::sim::{Sim, Survival, Verdict};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn small(sim: &Sim) -> Options {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(16 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(1 << 20)
}

fn rows(db: &Database, table: &Table) -> Rows {
    let mut tx = db.begin();
    let scan = tx.scan::<[u8], _>(table, ..).expect("scans");
    scan.collect::<Result<_>>().expect("reads")
}

/// A number from 0 to `below`, and the next state: choices that are the same in every run of a seed.
fn choose(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// Transactions of puts, deletes and savepoints that nest; answers what should be there, and what would be without the
/// last one.
fn life(db: &Database, seed: u64, done: &mut (Rows, Rows)) -> Result<()> {
    let mut state = seed * 2 + 1;
    let table = db.table("rows")?;
    let mut model = Rows::new();
    for _ in 0..8 {
        let mut tx = db.begin();
        let mut now = model.clone();
        let mut savepoints = Vec::new();
        for _ in 0..30 {
            let key = vec![b'k', choose(&mut state, 12) as u8];
            match choose(&mut state, 10) {
                0..=4 => {
                    let value =
                        vec![choose(&mut state, 250) as u8; choose(&mut state, 900) as usize];
                    tx.put(&table, &key, &value)?;
                    now.insert(key, value);
                }
                5 | 6 => {
                    assert_eq!(tx.delete(&table, &key)?, now.remove(&key).is_some());
                }
                7 => savepoints.push((tx.savepoint()?, now.clone())),
                8 if !savepoints.is_empty() => {
                    let back = choose(&mut state, savepoints.len() as u64) as usize;
                    savepoints.truncate(back + 1);
                    tx.rollback_to(&savepoints[back].0)?;
                    now = savepoints[back].1.clone();
                }
                _ if !savepoints.is_empty() => {
                    let from = choose(&mut state, savepoints.len() as u64) as usize;
                    let mut gone = savepoints.drain(from..);
                    let (savepoint, _) = gone.next().expect("one at least");
                    tx.release(savepoint)?;
                }
                _ => {}
            }
            let all = tx.scan::<[u8], _>(&table, ..)?.collect::<Result<Rows>>()?;
            assert_eq!(all, now);
        }
        if choose(&mut state, 3) == 0 {
            tx.rollback()?;
        } else {
            done.1 = now.clone();
            tx.commit()?;
            model = now;
        }
        done.0 = model.clone();
        done.1 = model.clone();
        assert_eq!(rows(db, &table), model);
    }
    Ok(())
}

#[test]
fn what_stands_is_what_a_model_says() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let db = small(&sim).open("db").expect("opens");
        let mut done = Default::default();
        life(&db, seed, &mut done).expect("lives");
        drop(db);
        let db = small(&sim).open("db").expect("opens again");
        let table = db.table("rows").expect("is there");
        assert_eq!(rows(&db, &table), done.0, "seed {seed}");
        assert!(db.verify().expect("looks").is_clean());
    }
}

#[test]
fn a_crash_leaves_the_commits_and_nothing_else() {
    let whole = Sim::new(3);
    let db = small(&whole).open("db").expect("opens");
    life(&db, 3, &mut Default::default()).expect("lives");
    drop(db);
    let calls = whole.calls();
    for at in (0..calls).step_by(7) {
        let sim = Sim::new(3);
        sim.set_hook(Some(Box::new(move |call, _| match call.index == at {
            true => Verdict::Crash,
            false => Verdict::Continue,
        })));
        let mut done: (Rows, Rows) = Default::default();
        let crashed = sim.catch(|| {
            let db = small(&sim).open("db").expect("opens");
            life(&db, 3, &mut done)
        });
        assert!(crashed.is_err(), "call {at} of {calls}");
        for survival in [Survival::None, Survival::All, Survival::Random { seed: at }] {
            let after = Sim::from_image(1, &sim.snapshot().crash(&survival));
            let db = small(&after).open("db").expect("recovers");
            let table = db.table("rows").expect("is there");
            let found = rows(&db, &table);
            assert!(
                found == done.0 || found == done.1,
                "call {at}, {survival:?}: neither with the last commit nor without"
            );
            assert!(db.verify().expect("looks").is_clean());
        }
    }
}

#[test]
fn a_savepoint_of_another_time_or_transaction_is_refused() {
    let sim = Sim::new(1);
    let db = small(&sim).open("db").expect("opens");
    let table = db.table("rows").expect("makes");
    let mut tx = db.begin();
    let first = tx.savepoint().expect("sets");
    tx.put(&table, b"a", b"1").expect("puts");
    let second = tx.savepoint().expect("sets");
    tx.put(&table, b"b", b"2").expect("puts");
    tx.rollback_to(&first).expect("goes back");
    let gone = tx.rollback_to(&second).expect_err("it is gone");
    assert!(matches!(gone, Error::NoSuchSavepoint), "{gone}");
    let mut other = db.begin();
    let foreign = other.rollback_to(&first).expect_err("it is not its own");
    assert!(matches!(foreign, Error::NoSuchSavepoint), "{foreign}");
    // Neither has harmed anything.
    tx.put(&table, b"c", b"3").expect("puts");
    tx.rollback_to(&first).expect("goes back again");
    tx.put(&table, b"d", b"4").expect("puts");
    tx.release(first).expect("forgets it");
    tx.commit().expect("commits");
    assert_eq!(rows(&db, &table).into_keys().collect::<Vec<_>>(), [b"d"]);
}

#[test]
fn what_is_taken_back_stays_locked_and_what_was_kept_for_it_is_given_back() {
    let sim = Sim::new(1);
    let db = small(&sim)
        .lock_timeout(Duration::from_millis(1))
        .max_wal_size(8 << 20)
        .open("db")
        .expect("opens");
    let table = db.table("rows").expect("makes");
    let mut tx = db.begin();
    tx.put(&table, b"a", &[1; 900]).expect("puts");
    let savepoint = tx.savepoint().expect("sets");
    for round in 0..400u32 {
        for key in 0..8u8 {
            tx.put(&table, &[key], &vec![round as u8; 900])
                .expect("puts");
        }
        tx.rollback_to(&savepoint).expect("goes back");
    }
    let pins = db.pins().expect("open");
    let own = pins.iter().find_map(|pin| match pin.holder {
        PinHolder::Transaction { own_bytes, .. } => Some((own_bytes, pin.bytes)),
        _ => None,
    });
    let (own, log) = own.expect("it holds the log");
    assert!(log > 1 << 20, "{log} bytes prove nothing");
    assert!(
        own < log + 50_000,
        "{own} bytes of {log}: kept for what is taken back"
    );
    let held = db.put(&table, &[0], b"").expect_err("it is locked");
    assert!(matches!(held, Error::LockTimeout { .. }), "{held}");
    tx.commit().expect("commits");
    assert_eq!(rows(&db, &table).len(), 1);
}

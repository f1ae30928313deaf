//! `verify` while others write: it finds nothing in a sound database, and finds what is wrong all the same.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afterimage::{Database, LoadOptions, Options, Result, Table};
use afterimage_io::OpenMode;
use afterimage_io::sim::{CallKind, DiskState, RunEnd, Sim, Verdict};

fn small(sim: &Sim) -> Options {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(24 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(1 << 20)
}

/// Keys come and go, in bursts that split pages and empty them; some values are large.
fn write(db: &Database, table: &Table, client: u64, n: u64) -> Result<()> {
    let key = |i: u64| ((client * 7 + i * 13) % 97 * 1000 + i % 1000).to_be_bytes();
    let value = vec![b'v'; 100 + (n as usize * 37) % 900];
    db.transact(|tx| {
        for i in n * 8..n * 8 + 8 {
            tx.put(table, &key(i), &value)?;
        }
        if n.is_multiple_of(5) {
            tx.put(table, &key(n), &vec![b'l'; 20_000 + n as usize])?;
        }
        for i in (n * 8).saturating_sub(40)..(n * 8).saturating_sub(20) {
            tx.delete(table, &key(i))?;
        }
        Ok(())
    })
}

/// A whole table, with a large value, is made and dropped.
fn come_and_go(db: &Database, client: u64, n: u64) {
    let name = format!("gone {client}");
    let table = db.table(&name).expect("creates");
    write(db, &table, client, n).expect("writes");
    write(db, &table, client, n + 1).expect("writes");
    assert!(db.drop_table(&name).expect("drops"));
}

/// Runs `look` over and over while two clients write to `tables`. How often it did.
fn while_others_write(
    sim: &Sim,
    db: &Database,
    tables: &[Table; 2],
    look: impl Fn() + Send + 'static,
) -> u64 {
    let busy = Arc::new(AtomicU64::new(2));
    let mut bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
    for client in 0..2 {
        let (db, tables, busy) = (db.clone(), tables.clone(), Arc::clone(&busy));
        let body = move || {
            for n in 0..25 {
                let table = &tables[(n % 2) as usize];
                write(&db, table, client, n).expect("writes");
                if n % 8 == client {
                    come_and_go(&db, client, n);
                }
                let _ = db.step().expect("works");
            }
            busy.fetch_sub(1, Ordering::SeqCst);
        };
        bodies.push((format!("client {client}"), Box::new(body)));
    }
    let looks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&looks);
    let looker = move || {
        while busy.load(Ordering::SeqCst) > 0 {
            look();
            counted.fetch_add(1, Ordering::SeqCst);
        }
    };
    bodies.push(("verify".to_owned(), Box::new(looker)));
    let end = sim.run_threads(bodies);
    assert!(matches!(end, RunEnd::Finished), "{end:?}");
    looks.load(Ordering::SeqCst)
}

fn open(sim: &Sim) -> (Database, [Table; 2]) {
    let db = small(sim).open("db").expect("opens");
    let tables = ["one", "two"].map(|name| db.table(name).expect("creates"));
    (db, tables)
}

#[test]
fn nothing_is_found_in_a_sound_database_however_busy() {
    let mut verified = 0;
    for seed in 0..12 {
        let sim = Sim::new(seed);
        let (db, tables) = open(&sim);
        let (looker, commits) = (db.clone(), Arc::new(AtomicU64::new(0)));
        let meanwhile = Arc::clone(&commits);
        verified += while_others_write(&sim, &db, &tables, move || {
            let before = looker.stats().commits;
            let report = looker.verify().expect("looks");
            assert!(report.is_clean(), "seed {seed}: {:?}", report.findings);
            meanwhile.fetch_add(looker.stats().commits - before, Ordering::SeqCst);
        });
        assert!(
            commits.load(Ordering::SeqCst) > 0,
            "nobody wrote, seed {seed}"
        );
        let quiet = db.verify().expect("looks");
        assert!(quiet.is_clean(), "seed {seed}: {:?}", quiet.findings);
    }
    assert!(verified > 24, "{verified} looks while others wrote");
}

#[test]
fn what_is_wrong_is_found_however_busy() {
    let sim = Sim::new(1);
    let (db, tables) = open(&sim);
    let still = db.table("still").expect("creates");
    db.put(&still, b"large", &vec![b'x'; 60_000]).expect("puts");
    db.checkpoint().expect("writes home");
    // Behind the engine's back: one byte in the middle of the large value.
    let pages = sim.io().open(Path::new("db/pages"), OpenMode::ReadWrite);
    let pages = pages.expect("is there");
    let mut bytes = vec![0; pages.len().expect("has a length") as usize];
    pages.read_exact_at(0, &mut bytes).expect("reads");
    let full = |page: &[u8]| page.iter().filter(|byte| **byte == b'x').count() > 3000;
    let page = bytes.chunks(4096).position(full).expect("a page of x");
    let at = page as u64 * 4096 + 2000;
    pages.write_all_at(at, b"y").expect("writes");
    let looker = db.clone();
    let looks = while_others_write(&sim, &db, &tables, move || {
        let report = looker.verify().expect("looks");
        let found: Vec<_> = report.findings.iter().map(|found| found.page).collect();
        assert_eq!(found, [Some(page as u64)], "{:?}", report.findings);
    });
    assert!(looks > 0);
}

/// A table that is being loaded is looked at piece by piece: the load goes on between two of them.
#[test]
fn a_load_goes_on_while_its_table_is_looked_at() {
    let sim = Sim::new(11);
    let db = small(&sim).open("d").expect("opens");
    let mut load = db
        .load_table("t", LoadOptions::new().sorted(true))
        .expect("begins");
    let mut push = move |n: u32| load.push(&n.to_be_bytes(), &[n as u8; 1000]).is_ok();
    assert!((0..2000).all(&mut push));
    // How many rows there are, and reads since the last of them: how many, and the most.
    let rows = Arc::new(AtomicU64::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let (seen, longest) = (Arc::clone(&rows), Arc::clone(&most));
    let (mut before, mut reads) = (0, 0);
    sim.set_hook_reads(true);
    sim.set_hook(Some(Box::new(move |call, _: &DiskState| {
        let now = seen.load(Ordering::SeqCst);
        reads = if now == before { reads } else { 0 };
        before = now;
        reads += u64::from(call.kind == CallKind::Read);
        longest.fetch_max(reads, Ordering::SeqCst);
        Verdict::Continue
    })));
    let looking = Arc::new(AtomicU64::new(1));
    let done = Arc::clone(&looking);
    let pushed = Arc::clone(&rows);
    let bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = vec![
        ("loads".into(), {
            Box::new(move || {
                let mut n = 2000;
                while looking.load(Ordering::SeqCst) > 0 {
                    assert!(push(n));
                    n += 1;
                    pushed.fetch_add(1, Ordering::SeqCst);
                }
            })
        }),
        ("looks".into(), {
            Box::new(move || {
                let report = db.verify().expect("looks");
                assert!(report.is_clean(), "{:?}", report.findings);
                done.store(0, Ordering::SeqCst);
            })
        }),
    ];
    assert_eq!(sim.run_threads(bodies), RunEnd::Finished);
    sim.set_hook(None);
    let (rows, most) = (rows.load(Ordering::SeqCst), most.load(Ordering::SeqCst));
    assert!(
        most < 100,
        "{most} reads while nobody came to add a row, of {rows}"
    );
}

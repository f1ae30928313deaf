//! Checkpoints that nobody notices: pages go home at the pace of the log, writers that outrun the disk are slowed before they
//! meet the bound, and every wait says what it was for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use afterimage::{Database, Options, Progress, Stats, Table};
use afterimage_io::sim::{DiskState, Event, Observer, RunEnd, Sim};

const MAX: u64 = 2 << 20;
const PAGE: usize = 4096;

/// How pages go home: how many are not yet synced, how many were synced in small pieces, and how many with more others.
#[derive(Default)]
struct Pieces {
    unsynced: AtomicU64,
    small: AtomicU64,
    large: AtomicU64,
}

impl Pieces {
    fn told(&self) -> (u64, u64) {
        let [small, large] = [&self.small, &self.large].map(|n| n.load(Ordering::Relaxed));
        (small, large)
    }
}

impl Observer for Pieces {
    fn event(&self, _: &DiskState, event: &Event<'_>) {
        match event {
            Event::Written { path, data, .. } if path.ends_with("/pages") => {
                let pages = (data.len() / PAGE) as u64;
                self.unsynced.fetch_add(pages, Ordering::Relaxed);
            }
            Event::Synced { path } if path.ends_with("/pages") => {
                let pages = self.unsynced.swap(0, Ordering::Relaxed);
                let of_this_size = if pages <= 16 {
                    &self.small
                } else {
                    &self.large
                };
                of_this_size.fetch_add(pages, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

fn options(sim: &Sim) -> Options {
    let options = Options::new().io(sim.io());
    let options = options.page_size(PAGE).buffer_pool_size(2048 * PAGE as u64);
    options.wal_segment_size(64 << 10).max_wal_size(MAX)
}

/// Four writers at random places of some five hundred pages, and the background thread, which may write so many a second. Beside the stats: how
/// the pages went home.
fn surge(seed: u64, pages: u64) -> (Stats, Arc<Pieces>) {
    let sim = Sim::new(seed);
    let opening = options(&sim).background(false);
    let db = opening.open("db").expect("opens");
    let table = db.table("t").expect("creates");
    for n in 0..10_000u64 {
        db.put(&table, &n.to_be_bytes(), &[1; 200]).expect("puts");
    }
    db.close().expect("closes");
    let (tell, told) = std::sync::mpsc::channel();
    let life = {
        let sim = sim.clone();
        move || {
            let limited = options(&sim).io_capacity(pages).io_capacity_max(pages);
            let db = limited.open("db").expect("opens");
            let table = db.table("t").expect("there");
            let pieces = Arc::new(Pieces::default());
            sim.set_observer(Some(pieces.clone()));
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let (db, table, io) = (db.clone(), table.clone(), sim.io());
                    let body = move || write(&db, &table, &io, writer);
                    sim.io().spawn("writer", body).expect("a thread")
                })
                .collect();
            for writer in writers {
                writer.join().expect("ends well");
            }
            sim.set_observer(None);
            tell.send((db.stats(), pieces)).expect("is heard");
            db.close().expect("closes");
        }
    };
    let end = sim.run_threads(vec![("life".to_owned(), Box::new(life))]);
    assert!(matches!(end, RunEnd::Finished), "{end:?}");
    told.recv().expect("told")
}

fn write(db: &Database, table: &Table, io: &afterimage_io::Io, writer: u8) {
    for n in 0..6_000u32 {
        let key = io.random() as u64 % 10_000;
        let value = [n.to_be_bytes()[3] ^ writer; 200];
        db.put(table, &key.to_be_bytes(), &value).expect("puts");
    }
}

#[test]
fn a_disk_that_keeps_up_delays_nobody() {
    let (stats, pieces) = surge(1, u64::MAX);
    assert!(stats.next_lsn > 4 * MAX, "{stats:?}");
    assert_eq!(stats.checkpoints_forced, 0, "{stats:?}");
    assert!(stats.checkpoints_paced > 10, "{stats:?}");
    assert!(stats.checkpoint_age_max < MAX / 4 * 3, "{stats:?}");
    assert_eq!(stats.wait_throttle.count(), 0, "{stats:?}");
    // A log sync stands behind few of them in the disk's queue, but where the age was about to slow writers down.
    let (small, large) = pieces.told();
    assert!(small > 2000 && large < small / 4, "{small}, {large}");
    // And as late as the bound allows: a page takes several changes home at once.
    assert!(stats.checkpoint_age_max > MAX / 2, "{stats:?}");
}

#[test]
fn who_outruns_the_disk_is_slowed_and_nobody_meets_the_bound() {
    let (stats, _) = surge(2, 200);
    eprintln!("{stats:#?}");
    assert!(stats.checkpoint_age_max <= MAX, "{stats:?}");
    assert!(stats.wait_throttle.count() > 100, "{stats:?}");
    assert!(
        stats.wait_throttle.max() <= Duration::from_millis(60),
        "{stats:?}"
    );
}

#[test]
fn a_stop_waits_for_few_syncs() {
    let sim = Sim::new(4);
    let opening = options(&sim).background(false).max_wal_size(64 << 20);
    let db = opening.open("db").expect("opens");
    let table = db.table("t").expect("creates");
    for n in 0..10_000u64 {
        db.put(&table, &n.to_be_bytes(), &[1; 200]).expect("puts");
    }
    let pieces = Arc::new(Pieces::default());
    sim.set_observer(Some(pieces.clone()));
    db.close().expect("closes");
    let (small, large) = pieces.told();
    assert!(large > 500 && small < large / 8, "{small}, {large}");
}

#[test]
fn a_checkpoint_by_time_spreads_its_pages() {
    let sim = Sim::new(3);
    let opening = options(&sim).background(false);
    let db = opening
        .checkpoint_timeout(Duration::from_secs(100))
        .max_wal_size(64 << 20)
        .open("db")
        .expect("opens");
    let table = db.table("t").expect("creates");
    db.checkpoint().expect("takes one");
    for n in 0..1500u64 {
        db.put(&table, &n.to_be_bytes(), &[1; 200]).expect("puts");
    }
    // The last one goes by what is dirty now.
    sim.advance_clock(Duration::from_secs(100));
    while db.step().expect("works") == Progress::Worked {}
    let before = db.stats();
    assert!(
        before.checkpoints_timed == 1 && before.pool_dirty > 50,
        "{before:?}"
    );
    let mut dirty = Vec::new();
    for _ in 0..101 {
        dirty.push(db.stats().pool_dirty);
        for _ in 0..10 {
            sim.advance_clock(Duration::from_millis(100));
            let _ = db.step().expect("works");
        }
    }
    let most = dirty.windows(2).map(|two| two[0] - two[1]).max();
    assert!(
        most <= Some(dirty[0] / 10),
        "a burst of {most:?}: {dirty:?}"
    );
    let half = dirty[45];
    assert!(half.abs_diff(dirty[0] / 2) < dirty[0] / 8, "{dirty:?}");
    assert_eq!(dirty[92], 0, "{dirty:?}");
    let after = db.stats();
    assert_eq!(after.checkpoints_timed, 2, "it brings the redo point on");
    assert!(after.redo_lsn >= before.checkpoint_lsn);
    sim.advance_clock(Duration::from_secs(300));
    while db.step().expect("works") == Progress::Worked {}
    assert_eq!(db.stats().checkpoints_timed, 2, "nobody has worked");
}

#[test]
fn a_smaller_bound_holds_from_the_next_write_on() {
    let sim = Sim::new(4);
    let db = options(&sim).background(false).open("db").expect("opens");
    let table = db.table("t").expect("creates");
    let mut old = db.begin();
    old.put(&table, b"old", b"1").expect("puts");
    while db.stats().checkpoint_age < MAX / 2 {
        db.put(&table, b"k", &[1; 500]).expect("puts");
    }
    let before = db.stats();
    db.set("max_wal_size", "256KiB").expect("may change");
    db.put(&table, b"k", b"v").expect("puts");
    let stats = db.stats();
    assert!(stats.checkpoint_age <= 256 << 10, "{stats:?}");
    assert_eq!(stats.active_transactions, 0);
    let told = old.commit().expect_err("it held back more");
    assert!(
        matches!(told, afterimage::Error::TransactionTooOld { .. }),
        "{told}"
    );
    assert!(stats.wait_log_space.count() > before.wait_log_space.count());
    db.set("max_wal_size", "8MiB").expect("may change");
    let forced = stats.checkpoints_forced;
    for _ in 0..2000 {
        db.put(&table, b"k", &[2; 500]).expect("puts");
    }
    assert_eq!(db.stats().checkpoints_forced, forced, "there is room again");
}

/// Each cause has its own count; what did not wait is in none.
#[test]
fn a_wait_says_what_it_was_for() {
    let sim = Sim::new(5);
    let db = options(&sim)
        .buffer_pool_size(16 * 4096)
        .set("wal_buffers", "64KiB")
        .expect("is taken")
        .background(false)
        .open("db")
        .expect("opens");
    let table = db.table("t").expect("creates");
    let before = db.stats();
    db.put(&table, b"k", b"v").expect("puts");
    let stats = db.stats();
    assert_eq!(stats.wait_sync.count(), before.wait_sync.count() + 1);
    assert!(
        stats.wait_sync.max() >= Duration::from_micros(100),
        "a simulated sync takes 100 us"
    );
    let without_sync = |db: &Database, n: u64| {
        let mut tx = db.begin();
        tx.set_durability(afterimage::Durability::Memory);
        tx.put(&table, &n.to_be_bytes(), &[1; 500]).expect("puts");
        tx.commit().expect("commits");
    };
    // At first one page, of which nothing goes home and nothing is synced; then more than there are frames.
    for n in 0..3000u64 {
        without_sync(&db, n.saturating_sub(300));
    }
    let stats = db.stats();
    for (cause, waits) in stats.waits() {
        let expected = !["lock", "throttle"].contains(&cause);
        assert_eq!(waits.count() > 0, expected, "{cause}: {waits:?}");
        assert!(
            waits.permille(500) <= waits.permille(990),
            "{cause}: {waits:?}"
        );
        assert!(waits.permille(990) <= waits.max(), "{cause}: {waits:?}");
        assert!(waits.total() >= waits.max(), "{cause}: {waits:?}");
    }
}

//! Pages go home without copies where the disk promises never to tear them, by way of the doublewrite area where it does not or does not any
//! more, and whoever asks is told which.

use std::ops::RangeInclusive;
use std::path::Path;

use afterimage::{Database, Options, Stats};
use afterimage_io::sim::{CallKind, DiskState, Sim, Survival, Verdict};

const PAGE: usize = 4096;
const ATOMIC: Option<RangeInclusive<usize>> = Some(PAGE..=PAGE);

fn open(sim: &Sim) -> Database {
    let options = Options::new().io(sim.io()).background(false);
    let options = options.page_size(PAGE).buffer_pool_size(32 * PAGE as u64);
    options.open("db").expect("opens")
}

/// Changes every page of a few, and brings them home.
fn change(db: &Database, round: u8) -> Stats {
    let table = db.table("t").expect("opens the table");
    for n in 0..20 {
        db.put(&table, &[n], &[round; 900]).expect("puts");
    }
    // The first names what is dirty, the second brings it home.
    db.checkpoint().expect("takes one");
    db.checkpoint().expect("takes one");
    db.stats()
}

fn holds(db: &Database, round: u8) -> bool {
    let table = db.table("t").expect("opens the table");
    let row = |n: u8| db.get(&table, &[n]).expect("reads");
    (0..20).all(|n| row(n) == Some(vec![round; 900]))
}

/// How many pages the doublewrite area lists, durably.
fn copies(disk: &DiskState) -> u32 {
    let count = disk.read_durable(Path::new("db/doublewrite"), 40, 4);
    let count = count.and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(count.expect("an area"))
}

/// The machine after a power cut, with a disk of this kind.
fn after_a_cut(sim: &Sim, db: Database, atomic: Option<RangeInclusive<usize>>) -> Sim {
    sim.crash_now();
    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
        move || drop(db),
    )));
    let next = Sim::from_image(2, &sim.snapshot().crash(&Survival::Random { seed: 5 }));
    next.set_atomic_writes(atomic);
    next
}

#[test]
fn pages_go_home_without_copies_where_the_disk_never_tears_them() {
    let sim = Sim::new(1);
    sim.set_atomic_writes(ATOMIC);
    let db = open(&sim);
    let before = change(&db, 1);
    let after = change(&db, 2);
    assert_eq!(after.page_writes_atomic, 1);
    assert_eq!(after.atomic_writes_refused, 0);
    let since = |counter: fn(&Stats) -> u64| counter(&after) - counter(&before);
    assert!(since(|s| s.pages_written) >= 5);
    assert_eq!(
        since(|s| s.pages_written_atomically),
        since(|s| s.pages_written)
    );
    assert_eq!(copies(&sim.snapshot()), 0);
    // Too large a page for the disk is any page.
    let sim = Sim::new(1);
    sim.set_atomic_writes(Some(512..=PAGE / 2));
    let stats = change(&open(&sim), 1);
    assert_eq!(
        (stats.page_writes_atomic, stats.atomic_writes_refused),
        (0, 0)
    );
    assert_eq!(stats.pages_written_atomically, 0);
}

#[test]
fn what_the_disk_refuses_goes_by_way_of_the_area_and_is_told() {
    let sim = Sim::new(1);
    sim.set_atomic_writes(ATOMIC);
    let db = open(&sim);
    let before = change(&db, 1);
    // It is another disk from here on.
    sim.set_atomic_writes(None);
    let after = change(&db, 2);
    assert_eq!(after.page_writes_atomic, 0);
    assert_eq!(after.atomic_writes_refused, 1, "it is not asked again");
    assert_eq!(
        after.pages_written_atomically,
        before.pages_written_atomically
    );
    assert!(after.pages_written > before.pages_written && copies(&sim.snapshot()) > 0);
    let next = after_a_cut(&sim, db, ATOMIC);
    let db = open(&next);
    assert!(holds(&db, 2), "and what is asked is asked anew at the open");
    assert_eq!(change(&db, 3).page_writes_atomic, 1);
}

/// In the middle of a batch: what is home by then is home whole, and goes again.
#[test]
fn a_refusal_that_passes_costs_one_batch() {
    for error in [11, 28, 122] {
        let sim = Sim::new(1);
        sim.set_atomic_writes(ATOMIC);
        let db = open(&sim);
        let before = change(&db, 1);
        let mut writes = 0;
        sim.set_hook(Some(Box::new(move |call, _| {
            writes += u32::from(call.kind == CallKind::WriteAtomically);
            match (call.kind, writes) {
                (CallKind::WriteAtomically, 3) => Verdict::OsError(error),
                _ => Verdict::Continue,
            }
        })));
        let table = db.table("t").expect("opens the table");
        for n in 0..20 {
            db.put(&table, &[n], &[2; 900]).expect("puts");
        }
        db.checkpoint().expect("takes one");
        db.checkpoint().expect("takes one");
        let after = db.stats();
        assert_eq!(after.atomic_writes_refused, 1);
        assert_eq!(after.page_writes_atomic, 1);
        assert!(after.pages_written > before.pages_written);
        let last = change(&db, 3);
        assert!(last.pages_written_atomically > after.pages_written_atomically);
        assert_eq!(last.atomic_writes_refused, 1);
        assert_eq!(copies(&sim.snapshot()), 0, "no copy outlives its page");
        assert!(holds(&open(&after_a_cut(&sim, db, None)), 3));
    }
}

#[test]
fn a_directory_may_be_moved_between_disks_of_both_kinds() {
    let mut sim = Sim::new(1);
    for (round, atomic) in (1..).zip([None, ATOMIC, None, ATOMIC, ATOMIC, None]) {
        sim.set_atomic_writes(atomic.clone());
        let db = open(&sim);
        assert!(round == 1 || holds(&db, round - 1));
        let stats = change(&db, round);
        assert_eq!(stats.page_writes_atomic, u64::from(atomic.is_some()));
        if round % 2 == 0 {
            db.close().expect("closes");
            sim = Sim::from_image(3, &sim.snapshot().crash(&Survival::None));
        } else {
            sim = after_a_cut(&sim, db, None);
        }
    }
    let db = open(&sim);
    assert!(holds(&db, 6) && db.verify().expect("verifies").is_clean());
}

//! The promise: a database says how long a recovery would take, and keeps its log so short that it would not take longer than it may.

use std::time::Duration;

use afterimage::{Database, Options, Progress};
use afterimage_io::sim::{Sim, Survival, Verdict};

fn options(sim: &Sim, target: Duration) -> Options {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(1024 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(16 << 20)
        .target_recovery_time(target)
}

/// Changes rows at random until there are `bytes` of log, with as much background work as there is to do.
fn work(db: &Database, bytes: u64) {
    let table = db.table("rows").expect("a table");
    let begin = db.stats().wal_bytes;
    let mut n = 1u64;
    while db.stats().wal_bytes - begin < bytes {
        n = n
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let key = (n >> 33) % 2000;
        db.put(&table, &key.to_be_bytes(), &[n as u8; 100])
            .expect("puts");
        while db.step().expect("works") == Progress::Worked {}
    }
}

/// A machine whose disk takes so long for a sync.
fn with_syncs_of(time: Duration, seed: u64) -> Sim {
    let sim = Sim::new(seed);
    let world = sim.clone();
    sim.set_hook(Some(Box::new(move |call, _| {
        if call.kind.syncs() {
            world.advance_clock(time);
        }
        Verdict::Continue
    })));
    sim
}

/// No recovery was there to learn from: that the disk is slow is known since the log was made.
#[test]
fn a_short_target_keeps_the_log_short() {
    let age = |sync| {
        let sim = with_syncs_of(sync, 3);
        let db = options(&sim, Duration::from_millis(100));
        let db = db.open("d").expect("opens");
        work(&db, 2 << 20);
        let stats = db.stats();
        assert_eq!(stats.checkpoints_forced, 0, "{stats:?}");
        assert!(stats.estimated_recovery_micros > 0);
        drop(db);
        sim.set_hook(None);
        stats.checkpoint_age
    };
    let slow = age(Duration::from_millis(50));
    assert!(slow <= 128 << 10, "{slow} bytes");
    let fast = age(Duration::from_micros(100));
    assert!(fast > 1 << 20, "{fast} bytes");
}

#[test]
fn the_estimate_grows_with_what_there_is_to_do_and_a_checkpoint_takes_it_back() {
    let sim = Sim::new(4);
    let db = options(&sim, Duration::from_secs(30))
        .open("d")
        .expect("opens");
    let said = || db.stats().estimated_recovery_micros;
    let empty = said();
    work(&db, 256 << 10);
    let little = said();
    work(&db, 1 << 20);
    let more = said();
    assert!(empty < little && little < more, "{empty} {little} {more}");
    let again = Sim::from_image(5, &sim.snapshot().crash(&Survival::All));
    let db = options(&again, Duration::from_secs(30))
        .open("d")
        .expect("recovers");
    // What the recovery had to do is still to be done by another one: no page is home yet.
    let recovered = db.stats();
    assert!(recovered.checkpoint_age > 1 << 20, "{recovered:?}");
    for _ in 0..2 {
        db.checkpoint().expect("checkpoints");
    }
    let settled = db.stats().estimated_recovery_micros;
    assert!(settled < recovered.estimated_recovery_micros, "{settled}");
}

/// Each recovery goes on in a segment of its own: what it leaves empty of the one before is no log, however often that happens.
#[test]
fn positions_that_hold_no_log_are_not_to_be_read() {
    let mut sim = Sim::new(6);
    let mut written = 0;
    for seed in 7..15 {
        let db = options(&sim, Duration::from_secs(30))
            .open("d")
            .expect("opens");
        // Before it made anything of its own: what a recovery has read, another one would.
        let (age, report) = (db.stats().checkpoint_age, db.recovery_report());
        assert!(
            age <= report.log_bytes + 8192,
            "{age} bytes where {} were read",
            report.log_bytes
        );
        let begun = db.stats().wal_bytes;
        let table = db.table("rows").expect("a table");
        for n in 0..20u64 {
            db.put(&table, &n.to_be_bytes(), &[seed as u8; 100])
                .expect("puts");
        }
        written += db.stats().wal_bytes - begun;
        let age = db.stats().checkpoint_age;
        assert!(age <= written + 16384, "{age} bytes of {written}");
        sim = Sim::from_image(seed, &sim.snapshot().crash(&Survival::All));
    }
}

//! What is counted is what was done, and another process reads the same in the `status` file.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use afterimage::{Durability, Error, Options, Stats, inspect};
use afterimage_io::Io;
use afterimage_io::sim::{FailSync, Sim, Survival};

fn records(stats: &Stats, kind: &str) -> u64 {
    let of = stats.records.iter().find(|of| of.kind == kind);
    of.map_or(0, |of| of.records)
}

#[test]
fn what_is_counted_is_what_was_done() {
    let sim = Sim::new(3);
    let options = Options::new().io(sim.io()).background(false);
    let db = options
        .buffer_pool_size(64 * 8192)
        .open("db")
        .expect("opens");
    let table = db.table("t").expect("creates");
    let before = db.stats();
    for n in 0..10_u8 {
        db.put(&table, &[n], b"value").expect("puts");
    }
    // Nothing is changed, and so nothing committed.
    assert!(!db.delete(&table, b"none").expect("looks"));
    let mut memory = db.begin();
    memory.set_durability(Durability::Memory);
    memory.put(&table, b"a", b"1").expect("puts");
    memory.put(&table, b"b", b"2").expect("puts");
    memory.commit().expect("commits");
    let mut os = db.begin();
    os.set_durability(Durability::Os);
    os.put(&table, b"c", b"3").expect("puts");
    os.commit().expect("commits");
    let mut ticket = db.begin();
    ticket.put(&table, b"d", b"4").expect("puts");
    let ticket = ticket.commit_ticket().expect("commits");
    ticket.wait().expect("is durable");
    let mut nothing = db.begin();
    assert!(nothing.get(&table, b"a").expect("reads").is_some());
    nothing.commit().expect("commits");
    db.checkpoint().expect("takes one");
    let stats = db.stats();

    let since = |counter: fn(&Stats) -> u64| counter(&stats) - counter(&before);
    assert_eq!(since(|s| s.commits), 13);
    assert_eq!(since(|s| s.commits_disk), 10);
    assert_eq!(since(|s| s.commits_memory), 1);
    assert_eq!(since(|s| s.commits_os), 1);
    assert_eq!(since(|s| s.commits_ticket), 1);
    // Those that somebody waited for, which is not the one at level Memory, and each disk commit for a simulated sync of 100 us.
    let commit = stats.commit.since(&before.commit);
    assert_eq!(commit.count(), 11);
    assert!(
        commit.total() >= Duration::from_micros(10 * 100),
        "{commit:?}"
    );
    assert!(stats.sync.count() > before.sync.count() + 10);
    assert_eq!(
        stats.sync.count(),
        stats.wal_syncs,
        "no flush crossed a segment"
    );
    // The ten, and the ticket. The checkpoint's own flushes carry nobody's commit.
    assert_eq!(since(|s| s.wal_flush_commits), 11);
    assert_eq!(since(|s| s.wal_flushes), 11);
    assert_eq!(stats.commits_per_sync(), Some(1.0));

    for (kind, n) in [
        ("insert+commit", 10),
        ("insert", 4),
        ("commit", 3),
        ("checkpoint begin", 1),
        ("checkpoint end", 1),
    ] {
        assert_eq!(records(&stats, kind) - records(&before, kind), n, "{kind}");
    }
    let told: u64 = stats.records.iter().map(|kind| kind.records).sum();
    assert_eq!(told, stats.wal_records, "every record has a kind");
    let bytes: u64 = stats.records.iter().map(|kind| kind.bytes).sum();
    assert!(bytes <= stats.wal_bytes, "{bytes} of {}", stats.wal_bytes);
    assert!(stats.wal_bytes - bytes < stats.wal_bytes / 2, "watermarks");
    let sorted = stats
        .records
        .is_sorted_by_key(|kind| std::cmp::Reverse(kind.bytes));
    assert!(sorted, "{:?}", stats.records);

    assert_eq!(since(|s| s.checkpoints_manual), 1);
    assert_eq!(stats.checkpoint.count(), before.checkpoint.count() + 1);
    assert!(stats.checkpoint.max() >= Duration::from_micros(100));
    assert_eq!(
        stats.checkpoint_interval.count(),
        0,
        "somebody asked for it"
    );
    assert!(
        since(|s| s.checkpoint_sync_micros) >= 200,
        "two syncs a batch"
    );
    assert!(stats.page_lookups >= before.page_lookups + 15);
    assert_eq!(stats.buffer_hit_rate(), Some(1.0), "all of it fits");
    assert_eq!(stats.wal_segment, stats.next_lsn / stats.wal_segment_size);
    assert!(stats.wal_busiest_bytes <= stats.wal_bytes && stats.wal_busiest_bytes > 0);

    // Another process sees the same, and the settings.
    let status = db.status();
    assert_eq!(status.stats.records, stats.records);
    db.close().expect("closes");
    let read = inspect::status(&sim.io(), "db".as_ref()).expect("reads");
    let read = read.expect("there is one");
    assert!(read.closed);
    assert_eq!(read.stats.commit, status.stats.commit);
    assert_eq!(read.stats.commits, status.stats.commits);
    assert_eq!(read.settings, status.settings);
    let setting = |name| read.settings.iter().find(|(found, _)| found == name);
    let pool = setting("buffer_pool_size").expect("it is told");
    assert_eq!(pool.1, "512KiB");
}

#[test]
fn a_pool_that_is_too_small_is_seen_in_the_hit_rate() {
    let sim = Sim::new(4);
    let options = Options::new().io(sim.io()).background(false);
    let db = options
        .page_size(4096)
        .buffer_pool_size(16 * 4096)
        .synchronous_commit(Durability::Memory)
        .open("db")
        .expect("opens");
    let table = db.table("t").expect("creates");
    for n in 0..2000_u32 {
        db.put(&table, &n.to_be_bytes(), &[7; 100]).expect("puts");
    }
    let before = db.stats();
    for n in 0..2000_u32 {
        let key = n.wrapping_mul(7919) % 2000;
        assert!(db.get(&table, &key.to_be_bytes()).expect("reads").is_some());
    }
    let stats = db.stats();
    assert!(stats.page_lookups >= before.page_lookups + 2000);
    let rate = stats.buffer_hit_rate().expect("there were lookups");
    assert!(rate < 0.8, "{rate}");
    assert!(rate > 0.1, "{rate}: puts in order find their page");
}

#[test]
fn what_nobody_waits_for_is_no_commit_of_a_flush() {
    let sim = Sim::new(4);
    let options = Options::new().io(sim.io()).background(false);
    let options = options.synchronous_commit(Durability::Memory);
    let db = options.open("db").expect("opens");
    let (table, unlogged) = (db.table("t"), db.unlogged_table("u"));
    let (table, unlogged) = (table.expect("creates"), unlogged.expect("creates"));
    let before = db.stats();
    for n in 0..10_u8 {
        db.put(&table, &[n], b"value").expect("puts");
        db.checkpoint().expect("takes one");
    }
    let mut tx = db.begin();
    tx.set_durability(Durability::Disk);
    tx.put(&unlogged, b"a", b"1").expect("puts");
    tx.commit().expect("commits");
    let stats = db.stats();
    assert!(stats.wal_syncs >= before.wal_syncs + 10);
    assert_eq!(stats.wal_flush_commits, before.wal_flush_commits);
    // A crash takes rows that are not logged, whatever was asked for.
    assert_eq!(stats.commits_memory, before.commits_memory + 10);
    assert_eq!(stats.commits_unlogged, before.commits_unlogged + 1);
    assert_eq!(stats.commits_disk, before.commits_disk);
}

#[test]
fn why_the_engine_has_stopped_is_told_to_whoever_looks() {
    let sim = Sim::new(5);
    let db = Options::new().io(sim.io()).background(false).open("db");
    let db = db.expect("opens");
    let table = db.table("t").expect("creates");
    assert_eq!(db.status().failed, None);
    sim.fail_sync(FailSync::next().on("log/"));
    db.put(&table, b"k", b"v").expect_err("the sync fails");
    let why = db.status().failed.expect("it has stopped");
    assert!(why.contains("sync"), "{why}");
    db.close().expect_err("it had stopped");
    let read = || {
        let read = inspect::status(&sim.io(), "db".as_ref()).expect("reads");
        read.expect("there is one")
    };
    let (closed, failed) = (read().closed, read().failed);
    assert_eq!((closed, failed), (true, Some(why)), "a close hides nothing");
    let db = Options::new().io(sim.io()).background(false).open("db");
    let db = db.expect("it recovers");
    assert_eq!(db.status().failed, None);
    db.close().expect("closes");
    assert_eq!(read().failed, None, "closing is no failure");
}

#[test]
fn the_background_thread_leaves_word_of_a_stop_to_other_processes() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Options::new().open(dir.path()).expect("opens");
    let table = db.table("t").expect("creates");
    // A value that panics while the engine reads it leaves the engine half way.
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            std::panic::resume_unwind(Box::new("the value's own trouble"))
        }
    }
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut tx = db.begin();
        tx.put_reader(&table, b"k", 100_000, &mut Broken)
    }));
    assert!(panicked.is_err());
    let stopped = db.put(&table, b"k", b"v").expect_err("it has stopped");
    assert!(matches!(stopped, Error::LogFailed { .. }), "{stopped}");
    let io = Io::os();
    let until = io.now() + Duration::from_secs(60);
    loop {
        let read = inspect::status(&io, dir.path()).expect("reads");
        if read.is_some_and(|status| status.failed.is_some() && !status.closed) {
            break;
        }
        assert!(io.now() < until, "nothing is told");
        io.sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_waits_is_counted_before_the_wait_is_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let io = Io::os().with_sync_delay(Duration::from_millis(50));
    let db = Options::new()
        .io(io.clone())
        .open(dir.path())
        .expect("opens");
    let table = db.table("t").expect("creates");
    let until = io.now() + Duration::from_secs(60);
    let seen = |counter: fn(&Stats) -> u64| {
        while counter(&db.stats()) == 0 {
            assert!(io.now() < until, "nobody is seen to wait");
            io.sleep(Duration::from_millis(1));
        }
    };
    std::thread::scope(|scope| {
        let mut tx = db.begin();
        tx.put(&table, b"k", b"1").expect("puts");
        let second = scope.spawn(|| db.put(&table, b"k", b"2"));
        seen(|stats| stats.waiting_lock);
        assert_eq!(db.stats().wait_lock.count(), 0, "none has ended");
        let first = scope.spawn(|| tx.commit());
        seen(|stats| stats.waiting_sync);
        first.join().expect("no panic").expect("commits");
        second.join().expect("no panic").expect("puts");
    });
    assert_eq!(
        db.stats().waiting(),
        db.stats()
            .waits()
            .iter()
            .map(|(cause, _)| (*cause, 0))
            .collect::<Vec<_>>()
    );
}

#[test]
fn what_a_recovery_has_read_is_no_checkpoint_age_of_this_open() {
    let sim = Sim::new(6);
    let options = |sim: &Sim| {
        let options = Options::new().io(sim.io()).background(false);
        options.wal_segment_size(64 << 10)
    };
    let db = options(&sim).open("db").expect("opens");
    let table = db.table("t").expect("creates");
    for n in 0..500_u32 {
        db.put(&table, &n.to_be_bytes(), &[1; 500]).expect("puts");
    }
    let age = db.stats().checkpoint_age;
    assert!(
        age > 250_000 && db.stats().checkpoint_age_max >= age,
        "{age}"
    );
    let crashed = Sim::from_image(7, &sim.snapshot().crash(&Survival::All));
    let db = options(&crashed).open("db").expect("recovers");
    assert!(!db.recovery_report().clean);
    let most = db.stats().checkpoint_age_max;
    // What it read before is still to be read; the positions that were left out behind it never are.
    assert!(most < age + 20_000, "{most}");
}

#[test]
fn what_a_changed_setting_is_judged_by_begins_anew() {
    let sim = Sim::new(7);
    let options = Options::new().io(sim.io()).background(false);
    let options = options.wal_segment_size(64 << 10).max_wal_size(256 << 10);
    let db = options.open("db").expect("opens");
    let table = db.table("t").expect("creates");
    for n in 0..2000_u32 {
        db.put(&table, &n.to_be_bytes(), &[1; 500]).expect("puts");
    }
    let before = db.status();
    assert_eq!(before.at_last_set, []);
    assert!(before.stats.checkpoints_forced > 4, "{:?}", before.stats);
    assert!(before.stats.checkpoint_age_max > before.stats.checkpoint_age);
    db.set("max_wal_size", "64MiB").expect("it changes");
    let after = db.status();
    let forced = after
        .at_last_set
        .iter()
        .find(|(name, _)| name == "checkpoints_forced");
    let forced = forced.expect("it is kept").1;
    assert_eq!(forced, before.stats.checkpoints_forced);
    assert_eq!(after.stats.checkpoint_age_max, after.stats.checkpoint_age);
    // Of the load it says the same as before; of another checkpoint_timeout it would say something else.
    assert_eq!(
        after.stats.wal_busiest_bytes,
        before.stats.wal_busiest_bytes
    );
    db.set("checkpoint_timeout", "10min").expect("it changes");
    assert_eq!(db.stats().wal_busiest_bytes, 0);
}

#[test]
fn the_pools_are_told_apart() {
    let sim = Sim::new(8);
    let options = Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096);
    let options = options.unlogged_pool_size(64 << 10);
    let db = options.open("db").expect("opens");
    let (table, unlogged) = (db.table("t"), db.unlogged_table("u"));
    let (table, unlogged) = (table.expect("creates"), unlogged.expect("creates"));
    for n in 0..2000_u32 {
        db.put(&table, &n.to_be_bytes(), &[7; 100]).expect("puts");
        db.put(&unlogged, &n.to_be_bytes(), &[7; 100])
            .expect("puts");
    }
    let before = db.stats();
    for n in 0..2000_u32 {
        let key = (n.wrapping_mul(7919) % 2000).to_be_bytes();
        assert!(db.get(&unlogged, &key).expect("reads").is_some());
    }
    let stats = db.stats();
    let lookups = stats.unlogged_page_lookups - before.unlogged_page_lookups;
    assert!(lookups >= 2000);
    assert_eq!(stats.page_lookups - before.page_lookups, lookups);
    assert!(stats.unlogged_pages_missed > before.unlogged_pages_missed + 500);
    assert_eq!(
        stats.pages_missed, stats.unlogged_pages_missed,
        "the other pool is large"
    );
    assert_eq!(stats.unlogged_pool_frames, 16);
    assert!(stats.unlogged_clean_frame_micros <= stats.wait_clean_frame.total().as_micros() as u64);
    assert!(
        stats.unlogged_clean_frame_micros > 0,
        "without a background thread somebody has to wait"
    );
}

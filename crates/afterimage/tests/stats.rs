//! What is counted is what was done, and another process reads the same in the `status` file.

use std::time::Duration;

use afterimage::{Durability, Options, Stats, inspect};
use afterimage_io::sim::Sim;

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
    // Those that were waited for, and each disk commit for a simulated sync of 100 us.
    let commit = stats.commit.since(&before.commit);
    assert_eq!(commit.count(), 12);
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
    assert_eq!(stats.commits_memory, before.commits_memory + 11);
    assert_eq!(stats.commits_disk, before.commits_disk);
}

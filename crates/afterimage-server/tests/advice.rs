//! Databases made bad on purpose, under a real load: the advice names the right setting, and with the value that it proposes the same
//! load leaves it silent. And one that is all right: nothing to change.

use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use afterimage::{Database, Options, StatusFile, Table};
use afterimage_io::Io;
use afterimage_io::sim::Sim;
use afterimage_log::{Durations, LogOptions, SlotInfo, Start, Wal};
use afterimage_server::advice::{Finding, LogLook, Severity, of_database, of_log};

fn base(sim: &Sim) -> Options {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .wal_segment_size(64 << 10)
}

fn find<'a>(findings: &'a [Finding], rule: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.rule == rule);
    found.unwrap_or_else(|| panic!("no {rule} in {findings:#?}"))
}

fn is_silent(findings: &[Finding], setting: &str) {
    let found = findings.iter().find(|finding| finding.setting == setting);
    assert_eq!(found, None, "after the change");
}

/// Runs the load in a new database with these settings, and looks at it.
fn after(load: fn(&Database, &Table), settings: &[(&str, &str)]) -> StatusFile {
    let sim = Sim::new(7);
    let set = |options: Options, (name, value): &(&str, &str)| {
        options.set(name, value).expect("it is taken")
    };
    let options = settings.iter().fold(base(&sim), set);
    let db = options.open("db").expect("opens");
    let table = db.table("t").expect("creates");
    load(&db, &table);
    db.status()
}

fn many_puts(db: &Database, table: &Table) {
    for n in 0..4000_u32 {
        let key = n.wrapping_mul(7919).to_be_bytes();
        db.put(table, &key, &[n as u8; 500]).expect("puts");
    }
}

#[test]
fn a_database_that_is_all_right_is_told_nothing() {
    let calm = |db: &Database, table: &Table| {
        for n in 0..500_u32 {
            db.put(table, &n.to_be_bytes(), &[1; 100]).expect("puts");
        }
    };
    let status = after(calm, &[]);
    assert_eq!(of_database(&status), []);
    assert!(status.stats.commits >= 500);
}

#[test]
fn a_tiny_log_under_load_is_to_be_larger() {
    let bad = of_database(&after(many_puts, &[("max_wal_size", "256KiB")]));
    let found = find(&bad, "forced-checkpoints");
    assert_eq!(
        (found.setting, found.now.as_str()),
        ("max_wal_size", "256KiB")
    );
    assert_eq!(found.link(), "docs/tuning.md#max_wal_size");
    assert!(found.evidence.contains("forced"), "{found:?}");
    let proposed = found.proposed.clone();
    assert_eq!(find(&bad, "small-log").proposed, proposed, "they agree");
    let good = of_database(&after(many_puts, &[("max_wal_size", &proposed)]));
    is_silent(&good, "max_wal_size");
}

#[test]
fn a_pool_that_is_too_small_is_to_be_larger() {
    let lookups = |db: &Database, table: &Table| {
        let mut tx = db.begin();
        for n in 0..3000_u32 {
            tx.put(table, &n.to_be_bytes(), &[1; 200]).expect("puts");
        }
        tx.commit().expect("commits");
        for n in 0..4000_u32 {
            let key = (n.wrapping_mul(7919) % 3000).to_be_bytes();
            assert!(db.get(table, &key).expect("reads").is_some());
        }
    };
    let bad = of_database(&after(lookups, &[("buffer_pool_size", "64KiB")]));
    let found = find(&bad, "cache");
    assert_eq!(
        (found.setting, found.now.as_str()),
        ("buffer_pool_size", "64KiB")
    );
    let good = of_database(&after(lookups, &[("buffer_pool_size", &found.proposed)]));
    is_silent(&good, "buffer_pool_size");
}

#[test]
fn snapshots_that_are_given_up_want_more_memory() {
    let under_a_snapshot = |db: &Database, table: &Table| {
        db.put(table, b"k", &[0; 400]).expect("puts");
        let snapshot = db.snapshot().expect("opens one");
        for n in 0..400_u32 {
            db.put(table, &n.to_be_bytes(), &[1; 400]).expect("puts");
            db.put(table, &n.to_be_bytes(), &[2; 400]).expect("puts");
        }
        drop(snapshot);
    };
    let bad = of_database(&after(under_a_snapshot, &[("version_store_size", "64KiB")]));
    let found = find(&bad, "versions");
    assert_eq!(found.setting, "version_store_size");
    let good = of_database(&after(
        under_a_snapshot,
        &[("version_store_size", &found.proposed)],
    ));
    is_silent(&good, "version_store_size");
}

#[test]
fn a_small_log_buffer_under_large_transactions_is_to_be_larger() {
    let large = |db: &Database, table: &Table| {
        for n in 0..20_u32 {
            let mut tx = db.begin();
            for m in 0..100_u32 {
                let key = (n * 1000 + m).to_be_bytes();
                tx.put(table, &key, &[3; 900]).expect("puts");
            }
            tx.commit().expect("commits");
        }
    };
    let bad = of_database(&after(large, &[("wal_buffers", "64KiB")]));
    let found = find(&bad, "log-buffer");
    assert_eq!(
        (found.setting, found.now.as_str()),
        ("wal_buffers", "64KiB")
    );
    let good = of_database(&after(large, &[("wal_buffers", &found.proposed)]));
    is_silent(&good, "wal_buffers");
}

#[test]
fn commits_that_can_be_lost_are_told_with_how_long() {
    let some = |db: &Database, table: &Table| db.put(table, b"k", b"v").expect("puts");
    let bad = of_database(&after(some, &[("synchronous_commit", "memory")]));
    let found = find(&bad, "lossy-commits");
    assert_eq!(
        (found.setting, found.severity),
        ("synchronous_commit", Severity::Note)
    );
    assert!(found.evidence.contains("200ms"), "{found:?}");
    let good = of_database(&after(some, &[("synchronous_commit", "disk")]));
    is_silent(&good, "synchronous_commit");
}

/// Rules that a simulated or a good disk gives no reason for: their numbers are put in by hand.
#[test]
fn what_a_test_cannot_wait_for_is_told_by_its_numbers() {
    let some = |db: &Database, table: &Table| db.put(table, b"k", b"v").expect("puts");
    let mut status = after(some, &[]);
    assert_eq!(of_database(&status), []);
    status.stats.checkpoint_age_max = status.stats.max_wal_size / 10 * 9;
    let found = of_database(&status);
    assert_eq!(find(&found, "checkpoint-age").proposed, "2GiB");
    status.stats.checkpoint_age_max = 0;

    status.stats.estimated_recovery_micros = 31_000_000;
    let found = of_database(&status);
    assert_eq!(find(&found, "recovery-time").setting, "max_wal_size");
    status.stats.estimated_recovery_micros = 0;

    let syncs = |times: &[(u64, u64)]| {
        let durations = Durations::default();
        for (micros, count) in times {
            (0..*count).for_each(|_| durations.add(Duration::from_micros(*micros)));
        }
        Durations::told([&durations])
    };
    for (slow, severity) in [(20_000, Severity::Warning), (80_000, Severity::Alarm)] {
        status.stats.sync = syncs(&[(500, 900), (slow, 100)]);
        let found = of_database(&status);
        let found = find(&found, "sync-latency");
        assert_eq!(
            (found.setting, found.severity),
            ("wal_sync_method", severity)
        );
    }
    status.stats.sync = syncs(&[(500, 995), (80_000, 5)]);
    assert_eq!(of_database(&status), [], "1 in 100 is all right");
    status.stats.checkpoints_manual = 5;
    let found = of_database(&status);
    assert_eq!(
        find(&found, "manual-checkpoints").setting,
        "checkpoint_timeout"
    );
}

/// Threads that commit at the same time, on a real disk whose syncs take so much longer.
fn commit_together(dir: &Path, in_flight: &str, delay: Duration) -> StatusFile {
    const THREADS: u32 = 32;
    let options = Options::new().set("flushes_in_flight", in_flight);
    let options = options.expect("it is taken").wal_segment_size(1 << 20);
    let options = options.io(Io::os().with_sync_delay(delay));
    let db = options.open(dir).expect("opens");
    let table = db.table("t").expect("creates");
    let together = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, table, together) = (&db, &table, &together);
            scope.spawn(move || {
                together.wait();
                for n in 0..60_u32 {
                    let key = (thread * 1000 + n).to_be_bytes();
                    db.put(table, &key, b"value").expect("puts");
                }
            });
        }
    });
    let status = db.status();
    db.close().expect("closes");
    status
}

#[test]
fn a_sync_for_each_writer_is_to_be_shared() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    // Slow, so that many syncs are under way at a time; who meets whom on the way to the disk is the system's business: one of some
    // runs is bad enough.
    let slow = Duration::from_millis(2);
    let mut runs =
        (0..8).map(|n| commit_together(&dir.path().join(format!("bad-{n}")), "16", slow));
    let is_bad = |bad: &StatusFile| of_database(bad).iter().any(|f| f.rule == "shared-syncs");
    let bad = of_database(&runs.find(is_bad).expect("a sync for a few of many"));
    let found = find(&bad, "shared-syncs");
    assert_eq!(
        (found.setting, found.now.as_str()),
        ("flushes_in_flight", "16")
    );
    assert_eq!(found.proposed, "auto");
    let mut good = of_database(&commit_together(
        &dir.path().join("good"),
        "auto",
        Duration::ZERO,
    ));
    // On a slow disk flushes overlap by themselves, which is a note; who follows that too gets few syncs.
    if let Some(note) = good.iter().find(|finding| finding.rule == "shared-syncs") {
        assert_eq!(
            (note.severity, note.proposed.as_str()),
            (Severity::Note, "1")
        );
        good = of_database(&commit_together(
            &dir.path().join("better"),
            "1",
            Duration::ZERO,
        ));
    }
    is_silent(&good, "flushes_in_flight");
}

#[test]
fn a_dead_slot_is_named_until_it_is_dropped() {
    let (sim, dir) = (Sim::new(5), Path::new("events"));
    let io = sim.io();
    let options = LogOptions {
        segment_bytes: 64 << 10,
        background: false,
        ..LogOptions::default()
    };
    let wal = Wal::open(&io, dir, &options).expect("opens");
    wal.create_slot("mailer", Start::Oldest).expect("makes it");
    for _ in 0..40 {
        wal.append(&[7; 8000])
            .expect("appends")
            .wait()
            .expect("waits");
    }
    let look = |later: Duration| LogLook {
        now_micros: io.wall_clock() + later.as_micros() as u64,
        segment_bytes: options.segment_bytes,
        slots: SlotInfo::list(&io, dir).expect("lists"),
        settings: LogOptions::settings(&io, dir, &[]).expect("shows"),
    };
    assert_eq!(of_log(&look(Duration::ZERO)), [], "it may come yet");
    let dead = of_log(&look(Duration::from_secs(7200)));
    let found = find(&dead, "dead-slot");
    assert_eq!(found.setting, "idle_replication_slot_timeout");
    assert!(found.evidence.contains("mailer"), "{found:?}");
    assert!(found.proposed.contains("--drop mailer"), "{found:?}");
    for _ in 0..1000 {
        wal.append(&[7; 8000])
            .expect("appends")
            .wait()
            .expect("waits");
    }
    let behind = of_log(&look(Duration::ZERO));
    assert_eq!(
        find(&behind, "slot-behind").setting,
        "max_slot_wal_keep_size"
    );
    wal.drop_slot("mailer").expect("drops");
    assert_eq!(of_log(&look(Duration::from_secs(7200))), []);
}

/// Whoever follows a link finds a heading.
#[test]
fn every_setting_has_its_place_in_the_documentation() {
    let tuning = include_str!("../../../docs/tuning.md");
    let of_a_database = Options::new().settings();
    let (io, nowhere) = (Sim::new(1).io(), Path::new("nowhere"));
    let of_a_log = LogOptions::settings(&io, nowhere, &[]).expect("shows");
    let names = of_a_database.iter().map(|info| info.name);
    for name in names.chain(of_a_log.iter().map(|info| info.name)) {
        let heading = format!("\n### {name}\n");
        assert!(tuning.contains(&heading), "{name}");
    }
}

//! Databases made bad on purpose, under a real load: the advice names the right setting, and with the value that it proposes the same
//! load leaves it silent. And one that is all right: nothing to change.

use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use afterimage::{Database, Durability, Options, StatusFile, Table};
use afterimage_io::Io;
use afterimage_io::sim::Sim;
use afterimage_log::units::{parse_duration, parse_size};
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

/// The value that it proposes.
fn value(finding: &Finding) -> &str {
    finding.value.as_deref().expect("it proposes a value")
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
    let proposed = value(found);
    assert_eq!(value(find(&bad, "small-log")), proposed, "they agree");
    let good = of_database(&after(many_puts, &[("max_wal_size", proposed)]));
    is_silent(&good, "max_wal_size");
}

#[test]
fn what_is_set_while_it_is_open_silences_what_was_said() {
    let sim = Sim::new(7);
    let options = base(&sim).max_wal_size(256 << 10);
    let db = options.open("db").expect("opens");
    let table = db.table("t").expect("creates");
    many_puts(&db, &table);
    let bad = of_database(&db.status());
    let proposed = value(find(&bad, "forced-checkpoints"));
    db.set("max_wal_size", proposed).expect("it is taken");
    is_silent(&of_database(&db.status()), "max_wal_size");
    // The same load again, in a time of its own.
    sim.advance_clock(Duration::from_secs(600));
    many_puts(&db, &table);
    is_silent(&of_database(&db.status()), "max_wal_size");
    // Another process reads the same.
    db.close().expect("closes");
    let status = afterimage::inspect::status(&sim.io(), "db".as_ref());
    let status = status.expect("reads").expect("there is one");
    assert!(status.stats.checkpoints_forced > 4);
    is_silent(&of_database(&status), "max_wal_size");
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
    let good = of_database(&after(lookups, &[("buffer_pool_size", value(found))]));
    is_silent(&good, "buffer_pool_size");
}

#[test]
fn of_two_pools_the_one_that_is_too_small_is_named() {
    let lookups = |db: &Database, table: &Table| {
        let unlogged = db.unlogged_table("u").expect("creates");
        db.put(table, b"k", b"v").expect("puts");
        for n in 0..3000_u32 {
            let key = n.to_be_bytes();
            db.put(&unlogged, &key, &[1; 200]).expect("puts");
        }
        for n in 0..4000_u32 {
            let key = (n.wrapping_mul(7919) % 3000).to_be_bytes();
            assert!(db.get(&unlogged, &key).expect("reads").is_some());
        }
    };
    let bad = of_database(&after(lookups, &[("unlogged_pool_size", "64KiB")]));
    let found = find(&bad, "cache");
    assert_eq!(
        (found.setting, found.now.as_str()),
        ("unlogged_pool_size", "64KiB")
    );
    is_silent(&bad, "buffer_pool_size");
    let good = of_database(&after(lookups, &[("unlogged_pool_size", value(found))]));
    is_silent(&good, "unlogged_pool_size");
    let told = find(&good, "unlogged-commits");
    assert!(told.evidence.contains("3,000 of"), "{told:?}");
    assert!(!good.iter().any(|finding| finding.rule == "lossy-commits"));
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
        &[("version_store_size", value(found))],
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
    let good = of_database(&after(large, &[("wal_buffers", value(found))]));
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
    assert_eq!(value(found), "disk");
    let both = |db: &Database, table: &Table| {
        for level in [Durability::Memory, Durability::Os] {
            let mut tx = db.begin();
            tx.set_durability(level);
            tx.put(table, b"k", b"v").expect("puts");
            tx.commit().expect("commits");
        }
    };
    let told = of_database(&after(both, &[]));
    let told = find(&told, "lossy-commits");
    let (memory, os) = ("1 at level Memory", "1 at level Os");
    assert!(
        told.evidence.contains(memory) && told.evidence.contains(os),
        "{told:?}"
    );
    assert_eq!(told.value, None, "it is disk already");
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
    // More log, for whatever reason, would be the opposite.
    status.stats.checkpoints_forced = 50;
    status.stats.wal_busiest_bytes = 1 << 40;
    status.stats.checkpoint_age_max = status.stats.max_wal_size;
    let found = of_database(&status);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].rule, value(&found[0])),
        ("recovery-time", "512MiB")
    );
    status.stats.checkpoints_forced = 0;
    status.stats.wal_busiest_bytes = 0;
    status.stats.checkpoint_age_max = 0;
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

/// 16 syncs at a time, whatever the disk: each of many writers has one nearly for himself.
#[test]
fn a_sync_for_each_writer_is_to_be_shared() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let place = |name: &str| dir.path().join(name);
    // Slow, so that many syncs are under way at a time; who meets whom on the way to the disk is the system's business: one of some
    // runs is bad enough.
    let slow = Duration::from_millis(2);
    let mut runs = (0..8).map(|n| commit_together(&place(&format!("bad-{n}")), "16", slow));
    let is_bad = |bad: &StatusFile| of_database(bad).iter().any(|f| f.rule == "shared-syncs");
    let bad = runs.find(is_bad).expect("a sync for a few of many");
    let findings = of_database(&bad);
    let found = find(&findings, "shared-syncs");
    assert_eq!(
        (found.setting, found.now.as_str()),
        ("flushes_in_flight", "16")
    );
    assert_eq!((found.severity, value(found)), (Severity::Warning, "auto"));
    // On the same disk, where syncs still overlap, and on a fast one, where they are shared.
    for (name, delay) in [("same", slow), ("fast", Duration::ZERO)] {
        let good = commit_together(&place(name), "auto", delay);
        is_silent(&of_database(&good), "flushes_in_flight");
    }
}

/// What is right by default is told nothing (decision 0017): on a slow disk syncs overlap by themselves.
#[test]
fn what_a_slow_disk_makes_of_the_default_is_nothing_to_change() {
    let some = |db: &Database, table: &Table| db.put(table, b"k", b"v").expect("puts");
    let few_a_sync = |settings: &[(&str, &str)]| {
        let mut status = after(some, settings);
        status.stats.wal_flushes = 1000;
        status.stats.wal_flush_commits = 4000;
        status.stats.wal_flush_writers = 64_000;
        of_database(&status)
    };
    assert_eq!(few_a_sync(&[]), []);
    let delayed = few_a_sync(&[("commit_delay", "5ms")]);
    let found = find(&delayed, "shared-syncs");
    assert_eq!(
        (found.setting, found.now.as_str(), value(found)),
        ("commit_delay", "5ms", "0")
    );
    let fixed = few_a_sync(&[("commit_delay", "5ms"), ("flushes_in_flight", "4")]);
    assert_eq!(find(&fixed, "shared-syncs").setting, "flushes_in_flight");
}

/// Whatever is counted, and wherever settings stand: what is proposed can be set, and is not what is set.
#[test]
fn what_is_proposed_is_taken_and_is_something_else() {
    let some = |db: &Database, table: &Table| db.put(table, b"k", b"v").expect("puts");
    let large = [
        ("max_wal_size", "1024TiB"),
        ("wal_buffers", "1GiB"),
        ("spare_segments", "64"),
        ("version_store_size", "1TiB"),
        ("target_recovery_time", "24h"),
    ];
    let small = [
        ("max_wal_size", "256KiB"),
        ("wal_buffers", "64KiB"),
        ("version_store_size", "64KiB"),
        ("target_recovery_time", "100ms"),
        ("checkpoint_timeout", "1s"),
        ("wal_sync_method", "fsync"),
        ("io_capacity", "100"),
        ("io_capacity_max", "100"),
        ("flushes_in_flight", "16"),
        ("synchronous_commit", "os"),
    ];
    let odd = [
        ("max_wal_size", "700TiB"),
        ("wal_buffers", "700MiB"),
        ("spare_segments", "40"),
        ("version_store_size", "700GiB"),
        ("target_recovery_time", "20h"),
    ];
    let mut proposals = 0;
    for (wal_buffers, settings) in [
        ("1GiB", &large[..]),
        ("64KiB", &small),
        ("700MiB", &odd),
        ("4MiB", &[]),
    ] {
        let mut usual = after(some, &[]);
        for (name, value) in settings {
            Options::new().set(name, value).expect("it is taken");
            let mut all = usual.settings.iter_mut();
            let (_, set) = all.find(|(found, _)| found == name).expect("a setting");
            *set = (*value).to_owned();
        }
        let told = |name: &str| {
            let found = usual.settings.iter().find(|(found, _)| found == name);
            found.expect("a setting").1.clone()
        };
        assert_eq!(told("wal_buffers"), wal_buffers);
        let bytes = |name| parse_size(&told(name)).expect("a size");
        let target = parse_duration(&told("target_recovery_time")).expect("a time");
        let (max_wal_size, version_store_size) =
            (bytes("max_wal_size"), bytes("version_store_size"));
        usual.stats.max_wal_size = max_wal_size;
        usual.stats.version_store_size = version_store_size;
        usual.stats.target_recovery_micros = target.as_micros() as u64;
        for everything in [1_u64 << 20, 1 << 45, u64::MAX / 2] {
            for (within, recovery) in [
                (false, 0),
                (true, 0),
                (false, u64::MAX / 2),
                (true, 90_000_000_000),
            ] {
                let mut status = usual.clone();
                let stats = &mut status.stats;
                stats.wal_bytes = everything;
                stats.wal_busiest_bytes = everything;
                stats.checkpoint_age_max = stats.max_wal_size;
                stats.target_recovery_bytes = if within {
                    stats.max_wal_size / 2
                } else {
                    u64::MAX
                };
                stats.estimated_recovery_micros = recovery;
                stats.uptime_micros = 100_000_000;
                stats.checkpoints_forced = 20;
                stats.checkpoints_timed = 90;
                stats.version_bytes = stats.version_store_size;
                stats.snapshots_too_old = 3;
                stats.page_lookups = everything;
                stats.pages_missed = everything / 2;
                stats.unlogged_page_lookups = everything / 2;
                stats.unlogged_pages_missed = everything / 4;
                stats.pages = 1 << 40;
                stats.unlogged_pages = 1 << 40;
                stats.wal_buffers_full = everything;
                stats.wal_flushes = 1000;
                stats.wal_flush_commits = 4000;
                stats.wal_flush_writers = 64_000;
                stats.commits_os = 1;
                stats.unlogged_clean_frame_micros = 50_000_000;
                let slow = Durations::default();
                (0..3000).for_each(|_| slow.add(Duration::from_millis(100)));
                let slow = Durations::told([&slow]);
                for times in [
                    &mut stats.sync,
                    &mut stats.commit,
                    &mut stats.checkpoint_interval,
                    &mut stats.wait_log_buffer,
                    &mut stats.wait_log_space,
                    &mut stats.wait_clean_frame,
                    &mut stats.wait_throttle,
                ] {
                    times.clone_from(&slow);
                }
                for finding in of_database(&status) {
                    let Some(value) = &finding.value else {
                        continue;
                    };
                    let taken = Options::new().set(finding.setting, value);
                    assert!(taken.is_ok(), "{finding:#?}");
                    assert_ne!(*value, finding.now, "{finding:#?}");
                    assert_ne!(*value, told(finding.setting), "{finding:#?}");
                    proposals += 1;
                }
            }
        }
    }
    assert!(proposals > 100, "{proposals}");
}

#[test]
fn some_seconds_of_haste_are_no_rate() {
    let some = |db: &Database, table: &Table| db.put(table, b"k", b"v").expect("puts");
    let mut status = after(some, &[]);
    let seconds = |n: u64| n * 1_000_000;
    let proposed = |status: &StatusFile| {
        let found = of_database(status);
        value(find(&found, "forced-checkpoints")).to_owned()
    };
    status.stats.checkpoints_forced = 10;
    status.stats.wal_bytes = 600 << 20;
    status.stats.wal_busiest_bytes = 600 << 20;
    status.stats.uptime_micros = seconds(3);
    assert_eq!(proposed(&status), "2560MiB", "four times what was seen");
    status.stats.wal_bytes = 24_000 << 20;
    status.stats.uptime_micros = seconds(120);
    assert_eq!(proposed(&status), "8GiB", "not all at once");
}

/// What happened once does not stay for ever.
#[test]
fn a_few_waits_long_ago_are_forgotten() {
    let some = |db: &Database, table: &Table| db.put(table, b"k", b"v").expect("puts");
    let mut status = after(some, &[]);
    let waits = |count: u32| {
        let waits = Durations::default();
        (0..count).for_each(|_| waits.add(Duration::from_millis(50)));
        Durations::told([&waits])
    };
    let minutes = |n: u64| n * 60_000_000;
    status.stats.wait_clean_frame = waits(30);
    status.stats.snapshots_too_old = 1;
    status.stats.uptime_micros = minutes(1);
    let rules = |status: &StatusFile| {
        let found = of_database(status).into_iter();
        found.map(|finding| finding.rule).collect::<Vec<_>>()
    };
    assert_eq!(rules(&status), ["versions", "clean-frames"]);
    status.stats.uptime_micros = minutes(70);
    assert!(rules(&status).is_empty());
    // One forced checkpoint is not the cause of thousands of waits.
    status.stats.wait_log_space = waits(3000);
    assert_eq!(rules(&status), ["log-segments"]);
    status.stats.checkpoints_forced = 1;
    assert_eq!(rules(&status), ["log-segments"]);
    status.stats.checkpoints_forced = 100;
    status.stats.checkpoints_timed = 2000;
    assert!(rules(&status).is_empty());
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

//! Segments at rest: old files used again, a segment closed by hand and by time, blocks that are never written twice.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use afterimage_io::sim::{DiskState, Event, Image, Observer, PendingKind, Sim, Survival, Verdict};
use afterimage_io::sync::Mutex;
use afterimage_io::{Io, Progress};
use afterimage_log::{Durability, Error, LogOptions, Wal};
use common::{Db, Model, SEGMENT, dir, options, recover_and_check};

const KEEP: u64 = 6 * SEGMENT;

fn keeping() -> LogOptions {
    LogOptions {
        min_wal_size: KEEP,
        max_wal_size: 12 * SEGMENT,
        ..options()
    }
}

fn padded() -> LogOptions {
    LogOptions {
        wal_pad_flush: true,
        ..options()
    }
}

/// Fills `segments` segments, and gives up all but the last.
fn burst(db: &mut Db, segments: u64) {
    let before = db.log.stats().next_lsn.get() / SEGMENT;
    while db.log.stats().next_lsn.get() / SEGMENT < before + segments {
        db.append(15_000).unwrap();
    }
    db.checkpoint().unwrap();
}

#[test]
fn old_files_are_used_again_and_none_is_made() {
    let sim = Sim::new(1);
    let mut db = Db::open_in(&sim.io(), dir(), &Model::default(), &keeping()).unwrap();
    for _ in 0..3 {
        burst(&mut db, 4);
    }
    let warm = db.log.stats();
    for _ in 0..20 {
        burst(&mut db, 4);
        while db.log.step().unwrap() == Progress::Worked {}
    }
    let after = db.log.stats();
    assert_eq!(
        after.segments_prepared, warm.segments_prepared,
        "a file was made"
    );
    assert_eq!(
        after.segments_removed, warm.segments_removed,
        "a file was removed"
    );
    assert!(after.segments_recycled >= warm.segments_recycled + 80);
}

#[test]
fn what_is_kept_is_bounded() {
    for (options, bound) in [(keeping(), 12), (options(), 3)] {
        let sim = Sim::new(1);
        let model = Model::default();
        let mut db = Db::open_in(&sim.io(), dir(), &model, &options).unwrap();
        burst(&mut db, 40);
        let files = |db: &Db| db.log.stats().segments + db.log.stats().spare_segments;
        assert!(files(&db) <= bound, "{} files", files(&db));
        // A quiet time brings it down to the floor.
        for _ in 0..40 {
            burst(&mut db, 1);
        }
        let floor = (options.min_wal_size / SEGMENT).max(4);
        assert!(files(&db) <= floor, "{} files", files(&db));
        drop(db);
        let db = recover_and_check(&sim.io(), &model, "after it");
        assert!(
            files(&db) <= floor + 1,
            "{} files after an open",
            files(&db)
        );
    }
}

#[test]
fn a_floor_above_the_ceiling_does_not_count() {
    let sim = Sim::new(1);
    let options = LogOptions {
        min_wal_size: 1 << 40,
        ..options()
    };
    let mut db = Db::open_in(&sim.io(), dir(), &Model::default(), &options).unwrap();
    burst(&mut db, 10);
    assert!(db.log.stats().segments_removed > 0);
}

#[test]
fn a_segment_is_closed_by_hand() {
    let sim = Sim::new(1);
    let io = sim.io();
    let options = LogOptions {
        background: false,
        ..options()
    };
    let wal = Wal::open(&io, Path::new("events"), &options).unwrap();
    let first = wal.next_lsn();
    assert_eq!(
        wal.switch_segment().unwrap(),
        first,
        "there is nothing to close"
    );
    let mut all = Vec::new();
    for n in 0..10u8 {
        drop(wal.append(&[n]).unwrap());
        all.push(vec![n]);
        let next = wal.switch_segment().unwrap();
        assert_eq!(wal.durable_lsn(), next);
        assert_eq!(next.get() / SEGMENT, 2 + u64::from(n), "the next file");
        assert_eq!(
            wal.switch_segment().unwrap(),
            next,
            "there is nothing to close"
        );
    }
    let read = |wal: &Wal| -> Vec<_> {
        let from = wal.oldest_lsn();
        wal.read(from).map(|r| r.unwrap().payload).collect()
    };
    assert_eq!(read(&wal), all);
    wal.close().unwrap();
    let wal = Wal::open(&io, Path::new("events"), &options).unwrap();
    assert_eq!(read(&wal), all);
}

#[test]
fn what_is_reserved_stays_reserved() {
    let sim = Sim::new(1);
    let model = Model::default();
    let db = Db::open(&sim.io(), &model).unwrap();
    let mut space = db.log.reserve(6 * 15_000).unwrap();
    db.put(10).unwrap();
    for _ in 0..5 {
        db.log.switch_segment().unwrap();
        db.put(10).unwrap();
    }
    // The disk has no room for another file: at some point that is said, and what was promised still fits.
    sim.set_quota(Some(0));
    let refused = loop {
        if let Err(e) = db.append(10).and_then(|_| db.log.switch_segment()) {
            break e;
        }
    };
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    for _ in 0..6 {
        let payload = vec![0; 15_000 - 16];
        db.log
            .append(&mut space, &payload, true, |_, _| ())
            .unwrap();
    }
    db.log.wait_durable(db.log.next_lsn()).unwrap();
}

#[test]
fn a_segment_is_closed_by_time() {
    let sim = Sim::new(1);
    let late = LogOptions {
        archive_timeout: Duration::from_secs(60),
        ..options()
    };
    let db = Db::open_in(&sim.io(), dir(), &Model::default(), &late).unwrap();
    let segment = |db: &Db| db.log.stats().next_lsn.get() / SEGMENT;
    let rest = |db: &Db| while db.log.step().unwrap() == Progress::Worked {};
    let pass = |db: &Db, seconds| {
        for _ in 0..seconds {
            sim.advance_clock(Duration::from_secs(1));
            rest(db);
        }
    };
    let began = segment(&db);
    pass(&db, 200);
    assert_eq!(segment(&db), began, "nothing stands in it");
    db.put(10).unwrap();
    pass(&db, 50);
    db.put(10).unwrap();
    assert_eq!(segment(&db), began, "it is not yet time");
    pass(&db, 20);
    assert_eq!(segment(&db), began + 1);
    assert_eq!(db.log.stats().durable_lsn, db.log.stats().next_lsn);
    pass(&db, 200);
    assert_eq!(segment(&db), began + 1, "nothing new stands in it");
    assert_eq!(db.numbers(), [0, 1]);
}

/// Every block of a log file that was written, and whether one was written again while its file had the same name.
struct Blocks {
    seen: Mutex<(BTreeSet<(String, u64)>, u64)>,
}

impl Observer for Blocks {
    fn event(&self, _: &DiskState, event: &Event<'_>) {
        let (Event::Written { path, offset, data } | Event::WrittenDurably { path, offset, data }) =
            event
        else {
            return;
        };
        if !path.contains("log/") {
            return;
        }
        let mut seen = self.seen.lock();
        let end = offset + data.len() as u64;
        for block in offset / 4096..end.div_ceil(4096) {
            let new = seen.0.insert(((*path).to_owned(), block));
            seen.1 += u64::from(!new);
        }
    }
}

fn many_flushes(db: &Db) {
    for n in 0..400 {
        db.put([3, 100, 4064, 4090, 8000, 4072, 4080, 0][n % 8])
            .unwrap();
        if n % 50 == 49 {
            db.log.switch_segment().unwrap();
        }
    }
}

#[test]
fn no_block_is_written_twice_where_flushes_are_padded() {
    for (options, some) in [(options(), true), (padded(), false)] {
        let sim = Sim::new(1);
        let db = Db::open_in(&sim.io(), dir(), &Model::default(), &options).unwrap();
        let blocks = Arc::new(Blocks {
            seen: Mutex::new(&Io::os(), (BTreeSet::new(), 0)),
        });
        sim.set_observer(Some(Arc::clone(&blocks) as Arc<dyn Observer>));
        many_flushes(&db);
        sim.set_observer(None);
        let twice = blocks.seen.lock().1;
        assert_eq!(twice > 0, some, "{twice} blocks were written twice");
        assert_eq!(db.numbers().len(), 400);
    }
}

/// What a disk leaves that damages every block it is writing when the power goes.
fn damaged(disk: &DiskState) -> Image {
    let mut image = disk.crash(&Survival::None);
    for op in disk.pending() {
        let PendingKind::Write { offset, len } = *op.kind() else {
            continue;
        };
        let len = len.min(image.len(op.path()).unwrap_or(0).saturating_sub(offset));
        image.write_bytes(op.path(), offset, &vec![0xA7; len as usize]);
    }
    image
}

#[test]
fn padding_withstands_a_disk_that_damages_what_it_writes() {
    let life = |sim: &Sim, model: &Model, options: &LogOptions| {
        let db = Db::open_in(&sim.io(), dir(), model, options).unwrap();
        for len in [
            3, 100, 4064, 4090, 8000, 4072, 4080, 0, 15_000, 15_000, 15_000, 9_000, 3_000, 20,
        ] {
            db.put(len).unwrap();
        }
    };
    let mut harmed = [0, 0];
    for (harmed, options) in harmed.iter_mut().zip([options(), padded()]) {
        let whole = Sim::new(7);
        life(&whole, &Model::default(), &options);
        for at in 0..whole.calls() {
            let (sim, model) = (Sim::new(7), Model::default());
            sim.set_hook(Some(Box::new(move |call, _| match call.index == at {
                true => Verdict::Crash,
                false => Verdict::Continue,
            })));
            assert!(sim.catch(|| life(&sim, &model, &options)).is_err());
            // The control file is made elsewhere, and is not what this is about.
            let found = Sim::from_image(1, &damaged(&sim.snapshot()));
            let acknowledged = model
                .acknowledged
                .load(std::sync::atomic::Ordering::Relaxed);
            if acknowledged == 0 {
                continue;
            }
            let whole = Db::open(&found.io(), &Model::default())
                .is_ok_and(|db| db.numbers().len() as u64 >= acknowledged);
            *harmed += u32::from(!whole);
        }
    }
    assert!(harmed[0] > 0, "without padding such a disk does harm");
    assert_eq!(harmed[1], 0, "with padding it does none");
}

#[test]
fn the_log_says_how_many_segments_a_recovery_would_write_anew() {
    let sim = Sim::new(1);
    let io = sim.io();
    let mut said = Vec::new();
    for (unsynced, len) in [
        (0, 0),
        (1, 10),
        (3, 12_000),
        (9, 12_000),
        (40, 15_000),
        (41, 15_000),
    ] {
        let db = Db::open(&io, &Model::default()).unwrap();
        db.put(100).unwrap();
        (0..unsynced).for_each(|_| assert!(db.append(len).unwrap() <= db.log.next_lsn()));
        // The process goes, and what the operating system has got stays.
        let next = db.log.next_lsn();
        db.log.wait(next, Durability::Os).unwrap();
        said.push(db.log.unproven_segments());
        drop(db);
        let db = Db::open(&io, &Model::default()).unwrap();
        let found = db.found.as_ref().unwrap();
        assert_eq!(found.end, next);
        assert_eq!(found.unproven_segments(), *said.last().unwrap(), "{said:?}");
        // What was written anew is proven, and so are the numbers that were passed over.
        assert!(db.log.unproven_segments() <= 2);
        db.close().unwrap();
    }
    assert!(
        said.contains(&1) && said.iter().any(|said| *said > 3),
        "{said:?}"
    );
}

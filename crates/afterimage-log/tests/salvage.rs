//! Salvage of a log that is refused: the evidence first, everything before the damage kept, everything behind it named,
//! and a log that opens and goes on.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use afterimage_io::sim::{Sim, Survival, Verdict};
use afterimage_io::{Io, OpenMode};
use afterimage_log::{Error, LogOptions, Lsn, Record, Salvage, Start, Wal, WalReader};

const SEGMENT: u64 = 64 << 10;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        background: false,
        ..LogOptions::default()
    }
}

fn dir() -> &'static Path {
    Path::new("q")
}

/// A log of some segments whose process has died; and its records.
fn dead_log() -> (Sim, Vec<Record>) {
    let sim = Sim::new(1);
    let wal = Wal::open(&sim.io(), dir(), &options()).unwrap();
    wal.create_slot("reader", Start::Oldest).unwrap();
    for n in 0..60u8 {
        wal.append(&[n; 3000]).unwrap().wait().unwrap();
        let _ = wal.step().unwrap();
    }
    let records: Vec<Record> = wal.read(wal.oldest_lsn()).map(Result::unwrap).collect();
    // A slot that has read far proves that the log was there.
    let mut slot = wal.slot("reader").unwrap();
    slot.advance(records[50].next).unwrap();
    drop(slot);
    std::mem::forget(wal);
    (
        Sim::from_image(2, &sim.snapshot().crash(&Survival::All)),
        records,
    )
}

fn damage(io: &Io, lsn: Lsn) {
    let name = format!("q/log/00000001-{:016X}.log", lsn.get() / SEGMENT);
    let file = io.open(Path::new(&name), OpenMode::ReadWrite).unwrap();
    let at = lsn.get() % SEGMENT;
    let mut byte = [0];
    file.read_exact_at(at, &mut byte).unwrap();
    file.write_all_at(at, &[byte[0] ^ 1]).unwrap();
    file.sync().unwrap();
}

/// Damages the byte at `lsn`, checks the plan against `kept` records of `records`, salvages, and goes on.
fn salvage(sim: &Sim, records: &[Record], kept: usize) -> Salvage {
    let io = sim.io();
    assert!(
        Wal::open(&io, dir(), &options())
            .unwrap_err()
            .is_corruption()
    );
    let plan = Salvage::plan(&io, dir()).unwrap().unwrap();
    assert_eq!(plan.kept_records, kept as u64, "{plan:?}");
    assert!(
        plan.cut_off
            .iter()
            .zip(&plan.cut_off[1..])
            .all(|(a, b)| a.to <= b.from),
        "{plan:?}"
    );
    assert!(
        Wal::open(&io, dir(), &options())
            .unwrap_err()
            .is_corruption(),
        "a plan changes nothing"
    );

    let evidence = Path::new("evidence");
    let done = Salvage::run(&io, dir(), Some(evidence)).unwrap().unwrap();
    assert_eq!(done.evidence.as_deref(), Some(evidence));
    assert_eq!((done.kept, &done.cut_off), (plan.kept, &plan.cut_off));
    assert!(
        Wal::open(&io, evidence, &options())
            .unwrap_err()
            .is_corruption(),
        "the copy is as it was"
    );

    let wal = Wal::open(&io, dir(), &options()).unwrap();
    let left: Vec<_> = wal.read(wal.oldest_lsn()).map(Result::unwrap).collect();
    assert!(left == records[..kept], "{} of {kept}", left.len());
    let position = wal.slots().unwrap()[0].position.unwrap();
    if kept > 0 {
        assert_eq!(
            position,
            records[50].next.min(done.kept.1),
            "no slot stands beyond the cut"
        );
    }
    let new = wal.append(b"new").unwrap();
    new.wait().unwrap();
    let last = records.last().unwrap();
    assert!(new.lsn() >= last.next, "a position came back");
    wal.close().unwrap();
    let wal = Wal::open(&io, dir(), &options()).unwrap();
    assert_eq!(wal.read(wal.oldest_lsn()).count(), kept + 1);
    wal.close().unwrap();
    let mut outside = WalReader::open(&io, dir(), Start::Oldest).unwrap();
    assert_eq!(
        std::iter::from_fn(|| outside.try_next().unwrap()).count(),
        kept + 1
    );
    assert!(
        Salvage::plan(&io, dir()).unwrap().is_none(),
        "nothing is left to be done"
    );
    done
}

#[test]
fn records_before_the_damage_stay_and_those_behind_are_named() {
    let (_, records) = dead_log();
    for broken in [0, 1, 7, 30, 58] {
        let (sim, _) = dead_log();
        damage(
            &sim.io(),
            Lsn::new(records[broken].lsn.get() + 100).unwrap(),
        );
        let done = salvage(&sim, &records, broken);
        let readable: u64 = done.cut_off.iter().filter_map(|c| c.records).sum();
        assert_eq!(readable, (records.len() - broken - 1) as u64, "{done:?}");
        let hole = &done.cut_off[0];
        assert!(
            hole.records.is_none()
                && hole.from <= records[broken].lsn
                && hole.to >= records[broken].next,
            "{done:?}"
        );
    }
}

#[test]
fn a_segment_that_is_gone_is_named() {
    let (sim, records) = dead_log();
    let io = sim.io();
    io.remove_file(Path::new("q/log/00000001-0000000000000002.log"))
        .unwrap();
    let kept = records.iter().filter(|r| r.lsn.get() < 2 * SEGMENT).count();
    let done = salvage(&sim, &records, kept);
    assert!(done.cut_off.iter().any(|c| c.records > Some(0)), "{done:?}");
}

#[test]
fn where_nothing_can_be_kept_the_log_begins_anew_above() {
    let (sim, records) = dead_log();
    damage(&sim.io(), Lsn::new(SEGMENT + 10).unwrap());
    salvage(&sim, &records, 0);
}

#[test]
fn what_is_not_refused_is_left_alone() {
    let (sim, records) = dead_log();
    let io = sim.io();
    assert!(Salvage::run(&io, dir(), None).unwrap().is_none());
    let wal = Wal::open(&io, dir(), &options()).unwrap();
    assert_eq!(wal.read(wal.oldest_lsn()).count(), records.len());
    assert!(matches!(
        Salvage::plan(&io, dir()),
        Err(Error::InUse { .. })
    ));
}

#[test]
fn an_interrupted_salvage_is_begun_again() {
    let (_, records) = dead_log();
    let start = || {
        let (sim, _) = dead_log();
        damage(&sim.io(), Lsn::new(records[30].lsn.get() + 100).unwrap());
        sim
    };
    let whole = start();
    let before = whole.calls();
    Salvage::run(&whole.io(), dir(), Some(Path::new("evidence"))).unwrap();
    for at in before..whole.calls() {
        let sim = start();
        sim.set_hook(Some(Box::new(move |call, _| {
            if call.index == at {
                Verdict::Crash
            } else {
                Verdict::Continue
            }
        })));
        let crashed = sim.catch(|| Salvage::run(&sim.io(), dir(), Some(Path::new("evidence"))));
        assert!(crashed.is_err(), "call {at}");
        for policy in [Survival::None, Survival::All, Survival::Random { seed: at }] {
            let again = Sim::from_image(3, &sim.snapshot().crash(&policy));
            let io = again.io();
            Salvage::run(&io, dir(), Some(Path::new("again"))).unwrap();
            let wal = Wal::open(&io, dir(), &options())
                .unwrap_or_else(|e| panic!("call {at}, {policy:?}: {e}"));
            let left: Vec<_> = wal.read(wal.oldest_lsn()).map(Result::unwrap).collect();
            assert!(
                left == records[..30],
                "call {at}, {policy:?}: {}",
                left.len()
            );
            let new = wal.append(b"new").unwrap();
            assert!(
                new.lsn() >= records[59].next,
                "call {at}, {policy:?}: a position came back"
            );
            wal.close().unwrap();
        }
    }
}

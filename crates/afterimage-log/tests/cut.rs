//! Cutting the log at a position: what goes, what stays, who is told, and a crash at every call of it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::cell::RefCell;
use std::path::Path;

use afterimage_io::OpenMode;
use afterimage_io::sim::{Image, Sim, Survival, Verdict};
use afterimage_log::{
    ControlFile, Error, Horizon, LogOptions, Lsn, Record, Slot, Start, Wal, WalReader,
};

const SEGMENT: u64 = 64 << 10;

fn open(sim: &Sim) -> Wal {
    let options = LogOptions {
        segment_bytes: SEGMENT,
        background: false,
        ..LogOptions::default()
    };
    Wal::open(&sim.io(), Path::new("raft"), &options).unwrap()
}

fn put(wal: &Wal, n: u64) -> Lsn {
    let mut payload = n.to_le_bytes().to_vec();
    payload.resize(9000, n as u8);
    let ticket = wal.append(&payload).unwrap();
    ticket.wait().unwrap();
    ticket.lsn()
}

fn number(record: &Record) -> u64 {
    u64::from_le_bytes(record.payload[..8].try_into().unwrap())
}

fn numbers(wal: &Wal, from: Lsn) -> Vec<u64> {
    wal.read(from)
        .map(|r| u64::from_le_bytes(r.unwrap().payload[..8].try_into().unwrap()))
        .collect()
}

#[test]
fn what_is_cut_off_never_comes_back() {
    // In the first segment, in the middle, at its very begin, at the end.
    for keep in [0, 1, 6, 7, 12, 19, 20] {
        let sim = Sim::new(1);
        let mut wal = open(&sim);
        let first = wal.oldest_lsn();
        let lsns: Vec<_> = (0..20).map(|n| put(&wal, n)).collect();
        let end = wal.next_lsn();
        let at = lsns.get(keep).copied().unwrap_or(end);
        wal.truncate_after(at).unwrap();
        assert!(wal.next_lsn() > end, "no position comes back");
        let kept: Vec<_> = (0..keep as u64).collect();
        assert_eq!(numbers(&wal, first), kept);
        let new = put(&wal, 100);
        let all: Vec<_> = kept.iter().copied().chain([100]).collect();
        assert_eq!(numbers(&wal, first), all);
        if let Some(gone) = lsns.get(keep) {
            let told = wal.read_back(*gone);
            if *gone == at {
                // The end of what is left: nothing was there that is not any more.
                assert!(matches!(told, Err(Error::NotFound { .. })), "{told:?}");
            }
            for gone in &lsns[keep + 1..] {
                let told = wal.read_back(*gone);
                assert!(
                    matches!(told, Err(Error::Cut { lsn, cut, .. }) if (lsn, cut) == (*gone, at)),
                    "{told:?}"
                );
            }
        }
        // After a crash and after a clean stop it is the same.
        let image = sim.snapshot().crash(&Survival::None);
        assert_eq!(numbers(&open(&Sim::from_image(1, &image)), first), all);
        wal.close().unwrap();
        let mut wal = open(&sim);
        assert_eq!(numbers(&wal, first), all);
        // Once more, below the first cut.
        let again = lsns[keep.min(3)];
        wal.truncate_after(if keep == 0 { new } else { again })
            .unwrap();
        assert_eq!(numbers(&wal, first).len(), keep.min(3));
    }
}

#[test]
fn a_slot_that_has_heard_of_a_cut_outlives_the_loss_of_the_holders_side() {
    let sim = Sim::new(1);
    let mut wal = open(&sim);
    let lsns: Vec<_> = (0..4).map(|n| put(&wal, n)).collect();
    wal.create_slot("follower", Start::At(lsns[3])).unwrap();
    wal.truncate_after(lsns[2]).unwrap();
    let mut slot = wal.slot("follower").unwrap();
    let told = slot.advance(slot.position());
    assert!(matches!(told, Err(Error::SlotCut { .. })), "{told:?}");
    drop(slot);
    wal.close().unwrap();
    let mut image = sim.snapshot().page_cache();
    for copy in [2, 3] {
        image.flip_bit("raft/slots/follower", copy * 4096 + 100, 1);
    }
    let sim = Sim::from_image(1, &image);
    let mut wal = open(&sim);
    let mut slot = wal.slot("follower").unwrap();
    assert_eq!(slot.position(), lsns[2]);
    slot.advance(lsns[2]).unwrap();
    drop(slot);
    // And the next cut is told again.
    wal.truncate_after(lsns[1]).unwrap();
    let mut slot = wal.slot("follower").unwrap();
    assert_eq!(slot.position(), lsns[1]);
    let told = slot.advance(lsns[1]);
    assert!(matches!(told, Err(Error::SlotCut { .. })), "{told:?}");
}

/// After a loss of power the `status` file may say what it said before the cut.
#[test]
fn what_was_said_before_the_cut_is_not_believed_behind_it() {
    let sim = Sim::new(1);
    let dir = Path::new("raft");
    let mut wal = open(&sim);
    wal.create_slot("a", Start::Oldest).unwrap();
    let cut = put(&wal, 1);
    put(&wal, 2);
    let gone = wal.durable_lsn();
    let status = dir.join("status");
    let file = sim.io().open(&status, OpenMode::ReadWrite).unwrap();
    let mut old = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(0, &mut old).unwrap();
    wal.truncate_after(cut).unwrap();
    put(&wal, 3);
    let end = wal.durable_lsn();
    drop(wal);
    file.write_all_at(0, &old).unwrap();
    let mut slot = Slot::open(&sim.io(), dir, "a").unwrap();
    let told = slot.advance(gone);
    assert!(matches!(told, Err(Error::SlotCut { .. })), "{told:?}");
    let moved = slot.advance(gone);
    assert!(matches!(moved, Err(Error::BadPosition { .. })), "{moved:?}");
    slot.advance(end).unwrap();
}

#[test]
fn a_reader_is_told_of_the_cut_once_and_goes_on_behind_it() {
    // In the segment that is cut, at its begin, at its end, in others behind it.
    for keep in [0, 1, 6, 7, 12, 19] {
        let sim = Sim::new(1);
        let mut wal = open(&sim);
        let lsns: Vec<_> = (0..20).map(|n| put(&wal, n)).collect();
        let end = wal.next_lsn();
        let outside = |from| WalReader::open(&sim.io(), Path::new("raft"), from).unwrap();
        let (mut ahead, mut behind) = (outside(Start::End), outside(Start::Oldest));
        wal.truncate_after(lsns[keep]).unwrap();
        put(&wal, 100);
        let mut from_gone = outside(Start::At(end));
        for reader in [&mut ahead, &mut from_gone] {
            let told = reader.try_next();
            assert!(
                matches!(told, Err(Error::Cut { lsn, cut, .. }) if (lsn, cut) == (end, lsns[keep])),
                "{keep}: {told:?}"
            );
            assert_eq!(reader.position(), lsns[keep]);
            assert_eq!(number(&reader.try_next().unwrap().unwrap()), 100);
            assert_eq!(reader.try_next().unwrap(), None);
        }
        let mut seen = Vec::new();
        while let Some(record) = behind.try_next().unwrap() {
            seen.push(number(&record));
        }
        let kept: Vec<_> = (0..keep as u64).chain([100]).collect();
        assert_eq!(seen, kept);
        // And one in this process.
        let mut follower = wal.follow(end, Horizon::Durable);
        let told = follower.next();
        assert!(
            matches!(told, Err(Error::Cut { lsn, cut, .. }) if (lsn, cut) == (end, lsns[keep])),
            "{keep}: {told:?}"
        );
        assert_eq!(follower.position(), lsns[keep]);
        assert_eq!(number(&follower.next().unwrap()), 100);
        // Twice without having looked: the lower counts.
        let again = lsns[keep / 2];
        wal.truncate_after(again).unwrap();
        put(&wal, 200);
        let told = ahead.try_next();
        assert!(
            matches!(told, Err(Error::Cut { cut, .. }) if cut == again),
            "{keep}: {told:?}"
        );
        assert_eq!(number(&ahead.try_next().unwrap().unwrap()), 200);
    }
}

#[test]
fn a_cut_is_refused_where_it_cannot_be() {
    let sim = Sim::new(1);
    let mut wal = open(&sim);
    let lsns: Vec<_> = (0..20).map(|n| put(&wal, n)).collect();
    let inside = Lsn::new(lsns[3].get() + 1).unwrap();
    let beyond = Lsn::new(wal.next_lsn().get() + 1).unwrap();
    wal.truncate_before(lsns[15]).unwrap();
    for bad in [inside, beyond, lsns[0]] {
        let refused = wal.truncate_after(bad);
        assert!(
            matches!(refused, Err(Error::BadPosition { .. })),
            "{refused:?}"
        );
    }
    let other = wal.clone();
    let refused = wal.truncate_after(lsns[17]);
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    drop(other);
    put(&wal, 20);
    wal.truncate_after(lsns[17]).unwrap();
    let kept = numbers(&wal, wal.oldest_lsn());
    assert_eq!(kept.last(), Some(&16));
}

#[test]
fn what_is_archived_is_not_cut_off() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    let lsns: Vec<_> = (0..5).map(|n| put(&wal, n)).collect();
    wal.close().unwrap();
    // Whoever archives writes this: docs/format.md, "the area of a log that is on its own".
    let mut file = ControlFile::open(&sim.io(), Path::new("raft"), true).unwrap();
    let mut control = file.current().clone();
    control.client[24..32].copy_from_slice(&lsns[3].get().to_le_bytes());
    file.write(&control).unwrap();
    drop(file);
    let mut wal = open(&sim);
    let refused = wal.truncate_after(lsns[2]);
    assert!(
        matches!(refused, Err(Error::BadPosition { .. })),
        "{refused:?}"
    );
    wal.truncate_after(lsns[3]).unwrap();
    assert_eq!(numbers(&wal, lsns[0]), [0, 1, 2]);
}

#[test]
fn slots_are_told_once() {
    let sim = Sim::new(1);
    let mut wal = open(&sim);
    wal.create_slot("beyond", Start::Oldest).unwrap();
    wal.create_slot("before", Start::Oldest).unwrap();
    let lsns: Vec<_> = (0..10).map(|n| put(&wal, n)).collect();
    wal.slot("beyond")
        .unwrap()
        .advance(wal.durable_lsn())
        .unwrap();
    let mut before = wal.slot("before").unwrap();
    before.advance(lsns[2]).unwrap();
    wal.truncate_after(lsns[5]).unwrap();
    put(&wal, 100);
    // One that stayed open over the cut, and one that was not.
    let mut beyond = wal.slot("beyond").unwrap();
    assert_eq!(beyond.position(), lsns[5]);
    for (slot, at) in [(&mut beyond, lsns[5]), (&mut before, lsns[2])] {
        let told = slot.advance(wal.durable_lsn());
        let Err(Error::SlotCut { to, cut, .. }) = told else {
            panic!("{told:?}");
        };
        assert_eq!((to, cut, slot.position()), (at, lsns[5], at));
        slot.advance(wal.durable_lsn()).unwrap();
    }
    assert_eq!(numbers(&wal, beyond.position()), [] as [u64; 0]);
}

/// How far a life has come.
#[derive(Default)]
struct Life {
    old: Vec<Lsn>,
    cut_begun: bool,
    cut_done: bool,
    new: u64,
}

fn live(sim: &Sim, life: &RefCell<Life>) {
    let mut wal = open(sim);
    wal.create_slot("s", Start::Oldest).unwrap();
    for n in 0..18 {
        let lsn = put(&wal, n);
        life.borrow_mut().old.push(lsn);
    }
    let mut slot = wal.slot("s").unwrap();
    slot.advance(wal.durable_lsn()).unwrap();
    drop(slot);
    let at = life.borrow_mut().old[8];
    life.borrow_mut().cut_begun = true;
    wal.truncate_after(at).unwrap();
    life.borrow_mut().cut_done = true;
    for n in 0..12 {
        put(&wal, 100 + n);
        life.borrow_mut().new = n + 1;
    }
    std::mem::forget(wal);
}

fn check(image: &Image, life: &Life, context: &str) {
    let sim = Sim::from_image(1, image);
    look_from_outside(&sim, life, context);
    let wal = open(&sim);
    let found = numbers(&wal, wal.oldest_lsn());
    let is_new = found.get(8).map_or(found.len() == 8, |n| *n >= 100);
    let is_new = life.cut_begun && is_new;
    assert!(is_new || !life.cut_done, "{context}: the cut is undone");
    let at = life.old.get(8);
    if is_new {
        let wanted: Vec<_> = (0..8).chain(100..).take(found.len()).collect();
        assert_eq!(found, wanted, "{context}");
        assert!(found.len() as u64 >= 8 + life.new, "{context}: {found:?}");
        assert!(wal.next_lsn() > *life.old.last().unwrap());
    } else {
        let wanted: Vec<_> = (0..found.len() as u64).collect();
        assert_eq!(found, wanted, "{context}");
        assert!(found.len() >= life.old.len(), "{context}: {found:?}");
    }
    for slot in wal.slots().unwrap() {
        let position = slot.position.unwrap();
        assert!(position <= wal.durable_lsn(), "{context}");
        assert!(!is_new || position <= *at.unwrap(), "{context}");
    }
    std::mem::forget(wal);
    // Again, after the power has gone once more.
    let again = Sim::from_image(2, &sim.snapshot().crash(&Survival::None));
    let wal = open(&again);
    assert_eq!(numbers(&wal, wal.oldest_lsn()), found, "{context}");
    std::mem::forget(wal);
}

/// While the holder is dead, whoever had read it all is told of the cut, or waits for it to be finished: neither is damage.
fn look_from_outside(sim: &Sim, life: &Life, context: &str) {
    let Some(end) = life.old.last() else { return };
    for from in [Start::Oldest, Start::At(*end), Start::End] {
        // Before there is a control file there is no log to look at.
        let Ok(mut reader) = WalReader::open(&sim.io(), Path::new("raft"), from) else {
            continue;
        };
        loop {
            match reader.try_next() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(Error::Cut { .. }) if life.cut_begun => {}
                Err(e) => panic!("{context}, {from:?}: {e}"),
            }
        }
    }
}

/// Crashes the open that finishes the cut, at every call of it.
fn crash_again(image: &Image, life: &Life, context: &str) -> u64 {
    let whole = Sim::from_image(3, image);
    std::mem::forget(open(&whole));
    for at in 0..whole.calls() {
        let sim = Sim::from_image(3, image);
        sim.set_hook(Some(Box::new(move |call, _| {
            if call.index == at {
                Verdict::Crash
            } else {
                Verdict::Continue
            }
        })));
        assert!(sim.catch(|| std::mem::forget(open(&sim))).is_err());
        let left = sim.snapshot().crash(&Survival::Random { seed: at });
        check(&left, life, &format!("{context}, then call {at}"));
    }
    whole.calls()
}

#[test]
fn a_crash_at_every_call_leaves_the_old_log_or_the_new_one() {
    let whole = Sim::new(7);
    live(&whole, &RefCell::default());
    let mut states = 0;
    for at in 0..whole.calls() {
        let (sim, life) = (Sim::new(7), RefCell::default());
        sim.set_hook(Some(Box::new(move |call, _| {
            if call.index == at {
                Verdict::Crash
            } else {
                Verdict::Continue
            }
        })));
        assert!(
            sim.catch(|| live(&sim, &life)).is_err(),
            "call {at} was not reached"
        );
        let life = life.into_inner();
        let disk = sim.snapshot();
        for policy in [
            Survival::None,
            Survival::All,
            Survival::NewestOnly,
            Survival::TornLast {
                unit: 512,
                seed: at,
            },
            Survival::Random { seed: at },
        ] {
            let context = format!("call {at}, {policy:?}");
            let image = disk.crash(&policy);
            check(&image, &life, &context);
            states += 1;
            if life.cut_begun && !life.cut_done && matches!(policy, Survival::Random { .. }) {
                states += crash_again(&image, &life, &context);
            }
        }
    }
    println!("{} calls, {states} crash states", whole.calls());
}

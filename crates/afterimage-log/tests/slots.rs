//! Slots: what they hold back, how long, and what is said when they may not any longer.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use afterimage_io::sim::{CallKind, Image, Sim, Survival, Verdict};
use afterimage_log::{
    Error, LogOptions, Lsn, Proof, Slot, SlotInfo, SlotLoss, SlotState, Start, Wal,
};

const DIR: &str = "q";
const SEGMENT: u64 = 64 << 10;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        background: false,
        ..LogOptions::default()
    }
}

fn open(sim: &Sim) -> Wal {
    Wal::open(&sim.io(), Path::new(DIR), &options()).unwrap()
}

/// Appends so much that a few segments are used up.
fn fill(wal: &Wal, segments: u64) {
    let until = wal.next_lsn().get() + segments * SEGMENT;
    while wal.next_lsn().get() < until {
        wal.append(&[7; 10_000]).unwrap().wait().unwrap();
    }
}

fn slot_state(wal: &Wal, name: &str) -> SlotState {
    let all = wal.slots().unwrap();
    all.iter().find(|slot| slot.name == name).unwrap().state
}

#[test]
fn a_slot_holds_the_log_back_and_lets_it_go_when_it_moves() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    wal.create_slot("a", Start::Oldest).unwrap();
    wal.create_slot("b", Start::End).unwrap();
    let first = wal.append(b"first").unwrap();
    fill(&wal, 4);
    assert_eq!(wal.truncate_before(wal.durable_lsn()).unwrap(), 0);
    assert_eq!(wal.read_back(first.lsn()).unwrap()[0].payload, b"first");
    let mut a = wal.slot("a").unwrap();
    let mut b = wal.slot("b").unwrap();
    a.advance(wal.durable_lsn()).unwrap();
    let _ = wal.step().unwrap();
    assert!(wal.read_back(first.lsn()).is_ok(), "b has not moved");
    b.advance(wal.durable_lsn()).unwrap();
    let _ = wal.step().unwrap();
    assert!(matches!(
        wal.read_back(first.lsn()),
        Err(Error::NotFound { .. })
    ));
    assert_eq!(wal.stats().segments, 1);
    // All of it is found again.
    let at = b.position();
    drop((a, b));
    wal.close().unwrap();
    let wal = open(&sim);
    assert_eq!(wal.slot("b").unwrap().position(), at);
    assert_eq!(wal.slots().unwrap().len(), 2);
}

#[test]
fn names_owners_and_positions_are_checked() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    for name in ["", "A", "a.b", "a/b", "..", &"x".repeat(65)] {
        let made = wal.create_slot(name, Start::Oldest);
        assert!(matches!(made, Err(Error::BadOption { .. })), "{name:?}");
    }
    assert!(matches!(wal.slot("a"), Err(Error::NoSlot { .. })));
    assert!(matches!(wal.drop_slot("a"), Err(Error::NoSlot { .. })));
    let one = wal.append(b"one").unwrap();
    let two = wal.append(b"two").unwrap();
    two.wait().unwrap();
    wal.create_slot("a", Start::At(one.lsn())).unwrap();
    let again = wal.create_slot("a", Start::End);
    assert!(matches!(again, Err(Error::AlreadyExists { .. })));
    let mut slot = wal.slot("a").unwrap();
    assert!(matches!(wal.slot("a"), Err(Error::InUse { .. })));
    assert!(matches!(wal.drop_slot("a"), Err(Error::InUse { .. })));
    let three = wal.append(b"three").unwrap();
    let inside = Lsn::new(one.lsn().get() + 1).unwrap();
    for bad in [inside, three.end()] {
        let moved = slot.advance(bad);
        assert!(matches!(moved, Err(Error::BadPosition { .. })), "{moved:?}");
    }
    slot.advance(two.lsn()).unwrap();
    assert!(matches!(
        slot.advance(one.lsn()),
        Err(Error::BadPosition { .. })
    ));
    assert_eq!(slot.position(), two.lsn());
    slot.advance(two.lsn()).unwrap();
    drop(slot);
    wal.drop_slot("a").unwrap();
    assert!(wal.slots().unwrap().is_empty());
    wal.create_slot("a", Start::End).unwrap();
}

#[test]
fn a_slot_is_owned_and_moved_from_outside() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    wal.create_slot("far", Start::Oldest).unwrap();
    let one = wal.append(b"one").unwrap();
    one.wait().unwrap();
    let mut slot = Slot::open(&sim.io(), Path::new(DIR), "far").unwrap();
    assert!(matches!(wal.slot("far"), Err(Error::InUse { .. })));
    let not_yet = wal.append(b"two").unwrap();
    assert!(matches!(
        slot.advance(not_yet.end()),
        Err(Error::BadPosition { .. })
    ));
    slot.advance(one.end()).unwrap();
    assert_eq!(wal.slots().unwrap()[0].position, Some(one.end()));
    let end = not_yet.end();
    wal.close().unwrap();
    // Also while nobody has the log open.
    slot.advance(end).unwrap();
    drop(slot);
    assert_eq!(open(&sim).slot("far").unwrap().position(), end);
}

#[test]
fn a_slot_moves_from_outside_without_looking_at_every_segment() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    wal.create_slot("far", Start::Oldest).unwrap();
    fill(&wal, 30);
    let mut slot = Slot::open(&sim.io(), Path::new(DIR), "far").unwrap();
    let mut records = wal.read(wal.oldest_lsn());
    // The first move does look: what the holder says may be old.
    slot.advance(records.next().unwrap().unwrap().next).unwrap();
    let headers = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&headers);
    sim.set_hook_reads(true);
    sim.set_hook(Some(Box::new(move |call, _| {
        if call.kind == CallKind::Read && call.offset == 0 && call.path.ends_with(".log") {
            counted.fetch_add(1, Relaxed);
        }
        Verdict::Continue
    })));
    let mut moves = 0;
    for record in records {
        slot.advance(record.unwrap().next).unwrap();
        moves += 1;
    }
    sim.set_hook(None);
    assert_eq!(slot.position(), wal.durable_lsn());
    let headers = headers.load(Relaxed);
    assert!(headers <= moves, "{headers} headers read for {moves} moves");
}

#[test]
fn a_slot_behind_log_that_nobody_gives_up_is_kept() {
    let sim = Sim::new(1);
    let options = LogOptions {
        max_slot_wal_keep_size: 4 * SEGMENT,
        ..options()
    };
    let wal = Wal::open(&sim.io(), Path::new(DIR), &options).unwrap();
    wal.create_slot("slow", Start::Oldest).unwrap();
    fill(&wal, 8);
    let _ = wal.step().unwrap();
    assert_eq!(slot_state(&wal, "slow"), SlotState::Active);
    wal.truncate_before(wal.durable_lsn()).unwrap();
    assert!(matches!(slot_state(&wal, "slow"), SlotState::Lost { .. }));
}

#[test]
fn a_slot_that_cannot_be_read_keeps_no_other_from_its_limit_and_is_told() {
    let sim = Sim::new(1);
    let options = LogOptions {
        max_slot_wal_keep_size: 4 * SEGMENT,
        ..options()
    };
    let wal = Wal::open(&sim.io(), Path::new(DIR), &options).unwrap();
    for name in ["a", "dead"] {
        wal.create_slot(name, Start::Oldest).unwrap();
    }
    sim.set_hook_reads(true);
    sim.set_hook(Some(Box::new(|call, _| {
        match call.kind == CallKind::Read && call.path.ends_with("slots/a") {
            true => Verdict::OsError(5),
            false => Verdict::Continue,
        }
    })));
    fill(&wal, 8);
    let _ = wal.truncate_before(wal.durable_lsn());
    assert!(wal.step().is_err());
    let told = wal.stats().background_error.unwrap();
    assert!(told.contains("slots"), "{told}");
    assert_eq!(wal.stats().slots_lost, 1);
    sim.set_hook(None);
    fill(&wal, 1);
    let _ = wal.step().unwrap();
    assert_eq!(wal.stats().background_error, None);
    assert!(matches!(slot_state(&wal, "dead"), SlotState::Lost { .. }));
}

#[test]
fn at_the_size_limit_the_slot_is_given_up_by_name_and_its_owner_is_told() {
    let sim = Sim::new(1);
    let options = LogOptions {
        max_slot_wal_keep_size: 4 * SEGMENT,
        ..options()
    };
    let wal = Wal::open(&sim.io(), Path::new(DIR), &options).unwrap();
    wal.create_slot("dead", Start::Oldest).unwrap();
    let mut slot = wal.slot("dead").unwrap();
    let first = wal.oldest_lsn();
    fill(&wal, 3);
    wal.truncate_before(wal.durable_lsn()).unwrap();
    assert_eq!(slot_state(&wal, "dead"), SlotState::Active);
    fill(&wal, 3);
    let _ = wal.step().unwrap();
    let SlotState::Lost { why, at_lsn, .. } = slot_state(&wal, "dead") else {
        panic!("{:?}", wal.slots());
    };
    assert_eq!((why, at_lsn), (SlotLoss::KeepSize, wal.next_lsn()));
    assert_eq!(wal.stats().slots_lost, 1);
    let told = slot.advance(wal.durable_lsn()).unwrap_err();
    assert!(matches!(told, Error::SlotLost { .. }));
    assert!(told.to_string().contains("\"dead\""), "{told}");
    drop(slot);
    assert!(matches!(wal.slot("dead"), Err(Error::SlotLost { .. })));
    // What it held back of what was to go has gone; and it stays lost over a restart and a loss of power.
    assert!(wal.oldest_lsn() > first, "{:?}", wal.stats());
    let image = sim.snapshot().crash(&Survival::None);
    let later = open(&Sim::from_image(1, &image));
    assert!(matches!(slot_state(&later, "dead"), SlotState::Lost { .. }));
    later.drop_slot("dead").unwrap();
    later.create_slot("dead", Start::Oldest).unwrap();
    assert_eq!(slot_state(&later, "dead"), SlotState::Active);
}

#[test]
fn an_abandoned_slot_is_given_up_and_an_owned_one_is_not() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    wal.create_slot("owned", Start::Oldest).unwrap();
    wal.create_slot("forgotten", Start::Oldest).unwrap();
    let owner = wal.slot("owned").unwrap();
    let six_days = Duration::from_secs(6 * 24 * 3600);
    sim.advance_clock(six_days);
    let _ = wal.step().unwrap();
    assert_eq!(slot_state(&wal, "forgotten"), SlotState::Active);
    sim.advance_clock(six_days);
    let _ = wal.step().unwrap();
    let lost = slot_state(&wal, "forgotten");
    let idle = SlotLoss::Idle;
    assert!(matches!(lost, SlotState::Lost { why, .. } if why == idle));
    assert_eq!(slot_state(&wal, "owned"), SlotState::Active);
    // It was seen alive until now.
    drop(owner);
    sim.advance_clock(six_days);
    let _ = wal.step().unwrap();
    assert_eq!(slot_state(&wal, "owned"), SlotState::Active);
    sim.advance_clock(six_days);
    let _ = wal.step().unwrap();
    assert!(matches!(slot_state(&wal, "owned"), SlotState::Lost { .. }));
}

/// A disk of 64 MiB, a slot that nobody moves, and a writer that keeps no more than it needs.
fn dead_slot(options: &LogOptions, with_alive: bool, truncate_every: u64) {
    let sim = Sim::new(1);
    sim.set_quota(Some(64 << 20));
    let wal = Wal::open(&sim.io(), Path::new(DIR), options).unwrap();
    wal.create_slot("dead", Start::Oldest).unwrap();
    let mut alive = with_alive.then(|| {
        wal.create_slot("alive", Start::Oldest).unwrap();
        wal.slot("alive").unwrap()
    });
    for n in 1..=400 {
        wal.append(&vec![1; 500_000]).unwrap().wait().unwrap();
        if let Some(alive) = &mut alive {
            alive.advance(wal.durable_lsn()).unwrap();
        }
        if n % truncate_every == 0 {
            wal.truncate_before(wal.durable_lsn()).unwrap();
        }
        let _ = wal.step().unwrap();
    }
    assert!(wal.durable_lsn().get() > 190 << 20);
    assert_eq!(wal.stats().slots_lost, 1);
    // Whoever asks is told, by name, in this process and in another.
    let full = SlotLoss::DiskFull;
    for slots in [
        wal.slots().unwrap(),
        SlotInfo::list(&sim.io(), Path::new(DIR)).unwrap(),
    ] {
        assert_eq!(slots.len(), 1 + usize::from(with_alive));
        for slot in slots {
            match &slot.name[..] {
                "alive" => assert_eq!(slot.state, SlotState::Active),
                _ => assert!(matches!(slot.state, SlotState::Lost { why, .. } if why == full)),
            }
        }
    }
    let told = wal.slot("dead").unwrap_err();
    assert!(
        matches!(&told, Error::SlotLost { name, .. } if name == "dead"),
        "{told}"
    );
}

#[test]
fn a_dead_slot_cannot_fill_the_disk() {
    let defaults = LogOptions {
        background: false,
        ..LogOptions::default()
    };
    for with_alive in [true, false] {
        // The writer says at once what it does not need, or from time to time.
        dead_slot(&defaults, with_alive, 1);
        dead_slot(&defaults, with_alive, 30);
    }
    let by_itself = LogOptions {
        recycle_behind_slots: true,
        ..defaults
    };
    dead_slot(&by_itself, true, u64::MAX);
}

#[test]
fn a_log_that_nobody_shortens_fills_its_disk_and_goes_on_once_somebody_does() {
    let sim = Sim::new(1);
    sim.set_quota(Some(64 << 20));
    let defaults = LogOptions {
        background: false,
        ..LogOptions::default()
    };
    let wal = Wal::open(&sim.io(), Path::new(DIR), &defaults).unwrap();
    wal.create_slot("dead", Start::Oldest).unwrap();
    let fill = || loop {
        match wal.append(&vec![1; 500_000]) {
            Ok(ticket) => ticket.wait().unwrap(),
            Err(e) => return e,
        }
    };
    for _ in 0..2 {
        let refused = fill();
        assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
        // Losing the slot would not help: its writer wants all of the log.
        assert_eq!(slot_state(&wal, "dead"), SlotState::Active);
    }
    wal.truncate_before(wal.durable_lsn()).unwrap();
    let before = wal.next_lsn().get();
    fill();
    let gained = wal.next_lsn().get() - before;
    assert!(gained > 8 << 20, "{gained} bytes");
    assert!(matches!(slot_state(&wal, "dead"), SlotState::Lost { .. }));
}

#[test]
fn a_full_disk_takes_no_slot_that_would_not_help() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    wal.create_slot("behind", Start::Oldest).unwrap();
    sim.set_quota(Some(8 * SEGMENT));
    // Nobody has asked for anything to be given up: the log itself fills the disk.
    let refused = loop {
        if let Err(e) = wal.append(&[7; 10_000]) {
            break e;
        }
    };
    assert!(matches!(refused, Error::DiskFull { .. }));
    assert_eq!(slot_state(&wal, "behind"), SlotState::Active);
}

#[test]
fn a_slot_that_cannot_be_read_holds_everything_back_and_says_so() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    wal.create_slot("hurt", Start::Oldest).unwrap();
    fill(&wal, 3);
    wal.slot("hurt")
        .unwrap()
        .advance(wal.durable_lsn())
        .unwrap();
    wal.close().unwrap();
    let mut image = sim.snapshot().crash(&Survival::None);
    image.flip_bit("q/slots/hurt", 70, 3);
    let wal = open(&Sim::from_image(1, &image));
    assert_eq!(
        slot_state(&wal, "hurt"),
        SlotState::Active,
        "the other copy"
    );
    std::mem::forget(wal);
    image.flip_bit("q/slots/hurt", 4096 + 70, 3);
    let wal = open(&Sim::from_image(1, &image));
    assert_eq!(slot_state(&wal, "hurt"), SlotState::Damaged);
    assert_eq!(wal.truncate_before(wal.durable_lsn()).unwrap(), 0);
    assert!(matches!(wal.slot("hurt"), Err(Error::Corruption { .. })));
    wal.drop_slot("hurt").unwrap();
    let _ = wal.step().unwrap();
    assert_eq!(wal.stats().segments, 1);
}

#[test]
fn a_slot_proves_that_the_log_was_durable_up_to_it() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    wal.create_slot("witness", Start::Oldest).unwrap();
    let last = wal.append(b"acknowledged").unwrap();
    last.wait().unwrap();
    wal.slot("witness").unwrap().advance(last.end()).unwrap();
    let mut image = sim.snapshot().crash(&Survival::None);
    std::mem::forget(wal);
    let (at, number) = (last.lsn().get() % SEGMENT, last.lsn().get() / SEGMENT);
    image.flip_bit(&format!("q/log/00000001-{number:016X}.log"), at + 20, 0);
    let refused = Wal::open(&Sim::from_image(1, &image).io(), Path::new(DIR), &options());
    let verified = Wal::verify(&Sim::from_image(1, &image).io(), Path::new(DIR));
    let witness = Proof::Slot("witness".into()).to_string();
    for message in [
        refused.unwrap_err().to_string(),
        verified.unwrap_err().to_string(),
    ] {
        assert!(message.contains(&witness), "{message}");
    }
}

/// What a life has been promised.
#[derive(Default)]
struct Promise {
    appended: AtomicU64,
    acknowledged: AtomicU64,
    made: AtomicU64,
    /// The slot has passed so many records for certain, and so many at most.
    passed: AtomicU64,
    passing: AtomicU64,
}

fn life(sim: &Sim, promise: &Promise) {
    for round in 0..3 {
        let wal = open(sim);
        if round == 0 {
            wal.create_slot("s", Start::Oldest).unwrap();
            promise.made.store(1, Relaxed);
        }
        let mut slot = wal.slot("s").unwrap();
        for turn in 0..8 {
            for _ in 0..3 {
                let n = promise.appended.fetch_add(1, Relaxed);
                let mut payload = n.to_le_bytes().to_vec();
                payload.resize(9000, n as u8);
                drop(wal.append(&payload).unwrap());
            }
            wal.sync().unwrap();
            let all = promise.appended.load(Relaxed);
            promise.acknowledged.store(all, Relaxed);
            if turn % 3 == 1 {
                promise.passing.store(all, Relaxed);
                slot.advance(wal.durable_lsn()).unwrap();
                promise.passed.store(all, Relaxed);
            }
            if turn % 2 == 1 {
                wal.truncate_before(wal.durable_lsn()).unwrap();
            }
            let _ = wal.step().unwrap();
        }
        drop(slot);
        if round == 1 {
            // Not closed.
            std::mem::forget(wal);
            return;
        }
    }
}

fn check(image: &Image, promise: &Promise, context: &str) {
    let sim = Sim::from_image(1, image);
    let wal = Wal::open(&sim.io(), Path::new(DIR), &options())
        .unwrap_or_else(|e| panic!("{context}: {e}"));
    let slot = match wal.slot("s") {
        Ok(slot) => slot,
        Err(Error::NoSlot { .. }) if promise.made.load(Relaxed) == 0 => return,
        Err(e) => panic!("{context}: {e}"),
    };
    let numbers: Vec<_> = wal
        .read(slot.position())
        .map(|r| u64::from_le_bytes(r.unwrap().payload[..8].try_into().unwrap()))
        .collect();
    let end = numbers.last().map(|n| n + 1);
    let (passed, passing) = (promise.passed.load(Relaxed), promise.passing.load(Relaxed));
    let first = numbers.first().copied().unwrap_or(passing);
    assert!(
        (passed..=passing).contains(&first),
        "{context}: the slot leads to {first}, not {passed} to {passing}"
    );
    assert!(numbers.iter().zip(first..).all(|(a, b)| *a == b));
    assert!(
        end.unwrap_or(passing) >= promise.acknowledged.load(Relaxed),
        "{context}: {end:?}"
    );
    drop(slot);
    std::mem::forget(wal);
}

#[test]
fn a_crash_at_every_call_keeps_what_the_slot_needs() {
    let whole = Sim::new(7);
    life(&whole, &Promise::default());
    let mut states = 0;
    for at in 0..whole.calls() {
        let (sim, promise) = (Sim::new(7), Promise::default());
        sim.set_hook(Some(Box::new(move |call, _| {
            if call.index == at {
                Verdict::Crash
            } else {
                Verdict::Continue
            }
        })));
        assert!(
            sim.catch(|| life(&sim, &promise)).is_err(),
            "call {at} was not reached"
        );
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
            check(&disk.crash(&policy), &promise, &context);
            states += 1;
        }
    }
    println!("{} calls, {states} crash states", whole.calls());
}

//! Following a log: nothing that a follower has shown is taken back by a crash, nothing is left out, nobody sleeps
//! through what he waits for.
#![allow(clippy::unwrap_used, missing_docs)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sim::{CallKind, RunEnd, Sim, Survival, Verdict};
use afterimage_log::{
    Durability, Error, Follower, Horizon, LogOptions, Lsn, Positions, Record, Start, Wal, WalReader,
};

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        background: false,
        ..LogOptions::default()
    }
}

fn dir() -> &'static Path {
    Path::new("q")
}

fn there_now(follower: &mut Follower) -> Vec<Record> {
    std::iter::from_fn(|| follower.next_timeout(Duration::ZERO).unwrap()).collect()
}

fn read_now(reader: &mut WalReader) -> Vec<Record> {
    std::iter::from_fn(|| reader.try_next().unwrap()).collect()
}

#[test]
fn a_follower_sees_as_far_as_it_asked_to() {
    let io = Sim::new(1).io();
    let wal = Wal::open(&io, dir(), &options()).unwrap();
    let mut durable = wal.follow(wal.oldest_lsn(), Horizon::Durable);
    let mut written = wal.follow(wal.oldest_lsn(), Horizon::Written);
    let ticket = wal.append(b"a").unwrap();
    assert!(there_now(&mut durable).is_empty() && there_now(&mut written).is_empty());
    ticket.wait_level(Durability::Os).unwrap();
    assert!(there_now(&mut durable).is_empty());
    assert_eq!(there_now(&mut written).len(), 1);
    let batch = wal.append_batch(&["b", "c"]).unwrap();
    batch.wait().unwrap();
    let seen = there_now(&mut durable);
    let payloads: Vec<_> = seen.iter().map(|r| &r.payload[..]).collect();
    assert_eq!(payloads, [b"a", b"b", b"c"]);
    assert_eq!(there_now(&mut written), seen[1..]);
    assert_eq!(durable.position(), seen[2].next);
    wal.close().unwrap();
    assert!(matches!(durable.next(), Err(Error::Failed { .. })));
    assert!(matches!(
        written.records().next(),
        Some(Err(Error::Failed { .. }))
    ));
}

#[test]
fn what_was_given_up_is_named_and_what_was_read_before_is_no_loss() {
    let io = Sim::new(1).io();
    let wal = Wal::open(&io, dir(), &options()).unwrap();
    let first = wal.oldest_lsn();
    let mut early = wal.follow(first, Horizon::Durable);
    let mut level = wal.follow(first, Horizon::Durable);
    let fill = || {
        let before = wal.oldest_lsn();
        while wal.stats().segments < 3 {
            wal.append(&[1; 5000]).unwrap().wait().unwrap();
            let _ = wal.step().unwrap();
        }
        before
    };
    for _ in 0..4 {
        fill();
        // Everything is read, and the follower rests at the end of what is given up now.
        let seen = there_now(&mut level);
        assert!(seen.len() > 5);
        wal.truncate_before(wal.next_lsn()).unwrap();
        assert_eq!(wal.stats().segments, 1);
    }
    let lost = early.next().unwrap_err();
    assert!(
        matches!(lost, Error::NotFound { lsn, .. } if lsn == first),
        "{lost}"
    );
    assert!(
        lost.to_string().contains(&wal.oldest_lsn().to_string()),
        "{lost}"
    );
}

#[test]
fn positions_are_there_for_others() {
    let io = Sim::new(1).io();
    let identity = |io: &Io| {
        let file = afterimage_log::ControlFile::open(io, dir(), false).unwrap();
        file.current().identity
    };
    let wal = Wal::open(&io, dir(), &options()).unwrap();
    let read = || {
        Positions::read(&io, dir(), &identity(&io))
            .unwrap()
            .unwrap()
    };
    assert_eq!(read().durable, wal.durable_lsn());
    for n in 0..40u8 {
        let ticket = wal.append(&[n; 3000]).unwrap();
        assert!(read().durable < ticket.end());
        ticket.wait().unwrap();
        assert_eq!(read().durable, ticket.end());
        let _ = wal.step().unwrap();
    }
    assert_eq!(read().oldest, wal.oldest_lsn());
    wal.truncate_before(wal.next_lsn()).unwrap();
    assert_eq!(read().oldest, wal.oldest_lsn());
    assert!(read().oldest > Lsn::new(2 * (64 << 10)).unwrap());
}

struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_task_is_woken_when_there_is_something_to_see_and_not_before() {
    let io = Sim::new(1).io();
    let wal = Wal::open(&io, dir(), &options()).unwrap();
    let mut follower = wal.follow(wal.oldest_lsn(), Horizon::Durable);
    let count = Arc::new(Counting(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    for round in 0..5 {
        assert!(follower.poll_next(&mut context).is_pending());
        assert!(follower.poll_next(&mut context).is_pending());
        let ticket = wal.append(&[round]).unwrap();
        assert_eq!(count.0.load(Relaxed), usize::from(round));
        ticket.wait().unwrap();
        assert_eq!(count.0.load(Relaxed), usize::from(round) + 1);
        let Poll::Ready(Ok(record)) = follower.poll_next(&mut context) else {
            panic!("it is durable")
        };
        assert_eq!(record.payload, [round]);
    }
    assert!(follower.poll_next(&mut context).is_pending());
    wal.close().unwrap();
    assert_eq!(count.0.load(Relaxed), 6, "the end wakes too");
    assert!(matches!(
        follower.poll_next(&mut context),
        Poll::Ready(Err(_))
    ));
}

/// Writers and followers as threads, in many orders: every follower sees every record, in order, and none sleeps for ever.
#[test]
fn nobody_sleeps_through_what_he_waits_for() {
    for seed in 0..60 {
        let sim = Sim::new(seed);
        let wal = Wal::open(&sim.io(), dir(), &options()).unwrap();
        let mut bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
        for writer in 0..2u8 {
            let wal = wal.clone();
            let body = move || {
                for n in 0..10u8 {
                    wal.append(&[writer, n]).unwrap().wait().unwrap();
                }
            };
            bodies.push((format!("writer {writer}"), Box::new(body)));
        }
        for horizon in [Horizon::Durable, Horizon::Written] {
            let mut follower = wal.follow(wal.oldest_lsn(), horizon);
            let body = move || {
                let mut next = [0, 0];
                for record in follower.records().take(20) {
                    let payload = record.unwrap().payload;
                    assert_eq!(payload[1], next[payload[0] as usize]);
                    next[payload[0] as usize] += 1;
                }
                assert_eq!(next, [10, 10]);
            };
            bodies.push((format!("{horizon:?}"), Box::new(body)));
        }
        let end = sim.run_threads(bodies);
        assert!(matches!(end, RunEnd::Finished), "seed {seed}: {end:?}");
        wal.close().unwrap();
    }
}

/// What followers have shown: LSN and place in the batch, and the payload.
type Shown = RefCell<BTreeMap<(Lsn, u32), Vec<u8>>>;

/// Opens, appends with and without waiting, closes, opens again; followed all the while.
fn life(sim: &Sim, shown: &Shown) {
    let io = sim.io();
    let mut outside: Option<WalReader> = None;
    for round in 0..2u8 {
        let wal = Wal::open(&sim.io(), dir(), &options()).unwrap();
        let from = outside
            .as_ref()
            .map_or(wal.oldest_lsn(), WalReader::position);
        let mut follower = wal.follow(from, Horizon::Durable);
        for n in 0..24u8 {
            let payload = vec![round * 100 + n; 900 * (1 + usize::from(n % 5))];
            let ticket = if n % 5 == 4 {
                wal.append_batch(&[&payload[..], b"second"]).unwrap()
            } else {
                wal.append(&payload).unwrap()
            };
            match n % 3 {
                0 => ticket.wait_level(Durability::Os).unwrap(),
                1 => {}
                _ => ticket.wait().unwrap(),
            }
            let _ = wal.step().unwrap();
            let outside =
                outside.get_or_insert_with(|| WalReader::open(&io, dir(), Start::Oldest).unwrap());
            let from_outside = read_now(outside);
            let from_inside = there_now(&mut follower);
            assert!(from_outside == from_inside);
            for record in from_outside {
                shown
                    .borrow_mut()
                    .insert((record.lsn, record.index), record.payload);
            }
        }
        wal.close().unwrap();
    }
}

#[test]
fn a_crash_at_every_call_takes_nothing_back_that_was_shown() {
    let whole = Sim::new(3);
    life(&whole, &Shown::default());
    let mut seen = 0;
    for at in 0..whole.calls() {
        let (sim, shown) = (Sim::new(3), Shown::default());
        sim.set_hook(Some(Box::new(move |call, _| {
            if call.index == at {
                Verdict::Crash
            } else {
                Verdict::Continue
            }
        })));
        assert!(sim.catch(|| life(&sim, &shown)).is_err(), "call {at}");
        let shown = shown.into_inner();
        seen += shown.len();
        let disk = sim.snapshot();
        for policy in [
            Survival::None,
            Survival::All,
            Survival::NewestOnly,
            Survival::Random { seed: at },
        ] {
            let again = Sim::from_image(1, &disk.crash(&policy));
            let wal = Wal::open(&again.io(), dir(), &options()).unwrap();
            let kept: BTreeMap<_, _> = wal
                .read(wal.oldest_lsn())
                .map(Result::unwrap)
                .map(|r| ((r.lsn, r.index), r.payload))
                .collect();
            for (place, payload) in &shown {
                assert_eq!(
                    kept.get(place),
                    Some(payload),
                    "call {at}, {policy:?}: {place:?}"
                );
            }
        }
    }
    assert!(seen > 1000, "{seen}");
}

#[test]
fn a_reader_outside_without_positions_goes_by_what_proves() {
    let io = Sim::new(1).io();
    let wal = Wal::open(&io, dir(), &options()).unwrap();
    let hide = || {
        let file = io.open(&dir().join("status"), afterimage_io::OpenMode::Create);
        file.unwrap().set_len(0).unwrap();
    };
    wal.append(b"a").unwrap().wait().unwrap();
    hide();
    let mut reader = WalReader::open(&io, dir(), Start::Oldest).unwrap();
    assert_eq!(read_now(&mut reader), [], "nothing proves it yet");
    wal.append(b"b").unwrap().wait().unwrap();
    hide();
    let seen = read_now(&mut reader);
    assert_eq!(
        seen.len(),
        1,
        "the watermark of the second proves the first"
    );
    wal.close().unwrap();
    hide();
    assert_eq!(read_now(&mut reader).len(), 1, "a clean end proves all");
    let mut again = WalReader::open(&io, dir(), Start::At(seen[0].next)).unwrap();
    assert_eq!(read_now(&mut again).len(), 1);
    let mut within = WalReader::open(
        &io,
        dir(),
        Start::At(Lsn::new(seen[0].lsn.get() + 1).unwrap()),
    )
    .unwrap();
    assert_eq!(read_now(&mut within).len(), 1, "from the next record on");
    let mut end = WalReader::open(&io, dir(), Start::End).unwrap();
    assert_eq!(read_now(&mut end), []);
}

#[test]
fn a_reader_outside_outlives_restarts_and_recycling() {
    let sim = Sim::new(5);
    let io = sim.io();
    let mut reader: Option<WalReader> = None;
    let mut lazy: Option<WalReader> = None;
    let mut next = 0u32;
    let mut expected = 0u32;
    for life in 0..6 {
        let wal = Wal::open(&io, dir(), &options()).unwrap();
        let reader =
            reader.get_or_insert_with(|| WalReader::open(&io, dir(), Start::Oldest).unwrap());
        lazy.get_or_insert_with(|| WalReader::open(&io, dir(), Start::Oldest).unwrap());
        for round in 0..60 {
            let ticket = wal.append(&next.to_le_bytes().repeat(700)).unwrap();
            next += 1;
            if round % 7 == 6 {
                ticket.wait().unwrap();
            }
            let _ = wal.step().unwrap();
            if round % 3 == 0 {
                for record in read_now(reader) {
                    assert_eq!(record.payload, expected.to_le_bytes().repeat(700));
                    expected += 1;
                }
            }
            if round % 20 == 19 {
                wal.truncate_before(reader.position()).unwrap();
            }
        }
        if life % 2 == 0 {
            // The disk fails: what was not durable is of unknown outcome, and the next life finds an unclean log.
            let last = wal.append(b"").unwrap();
            sim.set_hook(Some(Box::new(|call, _| {
                if call.kind == CallKind::Sync {
                    Verdict::Error(std::io::ErrorKind::Other)
                } else {
                    Verdict::Continue
                }
            })));
            assert!(last.wait().is_err());
            sim.set_hook(None);
            drop(wal);
            let wal = Wal::open(&io, dir(), &options()).unwrap();
            assert_ne!(wal.opened(), &afterimage_log::Tail::Clean);
            let mut rest = read_now(reader);
            if rest.last().is_some_and(|r| r.payload.is_empty()) {
                rest.pop();
            }
            for record in rest {
                assert_eq!(record.payload, expected.to_le_bytes().repeat(700));
                expected += 1;
            }
            next = expected;
            wal.close().unwrap();
        } else {
            wal.close().unwrap();
        }
    }
    assert!(expected > 300, "{expected}");
    let lost = std::iter::from_fn(|| lazy.as_mut()?.try_next().transpose()).find_map(Result::err);
    assert!(matches!(lost, Some(Error::NotFound { .. })), "{lost:?}");
}

#[test]
fn a_segment_is_left_for_the_next_without_looking_at_all_of_them() {
    let sim = Sim::new(1);
    let io = sim.io();
    let wal = Wal::open(&io, dir(), &options()).unwrap();
    for n in 0..200u32 {
        drop(wal.append(&n.to_le_bytes().repeat(2500)).unwrap());
    }
    wal.sync().unwrap();
    let segments = wal.stats().segments;
    assert!(segments > 30, "{segments}");
    let mut reader = WalReader::open(&io, dir(), Start::Oldest).unwrap();
    let headers = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&headers);
    sim.set_hook_reads(true);
    sim.set_hook(Some(Box::new(move |call, _| {
        if call.kind == CallKind::Read && call.offset == 0 && call.path.ends_with(".log") {
            counted.fetch_add(1, Relaxed);
        }
        Verdict::Continue
    })));
    assert_eq!(read_now(&mut reader).len(), 200);
    sim.set_hook(None);
    let headers = headers.load(Relaxed) as u64;
    assert!(
        headers <= segments,
        "{headers} headers read for {segments} segments"
    );
}

/// A log of 64 KiB segments, of which each is closed at the same place; it was never cut.
fn of_three_segments(io: &Io) -> (Wal, Vec<Lsn>) {
    let wal = Wal::open(io, dir(), &options()).unwrap();
    let lsns = (0..12u8).map(|n| {
        let ticket = wal.append(&[n; 9000]).unwrap();
        ticket.wait().unwrap();
        ticket.lsn()
    });
    let lsns = lsns.collect();
    (wal, lsns)
}

#[test]
fn a_reader_may_begin_before_the_log() {
    let io = Sim::new(1).io();
    let (_wal, lsns) = of_three_segments(&io);
    for from in [1, 5, 4096, 64 << 10, (64 << 10) + 1] {
        let start = Start::At(Lsn::new(from).unwrap());
        let mut reader = WalReader::open(&io, dir(), start).unwrap();
        let seen: Vec<_> = read_now(&mut reader).iter().map(|r| r.lsn).collect();
        assert_eq!(seen, lsns, "from {from}");
    }
}

#[test]
fn a_reader_that_begins_beyond_the_end_sees_nothing_below() {
    for ahead in [1, 100, 20_000, 64 << 10, 100_000] {
        let io = Sim::new(1).io();
        let wal = Wal::open(&io, dir(), &options()).unwrap();
        wal.append(b"below").unwrap().wait().unwrap();
        let from = Lsn::new(wal.durable_lsn().get() + ahead).unwrap();
        let mut reader = WalReader::open(&io, dir(), Start::At(from)).unwrap();
        let (mut seen, mut all) = (Vec::new(), Vec::new());
        for n in 0..30u8 {
            let ticket = wal.append(&[n; 9000]).unwrap();
            ticket.wait().unwrap();
            all.push(ticket.lsn());
            seen.extend(read_now(&mut reader).iter().map(|r| r.lsn));
        }
        all.retain(|lsn| *lsn >= from);
        assert_eq!(seen, all, "{ahead} bytes ahead");
    }
}

#[test]
fn the_rest_of_a_closed_segment_is_no_cut() {
    let io = Sim::new(1).io();
    let (wal, lsns) = of_three_segments(&io);
    let segment = |lsn: Lsn| lsn.get() >> 16;
    let behind = lsns.iter().position(|lsn| segment(*lsn) > 1).unwrap();
    let from = Lsn::new((2 << 16) - 50).unwrap();
    assert!(lsns[behind - 1] < from && from < lsns[behind]);
    let mut reader = WalReader::open(&io, dir(), Start::At(from)).unwrap();
    assert_eq!(read_now(&mut reader)[0].lsn, lsns[behind]);
    let mut follower = wal.follow(from, Horizon::Durable);
    assert_eq!(there_now(&mut follower)[0].lsn, lsns[behind]);
    assert_eq!(wal.read(from).count(), lsns.len() - behind);
    assert!(matches!(wal.read_back(from), Err(Error::NotFound { .. })));
    drop(wal);
    let wal = Wal::open(&io, dir(), &options()).unwrap();
    assert_eq!(wal.read(from).count(), lsns.len() - behind);
}

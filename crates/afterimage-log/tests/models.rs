//! Models for loom: the whole log's waiting and waking, and its positions, in every order in which two or three threads
//! can take their steps, with every value that a weakly ordered processor may show them. Built only with `--cfg loom`.
//!
//! The code is the real one, on the simulated disk; the schedules are those with so many preemptions at most, which is
//! where bugs of this kind are found. A wake-up that is lost shows as a deadlock, which loom reports. What is small enough
//! for every schedule there is has its models beside it (`wakers.rs`). With `--cfg planted` too, `SCHEDULES_BUG` switches a
//! planted bug on, to see it found.
#![cfg(loom)]
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as Count, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use afterimage_io::planted::{self, Bug};
use afterimage_io::sim::{FailSync, Sim};
use afterimage_io::sync::{Condvar, Mutex};
use afterimage_io::{Io, JoinHandle};
use afterimage_log::{Appended, Durability, Error, Identity, Log, LogOptions, Lsn, Result};

const SEGMENT: u64 = 64 << 10;
/// So many bytes does a commit write.
const COMMIT: usize = 12_000;
/// A model that has not been through by then is cut off; what it has seen counts.
const MOST: Duration = Duration::from_secs(20);

/// Tries every schedule with so many preemptions at most, and says how many those were.
fn explore(name: &str, preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let bug = std::env::var("SCHEDULES_BUG").ok();
    planted::plant(
        Bug::ALL
            .iter()
            .copied()
            .find(|known| Some(known.name()) == bug.as_deref()),
    );
    let (runs, begun) = (Arc::new(Count::new(0)), Instant::now());
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    builder.preemption_bound = preemptions;
    builder.max_duration = Some(MOST);
    let counted = Arc::clone(&runs);
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        model();
    });
    let took = begun.elapsed();
    let all = if took < MOST { "all" } else { "cut off" };
    println!(
        "{name}: {} schedules in {} ms ({all}, preemptions {preemptions:?})",
        runs.load(Relaxed),
        took.as_millis()
    );
}

fn thread(io: &Io, body: impl FnOnce() + Send + 'static) -> JoinHandle {
    io.spawn("model", body).expect("a thread")
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        background: false,
        ..LogOptions::default()
    }
}

fn log(options: &LogOptions) -> (Sim, Log) {
    let sim = Sim::new(1);
    let identity = Identity {
        database_id: 1,
        timeline_id: 2,
        timeline_ordinal: 1,
    };
    let log = Log::create(&sim.io(), Path::new(""), &identity, 1, options).expect("a log");
    (sim, log)
}

fn append(log: &Log, payload: &[u8]) -> Result<Appended> {
    let mut space = log.reserve(Log::frame_bytes(payload.len(), false))?;
    log.append(&mut space, payload, false, |_, _| ())
}

/// Asks the disk, not the log.
fn is_on_disk(sim: &Sim, end: Lsn) -> bool {
    let disk = sim.snapshot();
    (1..=end.get() / SEGMENT).all(|number| {
        let path = format!("log/00000001-{number:016X}.log");
        let len = (end.get() - number * SEGMENT).min(SEGMENT) as usize;
        let durable = disk.read_durable(Path::new(&path), 0, len);
        durable.is_some() && durable == disk.read_cached(Path::new(&path), 0, len)
    })
}

/// Commits once, and asks the disk whether what was acknowledged is on it.
fn commit(sim: &Sim, log: &Log, level: Durability) {
    let end = append(log, &[7; COMMIT]).expect("room").end;
    log.wait(end, level).expect("the disk is well");
    if level == Durability::Disk {
        assert!(log.durable_lsn() >= end);
        assert!(is_on_disk(sim, end), "acknowledged and not on the disk");
    }
    assert!(log.written_lsn() >= end);
}

fn two_commits(flushes_in_flight: usize, levels: [Durability; 2]) {
    let options = LogOptions {
        flushes_in_flight,
        ..options()
    };
    let (sim, log) = log(&options);
    // The first flush ends a segment, with a record that waits already; what comes later stands in the next one.
    let mut before = 0;
    while log.next_lsn().get() + 2 * COMMIT as u64 + 200 < 2 * SEGMENT {
        append(&log, &[1; COMMIT]).expect("room");
        before += 1;
    }
    log.wait_durable(log.next_lsn()).expect("the disk is well");
    append(&log, &[1; COMMIT]).expect("room");
    let threads = levels.map(|level| {
        let (sim, log) = (sim.clone(), log.clone());
        thread(&sim.io(), move || commit(&sim, &log, level))
    });
    // Each is read after those that may not be above it.
    let durable = log.durable_lsn();
    let written = log.written_lsn();
    assert!(durable <= written && written <= log.next_lsn());
    assert!(is_on_disk(&sim, durable), "durable and not on the disk");
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(log.reader(log.oldest_lsn()).count(), before + 3);
    assert_eq!(log.stats().segments, 2);
}

#[test]
fn what_is_acknowledged_is_on_the_disk_one_flush_at_a_time() {
    explore("commits, one flush at a time", Some(2), || {
        two_commits(1, [Durability::Disk; 2]);
    });
}

#[test]
fn the_durable_position_passes_no_hole() {
    explore("commits, flushes that overlap", Some(2), || {
        two_commits(2, [Durability::Disk; 2]);
    });
}

#[test]
fn written_and_durable_are_waited_for_together() {
    explore("a write and a commit", Some(2), || {
        two_commits(1, [Durability::Os, Durability::Disk]);
    });
}

#[test]
fn a_failed_sync_is_told_to_everybody() {
    explore("a failed sync", Some(2), || {
        two_commits_and_a_failed_sync(1)
    });
}

#[test]
fn a_failed_sync_is_told_to_every_flush_under_way() {
    explore("a failed sync, flushes that overlap", Some(3), || {
        two_commits_and_a_failed_sync(2);
    });
}

fn two_commits_and_a_failed_sync(flushes_in_flight: usize) {
    let options = LogOptions {
        flushes_in_flight,
        ..options()
    };
    let (sim, log) = log(&options);
    sim.fail_sync(FailSync::next().on("0000000000000001.log"));
    let other = (sim.clone(), log.clone());
    let committer = thread(&sim.io(), move || {
        let (sim, log) = other;
        stopped_or_durable(&sim, &log);
    });
    stopped_or_durable(&sim, &log);
    committer.join().expect("no panic");
    assert!(log.failure().is_some());
    assert!(matches!(append(&log, b"more"), Err(Error::Failed { .. })));
}

fn stopped_or_durable(sim: &Sim, log: &Log) {
    let Ok(appended) = append(log, b"commit") else {
        return;
    };
    match log.wait_durable(appended.end) {
        Ok(()) => assert!(is_on_disk(sim, appended.end)),
        Err(e) => assert!(matches!(e, Error::OutcomeUnknown { .. }), "{e}"),
    }
}

#[test]
fn a_stop_from_elsewhere_lets_nobody_sleep() {
    explore("a stop", Some(2), || {
        let (sim, log) = log(&options());
        let other = (sim.clone(), log.clone());
        let committer = thread(&sim.io(), move || stopped_or_durable(&other.0, &other.1));
        let (io, asked) = (sim.io(), log.clone());
        let awaiting = thread(&sim.io(), move || {
            let _ = await_ticket(&io, &asked, asked.next_lsn());
        });
        log.fail("on purpose".into());
        committer.join().expect("no panic");
        awaiting.join().expect("no panic");
    });
}

/// What a task's thread sleeps on.
struct Parker(Mutex<bool>, Condvar);

impl Parker {
    fn park(&self) {
        let mut woken = self.0.lock();
        while !std::mem::take(&mut *woken) {
            woken = self.1.wait(woken);
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *self.0.lock() = true;
        self.1.notify_all();
    }
}

/// What a runtime does with a ticket.
fn await_ticket(io: &Io, log: &Log, end: Lsn) -> Result<()> {
    let parker = Arc::new(Parker(Mutex::new(io, false), Condvar::new(io)));
    let waker = Waker::from(Arc::clone(&parker));
    let mut ticket = std::pin::pin!(log.ticket(end));
    loop {
        if let Poll::Ready(answer) = ticket.as_mut().poll(&mut Context::from_waker(&waker)) {
            return answer;
        }
        parker.park();
    }
}

#[test]
fn a_ticket_is_kept_by_the_thread_that_it_starts() {
    explore("tickets and their thread", Some(2), || {
        let options = LogOptions {
            background: true,
            ..options()
        };
        let (sim, log) = log(&options);
        let ends = [(); 2].map(|()| append(&log, b"ticket").expect("room").end);
        let (io, asked) = (sim.io(), log.clone());
        let other = thread(&sim.io(), move || {
            await_ticket(&io, &asked, ends[1]).expect("kept");
            assert!(asked.durable_lsn() >= ends[1]);
        });
        await_ticket(&sim.io(), &log, ends[0]).expect("kept");
        other.join().expect("no panic");
    });
}

/// One commit in memory has armed the timer, and is on disk by now or not; the next one comes while a step disarms it.
fn a_commit_in_memory_and_a_step(is_first_durable: bool) {
    let (sim, log) = log(&options());
    let first = append(&log, b"first").expect("room");
    log.note_memory_commit();
    if is_first_durable {
        log.wait_durable(first.end).expect("the disk is well");
    }
    sim.advance_clock(Duration::from_secs(1));
    let other = log.clone();
    let stepper = thread(&sim.io(), move || {
        let _ = other.step().expect("a step");
    });
    let end = append(&log, b"second").expect("room").end;
    log.note_memory_commit();
    stepper.join().expect("no panic");
    // Whatever the first step has seen: a second one, after the delay, leaves nothing behind.
    sim.advance_clock(Duration::from_secs(1));
    let _ = log.step().expect("a step");
    assert!(log.durable_lsn() >= end, "nobody will ever flush it");
}

#[test]
fn nothing_stays_in_memory_without_a_timer() {
    explore("a commit in memory and a step", None, || {
        a_commit_in_memory_and_a_step(false);
    });
    explore("a commit in memory, a step, nothing else", None, || {
        a_commit_in_memory_and_a_step(true);
    });
}

#[test]
fn a_reader_sees_a_prefix_of_what_is_appended_and_flushed() {
    explore("a reader, an appender, a flush", Some(2), || {
        let (sim, log) = log(&options());
        append(&log, b"0").expect("room");
        let other = log.clone();
        let appender = thread(&sim.io(), move || {
            let end = append(&other, b"1").expect("room").end;
            other.wait_durable(end).expect("the disk is well");
            append(&other, b"2").expect("room");
        });
        let seen: Vec<_> = log
            .reader(log.oldest_lsn())
            .map(|frame| frame.expect("whole").payload)
            .collect();
        appender.join().expect("no panic");
        let all: [&[u8]; 3] = [b"0", b"1", b"2"];
        assert!(!seen.is_empty());
        assert!(seen.iter().zip(all).all(|(seen, all)| seen == all));
    });
}

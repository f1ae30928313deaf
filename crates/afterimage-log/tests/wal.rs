//! A log in a directory of its own: what the README promises of `Wal`, in a simulated and in a real directory.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sim::{
    CallKind, DiskState, Event, Image, Misread, Observer, RunEnd, Sim, Survival, Verdict,
};
use afterimage_io::sync::Mutex;
use afterimage_log::{Durability, Error, LogOptions, Lsn, Record, Tail, Wal};

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        background: false,
        ..LogOptions::default()
    }
}

fn payloads(wal: &Wal, from: Lsn) -> Vec<Vec<u8>> {
    wal.read(from).map(|r| r.unwrap().payload).collect()
}

#[test]
fn a_log_is_made_closed_and_found_again() {
    let io = Sim::new(1).io();
    let dir = Path::new("events");
    let mut all = Vec::new();
    for round in 0..5u8 {
        let wal = Wal::open(&io, dir, &options()).unwrap();
        assert_eq!(wal.opened(), &Tail::Clean);
        assert_eq!(payloads(&wal, wal.oldest_lsn()), all);
        for n in 0..20u8 {
            let payload = vec![round * 20 + n; 3000];
            drop(wal.append(&payload).unwrap());
            all.push(payload);
        }
        wal.close().unwrap();
    }
}

#[test]
fn the_last_handle_closes_the_log() {
    let io = Sim::new(1).io();
    let wal = Wal::open(&io, Path::new(""), &options()).unwrap();
    let other = wal.clone();
    drop(wal.append(b"kept").unwrap());
    drop(wal);
    drop(other.append(b"too").unwrap());
    drop(other);
    let wal = Wal::open(&io, Path::new(""), &options()).unwrap();
    assert_eq!(wal.opened(), &Tail::Clean);
    assert_eq!(payloads(&wal, wal.oldest_lsn()), [&b"kept"[..], b"too"]);
}

/// Of the last page that it writes the system reads nothing.
struct WholePages;

impl Observer for WholePages {
    fn event(&self, _: &DiskState, event: &Event<'_>) {
        if let Event::Written { path, offset, data } = event
            && path.ends_with(".log")
        {
            let end = offset + data.len() as u64;
            assert_eq!(end % 4096, 0, "{path}");
        }
    }
}

/// Past the page cache a commit writes the disk's sectors that it touches; through it, the page that the system would write anyway.
#[test]
fn a_commit_past_the_page_cache_writes_sectors() {
    let (past, through) = ((true, 512, 1024), (false, 4096, 8192));
    for ways in [[past; 4], [through; 4], [past, through, past, through]] {
        let sim = Sim::new(1);
        let (io, dir) = (sim.io(), Path::new("events"));
        let mut all = Vec::new();
        for (round, (direct, least, most)) in (0u8..).zip(ways) {
            let options = LogOptions {
                wal_direct_io: Some(direct),
                ..options()
            };
            let wal = Wal::open(&io, dir, &options).unwrap();
            assert_eq!(payloads(&wal, wal.oldest_lsn()), all);
            for n in 0..50u8 {
                let before = wal.stats().bytes_written;
                let payload = vec![round * 50 + n; 100];
                wal.append(&payload).unwrap().wait().unwrap();
                all.push(payload);
                let written = wal.stats().bytes_written - before;
                assert!((least..=most).contains(&written), "{written} bytes");
                assert_eq!(written % least, 0);
            }
            // What is only written, and not synced, goes by way of the page cache in its pages.
            sim.set_observer(Some(Arc::new(WholePages)));
            let ticket = wal.append(&[round; 100]).unwrap();
            ticket.wait_level(Durability::Os).unwrap();
            sim.set_observer(None);
            all.push(vec![round; 100]);
            wal.close().unwrap();
        }
    }
}

#[test]
fn after_a_close_other_handles_are_told() {
    let io = Sim::new(1).io();
    let wal = Wal::open(&io, Path::new(""), &options()).unwrap();
    let other = wal.clone();
    wal.close().unwrap();
    assert!(matches!(other.append(b"late"), Err(Error::Failed { .. })));
}

#[test]
fn a_log_is_open_once() {
    let io = Sim::new(1).io();
    let wal = Wal::open(&io, Path::new(""), &options()).unwrap();
    let second = Wal::open(&io, Path::new(""), &options());
    assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
    wal.close().unwrap();
    Wal::open(&io, Path::new(""), &options()).unwrap();
}

#[test]
fn a_batch_is_read_whole_and_resumed_whole() {
    let io = Sim::new(1).io();
    let wal = Wal::open(&io, Path::new(""), &options()).unwrap();
    let before = wal.append(b"before").unwrap();
    let batch = wal.append_batch(&[&b"a"[..], b"", b"ccc"]).unwrap();
    drop(wal.append(b"after").unwrap());
    let records: Vec<_> = wal.read(before.lsn()).map(Result::unwrap).collect();
    let seen: Vec<_> = records.iter().map(|r| &r.payload[..]).collect();
    assert_eq!(seen, [&b"before"[..], b"a", b"", b"ccc", b"after"]);
    assert_eq!(wal.read_back(batch.lsn()).unwrap(), records[1..4]);
    for (record, again) in records[1..4].iter().zip([4, 4, 1]) {
        assert_eq!(wal.read(record.next).count(), again, "{record:?}");
    }
    assert!(
        records[1..4]
            .iter()
            .enumerate()
            .all(|(n, r)| r.index as usize == n)
    );
}

#[test]
fn a_batch_of_nothing_waits_for_what_was_appended_before() {
    let io = Sim::new(1).io();
    let wal = Wal::open(&io, Path::new(""), &options()).unwrap();
    drop(wal.append(b"before").unwrap());
    let end = wal.next_lsn();
    let nothing = wal.append_batch(&[b""; 0]).unwrap();
    assert_eq!((wal.next_lsn(), nothing.end()), (end, end));
    assert!(!nothing.is_durable().unwrap());
    nothing.wait().unwrap();
    assert!(wal.durable_lsn() >= end);
    assert_eq!(wal.read(wal.oldest_lsn()).count(), 1);
}

#[test]
fn times_follow_the_clock_and_never_run_backwards() {
    let sim = Sim::new(1);
    let wal = Wal::open(&sim.io(), Path::new(""), &options()).unwrap();
    let before = sim.io().wall_clock();
    for n in 0..20u64 {
        let ticket = wal.append(&n.to_le_bytes()).unwrap();
        sim.advance_clock(Duration::from_millis(300));
        if n % 3 == 0 {
            ticket.wait().unwrap();
        } else if n % 3 == 1 {
            // The late flush, then the idle log's watermark.
            let _ = (wal.step().unwrap(), wal.step().unwrap());
        }
    }
    let times: Vec<_> = wal
        .read(wal.oldest_lsn())
        .map(|r| r.unwrap().time.unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    for (n, time) in times.iter().enumerate() {
        let exact = before + n as u64 * 300_000;
        assert!(exact.abs_diff(*time) <= 600_000, "{n}: {time}");
    }
}

/// F37. Somebody sets the clock, forward, back, by years; it stands still; the machine starts again in another year.
/// Times never run backwards, and what waits for a moment goes by the other clock.
#[test]
fn the_clock_jumps_and_times_do_not_run_backwards() {
    let hour = 3_600_000_000i64;
    let jumps = [hour, -hour, -hour, 90_000 * hour, -180_000 * hour, 0, hour];
    let mut image = Sim::new(1).snapshot().crash(&Survival::None);
    let mut written = 0u64;
    for year in [0, -9_000, 9_000, -18_000] {
        let sim = Sim::from_image(1, &image);
        sim.jump_wall_clock(year * hour);
        let wal = Wal::open(&sim.io(), Path::new(""), &options()).unwrap();
        for (n, jump) in jumps.into_iter().enumerate() {
            sim.jump_wall_clock(jump);
            sim.stop_wall_clock(n % 3 == 1);
            let ticket = wal.append(&written.to_le_bytes()).unwrap();
            written += 1;
            sim.advance_clock(Duration::from_secs(1));
            // Nobody waits for it; its time to be flushed has come all the same.
            let _ = wal.step().unwrap();
            assert!(ticket.is_durable().unwrap(), "{year} {n}");
        }
        let times: Vec<u64> = wal
            .read(wal.oldest_lsn())
            .map(|r| r.unwrap().time.unwrap())
            .collect();
        assert_eq!(times.len() as u64, written);
        assert!(times.is_sorted(), "{times:?}");
        sim.crash_now();
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
            || drop(wal),
        )));
        image = sim.snapshot().crash(&Survival::None);
    }
}

/// F22. Each read of the log by an open is answered once with a bit turned around. The open may be refused, or may take the
/// last batch for a torn one; but nothing that was right is written over with what was wrong.
#[test]
fn what_is_read_wrong_once_is_not_written_down() {
    for clean in [true, false] {
        let sim = Sim::new(1);
        let wal = Wal::open(&sim.io(), Path::new(""), &options()).unwrap();
        for n in 0..60 {
            wal.append(&numbered(n)).unwrap().wait().unwrap();
        }
        if !clean {
            sim.crash_now();
        }
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
            || drop(wal),
        )));
        let image = sim.snapshot().crash(&Survival::None);
        let mut refused = 0;
        for read in 0..60u64 {
            for part in [0, 3, 5, 8] {
                let sim = Sim::from_image(1, &image);
                let mut reads = 0;
                sim.set_hook_reads(true);
                sim.set_hook(Some(Box::new(move |call, _| {
                    let is_log = call.kind == CallKind::Read && call.path.ends_with(".log");
                    reads += u64::from(is_log);
                    match is_log && reads == read + 1 {
                        true => Verdict::Misread(Misread::Flip((call.len * part / 8) as usize)),
                        false => Verdict::Continue,
                    }
                })));
                let opened = Wal::open(&sim.io(), Path::new(""), &options());
                sim.set_hook(None);
                match opened {
                    Ok(wal) => wal.append(b"more").unwrap().wait().unwrap(),
                    Err(_) => refused += 1,
                }
                let sim = Sim::from_image(1, &sim.snapshot().page_cache());
                let wal = Wal::open(&sim.io(), Path::new(""), &options()).unwrap();
                let found = wal.read(wal.oldest_lsn()).filter(|r| r.is_ok()).count();
                assert!(found >= 59, "{clean} {read} {part}: {found}");
                drop(wal);
                Wal::verify(&sim.io(), Path::new("")).unwrap();
            }
        }
        assert!(refused > 0);
    }
}

#[test]
fn too_large_is_refused_and_harms_nothing() {
    let io = Sim::new(1).io();
    let wal = Wal::open(&io, Path::new(""), &options()).unwrap();
    let large = vec![0; wal.max_payload() + 1];
    assert!(matches!(wal.append(&large), Err(Error::TooLarge { .. })));
    let half = &large[..large.len() / 2];
    assert!(matches!(
        wal.append_batch(&[half, half]),
        Err(Error::TooLarge { .. })
    ));
    wal.append(&large[1..]).unwrap().wait().unwrap();
    assert_eq!(wal.read(wal.oldest_lsn()).count(), 1);
}

/// What a life has been promised: numbers below `acknowledged` are there, none at or above `appended` is, and none
/// below `given_up` need be.
#[derive(Default)]
struct Promise {
    appended: AtomicU64,
    acknowledged: AtomicU64,
    given_up: AtomicU64,
}

fn numbered(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(1 + (n % 7) as usize * 120)
}

/// Opens, appends with and without waiting, single and in batches of two, gives up segments, closes, opens again.
fn life(sim: &Sim, promise: &Promise) {
    for _ in 0..2 {
        let wal = Wal::open(&sim.io(), Path::new("q"), &options()).unwrap();
        for round in 0..30 {
            let n = promise.appended.load(Relaxed);
            let single = round % 3 != 0;
            promise
                .appended
                .store(if single { n + 1 } else { n + 2 }, Relaxed);
            let ticket = if single {
                wal.append(&numbered(n)).unwrap()
            } else {
                wal.append_batch(&[numbered(n), numbered(n + 1)]).unwrap()
            };
            if round % 4 == 3 {
                ticket.wait().unwrap();
                promise
                    .acknowledged
                    .store(promise.appended.load(Relaxed), Relaxed);
            }
            if round == 19 {
                promise.given_up.store(n, Relaxed);
                wal.truncate_before(ticket.lsn()).unwrap();
            }
            let _ = wal.step().unwrap();
        }
        let all = promise.appended.load(Relaxed);
        wal.close().unwrap();
        promise.acknowledged.store(all, Relaxed);
    }
}

fn check(image: &Image, promise: &Promise, context: &str) {
    let sim = Sim::from_image(1, image);
    let first = records(&sim, promise, context);
    // Recovered, not closed, and the power goes again.
    let again = Sim::from_image(2, &sim.snapshot().crash(&Survival::None));
    assert_eq!(
        first,
        records(&again, promise, context),
        "{context}: the second open"
    );
}

fn records(sim: &Sim, promise: &Promise, context: &str) -> Vec<Record> {
    let wal = Wal::open(&sim.io(), Path::new("q"), &options())
        .unwrap_or_else(|e| panic!("{context}: {e}"));
    let found: Vec<_> = wal.read(wal.oldest_lsn()).map(Result::unwrap).collect();
    let number = |r: &Record| u64::from_le_bytes(r.payload[..8].try_into().unwrap());
    let first = found.first().map_or(promise.given_up.load(Relaxed), number);
    assert!(
        first <= promise.given_up.load(Relaxed),
        "{context}: begins with {first}"
    );
    for (record, n) in found.iter().zip(first..) {
        assert_eq!(record.payload, numbered(n), "{context}");
    }
    let end = first + found.len() as u64;
    assert!(
        end >= promise.acknowledged.load(Relaxed),
        "{context}: ends at {end}"
    );
    assert!(
        end <= promise.appended.load(Relaxed),
        "{context}: ends at {end}"
    );
    assert!(
        found.last().is_none_or(|r| r.next != r.lsn),
        "{context}: half a batch"
    );
    // The process goes without a word: no handle may close the log.
    std::mem::forget(wal);
    found
}

#[test]
fn a_crash_at_every_call_keeps_every_promise() {
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
            check(
                &disk.crash(&policy),
                &promise,
                &format!("call {at}, {policy:?}"),
            );
            states += 1;
        }
    }
    println!("{} calls, {states} crash states", whole.calls());
}

#[test]
fn a_real_directory_with_its_own_thread() {
    let home = std::env::temp_dir().join(format!("afterimage-wal-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&home);
    let io = Io::os();
    let wal = Wal::open(
        &io,
        &home,
        &LogOptions {
            segment_bytes: 64 << 10,
            ..LogOptions::default()
        },
    )
    .unwrap();
    std::thread::scope(|scope| {
        for t in 0..4u8 {
            let wal = wal.clone();
            scope.spawn(move || {
                (0..50).for_each(|_| wal.append(&[t; 500]).unwrap().wait().unwrap())
            });
        }
    });
    drop(wal);
    let wal = Wal::open(&io, &home, &LogOptions::default()).unwrap();
    assert_eq!(wal.read(wal.oldest_lsn()).count(), 200);
    drop(wal);
    std::fs::remove_dir_all(&home).unwrap();
}

/// Somebody appends while somebody closes: what was acknowledged is there, and the log opens.
#[test]
fn a_close_beside_appends_leaves_a_whole_log() {
    for (seed, pad) in (0..60).flat_map(|seed| [(seed, false), (seed, true)]) {
        let sim = Sim::new(seed);
        let options = LogOptions {
            wal_pad_flush: pad,
            ..options()
        };
        let wal = Wal::open(&sim.io(), Path::new("events"), &options).unwrap();
        let acknowledged = Arc::new(Mutex::new(&sim.io(), Vec::new()));
        let mut bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
        for n in 0..2u8 {
            let (wal, acknowledged) = (wal.clone(), Arc::clone(&acknowledged));
            let appends = move || {
                for _ in 0..200 {
                    let ticket = match wal.append(&[n; 100]) {
                        Ok(ticket) => ticket,
                        Err(Error::Failed { .. }) => return,
                        Err(e) => panic!("{e}"),
                    };
                    if ticket.wait().is_ok() {
                        acknowledged.lock().push(ticket.lsn());
                    }
                    let _ = wal.step();
                }
            };
            bodies.push((format!("appender {n}"), Box::new(appends)));
        }
        for n in 0..2u8 {
            let (wal, io) = (wal.clone(), sim.io());
            let closes = move || {
                io.sleep(std::time::Duration::from_micros(300));
                let log = wal.clone();
                wal.close().unwrap();
                // The second too answers only when the first is done.
                assert!(matches!(log.append(b"late"), Err(Error::Failed { .. })));
            };
            bodies.push((format!("closer {n}"), Box::new(closes)));
        }
        assert_eq!(sim.run_threads(bodies), RunEnd::Finished);
        drop(wal);
        let wal = Wal::open(&sim.io(), Path::new("events"), &options)
            .unwrap_or_else(|e| panic!("seed {seed}, padded {pad}: {e}"));
        for lsn in acknowledged.lock().iter() {
            wal.read_back(*lsn).unwrap();
        }
    }
}

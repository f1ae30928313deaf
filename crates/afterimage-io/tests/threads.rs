//! Many threads in a simulated world: the same seed is the same run, different seeds find different ones, deadlocks
//! are found, and a crash ends every thread.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use afterimage_io::sim::{Body, RunEnd, Sim, Survival, Verdict};
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_io::sync::{Condvar, Mutex, RwLock, WaitWord};
use afterimage_io::{Io, OpenMode};

fn body(name: &str, work: impl FnOnce() + Send + 'static) -> Body {
    (name.to_owned(), Box::new(work))
}

/// Some threads that write their names into a shared list; the order is the schedule.
fn race(seed: u64) -> (Vec<u8>, u64) {
    let sim = Sim::new(seed);
    let io = sim.io();
    let order = Arc::new(Mutex::new(&io, Vec::new()));
    let bodies = (0..4_u8).map(|me| {
        let (io, order) = (io.clone(), Arc::clone(&order));
        body(&format!("t{me}"), move || {
            let file = io.open(Path::new("f"), OpenMode::Create).expect("there");
            for step in 0..5_u64 {
                order.lock().push(me);
                file.write_all_at(step, &[me]).expect("written");
            }
        })
    });
    assert_eq!(sim.run_threads(bodies.collect()), RunEnd::Finished);
    let order = order.lock().clone();
    (order, sim.trace_hash())
}

#[test]
fn a_seed_is_a_schedule() {
    let mut orders = BTreeSet::new();
    let mut traces = BTreeSet::new();
    for seed in 0..40 {
        let (order, trace) = race(seed);
        assert_eq!(race(seed), (order.clone(), trace), "seed {seed} replays");
        orders.insert(order);
        traces.insert(trace);
    }
    assert!(orders.len() > 30, "{} schedules of 40", orders.len());
    assert_eq!(traces.len(), 40);
}

#[test]
fn a_lost_update_is_found() {
    let lost = |seed: u64| {
        let sim = Sim::new(seed);
        let io = sim.io();
        let value = Arc::new(RwLock::new(&io, 0));
        let add = || {
            let value = Arc::clone(&value);
            body("adder", move || {
                let seen = *value.read();
                *value.write() = seen + 1;
            })
        };
        assert_eq!(sim.run_threads(vec![add(), add()]), RunEnd::Finished);
        *value.read() == 1
    };
    let found = (0..100).filter(|seed| lost(*seed)).count();
    assert!((5..95).contains(&found), "{found} of 100 seeds");
}

#[test]
fn a_deadlock_is_found_and_told() {
    let run = |seed: u64| {
        let sim = Sim::new(seed);
        let io = sim.io();
        let locks = Arc::new((Mutex::new(&io, ()), Mutex::new(&io, ())));
        let (ab, ba) = (Arc::clone(&locks), locks);
        let end = sim.run_threads(vec![
            body("ab", move || {
                let _a = ab.0.lock();
                let _b = ab.1.lock();
            }),
            body("ba", move || {
                let _b = ba.1.lock();
                let _a = ba.0.lock();
            }),
        ]);
        (end, io.has_crashed())
    };
    let ends: Vec<_> = (0..50).map(run).collect();
    let deadlocks = ends.iter().filter(|(end, crashed)| match end {
        RunEnd::Deadlock(waits) => {
            assert_eq!(waits.len(), 2);
            assert!(waits[0].starts_with("ab waits for mutex"), "{waits:?}");
            assert!(crashed, "nothing may be written by what is dropped then");
            true
        }
        _ => false,
    });
    let deadlocks = deadlocks.count();
    assert!((1..50).contains(&deadlocks), "{deadlocks} of 50 seeds");
}

#[test]
fn conditions_and_words_wake_whom_they_should() {
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let io = sim.io();
        let queue = Arc::new((Mutex::new(&io, Vec::new()), Condvar::new(&io)));
        let word = Arc::new(WaitWord::new(&io));
        let sum = Arc::new(AtomicU64::new(0));
        let mut bodies = Vec::new();
        for _ in 0..3 {
            let (queue, sum, word) = (Arc::clone(&queue), Arc::clone(&sum), Arc::clone(&word));
            bodies.push(body("consumer", move || {
                let mut items = queue.0.lock();
                let item = loop {
                    match items.pop() {
                        Some(item) => break item,
                        None => items = queue.1.wait(items),
                    }
                };
                drop(items);
                sum.fetch_add(item, Ordering::Relaxed);
                word.wake_all();
            }));
        }
        bodies.push(body("producer", move || {
            for item in 1..=3 {
                queue.0.lock().push(item);
                queue.1.notify_one();
            }
        }));
        let (all, seen) = (Arc::clone(&word), Arc::clone(&sum));
        bodies.push(body("waiter", move || {
            loop {
                let before = all.load();
                if seen.load(Ordering::Relaxed) == 6 {
                    break;
                }
                all.wait(before);
            }
        }));
        assert_eq!(sim.run_threads(bodies), RunEnd::Finished, "seed {seed}");
        assert_eq!(sum.load(Ordering::Relaxed), 6);
    }
}

#[test]
fn a_lost_wake_up_is_a_deadlock() {
    // The notification may come before the wait: whoever does not look first sleeps for ever.
    let run = |seed: u64| {
        let sim = Sim::new(seed);
        let io = sim.io();
        let place = Arc::new((Mutex::new(&io, ()), Condvar::new(&io)));
        let other = Arc::clone(&place);
        sim.run_threads(vec![
            body("waiter", move || drop(place.1.wait(place.0.lock()))),
            body("waker", move || {
                drop(other.0.lock());
                other.1.notify_all();
            }),
        ])
    };
    let ends: Vec<RunEnd> = (0..50).map(run).collect();
    assert!(ends.contains(&RunEnd::Finished));
    assert!(ends.iter().any(|end| matches!(end, RunEnd::Deadlock(_))));
}

#[test]
fn time_jumps_when_all_wait() {
    let sim = Sim::new(5);
    let io = sim.io();
    let began = std::time::Instant::now();
    let order = Arc::new(Mutex::new(&io, Vec::new()));
    let sleeper = |hours: u64| {
        let (io, order) = (io.clone(), Arc::clone(&order));
        body("sleeper", move || {
            io.sleep(Duration::from_secs(3600 * hours));
            order.lock().push(hours);
        })
    };
    assert_eq!(
        sim.run_threads(vec![sleeper(3), sleeper(1), sleeper(2)]),
        RunEnd::Finished
    );
    assert_eq!(*order.lock(), [1, 2, 3]);
    assert_eq!(io.now().as_secs() / 3600, 3);
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_timeout_ends_a_wait() {
    let sim = Sim::new(6);
    let io = sim.io();
    let place = Arc::new((Mutex::new(&io, false), Condvar::new(&io)));
    let other = Arc::clone(&place);
    let end = sim.run_threads(vec![
        body("impatient", move || {
            let (guard, timed_out) = place.1.wait_timeout(place.0.lock(), Duration::from_secs(1));
            assert!(timed_out && !*guard);
            let (guard, timed_out) = place.1.wait_timeout(guard, Duration::from_secs(100));
            assert!(!timed_out && *guard);
        }),
        body("slow", {
            let io = io.clone();
            move || {
                io.sleep(Duration::from_secs(10));
                *other.0.lock() = true;
                other.1.notify_all();
            }
        }),
    ]);
    assert_eq!(end, RunEnd::Finished);
    assert_eq!(io.now().as_secs(), 10);
}

#[test]
fn spawned_threads_join_the_run() {
    let sim = Sim::new(7);
    let io = sim.io();
    assert!(
        io.spawn("too early", || {}).is_err(),
        "no scheduler, no threads"
    );
    let inner = io.clone();
    let end = sim.run_threads(vec![body("parent", move || {
        let count = Arc::new(AtomicU64::new(0));
        let spawn = |n: u64| {
            let count = Arc::clone(&count);
            inner
                .spawn("child", move || _ = count.fetch_add(n, Ordering::Relaxed))
                .expect("room")
        };
        let children: Vec<_> = (1..=3).map(spawn).collect();
        for child in children {
            child.join().expect("no panic");
        }
        assert_eq!(count.load(Ordering::Relaxed), 6);
        let child = inner.spawn("bad", || std::panic::resume_unwind(Box::new("on purpose")));
        let panicked = child.expect("room").join().expect_err("it panicked");
        assert_eq!(panicked.message(), "on purpose");
    })]);
    assert_eq!(end, RunEnd::Finished);
}

#[test]
fn a_panic_nobody_joined_is_the_runs() {
    let sim = Sim::new(8);
    let run = || {
        sim.run_threads(vec![body("bad", || {
            std::panic::resume_unwind(Box::new(17))
        })])
    };
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).expect_err("panics");
    assert_eq!(payload.downcast_ref(), Some(&17));
}

/// Writers that take a lock over their I/O, waiters that are never woken, and a drop that locks: all must unwind.
fn crash_run(seed: u64, crash_at: u64) -> (RunEnd, u64, u64) {
    struct Counted(Arc<Mutex<u64>>, Io);
    impl Drop for Counted {
        fn drop(&mut self) {
            if !self.1.has_crashed() {
                self.1.note(afterimage_io::Note::Tag("a clean end"));
            }
            *self.0.lock() -= 1;
        }
    }
    let sim = Sim::new(seed);
    sim.set_hook(Some(Box::new(move |call, _| {
        if call.index == crash_at {
            Verdict::Crash
        } else {
            Verdict::Continue
        }
    })));
    let io = sim.io();
    let alive = Arc::new(Mutex::new(&io, 0));
    let turn = Arc::new((Mutex::new(&io, 0_u64), Condvar::new(&io)));
    let writer = |me: u64| {
        let (io, turn, alive) = (io.clone(), Arc::clone(&turn), Arc::clone(&alive));
        body("writer", move || {
            *alive.lock() += 1;
            let _counted = Counted(alive, io.clone());
            let file = io.open(Path::new("f"), OpenMode::Create).expect("there");
            for _ in 0..3 {
                let mut now = turn.0.lock();
                while *now % 3 != me {
                    now = turn.1.wait(now);
                }
                file.write_all_at(*now, &[1]).expect("written");
                *now += 1;
                turn.1.notify_all();
            }
            io.sleep(Duration::from_secs(1));
        })
    };
    let end = sim.run_threads((0..3).map(writer).collect());
    let left = *alive.lock();
    let _ = sim.snapshot().crash(&Survival::Random { seed });
    (end, left, sim.trace_hash())
}

#[test]
fn a_crash_ends_every_thread() {
    for seed in 0..20 {
        for crash_at in (0..10).chain([u64::MAX]) {
            let (end, left, trace) = crash_run(seed, crash_at);
            let expected = if crash_at < 10 {
                RunEnd::Crashed
            } else {
                RunEnd::Finished
            };
            assert_eq!((end, left), (expected, 0), "seed {seed}, call {crash_at}");
            assert_eq!(
                crash_run(seed, crash_at).2,
                trace,
                "replays up to the crash and behind it"
            );
        }
    }
}

#[test]
fn waiting_alone_is_a_deadlock() {
    let sim = Sim::new(1);
    let io = sim.io();
    let place = (Mutex::new(&io, ()), Condvar::new(&io), WaitWord::new(&io));
    let message = |work: &dyn Fn()| {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let payload = caught.expect_err("cannot go on");
        payload
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_default()
    };
    let all: [&dyn Fn(); 3] = [
        &|| {
            let _first = place.0.lock();
            drop(place.0.lock());
        },
        &|| drop(place.1.wait(place.0.lock())),
        &|| place.2.wait(0),
    ];
    for work in all {
        assert!(message(work).starts_with("simulated deadlock"));
    }
    place.2.wait(1);
    let (guard, timed_out) = place.1.wait_timeout(place.0.lock(), Duration::from_secs(5));
    assert!(timed_out && io.now() >= Duration::from_secs(5));
    drop(guard);
    io.sleep(Duration::from_secs(5));
    assert!(io.now() >= Duration::from_secs(10));
    assert_eq!(io.wall_clock() / 1_000_000, 1_767_225_610);
}

#[test]
fn a_spinning_thread_lets_others_run() {
    let sim = Sim::new(4);
    let io = sim.io();
    let ready = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&ready);
    let (spinner, sleeper) = (io.clone(), io);
    let end = sim.run_threads(vec![
        body("spinner", move || {
            while seen.load(Ordering::Acquire) == 0 {
                spinner.yield_now();
            }
        }),
        body("sleeper", move || {
            sleeper.sleep(Duration::from_secs(60));
            ready.store(1, Ordering::Release);
        }),
    ]);
    assert_eq!(end, RunEnd::Finished);
}

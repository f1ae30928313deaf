//! A log's whole life: appenders, readers, segments that come and go, the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use afterimage_log::{Durability, Horizon, Start, Wal};

use super::world::{World, options};
use super::{explore, readers};

/// Appends so many records, each with another kind of promise.
fn work(world: &World, wal: &Wal, thread: u64, count: u64) {
    for i in 0..count {
        let n = thread << 32 | i;
        let ticket = world.append(
            wal,
            &if n % 3 == 0 {
                vec![n, n + (3 << 16)]
            } else {
                vec![n]
            },
        );
        match (thread + i) % 4 {
            0 => {
                ticket.wait().unwrap();
                assert!(wal.durable_lsn() >= ticket.end());
                world.acknowledge(ticket.end());
            }
            1 => {
                ticket.wait_level(Durability::Os).unwrap();
                assert!(wal.stats().written_lsn >= ticket.end());
            }
            2 => ticket.wait_level(Durability::Memory).unwrap(),
            _ => {
                wal.sync().unwrap();
                world.acknowledge(ticket.end());
            }
        }
    }
}

struct Cast {
    background: bool,
    flushes: usize,
    slot: bool,
    /// Somebody gives up whatever he may.
    cutter: bool,
    outside: bool,
}

fn live(cast: &Cast) {
    let world = World::new();
    let wal = world.open(&options(cast.background, cast.flushes));
    let closed = Arc::new(AtomicBool::new(false));
    let (mut workers, mut watchers) = (Vec::new(), Vec::new());
    for thread in 1..=2 {
        let (world, wal) = (world.clone(), wal.clone());
        workers.push(
            world
                .clone()
                .thread("appender", move || work(&world, &wal, thread, 5)),
        );
    }
    if cast.slot {
        wal.create_slot("slot", Start::Oldest).unwrap();
        let (world, wal) = (world.clone(), wal.clone());
        watchers.push(world.clone().thread("owner", move || {
            let seen = readers::own_a_slot(&wal, "slot");
            world.judge_whole("the owner of a slot", &seen);
        }));
    }
    for horizon in [Horizon::Durable, Horizon::Written] {
        let (world, wal, whole) = (world.clone(), wal.clone(), !cast.slot && !cast.cutter);
        watchers.push(world.clone().thread("follower", move || {
            let seen = readers::follow(&wal, horizon);
            world.judge("a follower", &seen);
            if whole {
                world.judge_whole("a follower", &seen);
            }
        }));
    }
    if cast.outside {
        let (world, closed) = (world.clone(), Arc::clone(&closed));
        watchers.push(world.clone().thread("outside", move || {
            let seen = readers::look_from_outside(&world, &closed);
            world.judge("a reader outside", &seen);
        }));
    }
    let (steps, stepping) = (world.clone(), wal.clone());
    let cutter = cast.cutter;
    workers.push(world.thread("steps", move || {
        for _ in 0..4 {
            steps.sim.advance_clock(Duration::from_millis(150));
            let _ = stepping.step().unwrap();
            if cutter {
                stepping.truncate_before(stepping.durable_lsn()).unwrap();
            }
            steps.lose_power();
        }
        stepping.switch_segment().unwrap();
    }));
    for worker in workers {
        worker.join().unwrap();
    }
    wal.close().unwrap();
    closed.store(true, Ordering::Release);
    for watcher in watchers {
        watcher.join().unwrap();
    }
    world.judge_power_cuts();
    world.judge_at_rest();
}

#[test]
fn followers_and_promises() {
    explore("followers and promises", || {
        live(&Cast {
            background: true,
            flushes: 0,
            slot: false,
            cutter: false,
            outside: false,
        });
    });
}

#[test]
fn recycling_under_readers() {
    explore("recycling under readers", || {
        live(&Cast {
            background: false,
            flushes: 2,
            slot: false,
            cutter: true,
            outside: true,
        });
    });
}

#[test]
fn slots_hold_what_readers_need() {
    explore("slots and recycling", || {
        live(&Cast {
            background: false,
            flushes: 1,
            slot: true,
            cutter: true,
            outside: false,
        });
    });
}

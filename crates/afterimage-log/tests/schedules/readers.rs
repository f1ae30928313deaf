//! Those who read a log while it lives: followers in its process, with and without a slot, and readers outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use afterimage_log::{Error, Horizon, Start, Wal, WalReader};

use super::world::{Seen, World, dir, seen};

/// Follows until the log is closed. Where the log gave up what was not read yet, it says so, and goes on with the oldest.
pub fn follow(wal: &Wal, horizon: Horizon) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut follower = wal.follow(wal.oldest_lsn(), horizon);
    loop {
        match follower.next() {
            Ok(record) => {
                if horizon == Horizon::Durable {
                    assert!(
                        record.next <= wal.durable_lsn(),
                        "seen before it is durable"
                    );
                }
                all.push(seen(&record));
            }
            Err(Error::NotFound { .. }) => {
                all.push(Seen::Hole);
                follower = wal.follow(wal.oldest_lsn(), horizon);
            }
            Err(Error::Failed { .. }) => return all,
            Err(e) => panic!("a follower: {e}"),
        }
    }
}

/// Owns a slot, and moves it behind itself: it is never told of a hole. Gives up what it has passed.
pub fn own_a_slot(wal: &Wal, name: &str) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut slot = wal.slot(name).unwrap();
    let mut follower = wal.follow(slot.position(), Horizon::Durable);
    loop {
        match follower.next() {
            Ok(record) => {
                all.push(seen(&record));
                if record.next > record.lsn {
                    slot.advance(record.next).unwrap();
                }
                if all.len() % 3 == 0 {
                    match wal.truncate_before(wal.durable_lsn()) {
                        // What was durable before the end is shown also after it.
                        Ok(_) | Err(Error::Failed { .. }) => {}
                        Err(e) => panic!("giving up: {e}"),
                    }
                }
            }
            Err(Error::Failed { .. }) => return all,
            Err(e) => panic!("the owner of a slot: {e}"),
        }
    }
}

/// Reads from outside until the log is closed and everything was seen.
pub fn look_from_outside(world: &World, closed: &Arc<AtomicBool>) -> Vec<Seen> {
    let io = world.sim.io();
    let mut all = Vec::new();
    let mut reader = WalReader::open(&io, dir(), Start::Oldest).unwrap();
    loop {
        let over = closed.load(Ordering::Acquire);
        match reader.try_next() {
            Ok(Some(record)) => all.push(seen(&record)),
            Ok(None) if over => return all,
            Ok(None) => io.yield_now(),
            Err(Error::NotFound { .. }) => {
                all.push(Seen::Hole);
                reader = WalReader::open(&io, dir(), Start::Oldest).unwrap();
            }
            Err(e) => panic!("a reader outside: {e}"),
        }
    }
}

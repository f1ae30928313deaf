//! The log is cut while somebody follows it, somebody reads it from outside, and somebody moves a slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use afterimage_log::{Error, Horizon, Lsn, Slot, Start, WalReader};

use super::explore;
use super::world::{Seen, World, dir, options, seen};

/// Reads from outside, over the cut; takes back what it is told was cut off. Answers what it has at last.
fn read_over_the_cut(world: &World, cut_at: Lsn, closed: &AtomicBool) -> Vec<Seen> {
    let io = world.sim.io();
    let mut all = Vec::new();
    let mut reader = WalReader::open(&io, dir(), Start::Oldest).unwrap();
    let mut slot = None;
    loop {
        let over = closed.load(Ordering::Acquire);
        match reader.try_next() {
            Ok(Some(record)) => all.push(seen(&record)),
            Ok(None) if over => return all,
            Ok(None) => io.yield_now(),
            Err(Error::Cut { cut, .. }) => {
                assert_eq!(cut, cut_at);
                all.retain(|seen| matches!(seen, Seen::Record(lsn, ..) if *lsn < cut.get()));
            }
            Err(e) => panic!("a reader outside: {e}"),
        }
        // The holder lets nobody have it while it looks at it.
        slot = slot.or_else(|| Slot::open(&io, dir(), "slot").ok());
        if let Some(slot) = &mut slot {
            move_slot(slot, reader.position(), cut_at);
        }
    }
}

fn move_slot(slot: &mut Slot, to: Lsn, cut_at: Lsn) {
    match slot.advance(to) {
        Ok(()) => assert_eq!(slot.position(), to),
        Err(Error::SlotCut { to, cut, .. }) => {
            assert_eq!((cut, slot.position()), (cut_at, to));
            assert!(to <= cut_at);
        }
        // It has not heard of the cut, or it stands behind it already.
        Err(Error::BadPosition { .. }) => {}
        Err(e) => panic!("a slot: {e}"),
    }
}

#[test]
fn a_cut_under_readers() {
    explore("a cut under readers", || {
        let world = World::new();
        let mut wal = world.open(&options(false, 1));
        wal.create_slot("slot", Start::Oldest).unwrap();
        let lsns: Vec<_> = (1..8).map(|n| world.append(&wal, &[n]).lsn()).collect();
        wal.sync().unwrap();
        let cut_at = lsns[3];
        let closed = Arc::new(AtomicBool::new(false));
        let (outside, over) = (world.clone(), Arc::clone(&closed));
        let reader = world.thread("outside", move || {
            let seen = read_over_the_cut(&outside, cut_at, &over);
            outside.judge_whole("a reader outside", &seen);
        });
        let (inside, mut follower) = (world.clone(), wal.follow(lsns[0], Horizon::Durable));
        let follower = inside.thread("follower", move || {
            for n in 1.. {
                match follower.next() {
                    Ok(record) => assert!(matches!(seen(&record), Seen::Record(.., m) if m == n)),
                    Err(Error::Failed { .. }) => return,
                    Err(e) => panic!("a follower: {e}"),
                }
            }
        });
        wal.truncate_after(cut_at).unwrap();
        world.cut(cut_at);
        for n in 20..24 {
            let ticket = world.append(&wal, &[n]);
            ticket.wait().unwrap();
            world.acknowledge(ticket.end());
            world.lose_power();
        }
        wal.close().unwrap();
        closed.store(true, Ordering::Release);
        follower.join().unwrap();
        reader.join().unwrap();
        world.judge_power_cuts();
        world.judge_at_rest();
    });
}

//! Healthy, full, failed: what README's table says of each, row by row.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::time::Duration;

use afterimage_io::sim::{FailSync, Sim};
use afterimage_log::{Durability, Error, Horizon, LogOptions, Lsn, Start, Ticket, Wal, WalReader};

const SEGMENT: u64 = 64 << 10;
/// For some files of the log, and the small ones beside it.
const ROOM: u64 = 5 * SEGMENT;

fn dir() -> &'static Path {
    Path::new("log")
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        background: false,
        ..LogOptions::default()
    }
}

fn open(sim: &Sim) -> Wal {
    Wal::open(&sim.io(), dir(), &options()).unwrap()
}

fn readable(wal: &Wal) -> usize {
    wal.read(wal.oldest_lsn())
        .fold(0, |count, record| count + usize::from(record.is_ok()))
}

/// Appends until it is refused; answers the tickets, none of which was waited for.
fn fill(wal: &Wal) -> Vec<Ticket> {
    let mut tickets = Vec::new();
    loop {
        let before = wal.next_lsn();
        match wal.append(&[7; 5000]) {
            Ok(ticket) => tickets.push(ticket),
            Err(Error::DiskFull { .. }) => {
                assert_eq!(wal.next_lsn(), before, "no position was used");
                return tickets;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_full_log_refuses_appends_and_nothing_else_and_recovers_by_itself() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    let mut follower = wal.follow(wal.oldest_lsn(), Horizon::Durable);
    sim.set_quota(Some(ROOM));
    let tickets = fill(&wal);
    assert!(tickets.len() > 10);

    // Those who wait, and those who read.
    for ticket in &tickets {
        ticket.wait().unwrap();
    }
    assert_eq!(readable(&wal), tickets.len());
    let mut outside = WalReader::open(&sim.io(), dir(), Start::Oldest).unwrap();
    for _ in &tickets {
        assert_eq!(outside.try_next().unwrap().unwrap().payload, [7; 5000]);
        assert_eq!(follower.next().unwrap().payload, [7; 5000]);
    }

    // Giving up log is a way out.
    let given_up = wal.truncate_before(wal.next_lsn()).unwrap();
    assert!(given_up > 0);
    wal.append(&[8; 5000]).unwrap().wait().unwrap();

    // And so is room.
    fill(&wal);
    sim.set_quota(None);
    wal.append(&[9; 5000]).unwrap().wait().unwrap();
    wal.close().unwrap();
}

#[test]
fn a_log_that_stays_full_can_be_closed_and_opened() {
    let sim = Sim::new(2);
    let wal = open(&sim);
    sim.set_quota(Some(ROOM));
    let count = fill(&wal).len();
    wal.close().unwrap();
    let wal = open(&sim);
    assert_eq!(readable(&wal), count);
    // Without a clean stop it needs a segment more, and that was kept for it.
    let image = sim.snapshot().restart();
    let again = Sim::from_state(2, &image);
    again.set_quota(Some(ROOM));
    assert_eq!(readable(&open(&again)), count);
}

#[test]
fn a_failed_log_says_what_is_known_and_ends_with_its_handles() {
    let sim = Sim::new(3);
    let wal = open(&sim);
    wal.create_slot("reader", Start::Oldest).unwrap();
    let mut follower = wal.follow(wal.oldest_lsn(), Horizon::Durable);
    let durable = wal.append(b"durable").unwrap();
    durable.wait().unwrap();
    let unknown = wal.append(b"unknown").unwrap();
    sim.fail_sync(FailSync::next());
    assert!(unknown.wait().unwrap_err().outcome_unknown());

    let is_failed = |e: Error| matches!(e, Error::Failed { .. });
    assert!(is_failed(wal.append(b"no").unwrap_err()));
    assert!(is_failed(wal.append_batch(&["no"]).unwrap_err()));
    assert!(unknown.is_durable().unwrap_err().outcome_unknown());
    assert!(wal.sync().unwrap_err().outcome_unknown());
    for level in [Durability::Memory, Durability::Os, Durability::Disk] {
        let waited = unknown.wait_level(level);
        assert!(waited.is_err_and(|e| e.outcome_unknown()), "{level:?}");
        durable.wait_level(level).unwrap();
    }
    assert!(durable.is_durable().unwrap());

    // Readers here and elsewhere.
    assert_eq!(wal.read_back(durable.lsn()).unwrap()[0].payload, b"durable");
    assert_eq!(follower.next().unwrap().payload, b"durable");
    assert!(is_failed(follower.next().unwrap_err()));
    let mut outside = WalReader::open(&sim.io(), dir(), Start::Oldest).unwrap();
    assert_eq!(outside.try_next().unwrap().unwrap().payload, b"durable");
    assert_eq!(outside.next_timeout(Duration::ZERO).unwrap(), None);

    assert!(is_failed(wal.truncate_before(wal.next_lsn()).unwrap_err()));
    assert!(is_failed(wal.create_slot("late", Start::End).unwrap_err()));
    assert!(is_failed(wal.step().unwrap_err()));
    // Whoever still has it keeps others out.
    let second = Wal::open(&sim.io(), dir(), &options());
    assert!(matches!(second, Err(Error::InUse { .. })));
    let end: Lsn = wal.next_lsn();
    assert!(is_failed(wal.close().unwrap_err()));

    let wal = open(&sim);
    let first = wal.read(wal.oldest_lsn()).next().unwrap().unwrap();
    assert_eq!(first.payload, b"durable");
    let again = wal.append(b"again").unwrap();
    assert!(again.lsn() >= end, "no position comes back");
    again.wait().unwrap();
    wal.close().unwrap();
}

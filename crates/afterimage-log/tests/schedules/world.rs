//! One log on a simulated disk, what was truly appended to it, and the judgement of what somebody has seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use afterimage_io::JoinHandle;
use afterimage_io::sim::{DiskState, Image, Sim, Survival};
use afterimage_log::{LogOptions, Lsn, Record, Ticket, Wal};

pub const DIR: &str = "log";
const SEGMENT: u64 = 64 << 10;

/// Everything that the threads of one schedule share. The mutexes are the standard library's: none is held over anything
/// that shuttle schedules.
#[derive(Clone)]
pub struct World {
    pub sim: Sim,
    truth: Arc<Mutex<BTreeMap<u64, Vec<u64>>>>,
    acknowledged: Arc<AtomicU64>,
    power_cuts: Arc<Mutex<Vec<(u64, DiskState)>>>,
}

/// What a reader has seen: the record at a position, by its place there and its number; or that it was told of a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Record(u64, u32, u64),
    Hole,
}

pub fn dir() -> &'static Path {
    Path::new(DIR)
}

pub fn options(background: bool, flushes_in_flight: usize) -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        background,
        flushes_in_flight,
        ..LogOptions::default()
    }
}

pub fn payload(n: u64) -> Vec<u8> {
    let mut payload = n.to_le_bytes().to_vec();
    // Between two and eight records fill a segment.
    payload.resize(6_000 + (n % 3) as usize * 4_500, n as u8);
    payload
}

pub fn seen(record: &Record) -> Seen {
    let n = u64::from_le_bytes(record.payload[..8].try_into().unwrap());
    assert_eq!(record.payload, payload(n), "at {}", record.lsn);
    Seen::Record(record.lsn.get(), record.index, n)
}

impl World {
    pub fn new() -> World {
        World {
            sim: Sim::new(1),
            truth: Arc::default(),
            acknowledged: Arc::default(),
            power_cuts: Arc::default(),
        }
    }

    pub fn open(&self, options: &LogOptions) -> Wal {
        Wal::open(&self.sim.io(), dir(), options).unwrap()
    }

    pub fn thread(&self, name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle {
        self.sim.io().spawn(name, body).unwrap()
    }

    /// Appends one record, or two as a batch.
    pub fn append(&self, wal: &Wal, numbers: &[u64]) -> Ticket {
        let payloads: Vec<_> = numbers.iter().map(|n| payload(*n)).collect();
        let ticket = match &payloads[..] {
            [one] => wal.append(one),
            // A batch must stay below a quarter of a segment.
            many => wal.append_batch(many),
        };
        let ticket = ticket.unwrap();
        let before = self
            .truth
            .lock()
            .unwrap()
            .insert(ticket.lsn().get(), numbers.to_vec());
        assert_eq!(before, None, "two records at {}", ticket.lsn());
        ticket
    }

    pub fn acknowledge(&self, end: Lsn) {
        self.acknowledged.fetch_max(end.get(), Ordering::Relaxed);
    }

    /// The log was cut: what was appended from there on is not part of it any more.
    pub fn cut(&self, at: Lsn) {
        self.truth.lock().unwrap().split_off(&at.get());
    }

    /// The power may be lost now: what would be left is judged at the end.
    pub fn lose_power(&self) {
        // What is acknowledged after this need not be on this disk.
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        let disk = self.sim.snapshot();
        self.power_cuts.lock().unwrap().push((acknowledged, disk));
    }

    fn all(&self) -> Vec<Seen> {
        let truth = self.truth.lock().unwrap();
        let records = truth.iter().flat_map(|(lsn, numbers)| {
            (0..)
                .zip(numbers)
                .map(|(index, n)| Seen::Record(*lsn, index, *n))
        });
        records.collect()
    }

    /// What was seen must be the log, record after record, but for the holes that were told.
    pub fn judge(&self, who: &str, seen: &[Seen]) {
        let all = self.all();
        for run in seen
            .split(|seen| *seen == Seen::Hole)
            .filter(|run| !run.is_empty())
        {
            let begin = all.iter().position(|record| record == &run[0]);
            let begin = begin.unwrap_or_else(|| panic!("{who}: {:?} is not in the log", run[0]));
            let truth = &all[begin..all.len().min(begin + run.len())];
            assert_eq!(run, truth, "{who} has seen something else");
        }
        let lsns = seen.iter().filter_map(|seen| match seen {
            Seen::Record(lsn, index, _) => Some((*lsn, *index)),
            Seen::Hole => None,
        });
        assert!(lsns.is_sorted(), "{who} went back");
    }

    /// What a complete reader has seen at last: all of the log from where it began.
    pub fn judge_whole(&self, who: &str, seen: &[Seen]) {
        self.judge(who, seen);
        assert!(!seen.contains(&Seen::Hole), "{who} was told of a hole");
        let all = self.all();
        assert_eq!(seen.last(), all.last(), "{who} has not seen the end");
    }

    /// Opens what is left of the log and reads it.
    pub fn judge_what_is_left(&self, image: &Image, acknowledged: u64, context: &str) {
        let sim = Sim::from_image(2, image);
        let wal = Wal::open(&sim.io(), dir(), &options(false, 0))
            .unwrap_or_else(|e| panic!("{context}: {e}"));
        let records: Vec<_> = wal.read(wal.oldest_lsn()).map(|r| r.unwrap()).collect();
        let found: Vec<_> = records.iter().map(seen).collect();
        self.judge(context, &found);
        let end = records.last().map_or(wal.oldest_lsn(), |last| last.next);
        let missing: Vec<_> = self
            .all()
            .into_iter()
            .filter(|record| matches!(record, Seen::Record(lsn, ..) if *lsn >= end.get() && *lsn < acknowledged))
            .collect();
        assert_eq!(missing, [], "{context}: acknowledged and not found");
    }

    /// Every power cut of the schedule, with what was pending lost, or some of it.
    pub fn judge_power_cuts(&self) {
        for (acknowledged, disk) in self.power_cuts.lock().unwrap().iter() {
            for policy in [
                Survival::None,
                Survival::Random {
                    seed: *acknowledged,
                },
            ] {
                let image = disk.crash(&policy);
                self.judge_what_is_left(&image, *acknowledged, &format!("power cut, {policy:?}"));
            }
        }
    }

    /// Closed in order, and opened again: everything is there.
    pub fn judge_at_rest(&self) {
        let end = self.all().last().map_or(0, |last| match last {
            Seen::Record(lsn, ..) => lsn + 1,
            Seen::Hole => 0,
        });
        let image = self.sim.snapshot().crash(&Survival::None);
        self.judge_what_is_left(&image, end, "after a clean stop");
    }
}

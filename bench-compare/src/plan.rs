//! Which points are measured, how often and how long: the whole table, or the quick one.

use crate::engines::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is done at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Append and sync, from so many threads.
    Sync,
    /// Append and sync, one thread with so many under way.
    Tickets,
    /// Append without waiting, one thread.
    Stream,
    /// Open after a kill.
    Open,
}

/// One point of the table, for any engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    /// What is done.
    pub work: Work,
    /// Bytes of a record.
    pub bytes: usize,
    /// Threads, or appends under way.
    pub width: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, width) = (self.bytes, self.width);
        match self.work {
            Work::Sync if width == 1 => write!(f, "append + sync, {bytes} B, 1 thread"),
            Work::Sync => write!(f, "append + sync, {bytes} B, {width} threads"),
            Work::Tickets => write!(f, "append + sync, {bytes} B, 1 thread, {width} under way"),
            Work::Stream => write!(f, "append without sync, {bytes} B, 1 thread"),
            Work::Open => write!(f, "open after a kill, records of {bytes} B"),
        }
    }
}

impl Point {
    /// Whether this engine can do it.
    pub fn suits(&self, kind: &Kind) -> bool {
        match self.work {
            Work::Sync | Work::Stream => true,
            Work::Tickets => kind.tickets,
            Work::Open => kind.recover.is_some(),
        }
    }

    /// Appends that can be under way at once: as many as one flush can make durable.
    pub fn at_once(&self) -> f64 {
        self.width as f64
    }
}

/// A table to be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// `full` or `quick`.
    pub name: String,
    /// Rounds over all of it, engines in turns.
    pub rounds: usize,
    /// Bytes of a record, for the synced points.
    pub record_bytes: Vec<usize>,
    /// Threads of the synced points.
    pub threads: Vec<usize>,
    /// Appends under way where one thread has tickets.
    pub in_flight: usize,
    /// Seconds before a point is counted.
    pub warm_up_s: f64,
    /// Seconds that are counted.
    pub measure_s: f64,
    /// Slices of calibration before each point's engines, by each method.
    pub calibration_slices: usize,
    /// Seconds of such a slice.
    pub calibration_slice_s: f64,
    /// Bytes that are appended without sync, and bytes of log that are recovered.
    pub stream_bytes: u64,
    /// Seconds after which an append without sync ends, however much it has written.
    pub stream_longest_s: f64,
    /// Rounds of recovery: it is long, and varies little.
    pub open_rounds: usize,
}

impl Plan {
    /// The whole table: about three quarters of an hour.
    pub fn full() -> Plan {
        Plan {
            name: "full".into(),
            rounds: 5,
            record_bytes: vec![128, 4096],
            threads: vec![1, 4, 16, 64],
            in_flight: 256,
            warm_up_s: 1.0,
            measure_s: 5.0,
            calibration_slices: 3,
            calibration_slice_s: 0.2,
            stream_bytes: 1 << 30,
            stream_longest_s: 10.0,
            open_rounds: 2,
        }
    }

    /// A table for a look, in less than ten minutes.
    pub fn quick() -> Plan {
        Plan {
            name: "quick".into(),
            rounds: 3,
            record_bytes: vec![128],
            warm_up_s: 0.5,
            measure_s: 2.0,
            stream_bytes: 256 << 20,
            stream_longest_s: 3.0,
            open_rounds: 1,
            ..Plan::full()
        }
    }

    /// Its points, in the order of the table.
    pub fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for &bytes in &self.record_bytes {
            for &width in &self.threads {
                let work = Work::Sync;
                points.push(Point { work, bytes, width });
            }
            points.push(Point {
                work: Work::Tickets,
                bytes,
                width: self.in_flight,
            });
        }
        for work in [Work::Stream, Work::Open] {
            let (bytes, width) = (128, 1);
            points.push(Point { work, bytes, width });
        }
        points
    }

    /// How many rounds a point is measured in.
    pub fn rounds_of(&self, point: &Point) -> usize {
        match point.work {
            Work::Open => self.open_rounds,
            _ => self.rounds,
        }
    }
}

//! Which points are measured, how often and how long: the whole table of logs or of stores, or the quick one of either.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Threads that share the commits under way where an engine has tickets.
pub const TICKET_THREADS: usize = 2;

/// Bytes of a value of a store.
pub const VALUE: usize = 100;

/// Whether an engine is of this project: the one that the others are measured against.
pub fn is_ours(name: &str) -> bool {
    name.starts_with("afterimage")
}

/// An engine as the rounds and the tables know it.
pub struct About {
    /// Its name on the table and the command line.
    pub name: &'static str,
    /// Which version of which crate.
    pub version: &'static str,
    /// What differs from its defaults, and what "durable" is.
    pub settings: &'static str,
    /// Whether it was built in.
    pub built: bool,
    /// What it has nothing for.
    pub cannot: Vec<Work>,
}

impl About {
    /// Whether it can do what this point asks for.
    pub fn suits(&self, point: &Point) -> bool {
        !self.cannot.contains(&point.work)
    }
}

/// What is done at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A log: append and sync, from so many threads.
    Sync,
    /// A log: append and sync, one thread with so many under way.
    Tickets,
    /// A log: append without waiting, one thread.
    Stream,
    /// A log: open after a kill.
    Open,
    /// A store: transactions that update one row.
    Update,
    /// The same, with so many commits under way from two threads.
    UpdateTickets,
    /// Transactions that update one row, for so long that the log has come round and tables have been merged before it is counted: what a
    /// store writes that has been at work for a while.
    Cycle,
    /// Transactions that update a hundred rows.
    Batch,
    /// Transactions like those of TPC-B, over ten branches.
    Transfer,
    /// The same, over one branch that everybody wants.
    TransferHot,
    /// Point reads, each in a transaction of its own.
    Get,
    /// Point reads, a thousand in one transaction.
    GetMany,
    /// Every row, in order.
    Scan,
    /// An empty store is filled in random order, by ordinary transactions.
    Load,
    /// The same, by what the engine has for that.
    LoadSpecial,
    /// A mix of YCSB, the data in the cache.
    Ycsb(Mix),
    /// A mix of YCSB, the data ten times the cache.
    YcsbTenth(Mix),
    /// A store is opened after a kill.
    Recover,
    /// Commits at intended times: a base rate, then fifty times that.
    Surge,
    /// The same, the data ten times the cache.
    SurgeTenth,
}

impl Work {
    /// Whether each operation is a durable commit, so that flushes must be there for them.
    pub fn commits(self) -> bool {
        use Work::{Batch, Cycle, Sync, Tickets, Transfer, TransferHot, Update, UpdateTickets};
        let all = [
            Sync,
            Tickets,
            Update,
            UpdateTickets,
            Cycle,
            Batch,
            Transfer,
            TransferHot,
        ];
        all.contains(&self)
    }

    /// The figure that engines are compared by, and whether more of it is better.
    pub fn headline(self) -> (&'static str, bool) {
        match self {
            Work::Stream => ("mb_per_s", true),
            Work::Load | Work::LoadSpecial | Work::Scan | Work::GetMany => ("rows_per_s", true),
            Work::Open => ("open_cold_s", false),
            Work::Recover => ("first_read_cold_s", false),
            Work::Surge | Work::SurgeTenth => ("p999_us", false),
            Work::Cycle => ("device_bytes_each", false),
            work if work.commits() => ("singles", true),
            _ => ("per_s", true),
        }
    }

    /// The name to choose it by.
    pub fn name(self) -> &'static str {
        match self {
            Work::Sync | Work::Tickets | Work::Stream | Work::Open => "log",
            Work::Update | Work::UpdateTickets => "upd1",
            Work::Cycle => "cycle",
            Work::Batch => "upd100",
            Work::Transfer | Work::TransferHot => "tpcb",
            Work::Get | Work::GetMany | Work::Scan => "reads",
            Work::Load | Work::LoadSpecial => "bulk",
            Work::Ycsb(_) | Work::YcsbTenth(_) => "ycsb",
            Work::Recover => "recovery",
            Work::Surge | Work::SurgeTenth => "surge",
        }
    }
}

/// A mix of YCSB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mix {
    /// Half reads, half updates.
    A,
    /// 95 reads, 5 updates.
    B,
    /// Reads alone.
    C,
    /// 95 short scans, 5 inserts.
    E,
    /// Half reads, half read-modify-write in one transaction.
    F,
}

impl Mix {
    /// All of them.
    pub const ALL: [Mix; 5] = [Mix::A, Mix::B, Mix::C, Mix::E, Mix::F];
}

/// One point of the table, for any engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    /// What is done.
    pub work: Work,
    /// Bytes of a record, or of a value.
    pub bytes: usize,
    /// Threads, or appends or commits under way.
    pub width: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, width) = (self.bytes, self.width);
        let s = if width == 1 { "" } else { "s" };
        match self.work {
            Work::Sync => write!(f, "append + sync, {bytes} B, {width} thread{s}"),
            Work::Tickets => write!(f, "append + sync, {bytes} B, 1 thread, {width} under way"),
            Work::Stream => write!(f, "append without sync, {bytes} B, 1 thread"),
            Work::Open => write!(f, "open after a kill, records of {bytes} B"),
            Work::Update => write!(f, "durable update, {width} thread{s}"),
            Work::UpdateTickets => {
                write!(
                    f,
                    "durable update, {TICKET_THREADS} threads, {width} under way"
                )
            }
            Work::Cycle => write!(f, "durable update, {width} threads, a checkpoint cycle"),
            Work::Batch => write!(f, "100 updates a transaction, {width} thread{s}"),
            Work::Transfer => write!(f, "TPC-B-like, 10 branches, {width} threads"),
            Work::TransferHot => write!(f, "TPC-B-like, 1 branch, {width} threads"),
            Work::Get => write!(f, "point reads, one a transaction, {width} threads"),
            Work::GetMany => write!(f, "point reads, 1000 a transaction, {width} threads"),
            Work::Scan => write!(f, "full scan, {width} thread{s}"),
            Work::Load => write!(f, "random-order load"),
            Work::LoadSpecial => write!(f, "random-order load, special"),
            Work::Ycsb(mix) => write!(f, "YCSB {mix:?}, cached, {width} threads"),
            Work::YcsbTenth(mix) => write!(f, "YCSB {mix:?}, 10 times the cache, {width} threads"),
            Work::Recover => write!(f, "recovery after a kill"),
            Work::Surge => write!(f, "surge of 50 times, {width} threads"),
            Work::SurgeTenth => {
                write!(f, "surge of 50 times, 10 times the cache, {width} threads")
            }
        }
    }
}

impl Point {
    /// Appends or commits that can be under way at once: as many as one flush can make durable.
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
    /// Of those, how many at points that wait for no disk: reads, and YCSB.
    pub mix_rounds: usize,
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
    /// What only a table of stores has; none in a table of logs.
    pub store: Option<StorePlan>,
}

/// The constants of a table of stores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StorePlan {
    /// Rows that are there before a point begins.
    pub rows: u64,
    /// Memory each engine gets for its cache, in bytes, where the data is to be in it.
    pub cache: u64,
    /// Threads of TPC-B and YCSB.
    pub clients: usize,
    /// Threads of the reads.
    pub readers: usize,
    /// Rows of the bulk load.
    pub bulk_rows: u64,
    /// Seconds of a scan and of a YCSB mix that are counted, each.
    pub mix_s: f64,
    /// Seconds until the log has come round once, and again so many that are counted; none where it is not measured.
    pub cycle_s: Option<f64>,
    /// Seconds after which the filling of a log for recovery ends, however much there is.
    pub fill_longest_s: f64,
    /// The log limit of the surge, in bytes, where an engine takes one.
    pub surge_log: u64,
    /// Seconds at the base rate before the surge, and again after it.
    pub surge_calm_s: u64,
    /// Seconds of the surge.
    pub surge_s: u64,
    /// Seconds that the same threads work flat out before, for the engine's own rate: those that are counted, and those in front of
    /// them, until so much of the log is full that pages go home as they do in the surge.
    pub surge_own_s: u64,
    pub surge_warm_up_s: u64,
    /// Of that rate, how much the surge is; the base rate is a fiftieth of the surge.
    pub surge_share: f64,
    /// Threads that serve the surge.
    pub surge_threads: usize,
    /// Whether there is a surge with ten times the cache too.
    pub surge_tenth: bool,
    /// Seconds after which a point is given up.
    pub longest_s: u64,
}

/// How many times the base rate the surge is.
pub const SURGE_TIMES: f64 = 50.0;

impl Plan {
    /// The whole table: about three quarters of an hour.
    pub fn full() -> Plan {
        Plan {
            name: "full".into(),
            rounds: 5,
            mix_rounds: 5,
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
            store: None,
        }
    }

    /// The whole table of stores: some hours.
    pub fn stores() -> Plan {
        Plan {
            record_bytes: vec![VALUE],
            threads: vec![1, 16, 64],
            measure_s: 7.0,
            store: Some(StorePlan {
                rows: 1_000_000,
                cache: 1 << 30,
                clients: 16,
                readers: 2,
                bulk_rows: 5_000_000,
                mix_s: 7.0,
                cycle_s: Some(60.0),
                fill_longest_s: 300.0,
                surge_log: 256 << 20,
                surge_calm_s: 30,
                surge_s: 300,
                surge_own_s: 30,
                surge_warm_up_s: 30,
                surge_share: 0.8,
                surge_threads: 64,
                surge_tenth: true,
                longest_s: 1800,
            }),
            ..Plan::full()
        }
    }

    /// A table of stores for a look: ten minutes with the engines that are built by default.
    pub fn stores_quick() -> Plan {
        let full = Plan::stores();
        Plan {
            name: "quick".into(),
            rounds: 3,
            mix_rounds: 1,
            warm_up_s: 0.5,
            measure_s: 2.0,
            calibration_slices: 1,
            stream_bytes: 256 << 20,
            open_rounds: 1,
            store: full.store.map(|store| StorePlan {
                rows: 200_000,
                bulk_rows: 500_000,
                mix_s: 1.0,
                cycle_s: None,
                fill_longest_s: 15.0,
                surge_calm_s: 5,
                surge_s: 30,
                surge_own_s: 10,
                surge_warm_up_s: 20,
                surge_tenth: false,
                longest_s: 180,
                ..store
            }),
            ..Plan::full()
        }
        .with_threads(&full.threads)
    }

    fn with_threads(self, threads: &[usize]) -> Plan {
        Plan {
            record_bytes: vec![VALUE],
            threads: threads.to_vec(),
            ..self
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
        match &self.store {
            None => self.log_points(),
            Some(store) => self.store_points(store),
        }
    }

    fn log_points(&self) -> Vec<Point> {
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

    fn store_points(&self, store: &StorePlan) -> Vec<Point> {
        let mut points = Vec::new();
        let mut add = |work, width| {
            let bytes = VALUE;
            points.push(Point { work, bytes, width });
        };
        for &width in &self.threads {
            add(Work::Update, width);
        }
        add(Work::UpdateTickets, self.in_flight);
        if store.cycle_s.is_some() {
            add(Work::Cycle, store.clients);
        }
        add(Work::Batch, 1);
        add(Work::Transfer, store.clients);
        add(Work::TransferHot, store.clients);
        add(Work::Get, store.readers);
        add(Work::GetMany, store.readers);
        add(Work::Scan, 1);
        add(Work::Load, 1);
        add(Work::LoadSpecial, 1);
        for mix in Mix::ALL {
            add(Work::Ycsb(mix), store.clients);
        }
        for mix in Mix::ALL {
            add(Work::YcsbTenth(mix), store.clients);
        }
        add(Work::Recover, 1);
        add(Work::Surge, store.surge_threads);
        if store.surge_tenth {
            add(Work::SurgeTenth, store.surge_threads);
        }
        points
    }

    /// How many rounds a point is measured in.
    pub fn rounds_of(&self, point: &Point) -> usize {
        match point.work {
            Work::Open | Work::Recover | Work::Load | Work::LoadSpecial => self.open_rounds,
            Work::Surge | Work::SurgeTenth | Work::Cycle => self.open_rounds,
            Work::Get | Work::GetMany | Work::Scan => self.mix_rounds,
            Work::Ycsb(_) | Work::YcsbTenth(_) => self.mix_rounds,
            _ => self.rounds,
        }
    }
}

//! The engines behind one small trait: append a record, durably or not. One file an engine; what was not built in is listed.
//!
//! Every engine gets what suits it best as long as an acknowledged record is on disk; what differs from its defaults is
//! said in `settings`, which is printed with the results.

mod afterimage;
#[cfg(feature = "okaywal")]
mod okaywal;
mod plain;
#[cfg(feature = "raft-engine")]
mod raft_engine;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sqlite")]
mod sqlite;

use crate::Result;
use crate::plan::{About, Work};
use std::path::Path;

/// The log that the others are measured against.
pub const OURS: &str = "afterimage-log";

/// How much log is kept before the oldest is given up, where an engine lets us say so, in bytes.
pub const KEEP: u64 = 64 << 20;
/// How large a log file is, where an engine lets us say so, in bytes.
pub const SEGMENT: u64 = 16 << 20;

/// What an engine is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Every append is durable before it returns, and the oldest log is given up as time goes on.
    Durable,
    /// Appends are not synced; this many bytes of log are to be ready to be written over, where the engine can do that.
    Stream(u64),
    /// As `Stream`, but nothing is made ready, and all of the log stays: it is to be recovered.
    Fill,
}

/// An open log.
pub trait Engine: Send + Sync {
    /// What one thread appends through.
    fn writer(&self, thread: usize) -> Result<Box<dyn Writer + '_>>;

    /// Gives up the oldest log; called about ten times a second.
    fn purge(&self) -> Result<()> {
        Ok(())
    }
}

/// One thread's way to append.
pub trait Writer {
    /// Appends one record. Where `durable`, it is on disk when this returns, and with it all that this writer appended before.
    fn append(&mut self, record: &[u8], durable: bool) -> Result<()>;

    /// Appends one record and keeps the promise of its durability.
    fn start(&mut self, _record: &[u8]) -> Result<()> {
        Err("no tickets".into())
    }

    /// Waits until the oldest promise is kept.
    fn finish(&mut self) -> Result<()> {
        Err("no tickets".into())
    }
}

/// What opening a log after its process was killed came to.
pub struct Recovered {
    /// Records that were found.
    pub records: u64,
    /// How long the open took, in seconds.
    pub open: f64,
    /// How long it took after that to read every record, in seconds, where the open does not do so itself.
    pub read: Option<f64>,
    /// How long a check of every byte of the log took, without an open, in seconds, where there is such a check.
    pub verify: Option<f64>,
}

/// How an engine is opened.
pub type Open = fn(&Path, Purpose) -> Result<Box<dyn Engine>>;

/// An engine as the bench knows it.
pub struct Kind {
    /// Its name on the table and the command line.
    pub name: &'static str,
    /// Which version of which crate.
    pub version: &'static str,
    /// What differs from its defaults, and what "durable" is.
    pub settings: &'static str,
    /// Whether one thread can have many appends under way.
    pub tickets: bool,
    /// How it is opened; none where it was not built in.
    pub open: Option<Open>,
    /// How it is opened after a kill; none where there is nothing to recover.
    pub recover: Option<fn(&Path) -> Result<Recovered>>,
}

impl Kind {
    /// As the rounds and the tables know it.
    pub fn about(&self) -> About {
        let mut cannot = Vec::new();
        if !self.tickets {
            cannot.push(Work::Tickets);
        }
        if self.recover.is_none() {
            cannot.push(Work::Open);
        }
        About {
            name: self.name,
            version: self.version,
            settings: self.settings,
            built: self.open.is_some(),
            cannot,
        }
    }
}

/// A peer, or its empty place where its feature is off.
macro_rules! peer {
    ($feature:literal, $module:ident) => {{
        #[cfg(feature = $feature)]
        let kind = $module::KIND;
        #[cfg(not(feature = $feature))]
        let kind = Kind {
            name: $feature,
            version: "",
            settings: concat!("not built (feature ", $feature, ")"),
            tickets: false,
            open: None,
            recover: None,
        };
        kind
    }};
}

/// Every engine, in the order of the table.
pub fn all() -> Vec<Kind> {
    vec![
        afterimage::KIND,
        peer!("raft-engine", raft_engine),
        peer!("okaywal", okaywal),
        peer!("rocksdb", rocksdb),
        peer!("sqlite", sqlite),
        plain::KIND,
    ]
}

/// All of them, as the rounds and the tables know them.
pub fn abouts() -> Vec<About> {
    all().iter().map(Kind::about).collect()
}

/// The engine of that name.
pub fn named(name: &str) -> Result<Kind> {
    all()
        .into_iter()
        .find(|kind| kind.name == name)
        .ok_or_else(|| format!("there is no engine {name}").into())
}

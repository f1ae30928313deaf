//! The stores behind one small trait: durable puts, transactions that read and write, read transactions. One file an engine.
//!
//! Every engine gets the calls that suit it best for the same work, as long as a commit that has returned is on disk;
//! what differs from its defaults is said in `settings`, which is printed with the results.

mod afterimage;
#[cfg(feature = "canopydb")]
mod canopydb;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "heed")]
mod heed;
#[cfg(feature = "postgresql")]
mod postgresql;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "surrealkv")]
mod surrealkv;

use crate::keys::{Key, Value};
use crate::plan::{About, Work};
use crate::{Result, Values};
use std::path::Path;

/// The store that the others are measured against.
pub const OURS: &str = "afterimage";

/// What a store is opened for.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Memory for its cache, in bytes.
    pub cache: u64,
    /// How much log there may be, in bytes, where it is not the default.
    pub log: Option<u64>,
    /// Whether each commit is durable when it returns; else `settle` makes it so.
    pub durable: bool,
    /// Whether there will be transactions that read what they then write.
    #[cfg_attr(
        not(feature = "rocksdb"),
        expect(dead_code, reason = "RocksDB alone asks")
    )]
    pub transactions: bool,
}

/// The tables of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The rows of all points; the accounts of TPC-B.
    Rows,
    /// The tellers of TPC-B.
    Tellers,
    /// The branches of TPC-B.
    Branches,
    /// The history of TPC-B.
    History,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 4] = [Part::Rows, Part::Tellers, Part::Branches, Part::History];

    /// The table's name.
    pub fn name(self) -> &'static str {
        match self {
            Part::Rows => "rows",
            Part::Tellers => "tellers",
            Part::Branches => "branches",
            Part::History => "history",
        }
    }
}

/// What a transaction does; run again from its beginning where the engine could not go on with it.
pub type Body<'a> = dyn FnMut(&mut dyn Tx) -> Result<()> + 'a;
/// What is done with a row that was found.
pub type See<'a> = dyn FnMut(&[u8], &[u8]) + 'a;

/// An open store, with all four tables.
pub trait Store: Send + Sync {
    /// What one thread works through.
    fn session(&self) -> Result<Box<dyn Session + '_>>;

    /// Makes durable what was committed without.
    fn settle(&self) -> Result<()>;

    /// What the engine itself counts, by name: `log_bytes` is what it has written into its log.
    fn counted(&self) -> Result<Values> {
        Ok(Values::new())
    }

    /// Fills the empty table `rows` by what the engine has for that, durably.
    fn load(&self, _rows: &mut dyn Iterator<Item = (Key, Value)>) -> Result<()> {
        Err("no special load".into())
    }

    /// Closes it as a program in good order does.
    fn close(self: Box<Self>) -> Result<()>;
}

/// One thread's way to work.
pub trait Session {
    /// Puts rows in one transaction; how often it had to begin anew.
    fn put(&mut self, part: Part, rows: &[(Key, Value)]) -> Result<u64>;

    /// Runs a transaction; how often it had to begin anew.
    fn transact(&mut self, body: &mut Body<'_>) -> Result<u64>;

    /// Gets one row of `rows` in a read transaction of its own; whether it is there.
    fn get(&mut self, key: &Key, see: &mut See<'_>) -> Result<bool>;

    /// Gets rows of `rows` in one read transaction; how many are there.
    fn get_many(&mut self, keys: &[Key], see: &mut See<'_>) -> Result<u64>;

    /// Shows the rows of a table from a key on, so many at most, in one read transaction; how many there were.
    fn scan(&mut self, part: Part, from: &Key, most: usize, see: &mut See<'_>) -> Result<u64>;

    /// Puts a row and keeps the promise of its durability.
    fn start(&mut self, _key: &Key, _value: &Value) -> Result<()> {
        Err("no tickets".into())
    }

    /// Waits until the oldest promise is kept.
    fn finish(&mut self) -> Result<()> {
        Err("no tickets".into())
    }
}

/// A transaction that reads what it then writes.
pub trait Tx {
    /// The value of a key that will be written: locked, where the engine locks.
    fn take(&mut self, part: Part, key: &Key) -> Result<Value>;

    /// Gives a key a value.
    fn put(&mut self, part: Part, key: &Key, value: &Value) -> Result<()>;
}

/// A value as it was found.
fn found(value: Option<impl AsRef<[u8]>>) -> Result<Value> {
    let value = value.ok_or("a row is missing")?;
    Ok(value.as_ref().try_into()?)
}

/// How a store is opened, in a directory that is there or not.
pub type Open = fn(&Path, &Setup) -> Result<Box<dyn Store>>;

/// A store as the bench knows it.
pub struct Kind {
    /// Its name on the table and the command line.
    pub name: &'static str,
    /// Which version of which crate.
    pub version: &'static str,
    /// What differs from its defaults, and what "durable" is.
    pub settings: &'static str,
    /// Whether one thread can have many commits under way.
    pub tickets: bool,
    /// Whether it has something of its own to fill a table with rows in any order.
    pub loads: bool,
    /// How it is opened; none where it was not built in.
    pub open: Option<Open>,
}

impl Kind {
    /// As the rounds and the tables know it.
    pub fn about(&self) -> About {
        let mut cannot = Vec::new();
        if !self.tickets {
            cannot.push(Work::UpdateTickets);
        }
        if !self.loads {
            cannot.push(Work::LoadSpecial);
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
    ($feature:literal, $kind:expr) => {{
        #[cfg(feature = $feature)]
        let kind = $kind;
        #[cfg(not(feature = $feature))]
        let kind = Kind {
            name: $feature,
            version: "",
            settings: concat!("not built (feature ", $feature, ")"),
            tickets: false,
            loads: false,
            open: None,
        };
        kind
    }};
}

/// Every store, in the order of the table.
pub fn all() -> Vec<Kind> {
    vec![
        afterimage::KIND,
        peer!("rocksdb", rocksdb::KIND),
        peer!("surrealkv", surrealkv::KIND),
        peer!("redb", redb::KIND),
        peer!("fjall", fjall::KIND),
        peer!("canopydb", canopydb::KIND),
        peer!("heed", heed::KIND),
        peer!("sqlite", sqlite::KIND),
        peer!("postgresql", postgresql::kind()),
    ]
}

/// All of them, as the rounds and the tables know them.
pub fn abouts() -> Vec<About> {
    all().iter().map(Kind::about).collect()
}

/// The store of that name.
pub fn named(name: &str) -> Result<Kind> {
    all()
        .into_iter()
        .find(|kind| kind.name == name)
        .ok_or_else(|| format!("there is no store {name}").into())
}

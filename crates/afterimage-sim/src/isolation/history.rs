//! What clients did and were told, and nothing else: transactions of appends to lists and reads of lists.
//!
//! A list is the value of a key. An append puts one number behind it, and no number is appended twice; so whoever reads a
//! list learns which writes came before, and in what order. The checker asks nothing else of the database.

use std::fmt;

/// Names a list.
pub type Key = u32;
/// What is appended; unique in a history.
pub type Value = u32;

/// One thing that a transaction did, in the order in which it did them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Put `value` behind the list.
    Append {
        /// Which list.
        key: Key,
        /// What was put behind it.
        value: Value,
    },
    /// An append that the transaction took back itself, by a savepoint: nobody else may ever see it.
    Undone {
        /// Which list.
        key: Key,
        /// What was put behind it, and taken away.
        value: Value,
    },
    /// Read the list; it is empty where there is no such key.
    Read {
        /// Which list.
        key: Key,
        /// What it held.
        list: Vec<Value>,
    },
    /// Read all lists from `from` to before `to`: those that are not told of were not there.
    Scan {
        /// The first key that could have been found.
        from: Key,
        /// The first key behind.
        to: Key,
        /// What was found, in key order.
        found: Vec<(Key, Vec<Value>)>,
    },
}

/// What the client knows of a transaction's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told that it has committed.
    Committed,
    /// It was told that it has not, or took it back itself.
    Aborted,
    /// It asked to commit and was told nothing: a crash, a kill.
    Unknown,
}

/// One transaction as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    /// Which client.
    pub client: u32,
    /// A moment before its first call, on the clock of all clients.
    pub began: u64,
    /// A moment after its end was told; `u64::MAX` where it never was.
    pub ended: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What it did.
    pub ops: Vec<Op>,
}

/// All transactions of one life of a database, kills and recoveries included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// In any order, but for the last.
    pub txns: Vec<Txn>,
    /// Whether the last of `txns` has read every list at the very end: then a committed append that it did not see is lost.
    pub complete: bool,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Append { key, value } => write!(f, "append {value} to k{key}"),
            Op::Undone { key, value } => write!(f, "append {value} to k{key}, taken back"),
            Op::Read { key, list } => write!(f, "read k{key}: {list:?}"),
            Op::Scan { from, to, found } => write!(f, "scan k{from}..k{to}: {found:?}"),
        }
    }
}

impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "client {}, {:?}, {}..",
            self.client, self.outcome, self.began
        )?;
        if self.ended != u64::MAX {
            write!(f, "{}", self.ended)?;
        }
        for op in &self.ops {
            write!(f, "; {op}")?;
        }
        Ok(())
    }
}

//! What concurrent clients did, as they saw it, and what a recovered database may hold of it.
//!
//! Strict two-phase locking lets the harness know the order of the writes of each key without asking the engine: a put that has returned holds the key's lock
//! until its transaction's commit record is in the log, so the next put of the key returns later. Each transaction also puts a row that nobody else touches,
//! its *mark*: the marks found after a crash are the set of transactions that survived. That set must hold every acknowledged one, none that was rolled back
//! or never asked to commit, and with each transaction all that came before it in the log; and the rows must be exactly what that set wrote.

use crate::failure::{Layer, Mismatch};
use crate::model::{Brief, Rows};
use std::collections::{BTreeMap, BTreeSet};

/// The state of a transaction, as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It has not asked to commit.
    Active,
    /// It has asked; the answer is not there, or was that nobody knows.
    Asked,
    /// Acknowledged at a level that a power cut may take back.
    InMemory,
    /// Acknowledged as durable.
    Durable,
    /// Rolled back, or about to be.
    Aborted,
}

#[derive(Clone, Debug)]
struct Txn {
    fate: Fate,
    lsn: Option<u64>,
    mark: Vec<u8>,
    /// Transactions whose writes it overwrote or read: they are before it in the log.
    after: BTreeSet<usize>,
}

struct Write {
    txn: usize,
    /// The how-manieth write of the history it is.
    number: u64,
    value: Option<Vec<u8>>,
}

/// The history since the database was last seen whole.
#[derive(Default)]
pub struct History {
    base: Rows,
    txns: Vec<Txn>,
    writes: BTreeMap<Vec<u8>, Vec<Write>>,
    written: u64,
    marks: u64,
}

/// Names a transaction of the current history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnNumber(usize);

impl History {
    /// A history that begins with `base`.
    #[must_use]
    pub fn new(base: Rows) -> History {
        History {
            base,
            ..History::default()
        }
    }

    /// A transaction begins; its mark is the key of the row that it has to put before it commits.
    pub fn begin(&mut self) -> (TxnNumber, Vec<u8>) {
        self.marks += 1;
        let mark = format!("m{:06}", self.marks).into_bytes();
        self.txns.push(Txn {
            fate: Fate::Active,
            lsn: None,
            mark: mark.clone(),
            after: BTreeSet::new(),
        });
        (TxnNumber(self.txns.len() - 1), mark)
    }

    /// The engine has put (or deleted: `None`) the row for this transaction, and thereby holds its lock.
    pub fn wrote(&mut self, txn: TxnNumber, key: &[u8], value: Option<&[u8]>) {
        self.order_after(txn, key);
        self.written += 1;
        self.writes.entry(key.to_vec()).or_default().push(Write {
            txn: txn.0,
            number: self.written,
            value: value.map(<[u8]>::to_vec),
        });
    }

    /// A savepoint: what is written from now on can be taken back by [`History::rewound`].
    #[must_use]
    pub fn savepoint(&self) -> u64 {
        self.written
    }

    /// The transaction has gone back to its savepoint. It keeps its locks, and its place behind what it has overwritten.
    pub fn rewound(&mut self, txn: TxnNumber, savepoint: u64) {
        for writes in self.writes.values_mut() {
            writes.retain(|w| w.txn != txn.0 || w.number <= savepoint);
        }
    }

    fn order_after(&mut self, txn: TxnNumber, key: &[u8]) {
        let before = self
            .writes
            .get(key)
            .into_iter()
            .flatten()
            .map(|w| w.txn)
            .filter(|t| *t != txn.0);
        let before: Vec<usize> = before
            .filter(|t| !matches!(self.txns[*t].fate, Fate::Aborted | Fate::Active))
            .collect();
        self.txns[txn.0].after.extend(before);
    }

    /// A read inside the transaction answered `value`; it holds the key's lock.
    ///
    /// # Errors
    /// If no serial order explains it.
    pub fn read(
        &mut self,
        txn: TxnNumber,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Mismatch> {
        self.order_after(txn, key);
        let mut possible = Vec::new();
        for w in self.writes.get(key).into_iter().flatten().rev() {
            let settled =
                w.txn == txn.0 || matches!(self.txns[w.txn].fate, Fate::InMemory | Fate::Durable);
            if settled || self.txns[w.txn].fate == Fate::Asked {
                possible.push(w.value.as_deref());
            }
            if settled {
                return explain(key, value, &possible);
            }
        }
        possible.push(self.base.get(key).map(Vec::as_slice));
        explain(key, value, &possible)
    }

    /// The transaction is about to ask for its commit.
    pub fn asks(&mut self, txn: TxnNumber) {
        self.txns[txn.0].fate = Fate::Asked;
    }

    /// The log's answer where the commit stands.
    pub fn placed(&mut self, txn: TxnNumber, lsn: u64) {
        self.txns[txn.0].lsn = Some(lsn);
    }

    /// The commit is acknowledged.
    pub fn acknowledged(&mut self, txn: TxnNumber, durable: bool) {
        let fate = &mut self.txns[txn.0].fate;
        // A snapshot may have shown it as durable before.
        if *fate != Fate::Durable {
            *fate = if durable {
                Fate::Durable
            } else {
                Fate::InMemory
            };
        }
    }

    /// Who is acknowledged as durable now: a snapshot of what is durable, taken after this, shows them all.
    #[must_use]
    pub fn durable(&self) -> BTreeSet<usize> {
        let durable = |t: &usize| self.txns[*t].fate == Fate::Durable;
        (0..self.txns.len()).filter(durable).collect()
    }

    /// Compares what a snapshot shows with what may be there: the rows of some prefix of the commits, with everything that
    /// was acknowledged as durable before it was taken.
    ///
    /// # Errors
    /// What is missing, half there, out of order or from nowhere.
    pub fn check_snapshot(&self, found: &Rows, durable: &BTreeSet<usize>) -> Result<(), Mismatch> {
        let seen = self.marked(found);
        if let Some(n) = durable.difference(&seen).next() {
            let name = self.txns[*n].mark.escape_ascii();
            return wrong(format!(
                "{name} was durable, and a later snapshot does not show it"
            ));
        }
        let unfinished = |n: &&usize| matches!(self.txns[**n].fate, Fate::Aborted | Fate::Active);
        if let Some(n) = seen.iter().find(unfinished) {
            let name = self.txns[*n].mark.escape_ascii();
            return wrong(format!("{name} has not committed, and a snapshot shows it"));
        }
        self.check_order(&seen)?;
        self.check_rows(&seen, found)
    }

    /// A snapshot of what is durable has shown these rows: what they come from is not lost any more.
    pub fn shown_durable(&mut self, found: &Rows) {
        for n in self.marked(found) {
            self.txns[n].fate = Fate::Durable;
        }
    }

    /// The transactions whose marks are there.
    fn marked(&self, found: &Rows) -> BTreeSet<usize> {
        (0..self.txns.len())
            .filter(|t| found.contains_key(&self.txns[*t].mark))
            .collect()
    }

    /// The transaction is about to be rolled back, or was by the engine.
    pub fn aborts(&mut self, txn: TxnNumber) {
        self.txns[txn.0].fate = Fate::Aborted;
    }

    /// How many transactions were begun, and how many acknowledged as durable.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (
            self.txns.len(),
            self.txns.iter().filter(|t| t.fate == Fate::Durable).count(),
        )
    }

    /// After a clean close nothing that was acknowledged at any level may be missing.
    pub fn closed(&mut self) {
        for t in self.txns.iter_mut().filter(|t| t.fate == Fate::InMemory) {
            t.fate = Fate::Durable;
        }
    }

    /// Compares what recovery found with what may be there.
    ///
    /// # Errors
    /// What is lost, half there, out of order or from nowhere.
    pub fn check(&self, found: &Rows) -> Result<(), Mismatch> {
        let survived = self.marked(found);
        self.check_set(&survived)?;
        self.check_order(&survived)?;
        self.check_rows(&survived, found)
    }

    fn check_set(&self, survived: &BTreeSet<usize>) -> Result<(), Mismatch> {
        for (n, t) in self.txns.iter().enumerate() {
            let name = t.mark.escape_ascii();
            match (t.fate, survived.contains(&n)) {
                (Fate::Durable, false) => {
                    return wrong(format!(
                        "{name} was acknowledged (commit LSN {:?}) and is lost",
                        t.lsn
                    ));
                }
                (Fate::Aborted, true) => {
                    return wrong(format!("{name} was rolled back and is there"));
                }
                (Fate::Active, true) => {
                    return wrong(format!("{name} never asked to commit and is there"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// With each survivor everything before it in the log survived.
    fn check_order(&self, survived: &BTreeSet<usize>) -> Result<(), Mismatch> {
        let last = survived.iter().filter_map(|t| self.txns[*t].lsn).max();
        for (n, t) in self
            .txns
            .iter()
            .enumerate()
            .filter(|(n, _)| !survived.contains(n))
        {
            if t.lsn.is_some() && t.lsn < last {
                return wrong(format!(
                    "{} (commit LSN {:?}) is lost, and a commit behind it, at {last:?}, is there",
                    t.mark.escape_ascii(),
                    t.lsn
                ));
            }
            if let Some(s) = survived
                .iter()
                .find(|s| self.txns[**s].after.contains(&n) && t.fate != Fate::Aborted)
            {
                return wrong(format!(
                    "{} is lost, and {}, which saw it, is there",
                    t.mark.escape_ascii(),
                    self.txns[*s].mark.escape_ascii()
                ));
            }
        }
        Ok(())
    }

    fn check_rows(&self, survived: &BTreeSet<usize>, found: &Rows) -> Result<(), Mismatch> {
        let mut right = self.base.clone();
        for (key, writes) in &self.writes {
            if let Some(last) = writes.iter().rev().find(|w| survived.contains(&w.txn)) {
                match &last.value {
                    Some(v) => drop(right.insert(key.clone(), v.clone())),
                    None => drop(right.remove(key)),
                }
            }
        }
        if right == *found {
            return Ok(());
        }
        let missing: Rows = right
            .iter()
            .filter(|(k, v)| found.get(*k) != Some(*v))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let extra: Rows = found
            .iter()
            .filter(|(k, v)| right.get(*k) != Some(*v))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        wrong(format!(
            "the rows are not what the surviving transactions wrote\n  missing: {}\n  instead: {}",
            Brief(&missing),
            Brief(&extra)
        ))
    }

    /// Goes on from what recovery found: it is the base of the next history. Marks keep counting.
    #[must_use]
    pub fn continued(&self, found: Rows) -> History {
        History {
            base: found,
            marks: self.marks,
            ..History::default()
        }
    }

    /// The rows that were there when the history began.
    #[must_use]
    pub fn base(&self) -> &Rows {
        &self.base
    }
}

fn wrong(what: String) -> Result<(), Mismatch> {
    Err(Mismatch::new(Layer::Model, what))
}

fn explain(key: &[u8], value: Option<&[u8]>, possible: &[Option<&[u8]>]) -> Result<(), Mismatch> {
    if possible.contains(&value) {
        return Ok(());
    }
    let show = |v: Option<&[u8]>| {
        v.map_or("nothing".to_string(), |v| {
            format!("{}[{}]", v[..v.len().min(12)].escape_ascii(), v.len())
        })
    };
    let right: Vec<String> = possible.iter().map(|v| show(*v)).collect();
    wrong(format!(
        "isolation: a read of {} answered {}, and only {} is right",
        key.escape_ascii(),
        show(value),
        right.join(" or ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(h: &mut History, key: &[u8], value: &[u8]) -> TxnNumber {
        let (t, mark) = h.begin();
        h.wrote(t, &mark, Some(b""));
        h.wrote(t, key, Some(value));
        h.asks(t);
        t
    }

    fn rows(pairs: &[(&str, &str)]) -> Rows {
        pairs
            .iter()
            .map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn an_asked_commit_may_be_there_and_an_acknowledged_one_must() {
        let mut h = History::new(Rows::new());
        let t = one(&mut h, b"k", b"1");
        assert!(h.check(&rows(&[])).is_ok());
        assert!(h.check(&rows(&[("m000001", ""), ("k", "1")])).is_ok());
        assert!(h.check(&rows(&[("m000001", "")])).is_err(), "half there");
        assert!(h.check(&rows(&[("k", "1")])).is_err(), "the other half");
        h.acknowledged(t, true);
        assert!(h.check(&rows(&[])).is_err(), "lost");
    }

    #[test]
    fn a_hole_in_the_order_is_seen_by_lsn_and_by_dependence() {
        let mut h = History::new(Rows::new());
        let a = one(&mut h, b"k", b"1");
        let b = one(&mut h, b"k", b"2");
        let without_a = rows(&[("m000002", ""), ("k", "2")]);
        assert!(h.check(&without_a).is_err(), "b overwrote what a wrote");
        let c = one(&mut h, b"other", b"3");
        h.placed(a, 10);
        h.placed(b, 20);
        h.placed(c, 30);
        assert!(
            h.check(&rows(&[
                ("m000001", ""),
                ("m000003", ""),
                ("k", "1"),
                ("other", "3")
            ]))
            .is_err(),
            "b is before c"
        );
        assert!(h.check(&rows(&[("m000001", ""), ("k", "1")])).is_ok());
    }

    #[test]
    fn what_was_rolled_back_or_never_asked_for_must_not_be_there() {
        let mut h = History::new(rows(&[("k", "0")]));
        let (t, mark) = h.begin();
        h.wrote(t, &mark, Some(b""));
        assert!(h.check(&rows(&[("k", "0"), ("m000001", "")])).is_err());
        h.aborts(t);
        assert!(h.check(&rows(&[("k", "0")])).is_ok());
        assert!(h.check(&rows(&[])).is_err(), "the base is lost");
    }

    #[test]
    fn reads_see_the_last_settled_write() {
        let mut h = History::new(rows(&[("k", "0")]));
        let a = one(&mut h, b"k", b"1");
        let (b, _) = h.begin();
        assert!(h.read(b, b"k", Some(b"1")).is_ok());
        assert!(h.read(b, b"k", Some(b"0")).is_ok(), "a may have failed");
        h.acknowledged(a, true);
        assert!(h.read(b, b"k", Some(b"0")).is_err());
        assert!(h.read(b, b"k", None).is_err());
    }
}

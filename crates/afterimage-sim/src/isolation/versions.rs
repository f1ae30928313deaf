//! From lists to dependencies: the order of each list's versions, what is wrong already without a cycle, and the edges.
//!
//! The longest list that anybody has read is the order in which its elements were written; every other reading must be its
//! beginning. Whoever wrote an element comes before whoever wrote the next (ww) and before whoever has read a list that
//! ends in it (wr); and whoever has read a list comes before whoever wrote the element behind it (rw).

use super::anomaly::{Finding, Name};
use super::graph::{Edge, Why};
use super::history::{History, Key, Op, Outcome, Txn, Value};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is worked out from a history without looking for cycles.
pub struct Versions {
    /// Dependencies by data.
    pub edges: Vec<Edge>,
    /// What is wrong already.
    pub findings: Vec<Finding>,
    /// Which transactions have committed, as far as can be known.
    pub committed: Vec<bool>,
}

/// A reading of one list by a committed transaction: what others had written, without what it had appended itself.
struct Reading<'a> {
    txn: u32,
    list: &'a [Value],
    scan: bool,
}

#[derive(Default)]
struct List<'a> {
    readings: Vec<Reading<'a>>,
    /// The longest list read, with what the reader had appended.
    longest: &'a [Value],
    by: u32,
    /// What committed transactions have appended, in no order.
    appended: Vec<(Value, u32)>,
}

struct Inference<'a> {
    history: &'a History,
    /// Who appended each value, and whether it is one of those that nobody may see.
    writers: HashMap<Value, (u32, bool)>,
    /// The last value that each transaction has appended to each list.
    last: HashMap<(u32, Key), Value>,
    lists: BTreeMap<Key, List<'a>>,
    keys: Vec<Key>,
    told: HashSet<(Name, Value)>,
    out: Versions,
}

/// Works out the dependencies.
#[must_use]
pub fn infer(history: &History) -> Versions {
    let mut inference = Inference {
        history,
        writers: HashMap::new(),
        last: HashMap::new(),
        lists: BTreeMap::new(),
        keys: Vec::new(),
        told: HashSet::new(),
        out: Versions {
            edges: Vec::new(),
            findings: Vec::new(),
            committed: history
                .txns
                .iter()
                .map(|t| t.outcome == Outcome::Committed)
                .collect(),
        },
    };
    inference.note_writers();
    inference.believe_what_was_seen();
    for (n, txn) in (0..).zip(&history.txns) {
        if inference.out.committed[n as usize] {
            inference.read(n, txn);
        }
    }
    for (key, list) in std::mem::take(&mut inference.lists) {
        inference.judge(key, &list);
    }
    inference.out
}

impl<'a> Inference<'a> {
    fn note_writers(&mut self) {
        for (n, txn) in (0..).zip(&self.history.txns) {
            let aborted = txn.outcome == Outcome::Aborted;
            for op in &txn.ops {
                let (key, value, hidden) = match op {
                    Op::Append { key, value } => (*key, *value, aborted),
                    Op::Undone { key, value } => (*key, *value, true),
                    _ => continue,
                };
                self.writers.insert(value, (n, hidden));
                self.keys.push(key);
                if !hidden {
                    self.last.insert((n, key), value);
                }
            }
        }
        self.keys.sort_unstable();
        self.keys.dedup();
    }

    /// What was told nothing of its commit has committed if a committed transaction has seen it.
    fn believe_what_was_seen(&mut self) {
        let told = self
            .history
            .txns
            .iter()
            .filter(|t| t.outcome == Outcome::Committed);
        let mut longest: HashMap<Key, &[Value]> = HashMap::new();
        let mut look = |key: &Key, list: &'a [Value]| {
            let longest = longest.entry(*key).or_default();
            if list.len() > longest.len() {
                *longest = list;
            }
        };
        for op in told.flat_map(|txn| &txn.ops) {
            match op {
                Op::Read { key, list } => look(key, list),
                Op::Scan { found, .. } => found.iter().for_each(|(key, list)| look(key, list)),
                Op::Append { .. } | Op::Undone { .. } => {}
            }
        }
        for value in longest.values().copied().flatten() {
            if let Some((n, false)) = self.writers.get(value) {
                self.out.committed[*n as usize] = true;
            }
        }
    }

    /// Sorts what a committed transaction has done by list.
    fn read(&mut self, n: u32, txn: &'a Txn) {
        let mut own: HashMap<Key, Vec<Value>> = HashMap::new();
        let mut known: HashMap<Key, &'a [Value]> = HashMap::new();
        for op in &txn.ops {
            match op {
                Op::Append { key, value } => {
                    own.entry(*key).or_default().push(*value);
                    self.lists
                        .entry(*key)
                        .or_default()
                        .appended
                        .push((*value, n));
                }
                Op::Undone { .. } => {}
                Op::Read { key, list } => self.reading(n, *key, list, false, &own, &mut known),
                Op::Scan { from, to, found } => {
                    let found: HashMap<Key, &'a [Value]> =
                        found.iter().map(|(key, list)| (*key, &list[..])).collect();
                    let first = self.keys.partition_point(|key| key < from);
                    let behind = self.keys.partition_point(|key| key < to);
                    for place in first..behind {
                        let key = self.keys[place];
                        let list = found.get(&key).copied().unwrap_or_default();
                        self.reading(n, key, list, true, &own, &mut known);
                    }
                }
            }
        }
    }

    fn reading(
        &mut self,
        txn: u32,
        key: Key,
        list: &'a [Value],
        scan: bool,
        own: &HashMap<Key, Vec<Value>>,
        known: &mut HashMap<Key, &'a [Value]>,
    ) {
        let own = own.get(&key).map_or(&[][..], |own| own);
        let Some(others) = list.strip_suffix(own) else {
            let what = format!("it has appended {own:?} to k{key}: {}", self.name(txn));
            return self.tell(Name::Internal, list.last(), what);
        };
        let before = *known.entry(key).or_insert(others);
        if before != others {
            let what = format!("k{key} was {before:?} before: {}", self.name(txn));
            return self.tell(Name::Internal, list.last(), what);
        }
        let entry = self.lists.entry(key).or_default();
        if list.len() > entry.longest.len() {
            (entry.longest, entry.by) = (list, txn);
        }
        entry.readings.push(Reading {
            txn,
            list: others,
            scan,
        });
    }

    fn judge(&mut self, key: Key, list: &List<'a>) {
        let order = list.longest;
        let mut places = HashMap::with_capacity(order.len());
        for (place, value) in order.iter().enumerate() {
            if places.insert(*value, place).is_some() {
                let what = format!("{value} in k{key}: {}", self.name(list.by));
                self.tell(Name::Duplicate, Some(value), what);
            }
            match self.writers.get(value) {
                None => {
                    let what = format!("{value} in k{key}: {}", self.name(list.by));
                    self.tell(Name::FromNowhere, Some(value), what);
                }
                Some((writer, true)) => {
                    let what = format!(
                        "{} has seen {value} of {}",
                        self.name(list.by),
                        self.name(*writer)
                    );
                    self.tell(Name::G1a, Some(value), what);
                }
                Some((_, false)) => {}
            }
        }
        let writer = |place: usize| {
            order
                .get(place)
                .and_then(|value| self.writers.get(value))
                .map(|(n, _)| *n)
        };
        let mut edges = Vec::new();
        let mut edge = |from: Option<u32>, to: Option<u32>, why| {
            if let (Some(from), Some(to)) = (from, to)
                && from != to
            {
                edges.push(Edge { from, to, why, key });
            }
        };
        for place in 1..order.len() {
            edge(writer(place - 1), writer(place), Why::Ww);
        }
        // What nobody has seen was appended later than all that was.
        let unseen: Vec<u32> = list
            .appended
            .iter()
            .filter(|(value, _)| !places.contains_key(value))
            .map(|(_, n)| *n)
            .collect();
        for later in &unseen {
            if let Some(last) = order.len().checked_sub(1) {
                edge(writer(last), Some(*later), Why::Ww);
            }
        }
        for reading in &list.readings {
            let rw = if reading.scan { Why::RwScan } else { Why::Rw };
            let end = reading.list.len();
            if !order.starts_with(reading.list) {
                continue;
            }
            if let Some(last) = end.checked_sub(1) {
                edge(writer(last), Some(reading.txn), Why::Wr);
            }
            edge(Some(reading.txn), writer(end), rw);
            if end == order.len() {
                unseen
                    .iter()
                    .for_each(|later| edge(Some(reading.txn), Some(*later), rw));
            }
        }
        self.out.edges.append(&mut edges);
        self.judge_readings(key, list);
        self.judge_updates(key, list);
        if self.history.complete && !self.history.txns.is_empty() {
            self.judge_loss(key, list, &places);
        }
    }

    fn judge_readings(&mut self, key: Key, list: &List<'a>) {
        for reading in &list.readings {
            if !list.longest.starts_with(reading.list) {
                let what = format!(
                    "k{key} was {:?} for {}, and {:?} for {}",
                    reading.list,
                    self.name(reading.txn),
                    list.longest,
                    self.name(list.by)
                );
                self.tell(Name::IncompatibleOrder, reading.list.last(), what);
                for value in reading.list {
                    if let Some((writer, true)) = self.writers.get(value).copied() {
                        let what = format!(
                            "{} has seen {value} of {}",
                            self.name(reading.txn),
                            self.name(writer)
                        );
                        self.tell(Name::G1a, Some(value), what);
                    }
                }
            }
            let Some(last) = reading.list.last() else {
                continue;
            };
            if let Some((writer, false)) = self.writers.get(last).copied()
                && writer != reading.txn
                && self.last.get(&(writer, key)) != Some(last)
            {
                let what = format!(
                    "{} has seen {last} of {}",
                    self.name(reading.txn),
                    self.name(writer)
                );
                self.tell(Name::G1b, Some(last), what);
            }
        }
    }

    /// Two that have both read one version and both written the next.
    fn judge_updates(&mut self, key: Key, list: &List<'a>) {
        let wrote: HashSet<u32> = list.appended.iter().map(|(_, n)| *n).collect();
        let mut from: HashMap<&[Value], u32> = HashMap::new();
        for reading in list
            .readings
            .iter()
            .filter(|reading| wrote.contains(&reading.txn))
        {
            let first = *from.entry(reading.list).or_insert(reading.txn);
            if first != reading.txn {
                let what = format!(
                    "of k{key}, which both have read as {:?}: {}; {}",
                    reading.list,
                    self.name(first),
                    self.name(reading.txn)
                );
                self.tell(Name::LostUpdate, reading.list.last(), what);
            }
        }
    }

    /// Measured by the last reading of all: what was acknowledged is in it, and what anybody has seen.
    fn judge_loss(&mut self, key: Key, list: &List<'a>, places: &HashMap<Value, usize>) {
        let last = self.history.txns.len() as u32 - 1;
        let end = list.readings.iter().rfind(|reading| reading.txn == last);
        let end = end.map_or(list.longest.len(), |reading| reading.list.len());
        for (value, writer) in &list.appended {
            let acknowledged = self.history.txns[*writer as usize].outcome == Outcome::Committed;
            let place = places.get(value);
            if place.is_none() && acknowledged || place.is_some_and(|place| *place >= end) {
                let what = format!(
                    "{value}, which is not in k{key} at last: {}",
                    self.name(*writer)
                );
                self.tell(Name::Lost, Some(value), what);
            }
        }
    }

    fn name(&self, n: u32) -> String {
        format!("T{n} ({})", self.history.txns[n as usize])
    }

    /// Once for each kind and value.
    fn tell(&mut self, name: Name, about: Option<&Value>, what: String) {
        if self.told.insert((name, about.copied().unwrap_or_default())) {
            self.out.findings.push(Finding {
                name,
                realtime: false,
                what,
            });
        }
    }
}

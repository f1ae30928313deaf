//! The model of the exhaustive driver: one state per committed prefix, and which prefixes a crash may leave.

use crate::choices::mix;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The rows of the one table.
pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a recovered database may hold: the state after any one commit between the last acknowledged and the last issued, and no other.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// `states[k]` holds the rows after the first `k` commits of the run (0: the base).
    states: Arc<Vec<Rows>>,
    /// How many commits were acknowledged as durable: no fewer may be there.
    pub(crate) acknowledged: usize,
    /// How many commits had been asked for: no more may be there.
    pub(crate) issued: usize,
    /// Of what is admitted, once it was asked for: thousands of crash states share an expectation.
    hash: OnceLock<u64>,
}

impl Expectation {
    /// The expectation of a database at rest that holds exactly `rows`.
    #[must_use]
    pub fn exactly(rows: Rows) -> Expectation {
        Expectation {
            states: Arc::new(vec![rows]),
            acknowledged: 0,
            issued: 0,
            hash: OnceLock::new(),
        }
    }

    /// The commit after which the table held `rows`, if it is one that may have survived.
    #[must_use]
    pub fn admits(&self, rows: &Rows) -> Option<usize> {
        (self.acknowledged..=self.issued).find(|k| self.states.get(*k) == Some(rows))
    }

    /// The states that would be right, for a message.
    #[must_use]
    pub fn admitted(&self) -> Vec<&Rows> {
        self.states
            .get(self.acknowledged..=self.issued)
            .unwrap_or_default()
            .iter()
            .collect()
    }

    /// A number that is equal for equal expectations: with an image's hash it names a crash state.
    #[must_use]
    pub fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| self.compute_hash())
    }

    fn compute_hash(&self) -> u64 {
        let mut h = 0xCBF2_9CE4_8422_2325_u64;
        let mut eat = |bytes: &[u8]| {
            let (words, rest) = bytes.as_chunks::<8>();
            let words = words.iter().map(|word| u64::from_le_bytes(*word));
            let rest = rest.iter().map(|byte| u64::from(*byte));
            for word in words.chain(rest).chain([bytes.len() as u64]) {
                h = (h.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            }
        };
        for rows in self.admitted() {
            eat(b"state");
            for (k, v) in rows {
                eat(k);
                eat(v);
            }
        }
        mix(h)
    }
}

/// The model as a workload runs: committed states so far, the current transaction's rows, what was asked and answered.
#[derive(Clone, Debug)]
pub struct Model {
    states: Arc<Vec<Rows>>,
    acknowledged: usize,
    issued: usize,
    working: Option<Rows>,
}

impl Model {
    /// A model of a database that holds `rows`, all acknowledged.
    #[must_use]
    pub fn new(rows: Rows) -> Model {
        Model {
            states: Arc::new(vec![rows]),
            acknowledged: 0,
            issued: 0,
            working: None,
        }
    }

    /// What a reader inside the current transaction sees.
    #[must_use]
    pub fn rows(&self) -> &Rows {
        match (&self.working, self.states.last()) {
            (Some(rows), _) | (None, Some(rows)) => rows,
            (None, None) => unreachable!("a model is made with a state"),
        }
    }

    fn working(&mut self) -> &mut Rows {
        if self.working.is_none() {
            self.working = Some(self.rows().clone());
        }
        self.working.get_or_insert_with(Rows::new)
    }

    /// The current transaction puts a row.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.working().insert(key.to_vec(), value.to_vec());
    }

    /// The current transaction deletes a row; true if it was there.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.working().remove(key).is_some()
    }

    /// A commit is about to be asked for: from now on it may be there. Without a transaction it changes nothing.
    pub fn issue_commit(&mut self) {
        if let Some(rows) = self.working.take() {
            Arc::make_mut(&mut self.states).push(rows);
            self.issued += 1;
        }
    }

    /// Every commit issued was acknowledged as durable: from now on each must be there.
    pub fn acknowledge(&mut self) {
        self.acknowledged = self.issued;
    }

    /// A change that is a transaction of its own is about to be asked for; the current transaction sees it too.
    pub fn issue_alone(&mut self, change: impl Fn(&mut Rows)) {
        let mut committed = self.states.last().cloned().unwrap_or_default();
        change(&mut committed);
        Arc::make_mut(&mut self.states).push(committed);
        self.issued += 1;
        if let Some(working) = &mut self.working {
            change(working);
        }
    }

    /// The current transaction deletes a range of rows.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.working()
            .retain(|key, _| !(from..to).contains(&key.as_slice()));
    }

    /// The current transaction is forgotten.
    pub fn rollback(&mut self) {
        self.working = None;
    }

    /// What a crash now may leave.
    #[must_use]
    pub fn expectation(&self) -> Expectation {
        Expectation {
            states: Arc::clone(&self.states),
            acknowledged: self.acknowledged,
            issued: self.issued,
            hash: OnceLock::new(),
        }
    }
}

/// Rows in a few words, for messages: keys as text where they are, values by length and first bytes.
pub struct Brief<'a>(pub &'a Rows);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{")?;
        for (i, (k, v)) in self.0.iter().enumerate() {
            let sep = if i == 0 { "" } else { ", " };
            let head = &v[..v.len().min(8)];
            write!(
                f,
                "{sep}{}={}[{}]",
                k.escape_ascii(),
                head.escape_ascii(),
                v.len()
            )?;
        }
        write!(f, "}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unacknowledged_commit_may_be_there_or_not_an_acknowledged_one_must() {
        let mut m = Model::new(Rows::new());
        m.put(b"a", b"1");
        let before = m.expectation();
        assert_eq!(before.admits(&Rows::new()), Some(0));
        m.issue_commit();
        let with: Rows = [(b"a".to_vec(), b"1".to_vec())].into();
        assert_eq!(m.expectation().admits(&Rows::new()), Some(0));
        assert_eq!(m.expectation().admits(&with), Some(1));
        m.acknowledge();
        assert_eq!(m.expectation().admits(&Rows::new()), None);
        assert_eq!(m.expectation().admits(&with), Some(1));
        assert_ne!(before.hash(), m.expectation().hash());
    }

    #[test]
    fn rollback_forgets_and_half_a_transaction_is_refused() {
        let mut m = Model::new(Rows::new());
        m.put(b"a", b"1");
        m.rollback();
        assert!(m.rows().is_empty());
        m.put(b"a", b"1");
        m.put(b"b", b"2");
        m.issue_commit();
        let half: Rows = [(b"a".to_vec(), b"1".to_vec())].into();
        assert_eq!(m.expectation().admits(&half), None);
    }
}

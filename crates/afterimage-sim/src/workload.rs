//! Small workloads over a tiny alphabet, and how they are written down: what the exhaustive driver enumerates.
//!
//! The small-scope experience of crash testing is that nearly all crash bugs show in workloads of one to three operations, if the crash falls at the right
//! call. So the alphabet is kept tiny and every word over it is run.

use crate::choices::mix;
use std::fmt;
use std::str::FromStr;

/// One operation of a workload. Changes go into the current transaction, which the first of them begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// Puts a small new value under one of the few keys.
    Put,
    /// Puts so many bytes under a new key that a page of the prepared base splits.
    PutBig,
    /// Deletes a key of the base.
    Delete,
    /// Commits the current transaction and waits until it is durable.
    Commit,
    /// Rolls the current transaction back.
    Rollback,
    /// Takes a checkpoint, whatever is going on.
    Checkpoint,
    /// Closes the database cleanly (a transaction that is still open is rolled back) and opens it again.
    Close,
    /// Puts a value so large that it has pages of its own, in the place of a small one.
    Large,
    /// Deletes a range of keys.
    Range,
    /// Sets a savepoint, changes rows small and large, and goes back to it.
    Detour,
    /// Four changes that are transactions of their own, whatever transaction is open: of a key that nothing else touches.
    Auto,
    /// Gives the table beside the one another name; makes it, where there is none.
    Rename,
    /// Drops the table beside the one; makes it, where there is none.
    Drop,
    /// Commits, deletes nearly everything and commits that, and lets the background work tidy up: pages merge, trees shrink.
    Clear,
    /// Loads a new table as a whole; drops it, where it is there.
    Load,
    /// Makes a table without a log, puts a row into it and takes it out again: whenever the power goes, it is empty.
    Unlogged,
    /// Fills many leaves at the end of the file, empties them, and gives their room back to the file system.
    Shrink,
    /// Begins to put so many values that the file grows beyond what its first map of free pages speaks for; each breaks off.
    Vast,
}

impl Op {
    /// The alphabet.
    pub const ALL: [Op; 18] = [
        Op::Put,
        Op::PutBig,
        Op::Delete,
        Op::Commit,
        Op::Rollback,
        Op::Checkpoint,
        Op::Close,
        Op::Large,
        Op::Range,
        Op::Detour,
        Op::Auto,
        Op::Rename,
        Op::Drop,
        Op::Clear,
        Op::Load,
        Op::Unlogged,
        Op::Shrink,
        Op::Vast,
    ];
    /// What every store can: the first of them.
    pub const PLAIN: &'static [Op] = Op::ALL.split_at(7).0;

    /// The operation's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Op::Put => "put",
            Op::PutBig => "putbig",
            Op::Delete => "delete",
            Op::Commit => "commit",
            Op::Rollback => "rollback",
            Op::Checkpoint => "checkpoint",
            Op::Close => "close",
            Op::Large => "large",
            Op::Range => "range",
            Op::Detour => "detour",
            Op::Auto => "auto",
            Op::Rename => "rename",
            Op::Drop => "drop",
            Op::Clear => "clear",
            Op::Load => "load",
            Op::Unlogged => "unlogged",
            Op::Shrink => "shrink",
            Op::Vast => "vast",
        }
    }
}

/// A sequence of operations, from a base.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// What is there before the first operation.
    pub base: Base,
    /// What is done.
    pub ops: Vec<Op>,
}

/// What a workload starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Base {
    /// An empty disk: the database is created, under crashes too.
    Empty,
    /// A cleanly closed database of one table with a few rows, its leaf nearly full.
    Rows,
    /// A closed database whose log has gone round: one more page split, and it goes on in a segment that was used before, full of old records.
    Recycled,
    /// The database of `Rows` after a crash with a transaction unfinished: opening it recovers, under crashes too.
    Crashed,
    /// A closed database of several leaves, one of them with a deleted row, a large value, and a second table.
    Wide,
}

impl Base {
    /// Every base.
    pub const ALL: [Base; 5] = [
        Base::Empty,
        Base::Rows,
        Base::Crashed,
        Base::Recycled,
        Base::Wide,
    ];

    fn name(self) -> &'static str {
        match self {
            Base::Empty => "empty",
            Base::Rows => "rows",
            Base::Crashed => "crashed",
            Base::Recycled => "recycled",
            Base::Wide => "wide",
        }
    }
}

impl Workload {
    /// A number of its own: what is chosen for it is chosen by this.
    #[must_use]
    pub fn seed(&self) -> u64 {
        let ops = self.ops.iter();
        ops.fold(self.base as u64, |h, op| mix(h ^ mix(*op as u64 + 1)))
    }

    /// Every workload of exactly `length` of these operations on `base`.
    #[must_use]
    pub fn all_of(base: Base, length: usize, alphabet: &[Op]) -> Vec<Workload> {
        let mut words: Vec<Vec<Op>> = vec![Vec::new()];
        for _ in 0..length {
            words = words
                .iter()
                .flat_map(|w| alphabet.iter().map(|op| [w.as_slice(), &[*op]].concat()))
                .collect();
        }
        words
            .into_iter()
            .map(|ops| Workload { base, ops })
            .collect()
    }

    /// Words that are run first, however short the others are to be: with them each kind of record that a store writes is
    /// crashed at, redone and undone; and what only one word in a thousand shows is shown soon.
    ///
    /// # Panics
    /// Never: they are words.
    #[must_use]
    pub fn telling() -> Vec<Workload> {
        const WORDS: [&str; 6] = [
            "empty:large,checkpoint",
            "rows:putbig,checkpoint",
            "rows:detour,checkpoint",
            "wide:shrink",
            "wide:range,rollback,checkpoint",
            "wide:putbig,checkpoint",
        ];
        let read = |word: &str| word.parse().expect("a word over the alphabet");
        WORDS.into_iter().map(read).collect()
    }

    /// What takes long is tried alone, from one base.
    #[must_use]
    pub fn is_affordable(&self) -> bool {
        let long = [Op::Vast, Op::Shrink];
        !self.ops.iter().any(|op| long.contains(op))
            || (self.base == Base::Wide && self.ops.len() == 1)
    }

    /// Whether all of its operations are plain ones.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.ops.iter().all(|op| Op::PLAIN.contains(op))
    }

    /// Every workload of one to `longest` operations on `base`, shortest first.
    #[must_use]
    pub fn up_to(base: Base, longest: usize) -> Vec<Workload> {
        (1..=longest)
            .flat_map(|n| Workload::all_of(base, n, &Op::ALL))
            .collect()
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.base.name())?;
        for (i, op) in self.ops.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { "," }, op.name())?;
        }
        Ok(())
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Workload, String> {
        let (base, ops) = text
            .split_once(':')
            .ok_or_else(|| format!("no base in {text:?}: write base:op,op"))?;
        let base = Base::ALL
            .into_iter()
            .find(|b| b.name() == base)
            .ok_or_else(|| format!("no such base: {base:?}"))?;
        let ops = ops
            .split(',')
            .filter(|w| !w.is_empty())
            .map(|w| {
                Op::ALL
                    .into_iter()
                    .find(|op| op.name() == w)
                    .ok_or_else(|| format!("no such operation: {w:?}"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Workload { base, ops })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enumeration_is_complete_and_without_doubles() {
        let all = Workload::up_to(Base::Rows, 3);
        assert_eq!(all.len(), 18 + 324 + 5832);
        assert_eq!(all.iter().filter(|w| w.is_plain()).count(), 7 + 49 + 343);
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_workload_reads_back_as_it_was_written() {
        for w in Workload::up_to(Base::Crashed, 2) {
            assert_eq!(w.to_string().parse::<Workload>(), Ok(w));
        }
        assert!("rows:jump".parse::<Workload>().is_err());
        assert!("put,commit".parse::<Workload>().is_err());
    }
}

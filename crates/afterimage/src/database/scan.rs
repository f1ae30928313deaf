//! Ordered reading as an iterator, from both ends if you like.

use std::collections::VecDeque;
use std::sync::Arc;

use super::handle::Database;
use crate::error::Result;
use crate::interval::Interval;
use crate::page::Stored;
use crate::transaction::{Mode, Seat, View};
use crate::tree::Tree;

type Row = (Vec<u8>, Vec<u8>);

/// A scan reads, and locks, one row in so many ahead of what it has yielded.
const AHEAD: usize = 64;

/// The rows of a range in key order; from the other end with [`rev`](Iterator::rev). Holds no latch between rows, so
/// it may be kept as long as its transaction or snapshot. Got by [`Transaction::scan`](crate::Transaction::scan) and
/// [`Snapshot::scan`](crate::Snapshot::scan).
///
/// After an error the scan yields nothing more.
pub struct Scan<'t> {
    db: &'t Database,
    reader: Reader<'t>,
    tree: Arc<Tree>,
    /// What neither end has read.
    rest: Interval,
    /// Read and not yet yielded, each in the order of its direction.
    front: VecDeque<(Vec<u8>, Stored<'static>)>,
    back: VecDeque<(Vec<u8>, Stored<'static>)>,
    yielded: usize,
    failed: bool,
}

/// On whose behalf a scan reads.
pub(super) enum Reader<'t> {
    /// A transaction's, which locks what it sees.
    Locking(&'t Seat),
    /// A snapshot's.
    At(Arc<View>),
}

impl<'t> Scan<'t> {
    pub(super) fn new(
        db: &'t Database,
        reader: Reader<'t>,
        tree: Arc<Tree>,
        range: Interval,
    ) -> Scan<'t> {
        Scan {
            db,
            reader,
            tree,
            rest: range,
            front: VecDeque::new(),
            back: VecDeque::new(),
            yielded: 0,
            failed: false,
        }
    }

    /// Fetches a large value, which is locked since its row was read, or which the view keeps from being freed.
    fn load(&self, (key, stored): (Vec<u8>, Stored<'static>)) -> Result<Row> {
        if !stored.large {
            return Ok((key, stored.bytes.into_owned()));
        }
        let system = &self.db.enter()?.system;
        let value = system.load(&self.tree, stored);
        if let Reader::At(view) = &self.reader {
            system.check_view(view)?;
        }
        Ok((key, value?))
    }

    fn step(&mut self, backwards: bool) -> Result<Option<Row>> {
        loop {
            let (near, far) = if backwards {
                (&mut self.back, &mut self.front)
            } else {
                (&mut self.front, &mut self.back)
            };
            if let Some(row) = near.pop_front() {
                return self.load(row).map(Some);
            }
            if self.rest.is_empty() {
                // The two ends have met: what is left was read from the other one.
                return far.pop_back().map(|row| self.load(row)).transpose();
            }
            let limit = 1 + self.yielded / AHEAD;
            let inside = self.db.enter()?;
            let (tree, rest) = (&self.tree, &self.rest);
            let step = match &self.reader {
                Reader::Locking(seat) => seat.with(|txn| {
                    let system = &inside.system;
                    system.scan(txn, tree, rest, backwards, limit, Mode::Shared)
                })?,
                Reader::At(view) => inside.system.scan_view(view, tree, rest, backwards)?,
            };
            near.extend(step.rows);
            self.rest = step.rest;
        }
    }

    fn yield_one(&mut self, backwards: bool) -> Option<Result<Row>> {
        if self.failed {
            return None;
        }
        let result = self.step(backwards).transpose();
        self.failed = matches!(result, Some(Err(_)));
        self.yielded += 1;
        result
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        self.yield_one(false)
    }
}

impl DoubleEndedIterator for Scan<'_> {
    fn next_back(&mut self) -> Option<Result<Row>> {
        self.yield_one(true)
    }
}

//! Ordered reading as an iterator, from both ends if you like.

use std::collections::VecDeque;
use std::ops::Bound as RangeBound;
use std::sync::Arc;

use super::handle::Database;
use crate::error::Result;
use crate::tree::{Bound, Tree};

type Row = (Vec<u8>, Vec<u8>);

/// The rows of a range in key order; from the other end with [`rev`](Iterator::rev). Holds no latch between rows, so
/// it may be kept as long as its transaction. Got by [`Transaction::scan`](crate::Transaction::scan).
///
/// After an error the scan yields nothing more.
pub struct Scan<'t> {
    db: &'t Database,
    tree: Arc<Tree>,
    low: RangeBound<Vec<u8>>,
    high: RangeBound<Vec<u8>>,
    front: End,
    back: End,
    failed: bool,
}

/// One end of the scan: rows read and not yet yielded, where to read on, and the last key yielded from here.
struct End {
    rows: VecDeque<Row>,
    next: Bound,
    last: Option<Vec<u8>>,
}

impl End {
    fn at(bound: &RangeBound<Vec<u8>>) -> End {
        let next = match bound {
            RangeBound::Included(key) | RangeBound::Excluded(key) => Bound::At(key.clone()),
            RangeBound::Unbounded => Bound::Open,
        };
        End {
            rows: VecDeque::new(),
            next,
            last: None,
        }
    }
}

/// The smallest key above `key`.
fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

impl<'t> Scan<'t> {
    pub(super) fn new(
        db: &'t Database,
        tree: Arc<Tree>,
        low: RangeBound<Vec<u8>>,
        high: RangeBound<Vec<u8>>,
    ) -> Scan<'t> {
        let front = End::at(&low);
        let back = match &high {
            // Reading backwards begins just below a key.
            RangeBound::Included(key) => End::at(&RangeBound::Included(successor(key))),
            other => End::at(other),
        };
        Scan {
            db,
            tree,
            low,
            high,
            front,
            back,
            failed: false,
        }
    }

    fn in_range(&self, key: &[u8]) -> bool {
        let above = match &self.low {
            RangeBound::Included(low) => key >= &low[..],
            RangeBound::Excluded(low) => key > &low[..],
            RangeBound::Unbounded => true,
        };
        let below = match &self.high {
            RangeBound::Included(high) => key <= &high[..],
            RangeBound::Excluded(high) => key < &high[..],
            RangeBound::Unbounded => true,
        };
        let unseen_behind = self.back.last.as_ref().is_none_or(|last| key < &last[..]);
        let unseen_before = self.front.last.as_ref().is_none_or(|last| key > &last[..]);
        above && below && unseen_behind && unseen_before
    }

    fn step(&mut self, backwards: bool) -> Result<Option<Row>> {
        loop {
            let end = if backwards {
                &mut self.back
            } else {
                &mut self.front
            };
            if let Some(row) = end.rows.pop_front() {
                if self.in_range(&row.0) {
                    let end = if backwards {
                        &mut self.back
                    } else {
                        &mut self.front
                    };
                    end.last = Some(row.0.clone());
                    return Ok(Some(row));
                }
                if self.is_past(&row.0, backwards) {
                    self.front.next = Bound::Done;
                    self.back.next = Bound::Done;
                    self.front.rows.clear();
                    self.back.rows.clear();
                    return Ok(None);
                }
                continue;
            }
            if end.next == Bound::Done {
                return Ok(None);
            }
            let from = std::mem::replace(&mut end.next, Bound::Done);
            let (rows, next) = self
                .db
                .enter()?
                .system
                .scan_step(&self.tree, &from, backwards)?;
            let end = if backwards {
                &mut self.back
            } else {
                &mut self.front
            };
            (end.rows, end.next) = (rows.into(), next);
        }
    }

    /// Does this end have nothing more to give, now that it has come to `key`?
    fn is_past(&self, key: &[u8], backwards: bool) -> bool {
        if backwards {
            let below_low = match &self.low {
                RangeBound::Included(low) => key < &low[..],
                RangeBound::Excluded(low) => key <= &low[..],
                RangeBound::Unbounded => false,
            };
            below_low
                || self
                    .front
                    .last
                    .as_ref()
                    .is_some_and(|last| key <= &last[..])
        } else {
            let above_high = match &self.high {
                RangeBound::Included(high) => key > &high[..],
                RangeBound::Excluded(high) => key >= &high[..],
                RangeBound::Unbounded => false,
            };
            above_high || self.back.last.as_ref().is_some_and(|last| key >= &last[..])
        }
    }

    fn yield_one(&mut self, backwards: bool) -> Option<Result<Row>> {
        if self.failed {
            return None;
        }
        let result = self.step(backwards).transpose();
        self.failed = matches!(result, Some(Err(_)));
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

//! Ordered reading, from both ends if you like: as an iterator, or row by row without copies.

use std::ops::Range;
use std::sync::Arc;

use super::handle::Database;
use crate::error::Result;
use crate::interval::Interval;
use crate::transaction::{Mode, Seat, View};
use crate::tree::{Row, Rows, Tree, Wanted};

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
    front: Batch,
    back: Batch,
    yielded: usize,
    failed: bool,
    /// The large value that was lent last.
    lent: Vec<u8>,
}

/// Rows of one leaf, and which of them are still to be yielded.
#[derive(Default)]
struct Batch {
    rows: Rows,
    left: Range<usize>,
}

impl Batch {
    fn row(&self, index: usize) -> Row<'_> {
        self.rows.get(index).expect("it was found")
    }
}

/// Where the next row is.
#[derive(Clone, Copy)]
struct Found {
    /// In the batch of the back.
    back: bool,
    index: usize,
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
            front: Batch::default(),
            back: Batch::default(),
            yielded: 0,
            failed: false,
            lent: Vec::new(),
        }
    }

    /// As [`next`](Iterator::next), but the row is lent, not copied: key and value, until the next call. For those who look at many rows
    /// and keep few. `None` at the end.
    ///
    /// # Errors
    ///
    /// As those of the iterator; then the scan is over.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = afterimage::Database::open(dir.path().join("db"))?;
    /// # let table = db.table("accounts")?;
    /// db.put(&table, b"alice", b"100")?;
    /// let mut tx = db.begin();
    /// let mut scan = tx.scan::<[u8], _>(&table, ..)?;
    /// let mut bytes = 0;
    /// while let Some((key, value)) = scan.next_row()? {
    ///     bytes += key.len() + value.len();
    /// }
    /// assert_eq!(bytes, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn next_row(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        // Nearly every row stands in the batch already, and in its cell.
        if let Some(index) = self.front.left.next() {
            if !self.front.rows.is_large(index) {
                self.yielded += 1;
                let row = self.front.row(index);
                return Ok(Some((row.key, row.value)));
            }
            self.front.left.start = index;
        }
        self.lend(false)
    }

    /// As [`next_row`](Scan::next_row), from the other end.
    ///
    /// # Errors
    ///
    /// As for it.
    pub fn next_row_back(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.lend(true)
    }

    fn lend(&mut self, backwards: bool) -> Result<Option<(&[u8], &[u8])>> {
        self.lent = Vec::new();
        let Some(found) = self.find(backwards)? else {
            return Ok(None);
        };
        if self.row(found).large {
            self.lent = self.load(found)?;
        }
        let row = self.row(found);
        let value = if row.large { &self.lent } else { row.value };
        Ok(Some((row.key, value)))
    }

    fn row(&self, found: Found) -> Row<'_> {
        let batch = if found.back { &self.back } else { &self.front };
        batch.row(found.index)
    }

    /// Fetches a large value, which is locked since its row was read, or which the view keeps from being freed.
    fn load(&mut self, found: Found) -> Result<Vec<u8>> {
        let value = self.try_load(found);
        if value.is_err() {
            self.fail();
        }
        value
    }

    fn try_load(&self, found: Found) -> Result<Vec<u8>> {
        let system = &self.db.enter()?.system;
        let value = system.load(&self.tree, self.row(found).stored());
        if let Reader::At(view) = &self.reader {
            system.check_view(view)?;
        }
        value
    }

    /// Goes on by one row.
    fn find(&mut self, backwards: bool) -> Result<Option<Found>> {
        if self.failed {
            return Ok(None);
        }
        let found = self.try_find(backwards);
        if found.is_err() {
            self.fail();
        }
        self.yielded += 1;
        found
    }

    /// Nothing more is yielded, nor what has been read already.
    fn fail(&mut self) {
        self.failed = true;
        (self.front.left, self.back.left) = (0..0, 0..0);
    }

    fn try_find(&mut self, backwards: bool) -> Result<Option<Found>> {
        loop {
            let (near, far) = if backwards {
                (&mut self.back, &mut self.front)
            } else {
                (&mut self.front, &mut self.back)
            };
            if let Some(index) = near.left.next() {
                let back = backwards;
                return Ok(Some(Found { back, index }));
            }
            if self.rest.is_empty() {
                // The two ends have met: what is left was read from the other one.
                let index = far.left.next_back();
                let back = !backwards;
                return Ok(index.map(|index| Found { back, index }));
            }
            let limit = 1 + self.yielded / AHEAD;
            let inside = self.db.enter()?;
            let (tree, rest) = (&self.tree, &self.rest);
            let used = &mut near.rows;
            let step = match &self.reader {
                Reader::Locking(seat) => seat.with(|txn| {
                    let system = &inside.system;
                    let wanted = Wanted {
                        within: rest,
                        backwards,
                        limit,
                    };
                    system.scan(txn, tree, wanted, Mode::Shared, used)
                })?,
                Reader::At(view) => {
                    (inside.system).scan_view(view, tree, rest, backwards, std::mem::take(used))?
                }
            };
            near.left = 0..step.rows.len();
            near.rows = step.rows;
            self.rest = step.rest;
        }
    }

    fn copy(&mut self, backwards: bool) -> Option<Result<(Vec<u8>, Vec<u8>)>> {
        let found = match self.find(backwards) {
            Ok(found) => found?,
            Err(error) => return Some(Err(error)),
        };
        let row = self.row(found);
        let key = row.key.to_vec();
        if !row.large {
            return Some(Ok((key, row.value.to_vec())));
        }
        Some(self.load(found).map(|value| (key, value)))
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.copy(false)
    }
}

impl DoubleEndedIterator for Scan<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.copy(true)
    }
}

//! Sorting rows in a bound of memory: as many as it holds are put in order and written to a file as one run; in the end the
//! runs are merged. If all rows fit, no file is made.

use super::runs::{Emit, Row, Run, Spilled, Value};
use crate::error::{Error, Result};

/// Of the memory, the part that the index of rows takes: enough for rows of 48 bytes and more.
const INDEX_PART: usize = 4;
/// What a run is written in pieces of.
const WRITE_BYTES: usize = 256 << 10;
/// Of a run that is merged, so much is read at once: at least a row, whatever memory there is.
const READ_BYTES_MIN: usize = 32 << 10;
const READ_BYTES_MAX: usize = 1 << 20;

/// A row in memory.
struct Place {
    /// The first bytes of its key: they decide nearly always.
    prefix: u64,
    at: u32,
}

/// Rows in any order go in, and come out in the order of their keys.
pub(super) struct Sorter {
    spilled: Spilled,
    memory: usize,
    rows: Vec<Place>,
    bytes: Vec<u8>,
    runs: Vec<Run>,
}

impl Sorter {
    pub(super) fn new(spilled: Spilled, memory: usize) -> Sorter {
        Sorter {
            spilled,
            memory,
            rows: Vec::new(),
            bytes: Vec::new(),
            runs: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, key: &[u8], value: Value<'_>) -> Result<()> {
        match value {
            Value::Small(value) => self.push_row(&Row::new(key, &value, false)),
            Value::Large { len, bytes } => {
                let place = self.spilled.append_value(len, bytes)?;
                self.push_row(&Row::new(key, &place, true))
            }
        }
    }

    fn push_row(&mut self, row: &Row<'_>) -> Result<()> {
        let index = self.memory / INDEX_PART;
        let rows_max = index / size_of::<Place>();
        if self.rows.len() == rows_max || self.bytes.len() + row.bytes() > self.memory - index {
            self.spill()?;
        }
        if self.rows.is_empty() {
            // What is not touched takes no memory; growing by copying would take twice as much for a while.
            self.rows.reserve_exact(rows_max);
            self.bytes.reserve_exact(self.memory - index);
        }
        let mut prefix = [0; 8];
        let len = row.key.len().min(8);
        prefix[..len].copy_from_slice(&row.key[..len]);
        self.rows.push(Place {
            prefix: u64::from_be_bytes(prefix),
            at: self.bytes.len() as u32,
        });
        row.append_to(&mut self.bytes);
        Ok(())
    }

    fn row(&self, place: &Place) -> Row<'_> {
        Row::first_of(&self.bytes[place.at as usize..]).expect("as it was put there")
    }

    fn sort(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by(|one, two| {
            let by_key = || self.row(one).key.cmp(self.row(two).key);
            one.prefix.cmp(&two.prefix).then_with(by_key)
        });
        self.rows = rows;
    }

    /// Writes what is in memory to the file, in order.
    fn spill(&mut self) -> Result<()> {
        self.sort();
        let at = self.spilled.end();
        let mut piece = Vec::with_capacity(WRITE_BYTES);
        for index in 0..self.rows.len() {
            let row = self.row(&self.rows[index]);
            if piece.len() + row.bytes() > WRITE_BYTES {
                self.spilled.append(&piece)?;
                piece.clear();
            }
            // Borrowed anew: the file may not change while a row is looked at.
            self.row(&self.rows[index]).append_to(&mut piece);
        }
        self.spilled.append(&piece)?;
        self.runs.push(Run::new(at, self.spilled.end()));
        self.rows.clear();
        self.bytes.clear();
        Ok(())
    }

    /// Shows all rows to `emit`, in order.
    ///
    /// # Errors
    ///
    /// `DuplicateKey`; what `emit` says.
    pub(super) fn finish(&mut self, emit: &mut Emit<'_>) -> Result<()> {
        let mut last: Option<Vec<u8>> = None;
        let mut emit = |key: &[u8], value: Value<'_>| {
            let last = match &mut last {
                Some(last) if last == key => {
                    return Err(Error::DuplicateKey { key: key.to_vec() });
                }
                last => last.get_or_insert_default(),
            };
            last.clear();
            last.extend_from_slice(key);
            emit(key, value)
        };
        if self.runs.is_empty() {
            self.sort();
            let mut rows = self.rows.iter();
            return rows.try_for_each(|place| self.row(place).emit(&self.spilled, &mut emit));
        }
        self.spill()?;
        (self.rows, self.bytes) = (Vec::new(), Vec::new());
        self.merge(&mut emit)
    }

    fn merge(&mut self, emit: &mut Emit<'_>) -> Result<()> {
        let mut runs = std::mem::take(&mut self.runs);
        let bytes = (self.memory / runs.len()).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        for run in &mut runs {
            run.begin(&self.spilled, bytes)?;
        }
        // What is sorted is a heap.
        runs.sort_unstable_by(Run::order);
        while let Some(row) = runs[0].row() {
            row.emit(&self.spilled, emit)?;
            runs[0].next(&self.spilled)?;
            sink_first(&mut runs);
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self) {
        self.spilled.remove();
    }
}

/// Makes a heap, its least run first, of one whose first run has gone on to its next row.
fn sink_first(runs: &mut [Run]) {
    let mut at = 0;
    loop {
        let mut least = at;
        for child in [2 * at + 1, 2 * at + 2] {
            if child < runs.len() && runs[child].order(&runs[least]).is_lt() {
                least = child;
            }
        }
        if least == at {
            return;
        }
        runs.swap(at, least);
        at = least;
    }
}

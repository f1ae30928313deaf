//! Sorting rows in a bound of memory: as many as it holds are put in order and written to a file as one run; in the end the
//! runs are merged, as many at once as memory has room to read, into longer ones while there are more. If all rows fit, no
//! file is made.

use std::path::Path;

use afterimage_io::Io;

use super::runs::{Emit, Pieces, Row, Run, Spilled, Value};
use crate::error::{Error, Result};

/// Of the memory, the part that the index of rows takes: enough for rows of 48 bytes and more.
const INDEX_PART: usize = 4;
/// What a run is written in pieces of, unless a quarter of the memory is less.
const WRITE_BYTES_MAX: usize = 256 << 10;
/// Of a run that is merged, so much is read at once: at least a row, whatever memory there is.
const READ_BYTES_MIN: usize = 32 << 10;
const READ_BYTES_MAX: usize = 1 << 20;

/// A row in memory.
struct Place {
    /// The first bytes of its key: they decide nearly always.
    prefix: u64,
    at: u32,
}

impl Place {
    fn row<'b>(&self, bytes: &'b [u8]) -> Row<'b> {
        Row::first_of(&bytes[self.at as usize..]).expect("as it was put there")
    }
}

/// Rows in any order go in, and come out in the order of their keys.
pub(super) struct Sorter {
    memory: usize,
    rows: Vec<Place>,
    bytes: Vec<u8>,
    /// The bytes of large values.
    values: Spilled,
    /// One run behind the other, and where each ends.
    runs: Spilled,
    ends: Vec<u64>,
    /// What runs are merged into, where there are too many of them: they take turns.
    merged: Spilled,
}

impl Sorter {
    /// A sorter whose files are in `directory` and have names that begin with `name`.
    pub(super) fn new(io: &Io, directory: &Path, name: &str, memory: usize) -> Sorter {
        let file = |what| Spilled::new(io, directory.join(format!("{name}-{what}")));
        Sorter {
            memory,
            rows: Vec::new(),
            bytes: Vec::new(),
            values: file("values"),
            runs: file("a"),
            ends: Vec::new(),
            merged: file("b"),
        }
    }

    pub(super) fn push(&mut self, key: &[u8], value: Value<'_>) -> Result<()> {
        match value {
            Value::Small(value) => self.push_row(&Row::new(key, &value, false)),
            Value::Large { len, bytes } => {
                let place = self.values.append_value(len, bytes)?;
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

    fn sort(&mut self) {
        let Sorter { rows, bytes, .. } = self;
        rows.sort_unstable_by(|one, two| {
            let by_key = || one.row(bytes).key.cmp(two.row(bytes).key);
            one.prefix.cmp(&two.prefix).then_with(by_key)
        });
    }

    fn write_bytes(&self) -> usize {
        (self.memory / 4).clamp(READ_BYTES_MIN, WRITE_BYTES_MAX)
    }

    /// Writes what is in memory to the file, in order.
    fn spill(&mut self) -> Result<()> {
        self.sort();
        let bytes = self.write_bytes();
        let mut pieces = Pieces::new(&mut self.runs, bytes);
        for place in &self.rows {
            pieces.push(&place.row(&self.bytes))?;
        }
        self.ends.push(pieces.end()?);
        self.rows.clear();
        self.bytes.clear();
        Ok(())
    }

    /// Shows all rows to `emit`, in order. `open` is asked now and then whether to go on.
    ///
    /// # Errors
    ///
    /// `DuplicateKey`; what `open` and `emit` say.
    pub(super) fn finish(
        &mut self,
        open: &dyn Fn() -> Result<()>,
        emit: &mut Emit<'_>,
    ) -> Result<()> {
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
        if self.ends.is_empty() {
            self.sort();
            let mut rows = self.rows.iter();
            return rows.try_for_each(|place| place.row(&self.bytes).emit(&self.values, &mut emit));
        }
        self.spill()?;
        (self.rows, self.bytes) = (Vec::new(), Vec::new());
        let at_once = self.memory / READ_BYTES_MIN;
        while self.ends.len() > at_once {
            self.shorten(at_once, open)?;
        }
        let each = &mut |row: &Row<'_>| row.emit(&self.values, &mut emit);
        merge(&self.runs, 0, &self.ends, self.memory, each)
    }

    /// Makes one run of each `at_once`.
    fn shorten(&mut self, at_once: usize, open: &dyn Fn() -> Result<()>) -> Result<()> {
        let bytes = self.write_bytes();
        let (mut from, mut ends) = (0, Vec::new());
        for run_ends in self.ends.chunks(at_once) {
            let mut pieces = Pieces::new(&mut self.merged, bytes);
            let each = &mut |row: &Row<'_>| open().and_then(|()| pieces.push(row));
            merge(&self.runs, from, run_ends, self.memory, each)?;
            from = run_ends[run_ends.len() - 1];
            ends.push(pieces.end()?);
        }
        self.ends = ends;
        self.runs.remove();
        std::mem::swap(&mut self.runs, &mut self.merged);
        Ok(())
    }

    pub(super) fn remove_files(&mut self) {
        for file in [&mut self.values, &mut self.runs, &mut self.merged] {
            file.remove();
        }
    }
}

/// Shows the rows of the runs that stand in `file` from `from` on, and end at `ends`, to `each`, in order. `memory` is shared
/// between the runs.
fn merge(
    file: &Spilled,
    mut from: u64,
    ends: &[u64],
    memory: usize,
    each: &mut dyn FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    let bytes = (memory / ends.len()).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
    let mut runs = Vec::with_capacity(ends.len());
    for &end in ends {
        let mut run = Run::new(from, end);
        run.begin(file, bytes)?;
        runs.push(run);
        from = end;
    }
    // What is sorted is a heap.
    runs.sort_unstable_by(Run::order);
    while let Some(row) = runs[0].row() {
        each(&row)?;
        runs[0].next(file)?;
        sink_first(&mut runs);
    }
    Ok(())
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

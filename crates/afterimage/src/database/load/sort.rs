//! Sorting rows in a bound of memory: half of it gathers rows, while the other half's are put in order and written to a file
//! as one run; in the end the runs are merged, as many at once as memory has room to read, into longer ones while there are
//! more. If all rows fit into the first half, no file is made. One thread at a time helps: it sorts and writes while rows come,
//! and merges while they go into the table. Where none is to be had, whoever adds rows does it.

use std::path::Path;
use std::sync::Arc;

use afterimage_io::sync::Mutex;
use afterimage_io::{Io, JoinHandle, Panicked, is_unwinding};

use super::runs::{Emit, Pieces, Row, Run, Spilled, Value, append_row, row_bytes};
use crate::error::{Error, Result};
use crate::queue::{Giver, queue};

/// Of the memory, the part that the index of rows takes: enough for rows of 48 bytes and more.
const INDEX_PART: usize = 4;
/// What a run is written in pieces of, unless a quarter of the memory is less.
const WRITE_BYTES_MAX: usize = 256 << 10;
/// Of a run that is merged, so much is read at once: at least a row, whatever memory there is.
const READ_BYTES_MIN: usize = 32 << 10;
const READ_BYTES_MAX: usize = 1 << 20;
/// Merged rows come in so many bytes at a time, at least a row. One such batch is being filled, one emptied.
const BATCH_BYTES: usize = 64 << 10;
const BATCHES_WAITING: usize = 2;

/// A row in memory.
struct Place {
    /// The first bytes of its key behind what all keys have in common, when they are being sorted: they decide nearly always.
    prefix: u64,
    at: u32,
}

impl Place {
    fn row<'b>(&self, bytes: &'b [u8]) -> Row<'b> {
        Row::first_of(&bytes[self.at as usize..]).expect("as it was put there")
    }
}

/// Rows in memory.
#[derive(Default)]
struct Rows {
    places: Vec<Place>,
    bytes: Vec<u8>,
    /// All keys begin with so many of the first one's bytes.
    common: usize,
}

impl Rows {
    /// Whether there is room for one more of so many bytes in `memory`; there always is for one.
    fn takes(&self, bytes: usize, memory: usize) -> bool {
        let index = memory / INDEX_PART;
        let is_full = self.places.len() == index / size_of::<Place>()
            || self.bytes.len() + bytes > memory - index;
        self.places.is_empty() || !is_full
    }

    fn push(&mut self, key: &[u8], value: &[u8], large: bool, memory: usize) {
        if let Some(first) = Row::first_of(&self.bytes) {
            let both = first.key[..self.common].iter().zip(key);
            self.common = both.take_while(|(one, two)| one == two).count();
        } else {
            // What is not touched takes no memory; growing by copying would take twice as much for a while.
            let index = memory / INDEX_PART;
            self.places.reserve_exact(index / size_of::<Place>());
            self.bytes.reserve_exact(memory - index);
            self.common = key.len();
        }
        self.places.push(Place {
            prefix: 0,
            at: self.bytes.len() as u32,
        });
        append_row(&mut self.bytes, key, value, large);
    }

    fn sort(&mut self) {
        let Rows {
            places,
            bytes,
            common,
        } = self;
        for place in places.iter_mut() {
            let rest = &place.row(bytes).key[*common..];
            let mut prefix = [0; 8];
            let len = rest.len().min(8);
            prefix[..len].copy_from_slice(&rest[..len]);
            place.prefix = u64::from_be_bytes(prefix);
        }
        places.sort_unstable_by(|one, two| {
            let by_key = || one.row(bytes).key.cmp(two.row(bytes).key);
            one.prefix.cmp(&two.prefix).then_with(by_key)
        });
    }

    fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.places.iter().map(|place| place.row(&self.bytes))
    }

    fn clear(&mut self) {
        self.places.clear();
        self.bytes.clear();
    }
}

/// What a thread may have: the rows that are being written, and the files.
struct Part {
    rows: Rows,
    /// One run behind the other, and where each ends.
    runs: Spilled,
    ends: Vec<u64>,
    /// What runs are merged into, where there are too many of them: they take turns.
    merged: Spilled,
    /// How it has gone until now.
    done: Result<()>,
}

impl Part {
    /// Writes the rows that are in memory to the file, in order, in pieces of `bytes`.
    fn write(&mut self, bytes: usize) -> Result<()> {
        self.rows.sort();
        let mut pieces = Pieces::new(&mut self.runs, bytes);
        for row in self.rows.iter() {
            pieces.push(&row)?;
        }
        self.ends.push(pieces.end()?);
        self.rows.clear();
        Ok(())
    }

    /// Makes one run of each `at_once`.
    fn shorten(
        &mut self,
        at_once: usize,
        memory: usize,
        bytes: usize,
        open: &Open<'_>,
    ) -> Result<()> {
        let (mut from, mut ends) = (0, Vec::new());
        for run_ends in self.ends.chunks(at_once) {
            let mut pieces = Pieces::new(&mut self.merged, bytes);
            let each = &mut |row: &Row<'_>| open().and_then(|()| pieces.push(row));
            merge(&self.runs, from, run_ends, memory, each)?;
            from = run_ends[run_ends.len() - 1];
            ends.push(pieces.end()?);
        }
        self.ends = ends;
        self.runs.remove();
        std::mem::swap(&mut self.runs, &mut self.merged);
        Ok(())
    }

    /// Gives all rows to somebody else, in order, as long as they are taken.
    fn give(&self, memory: usize, giver: &Giver<Vec<u8>>) -> Result<()> {
        let mut batch = Vec::new();
        merge(&self.runs, 0, &self.ends, memory, &mut |row| {
            if batch.len() + row.bytes.len() > BATCH_BYTES {
                let full = std::mem::take(&mut batch);
                if !giver.give(full) {
                    // Whoever has gone knows why.
                    return Err(Error::Closed);
                }
            }
            if batch.is_empty() {
                batch.reserve_exact(BATCH_BYTES.max(row.bytes.len()));
            }
            batch.extend_from_slice(row.bytes);
            Ok(())
        })?;
        giver.give(batch);
        Ok(())
    }
}

/// Asked now and then whether to go on.
type Open<'o> = dyn Fn() -> Result<()> + 'o;

/// Where a thread leaves what it was given.
type Slot = Arc<Mutex<Option<Box<Part>>>>;

/// Rows in any order go in, and come out in the order of their keys.
pub(super) struct Sorter {
    io: Io,
    memory: usize,
    rows: Rows,
    /// The bytes of large values.
    values: Spilled,
    /// None while a thread has it.
    part: Option<Box<Part>>,
    away: Option<(Slot, JoinHandle)>,
}

impl Sorter {
    /// A sorter whose files are in `directory` and have names that begin with `name`.
    pub(super) fn new(io: &Io, directory: &Path, name: &str, memory: usize) -> Sorter {
        let file = |what| Spilled::new(io, directory.join(format!("{name}-{what}")));
        let part = Part {
            rows: Rows::default(),
            runs: file("a"),
            ends: Vec::new(),
            merged: file("b"),
            done: Ok(()),
        };
        Sorter {
            io: io.clone(),
            memory,
            rows: Rows::default(),
            values: file("values"),
            part: Some(Box::new(part)),
            away: None,
        }
    }

    pub(super) fn push(&mut self, key: &[u8], value: Value<'_>) -> Result<()> {
        match value {
            Value::Small(value) => self.push_row(key, &value, false),
            Value::Large { len, bytes } => {
                let place = self.values.append_value(len, bytes)?;
                self.push_row(key, &place, true)
            }
        }
    }

    fn push_row(&mut self, key: &[u8], value: &[u8], large: bool) -> Result<()> {
        let half = self.memory / 2;
        if !self.rows.takes(row_bytes(key, value), half) {
            self.spill()?;
        }
        self.rows.push(key, value, large, half);
        Ok(())
    }

    /// What a thread may have, once it is back.
    ///
    /// # Panics
    ///
    /// If the thread has.
    fn part(&mut self) -> &mut Part {
        let ended = self.wait();
        match &mut self.part {
            Some(part) => part,
            None => panic!("a thread of a load has panicked: {ended:?}"),
        }
    }

    /// Waits for the thread, if there is one.
    fn wait(&mut self) -> std::result::Result<(), Panicked> {
        let Some((slot, thread)) = self.away.take() else {
            return Ok(());
        };
        let ended = thread.join();
        self.part = slot.lock().take();
        ended
    }

    /// Lets a thread do it. False: there is none to be had, and nothing is done.
    fn send(&mut self, work: impl FnOnce(&mut Part) -> Result<()> + Send + 'static) -> bool {
        let slot: Slot = Arc::new(Mutex::new(&self.io, self.part.take()));
        let its = Arc::clone(&slot);
        let body = move || {
            let mut part = its.lock().take().expect("it was put there");
            part.done = work(&mut part);
            *its.lock() = Some(part);
        };
        match self.io.spawn("afterimage-load", body) {
            Ok(thread) => self.away = Some((slot, thread)),
            Err(_) => self.part = slot.lock().take(),
        }
        self.away.is_some()
    }

    /// Sees to it that what is in memory gets into the file, in order; whatever was before is there.
    fn spill(&mut self) -> Result<()> {
        let bytes = self.write_bytes();
        let part = self.part();
        part.done.clone()?;
        // Now, while the database is known to be open: a file that is made later might be found by the next one.
        part.runs.make()?;
        let mut rows = std::mem::take(&mut self.rows);
        std::mem::swap(&mut rows, &mut self.part().rows);
        self.rows = rows;
        if !self.send(move |part| part.write(bytes)) {
            self.part().write(bytes)?;
        }
        Ok(())
    }

    /// Shows all rows to `emit`, in order.
    ///
    /// # Errors
    ///
    /// `DuplicateKey`; what `open` and `emit` say.
    pub(super) fn finish(&mut self, open: &Open<'_>, emit: &mut Emit<'_>) -> Result<()> {
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
        let memory = self.memory;
        if self.part().ends.is_empty() {
            self.part().done.clone()?;
            self.rows.sort();
            let mut rows = self.rows.iter();
            return rows.try_for_each(|row| row.emit(&self.values, &mut emit));
        }
        self.spill()?;
        self.rows = Rows::default();
        let bytes = self.write_bytes();
        let part = self.part();
        part.done.clone()?;
        part.rows = Rows::default();
        let at_once = memory / READ_BYTES_MIN;
        while part.ends.len() > at_once {
            part.shorten(at_once, memory, bytes, open)?;
        }
        let (giver, taker) = queue(&self.io, BATCHES_WAITING);
        if !self.send(move |part| part.give(memory, &giver)) {
            drop(taker);
            let Sorter { part, values, .. } = self;
            let part = part.as_ref().expect("it was not sent");
            let each = &mut |row: &Row<'_>| row.emit(values, &mut emit);
            return merge(&part.runs, 0, &part.ends, memory, each);
        }
        while let Some(batch) = taker.take() {
            let mut rest = &batch[..];
            while let Some(row) = Row::first_of(rest) {
                row.emit(&self.values, &mut emit)?;
                rest = &rest[row.bytes.len()..];
            }
        }
        self.part().done.clone()
    }

    fn write_bytes(&self) -> usize {
        (self.memory / 4).clamp(READ_BYTES_MIN, WRITE_BYTES_MAX)
    }

    /// Waits until nobody writes to the files.
    ///
    /// # Panics
    ///
    /// If a thread has, unless that is being told already.
    pub(super) fn end(&mut self) {
        let ended = self.wait();
        assert!(
            ended.is_ok() || is_unwinding(),
            "a thread of a load has panicked: {ended:?}"
        );
    }

    /// Removes the files: nobody writes to them any more.
    pub(super) fn remove_files(&mut self) {
        if let Some(part) = &mut self.part {
            part.runs.remove();
            part.merged.remove();
        }
        self.values.remove();
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

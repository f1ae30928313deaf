//! Loading a new table as a whole: the public side. Rows that are said to be in order go straight to the tree; any others
//! are sorted first.

mod runs;
mod sort;

use std::fmt;
use std::io::Read;

use afterimage_io::Io;
use afterimage_io::planted::{self, Bug};

use super::handle::{Database, Shared};
use super::table::Table;
use crate::error::{Error, Result};
use crate::limits::structure_bytes_max;
use crate::transaction::{Load, NewValue, after_record, check_value_size};
use runs::Value;
use sort::Sorter;

/// Least and most memory for sorting, in bytes.
const SORT_MEMORY_MIN: u64 = 64 << 10;
const SORT_MEMORY_MAX: u64 = 1 << 30;
/// What the name of a file for sorting begins with; a table's number follows.
const SPILL_PREFIX: &str = "sorting-";

/// How a table is loaded.
///
/// # Examples
///
/// ```
/// use afterimage::LoadOptions;
///
/// let in_order = LoadOptions::new().sorted(true);
/// let any_order = LoadOptions::new().sort_memory(256 << 20).fill_percent(80);
/// # let _ = (in_order, any_order);
/// ```
#[derive(Debug, Clone)]
pub struct LoadOptions {
    sorted: bool,
    sort_memory: u64,
    fill_percent: u8,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            sorted: false,
            sort_memory: 64 << 20,
            fill_percent: 95,
        }
    }
}

impl LoadOptions {
    /// Rows in any order, 64 MiB to sort them in, leaves filled to 95 percent.
    pub fn new() -> LoadOptions {
        LoadOptions::default()
    }

    /// Whether the rows come in ascending order of their keys. Then nothing is sorted, and a row that does not is refused.
    #[must_use]
    pub fn sorted(mut self, sorted: bool) -> LoadOptions {
        self.sorted = sorted;
        self
    }

    /// Bytes of memory for sorting, 64 KiB to 1 GiB; never more than 1 MiB, and 128 bytes for each part, are used beside it.
    ///
    /// One half of it takes rows while a thread sorts what the other half has taken. Rows that are more than three eighths of it
    /// are sorted in parts, which go to files in the database's directory and take as much room there as the rows do. One part for each 32 KiB of memory can be merged at once. Where there are more, they are first
    /// merged into fewer, in files that for a while take that room a second time, large values not counted: with the default
    /// of 64 MiB that begins at some 48 GiB of rows.
    #[must_use]
    pub fn sort_memory(mut self, bytes: u64) -> LoadOptions {
        self.sort_memory = bytes;
        self
    }

    /// How full a page of rows is made, 50 to 100 percent: what is left is room for rows that come later.
    #[must_use]
    pub fn fill_percent(mut self, percent: u8) -> LoadOptions {
        self.fill_percent = percent;
        self
    }

    fn check(&self) -> Result<()> {
        let bad = |name, what: String| Err(Error::BadOption { name, what });
        if !(SORT_MEMORY_MIN..=SORT_MEMORY_MAX).contains(&self.sort_memory) {
            let what = format!("{} bytes; it is from 64 KiB to 1 GiB", self.sort_memory);
            return bad("sort_memory", what);
        }
        if !(50..=100).contains(&self.fill_percent) {
            let what = format!("{}; it is from 50 to 100", self.fill_percent);
            return bad("fill_percent", what);
        }
        Ok(())
    }
}

/// A table that is being loaded; got by [`Database::load_table`]. Nobody sees it before [`finish`](TableLoad::finish) has
/// made it a table, with all its rows; dropped without that, or cut off by a crash, it never was, and its pages become
/// free in the background.
///
/// # Examples
///
/// ```
/// use afterimage::LoadOptions;
/// # let world = afterimage_io::sim::Sim::new(1);
/// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
/// let mut load = db.load_table("cities", LoadOptions::new())?;
/// for (city, people) in [("Oslo", "717710"), ("Bergen", "291940"), ("Trondheim", "212660")] {
///     load.push(city.as_bytes(), people.as_bytes())?;
/// }
/// assert_eq!(db.tables()?, Vec::<String>::new());
/// let cities = load.finish()?;
/// assert_eq!(db.get(&cities, b"Bergen")?.as_deref(), Some(&b"291940"[..]));
/// # Ok::<(), afterimage::Error>(())
/// ```
pub struct TableLoad {
    db: Database,
    name: String,
    load: Load,
    input: Input,
    rows: u64,
    /// After this the load can only be given up.
    failed: Option<Error>,
}

enum Input {
    /// In order, and the last key so far.
    Sorted(Option<Vec<u8>>),
    Any(Box<Sorter>),
}

impl Database {
    /// Begins to load a new table, which must not be there yet: by far the fastest way to write many rows. The rows' log is about as long as the rows,
    /// nothing is locked, and no recovery has to take any of it back. Everybody else goes on meanwhile. Rows in any order
    /// are sorted by a thread of the load's own, where one can be had.
    ///
    /// # Errors
    ///
    /// [`Error::TableExists`], [`Error::BadTableName`], [`Error::BadOption`], [`Error::DiskFull`], [`Error::LogFailed`],
    /// [`Error::Io`].
    pub fn load_table(&self, name: &str, options: LoadOptions) -> Result<TableLoad> {
        options.check()?;
        let inside = self.enter()?;
        inside.system.check_running()?;
        pace(&inside)?;
        let load = inside.system.begin_load(name, options.fill_percent)?;
        let input = if options.sorted {
            Input::Sorted(None)
        } else {
            let name = format!("{SPILL_PREFIX}{}", load.tree_id());
            let memory = options.sort_memory as usize;
            let sorter = Sorter::new(&inside.io, self.directory(), &name, memory);
            Input::Any(Box::new(sorter))
        };
        Ok(TableLoad {
            db: self.clone(),
            name: name.to_owned(),
            load,
            input,
            rows: 0,
            failed: None,
        })
    }
}

impl TableLoad {
    /// Adds a row.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`], and, of a load that was said to be sorted, [`Error::NotAscending`]
    /// and [`Error::DuplicateKey`]: the row is not added, and the load may go on without it. After any other error
    /// ([`Error::DiskFull`], [`Error::LogFailed`], [`Error::Io`], [`Error::Closed`]) it can only be given up.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (len, mut reader) = (value.len() as u64, value);
        self.add(key, len, |is_large| match is_large {
            true => Ok(Value::Large {
                len,
                bytes: &mut reader,
            }),
            false => Ok(Value::Small(value.into())),
        })
    }

    /// Adds a row whose value is the next `len` bytes of `reader`. A value longer than a quarter of a page is never in memory as
    /// a whole.
    ///
    /// # Errors
    ///
    /// As [`push`](TableLoad::push); [`Error::Reader`], after which the load can only be given up.
    pub fn push_reader(&mut self, key: &[u8], len: u64, reader: &mut dyn Read) -> Result<()> {
        self.add(key, len, |is_large| Value::of(len, reader, is_large))
    }

    fn add<'v>(
        &mut self,
        key: &[u8],
        len: u64,
        value: impl FnOnce(bool) -> Result<Value<'v>>,
    ) -> Result<()> {
        let inside = self.db.enter()?;
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        inside.system.check_sizes(key, &[])?;
        check_value_size(len)?;
        if let Input::Sorted(last) = &mut self.input {
            check_order(last.as_deref(), key)?;
            let last = last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(key);
        }
        let done = value(inside.system.is_large(len)).and_then(|value| match &mut self.input {
            Input::Sorted(_) => add(&inside, &mut self.load, key, value),
            Input::Any(sorter) => sorter.push(key, value),
        });
        match &done {
            Ok(()) => self.rows += 1,
            Err(error) => self.failed = Some(error.clone()),
        }
        done
    }

    /// Rows added so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes what is left and makes it a table: when this returns, all of it is as durable as `synchronous_commit` says.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateKey`], [`Error::TableExists`] where somebody else has made one of this name meanwhile,
    /// [`Error::DiskFull`], [`Error::LogFailed`], [`Error::Io`], and whatever an earlier call has failed with: there is no
    /// table, nor is there where the database is closed meanwhile ([`Error::Closed`]). [`Error::OutcomeUnknown`]: there may
    /// be one, with all its rows.
    pub fn finish(mut self) -> Result<Table> {
        let inside = self.db.enter()?;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let (system, pace) = (&inside.system, || pace(&inside));
        let mut made = None;
        if planted::active(Bug::LoadBeforeRows) {
            made = Some(system.finish_load(&self.load, &self.name, &pace)?);
        }
        if let Input::Any(sorter) = &mut self.input {
            let (load, open) = (&mut self.load, || inside.check_open());
            sorter.finish(&open, &mut |key, value| add(&inside, load, key, value))?;
        }
        system.load_rest(&mut self.load, &pace)?;
        let (tree, end) = match made {
            Some(made) => made,
            None => system.finish_load(&self.load, &self.name, &pace)?,
        };
        inside.wait(Some(end), inside.options.synchronous_commit)?;
        Ok(Table::new(tree, inside.instance))
    }
}

impl Drop for TableLoad {
    fn drop(&mut self) {
        // In a simulated world that has lost its power nothing is left to do. After a close the next open does it.
        if self.db.shared().io.has_crashed() {
            return;
        }
        if let Input::Any(sorter) = &mut self.input {
            sorter.end();
        }
        if let Ok(inside) = self.db.enter() {
            if let Input::Any(sorter) = &mut self.input {
                sorter.remove_files();
            }
            inside.system.end_load(&self.load);
        }
    }
}

impl fmt::Debug for TableLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableLoad")
            .field("name", &self.name)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// Whoever gets at a table that was loaded waits until it is there for good.
pub(super) fn wait_loaded(shared: &Shared, table: &Table) -> Result<()> {
    let end = table.tree.loaded_at().map(after_record);
    shared.wait(end, shared.options.synchronous_commit)
}

/// Removes what loads that were cut off have left in the database's directory.
pub(super) fn remove_leftovers(io: &Io, directory: &std::path::Path) -> Result<()> {
    let names = io
        .list_dir(directory)
        .map_err(|e| Error::io(directory, "list", &e))?;
    for name in names.iter().filter(|name| name.starts_with(SPILL_PREFIX)) {
        let path = directory.join(name);
        io.remove_file(&path)
            .map_err(|e| Error::io(&path, "remove", &e))?;
    }
    Ok(())
}

fn check_order(last: Option<&[u8]>, key: &[u8]) -> Result<()> {
    let copy = || key.to_vec();
    match last {
        Some(last) if last == key => Err(Error::DuplicateKey { key: copy() }),
        Some(last) if last > key => Err(Error::NotAscending { key: copy() }),
        _ => Ok(()),
    }
}

/// As any writer does before each write: the log stays within its bound, and helps to keep it there. A load that is long
/// inside does not let a close wait for its end.
fn pace(shared: &Shared) -> Result<()> {
    shared.check_open()?;
    shared.keep_pace()?;
    shared.keep_bound(
        None,
        structure_bytes_max(shared.system.pager.page_size()) as u64,
    )
}

fn add(shared: &Shared, load: &mut Load, key: &[u8], value: Value<'_>) -> Result<()> {
    let (system, pace) = (&shared.system, || pace(shared));
    match value {
        Value::Small(bytes) => system.load_row(load, key, &bytes, &pace),
        Value::Large { len, bytes } => system.load_large(load, key, NewValue { len, bytes }, &pace),
    }
}

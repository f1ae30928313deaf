//! What the drivers crash: a store with one table. The engine is one; a toy is another, with which the harness is tested itself.

use crate::model::Rows;
use crate::workload::Op;
use afterimage::RecoveryReport;
use afterimage_io::Io;

/// What a store answers when it does not do what was asked: a message for people.
pub type StoreResult<T> = Result<T, String>;

/// What not every store can do.
#[derive(Clone, Copy, Debug)]
pub enum More<'a> {
    /// Delete the keys from the first up to the second, without it, in the current transaction.
    DeleteRange(&'a [u8], &'a [u8]),
    /// Set a savepoint in the current transaction.
    Savepoint,
    /// Go back to it.
    RollbackTo,
    /// Put, or delete, in a transaction of its own.
    Auto(&'a [u8], Option<&'a [u8]>),
    /// Make a table that holds this row.
    Make(&'a str, &'a [u8], &'a [u8]),
    /// Load a new table with these rows, in order.
    Load(&'a str, &'a [(Vec<u8>, Vec<u8>)]),
    /// Make a table without a log, if it is not there; put a row into it, and take it out again.
    Unlogged(&'a str),
    /// Rename a table.
    Rename(&'a str, &'a str),
    /// Drop a table.
    Drop(&'a str),
    /// Do all the background work there is.
    Settle,
    /// Give free pages at the end of the file back; there are some.
    Shrink,
    /// Begin to put a value of so many bytes, of which none comes.
    BreakOff(&'a [u8], u64),
}

/// The key under which [`Store::rows`] shows a row of another table than the one; that of the empty row says that the table
/// is there.
#[must_use]
pub fn beside(table: &str, row: &[u8]) -> Vec<u8> {
    [&[0xFF], table.as_bytes(), &[0xFF], row].concat()
}

/// A transactional store of one table, seen by a single client.
///
/// Each change belongs to the current transaction, which the first change begins.
pub trait Store: Sized {
    /// What it can do.
    const OPS: &'static [Op] = Op::PLAIN;

    /// Opens the store of this world, creating or recovering it as needed.
    ///
    /// # Errors
    /// When it is refused. In a world where only power was lost, that is a failure of the store.
    fn open(io: &Io) -> StoreResult<Self>;
    /// Puts a row.
    ///
    /// # Errors
    /// When the store refuses.
    fn put(&mut self, key: &[u8], value: &[u8]) -> StoreResult<()>;
    /// Deletes a row; true if it was there.
    ///
    /// # Errors
    /// When the store refuses.
    fn delete(&mut self, key: &[u8]) -> StoreResult<bool>;
    /// Commits durably.
    ///
    /// # Errors
    /// When the store refuses.
    fn commit(&mut self) -> StoreResult<()>;
    /// Rolls back.
    ///
    /// # Errors
    /// When the store refuses.
    fn rollback(&mut self) -> StoreResult<()>;
    /// Takes a checkpoint.
    ///
    /// # Errors
    /// When the store refuses.
    fn checkpoint(&mut self) -> StoreResult<()>;
    /// Does what is more than plain.
    ///
    /// # Errors
    /// When the store refuses, as one does that cannot do this at all.
    fn more(&mut self, more: More<'_>) -> StoreResult<()> {
        Err(format!("this store does not know {more:?}"))
    }
    /// What its opening had to recover, for a store that tells.
    fn recovery(&self) -> Option<&RecoveryReport> {
        None
    }
    /// Where the log ends, for a store that has one in segments.
    fn log_end(&self) -> Option<u64> {
        None
    }
    /// How many pages there are, and how many of them are free, for a store that has pages.
    fn pages(&self) -> Option<(u64, u64)> {
        None
    }
    /// Closes cleanly; what is not committed is rolled back.
    ///
    /// # Errors
    /// When the store refuses.
    fn close(self) -> StoreResult<()>;
    /// Every row, as a reader sees them; those of other tables too, by [`beside`].
    ///
    /// # Errors
    /// When the store refuses.
    fn rows(&mut self) -> StoreResult<Rows>;
    /// Checks every byte of the store.
    ///
    /// # Errors
    /// What is wrong.
    fn verify(&mut self) -> StoreResult<()>;
}

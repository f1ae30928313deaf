//! What the drivers crash: a store with one table. The engine is one; a toy is another, with which the harness is tested itself.

use crate::model::Rows;
use afterimage_io::Io;

/// What a store answers when it does not do what was asked: a message for people.
pub type StoreResult<T> = Result<T, String>;

/// A transactional store of one table, seen by a single client.
///
/// Each change belongs to the current transaction, which the first change begins.
pub trait Store: Sized {
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
    /// Where the log ends, for a store that has one in segments.
    fn log_end(&self) -> Option<u64> {
        None
    }
    /// Closes cleanly; what is not committed is rolled back.
    ///
    /// # Errors
    /// When the store refuses.
    fn close(self) -> StoreResult<()>;
    /// Every row, as a reader sees them.
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

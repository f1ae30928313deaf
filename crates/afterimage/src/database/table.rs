//! A handle on one table.

use std::fmt;
use std::sync::Arc;

use crate::transaction::Wish;
use crate::tree::Tree;

/// A table: an ordered map from keys to values, both bytes. Got by [`Database::table`](crate::Database::table); cheap to
/// clone; good for as long as the database is open and the
/// table is not dropped; then every call with it answers [`Error::NoSuchTable`](crate::Error::NoSuchTable).
#[derive(Clone)]
pub struct Table {
    pub(super) tree: Arc<Tree>,
    name: Arc<str>,
    /// Which open of which database it belongs to.
    pub(super) instance: u128,
}

impl Table {
    pub(super) fn new(tree: Arc<Tree>, instance: u128) -> Table {
        let name = tree.name();
        Table {
            tree,
            name,
            instance,
        }
    }

    /// Its name, as it was when this handle was got.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its rows are not in the log, so that a crash empties it: see
    /// [`Database::unlogged_table`](crate::Database::unlogged_table).
    pub fn is_unlogged(&self) -> bool {
        !self.tree.is_logged()
    }

    /// Bytes that `wish` brings to the log, the rest of a record aside.
    pub(super) fn log_bytes(&self, wish: Wish<'_>) -> u64 {
        if self.is_unlogged() { 0 } else { wish.bytes() }
    }

    /// Its number in this database, which log records bear. Never used again for another table.
    pub fn id(&self) -> u32 {
        self.tree.id().get()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("unlogged", &self.is_unlogged())
            .finish()
    }
}

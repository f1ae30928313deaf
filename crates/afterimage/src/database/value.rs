//! A value read piece by piece.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::handle::Database;
use crate::error::Result;
use crate::transaction::{Found, View};

/// A value that is read piece by piece, from any place; got by [`Transaction::get_reader`](crate::Transaction::get_reader).
/// Takes memory for one piece, not for the value. Its row stays locked against writers until the transaction ends.
///
/// [`read_at`](ValueReader::read_at) tells errors of the database as they are. Through [`Read`] they come as
/// [`io::Error`]s that hold them.
///
/// # Examples
///
/// ```
/// use std::io::Read;
/// # let world = afterimage_io::sim::Sim::new(1);
/// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
/// let scans = db.table("scans")?;
/// let page = vec![7u8; 100_000];
/// let mut tx = db.begin();
/// tx.put_reader(&scans, b"page 1", page.len() as u64, &mut &page[..])?;
///
/// let mut reader = tx.get_reader(&scans, b"page 1")?.expect("it was just put");
/// assert_eq!(reader.len(), 100_000);
/// let mut piece = [0; 16];
/// assert_eq!(reader.read_at(99_990, &mut piece)?, 10);
/// let mut copy = Vec::new();
/// reader.read_to_end(&mut copy)?;
/// assert_eq!(copy, page);
/// tx.commit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ValueReader<'t> {
    db: &'t Database,
    value: Found,
    /// The moment that it is of; `None`: its row is locked.
    view: Option<Arc<View>>,
    position: u64,
}

impl<'t> ValueReader<'t> {
    pub(super) fn new(db: &'t Database, value: Found, view: Option<Arc<View>>) -> ValueReader<'t> {
        ValueReader {
            db,
            value,
            view,
            position: 0,
        }
    }

    /// The value's length in bytes.
    pub fn len(&self) -> u64 {
        match &self.value {
            Found::Small(value) => value.len() as u64,
            Found::Large(value) => value.len(),
        }
    }

    /// Whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `into` with the bytes from `offset` on. Returns how many there were: fewer than asked for only at the value's
    /// end, none behind it.
    ///
    /// # Errors
    ///
    /// [`SnapshotTooOld`](crate::Error::SnapshotTooOld), [`PageCorrupt`](crate::Error::PageCorrupt), [`Io`](crate::Error::Io), [`LogFailed`](crate::Error::LogFailed),
    /// [`Closed`](crate::Error::Closed).
    pub fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize> {
        let inside = self.db.enter()?;
        if self.view.is_none() {
            inside.system.check_running()?;
        }
        let count = match &mut self.value {
            Found::Large(value) => {
                let pager = inside.system.pager_with(value);
                value.read_at(pager, offset, into)
            }
            Found::Small(value) => {
                let from = usize::try_from(offset).unwrap_or(value.len());
                let rest = &value[from.min(value.len())..];
                let count = rest.len().min(into.len());
                into[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        };
        if let Some(view) = &self.view {
            inside.system.check_view(view)?;
        }
        count
    }
}

impl Read for ValueReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self
            .read_at(self.position, into)
            .map_err(io::Error::other)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for ValueReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(offset) => (offset, 0),
            SeekFrom::Current(by) => (self.position, by),
            SeekFrom::End(by) => (self.len(), by),
        };
        self.position = from.checked_add_signed(by).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "a position before the first byte",
            )
        })?;
        Ok(self.position)
    }
}

impl fmt::Debug for ValueReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueReader")
            .field("len", &self.len())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

//! The file `unlogged`: pages without a log. They go home straight, and what the file holds counts after a clean stop
//! alone: its first page then names the checkpoint of that stop, as the control file does. In any other case the file is
//! made anew, so that a page torn by a crash is never read.

use std::path::{Path, PathBuf};

use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::Mutex;
use afterimage_io::{Io, OpenMode};
use afterimage_log::{Identity, Log, Lsn};

use super::store::UNLOGGED_FILE;
use super::{Found, Pager, Pin, Shared, Store, WayHome};
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::page::Page;

/// Pages that are copied, written and synced together.
const BATCH: usize = 256;

/// Where the unlogged tables of a database are, or will be.
#[derive(Debug, Clone)]
pub(crate) struct UnloggedFile {
    io: Io,
    directory: PathBuf,
    page_size: usize,
    frames: usize,
    pub(crate) database_id: u128,
    /// Enters every page's checksum: not that of `pages`, and another one on another timeline.
    pub(crate) file_id: u128,
}

impl UnloggedFile {
    /// In `directory`, with `frames` places in memory for its pages once it is in use.
    pub(crate) fn new(
        io: &Io,
        directory: &Path,
        page_size: usize,
        frames: usize,
        identity: &Identity,
    ) -> UnloggedFile {
        UnloggedFile {
            io: io.clone(),
            directory: directory.to_owned(),
            page_size,
            frames,
            database_id: identity.database_id,
            file_id: identity.database_id ^ identity.timeline_id,
        }
    }

    /// Bytes of its places in memory; and as much again may be kept for taking changes back.
    pub(crate) fn memory(&self) -> u64 {
        self.frames as u64 * self.page_size as u64
    }

    fn path(&self) -> PathBuf {
        self.directory.join(UNLOGGED_FILE)
    }

    fn store(&self, mode: OpenMode) -> Result<Store> {
        Store::open(&self.io, self.path(), self.page_size, self.file_id, mode)
    }

    /// The file, if it is as the clean stop with this checkpoint has left it. Changes nothing.
    pub(crate) fn left_by(&self, checkpoint: Lsn) -> Result<Option<Store>> {
        let path = self.path();
        let exists = self.io.exists(&path);
        if !exists.map_err(|e| Error::io(&path, "look for", &e))? {
            return Ok(None);
        }
        let store = self.store(OpenMode::ReadWrite)?;
        let mut header = Page::new(self.page_size);
        let found = store.look(PageId::FILE_HEADER, &mut header)?;
        let is_its = header.lsn() == Some(checkpoint) || planted::active(Bug::UnloggedKept);
        Ok((matches!(found, Found::Good) && is_its).then_some(store))
    }

    /// Removes the file, if it is there.
    pub(crate) fn remove(&self) -> Result<()> {
        let path = self.path();
        match self.io.remove_file(&path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io(&path, "remove", &e)),
        }
    }

    /// An empty file in place of whatever was there.
    pub(crate) fn make(&self, log: &Log) -> Result<Pager> {
        self.remove()?;
        let store = self.store(OpenMode::CreateNew)?;
        let synced = self.io.sync_dir(&self.directory);
        synced.map_err(|e| Error::io(&self.directory, "sync", &e))?;
        Ok(self.pager(log, store))
    }

    /// Pages in memory over the file that [`left_by`](UnloggedFile::left_by) has found.
    pub(crate) fn pager(&self, log: &Log, store: Store) -> Pager {
        let way_home = WayHome::Unlogged(Mutex::new(&self.io, ()));
        Pager::with(&self.io, log.clone(), store, way_home, BATCH, self.frames)
    }
}

impl Pager {
    /// Writes pages home whose frames are dirty. They count as clean only when that is synced: after a failed write-back
    /// an older page might be read, and nothing about it would say so.
    pub(super) fn clean_straight(&self, pages: &[(PageId, Lsn)]) -> Result<usize> {
        let mut ids: Vec<PageId> = pages.iter().map(|(page, _)| *page).collect();
        ids.sort_unstable();
        self.check_running()?;
        let (mut pins, mut runs): (Vec<Pin<'_>>, Vec<(PageId, Vec<u8>)>) = Default::default();
        for pin in ids.iter().filter_map(|id| self.pool.pin(*id)) {
            let Some(page) = pin.try_shared().filter(Shared::is_dirty) else {
                continue;
            };
            let (id, mut copy) = (page.page_id(), page.clone());
            pins.push(page.begin_write());
            self.store.seal(&mut copy);
            match runs.last_mut() {
                Some((first, run))
                    if first.get() + (run.len() / copy.size()) as u64 == id.get() =>
                {
                    run.extend_from_slice(copy.bytes());
                }
                _ => runs.push((id, copy.bytes().to_vec())),
            }
        }
        if pins.is_empty() {
            return Ok(0);
        }
        let write = || {
            runs.iter().try_for_each(|(first, run)| {
                self.check_running()?;
                self.store.write_run(*first, run)
            })
        };
        let written = self
            .timed(&self.counters.write_nanos, write)
            .and_then(|()| self.timed(&self.counters.sync_nanos, || self.store.sync()));
        written.inspect_err(|error| {
            self.log.fail(format!("writing unlogged pages: {error}"));
        })?;
        pins.iter().for_each(Pin::end_write);
        self.counters.pages_written.add(pins.len() as u64);
        Ok(pins.len())
    }
}

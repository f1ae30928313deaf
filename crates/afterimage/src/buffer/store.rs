//! A file of pages: `pages`, where every logged page has its home, or `unlogged`. Positioned reads and writes of whole pages, each checked
//! against its checksum and its place; no caching.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::atomic::{AtomicBool, Ordering};
use afterimage_io::{File, Io, OpenMode};

use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::page::Page;

pub(crate) const PAGES_FILE: &str = "pages";
pub(crate) const UNLOGGED_FILE: &str = "unlogged";

pub(crate) struct Store {
    file: File,
    path: PathBuf,
    page_size: usize,
    /// Whether the disk promises that a page is never torn, and has kept to it.
    atomic: AtomicBool,
    /// Part of every page's checksum: a page of another database is not taken for ours.
    file_id: u128,
}

/// What a read found at a page's home.
pub(crate) enum Found {
    /// A page that is what it says.
    Good,
    /// Nothing was ever written there.
    Never,
    /// Bytes that no checksum vouches for, and why.
    Bad(String),
}

impl Store {
    pub(crate) fn open(
        io: &Io,
        path: PathBuf,
        page_size: usize,
        file_id: u128,
        mode: OpenMode,
    ) -> Result<Store> {
        let file = io
            .open_atomic(&path, mode)
            .map_err(|e| Error::io(&path, "open", &e))?;
        let sizes = file.atomic_sizes();
        Ok(Store {
            atomic: AtomicBool::new(sizes.is_some_and(|sizes| sizes.contains(&page_size))),
            file,
            path,
            page_size,
            file_id,
        })
    }

    pub(crate) fn page_size(&self) -> usize {
        self.page_size
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's name.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn offset(&self, page: PageId) -> u64 {
        page.get().saturating_mul(self.page_size as u64)
    }

    /// Whole pages in the file.
    pub(crate) fn page_count(&self) -> Result<u64> {
        let bytes = self
            .file
            .len()
            .map_err(|e| Error::io(&self.path, "measure", &e))?;
        Ok(bytes / self.page_size as u64)
    }

    /// Where there are zeroes in place of an allocation map: nobody writes behind that place before the map is made, so a page there
    /// that was written says that the map is damaged.
    ///
    /// # Errors
    ///
    /// `PageCorrupt` for the map, `Io`.
    pub(crate) fn check_unmade_map(&self, map: PageId, pages: u64) -> Result<()> {
        let mut home = Page::new(self.page_size);
        for behind in map.get() + 1..pages {
            if !matches!(self.look(PageId(behind), &mut home)?, Found::Never) {
                let what =
                    format!("an allocation map of zeroes, and page {behind} behind it is in use");
                return Err(self.corrupt(map, what));
            }
        }
        Ok(())
    }

    /// Reads `id` into `page` and says what it is. Unless it is good, `page` is not to be trusted.
    pub(crate) fn look(&self, id: PageId, page: &mut Page) -> Result<Found> {
        if id.get() >= i64::MAX as u64 / self.page_size as u64 {
            return Ok(Found::Bad("no file has so many pages".to_owned()));
        }
        match self.file.read_exact_at(self.offset(id), page.bytes_mut()) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(Found::Never),
            Err(e) => return Err(Error::io(&self.path, "read a page of", &e)),
        }
        if page.is_zero() {
            return Ok(Found::Never);
        }
        Ok(
            match page.verify(self.file_id, id).and_then(|()| page.check()) {
                Ok(()) => Found::Good,
                Err(e) => Found::Bad(e.to_string()),
            },
        )
    }

    /// Reads `id` into `page`; anything but a good page is an error that names the place.
    pub(crate) fn read(&self, id: PageId, page: &mut Page) -> Result<()> {
        match self.look(id, page)? {
            Found::Good => Ok(()),
            Found::Never => Err(self.corrupt(id, "the page was never written".to_owned())),
            Found::Bad(what) => Err(self.corrupt(id, what)),
        }
    }

    pub(crate) fn corrupt(&self, id: PageId, what: String) -> Error {
        Error::PageCorrupt {
            table: None,
            page: id.get(),
            file: self.path.clone(),
            offset: self.offset(id),
            what,
        }
    }

    pub(crate) fn seal(&self, page: &mut Page) {
        page.seal(self.file_id);
    }

    /// Writes sealed pages that follow each other from `first` on.
    pub(crate) fn write_run(&self, first: PageId, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(bytes.len() % self.page_size, 0);
        self.file
            .write_all_at(self.offset(first), bytes)
            .map_err(|e| Error::io(&self.path, "write pages to", &e))
    }

    /// Whether pages are written so that none is ever torn.
    pub(crate) fn is_atomic(&self) -> bool {
        self.atomic.load(Ordering::Relaxed) || planted::active(Bug::AtomicTakenForGranted)
    }

    /// Writes sealed pages so that none is ever torn. `false` if the disk refuses: this once, because the page cache was in the way or the file
    /// system writes elsewhere first and has no room; or from now on, because it is another disk by now. Each home is then as it was, or new.
    pub(crate) fn write_atomically(&self, pages: &[(PageId, &[u8])]) -> Result<bool> {
        if planted::active(Bug::AtomicTakenForGranted) {
            let mut pages = pages.iter();
            pages.try_for_each(|(id, image)| self.write_run(*id, image))?;
            return Ok(true);
        }
        let writes: Vec<_> = pages
            .iter()
            .map(|(id, image)| (self.offset(*id), *image))
            .collect();
        match self.file.write_atomic(&writes) {
            Ok(()) => Ok(true),
            Err(e) => match e.kind() {
                ErrorKind::Unsupported => {
                    self.atomic.store(false, Ordering::Relaxed);
                    Ok(false)
                }
                ErrorKind::WouldBlock | ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    Ok(false)
                }
                _ => Err(Error::io(&self.path, "write pages to", &e)),
            },
        }
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.file
            .sync()
            .map_err(|e| Error::io(&self.path, "sync", &e))
    }

    /// Writes zeroes over the pages `from..to`: room that later writes can count on, once it is synced.
    pub(crate) fn prepare(&self, from: u64, to: u64) -> Result<()> {
        let size = self.page_size as u64;
        self.file
            .prefill(from * size, to * size)
            .map_err(|e| Error::io(&self.path, "extend", &e))
    }

    /// Makes the file end before page `end`, durably.
    pub(crate) fn cut(&self, end: u64) -> Result<()> {
        self.file
            .set_len(end * self.page_size as u64)
            .map_err(|e| Error::io(&self.path, "cut", &e))?;
        self.sync_all()
    }

    /// Makes the file's length, and all that was written to it, durable.
    pub(crate) fn sync_all(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|e| Error::io(&self.path, "sync", &e))
    }
}

//! The doublewrite area: every page goes here, synced, before it goes home, so that a home torn by a crash has a whole
//! copy beside it (the idea and the name are InnoDB's).
//!
//! The file is one header block and a fixed number of page cells. The header lists the batch: page number, page LSN and
//! checksum of each cell. A batch is written with one write and one sync; the previous batch is home and synced by
//! then. So at recovery only cells that match the header count, each is the newest copy of its page, and a torn header
//! means that no home of this batch was touched.
//!
//! Where the disk promises that a page is never torn, pages go home without copies, and the area lists none: a copy left from
//! before would be older than its home.

use std::ops::Range;
use std::path::{Path, PathBuf};

use afterimage_io::planted::{self, Bug};
use afterimage_io::{File, Io, OpenMode};
use afterimage_log::Lsn;
use crc_fast::{CrcAlgorithm, checksum};

use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::page::Page;

pub(crate) const DOUBLEWRITE_FILE: &str = "doublewrite";
const TEMPORARY_FILE: &str = "doublewrite.tmp";

const MAGIC: &[u8; 8] = b"AFIMdblw";
const VERSION: u32 = 1;
const BLOCK: usize = 4096;
const HEADER_FIXED: usize = 64;
const ENTRY: usize = 24;
/// Cells beyond this would not fit the header block.
pub(crate) const CELLS_MAX: usize = (BLOCK - HEADER_FIXED - 4) / ENTRY;
/// Cells below this would make the smallest pool wait for itself.
pub(crate) const CELLS_MIN: usize = 8;

pub(crate) struct Doublewrite {
    file: File,
    path: PathBuf,
    database_id: u128,
    page_size: usize,
    cells: usize,
    batch: u64,
    buffer: Vec<u8>,
    /// Whether the header may list pages, as far as anybody knows.
    lists: bool,
}

/// One good page copy found in the area.
pub(crate) struct Copy {
    pub(crate) page: PageId,
    pub(crate) lsn: Lsn,
    pub(crate) image: Vec<u8>,
}

impl Doublewrite {
    /// Makes the area with its full size, so that it can never meet a full disk later. The caller syncs the directory.
    pub(crate) fn create(
        io: &Io,
        directory: &Path,
        id: u128,
        page_size: usize,
        cells: usize,
    ) -> Result<Doublewrite> {
        let cells = cells.clamp(CELLS_MIN, CELLS_MAX);
        make_spare(io, directory, page_size, cells)?;
        Self::create_as(
            io,
            directory.join(DOUBLEWRITE_FILE),
            id,
            page_size,
            cells,
            &[],
        )
    }

    fn create_as(
        io: &Io,
        path: PathBuf,
        database_id: u128,
        page_size: usize,
        cells: usize,
        copies: &[Copy],
    ) -> Result<Doublewrite> {
        let file = io
            .open(&path, OpenMode::Create)
            .map_err(|e| Error::io(&path, "create", &e))?;
        let bytes = (BLOCK + cells * page_size) as u64;
        file.prefill(0, bytes)
            .map_err(|e| Error::io(&path, "write", &e))?;
        let mut area = Doublewrite {
            file,
            path,
            database_id,
            page_size,
            cells,
            batch: 0,
            buffer: Vec::new(),
            lists: true,
        };
        area.begin();
        for copy in copies {
            area.push(copy.page, copy.lsn, &copy.image);
        }
        area.write()?;
        area.file
            .sync_all()
            .map_err(|e| Error::io(&area.path, "sync", &e))?;
        Ok(area)
    }

    /// Opens the area after a clean stop, when every page is home and nothing in it is needed.
    pub(crate) fn open(
        io: &Io,
        directory: &Path,
        database_id: u128,
        page_size: usize,
    ) -> Result<Doublewrite> {
        let path = directory.join(DOUBLEWRITE_FILE);
        let file = io
            .open(&path, OpenMode::ReadWrite)
            .map_err(|e| Error::io(&path, "open", &e))?;
        let bytes = file.len().map_err(|e| Error::io(&path, "measure", &e))?;
        let cells = (bytes.saturating_sub(BLOCK as u64) / page_size as u64) as usize;
        if cells < CELLS_MIN {
            return Err(Error::corruption(
                path.display().to_string(),
                "the doublewrite area is too short",
            ));
        }
        Ok(Doublewrite {
            file,
            path,
            database_id,
            page_size,
            cells: cells.min(CELLS_MAX),
            batch: 0,
            buffer: Vec::new(),
            lists: true,
        })
    }

    /// Reads the last batch, for recovery, and says whether there are copies in it that cannot be read: an unreadable header means
    /// a batch of nothing, and a cell that does not match the header counts for nothing. Unless there is damage, they were
    /// not yet written when the crash came, nor were their homes. Writes nothing.
    pub(crate) fn read(
        io: &Io,
        directory: &Path,
        database_id: u128,
        page_size: usize,
    ) -> Result<(Vec<Copy>, bool)> {
        let path = directory.join(DOUBLEWRITE_FILE);
        let failed = |e: std::io::Error| Error::io(&path, "read", &e);
        let file = io.open(&path, OpenMode::Read).map_err(failed)?;
        let mut header = vec![0; BLOCK];
        match file.read_exact_at(0, &mut header) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Ok((Vec::new(), true));
            }
            Err(e) => return Err(failed(e)),
        }
        let Some(entries) = decode_header(&header, database_id, page_size) else {
            return Ok((Vec::new(), true));
        };
        let (mut copies, count) = (Vec::new(), entries.len());
        for (cell, (page, lsn, crc)) in entries.into_iter().enumerate() {
            let mut image = vec![0; page_size];
            match file.read_exact_at((BLOCK + cell * page_size) as u64, &mut image) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => continue,
                Err(e) => return Err(failed(e)),
            }
            if crc32c(&image) == crc && is_page(&image, database_id, page) {
                copies.push(Copy { page, lsn, image });
            }
        }
        let lost = copies.len() < count;
        Ok((copies, lost))
    }

    /// Recovery's rewrite: what was read may have been only in a page cache, so the copies go to a new file, synced
    /// and renamed over the old one, before anything relies on them.
    pub(crate) fn replace(
        io: &Io,
        directory: &Path,
        database_id: u128,
        page_size: usize,
        cells: usize,
        copies: &[Copy],
    ) -> Result<Doublewrite> {
        let (temporary, path) = (
            directory.join(TEMPORARY_FILE),
            directory.join(DOUBLEWRITE_FILE),
        );
        let old_cells = io
            .open(&path, OpenMode::Read)
            .and_then(|file| file.len())
            .map(|bytes| (bytes.saturating_sub(BLOCK as u64) / page_size as u64) as usize)
            .unwrap_or(cells)
            .clamp(CELLS_MIN, CELLS_MAX);
        let area = Self::create_as(
            io,
            temporary.clone(),
            database_id,
            page_size,
            old_cells,
            copies,
        )?;
        drop(area);
        io.rename(&temporary, &path)
            .map_err(|e| Error::io(&path, "rename a new file to", &e))?;
        io.sync_dir(directory)
            .map_err(|e| Error::io(directory, "sync", &e))?;
        // The old area's room is free again; if somebody was quicker, the next recovery has to ask the disk.
        match make_spare(io, directory, page_size, old_cells) {
            Ok(()) | Err(Error::DiskFull { .. }) => {}
            Err(error) => return Err(error),
        }
        Self::open(io, directory, database_id, page_size)
    }

    pub(crate) fn cells(&self) -> usize {
        self.cells
    }

    /// Starts a batch. The caller promises that every page of the batch before is home and synced.
    pub(super) fn begin(&mut self) {
        self.batch += 1;
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.header());
    }

    /// A header that lists nothing; its checksum is still to come.
    fn header(&self) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&(self.page_size as u32).to_le_bytes());
        header[16..32].copy_from_slice(&self.database_id.to_le_bytes());
        header[32..40].copy_from_slice(&self.batch.to_le_bytes());
        header
    }

    /// Makes the area list no page, durably, unless it lists none already. The caller promises what it does for
    /// [`begin`](Doublewrite::begin); the batch being built stays as it is.
    pub(super) fn empty(&mut self) -> Result<()> {
        if !self.lists || planted::active(Bug::CopiesLeft) {
            return Ok(());
        }
        let mut header = self.header();
        seal(&mut header);
        self.file
            .write_all_at(0, &header)
            .map_err(|e| Error::io(&self.path, "write", &e))?;
        self.sync()?;
        self.lists = false;
        Ok(())
    }

    pub(super) fn count(&self) -> usize {
        (self.buffer.len() - BLOCK) / self.page_size
    }

    /// Adds a sealed page image to the batch.
    pub(super) fn push(&mut self, page: PageId, lsn: Lsn, image: &[u8]) {
        let cell = self.count();
        assert!(cell < self.cells, "DBLW-1: a batch fits the area");
        self.buffer.extend_from_slice(image);
        let entry = &mut self.buffer[HEADER_FIXED + cell * ENTRY..][..ENTRY];
        entry[..8].copy_from_slice(&page.get().to_le_bytes());
        entry[8..16].copy_from_slice(&lsn.get().to_le_bytes());
        entry[16..20].copy_from_slice(&crc32c(image).to_le_bytes());
        self.buffer[40..44].copy_from_slice(&(cell as u32 + 1).to_le_bytes());
    }

    /// The images of these cells of the batch being built.
    pub(super) fn images(&self, cells: Range<usize>) -> &[u8] {
        let at = |cell: usize| BLOCK + cell * self.page_size;
        &self.buffer[at(cells.start)..at(cells.end)]
    }

    /// Writes the batch; [`sync`](Doublewrite::sync) makes it durable.
    pub(super) fn write(&mut self) -> Result<()> {
        self.lists = true;
        seal(&mut self.buffer[..BLOCK]);
        self.file
            .write_all_at(0, &self.buffer)
            .map_err(|e| Error::io(&self.path, "write", &e))
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.file
            .sync()
            .map_err(|e| Error::io(&self.path, "sync", &e))
    }
}

/// A second file of full size, so that recovery's rewrite meets no full disk. Its contents do not matter.
fn make_spare(io: &Io, directory: &Path, page_size: usize, cells: usize) -> Result<()> {
    let path = directory.join(TEMPORARY_FILE);
    io.open(&path, OpenMode::Create)
        .and_then(|file| file.prefill(0, (BLOCK + cells * page_size) as u64))
        .map_err(|e| Error::io(&path, "write", &e))
}

fn seal(header: &mut [u8]) {
    let crc = crc32c(&header[..BLOCK - 4]);
    header[BLOCK - 4..].copy_from_slice(&crc.to_le_bytes());
}

fn crc32c(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn is_page(image: &[u8], database_id: u128, id: PageId) -> bool {
    let mut page = Page::new(image.len());
    page.bytes_mut().copy_from_slice(image);
    page.verify(database_id, id).is_ok()
}

/// The entries of a header block; `None` if it is torn, foreign or of a version or page size that is not this one.
fn decode_header(
    block: &[u8],
    database_id: u128,
    page_size: usize,
) -> Option<Vec<(PageId, Lsn, u32)>> {
    let u32_at = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
    let sound = &block[..8] == MAGIC
        && u32_at(8) == VERSION
        && u32_at(12) as usize == page_size
        && block[16..32] == database_id.to_le_bytes()
        && u32_at(BLOCK - 4) == crc32c(&block[..BLOCK - 4]);
    let count = sound.then(|| (u32_at(40) as usize).min(CELLS_MAX))?;
    let entry = |cell| {
        let at = HEADER_FIXED + cell * ENTRY;
        let lsn = Lsn::new(u64_at(at + 8))?;
        Some((PageId(u64_at(at)), lsn, u32_at(at + 16)))
    };
    Some((0..count).filter_map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TableId;
    use crate::page::{PageOp, apply};
    use afterimage_io::sim::Sim;

    fn image(page: u64, lsn: u64) -> Copy {
        let mut page_image = Page::new(4096);
        let op = PageOp::format_leaf(PageId(page), TableId::FIRST_USER);
        apply(&mut page_image, &op).expect("a format always applies");
        page_image.set_lsn(Lsn::new(lsn).expect("not zero"));
        page_image.seal(7);
        let image = page_image.bytes().to_vec();
        Copy {
            page: PageId(page),
            lsn: Lsn::new(lsn).expect("not zero"),
            image,
        }
    }

    fn area(io: &Io) -> Doublewrite {
        io.create_dir(Path::new("d")).expect("a new directory");
        Doublewrite::create(io, Path::new("d"), 7, 4096, 8).expect("creates")
    }

    #[test]
    fn the_last_batch_comes_back() {
        let io = Sim::new(1).io();
        let mut area = area(&io);
        area.begin();
        for copy in [image(5, 100_000), image(9, 100_100)] {
            area.push(copy.page, copy.lsn, &copy.image);
        }
        area.write().expect("writes");
        let (found, lost) = Doublewrite::read(&io, Path::new("d"), 7, 4096).expect("reads");
        assert!(!lost);
        assert_eq!(
            found
                .iter()
                .map(|c| (c.page.get(), c.lsn.get()))
                .collect::<Vec<_>>(),
            [(5, 100_000), (9, 100_100)]
        );
        let (found, lost) = Doublewrite::read(&io, Path::new("d"), 8, 4096).expect("reads");
        assert!(found.is_empty() && lost, "another database's");
    }

    #[test]
    fn a_torn_header_or_cell_counts_for_nothing() {
        let io = Sim::new(1).io();
        let mut area = area(&io);
        area.begin();
        for copy in [image(5, 100_000), image(9, 100_100)] {
            area.push(copy.page, copy.lsn, &copy.image);
        }
        area.write().expect("writes");
        let file = io
            .open(&Path::new("d").join(DOUBLEWRITE_FILE), OpenMode::ReadWrite)
            .expect("opens");
        file.write_all_at((BLOCK + 4096 + 700) as u64, &[0xEE])
            .expect("writes");
        let (found, lost) = Doublewrite::read(&io, Path::new("d"), 7, 4096).expect("reads");
        assert_eq!((found.len(), lost), (1, true));
        file.write_all_at(100, &[0xEE]).expect("writes");
        let (found, lost) = Doublewrite::read(&io, Path::new("d"), 7, 4096).expect("reads");
        assert!(found.is_empty() && lost);
    }

    #[test]
    fn an_emptied_area_lists_nothing_until_the_next_batch() {
        let io = Sim::new(1).io();
        let mut area = area(&io);
        let found = || Doublewrite::read(&io, Path::new("d"), 7, 4096).expect("reads");
        let copy = image(5, 100_000);
        area.begin();
        area.push(copy.page, copy.lsn, &copy.image);
        area.write().expect("writes");
        area.begin();
        area.push(copy.page, copy.lsn, &copy.image);
        area.empty().expect("empties");
        assert!(matches!(found(), (copies, false) if copies.is_empty()));
        assert_eq!(area.images(0..1), copy.image, "the batch being built");
        area.write().expect("writes");
        assert_eq!(found().0.len(), 1);
    }

    #[test]
    fn an_old_cell_under_a_new_header_is_no_copy() {
        let io = Sim::new(1).io();
        let mut area = area(&io);
        area.begin();
        let old = image(5, 100_000);
        area.push(old.page, old.lsn, &old.image);
        area.write().expect("writes");
        area.begin();
        let new = image(6, 100_200);
        area.push(new.page, new.lsn, &new.image);
        area.write().expect("writes");
        let file = io
            .open(&Path::new("d").join(DOUBLEWRITE_FILE), OpenMode::ReadWrite)
            .expect("opens");
        file.write_all_at(BLOCK as u64, &old.image).expect("writes");
        let (found, lost) = Doublewrite::read(&io, Path::new("d"), 7, 4096).expect("reads");
        assert!(found.is_empty() && lost);
    }
}

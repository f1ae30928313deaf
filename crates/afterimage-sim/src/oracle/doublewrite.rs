//! The order of the doublewrite area: copy, sync, home, sync, and only then the next batch of copies.
//!
//! Three rules. A page may be written home
//! * where nothing was ever written (the durable bytes there are zeroes, or beyond the end): a torn first write loses nothing, its format record rebuilds it;
//! * where the very same bytes are durable already: nothing can tear;
//! * by a write that the disk never tears, while the durable `doublewrite` does not list the page, or holds the very same image: an older copy would be
//!   taken for newer than a home that is damaged later;
//! * otherwise only while the durable `doublewrite` lists the page and holds, in the cell it names, the very same image.
//!
//! And `doublewrite` may be overwritten only when no home of a page that it lists has a write in flight. A page that is no more in
//! the file, or as if it had never been, is nobody's home.

use super::wal::{DOUBLEWRITE_HEADER, images};
use super::{Layout, written};
use crate::bytes;
use afterimage_io::sim::{DiskState, Event};
use std::cell::OnceCell;
use std::path::Path;

const ENTRIES: usize = 64;
const ENTRY: usize = 24;
const COUNT: usize = 40;

/// Checks one event.
///
/// # Errors
/// The objection.
pub fn check(layout: &Layout, disk: &DiskState, event: &Event<'_>) -> Result<(), String> {
    let Some((path, offset, data)) = written(event) else {
        return Ok(());
    };
    if layout.is(path, "pages") {
        let home = Path::new(path);
        let copies = OnceCell::new();
        for (at, page, image) in images(layout, path, offset, data) {
            let before = disk
                .read_durable(home, at, layout.page_size)
                .unwrap_or_default();
            let harmless = before.iter().all(|b| *b == 0) || before == image;
            let copies = || copies.get_or_init(|| listed(layout, disk));
            let has_copy = || has_copy(layout, disk, copies(), page.number, image);
            if matches!(event, Event::WrittenAtomically { .. }) {
                if copies().contains(&page.number) && !has_copy() {
                    let place = format!("page {} (LSN {})", page.number, page.lsn);
                    return Err(format!(
                        "doublewrite order: {place} was written home without a copy, and doublewrite has another one"
                    ));
                }
            } else if !harmless && !has_copy() {
                let place = format!("page {} (LSN {}) was written home", page.number, page.lsn);
                return Err(format!(
                    "doublewrite order: {place} without a durable copy in doublewrite"
                ));
            }
        }
    }
    if layout.is(path, "doublewrite") {
        let home = layout.path("pages");
        for page in listed(layout, disk) {
            let at = page * layout.page_size as u64;
            // The page was cut off with the file's end, and perhaps there is room for one there again.
            let cut = disk
                .read_cached(Path::new(&home), at, layout.page_size)
                .is_none_or(|bytes| bytes.iter().all(|b| *b == 0));
            if cut {
                continue;
            }
            if !disk.is_durable(Path::new(&home), at..at + layout.page_size as u64) {
                return Err(format!(
                    "doublewrite order: the copies were overwritten while page {page} was not durable at home"
                ));
            }
        }
    }
    Ok(())
}

/// The pages that the durable doublewrite header lists, in the order of their cells.
fn listed(layout: &Layout, disk: &DiskState) -> Vec<u64> {
    let path = layout.path("doublewrite");
    let block = DOUBLEWRITE_HEADER as usize;
    let header = disk
        .read_durable(Path::new(&path), 0, block)
        .unwrap_or_default();
    if header.len() < block
        || &header[..8] != b"AFIMdblw"
        || bytes::u32_at(&header, block - 4) != Some(bytes::crc32c(&[&header[..block - 4]]))
    {
        return Vec::new();
    }
    let count = bytes::u32_at(&header, COUNT).unwrap_or(0) as usize;
    (0..count)
        .map_while(|c| bytes::u64_at(&header, ENTRIES + c * ENTRY))
        .collect()
}

fn has_copy(layout: &Layout, disk: &DiskState, cells: &[u64], page: u64, image: &[u8]) -> bool {
    let path = layout.path("doublewrite");
    let copies = cells.iter().enumerate().filter(|(_, p)| **p == page);
    copies
        .map(|(cell, _)| DOUBLEWRITE_HEADER + (cell * layout.page_size) as u64)
        .any(|at| {
            disk.read_durable(Path::new(&path), at, layout.page_size)
                .as_deref()
                == Some(image)
        })
}

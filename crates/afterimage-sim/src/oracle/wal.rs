//! The rule that gives write-ahead logging its name: no page image goes anywhere before the record it ends with is durable.

use super::segments::Segments;
use super::{Layout, written};
use crate::bytes::{self, PageHead};
use afterimage_io::sim::{DiskState, Event};

/// Bytes before the first cell of the doublewrite area.
pub const DOUBLEWRITE_HEADER: u64 = 4096;

/// Checks one event.
///
/// # Errors
/// The objection.
pub fn check(
    layout: &Layout,
    segments: &Segments,
    disk: &DiskState,
    event: &Event<'_>,
) -> Result<(), String> {
    let Some((path, offset, data)) = written(event) else {
        return Ok(());
    };
    for (at, page, _) in images(layout, path, offset, data) {
        if page.lsn == 0 {
            continue;
        }
        if let Err(why) = segments.frame_is_durable(layout, disk, page.lsn) {
            return Err(format!(
                "WAL rule: page {} was written to {path}:{at}, but {why}",
                page.number
            ));
        }
    }
    Ok(())
}

/// The page images in a write to `pages`, `doublewrite` or its replacement: file offset, header, bytes.
pub fn images<'a>(
    layout: &Layout,
    path: &str,
    offset: u64,
    data: &'a [u8],
) -> Vec<(u64, PageHead, &'a [u8])> {
    let file = path
        .strip_prefix(layout.directory.as_str())
        .and_then(|p| p.strip_prefix('/'));
    let first = match file {
        Some("pages") => 0,
        Some("doublewrite" | "doublewrite.tmp") => DOUBLEWRITE_HEADER,
        _ => return Vec::new(),
    };
    let size = layout.page_size as u64;
    // The first whole page at or behind the write's start.
    let start = if offset <= first {
        first
    } else {
        first + (offset - first).div_ceil(size) * size
    };
    let mut found = Vec::new();
    let mut at = start;
    while at + size <= offset + data.len() as u64 {
        let from = usize::try_from(at - offset).unwrap_or(usize::MAX);
        let image = &data[from..from + layout.page_size];
        if let Some(head) = bytes::page_head(image) {
            found.push((at, head, image));
        }
        at += size;
    }
    found
}

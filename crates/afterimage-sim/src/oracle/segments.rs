//! Which log segments there are, by the names that the disk shows.

use super::Layout;
use crate::bytes;
use afterimage_io::sim::{DiskState, Event};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// The segments, by number.
pub struct Segments(BTreeMap<u64, String>);

impl Segments {
    /// Those on a disk at boot.
    #[must_use]
    pub fn on(layout: &Layout, disk: &DiskState) -> Segments {
        let image = disk.page_cache();
        let files = image
            .files()
            .filter_map(|(path, _)| Some((number_of(layout, path)?, path.to_string())));
        Segments(files.collect())
    }

    /// Follows what happens to names.
    pub fn follow(&mut self, layout: &Layout, event: &Event<'_>) {
        match *event {
            Event::Created { path } => self.add(layout, path),
            Event::Removed { path } => self.forget(layout, path),
            Event::Renamed { from, to } => {
                self.forget(layout, from);
                self.add(layout, to);
            }
            _ => {}
        }
    }

    fn add(&mut self, layout: &Layout, path: &str) {
        if let Some(number) = number_of(layout, path) {
            self.0.insert(number, path.to_string());
        }
    }

    fn forget(&mut self, layout: &Layout, path: &str) {
        if let Some(number) = number_of(layout, path) {
            self.0.remove(&number);
        }
    }

    /// The path of segment `number`.
    #[must_use]
    pub fn path(&self, number: u64) -> Option<&str> {
        self.0.get(&number).map(String::as_str)
    }

    /// The lowest number.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.0.keys().next().copied()
    }

    /// All, in order, from `number` on.
    pub fn from(&self, number: u64) -> impl Iterator<Item = (u64, &str)> {
        self.0.range(number..).map(|(n, p)| (*n, p.as_str()))
    }

    /// Whether the frame that begins at `lsn` is wholly durable; if not, why.
    ///
    /// # Errors
    /// What is not durable, in words.
    pub fn frame_is_durable(
        &self,
        layout: &Layout,
        disk: &DiskState,
        lsn: u64,
    ) -> Result<(), String> {
        let (number, offset) = (lsn / layout.segment_bytes, lsn % layout.segment_bytes);
        let Some(path) = self.path(number) else {
            // Recycled log was durable when it was recycled: the truncation rule sees to that.
            return if self.oldest().is_some_and(|o| number < o) {
                Ok(())
            } else {
                Err(format!(
                    "LSN {lsn} is in segment {number}, which does not exist"
                ))
            };
        };
        let head = disk
            .read_cached(Path::new(path), offset, 8)
            .unwrap_or_default();
        let Some(frame) = bytes::frame_word(&head) else {
            return Err(format!("LSN {lsn}: there is no frame at {path}:{offset}"));
        };
        let end = offset + u64::from(frame.length);
        if !is_settled(disk, path, offset..end) {
            return Err(format!(
                "the frame at LSN {lsn} ({path}:{offset}..{end}) is not durable"
            ));
        }
        Ok(())
    }
}

/// Whether a power cut would leave these bytes as a reader sees them.
///
/// A pending write of identical bytes does no harm: the log rewrites its last, partly filled block, and counts on a disk that does not damage what is written
/// anew with the same bytes. So the durable bytes, under the durable name, are compared with those in the page cache.
#[must_use]
pub fn is_settled(disk: &DiskState, path: &str, range: Range<u64>) -> bool {
    disk.reads_as_durable(Path::new(path), range)
}

/// The number of the segment at `path`, if it is one of this database.
#[must_use]
pub fn number_of(layout: &Layout, path: &str) -> Option<u64> {
    let name = path
        .strip_prefix(layout.directory.as_str())?
        .strip_prefix("/log/")?;
    bytes::segment_number(name)
}

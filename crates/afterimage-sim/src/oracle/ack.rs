//! The rule of acknowledgement: who says "durable up to here" must not be refuted by the disk.

use super::Layout;
use super::segments::Segments;
use afterimage_io::Note;
use afterimage_io::sim::{DiskState, Event};
use std::path::Path;

/// How far promises have been checked.
#[derive(Default)]
pub struct State {
    checked: u64,
}

impl State {
    /// Checks one event.
    ///
    /// # Errors
    /// The objection.
    pub fn check(&mut self, layout: &Layout, segments: &Segments, disk: &DiskState, event: &Event<'_>) -> Result<(), String> {
        let Event::Note(Note::Acknowledged { upto }) = *event else { return Ok(()) };
        if upto <= self.checked {
            return Ok(());
        }
        let from = self.checked;
        self.checked = upto;
        for directory in [layout.directory.clone(), layout.path("log")] {
            if !disk.is_name_durable(Path::new(&directory)) {
                return Err(format!("acknowledgement rule: {upto} was acknowledged, but the name {directory} is not durable"));
            }
        }
        let last = (upto - 1) / layout.segment_bytes;
        if segments.path(last).is_none() {
            return Err(format!("acknowledgement rule: {upto} was acknowledged, but segment {last} does not exist"));
        }
        for (number, path) in segments.from(from / layout.segment_bytes) {
            let base = number * layout.segment_bytes;
            if base >= upto {
                break;
            }
            // From the header on: a frame is worth nothing in a segment that nobody can identify.
            let end = (upto - base).min(layout.segment_bytes);
            if !disk.is_durable(Path::new(path), 0..end) {
                return Err(format!("acknowledgement rule: {upto} was acknowledged, but {path}:0..{end} is not durable"));
            }
            if !disk.is_name_durable(Path::new(path)) {
                return Err(format!("acknowledgement rule: {upto} was acknowledged, but the name {path} is not durable"));
            }
        }
        Ok(())
    }
}

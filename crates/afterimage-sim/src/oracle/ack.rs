//! The rule of acknowledgement: who says "durable up to here" must not be refuted by the disk.

use super::Layout;
use super::segments::{Segments, is_settled};
use crate::bytes::SEGMENT_HEADER;
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
    pub fn check(
        &mut self,
        layout: &Layout,
        segments: &Segments,
        disk: &DiskState,
        event: &Event<'_>,
    ) -> Result<(), String> {
        let Event::Note(Note::Acknowledged { upto }) = *event else {
            return Ok(());
        };
        if upto <= self.checked {
            return Ok(());
        }
        let from = self.checked;
        self.checked = upto;
        for directory in [layout.directory.clone(), layout.path("log")] {
            if !disk.is_name_durable(Path::new(&directory)) {
                return Err(format!(
                    "acknowledgement rule: {upto} was acknowledged, but the name {directory} is not durable"
                ));
            }
        }
        let last = (upto - 1) / layout.segment_bytes;
        if segments.path(last).is_none() {
            return Err(format!(
                "acknowledgement rule: {upto} was acknowledged, but segment {last} does not exist"
            ));
        }
        for (number, path) in segments.from(from / layout.segment_bytes) {
            let base = number * layout.segment_bytes;
            if base >= upto {
                break;
            }
            // The header too: a frame is worth nothing in a segment that nobody can identify.
            let (start, end) = (
                from.saturating_sub(base).max(SEGMENT_HEADER),
                (upto - base).min(layout.segment_bytes),
            );
            for range in [0..SEGMENT_HEADER, start..end.max(start)] {
                if !is_settled(disk, path, range.clone()) {
                    return Err(format!(
                        "acknowledgement rule: {upto} was acknowledged, but {path}:{range:?} is not durable"
                    ));
                }
            }
        }
        Ok(())
    }
}

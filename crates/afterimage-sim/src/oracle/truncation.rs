//! The truncation bound: no segment goes away that a recovery could still read.
//!
//! A segment may be removed, or renamed to be used again, only if its last frame ends at or below the redo point of *both* durable control copies, and at or below the
//! first record of every transaction whose commit or end record is not durable. Segments that no recovery would reach (prepared ones, or those behind a cut) are
//! free. Everything is judged by the durable bytes alone: what is only in the page cache may be gone with the power.

use super::Layout;
use super::segments::{Segments, number_of};
use crate::reference::{self, Log};
use afterimage_io::sim::{DiskState, Event};
use std::collections::BTreeSet;
use std::path::Path;

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
    let (Event::Removed { path } | Event::Renamed { from: path, .. }) = *event else {
        return Ok(());
    };
    let Some(number) = number_of(layout, path) else {
        return Ok(());
    };
    if matches!(*event, Event::Renamed { to, .. } if number_of(layout, to) == Some(number)) {
        return Ok(());
    }
    // The names as they were before this event: it is not durable yet, so neither are its consequences.
    let paths = segments.from(0).map(|(n, p)| (n, p.to_string())).collect();
    let read = |path: &str, at: u64, len: usize| disk.read_durable(Path::new(path), at, len);
    let copies = reference::control(&layout.path("control"), &read);
    let Some(newest) = copies.iter().max_by_key(|c| c.generation) else {
        return Ok(());
    };
    let log = Log::new(&read, layout.segment_bytes, newest, &paths);
    let chain = log.chain(newest.checkpoint);
    if !chain.contains(&number) {
        return Ok(());
    }
    // What comes behind the segment's last frame is in the next segment.
    let end = log
        .end(number)
        .unwrap_or((number + 1) * layout.segment_bytes);
    if let Some(copy) = copies.iter().find(|c| c.redo < end) {
        return Err(format!(
            "truncation bound: segment {number} was given up, and the control copy of generation {} redoes from {}",
            copy.generation, copy.redo
        ));
    }
    let mut open = BTreeSet::new();
    for segment in chain {
        reference::follow(&mut open, &log.frames(segment));
        // Nothing of a transaction comes behind its end: once those that began in this segment or before are over, what follows has nothing to say of them.
        if segment >= number && open.range(..end).next().is_none() {
            return Ok(());
        }
    }
    match open.first() {
        Some(txn) if *txn < end => Err(format!(
            "truncation bound: segment {number} was given up, and transaction {txn} is not durably over"
        )),
        _ => Ok(()),
    }
}
